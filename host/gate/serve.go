package gate

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"casco/internal/ocicall"
	"casco/internal/unixsock"
)

const (
	// askTime is how long a wrapper may take to say its one line.
	askTime = 2 * time.Second

	// maxWait bounds the time that a wrapper may ask for; dockerd 20.10 gives a
	// start two minutes.
	maxWait = time.Minute

	// maxAsking is how many connections are served at a time: those that judge
	// and some that are still speaking. One more is told so at once.
	maxAsking = 2 * maxJudging
)

// Serve answers the runtime wrapper at a unix socket until ctx ends, and then
// removes the socket. Only root is answered, by the kernel's word (SO_PEERCRED,
// unix(7)). A socket that nobody listens at is replaced; one at which somebody
// does, and anything that is no socket, is left alone, with an error. A
// directory that is missing is made for root alone.
//
// The wrapper says how long it waits; the judge gets nine tenths of that. Each
// question is answered on its own, and none waits for another.
func Serve(ctx context.Context, path string, judge Judge, log *slog.Logger) error {
	l, err := unixsock.Listen(path, 0o700, 0)
	if err != nil {
		return err
	}
	return ServeAt(ctx, l, judge, log)
}

// ServeAt is Serve at a socket that is there. Where another has taken its path
// meanwhile, that one stays.
func ServeAt(ctx context.Context, l *unixsock.Listener, judge Judge, log *slog.Logger) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()

	d := &door{bench: newBench(judge), log: log}
	err := d.serve(ctx, l.UnixListener)
	return errors.Join(err, l.Remove())
}

// A door is a socket that is served.
type door struct {
	bench *bench
	log   *slog.Logger
}

func (d *door) serve(ctx context.Context, l *net.UnixListener) error {
	defer l.Close()
	places := make(chan struct{}, maxAsking)
	var asking sync.WaitGroup
	defer asking.Wait()
	for {
		c, err := l.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // no descriptor is left, or the peer is gone already
			d.log.Warn("gate: accept", "err", err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		select {
		case places <- struct{}{}:
		default:
			d.answer(c, ocicall.Answer{Verdict: ocicall.Unjudged, Reason: "too many starts at a time"})
			c.Close()
			continue
		}
		asking.Go(func() {
			defer func() { <-places }()
			defer c.Close()
			d.hear(ctx, c)
		})
	}
}

// hear reads one question and answers it.
func (d *door) hear(ctx context.Context, c *net.UnixConn) {
	if uid, err := peer(c); err != nil || uid != 0 {
		d.log.Warn("gate: not root", "uid", uid, "err", err)
		return
	}
	c.SetDeadline(time.Now().Add(askTime))
	line, err := bufio.NewReader(io.LimitReader(c, ocicall.MaxLine)).ReadBytes('\n')
	if errors.Is(err, io.EOF) && len(line) == 0 {
		return // somebody looked whether anyone is there
	}
	var q ocicall.Question
	if err == nil {
		q, err = parseQuestion(line)
	}
	if err != nil {
		d.log.Warn("gate: a question that cannot be read", "err", err)
		d.answer(c, ocicall.Answer{Verdict: ocicall.Refused, Reason: "the gate cannot read the question: " + err.Error()})
		return
	}
	limit := min(time.Duration(q.TimeoutMS)*time.Millisecond, maxWait) * 9 / 10
	began := time.Now()
	a := d.verdict(ctx, q, limit)
	d.log.Info("gate: start", "container", q.ID, "verb", q.Verb, "verdict", string(a.Verdict), "reason", a.Reason, "took", time.Since(began))
	d.answer(c, a)
}

func (d *door) verdict(ctx context.Context, q ocicall.Question, limit time.Duration) ocicall.Answer {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s := Start{ID: q.ID, Root: q.Root, Runtime: q.Runtime, Verb: q.Verb, Way: wayWrapper}
	s, err := whereabouts(s, q.Bundle)
	if err == nil {
		err = d.bench.try(ctx, s, limit)
	}
	switch {
	case err == nil:
		return ocicall.Answer{Verdict: ocicall.May}
	case unjudged(err):
		return ocicall.Answer{Verdict: ocicall.Unjudged, Reason: err.Error()}
	}
	return ocicall.Answer{Verdict: ocicall.Refused, Reason: err.Error()}
}

func (d *door) answer(c *net.UnixConn, a ocicall.Answer) {
	const most = ocicall.MaxLine / 8 // JSON writes up to six bytes for one
	if len(a.Reason) > most {
		a.Reason = a.Reason[:most] + "…"
	}
	b, err := json.Marshal(a)
	if err == nil {
		c.SetDeadline(time.Now().Add(askTime))
		_, err = c.Write(append(b, '\n'))
	}
	if err != nil {
		d.log.Warn("gate: the answer did not arrive", "err", err)
	}
}

// peer is the user at the other end.
func peer(c *net.UnixConn) (uid uint32, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	ctlErr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(ctlErr, err); err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
