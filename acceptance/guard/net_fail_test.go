package guard

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"casco/internal/handtest"
	"casco/internal/outside"
	"casco/lab/actor"
)

const failPolicy = `
tiers:
  - {id: lenient, impact: 0.3, without_guard: open}
  - {id: strict, impact: 1, without_guard: closed}
  - {id: other, impact: 0.5}
assign:
  - {match: {name: "open*"}, tier: lenient}
  - {match: {name: "shut*"}, tier: strict}
  - {default: other}
flows:
  - {id: f1, from: lenient/open, to: strict/shut, port: 7000/tcp, why: app, owner: ro1, review: 2027-01-01}
`

// A failing is a world in which a guard fails: two containers that run, and the
// host's own traffic.
type failing struct {
	*netWorld
	g *guarding
}

func newFailing(t *testing.T) *failing {
	w := newWorld(t)
	w.e.Docker("network", "create", "--subnet", "10.76.0.0/24", "n")
	// With it the host's rules see what stays on one bridge too, and would close
	// what nobody has rules for.
	w.sysctl("net.bridge.bridge-nf-call-iptables", "0")
	w.counterIn(w.e.NetNS, "host", ":7100")
	w.counterIn(w.outside, "outside", outsideAddr+":7000")
	w.counterBox("open", "--network", "n")
	w.counterBox("shut", "--network", "n")
	return &failing{w, w.newGuard(failPolicy)}
}

// holds says whether what runs may still do what the policy says, and nothing
// else, and that the host talks to others as ever.
func (f *failing) holds(when string) {
	f.t.Helper()
	shut := f.addr("shut", "n")
	if r := f.try("open", actor.Try{Kind: "tcp", Addr: shut + ":7000", Wait: 3000}); !r.Reached {
		f.t.Errorf("%s: what may pass does not: %s", when, r.Err)
	}
	f.clear("shut", "outside")
	for _, t := range []actor.Try{
		{Kind: "udp", Addr: shut + ":7000", Wait: 200},
		{Kind: "frame", Addr: shut + ":7000"},
		{Kind: "udp", Addr: outsideAddr + ":7000", Wait: 200},
	} {
		f.try("open", t)
	}
	for _, name := range []string{"shut", "outside"} {
		if got := f.counts(name).From; len(got) > 0 {
			f.t.Errorf("%s: %s got %v", when, name, got)
		}
	}
	for _, t := range []actor.Try{{Kind: "tcp", Addr: outsideAddr + ":7000"}, {Kind: "icmp", Addr: outsideAddr}} {
		if r := f.try("host", t); !r.Reached {
			f.t.Errorf("%s: the host does not get to others: %s", when, r.Err)
		}
	}
	if r := f.try("outside", actor.Try{Kind: "tcp", Addr: hostAddr + ":7100"}); !r.Reached {
		f.t.Errorf("%s: others do not get to the host: %s", when, r.Err)
	}
	f.clear("outside")
}

// starts starts a container and says how that went.
func (f *failing) starts(name string) (took time.Duration, err error) {
	f.e.TryDocker("rm", "-f", name)
	began := time.Now()
	_, err = f.e.TryDocker("run", "-d", "--name", name, "--network", "n", "-v", f.dir+":/at", f.image, "count", "-at", "/at/"+name, ":7000")
	took = time.Since(began)
	if err == nil {
		f.ready(name)
	}
	return took, err
}

// reaches says whether one container gets to another by what no flow allows.
func (f *failing) reaches(from, to string) bool {
	f.t.Helper()
	f.clear(to)
	addr := outsideAddr
	if to != "outside" {
		addr = f.addr(to, "n")
	}
	f.try(from, actor.Try{Kind: "udp", Addr: addr + ":7000", Wait: 200})
	return len(f.counts(to).From) > 0
}

// TestNetFail: a guard that is stopped, killed, stuck or without room leaves
// what runs as it was, starts as the tier says, and the host alone.
func TestNetFail(t *testing.T) {
	f := newFailing(t)
	f.g.start()
	f.holds("as it should be")
	for _, c := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"stopped", f.stopped},
		{"killed", f.killed},
		{"disk full", f.diskFull},
		{"out of memory", f.outOfMemory},
		{"stuck", f.stuck},
		{"hung", f.hung},
		{"rules taken", f.taken},
	} {
		t.Run(c.name, func(t *testing.T) {
			old := f.t
			f.t = t
			defer func() { f.t = old }()
			c.run(t)
			f.holds("after " + c.name)
			if t.Failed() {
				t.Log(tail(f.g.log.String(), 30))
			}
		})
	}
}

// stopped: a guard that gets no CPU any more is answered for by its second after
// two seconds, and starts pass; it makes up for it when it wakes.
func (f *failing) stopped(t *testing.T) {
	f.g.signal(syscall.SIGSTOP)
	f.holds("stopped")
	for _, name := range []string{"open-1", "shut-1"} {
		if took, err := f.starts(name); err != nil || took > 20*time.Second {
			t.Errorf("%s: started after %s: %v", name, took, err)
		} else {
			t.Logf("%s: started after %s", name, took.Round(time.Millisecond))
		}
	}
	f.unknown()
	f.g.signal(syscall.SIGCONT)
	for _, name := range []string{"open-1", "shut-1"} {
		if !f.g.event("late", name) {
			t.Errorf("nobody is told that %s ran without its rules", name)
		}
	}
	if f.reaches("open-1", "shut-1") {
		t.Error("what started while the guard was stopped has no rules after it")
	}
}

// unknown is what holds for two containers that started past the guard: they
// get to each other, but to nobody who has rules, and not through the host.
func (f *failing) unknown() {
	f.t.Helper()
	from, to := "open-1", "shut-1"
	if !f.reaches(from, to) {
		f.t.Error("what started without a guard has rules: the test proves nothing")
	}
	for _, other := range []string{"shut", "outside"} {
		if f.reaches(from, other) {
			f.t.Errorf("%s, which has no rules, gets to %s, past the rules of others", from, other)
		}
	}
}

// killed: the kernel lets all pass when nobody watches any more. The next guard
// makes up for it when it starts.
func (f *failing) killed(t *testing.T) {
	f.g.kill()
	f.holds("killed")
	for _, name := range []string{"open-1", "shut-1"} {
		if _, err := f.starts(name); err != nil {
			t.Errorf("%s is not started without a guard that watches: %v", name, err)
		}
	}
	f.unknown()
	f.g.start()
	for _, name := range []string{"open-1", "shut-1"} {
		if !f.g.event("late", name) {
			t.Errorf("nobody is told that %s ran without its rules", name)
		}
	}
	if f.g.told("late", "open") || f.g.told("late", "shut") {
		t.Error("what ran under the guard that was killed is said to have had no rules")
	}
	if f.reaches("open-1", "shut-1") {
		t.Error("what started without a guard has no rules after the guard started")
	}
}

// diskFull: a ledger that cannot be written to holds up neither starts nor
// rules, and what happened is written when there is room again.
func (f *failing) diskFull(t *testing.T) {
	f.g.stop()
	state := f.g.state
	f.g.state = outside.SmallDisk(t, "4m")
	f.g.mode(true)
	f.g.start()
	if _, err := f.starts("shut-3"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond) // it is written
	outside.Fill(t, f.g.state, 0)
	for i := range 20 {
		if took, err := f.starts("shut-3"); err != nil || took > 10*time.Second {
			t.Fatalf("start %d with a full disk: %s %v", i, took, err)
		}
		if f.reaches("shut-3", "shut") || f.reaches("shut-3", "outside") {
			t.Fatal("with a full disk a container has no rules")
		}
		if strings.Contains(f.g.log.String(), "not written into the ledger") {
			break
		}
	}
	f.holds("disk full")
	if !strings.Contains(f.g.log.String(), "not written into the ledger") {
		t.Error("nobody is told that the ledger is not written to")
	}
	outside.Tool(t, "rm", filepath.Join(f.g.state, "filler"))
	time.Sleep(2500 * time.Millisecond)
	f.g.stop()
	out, err := exec.Command(f.g.program, "--host", "unix://"+f.e.Socket, "--state", f.g.state, "log", "verify").CombinedOutput()
	if err != nil {
		t.Errorf("the ledger after a full disk: %v\n%s", err, out)
	}
	f.g.state = state
	f.g.start()
}

// outOfMemory: the kernel kills a guard that takes too much, and a supervisor
// starts it again; what runs keeps its rules in between.
func (f *failing) outOfMemory(t *testing.T) {
	f.g.stop()
	// The limit is of the address space, under what the program maps: it cannot
	// work, and ends at once instead of being half a guard.
	f.g.launcher = []string{"sh", "-c", `ulimit -v 200000; exec "$@"`, "sh"}
	err := f.g.tryStart()
	if err == nil {
		t.Log("the guard works with 200 MB of addresses")
		f.g.kill()
	}
	f.holds("out of memory")
	f.g.launcher = nil
	f.g.start()
	f.g.stop()

	// With less room than it takes to work, the kernel kills it, wherever it is.
	cg := memoryGroup(t, f.e.NetNS+"-guard")
	f.g.launcher = []string{"sh", "-c", "echo $$ >" + cg + `/cgroup.procs; exec "$@"`, "sh"}
	f.g.start()
	limit := cg + "/memory.max"
	used := cg + "/memory.current"
	if _, err := os.Stat(limit); err != nil { // cgroup v1
		limit, used = cg+"/memory.limit_in_bytes", cg+"/memory.usage_in_bytes"
	}
	now, err := strconv.Atoi(strings.TrimSpace(outside.MustRead(t, used)))
	if err != nil {
		t.Fatal(err)
	}
	outside.Write(t, limit, strconv.Itoa(now+256<<10))
	killed := false
	for i := 0; i < 60 && !killed; i++ {
		took, err := f.starts("open-4")
		if err != nil || took > 20*time.Second {
			t.Errorf("a start while the guard has no memory: %s %v", took, err)
		}
		select {
		case <-f.g.ended:
			killed = true
		default:
		}
	}
	t.Logf("killed for its memory: %v (%v)", killed, f.g.cmd.ProcessState)
	f.g.kill()
	f.holds("killed for its memory")
	f.g.launcher = nil
	f.g.start()
}

// memoryGroup makes a cgroup in which memory can be limited.
func memoryGroup(t *testing.T, name string) string {
	t.Helper()
	parent := "/sys/fs/cgroup"
	if _, err := os.Stat(parent + "/memory"); err == nil {
		parent += "/memory"
	}
	cg := filepath.Join(parent, name)
	handtest.Need(t, os.Mkdir(cg, 0o755) == nil, "a cgroup of its own")
	t.Cleanup(func() {
		for range 50 {
			if os.Remove(cg) == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Errorf("%s is still there", cg)
	})
	return cg
}

// stuck: a guard whose engine does not answer goes on with what it knows.
func (f *failing) stuck(t *testing.T) {
	pid := f.e.Pid()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(pid, syscall.SIGCONT)
	f.holdsWithoutEngine("the engine hangs")
	if _, err := f.g.status(); err != nil {
		t.Errorf("while the engine hangs the guard does not answer: %v", err)
	}
	syscall.Kill(pid, syscall.SIGCONT)
	if _, err := f.starts("shut-5"); err != nil {
		t.Error(err)
	}
	if f.reaches("shut-5", "shut") {
		t.Error("after its engine hung the guard makes no rules")
	}
}

// hung: a guard that the kernel does not let run at all, not even to end, is
// answered for by its second, which is another process; it makes up for it when
// it runs again.
func (f *failing) hung(t *testing.T) {
	thaw := freeze(t, f.e.NetNS+"-hung", f.g.cmd.Process.Pid)
	f.holdsWithoutEngine("hung")
	for _, name := range []string{"open-5", "shut-5"} {
		if took, err := f.starts(name); err != nil || took > 20*time.Second {
			t.Errorf("%s: started after %s: %v", name, took, err)
		}
	}
	thaw()
	for _, name := range []string{"open-5", "shut-5"} {
		if !f.g.event("late", name) {
			t.Errorf("nobody is told that %s ran without its rules", name)
		}
	}
	if !f.g.event("open", "") {
		t.Error("nobody is told that the guard stood still")
	}
	if f.reaches("open-5", "shut-5") {
		t.Error("what started while the guard hung has no rules after it")
	}
}

// freeze keeps a process from running, in a cgroup of that name, until thaw.
func freeze(t *testing.T, name string, pid int) (thaw func()) {
	t.Helper()
	cg, file, on, off := "/sys/fs/cgroup/"+name, "cgroup.freeze", "1", "0"
	if _, err := os.Stat("/sys/fs/cgroup/freezer"); err == nil { // version 1
		cg, file, on, off = "/sys/fs/cgroup/freezer/"+name, "freezer.state", "FROZEN", "THAWED"
	}
	handtest.Need(t, os.Mkdir(cg, 0o755) == nil, "a cgroup of its own")
	outside.Write(t, filepath.Join(cg, "cgroup.procs"), strconv.Itoa(pid))
	outside.Write(t, filepath.Join(cg, file), on)
	thaw = sync.OnceFunc(func() {
		outside.Write(t, filepath.Join(cg, file), off)
		outside.Write(t, filepath.Join(filepath.Dir(cg), "cgroup.procs"), strconv.Itoa(pid))
		if err := os.Remove(cg); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(thaw)
	return thaw
}

// taken: a container with CAP_NET_ADMIN takes the rules of its namespace for
// its own while no guard is there. The guard is for all others nevertheless, and
// the host's rules hold the container.
func (f *failing) taken(t *testing.T) {
	f.e.Docker("run", "-d", "--name", "open-thief", "--network", "n", "--cap-add", "NET_ADMIN", "-v", f.dir+":/at", f.image, "count", "-at", "/at/open-thief", ":7000")
	f.ready("open-thief")
	if r := f.try("open-thief", actor.Try{Kind: "flush", Tag: "casco"}); r.Reached {
		t.Error("a container deletes rules that the guard owns")
	}
	f.g.kill()
	f.try("open-thief", actor.Try{Kind: "flush", Tag: "casco"})
	if r := f.try("open-thief", actor.Try{Kind: "own", Tag: "casco"}); !r.Reached {
		t.Fatalf("it cannot take a table: %s: the test proves nothing", r.Err)
	}
	f.g.start()
	if !f.g.event("trouble", "open-thief") {
		t.Error("nobody is told that a container has taken its rules")
	}
	if _, err := f.starts("shut-6"); err != nil {
		t.Error(err)
	}
	if _, err := f.starts("open"); err != nil { // a peer
		t.Error(err)
	}
	for _, to := range []string{"shut", "shut-6", "outside"} {
		if f.reaches("open-thief", to) {
			t.Errorf("who has taken its rules gets to %s", to)
		}
	}
	// In its namespace the guard is there and can make no rules: the tier says.
	for _, c := range []struct {
		name, event string
		starts      bool
	}{{"open-7", "open", true}, {"shut-7", "refused", false}} {
		_, err := f.e.TryDocker("run", "-d", "--name", c.name, "--network", "container:open-thief", f.image, "wait")
		if starts := err == nil; starts != c.starts {
			t.Errorf("%s, of which no rules can be made, starts: %v %v", c.name, starts, err)
		}
		if !f.g.event(c.event, c.name) {
			t.Errorf("nobody is told what became of %s", c.name)
		}
		f.e.Docker("rm", "-f", c.name)
	}
	f.e.Docker("rm", "-f", "open-thief")
}

// holdsWithoutEngine is that what may not pass does not.
func (f *failing) holdsWithoutEngine(when string) {
	f.t.Helper()
	f.clear("outside")
	f.try("open", actor.Try{Kind: "udp", Addr: outsideAddr + ":7000", Wait: 200})
	if got := f.counts("outside").From; len(got) > 0 {
		f.t.Errorf("%s: outside got %v", when, got)
	}
}

// TestNetFailWrapper: where the wrapper of the runtime holds starts, none starts
// past it: without the guard as its file says, without the wrapper none at all.
// What runs stays as it was, and the host is left alone.
func TestNetFailWrapper(t *testing.T) {
	w := newWorld(t)
	w.e.Docker("network", "create", "--subnet", "10.76.0.0/24", "n")
	w.sysctl("net.bridge.bridge-nf-call-iptables", "0")
	w.counterIn(w.e.NetNS, "host", ":7100")
	w.counterIn(w.outside, "outside", outsideAddr+":7000")
	f := &failing{w, w.newGuard(failPolicy + "network: {start: runtime}\n")}
	w.wrap(f.g.run)
	f.g.start()
	w.counterBox("open", "--network", "n")
	w.counterBox("shut", "--network", "n")
	w.counterBox("open-end", "--network", "n")
	f.holds("as it should be")

	config := filepath.Join(w.e.Root, "runtime", "runtime.json")
	said := outside.MustRead(t, config)
	no := func(when, because string, names ...string) {
		t.Helper()
		for _, name := range names {
			took, err := f.starts(name)
			if err == nil || !strings.Contains(err.Error(), because) || took > 30*time.Second {
				t.Errorf("%s: %s starts, or nobody is told why not: %s %v", when, name, took, err)
			}
		}
		f.holds(when)
	}
	f.g.signal(syscall.SIGSTOP)
	no("the guard is stopped", "not started without the guard", "open-1")
	f.g.signal(syscall.SIGCONT)
	f.g.kill()
	no("the guard is killed", "not started without the guard", "open-1", "shut-1")
	outside.Write(t, config, strings.Replace(said, "{", `{"without_guard": "open", `, 1))
	if _, err := f.starts("open-1"); err != nil {
		t.Errorf("the wrapper's file says open, and it does not start: %v", err)
	}
	outside.Write(t, config, said)
	f.g.start()
	if !f.g.event("late", "open-1") {
		t.Error("nobody is told that open-1 ran without its rules")
	}

	wrapper := filepath.Join(w.e.Root, "runtime", "casco-runtime")
	if err := os.Rename(wrapper, wrapper+".gone"); err != nil {
		t.Fatal(err)
	}
	no("the wrapper is missing", "casco-runtime", "open-1", "shut-1")
	if !f.g.eventWithin(25*time.Second, "trouble", "") || !strings.Contains(f.g.log.String(), "no container starts") {
		t.Error("nobody is told that the wrapper is missing")
	}
	// The engine cannot end anything without a runtime, and 20.10 takes "not found"
	// for the word that the container is (moby, daemon/kill.go): it lists no longer
	// what runs on. The guard goes by what runs.
	w.e.TryDocker("rm", "-f", "open-end")
	if _, err := actor.Order(w.at("open-end"), actor.Orders{}); err == nil {
		if f.reaches("open-end", "outside") {
			t.Error("what the engine has lost has no rules any more")
		}
		t.Log("the engine lost a container that runs")
	}
	if err := os.Rename(wrapper+".gone", wrapper); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"open-1", "shut-1"} {
		if _, err := f.starts(name); err != nil {
			t.Errorf("the wrapper is put back, and %s does not start: %v", name, err)
		}
	}
	f.holds("put back")
	if t.Failed() {
		t.Log(tail(f.g.log.String(), 30))
	}
}
