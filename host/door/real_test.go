package door

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"casco/internal/apicall"
	"casco/internal/handtest"
	"casco/internal/realdocker"
)

// A cli runs the docker command, as it is, on a socket.
type cli struct {
	t      *testing.T
	socket string
	config string
}

func (c cli) command(stdin io.Reader, args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+c.socket, "DOCKER_CONFIG="+c.config, "DOCKER_CONTEXT=", "DOCKER_API_VERSION=", "DOCKER_BUILDKIT=0", "COMPOSE_ANSI=never")
	cmd.Stdin = stdin
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// run returns all that a command said, and how it ended.
func (c cli) run(stdin string, args ...string) string {
	c.t.Helper()
	cmd := c.command(strings.NewReader(stdin), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	time.AfterFunc(2*time.Minute, func() {
		if cmd.Process != nil {
			cmd.Process.Kill()
		}
	})
	err := cmd.Run()
	return fmt.Sprintf("%s\n--- %s\n--- %v", stdout.String(), stderr.String(), err)
}

// A line is what a person types once something is shown that was not before.
type line struct{ after, types string }

// A screen is a person who reads and types.
type screen struct {
	lines []line
	keys  io.Writer
	shown []byte
	read  int // how much of it was waited for
}

func (s *screen) Write(b []byte) (int, error) {
	s.shown = append(s.shown, b...)
	for len(s.lines) > 0 {
		i := bytes.Index(s.shown[s.read:], []byte(s.lines[0].after))
		if i < 0 {
			break
		}
		s.read += i + len(s.lines[0].after)
		if _, err := io.WriteString(s.keys, s.lines[0].types); err != nil {
			return 0, err
		}
		s.lines = s.lines[1:]
	}
	return len(b), nil
}

// tty runs a docker command with a terminal, at which the lines are typed.
func (c cli) tty(command string, lines ...line) string {
	c.t.Helper()
	cmd := c.command(nil, "script", "-qec", command, "/dev/null")
	keys, err := cmd.StdinPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	s := &screen{lines: lines, keys: keys}
	cmd.Stdout, cmd.Stderr = s, s
	late := time.AfterFunc(time.Minute, func() { keys.Close() })
	defer late.Stop()
	err = cmd.Run()
	return fmt.Sprintf("%s\n--- %v", s.shown, err)
}

var (
	ids   = regexp.MustCompile(`\b[0-9a-f]{12,64}\b`)
	times = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ][0-9:.]+(Z| \+0000 UTC)?`)
)

// same makes two outputs equal that differ in identifiers and times only.
func same(s string) string { return times.ReplaceAllString(ids.ReplaceAllString(s, "ID"), "TIME") }

// TestEngine has the docker command say the same with and without a door.
func TestEngine(t *testing.T) {
	e := realdocker.Start(t, "--dockerd-arg", "--live-restore")
	h := behind(t, e.Socket, Config{Judge: judge{head: func(r apicall.Request) apicall.Verdict {
		switch {
		case strings.Contains(r.URI, "/volumes/create"):
			return apicall.Refuse(0, "volumes are not made here")
		case r.ContentType == "application/json" && !strings.Contains(r.URI, "/build"):
			return apicall.Verdict{Allow: true, Limit: 4 << 20}
		}
		return apicall.Verdict{Allow: true, Stream: true}
	}}})
	bare, door := cli{t, e.Socket, filepath.Join(e.Root, "cli")}, cli{t, h.socket, filepath.Join(e.Root, "cli")}
	img := e.Image("busy")
	t.Run("commands", func(t *testing.T) { testCommands(t, bare, door, img) })
	t.Run("terminal", func(t *testing.T) { testTerminal(t, bare, door, img) })
	t.Run("archives", func(t *testing.T) { testArchives(t, e, bare, door, img) })
	t.Run("compose", func(t *testing.T) { testCompose(t, bare, door, img) })
	t.Run("switched", func(t *testing.T) { testSwitched(t, e, h, img) })
	t.Run("refused", func(t *testing.T) {
		if got := door.run("", "docker", "volume", "create"); !strings.Contains(got, "Error response from daemon: volumes are not made here") {
			t.Error(got)
		}
	})
	t.Run("caller", func(t *testing.T) { testCaller(t, e, h, img) })
	t.Run("killed", func(t *testing.T) { testKilled(t, e, door, img) })
	t.Run("restart", func(t *testing.T) { testRestart(t, e, door, img) })
}

func testCommands(t *testing.T, bare, door cli, img string) {
	big := strings.Repeat("0123456789abcde\n", 5<<20/16)
	for _, c := range []struct {
		stdin string
		args  []string
	}{
		{"", []string{"version"}},
		{"", []string{"info"}},
		{"", []string{"run", "--rm", img, "sh", "-c", "echo out; echo err >&2; exit 3"}},
		{big, []string{"run", "-i", "--rm", img, "md5sum"}},
		{big, []string{"run", "-i", "--rm", img, "cat"}},
		{"", []string{"run", "-i", "--rm", img, "cat"}},
		{"", []string{"run", "-d", "--name", "NAME", img, "sleep", "600"}},
		{"one\ntwo\n", []string{"exec", "-i", "NAME", "sh", "-c", "cat; echo end; exit 4"}},
		{big, []string{"exec", "-i", "NAME", "md5sum"}},
		{"", []string{"exec", "NAME", "sh", "-c", "yes | head -c 3000000"}},
		{"", []string{"exec", "-d", "NAME", "true"}},
		{"", []string{"stats", "--no-stream", "--format", "{{.Name}}", "NAME"}},
		{"", []string{"top", "NAME", "-o", "comm"}},
		{"", []string{"inspect", "-f", "{{json .HostConfig}}", "NAME"}},
		{"", []string{"ps", "--filter", "name=NAME", "--format", "{{.Names}} {{.Image}} {{.State}}"}},
		{"", []string{"kill", "NAME"}},
		{"", []string{"wait", "NAME"}},
		{"", []string{"diff", "NAME"}},
		{"", []string{"rm", "NAME"}},
		{"", []string{"inspect", "NAME"}},
		{"", []string{"run", "-d", "--name", "NAME", img, "sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done; echo err >&2"}},
		{"", []string{"logs", "-f", "NAME"}},
		{"", []string{"rm", "-f", "NAME"}},
		{"", []string{"network", "create", "NAME"}},
		{"", []string{"network", "rm", "NAME"}},
		{"", []string{"run", "--rm", "no-such-image"}},
		{"", []string{"events", "--since", "0", "--until", fmt.Sprint(time.Now().Unix())}},
	} {
		got := map[string]string{}
		for name, d := range map[string]cli{"bare": bare, "door": door} {
			args := []string{"docker"}
			for _, a := range c.args {
				args = append(args, strings.ReplaceAll(a, "NAME", "name-"+name))
			}
			out := same(d.run(c.stdin, args...))
			// What differs by nature: the name, and numbers of what runs and is open, and
			// what the engine lists in any order.
			out = strings.ReplaceAll(out, "name-"+name, "NAME")
			out = regexp.MustCompile(`(?m)^ *(File Descriptors|Goroutines|System Time|Total Memory|EventsListeners|Runtimes):.*$`).ReplaceAllString(out, "")
			got[name] = out
		}
		if diff := cmp.Diff(got["bare"], got["door"]); diff != "" {
			t.Errorf("docker %v: without a door (-), with one (+):\n%.2000s", c.args, diff)
		}
	}
}

// testTerminal: with a terminal, input of a person, and leaving a container.
func testTerminal(t *testing.T, bare, door cli, img string) {
	got := map[string][]string{}
	for name, d := range map[string]cli{"bare": bare, "door": door} {
		c := "tty-" + name
		outs := []string{
			d.tty("docker run -it --rm "+img+" sh -c 'test -t 0 && echo terminal; read x; echo got $x; exit 5'", line{"terminal", "hello\n"}),
			d.run("", "docker", "run", "-dit", "--name", c, img, "sh", "-c", "while sleep 0.3; do echo tick; done & cat"),
			strings.ReplaceAll(d.tty("docker attach "+c, line{"tick", "typed\n"}, line{"typed\r\n", ""}, line{"typed\r\n", "\x10\x11"}), "tick\r\n", ""),
			d.run("", "docker", "inspect", "-f", "{{.State.Running}}", c),
			d.tty("docker exec -it "+c+" sh", line{"# ", "echo $((6*7))\n"}, line{"42\r\n", ""}, line{"# ", "exit\n"}),
			d.run("", "docker", "rm", "-f", c),
		}
		for i, o := range outs {
			outs[i] = strings.ReplaceAll(same(o), c, "NAME")
		}
		got[name] = outs
	}
	for i := range got["bare"] {
		if got["bare"][i] != got["door"][i] {
			t.Errorf("%d: %q\nwithout a door: %q", i, got["door"][i], got["bare"][i])
		}
	}
	for i, want := range []string{"got hello", "", "read escape sequence", "true", "42"} {
		if !strings.Contains(got["door"][i], want) {
			t.Errorf("%d: %q", i, got["door"][i])
		}
	}
}

// testArchives: what is sent as a tar, both ways.
func testArchives(t *testing.T, e *realdocker.Engine, bare, door cli, img string) {
	e.Docker("run", "--name", "big", img, "dd", "if=/dev/urandom", "of=/big", "bs=1M", "count=200")
	e.Docker("commit", "big", "big")
	sum := func(d cli, args ...string) string {
		cmd := d.command(nil, args...)
		h := sha256.New()
		cmd.Stdout = h
		began := time.Now()
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		t.Logf("%v at %s: %v", args, d.socket, time.Since(began))
		return fmt.Sprintf("%x", h.Sum(nil))
	}
	for _, args := range [][]string{{"docker", "save", "big"}, {"docker", "export", "big"}, {"docker", "cp", "big:/big", "-"}} {
		if b, d := sum(bare, args...), sum(door, args...); b != d {
			t.Errorf("%v: %s, without a door %s", args, d, b)
		}
	}
	file := filepath.Join(e.Root, "big.tar")
	door.run("", "docker", "save", "-o", file, "big")
	got := map[string][]string{}
	for name, d := range map[string]cli{"bare": bare, "door": door} {
		e.Docker("rmi", "big", "--force")
		e.Docker("rm", "-f", "big")
		outs := []string{d.run("", "docker", "load", "-i", file), d.run("", "docker", "create", "--name", "big", "big")}
		outs = append(outs, d.run("", "docker", "cp", file, "big:/copy"), sum(d, "docker", "cp", "big:/copy", "-"))
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM "+img+"\nRUN echo built >/built\nCOPY big /\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "big"), bytes.Repeat([]byte("casco"), 2<<20), 0o644); err != nil {
			t.Fatal(err)
		}
		outs = append(outs, d.run("", "docker", "build", "--no-cache", "-t", "built", dir), d.run("", "docker", "run", "--rm", "built", "sha256sum", "/built", "/big"))
		for i, o := range outs {
			if i != 3 && i != 5 {
				outs[i] = same(o)
			}
		}
		got[name] = outs
	}
	for i := range got["bare"] {
		if got["bare"][i] != got["door"][i] {
			t.Errorf("%d: %s\nwithout a door: %s", i, got["door"][i], got["bare"][i])
		}
	}
	if !strings.Contains(got["door"][4], "Successfully built") {
		t.Error(got["door"][4])
	}
}

func testCompose(t *testing.T, bare, door cli, img string) {
	if _, err := exec.LookPath("docker-compose"); err != nil {
		if exec.Command("docker", "compose", "version").Run() == nil {
			t.Skip("this machine has docker compose, a plugin of the CLI, and not docker-compose")
		}
		handtest.Need(t, false, "docker-compose")
	}
	file := filepath.Join(t.TempDir(), "compose.yaml")
	text := "version: '2.4'\nservices:\n  web:\n    image: " + img + "\n    command: sh -c 'echo up; sleep 600'\n    stop_grace_period: 0s\n  db:\n    image: " + img + "\n    command: sh -c 'echo up; sleep 600'\n    stop_grace_period: 0s\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	lines := func(s string) string { // those of two containers come in any order
		ls := map[string]bool{}
		for l := range strings.Lines(s) {
			if l = strings.TrimSpace(strings.TrimPrefix(l, "--- ")); l != "" && !strings.HasSuffix(l, "...") {
				ls[l] = true
			}
		}
		return fmt.Sprint(ls)
	}
	for name, d := range map[string]cli{"bare": bare, "door": door} {
		for _, args := range [][]string{{"up", "-d"}, {"ps"}, {"exec", "-T", "web", "echo", "hello"}, {"logs", "web"}, {"down", "-v"}} {
			out := d.run("", append([]string{"docker-compose", "-p", "shop", "-f", file}, args...)...)
			if !strings.HasSuffix(out, "<nil>") {
				t.Errorf("%s: compose %v: %s", name, args, out)
			}
			got[name] += lines(same(out))
		}
	}
	if got["bare"] != got["door"] {
		t.Errorf("%s\nwithout a door:\n%s", got["door"], got["bare"])
	}
}

// testSwitched: what no docker command here does, BuildKit's HTTP/2 and a
// terminal of a browser.
func testSwitched(t *testing.T, e *realdocker.Engine, h *house, img string) {
	e.Docker("run", "-d", "-i", "--name", "ws", img, "sh", "-c", "read x; echo got $x")
	got := map[string]string{}
	for name, socket := range map[string]string{"bare": e.Socket, "door": h.socket} {
		// RFC 9113: the preface, an empty SETTINGS; the answer begins with one.
		c := dial(t, socket)
		io.WriteString(c, "POST /grpc HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
		in := bufio.NewReader(c)
		head := readHead(t, in)
		io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
		frame := make([]byte, 9)
		if _, err := io.ReadFull(in, frame); err != nil || frame[3] != 4 {
			t.Errorf("%s: /grpc: %q %x %v", name, head, frame, err)
		}
		got[name] = fmt.Sprintf("%s%x", head, frame)
		c.Close()
	}
	if got["bare"] != got["door"] || !strings.HasPrefix(got["door"], "HTTP/1.1 101") {
		t.Errorf("/grpc: %q, without a door %q", got["door"], got["bare"])
	}
	c := dial(t, h.socket)
	io.WriteString(c, "GET /v1.41/containers/ws/attach/ws?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: d\r\nOrigin: http://d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	in := bufio.NewReader(c)
	if head := readHead(t, in); !strings.HasPrefix(head, "HTTP/1.1 101") {
		t.Fatalf("attach/ws: %q", head)
	}
	io.WriteString(c, "\x81\x84\x00\x00\x00\x00abc\n") // RFC 6455: text, masked with zeros
	b, _ := io.ReadAll(in)
	if !bytes.Contains(b, []byte("got abc")) {
		t.Errorf("attach/ws: %q", b)
	}
	e.Docker("rm", "-f", "ws")
}

// testCaller: a container that was given the socket is known by its ID.
func testCaller(t *testing.T, e *realdocker.Engine, h *house, img string) {
	h.mu.Lock()
	n := len(h.records)
	h.mu.Unlock()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := e.TryDocker("run", "--name", "inside", "-v", h.socket+":/s", "-v", self+":/self", "-e", "CASCO_ASK=/s", img, "/self", "-test.run=^TestAsks$"); err != nil {
		t.Skipf("this test program does not run in a container (it is static without -race): %s %v", out, err)
	}
	r := h.record(n).Request
	if id := e.Docker("inspect", "-f", "{{.Id}}", "inside"); r.Container != id || r.URI != "/info" || r.UID != 0 {
		t.Errorf("%+v, the container is %s", r, id)
	}
	e.Docker("rm", "-f", "inside")
}

// TestAsks is the process in a container of testCaller.
func TestAsks(t *testing.T) {
	socket := os.Getenv("CASCO_ASK")
	if socket == "" {
		t.Skip("only as a process in a container")
	}
	get(t, client(t, socket), "/info")
}

func readHead(t *testing.T, in *bufio.Reader) (head string) {
	t.Helper()
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("%q: %v", head+line, err)
		}
		if head += line; line == "\r\n" {
			return head
		}
	}
}

// testKilled: a client that is killed leaves nothing open at the engine.
func testKilled(t *testing.T, e *realdocker.Engine, door cli, img string) {
	e.Docker("run", "-d", "--name", "lives", img, "sleep", "600")
	before := len(socketsOf(t, e.Pid()))
	for _, args := range [][]string{{"logs", "-f", "lives"}, {"exec", "-i", "lives", "cat"}, {"attach", "lives"}, {"events"}, {"wait", "lives"}, {"stats"}} {
		cmd := door.command(nil, append([]string{"docker"}, args...)...)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond)
		cmd.Process.Kill()
		stdin.Close()
		cmd.Wait()
	}
	var after int
	for range 50 {
		if after = len(socketsOf(t, e.Pid())); after <= before+2 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if after > before+2 {
		t.Errorf("the engine has %d sockets, and had %d", after, before)
	}
}

func socketsOf(t *testing.T, pid int) (sockets []string) {
	t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, "socket:") {
			sockets = append(sockets, to)
		}
	}
	return sockets
}

// testRestart: streams end when the engine does, and the next command meets the
// new one.
func testRestart(t *testing.T, e *realdocker.Engine, door cli, img string) {
	over := make(chan string, 3)
	for _, args := range [][]string{{"logs", "-f", "lives"}, {"events"}, {"exec", "lives", "sleep", "600"}} {
		go func() { over <- door.run("", append([]string{"docker"}, args...)...) }()
	}
	c := client(t, door.socket)
	if _, body := get(t, c, "/_ping"); body != "OK" {
		t.Errorf("%q", body)
	}
	time.Sleep(500 * time.Millisecond)
	e.Restart()
	for range 3 {
		select {
		case <-over:
		case <-time.After(30 * time.Second):
			t.Fatal("a stream goes on without its engine")
		}
	}
	if _, body := get(t, c, "/_ping"); body != "OK" { // on the connection that was kept
		t.Errorf("%q", body)
	}
	if got := door.run("", "docker", "inspect", "-f", "{{.State.Running}}", "lives"); !strings.HasPrefix(got, "true") {
		t.Error(got)
	}
	door.run("", "docker", "rm", "-f", "lives")
}
