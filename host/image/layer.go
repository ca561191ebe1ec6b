package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Bounds of one layer. The largest public images have some 500,000 files.
const (
	entriesMost = 2_000_000
	foundMost   = 2_000
	depthMost   = 200 // directories; each holds a file descriptor open while it is walked
	// A private key of 16,384 bits has 13 KiB; the other files that are looked
	// for are written by hand or by a login.
	readMost = 64 << 10
	// The smallest key there is, Ed25519 in PKCS #8, has 119 bytes with its
	// armour. What is looked at without a name that says so must begin with it.
	keyLeast = 100
	headMost = 512
)

// A Layer is what is worth knowing of the content of one layer. It never holds
// a secret's value, only where one is.
type Layer struct {
	Setuid   []string          `json:"setuid,omitempty"` // paths of regular files, sorted
	Material []Material        `json:"material,omitempty"`
	Software []Found           `json:"software,omitempty"` // sorted by path
	Programs []string          `json:"programs,omitempty"` // that run and say nothing of what they are made of, at most programsKept, sorted
	SSH      []string          `json:"ssh,omitempty"`      // paths of SSH servers
	Texts    map[string]string `json:"texts,omitempty"`    // of the files in texts
	Caches   map[string]int64  `json:"caches,omitempty"`   // bytes in directories of package managers that nothing needs at run time
	Files    int               `json:"files"`
	Bytes    int64             `json:"bytes"` // of all regular files
	Index    index             `json:"index,omitempty"`
}

// A Material is a file that opens a door.
type Material struct {
	Path   string `json:"path"`
	What   string `json:"what"`
	Sample bool   `json:"sample,omitempty"` // in a directory of tests, examples or documentation
}

// readLayer walks the layer in dir. It follows no link, opens nothing but
// directories and regular files, and never leaves dir, whatever the image holds.
func readLayer(ctx context.Context, dir string) (Layer, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return Layer{}, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	g, err := newGather(ctx)
	if err != nil {
		unix.Close(fd)
		return Layer{}, err
	}
	w := walk{gather: g}
	if err := w.dir(os.NewFile(uintptr(fd), dir), "", 0); err != nil {
		return Layer{}, fmt.Errorf("%s: %w", dir, err)
	}
	return w.done(), nil
}

type walk struct{ *gather }

// dir walks an open directory and closes it. Prefix is its path within the
// layer, with a slash at its end, "" for the layer itself.
func (w *walk) dir(d *os.File, prefix string, depth int) error {
	defer d.Close()
	if depth > depthMost {
		return fmt.Errorf("more than %d directories in one another", depthMost)
	}
	if prefix != "" {
		kind := directory
		if opaque(int(d.Fd())) {
			kind = opaqueDirectory
		}
		w.mark(strings.TrimSuffix(prefix, "/"), kind, 0)
	}
	for {
		entries, err := d.ReadDir(512)
		if len(entries) == 0 {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := w.count(len(entries)); err != nil {
			return err
		}
		for _, e := range entries {
			if err := w.entry(int(d.Fd()), e, prefix, depth); err != nil {
				return err
			}
		}
	}
}

func (w *walk) entry(dirfd int, e os.DirEntry, prefix string, depth int) error {
	name := e.Name()
	switch {
	case e.IsDir():
		fd, err := unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return gone(&fs.PathError{Op: "open", Path: prefix + name, Err: err})
		}
		return w.dir(os.NewFile(uintptr(fd), name), prefix+name+"/", depth+1)
	case e.Type().IsRegular():
		return gone(w.regular(dirfd, name, prefix+name))
	}
	// A whiteout is a character device; it and any other thing that is no
	// directory hides what lies below: kernel,
	// Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".
	w.mark(prefix+name, file, 0)
	return nil
}

func (w *walk) regular(dirfd int, name, path string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dirfd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		w.mark(path, file, 0)
		return nil
	}
	return w.file(path, st.Mode, st.Size, func() (io.ReadCloser, error) { return openFile(dirfd, name, path) })
}

// openFile opens a regular file and leaves no trace of it.
func openFile(dirfd int, name, path string) (*os.File, error) {
	flags := unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := unix.Openat(dirfd, name, flags|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) { // O_NOATIME is for the owner: open(2)
		fd, err = unix.Openat(dirfd, name, flags, 0)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// opaque reports whether a directory hides the one below it. An overlay that a
// user mounted has the mark in the user's attributes ("userxattr").
func opaque(fd int) bool {
	for _, name := range []string{"trusted.overlay.opaque", "user.overlay.opaque"} {
		var value [1]byte
		if n, err := unix.Fgetxattr(fd, name, value[:]); err == nil && n == 1 && value[0] == 'y' {
			return true
		}
	}
	return false
}

// gone drops the error of what went away while it was looked at: an image may
// be removed at any time.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// lookedAt is how much of a file is read for what opens a door, 0 if it can be
// none of those that are looked for.
func lookedAt(path string, size int64) int {
	switch {
	case size == 0:
		return 0
	case named(path):
		return readMost
	case size >= keyLeast && size <= readMost:
		return headMost
	}
	return 0
}

func sorted(ss []string) []string {
	slices.Sort(ss)
	return slices.Compact(ss)
}
