package acceptance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"casco/internal/outside"
	"casco/internal/realdocker"
)

// run runs casco by itself, as uid and gid, and returns all that it printed.
// One that does not end within a minute has failed.
func run(t *testing.T, uid uint32, args ...string) (printed string, code int) {
	t.Helper()
	cmd := exec.Command(outside.Program(t), args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LANG=C", "HOME=/nonexistent"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	if uid != 0 {
		// The program is in a directory that only root may enter.
		copied := filepath.Join(outside.WorldDir(t), "casco")
		body, err := os.ReadFile(outside.Program(t))
		if err == nil {
			err = os.WriteFile(copied, body, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
		cmd.Path, cmd.Dir = copied, "/"
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	cmd.Wait()
	if !late.Stop() {
		t.Fatalf("casco %v did not end within a minute\n%s", args, out.String())
	}
	if strings.Contains(out.String(), "goroutine ") {
		t.Fatalf("casco %v: panic\n%s", args, out.String())
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func wants(t *testing.T, printed string, code, wantCode int, words ...string) {
	t.Helper()
	if code != wantCode {
		t.Errorf("exit code %d, want %d\n%s", code, wantCode, printed)
	}
	flat := strings.Join(strings.Fields(printed), " ")
	for _, w := range words {
		if !strings.Contains(flat, w) {
			t.Errorf("%q is not said\n%s", w, printed)
		}
	}
}

// planApply plans daemon-icc for e and applies it if there is a plan.
func planApply(t *testing.T, e *realdocker.Engine) (printed string, code int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "plan.json")
	stdout, stderr, code := outside.Casco(t, e, "plan", "--check", "daemon-icc", "--ref", "daemon/"+e.Socket, "-o", file)
	if code != 5 {
		return stdout + stderr, code
	}
	if stdout, stderr, code := outside.Casco(t, e, "approve", file, "--yes"); code != 0 {
		t.Fatalf("approve: %d\n%s%s", code, stdout, stderr)
	}
	stdout, stderr, code = outside.Casco(t, e, "apply", file, "--yes")
	return stdout + stderr, code
}

func alive(t *testing.T, e *realdocker.Engine) {
	t.Helper()
	if out, err := e.TryDocker("version", "--format", "{{.Server.Version}}"); err != nil {
		t.Fatalf("the engine does not answer: %v\n%s", err, out)
	}
}

// TestHostileEngine: what is no engine, or one that does not answer, is said
// to be so, in bounded time.
func TestHostileEngine(t *testing.T) {
	dir := outside.WorldDir(t)
	serve := func(name string, h http.HandlerFunc) string {
		path := filepath.Join(dir, name)
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: h}
		go srv.Serve(l)
		t.Cleanup(func() { srv.Close() })
		return path
	}
	says := func(api, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Api-Version", api)
			fmt.Fprint(w, body)
		}
	}
	plain := filepath.Join(dir, "plain")
	l, err := net.Listen("unix", plain)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "220 mail.example ESMTP\r\n")
			c.Close()
		}
	}()
	refused := filepath.Join(dir, "refused")
	outside.Put(t, refused, "")
	for name, tt := range map[string]struct {
		socket string
		uid    uint32
		says   string
	}{
		"nothing there":     {filepath.Join(dir, "none"), 0, "no such socket: is the engine running?"},
		"a file":            {refused, 0, "not reachable"},
		"no permission":     {serve("closed", says("1.41", "OK")), 65534, "no permission to use the socket"},
		"too old":           {serve("old", says("1.30", "OK")), 0, "too old: it speaks API 1.30"},
		"a web server":      {serve("web", says("", "<html>")), 0, "not a Docker engine"},
		"no http":           {plain, 0, "not reachable"},
		"an absurd version": {serve("absurd", says("1.\x1b[31m", "OK")), 0, "malformed MIME header"},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.uid != 0 {
				if err := os.Chmod(tt.socket, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			state := filepath.Join(dir, "state")
			if tt.uid != 0 { // a policy that this user may not read is refused before the engine is asked
				state = filepath.Join(dir, "none")
			}
			out, code := run(t, tt.uid, "-H", "unix://"+tt.socket, "--state", state, "audit")
			wants(t, out, code, 1, tt.says)
			noControl(t, out)
			if tt.uid != 0 {
				return // it has no record to look into either
			}
			for _, verb := range [][]string{{"plan"}, {"drift"}, {"rollback", "1", "--yes"}} {
				out, code := run(t, 0, append([]string{"-H", "unix://" + tt.socket, "--state", filepath.Join(dir, "state")}, verb...)...)
				wants(t, out, code, 1)
				noControl(t, out)
			}
		})
	}
	t.Run("no JSON", func(t *testing.T) {
		out, _ := run(t, 0, "-H", "unix://"+serve("garbage", says("1.41", "{[")), "--state", filepath.Join(dir, "state"), "audit")
		wants(t, out, 0, 0, "could not be read", "reply: byte 1 is not JSON")
	})
}

// TestStoppedEngine: an engine that is stopped does not stop casco, and what can
// be read of it and of its host without a word of its own is judged.
func TestStoppedEngine(t *testing.T) {
	e := realdocker.Start(t)
	pid := e.Pid()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(pid, syscall.SIGCONT)
	out, code := run(t, 0, "-H", "unix://"+e.Socket, "--state", filepath.Join(e.Root, "state"), "audit")
	wants(t, out, code, 1, "no answer within 20s: is it stopped or stuck?", "engine not read", "this host without its engine",
		"daemon-icc daemon/"+e.Socket, "kernel/kernel")
}

// noControl wants no byte that a terminal would obey, and no character that
// hides or turns what stands after it.
func noControl(t *testing.T, s string) {
	t.Helper()
	for i, r := range s {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			t.Fatalf("%q is printed raw: %q", r, s[max(0, i-60):min(len(s), i+60)])
		}
	}
}

// TestHostileContainers: what a container says of itself is shown, and obeyed
// by no terminal.
func TestHostileContainers(t *testing.T) {
	e := realdocker.Start(t)
	e.Image("bb:1")
	nasty := "\x1b]0;owned\a\x1b[2J\u202efdp.exe\u200b<script>alert(1)</script>\u0085\x7f"
	long := strings.Repeat("n", 200)
	args := []string{"create", "--name", long, "--user", nasty, "--env", "A=" + nasty, "--label", "evil=" + nasty, "--label", nasty + "=1", "--pid", "host"}
	e.Docker(append(args, "bb:1", "sh", "-c", nasty)...)
	labels := filepath.Join(t.TempDir(), "labels")
	var b strings.Builder
	for i := range 10000 {
		fmt.Fprintf(&b, "label.%d=%d\n", i, i)
	}
	outside.Put(t, labels, b.String())
	e.Docker("create", "--name", "labelled", "--label-file", labels, "bb:1", "true")
	e.Docker("volume", "create", "--label", "x="+nasty, "vol")
	state := []string{"--all"}
	for _, args := range [][]string{
		append([]string{"audit"}, state...),
		{"audit", "--why", "container-host-pid"},
		{"audit", "--ref", "container/" + long},
		{"audit", "--ref", "container/" + nasty},
		{"audit", "--why", nasty},
		{"plan"},
		{"plan", "--ref", "container/" + long},
		{"changes"},
		{"drift", "--accept"},
		{"drift"},
		{"rollback", nasty, "--yes"},
	} {
		stdout, stderr, _ := outside.Casco(t, e, args...)
		noControl(t, stdout+stderr)
	}
	e.Docker("rm", long)
	stdout, stderr, code := outside.Casco(t, e, "drift")
	noControl(t, stdout+stderr)
	wants(t, stdout+stderr, code, 3, long)
	for _, verb := range []string{"audit", "plan", "changes", "drift"} {
		stdout, _, _ := outside.Casco(t, e, verb, "--format", "json")
		if !json.Valid([]byte(stdout)) {
			t.Errorf("%s --format json is no JSON: %.200s", verb, stdout)
		}
	}
	t.Run("going away", func(t *testing.T) { vanishing(t, e) })
}

// vanishing audits while containers come and go: one that is gone leaves no
// gap and no failure.
func vanishing(t *testing.T, e *realdocker.Engine) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			name := fmt.Sprintf("brief%d", i)
			e.TryDocker("create", "--name", name, "bb:1", "true")
			e.TryDocker("rm", name)
		}
	}()
	defer func() { close(done); <-ended }()
	for range 8 {
		outside.Findings(t, e)
	}
}

// TestTwoAtOnce: while one casco changes the host, another may not, and
// reading goes on.
func TestTwoAtOnce(t *testing.T) {
	e := realdocker.Start(t)
	state := filepath.Join(e.Root, "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(filepath.Join(state, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	out, code := planApply(t, e)
	wants(t, out, code, 1, "another casco is changing this host")
	for _, verb := range []string{"audit", "changes"} {
		if _, stderr, code := outside.Casco(t, e, verb); code != 0 && code != 3 {
			t.Errorf("%s: exit code %d\n%s", verb, code, stderr)
		}
	}
	if got := strings.TrimSpace(outside.MustRead(t, e.Config)); got != "{}" {
		t.Errorf("daemon.json is now %q", got)
	}
}

// TestNotRoot: what only root can read is unknown to anybody else.
func TestNotRoot(t *testing.T) {
	e := realdocker.Start(t)
	if err := os.Chown(e.Socket, 0, 65534); err != nil {
		t.Fatal(err)
	}
	out, _ := run(t, 65534, "-H", "unix://"+e.Socket, "--state", "/proc/none/state", "audit", "--format", "json")
	var doc struct{ Findings []outside.Finding }
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatalf("%v\n%.500s", err, out)
	}
	root := outside.Findings(t, e)
	unknown := 0
	for _, f := range doc.Findings {
		if f.Verdict == "unknown" {
			unknown++
		}
		if v := outside.Verdict(root, f.Check, f.Ref); f.Verdict == "pass" && v != "pass" && v != "" {
			t.Errorf("%s of %s: pass, and root sees %s", f.Check, f.Ref, v)
		}
	}
	if unknown == 0 {
		t.Error("nothing is unknown to a user")
	}
	out, code := run(t, 65534, "-H", "unix://"+e.Socket, "--state", "/nonexistent/state", "--yes", "rollback", "1")
	wants(t, out, code, 1, "/nonexistent: permission denied")
}

// TestFullStateDisk: a record that cannot be saved stops the change before its
// first act, or takes it back, at whatever byte the disk is full.
func TestFullStateDisk(t *testing.T) {
	e := realdocker.Start(t)
	file := filepath.Join(t.TempDir(), "plan.json")
	state := filepath.Join(e.Root, "state")
	if _, stderr, code := outside.Casco(t, e, "plan", "--check", "file-daemon-json-mode", "--ref", "file/"+e.Config, "-o", file); code != 5 {
		if err := os.Chmod(e.Config, 0o666); err != nil {
			t.Fatal(err)
		}
		if _, stderr2, code := outside.Casco(t, e, "plan", "--check", "file-daemon-json-mode", "--ref", "file/"+e.Config, "-o", file); code != 5 {
			t.Fatalf("plan: %d\n%s%s", code, stderr, stderr2)
		}
	}
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", state, "tmpfs", 0, "size=8m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(state, 0)
	if stdout, stderr, code := outside.Casco(t, e, "approve", file, "--yes"); code != 0 {
		t.Fatalf("approve: %d\n%s%s", code, stdout, stderr)
	}
	refused := 0
	for free := 0; free <= 4<<20; free = max(4<<10, 2*free) {
		if free > 0 { // an approval is good for one change
			outside.Casco(t, e, "plan", "--check", "file-daemon-json-mode", "--ref", "file/"+e.Config, "-o", file)
			outside.Casco(t, e, "approve", file, "--yes")
		}
		outside.Fill(t, state, free)
		stdout, stderr, code := outside.Casco(t, e, "apply", file, "--yes")
		os.Remove(filepath.Join(state, "filler"))
		st, err := os.Stat(e.Config)
		if err != nil {
			t.Fatal(err)
		}
		if code == 0 {
			break
		}
		refused++
		if strings.Contains(stdout, "1 steps done") && st.Mode().Perm() == 0o644 { // the room ended behind the change, at what is published of it
			if wants(t, stderr, code, 1); !strings.Contains(stderr, "no space left on device") {
				t.Errorf("%d bytes free, done: it is not said that the disk is full\n%s", free, stderr)
			}
			if stdout, stderr, code := outside.Casco(t, e, "log", "verify"); code != 0 {
				t.Errorf("the ledger with room again: %d\n%s%s", code, stdout, stderr)
			}
			break
		}
		if st.Mode().Perm() != 0o666 {
			t.Fatalf("%d bytes free: exit code %d and mode %v\n%s%s", free, code, st.Mode(), stdout, stderr)
		}
		if wants(t, stderr, code, 1); !strings.Contains(stderr, "no space left on device") && !strings.Contains(stderr, "disk is full") {
			t.Errorf("%d bytes free: it is not said that the disk is full\n%s", free, stderr)
		}
		if stdout, stderr, code := outside.Casco(t, e, "changes"); code != 0 {
			t.Fatalf("changes after %d bytes: %d\n%s%s", free, code, stdout, stderr)
		}
	}
	if refused == 0 {
		t.Error("the disk was never full")
	}
	if st, err := os.Stat(e.Config); err != nil || st.Mode().Perm() != 0o644 {
		t.Errorf("with room enough: %v %v", st, err)
	}
}

// TestDeadEngine: the engine is killed while a change restarts it; the host
// comes to a whole state all the same.
func TestDeadEngine(t *testing.T) {
	e := realdocker.Start(t)
	before := outside.MustRead(t, e.Config)
	pid := e.Pid()
	died := make(chan struct{})
	go func() {
		defer close(died)
		for range 600 {
			if b, err := os.ReadFile(e.Config); err == nil && string(b) != before {
				syscall.Kill(pid, syscall.SIGKILL)
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	out, code := planApply(t, e)
	<-died
	now := outside.MustRead(t, e.Config)
	switch {
	case code == 0 && strings.Contains(now, `"icc": false`):
	case code == 1 && now == before && strings.Contains(out, "was undone"):
	default:
		t.Errorf("exit code %d, daemon.json %q\n%s", code, now, out)
	}
	alive(t, e)
	stdout, _, _ := outside.Casco(t, e, "changes")
	if !regexp.MustCompile(`verified|undone`).MatchString(stdout) {
		t.Errorf("changes: %s", stdout)
	}
}

// TestBrokenSnapshots: a snapshot file that was cut or damaged is an error or
// judged, never a panic.
func TestBrokenSnapshots(t *testing.T) {
	e := realdocker.Start(t)
	dir := outside.WorldDir(t)
	whole := filepath.Join(dir, "whole.json")
	if _, stderr, code := outside.Casco(t, e, "snapshot", "-o", whole); code != 0 {
		t.Fatal(stderr)
	}
	content := []byte(outside.MustRead(t, whole))
	path := filepath.Join(dir, "broken.json")
	try := func(b []byte) int {
		outside.Put(t, path, string(b))
		out, code := run(t, 0, "--state", filepath.Join(dir, "state"), "--snapshot", path, "audit")
		if code != 0 && code != 1 && code != 3 {
			t.Fatalf("exit code %d\n%s", code, out)
		}
		noControl(t, out)
		return code
	}
	step := max(100, len(content)/150/100*100) // every 100th byte, or 150 places of a larger file
	for n := 0; n < len(content)-2; n += step {
		if code := try(content[:n]); code != 1 {
			t.Errorf("cut at byte %d of %d: exit code %d, want 1", n, len(content), code)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		b := bytes.Clone(content)
		for range 1 + r.IntN(8) {
			b[r.IntN(len(b))] = byte(r.Uint32())
		}
		try(b)
	}
}
