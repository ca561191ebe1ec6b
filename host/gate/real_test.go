package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"casco/internal/handtest"
	"casco/internal/realdocker"
)

// TestMain is also the processes that the tests need beside themselves.
func TestMain(m *testing.M) {
	switch os.Getenv("GATE_TEST") {
	case "second":
		if err := Second(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "guard":
		guardProcess()
	default:
		os.Exit(m.Run())
	}
}

// guardProcess is a guard in a process of its own, to be killed and stopped. It
// prints a line for each start that it judges.
func guardProcess() {
	var cfg WatchConfig
	if err := json.Unmarshal([]byte(os.Getenv("GATE_CONFIG")), &cfg); err != nil {
		panic(err)
	}
	os.Setenv("GATE_TEST", "second")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	judge := func(_ context.Context, s Start) error {
		if s.Verb == "create" {
			return nil
		}
		fmt.Println("start", s.ID)
		if slow, err := time.ParseDuration(os.Getenv("GATE_SLOW")); err == nil {
			time.Sleep(slow)
		}
		return nil
	}
	if err := Watch(ctx, cfg, judge, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
		fmt.Println("error", err)
	}
}

// A site is an engine with a runtime of its own, so that no other engine of the
// machine meets the gate.
type site struct {
	*realdocker.Engine
	t      *testing.T
	runc   string                // its runtime
	links  string                // how the engine calls it: a symbolic link in another directory
	judge  atomic.Pointer[Judge] // of starts
	making atomic.Pointer[Judge] // of what is being made; nil lets all pass
	judged atomic.Int32          // starts
	out    string                // mounted into containers at /out
	log    syncBuffer
}

func newSite(t *testing.T) *site {
	t.Helper()
	handtest.NeedRoot(t)
	real, err := exec.LookPath("runc")
	handtest.Need(t, err == nil, "runc")
	handtest.Need(t, readable(), "Linux 5.8")
	dir := t.TempDir()
	s := &site{t: t, runc: filepath.Join(dir, "pkg", "runc"), links: filepath.Join(dir, "bin", "runc"), out: filepath.Join(dir, "out")}
	for _, d := range []string{s.runc, s.links, s.out + "/x"} {
		if err := os.MkdirAll(filepath.Dir(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	copyFile(t, real, s.runc)
	if err := os.Symlink("../pkg/runc", s.links); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "daemon.json")
	write(t, config, fmt.Sprintf(`{"runtimes": {"own": {"path": %q}}, "default-runtime": "own"}`, s.links))
	s.Engine = realdocker.Start(t, "--config", config)
	s.Image("busybox")
	s.allow()
	return s
}

func (s *site) says(j Judge) { s.judge.Store(&j); s.judged.Store(0) }
func (s *site) allow()       { s.says(func(context.Context, Start) error { return nil }) }

func (s *site) config() WatchConfig {
	return WatchConfig{Binaries: []string{s.links}, Roots: []string{s.Root + "/exec/runtime-*/*"}, Deadline: 5 * time.Second}
}

// watch runs Watch until the test's end, or the returned function is called.
func (s *site) watch(t *testing.T, cfg WatchConfig) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	judge := func(ctx context.Context, st Start) error {
		if st.Verb == "create" {
			if j := s.making.Load(); j != nil {
				return (*j)(ctx, st)
			}
			return nil
		}
		s.judged.Add(1)
		return (*s.judge.Load())(ctx, st)
	}
	go func() { done <- Watch(ctx, cfg, judge, slog.New(slog.NewTextHandler(&s.log, nil))) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch: %v", err)
		}
	})
	t.Cleanup(stop)
	awaitWatched(t, s.runc)
	return stop
}

// awaitWatched waits until a fanotify group, ours or a guard process's, has a
// mark on the file at path: proc_pid_fdinfo(5).
func awaitWatched(t testing.TB, path string) {
	t.Helper()
	var st syscall.Stat_t
	must(t, syscall.Stat(path, &st))
	mark := fmt.Appendf(nil, "fanotify ino:%x ", st.Ino)
	await(t, "the runtime is watched", func() bool {
		infos, _ := filepath.Glob("/proc/[0-9]*/fdinfo/*")
		for _, path := range infos {
			if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, mark) {
				return true
			}
		}
		return false
	})
}

// nothingOf fails if a process of the container is left: its shim, its init.
func (s *site) nothingOf(t *testing.T, id string) {
	t.Helper()
	for range 100 {
		if len(processesOf(id)) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("left of %s: %q", id, processesOf(id))
}

// processesOf are the processes that have the ID in their arguments or cgroup.
func processesOf(id string) (all []string) {
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range procs {
		args, _ := os.ReadFile(p + "/cmdline")
		cgroup, _ := os.ReadFile(p + "/cgroup")
		if bytes.Contains(args, []byte(id)) && !bytes.HasPrefix(args, []byte("docker\x00")) || bytes.Contains(cgroup, []byte(id)) {
			all = append(all, p+" "+string(args))
		}
	}
	return all
}

func TestWatch(t *testing.T) {
	s := newSite(t)
	t.Run("held", s.testHeld)
	t.Run("refused", s.testRefused)
	t.Run("making", s.testMaking)
	t.Run("hangs", s.testHangs)
	t.Run("many", s.testMany)
	t.Run("other verbs", s.testOtherVerbs)
	t.Run("blind", s.testBlind)
	t.Run("replaced", s.testReplaced)
	t.Run("killed", s.testKilled)
	t.Run("stopped", s.testStopped)
	t.Run("states", s.testStates)
}

// testHeld: while the judge thinks, the container has its addresses, its init is
// still the runtime's, and its program has done nothing.
func (s *site) testHeld(t *testing.T) {
	s.watch(t, s.config())
	mark := filepath.Join(s.out, "begun")
	var got Start
	s.says(func(_ context.Context, st Start) error {
		got = st
		time.Sleep(300 * time.Millisecond)
		if _, err := os.Stat(mark); err == nil {
			t.Error("the program ran before it was allowed to")
		}
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", st.PID))
		if !strings.HasPrefix(string(comm), "runc") {
			t.Errorf("the init is %q", comm)
		}
		addr, err := exec.Command("nsenter", "-t", strconv.Itoa(st.PID), "-n", "ip", "-4", "-brief", "addr", "show", "eth0").Output()
		if err != nil || !strings.Contains(string(addr), "/16") {
			t.Errorf("addresses: %q %v", addr, err)
		}
		return nil
	})
	id := s.Docker("create", "-v", s.out+":/out", "busybox", "touch", "/out/begun")
	s.Docker("start", "-a", id)
	defer s.Docker("rm", "-f", id)
	if _, err := os.Stat(mark); err != nil {
		t.Error("it never ran")
	}
	if got.ID != id || got.Verb != "start" || got.Runtime != s.runc || got.Way != wayFanotify ||
		filepath.Base(got.Bundle) != id || got.Root != s.Root+"/exec/runtime-runc/moby" {
		t.Errorf("judged: %+v", got)
	}
	if n := s.judged.Load(); n != 1 {
		t.Errorf("judged %d times", n)
	}
}

// testRefused: the client is told why, nothing is left over, and the container
// can be started once the judge agrees.
func (s *site) testRefused(t *testing.T) {
	s.watch(t, s.config())
	s.says(func(context.Context, Start) error { return errors.New("no rules for tier \"gold\"") })
	id := s.Docker("create", "busybox", "true")
	defer s.Docker("rm", "-f", id)
	_, err := s.TryDocker("start", id)
	if err == nil || !strings.Contains(err.Error(), `no rules for tier "gold"`) {
		t.Errorf("docker start: %v", err)
	}
	t.Logf("docker says: %v", err)
	s.nothingOf(t, id)
	s.allow()
	s.Docker("start", "-a", id)
}

// testMaking: before a container is made its judge has the bundle's config.json
// and nothing else is there; the client of one that is refused is told why.
func (s *site) testMaking(t *testing.T) {
	s.watch(t, s.config())
	s.allow()
	id := s.Docker("create", "busybox", "true")
	defer s.Docker("rm", "-f", id)
	refuses := Judge(func(_ context.Context, st Start) error {
		if _, err := os.Stat(filepath.Join(st.Bundle, "config.json")); err != nil || st.ID != id || st.PID != 0 {
			t.Errorf("judged: %+v %v", st, err)
		}
		if _, err := os.Stat(filepath.Join(st.Root, id)); err == nil {
			t.Error("it is made already")
		}
		return errors.New("a mount of \"/etc\"")
	})
	s.making.Store(&refuses)
	_, err := s.TryDocker("start", id)
	s.making.Store(nil)
	if err == nil || !strings.Contains(err.Error(), `a mount of "/etc"`) {
		t.Errorf("docker start: %v", err)
	}
	t.Logf("docker says: %v", err)
	s.nothingOf(t, id)
	if n := s.judged.Load(); n != 0 {
		t.Errorf("a start was judged %d times", n)
	}
	s.Docker("start", "-a", id)
}

// testHangs: a judge that does not even heed its context is answered for.
func (s *site) testHangs(t *testing.T) {
	for _, open := range []bool{true, false} {
		cfg := s.config()
		cfg.Deadline = time.Second
		cfg.Fail = func(Start) bool { return open }
		stop := s.watch(t, cfg)
		release := make(chan struct{})
		s.says(func(context.Context, Start) error { <-release; return nil })
		id := s.Docker("create", "busybox", "true")
		began := time.Now()
		_, err := s.TryDocker("start", "-a", id)
		took := time.Since(began)
		close(release)
		if (err == nil) != open || took > 4*time.Second || took < 800*time.Millisecond {
			t.Errorf("fail open %v: %v after %v", open, err, took)
		}
		if !open && !strings.Contains(fmt.Sprint(err), "had not finished") {
			t.Errorf("docker start: %v", err)
		}
		s.Docker("rm", "-f", id)
		s.nothingOf(t, id)
		stop()
	}
}

func (s *site) testMany(t *testing.T) {
	s.watch(t, s.config())
	s.says(func(context.Context, Start) error { time.Sleep(100 * time.Millisecond); return nil })
	const n = 20
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if _, err := s.TryDocker("run", "--rm", "--name", fmt.Sprintf("many%d", i), "busybox", "true"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := s.judged.Load(); got != n {
		t.Errorf("%d starts, judged %d times:\n%s", n, got, s.log.String())
	}
}

// testOtherVerbs: exec and the rest are not judged, a restart is.
func (s *site) testOtherVerbs(t *testing.T) {
	s.watch(t, s.config())
	s.allow()
	id := s.Docker("run", "-d", "busybox", "sleep", "600")
	defer s.Docker("rm", "-f", id)
	if _, err := s.TryDocker("exec", id, "sh", "-c", "exit 7"); err == nil || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("exec: %v", err)
	}
	s.Docker("pause", id)
	s.Docker("unpause", id)
	if n := s.judged.Load(); n != 1 {
		t.Errorf("judged %d times", n)
	}
	s.Docker("restart", "-t", "0", id)
	if n := s.judged.Load(); n != 2 {
		t.Errorf("after a restart: judged %d times", n)
	}
	if _, err := s.TryDocker("run", "--rm", "busybox", "/nothing"); err == nil || !strings.Contains(err.Error(), "exit status 127") {
		t.Errorf("a program that is not there: %v", err)
	}
}

// testBlind: the same where the arguments cannot be read.
func (s *site) testBlind(t *testing.T) {
	was := readable
	readable = func() bool { return false }
	defer func() { readable = was }()
	stop := s.watch(t, s.config())
	defer stop()
	s.allow()
	id := s.Docker("create", "busybox", "true")
	defer s.Docker("rm", "-f", id)
	s.Docker("start", "-a", id)
	if s.judged.Load() == 0 {
		t.Error("not judged")
	}
	s.says(func(context.Context, Start) error { return errors.New("no rules") })
	_, err := s.TryDocker("start", id)
	if err == nil {
		t.Error("started")
	}
	t.Logf("docker says: %v", err)
	s.nothingOf(t, id)
	if !strings.Contains(s.log.String(), "no rules") {
		t.Errorf("the reason is not in the log:\n%s", s.log.String())
	}
	s.allow()
	s.Docker("start", "-a", id)
}

// testReplaced: a runtime that is replaced is still watched: as dpkg does it, by
// a copy over a removed one, by a move from elsewhere, and by another link.
func (s *site) testReplaced(t *testing.T) {
	s.watch(t, s.config())
	old := s.runc + ".old"
	copyFile(t, s.runc, old)
	started := func(how string, settle time.Duration) {
		t.Helper()
		s.allow()
		time.Sleep(settle)
		s.Docker("run", "--rm", "busybox", "true")
		if n := s.judged.Load(); n != 1 {
			t.Errorf("%s: judged %d times", how, n)
		}
	}
	copyFile(t, old, s.runc+".dpkg-new")
	must(t, os.Rename(s.runc+".dpkg-new", s.runc))
	started("as dpkg does", 0)
	must(t, os.Remove(s.runc))
	copyFile(t, old, s.runc)
	started("removed and copied", 0)
	elsewhere := filepath.Join(s.out, "new")
	copyFile(t, old, elsewhere)
	must(t, os.Rename(elsewhere, s.runc))
	started("moved from elsewhere", 50*time.Millisecond)
	other := filepath.Join(filepath.Dir(s.runc), "other")
	copyFile(t, old, other)
	must(t, os.Symlink(other, s.links+"2"))
	must(t, os.Rename(s.links+"2", s.links))
	started("another link", 50*time.Millisecond)
	must(t, os.Remove(s.links))
	must(t, os.Symlink("../pkg/runc", s.links))
}

// startGuard starts a guard process that watches the runtime at path.
func startGuard(t testing.TB, path string, cfg WatchConfig) (*exec.Cmd, *syncBuffer) {
	t.Helper()
	b, err := json.Marshal(map[string]any{"Binaries": cfg.Binaries, "Roots": cfg.Roots, "Deadline": cfg.Deadline, "Second": cfg.Second})
	must(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GATE_TEST=guard", "GATE_CONFIG="+string(b))
	out := &syncBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = time.Second
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	awaitWatched(t, path)
	if len(cfg.Second) > 0 {
		await(t, "Second", func() bool { // it is started beside the reading
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
			threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", cmd.Process.Pid))
			for _, path := range threads {
				more, _ := os.ReadFile(path)
				b = append(b, more...)
			}
			return err == nil && len(bytes.TrimSpace(b)) > 0
		})
	}
	return cmd, out
}

func (s *site) guard(t *testing.T, second bool) (*exec.Cmd, *syncBuffer) {
	t.Helper()
	cfg := s.config()
	if second {
		cfg.Second = []string{os.Args[0]}
	}
	return startGuard(t, s.runc, cfg)
}

// testKilled: the kernel lets pass what a dead guard cannot answer, with Second
// and without.
func (s *site) testKilled(t *testing.T) {
	for _, second := range []bool{false, true} {
		guard, out := s.guard(t, second)
		s.Docker("run", "--rm", "busybox", "true")
		if !strings.Contains(out.String(), "start ") {
			t.Fatalf("the guard does not see the start: %s", out)
		}
		must(t, guard.Process.Kill())
		began := time.Now()
		s.Docker("run", "--rm", "busybox", "true")
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("second %v: a start takes %v without its guard", second, took)
		}
	}

	t.Setenv("GATE_SLOW", "1m")
	guard, out := s.guard(t, true)
	id := s.Docker("create", "busybox", "true")
	defer s.Docker("rm", "-f", id)
	ended := make(chan error, 1)
	go func() { _, err := s.TryDocker("start", "-a", id); ended <- err }()
	await(t, "the guard judges", func() bool { return strings.Contains(out.String(), "start "+id) })
	must(t, guard.Process.Kill())
	select {
	case err := <-ended:
		must(t, err)
	case <-time.After(4 * time.Second): // the guard's own deadline is five
		t.Error("a start is held by a dead guard")
	}
}

// testStopped: a guard that is stopped holds a start for as long as Second
// waits, and not for ever: one that the guard has not read of, and one that it
// was judging. When it goes on, it guards again.
func (s *site) testStopped(t *testing.T) {
	t.Setenv("GATE_SLOW", "1s")
	guard, out := s.guard(t, true)
	must(t, guard.Process.Signal(syscall.SIGSTOP))
	began := time.Now()
	s.Docker("run", "--rm", "busybox", "true")
	took := time.Since(began)
	t.Logf("a start with a stopped guard: %v", took)
	if took > 10*time.Second {
		t.Errorf("a start takes %v", took)
	}
	if strings.Contains(out.String(), "start ") {
		t.Errorf("a stopped guard judged: %s", out)
	}
	must(t, guard.Process.Signal(syscall.SIGCONT))
	await(t, "the guard says that it stood still", func() bool { return strings.Contains(out.String(), "stood still") })

	id := s.Docker("create", "busybox", "true")
	defer s.Docker("rm", "-f", id)
	ended := make(chan error, 1)
	go func() { _, err := s.TryDocker("start", "-a", id); ended <- err }()
	await(t, "the guard judges", func() bool { return strings.Contains(out.String(), "start "+id) })
	must(t, guard.Process.Signal(syscall.SIGSTOP))
	select {
	case err := <-ended:
		must(t, err)
	case <-time.After(10 * time.Second):
		t.Error("a start is held by a guard that was stopped while it judged")
	}
	must(t, guard.Process.Signal(syscall.SIGCONT))
	must(t, guard.Process.Signal(syscall.SIGTERM))
	must(t, guard.Wait())
}

// testStates: who waits and who runs, by the runtime's files.
func (s *site) testStates(t *testing.T) {
	s.watch(t, s.config())
	root := s.Root + "/exec/runtime-runc/moby"
	var pending []Start
	s.says(func(_ context.Context, st Start) (err error) {
		pending, err = Pending(root)
		return err
	})
	id := s.Docker("run", "-d", "busybox", "sleep", "600")
	defer s.Docker("rm", "-f", id)
	if len(pending) != 1 || pending[0].ID != id || pending[0].Way != wayState || filepath.Base(pending[0].Bundle) != id {
		t.Errorf("waiting while held: %+v", pending)
	}
	s.Docker("pause", id)
	defer s.TryDocker("unpause", id)
	running, err := Running(root)
	if err != nil || len(running) != 1 || running[0].ID != id || fmt.Sprint(running[0].PID) != s.Docker("inspect", "-f", "{{.State.Pid}}", id) {
		t.Errorf("running: %+v %v", running, err)
	}
	if waiting, err := Pending(root); err != nil || len(waiting) != 0 {
		t.Errorf("waiting: %+v %v", waiting, err)
	}
}
