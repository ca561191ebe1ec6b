package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"casco/host/gate"
	"casco/internal/handtest"
	"casco/internal/realdocker"
)

// A site is an engine whose default runtime is the wrapper, and a directory with
// the wrapper, its configuration and the gate's socket.
type site struct {
	*realdocker.Engine
	dir, wrapper, runc string
}

// build builds the wrapper as it is shipped, but for the path of its
// configuration.
func build(t testing.TB, config string) string {
	t.Helper()
	_, err := exec.LookPath("go")
	handtest.Need(t, err == nil, "the go command")
	path := filepath.Join(t.TempDir(), "casco-runtime")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.configPath="+config, "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

func newSite(t *testing.T) *site {
	t.Helper()
	handtest.NeedRoot(t)
	runc, err := exec.LookPath("runc")
	handtest.Need(t, err == nil, "runc")
	s := &site{dir: t.TempDir(), runc: runc}
	s.wrapper = build(t, s.dir+"/runtime.json")
	s.configure(t, 2000, closed)
	daemon := filepath.Join(s.dir, "daemon.json")
	write(t, daemon, fmt.Sprintf(`{"default-runtime": "casco", "runtimes": {
		"casco": {"path": %q},
		"named": {"path": %q, "runtimeArgs": ["--casco-config", %q]},
		"lost": {"path": %q, "runtimeArgs": ["--casco-config=/nowhere.json"]}}}`, s.wrapper, s.wrapper, s.dir+"/named.json", s.wrapper))
	s.Engine = realdocker.Start(t, "--config", daemon)
	s.Image("busybox")
	return s
}

func (s *site) socket() string { return s.dir + "/run/gate.sock" }

func (s *site) configure(t *testing.T, timeoutMS int, without string) {
	t.Helper()
	b, err := json.Marshal(config{Runtime: s.runc, Gate: s.socket(), TimeoutMS: timeoutMS, WithoutGuard: without})
	must(t, err)
	write(t, s.dir+"/runtime.json", string(b))
}

// serve serves the gate until the test's end, or the returned function is called.
func (s *site) serve(t *testing.T, judge gate.Judge) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	starts := func(ctx context.Context, st gate.Start) error {
		if st.Verb == "create" {
			return nil
		}
		return judge(ctx, st)
	}
	go func() { done <- gate.Serve(ctx, s.socket(), starts, slog.New(slog.DiscardHandler)) }()
	stop = sync.OnceFunc(func() { cancel(); must(t, <-done) })
	t.Cleanup(stop)
	for range 200 {
		if _, err := os.Stat(s.socket()); err == nil {
			return stop
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("the gate is not there")
	return stop
}

func yes(context.Context, gate.Start) error { return nil }

func TestWrapper(t *testing.T) {
	s := newSite(t)
	t.Run("held", s.testHeld)
	t.Run("refused", s.testRefused)
	t.Run("no gate", s.testNoGate)
	t.Run("hangs", s.testHangs)
	t.Run("many", s.testMany)
	t.Run("other verbs", s.testOtherVerbs)
	t.Run("as the runtime", s.testAsTheRuntime)
	t.Run("named", s.testNamed)
	t.Run("configuration lost", s.testLost)
}

func (s *site) testHeld(t *testing.T) {
	mark := filepath.Join(s.dir, "out", "begun")
	must(t, os.MkdirAll(filepath.Dir(mark), 0o755))
	var got gate.Start
	s.serve(t, func(_ context.Context, st gate.Start) error {
		got = st
		time.Sleep(300 * time.Millisecond)
		if _, err := os.Stat(mark); err == nil {
			t.Error("the program ran before it was allowed to")
		}
		addr, err := exec.Command("nsenter", "-t", fmt.Sprint(st.PID), "-n", "ip", "-4", "-brief", "addr", "show", "eth0").Output()
		if err != nil || !strings.Contains(string(addr), "/16") {
			t.Errorf("addresses: %q %v", addr, err)
		}
		return nil
	})
	id := s.Docker("create", "-v", filepath.Dir(mark)+":/out", "busybox", "touch", "/out/begun")
	s.Docker("start", "-a", id)
	defer s.Docker("rm", "-f", id)
	if _, err := os.Stat(mark); err != nil {
		t.Error("it never ran")
	}
	if got.ID != id || got.Verb != "start" || got.Runtime != s.runc || got.Way != "wrapper" ||
		filepath.Base(got.Bundle) != id || got.Root != s.Root+"/exec/runtime-runc/moby" {
		t.Errorf("judged: %+v", got)
	}
}

// refused starts a container that must not start, and wants the reason from the
// client, nothing left over, and a start that works when stop was called and
// another judge agrees.
func (s *site) refused(t *testing.T, stop func(), reason string) {
	t.Helper()
	id := s.Docker("create", "busybox", "true")
	defer s.Docker("rm", "-f", id)
	_, err := s.TryDocker("start", id)
	if err == nil || !strings.Contains(err.Error(), reason) {
		t.Errorf("docker start: %v, want %q", err, reason)
	}
	for range 100 {
		if len(processesOf(id)) == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if left := processesOf(id); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	stop()
	defer s.serve(t, yes)()
	s.Docker("start", "-a", id)
}

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

func (s *site) testRefused(t *testing.T) {
	stop := s.serve(t, func(context.Context, gate.Start) error { return errors.New("no rules for tier \"gold\"") })
	s.refused(t, stop, `casco: not started: no rules for tier "gold"`)
}

func (s *site) testNoGate(t *testing.T) {
	s.refused(t, func() {}, "not started without the guard (without_guard is closed): the gate at "+s.socket()+" does not answer")
	s.configure(t, 2000, open)
	defer s.configure(t, 2000, closed)
	s.Docker("run", "--rm", "busybox", "true")
}

// testHangs: neither a judge that hangs nor a gate that says nothing at all
// holds a start longer than the configuration says.
func (s *site) testHangs(t *testing.T) {
	s.configure(t, 1000, closed)
	defer s.configure(t, 2000, closed)
	release := make(chan struct{})
	stop := s.serve(t, func(context.Context, gate.Start) error { <-release; return nil })
	began := time.Now()
	s.refused(t, func() { close(release); stop() }, "had not finished after 900ms")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("refused after %v", took)
	}

	// A socket at which nobody ever accepts.
	l, err := net.Listen("unix", s.socket())
	must(t, err)
	_, err = s.TryDocker("run", "--rm", "busybox", "true")
	if err == nil || !strings.Contains(err.Error(), "did not answer in 1000 ms") {
		t.Errorf("docker run: %v", err)
	}
	l.Close()
}

func (s *site) testMany(t *testing.T) {
	var judged atomic.Int32
	s.serve(t, func(context.Context, gate.Start) error {
		judged.Add(1)
		time.Sleep(100 * time.Millisecond)
		return nil
	})
	s.configure(t, 20_000, closed)
	defer s.configure(t, 2000, closed)
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
	if got := judged.Load(); got != n {
		t.Errorf("%d starts, judged %d times", n, got)
	}
}

func (s *site) testOtherVerbs(t *testing.T) {
	var judged atomic.Int32
	s.serve(t, func(context.Context, gate.Start) error { judged.Add(1); return nil })
	id := s.Docker("run", "-d", "busybox", "sleep", "600")
	defer s.Docker("rm", "-f", id)
	if _, err := s.TryDocker("exec", id, "sh", "-c", "exit 7"); err == nil || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("exec: %v", err)
	}
	s.Docker("pause", id)
	s.Docker("unpause", id)
	if n := judged.Load(); n != 1 {
		t.Errorf("judged %d times", n)
	}
	s.Docker("restart", "-t", "0", id)
	if n := judged.Load(); n != 2 {
		t.Errorf("after a restart: judged %d times", n)
	}
}

// testAsTheRuntime: errors, exit codes and output are those of the real runtime.
func (s *site) testAsTheRuntime(t *testing.T) {
	s.serve(t, yes)
	for _, args := range [][]string{
		{"--version"},
		{"--root", s.dir + "/r", "state", "nobody"},
		{"--root", s.dir + "/r", "delete", "nobody"},
		{"--root", s.dir + "/r", "kill", "nobody", "KILL"},
		{"--nonsense"},
		{"--root", s.dir + "/r", "start"},
	} {
		var ours, theirs bytes.Buffer
		a, b := exec.Command(s.wrapper, args...), exec.Command(s.runc, args...)
		a.Stdout, a.Stderr, b.Stdout, b.Stderr = &ours, &ours, &theirs, &theirs
		errA, errB := a.Run(), b.Run()
		if fmt.Sprint(errA) != fmt.Sprint(errB) || bare(ours.String()) != bare(theirs.String()) {
			t.Errorf("%q:\n%v %s\nthe runtime:\n%v %s", args, errA, &ours, errB, &theirs)
		}
	}
	_, ours := s.TryDocker("run", "--rm", "busybox", "/nothing")
	_, theirs := s.TryDocker("run", "--rm", "--runtime", "runc", "busybox", "/nothing")
	if fmt.Sprint(ours) != strings.Replace(fmt.Sprint(theirs), " --runtime runc", "", 1) {
		t.Errorf("a program that is not there:\n%v\nthe runtime:\n%v", ours, theirs)
	}
}

var clock = regexp.MustCompile(`time="[^"]*"`)

// bare is what a runtime printed without the time.
func bare(s string) string { return clock.ReplaceAllString(s, "") }

func (s *site) testNamed(t *testing.T) {
	b, err := os.ReadFile(s.dir + "/runtime.json")
	must(t, err)
	write(t, s.dir+"/named.json", string(b))
	var judged atomic.Int32
	s.serve(t, func(context.Context, gate.Start) error { judged.Add(1); return nil })
	s.Docker("run", "--rm", "--runtime", "named", "busybox", "true")
	if judged.Load() != 1 {
		t.Error("not judged")
	}
}

// testLost: without a configuration nothing is made or started, and what runs
// can be stopped and removed.
func (s *site) testLost(t *testing.T) {
	if _, err := s.TryDocker("run", "--rm", "--runtime", "lost", "busybox", "true"); err == nil || !strings.Contains(err.Error(), "/nowhere.json") {
		t.Errorf("docker run: %v", err)
	}
	s.serve(t, yes)
	id := s.Docker("run", "-d", "busybox", "sleep", "600")
	must(t, os.Chmod(s.dir+"/runtime.json", 0o666))
	s.Docker("rm", "-f", id)
	if left := processesOf(id); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	s.configure(t, 2000, closed)
}

func write(t testing.TB, path, text string) {
	t.Helper()
	os.Remove(path)
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
