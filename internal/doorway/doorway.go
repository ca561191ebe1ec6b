// Package doorway says where an engine is reached whose socket a door of casco
// has taken: behind it. The engine keeps the name by which everybody knows it,
// the path of its public socket; only what connects must know of the other.
//
// The place follows from the name: /run/docker.sock goes to
// /run/casco-engine/docker.sock, in a directory that root alone may enter. It is
// written down nowhere, so nothing has to be read to find an engine again, by
// whoever repairs a host either. The socket is moved, not made anew: a unix
// socket is reached by its file (unix(7)), so an engine that listens goes on
// listening under the other path, and need not be restarted to be put behind a
// door or to be given its socket back.
package doorway

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"casco/lang"
)

// dir is the name of the directory beside the public socket.
const dir = "casco-engine"

// Behind is where the engine listens whose public socket is at path.
func Behind(path string) string { return filepath.Join(filepath.Dir(path), dir, filepath.Base(path)) }

// Name is the public path of the engine that listens at path.
func Name(path string) string {
	if in := filepath.Dir(path); filepath.Base(in) == dir {
		return filepath.Join(filepath.Dir(in), filepath.Base(path))
	}
	return path
}

// Socket is where to reach the engine that is known by path: behind its door, if
// somebody listens there, else path itself. Who may not enter the directory is
// sent to the door. A directory that is not the caller's or root's, or that
// others may write to, counts for nothing.
func Socket(path string) string {
	behind := Behind(path)
	if mine(filepath.Dir(behind)) && Listens(behind) {
		return behind
	}
	return path
}

func mine(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
		return false
	}
	uid := int(info.Sys().(*syscall.Stat_t).Uid)
	return uid == 0 || uid == os.Geteuid()
}

// Listens reports whether somebody listens at path. A full backlog is somebody.
func Listens(path string) bool {
	c, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return errors.Is(err, unix.EAGAIN)
	}
	c.Close()
	return true
}

// Peer is the process that called listen(2) on the socket at path (SO_PEERCRED).
func Peer(path string) (pid int, err error) {
	c, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); cerr != nil {
		return 0, cerr
	}
	if err != nil {
		return 0, err
	}
	return int(cred.Pid), nil
}

// IsEngines reports whether who listens at path is an engine, or systemd in its
// place, and no door.
func IsEngines(path string) bool {
	pid, err := Peer(path)
	if err != nil {
		return false
	}
	exe, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
	if err != nil { // gone: who listens now has inherited it
		return true
	}
	self, err := os.Readlink("/proc/self/exe")
	return err != nil || base(exe) != base(self)
}

func base(exe string) string { return filepath.Base(strings.TrimSuffix(exe, " (deleted)")) }

// Move gives the socket of the engine at path its second name, behind. Until
// another socket takes the place at path it is reached under both.
func Move(path string) error {
	behind := Behind(path)
	if err := os.Mkdir(filepath.Dir(behind), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if !mine(filepath.Dir(behind)) {
		return lang.Errorf(lang.Text{
			En: "%s must be a directory that root alone may enter", Es: "%s debe ser un directorio en el que solo root pueda entrar",
		}, filepath.Dir(behind))
	}
	temp := behind + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(path, temp); err != nil {
		return err
	}
	return os.Rename(temp, behind)
}

// Return gives the engine its public path back, in place of whatever is there,
// in one act, with the owner and mode that the public socket has; the directory
// goes too if nothing else is in it. An engine that is not behind is left alone:
// that is no error. Nothing but the kernel is asked, so it works when everything
// else is dead.
func Return(path string) error {
	behind := Behind(path)
	if info, err := os.Lstat(behind); errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return tidy(behind)
	} else if err != nil {
		return err
	} else if info.Mode().Type() != fs.ModeSocket {
		return lang.Errorf(lang.Text{En: "%s: is there and no socket", Es: "%s: ya existe y no es un socket"}, behind)
	}
	if !Listens(behind) { // an engine that is down makes its socket itself
		return errors.Join(os.Remove(behind), tidy(behind))
	}
	if door, err := os.Lstat(path); err == nil && door.Mode().Type() == fs.ModeSocket {
		st := door.Sys().(*syscall.Stat_t)
		if err := errors.Join(os.Chown(behind, int(st.Uid), int(st.Gid)), os.Chmod(behind, door.Mode().Perm())); err != nil {
			return err
		}
	}
	if err := os.Rename(behind, path); err != nil {
		return err
	}
	return tidy(behind)
}

// tidy removes the directory of behind if nothing is in it.
func tidy(behind string) error {
	err := os.Remove(filepath.Dir(behind))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTEMPTY) {
		return nil
	}
	return err
}
