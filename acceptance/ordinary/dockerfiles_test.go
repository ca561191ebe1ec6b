package ordinary

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"casco/internal/outside"
	"casco/internal/realdocker"
)

// dockerfiles makes n files of the table: a base, six steps and an end each,
// every third with line ends of Windows, every seventh with another escape.
func dockerfiles(t testing.TB, n int) []string {
	t.Helper()
	b, err := os.ReadFile("testdata/dockerfiles.txt")
	if err != nil {
		t.Fatal(err)
	}
	var groups [3][]string
	at := 0
	for line := range strings.Lines(string(b)) {
		switch line = strings.TrimSuffix(line, "\n"); {
		case strings.HasPrefix(line, "== "):
			at++
		case line != "" && line[0] != '#':
			groups[at] = append(groups[at], strings.ReplaceAll(line, `\n`, "\n"))
		}
	}
	var out []string
	for i := range n {
		lines := []string{"# made of a table", groups[0][i%len(groups[0])]}
		for k := range 6 {
			lines = append(lines, groups[1][(i*7+k*(i%11+3))%len(groups[1])])
		}
		lines = append(lines, "", groups[2][(i/3)%len(groups[2])])
		text := strings.Join(lines, "\n") + "\n"
		if i%7 == 3 {
			text = "# escape=`\n" + strings.ReplaceAll(text, "\\\n", "`\n")
		}
		if i%3 == 1 {
			text = strings.ReplaceAll(text, "\n", "\r\n")
		}
		if i%5 == 2 {
			text = strings.TrimRight(text, "\r\n")
		}
		out = append(out, text)
	}
	return out
}

// A linted is what casco lint says of one place.
type linted struct {
	Check, Verdict, Reason string
	Position               *struct {
		File                               string
		Line, Column, End_line, End_column int
	}
}

// lint runs casco lint; the findings are sorted by it.
func lint(t testing.TB, dir string, args ...string) (found []linted, gaps []string) {
	t.Helper()
	cmd := exec.Command(outside.Program(t), append([]string{"lint", "--format", "json", "--state", t.TempDir()}, args...)...)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() == 2 || out.Len() == 0 && exit.ExitCode() != 5) {
		t.Fatalf("%v: %v\n%s", args, err, errs.String())
	}
	if out.Len() == 0 {
		return nil, nil
	}
	var doc struct {
		Findings []linted
		Gaps     []struct{ Source, Reason string }
	}
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	for _, g := range doc.Gaps {
		gaps = append(gaps, g.Source+": "+g.Reason)
	}
	return doc.Findings, gaps
}

// fixes reports whether casco lint --fix would change something in a folder.
func fixes(t testing.TB, dir string, args ...string) bool {
	t.Helper()
	cmd := exec.Command(outside.Program(t), append([]string{"lint", "--fix", "--dry-run", "--state", t.TempDir()}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	exit := (*exec.ExitError)(nil)
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 5) {
		t.Fatalf("%v\n%s", err, out)
	}
	if err != nil {
		t.Logf("%s", out)
	}
	return err != nil
}

// kept wants what no finding is about to stand, in its order, in what became of
// a file.
func kept(t testing.TB, name, was, now string, found []linted) {
	t.Helper()
	about := map[int]bool{}
	for _, f := range found {
		if f.Position != nil && f.Position.File == name && f.Verdict == "fail" {
			for n := f.Position.Line; n <= f.Position.End_line; n++ {
				about[n] = true
			}
		}
	}
	left := strings.SplitAfter(now, "\n")
	for i, line := range strings.SplitAfter(was, "\n") {
		if about[i+1] || line == "" {
			continue
		}
		at := slices.IndexFunc(left, func(l string) bool { return strings.TrimRight(l, "\r\n") == strings.TrimRight(line, "\r\n") })
		if at < 0 {
			// a step whose lines are joined with those of one that something was found in
			if strings.HasPrefix(line, "RUN apt-get install") || strings.HasPrefix(strings.TrimSpace(line), "apt-get") || strings.Contains(line, "&&") {
				continue
			}
			t.Errorf("%s: line %d was about nothing and is gone: %q", name, i+1, line)
			continue
		}
		left = left[at+1:]
	}
}

// TestLintFiles: three hundred Dockerfiles are read, found in at places that are
// there and that stay, and mended once and no more; what was about nothing
// stands as it was. Those that could be built can still be built.
// CASCO_LINT=all builds all of them.
func TestLintFiles(t *testing.T) {
	dir := t.TempDir()
	files := dockerfiles(t, 300)
	if distinct := slices.Compact(slices.Sorted(slices.Values(files))); len(distinct) != len(files) {
		t.Fatalf("only %d are different", len(distinct))
	}
	for i, text := range files {
		write(t, filepath.Join(dir, "was", fmt.Sprint(i), "Dockerfile"), text)
		write(t, filepath.Join(dir, "now", fmt.Sprint(i), "Dockerfile"), text)
		for _, at := range []string{"was", "now"} {
			at = filepath.Join(dir, at, fmt.Sprint(i))
			write(t, filepath.Join(at, "app.py"), "print()\n")
			write(t, filepath.Join(at, "conf", "a.conf"), "a=b\n")
			write(t, filepath.Join(at, "archive.tgz"), "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00")
		}
	}
	now := filepath.Join(dir, "now")
	found, gaps := lint(t, now, ".")
	if len(gaps) > 0 {
		t.Fatalf("%v", gaps)
	}
	again, _ := lint(t, now, ".")
	if d := cmp.Diff(found, again); d != "" {
		t.Errorf("a second look says otherwise: %s", d)
	}
	checks := map[string]bool{}
	for _, f := range found {
		if f.Position == nil {
			t.Errorf("%s has no place", f.Check)
			continue
		}
		checks[f.Check] = true
		b, err := os.ReadFile(filepath.Join(now, f.Position.File))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(b), "\n")
		if f.Position.Line < 1 || f.Position.End_line > len(lines) || strings.TrimSpace(lines[f.Position.Line-1][f.Position.Column-1:]) == "" {
			t.Errorf("%s is at %v, where nothing is", f.Check, *f.Position)
		}
	}
	if len(checks) < 20 {
		t.Errorf("only %d checks were put", len(checks))
	}
	lint(t, now, "--fix", ".")
	if fixes(t, now, ".") {
		t.Error("what is mended is mended again")
	}
	after, gaps := lint(t, now, ".")
	fails := func(fs []linted) (n int) {
		for _, f := range fs {
			if f.Verdict == "fail" {
				n++
			}
		}
		return n
	}
	if len(gaps) > 0 || fails(after) >= fails(found) {
		t.Errorf("%d failures were %d, %v", fails(after), fails(found), gaps)
	}
	changed := []int{}
	for i, was := range files {
		b, err := os.ReadFile(filepath.Join(now, fmt.Sprint(i), "Dockerfile"))
		if err != nil {
			t.Fatal(err)
		}
		if string(b) != was {
			changed = append(changed, i)
		}
		kept(t, fmt.Sprintf("%d/Dockerfile", i), was, string(b), found)
	}
	t.Logf("%d findings, %d of %d files were changed, %d failures are left", fails(found), len(changed), len(files), fails(after))
	building(t, dir, changed)
}

// TestLintComposeFiles: Compose files, a part of three hundred, are read, mended
// once and no more, and docker-compose takes what it took before. CASCO_LINT=all
// takes all.
func TestLintComposeFiles(t *testing.T) {
	files := corpus(t)
	some := 6
	if os.Getenv("CASCO_LINT") == "all" {
		some = 300
	} else {
		files = most(files, 8)
	}
	dir := t.TempDir()
	c := newComposer(t)
	e := realdocker.Start(t)
	image := e.Image("busy", `ENTRYPOINT ["/bin/sh", "-c", "exec sleep 6000", "--"]`)
	e.Docker("tag", image, "myorg/base:1")
	n := 0
	for i, f := range files {
		for _, name := range f.images {
			e.Docker("tag", image, name)
		}
		text := map[string]string{f.name: f.in(dir, e.Socket)}
		if i%2 == 0 {
			text[f.name+"-crlf"] = strings.ReplaceAll(f.in(dir, e.Socket), "\n", "\r\n")
		}
		for name, text := range text {
			n++
			laid := f.lay(t, e)
			work := filepath.Join(dir, name)
			if err := os.CopyFS(work, os.DirFS(laid)); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(work, "compose.yaml")
			write(t, file, text)
			up := func() string {
				defer removeAll(t, e.Socket)
				return c.run(t, work, e.Socket, "--project-name", f.name, "--file", file, "up", "--no-start")
			}
			found, gaps := lint(t, work, "compose.yaml")
			if slices.ContainsFunc(gaps, func(g string) bool { return !strings.Contains(g, "already mounted") }) {
				t.Errorf("%s: %v", name, gaps)
			}
			for _, f := range found {
				if f.Position == nil && f.Verdict == "fail" {
					t.Errorf("%s: %s has no place", name, f.Check)
				}
			}
			before := ""
			if n <= some {
				before = up()
			}
			lint(t, work, "--fix", "compose.yaml")
			if fixes(t, work, "compose.yaml") {
				t.Errorf("%s: what is mended is mended again", name)
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			kept(t, "compose.yaml", text, string(b), found)
			if n <= some && !strings.Contains(before, "exit code") {
				if after := up(); strings.Contains(after, "exit code") {
					t.Errorf("%s was taken and is no more:\n%s\n%s", name, after, b)
				}
			}
		}
	}
	t.Logf("%d files", n)
}

// building wants of each file that could be built that it can be built as it is
// now.
func building(t *testing.T, dir string, files []int) {
	n := 6
	if os.Getenv("CASCO_LINT") == "all" {
		n = len(files)
	}
	t.Setenv("DOCKER_BUILDKIT", "0")
	e := realdocker.Start(t)
	image := e.Image("busy")
	base := filepath.Join(dir, "base")
	write(t, filepath.Join(base, "Dockerfile"), "FROM "+image+`
RUN mkdir -p /run /var/lib/apt/lists && for t in apt-get apk dnf curl wget pip ssh-keygen; do rm -f /bin/$t; printf '#!/bin/sh\nexit 0\n' > /bin/$t; chmod 755 /bin/$t; done
RUN printf '#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do shift; done\nexec "$@"\n' > /bin/sudo && chmod 755 /bin/sudo
RUN printf '#!/bin/sh\nfor n; do :; done\necho "$n:x:1001:1001::/:/bin/sh" >> /etc/passwd\n' > /bin/useradd && chmod 755 /bin/useradd
`)
	e.Docker("build", "-q", "-t", "base:1", "-t", "base:latest", base)
	built := 0
	for _, i := range files {
		if built == n {
			break
		}
		if _, err := e.TryDocker("build", "-q", "-t", "was", filepath.Join(dir, "was", fmt.Sprint(i))); err != nil {
			continue
		}
		built++
		if out, err := e.TryDocker("build", "-q", "-t", "now", filepath.Join(dir, "now", fmt.Sprint(i))); err != nil {
			b, _ := os.ReadFile(filepath.Join(dir, "now", fmt.Sprint(i), "Dockerfile"))
			t.Errorf("%d could be built and cannot now: %v %s\n%s", i, err, out, b)
		}
	}
	if t.Logf("%d files were built twice", built); built < min(n, 6) {
		t.Errorf("only %d of %d files can be built", built, len(files))
	}
}
