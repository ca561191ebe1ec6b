package door

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"

	"casco/lang"
)

// Listen makes the socket at path that clients know, for root and a group
// (mode 0660), as docker.socket does. It is made elsewhere and moved there, so
// nobody meets one with other rights. A socket that nobody
// listens at is replaced; one at which somebody does, and anything that is no
// socket, is left alone, with an error.
func Listen(path string, gid int) (*net.UnixListener, error) {
	dir := filepath.Dir(path)
	if err := own(dir); err != nil {
		return nil, err
	}
	if err := free(path); err != nil {
		return nil, err
	}
	// In a directory of mode 0700 nobody connects before owner and mode are set.
	hidden, err := os.MkdirTemp(dir, ".door-")
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
	if err := errors.Join(os.Chown(temp, os.Geteuid(), gid), os.Chmod(temp, 0o660), os.Rename(temp, path)); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Inherited returns the listeners that systemd, or a door that hands over to its
// successor, left in this process: LISTEN_FDS, sd_listen_fds(3). It has none if
// there are none. The variables are taken out of the environment.
func Inherited() ([]net.Listener, error) {
	ls, err := activation.Listeners()
	if err != nil {
		return nil, err
	}
	for i, l := range ls {
		if l == nil {
			return nil, lang.Errorf(lang.Text{
				En: "descriptor %d, which this process was given, is no socket that listens",
				Es: "el descriptor %d, que recibió este proceso, no es un socket que escuche",
			}, i+3)
		}
	}
	return ls, nil
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
		return lang.Errorf(lang.Text{En: "%s: is there and no socket", Es: "%s: ya existe y no es un socket"}, path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
		return lang.Errorf(lang.Text{En: "%s: somebody listens there already", Es: "%s: alguien escucha ahí ya"}, path)
	}
	return nil
}
