package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"casco/internal/doorway"
)

const procDir = "/proc"

// A process is one that runs or stands before an engine, as /proc says.
type process struct {
	pid  int
	ppid int
	uid  int64
	comm string
	exe  string   // "" if it may not be read
	args []string // never empty for a process in user space
}

// readProcess reads what every user may read, and exe, which takes ptrace
// rights over the process: proc(5).
func readProcess(pid int) (process, error) {
	p := process{pid: pid}
	cmdline, err := os.ReadFile(p.path("cmdline"))
	if err != nil {
		return p, err
	}
	if len(cmdline) == 0 {
		return p, fmt.Errorf("process %d has no command line: a kernel thread or a zombie", pid)
	}
	p.args = strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
	status, err := os.ReadFile(p.path("status"))
	if err != nil {
		return p, err
	}
	p.comm = statusLine(status, "Name")
	p.ppid, _ = strconv.Atoi(statusLine(status, "PPid"))
	uids := strings.Fields(statusLine(status, "Uid")) // real, effective, saved, file system
	if len(uids) < 2 {
		return p, fmt.Errorf("%s has no Uid", p.path("status"))
	}
	if p.uid, err = strconv.ParseInt(uids[1], 10, 64); err != nil {
		return p, err
	}
	if exe, err := os.Readlink(p.path("exe")); err == nil {
		p.exe = strings.TrimSuffix(exe, " (deleted)") // the package was upgraded below it
	}
	return p, nil
}

func statusLine(status []byte, key string) string {
	for line := range bytes.Lines(status) {
		if v, ok := bytes.CutPrefix(line, []byte(key+":")); ok {
			return string(bytes.TrimSpace(v))
		}
	}
	return ""
}

func (p process) path(name string) string {
	return filepath.Join(procDir, strconv.Itoa(p.pid), name)
}

// gone reports whether the process has ended.
func (p process) gone() bool {
	_, err := os.Stat(p.path(""))
	return errors.Is(err, fs.ErrNotExist)
}

// inside is where the process would find path: it may live in another mount
// namespace, and in another directory.
func (p process) inside(path string) string {
	if !filepath.IsAbs(path) {
		cwd, err := os.Readlink(p.path("cwd"))
		if err != nil {
			cwd = "/"
		}
		path = filepath.Join(cwd, path)
	}
	return filepath.Join(p.path("root"), path)
}

func (p process) env() map[string]string {
	b, _ := os.ReadFile(p.path("environ")) // not ours to read: then the defaults are those of an empty one
	env := map[string]string{}
	for kv := range strings.SplitSeq(string(b), "\x00") {
		if name, value, ok := strings.Cut(kv, "="); ok {
			env[name] = value
		}
	}
	return env
}

// named reports whether the program is called so, by its file or by argv[0].
// A program that is called neither way is not taken for an engine.
func (p process) named(names ...string) bool {
	return slices.Contains(names, filepath.Base(p.exe)) || slices.Contains(names, filepath.Base(p.args[0]))
}

func (p process) isDockerd() bool {
	return p.named("dockerd", "dockerd-ce") || p.named("dockerd-dev") ||
		p.named("docker") && len(p.args) > 1 && p.args[1] == "daemon" // up to 17.x
}

// sameNamespace reports whether the process shares our namespace of that name
// ("mnt", "net").
func (p process) sameNamespace(name string) bool {
	theirs, err1 := os.Readlink(p.path("ns/" + name))
	ours, err2 := os.Readlink(filepath.Join(procDir, "self/ns", name))
	return err1 == nil && err2 == nil && theirs == ours
}

// ticks is USER_HZ, in which the kernel tells times to programs: 100 on every
// architecture that Go runs on, include/asm-generic/param.h.
const ticks = 100

// started is when the process began, from field 22 of /proc/PID/stat (ticks
// since boot), to a hundredth of a second.
func (p process) started() (time.Time, error) {
	b, err := os.ReadFile(p.path("stat"))
	if err != nil {
		return time.Time{}, err
	}
	// The second field is the name in brackets, and may itself hold any byte.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	const startTime = 22 - 3 // the first after the name is field 3
	if len(fields) <= startTime {
		return time.Time{}, fmt.Errorf("%s is too short", p.path("stat"))
	}
	since, err := strconv.ParseInt(fields[startTime], 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", p.path("stat"), err)
	}
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return time.Time{}, os.NewSyscallError("clock_gettime", err)
	}
	boot := time.Now().Add(-time.Duration(up.Nano()))
	return boot.Add(time.Duration(since) * time.Second / ticks), nil
}

// sockets are the inodes of the sockets that the process holds open.
func (p process) sockets() (map[uint64]bool, error) {
	fds, err := os.ReadDir(p.path("fd"))
	if err != nil {
		return nil, err
	}
	out := map[uint64]bool{}
	for _, fd := range fds {
		link, err := os.Readlink(p.path("fd/" + fd.Name()))
		if err != nil {
			continue // closed in between
		}
		if n, ok := strings.CutPrefix(link, "socket:["); ok {
			if inode, err := strconv.ParseUint(strings.TrimSuffix(n, "]"), 10, 64); err == nil {
				out[inode] = true
			}
		}
	}
	return out, nil
}

// peer is the process that called listen(2) on the unix socket at path:
// unix(7), SO_PEERCRED. It connects, and says nothing.
func peer(path string) (pid int, err error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return 0, &fs.PathError{Op: "connect", Path: path, Err: err}
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, &fs.PathError{Op: "read the peer of", Path: path, Err: err}
	}
	if cred.Pid == 0 {
		return 0, fmt.Errorf("%s: its process is in a process namespace that cannot be seen from here", path)
	}
	return int(cred.Pid), nil
}

// behind finds the dockerd that serves the unix socket at path, or behind
// casco's door there. With socket activation systemd listened, and dockerd
// inherited: then it is the dockerd that holds the same socket. Another proxy
// before the engine is an error that names it, as is a process that already is
// no more.
func behind(path string, all []process) (process, error) {
	pid, err := peer(doorway.Socket(path))
	if err != nil {
		return process{}, err
	}
	listener, err := readProcess(pid)
	if err == nil && listener.isDockerd() {
		return listener, nil
	}
	heir, found, herr := heir(path, pid, all)
	if herr == nil && found {
		return heir, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return process{}, fmt.Errorf("%s: process %d made it and is gone, and no dockerd holds it", path, pid)
	}
	if err != nil {
		return process{}, fmt.Errorf("%s: %w", path, err)
	}
	return process{}, fmt.Errorf("%s is served by %s (process %d), which is not dockerd: a proxy stands before the engine, or the engine has another name",
		path, listener.comm, pid)
}

// heir is the dockerd that holds the listening socket at path, which process
// pid made.
func heir(path string, pid int, all []process) (process, bool, error) {
	inodes, err := listeningAt(pid, path)
	if err != nil {
		return process{}, false, err
	}
	for _, p := range all {
		if !p.isDockerd() {
			continue
		}
		held, err := p.sockets()
		if err != nil {
			return process{}, false, err
		}
		for _, inode := range inodes {
			if held[inode] {
				return p, true, nil
			}
		}
	}
	return process{}, false, nil
}

// candidates are all processes that could be an engine, a docker-proxy or a
// containerd, by pid. What ends while it is looked at is left out.
func candidates() ([]process, error) {
	entries, err := os.ReadDir(procDir)
	if err != nil {
		return nil, err
	}
	var out []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		p, err := readProcess(pid)
		if err == nil && (p.isDockerd() || p.named("docker-proxy", "podman", "containerd")) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b process) int { return a.pid - b.pid })
	return out, nil
}

// device is st_dev of path.
func device(path string) (uint64, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return 0, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return st.Dev, nil
}
