package proc

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// bannerWait is how long all servers together have to say something. An
	// SSH server speaks first, without being asked (RFC 4253, 4.2).
	bannerWait = 250 * time.Millisecond
	// bannerLen bounds what is kept, in bytes: an SSH line has 255 at most.
	bannerLen = 255
	// bannerMost bounds the connections of one reading. Those beyond are made
	// by the next one.
	bannerMost = 2048
)

// A call is one connection that waits for the server to speak first. Nothing
// is ever sent on it: a server that waits for its client, as HTTP and TLS do,
// stays silent and sees a client that went away.
type call struct {
	to    netip.AddrPort
	of    *listener
	key   bannerKey
	fd    int // -1 when there is no connection (any more)
	heard []byte
	asked bool // the server had its time to speak, or closed
}

// callee is where to reach a listening socket from inside its own network
// namespace. One on all addresses is called on loopback, and on IPv4 where it
// takes that, since a container often has no IPv6 at all.
func callee(s socket) netip.AddrPort {
	addr := s.at.Addr()
	switch {
	case addr == netip.IPv6Unspecified() && s.v6only:
		addr = netip.IPv6Loopback()
	case addr.IsUnspecified():
		addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.AddrPortFrom(addr, s.at.Port())
}

// dial opens the socket and starts to connect. It must run on a thread in the
// listener's network namespace; what follows need not.
func (c *call) dial() {
	c.fd = -1
	fd, err := unix.Socket(family(c.to.Addr()), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	if err = unix.Connect(fd, sockaddr(c.to)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		unix.Close(fd)
		return
	}
	c.fd = fd
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// end hangs up.
func (c *call) end(asked bool) {
	unix.Close(c.fd)
	c.fd, c.asked = -1, asked
}

// listen waits, on all dialled calls at once, until each server has spoken a
// line, has closed, or wait is over.
func listen(ctx context.Context, calls []*call, wait time.Duration) {
	deadline := time.Now().Add(wait)
	for {
		var open []*call
		var fds []unix.PollFd
		for _, c := range calls {
			if c.fd >= 0 {
				open = append(open, c)
				fds = append(fds, unix.PollFd{Fd: int32(c.fd), Events: unix.POLLIN | unix.POLLRDHUP})
			}
		}
		left := time.Until(deadline)
		if len(open) == 0 {
			return
		}
		if left <= 0 || ctx.Err() != nil {
			for _, c := range open {
				c.end(ctx.Err() == nil && c.connected())
			}
			return
		}
		n, err := unix.Poll(fds, max(1, int(left.Milliseconds())))
		if n <= 0 || err != nil {
			continue // EINTR, or the deadline
		}
		for i, fd := range fds {
			if fd.Revents != 0 {
				open[i].receive()
			}
		}
	}
}

// receive takes what has come, and ends the call after a line.
func (c *call) receive() {
	var buf [bannerLen]byte
	n, err := unix.Read(c.fd, buf[:bannerLen-len(c.heard)])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return
	case err != nil: // ECONNREFUSED: nobody is there any more
		c.end(len(c.heard) > 0)
		return
	}
	c.heard = append(c.heard, buf[:n]...)
	if n == 0 || len(c.heard) == bannerLen || bytes.IndexByte(c.heard, '\n') >= 0 {
		c.end(true)
	}
}

// connected reports whether the server's kernel took the connection.
func (c *call) connected() bool {
	_, err := unix.Getpeername(c.fd)
	return err == nil
}

// banner is the line that was heard: the one that says SSH, should others come
// before it (RFC 4253, 4.2), else the first. What is not UTF-8 is U+FFFD.
func (c *call) banner() string {
	text := strings.ToValidUTF8(string(c.heard), "\uFFFD")
	first, _, _ := strings.Cut(text, "\n")
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "SSH-") {
			first = line
			break
		}
	}
	return strings.TrimRight(first, "\r\n")
}
