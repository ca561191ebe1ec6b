// Package daemonjson changes how a Docker engine runs, by its daemon.json: it
// edits the file as its author wrote it, makes the engine take it (a reload
// where that is enough, else a restart), and puts file and engine back.
//
// A wrong daemon.json keeps an engine down at the next boot, so a change is
// proved before it is made: against the engine's own --validate where it has
// that, and by a trial, a second dockerd with the new settings on throw-away
// data in a network namespace of its own. Nothing of the running engine is
// touched until both have passed.
//
// Three things of dockerd that one must know here, all measured on 20.10 and
// 29. On SIGHUP it takes some keys and silently passes over the others. A key
// that was removed from the file keeps its value over a SIGHUP: to go back, the
// old value is written out, and only then the old bytes. A key that is in the
// file and on the command line keeps the engine from starting, so what the
// command line says is refused here, not overridden.
//
// Containers that ran before run after. With live-restore they run on; else
// they stop with the engine, and those that no restart policy brings back are
// started by this package.
package daemonjson

import (
	"context"
	"log/slog"
	"time"

	"casco/loop/inventory"
)

// Name is what a plan calls this hand.
const Name = "daemon-json"

// A Look reads the engine at a unix socket as it is now: the fields Process,
// Config, Effective, EffectiveFrom and Unit of a Daemon. An error means that
// none answers there, or that its process is not known.
type Look func(ctx context.Context, socket string) (*inventory.Object, error)

// A Hand edits the daemon.json of engines. It implements apply.Hand and
// apply.Watchful.
type Hand struct {
	Look Look
	// Log is told what is done to containers and to the engine. It may be nil.
	Log *slog.Logger

	tried []byte // what the last trial that came up was made of
}

// New returns a Hand that sees engines through look.
func New(look Look) *Hand { return &Hand{Look: look} }

func (h *Hand) log(msg string, args ...any) {
	if h.Log != nil {
		h.Log.Info(msg, args...)
	}
}

// How long things may take. dockerd answers 0.4 to 0.6 s after its start; on a
// loaded machine of two cores ten times that was seen, and on an emulated one
// 10 to 40 s. One that gives up is not waited for.
const (
	trialTime  = 90 * time.Second // an authorization plugin that is not there takes 14 s
	reloadTime = 20 * time.Second // the same
	startTime  = 2 * time.Minute
	stopTime   = 90 * time.Second // containers get shutdown-timeout (15 s) and dockerd 5 s more; 12 s was measured
	callTime   = 30 * time.Second // one call of the API
	tick       = 50 * time.Millisecond
)

// wait looks at done every tick until it says so, or an error, or the time is
// over; then ok is false. It ends with ctx.
func wait(ctx context.Context, limit time.Duration, done func() (bool, error)) (ok bool, err error) {
	for end := time.Now().Add(limit); ; {
		if ok, err := done(); ok || err != nil {
			return ok, err
		}
		if time.Now().After(end) {
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(tick):
		}
	}
}
