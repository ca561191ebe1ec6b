package proc

import (
	"errors"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// A Tree is the file tree of the host as one process sees it at one moment: it
// says what a mount of a path would show, and where that lies which a container
// shows.
type Tree struct{ view *view }

// OpenTree reads the table of mounts of a process, of this one for 0. It takes
// longer the more containers there are; without mounts it follows links only. The
// caller closes the Tree.
func OpenTree(pid int, mounts bool) (*Tree, error) {
	if pid == 0 {
		pid = os.Getpid()
	}
	p, err := procfs("/proc").open(pid)
	if err != nil {
		return nil, err
	}
	defer p.close()
	var v *view
	if mounts {
		v, err = p.view()
	} else {
		v = &view{}
		v.root, err = p.handle("root", unix.O_PATH|unix.O_DIRECTORY)
	}
	if err != nil {
		return nil, err
	}
	return &Tree{v}, nil
}

// Close lets go of the tree.
func (t *Tree) Close() { t.view.close() }

// Paths are the paths of the host that a recursive bind mount of name shows.
// The first is name without symbolic links. The others are where the same files have their place, if that is another:
// after "mount --bind /etc /srv/x", a mount of /srv/x shows /etc, and so does one
// of /srv. There are none where name is not there.
func (t *Tree) Paths(name string) []string {
	p, err := t.view.resolve(name)
	if err != nil {
		return nil
	}
	paths := []string{p.path}
	add := func(at spot) {
		if real, ok := t.placeOf(at); ok {
			if _, known := below(p.path, real); !known && !slices.Contains(paths, real) {
				paths = append(paths, real)
			}
		}
	}
	if p.within != (spot{}) {
		add(p.within)
	}
	for _, m := range t.view.mounts {
		if _, beneath := below(p.path, m.Mountpoint); beneath && m.Mountpoint != p.path {
			add(spot{m.Major, m.Minor, m.Root})
		}
	}
	return paths
}

// placeOf is the path at which the host shows a place of a file system: through
// the mount that shows most of it.
func (t *Tree) placeOf(at spot) (string, bool) {
	var most *mountinfo.Info
	for _, m := range t.view.mounts {
		if _, shows := below(m.Root, at.path); shows && m.Major == at.major && m.Minor == at.minor && (most == nil || len(m.Root) < len(most.Root)) {
			most = m
		}
	}
	if most == nil {
		return "", false
	}
	rest, _ := below(most.Root, at.path)
	return path.Join(most.Mountpoint, rest), true
}

// A Shown is a place of the host's file systems in the mount table of a
// container.
type Shown struct {
	Target   string // where the container has it
	Path     string // of the host
	Type     string // of the file system: "ext4"
	ReadOnly bool
}

// Shown is what a process shows of the file systems that the host has mounted,
// beside its root. What is in no mount of the host's, as a container's own tmpfs,
// is not among it.
func (t *Tree) Shown(pid int) ([]Shown, error) {
	p, err := procfs("/proc").open(pid)
	if err != nil {
		return nil, err
	}
	defer p.close()
	mounts, err := p.mounts()
	if err != nil {
		return nil, err
	}
	var all []Shown
	for _, m := range mounts {
		if m.Mountpoint == "/" {
			continue
		}
		// The kernel marks what was deleted meanwhile (seq_path, fs/d_path.c).
		real, ok := t.placeOf(spot{m.Major, m.Minor, strings.TrimSuffix(m.Root, "//deleted")})
		if ok {
			all = append(all, Shown{m.Mountpoint, real, m.FSType, hasOption(m.Options, "ro")})
		}
	}
	return all, nil
}

// Same reports whether two paths are the same namespace, proc_pid_ns(5); not if
// one cannot be read.
func Same(a, b string) bool {
	one, err1 := os.Stat(a)
	two, err2 := os.Stat(b)
	return errors.Join(err1, err2) == nil && os.SameFile(one, two)
}
