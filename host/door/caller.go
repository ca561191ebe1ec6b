package door

import (
	"bytes"
	"errors"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"casco/internal/apicall"
)

// identify asks the kernel who is at the other end of a unix socket: who it was
// when it connected. What it says of a process is believed only if the process
// is still the one that connected.
func identify(c *net.UnixConn) (apicall.Caller, error) {
	who := apicall.Caller{UID: apicall.NoID, GID: apicall.NoID, LoginUID: -1, Unit: apicall.Unknown, Container: apicall.Unknown}
	raw, err := c.SyscallConn()
	if err != nil {
		return who, err
	}
	var cred *unix.Ucred
	pidfd := -1
	ctlErr := raw.Control(func(fd uintptr) {
		if cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pidfd = peerPidfd(int(fd))
		}
	})
	if err := errors.Join(ctlErr, err); err != nil {
		return who, err
	}
	who.UID, who.GID, who.PID = cred.Uid, cred.Gid, int(cred.Pid)
	if who.PID == 0 { // of another PID namespace
		return who, nil
	}
	dir := "/proc/" + strconv.Itoa(who.PID)
	same := sameProcess(dir, pidfd)
	seen := who
	ok := look(dir, &seen)
	if !same() || !ok {
		return who, nil
	}
	return seen, nil
}

// peerPidfd is a descriptor of the process that connected, which names it for
// ever: SO_PEERPIDFD, since Linux 6.5. -1 if there is none.
func peerPidfd(socket int) int {
	fd, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if err != nil {
		return -1
	}
	return fd
}

// sameProcess returns a function that tells whether the process in dir has been
// the one of pidfd all the time; without a pidfd, whether it has been the same
// since now, by the time of its start. The function closes pidfd.
func sameProcess(dir string, pidfd int) func() bool {
	if pidfd >= 0 {
		return func() bool {
			defer unix.Close(pidfd)
			// A process that was not waited for yet keeps its number.
			return unix.PidfdSendSignal(pidfd, 0, nil, 0) == nil
		}
	}
	before, err := startTime(dir)
	return func() bool {
		after, err2 := startTime(dir)
		return err == nil && err2 == nil && before == after
	}
}

// startTime is field 22 of /proc/PID/stat (proc_pid_stat(5)), in clock ticks
// since the machine was started. The second field is a name in parentheses,
// which may hold anything.
func startTime(dir string) (string, error) {
	b, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return "", err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	const starttime = 22 - 3 // the first of these is the third
	if len(fields) <= starttime {
		return "", errors.New("stat: too short")
	}
	return fields[starttime], nil
}

// look reads what /proc says of a process.
func look(dir string, who *apicall.Caller) bool {
	who.LoginUID = loginUID(dir)
	b, err := os.ReadFile(dir + "/cgroup")
	if err != nil {
		return false
	}
	who.Unit, who.Container = places(b)
	if who.Container == "" && !ourSpace(dir) {
		who.Container = apicall.Unknown
	}
	return true
}

// loginUID is -1 where nobody logged in, or the kernel does not keep it.
func loginUID(dir string) int64 {
	b, err := os.ReadFile(dir + "/loginuid")
	if err != nil {
		return -1
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
	if err != nil || uint32(n) == apicall.NoID {
		return -1
	}
	return int64(n)
}

// ourSpace reports whether the process is in the PID namespace of this one. A
// container of which the cgroup does not tell, because the process left it, is
// still in another.
func ourSpace(dir string) bool {
	theirs, err := os.Readlink(dir + "/ns/pid")
	if err != nil {
		return false
	}
	ours, err := os.Readlink("/proc/self/ns/pid")
	return err == nil && ours == theirs
}

var (
	// containerName finds the ID in a component of a cgroup path: "ID"
	// (cgroupfs driver), "docker-ID.scope" (systemd driver, also cri-containerd
	// and libpod).
	containerName = regexp.MustCompile(`^(?:[a-z-]+-)?([0-9a-f]{64})(?:\.scope)?$`)
	unitName      = regexp.MustCompile(`\.(service|scope|socket|mount|swap)$`)
)

// places reads /proc/PID/cgroup (cgroups(7)): the systemd unit, which is the
// first component that is no slice (systemd: cg_path_get_unit), and the
// container, which is the outermost, for it can make cgroups of its own in it.
func places(text []byte) (unit, container string) {
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		systemds := parts[1] == "" || parts[1] == "name=systemd"
		for name := range strings.SplitSeq(parts[2], "/") {
			if m := containerName.FindStringSubmatch(name); m != nil && container == "" {
				container = m[1]
			}
			if systemds && unit == "" && unitName.MatchString(name) {
				unit = name
			}
		}
	}
	return unit, container
}
