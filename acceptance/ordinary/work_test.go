package ordinary

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"golang.org/x/tools/txtar"

	"casco/internal/handtest"
	"casco/internal/realdocker"
)

// TestWork does a working day (testdata/day.txt) at the engine, and again at a
// door that enforces, and wants to be told the same by every command.
//
// CASCO_WORK_MIB is the size of the image that is carried about, 64 unless it is
// given; from 1024 on the day is done a third time, at a door that observes.
func TestWork(t *testing.T) {
	need(t, "docker", "docker-compose", "curl")
	d := &day{python: pythonWithDocker(t), client: filepath.Join(t.TempDir(), "client")}
	build := exec.Command("go", "build", "-o", d.client, ".")
	build.Dir = "testdata/client"
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	size := 64
	if s := os.Getenv("CASCO_WORK_MIB"); s != "" {
		var err error
		if size, err = strconv.Atoi(s); err != nil {
			t.Fatalf("CASCO_WORK_MIB: %v", err)
		}
	}
	// Without this BuildKit could be asked for the host's network, and a door that
	// enforces does not let its sessions pass.
	config := filepath.Join(t.TempDir(), "daemon.json")
	write(t, config, `{"builder": {"Entitlements": {"network-host": false, "security-insecure": false}}}`)
	e := realdocker.Start(t, "--config", config)
	d.dir = filepath.Join(e.Root, "day")
	e.Image("busy")
	e.Docker("run", "--name", "big", "busy", "dd", "if=/dev/urandom", "of=/big", "bs=1M", "count="+strconv.Itoa(size))
	e.Docker("commit", "big", "big")
	e.Docker("rm", "big")
	d.build = buildKit(t, e.Socket)
	d.clear(t, e)

	bare := d.work(t, e, e.Socket)
	modes := []string{"enforce"}
	if size >= 1024 {
		modes = append(modes, "observe")
	}
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			// What a day has that is not for everyone: a port that the engine chooses, a
			// file put beside a container's programs, and a look into another's.
			g := newGuard(t, e, "admission: {mode: "+mode+`, rules: {container-random-port: {mode: ignore}, archive-path: {mode: ignore}, container-join: {mode: ignore}}}`+"\n")
			for i, got := range d.work(t, e, g.door) {
				if diff := cmp.Diff(bare[i], got); diff != "" {
					t.Errorf("%s\nwithout a door (-) and with one (+):\n%.3000s", got.Command, diff)
				}
			}
			if noted := notes(g.said(t)); len(noted) > 0 {
				t.Errorf("the door noted %v", noted)
			}
		})
	}
}

// pythonWithDocker is a Python that has the docker module.
func pythonWithDocker(t testing.TB) string {
	t.Helper()
	for _, python := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(python, "-c", "import docker").Run() == nil {
			return python
		}
	}
	handtest.Need(t, false, "python3-docker")
	return ""
}

// buildKit is a docker command that can ask for BuildKit: it needs no plugin for
// it, or has it.
func buildKit(t testing.TB, socket string) string {
	t.Helper()
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		docker := filepath.Join(dir, "docker")
		cmd := exec.Command(docker, "build", "-")
		cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+socket, "DOCKER_BUILDKIT=1", "DOCKER_CONTEXT=")
		cmd.Stdin = strings.NewReader("FROM busy\n")
		if cmd.Run() == nil {
			return docker
		}
	}
	handtest.Need(t, false, "a docker command with BuildKit (docker.io up to Debian 12, docker-buildx)")
	return ""
}

// A day is what its commands need.
type day struct{ dir, build, python, client string }

// An outcome is what a command said, and how it ended.
type outcome struct{ Command, Stdout, Stderr, End string }

// work does all of a day at a socket, and leaves the engine as it was.
func (d *day) work(t *testing.T, e *realdocker.Engine, socket string) (all []outcome) {
	t.Helper()
	defer d.clear(t, e)
	a, err := txtar.ParseFile("testdata/dir.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range a.Files {
		write(t, filepath.Join(d.dir, f.Name), string(f.Data))
	}
	b, err := os.ReadFile("testdata/day.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	for i := 0; i < len(lines); i++ {
		command := lines[i]
		if command == "" || command[0] == '#' {
			continue
		}
		var typed [][2]string
		for ; i+1 < len(lines) && strings.HasPrefix(lines[i+1], "\t"); i++ {
			typed = append(typed, quoted(t, lines[i+1]))
		}
		began := time.Now()
		all = append(all, d.do(t, socket, command, typed))
		t.Logf("%4d ms, %s: %s %.200q", time.Since(began).Milliseconds(), all[len(all)-1].End, command, all[len(all)-1].Stderr)
	}
	return all
}

// clear leaves of an engine and the directory what there was before the day.
func (d *day) clear(t testing.TB, e *realdocker.Engine) {
	t.Helper()
	removeAll(t, e.Socket)
	for _, name := range strings.Fields(e.Docker("images", "-q", "--no-trunc", "--filter", "since=big")) {
		e.TryDocker("rmi", "-f", name) // others may be its children
	}
	for _, kind := range []string{"image", "builder"} {
		e.Docker(kind, "prune", "-f")
	}
	if err := os.RemoveAll(d.dir); err != nil {
		t.Error(err)
	}
}

func quoted(t testing.TB, line string) (pair [2]string) {
	t.Helper()
	rest := strings.TrimSpace(line)
	for i := range pair {
		word, err := strconv.QuotedPrefix(rest)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		rest = strings.TrimSpace(rest[len(word):])
		pair[i], _ = strconv.Unquote(word)
	}
	return pair
}

// do runs one command.
func (d *day) do(t testing.TB, socket, command string, typed [][2]string) outcome {
	t.Helper()
	how, line := command[0], command
	if strings.IndexByte("?~@", how) >= 0 {
		line = command[2:]
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir = d.dir
	cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+socket, "SOCKET="+socket, "DOCKER_CONFIG="+filepath.Join(d.dir, "cli"), "DOCKER_CONTEXT=", "DOCKER_API_VERSION=",
		"DOCKER_BUILDKIT=0", "COMPOSE_ANSI=never", "COMPOSE_DOCKER_CLI_BUILD=0", "IMG=busy", "BIG=big", "BUILD="+d.build, "PYTHON="+d.python, "CLIENT="+d.client,
		"FROM_SHELL=yes", "LANG=C.UTF-8", "TERM=dumb")
	var stdout, stderr screen
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 5 * time.Second
	var terminal *os.File
	end := func() {}
	if how == '@' {
		terminal, end = onTerminal(t, cmd, &stdout)
		defer end()
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, pair := range typed {
		if pair[0] == "" {
			time.Sleep(1500 * time.Millisecond) // nothing is shown when it is attached
		}
		if !stdout.wait(pair[0]) {
			t.Errorf("%s: %q is not shown: %q", command, pair[0], stdout.String())
		}
		io.WriteString(terminal, pair[1])
	}
	if err, exit := cmd.Wait(), (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Errorf("%s: %v", command, err)
	}
	end()
	o := outcome{Command: command, End: cmd.ProcessState.String()}
	if how != '~' {
		o.Stdout, o.Stderr = stable(stdout.String(), how == '?'), stable(stderr.String(), how == '?')
	}
	return o
}

// onTerminal gives a command that was not started yet a terminal: what is
// written to it is typed, and what it shows goes to a screen until end, which
// waits for all of it.
func onTerminal(t testing.TB, cmd *exec.Cmd, shows io.Writer) (terminal *os.File, end func()) {
	t.Helper()
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	// pts(4)
	number, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(terminal.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}); err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		io.Copy(shows, terminal) // ends when nobody has tty open
	}()
	return terminal, sync.OnceFunc(func() {
		tty.Close()
		<-shown
		terminal.Close()
	})
}

// A screen is written while it is read.
type screen struct {
	mu   sync.Mutex // guards what follows
	b    bytes.Buffer
	seen int // has been waited for
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// wait waits until a text is shown, after what was waited for before; for half a
// minute at most.
func (s *screen) wait(text string) bool {
	for range 300 {
		s.mu.Lock()
		i := bytes.Index(s.b.Bytes()[s.seen:], []byte(text))
		if i >= 0 {
			s.seen += i + len(text)
		}
		s.mu.Unlock()
		if i >= 0 {
			return true
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false
}

// changing is what differs by nature from one call to the next: numbers of what
// runs and is open, durations, addresses and ports that are drawn.
var changing = []struct {
	is *regexp.Regexp
	as string
}{
	{regexp.MustCompile(`(?m)^ *(File Descriptors|Goroutines|System Time|Total Memory|EventsListeners|Runtimes|Date):.*\n`), ""},
	{regexp.MustCompile(`\b(About an?|Less than an?|\d+) (second|minute|hour)s?( ago)?\b`), "SOME TIME"},
	{regexp.MustCompile(`\b(172\.(1[7-9]|2\d|3[01])\.\d+|192\.168\.\d+)\.\d+\b`), "ADDRESS"},
	{regexp.MustCompile(`\b02:42(:[0-9a-f]{2}){4}\b`), "MAC"},
	{regexp.MustCompile(`(:|"HostPort": ")(3[2-9]|[45]\d|6[0-5])\d{3}\b`), "${1}PORT"},
	{regexp.MustCompile(`"(Pid|CPU|Usage)": ?\d+`), "NUMBER"},
	{regexp.MustCompile(`\bsha256:[0-9a-f]{7,}`), "ID"},
	{regexp.MustCompile(`\b[0-9a-f]{10,64}\b`), "ID"},
	{regexp.MustCompile(`\r~ # \x1b\[J`), ""}, // a shell that is told of its terminal's size
}

// stable is what a command said, without what changes.
func stable(s string, unordered bool) string {
	s = same(s)
	for _, c := range changing {
		s = c.is.ReplaceAllString(s, c.as)
	}
	if !unordered {
		return s
	}
	var lines []string
	for line := range strings.Lines(s) {
		if line = strings.Join(strings.Fields(line), " "); !strings.HasSuffix(line, "...") { // it is doing that
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
