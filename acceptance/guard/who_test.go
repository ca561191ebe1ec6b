package guard

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"casco/internal/handtest"
	"casco/internal/outside"
	"casco/internal/realdocker"
)

// seccompNames are system calls that a small program of Go needs to be run by
// runc.
const seccompNames = `access arch_prctl brk capget capset chdir clock_gettime clone clone3 close connect dup dup2 dup3 epoll_create1 epoll_ctl epoll_pwait epoll_wait
	eventfd2 execve exit exit_group faccessat faccessat2 fchown fcntl fstat fstatfs futex getcwd getdents64 getegid geteuid getgid getpid getppid getrandom
	getrlimit getsockname getuid ioctl kill listen lseek lstat madvise mmap mprotect munmap nanosleep newfstatat open openat pipe2 poll ppoll prctl
	pread64 prlimit64 read readlink readlinkat recvmsg restart_syscall rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield sendmsg
	sendto set_robust_list set_tid_address setgid setgroups setuid sigaltstack socket stat statx tgkill uname wait4 waitid write writev`

// A whoAnswer is what "casco who KIND/NAME --format json" says.
type whoAnswer struct {
	Objects []struct {
		ID     string
		Names  []string
		There  *bool
		Origin struct {
			Known         bool
			By, What, Why string
			Rogue         *struct {
				Engine, Namespace, Runtime string
				PID                        int
			}
		}
		Acts []whoAct
	}
	Asked []whoAct
}

type whoAct struct {
	Decision, Ref, Endpoint, Request, With string
	Made                                   bool
	Status                                 int
	Caller                                 struct {
		UID, PID  int64
		Container string
		Via       string
	}
	Refusals []struct{ Rule string }
	Added    []struct{ Field, Value, Path string }
}

// who asks casco about an object, and wants it to end with a code.
func (g *guarding) who(code int, ref string) (a whoAnswer) {
	g.w.t.Helper()
	cmd := exec.Command(g.program, "--host", "unix://"+g.w.e.Socket, "--state", g.state, "--run", g.run, "--format", "json", "--lang", "en", "who", ref)
	out, err := cmd.Output()
	if got := cmd.ProcessState.ExitCode(); got != code {
		g.w.t.Errorf("casco who %s: exit code %d, want %d: %v\n%s", ref, got, code, err, out)
	}
	if err := json.Unmarshal(out, &a); err != nil && len(out) > 0 {
		g.w.t.Fatalf("casco who %s: %v\n%s", ref, err, out)
	}
	return a
}

// TestWho: whoever asked the engine for something is in the ledger, with what
// was decided and added, and "casco who" tells it, with a guard at work and
// without.
func TestWho(t *testing.T) {
	w := newWorld(t)
	runc, err := exec.LookPath("runc")
	handtest.Need(t, err == nil, "runc")
	w.lock(runc, "")
	w.e.Restart()
	names, _ := json.Marshal(strings.Fields(seccompNames))
	profile := filepath.Join(w.e.Root, "profile.json")
	outside.Write(t, profile, fmt.Sprintf(`{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": %s, "action": "SCMP_ACT_ALLOW"}]}`, names))
	w.e.Docker("run", "-d", "--name", "older", w.image, "wait")
	g := w.newGuard("tiers: [{id: all, impact: 1}]\nassign: [{default: all}]\nadmission:\n  mode: enforce\n  rules: {object-delete: {mode: observe}}\n" +
		"  add: {no_new_privileges: true, cap_drop: [NET_RAW], pids: 200, log_max_size: 10m, log_max_file: 3, runtime: other, seccomp: " + profile + "}\n")
	g.mode(false)
	socket := filepath.Join(w.e.Root, "door.sock")
	plugin := "casco-" + strings.TrimPrefix(w.e.NetNS, "casco-")
	g.more = []string{"--door", socket, "--plugin", filepath.Join("/run/docker/plugins", plugin+".sock")}
	t.Cleanup(func() { os.Remove(filepath.Join("/run/docker/plugins", plugin+".sock")) }) // of a guard that was killed
	g.start()
	w.lock(runc, plugin)
	docker := func(args ...string) (string, error) {
		out, err := exec.Command("docker", append([]string{"-H", "unix://" + socket}, args...)...).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	for range 100 {
		if _, err := docker("version"); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	file := filepath.Join(w.e.Root, "file")
	outside.Write(t, file, "x")
	for _, args := range [][]string{
		{"network", "create", "n1"},
		{"volume", "create", "v1"},
		{"run", "-d", "--name", "web", "-e", "PASSWORD=not-to-be-told", "--label", "key=not-to-be-told", w.image, "wait"},
		{"exec", "-e", "TOKEN=not-to-be-told", "web", "/probe", "exit", "0"},
		{"cp", file, "web:/tmp/file"},
		{"network", "connect", "n1", "web"},
		{"update", "--memory", "200m", "--memory-swap", "200m", "web"},
		{"rename", "web", "shop"},
		{"stop", "-t", "0", "shop"},
		{"start", "shop"},
		{"tag", w.image, "mine:1"},
		{"rm", "-f", "older"},
		{"run", "--rm", w.image, "exit", "0"},
	} {
		if out, err := docker(args...); err != nil {
			t.Fatalf("docker %v: %v\n%s", args, err, out)
		}
	}
	if out, err := docker("run", "--privileged", "--name", "bad", w.image, "exit", "0"); err == nil {
		t.Errorf("--privileged: %s", out)
	}
	w.e.Docker("create", "--name", "side", w.image, "wait")
	if out, err := w.e.TryDocker("create", "--privileged", "--name", "side2", w.image, "wait"); err == nil {
		t.Errorf("--privileged past the door: %s", out)
	}
	testAdded(t, w)
	for _, at := range []string{"with a guard", "without"} {
		if at == "without" {
			w.lock(runc, "")
			g.stop()
		} else {
			time.Sleep(1500 * time.Millisecond) // what was decided is written once a second
		}
		testWho(t, g, at)
	}
	log, err := exec.Command(g.program, "--state", g.state, "log", "show", "--lang", "en").CombinedOutput()
	if err != nil || strings.Contains(string(log), "not-to-be-told") || strings.Contains(string(log), `"What":"lost"`) {
		t.Errorf("the ledger has a secret, or lost something: %v\n%.2000s", err, log)
	}
}

// lock has the engine know another runtime and ask a plugin, or none.
func (w *netWorld) lock(runc, plugin string) {
	w.t.Helper()
	plugins := "[]"
	if plugin != "" {
		plugins = fmt.Sprintf("[%q]", plugin)
	}
	outside.Write(w.t, w.e.Config, fmt.Sprintf(`{"runtimes": {"other": {"path": %q}}, "authorization-plugins": %s}`, runc, plugins))
	if err := syscall.Kill(w.e.Pid(), syscall.SIGHUP); err != nil {
		w.t.Fatal(err)
	}
	for range 100 {
		_, err := w.e.TryDocker("update", "--cpus", "1", "nobody")
		if err == nil || strings.Contains(err.Error(), "authorization denied") == (plugin != "") {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	w.t.Fatal("the engine does not read its file again")
}

// testAdded: what was added is on the container: the engine and the kernel say
// so, and its label lists it.
func testAdded(t *testing.T, w *netWorld) {
	t.Helper()
	if got, want := w.e.Docker("inspect", "-f", `{{index .Config.Labels "casco.added"}}`, "shop"), "no_new_privileges,cap_drop,pids,runtime,seccomp,log_max_size,log_max_file"; got != want {
		t.Errorf("label: %q, want %q", got, want)
	}
	got := w.e.Docker("inspect", "-f", `{{.HostConfig.Runtime}} {{.HostConfig.CapDrop}} {{.HostConfig.PidsLimit}} {{.HostConfig.LogConfig.Config}}`, "shop")
	if want := "other [NET_RAW] 200 map[max-file:3 max-size:10m]"; got != want {
		t.Errorf("the engine has %s, want %s", got, want)
	}
	status, err := os.ReadFile("/proc/" + w.e.Docker("inspect", "-f", "{{.State.Pid}}", "shop") + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NoNewPrivs:\t1\n", "Seccomp:\t2\n"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("its process has no %q:\n%s", want, status)
		}
	}
}

func testWho(t *testing.T, g *guarding, at string) {
	t.Helper()
	for _, name := range []string{"web", "shop"} {
		a := g.who(0, "container/"+name)
		if len(a.Objects) != 1 {
			t.Fatalf("%s: %s: %+v", at, name, a)
		}
		o := a.Objects[0]
		var did []string
		for _, act := range o.Acts {
			did = append(did, act.Endpoint)
			if act.Caller.UID != 0 || act.Caller.PID == 0 || act.Caller.Via != filepath.Join(g.w.e.Root, "door.sock") || act.Decision != "allowed" || act.Status/100 > 2 {
				t.Errorf("%s: %s: %+v", at, name, act)
			}
		}
		want := []string{
			"POST /containers/create", "POST /containers/{id}/start", "POST /containers/{id}/exec", "POST /exec/{id}/start", "PUT /containers/{id}/archive",
			"POST /networks/{id}/connect", "POST /containers/{id}/update", "POST /containers/{id}/rename", "POST /containers/{id}/stop",
		}
		for _, w := range want {
			if !slices.Contains(did, w) {
				t.Errorf("%s: %s: no %s among %v", at, name, w, did)
			}
		}
		if made := o.Acts[0]; !made.Made || made.Status != 201 || len(made.Added) != 7 || made.Added[0].Path != "admission.add.no_new_privileges" || !strings.HasPrefix(made.Added[4].Value, "seccomp=") {
			t.Errorf("%s: %s: made by %+v", at, name, made)
		}
		if !o.Origin.Known || o.Origin.By != "call" || !slices.Equal(o.Names, []string{"container/web", "container/shop"}) {
			t.Errorf("%s: %s: %+v %v", at, name, o.Origin, o.Names)
		}
	}
	if a := g.who(0, "container/bad"); len(a.Objects) != 0 || len(a.Asked) != 1 || a.Asked[0].Decision != "refused" || a.Asked[0].Refusals[0].Rule != "container-privileged" {
		t.Errorf("%s: what was refused: %+v", at, a)
	}
	side := g.who(0, "container/side")
	if len(side.Objects) != 1 || len(side.Objects[0].Acts) != 1 || !side.Objects[0].Origin.Known || side.Objects[0].Acts[0].Caller.Via != "authz" || side.Objects[0].Acts[0].Status != 201 || side.Objects[0].Acts[0].Caller.UID != -1 {
		t.Errorf("%s: past the door, seen by the plugin: %+v", at, side)
	}
	if a := g.who(0, "container/side2"); len(a.Asked) != 1 || a.Asked[0].Caller.Via != "authz" {
		t.Errorf("%s: refused by the plugin: %+v", at, a)
	}
	for _, ref := range []string{"network/n1", "volume/v1"} {
		if a := g.who(0, ref); len(a.Objects) != 1 || !a.Objects[0].Origin.Known || !a.Objects[0].Acts[0].Made {
			t.Errorf("%s: %s: %+v", at, ref, a)
		}
	}
	if a := g.who(0, "network/n1"); len(a.Objects[0].Acts) != 2 || a.Objects[0].Acts[1].With != "network/n1" || a.Objects[0].Acts[1].Ref != "container/web" {
		t.Errorf("%s: who was put on the network: %+v", at, a)
	}
	if a := g.who(0, "image/mine:1"); len(a.Objects) != 1 || a.Objects[0].Acts[0].With != "image/"+g.w.image {
		t.Errorf("%s: an image: %+v", at, a)
	}
	if a := g.who(3, "container/older"); len(a.Objects) != 1 || a.Objects[0].Origin.Known || a.Objects[0].Acts[0].Endpoint != "DELETE /containers/{id}" || a.Objects[0].Acts[0].Decision != "observed" {
		t.Errorf("%s: one that was there before: %+v", at, a)
	}
	g.who(1, "container/never")
	g.who(2, "file/x")
}

// A bundle is a directory from which runc starts a container; its program is
// the probe.
func (w *netWorld) bundle(name string, args ...string) string {
	w.t.Helper()
	dir := filepath.Join(w.e.Root, "bundle-"+name)
	if err := os.MkdirAll(filepath.Join(dir, "rootfs", "tmp"), 0o755); err != nil {
		w.t.Fatal(err)
	}
	outside.Tool(w.t, "cp", w.probe, filepath.Join(dir, "rootfs", "probe"))
	spec := exec.Command("runc", "spec")
	spec.Dir = dir
	if out, err := spec.CombinedOutput(); err != nil {
		w.t.Fatalf("runc spec: %v\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		w.t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(b, &config); err != nil {
		w.t.Fatal(err)
	}
	process := config["process"].(map[string]any)
	process["args"], process["terminal"] = append([]string{"/probe"}, args...), false
	config["linux"].(map[string]any)["cgroupsPath"] = "/" + w.e.NetNS + "/" + name
	if b, err = json.Marshal(config); err != nil {
		w.t.Fatal(err)
	}
	outside.Write(w.t, filepath.Join(dir, "config.json"), string(b))
	return dir
}

// rogueTime is how soon a container whose origin nobody knows must be told of.
const rogueTime = 2 * time.Second

// rogue runs what makes a container, and wants the guard to say within two
// seconds that nobody knows its origin. The time is from when it began, or,
// of a container that others must make first, from when match says.
func (g *guarding) rogue(name, ref string, begin func()) {
	g.w.t.Helper()
	began := time.Now()
	begin()
	made := time.Now()
	for time.Since(made) < rogueTime+g.slack() {
		var s struct {
			Unknown []struct{ Ref, Why string } `json:"origin_unknown"`
			Events  []struct{ Kind, Container string }
		}
		if err := g.call(http.MethodGet, "/v1/status", &s); err != nil {
			g.w.t.Fatal(err)
		}
		told := slices.ContainsFunc(s.Events, func(e struct{ Kind, Container string }) bool {
			return e.Kind == "origin-unknown" && "container/"+e.Container == ref
		})
		if told {
			g.w.t.Logf("%s: %v after it was asked for, %v after that had returned", name, time.Since(began).Round(time.Millisecond), time.Since(made).Round(time.Millisecond))
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	g.w.t.Errorf("%s: %s was not told of in %v", name, ref, rogueTime)
}

// slack is how much later something may be seen on a machine that has more to do
// than it has processors.
func (g *guarding) slack() time.Duration {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		g.w.t.Fatal(err)
	}
	var load float64
	if _, err := fmt.Sscan(string(b), &load); err != nil {
		g.w.t.Fatal(err)
	}
	return time.Duration(load/8) * time.Second
}

// TestRogue: a container that is made past the door, in whatever way, is told of
// within two seconds, and who asks about it hears that its origin is unknown.
func TestRogue(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"runc", "ctr"} {
		_, err := exec.LookPath(name)
		handtest.Need(t, err == nil, name)
	}
	other := realdocker.Start(t)
	other.Probe("probe:net")
	g := w.newGuard("tiers: [{id: all, impact: 1}]\nassign: [{default: all}]\nadmission: {mode: observe}\n")
	g.mode(false)
	socket := filepath.Join(w.e.Root, "door.sock")
	g.more = []string{"--door", socket}
	g.start()
	var judged error
	for range 100 {
		if judged = exec.Command("docker", "-H", "unix://"+socket, "run", "-d", "--name", "judged", w.image, "wait").Run(); judged == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if judged != nil {
		t.Fatal(judged)
	}
	g.rogue("at the engine's own socket", "container/private", func() { w.e.Docker("create", "--name", "private", w.image, "wait") })
	g.rogue("there and gone again", "container/short", func() { w.e.Docker("run", "--rm", "--name", "short", w.image, "exit", "0") })

	run := func(cmd *exec.Cmd) {
		t.Helper()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	}
	id := w.e.NetNS
	ctr := func(args ...string) *exec.Cmd {
		return exec.Command("ctr", append([]string{"-a", filepath.Join(w.e.Root, "ctrd.sock"), "-n", "other"}, args...)...)
	}
	rootfs := filepath.Join(w.bundle("ctr"), "rootfs")
	g.rogue("by ctr", "container/other/"+id+"c", func() { run(ctr("run", "--rm", "--rootfs", rootfs, id+"c", "/probe", "wait")) })
	t.Cleanup(func() { ctr("task", "kill", "-s", "SIGKILL", id+"c").Run() })

	end := func(program, id string) { t.Cleanup(func() { exec.Command(program, "delete", "--force", id).Run() }) }
	g.rogue("by runc", "container/runc/"+id+"r", func() { run(exec.Command("runc", "run", "--bundle", w.bundle("runc", "wait"), id+"r")) })
	end("runc", id+"r")
	g.rogue("by runc, and gone at once", "container/runc/"+id+"s", func() { outside.Tool(t, "runc", "run", "--bundle", w.bundle("gone", "exit", "0"), id+"s") })
	copied := filepath.Join(w.e.Root, "a-tool")
	runc, err := exec.LookPath("runc")
	if err != nil {
		t.Fatal(err)
	}
	outside.Tool(t, "cp", runc, copied)
	g.rogue("by a copy of runc under another name", "container/runc/"+id+"x", func() {
		cmd := exec.Command(copied, "--root", filepath.Join(w.e.Root, "runc"), "run", "--bundle", w.bundle("copy", "wait"), id+"x")
		cmd.Stderr = os.Stderr
		run(cmd)
	})
	t.Cleanup(func() {
		exec.Command(copied, "--root", filepath.Join(w.e.Root, "runc"), "delete", "--force", id+"x").Run()
	})

	var theirs string
	g.rogue("by another engine", "container/moby/"+theirsOf(t, other, w.image, &theirs), func() { other.Docker("start", "theirs") })

	testRogueTold(t, g, id, theirs)
}

// theirsOf makes a container of another engine, which has not started.
func theirsOf(t *testing.T, other *realdocker.Engine, image string, id *string) string {
	t.Helper()
	*id = other.Docker("create", "--name", "theirs", image, "wait")
	return *id
}

// testRogueTold: who asks is told what was seen, also when the guard has ended;
// what was judged is not among it, and a guard that begins again tells nothing
// twice.
func testRogueTold(t *testing.T, g *guarding, id, theirs string) {
	t.Helper()
	time.Sleep(1500 * time.Millisecond)
	alerts := func(ref string) int {
		out, err := exec.Command(g.program, "--state", g.state, "log", "show", "--kind", "alert", "--about", ref, "--lang", "en").Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(out), `"what":"origin-unknown"`)
	}
	list := func() string {
		cmd := exec.Command(g.program, "--host", "unix://"+g.w.e.Socket, "--state", g.state, "--run", g.run, "--lang", "en", "who")
		out, err := cmd.Output()
		if code := cmd.ProcessState.ExitCode(); code != 3 {
			t.Errorf("casco who: %v\n%s", err, out)
		}
		return string(out)
	}
	said := list()
	for _, ref := range []string{"container/private", "container/other/" + id + "c", "container/runc/" + id + "r", "container/moby/" + theirs[:12]} {
		if !strings.Contains(said, ref) {
			t.Errorf("casco who does not list %s:\n%s", ref, said)
		}
	}
	if strings.Contains(said, "container/judged") {
		t.Errorf("what was judged is listed:\n%s", said)
	}
	g.stop()
	if a := g.who(3, "container/private"); a.Objects[0].Origin.Why != "past-door" {
		t.Errorf("%+v", a)
	}
	if a := g.who(3, "container/short"); a.Objects[0].Origin.Why != "past-door" || *a.Objects[0].There {
		t.Errorf("%+v", a)
	}
	if a := g.who(3, "container/other/"+id+"c"); a.Objects[0].Origin.Why != "past-engine" || a.Objects[0].Origin.Rogue.Namespace != "other" {
		t.Errorf("%+v", a)
	}
	g.who(0, "container/judged")
	g.w.e.Docker("create", "--name", "meanwhile", g.w.image, "wait")
	g.start()
	g.rogue("made while no guard was at work", "container/meanwhile", func() {})
	time.Sleep(1500 * time.Millisecond)
	if a := g.who(3, "container/meanwhile"); a.Objects[0].Origin.Why != "guard-away" {
		t.Errorf("%+v", a)
	}
	if strings.Contains(list(), "container/judged") {
		t.Error("a guard that began again does not know what the last one judged")
	}
	for _, ref := range []string{"container/private", "container/other/" + id + "c", "container/runc/" + id + "r", "container/meanwhile"} {
		if n := alerts(ref); n != 1 {
			t.Errorf("%s was told of %d times", ref, n)
		}
	}
}
