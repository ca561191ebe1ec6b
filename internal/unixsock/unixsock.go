// Package unixsock makes the sockets at which casco is asked, so that nobody
// meets one that is not whole, and nobody else's is taken.
package unixsock

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"casco/lang"
)

// A Listener has a path that it can take away again.
type Listener struct {
	*net.UnixListener
	path  string
	made  fs.FileInfo
	stays atomic.Bool
}

// Adopt is the listener of f, a descriptor that this process was given, whose
// socket is what path leads to now. f is closed.
func Adopt(f *os.File, path string) (*Listener, error) {
	defer f.Close()
	made, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if made.Mode().Type() != fs.ModeSocket {
		return nil, noSocket(path)
	}
	if err := own(filepath.Dir(path)); err != nil {
		return nil, err
	}
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		l.Close()
		return nil, noSocket(path)
	}
	return &Listener{UnixListener: u, path: path, made: made}, nil
}

// Path is where clients come.
func (l *Listener) Path() string { return l.path }

// Inode is that of the path.
func (l *Listener) Inode() uint64 { return l.made.Sys().(*syscall.Stat_t).Ino }

// Give makes the socket one of root and a group (0 for root alone).
func (l *Listener) Give(gid int) error { return give(l.path, gid) }

func give(path string, gid int) error {
	mode := fs.FileMode(0o600)
	if gid != 0 {
		mode = 0o660
	}
	return errors.Join(os.Chown(path, os.Geteuid(), gid), os.Chmod(path, mode))
}

// Stay has the path stay: another process goes on with the socket.
func (l *Listener) Stay() { l.stays.Store(true) }

// There reports whether the path still leads to this socket.
func (l *Listener) There() bool {
	now, err := os.Lstat(l.path)
	return err == nil && os.SameFile(l.made, now)
}

// Remove takes the path away, if the socket there is still this one: another
// process may have put its own in its place. It does not close.
func (l *Listener) Remove() error {
	if l.stays.Load() || !l.There() {
		return nil
	}
	return os.Remove(l.path)
}

// Listen makes the socket at path for root and a group (0 for root alone: mode
// 0600, else 0660). It is made elsewhere and moved there, so it appears with its
// rights. A socket that nobody listens at is replaced; one at which somebody
// does, and anything that is no socket, is left alone, with an error. A
// directory that is missing is made with mode dir; others must not be able to
// write to it. Closing the listener leaves the path.
func Listen(path string, dir fs.FileMode, gid int) (*Listener, error) {
	if err := free(path); err != nil {
		return nil, err
	}
	return Replace(path, dir, gid)
}

// Replace is Listen where somebody may listen already: from one moment to the
// next clients come here. Whoever listened there keeps the clients that came
// before.
func Replace(path string, dir fs.FileMode, gid int) (*Listener, error) {
	in := filepath.Dir(path)
	if err := os.MkdirAll(in, dir); err != nil {
		return nil, err
	}
	if err := own(in); err != nil {
		return nil, err
	}
	// In a directory of mode 0700 nobody connects before owner and mode are set.
	hidden, err := os.MkdirTemp(in, ".casco-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(hidden)
	temp := filepath.Join(hidden, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temp, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	made, statErr := os.Lstat(temp)
	if err := errors.Join(statErr, give(temp, gid), os.Rename(temp, path)); err != nil {
		l.Close()
		return nil, err
	}
	return &Listener{UnixListener: l, path: path, made: made}, nil
}

// own wants a directory in which nobody else can put a socket.
func own(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return lang.Errorf(lang.Text{
			En: "%s: owner %d, mode %v: others could put a socket of theirs into it",
			Es: "%s: propietario %d, modo %v: otros podrían poner en él un socket suyo",
		}, dir, st.Uid, info.Mode())
	}
	return nil
}

// free reports why path cannot be taken.
func free(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return noSocket(path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
		return lang.Errorf(lang.Text{En: "%s: somebody listens there already", Es: "%s: alguien escucha ahí ya"}, path)
	}
	return nil
}

func noSocket(path string) error {
	return lang.Errorf(lang.Text{En: "%s: is there and no socket", Es: "%s: ya existe y no es un socket"}, path)
}
