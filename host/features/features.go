// Package features asks the kernel what it can do, by trying: the version of a
// kernel and its configuration say little of what a distribution has ported
// back, a boot parameter has switched off, or a container is not allowed.
//
// Every trial is taken back at once and changes nothing: a descriptor is opened
// and closed, a question is put over netlink.
package features

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Feature is one thing that the kernel can or cannot do for this process.
type Feature struct {
	Name string // "fanotify", "nftables", "overlay", "bpf", "btf", "seccomp", "user-namespaces", "openat2", "callers"
	Err  error  // why not; nil if it works
}

// All tries every feature, in a fixed order. Root is "" for this host's own
// /proc and /sys; tests give another.
func All(root string) []Feature {
	return []Feature{
		{"fanotify", fanotify()},
		{"nftables", nftables(root)},
		{"overlay", overlay(root)},
		{"bpf", bpf()},
		{"btf", there(root + "/sys/kernel/btf/vmlinux")},
		{"seccomp", seccomp(root)},
		{"user-namespaces", userNamespaces(root)},
		{"openat2", openat2()},
		{"callers", callers()},
	}
}

// fanotify asks for permission events before a program is executed (kernel 5.0,
// CONFIG_FANOTIFY_ACCESS_PERMISSIONS, CAP_SYS_ADMIN): fanotify_init(2),
// fanotify_mark(2). The mark is on a file in memory that nobody else has.
func fanotify() error {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("fanotify_init", err)
	}
	defer unix.Close(fd)
	file, err := unix.MemfdCreate("casco", unix.MFD_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("memfd_create", err)
	}
	defer unix.Close(file)
	return os.NewSyscallError("fanotify_mark", unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_OPEN_EXEC_PERM, file, ""))
}

// nftables asks for the generation of the rule set: NFT_MSG_GETGEN of
// linux/netfilter/nf_tables.h, in the network namespace of this process. Where
// that would load the module, that there is one is answer enough.
func nftables(root string) error {
	if there(root+"/sys/module/nf_tables") != nil && module(root, "nf_tables", "modules.dep") {
		return nil
	}
	const (
		getGen = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN
		length = unix.SizeofNlMsghdr + 4 // struct nfgenmsg: family, version, res_id
	)
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	wait := unix.NsecToTimeval((2 * time.Second).Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	msg := make([]byte, length)
	binary.NativeEndian.PutUint32(msg[0:], length)
	binary.NativeEndian.PutUint16(msg[4:], getGen)
	binary.NativeEndian.PutUint16(msg[6:], unix.NLM_F_REQUEST)
	if err := unix.Sendto(fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return os.NewSyscallError("recvfrom", err)
	}
	return reply(buf[:n])
}

// reply reads the answer of nfnetlink: netlink(7), struct nlmsgerr.
func reply(msg []byte) error {
	if len(msg) < unix.SizeofNlMsghdr {
		return fmt.Errorf("answer of %d bytes", len(msg))
	}
	if binary.NativeEndian.Uint16(msg[4:]) != unix.NLMSG_ERROR {
		return nil
	}
	if len(msg) < unix.SizeofNlMsghdr+4 {
		return fmt.Errorf("answer of %d bytes", len(msg))
	}
	if code := int32(binary.NativeEndian.Uint32(msg[unix.SizeofNlMsghdr:])); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

// overlay looks for the file system among those that the kernel has or can
// load: /proc/filesystems, modules.dep(5) and modules.builtin of kmod.
func overlay(root string) error {
	b, err := os.ReadFile(root + "/proc/filesystems")
	if err != nil {
		return err
	}
	if slices.Contains(strings.Fields(string(b)), "overlay") {
		return nil
	}
	if module(root, "overlay", "modules.builtin", "modules.dep") {
		return nil
	}
	return errors.New("neither in /proc/filesystems nor among the modules of this kernel")
}

// module reports whether the running kernel has a module in one of those lists.
func module(root, name string, lists ...string) bool {
	release, err := os.ReadFile(root + "/proc/sys/kernel/osrelease")
	if err != nil {
		return false
	}
	for _, list := range lists {
		b, err := os.ReadFile(root + "/lib/modules/" + strings.TrimSpace(string(release)) + "/" + list)
		if err == nil && bytes.Contains(b, []byte("/"+name+".ko")) {
			return true
		}
	}
	return false
}

// bpf loads the smallest program there is ("return 0" as a socket filter) and
// forgets it: bpf(2), BPF_PROG_LOAD.
func bpf() error {
	fd, err := loadNothing()
	if err != nil {
		return os.NewSyscallError("bpf", err)
	}
	return unix.Close(fd)
}

func there(path string) error {
	_, err := os.Stat(path)
	return err
}

// seccomp reads which actions a filter may return: seccomp(2).
func seccomp(root string) error {
	const at = "/proc/sys/kernel/seccomp/actions_avail"
	b, err := os.ReadFile(root + at)
	if err != nil {
		return err
	}
	if !slices.Contains(strings.Fields(string(b)), "errno") {
		return fmt.Errorf("%s has no errno: %q", at, bytes.TrimSpace(b))
	}
	return nil
}

// userNamespaces reads how many may be made: namespaces(7). A kernel without
// them has no such file.
func userNamespaces(root string) error {
	const at = "/proc/sys/user/max_user_namespaces"
	b, err := os.ReadFile(root + at)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("the kernel has none (CONFIG_USER_NS)")
	}
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(b)) == "0" {
		return fmt.Errorf("%s is 0", at)
	}
	return nil
}

// openat2 is how paths inside containers are opened without being led out:
// openat2(2), kernel 5.6.
func openat2() error {
	fd, err := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return os.NewSyscallError("openat2", err)
	}
	return unix.Close(fd)
}

// callers is how the door knows who is at the other end of a socket, for as long as
// that lives: unix(7), SO_PEERPIDFD, kernel 6.5.
func callers() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	fd, err := unix.GetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if err != nil {
		return os.NewSyscallError("SO_PEERPIDFD", err)
	}
	return unix.Close(fd)
}
