package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// A membership is one line of /proc/PID/cgroup, cgroups(7): the place of a
// process in one hierarchy. The unified hierarchy (v2) has no controllers in
// its line.
type membership struct {
	controllers []string // "memory", "cpu", "name=systemd"
	path        string
}

func (m membership) unified() bool { return len(m.controllers) == 0 }

func parseCgroup(text []byte) ([]membership, error) {
	var ms []membership
	for line := range bytes.Lines(text) {
		words := strings.SplitN(strings.TrimSuffix(string(line), "\n"), ":", 3)
		if len(words) != 3 || !strings.HasPrefix(words[2], "/") {
			return nil, fmt.Errorf("cgroup: %q is not number:controllers:path", line)
		}
		m := membership{path: words[2]}
		if words[1] != "" {
			m.controllers = strings.Split(words[1], ",")
		}
		ms = append(ms, m)
	}
	return ms, nil
}

// idLength is that of a container's ID: 64 hexadecimal digits.
const idLength = 64

// cutID returns p up to and with the component that names container id:
// "/docker/ID" (cgroupfs driver), "/system.slice/docker-ID.scope" (systemd
// driver). What a container makes below that, say by running systemd, is left
// out.
func cutID(p, id string) (string, bool) {
	if len(id) != idLength {
		return "", false
	}
	i := strings.LastIndex(p, id)
	if i < 0 {
		return "", false
	}
	end := i + len(id)
	if rest := strings.IndexByte(p[end:], '/'); rest >= 0 {
		return p[:end+rest], true
	}
	return p, true
}

// idsIn returns the container IDs that the components of a cgroup path name,
// the innermost first.
func idsIn(p string) []string {
	var ids []string
	for part := range strings.SplitSeq(p, "/") {
		part = strings.TrimSuffix(part, ".scope")
		if i := strings.LastIndexByte(part, '-'); i >= 0 {
			part = part[i+1:]
		}
		if len(part) == idLength && strings.Trim(part, "0123456789abcdef") == "" {
			ids = append(ids, part)
		}
	}
	slices.Reverse(ids)
	return ids
}

// A hierarchy is a mounted cgroup file system.
type hierarchy struct {
	mountpoint string
	root       string // the cgroup that is seen at mountpoint
}

// hierarchies are those that are mounted where we can read them, by
// controller; "" is the unified one. Both may exist ("hybrid").
type hierarchies map[string]hierarchy

// hierarchiesOf finds them in a mount table.
func hierarchiesOf(mounts []*mountinfo.Info) hierarchies {
	hs := hierarchies{}
	for _, m := range mounts {
		h := hierarchy{m.Mountpoint, m.Root}
		switch m.FSType {
		case "cgroup2":
			hs.add("", h)
		case "cgroup":
			for opt := range strings.SplitSeq(m.VFSOptions, ",") {
				hs.add(opt, h)
			}
		}
	}
	return hs
}

// add keeps the mount that shows most of the hierarchy: a container's own
// mount of it, seen in a shared mount table, shows a part only.
func (hs hierarchies) add(controller string, h hierarchy) {
	if old, ok := hs[controller]; !ok || len(h.root) < len(old.root) {
		hs[controller] = h
	}
}

// dir returns the directory of cgroup p in the hierarchy of controller.
func (hs hierarchies) dir(controller, p string) (string, error) {
	h, ok := hs[controller]
	if !ok {
		return "", fmt.Errorf("no cgroup hierarchy of %q is mounted", controller)
	}
	rel, ok := strings.CutPrefix(p, strings.TrimSuffix(h.root, "/"))
	if !ok || slices.Contains(strings.Split(p, "/"), "..") {
		return "", fmt.Errorf("cgroup %s is outside %s, which is what %s shows", p, h.root, h.mountpoint)
	}
	return path.Join(h.mountpoint, rel), nil
}

// A control is a container's cgroup for one controller.
type control struct {
	dir     string
	unified bool
	err     error // why there is no dir
}

// A cgroup is the place of one container in all hierarchies.
type cgroup struct {
	path string // in the hierarchy that says most: unified, else that of pids, else any
	ms   []membership
	hs   hierarchies
	id   string
}

// errNotOurs is the reason not to believe a pid.
var errNotOurs = errors.New("its cgroup does not name the container: the engine is in another pid namespace, or the process has ended")

// cgroupOf tells the place of container id from the /proc/PID/cgroup of one of
// its processes.
func cgroupOf(text []byte, id string, hs hierarchies) (*cgroup, error) {
	ms, err := parseCgroup(text)
	if err != nil {
		return nil, err
	}
	g := &cgroup{hs: hs, id: id}
	best := 0
	for _, m := range ms {
		p, ok := cutID(m.path, id)
		if !ok {
			// A controller that the engine did not give the container a
			// place in: what holds is where the process is.
			g.ms = append(g.ms, m)
			continue
		}
		g.ms = append(g.ms, membership{m.controllers, p})
		rank := 1
		switch {
		case m.unified():
			rank = 3
		case slices.Contains(m.controllers, "pids"):
			rank = 2
		}
		if rank > best {
			g.path, best = p, rank
		}
	}
	if best == 0 {
		return nil, errNotOurs
	}
	return g, nil
}

// control finds the cgroup that rules a resource: the v1 hierarchy that has
// the controller, else the unified one.
func (g *cgroup) control(controller string) control {
	for _, m := range g.ms {
		if slices.Contains(m.controllers, controller) {
			dir, err := g.hs.dir(controller, m.path)
			return control{dir, false, err}
		}
	}
	for _, m := range g.ms {
		if m.unified() {
			dir, err := g.hs.dir("", m.path)
			return control{dir, true, err}
		}
	}
	return control{err: errNoController}
}

// errNoController: the kernel was built or started without it
// (cgroup_disable=memory, usual on a Raspberry Pi).
var errNoController = errors.New("the kernel has no such cgroup controller")

// pids returns the processes of the container, as our pid namespace numbers
// them, in order, at most limit; more tells whether there were more.
func (g *cgroup) pids(limit int) (pids []int, more bool, err error) {
	dir, err := g.procsDir()
	if err != nil {
		return nil, false, err
	}
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return ignoreGone(err)
		}
		text, err := readFile(path.Join(p, "cgroup.procs"))
		if err != nil { // EOPNOTSUPP in a threaded cgroup: its domain has them all
			return ignoreGone(err)
		}
		for line := range bytes.Lines(text) {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(line))); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		if len(pids) > limit {
			more = true
			return fs.SkipAll
		}
		return nil
	})
	slices.Sort(pids)
	return pids[:min(len(pids), limit)], more, err
}

func ignoreGone(err error) error {
	if err == nil || errors.Is(err, os.ErrNotExist) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// procsDir is a directory that lists the container's processes: of a mounted
// hierarchy in which the engine made it a cgroup of its own.
func (g *cgroup) procsDir() (string, error) {
	err := errNotOurs
	for _, m := range g.ms {
		if !strings.Contains(m.path, g.id) {
			continue
		}
		names := m.controllers
		if m.unified() {
			names = []string{""}
		}
		for _, c := range names {
			dir, e := g.hs.dir(c, m.path)
			if e == nil {
				return dir, nil
			}
			err = e
		}
	}
	return "", err
}
