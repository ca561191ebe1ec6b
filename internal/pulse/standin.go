package pulse

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// Back has a child, which calls StandIn, answer at l whenever this process
// cannot, until ctx ends or over is called, which waits for its end. An empty
// argv is no child.
func Back(ctx context.Context, l *net.UnixListener, argv []string, log *slog.Logger) (over func(), err error) {
	if len(argv) == 0 {
		return func() {}, nil
	}
	p, err := New()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { p.Keep(ctx, argv, log, l) })
	work.Go(func() { p.beat(ctx, l.Addr(), log) })
	return func() {
		cancel()
		work.Wait()
		p.Close()
	}, nil
}

// beat beats until ctx ends, and says when it could not.
func (p *Pulse) beat(ctx context.Context, at net.Addr, log *slog.Logger) {
	t := time.NewTicker(Every)
	defer t.Stop()
	for last := time.Now(); ; last = time.Now() {
		p.Beat()
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		if still := time.Since(last); still >= Silence {
			log.Error("this process stood still; another answered for it", "at", at.String(), "for", still)
		}
	}
}

// StandIn is the whole life of a child that has a listener as its descriptor
// First. While its parent beats it does nothing. When that is silent, it takes
// what comes to the listener in its place, and answers with h; begin, if it is
// not nil, is called first, with the parent's process ID. When the parent beats
// again, it leaves the rest to it; when the parent is gone, so is it.
func StandIn(h http.Handler, begin func(parent int) error) error {
	at := os.NewFile(First, "listener")
	defer at.Close()
	for {
		beats, gone, err := Wait(Silence)
		switch {
		case err != nil:
			return err
		case gone:
			return nil
		case beats:
			continue
		}
		fmt.Fprintln(os.Stderr, "casco: this process's parent is silent; it is answered for")
		if begin != nil {
			if err := begin(os.Getppid()); err != nil {
				fmt.Fprintln(os.Stderr, "casco:", err)
			}
		}
		if err := answer(at, h); err != nil {
			return err
		}
	}
}

// answer answers until the parent beats or is gone.
func answer(at *os.File, h http.Handler) error {
	l, err := net.FileListener(at)
	if err != nil {
		return err
	}
	const reading = 10 * time.Second // a request
	s := &http.Server{Handler: h, ReadHeaderTimeout: reading, ReadTimeout: reading, WriteTimeout: reading}
	s.SetKeepAlivesEnabled(false)
	over := make(chan struct{})
	go func() { s.Serve(l); close(over) }()
	for beats, gone := false, false; !beats && !gone && err == nil; {
		beats, gone, err = Wait(Silence)
	}
	last, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.Shutdown(last) != nil {
		s.Close()
	}
	<-over
	return err
}
