package door

import (
	"bytes"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"casco/lang"
)

const (
	// maxEdited bounds an answer that is changed as a whole, for all of it must be
	// here: what ten thousand volumes are has 4 MB. Lists are changed as they come.
	maxEdited = 16 << 20
	// maxLine bounds a line of a stream, and an element of a list. An event has the
	// labels of a container, of which a request can bring 1 MiB.
	maxLine = 2 << 20
	// littleEdited is an answer for which no room is taken, and someEdited one for
	// which not at once all is taken that one may need: a container has 10 kB.
	littleEdited = 16 << 10
	someEdited   = 1 << 20
	// timesEdited is how often an answer is here while it is changed: as it came, in
	// parts, and as it will be.
	timesEdited = 5
)

// plain makes the request one whose answer can be changed: not compressed, and
// not switched to another protocol.
func (x *exchange) plain() {
	x.way = nil
	x.head.fields = slices.DeleteFunc(x.head.fields, func(f field) bool { return strings.EqualFold(f.name, "accept-encoding") })
}

var errNotEdited = trouble(http.StatusBadGateway, lang.Text{
	En: "the engine's answer has what is not for this caller, and is not of a form in which that can be left out",
	Es: "la respuesta del motor tiene lo que no es para quien llama, y no tiene una forma en que se pueda quitar",
})

// edited changes an answer on its way, of which the head waits in in. It reports
// whether the connection is good for another request.
func (x *exchange) edited(in *reader, res *head, length int) (over bool, err error) {
	if !editable(res) {
		return false, errNotEdited
	}
	line, _, _ := bytes.Cut(in.waiting()[:length], crlf)
	first := string(line)
	in.discard(length)
	f := framed(res.body, res.length)
	switch {
	case x.edit.Lines:
		err = x.editLines(in, f, first, res)
	case x.edit.Elements:
		err = x.editElements(in, f, first, res)
	default:
		err = x.editAll(in, f, first, res)
	}
	return err == nil && res.body != open && !res.closes && !x.head.closes && res.minor == 1, err
}

// editable reports whether an answer is JSON that stands there as it is.
func editable(res *head) bool {
	form := ""
	for _, f := range res.fields {
		switch strings.ToLower(f.name) {
		case "content-encoding":
			if !strings.EqualFold(f.value, "identity") {
				return false
			}
		case "content-type":
			form, _, _ = mime.ParseMediaType(f.value)
		}
	}
	return slices.Contains([]string{"application/json", "application/jsonl", "application/x-ndjson", "application/json-seq"}, form)
}

// answerHead is the engine's head with another framing.
func answerHead(first string, res *head, framing string) []byte {
	var b bytes.Buffer
	b.WriteString(first + "\r\n")
	for _, f := range res.fields {
		switch strings.ToLower(f.name) {
		case "content-length", "transfer-encoding", "trailer":
		default:
			b.WriteString(f.name + ": " + f.value + "\r\n")
		}
	}
	b.WriteString(framing + "\r\n")
	return b.Bytes()
}

// editAll waits for the whole answer.
func (x *exchange) editAll(in *reader, f *framing, first string, res *head) error {
	var body []byte
	room, give := littleEdited, func() {}
	defer func() { give() }()
	f.data = func(b []byte) { body = append(body, b...) }
	err := f.each(in, func() (err error) {
		if len(body) > maxEdited {
			return trouble(http.StatusBadGateway, lang.Text{
				En: "the engine's answer has more than the %d bytes that can be looked through for this caller; ask for less",
				Es: "la respuesta del motor tiene más de los %d bytes que se pueden revisar para quien llama; pida menos",
			}, maxEdited)
		}
		for len(body) > room {
			// What is held while more is waited for could keep others from theirs.
			give()
			if room = maxEdited; len(body) <= someEdited {
				room = someEdited
			}
			if give, err = x.atWork(timesEdited * int64(room)); err != nil {
				give = func() {}
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	out, err := x.edit.Apply(body)
	body = nil
	if err != nil {
		x.door.Log.Error("door: "+err.Error(), "method", x.asked.Method, "path", x.asked.Path())
		return errNotEdited
	}
	if len(out) > littleEdited {
		if err := x.take(x.door.Held, int64(len(out))/copies); err != nil {
			return err
		}
	}
	give()
	x.record.Status = res.status
	if _, err := x.Write(answerHead(first, res, "Content-Length: "+strconv.Itoa(len(out))+"\r\n")); err != nil {
		return err
	}
	return x.send(out)
}

// atATime is how much of an answer that is kept here its client must take within
// BodyTime.
const atATime = 64 << 10

// send writes what is kept here until the client has taken it.
func (x *exchange) send(out []byte) error {
	defer x.SetWriteDeadline(time.Time{})
	for len(out) > 0 {
		x.SetWriteDeadline(time.Now().Add(x.door.BodyTime))
		n, err := x.Write(out[:min(len(out), atATime)])
		x.record.Down += int64(n)
		if err != nil {
			return err
		}
		out = out[n:]
	}
	return nil
}

// beginEdited sends the head of an answer of which the length is not known yet. A
// client that knows no chunks is told the end by the end of the connection.
func (x *exchange) beginEdited(first string, res *head) error {
	framing := ""
	if x.head.minor == 1 {
		framing = "Transfer-Encoding: chunked\r\n"
	}
	x.record.Status = res.status
	_, err := x.Write(answerHead(first, res, framing))
	return err
}

// sendPart sends the next part of it.
func (x *exchange) sendPart(out []byte, last bool) error {
	if chunks := x.head.minor == 1; chunks {
		if len(out) > 0 {
			out = append(append(strconv.AppendInt(nil, int64(len(out)), 16), "\r\n"...), append(out, "\r\n"...)...)
		}
		if last {
			out = append(out, "0\r\n\r\n"...)
		}
	}
	if len(out) > littleEdited {
		return x.send(out)
	}
	if len(out) == 0 {
		return nil
	}
	n, err := x.Write(out)
	x.record.Down += int64(n)
	return err
}

// part takes room for a line or an element that is longer than most, of which n
// bytes are here, and gives it back when little is left: many streams may have one
// at a time.
func (x *exchange) part(n int) error {
	if n <= littleEdited {
		x.lease.give()
		return nil
	}
	if len(x.lease) > 0 {
		return nil
	}
	err := x.take(x.door.Held, 2*maxLine/copies)
	x.record.Full = err != nil
	return err
}

// spare is b without what is in it, and without its room if that is much.
func spare(b []byte) []byte {
	if cap(b) > littleEdited {
		return nil
	}
	return b[:0]
}

// editElements passes a list on as it comes, each element as soon as it is there.
// One that is not understood ends the connection, so that its client knows that
// the list is not whole.
func (x *exchange) editElements(in *reader, f *framing, first string, res *head) error {
	var out []byte
	any := false // was sent
	l := &elements{do: func(b []byte) error {
		b, err := x.edit.Apply(b)
		if err != nil {
			return err
		}
		if len(b) == 0 {
			return nil
		}
		if any {
			out = append(out, ',')
		}
		any = true
		out = append(out, b...)
		return nil
	}}
	var bad error
	f.data = func(b []byte) {
		if bad == nil {
			bad = l.read(b)
		}
	}
	begun := false
	err := f.each(in, func() error {
		if bad != nil {
			x.door.Log.Error("door: an element of the answer was not understood", "err", bad, "path", x.asked.Path())
			return errNotEdited
		}
		if err := x.part(len(l.rest) + len(out)); err != nil || !l.begun() {
			return err
		}
		if !begun {
			if err := x.beginEdited(first, res); err != nil {
				return err
			}
			begun, out = true, append([]byte("["), out...)
		}
		if err := x.sendPart(out, false); err != nil {
			return err
		}
		out = spare(out)
		return x.part(len(l.rest))
	})
	switch {
	case err != nil:
		return err
	case !l.over():
		return errNotEdited
	case !begun: // null
		if err := x.beginEdited(first, res); err != nil {
			return err
		}
		return x.sendPart([]byte("null"), true)
	}
	return x.sendPart([]byte("]\n"), true)
}

// editLines passes each line on as soon as it is there.
func (x *exchange) editLines(in *reader, f *framing, first string, res *head) error {
	if err := x.beginEdited(first, res); err != nil {
		return err
	}
	var rest []byte // of a line that is not all here
	f.data = func(b []byte) { rest = append(rest, b...) }
	send := func(last bool) error {
		if err := x.part(len(rest)); err != nil {
			return err
		}
		out, n, err := x.lines(rest, last)
		if err != nil || len(rest)-n > maxLine {
			x.door.Log.Error("door: a line of the answer was not understood", "err", err, "path", x.asked.Path())
			return errNotEdited
		}
		if rest = rest[:copy(rest, rest[n:])]; len(rest) == 0 {
			rest = spare(rest)
		}
		if err := x.sendPart(out, last); err != nil {
			return err
		}
		return x.part(len(rest))
	}
	if err := f.each(in, func() error { return send(false) }); err != nil {
		return err
	}
	return send(true)
}

// lines edits the lines that are all in b, and what is left if it is the last.
// It returns how much of b it took.
func (x *exchange) lines(b []byte, last bool) (out []byte, n int, err error) {
	for n < len(b) {
		line, _, whole := bytes.Cut(b[n:], []byte("\n"))
		if !whole && !last {
			break
		}
		n = min(n+len(line)+1, len(b))
		if line, err = x.edit.Apply(line); err != nil {
			return out, n, err
		}
		if len(line) > 0 {
			out = append(append(out, line...), '\n')
		}
	}
	return out, n, nil
}

// each reads the rest of a message, and calls do whenever something came.
func (f *framing) each(in *reader, do func() error) error {
	for !f.over {
		if len(in.waiting()) == 0 {
			if err := in.fill(); err != nil {
				if err := f.end(err); err != nil {
					return hungUp(err)
				}
				return nil
			}
		}
		n, err := f.scan(in.waiting())
		in.discard(n)
		if err != nil {
			return errNotEdited
		}
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}
