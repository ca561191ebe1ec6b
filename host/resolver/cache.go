package resolver

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A cache remembers answers for all namespaces, and lets those who ask the
// same at the same time wait for one answer. What is in it is not judged: each
// namespace does that by its own rules.
type cache struct {
	most   int           // entries
	longer time.Duration // the longest that an answer is kept

	mu      sync.Mutex // guards what follows, and entries until they are ready
	entries map[key]*entry
	closed  bool
	flights sync.WaitGroup
}

// An entry is an answer, or a question on its way.
type entry struct {
	ready  chan struct{} // closed when what follows is there
	cancel context.CancelFunc
	answer answer
	err    error
	until  time.Time // zero: on its way
}

// failureKept is how long a failure is not tried again, RFC 9520 section 3.2.
const failureKept = time.Second

var (
	errClosed = errors.New("the resolver is closing")
	errFlood  = errors.New("more questions than the limit")
)

// get returns the answer to k and how long it is still good. If it is not
// there, fetch gets it, in a goroutine that outlives ctx for the others who
// wait; may is asked before, and false is errFlood.
func (c *cache) get(ctx context.Context, k key, may func() bool, fetch func(context.Context) (answer, error)) (answer, time.Duration, error) {
	c.mu.Lock()
	e := c.entries[k]
	if e == nil || !e.until.IsZero() && !time.Now().Before(e.until) {
		switch {
		case c.closed:
			c.mu.Unlock()
			return answer{}, 0, errClosed
		case !may():
			c.mu.Unlock()
			return answer{}, 0, errFlood
		}
		e = c.launch(k, fetch)
	}
	c.mu.Unlock()
	select {
	case <-e.ready:
		return e.answer, max(0, time.Until(e.until)), e.err
	case <-ctx.Done():
		return answer{}, 0, ctx.Err()
	}
}

// launch begins to fetch k. c.mu is held.
func (c *cache) launch(k key, fetch func(context.Context) (answer, error)) *entry {
	c.room()
	ctx, cancel := context.WithCancel(context.Background())
	e := &entry{ready: make(chan struct{}), cancel: cancel}
	c.entries[k] = e
	c.flights.Go(func() {
		defer cancel()
		a, err := fetch(ctx)
		kept := min(a.ttl, c.longer)
		if err != nil {
			kept = failureKept
		}
		c.mu.Lock()
		e.answer, e.err, e.until = a, err, time.Now().Add(kept)
		if kept <= 0 {
			delete(c.entries, k)
		}
		c.mu.Unlock()
		close(e.ready)
	})
	return e
}

// room makes room for one more: first of what is over, then of an eighth of
// what is there, in no order. Questions on their way stay. c.mu is held.
func (c *cache) room() {
	if len(c.entries) < c.most {
		return
	}
	now := time.Now()
	for k, e := range c.entries {
		if !e.until.IsZero() && now.After(e.until) {
			delete(c.entries, k)
		}
	}
	out := c.most / 8
	for k, e := range c.entries {
		if len(c.entries) < c.most-out {
			return
		}
		if !e.until.IsZero() {
			delete(c.entries, k)
		}
	}
}

// close ends what is on its way and waits for it.
func (c *cache) close() {
	c.mu.Lock()
	c.closed = true
	for _, e := range c.entries {
		if e.until.IsZero() {
			e.cancel()
		}
	}
	c.mu.Unlock()
	c.flights.Wait()
}
