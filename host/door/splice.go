package door

import (
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A channel is a pipe through which the kernel moves bytes from one socket to
// another without copying them here (splice(2)). It is empty between two moves.
// Of a chunked body the sizes are looked at while they still wait in the socket
// (MSG_PEEK), so nothing is sent on that f has not let pass.
type channel struct {
	from, to syscall.RawConn
	r, w     int
	f        *framing

	seen int64 // bytes that f has let pass and that still wait in the socket
	n    int64 // what the last attempt took, or has still to give
	err  error
	// take and give, as values: an attempt makes no garbage.
	taking, giving func(fd uintptr) bool
}

const (
	// channelSize is what a pipe may hold: the default limit for everybody, pipe(7).
	channelSize = 1 << 20
	// flood is after how much of a body a channel is worth its pipe.
	flood = 256 << 10
	// A sender that writes in small pieces is met by a reader that is always
	// there, and both wake each other for each piece. A channel that took less than
	// little lets pieces gather for a moment: a socket holds 208 KiB
	// (net.core.wmem_default), which a sender of 1 GB/s does not fill meanwhile.
	little = 64 << 10
	moment = 50 * time.Microsecond
	// looked is how much is looked at: a chunk's end, the size of the next, and
	// little of its data.
	looked = 64
)

// newChannel makes one, if both ends are unix sockets.
func newChannel(to io.Writer, from *reader, f *framing) *channel {
	u, ok := to.(*net.UnixConn)
	if !ok || from.raw == nil {
		return nil
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil
	}
	p := make([]int, 2)
	if unix.Pipe2(p, unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	unix.FcntlInt(uintptr(p[0]), unix.F_SETPIPE_SZ, channelSize) // less will do
	c := &channel{from: from.raw, to: raw, r: p[0], w: p[1], f: f}
	c.taking, c.giving = c.take, c.give
	return c
}

func (c *channel) close() {
	unix.Close(c.r)
	unix.Close(c.w)
}

// over reports whether all of the body was moved.
func (c *channel) over() bool { return c.f.over && c.seen == 0 }

// move moves what has come, and waits if nothing has. It returns how many bytes
// it took. The error is io.EOF at the end, a *problem of the framing, or a
// *writeError: what was taken may then be lost.
func (c *channel) move() (int64, error) {
	if err := c.from.Read(c.taking); err != nil {
		return 0, err
	}
	took, err := c.n, c.err
	for c.n > 0 {
		werr := c.to.Write(c.giving)
		if werr = errors.Join(werr, c.err); werr != nil {
			c.forget()
			return took, &writeError{werr}
		}
	}
	return took, err
}

// take fills the pipe with what has come. It reports whether to stop waiting.
func (c *channel) take(fd uintptr) bool {
	c.n, c.err = 0, nil
	for c.n < channelSize && !c.over() {
		if c.seen == 0 && c.f.unseen() == 0 {
			if c.err = c.look(int(fd)); c.err != nil {
				break
			}
		}
		var n int64
		n, c.err = unix.Splice(int(fd), nil, c.w, nil, int(min(channelSize-c.n, c.seen+c.f.unseen())), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if c.err == unix.EINTR {
			continue
		}
		if c.err == nil && n == 0 {
			c.err = io.EOF
		}
		if c.err != nil {
			break
		}
		c.n += n
		known := min(n, c.seen)
		c.seen -= known
		c.f.skip(n - known)
	}
	if c.err == unix.EAGAIN { // nothing waits, or the pipe is full
		c.err = nil
		return c.n > 0
	}
	return true
}

// look has f see the next bytes that wait, without taking them.
func (c *channel) look(fd int) error {
	var b [looked]byte
	for {
		n, _, err := unix.Recvfrom(fd, b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return err
		case n == 0:
			return io.EOF
		}
		n, err = c.f.scan(b[:n])
		c.seen = int64(n)
		return err
	}
}

// forget takes from the socket what f has seen already.
func (c *channel) forget() {
	c.from.Control(func(fd uintptr) {
		b := make([]byte, looked)
		for c.seen > 0 {
			n, _, err := unix.Recvfrom(int(fd), b[:c.seen], unix.MSG_DONTWAIT)
			if err != nil || n == 0 {
				return
			}
			c.seen -= int64(n)
		}
	})
}

// give empties the pipe. It reports whether to stop waiting.
func (c *channel) give(fd uintptr) bool {
	var n int64
	for {
		n, c.err = unix.Splice(c.r, nil, int(fd), nil, int(c.n), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if c.err == unix.EINTR {
			continue
		}
		if c.err == unix.EAGAIN {
			return false
		}
		if c.err == nil && n == 0 {
			c.err = io.ErrShortWrite
		}
		if c.n -= max(n, 0); c.err != nil || c.n == 0 {
			return true
		}
	}
}

// rest waits for a moment. The runtime's own timers are too coarse for it.
func rest() {
	t := unix.NsecToTimespec(moment.Nanoseconds())
	unix.Nanosleep(&t, nil)
}
