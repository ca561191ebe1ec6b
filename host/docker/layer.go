package docker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// layerMost bounds what is listed of one container's layer.
const layerMost = 10_000

// errNoLayer is the error of a container whose own layer cannot be looked at
// from here: another storage driver, another machine, not root.
var errNoLayer = errors.New("its layer cannot be looked at from here")

// layerDirs are the directories of which overlayfs makes a container's root:
// its own layer, and those below it, the nearest first, with a colon between.
type layerDirs struct{ upper, lower string }

// layerOf finds the layers of a container. The storage driver overlay2 says
// where they are. An engine that keeps its images in containerd does not, but
// mounted shows what the roots of running containers are made of.
func layerOf(container map[string]any, mounted func() map[string]layerDirs) (layerDirs, error) {
	var dirs layerDirs
	driver := object(container, "GraphDriver")
	switch data := object(driver, "Data"); {
	case str(driver, "Name") == "overlay2":
		dirs = layerDirs{str(data, "UpperDir"), str(data, "LowerDir")}
	case driver["Data"] == nil && truth(container, "State", "Running"):
		dirs = mounted()[str(container, "Id")]
	}
	if !filepath.IsAbs(dirs.upper) {
		return dirs, errNoLayer
	}
	return dirs, nil
}

// mountedLayers reads the layers of running containers, by ID, from a table of
// mounts: proc(5), mountinfo. An engine with images in containerd mounts a root
// at DATA-ROOT/rootfs/SNAPSHOTTER/ID (moby, daemon/snapshotter/mount.go). What
// a container mounts for itself is in a table of its own, and is not believed.
func mountedLayers(table string) map[string]layerDirs {
	found := map[string]layerDirs{}
	for line := range strings.Lines(table) {
		before, after, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		place, what := strings.Fields(before), strings.Fields(after)
		if len(place) < 5 || len(what) < 3 || what[0] != "overlay" {
			continue
		}
		id := filepath.Base(place[4])
		if !isID(id) || filepath.Base(filepath.Dir(filepath.Dir(place[4]))) != "rootfs" {
			continue
		}
		var dirs layerDirs
		for option := range strings.SplitSeq(what[2], ",") {
			switch key, value, _ := strings.Cut(option, "="); key {
			case "upperdir":
				dirs.upper = value
			case "lowerdir":
				dirs.lower = value
			}
		}
		// A list too long for a page is shortened, relative to we know not what; a
		// backslash is an escape, of which there is none in the names that an
		// engine gives.
		short := slices.ContainsFunc(strings.Split(dirs.lower, ":"), func(d string) bool { return !filepath.IsAbs(d) })
		if !short && !strings.Contains(what[2], `\`) {
			found[id] = dirs
		}
	}
	return found
}

// layerChanges lists what a container has in its own layer, as the engine's
// GET /containers/{id}/changes does, from the layer itself: overlayfs keeps it
// as a directory. It costs microseconds where the engine needs more than a
// millisecond, which matters for a thousand containers, and it sees what is
// executable. moby, pkg/archive/changes_linux.go, has the rules.
func layerChanges(dirs layerDirs) ([]change, error) {
	upper := dirs.upper
	if empty, err := emptyDir(upper); err != nil {
		return nil, errNoLayer
	} else if empty { // most containers that were never started
		return nil, nil
	}
	var all []change
	var lower *layers
	err := filepath.WalkDir(upper, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == upper {
			return nil
		}
		if len(all) == layerMost {
			return fmt.Errorf("more than %d changes", layerMost)
		}
		if lower == nil {
			lower = openLayers(dirs.lower)
		}
		c, err := lower.change(strings.TrimPrefix(path, upper), path, d)
		all = append(all, c)
		return err
	})
	if lower != nil {
		lower.close()
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, errNoLayer
	}
	return all, err
}

// emptyDir asks the kernel itself: os.Open would first try to have it polled,
// which takes longer than all the rest, a thousand times.
func emptyDir(path string) (bool, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	var entries [4096]byte
	for {
		n, err := unix.ReadDirent(fd, entries[:])
		if err != nil || n == 0 {
			return err == nil, err
		}
		if _, count, _ := unix.ParseDirent(entries[:n], 1, nil); count > 0 { // not . and ..
			return false, nil
		}
	}
}

// layers are the directories below a container's own, the nearest first. They
// are opened as roots: a link in an image must not lead out to the host.
type layers struct{ roots []*os.Root }

func openLayers(dirs string) *layers {
	l := &layers{}
	for dir := range strings.SplitSeq(dirs, ":") {
		if r, err := os.OpenRoot(dir); err == nil {
			l.roots = append(l.roots, r)
		}
	}
	return l
}

func (l *layers) close() {
	for _, r := range l.roots {
		r.Close()
	}
}

// has reports whether the image has the file.
func (l *layers) has(path string) bool {
	for _, r := range l.roots {
		if info, err := r.Lstat(strings.TrimPrefix(path, "/")); err == nil {
			return !whiteout(info)
		}
	}
	return false
}

// change says what an entry of the container's own layer means.
func (l *layers) change(name, path string, d fs.DirEntry) (change, error) {
	info, err := d.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return change{Path: name, Kind: deleted}, nil // gone while we looked
	}
	if err != nil {
		return change{}, err
	}
	c := change{Path: name, Kind: added}
	switch {
	case whiteout(info), info.IsDir() && opaque(path) && l.has(name):
		c.Kind = deleted
	case l.has(name):
		c.Kind = modified
	}
	c.Executable = c.Kind != deleted && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
	return c, nil
}

// whiteout reports whether an entry stands for a deleted file: a character
// device 0/0 (kernel, Documentation/filesystems/overlayfs.rst).
func whiteout(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode()&fs.ModeCharDevice != 0 && st.Rdev == 0
}

// opaque reports whether a directory hides the one below it.
func opaque(path string) bool {
	var value [1]byte
	n, err := unix.Lgetxattr(path, "trusted.overlay.opaque", value[:])
	return err == nil && n == 1 && value[0] == 'y'
}
