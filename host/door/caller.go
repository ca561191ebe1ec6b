package door

import (
	"errors"
	"net"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"casco/internal/apicall"
	"casco/internal/procs"
)

// identify asks the kernel who is at the other end of a unix socket: who it was
// when it connected. What it says of a process is believed only if the process
// is still the one that connected.
func identify(c *net.UnixConn) (apicall.Caller, error) {
	who := apicall.Caller{
		UID: apicall.NoID, GID: apicall.NoID, LoginUID: -1, Unit: apicall.Unknown, Container: apicall.Unknown, Userns: apicall.Unknown,
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return who, err
	}
	var cred *unix.Ucred
	pidfd := -1
	ctlErr := raw.Control(func(fd uintptr) {
		if cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err != nil {
			return
		}
		if who.Groups, err = peerGroups(fd); err == nil {
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
	same := procs.Same(who.PID, pidfd)
	seen := who
	err = look(&seen)
	if !same() || err != nil {
		return who, nil
	}
	return seen, nil
}

// peerGroups are the further groups of the process that connected: SO_PEERGROUPS,
// since Linux 4.13. x/sys has no reader of lists.
func peerGroups(socket uintptr) ([]uint32, error) {
	groups := make([]uint32, 32)
	for {
		size := uint32(len(groups) * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, socket, unix.SOL_SOCKET, unix.SO_PEERGROUPS, uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch n := int(size / 4); {
		case errno == unix.ERANGE && n > len(groups):
			groups = make([]uint32, n)
		case errno != 0:
			return nil, os.NewSyscallError("getsockopt SO_PEERGROUPS", errno)
		default:
			return groups[:n:n], nil
		}
	}
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

// look reads what /proc says of a process.
func look(who *apicall.Caller) error {
	who.LoginUID = procs.LoginUID(who.PID)
	groups, err := procs.CgroupsOf(who.PID)
	if err != nil {
		return err
	}
	who.Unit, who.Container = groups.Unit, groups.Container
	// A container of which the cgroup does not tell, because the process left it, is
	// still in another PID namespace.
	if who.Container == "" {
		if ours, err := procs.SameSpace(who.PID, "pid"); err != nil || !ours {
			who.Container = apicall.Unknown
		}
	}
	switch owner, err := procs.SpaceOwner(who.PID); {
	case err == nil && owner < 0:
		who.Userns = ""
	case err == nil:
		who.Userns = strconv.FormatInt(owner, 10)
	case who.LoginUID >= 0: // nobody gets rid of it in a namespace
		who.Userns = strconv.FormatInt(who.LoginUID, 10)
	}
	return nil
}
