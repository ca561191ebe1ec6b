// Package inits finds the first processes of containers, whoever made them: an
// engine, containerd's ctr, a runtime that was called by hand, a program that
// does by itself what a runtime does.
//
// A container, here, is a mount namespace of its own whose root is another
// directory than the host's; all OCI runtimes make one, also of a container with
// the host's process IDs. What runs so and is none is left out if it can be told:
// a service of systemd with a root of its own. Who made it is read from the
// processes that called each other for it.
//
// Watch hears of each execve(2) of the host from the kernel (the process events
// connector, Linux 2.6.15; Documentation/driver-api/connector.rst), so it does
// not matter which program makes containers, nor where it lies. A container that
// has ended before its /proc is read is missed; for known runtimes package gate
// sees those.
package inits

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"casco/internal/ocicall"
	"casco/internal/procs"
)

// An Init is the first process of a container that was met.
type Init struct {
	PID     int
	Program string // that it runs: its path in the container
	Space   uint64 // inode of its mount namespace
	Cgroup  string // its longest path, of whatever hierarchy
	Inside  string // full ID of the container in whose cgroup it is, which may be its own

	// Maker says what the processes above it tell.
	Maker
}

// A Maker is what the processes that called each other for a container tell of
// it. What they do not tell is zero.
type Maker struct {
	ID         string // that the runtime or the engine gave it
	Runtime    string // path of the runtime's program
	Root       string // where the runtime keeps its states
	Bundle     string
	Namespace  string // of containerd
	Containerd string // address of containerd
	UID        int64  // of the nearest process above it; -1 if that is not known
	LoginUID   int64  // of the same: who logged in; -1 if nobody did
	Parents    []Process
}

// A Process is one of those.
type Process struct {
	PID  int
	Name string // of its program
}

// mostParents is how many processes above another are read.
const mostParents = 8

// MakerOf reads the processes from pid on upwards, itself first, but for the
// host's first.
func MakerOf(pid int) Maker {
	m := Maker{UID: -1, LoginUID: -1}
	for range mostParents {
		if pid <= 1 {
			break
		}
		dir := procs.Dir(pid)
		args, err := os.ReadFile(dir + "/cmdline")
		if err != nil {
			break
		}
		exe, err := os.Readlink(dir + "/exe")
		if err != nil {
			exe = ""
		}
		words := strings.Split(strings.TrimSuffix(string(args), "\x00"), "\x00")
		name := filepath.Base(strings.TrimSuffix(exe, " (deleted)"))
		m.Parents = append(m.Parents, Process{pid, name})
		if len(m.Parents) == 1 {
			m.UID, m.LoginUID = userOf(pid)
		}
		m.told(words, exe, dir)
		if pid = parentOf(pid); pid == 0 {
			break
		}
	}
	return m
}

// told takes what the arguments of one process tell: of containerd's shim
// (containerd, runtime/v2/shim/shim.go: -namespace, -id, -address; it works in
// the bundle), or of a runtime.
func (m *Maker) told(words []string, exe, dir string) {
	if strings.HasPrefix(filepath.Base(words[0]), "containerd-shim") {
		for i, w := range words[:len(words)-1] {
			switch w {
			case "-namespace":
				m.Namespace = words[i+1]
			case "-id":
				m.ID = words[i+1]
			case "-address":
				m.Containerd = words[i+1]
			}
		}
		if cwd, err := os.Readlink(dir + "/cwd"); err == nil && m.Bundle == "" {
			m.Bundle = cwd
		}
		return
	}
	if c := ocicall.Parse(words[1:]); m.ID == "" && m.Namespace == "" && c.Held() && ocicall.ValidID(c.ID) && isRuntime(exe, c) {
		m.ID, m.Root, m.Bundle, m.Runtime = c.ID, c.Root, c.Bundle, strings.TrimSuffix(exe, " (deleted)")
		if cwd, err := os.Readlink(dir + "/cwd"); err == nil && m.Bundle == "" {
			m.Bundle = cwd
		}
	}
}

// isRuntime tells "runc run x" from "sh run x": a runtime under another name
// says more than a verb and a word.
func isRuntime(exe string, c ocicall.Call) bool {
	name := filepath.Base(exe)
	for _, known := range []string{"runc", "crun", "runsc", "sysbox-runc", "nvidia-container-runtime", "youki"} {
		if strings.HasPrefix(name, known) {
			return true
		}
	}
	return c.Bundle != "" || c.Root != ""
}

// List returns the first process that is found of each container that runs now.
func List() ([]Init, error) {
	h, err := theHost()
	if err != nil {
		return nil, err
	}
	names, err := pids()
	if err != nil {
		return nil, err
	}
	seen := map[uint64]bool{}
	var out []Init
	for _, pid := range names {
		space, ok := h.apart(pid)
		if !ok || seen[space] {
			continue
		}
		if i, ok := h.read(pid, space); ok {
			seen[space] = true
			out = append(out, i)
		}
	}
	return out, nil
}

func pids() ([]int, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var out []int
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			out = append(out, pid)
		}
	}
	slices.Sort(out) // the first process of a container mostly has the lowest number
	return out, nil
}

// A host is what processes are held against that are in no container.
type host struct {
	spaces []string // links of the mount namespaces of our own and of the host's first process
	pids   string   // link of our PID namespace, which is the host's
	root   syscall.Stat_t
}

func theHost() (*host, error) {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return nil, err
	}
	h := &host{spaces: []string{own}}
	// Ours is another where the service manager gave us one, with the same root. The
	// first process may be out of sight.
	if first, err := os.Readlink("/proc/1/ns/mnt"); err == nil {
		h.spaces = append(h.spaces, first)
	}
	if h.pids, err = os.Readlink("/proc/self/ns/pid"); err != nil {
		return nil, err
	}
	return h, syscall.Stat("/", &h.root)
}

// apart reports whether a process has a mount namespace and a root of its own.
func (h *host) apart(pid int) (space uint64, ok bool) {
	dir := procs.Dir(pid)
	link, err := os.Readlink(dir + "/ns/mnt")
	if err != nil || slices.Contains(h.spaces, link) {
		return 0, false
	}
	var root syscall.Stat_t
	if syscall.Stat(dir+"/root", &root) != nil || root.Dev == h.root.Dev && root.Ino == h.root.Ino {
		return 0, false
	}
	number := strings.TrimSuffix(strings.TrimPrefix(link, "mnt:["), "]")
	space, err = strconv.ParseUint(number, 10, 64)
	return space, err == nil
}

func (h *host) read(pid int, space uint64) (Init, bool) {
	dir := procs.Dir(pid)
	i := Init{PID: pid, Space: space, Maker: MakerOf(parentOf(pid))}
	exe, err := os.Readlink(dir + "/exe")
	if err != nil { // it is gone, or a thread of the kernel: devtmpfs has a root of its own
		return i, false
	}
	// Both are as its mounts have them.
	if root, err := os.Readlink(dir + "/root"); err == nil {
		exe = "/" + strings.TrimPrefix(strings.TrimPrefix(exe, root), "/")
	}
	i.Program = strings.TrimSuffix(exe, " (deleted)")
	groups, err := procs.CgroupsOf(pid)
	if err != nil {
		return i, false
	}
	i.Cgroup, i.Inside = groups.Longest, groups.Container
	own, err := os.Readlink(dir + "/ns/pid")
	if err != nil || !procs.Alive(pid) {
		return i, false
	}
	// RootDirectory= and RootImage= of systemd.exec(5).
	service := own == h.pids && i.ID == "" && parentOf(pid) == 1 && strings.HasSuffix(i.Cgroup, ".service")
	return i, !service
}

// Alive reports whether the process of an Init is still there.
func (i Init) Alive() bool { return procs.Alive(i.PID) }

// userOf is the user of a process, and who logged in.
func userOf(pid int) (uid, login int64) {
	uid = -1
	var st unix.Stat_t
	if unix.Stat(procs.Dir(pid), &st) == nil {
		uid = int64(st.Uid)
	}
	return uid, procs.LoginUID(pid)
}

// parentOf is the process that a process is a child of; 0 if that is not known.
func parentOf(pid int) int {
	s, err := procs.Read(pid)
	if err != nil {
		return 0
	}
	return s.Parent
}

// errNoEvents is why the kernel tells of no process.
var errNoEvents = errors.New("no process events")
