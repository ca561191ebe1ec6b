package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"casco/internal/outside"
	"casco/internal/realdocker"
)

// TestMisjudgedSettings gives one engine one configuration after the other, in
// a file at a path of its own, and the good twin at the end.
func TestMisjudgedSettings(t *testing.T) {
	e := realdocker.Start(t, "--dockerd-arg", "--no-new-privileges=false")
	d := "daemon/" + e.Socket
	for _, s := range []struct {
		config string
		expect []expectation
	}{
		{"{\n \"hosts\": [\n  \"unix://" + e.Socket + "\",\n  \"tcp://127.0.0.1:2375\"\n ],\n \"log-level\": \"debug\",\n \"iptables\": false\n}\n", []expectation{
			{"hosts-lines", "daemon-tls", d, "fail"},
			{"config-file", "daemon-log-level", d, "fail"},
			{"config-file", "daemon-iptables", d, "fail"},
			{"nnp-false", "daemon-no-new-privileges", d, "fail"},
		}},
		{`{"log-driver": "syslog", "log-opts": {"syslog-address": "tcp://127.0.0.1:514"}}`, []expectation{
			{"syslog-tcp", "daemon-tls", d, "pass"},
			{"config-file", "daemon-log-level", d, "pass"},
			{"config-file", "daemon-iptables", d, "pass"},
			{"seccomp-builtin", "daemon-seccomp-profile", d, "pass"},
			{"content-trust", "image-content-trust", d, "manual|not-applicable"},
			{"cgroup-parent", "daemon-cgroup-parent", d, "fail"}, // scripts/engine gives each engine one
			{"containerd-socket", "file-containerd-socket-mode", "file/" + e.Root + "/ctrd.sock", "pass"},
			{"containerd-socket", "watch-containerd-sock", "watch/" + e.Root + "/ctrd.sock", "fail"},
			{"swarm-off", "swarm-managers", d, "not-applicable"},
			{"swarm-off", "swarm-autolock", d, "not-applicable"},
		}},
	} {
		outside.Write(t, e.Config, s.config)
		e.Restart()
		meets(t, outside.Findings(t, e), s.expect...)
	}
	if err := os.Chmod(e.Root+"/ctrd.sock", 0o666); err != nil {
		t.Fatal(err)
	}
	meets(t, outside.Findings(t, e), expectation{"containerd-socket", "file-containerd-socket-mode", "file/" + e.Root + "/ctrd.sock", "fail"})
	if e.Major() < 29 { // support of 28 ended 2026-05-13, of those before it earlier
		meets(t, outside.Findings(t, e), expectation{"engine-age", "engine-versions", d, "fail"})
	}
}

// TestTwoEngines: each is judged by itself, whichever is the newer process.
func TestTwoEngines(t *testing.T) {
	weak := realdocker.Start(t, "--dockerd-arg", "--log-level=debug", "--dockerd-arg", "--host=tcp://127.0.0.1:2375", "--dockerd-arg", "--no-new-privileges")
	good := realdocker.Start(t)
	for _, e := range []*realdocker.Engine{weak, good} {
		e.Image("bb:t")
		e.Docker("run", "-d", "--name", "inherits", "bb:t", "sleep", "600")
		e.Docker("create", "--name", "unsets", "--security-opt", "no-new-privileges:false", "bb:t", "sh")
	}
	e := "daemon/" + weak.Socket
	meets(t, outside.Findings(t, weak),
		expectation{"two-engines", "daemon-log-level", e, "fail"},
		expectation{"two-engines", "daemon-no-new-privileges", e, "pass"},
		expectation{"tcp-flag", "daemon-tls", e, "fail"},
		expectation{"nnp-overruled", "container-no-new-privileges", "container/inherits", "pass"},
		expectation{"nnp-overruled", "container-no-new-privileges", "container/unsets", "fail"})
	e = "daemon/" + good.Socket
	meets(t, outside.Findings(t, good),
		expectation{"two-engines", "daemon-log-level", e, "pass"},
		expectation{"two-engines", "daemon-no-new-privileges", e, "fail"},
		expectation{"tcp-flag", "daemon-tls", e, "pass"},
		expectation{"two-engines", "container-no-new-privileges", "container/inherits", "fail"})
}

// TestDataRoot: the device decides, not a line in the table of mounts.
func TestDataRoot(t *testing.T) {
	at := t.TempDir()
	if os.Geteuid() == 0 {
		if err := syscall.Mount("casco-acceptance", at, "tmpfs", 0, "mode=0711"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Unmount(at, syscall.MNT_DETACH) })
	}
	apart := realdocker.Start(t, "--dockerd-arg", "--data-root="+at)
	meets(t, outside.Findings(t, apart), expectation{"data-root", "data-root-filesystem", "daemon/" + apart.Socket, "pass"})
	apart.Stop()

	e := realdocker.Start(t)
	data := e.Root + "/data"
	if device(t, data) != device(t, "/") {
		t.Skipf("%s is not on the root file system", data)
	}
	if err := syscall.Mount(data, data, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	meets(t, outside.Findings(t, e), expectation{"data-root", "data-root-filesystem", "daemon/" + e.Socket, "fail"})
}

func device(t *testing.T, path string) uint64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return uint64(st.Dev)
}

// TestDefaultBridge: the default network is it by any name.
func TestDefaultBridge(t *testing.T) {
	e := realdocker.Start(t)
	for _, args := range [][]string{{"link", "add", "audbr0", "type", "bridge"}, {"addr", "add", "10.79.0.1/24", "dev", "audbr0"}, {"link", "set", "audbr0", "up"}} {
		if out, err := e.Enter("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v\n%s", args, err, out)
		}
	}
	outside.Write(t, e.Config, `{"bridge": "audbr0"}`)
	e.Restart()
	e.Image("bb:b")
	e.Docker("network", "create", "own")
	e.Docker("run", "-d", "--name", "on-it", "bb:b", "sleep", "600")
	e.Docker("run", "-d", "--name", "off-it", "--network", "own", "bb:b", "sleep", "600")
	meets(t, outside.Findings(t, e),
		expectation{"bridge", "container-default-bridge", "container/on-it", "fail"},
		expectation{"bridge", "container-default-bridge", "container/off-it", "pass"})
}

// TestRemapped: root inside a remapped engine is nobody outside.
func TestRemapped(t *testing.T) {
	e := realdocker.Start(t)
	for _, f := range []string{"/etc/subuid", "/etc/subgid"} { // /etc is our own
		outside.Write(t, f, "dockremap:231072:65536\n")
	}
	for f, line := range map[string]string{"/etc/passwd": "dockremap:x:64001:64001::/nonexistent:/usr/sbin/nologin\n", "/etc/group": "dockremap:x:64001:\n"} {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		outside.Write(t, f, string(b)+line)
		t.Cleanup(func() { outside.Write(t, f, string(b)) })
	}
	outside.Write(t, e.Config, `{"userns-remap": "dockremap"}`)
	e.Restart()
	e.Image("bb:r")
	e.Docker("create", "--name", "root-in", "bb:r", "sh")
	e.Docker("create", "--name", "root-out", "--userns", "host", "bb:r", "sh")
	meets(t, outside.Findings(t, e),
		expectation{"user-remapped", "container-root-user", "container/root-in", "pass"},
		expectation{"user-remapped", "container-root-user", "container/root-out", "fail"})
}

// TestClientKey: the key is what must be secret, not the certificate.
func TestClientKey(t *testing.T) {
	e := realdocker.Shared(t)
	key := "/etc/docker/certs.d/registry.example:5000/client.key"
	if err := os.MkdirAll(filepath.Dir(key), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(filepath.Dir(key)) })
	outside.Write(t, key, "no key\n")
	for mode, want := range map[os.FileMode]string{0o666: "fail", 0o400: "pass"} {
		if err := os.Chmod(key, mode); err != nil {
			t.Fatal(err)
		}
		meets(t, outside.Findings(t, e), expectation{"client-key", "file-registry-key-mode", "file/" + key, want})
	}
}

// TestRuleInFile: what the kernel has not loaded watches nothing.
func TestRuleInFile(t *testing.T) {
	e := realdocker.Shared(t)
	rules := "/etc/audit/rules.d/50-casco-acceptance.rules"
	if err := os.MkdirAll(filepath.Dir(rules), 0o750); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(rules) })
	data := e.Root + "/data"
	outside.Write(t, rules, fmt.Sprintf("-w %s -p rwxa -k docker\n-w %s/longer -p rwxa -k docker\n", data, data))
	meets(t, outside.Findings(t, e), expectation{"rule-in-file", "watch-data-root", "watch/" + data, "fail"})
}

// TestMisjudgedSwarm makes a swarm of one.
func TestMisjudgedSwarm(t *testing.T) {
	e := realdocker.Start(t)
	e.Image("bb:s")
	e.Docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1")
	e.Docker("network", "create", "-d", "overlay", "clear")
	e.Docker("network", "create", "-d", "overlay", "--opt", "encrypted", "sealed")
	e.Docker("service", "create", "-d", "--name", "web", "--restart-condition", "any", "--restart-max-attempts", "5", "bb:s", "sleep", "600")
	task := ""
	for range 300 {
		if task = e.Docker("ps", "-q", "--filter", "label=com.docker.swarm.service.name=web"); task != "" {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if task == "" {
		t.Fatal(e.Docker("service", "ps", "web", "--no-trunc"))
	}
	name := strings.TrimPrefix(e.Docker("inspect", "-f", "{{.Name}}", task), "/")
	fs := outside.Findings(t, e)
	d := "daemon/" + e.Socket
	meets(t, fs,
		expectation{"ingress", "swarm-overlay-encryption", d, "fail"}, // because of the network "clear" alone
		expectation{"ingress", "swarm-ingress-encryption", d, "not-applicable"},
		expectation{"managers", "swarm-managers", d, "pass"},
		expectation{"restart-swarm", "container-restart", "container/" + name, "pass|not-applicable"})
	i := slices.IndexFunc(fs, func(f outside.Finding) bool { return f.Check == "swarm-managers" && f.Ref == d })
	if ev := fmt.Sprint(fs[i].Evidence); !strings.Contains(ev, "Managers 1 ") {
		t.Errorf("managers: counted otherwise than GET /info: %s", ev)
	}
	e.Docker("network", "rm", "clear")
	meets(t, outside.Findings(t, e), expectation{"ingress", "swarm-overlay-encryption", d, "pass"})
}
