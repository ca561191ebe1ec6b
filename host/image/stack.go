package image

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// shows reports whether a file of a layer is still to be seen under the layers
// above it: none has a file of its own there, deletes it, or replaces a
// directory on the way. Kernel, Documentation/filesystems/overlayfs.rst,
// "whiteouts and opaque directories".
func (above stack) shows(path string) (bool, error) {
	for _, l := range above {
		if hidden, err := hides(l.dir, path); hidden || err != nil {
			return false, err
		}
	}
	return true, nil
}

func hides(dir, path string) (bool, error) {
	at := dir
	names := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, name := range names {
		// Each part was seen to be a directory, and no link, before the next
		// one is looked at.
		at = filepath.Join(at, name)
		info, err := os.Lstat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return false, nil // this layer says nothing of it
		case err != nil:
			return false, err
		case i == len(names)-1, !info.IsDir(), whiteout(info), opaque(at):
			return true, nil
		}
	}
	return false, nil
}

// whiteout reports whether an entry stands for a deleted file: a character
// device 0/0.
func whiteout(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode()&fs.ModeCharDevice != 0 && st.Rdev == 0
}

// opaque reports whether a directory hides the one below it. An overlay that a
// user mounted has the mark in the user's attributes ("userxattr").
func opaque(path string) bool {
	for _, name := range []string{"trusted.overlay.opaque", "user.overlay.opaque"} {
		var value [1]byte
		if n, err := unix.Lgetxattr(path, name, value[:]); err == nil && n == 1 && value[0] == 'y' {
			return true
		}
	}
	return false
}
