package netbench

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"casco/internal/nsenter"
)

// The sockets block: a scheduler of goroutines between them and the clock would
// be measured too.

// patience is how long a socket waits for the other.
const patience = 5 * time.Second

// What a client says first.
const (
	swallow = 'S' // all that comes
	echo    = 'E' // of each message
)

const (
	messageSize = 64
	streamChunk = 128 << 10
)

// in makes a socket in a namespace.
func in(ns netns.NsHandle) (fd int, err error) {
	err = nsenter.Net(ns, func() error {
		fd, err = socket()
		return err
	})
	return fd, err
}

// socket makes one in the namespace of the thread.
func socket() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	tv := unix.NsecToTimeval(int64(patience))
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
	)
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("socket: %w", err)
	}
	return fd, nil
}

func address(at netip.AddrPort) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
}

// A server serves one client after the other.
type server struct {
	fd   int
	done chan struct{}
}

func listen(ns netns.NsHandle, at netip.AddrPort) (*server, error) {
	fd, err := in(ns)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.Bind(fd, address(at)),
		unix.Listen(fd, 128),
	)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("listen on %s: %w", at, err)
	}
	s := &server{fd, make(chan struct{})}
	go s.serve()
	return s, nil
}

func (s *server) close() {
	_ = unix.Shutdown(s.fd, unix.SHUT_RDWR) // accept returns
	<-s.done
	unix.Close(s.fd)
}

func (s *server) serve() {
	defer close(s.done)
	b := make([]byte, streamChunk)
	for {
		fd, _, err := unix.Accept4(s.fd, unix.SOCK_CLOEXEC)
		switch err {
		case nil:
			_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
			answer(fd, b)
			unix.Close(fd)
		case unix.EINTR, unix.EAGAIN, unix.ECONNABORTED: // nobody came yet, or went again
		default:
			return
		}
	}
}

// answer serves one client to its end. What goes wrong its client notices.
func answer(fd int, b []byte) {
	if _, err := read(fd, b[:1]); err != nil {
		return
	}
	back := b[0] == echo
	for {
		n, err := read(fd, b)
		if err != nil {
			return
		}
		if back && write(fd, b[:n]) != nil {
			return
		}
	}
}

func read(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Read(fd, b)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func write(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err != nil && err != unix.EINTR {
			return err
		}
		b = b[max(n, 0):]
	}
	return nil
}

// dial connects and says what is wanted.
func dial(fd int, at netip.AddrPort, what byte) error {
	for {
		err := unix.Connect(fd, address(at))
		if err == unix.EINTR || err == unix.EALREADY {
			continue
		}
		if err != nil && err != unix.EISCONN {
			return fmt.Errorf("connect to %s: %w", at, err)
		}
		return write(fd, []byte{what})
	}
}

// client is a connection.
func client(ns netns.NsHandle, at netip.AddrPort, what byte) (int, error) {
	fd, err := in(ns)
	if err != nil {
		return -1, err
	}
	if err := dial(fd, at, what); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// stream sends for so long and returns bits per second.
func stream(ns netns.NsHandle, at netip.AddrPort, long time.Duration) (float64, error) {
	fd, err := client(ns, at, swallow)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	b := make([]byte, streamChunk)
	sent := 0
	begun := time.Now()
	for time.Since(begun) < long {
		if err := write(fd, b); err != nil {
			return 0, err
		}
		sent += len(b)
	}
	return float64(sent) * 8 / time.Since(begun).Seconds(), nil
}

// ask sends messages one after the other, on one connection, and returns how
// long each waited for its echo.
func ask(ns netns.NsHandle, at netip.AddrPort, n int) ([]time.Duration, error) {
	fd, err := client(ns, at, echo)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	took := make([]time.Duration, 0, n)
	for range n {
		d, err := once(fd)
		if err != nil {
			return nil, err
		}
		took = append(took, d)
	}
	return took, nil
}

func once(fd int) (time.Duration, error) {
	var b [messageSize]byte
	begun := time.Now()
	if err := write(fd, b[:]); err != nil {
		return 0, err
	}
	for got := 0; got < len(b); {
		n, err := read(fd, b[got:])
		if err != nil {
			return 0, err
		}
		got += n
	}
	return time.Since(begun), nil
}

// knock opens connections one after the other, has one answer on each and
// closes it, and returns how long each took.
func knock(ns netns.NsHandle, at netip.AddrPort, n int) ([]time.Duration, error) {
	took := make([]time.Duration, 0, n)
	err := nsenter.Net(ns, func() error {
		for range n {
			begun := time.Now()
			fd, err := socket()
			if err != nil {
				return err
			}
			// The end is a reset: thousands of connections that wait for their last
			// packets would use up the ports.
			err = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			if err == nil {
				err = dial(fd, at, echo)
			}
			if err == nil {
				_, err = once(fd)
			}
			unix.Close(fd)
			if err != nil {
				return err
			}
			took = append(took, time.Since(begun))
		}
		return nil
	})
	return took, err
}
