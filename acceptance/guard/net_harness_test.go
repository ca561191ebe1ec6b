package guard

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"casco/internal/handtest"
	"casco/internal/outside"
	"casco/internal/realdocker"
	"casco/lab/actor"
)

// Addresses of the world beyond the host of a net test: see newWorld.
const (
	outsideAddr = "198.51.100.2" // of somebody outside
	hostAddr    = "198.51.100.1" // of the host, towards outside
	metadata    = "169.254.169.254"
)

// A netWorld is an engine with a network around it: its namespace is the host,
// a veth leads to another namespace, which is everybody else. Counters are at
// work in containers, on the host and outside; they say what arrived.
type netWorld struct {
	t       testing.TB
	e       *realdocker.Engine
	image   string
	probe   string // the same program on the machine
	dir     string // of the counters' sockets, mounted at /at
	outside string // namespace
	tag     atomic.Int64
	guard   *guarding
}

// netTest says whether this machine can, and skips.
func netTest(t testing.TB) {
	t.Helper()
	handtest.NeedRoot(t)
	for _, tool := range []string{"nft", "ip", "iptables", "nsenter"} {
		_, err := exec.LookPath(tool)
		handtest.Need(t, err == nil, tool)
	}
}

func newWorld(t testing.TB, args ...string) *netWorld {
	t.Helper()
	netTest(t)
	w := &netWorld{t: t, e: realdocker.Start(t, args...)}
	w.image = w.e.Probe("probe:net")
	w.dir = filepath.Join(w.e.Root, "at")
	if err := os.Mkdir(w.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w.probe = filepath.Join(w.dir, "probe")
	build := exec.Command("go", "build", "-o", w.probe, "../../lab/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.outside = w.e.NetNS + "x"
	outside.Tool(t, "ip", "netns", "add", w.outside)
	t.Cleanup(func() { outside.Tool(t, "ip", "netns", "del", w.outside) })
	for _, args := range []string{
		"-n " + w.outside + " link add wire type veth peer name wire netns " + w.e.NetNS,
		"-n " + w.outside + " link set lo up",
		"-n " + w.outside + " addr add " + outsideAddr + "/24 dev wire",
		"-n " + w.outside + " addr add " + metadata + "/32 dev wire",
		"-n " + w.outside + " -6 addr add 2001:db8:9::2/64 dev wire nodad",
		"-n " + w.outside + " link set wire up",
		"-n " + w.e.NetNS + " addr add " + hostAddr + "/24 dev wire",
		"-n " + w.e.NetNS + " -6 addr add 2001:db8:9::1/64 dev wire nodad",
		"-n " + w.e.NetNS + " link set wire up",
		"-n " + w.e.NetNS + " route add default via " + outsideAddr,
		"-n " + w.outside + " route add 10.0.0.0/8 via " + hostAddr,
		"-n " + w.outside + " -6 route add fd00::/16 via 2001:db8:9::1",
	} {
		outside.Tool(t, "ip", strings.Fields(args)...)
	}
	w.sysctl("net.ipv6.conf.all.forwarding", "1")
	return w
}

// sysctl sets one of the host's.
func (w *netWorld) sysctl(name, value string) {
	w.t.Helper()
	path := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
	if out, err := w.e.Enter("sh", "-c", "echo "+value+" >"+path).CombinedOutput(); err != nil {
		w.t.Fatalf("%s: %v %s", path, err, out)
	}
}

// counterIn starts a counter as a process in a namespace.
func (w *netWorld) counterIn(netns, name string, addrs ...string) {
	w.t.Helper()
	args := append([]string{"--net=/run/netns/" + netns, "--", w.probe, "count", "-at", w.at(name)}, addrs...)
	cmd := exec.Command("nsenter", args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	w.ready(name)
}

// counterBox starts a counter as a container: args are of docker run, and what
// follows "--" are addresses.
func (w *netWorld) counterBox(name string, args ...string) {
	w.t.Helper()
	addrs := []string{":7000"}
	if i := slices.Index(args, "--"); i >= 0 {
		args, addrs = args[:i], args[i+1:]
	}
	run := append([]string{"run", "-d", "--name", name, "-v", w.dir + ":/at"}, args...)
	w.e.Docker(append(append(run, w.image, "count", "-at", "/at/"+name), addrs...)...)
	w.ready(name)
}

func (w *netWorld) at(name string) string { return filepath.Join(w.dir, name) }

// ready waits until a counter answers.
func (w *netWorld) ready(name string) {
	w.t.Helper()
	var err error
	for range 400 {
		if _, err = actor.Order(w.at(name), actor.Orders{}); err == nil {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	out, _ := w.e.TryDocker("logs", name)
	w.t.Fatalf("counter %s does not answer: %v\n%s", name, err, out)
}

// counts is what a counter has.
func (w *netWorld) counts(name string) actor.Counts {
	w.t.Helper()
	r, err := actor.Order(w.at(name), actor.Orders{})
	if err != nil {
		w.t.Fatalf("counter %s: %v", name, err)
	}
	return r.Counts
}

// clear makes a counter begin anew.
func (w *netWorld) clear(names ...string) {
	w.t.Helper()
	for _, name := range names {
		if _, err := actor.Order(w.at(name), actor.Orders{Clear: true}); err != nil {
			w.t.Fatalf("counter %s: %v", name, err)
		}
	}
}

// newTag is a tag that nobody else has.
func (w *netWorld) newTag() string { return fmt.Sprintf("tag%dx", w.tag.Add(1)) }

// try has a counter try one thing, and says whether it was answered.
func (w *netWorld) try(name string, t actor.Try) actor.Tried {
	w.t.Helper()
	if t.Tag == "" {
		t.Tag = w.newTag()
	}
	r, err := actor.Order(w.at(name), actor.Orders{Tries: []actor.Try{t}})
	if err != nil || len(r.Tried) != 1 {
		w.t.Fatalf("counter %s: %v", name, err)
	}
	return r.Tried[0]
}

// addr is the address of a container on a network.
func (w *netWorld) addr(name, network string) string {
	w.t.Helper()
	return w.e.Docker("inspect", "-f", `{{(index .NetworkSettings.Networks "`+network+`").IPAddress}}`, name)
}

// inNet runs a program of the machine in the host's namespace.
func (w *netWorld) inNet(name string, args ...string) string {
	w.t.Helper()
	return w.prints(w.e.Enter(name, args...))
}

// prints is the standard output of a program: on the other, ip says what it
// thinks of namespaces that are nobody's here.
func (w *netWorld) prints(cmd *exec.Cmd) string {
	w.t.Helper()
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("%s: %v\n%s", cmd, err, &errs)
	}
	return string(out)
}

// inBox runs a program of the machine in the network namespace of a container.
func (w *netWorld) inBox(box, name string, args ...string) string {
	w.t.Helper()
	pid := w.e.Docker("inspect", "-f", "{{.State.Pid}}", box)
	return w.prints(exec.Command("nsenter", append([]string{"-t", pid, "-n", "--", name}, args...)...))
}

// The ways in which a start is held until its rules are in place: by asking the
// kernel, or by a wrapper of the runtime.
const (
	byFanotify = "fanotify"
	byRuntime  = "runtime"
)

// wrap has the engine start containers by the wrapper, which asks the guard in
// run. The containers that are to live on have a restart policy.
func (w *netWorld) wrap(run string) {
	w.t.Helper()
	runc, err := exec.LookPath("runc")
	handtest.Need(w.t, err == nil, "runc")
	dir := filepath.Join(w.e.Root, "runtime")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", dir+"/casco-runtime", "../../cmd/casco-runtime")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
	outside.Write(w.t, dir+"/runtime.json", fmt.Sprintf(`{"runtime": %q, "gate": %q}`, runc, filepath.Join(run, "gate.sock")))
	outside.Write(w.t, w.e.Config, fmt.Sprintf(`{"default-runtime": "casco", "runtimes": {"casco": {"path": %q, "runtimeArgs": ["--casco-config", %q]}}}`,
		dir+"/casco-runtime", dir+"/runtime.json"))
	w.e.Restart()
}

// A guarding is a casco guard at work.
type guarding struct {
	w        *netWorld
	program  string // as it is built, or another build of it
	state    string
	run      string
	policy   string     // its file; "" for the one in force
	more     []string   // arguments
	launcher []string   // of the program: a shell with limits, for instance
	files    []*os.File // that it is given beside its output, from 3 on
	cmd      *exec.Cmd
	log      *lines
	ended    chan struct{}
}

// lines is a log that is written while it is read.
type lines struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newGuard is a guard for w that goes by a policy, of which only tiers, assign,
// flows and what follows are given. It does not work yet.
func (w *netWorld) newGuard(policy string) *guarding {
	w.t.Helper()
	g := &guarding{
		w: w, program: outside.Program(w.t), log: &lines{},
		state: filepath.Join(w.e.Root, "gstate"), run: filepath.Join(w.e.Root, "grun"), policy: filepath.Join(w.e.Root, "policy.yaml"),
	}
	if err := os.MkdirAll(g.state, 0o700); err != nil {
		w.t.Fatal(err)
	}
	g.setPolicy(policy)
	g.mode(true)
	if out, err := exec.Command(g.program, "policy", "lint", g.policy).CombinedOutput(); err != nil {
		w.t.Fatalf("policy lint: %v\n%s", err, out)
	}
	w.t.Cleanup(g.kill)
	return g
}

func (g *guarding) setPolicy(policy string) {
	outside.Write(g.w.t, g.policy, "apiVersion: casco/v1\nkind: Policy\nmetadata: {name: net, version: 1}\n"+policy)
}

func (g *guarding) mode(enforce bool) {
	outside.Write(g.w.t, filepath.Join(g.state, "network.json"), fmt.Sprintf(`{"enforce":%v}`, enforce))
}

// start starts the guard and waits until it works.
func (g *guarding) start() {
	g.w.t.Helper()
	if err := g.tryStart(); err != nil {
		g.w.t.Fatal(err)
	}
}

func (g *guarding) tryStart() error {
	args := append(slices.Clone(g.launcher), g.program, "guard", "--host", "unix://"+g.w.e.Socket, "--state", g.state,
		"--run", g.run, "--lang", "en")
	if g.policy != "" {
		args = append(args, "--policy", g.policy)
	}
	args = append(args, g.more...)
	g.cmd = exec.Command(args[0], args[1:]...)
	g.cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+filepath.Join(g.w.e.Root, "cli"), "DOCKER_HOST=", "DOCKER_CONTEXT=")
	g.cmd.Stdout, g.cmd.Stderr, g.cmd.ExtraFiles = g.log, g.log, g.files
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// Its helper has the same output, and ends only after it.
	g.cmd.WaitDelay = 5 * time.Second
	if err := g.cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	g.ended = ended
	cmd := g.cmd
	go func() { cmd.Wait(); close(ended) }()
	for range 600 {
		if _, err := g.status(); err == nil {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("the guard ended: %v\n%s", cmd.ProcessState, g.log)
		case <-time.After(25 * time.Millisecond):
		}
	}
	cmd.Process.Signal(syscall.SIGQUIT) // it says where it is
	<-ended
	return fmt.Errorf("the guard does not answer\n%s", g.log)
}

// signal sends the guard a signal.
func (g *guarding) signal(s syscall.Signal) {
	g.w.t.Helper()
	if err := g.cmd.Process.Signal(s); err != nil {
		g.w.t.Fatal(err)
	}
}

// stop ends it as a service manager does.
func (g *guarding) stop() {
	g.w.t.Helper()
	g.signal(syscall.SIGTERM)
	select {
	case <-g.ended:
		if code := g.cmd.ProcessState.ExitCode(); code != 0 {
			g.w.t.Errorf("the guard ended with %d\n%s", code, g.log)
		}
	case <-time.After(20 * time.Second):
		g.w.t.Errorf("the guard does not end on SIGTERM\n%s", g.log)
		g.kill()
	}
}

// quiet wants nothing to have gone wrong that nobody did on purpose.
func (g *guarding) quiet() {
	g.w.t.Helper()
	seen := 0
	for line := range strings.Lines(g.log.String()) {
		if (strings.Contains(line, "msg=trouble") || strings.Contains(line, "msg=tampered") || strings.Contains(line, "level=ERROR")) && seen < 10 {
			g.w.t.Errorf("the guard says: %s", line)
			seen++
		}
	}
}

// kill ends it at once, if it runs.
func (g *guarding) kill() {
	if g.cmd == nil || g.ended == nil {
		return
	}
	g.cmd.Process.Signal(syscall.SIGCONT)
	g.cmd.Process.Kill()
	<-g.ended
}

// A guardStatus is what the guard says of itself, as far as tests read it.
type guardStatus struct {
	Enforce bool
	Start   string
	PID     int `json:"pid"`
	Network struct {
		Namespaces, Containers, Elements int
		Ungoverned                       []string
		Owned                            bool
	}
	Events []struct {
		Kind, Container string
		Text            struct{ En string }
		Count           uint64
	}
}

func (g *guarding) call(method, path string, out any) error {
	c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(g.run, "guard.sock"))
		},
	}}
	req, err := http.NewRequest(method, "http://guard"+path, nil)
	if err != nil {
		return err
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s %v\n%s", path, res.Status, err, b)
	}
	var a struct{ Value json.RawMessage }
	if err := json.Unmarshal(b, &a); err != nil || out == nil {
		return err
	}
	return json.Unmarshal(a.Value, out)
}

func (g *guarding) status() (s guardStatus, err error) {
	return s, g.call(http.MethodGet, "/v1/status", &s)
}

// reload has the guard read policy and mode again.
func (g *guarding) reload() {
	g.w.t.Helper()
	if err := g.call(http.MethodPost, "/v1/reload", nil); err != nil {
		g.w.t.Fatal(err)
	}
}

// event waits until the guard tells of something.
func (g *guarding) event(kind, container string) bool {
	return g.eventWithin(5*time.Second, kind, container)
}

func (g *guarding) eventWithin(d time.Duration, kind, container string) bool {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		s, err := g.status()
		for _, e := range s.Events {
			if err == nil && e.Kind == kind && strings.HasPrefix(e.Container, container) {
				return true
			}
		}
	}
	return false
}

// told reports whether the guard has told of something of just that container.
func (g *guarding) told(kind, container string) bool {
	g.w.t.Helper()
	s, err := g.status()
	if err != nil {
		g.w.t.Fatal(err)
	}
	for _, e := range s.Events {
		if e.Kind == kind && e.Container == container {
			return true
		}
	}
	return false
}

var tookPattern = regexp.MustCompile(`msg="gate: start" container=(\w+) verb=start .*took=(\S+)`)

// took is how long the guard held each start of its engine's containers: those
// of others it lets go at once.
func (g *guarding) took() (all []time.Duration) {
	for _, m := range tookPattern.FindAllStringSubmatch(g.log.String(), -1) {
		if d, err := time.ParseDuration(m[2]); err == nil {
			if _, err := os.Stat(filepath.Join(g.w.e.Root, "data", "containers", m[1])); err == nil || d > 100*time.Microsecond {
				all = append(all, d)
			}
		}
	}
	return all
}

// percentile of ds, which it sorts.
func percentile(ds []time.Duration, p int) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	slices.Sort(ds)
	return ds[min(len(ds)-1, len(ds)*p/100)].Round(10 * time.Microsecond)
}

// lane is how often something is done: some, or what an environment variable
// says.
func lane(t testing.TB, env string, ordinary int) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv(env))
	switch {
	case os.Getenv(env) == "":
		return ordinary
	case err != nil:
		t.Fatalf("%s=%s is no number", env, os.Getenv(env))
	}
	return n
}
