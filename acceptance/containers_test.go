package acceptance

import (
	"fmt"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"casco/internal/outside"
	"casco/internal/realdocker"
)

// cgroup reads a container's limit from the cgroup files that it sees itself,
// of version 1 or 2, and says if it is not want.
func cgroup(v1, v2, want string) func(*testing.T, *realdocker.Engine, string) string {
	return func(t *testing.T, e *realdocker.Engine, name string) string {
		t.Helper()
		got := inside(t, e, name, "sh", "-c", fmt.Sprintf("cat /sys/fs/cgroup/%s 2>/dev/null || cat /sys/fs/cgroup/%s", v1, v2))
		if got != want {
			return fmt.Sprintf("%s is %s, want %s", v1, got, want)
		}
		return ""
	}
}

// shows says if docker inspect does not print want for a template.
func shows(format, want string) func(*testing.T, *realdocker.Engine, string) string {
	return func(t *testing.T, e *realdocker.Engine, name string) string {
		t.Helper()
		if got := e.Docker("inspect", "-f", format, name); got != want {
			return fmt.Sprintf("docker inspect -f %q prints %q, want %q", format, got, want)
		}
		return ""
	}
}

// status says if a line of /proc/1/status in the container is not want.
func status(key, want string) func(*testing.T, *realdocker.Engine, string) string {
	return func(t *testing.T, e *realdocker.Engine, name string) string {
		t.Helper()
		if got := strings.Fields(inside(t, e, name, "grep", "^"+key+":", "/proc/1/status"))[1]; got != want {
			return fmt.Sprintf("%s of its first process is %s, want %s", key, got, want)
		}
		return ""
	}
}

// inOwn says if the container still has a namespace of the engine's host.
func inOwn(ns string) func(*testing.T, *realdocker.Engine, string) string {
	return func(t *testing.T, e *realdocker.Engine, name string) string {
		t.Helper()
		pid := e.Docker("inspect", "-f", "{{.State.Pid}}", name)
		theirs := outside.Tool(t, "readlink", "/proc/"+pid+"/ns/"+ns)
		if host := outside.Tool(t, "readlink", fmt.Sprintf("/proc/%d/ns/%s", e.Pid(), ns)); theirs == host {
			return "its " + ns + " namespace is the engine's, " + host
		}
		return ""
	}
}

// unmounted says if the container still sees something at path.
func unmounted(path string) func(*testing.T, *realdocker.Engine, string) string {
	return func(t *testing.T, e *realdocker.Engine, name string) string {
		t.Helper()
		if out := inside(t, e, name, "cat", "/proc/mounts"); strings.Contains(out, " "+path+" ") {
			return path + " is still mounted"
		}
		return ""
	}
}

// limits are changed while the container runs.
var limits = []remedy{
	{
		cis: "5.11", check: "container-memory", set: []string{"HostConfig.Memory=67108864", "HostConfig.MemorySwap=134217728"},
		held: cgroup("memory/memory.limit_in_bytes", "memory.max", "67108864"),
	},
	{
		cis: "5.12", check: "container-cpu", set: []string{"HostConfig.NanoCpus=500000000"},
		held: cgroup("cpu/cpu.cfs_quota_us", "cpu.max", "50000"),
	},
	{cis: "5.29", check: "container-pids", suggested: true, held: cgroup("pids/pids.max", "pids.max", "64")},
}

// recreations need a new container in the place of the old one.
var recreations = []remedy{
	{
		cis: "5.4", check: "container-capabilities", set: []string{`HostConfig.CapAdd=["CHOWN"]`},
		held: status("CapEff", "0000000000000001"),
	},
	{
		cis: "5.5", check: "container-privileged", run: "--privileged --user 1000",
		held: shows("{{.HostConfig.Privileged}}", "false"),
	},
	{
		cis: "5.6", check: "container-sensitive-mount", run: "-v /etc:/hosts-etc", set: []string{"HostConfig.Binds=[]"},
		held: unmounted("/hosts-etc"),
	},
	{
		cis: "5.8", check: "container-privileged-port", run: "-p 127.0.0.1:81:8080",
		set:  []string{`HostConfig.PortBindings.8080/tcp=[{"HostIp":"127.0.0.1","HostPort":"8081"}]`},
		held: func(_ *testing.T, e *realdocker.Engine, _ string) string { return answering(e, "8081") },
	},
	{
		cis: "5.9", check: "container-unused-port", run: "-p 127.0.0.1:8082:9999",
		set:  []string{`HostConfig.PortBindings.9999/tcp=[]`},
		held: func(t *testing.T, e *realdocker.Engine, name string) string { return e.Docker("port", name) },
	},
	{cis: "5.10", check: "container-host-net", run: "--network host", set: []string{"HostConfig.NetworkMode=apps"}, held: inOwn("net")},
	{
		cis: "5.13", check: "container-read-only-root", suggested: true,
		held: func(t *testing.T, e *realdocker.Engine, name string) string {
			if root := inside(t, e, name, "grep", "^[^ ]* / ", "/proc/mounts"); !strings.Contains(root, " ro,") {
				return "its root is mounted " + root
			}
			return ""
		},
	},
	{
		cis: "5.14", check: "container-published-everywhere", run: "-p 8083:8080",
		set:  []string{`HostConfig.PortBindings.8080/tcp=[{"HostIp":"127.0.0.1","HostPort":"8083"}]`},
		held: shows(`{{(index .NetworkSettings.Ports "8080/tcp" 0).HostIp}}`, "127.0.0.1"),
	},
	{cis: "5.16", check: "container-host-pid", run: "--pid host", held: inOwn("pid")},
	{cis: "5.17", check: "container-host-ipc", run: "--ipc host", held: inOwn("ipc")},
	{
		cis: "5.18", check: "container-devices", run: "--device /dev/kmsg", set: []string{"HostConfig.Devices=[]"},
		held: func(_ *testing.T, e *realdocker.Engine, name string) string {
			if _, err := e.TryDocker("exec", name, "test", "-e", "/dev/kmsg"); err == nil {
				return "/dev/kmsg is there"
			}
			return ""
		},
	},
	{
		cis: "5.20", check: "container-mount-propagation", run: "-v @/shared:/shared:rshared", set: []string{`HostConfig.Binds=["@/shared:/shared:rprivate"]`},
		held: shows("{{(index .Mounts 0).Propagation}}", "rprivate"),
	},
	{cis: "5.21", check: "container-host-uts", run: "--uts host", held: inOwn("uts")},
	{cis: "5.22", check: "container-seccomp", run: "--security-opt seccomp=unconfined", held: status("Seccomp", "2")},
	{
		cis: "5.25", check: "container-cgroup-parent", run: "--cgroup-parent /%/elsewhere",
		held: func(t *testing.T, e *realdocker.Engine, name string) string {
			pid := e.Docker("inspect", "-f", "{{.State.Pid}}", name)
			if out := outside.Tool(t, "cat", "/proc/"+pid+"/cgroup"); strings.Contains(out, "elsewhere") {
				return "its cgroup is below elsewhere"
			}
			return ""
		},
	},
	{cis: "5.26", check: "container-no-new-privileges", held: status("NoNewPrivs", "1")},
	{
		cis: "5.27", check: "container-healthcheck",
		set:  []string{`Config.Healthcheck={"Test":["CMD","wget","-q","-O","/dev/null","http://127.0.0.1:8080/passwd"],"Interval":1000000000}`},
		held: shows("{{if .State.Health}}{{.State.Health.Status}}{{end}}", "healthy"),
	},
	{
		cis: "5.30", check: "container-default-bridge", run: "--network bridge", set: []string{"HostConfig.NetworkMode=apps"},
		held: shows("{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}", "apps "),
	},
	{cis: "5.31", check: "container-host-userns", run: "--userns host", held: shows("{{.HostConfig.UsernsMode}}", "")},
	{
		cis: "5.32", check: "container-engine-socket", run: "-v @/docker.sock:/var/run/docker.sock", set: []string{"HostConfig.Binds=[]"},
		held: unmounted("/var/run/docker.sock"),
	},
}

// stopped are cured in a container that does not run.
var stopped = []remedy{{
	cis: "5.19", check: "container-ulimits", set: []string{`HostConfig.Ulimits=[{"Name":"nofile","Soft":1024,"Hard":4096}]`},
	held: shows("{{range .HostConfig.Ulimits}}{{.Name}} {{.Soft}}:{{.Hard}}{{end}}", "nofile 1024:4096"),
}}

func answering(e *realdocker.Engine, port string) string {
	if got := published(e, port); !strings.HasPrefix(got, "root:") {
		return "port " + port + " does not answer: " + got
	}
	return ""
}

// unlimited are the ways in which docker inspect writes that a limit is not
// set. The engine takes no 0 in an update, so a limit that was not there before
// is taken back by raising it to what the kernel calls none: of memory the
// largest number of pages, of CPU all that there are.
var unlimited = regexp.MustCompile(`("Memory"|"MemorySwap"|"PidsLimit"|"NanoCpus"): (0|-1|null|9223372036854772000|` +
	strconv.Itoa(runtime.NumCPU()) + `000000000)\b`)

// TestContainers cures one container of each kind; a container without defects
// is the good twin of them all.
func TestContainers(t *testing.T) {
	e := realdocker.Start(t)
	e.Image("web:1")
	e.Docker("network", "create", "apps")
	sharedDirectory(t, filepath.Join(e.Root, "shared"))
	served := service(t, e)
	twin := container(t, e, "twin", "--network", "apps", "--memory", "64m", "--cpus", "0.5", "--pids-limit", "100", "--read-only",
		"--cap-drop", "ALL", "--cap-add", "CHOWN", "--security-opt", "no-new-privileges", "-p", "127.0.0.1:8090:8080",
		"-v", filepath.Join(e.Root, "shared")+":/shared:ro,rprivate",
		"--health-cmd", "wget -q -O /dev/null http://127.0.0.1:8080/passwd")
	good := outside.Findings(t, e)
	pid := e.Docker("inspect", "-f", "{{.State.Pid}}", twin)
	for i, r := range append(limits[:len(limits):len(limits)], recreations...) {
		t.Run(r.cis, func(t *testing.T) {
			if v := outside.Verdict(good, r.check, "container/"+twin); v != "pass" {
				t.Errorf("%s of the good twin: %q, want pass", r.check, v)
			}
			run := strings.NewReplacer("@", e.Root, "%", e.NetNS).Replace(r.run)
			name := container(t, e, "app"+strings.ReplaceAll(r.cis, ".", "x"), strings.Fields(run)...)
			before := e.Docker("inspect", "-f", "{{.State.Pid}}", name)
			answers := func() {
				t.Helper()
				served()
				if got := inside(t, e, name, "wget", "-q", "-O", "-", "http://127.0.0.1:8080/passwd"); !strings.HasPrefix(got, "root:") {
					t.Errorf("%s no longer answers: %s", name, got)
				}
			}
			ref := "container/" + name
			look := func() string { return inspect(t, e, name) }
			if i < len(limits) {
				look = func() string { return unlimited.ReplaceAllString(inspect(t, e, name), `$1: "no limit"`) }
			}
			turn(t, e, r.check, ref, r.args(e, ref), look,
				func() string { return r.held(t, e, name) }, answers)
			if after := e.Docker("inspect", "-f", "{{.State.Pid}}", name); i < len(limits) && after != before {
				t.Errorf("a live change and its rollback: process %s became %s", before, after)
			}
		})
	}
	if now := e.Docker("inspect", "-f", "{{.State.Pid}}", twin); now != pid {
		t.Errorf("a container that no plan named was restarted: process %s became %s", pid, now)
	}
}

// TestUlimits needs no start: an engine that may not raise its own limit of
// open files can create such a container, but not start it.
func TestUlimits(t *testing.T) {
	e := realdocker.Shared(t)
	e.Image("web:1")
	name := "unlimited"
	e.Docker("create", "--name", name, "--ulimit", "nofile=2000000:2000000", "web:1", "httpd", "-f")
	t.Cleanup(func() { e.Docker("rm", "-f", name) })
	r := stopped[0]
	turn(t, e, r.check, "container/"+name, r.args(e, "container/"+name), func() string { return inspect(t, e, name) },
		func() string { return r.held(t, e, name) }, func() {})
}

// sharedDirectory makes a mount whose mounts are passed on.
func sharedDirectory(t *testing.T, dir string) {
	t.Helper()
	outside.Tool(t, "mkdir", dir)
	outside.Tool(t, "mount", "-t", "tmpfs", "casco-acceptance", dir)
	outside.Tool(t, "mount", "--make-shared", dir)
}
