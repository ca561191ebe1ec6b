package door

import (
	"errors"
	"io"
	"time"
)

// An uplink carries to the engine what the client sends: the rest of a request,
// then either that the client has gone, or all that it sends once the connection
// was switched. It alone reads from the client until it is stopped.
type uplink struct {
	c      *conn
	engine *engine
	body   *framing
	idle   bool        // there is no body to send, and the connection cannot be switched
	later  *time.Timer // starts one that is idle

	bodyOver chan struct{} // closed once the body was read
	decided  chan struct{} // closed once it is known whether the connection is switched
	switched bool          // good once decided

	// Good once done is closed.
	done  chan struct{}
	sent  int64
	ended bool  // the client sends no more
	err   error // a body that is not one
}

// watchAfter is when a client that has sent all of its request begins to be
// watched: most have their answer by then.
const watchAfter = 20 * time.Millisecond

// newUplink starts one. The connection may be switched if there is a way.
func newUplink(c *conn, e *engine, body *framing, way bool) *uplink {
	u := &uplink{c: c, engine: e, body: body, idle: body.over && !way, bodyOver: make(chan struct{}), decided: make(chan struct{}), done: make(chan struct{})}
	if u.idle {
		close(u.bodyOver)
		u.later = time.AfterFunc(watchAfter, u.run)
	} else {
		go u.run()
	}
	return u
}

// tookBody reports whether all of the body was read.
func (u *uplink) tookBody() bool {
	select {
	case <-u.bodyOver:
		return true
	default:
		return false
	}
}

// finishes is tookBody of an engine that has answered: one that had all of the
// body may do so before the uplink gets to say it.
func (u *uplink) finishes() bool {
	select {
	case <-u.bodyOver:
	case <-u.done:
	case <-time.After(lingering):
	}
	return u.tookBody()
}

// decide says whether the connection is switched; the first word counts.
func (u *uplink) decide(switched bool) {
	select {
	case <-u.decided:
	default:
		u.switched = switched
		close(u.decided)
	}
}

// stop ends it once the answer is over, and reports whether it took all of the
// body and the client is still there. If it is patient, a client that is about to
// finish its body may.
func (u *uplink) stop(patient bool) bool {
	if u.idle && u.later.Stop() {
		return true
	}
	if patient {
		u.finishes()
	}
	past := time.Unix(1, 0)
	u.c.SetReadDeadline(past)
	<-u.done
	u.c.SetReadDeadline(time.Time{})
	return u.tookBody() && !u.ended && u.err == nil
}

func (u *uplink) run() {
	defer close(u.done)
	if !u.idle {
		if !u.sendBody() {
			return
		}
		close(u.bodyOver)
	}
	if len(u.c.in.waiting()) == 0 {
		if err := u.c.in.fill(); err != nil {
			u.over(err)
			return
		}
	}
	<-u.decided
	if !u.switched {
		return // it is the next request
	}
	n, err := pump(u.engine.UnixConn, u.c.in, 0, framed(open, 0))
	u.sent += n
	if err == nil {
		err = io.EOF
	}
	u.over(err)
}

// sendBody sends the body. If the engine does not take it, which it need not
// before it answers, the client may send it all the same.
func (u *uplink) sendBody() bool {
	n, err := pump(u.engine.UnixConn, u.c.in, 0, u.body)
	u.sent = n
	if errors.As(err, new(*writeError)) {
		_, err = pump(io.Discard, u.c.in, 0, u.body)
	}
	if err == nil {
		return true
	}
	if p, ok := errors.AsType[*problem](err); ok {
		u.err = p
		u.engine.Close()
		return false
	}
	u.over(err)
	return false
}

// over tells the engine that the client sends no more, or is gone. An uplink
// that was stopped tells nothing.
func (u *uplink) over(err error) {
	switch {
	case errors.As(err, new(*writeError)):
	case errors.Is(err, io.EOF) && !u.c.in.gone():
		u.ended = true
		u.engine.CloseWrite()
	case isTimeout(err):
	default:
		u.ended = true
		u.engine.Close()
	}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// A writeError is that of the side that is written to.
type writeError struct{ error }

func (e *writeError) Unwrap() error { return e.error }

// pump passes on what comes, as it comes, until f says that it is over. The
// first skip bytes that wait are no part of what f knows, and are passed on too.
// An end before is io.EOF, except where only the end is the end.
func pump(to io.Writer, from *reader, skip int, f *framing) (n int64, err error) {
	for {
		b := from.waiting()
		m, bad := f.scan(b[skip:])
		if bad != nil {
			return n, bad
		}
		m += skip
		if m > 0 {
			w, err := to.Write(b[:m])
			n += int64(w)
			from.discard(m)
			if err != nil {
				return n, &writeError{err}
			}
		}
		if skip = 0; f.over {
			return n, nil
		}
		if n >= flood {
			m, err := pour(to, from, f)
			if n += m; err != errNoChannel {
				return n, err
			}
		}
		if err := from.fill(); err != nil {
			return n, f.end(err)
		}
	}
}

// pour is pump for much, where nothing waits in the reader.
func pour(to io.Writer, from *reader, f *framing) (n int64, err error) {
	c := newChannel(to, from, f)
	if c == nil {
		return 0, errNoChannel
	}
	defer c.close()
	for !c.over() {
		m, err := c.move()
		n += m
		if err != nil {
			return n, f.end(err)
		}
		if m < little && !c.over() {
			rest()
		}
	}
	return n, nil
}

var errNoChannel = errors.New("not two unix sockets")

// end is what an error of reading means for the body.
func (f *framing) end(err error) error {
	if errors.Is(err, io.EOF) {
		if f.kind == open {
			return nil
		}
		return io.EOF
	}
	return err
}
