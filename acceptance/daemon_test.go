package acceptance

import (
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"casco/internal/outside"
	"casco/internal/realdocker"
)

// says says if docker info does not print want for a template.
func says(format, want string) func(*testing.T, *realdocker.Engine, string) string {
	return func(t *testing.T, e *realdocker.Engine, _ string) string {
		t.Helper()
		if got := e.Docker("info", "-f", format); !strings.Contains(got, want) {
			return "docker info -f " + format + " prints " + got + ", without " + want
		}
		return ""
	}
}

// created runs a new container and says if what it prints lacks want.
func created(want string, command ...string) func(*testing.T, *realdocker.Engine, string) string {
	return func(t *testing.T, e *realdocker.Engine, _ string) string {
		t.Helper()
		if got := e.Docker(append([]string{"run", "--rm", "--log-driver", "none", "web:1"}, command...)...); !strings.Contains(got, want) {
			return "a new container prints " + got + ", without " + want
		}
		return ""
	}
}

// daemonSettings are cured in daemon.json.
var daemonSettings = []remedy{
	{
		cis: "2.2", check: "daemon-icc", config: `{}`,
		held: func(t *testing.T, e *realdocker.Engine, _ string) string {
			const option = `{{index .Options "com.docker.network.bridge.enable_icc"}}`
			if got := e.Docker("network", "inspect", "-f", option, "bridge"); got != "false" {
				return "the default bridge has enable_icc=" + got
			}
			return ""
		},
	},
	{cis: "2.3", check: "daemon-log-level", config: `{"log-level": "debug"}`, held: logged("level=debug")},
	{
		cis: "2.4", check: "daemon-iptables", config: `{"iptables": false}`,
		spoil: func(t *testing.T, e *realdocker.Engine) { // as after a boot: no chains of an engine that was allowed to
			for _, args := range []string{"-F", "-X", "-t nat -F", "-t nat -X"} {
				if out, err := e.Enter("iptables", strings.Fields(args)...).CombinedOutput(); err != nil {
					t.Fatalf("iptables %s: %v\n%s", args, err, out)
				}
			}
		},
		held: func(t *testing.T, e *realdocker.Engine, _ string) string {
			if out, err := e.Enter("iptables", "-S", "DOCKER-USER").CombinedOutput(); err != nil {
				return "iptables -S DOCKER-USER: " + string(out)
			}
			return ""
		},
	},
	{
		cis: "2.5", check: "daemon-insecure-registries", config: `{"insecure-registries": ["registry.example:5000"]}`,
		held: func(t *testing.T, e *realdocker.Engine, _ string) string {
			if got := e.Docker("info", "-f", "{{json .RegistryConfig}}"); strings.Contains(got, "registry.example:5000") {
				return "docker info still names registry.example:5000"
			}
			return ""
		},
	},
	{
		cis: "2.8", check: "daemon-tls", config: `{"hosts": ["unix://@/docker.sock", "tcp://127.0.0.1:2376"]}`,
		set: []string{"Effective.tlscacert=@/tls/ca.pem", "Effective.tlscert=@/tls/cert.pem", "Effective.tlskey=@/tls/key.pem"},
		held: func(_ *testing.T, e *realdocker.Engine, _ string) string {
			for _, scheme := range []string{"http", "https"} {
				if out, err := e.Enter("curl", "-s", "-k", "-f", scheme+"://127.0.0.1:2376/_ping").Output(); err == nil {
					return scheme + " without a certificate is answered: " + string(out)
				}
			}
			return ""
		},
	},
	{
		cis: "2.9", check: "daemon-default-ulimits", config: `{}`,
		set:  []string{`Effective.default-ulimits={"nofile":{"Name":"nofile","Soft":1024,"Hard":4096}}`},
		held: created("4096", "sh", "-c", "ulimit -Hn"),
	},
	{
		cis: "2.11", check: "daemon-cgroup-parent", config: `{"cgroup-parent": "/%"}`,
		held: func(t *testing.T, e *realdocker.Engine, _ string) string {
			t.Helper()
			e.Docker("run", "-d", "--name", "grouped", "web:1", "sleep", "1000")
			defer e.Docker("rm", "-f", "grouped")
			groups := outside.MustRead(t, "/proc/"+e.Docker("inspect", "-f", "{{.State.Pid}}", "grouped")+"/cgroup")
			if strings.Contains(groups, e.NetNS) {
				return "a new container is in " + groups
			}
			return ""
		},
	},
	{
		cis: "2.13", check: "daemon-authorization-plugin", config: `{}`, set: []string{`Effective.authorization-plugins=["casco-test"]`},
		held: says("{{.Plugins.Authorization}}", "casco-test"),
	},
	{
		cis: "2.14", check: "daemon-log-shipping", config: `{}`,
		set:  []string{"Effective.log-driver=syslog", `Effective.log-opts={"syslog-address":"udp://192.0.2.1:514"}`},
		held: says("{{.LoggingDriver}}", "syslog"),
	},
	{cis: "2.15", check: "daemon-no-new-privileges", config: `{}`, held: created("NoNewPrivs:\t1", "grep", "NoNewPrivs", "/proc/self/status")},
	{cis: "2.16", check: "daemon-live-restore", config: `{}`, held: says("{{.LiveRestoreEnabled}}", "true")},
	{
		cis: "2.17", check: "daemon-userland-proxy", config: `{}`,
		held: func(t *testing.T, e *realdocker.Engine, _ string) string {
			if out, err := e.Enter("ss", "-Hltnp").Output(); err != nil || strings.Contains(string(out), "docker-proxy") {
				return "docker-proxy listens: " + string(out)
			}
			return ""
		},
	},
	{
		cis: "2.18", check: "daemon-seccomp-profile", config: `{"seccomp-profile": "unconfined"}`,
		since: 23, // before, the word is the name of a file
		held:  created("Seccomp:\t2", "grep", "^Seccomp:", "/proc/self/status"),
	},
	{cis: "2.19", check: "daemon-experimental", config: `{"experimental": true}`, held: says("{{.ExperimentalBuild}}", "false")},
}

// logged says if the engine wrote such a line since it last started.
func logged(line string) func(*testing.T, *realdocker.Engine, string) string {
	return func(_ *testing.T, e *realdocker.Engine, _ string) string {
		log := e.Log()
		if i := strings.LastIndex(log, "Starting up"); i >= 0 && strings.Contains(log[i:], line) {
			return "dockerd logs " + line + " since it started"
		}
		return ""
	}
}

func TestDaemon(t *testing.T) {
	e := realdocker.Start(t)
	e.Image("web:1")
	certificates(t, filepath.Join(e.Root, "tls"))
	authorizer(t)
	answers := service(t, e)
	ref := "daemon/" + e.Socket
	for _, r := range daemonSettings {
		t.Run(r.cis, func(t *testing.T) {
			if major := e.Major(); major < r.since {
				t.Skipf("needs an engine of %d.0 or newer, this is %d", r.since, major)
			}
			outside.Write(t, e.Config, strings.NewReplacer("@", e.Root, "%", e.NetNS).Replace(r.config))
			e.Restart()
			if r.spoil != nil {
				r.spoil(t, e)
			}
			look := func() string {
				return fileState(t, e.Config) + "\n" + engineInfo(t, e) + inspect(t, e, "bystander")
			}
			turn(t, e, r.check, ref, r.args(e, ref), look, func() string { return r.held(t, e, "") }, answers)
		})
	}
}

// engineInfo is what docker info shows of settings.
func engineInfo(t *testing.T, e *realdocker.Engine) string {
	t.Helper()
	return e.Docker("info", "-f", `live-restore {{.LiveRestoreEnabled}}, security {{.SecurityOptions}}, log {{.LoggingDriver}}, `+
		`plugins {{json .Plugins}}, registries {{json .RegistryConfig}}, debug {{.Debug}}, experimental {{.ExperimentalBuild}}`)
}

// authorizer is an authorization plugin that allows all, where the engine
// looks for plugins: Docker's manual, "Docker Plugin API" and "Access
// authorization plugin". The directory is one of our own.
func authorizer(t *testing.T) {
	t.Helper()
	const dir = "/run/docker/plugins"
	outside.Tool(t, "mkdir", "-p", dir)
	outside.Tool(t, "mount", "-t", "tmpfs", "casco-acceptance", dir)
	t.Cleanup(func() { outside.Tool(t, "umount", "-l", dir) })
	l, err := net.Listen("unix", dir+"/casco-test.sock")
	if err != nil {
		t.Fatal(err)
	}
	answer := func(v any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(v) }
	}
	mux := http.NewServeMux()
	mux.Handle("/Plugin.Activate", answer(map[string]any{"Implements": []string{"authz"}}))
	mux.Handle("/AuthZPlugin.AuthZReq", answer(map[string]any{"Allow": true}))
	mux.Handle("/AuthZPlugin.AuthZRes", answer(map[string]any{"Allow": true}))
	s := &http.Server{Handler: mux}
	go func() { _ = s.Serve(l) }() // until Close
	t.Cleanup(func() { s.Close() })
}

// swarmSettings are those of a cluster.
var swarmSettings = []remedy{
	{
		cis: "7.5", check: "swarm-autolock",
		held: says("{{.Swarm.Cluster.Spec.EncryptionConfig.AutoLockManagers}}", "true"),
	},
	{
		cis: "7.7", check: "swarm-cert-expiry",
		held: func(t *testing.T, e *realdocker.Engine, _ string) string {
			if got := e.Docker("info", "-f", "{{.Swarm.Cluster.Spec.CAConfig.NodeCertExpiry}}"); got != "720h0m0s" && got != "2160h0m0s" && got != "48h0m0s" {
				return "node certificates live " + got
			}
			return ""
		},
	},
}

func TestSwarm(t *testing.T) {
	e := realdocker.Start(t)
	e.Image("web:1")
	e.Docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377", "--cert-expiry", "8760h")
	answers := service(t, e)
	spec := func() string { return e.Docker("info", "-f", "{{json .Swarm.Cluster.Spec}}") }
	for _, r := range swarmSettings {
		t.Run(r.cis, func(t *testing.T) {
			ref := "daemon/" + e.Socket
			turn(t, e, r.check, ref, r.args(e, ref), spec, func() string { return r.held(t, e, "") }, answers)
		})
	}
}
