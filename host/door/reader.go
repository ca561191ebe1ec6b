package door

import (
	"bytes"
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// bufferSize is how much is read at a time: what the kernel lets wait in a unix
	// socket is 208 KiB (net.core.wmem_default), some of it overhead. A GiB of
	// chunks cost 0.45 s of processor time with 64 KiB, and 0.36 s with 128.
	bufferSize = 128 << 10
	// recordSize is the longest record of TLS (RFC 8446, 5.1).
	recordSize = 16 << 10
)

type buffer [bufferSize]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// A reader reads a connection. It has a buffer only while there are bytes in it:
// most connections wait most of the time. Where it cannot wait without one
// (TLS), it keeps it.
type reader struct {
	conn   net.Conn
	raw    syscall.RawConn // nil for TLS
	pooled *buffer         // what buf is part of; nil if buf was made larger
	buf    []byte
	r, w   int // buf[r:w] was read and is not used yet

	n   int // what the last attempt said
	err error
	try func(fd uintptr) bool
}

func newReader(c net.Conn) *reader {
	r := &reader{conn: c}
	if u, ok := c.(*net.UnixConn); ok {
		if raw, err := u.SyscallConn(); err == nil {
			r.raw, r.try = raw, r.attempt
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
		buffers.Put(r.pooled)
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
		r.pooled = buffers.Get().(*buffer)
		r.buf = r.pooled[:]
	case r.w < len(r.buf):
	case r.r > 0:
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	default:
		larger := make([]byte, 2*len(r.buf))
		copy(larger, r.buf)
		if r.pooled != nil {
			buffers.Put(r.pooled)
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
// same bytes may see two different heads.
func (r *reader) head(limit int) ([]byte, error) {
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
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
}
