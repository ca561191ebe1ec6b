package door

import (
	"bytes"
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// How much is read at a time. Only as much as comes first is read by it: the kernel
// moves the rest (see flood). Every connection may have one that waits to be
// sent on, so they are small.
const (
	// clientBuffer holds a head, and mostly the body of a request to create.
	clientBuffer = 8 << 10
	// engineBuffer holds most answers: a container that is inspected has some KiB.
	engineBuffer = 16 << 10
	// recordSize is the longest record of TLS (RFC 8446, 5.1).
	recordSize = 16 << 10
)

var (
	clientBuffers = sync.Pool{New: func() any { return new([clientBuffer]byte) }}
	engineBuffers = sync.Pool{New: func() any { return new([engineBuffer]byte) }}
)

// A reader reads a connection. It has a buffer only while there are bytes in it:
// most connections wait most of the time. Where it cannot wait without one
// (TLS), it keeps it.
type reader struct {
	conn   net.Conn
	raw    syscall.RawConn // nil for TLS
	pool   *sync.Pool      // whose buffers it uses; nil for TLS
	pooled any             // what buf is part of; nil if buf was made larger
	buf    []byte
	r, w   int // buf[r:w] was read and is not used yet

	n   int // what the last attempt said
	err error
	try func(fd uintptr) bool
}

// newReader is one of a client's connection, or of one to the engine.
func newReader(c net.Conn, pool *sync.Pool) *reader {
	r := &reader{conn: c}
	if u, ok := c.(*net.UnixConn); ok {
		if raw, err := u.SyscallConn(); err == nil {
			r.raw, r.pool, r.try = raw, pool, r.attempt
		}
	}
	return r
}

// waiting are the bytes that were read and not used. They are good until the
// next fill or discard.
func (r *reader) waiting() []byte { return r.buf[r.r:r.w] }

// discard takes n bytes from those that wait.
func (r *reader) discard(n int) {
	if r.r += n; r.r == r.w {
		r.release()
	}
}

// release gives an empty buffer back.
func (r *reader) release() {
	if r.r != r.w {
		return
	}
	if r.pooled != nil {
		r.pool.Put(r.pooled)
	}
	r.pooled, r.r, r.w = nil, 0, 0
	if r.raw != nil || len(r.buf) > recordSize {
		r.buf = nil
	}
}

// room makes room for more bytes.
func (r *reader) room() {
	switch {
	case r.buf == nil && r.raw == nil:
		r.buf = make([]byte, recordSize)
	case r.buf == nil:
		r.pooled = r.pool.Get()
		switch b := r.pooled.(type) {
		case *[clientBuffer]byte:
			r.buf = b[:]
		case *[engineBuffer]byte:
			r.buf = b[:]
		}
	case r.w < len(r.buf):
	case r.r > 0:
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	default:
		larger := make([]byte, 2*len(r.buf))
		copy(larger, r.buf)
		if r.pooled != nil {
			r.pool.Put(r.pooled)
		}
		r.pooled, r.buf = nil, larger
	}
}

// fill waits for bytes and reads some. The error is io.EOF at the end, and
// os.ErrDeadlineExceeded at the connection's deadline.
func (r *reader) fill() error {
	if r.raw == nil {
		r.room()
		n, err := r.conn.Read(r.buf[r.w:])
		r.w += n
		if n > 0 {
			return nil
		}
		r.release()
		return err
	}
	if err := r.raw.Read(r.try); err != nil {
		r.release()
		return err
	}
	if r.n > 0 {
		r.w += r.n
		return nil
	}
	r.release()
	if r.err != nil {
		return r.err
	}
	return io.EOF
}

// attempt is called by the runtime whenever the descriptor may be readable.
func (r *reader) attempt(fd uintptr) bool {
	r.room()
	for {
		r.n, r.err = unix.Read(int(fd), r.buf[r.w:])
		if r.err != unix.EINTR {
			break
		}
	}
	if r.err == unix.EAGAIN {
		r.release()
		return false
	}
	r.n = max(r.n, 0)
	return true
}

// gone reports whether the other side has closed its end altogether, and not
// only said that it will send no more (shutdown(2), poll(2): POLLHUP). Only a
// unix socket can tell.
func (r *reader) gone() bool {
	if r.raw == nil {
		return false
	}
	p := []unix.PollFd{{}}
	err := r.raw.Control(func(fd uintptr) {
		p[0].Fd = int32(fd)
		unix.Poll(p, 0)
	})
	return err != nil || p[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
}

// quiet reports whether nothing has come and the other side is there: that is
// how a kept connection waits. Only a unix socket can tell.
func (r *reader) quiet() bool {
	if r.raw == nil || r.r != r.w {
		return false
	}
	quiet := false
	err := r.raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		quiet = err == unix.EAGAIN
	})
	return err == nil && quiet
}

// head waits for a whole head, the empty line included, and returns it without
// using it up. A line that does not end in CR LF is refused as soon as it is
// there: RFC 9112, 2.2 lets a server take a bare LF, and then two readers of the
// same bytes may see two different heads. Before one is read that needs more than
// a first buffer, long is called; its error ends the reading.
func (r *reader) head(limit int, long func() error) ([]byte, error) {
	line := 0 // where the line begins that is looked at
	for {
		b := r.waiting()
		for {
			n := bytes.IndexByte(b[line:], '\n')
			if n < 0 {
				break
			}
			if n == 0 || b[line+n-1] != '\r' {
				return nil, errBareLF
			}
			if line += n + 1; n == 1 {
				return b[:line], nil
			}
		}
		if len(b) >= limit {
			return nil, errLongHead
		}
		if len(b) > 0 && len(b) == len(r.buf) && long != nil {
			if err := long(); err != nil {
				return nil, err
			}
			long = nil
		}
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
}
