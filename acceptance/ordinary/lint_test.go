package ordinary

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"casco/internal/outside"
	"casco/internal/realdocker"
)

// A verdict is what casco says of one check about one container.
type verdict struct {
	Check, Ref, Verdict, Reason string
	Evidence                    []struct{ Field string }
	Position                    *struct{ File string }
}

// ofProcess reports whether v rests on what only a container that was made, or
// that runs, has: what the kernel says of its process, its sockets, its layer,
// the engine's own record of it.
func (v verdict) ofProcess() bool {
	return slices.ContainsFunc(v.Evidence, func(e struct{ Field string }) bool {
		top, _, _ := strings.Cut(e.Field, ".")
		return slices.Contains([]string{"Effective", "Listeners", "Changes", "Access", "State", "Created", "Id", "Image"}, top)
	})
}

// verdicts are those of a program's JSON about containers, by their names as
// docker-compose 1 writes them, and checks.
// refused is what the files are refused for, if they are.
func verdicts(t testing.TB, args ...string) (all map[string]verdict, refused string) {
	t.Helper()
	cmd := exec.Command(outside.Program(t), append(args, "--format", "json", "--state", t.TempDir())...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || out.Len() == 0) {
		t.Fatalf("%v: %v\n%s", args, err, errs.String())
	}
	var doc struct {
		Findings []verdict
		Gaps     []struct{ Reason string }
	}
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if args[0] == "lint" && len(doc.Gaps) > 0 {
		return nil, doc.Gaps[0].Reason
	}
	all = map[string]verdict{}
	for _, v := range doc.Findings {
		if name, ok := strings.CutPrefix(v.Ref, "container/"); ok {
			all[strings.ReplaceAll(name, "_", "-")+" "+v.Check] = v
		}
	}
	return all, ""
}

// TestLintAgrees has docker-compose make the containers of Compose files, and
// wants of each, check by check, the verdict that casco lint gave of its service
// before. CASCO_COMPOSE=all tries all files.
func TestLintAgrees(t *testing.T) {
	files := corpus(t)
	if os.Getenv("CASCO_COMPOSE") != "all" {
		files = most(files, 8)
	}
	c := newComposer(t)
	e := realdocker.Start(t)
	image := e.Image("busy", `ENTRYPOINT ["/bin/sh", "-c", "exec sleep 6000", "--"]`, `ENV PATH=/bin`)
	for _, f := range files {
		for _, name := range f.images {
			e.Docker("tag", image, name)
		}
	}
	e.Docker("tag", image, "myorg/base:1")
	compared, excused := 0, map[string]int{}
	for _, f := range files {
		t.Run(f.name, func(t *testing.T) {
			defer removeAll(t, e.Socket)
			dir := f.lay(t, e)
			args := []string{"--compatibility", "--project-name", f.name, "--file", filepath.Join(dir, "compose.yaml"), "up", "--no-start"}
			if slices.Contains(f.options, "network-service") { // docker-compose 1 leaves it out unless the other service runs
				args[len(args)-1] = "-d"
			}
			said := c.run(t, dir, e.Socket, args...)
			t.Setenv("FROM_SHELL", "yes")
			t.Setenv("COMPOSE_PROJECT_NAME", f.name)
			before, refused := verdicts(t, "lint", "-H", "unix://"+e.Socket, filepath.Join(dir, "compose.yaml"))
			if strings.Contains(refused, "already mounted") {
				t.Skip("docker-compose 1 takes two mounts at one place, Compose 2 does not: " + refused)
			}
			if refused != "" {
				t.Fatal(refused)
			}
			made, _ := verdicts(t, "audit", "-H", "unix://"+e.Socket)
			seen := 0
			for key, is := range made {
				was, told := before[key]
				if !told {
					if name, _, _ := strings.Cut(key, " "); strings.HasSuffix(name, "-1") || !strings.HasPrefix(name, f.name) {
						t.Errorf("lint says nothing of %s: %s", key, is.Verdict)
					}
					continue // one more of the same service
				}
				seen++
				if was.Verdict == is.Verdict {
					continue
				}
				if is.ofProcess() || was.ofProcess() {
					excused[is.Check]++
					continue
				}
				t.Errorf("%s: lint says %s (%s), the container is %s (%s), evidence %v", key, was.Verdict, was.Reason, is.Verdict, is.Reason, is.Evidence)
			}
			if compared += seen; seen == 0 {
				t.Errorf("nothing was compared: %s", said)
			}
			if t.Failed() {
				t.Log(f.text)
			}
		})
	}
	t.Logf("%d verdicts were compared; those of another moment: %v", compared, excused)
	if len(excused) > 0 && compared < 10*sum(excused) {
		t.Errorf("too many verdicts rest on what a file cannot tell")
	}
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}
