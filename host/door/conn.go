package door

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"casco/internal/apicall"
	"casco/internal/room"
	"casco/lang"
)

// A conn is a client's connection.
type conn struct {
	net.Conn
	door *door
	who  apicall.Caller
	in   *reader

	// lease gives back the room that the request takes which is under way. Only
	// who serves the connection uses it.
	lease lease

	// idleSince is when it began to wait for a request, in Unix nanoseconds; 0
	// while it has one; evicted.
	idleSince atomic.Int64
	asked     atomic.Bool // for something, once

	mu     sync.Mutex // guards what follows
	engine *engine    // the one in use, or kept for the next request
	isCut  bool
	waits  bool // for the first byte of a request
}

// An engine is a connection to it. One that an answer left in good order serves
// the client's next request; each client has its own.
type engine struct {
	*net.UnixConn
	in   *reader
	used bool // has answered a request before
}

// cut ends the connection and what it has under way.
func (c *conn) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.isCut = true
	c.Close()
	if c.engine != nil {
		c.engine.Close()
	}
}

// keep makes e the engine's end of this connection; nil if there is none now.
func (c *conn) keep(e *engine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.engine = e; e != nil && c.isCut {
		e.Close()
	}
}

// kept is the engine's end that was kept, if it is still good.
func (c *conn) kept() *engine {
	c.mu.Lock()
	e := c.engine
	c.mu.Unlock()
	if e == nil || e.in.quiet() {
		return e
	}
	c.drop(e)
	return nil
}

// drop closes the engine's end.
func (c *conn) drop(e *engine) {
	e.Close()
	e.in.release()
	c.keep(nil)
}

// serve answers one request after the other. What a client sends before it was
// answered waits in its socket, and nothing of it is looked at.
func (c *conn) serve(ctx context.Context) {
	defer c.cut()
	defer func() { c.lease.give() }()
	for {
		h, err := c.next()
		if p, ok := errors.AsType[*problem](err); ok {
			began := time.Now()
			if c.refuse(p, "", false) == nil {
				c.linger()
			}
			c.door.book.write(Record{Request: apicall.Request{Caller: c.who}, Status: p.status, Began: began, Over: true, Err: err, Full: p.full})
		}
		if errors.Is(err, errHandOn) {
			if err := c.door.HandOn(c.Conn.(*net.UnixConn)); err != nil {
				c.door.Log.Warn("door: a connection was not handed on", "err", err)
			}
		}
		if err != nil || !c.exchange(ctx, h) {
			return
		}
		c.lease.give()
	}
}

var (
	errEvicted  = errors.New("closed in favour of others")
	errHandOn   = errors.New("is for the next door")
	errSlowHead = trouble(http.StatusRequestTimeout, lang.Text{
		En: "the request's head did not arrive in time",
		Es: "la cabecera de la petición no llegó a tiempo",
	})
)

// next waits for a request's head.
func (c *conn) next() (*head, error) {
	now := time.Now()
	if !c.idleSince.CompareAndSwap(0, now.UnixNano()) || c.door.roster.ends(c) {
		return nil, errEvicted
	}
	if len(c.in.waiting()) == 0 {
		if err := c.await(now.Add(c.door.IdleTime)); err != nil {
			return nil, err
		}
	}
	c.SetReadDeadline(time.Now().Add(c.door.HeadTime))
	b, err := c.in.head(c.door.MaxHead, func() error { return c.take(c.door.Held, int64(c.door.MaxHead)) })
	if !c.idleSince.CompareAndSwap(now.UnixNano(), 0) {
		return nil, errEvicted
	}
	c.asked.Store(true)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errSlowHead
	}
	if err != nil {
		return nil, err
	}
	c.SetReadDeadline(time.Time{})
	h, err := parseRequest(b)
	c.in.discard(len(b))
	return h, err
}

// take takes room for n bytes that come from the client, until the engine has
// them, and for what is made of them.
func (c *conn) take(from *room.Room, n int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.door.RoomTime)
	defer cancel()
	give, err := from.Take(ctx, callerKey(c.who), isRoot(c.who), copies*n)
	switch {
	case errors.Is(err, room.ErrOwn):
		return errRoomOwn
	case err != nil:
		return errRoomAll
	}
	c.lease = append(c.lease, give)
	return nil
}

// copies is how often what a client sends is here: as it came, and in another form.
const copies = 3

var (
	errRoomOwn = noRoom(http.StatusTooManyRequests, lang.Text{
		En: "too much of what this caller sent waits to be judged or sent on; try again, with fewer requests at a time",
		Es: "demasiado de lo que envió quien llama espera a ser juzgado o pasado; inténtelo de nuevo, con menos peticiones a la vez",
	})
	errRoomAll = noRoom(http.StatusServiceUnavailable, lang.Text{
		En: "too much of what callers sent waits to be judged or sent on; try again",
		Es: "demasiado de lo que se envió espera a ser juzgado o pasado; inténtelo de nuevo",
	})
)

// A lease is room that was taken.
type lease []func()

func (l *lease) give() {
	for _, give := range *l {
		give()
	}
	*l = nil
}

// await waits for the first byte of a request. The error is errHandOn if the
// connection is to wait at another door.
func (c *conn) await(until time.Time) error {
	_, local := c.Conn.(*net.UnixConn)
	for {
		c.mu.Lock()
		c.waits = true
		c.SetReadDeadline(until)
		c.mu.Unlock()
		if local && c.door.roster.isHandingOn() {
			return errHandOn
		}
		err := c.in.fill()
		c.mu.Lock()
		c.waits = false
		c.mu.Unlock()
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().After(until) {
			return err
		}
	}
}

// wake has a connection look up that waits for a request.
func (c *conn) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waits {
		c.SetReadDeadline(time.Unix(1, 0))
	}
}

// refusing is how long a client may take to read that it is refused.
const refusing = 5 * time.Second

// refuse answers in the engine's own way, {"message": "…"}, and says whether the
// connection is kept.
func (c *conn) refuse(p *problem, method string, keep bool) error {
	body, err := json.Marshal(map[string]string{"message": lang.Say(p.err, c.door.Lang)})
	if err != nil {
		return err
	}
	body = append(body, '\n')
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", p.status, http.StatusText(p.status), len(body))
	if !keep {
		b.WriteString("Connection: close\r\n")
	}
	b.WriteString("\r\n")
	if method != http.MethodHead {
		b.Write(body)
	}
	c.SetWriteDeadline(time.Now().Add(refusing))
	defer c.SetWriteDeadline(time.Time{})
	_, err = c.Write(b.Bytes())
	return err
}

// lingering is how long a client may go on sending what nobody reads any more:
// if it were cut off at once, it could not read its answer (as in net/http:
// rstAvoidanceDelay).
const lingering = 500 * time.Millisecond

func (c *conn) linger() {
	closeWrite(c.Conn)
	c.SetReadDeadline(time.Now().Add(lingering))
	for c.in.fill() == nil {
		c.in.discard(len(c.in.waiting()))
	}
}

// closeWrite tells the other side that it will be sent no more.
func closeWrite(c net.Conn) {
	if c, ok := c.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	}
}
