package door

import (
	"math"

	"casco/lang"
)

// A framing finds where the body of a message ends, in the bytes as they come
// (RFC 9112, 6). It changes nothing, so a body is sent on byte for byte; what
// could be read in two ways is an error before it is sent on.
type framing struct {
	kind kind
	left int64 // of the body, or of the chunk
	over bool  // the message has ended

	state chunkState
	size  int          // digits of the chunk's size, bytes of the trailers
	data  func([]byte) // is given the body without its chunks, if it is not nil
}

type kind uint8

const (
	empty   kind = iota
	counted      // Content-Length
	chunked      // Transfer-Encoding: chunked
	open         // all until the connection ends
)

func framed(k kind, length int64) *framing {
	return &framing{kind: k, left: length, over: k == empty || k == counted && length == 0}
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	trailerStart
	trailerName
	trailerValue
	trailerLF
	lastLF
)

const (
	// maxSizeDigits keeps a chunk's size below 2^60.
	maxSizeDigits = 15
	// maxTrailers bounds what follows the last chunk; no client of the engine
	// sends any.
	maxTrailers = 8 << 10
)

var errChunk = badRequest(lang.Text{
	En: "the request's body is not chunked as RFC 9112 says",
	Es: "el cuerpo de la petición no está dividido como dice la RFC 9112",
})

// scan says how many of the bytes in b belong to the body; fewer than all only
// if it is over.
func (f *framing) scan(b []byte) (n int, err error) {
	switch {
	case f.over:
		return 0, nil
	case f.kind == open:
		f.give(b)
		return len(b), nil
	case f.kind == counted:
		n = int(min(int64(len(b)), f.left))
		f.give(b[:n])
		f.left -= int64(n)
		f.over = f.left == 0
		return n, nil
	}
	for n < len(b) && !f.over {
		if f.state == chunkData {
			m := int(min(int64(len(b)-n), f.left))
			f.give(b[n : n+m])
			n += m
			if f.left -= int64(m); f.left == 0 {
				f.state = chunkDataCR
			}
			continue
		}
		if !f.step(b[n]) {
			return n, errChunk
		}
		n++
	}
	return n, nil
}

// unseen is how many of the bytes that come next belong to the body whatever they
// are; they need not be scanned, but skipped.
func (f *framing) unseen() int64 {
	switch {
	case f.over:
		return 0
	case f.kind == open:
		return math.MaxInt64 >> 1
	case f.kind == counted || f.state == chunkData:
		return f.left
	}
	return 0
}

// skip says that n of the unseen bytes have passed.
func (f *framing) skip(n int64) {
	if f.kind == open || n == 0 {
		return
	}
	if f.left -= n; f.left > 0 {
		return
	}
	if f.over = f.kind == counted; !f.over {
		f.state = chunkDataCR
	}
}

// step takes one byte that is not data. No chunk extensions: the engine does not
// know any, and readers differ in where they end.
func (f *framing) step(c byte) bool {
	switch f.state {
	case chunkSize:
		return f.digit(c)
	case chunkSizeLF:
		f.state, f.size = chunkData, 0
		if f.left == 0 {
			f.state = trailerStart
		}
		return c == '\n'
	case chunkDataCR:
		f.state = chunkDataLF
		return c == '\r'
	case chunkDataLF:
		f.state = chunkSize
		return c == '\n'
	}
	return f.trailer(c)
}

func (f *framing) digit(c byte) bool {
	var v byte
	switch {
	case c == '\r' && f.size > 0:
		f.state = chunkSizeLF
		return true
	case '0' <= c && c <= '9':
		v = c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		v = c | 0x20 - 'a' + 10
	default:
		return false
	}
	f.left = f.left<<4 | int64(v)
	f.size++
	return f.size <= maxSizeDigits
}

func (f *framing) trailer(c byte) bool {
	f.size++
	if f.size > maxTrailers {
		return false
	}
	switch f.state {
	case trailerStart:
		if c == '\r' {
			f.state = lastLF
			return true
		}
		f.state = trailerName
		return isToken(c)
	case trailerName:
		if c == ':' {
			f.state = trailerValue
			return true
		}
		return isToken(c)
	case trailerValue:
		if c == '\r' {
			f.state = trailerLF
			return true
		}
		return isValue(c)
	case trailerLF:
		f.state = trailerStart
		return c == '\n'
	}
	f.over = true // lastLF
	return c == '\n'
}

func (f *framing) give(b []byte) {
	if f.data != nil && len(b) > 0 {
		f.data(b)
	}
}
