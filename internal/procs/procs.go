// Package procs reads what /proc says of a process (proc(5)): who started it and
// when, who logged in, in which cgroups and namespaces it is. A process can end
// while it is read, and its number be another's: Same tells.
package procs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Dir is where /proc has a process.
func Dir(pid int) string { return "/proc/" + strconv.Itoa(pid) }

// A Stat is what the file stat says (proc_pid_stat(5)), as far as somebody asks.
type Stat struct {
	State   byte   // field 3: 'R', 'S', 'Z' …
	Parent  int    // field 4
	Started uint64 // field 22, in clock ticks since the machine was started
}

// Alive reports whether the process is there and not a zombie.
func (s Stat) Alive() bool { return s.State != 'Z' && s.State != 'X' }

// Read reads the stat of a process.
func Read(pid int) (Stat, error) {
	b, err := os.ReadFile(Dir(pid) + "/stat")
	if err != nil {
		return Stat{}, err
	}
	return Parse(b)
}

// Parse reads the text of a stat. Its second field is a name in brackets, which may
// hold anything.
func Parse(b []byte) (s Stat, err error) {
	end := bytes.LastIndexByte(b, ')')
	f := strings.Fields(string(b[end+1:])) // from the third on
	const started = 22 - 3
	if end < 0 || len(f) <= started || len(f[0]) != 1 {
		return s, errors.New("no line of /proc/PID/stat")
	}
	s.State = f[0][0]
	s.Parent, err = strconv.Atoi(f[1])
	if err == nil {
		s.Started, err = strconv.ParseUint(f[started], 10, 64)
	}
	return s, err
}

// Alive reports whether a process is there and not a zombie.
func Alive(pid int) bool {
	s, err := Read(pid)
	return err == nil && s.Alive()
}

// Same returns a function that tells whether process pid has been the one of pidfd
// all the time; without a pidfd (-1), whether it has been the same since now, by
// the time of its start. The function closes pidfd.
func Same(pid, pidfd int) func() bool {
	if pidfd >= 0 {
		return func() bool {
			defer unix.Close(pidfd)
			// A process that was not waited for yet keeps its number.
			return unix.PidfdSendSignal(pidfd, 0, nil, 0) == nil
		}
	}
	before, err := Read(pid)
	return func() bool {
		after, err2 := Read(pid)
		return err == nil && err2 == nil && before.Started == after.Started
	}
}

// LoginUID is who logged in, whatever sudo made of them since; -1 where nobody
// did, or the kernel does not keep it.
func LoginUID(pid int) int64 {
	b, err := os.ReadFile(Dir(pid) + "/loginuid")
	if err != nil {
		return -1
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
	if err != nil || uint32(n) == ^uint32(0) {
		return -1
	}
	return int64(n)
}

// SameSpace reports whether a process is in the namespace of this one of a kind:
// "pid", "user" … It is an error if that cannot be told.
func SameSpace(pid int, kind string) (bool, error) {
	theirs, err := os.Readlink(Dir(pid) + "/ns/" + kind)
	if err != nil {
		return false, err
	}
	ours, err := os.Readlink("/proc/self/ns/" + kind)
	return ours == theirs, err
}

// SpaceOwner is the user of this host who made the user namespace of a process, or,
// if that lies in others, the outermost of them that is not ours: ioctl_ns(2), since
// Linux 4.11. None is -1: it is in ours.
func SpaceOwner(pid int) (uid int64, err error) {
	same, err := SameSpace(pid, "user")
	if err != nil || same {
		return -1, err
	}
	ours, err := inode("/proc/self/ns/user")
	if err != nil {
		return -1, err
	}
	fd, err := unix.Open(Dir(pid)+"/ns/user", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer func() { unix.Close(fd) }()
	for range maxNested {
		parent, err := unix.IoctlRetInt(fd, unix.NS_GET_PARENT)
		if err != nil { // EPERM: it does not lie in ours
			return -1, fmt.Errorf("NS_GET_PARENT: %w", err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(parent, &st); err != nil {
			unix.Close(parent)
			return -1, err
		}
		if st.Ino == ours {
			unix.Close(parent)
			owner, err := unix.IoctlGetUint32(fd, unix.NS_GET_OWNER_UID)
			return int64(owner), err
		}
		unix.Close(fd)
		fd = parent
	}
	return -1, errors.New("more user namespaces in each other than the kernel makes")
}

// maxNested is how deep the kernel lets user namespaces lie in each other
// (user_namespaces(7)).
const maxNested = 33

func inode(path string) (uint64, error) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	return st.Ino, err
}

var (
	// containerName finds the ID in a component of a cgroup path: "ID"
	// (cgroupfs driver), "docker-ID.scope" (systemd driver, also cri-containerd
	// and libpod).
	containerName = regexp.MustCompile(`^(?:[a-z-]+-)?([0-9a-f]{64})(?:\.scope)?$`)
	unitName      = regexp.MustCompile(`\.(service|scope|socket|mount|swap)$`)
)

// Cgroups are the control groups of a process.
type Cgroups struct {
	Longest   string // path, of whatever hierarchy
	Unit      string // of systemd; "" if it is in none
	Container string // full ID; "" if it is in none
}

// CgroupsOf reads those of a process.
func CgroupsOf(pid int) (Cgroups, error) {
	b, err := os.ReadFile(Dir(pid) + "/cgroup")
	if err != nil {
		return Cgroups{}, err
	}
	return ParseCgroups(b), nil
}

// ParseCgroups reads the text of /proc/PID/cgroup (cgroups(7)): the systemd unit,
// which is the first component that is no slice (systemd: cg_path_get_unit), and the
// container, which is the outermost, for it can make cgroups of its own in it.
func ParseCgroups(text []byte) (c Cgroups) {
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if len(parts[2]) > len(c.Longest) {
			c.Longest = parts[2]
		}
		systemds := parts[1] == "" || parts[1] == "name=systemd"
		for name := range strings.SplitSeq(parts[2], "/") {
			if m := containerName.FindStringSubmatch(name); m != nil && c.Container == "" {
				c.Container = m[1]
			}
			if systemds && c.Unit == "" && unitName.MatchString(name) {
				c.Unit = name
			}
		}
	}
	return c
}
