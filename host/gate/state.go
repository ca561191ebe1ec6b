package gate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"casco/internal/ocicall"
	"casco/internal/procs"
	"casco/lang"
)

// fifo is the file on which a created container's init waits. runc 1.1
// (libcontainer, container_linux.go) and crun 1.8 (libcrun, status.c) make it
// in the container's state directory and remove it at the start.
const fifo = "exec.fifo"

// Pending returns the containers below a runtime's root that are made and not
// started. Docker's root is EXEC-ROOT/runtime-runc/NAMESPACE, whatever runtime
// it is (/run/docker/runtime-runc/moby; Docker 20.10). It knows the states of
// runc (and of sysbox-runc, which is made of it) and crun. One that is being
// made and has no state yet is not among them. What cannot be read is in the
// error, beside all the others.
func Pending(root string) ([]Start, error) { return list(root, true) }

// Running is Pending for those that have started and not ended, paused ones too.
func Running(root string) ([]Start, error) { return list(root, false) }

func list(root string, waiting bool) ([]Start, error) {
	dirs, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var all []Start
	var errs []error
	for _, d := range dirs {
		if !d.IsDir() || !ocicall.ValidID(d.Name()) {
			continue
		}
		_, err := os.Lstat(filepath.Join(root, d.Name(), fifo))
		if waits := err == nil; waits != waiting {
			continue
		}
		st, err := stateOf(root, d.Name())
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			errs = append(errs, err)
		case st.alive():
			all = append(all, Start{ID: d.Name(), PID: st.pid, Root: root, Bundle: st.bundle, Runtime: st.runtime, Way: wayState})
		}
	}
	return all, errors.Join(errs...)
}

// InitOf is the first process of a container that runs or waits to start, by the
// state that its runtime keeps below root; 0 if there is none.
func InitOf(root, id string) int {
	if !ocicall.ValidID(id) {
		return 0
	}
	if st, err := stateOf(root, id); err == nil && st.alive() {
		return st.pid
	}
	return 0
}

// RootOf is where a runtime of root keeps its states if it is not told.
func RootOf(runtime string) string { return defaultRoot(runtime) }

// A state is what a runtime wrote about a container.
type state struct {
	runtime string
	pid     int
	started uint64 // when the init started, as in /proc/PID/stat; 0 if it is not said
	bundle  string
}

// stateOf reads the state of a container from its directory; fs.ErrNotExist if
// there is none yet.
func stateOf(root, id string) (state, error) {
	for _, kind := range []struct {
		name  string
		parse func([]byte) (state, error)
	}{{"state.json", parseRunc}, {"status", parseCrun}} {
		path := filepath.Join(root, id, kind.name)
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return state{}, err
		}
		st, err := kind.parse(b)
		if err != nil {
			return state{}, fmt.Errorf("%s: %w", path, err)
		}
		return st, nil
	}
	return state{}, fmt.Errorf("%s: %w", filepath.Join(root, id), fs.ErrNotExist)
}

// parseRunc reads runc's state.json: libcontainer.State and BaseState, runc 1.1.
// containerd's shim has runc keep the bundle among the labels.
func parseRunc(b []byte) (state, error) {
	var s struct {
		Pid    int    `json:"init_process_pid"`
		Start  uint64 `json:"init_process_start"`
		Config struct {
			Labels []string `json:"labels"`
		} `json:"config"`
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return state{}, err
	}
	st := state{runtime: "runc", pid: s.Pid, started: s.Start}
	for _, l := range s.Config.Labels {
		if dir, ok := strings.CutPrefix(l, "bundle="); ok {
			st.bundle = dir
		}
	}
	return st.checked()
}

// parseCrun reads crun's status: libcrun_write_container_status, crun 1.8.
func parseCrun(b []byte) (state, error) {
	var s struct {
		Pid    int    `json:"pid"`
		Start  uint64 `json:"process-start-time"`
		Bundle string `json:"bundle"`
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return state{}, err
	}
	return state{runtime: "crun", pid: s.Pid, started: s.Start, bundle: s.Bundle}.checked()
}

// checked refuses a process ID that is none, or that of the host's own init.
func (st state) checked() (state, error) {
	if st.pid <= 1 {
		return state{}, fmt.Errorf("process ID %d of the container's init", st.pid)
	}
	return st, nil
}

// alive reports whether the init still is the process that the state names.
func (st state) alive() bool {
	now, err := procs.Read(st.pid)
	return err == nil && now.Alive() && (st.started == 0 || now.Started == st.started)
}

// whereabouts completes a Start with what is known of its container: by the
// runtime's own state, or by the file in which containerd's shim has the runtime
// write the init's process ID (for runsc that is the sandbox). Dir is the
// directory of the call: of the shim's, the bundle. The runtime itself, which
// could tell, is not asked: see Watch on who must not execute it.
func whereabouts(s Start, dir string) (Start, error) {
	if s.Verb != "start" {
		if !filepath.IsAbs(s.Bundle) {
			s.Bundle = filepath.Join(dir, s.Bundle)
		}
		return s, nil
	}
	if s.Root == "" {
		s.Root = defaultRoot(s.Runtime)
	}
	st, err := stateOf(s.Root, s.ID)
	if err != nil {
		st, err = stateOfBundle(dir, s.ID)
	}
	if err == nil && !st.alive() {
		err = lang.Errorf(lang.Text{En: "its init, process %d, is gone", Es: "su init, el proceso %d, ya no está"}, st.pid)
	}
	if err != nil {
		return s, lang.Errorf(lang.Text{
			En: "%w: container %s is not found below %s: %w",
			Es: "%w: no se encuentra el contenedor %s en %s: %w",
		}, ErrUnjudged, s.ID, s.Root, err)
	}
	s.PID, s.Bundle = st.pid, st.bundle
	return s, nil
}

// defaultRoot is where a runtime of root keeps its states if it is not told:
// the help of runc 1.1 and crun 1.8; for runsc, runsc/cmd/root.go of 2022.
func defaultRoot(runtime string) string {
	switch base := filepath.Base(runtime); {
	case strings.HasPrefix(base, "crun"):
		return "/run/crun"
	case strings.HasPrefix(base, "runsc"):
		return "/var/run/runsc"
	case strings.HasPrefix(base, "sysbox"):
		return "/run/sysbox-runc"
	}
	return "/run/runc"
}

func stateOfBundle(dir, id string) (state, error) {
	if filepath.Base(dir) != id {
		return state{}, fs.ErrNotExist
	}
	if _, err := os.Stat(filepath.Join(dir, "config.json")); err != nil {
		return state{}, err
	}
	b, err := os.ReadFile(filepath.Join(dir, "init.pid"))
	if err != nil {
		return state{}, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return state{}, err
	}
	return state{pid: pid, bundle: dir}.checked()
}
