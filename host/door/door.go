// Package door stands before a Docker engine: it owns the socket that clients
// know, learns from the kernel who asks, has each request judged, and passes on
// what was judged to the engine's own socket, which nobody else can reach.
//
// A request is read strictly, and refused where two readers could understand it
// in two ways; a body that the judge wants to see is sent on as the judge wrote
// it. All else is passed through byte for byte, in both directions and as it
// comes: answers with their heads, chunks and trailers, uploads, logs that are
// followed. Where an endpoint takes over the connection (attach, exec, BuildKit)
// each side's end of sending is told to the other, as it would be without a
// door.
//
// Each client's connection has one of its own to the engine, made when it is
// needed, so an engine that was restarted is met at the next request; nothing
// that changes anything is ever sent twice. If the
// door dies, its requests die with it: the engine sees that its client is gone.
// Nobody gets past a door that is not there.
//
// It speaks HTTP itself because net/http's server takes what must be refused
// (bare LF, folded lines, Content-Length beside Transfer-Encoding) and leaves no
// trace of it, and writes answers anew.
package door

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"casco/internal/apicall"
	"casco/internal/pulse"
	"casco/internal/room"
	"casco/lang"
)

// A Config says how a door works. Engine and Judge must be set; what is zero
// else is as Default.
type Config struct {
	Engine string // path of the engine's socket
	Judge  apicall.Judge
	Via    string // what callers are said to have come by; "" is the listener's address
	// Pass, if it is not nil, gives each request that is let through the value of
	// apicall.PassField, by which a judge of the engine's plugin may know it.
	Pass func(apicall.Request) string
	// Done is told of each request that was answered or given up; see Record. It
	// is called one at a time and holds no request up; while it is busy, records
	// wait, and beyond keptRecords they are lost and counted.
	Done func(Record)
	// Second is the command, with its arguments, of a process that calls the
	// function Second; only for a unix socket. None if it is empty.
	Second []string
	// Leave is closed when another door has taken the listener's path: this one
	// takes what came to it before, and goes on with what is under way until that
	// ends, however long it takes. May be nil.
	Leave <-chan struct{}
	// HandOn, if it is not nil, is then given each connection that waits for its
	// next request, to pass it to the other door; Handed are those that come from
	// there. Clients notice nothing. HandOn does not keep or close what it gets.
	HandOn func(*net.UnixConn) error
	Handed <-chan *net.UnixConn
	TLS    *tls.Config // for a TCP listener; it must verify client certificates
	Lang   lang.Lang   // of refusals
	Log    *slog.Logger

	Conns     int           // connections at a time; root alone may use the last quarter
	PerCaller int           // connections at a time of one user, or of one container
	MaxHead   int           // bytes of a request's head
	HeadTime  time.Duration // for a request's head to arrive, from its first byte; also for TLS
	IdleTime  time.Duration // a connection may wait for its next request
	BodyTime  time.Duration // for a body to arrive that the judge wants to see
	JudgeTime time.Duration // for one verdict
	DialTime  time.Duration // for the engine to take a connection
	RoomTime  time.Duration // a request may wait for room
	Drain     time.Duration // requests may go on when the door was told to end; streams too

	// Held is room for long heads, for bodies that are judged and for answers that
	// are changed, with what is made of them; Work for the judging and the changing.
	// Who finds none is refused: 429 if the room is their own, 503 if it is others'.
	// nil: by HeldBytes and WorkBytes.
	Held, Work *room.Room
}

// How much room there is for all, and for one user or container, in bytes: two
// bodies of the longest are judged at a time, and a dozen arrive for each.
const (
	HeldBytes, HeldEach = 96 << 20, 24 << 20
	WorkBytes, WorkEach = 256 << 20, 128 << 20
)

// Default is what a Config has where it says nothing. The clients' own limits
// are: Go's client keeps an idle connection for 90 s; X-Registry-Config holds
// some KiB for each registry that somebody logged in to.
var Default = Config{
	Conns: 4096, PerCaller: 1024, MaxHead: 256 << 10,
	HeadTime: 10 * time.Second, IdleTime: 5 * time.Minute, BodyTime: 30 * time.Second,
	JudgeTime: 2 * time.Second, DialTime: 5 * time.Second, RoomTime: 2 * time.Second, Drain: 10 * time.Second,
}

// A Record is what became of a request.
type Record struct {
	Request  apicall.Request // its Method is "" if it could not be read
	Verdict  apicall.Verdict // the last one, without its Body
	Status   int             // that the client was sent; 0 if it was gone before
	Answer   []byte          // the first Verdict.Keep bytes of the body of a good answer
	Up, Down int64           // bytes of bodies and streams, as they were on the wire
	Began    time.Time
	Took     time.Duration
	// Switched says that the connection became both sides'. Of such a request there
	// are two records: one then, and one, as of all others, when it is Over.
	Switched, Over bool

	Err  error // why it was not answered by the engine, or not in full
	Full bool  // it was refused because it takes more room than there is, or than it may
	Lost int   // records that were lost before this one
}

func (cfg *Config) defaults() error {
	if cfg.Engine == "" || cfg.Judge == nil {
		return errors.New("door: no engine or no judge") // a mistake of the program
	}
	for _, d := range []struct{ v, def *int }{{&cfg.Conns, &Default.Conns}, {&cfg.PerCaller, &Default.PerCaller}, {&cfg.MaxHead, &Default.MaxHead}} {
		if *d.v == 0 {
			*d.v = *d.def
		}
	}
	for _, d := range []struct{ v, def *time.Duration }{
		{&cfg.HeadTime, &Default.HeadTime},
		{&cfg.IdleTime, &Default.IdleTime},
		{&cfg.BodyTime, &Default.BodyTime},
		{&cfg.JudgeTime, &Default.JudgeTime},
		{&cfg.DialTime, &Default.DialTime},
		{&cfg.RoomTime, &Default.RoomTime},
		{&cfg.Drain, &Default.Drain},
	} {
		if *d.v == 0 {
			*d.v = *d.def
		}
	}
	if cfg.Held == nil {
		cfg.Held = room.New(HeldBytes, HeldEach)
	}
	if cfg.Work == nil {
		cfg.Work = room.New(WorkBytes, WorkEach)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Serve answers at l until ctx ends; then it takes no more connections, lets
// requests go on for cfg.Drain, cuts off what is left, and returns. It closes l.
// A socket's path stays: a client that comes is refused by the kernel, and not
// sent elsewhere. l is a unix socket, or TCP with cfg.TLS.
func Serve(ctx context.Context, l net.Listener, cfg Config) error {
	defer l.Close()
	if err := cfg.defaults(); err != nil {
		return err
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
		over, err := pulse.Back(ctx, u, cfg.Second, cfg.Log)
		if err != nil {
			return err
		}
		defer over()
	} else if cfg.TLS == nil || cfg.TLS.ClientAuth != tls.RequireAndVerifyClientCert {
		return lang.Errorf(lang.Text{
			En: "door at %s: over TCP only with TLS and verified client certificates",
			Es: "puerta en %s: por TCP solo con TLS y certificados de cliente verificados",
		}, l.Addr())
	}
	if cfg.TLS != nil {
		cfg.TLS = cfg.TLS.Clone()
		cfg.TLS.NextProtos = []string{"http/1.1"}
	}
	if cfg.Via == "" {
		cfg.Via = l.Addr().String()
	}
	b := newBook(cfg.Done)
	defer func() {
		if lost := b.close(); lost > 0 {
			cfg.Log.Error("door: records were lost", "records", lost)
		}
	}()
	d := &door{Config: cfg, roster: newRoster(cfg.Conns, cfg.PerCaller), book: b}
	return d.serve(ctx, l)
}

// A door is a socket that is served.
type door struct {
	Config
	roster *roster
	book   *book
}

// entering is how many connections may be found out about at a time.
const entering = 64

func (d *door) serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	// What is under way may outlive ctx, by Drain.
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var conns sync.WaitGroup
	defer conns.Wait()
	places := make(chan struct{}, entering)
	enter := func(nc net.Conn) {
		places <- struct{}{}
		conns.Go(func() { d.welcome(work, nc, func() { <-places }) })
	}
	taking, stopTaking := context.WithCancel(ctx)
	defer stopTaking()
	conns.Go(func() { d.takeOver(taking, enter) })
	go d.leaveLater(taking, l)
	for {
		nc, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				enter(nc)
			}
			d.end(&conns)
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded): // nobody has come to this door since the other is there
			l.Close()
			d.leave(ctx, &conns)
			return nil
		case errors.Is(err, net.ErrClosed):
			d.roster.cut()
			return err
		case err != nil: // no descriptor is left, or the peer is gone already
			d.Log.Warn("door: accept", "err", err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		enter(nc)
	}
}

// lateComers is how long a door goes on to take connections after another has
// taken its path: who had found the old socket by then has long connected.
const lateComers = time.Second

// leaveLater has the listener end some time after Leave, unless ctx ends before.
func (d *door) leaveLater(ctx context.Context, l net.Listener) {
	select {
	case <-d.Leave:
		if u, ok := l.(interface{ SetDeadline(time.Time) error }); ok {
			u.SetDeadline(time.Now().Add(lateComers))
		}
	case <-ctx.Done():
	}
}

// leave hands on what waits and lets the rest come to its end.
func (d *door) leave(ctx context.Context, conns *sync.WaitGroup) {
	if d.HandOn != nil {
		d.roster.handOn()
	}
	over := make(chan struct{})
	go func() { conns.Wait(); close(over) }()
	select {
	case <-over:
	case <-ctx.Done():
		d.end(conns)
	}
}

// takeOver lets in the connections of the door before this one.
func (d *door) takeOver(ctx context.Context, enter func(net.Conn)) {
	for {
		select {
		case nc, ok := <-d.Handed:
			if !ok {
				return
			}
			enter(nc)
		case <-d.Leave:
			return
		case <-ctx.Done():
			return
		}
	}
}

// end lets connections end by themselves, for a while. Who has just come is given
// time to ask.
func (d *door) end(conns *sync.WaitGroup) {
	over := make(chan struct{})
	go func() { conns.Wait(); close(over) }()
	for _, step := range []struct {
		fresh bool
		wait  time.Duration
	}{{false, d.Drain / 2}, {true, d.Drain / 2}} {
		d.roster.drain(step.fresh)
		select {
		case <-over:
			return
		case <-time.After(step.wait):
		}
	}
	d.roster.cut()
	<-over
}

// welcome finds out who comes, and serves them if there is room. It calls
// entered once it knows.
func (d *door) welcome(ctx context.Context, nc net.Conn, entered func()) {
	enter := sync.OnceFunc(entered)
	defer enter()
	defer nc.Close()
	c := &conn{door: d, Conn: nc}
	switch nc := nc.(type) {
	case *net.UnixConn:
		who, err := identify(nc)
		if err != nil {
			d.Log.Warn("door: who comes?", "err", err)
			return
		}
		who.Via = d.Via
		c.who = who
	default:
		// Those that do not finish their handshake must not keep others out.
		enter()
		tc := tls.Server(nc, d.TLS)
		who, err := d.shake(ctx, tc)
		if err != nil {
			d.Log.Info("door: TLS", "from", nc.RemoteAddr().String(), "err", err)
			return
		}
		c.Conn, c.who = tc, who
	}
	c.in = newReader(c.Conn, &clientBuffers)
	if !d.roster.admit(c) {
		c.refuse(trouble(http.StatusServiceUnavailable, full), "", false)
		return
	}
	enter()
	defer d.roster.leave(c)
	c.serve(ctx)
}

func (d *door) shake(ctx context.Context, tc *tls.Conn) (apicall.Caller, error) {
	ctx, cancel := context.WithTimeout(ctx, d.HeadTime)
	defer cancel()
	who := apicall.Caller{UID: apicall.NoID, GID: apicall.NoID, LoginUID: -1, Via: d.Via}
	if err := tc.HandshakeContext(ctx); err != nil {
		return who, err
	}
	if certs := tc.ConnectionState().PeerCertificates; len(certs) > 0 {
		who.TLSName = certs[0].Subject.CommonName
	}
	return who, nil
}

var full = lang.Text{
	En: "too many connections to the engine are open; close some and try again",
	Es: "hay demasiadas conexiones abiertas al motor; cierre algunas e inténtelo de nuevo",
}
