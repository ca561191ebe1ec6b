// Package gate holds the making and the start of a container until somebody has
// judged it: by what its bundle says it will be, and in most hosts until its
// network rules are in place. Docker tells the world of a start after it (moby,
// daemon/start.go: the event follows task.Start), when the container may have
// sent packets already; the gate knows before.
//
// There are two ways, and a host may have both. Serve answers the runtime
// wrapper (cmd/casco-runtime), which the engine must be told of; without a guard
// the wrapper itself decides, so it can fail closed. Watch needs nothing of the
// engine: the kernel asks it at each exec of the runtime (fanotify); without a
// guard the kernel lets everything pass.
//
// What is held is the runtime's "create", before which nothing is there but the
// bundle, and its "start". By then "create" has made the namespaces, the mounts
// and the cgroup, the engine has put the network into them, and the container's
// init waits in the runtime's own code, on a FIFO. Judges must not ask the engine
// about the container: dockerd holds its lock during both, and they would wait
// for each other. What they need is in the bundle's config.json and in /proc/PID
// of the init.
//
// A judge may be called more than once for one call, and for several at the same
// time.
package gate

import (
	"context"
	"errors"
	"time"

	"casco/lang"
)

// A Start is a container that is about to be made or to start, or in Running,
// has.
type Start struct {
	ID     string // the container's full ID
	PID    int    // of its init, in our PID namespace; 0 for a Verb that makes the container as well
	Root   string // where the runtime keeps its states: --root
	Bundle string // the OCI bundle's directory; config.json is in it
	// Runtime is the path of the runtime, where a call of it was seen, or else
	// "runc" or "crun", by the state that it wrote.
	Runtime string
	// Verb is what the runtime was told: "create", "start", or "run" or "restore",
	// which make a container and start it in one. Of those the time between cannot
	// be held: a judge refuses them or lets them pass. BuildKit runs the steps of a
	// build so. "" if no call was seen.
	Verb string
	Way  string // "wrapper", "fanotify", or "state": read from the runtime's state
	// Caller is the process that calls the runtime and is about to become it; 0 if
	// that was not seen.
	Caller int
}

// The ways in which a Start was met.
const (
	wayWrapper  = "wrapper"
	wayFanotify = "fanotify"
	wayState    = "state"
)

// A Judge lets a container be made or start by returning nil, and refuses it with an
// error, whose text the engine's client is shown. An error that is ErrUnjudged,
// or comes of the context, says that it could not tell. The context ends when
// the answer is no longer waited for.
type Judge func(ctx context.Context, s Start) error

// ErrUnjudged is why nobody could tell whether a container may start: the fail
// mode decides.
var ErrUnjudged = lang.Errorf(lang.Text{En: "not judged", Es: "sin juzgar"})

// unjudged reports whether err leaves the decision to the fail mode.
func unjudged(err error) bool {
	return errors.Is(err, ErrUnjudged) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// maxJudging is how many judges work at a time. It is far above what a host
// starts at once, and bounds what judges that hang can pile up.
const maxJudging = 256

// A bench is where judges sit: a slot for each that works.
type bench struct {
	judge Judge
	seats chan struct{}
}

func newBench(judge Judge) *bench {
	return &bench{judge: judge, seats: make(chan struct{}, maxJudging)}
}

// try asks the judge, for at most limit. A judge that does not heed its
// context keeps its seat until it returns, and the start is unjudged.
//
// A guard that is told to end still judges what it holds: whoever stops or
// replaces it would else refuse starts that were as good as judged.
func (b *bench) try(ctx context.Context, s Start, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	select {
	case b.seats <- struct{}{}:
	case <-ctx.Done():
		return lang.Errorf(lang.Text{En: "%w: %d judges are at work and none is done", Es: "%w: %d jueces trabajan y ninguno termina"}, ErrUnjudged, maxJudging)
	}
	said := make(chan error, 1)
	go func() {
		defer func() { <-b.seats }()
		defer func() {
			if p := recover(); p != nil {
				said <- lang.Errorf(lang.Text{En: "%w: the judge failed: %v", Es: "%w: el juez falló: %v"}, ErrUnjudged, p)
			}
		}()
		said <- b.judge(ctx, s)
	}()
	select {
	case err := <-said:
		return err
	case <-ctx.Done():
		return lang.Errorf(lang.Text{En: "%w: the judge had not finished after %v", Es: "%w: el juez no había terminado después de %v"}, ErrUnjudged, limit)
	}
}
