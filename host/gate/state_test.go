package gate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"casco/internal/procs"
)

func TestParseStates(t *testing.T) {
	for _, c := range []struct {
		text       string
		runc, crun string // what is found, or the error
	}{
		{`{"init_process_pid": 42, "init_process_start": 7, "config": {"labels": ["x", "bundle=/b"]}}`, "runc 42 7 /b", "process ID 0"},
		{`{"pid": 42, "process-start-time": 7, "cgroup-path": "", "bundle": "/b"}`, "process ID 0", "crun 42 7 /b"},
		{`{"init_process_pid": 42, "config": null}`, "runc 42 0 ", "process ID 0"},
		{`{"init_process_pid": 1, "pid": -5}`, "process ID 1", "process ID -5"},
		{`{"init_process_pid": "42", "pid": "42"}`, "cannot unmarshal", "cannot unmarshal"},
		{``, "unexpected end", "unexpected end"},
		{`{"init_process_pid": 42`, "unexpected end", "unexpected end"},
	} {
		for name, parse := range map[string]func([]byte) (state, error){c.runc: parseRunc, c.crun: parseCrun} {
			st, err := parse([]byte(c.text))
			got := fmt.Sprint(st.runtime, " ", st.pid, " ", st.started, " ", st.bundle)
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, name) {
				t.Errorf("%s: %q, want %q", c.text, got, name)
			}
		}
	}
}

// FuzzStates: no file of a runtime makes the parsers fail, or name a process
// that must not be killed.
func FuzzStates(f *testing.F) {
	f.Add([]byte(`{"init_process_pid": 42, "init_process_start": 7, "config": {"labels": ["bundle=/b"]}}`))
	f.Add([]byte(`{"pid": 42, "process-start-time": 18446744073709551615, "bundle": "/b"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (state, error){parseRunc, parseCrun} {
			if st, err := parse(b); err == nil && st.pid <= 1 {
				t.Errorf("%q: %+v", b, st)
			}
		}
	})
}

// TestList: by the files of runc and crun, who waits and who runs; who has
// ended, whose process ID is another's by now, and what is no container, is
// neither.
func TestList(t *testing.T) {
	root, pid := t.TempDir(), asleep(t)
	stat, err := procs.Read(pid)
	must(t, err)
	started := stat.Started
	add := func(id, file, text string, waits bool) {
		must(t, os.MkdirAll(filepath.Join(root, id), 0o700))
		write(t, filepath.Join(root, id, file), text)
		if waits {
			must(t, unix.Mkfifo(filepath.Join(root, id, fifo), 0o600))
		}
	}
	runc := func(pid int, started uint64) string {
		return fmt.Sprintf(`{"init_process_pid": %d, "init_process_start": %d, "config": {"labels": ["bundle=/b"]}}`, pid, started)
	}
	crun := fmt.Sprintf(`{"pid": %d, "process-start-time": %d, "bundle": "/b"}`, pid, started)
	add("waits", "state.json", runc(pid, started), true)
	add("waits2", "status", crun, true)
	add("runs", "state.json", runc(pid, started), false)
	add("runs2", "status", crun, false)
	add("reused", "state.json", runc(pid, started+1), true)
	add("ended", "state.json", runc(4194304, 5), false) // above the kernel's largest PID
	add("torn", "state.json", `{"init_process`, true)
	add("made", "other", "", true)
	add(".hidden", "state.json", runc(pid, started), true)
	write(t, filepath.Join(root, "c1_sandbox:c1.lock"), "")

	want := func(id, runtime string) Start {
		return Start{ID: id, PID: pid, Root: root, Bundle: "/b", Runtime: runtime, Way: wayState}
	}
	waiting, err := Pending(root)
	if diff := cmp.Diff([]Start{want("waits", "runc"), want("waits2", "crun")}, waiting); diff != "" {
		t.Errorf("waiting: %s", diff)
	}
	if err == nil || !strings.Contains(err.Error(), "torn/state.json") {
		t.Errorf("waiting: %v", err)
	}
	running, err := Running(root)
	if diff := cmp.Diff([]Start{want("runs", "runc"), want("runs2", "crun")}, running); diff != "" || err != nil {
		t.Errorf("running: %v %s", err, diff)
	}
	if _, err := Pending(filepath.Join(root, "nowhere")); !os.IsNotExist(err) {
		t.Errorf("a root that is not there: %v", err)
	}
}

// TestWhereabouts: a runtime whose files are not known is found by the bundle of
// the shim.
func TestWhereabouts(t *testing.T) {
	dir, pid := t.TempDir(), asleep(t)
	bundle := filepath.Join(dir, "c1")
	must(t, os.Mkdir(bundle, 0o700))
	s := Start{ID: "c1", Root: dir + "/root", Verb: "start", Runtime: "/usr/bin/runsc"}
	if got, err := whereabouts(s, bundle); !unjudged(err) || got.PID != 0 {
		t.Errorf("nothing is known: %+v %v", got, err)
	}
	write(t, bundle+"/config.json", "{}")
	write(t, bundle+"/init.pid", fmt.Sprint(pid))
	if got, err := whereabouts(s, bundle); err != nil || got.PID != pid || got.Bundle != bundle {
		t.Errorf("by the bundle: %+v %v", got, err)
	}
	write(t, bundle+"/init.pid", "1")
	if _, err := stateOfBundle(bundle, "c1"); err == nil {
		t.Error("the host's init is taken for a container's")
	}
	if _, err := stateOfBundle(dir, "c1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("another directory: %v", err)
	}
}
