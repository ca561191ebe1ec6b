// Package atomicfile replaces a configuration file as a whole or not at all.
//
// A power cut, a kill or a full disk leaves either the old file or the new
// one, never half of either: the data goes to a temporary file beside the
// target, is flushed, takes over the target's owner, mode and extended
// attributes (ACLs, SELinux label, capabilities), is renamed over it, and the
// directory is flushed. Time stamps are those of the new file.
//
// A symbolic link is followed: its target is replaced and the link stays. What
// is not a regular file is refused, so that a unit or drop-in that is masked
// by a link to /dev/null never costs the host its /dev/null. A file with more
// than one hard link is refused too, because a rename would part it from its
// other names.
//
// Writers of this package exclude each other by a lock (flock(2)) on the
// directory, which the kernel drops when they die. A temporary file that a
// dead writer left is named ".NAME.casco-new" and goes away with the next
// Write or Remove of NAME.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"casco/lang"
)

// Write makes data the content of path. A file that is there keeps its owner,
// mode and extended attributes; a new one gets exactly perm, whatever the
// umask, and belongs to the process. If it fails, what was there is untouched.
func Write(path string, data []byte, perm fs.FileMode) error {
	return write(path, data, attributes{Mode: perm, Uid: os.Geteuid(), Gid: os.Getegid()})
}

// write makes data the content of path; fresh is for a file that is not there.
func write(path string, data []byte, fresh attributes) error {
	target, err := resolve(path)
	if err != nil {
		return lang.Errorf(lang.Text{En: "write %s: %w", Es: "escribir %s: %w"}, path, err)
	}
	dir, err := lock(filepath.Dir(target))
	if err != nil {
		return lang.Errorf(lang.Text{En: "write %s: %w", Es: "escribir %s: %w"}, path, err)
	}
	defer dir.Close()
	at := fresh
	switch old, err := attributesOf(target); {
	case err == nil:
		at = old
	case !errors.Is(err, fs.ErrNotExist):
		return lang.Errorf(lang.Text{En: "write %s: %w", Es: "escribir %s: %w"}, path, err)
	}
	tmp := temporary(target)
	if err := fill(tmp, data, at); err != nil {
		return errors.Join(lang.Errorf(lang.Text{En: "write %s: %w", Es: "escribir %s: %w"}, path, err), remove(tmp))
	}
	if err := os.Rename(tmp, target); err != nil {
		return errors.Join(lang.Errorf(lang.Text{En: "write %s: %w", Es: "escribir %s: %w"}, path, err), remove(tmp))
	}
	if err := dir.Sync(); err != nil {
		return lang.Errorf(lang.Text{En: "write %s: flush directory: %w", Es: "escribir %s: volcar el directorio: %w"}, path, err)
	}
	return nil
}

// Remove removes the file path and what a dead writer may have left beside it.
// It is no error if there is nothing to remove. A symbolic link is removed
// itself, not its target.
func Remove(path string) error {
	dir, err := lock(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return lang.Errorf(lang.Text{En: "remove %s: %w", Es: "borrar %s: %w"}, path, err)
	}
	defer dir.Close()
	if err := errors.Join(remove(path), remove(temporary(path))); err != nil {
		return err
	}
	if err := dir.Sync(); err != nil {
		return lang.Errorf(lang.Text{En: "remove %s: flush directory: %w", Es: "borrar %s: volcar el directorio: %w"}, path, err)
	}
	return nil
}

func temporary(target string) string {
	return filepath.Join(filepath.Dir(target), "."+filepath.Base(target)+".casco-new")
}

// remove is not os.Remove, which removes an empty directory too.
func remove(path string) error {
	if err := unix.Unlink(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "unlink", Path: path, Err: err}
	}
	return nil
}

// fill creates tmp with data and attributes, flushed to the disk.
func fill(tmp string, data []byte, at attributes) error {
	if err := remove(tmp); err != nil { // left by a dead writer: we hold the lock
		return err
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = at.give(f) // after the data: a write clears capabilities and setuid
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// lock opens a directory and waits until no other writer of this package holds it.
func lock(dir string) (*os.File, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(d.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		d.Close()
		return nil, lang.Errorf(lang.Text{En: "lock %s: %w", Es: "bloquear %s: %w"}, dir, err)
	}
	return d, nil
}

// maxLinks is the kernel's limit of symbolic links in one path: path_resolution(7).
const maxLinks = 40

// resolve follows path while it is a symbolic link. The last one may dangle:
// then the file is created where it points.
func resolve(path string) (string, error) {
	for range maxLinks {
		to, err := os.Readlink(path)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, fs.ErrNotExist) {
			return path, nil // no link, or nothing there yet
		}
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(to) {
			// Not filepath.Join on the text: "dir/.." is not "." if dir is a link.
			parent, err := filepath.EvalSymlinks(filepath.Dir(path))
			if err != nil {
				return "", err
			}
			to = filepath.Join(parent, to)
		}
		path = to
	}
	return "", unix.ELOOP
}

// attributes are what a file has beside its content.
type attributes struct {
	Mode   fs.FileMode       `json:"mode"` // permission bits incl. setuid, setgid, sticky
	Uid    int               `json:"uid"`
	Gid    int               `json:"gid"`
	Xattrs map[string][]byte `json:"xattrs,omitempty"`
}

const modeBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

func attributesOf(path string) (attributes, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return attributes{}, err
	}
	st := info.Sys().(*syscall.Stat_t)
	if !info.Mode().IsRegular() {
		return attributes{}, lang.Errorf(lang.Text{
			En: "%s is a %s, not a regular file",
			Es: "%s es de tipo %s, no un archivo regular",
		}, path, typeName(info.Mode()))
	}
	if st.Nlink > 1 {
		return attributes{}, lang.Errorf(lang.Text{
			En: "%s has %d hard links; replacing it would part them",
			Es: "%s tiene %d enlaces duros; reemplazarlo los separaría",
		}, path, st.Nlink)
	}
	xattrs, err := xattrsOf(path)
	return attributes{info.Mode() & modeBits, int(st.Uid), int(st.Gid), xattrs}, err
}

func typeName(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m&fs.ModeDevice != 0:
		return "device"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	}
	return "special file"
}

// give makes f have the attributes. Owner before mode before capabilities:
// chown(2) clears setuid bits and security.capability.
func (at attributes) give(f *os.File) error {
	if err := f.Chown(at.Uid, at.Gid); err != nil {
		return err
	}
	if err := f.Chmod(at.Mode); err != nil {
		return err
	}
	for name, value := range at.Xattrs {
		if err := unix.Fsetxattr(int(f.Fd()), name, value, 0); err != nil {
			return lang.Errorf(lang.Text{En: "set attribute %s: %w", Es: "ajustar el atributo %s: %w"}, name, err)
		}
	}
	return nil
}

// xattrsOf reads the extended attributes of path, without those that the
// kernel computes from the content (IMA, EVM).
func xattrsOf(path string) (map[string][]byte, error) {
	list, err := sized(func(b []byte) (int, error) { return unix.Llistxattr(path, b) })
	if errors.Is(err, unix.ENOTSUP) || len(list) == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, lang.Errorf(lang.Text{En: "list attributes of %s: %w", Es: "listar los atributos de %s: %w"}, path, err)
	}
	out := map[string][]byte{}
	for name := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		if name == "security.ima" || name == "security.evm" {
			continue
		}
		value, err := sized(func(b []byte) (int, error) { return unix.Lgetxattr(path, name, b) })
		if err != nil {
			return nil, lang.Errorf(lang.Text{En: "read attribute %s of %s: %w", Es: "leer el atributo %s de %s: %w"}, name, path, err)
		}
		out[name] = value
	}
	return out, nil
}

// sized calls get with no buffer to learn the size, then with one, until the
// value does not grow in between.
func sized(get func([]byte) (int, error)) ([]byte, error) {
	for {
		n, err := get(nil)
		if err != nil || n == 0 {
			return nil, err
		}
		b := make([]byte, n)
		n, err = get(b)
		if errors.Is(err, unix.ERANGE) {
			continue
		}
		return b[:max(n, 0)], err
	}
}
