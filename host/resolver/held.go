package resolver

import (
	"net/netip"
	"sync"
	"time"
)

// held are the addresses that one namespace has been given, by name, and until
// when. It bounds what a container, or the owner of a name, can fill.
type held struct {
	names, addrs int // at most

	mu sync.Mutex // guards by
	by map[string]map[netip.Addr]time.Time
}

// admit notes the addresses of a name until a time, and returns those that
// there is room for. One that is held already has room.
func (h *held) admit(name string, addrs []netip.Addr, now, until time.Time) []netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	mine := h.by[name]
	if mine == nil {
		if len(h.by) >= h.names {
			h.sweep(now)
		}
		if len(h.by) >= h.names {
			return nil
		}
		mine = map[netip.Addr]time.Time{}
		h.by[name] = mine
	}
	forget(mine, now)
	var in []netip.Addr
	for _, a := range addrs {
		was, ok := mine[a]
		if !ok && len(mine) >= h.addrs {
			continue
		}
		if until.After(was) {
			mine[a] = until
		}
		in = append(in, a)
	}
	return in
}

// sweep forgets names without an address. h.mu is held.
func (h *held) sweep(now time.Time) {
	for name, mine := range h.by {
		if forget(mine, now); len(mine) == 0 {
			delete(h.by, name)
		}
	}
}

func forget(mine map[netip.Addr]time.Time, now time.Time) {
	for a, until := range mine {
		if !now.Before(until) {
			delete(mine, a)
		}
	}
}

// keep forgets the addresses that a Zone does not allow, and returns those
// among them that no other name holds, in no order.
func (h *held) keep(z Zone, now time.Time) []netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	gone, left := map[netip.Addr]bool{}, map[netip.Addr]bool{}
	for name, mine := range h.by {
		private, ok := z.match(name)
		forget(mine, now)
		for a := range mine {
			if ok && z.allows(a, private) {
				left[a] = true
			} else {
				gone[a] = true
				delete(mine, a)
			}
		}
		if len(mine) == 0 {
			delete(h.by, name)
		}
	}
	var out []netip.Addr
	for a := range gone {
		if !left[a] {
			out = append(out, a)
		}
	}
	return out
}
