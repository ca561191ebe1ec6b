package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"casco/internal/realdocker"
)

// A workbench is a private engine with a weak container on it, and casco.
type workbench struct {
	*testing.T
	e     *realdocker.Engine
	casco string
	dir   string
	env   []string // added to casco's own
	fails bool     // a verb may end with exit code 1

	check, ref string // what eachBoundary plans for
	answers    []string
}

func newWorkbench(t *testing.T) *workbench {
	e := realdocker.Start(t)
	e.Image("bb:1")
	b := &workbench{T: t, e: e, casco: filepath.Join(t.TempDir(), "casco"), dir: t.TempDir()}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, b.casco); err != nil {
		t.Fatal(err)
	}
	e.Docker("network", "create", "--subnet", "10.77.0.0/24", "front")
	e.Docker("run", "-d", "--name", "web", "--init", "--pid", "host", "-v", "/data", "--network", "front", "--ip", "10.77.0.9", "--network-alias", "shop", "bb:1", "sleep", "100000")
	e.Docker("exec", "web", "sh", "-c", "echo precious >/data/f")
	if err := os.Chmod(e.Config, 0o666); err != nil {
		t.Fatal(err)
	}
	return b
}

// run runs casco, killed at boundary dieAt unless that is 0. It returns what
// was printed and whether it was killed.
func (b *workbench) run(dieAt int, args ...string) (out string, killed bool) {
	b.Helper()
	cmd := exec.Command(b.casco, append([]string{"-H", "unix://" + b.e.Socket, "--state", filepath.Join(b.dir, "state"), "--yes"}, args...)...)
	cmd.Env = append(os.Environ(), "LANG=C")
	if dieAt > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprint("CASCO_TEST_DIE_AT=", dieAt))
	}
	cmd.Env = append(cmd.Env, b.env...)
	printed, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled():
		return string(printed), true
	case errors.As(err, &exit) && exit.ExitCode() == exitPending && args[0] == "plan":
	case errors.As(err, &exit) && exit.ExitCode() == exitTrouble && b.fails:
	default:
		b.Fatalf("casco %v: %v\n%s", args, err, printed)
	}
	return string(printed), false
}

// state is the part of the host that the change touches, as docker, stat and
// the container itself say it.
func (b *workbench) state() string {
	b.Helper()
	st, err := os.Stat(b.e.Config)
	if err != nil {
		b.Fatal(err)
	}
	config, err := os.ReadFile(b.e.Config)
	if err != nil {
		b.Fatal(err)
	}
	format := "{{.Name}} {{.Id}} {{.State.Running}} pid={{.HostConfig.PidMode}} {{.HostConfig.RestartPolicy.Name}} {{range .Mounts}}{{.Name}}{{end}} " +
		`{{with index .NetworkSettings.Networks "front"}}{{.IPAddress}} {{index .Aliases 0}}{{end}}`
	data, err := b.e.TryDocker("exec", "web", "cat", "/data/f")
	if err != nil {
		data = err.Error()
	}
	return strings.Join([]string{
		st.Mode().String(), string(config), b.e.Docker("ps", "-a", "--format", "{{.Names}}"), b.e.Docker("inspect", "--format", format, "web"),
		data, b.e.Docker("info", "--format", "{{.LiveRestoreEnabled}}"),
	}, "\n")
}

// records are the files of the record of changes.
func (b *workbench) records() []string {
	b.Helper()
	recs, err := filepath.Glob(filepath.Join(b.dir, "state", "changes", "*", "record.json"))
	if err != nil {
		b.Fatal(err)
	}
	return recs
}

// last is the newest change of the record.
func (b *workbench) last() changeLine {
	b.Helper()
	out, _ := b.run(0, "changes", "--format", "json")
	var doc struct{ Changes []changeLine }
	if err := json.Unmarshal([]byte(out[strings.Index(out, "{"):]), &doc); err != nil || len(doc.Changes) == 0 {
		b.Fatalf("%v: %s", err, out)
	}
	return doc.Changes[len(doc.Changes)-1]
}

// TestKilled kills casco at every boundary of a change of three hands. The next
// casco must leave the host wholly before or wholly after, and say which.
func TestKilled(t *testing.T) {
	t.Parallel() // mostly waiting
	b := newWorkbench(t)
	file := filepath.Join(b.dir, "cure.json")
	before := b.state()
	kills, used := 0, -1
	for n := 1; ; n++ {
		if recs := b.records(); len(recs) != used { // an approval is good for one change
			used = len(recs)
			b.run(0, "plan", "--check", "container-host-pid", "--check", "file-daemon-json-mode", "--check", "daemon-live-restore",
				"--ref", "container/web", "--ref", "file/"+b.e.Config, "--ref", "daemon/"+b.e.Socket, "-o", file)
			b.run(0, "approve", file)
		}
		_, killed := b.run(n, "apply", file)
		if !killed {
			break
		}
		kills++
		if len(b.records()) == 0 { // it died before it had written anything
			if after := b.state(); after != before {
				t.Fatalf("boundary %d: nothing is on record, and the host is\n%s\nbefore:\n%s", n, after, before)
			}
			continue
		}
		switch c := b.last(); c.State {
		case "undone", "rolled-back":
			if after := b.state(); after != before {
				t.Fatalf("boundary %d: undone, and the host is\n%s\nbefore:\n%s", n, after, before)
			}
		case "verified":
			b.wholly(n)
			b.run(0, "rollback", c.ID)
			if after := b.state(); after != before {
				t.Fatalf("boundary %d: rolled back, and the host is\n%s\nbefore:\n%s", n, after, before)
			}
		default:
			t.Fatalf("boundary %d: change %s is %s", n, c.ID, c.State)
		}
	}
	b.wholly(0)
	b.run(0, "rollback", b.last().ID)
	if after := b.state(); after != before {
		t.Fatalf("rolled back, and the host is\n%s\nbefore:\n%s", after, before)
	}
	if kills < 20 {
		t.Errorf("only %d boundaries: the test does not see them", kills)
	}
	t.Logf("%d boundaries", kills)
}

// wholly checks that all of the change is there.
func (b *workbench) wholly(n int) {
	b.Helper()
	s := b.state()
	for _, want := range []string{"-rw-r--r--", "true pid= ", "10.77.0.9 shop", "precious", "live-restore"} {
		if !strings.Contains(s, want) {
			b.Fatalf("boundary %d: %q is missing of\n%s", n, want, s)
		}
	}
}
