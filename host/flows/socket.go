package flows

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"casco/internal/conntrack"
	"casco/internal/nsenter"
)

// room is what one message of the kernel fits into: it fills at most 32 KiB of
// a dump at once (netlink_dump), and an event is below 1 KiB.
const room = 64 << 10

var buffers = sync.Pool{New: func() any { return new([room]byte) }}

// patience is how long the kernel may take for an answer, which it gives
// before a request returns.
const patience = 5 * time.Second

// dial opens a socket to nfnetlink in the thread's network namespace.
func dial() (fd int, err error) {
	fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return -1, fmt.Errorf("nfnetlink socket: %w", err)
	}
	wait := unix.NsecToTimeval(int64(patience))
	err = errors.Join(
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
	)
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("nfnetlink socket: %w", err)
	}
	return fd, nil
}

// send sends messages as one.
func send(fd int, rs ...request) error {
	var b []byte
	for _, r := range rs {
		b = append(b, r...)
	}
	return unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// receive hands each message to visit until that is done or fails.
func receive(fd int, visit func(typ uint16, b []byte) (done bool, err error)) error {
	buf := buffers.Get().(*[room]byte)
	defer buffers.Put(buf)
	for {
		n, _, err := unix.Recvfrom(fd, buf[:], 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		for typ, b := range messages(buf[:n]) {
			if done, err := visit(typ, b); done || err != nil {
				return err
			}
		}
	}
}

// acknowledged waits until n requests are done, or the first of them failed.
func acknowledged(fd, n int) error {
	return receive(fd, func(typ uint16, b []byte) (bool, error) {
		if typ != unix.NLMSG_ERROR {
			return false, nil
		}
		n--
		return n == 0, answer(b)
	})
}

// list hands each entry of the connection tracking of ns to visit. An entry is
// valid until visit returns; one that comes or goes meanwhile may be missing.
func list(ns netns.NsHandle, visit func(entry)) error {
	return nsenter.Net(ns, func() error {
		if conntrack.NoneHere() {
			return nil
		}
		return listHere(visit)
	})
}

// listHere is list for the thread's namespace, in which some entry may be.
func listHere(visit func(entry)) error {
	fd, err := dial()
	if err == nil {
		err = errors.Join(listAt(fd, visit), unix.Close(fd))
	}
	if err != nil {
		return fmt.Errorf("list connection tracking: %w", err)
	}
	return nil
}

func listAt(fd int, visit func(entry)) error {
	if err := send(fd, newRequest(msgGet, unix.NLM_F_DUMP, unix.AF_UNSPEC, 0)); err != nil {
		return err
	}
	return receive(fd, func(typ uint16, b []byte) (bool, error) {
		switch typ {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.NLMSG_ERROR:
			return true, answer(b)
		case msgNew:
			if e, err := parse(b); err == nil {
				visit(e)
			}
		}
		return false, nil
	})
}
