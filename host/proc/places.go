package proc

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// A view is a file tree as one process sees it: its root and its mounts. An
// engine may have a mount namespace of its own (snap, rootless, a service with
// PrivateMounts), where a path means something else than here.
type view struct {
	root   int // descriptor
	mounts []*mountinfo.Info
	byID   map[int]*mountinfo.Info
}

// views are those of several processes, each kept once: most processes of a
// host see the same. A table of mounts takes long to read, 0.2 ms per 100.
type views map[string]*view

// of returns the view of p. It takes the right to trace p (ptrace(2)).
func (vs views) of(p *process) (*view, error) {
	mnt, err1 := p.link("ns/mnt")
	root, err2 := p.link("root")
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	key := mnt + " " + root
	if v, ok := vs[key]; ok {
		return v, nil
	}
	v, err := p.view()
	if err == nil {
		vs[key] = v
	}
	return v, err
}

func (vs views) close() {
	for _, v := range vs {
		v.close()
	}
}

func (p *process) view() (*view, error) {
	root, err := p.handle("root", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	mounts, err := p.mounts()
	if err != nil {
		unix.Close(root)
		return nil, err
	}
	v := &view{root, mounts, make(map[int]*mountinfo.Info, len(mounts))}
	for _, m := range mounts {
		v.byID[m.ID] = m
	}
	return v, nil
}

func (v *view) close() { unix.Close(v.root) }

// A place is where a path leads to.
type place struct {
	path string // without symbolic links
	kind string // see kinds
	node node
	// Where that is in its file system, whatever the mounts: after a bind mount
	// of /run on /srv/run, both show the same sockets. Zero where the kernel
	// does not tell the mount (before 5.8).
	within spot
}

// A node is one file of a file system, the same by all its names.
type node struct {
	major, minor uint32
	inode        uint64
}

// A spot is a path in a file system.
type spot struct {
	major, minor int
	path         string
}

var kinds = map[uint16]string{
	unix.S_IFREG: "file", unix.S_IFDIR: "dir", unix.S_IFSOCK: "socket",
	unix.S_IFBLK: "block", unix.S_IFCHR: "char", unix.S_IFIFO: "fifo",
}

// resolve follows name, an absolute path, as the process of v would. The error
// is os.ErrNotExist if nothing is there.
func (v *view) resolve(name string) (place, error) {
	fd, err := v.open(name)
	if err != nil {
		return place{}, fmt.Errorf("%s: %w", name, err)
	}
	defer unix.Close(fd)
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &st); err != nil {
		return place{}, fmt.Errorf("%s: %w", name, err)
	}
	var buf [4096]byte
	n, err := unix.Readlink("/proc/self/fd/"+strconv.Itoa(fd), buf[:])
	if err != nil {
		return place{}, fmt.Errorf("%s: %w", name, err)
	}
	p := place{
		path: string(buf[:n]),
		kind: kinds[st.Mode&unix.S_IFMT],
		node: node{st.Dev_major, st.Dev_minor, st.Ino},
	}
	if m := v.byID[int(st.Mnt_id)]; m != nil && st.Mask&unix.STATX_MNT_ID != 0 {
		if rel, ok := below(m.Mountpoint, p.path); ok {
			p.within = spot{m.Major, m.Minor, path.Join(m.Root, rel)}
		}
	}
	return p, nil
}

// open opens name without touching what is there. Symbolic links never lead
// out of the view: openat2(2), since kernel 5.6. Before that only our own root
// is safe to walk.
func (v *view) open(name string) (int, error) {
	const how = unix.O_PATH | unix.O_CLOEXEC
	name = path.Clean("/" + name)
	fd, err := unix.Openat2(v.root, name, &unix.OpenHow{Flags: how, Resolve: unix.RESOLVE_IN_ROOT})
	if !errors.Is(err, unix.ENOSYS) {
		return fd, err
	}
	var theirs, ours unix.Stat_t
	if err := errors.Join(unix.Fstat(v.root, &theirs), unix.Stat("/", &ours)); err != nil {
		return -1, err
	}
	if theirs.Dev != ours.Dev || theirs.Ino != ours.Ino {
		return -1, fmt.Errorf("in another root, and the kernel has no openat2: %w", unix.ENOSYS)
	}
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return -1, err
	}
	return unix.Open(real, how|unix.O_NOFOLLOW, 0)
}

// below returns the rest of p if it is dir or beneath it.
func below(dir, p string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(p, strings.TrimSuffix(dir, "/"))
	return rest, ok && (rest == "" || rest[0] == '/')
}

// shows reports whether who can see p can see q: it is p, or it is beneath p by
// its path, or by its place in the file system.
func (p place) shows(q place) bool {
	if p.node == q.node {
		return true
	}
	if p.kind != "dir" {
		return false
	}
	if _, ok := below(p.path, q.path); ok {
		return true
	}
	if p.within == (spot{}) || p.within.major != q.within.major || p.within.minor != q.within.minor {
		return false
	}
	_, ok := below(p.within.path, q.within.path)
	return ok
}
