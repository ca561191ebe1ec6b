package docker

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// layerMost bounds what is listed of one container's layer.
const layerMost = 10_000

// errNoLayer is the error of a container whose own layer cannot be looked at
// from here: another storage driver, another machine, not root.
var errNoLayer = errors.New("its layer cannot be looked at from here")

// layerChanges lists what a container has in its own layer, as the engine's
// GET /containers/{id}/changes does, from the layer itself: overlay2 keeps it
// as a directory. It costs microseconds where the engine needs more than a
// millisecond, which matters for a thousand containers, and it sees what is
// executable. moby, pkg/archive/changes_linux.go, has the rules.
func layerChanges(container map[string]any) ([]change, error) {
	data := object(container, "GraphDriver", "Data")
	upper := str(data, "UpperDir")
	if str(object(container, "GraphDriver"), "Name") != "overlay2" || !filepath.IsAbs(upper) {
		return nil, errNoLayer
	}
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
			lower = openLayers(str(data, "LowerDir"))
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

func emptyDir(path string) (bool, error) {
	d, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer d.Close()
	_, err = d.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
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
