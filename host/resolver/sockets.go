package resolver

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// sockets are the four of a listener, and one epoll(7) that waits for them
// all, so that one goroutine is enough.
type sockets struct {
	poll   *os.File
	udp    []int
	tcp    []int
	life   int // a pidfd, or -1
	port   int
	events [8]unix.EpollEvent
	ready  []int
}

// openTries is how often a port is looked for that all four can have.
const openTries = 16

// openSockets opens them in the network namespace of the thread. It duplicates
// life, if that is not -1.
func openSockets(life int) (*sockets, error) {
	var errs []error
	for range openTries {
		s := &sockets{life: -1}
		err := s.open(life)
		if err == nil {
			return s, nil
		}
		s.close()
		if errs = append(errs, err); !errors.Is(err, unix.EADDRINUSE) {
			break
		}
	}
	return nil, errs[len(errs)-1]
}

func (s *sockets) open(life int) error {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	// Without it os.NewFile would not wait as for a network connection.
	if err := unix.SetNonblock(epoll, true); err != nil {
		unix.Close(epoll)
		return err
	}
	s.poll = os.NewFile(uintptr(epoll), "epoll")
	if err := s.poll.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	for _, k := range []struct{ family, typ int }{
		{unix.AF_INET, unix.SOCK_DGRAM},
		{unix.AF_INET, unix.SOCK_STREAM},
		{unix.AF_INET6, unix.SOCK_DGRAM},
		{unix.AF_INET6, unix.SOCK_STREAM},
	} {
		fd, err := unix.Socket(k.family, k.typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if k.family == unix.AF_INET6 && errors.Is(err, unix.EAFNOSUPPORT) {
			continue // a kernel without IPv6: nothing leaves by it
		}
		if err != nil {
			return fmt.Errorf("socket: %w", err)
		}
		if k.typ == unix.SOCK_DGRAM {
			s.udp = append(s.udp, fd)
		} else {
			s.tcp = append(s.tcp, fd)
		}
		if err := s.bind(fd, k.family, k.typ); err != nil {
			return err
		}
		if err := add(epoll, fd); err != nil {
			return err
		}
	}
	if life < 0 {
		return nil
	}
	if s.life, err = unix.FcntlInt(uintptr(life), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return err
	}
	return add(epoll, s.life)
}

// bind binds fd to loopback at the port of the others; the first one finds it.
// FREEBIND: the address need not be there yet. Docker takes ::1 away from a
// container without IPv6, and gives it back when it joins a network with it.
func (s *sockets) bind(fd, family, typ int) error {
	var at unix.Sockaddr = &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: s.port}
	err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1)
	if family == unix.AF_INET6 {
		at = &unix.SockaddrInet6{Addr: [16]byte{15: 1}, Port: s.port}
		err = errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_FREEBIND, 1),
			unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, 1),
		)
	}
	if err != nil {
		return fmt.Errorf("setsockopt: %w", err)
	}
	if err := unix.Bind(fd, at); err != nil {
		return fmt.Errorf("bind to loopback: %w", err)
	}
	if s.port == 0 {
		got, err := unix.Getsockname(fd)
		if err != nil {
			return err
		}
		s.port = got.(*unix.SockaddrInet4).Port
	}
	if typ != unix.SOCK_STREAM {
		return nil
	}
	if err := unix.Listen(fd, 16); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return nil
}

func add(epoll, fd int) error {
	err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	if err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// wait returns the descriptors that have something to read, in a slice that is
// good until the next call. An error is the end.
func (s *sockets) wait() ([]int, error) {
	raw, err := s.poll.SyscallConn()
	if err != nil {
		return nil, err
	}
	s.ready = s.ready[:0]
	var failed error
	err = raw.Read(func(epoll uintptr) bool {
		n, err := unix.EpollWait(int(epoll), s.events[:], 0)
		if err != nil && err != unix.EINTR {
			failed = err
		}
		for _, e := range s.events[:max(0, n)] {
			s.ready = append(s.ready, int(e.Fd))
		}
		return failed != nil || n > 0 || err == unix.EINTR
	})
	return s.ready, errors.Join(err, failed)
}

// wake ends a wait, and all later ones.
func (s *sockets) wake() { _ = s.poll.SetReadDeadline(time.Unix(1, 0)) }

func (s *sockets) isTCP(fd int) bool {
	for _, t := range s.tcp {
		if t == fd {
			return true
		}
	}
	return false
}

func (s *sockets) close() {
	if s.poll != nil {
		s.poll.Close()
	}
	for _, fd := range append(append([]int{s.life}, s.udp...), s.tcp...) {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// acceptConn accepts one connection.
func acceptConn(fd int) (net.Conn, error) {
	c, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(c), "tcp")
	defer f.Close() // FileConn duplicates it
	return net.FileConn(f)
}
