// Package proc says what the kernel knows of the running containers and of the
// host's listening sockets, read from outside.
//
// Nothing is ever run inside a container: an image without ps, ss or a shell
// is read like any other, and a container cannot answer for itself. What was
// asked of the engine ("docker inspect") and what the kernel enforces are two
// facts; this package gives the second one, from /proc/PID (proc(5)), from the
// cgroup files and from sock_diag(7).
//
// The engine names a container's first process by a number that is only right
// in the engine's own pid namespace. So the number is believed only if that
// process's cgroup names the container's ID. From then on everything is read
// through one open directory of /proc: if the process dies and its number is
// given away, readings fail, they never tell of another process.
//
// What cannot be read, for want of privilege or of kernel support, is absent,
// and Object.Unread says why. Without root that is most of it.
//
// Two sources are here: Containers adds Effective, Listeners and BindSources
// to the containers that an engine's source has put into the snapshot, and
// must run after it; Listeners adds one object per listening socket of the
// host. The one thing that a container can notice is a banner (Options.Banners).
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// readLimit bounds one file of /proc, in bytes: a host with 10,000 containers
// has a mountinfo of about 10 MB.
const readLimit = 32 << 20

// A procfs is where proc(5) is mounted: "/proc", or a recorded copy in a test.
type procfs string

// A process is one directory of a procfs, held open.
type process struct {
	pid int
	dir int // file descriptor, O_PATH
	at  string
}

// open holds process pid. The caller closes it.
func (fs procfs) open(pid int) (*process, error) {
	at := path.Join(string(fs), strconv.Itoa(pid))
	fd, err := unix.Open(at, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	return &process{pid, fd, at}, nil
}

// self holds our own process.
func (fs procfs) self() (*process, error) { return fs.open(os.Getpid()) }

func (p *process) close() { unix.Close(p.dir) }

// read returns the whole of a file of p: "status", "net/tcp".
func (p *process) read(name string) ([]byte, error) {
	b, err := readAt(p.dir, name)
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", p.at, name, err)
	}
	return b, nil
}

// link returns what a symbolic link of p says: "ns/net", "exe".
func (p *process) link(name string) (string, error) {
	var buf [4096]byte // PATH_MAX; the kernel cuts what is longer
	n, err := unix.Readlinkat(p.dir, name, buf[:])
	if err != nil {
		return "", fmt.Errorf("%s/%s: %w", p.at, name, err)
	}
	return string(buf[:n]), nil
}

// handle opens a file of p that is only of use as a descriptor: "ns/net",
// "root".
func (p *process) handle(name string, flags int) (int, error) {
	fd, err := unix.Openat(p.dir, name, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("%s/%s: %w", p.at, name, err)
	}
	return fd, nil
}

// readAt reads a file whole with as few system calls as proc(5) allows: its
// files have no size to ask for.
func readAt(dir int, name string) ([]byte, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var buf [4096]byte // enough for most, and not on the heap
	b := buf[:0]
	for {
		n, err := unix.Read(fd, b[len(b):cap(b)])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, err
		case n == 0 && cap(b) > len(buf):
			return b, nil
		case n == 0:
			return bytes.Clone(b), nil
		case len(b) > readLimit:
			return nil, fmt.Errorf("longer than %d bytes", readLimit)
		}
		if b = b[:len(b)+n]; len(b) == cap(b) {
			b = slices.Grow(b, len(b))
		}
	}
}

// readFile reads a small file by its path, as readAt does.
func readFile(name string) ([]byte, error) {
	b, err := readAt(unix.AT_FDCWD, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// pids returns the processes of fs in the order of their numbers.
func (fs procfs) pids() ([]int, error) {
	d, err := os.Open(string(fs))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	pids := make([]int, 0, len(names))
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}
