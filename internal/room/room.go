// Package room shares out memory: so much for all, so much for each who asks.
// Whoever wants what is not free waits for a moment, in the order of coming, and is
// then turned away and counted. What one caller holds for long is thus only their
// own: the rest is there for others, and root has a part that is nobody else's.
package room

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// Why somebody is turned away: they have all that one may have, or all is taken.
var (
	ErrOwn = errors.New("the caller has all the room that one may have")
	ErrAll = errors.New("all room is taken")
)

// A Room is memory that is shared out. It may be used by several goroutines.
type Room struct {
	each   int64
	others *semaphore.Weighted // what is for all but root
	turned atomic.Uint64

	mu      sync.Mutex        // guards callers
	callers map[string]*share // those who have some, or wait
}

// A share is what one caller may have.
type share struct {
	*semaphore.Weighted
	users int // requests of theirs that have some, or wait
}

// New makes a Room of all bytes, of which one caller may have each. As much is
// root's alone.
func New(all, each int64) *Room {
	return &Room{each: each, others: semaphore.NewWeighted(max(all-each, each)), callers: map[string]*share{}}
}

// Take takes n bytes for a caller, or all that one may have if n is more. Root is
// a caller who does not take from the others. It waits until ctx ends, and then
// fails with ErrOwn or ErrAll. Give gives them back; it may be called more than
// once.
func (r *Room) Take(ctx context.Context, caller string, root bool, n int64) (give func(), err error) {
	n = min(n, r.each)
	s := r.enter(caller)
	if !take(ctx, s.Weighted, n) {
		r.leave(caller)
		r.turned.Add(1)
		return nil, ErrOwn
	}
	if !root && !take(ctx, r.others, n) {
		s.Release(n)
		r.leave(caller)
		r.turned.Add(1)
		return nil, ErrAll
	}
	return sync.OnceFunc(func() {
		if !root {
			r.others.Release(n)
		}
		s.Release(n)
		r.leave(caller)
	}), nil
}

// take takes what is free even if ctx is over.
func take(ctx context.Context, s *semaphore.Weighted, n int64) bool {
	return s.TryAcquire(n) || s.Acquire(ctx, n) == nil
}

// Turned is how many were turned away.
func (r *Room) Turned() uint64 { return r.turned.Load() }

func (r *Room) enter(caller string) *share {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.callers[caller]
	if s == nil {
		s = &share{Weighted: semaphore.NewWeighted(r.each)}
		r.callers[caller] = s
	}
	s.users++
	return s
}

func (r *Room) leave(caller string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.callers[caller]
	if s.users--; s.users == 0 {
		delete(r.callers, caller)
	}
}
