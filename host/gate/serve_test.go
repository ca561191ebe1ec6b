package gate

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"casco/internal/handtest"
	"casco/internal/ocicall"
	"casco/internal/procs"
)

// A post is a gate that is served, and a container c1 that waits.
type post struct {
	dir, socket string
	pid         int // of the container's init
	log         *syncBuffer
	stop        func()
}

func newPost(t *testing.T, judge Judge) *post {
	t.Helper()
	handtest.NeedRoot(t) // the gate answers root alone
	dir := t.TempDir()
	p := &post{dir: dir, socket: dir + "/run/gate.sock", pid: asleep(t), log: &syncBuffer{}}
	p.container(t, "c1", p.pid)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, p.socket, judge, slog.New(slog.NewTextHandler(p.log, nil))) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(p.stop)
	for range 200 {
		if _, err := os.Stat(p.socket); err == nil {
			return p
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("nothing is served")
	return nil
}

// asleep is a process that does nothing until the test's end.
func asleep(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd.Process.Pid
}

// container writes the state of one that runc made and did not start.
func (p *post) container(t *testing.T, id string, pid int) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(p.dir, id), 0o700))
	stat, err := procs.Read(pid)
	must(t, err)
	write(t, filepath.Join(p.dir, id, "state.json"),
		fmt.Sprintf(`{"init_process_pid": %d, "init_process_start": %d, "config": {"labels": ["a=b", "bundle=/b/%s"]}}`, pid, stat.Started, id))
	write(t, filepath.Join(p.dir, id, fifo), "")
}

func (p *post) question(id string) ocicall.Question {
	return ocicall.Question{Verb: "start", ID: id, Root: p.dir, Runtime: "/bin/false", TimeoutMS: 1000}
}

func (p *post) ask(t *testing.T, q any) ocicall.Answer {
	t.Helper()
	line, err := json.Marshal(q)
	must(t, err)
	return p.say(t, append(line, '\n'))
}

// say writes bytes, and reads the answer; the zero Answer if there is none.
func (p *post) say(t *testing.T, b []byte) ocicall.Answer {
	t.Helper()
	c, err := net.Dial("unix", p.socket)
	must(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	go c.Write(b)
	line, _ := bufio.NewReader(c).ReadBytes('\n')
	var a ocicall.Answer
	if len(line) > 0 {
		must(t, json.Unmarshal(line, &a))
	}
	return a
}

func TestServe(t *testing.T) {
	var got Start
	p := newPost(t, func(_ context.Context, s Start) error {
		switch got = s; s.ID {
		case "c1":
			return nil
		case "panics":
			panic("of the judge")
		case "cannot":
			return fmt.Errorf("%w: nft is busy", ErrUnjudged)
		}
		return errors.New("no tier is named for it")
	})
	for _, id := range []string{"refused", "panics", "cannot"} {
		p.container(t, id, p.pid)
	}
	for id, want := range map[string]ocicall.Answer{
		"c1":      {Verdict: ocicall.May},
		"refused": {Verdict: ocicall.Refused, Reason: "no tier is named for it"},
		"panics":  {Verdict: ocicall.Unjudged, Reason: "not judged: the judge failed: of the judge"},
		"cannot":  {Verdict: ocicall.Unjudged, Reason: "not judged: nft is busy"},
	} {
		if a := p.ask(t, p.question(id)); a != want {
			t.Errorf("%s: %+v, want %+v", id, a, want)
		}
	}
	p.ask(t, p.question("c1"))
	if want := (Start{ID: "c1", PID: p.pid, Root: p.dir, Bundle: "/b/c1", Runtime: "/bin/false", Verb: "start", Way: wayWrapper}); got != want {
		t.Errorf("judged %+v, want %+v", got, want)
	}
	if a := p.ask(t, p.question("nobody")); a.Verdict != ocicall.Unjudged {
		t.Errorf("a container that is not there: %+v", a)
	}
	q := ocicall.Question{Verb: "run", ID: "c1", Bundle: "/x", Runtime: "/r", TimeoutMS: 1000}
	if a := p.ask(t, q); a.Verdict != ocicall.May || got.PID != 0 || got.Bundle != "/x" || got.Verb != "run" {
		t.Errorf("run: %+v, judged %+v", a, got)
	}
	p.testNonsense(t)
}

// testNonsense: what cannot be read is refused, and the next one is answered.
func (p *post) testNonsense(t *testing.T) {
	for _, text := range []string{
		"hello\n", "{}\n", "null\n", `{"verb": "delete", "id": "c1", "timeout_ms": 1}` + "\n", `{"verb": "start", "id": "../c1", "timeout_ms": 1}` + "\n",
		`{"verb": "start", "id": "c1", "root": "relative", "timeout_ms": 1}` + "\n", `{"verb": "start", "id": "c1", "timeout_ms": -1}` + "\n",
		strings.Repeat("x", 2*ocicall.MaxLine),
	} {
		if a := p.say(t, []byte(text)); a.Verdict != ocicall.Refused {
			t.Errorf("%.60q: %+v", text, a)
		}
	}
	if a := p.ask(t, p.question("c1")); a.Verdict != ocicall.May {
		t.Errorf("afterwards: %+v", a)
	}
}

// TestServeDoesNotWait: a judge that hangs, and a peer that says nothing, keep
// nobody else waiting, and the one is answered in its time.
func TestServeDoesNotWait(t *testing.T) {
	release := make(chan struct{})
	p := newPost(t, func(_ context.Context, s Start) error {
		if s.ID == "hangs" {
			<-release
		}
		return nil
	})
	defer close(release)
	p.container(t, "hangs", p.pid)
	silent, err := net.Dial("unix", p.socket)
	must(t, err)
	defer silent.Close()
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if a := p.ask(t, p.question("hangs")); a.Verdict != ocicall.Unjudged || !strings.Contains(a.Reason, "900ms") {
				t.Errorf("a judge that hangs: %+v", a)
			}
		})
	}
	began := time.Now()
	if a := p.ask(t, p.question("c1")); a.Verdict != ocicall.May {
		t.Errorf("beside them: %+v", a)
	}
	if took := time.Since(began); took > 500*time.Millisecond {
		t.Errorf("beside them it takes %v", took)
	}
	wg.Wait()
}

// TestServeEnds: whoever is being judged still is, and the socket is gone.
func TestServeEnds(t *testing.T) {
	judging, told := make(chan struct{}), make(chan struct{})
	p := newPost(t, func(ctx context.Context, _ Start) error {
		close(judging)
		<-told
		return ctx.Err()
	})
	answer := make(chan ocicall.Answer, 1)
	go func() { answer <- p.ask(t, ocicall.Question{Verb: "start", ID: "c1", Root: p.dir, TimeoutMS: 30_000}) }()
	<-judging
	time.AfterFunc(100*time.Millisecond, func() { close(told) })
	p.stop()
	if a := <-answer; a.Verdict != ocicall.May {
		t.Errorf("judged while it ends: %+v", a)
	}
	if left, _ := os.ReadDir(filepath.Dir(p.socket)); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestServeTakesItsPlace(t *testing.T) {
	yes := func(context.Context, Start) error { return nil }
	p := newPost(t, yes)
	quiet := slog.New(slog.DiscardHandler)
	if err := Serve(t.Context(), p.socket, yes, quiet); err == nil || !strings.Contains(err.Error(), "somebody listens") {
		t.Errorf("where another guard is: %v", err)
	}
	if info, err := os.Stat(p.socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if info, err := os.Stat(filepath.Dir(p.socket)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	file := p.dir + "/file"
	write(t, file, "precious")
	if err := Serve(t.Context(), file, yes, quiet); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("where a file is: %v", err)
	}
	must(t, os.Mkdir(p.dir+"/open", 0o777))
	must(t, os.Chmod(p.dir+"/open", 0o777))
	if err := Serve(t.Context(), p.dir+"/open/gate.sock", yes, quiet); err == nil || !strings.Contains(err.Error(), "others could") {
		t.Errorf("in a directory of all: %v", err)
	}

	// A guard that was killed leaves its socket.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: p.dir + "/stale.sock", Net: "unix"})
	must(t, err)
	stale.SetUnlinkOnClose(false)
	stale.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, p.dir+"/stale.sock", yes, quiet) }()
	answered := false
	for range 200 {
		if c, err := net.Dial("unix", p.dir+"/stale.sock"); err == nil {
			c.Close()
			answered = true
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil || !answered {
		t.Errorf("where a stale socket is: answered %v, %v", answered, err)
	}
}

// TestServeRootAlone: another user who reaches the socket gets no answer.
func TestServeRootAlone(t *testing.T) {
	p := newPost(t, func(context.Context, Start) error { t.Error("judged"); return nil })
	for dir := filepath.Dir(p.socket); strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	must(t, os.Chmod(p.socket, 0o666))
	answer := make(chan ocicall.Answer)
	go func() {
		defer close(answer)
		// The raw call changes this thread's user alone; the thread ends with its goroutine.
		runtime.LockOSThread()
		const nobody = 65534
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			t.Errorf("setresuid: %v", errno)
			return
		}
		answer <- p.ask(t, p.question("c1"))
	}()
	if a := <-answer; a != (ocicall.Answer{}) {
		t.Errorf("answered: %+v", a)
	}
	p.stop()
	if !strings.Contains(p.log.String(), "uid=65534") {
		t.Errorf("said to the log: %s", p.log)
	}
}

// FuzzParseQuestion: what is taken names a container by a part of a path.
func FuzzParseQuestion(f *testing.F) {
	f.Add([]byte(`{"verb": "start", "id": "c1", "root": "/r", "bundle": "/b", "runtime": "/usr/sbin/runc", "timeout_ms": 5000}`))
	f.Add([]byte(`{"verb": "run", "id": "..", "timeout_ms": 9999999999999999999}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		q, err := parseQuestion(line)
		if err == nil && (strings.ContainsAny(q.ID, "/\x00\n") || q.ID[0] == '.' || q.TimeoutMS <= 0) {
			t.Errorf("%q: %+v", line, q)
		}
	})
}
