// Package authz is the second lock: the authorization plugin of a Docker engine
// (https://docs.docker.com/engine/extend/plugins_authorization/). The engine
// asks it about each call, whichever way that came: through the door, over TCP,
// or past the door to the engine's own socket.
//
// It sees less than the door: no user, process or container, only the name of a
// TLS certificate; of bodies only those of type application/json, and from an
// engine before 29.3 none that is longer than 1 MiB. What the judge wants to see
// and is not there is refused. It cannot change what it lets pass: Verdict.URI
// and Verdict.Body are not looked at, and what must not be answered without an
// Edit is refused. (Of an answer that the engine held back it is shown the body and
// may refuse it; of one beyond 64 KiB or of a stream it is shown nothing, for that
// has left already; it can replace none. Measured on 20.10.)
//
// When it is dead, the engine refuses every call, "docker ps" too, after 15 s
// each; containers run on. When it does not answer, the engine waits for ever
// (moby, pkg/plugins/client.go: NewClient has no time-out): hence the deadline,
// and for a plugin that is stopped as a whole, Second.
//
// An engine that is started, or told by SIGHUP, to use a plugin that is not there
// ends itself; and a socket that nobody listens at makes "docker volume ls" wait
// for 15 s on every engine of the host. So Serve must run before an engine is told
// of it, and takes its socket away when it ends. The way out of a lock-out: take
// the plugin out of authorization-plugins in daemon.json and send dockerd a
// SIGHUP. (Measured on 20.10 and 29.)
package authz

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"casco/internal/apicall"
	"casco/internal/pulse"
	"casco/internal/room"
	"casco/internal/unixsock"
	"casco/lang"
)

// Path is where an engine looks for the plugin "casco" (moby, pkg/plugins:
// socketsPath).
const Path = "/run/docker/plugins/casco.sock"

// A Config says how the plugin works. Judge must be set.
type Config struct {
	Judge apicall.Judge
	Done  func(Record) // is told of each call, several at a time; it must not wait. See Record
	Lang  lang.Lang    // of refusals
	Log   *slog.Logger
	Time  time.Duration // for one verdict; 0 is DefaultTime
	// Held is room for what an engine asks, and Work for judging it. What finds none
	// within Time is refused. nil: as much as HeldBytes and WorkBytes.
	Held, Work *room.Room
	// Second is the command, with its arguments, of a process that calls the
	// function Second. None if it is empty.
	Second []string
}

// How much room there is for all, and for callers of one name, in bytes: a question
// of the longest takes a third of it.
const (
	HeldBytes, HeldEach = 64 << 20, 48 << 20
	WorkBytes, WorkEach = 256 << 20, 128 << 20
)

// DefaultTime is long for a judge that computes and asks an engine on the same
// host, and short for a person who waits.
const DefaultTime = 2 * time.Second

// A Record is what was answered about a call. It is told before the engine hears
// it; of a call that is let through, does not stream, and has a Verdict.Note, when
// the engine has answered it.
type Record struct {
	Request apicall.Request
	Verdict apicall.Verdict // without its Body
	Status  int             // of the engine's answer; 0 if it is not known
	Answer  []byte          // the first Verdict.Keep bytes of the body of a good answer
	Began   time.Time
	Took    time.Duration // for the verdict
	Err     error         // why there was no verdict of the judge's own
	Full    bool          // it was refused for want of room
}

// Serve answers engines at the socket at path until ctx ends, and then removes
// it. A directory that is missing is made; a socket that nobody listens at is
// replaced.
func Serve(ctx context.Context, path string, cfg Config) error {
	l, err := unixsock.Listen(path, 0o755, 0)
	if err != nil {
		return err
	}
	return ServeAt(ctx, l, cfg)
}

// ServeAt is Serve at a socket that is there. Where another has taken its path
// meanwhile, that one stays.
func ServeAt(ctx context.Context, l *unixsock.Listener, cfg Config) error {
	defer l.Close()
	if cfg.Judge == nil {
		return errors.New("authz: no judge") // a mistake of the program
	}
	if cfg.Time == 0 {
		cfg.Time = DefaultTime
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Held == nil {
		cfg.Held = room.New(HeldBytes, HeldEach)
	}
	if cfg.Work == nil {
		cfg.Work = room.New(WorkBytes, WorkEach)
	}
	over, err := pulse.Back(ctx, l.UnixListener, cfg.Second, cfg.Log)
	if err != nil {
		return errors.Join(err, l.Close(), l.Remove())
	}
	defer over()
	if cfg.Done == nil {
		cfg.Done = func(Record) {}
	}
	p := &plugin{cfg, newPending(cfg.Done)}
	s := &http.Server{
		Handler:           p.handler(),
		ReadHeaderTimeout: reading, ReadTimeout: reading,
		ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn),
	}
	var ending sync.WaitGroup
	stop := context.AfterFunc(ctx, func() {
		defer ending.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.Time)
		defer cancel()
		if s.Shutdown(last) != nil {
			s.Close()
		}
	})
	ending.Add(1)
	err = s.Serve(l)
	if stop() {
		ending.Done() // it was not told to end
	}
	ending.Wait()
	p.pending.close()
	err = errors.Join(err, l.Remove())
	if ctx.Err() != nil && errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

const (
	// reading is how long an engine may take to send a question.
	reading = 10 * time.Second
	// longest is how long a question may be: a body of 4 MiB, the most that an
	// engine sends (moby, daemon/pkg/authorization: maxBodySize), in base64, and a
	// head of 1 MiB.
	longest = 4<<20*4/3 + 1<<20 + 64<<10
)

// A plugin answers an engine. The names are those of its protocol.
type plugin struct {
	Config
	pending *pending
}

type request struct {
	User            string
	UserAuthNMethod string // "TLS" if User is the common name of a certificate
	RequestMethod   string
	RequestURI      string `json:"RequestUri"`
	RequestBody     []byte
	RequestHeaders  map[string]string
}

type response struct {
	Allow bool
	Msg   string `json:",omitempty"` // for the person who asked
	Err   string `json:",omitempty"` // for the engine: it is then the plugin that failed
}

const contentType = "application/vnd.docker.plugins.v1.1+json"

func (p *plugin) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /Plugin.Activate", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		io.WriteString(w, `{"Implements":["authz"]}`)
	})
	mux.HandleFunc("POST /AuthZPlugin.AuthZReq", func(w http.ResponseWriter, r *http.Request) {
		p.answer(w, p.judge(r))
	})
	// What an engine answers was decided with the question. It is read to its end,
	// for an engine that cannot send it all takes that for a failure.
	mux.HandleFunc("POST /AuthZPlugin.AuthZRes", func(w http.ResponseWriter, r *http.Request) {
		// Without room nobody learns what was answered: the record is told without.
		if give, err := p.take(r.Context(), p.Held, "", copies*length(r)); err == nil {
			p.pending.answered(r.Body)
			give()
		}
		io.Copy(io.Discard, r.Body)
		p.answer(w, response{Allow: true})
	})
	return mux
}

func (p *plugin) answer(w http.ResponseWriter, res response) {
	w.Header().Set("Content-Type", contentType)
	if err := json.NewEncoder(w).Encode(res); err != nil {
		p.Log.Warn("authz: the answer did not arrive", "err", err)
	}
}

// judge answers one question; whatever goes wrong is a refusal, and is told as one.
func (p *plugin) judge(r *http.Request) (res response) {
	rec := Record{Began: time.Now()}
	var q request
	defer func() {
		if v := recover(); v != nil {
			rec.Verdict, rec.Err = apicall.Verdict{}, fmt.Errorf("authz: panic: %v\n%s", v, debug.Stack())
			res = response{Msg: failed.In(p.Lang)}
		}
		rec.Took, rec.Verdict.Body = time.Since(rec.Began), nil
		if rec.Err != nil {
			p.Log.Error("authz: "+rec.Err.Error(), "method", rec.Request.Method, "path", rec.Request.Path())
		}
		if v := rec.Verdict; v.Allow && !v.Stream && v.Note != nil {
			p.pending.wait(q, rec)
		} else {
			p.Done(rec)
		}
	}()
	give, err := p.take(r.Context(), p.Held, "", copies*length(r))
	if err != nil {
		rec.Err, rec.Full = err, true
		return response{Msg: full.In(p.Lang)}
	}
	defer give()
	if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, longest)).Decode(&q); err != nil {
		rec.Err = fmt.Errorf("the engine's question: %w", err)
		return response{Msg: failed.In(p.Lang)}
	}
	rec.Request = asked(q)
	rec.Verdict, rec.Err = p.verdict(r.Context(), rec.Request, q.RequestBody)
	rec.Full = errors.Is(rec.Err, errFull)
	if rec.Verdict.Allow && rec.Verdict.Edit != nil {
		rec.Verdict = apicall.Refuse(http.StatusForbidden, edited.In(p.Lang))
	}
	return response{Allow: rec.Verdict.Allow, Msg: rec.Verdict.Message}
}

// copies is how often a question is here: as it came, in base64, and as it is.
const copies = 3

// length is how long a question is; an engine always says so.
func length(r *http.Request) int64 {
	if r.ContentLength < 0 {
		return longest
	}
	return min(r.ContentLength, longest)
}

var errFull = errors.New("authz: no room")

// take takes room. The engine does not tell who asks, so all are one caller, but
// for those with a certificate.
func (p *plugin) take(ctx context.Context, from *room.Room, caller string, n int64) (give func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, p.Time)
	defer cancel()
	if give, err = from.Take(ctx, "plugin "+caller, false, n); err != nil {
		return nil, fmt.Errorf("%w: %w", errFull, err)
	}
	return give, nil
}

// asked is what the engine tells of a call.
func asked(q request) apicall.Request {
	r := apicall.Request{
		Caller: apicall.Caller{UID: apicall.NoID, GID: apicall.NoID, LoginUID: -1, Via: apicall.ViaPlugin},
		Method: q.RequestMethod, URI: q.RequestURI,
	}
	if q.UserAuthNMethod == "TLS" {
		r.TLSName = q.User
	}
	for name, value := range q.RequestHeaders {
		switch {
		case strings.EqualFold(name, "content-type"):
			r.ContentType = value
		case strings.EqualFold(name, apicall.PassField):
			r.Pass = value
		}
	}
	return r
}

func (p *plugin) verdict(ctx context.Context, r apicall.Request, body []byte) (apicall.Verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Time)
	defer cancel()
	// The engine tells the last of several types and goes by the first.
	if media, _, err := mime.ParseMediaType(r.ContentType); len(body) > 0 && (err != nil || media != "application/json") {
		return apicall.Refuse(http.StatusBadRequest, types.In(p.Lang)), nil
	}
	v, err := apicall.Ask(ctx, p.Time, p.Lang, func(ctx context.Context) apicall.Verdict { return p.Judge.Head(ctx, r) })
	switch {
	case !v.Allow || v.Stream:
		return v, err
	case len(body) == 0 && v.NeedsBody:
		return apicall.Refuse(http.StatusForbidden, absent.In(p.Lang)), nil
	case int64(len(body)) > v.Limit:
		return apicall.Refuse(http.StatusRequestEntityTooLarge, tooLong.F(v.Limit).In(p.Lang)), nil
	}
	give, err := p.take(ctx, p.Work, r.TLSName, apicall.Judging(len(body)))
	if err != nil {
		return apicall.Refuse(http.StatusServiceUnavailable, full.In(p.Lang)), err
	}
	return apicall.Ask(ctx, p.Time, p.Lang, func(ctx context.Context) apicall.Verdict {
		defer give() // a judge that is late is still at it
		return p.Judge.Body(ctx, r, body)
	})
}

var (
	failed = lang.Text{
		En: "casco could not judge this request and refuses it; its log says why",
		Es: "casco no pudo juzgar esta petición y la rechaza; su registro dice por qué",
	}
	full = lang.Text{
		En: "casco: too many requests wait to be judged; try again",
		Es: "casco: demasiadas peticiones esperan a ser juzgadas; inténtelo de nuevo",
	}
	absent = lang.Text{
		En: "casco: the engine did not show the body of this request, so it cannot be judged (request-body): send it as application/json and shorter than 1 MiB",
		Es: "casco: el motor no mostró el cuerpo de esta petición, así que no se puede juzgar (request-body): envíelo como application/json y con menos de 1 MiB",
	}
	tooLong = lang.Text{
		En: "casco: the request's body is longer than the %d bytes that are judged (request-size)",
		Es: "casco: el cuerpo de la petición es más largo que los %d bytes que se juzgan (request-size)",
	}
	edited = lang.Text{
		En: "the answer has what is not for this caller, and only casco's door can leave that out: ask there",
		Es: "la respuesta tiene lo que no es para quien llama, y solo la puerta de casco lo puede quitar: pregunte ahí",
	}
	types = lang.Text{
		En: "casco: the request has more than one Content-Type (request-type)",
		Es: "casco: la petición tiene más de un Content-Type (request-type)",
	}
)
