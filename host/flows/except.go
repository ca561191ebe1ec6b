package flows

import (
	"net/netip"
	"sync"
	"time"
)

// exceptFor is how long what a socket of the caller's own opens is not counted.
// The kernel tells of a connection at once; it gives a port anew after it has gone
// round, and a namespace has 28,000.
const exceptFor = 30 * time.Second

// exceptions are the sockets of the caller's own.
type exceptions struct {
	mu   sync.Mutex // guards till
	till map[netip.AddrPort]time.Time
}

// Except has what those sockets open from now on not counted, in any namespace: a
// caller who tries what may be reached is nobody's traffic.
func (w *Watcher) Except(sockets ...netip.AddrPort) {
	x, now := &w.except, time.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	for s, till := range x.till {
		if now.After(till) {
			delete(x.till, s)
		}
	}
	if x.till == nil {
		x.till = map[netip.AddrPort]time.Time{}
	}
	for _, s := range sockets {
		x.till[s] = now.Add(exceptFor)
	}
}

func (x *exceptions) has(s netip.AddrPort) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	till, is := x.till[s]
	return is && time.Now().Before(till)
}
