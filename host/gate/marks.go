package gate

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"casco/lang"
)

// anew is how often all marks are set anew, for what inotify does not tell: a
// directory that came later, a mount over one.
const anew = 5 * time.Second

// marks keeps the runtimes marked: a mark is on an inode, and a new file under
// the same name has none.
type marks struct {
	fan      int
	ino      *os.File
	inoFD    int // of ino
	log      *slog.Logger
	binaries []string
	dirs     map[int]string      // by watch descriptor: directories that have a runtime, or a link on the way to one
	names    map[string][]string // by directory: the names there
}

func newMarks(fan int, binaries []string, log *slog.Logger) (*marks, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify_init: %w", err)
	}
	m := &marks{fan: fan, ino: os.NewFile(uintptr(fd), "inotify"), inoFD: fd, log: log, binaries: binaries, dirs: map[int]string{}}
	marked, err := m.all()
	if marked == 0 {
		m.ino.Close()
		return nil, lang.Errorf(lang.Text{En: "no runtime can be watched: %w", Es: "no se puede vigilar ningún runtime: %w"}, err)
	}
	if err != nil {
		log.Warn("gate: a runtime is not watched", "err", err)
	}
	return m, nil
}

func (m *marks) close() { m.ino.Close() }

// all marks every runtime and watches the directories on the way to it. The
// directories come first: what changes later is told.
func (m *marks) all() (marked int, err error) {
	m.names = map[string][]string{}
	var errs []error
	for _, path := range m.binaries {
		steps, err := way(path)
		for _, step := range steps {
			dir := filepath.Dir(step)
			m.names[dir] = append(m.names[dir], filepath.Base(step))
			wd, err := unix.InotifyAddWatch(m.inoFD, dir, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ONLYDIR)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", dir, err))
				continue
			}
			m.dirs[wd] = dir
		}
		if err == nil {
			err = m.mark(path)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
			continue
		}
		marked++
	}
	return marked, errors.Join(errs...)
}

// way is a path and what its symbolic links lead to, one after the other. The
// steps are returned with the error too: what is missing may come.
func way(path string) (steps []string, err error) {
	for range 40 { // MAXSYMLINKS, linux/namei.h
		steps = append(steps, path)
		to, err := os.Readlink(path)
		switch {
		case errors.Is(err, unix.EINVAL): // no link
			return steps, nil
		case err != nil:
			return steps, err
		case !filepath.IsAbs(to):
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	return steps, unix.ELOOP
}

// mark has the kernel ask before the file at path, or what it links to, is
// executed. Marking it again changes nothing.
func (m *marks) mark(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fs.ErrInvalid
	}
	return unix.FanotifyMark(m.fan, unix.FAN_MARK_ADD, unix.FAN_OPEN_EXEC_PERM, unix.AT_FDCWD, path)
}

// keep marks what takes a runtime's place, until ctx ends.
func (m *marks) keep(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { m.ino.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, 64<<10)
	for {
		m.ino.SetReadDeadline(time.Now().Add(anew))
		if ctx.Err() != nil {
			return
		}
		n, err := m.ino.Read(buf)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
			m.log.Error("gate: inotify", "err", err)
			time.Sleep(time.Second)
		}
		m.news(buf[:max(n, 0)])
	}
}

// news marks what inotify tells of: a file whose name begins with a runtime's at
// once, for a package manager writes it so before it renames it. Anything about
// the name itself, and no news at all, sets all marks anew.
func (m *marks) news(b []byte) {
	whole := len(b) == 0
	for _, e := range parseInotify(b) {
		dir := m.dirs[e.wd]
		for _, name := range m.names[dir] {
			if !strings.HasPrefix(e.name, name) {
				continue
			}
			if err := m.mark(filepath.Join(dir, e.name)); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) {
				m.log.Warn("gate: a runtime is not watched", "path", filepath.Join(dir, e.name), "err", err)
			}
			if e.name == name {
				m.log.Warn("gate: a runtime was replaced, and is watched from now on", "path", filepath.Join(dir, name))
				whole = true
			}
		}
		whole = whole || dir == ""
	}
	if !whole {
		return
	}
	if _, err := m.all(); err != nil {
		m.log.Warn("gate: a runtime is not watched", "err", err)
	}
}

// A changed is a name in a watched directory that something was put under.
type changed struct {
	wd   int
	name string
}

// parseInotify reads struct inotify_event, inotify(7): wd s32, mask u32, cookie
// u32, len u32, the name with null bytes up to len. A queue that ran over has
// the watch descriptor -1, and is news of all.
func parseInotify(b []byte) []changed {
	var all []changed
	for len(b) >= unix.SizeofInotifyEvent {
		wd := int(int32(binary.NativeEndian.Uint32(b)))
		n := uint64(binary.NativeEndian.Uint32(b[12:]))
		b = b[unix.SizeofInotifyEvent:]
		if n > uint64(len(b)) {
			break
		}
		all = append(all, changed{wd, string(bytes.TrimRight(b[:n], "\x00"))})
		b = b[n:]
	}
	return all
}
