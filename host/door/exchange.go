package door

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"

	"casco/internal/apicall"
	"casco/internal/room"
	"casco/lang"
)

// An exchange is a request and its answer.
type exchange struct {
	*conn
	head   *head
	asked  apicall.Request
	record Record

	uri  string // that the engine is asked for
	body []byte // that is sent with the head
	read bool   // the body was read, and is not to be streamed
	anew bool   // the judge wrote it
	edit *apicall.Edit
	way  *way
}

// exchange answers one request, and reports whether the connection is good for
// another.
func (c *conn) exchange(ctx context.Context, h *head) bool {
	x := &exchange{conn: c, head: h, uri: h.uri}
	x.asked = apicall.Request{Caller: c.who, Method: h.method, URI: h.uri, ContentType: h.contentType}
	x.record = Record{Request: x.asked, Began: time.Now()}
	defer x.tell(true)
	_, err := wayOf(h, h.uri)
	if err == nil {
		err = x.judge(ctx)
	}
	if err == nil { // the judge may have written the path anew
		x.way, err = wayOf(h, x.uri)
	}
	if x.edit != nil {
		x.plain()
	}
	if err != nil {
		return x.refused(err, x.read || h.body == empty)
	}
	return x.pass(ctx)
}

// tell writes down what became of the request so far.
func (x *exchange) tell(over bool) {
	x.record.Over, x.record.Took = over, time.Since(x.record.Began)
	x.record.Verdict.Body, x.record.Verdict.Edit = nil, nil
	x.door.book.write(x.record)
}

// keepAnswer keeps as much of the answer's body as the judge wants.
func (x *exchange) keepAnswer(b []byte) {
	if room := x.record.Verdict.Keep - len(x.record.Answer); room > 0 {
		x.record.Answer = append(x.record.Answer, b[:min(len(b), room)]...)
	}
}

// refused answers that the engine was not asked, or did not answer.
func (x *exchange) refused(err error, keep bool) bool {
	x.record.Err = err
	p, ok := errors.AsType[*problem](err)
	if !ok { // the client is gone
		return false
	}
	keep = keep && !x.head.closes && !x.door.roster.isDraining()
	x.record.Status, x.record.Full = p.status, p.full
	err = x.refuse(p, x.head.method, keep)
	if err == nil && !keep {
		x.linger()
	}
	return err == nil && keep
}

// judge asks whether, and in which form, the request may go on.
func (x *exchange) judge(ctx context.Context) error {
	v, err := x.ask(ctx, x.door.Judge.Head)
	if err != nil {
		return err
	}
	if v.Stream {
		return nil
	}
	if x.body, err = x.readBody(v.Limit); err != nil {
		return err
	}
	x.read = true
	give, err := x.atWork(apicall.Judging(len(x.body)))
	if err != nil {
		return err
	}
	body := x.body
	v, err = x.ask(ctx, func(ctx context.Context, r apicall.Request) apicall.Verdict {
		defer give() // a judge that is late is still at it
		return x.door.Judge.Body(ctx, r, body)
	})
	if v.Body != nil {
		x.body, x.anew = v.Body, true
	}
	return err
}

// atWork takes room for what is worked out about the request, and returns what
// gives it back.
func (x *exchange) atWork(n int64) (give func(), err error) {
	ctx, cancel := context.WithTimeout(context.Background(), x.door.RoomTime)
	defer cancel()
	give, err = x.door.Work.Take(ctx, callerKey(x.who), isRoot(x.who), n)
	switch {
	case errors.Is(err, room.ErrOwn):
		return nil, errRoomOwn
	case err != nil:
		return nil, errRoomAll
	}
	return give, nil
}

// ask asks one half of the judge; a refusal is an error.
func (x *exchange) ask(ctx context.Context, half func(context.Context, apicall.Request) apicall.Verdict) (apicall.Verdict, error) {
	v, err := apicall.Ask(ctx, x.door.JudgeTime, x.door.Lang, func(ctx context.Context) apicall.Verdict { return half(ctx, x.asked) })
	x.record.Verdict = v
	if err != nil {
		x.door.Log.Error("door: "+err.Error(), "method", x.asked.Method, "path", x.asked.Path())
	}
	if !v.Allow {
		return v, &problem{status: v.Status, err: errors.New(v.Message)}
	}
	x.edit = v.Edit
	if v.URI != "" {
		if x.uri = v.URI; !isTarget(x.uri) {
			return v, trouble(http.StatusInternalServerError, lang.Text{En: "casco made no good path of this request", Es: "casco no hizo una buena ruta de esta petición"})
		}
	}
	return v, nil
}

// readBody reads the whole body, without its chunks, for the judge.
func (x *exchange) readBody(limit int64) ([]byte, error) {
	tooLong := noRoom(http.StatusRequestEntityTooLarge, lang.Text{
		En: "casco: the request's body is longer than the %d bytes that are judged (request-size)",
		Es: "casco: el cuerpo de la petición es más largo que los %d bytes que se juzgan (request-size)",
	}, limit)
	f := framed(x.head.body, x.head.length)
	if f.left > limit {
		return nil, tooLong
	}
	if f.over {
		return []byte{}, nil
	}
	most := limit
	if f.kind == counted {
		most = f.left
	}
	if err := x.take(x.door.Held, most); err != nil {
		return nil, err
	}
	if x.head.expects {
		if _, err := x.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
			return nil, err
		}
	}
	body := make([]byte, 0, f.left)
	f.data = func(b []byte) { body = append(body, b...) }
	x.SetReadDeadline(time.Now().Add(x.door.BodyTime))
	defer x.SetReadDeadline(time.Time{})
	for !f.over {
		if len(x.in.waiting()) == 0 {
			if err := x.in.fill(); errors.Is(err, os.ErrDeadlineExceeded) {
				return nil, trouble(http.StatusRequestTimeout, lang.Text{
					En: "the request's body did not arrive in time",
					Es: "el cuerpo de la petición no llegó a tiempo",
				})
			} else if err != nil {
				return nil, err
			}
		}
		n, err := f.scan(x.in.waiting())
		x.in.discard(n)
		if err != nil {
			return nil, err
		}
		if int64(len(body)) > limit {
			return nil, tooLong
		}
	}
	return body, nil
}

// dial connects to the engine.
func (x *exchange) dial(ctx context.Context) (*engine, error) {
	ctx, cancel := context.WithTimeout(ctx, x.door.DialTime)
	defer cancel()
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", x.door.Engine)
	if err != nil {
		return nil, trouble(http.StatusServiceUnavailable, lang.Text{
			En: "the engine behind this socket does not take connections; is it running? %w",
			Es: "el motor detrás de este socket no acepta conexiones; ¿está en marcha? %w",
		}, cause(err))
	}
	e := &engine{UnixConn: nc.(*net.UnixConn), in: newReader(nc, &engineBuffers)}
	x.keep(e)
	return e, nil
}

// cause leaves out the path of the engine's socket, which is not for everybody.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// pass sends the request on and the answer back. An engine that was restarted
// may hang up a kept connection just when it is used again: what only reads is
// then asked anew, once, and all else is not, for nobody knows whether it was
// done.
func (x *exchange) pass(ctx context.Context) bool {
	for {
		e := x.kept()
		if e == nil {
			var err error
			if e, err = x.dial(ctx); err != nil {
				return x.refused(err, x.read || x.head.body == empty)
			}
		}
		again, good := x.through(e)
		if !again {
			return good
		}
	}
}

// through sends the request to e and the answer back. It reports whether to ask
// again, and whether the client's connection is good for another request.
func (x *exchange) through(e *engine) (again, good bool) {
	length, body := int64(-1), framed(x.head.body, x.head.length)
	if x.read {
		length, body = int64(len(x.body)), framed(empty, 0)
	}
	repeat := e.used && body.over && len(x.body) == 0 && (x.head.method == http.MethodGet || x.head.method == http.MethodHead)
	e.used = true
	pass := ""
	if x.door.Pass != nil {
		pass = x.door.Pass(x.asked)
	}
	sent := net.Buffers{x.head.request(x.uri, length, x.anew, x.long(), pass), x.body}
	if _, err := sent.WriteTo(e.UnixConn); err != nil {
		x.drop(e)
		if repeat {
			return true, false
		}
		return false, x.refused(hungUp(err), x.read || body.over)
	}
	x.record.Up = int64(len(x.body))
	if !repeat { // the engine has it
		x.body, x.head.fields = nil, nil
		x.lease.give()
	}
	u := newUplink(x.conn, e, body, x.way != nil)
	over, err := x.answer(e, u)
	over = over && err == nil && u.finishes()
	if !over {
		x.drop(e)
	}
	whole := u.stop(err == nil)
	x.record.Up += u.sent
	switch {
	case over && whole:
		return false, !x.door.roster.isDraining()
	case over:
		x.drop(e)
		fallthrough
	case err == nil:
		if !u.switched {
			x.linger()
		}
		return false, false
	case u.err != nil && x.record.Status == 0: // the client did not send what it said
		return false, x.refused(u.err, false)
	case u.ended || x.record.Status != 0:
		// Nobody waits for an answer, or it had begun: that it is not whole, its
		// client learns by its end.
		x.record.Err = err
		return false, false
	case repeat && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		return true, false
	}
	return false, x.refused(err, whole)
}

// archives are what is asked of an engine for an answer that is long and of a
// length that it does not know before: docker save, export, cp.
var archives = regexp.MustCompile(`^(/v[0-9.]+)?/(images/get|images/.+/get|containers/[^/]+/(export|archive))$`)

// long reports whether the answer may be long. The engine is then asked to close
// the connection after it, and the kernel moves all up to there: a GiB costs the
// door 0.2 s of processor time, and 0.3 s if the size of each chunk is looked at.
func (x *exchange) long() bool {
	path, _, _ := strings.Cut(x.uri, "?")
	return x.head.method == http.MethodGet && x.in.raw != nil && archives.MatchString(path)
}

func hungUp(err error) error {
	return trouble(http.StatusBadGateway, lang.Text{
		En: "the engine ended the connection before it answered; was it restarted? %w",
		Es: "el motor terminó la conexión antes de responder; ¿se reinició? %w",
	}, cause(err))
}

// maxAnswerHead bounds the head of an answer, as Go's client does.
const maxAnswerHead = 10 << 20

// answer passes the answer on as it comes. It reports whether the connection is
// good for another request.
func (x *exchange) answer(e *engine, u *uplink) (over bool, err error) {
	defer u.decide(false)
	in := e.in
	var res *head
	var length int
	for {
		b, err := in.head(maxAnswerHead, nil)
		if err != nil {
			return false, hungUp(err)
		}
		if res, err = parseResponse(b, x.head.method); err != nil {
			return false, err
		}
		length = len(b)
		if res.status >= http.StatusOK || res.status == http.StatusSwitchingProtocols {
			break
		}
		if _, err := x.Write(b); err != nil {
			return false, err
		}
		in.discard(length)
	}
	f := framed(res.body, res.length)
	if res.closes && res.body == chunked && x.record.Verdict.Keep == 0 {
		f = framed(open, 0) // whoever reads it finds its end, or that it has none
	}
	if res.status/100 == 2 {
		f.data = x.keepAnswer
	}
	if x.way.switches(x.head, res) {
		f = framed(open, 0)
		u.decide(true)
	} else if res.status == http.StatusSwitchingProtocols {
		return false, trouble(http.StatusBadGateway, lang.Text{En: "the engine switched protocols unasked", Es: "el motor cambió de protocolo sin que se le pidiera"})
	}
	if x.edit != nil && res.body != empty && res.status/100 == 2 {
		return x.edited(in, res, length)
	}
	x.record.Status = res.status
	if u.switched {
		x.record.Switched = true
		x.tell(false)
	}
	n, err := pump(x.Conn, in, length, f)
	x.record.Down = max(n-int64(length), 0)
	if err != nil {
		return false, err
	}
	if u.switched {
		x.ended(in, u)
		return false, nil
	}
	return f.kind != open && !res.closes && !x.head.closes && res.minor == 1, nil
}

// ended tells the client that the engine will send no more. If it only said so,
// it may still read; if it closed, nobody does.
func (x *exchange) ended(in *reader, u *uplink) {
	if in.gone() {
		x.Close()
	} else {
		closeWrite(x.Conn)
	}
	<-u.done
}
