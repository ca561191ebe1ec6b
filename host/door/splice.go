package door

import (
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// A channel is a pipe through which the kernel moves bytes from one socket to
// another without copying them (splice(2)). It is empty between two moves.
type channel struct {
	from, to syscall.RawConn
	r, w     int
}

// channelSize is what a pipe may hold: the default limit for everybody, pipe(7).
const channelSize = 1 << 20

// newChannel makes one, if both ends are unix sockets.
func newChannel(to io.Writer, from *reader) *channel {
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
	return &channel{from.raw, raw, p[0], p[1]}
}

func (c *channel) close() {
	unix.Close(c.r)
	unix.Close(c.w)
}

// move moves what has come, limit bytes at most, and waits if nothing has. It
// returns how many bytes it took. The error is io.EOF at the end, or a
// *writeError: what was taken may then be lost.
func (c *channel) move(limit int64) (int64, error) {
	n, err := splice(c.from.Read, limit, func(fd, max int) (int64, error) {
		return unix.Splice(fd, nil, c.w, nil, max, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	})
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, io.EOF
	}
	for left := n; left > 0; {
		m, err := splice(c.to.Write, left, func(fd, max int) (int64, error) {
			return unix.Splice(c.r, nil, fd, nil, max, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		})
		if err == nil && m == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return n, &writeError{err}
		}
		left -= m
	}
	return n, nil
}

// splice calls do with a socket when that is ready.
func splice(ready func(func(uintptr) bool) error, limit int64, do func(fd, max int) (int64, error)) (n int64, err error) {
	max := int(min(limit, channelSize))
	readyErr := ready(func(fd uintptr) bool {
		for {
			if n, err = do(int(fd), max); err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if readyErr != nil {
		return 0, readyErr
	}
	return n, err
}
