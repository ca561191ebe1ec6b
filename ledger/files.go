package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"casco/lang"
)

// Everything is readable by its owner only: entries name people and hosts.
const (
	dirMode  = 0o700
	fileMode = 0o600
)

// writeFile makes data the content of path as a whole or not at all, on stable
// storage. Only who holds the lock may write, so the name of the temporary
// file is fixed and a dead writer's is taken over.
func writeFile(path string, data []byte) error {
	if err := replaceFile(path, data, true); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func replaceFile(path string, data []byte, sync bool) error {
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// A batch writes many files. Each is flushed by itself, and each directory once
// at the end; or, if late, all together at the end.
type batch struct {
	root string
	late bool
	dirs map[string]bool
}

// put writes root/name unless that is there already with just this content. A
// file that must never change and has another content is an error.
func (b *batch) put(name string, data []byte, never bool) error {
	path := filepath.Join(b.root, name)
	switch have, err := os.ReadFile(path); {
	case err == nil && bytes.Equal(have, data):
		return nil
	case err == nil && never:
		return lang.Errorf(lang.Text{En: "%s is there and has another content", Es: "%s ya existe y tiene otro contenido"}, path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := b.mkdir(filepath.Dir(path)); err != nil {
		return err
	}
	return replaceFile(path, data, !b.late)
}

// mkdir makes a directory and those above it, and has the new names flushed.
func (b *batch) mkdir(dir string) error {
	if b.dirs[dir] {
		return nil
	}
	if b.dirs == nil {
		b.dirs = map[string]bool{}
	}
	b.dirs[dir] = true
	switch err := os.Mkdir(dir, dirMode); {
	case err == nil:
		b.dirs[filepath.Dir(dir)] = true
	case errors.Is(err, fs.ErrNotExist):
		if err := b.mkdir(filepath.Dir(dir)); err != nil {
			return err
		}
		if err := os.Mkdir(dir, dirMode); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	return nil
}

func (b *batch) flush() error {
	if b.late {
		d, err := os.Open(b.root)
		if err != nil {
			return err
		}
		return errors.Join(unix.Syncfs(int(d.Fd())), d.Close())
	}
	var errs []error
	for dir := range b.dirs {
		errs = append(errs, syncDir(dir))
	}
	return errors.Join(errs...)
}

// lockWait is how long a writer waits for another one, which needs the lock
// for milliseconds, before it says so instead of hanging.
const lockWait = 10 * time.Second

// ErrBusy is returned when another process held the lock for lockWait.
var ErrBusy = lang.Errorf(lang.Text{En: "another process holds the ledger's lock", Es: "otro proceso tiene el cerrojo del registro"})

// flock takes the lock in a file, exclusively or shared, and returns what
// gives it back. The kernel does so when the process dies.
func flock(f *os.File, how int) (unlock func(), err error) {
	pause := 50 * time.Microsecond
	for begun := time.Now(); ; {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return func() { _ = unix.Flock(int(f.Fd()), unix.LOCK_UN) }, nil
		case errors.Is(err, unix.EINTR):
			continue
		case !errors.Is(err, unix.EWOULDBLOCK):
			return nil, lang.Errorf(lang.Text{En: "lock %s: %w", Es: "bloquear %s: %w"}, f.Name(), err)
		case time.Since(begun) > lockWait:
			return nil, fmt.Errorf("%s: %w", f.Name(), ErrBusy)
		}
		time.Sleep(pause)
		pause = min(2*pause, 5*time.Millisecond)
	}
}

// lockShared locks a log against being written to, while it is read. One that
// has no lock file, a copy for example, is written to by nobody.
func lockShared(dir string) (unlock func(), err error) {
	f, err := os.Open(filepath.Join(dir, "lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	give, err := flock(f, unix.LOCK_SH)
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { give(); f.Close() }, nil
}

// lockFolder makes a folder if it is not there and keeps its writers apart by
// the file "lock" in it.
func lockFolder(dir string) (unlock func(), err error) {
	b := batch{root: dir}
	if err := errors.Join(b.mkdir(dir), b.flush()); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, fileMode)
	if err != nil {
		return nil, err
	}
	give, err := flock(f, unix.LOCK_EX)
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { give(); f.Close() }, nil
}
