package image

import (
	"context"
	"io"
)

// An ahead reads a stream before it is asked to, so that who unpacks and hashes
// it and who looks into it do not wait for one another.
type ahead struct {
	full, free chan []byte
	err        error // why full was closed
	now, rest  []byte
	stop       context.CancelFunc
}

const (
	aheadParts = 8
	aheadSize  = 256 << 10 // bytes of a part
)

// readAhead begins to read r. The caller closes what it returns, which waits
// until r is no longer read.
func readAhead(ctx context.Context, r io.Reader) *ahead {
	ctx, stop := context.WithCancel(ctx)
	a := &ahead{full: make(chan []byte, aheadParts), free: make(chan []byte, aheadParts), stop: stop}
	for range aheadParts {
		a.free <- make([]byte, aheadSize)
	}
	go func() {
		defer close(a.full)
		for {
			var part []byte
			select {
			case part = <-a.free:
			case <-ctx.Done():
				a.err = ctx.Err()
				return
			}
			n, err := io.ReadFull(r, part[:aheadSize])
			if n > 0 {
				a.full <- part[:n] // there is room for every part
			}
			if err == io.ErrUnexpectedEOF {
				err = io.EOF
			}
			if err != nil {
				a.err = err
				return
			}
		}
	}()
	return a
}

func (a *ahead) Read(b []byte) (int, error) {
	if len(a.rest) == 0 {
		if a.now != nil {
			a.free <- a.now
			a.now = nil
		}
		part, ok := <-a.full
		if !ok {
			return 0, a.err
		}
		a.now, a.rest = part, part
	}
	n := copy(b, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

func (a *ahead) Close() {
	a.stop()
	for range a.full {
	}
}
