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
// a value, only where one is.
type Layer struct {
	Setuid   []string   `json:"setuid,omitempty"` // paths of regular files, sorted
	Material []Material `json:"material,omitempty"`
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
	w := walk{ctx: ctx, buf: make([]byte, readMost)}
	if err := w.dir(os.NewFile(uintptr(fd), dir), "", 0); err != nil {
		return Layer{}, fmt.Errorf("%s: %w", dir, err)
	}
	slices.Sort(w.Setuid)
	slices.SortFunc(w.Material, func(a, b Material) int { return strings.Compare(a.Path, b.Path) })
	return w.Layer, nil
}

type walk struct {
	Layer
	ctx     context.Context
	entries int
	buf     []byte
}

// dir walks an open directory and closes it. Prefix is its path within the
// layer, with a slash at its end, "" for the layer itself.
func (w *walk) dir(d *os.File, prefix string, depth int) error {
	defer d.Close()
	if depth > depthMost {
		return fmt.Errorf("more than %d directories in one another", depthMost)
	}
	for {
		entries, err := d.ReadDir(512)
		if len(entries) == 0 {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if w.entries += len(entries); w.entries > entriesMost {
			return fmt.Errorf("more than %d files", entriesMost)
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
		return gone(w.file(dirfd, name, prefix+name))
	}
	return nil
}

func (w *walk) file(dirfd int, name, path string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dirfd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&(unix.S_ISUID|unix.S_ISGID) != 0 {
		w.Setuid = append(w.Setuid, "/"+path)
	}
	if most := lookedAt(path, &st); most > 0 {
		text, err := w.read(dirfd, name, most)
		if err != nil {
			return &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if what := material(path, text); what != "" {
			w.Material = append(w.Material, Material{"/" + path, what, samples.MatchString(path)})
		}
	}
	if len(w.Setuid)+len(w.Material) > foundMost {
		return fmt.Errorf("more than %d files that would have to be named", foundMost)
	}
	return nil
}

// lookedAt is how much of a file is read, 0 if it can be none of those that are
// looked for.
func lookedAt(path string, st *unix.Stat_t) int {
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG, st.Size == 0:
		return 0
	case named(path):
		return readMost
	case st.Size >= keyLeast && st.Size <= readMost:
		return headMost
	}
	return 0
}

// read returns the first bytes of a file, at most so many. They are good until
// the next call.
func (w *walk) read(dirfd int, name string, most int) ([]byte, error) {
	fd, err := unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) { // O_NOATIME is for the owner: open(2)
		fd, err = unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	n, err := unix.Pread(fd, w.buf[:most], 0)
	return w.buf[:max(n, 0)], err
}

// gone drops the error of what went away while it was looked at: an image may
// be removed at any time.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
