package guard

import (
	"bufio"
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
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"casco/internal/handtest"
	"casco/internal/outside"
)

const lifePolicy = `apiVersion: casco/v1
kind: Policy
metadata: {name: door, version: 1}
tiers:
  - {id: public, impact: 0.3}
assign:
  - {default: public}
admission: {mode: enforce}
changes: {confirm_within: 10m}
`

// A gated host has an engine that makes its own socket, named in its daemon.json
// in the writing of a person, and a guard whose policy is in force.
type gated struct {
	*turner
	before []byte // of daemon.json
}

// Before runs while there is no guard yet; it may be nil.
func newGated(t *testing.T, before func(*netWorld)) *gated {
	w := newWorld(t)
	config := fmt.Appendf(nil, "{\n    \"hosts\": [ \"unix://%s\" ],\n  \"live-restore\": true\n}", w.e.Socket)
	outside.Write(t, w.e.Config, string(config))
	w.e.Restart()
	if before != nil {
		before(w)
	}
	g := w.newGuard(strings.TrimPrefix(lifePolicy, "apiVersion: casco/v1\nkind: Policy\nmetadata: {name: door, version: 1}\n"))
	g.policy = ""
	g.mode(false)
	h := &gated{&turner{t, w, g}, config}
	h.load("1", lifePolicy)
	t.Cleanup(func() { // of guards that took over, and that a test left behind
		if s, err := g.status(); err == nil {
			syscall.Kill(s.PID, syscall.SIGKILL)
		}
		// A socket that nobody answers at would make every engine of the machine wait.
		var door struct{ Plugin string }
		if b, err := os.ReadFile(filepath.Join(g.state, "door.json")); err == nil && json.Unmarshal(b, &door) == nil && door.Plugin != "" {
			os.Remove("/run/docker/plugins/" + door.Plugin + ".sock")
		}
	})
	g.start()
	return h
}

func (h *gated) behind() string {
	return filepath.Join(filepath.Dir(h.w.e.Socket), "casco-engine", filepath.Base(h.w.e.Socket))
}

// install puts the engine behind the door.
func (h *gated) install() {
	h.Helper()
	plan := filepath.Join(h.w.e.Root, "door.json")
	said := h.casco(5, "plan", "--check", "guard-door", "-o", plan)
	for _, want := range []string{
		h.w.e.Config + ": authorization-plugins", h.w.e.Config + ": hosts", `- ["unix://` + h.w.e.Socket + `"]`, `+ ["unix://` + h.behind() + `"]`,
		"- " + h.w.e.Socket, "+ " + h.behind(), "+ /run/docker/plugins/",
	} {
		if !strings.Contains(said, want) {
			h.Errorf("the plan does not show %q:\n%s", want, said)
		}
	}
	h.casco(0, "approve", plan, "--yes")
	h.casco(0, "apply", plan, "--yes")
}

// privileged tries to make a privileged container at a socket, and returns what
// the engine, or who stands before it, says.
func (h *gated) privileged(socket string) string {
	h.Helper()
	out, err := exec.Command("docker", "-H", "unix://"+socket, "create", "--privileged", "--name", "bad", h.w.image, "exit", "0").CombinedOutput()
	if err == nil {
		h.w.e.Docker("rm", "-f", "bad")
		return ""
	}
	return string(out)
}

func (h *gated) config() []byte {
	h.Helper()
	b, err := os.ReadFile(h.w.e.Config)
	if err != nil {
		h.Fatal(err)
	}
	return b
}

// asBefore wants the engine to be as if there had been no door.
func (h *gated) asBefore(what string) {
	h.Helper()
	if got := h.config(); !bytes.Equal(got, h.before) {
		h.Errorf("%s: daemon.json is not what it was:\n%s", what, got)
	}
	if _, err := os.Lstat(h.behind()); err == nil {
		h.Errorf("%s: something is behind still", what)
	}
	if said := h.privileged(h.w.e.Socket); said != "" {
		h.Errorf("%s: requests are judged still: %s", what, said)
	}
	if pid := peerOf(h.T, h.w.e.Socket); pid != h.w.e.Pid() {
		h.Errorf("%s: process %d listens at the engine's socket, the engine is %d", what, pid, h.w.e.Pid())
	}
}

// peerOf is the process that listens at a socket.
func peerOf(t *testing.T, socket string) int {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	pid := 0
	raw.Control(func(fd uintptr) {
		cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
		if err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}

// TestDoorChange: a door is installed as a change of the loop. Nothing restarts,
// no container notices, both locks judge, and it is taken back to the byte: by
// rollback, and by itself if nobody confirms.
func TestDoorChange(t *testing.T) {
	h := newGated(t, func(w *netWorld) {
		w.e.Docker("run", "-d", "--name", "holds", "-v", w.e.Socket+":/engine.sock", w.image, "wait")
	})
	engine := h.w.e.Pid()
	if said := h.privileged(h.w.e.Socket); said != "" {
		t.Fatalf("judged before there is a door: %s", said)
	}
	h.install()
	if h.w.e.Pid() != engine {
		t.Error("the engine was restarted")
	}
	for _, socket := range []string{h.w.e.Socket, h.behind()} {
		if said := h.privileged(socket); !strings.Contains(said, "container-privileged") {
			t.Errorf("at %s a privileged container is not refused by its rule: %q", socket, said)
		}
	}
	// A member of the group gets to the door and not behind it.
	as := func(socket string) error {
		cmd := exec.Command("curl", "-sf", "--unix-socket", socket, "http://x/_ping")
		info, err := os.Stat(h.w.e.Socket)
		if err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: info.Sys().(*syscall.Stat_t).Gid}}
		return cmd.Run()
	}
	if info, _ := os.Stat(h.w.e.Socket); info.Mode().Perm() != 0o660 && info.Mode().Perm() != 0o600 {
		t.Errorf("the door has mode %v", info.Mode())
	}
	if err := as(h.behind()); err == nil {
		t.Error("a user who is not root reaches the engine past the door")
	}
	out := h.casco(3, "audit", "--why", "guard-door", "--format", "json")
	for _, want := range []string{"Judged.Door", "Judged.Plugin", "holds"} {
		if !strings.Contains(out, want) {
			t.Errorf("audit --why guard-door does not say %s:\n%s", want, out)
		}
	}
	// The engine comes back behind the door when it is restarted.
	h.w.e.Restart()
	if said := h.privileged(h.w.e.Socket); !strings.Contains(said, "container-privileged") {
		t.Errorf("after a restart of the engine: %q", said)
	}
	id := lastChangeOf(h)
	h.casco(0, "rollback", id, "--yes")
	h.asBefore("rolled back")
	h.w.e.Restart()
	h.asBefore("rolled back and the engine restarted")

	// Nobody confirms: it goes back by itself, although the guard is dead.
	h.load("2", strings.Replace(lifePolicy, "confirm_within: 10m", "confirm_within: 3s", 1))
	h.install()
	h.g.kill()
	for range 600 { // the engine waits 15 s for its dead plugin, and casco for the engine
		if _, err := os.Lstat(h.behind()); err != nil && bytes.Equal(h.config(), h.before) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	h.asBefore("not confirmed")
}

func lastChangeOf(h *gated) string {
	h.Helper()
	var doc struct{ Changes []outside.Recorded }
	if err := json.Unmarshal([]byte(h.casco(0, "changes", "--format", "json")), &doc); err != nil || len(doc.Changes) == 0 {
		h.Fatalf("casco changes: %v", err)
	}
	return doc.Changes[len(doc.Changes)-1].ID
}

// A hammer asks over a socket all the time, on connections that are kept and on
// new ones, and counts what went wrong.
type hammer struct {
	asked, failed atomic.Int64
	stop          chan struct{}
	wait          sync.WaitGroup
	first         sync.Once
	why           error
}

// newHammer asks about 200 times a second in all.
func newHammer(socket, container string) *hammer {
	h := &hammer{stop: make(chan struct{})}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	for i := range 10 {
		c := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: i%2 == 0}}
		h.wait.Go(func() {
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for n := 0; ; n++ {
				select {
				case <-h.stop:
					return
				case <-tick.C:
				}
				h.asked.Add(1)
				if err := h.ask(c, n, container); err != nil {
					h.failed.Add(1)
					h.first.Do(func() { h.why = err })
				}
			}
		})
	}
	return h
}

// ask reads, or makes something that a judge wants to see.
func (h *hammer) ask(c *http.Client, n int, container string) error {
	var res *http.Response
	var err error
	if n%4 == 3 {
		res, err = c.Post("http://x/v1.41/containers/"+container+"/exec", "application/json", strings.NewReader(`{"Cmd":["true"]}`))
	} else {
		res, err = c.Get("http://x/v1.41/containers/" + container + "/json")
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || res.StatusCode/100 != 2 {
		return fmt.Errorf("%s %v: %.300s", res.Status, err, b)
	}
	return nil
}

func (h *hammer) end() (asked, failed int64, why error) {
	close(h.stop)
	h.wait.Wait()
	return h.asked.Load(), h.failed.Load(), h.why
}

// TestDoorUpgrade replaces the guard's program and the guard, while it is asked
// 200 times a second and a session is open: nothing fails, the session goes on,
// and the old process ends once that has. A program that cannot take over changes
// nothing.
func TestDoorUpgrade(t *testing.T) {
	h := newGated(t, nil)
	h.g.stop()
	installed := filepath.Join(h.w.e.Root, "casco")
	put := func(from string) {
		t.Helper()
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(installed+".new", b, 0o755)
		}
		if err == nil {
			err = os.Rename(installed+".new", installed)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	built := h.g.program
	put(built)
	h.g.program = installed
	h.g.start()
	h.g.program = built // of the commands that follow
	h.install()
	h.w.e.Docker("run", "-d", "--name", "box", h.w.e.Image("box:1"), "sleep", "1000")

	session := exec.Command("docker", "-H", "unix://"+h.w.e.Socket, "exec", "-i", "box", "cat")
	in, err := session.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Process.Kill(); session.Wait() })
	said := bufio.NewReader(out)
	echo := func(word string) {
		t.Helper()
		if _, err := io.WriteString(in, word+"\n"); err != nil {
			t.Fatalf("the session's input after %s: %v", word, err)
		}
		if line, err := said.ReadString('\n'); err != nil || line != word+"\n" {
			t.Fatalf("the session says %q, want %q: %v", line, word, err)
		}
	}
	echo("before")

	old, err := h.g.status()
	if err != nil {
		t.Fatal(err)
	}
	hammer := newHammer(h.w.e.Socket, "box")
	time.Sleep(time.Second)

	put("/bin/false")
	if said := h.casco(1, "guard", "upgrade"); !strings.Contains(said, "ended before") {
		t.Errorf("a program that ends at once: %s", said)
	}
	if s, err := h.g.status(); err != nil || s.PID != old.PID {
		t.Errorf("after an upgrade that failed: %+v, %v", s.PID, err)
	}
	put(built)
	h.casco(0, "guard", "upgrade")
	next, err := h.g.status()
	if err != nil || next.PID == old.PID {
		t.Fatalf("nobody took over: process %d, %v", next.PID, err)
	}
	exe, err := os.Stat(fmt.Sprintf("/proc/%d/exe", next.PID))
	is, ierr := os.Stat(installed)
	if err != nil || ierr != nil || !os.SameFile(exe, is) {
		t.Errorf("the new process is not of the new program: %v %v", err, ierr)
	}
	echo("after")
	if said := h.privileged(h.w.e.Socket); !strings.Contains(said, "container-privileged") {
		t.Errorf("after the upgrade: %q", said)
	}
	time.Sleep(2 * time.Second)
	asked, failed, why := hammer.end()
	t.Logf("%d requests, %d failed", asked, failed)
	if failed > 0 || asked < 200 {
		t.Errorf("%d of %d requests failed: %v", failed, asked, why)
	}
	select {
	case <-h.g.ended:
		t.Error("the old process ended while its session was open")
	default:
	}
	echo("still")
	in.Close()
	select {
	case <-h.g.ended:
		if code := h.g.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("the old process ended with %d\n%s", code, h.g.log)
		}
	case <-time.After(20 * time.Second):
		t.Errorf("the old process does not end although its session has\n%s", h.g.log)
	}
	// The new one takes the paths as its own: it is taken back like any other.
	h.casco(0, "rollback", lastChangeOf(h), "--yes")
	h.asBefore("rolled back after an upgrade")
}

// ledger is what the ledger says of broken glass: each event with its text.
func (h *gated) ledger() string {
	h.Helper()
	var out strings.Builder
	near := 0
	for line := range strings.Lines(h.casco(0, "log", "show", "--format", "json")) {
		if strings.Contains(line, "break-glass") {
			near = 2 // the text is the next line
		}
		if near > 0 {
			near--
			out.WriteString(line)
		}
	}
	return out.String()
}

// TestDoorOff: the way out works while everything else is dead, each in its way,
// and what the ledger could not be told it is told later.
func TestDoorOff(t *testing.T) {
	h := newGated(t, nil)
	again := func() {
		t.Helper()
		h.g.kill()
		h.g.start()
		h.install()
		if said := h.privileged(h.w.e.Socket); !strings.Contains(said, "container-privileged") {
			t.Fatalf("not installed: %q", said)
		}
	}

	again()
	h.g.signal(syscall.SIGSTOP)
	began := time.Now()
	if said := h.casco(0, "guard", "off"); !strings.Contains(said, "answers at") {
		t.Errorf("off, the guard is stopped: %s", said)
	}
	t.Logf("with a stopped guard it takes %v", time.Since(began).Round(100*time.Millisecond))
	h.asBefore("off, the guard is stopped")
	if said := h.ledger(); !strings.Contains(said, "off") || !strings.Contains(said, "root") {
		t.Errorf("the ledger says of it: %q", said)
	}
	h.g.signal(syscall.SIGCONT)
	time.Sleep(500 * time.Millisecond)
	h.asBefore("off, and the guard wakes up")

	again()
	h.g.kill()
	broken := map[string]string{"ledger": "no directory", "policy/current.json": "{", "glass.json": "{"}
	for name, with := range broken {
		path := filepath.Join(h.g.state, name)
		os.Rename(path, path+".away") // one of them is not there
		outside.Write(t, path, with)
	}
	if said := h.casco(0, "guard", "off"); !strings.Contains(said, "catches up") {
		t.Errorf("off without a ledger: %s", said)
	}
	h.asBefore("off, killed, ledger and policy broken")
	for name := range broken {
		path := filepath.Join(h.g.state, name)
		os.Remove(path)
		os.Rename(path+".away", path)
	}
	h.load("2", strings.Replace(lifePolicy, "10m", "11m", 1)) // anything that is written down
	if said := h.ledger(); strings.Count(said, "break-glass off") != 2 || !strings.Contains(said, "written down later") {
		t.Errorf("the ledger was not told later: %q", said)
	}

	// Nobody has the record of the change.
	again()
	h.g.kill()
	if err := os.RemoveAll(filepath.Join(h.g.state, "changes")); err != nil {
		t.Fatal(err)
	}
	h.casco(0, "guard", "off")
	if got, want := plain(t, h.config()), plain(t, h.before); got != want {
		t.Errorf("off without a record: daemon.json is %s, was %s", got, want)
	}
	h.before = h.config()
	h.asBefore("off without a record")

	// The engine is dead too.
	again()
	h.g.kill()
	syscall.Kill(h.w.e.Pid(), syscall.SIGKILL)
	time.Sleep(500 * time.Millisecond)
	if said := h.casco(0, "guard", "off"); !strings.Contains(said, "the engine is down") {
		t.Errorf("off, the engine is dead: %s", said)
	}
	h.w.e.Restart()
	h.asBefore("off, guard and engine dead")

	// Not for everybody.
	cmd := exec.Command("/proc/self/fd/3", "--state", h.g.state, "--host", "unix://"+h.w.e.Socket, "guard", "off")
	f, err := os.Open(h.g.program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd.ExtraFiles = []*os.File{f}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 4 {
		t.Errorf("guard off by nobody: exit code %d\n%s", cmd.ProcessState.ExitCode(), out)
	}
}

// plain is a JSON text without its author's writing.
func plain(t *testing.T, b []byte) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestDoorGlass: root at a terminal may have requests let through for a while.
// It is written down with its reason, shown, and ends by itself; nobody else may.
func TestDoorGlass(t *testing.T) {
	_, err := exec.LookPath("script")
	handtest.Need(t, err == nil, "script")
	h := newGated(t, nil)
	h.install()
	if said := h.casco(4, "guard", "open", "--why", "x"); !strings.Contains(said, "terminal") {
		t.Errorf("open without a terminal: %s", said)
	}
	// script(1) gives it a terminal.
	open := func(args string) string {
		t.Helper()
		line := fmt.Sprintf("%s --host unix://%s --state %s --run %s --lang en guard open %s", h.g.program, h.w.e.Socket, h.g.state, h.g.run, args)
		out, err := exec.Command("script", "-qec", line, "/dev/null").CombinedOutput()
		if err != nil {
			return fmt.Sprintf("%v: %s", err, out)
		}
		return string(out)
	}
	if said := open(""); !strings.Contains(said, "exit status 2") {
		t.Errorf("open without a reason: %s", said)
	}
	if said := open("--for 5h --why x"); !strings.Contains(said, "exit status 2") {
		t.Errorf("open for too long: %s", said)
	}
	if said := open("--for 1m --why 'db01 is down, INC-7'"); !strings.Contains(said, "open until") {
		t.Fatalf("open: %s", said)
	}
	for _, socket := range []string{h.w.e.Socket, h.behind()} {
		if said := h.privileged(socket); said != "" {
			t.Errorf("the glass is broken and %s refuses: %s", socket, said)
		}
	}
	if said := h.casco(0, "net", "status"); !strings.Contains(said, "BREAK-GLASS") || !strings.Contains(said, "INC-7") {
		t.Errorf("the status does not say it: %s", said)
	}
	if said := h.casco(3, "audit", "--why", "guard-door"); !strings.Contains(said, "root broke the glass") {
		t.Errorf("the audit does not say it: %s", said)
	}
	if said := h.ledger(); !strings.Contains(said, "INC-7") || !strings.Contains(said, "root") {
		t.Errorf("the ledger does not say who and why: %q", said)
	}
	open("--for 0s")
	if said := h.privileged(h.w.e.Socket); !strings.Contains(said, "container-privileged") {
		t.Errorf("ended, and still open: %q", said)
	}
	if said := open("--for 2s --why again"); !strings.Contains(said, "open until") {
		t.Fatalf("open: %s", said)
	}
	time.Sleep(2500 * time.Millisecond)
	if said := h.privileged(h.w.e.Socket); !strings.Contains(said, "container-privileged") {
		t.Errorf("the time is over, and still open: %q", said)
	}
	if !h.g.event("glass", "") {
		t.Error("no event tells of it")
	}
	h.casco(0, "guard", "off")
	h.asBefore("off")
}
