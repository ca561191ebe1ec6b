package ordinary

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"casco/guard/admission"
	"casco/internal/apicall"
	"casco/internal/realdocker"
)

// TestCompose has docker-compose make what Compose files ask for, at the engine
// and at a door that enforces. It wants the same things made, and of every
// request that the engine read at the door what the client had sent. What the
// files ask for against the rules is let through and noted, and nothing else is
// noted: what is harmless passes without a word.
//
// CASCO_COMPOSE=all tries all files, and CASCO_COMPOSE_PROGRAM another Compose.
func TestCompose(t *testing.T) {
	files := corpus(t)
	if os.Getenv("CASCO_COMPOSE") != "all" {
		files = most(files, 20)
	}
	c := newComposer(t)
	witness, arg := newWitness(t)
	e := realdocker.Start(t, "--dockerd-arg", arg)
	names := map[string]bool{}
	rules := map[string]bool{}
	for _, f := range files {
		for _, image := range f.images {
			names[image] = true
		}
		for _, rule := range f.breaks {
			rules[rule] = true
		}
	}
	image := e.Image("busy", `ENTRYPOINT ["/bin/sh", "-c", "exec sleep 6000", "--"]`)
	for name := range names {
		e.Docker("tag", image, name)
	}
	policy := "admission:\n  mode: enforce\n  rules:\n"
	for _, rule := range slices.Sorted(maps.Keys(rules)) {
		policy += "    " + rule + ": {mode: observe}\n"
	}
	g := newGuard(t, e, policy)
	front := newTap(t, filepath.Join(e.Root, "front"), g.door)
	for _, f := range files {
		t.Run(f.name, func(t *testing.T) {
			dir := f.lay(t, e)
			args := []string{"--project-name", f.name, "--file", filepath.Join(dir, "compose.yaml"), "up", "--no-start"}
			if f.starts {
				args[len(args)-1] = "-d"
			}
			work := func(socket string) (said string, made []string, read []request) {
				defer removeAll(t, e.Socket)
				witness.take()
				said = c.run(t, dir, socket, args...)
				return said, everything(t, e.Socket), witness.take()
			}
			said, made, _ := work(e.Socket)
			before := len(g.said(t))
			saidAtDoor, madeAtDoor, read := work(front.socket)
			compare(t, front.take(t), read)
			if diff := cmp.Diff(said, saidAtDoor); diff != "" {
				t.Errorf("docker-compose says, without a door (-) and with one (+):\n%s", diff)
			}
			if diff := cmp.Diff(made, madeAtDoor); diff != "" {
				t.Errorf("the engine has, without a door (-) and with one (+):\n%.4000s", diff)
			}
			if !f.starts && strings.Contains(said, "exit code") { // what a host cannot start, it cannot start either way
				t.Errorf("%s\n%s", said, f.text)
			}
			noted := notes(g.said(t)[before:])
			if len(noted) == 0 != (len(f.breaks) == 0) || slices.ContainsFunc(noted, func(rule string) bool { return !slices.Contains(f.breaks, rule) }) {
				t.Errorf("the door noted %v, the file breaks %v", noted, f.breaks)
			}
		})
	}
}

// lay writes a file and all that it refers to, and returns their directory.
func (f composeFile) lay(t testing.TB, e *realdocker.Engine) (dir string) {
	t.Helper()
	dir = filepath.Join(e.Root, "files", f.name)
	for name, text := range map[string]string{
		"compose.yaml": f.in(dir, e.Socket), ".env": "DB_NAME=from dotenv\n", ".env.app": "# comment\nAPP_KEY=base64:c2VjcmV0+/=\nQUOTED='a b'\nEMPTY=\n",
		"extra.env": "EXTRA=1\n", "secret.txt": "s3cr3t", "Dockerfile": "FROM scratch\n", "conf/app.conf": "a=b\n", "data/file": "",
		"common.yml": "services:\n  base:\n    image: myorg/base:1\n    environment: {FROM_BASE: \"1\"}\n    labels: [\"com.example.base=yes\"]\n",
	} {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

var notePattern = regexp.MustCompile(`msg=admission .*?rule=([a-z]\S*)`)

// notes are the rules that a guard's log says something was against, of each
// request the first.
func notes(log string) (rules []string) {
	for _, m := range notePattern.FindAllStringSubmatch(log, -1) {
		rules = append(rules, m[1])
	}
	slices.Sort(rules)
	return slices.Compact(rules)
}

// compare wants what the engine read to be what was sent to the door. The guard
// asks it questions of its own.
func compare(t testing.TB, came, went []request) {
	t.Helper()
	bag := map[string]int{}
	for _, r := range went {
		bag[r.read(t)]++
	}
	for _, r := range came {
		as := r.read(t)
		if bag[as]--; bag[as] < 0 {
			t.Errorf("the client sent, and the engine did not read:\n%s", as)
		}
	}
	for as, n := range bag {
		if n > 0 && !strings.HasPrefix(as, "GET ") {
			t.Errorf("the engine read, and the client did not send:\n%s", as)
		}
	}
	if len(came) == 0 {
		t.Error("nothing was sent")
	}
}

// read is a request as the engine reads it: its body in the engine's own type,
// and as JSON that keeps what that type does not have.
func (r request) read(t testing.TB) string {
	t.Helper()
	to, err := url.ParseRequestURI(r.uri)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s?%s\n", r.method, to.Path, to.Query().Encode())
	for _, name := range slices.Sorted(maps.Keys(r.header)) {
		if name != "Content-Length" && name != "Content-Type" && name != apicall.PassField {
			fmt.Fprintf(&b, "%s: %v\n", name, r.header[name])
		}
	}
	if len(r.body) == 0 {
		return b.String()
	}
	route, err := admission.ParseURI(r.method, r.uri)
	if err != nil || route.Endpoint.TypeOf() == nil {
		return b.String() + string(r.body)
	}
	typed := reflect.New(route.Endpoint.TypeOf())
	var raw any
	for _, v := range []any{typed.Interface(), &raw} {
		if err := json.Unmarshal(r.body, v); err != nil {
			t.Errorf("%s: %v: %s", r.uri, err, r.body)
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n", text)
	}
	return b.String()
}

// A composer runs docker-compose.
type composer struct {
	program string
	jobs    *json.Encoder  // nil where the program is no Python
	codes   *bufio.Scanner // how jobs ended
}

func newComposer(t testing.TB) *composer {
	t.Helper()
	c := &composer{program: os.Getenv("CASCO_COMPOSE_PROGRAM")}
	if c.program == "" {
		need(t, "docker-compose")
		c.program = "docker-compose"
	}
	path, err := exec.LookPath(c.program)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	python, isScript := strings.CutPrefix(string(line), "#!")
	if !isScript || !strings.Contains(python, "python") {
		return c
	}
	cmd := exec.Command(strings.TrimSpace(python), "testdata/calls.py")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	c.jobs, c.codes = json.NewEncoder(in), bufio.NewScanner(out)
	return c
}

// run returns what docker-compose said, without its order, for it does several
// things at once; and how it ended, if not well.
func (c *composer) run(t testing.TB, dir, socket string, args ...string) string {
	t.Helper()
	env := map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": dir, "DOCKER_HOST": "unix://" + socket, "COMPOSE_PROFILES": "extra", "COMPOSE_ANSI": "never", "FROM_SHELL": "yes",
		"LANG": "C.UTF-8",
	}
	said := filepath.Join(dir, "said")
	code := 0
	if c.jobs != nil {
		if err := c.jobs.Encode(map[string]any{"dir": dir, "env": env, "args": args, "out": said}); err != nil {
			t.Fatal(err)
		}
		if !c.codes.Scan() {
			t.Fatalf("docker-compose does not answer: %v", c.codes.Err())
		}
		var err error
		if code, err = strconv.Atoi(c.codes.Text()); err != nil {
			t.Fatal(err)
		}
	} else {
		code = c.start(t, dir, env, said, args)
	}
	f, err := os.Open(said)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(same(string(b))) {
		if line = strings.Join(strings.Fields(line), " "); !strings.HasSuffix(line, "...") { // it is doing that
			lines = append(lines, line)
		}
	}
	if code != 0 {
		lines = append(lines, fmt.Sprintf("exit code %d", code))
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n")
}

// start runs a program that is no Python.
func (c *composer) start(t testing.TB, dir string, env map[string]string, said string, args []string) (code int) {
	t.Helper()
	out, err := os.Create(said)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(c.program, args...)
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}
