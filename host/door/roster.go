package door

import (
	"strconv"
	"sync"

	"casco/internal/apicall"
)

// A roster knows the connections that are open, so that no caller takes the
// places of all others. A caller is a container, or a user of the host.
type roster struct {
	most, each int

	mu            sync.Mutex // guards what follows
	callers       map[string]map[*conn]struct{}
	total         int
	draining      bool // nobody waits for another request
	drainingFresh bool // nor for a first one
	handing       bool // those that wait for a request go to another door
}

func newRoster(most, each int) *roster {
	return &roster{most: most, each: each, callers: map[string]map[*conn]struct{}{}}
}

// callerKey says whose places a connection takes.
func callerKey(who apicall.Caller) string {
	switch {
	case who.Container != "":
		return "container " + who.Container
	case who.UID == apicall.NoID:
		return "tls " + who.TLSName
	case who.Userns == "0": // root's room is not for what root has put away
		return "userns 0"
	case who.Userns != "" && who.Userns != apicall.Unknown: // of the many users there one is as good as another
		return "user " + who.Userns
	}
	return "user " + strconv.FormatUint(uint64(who.UID), 10)
}

// isRoot reports whether who is root of the host itself.
func isRoot(who apicall.Caller) bool {
	return who.UID == 0 && who.Container == "" && who.Userns == ""
}

// admit gives c a place. A caller that has all of theirs loses the connection
// that has waited longest for a request, if one does; so does, where the house
// is full, the caller with the most of those who have one that waits. It reports whether there was a place.
func (r *roster) admit(c *conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.drainingFresh {
		return false
	}
	key := callerKey(c.who)
	most := r.most
	if !isRoot(c.who) {
		most -= most / 4
	}
	if len(r.callers[key]) >= r.each && !r.evict(key) {
		return false
	}
	if r.total >= most && !r.evict(r.fullest()) {
		return false
	}
	if r.callers[key] == nil {
		r.callers[key] = map[*conn]struct{}{}
	}
	r.callers[key][c] = struct{}{}
	r.total++
	return true
}

// fullest is the caller with the most connections of those who have one to lose.
func (r *roster) fullest() (key string) {
	for k, conns := range r.callers {
		if len(conns) > len(r.callers[key]) && waits(conns) {
			key = k
		}
	}
	return key
}

// waits reports whether one of the connections waits for a request.
func waits(conns map[*conn]struct{}) bool {
	for c := range conns {
		if c.idleSince.Load() > 0 {
			return true
		}
	}
	return false
}

// evict ends a caller's connection that has waited longest. It no longer counts
// from here on.
func (r *roster) evict(key string) bool {
	var oldest *conn
	var since int64
	for c := range r.callers[key] {
		if t := c.idleSince.Load(); t != 0 && (oldest == nil || t < since) {
			oldest, since = c, t
		}
	}
	// Zero is busy, and so it stays: a connection that becomes busy now has lost.
	if oldest == nil || !oldest.idleSince.CompareAndSwap(since, evicted) {
		return false
	}
	oldest.Close()
	r.remove(oldest)
	return true
}

// evicted is the idleSince of a connection that was closed by others.
const evicted = -1

func (r *roster) leave(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(c)
}

func (r *roster) remove(c *conn) {
	key := callerKey(c.who)
	if _, ok := r.callers[key][c]; !ok {
		return
	}
	delete(r.callers[key], c)
	if len(r.callers[key]) == 0 {
		delete(r.callers, key)
	}
	r.total--
}

// drain closes the connections that wait for another request; with fresh, those
// too that wait for their first, and it admits no more.
func (r *roster) drain(fresh bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining, r.drainingFresh = true, fresh
	for _, conns := range r.callers {
		for c := range conns {
			if t := c.idleSince.Load(); t > 0 && (fresh || c.asked.Load()) && c.idleSince.CompareAndSwap(t, evicted) {
				c.Close()
			}
		}
	}
}

// ends reports whether a connection is not to wait for another request.
func (r *roster) ends(c *conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.drainingFresh || r.draining && c.asked.Load()
}

func (r *roster) isDraining() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.draining
}

// handOn has each connection go to another door once it waits for a request.
func (r *roster) handOn() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handing = true
	for _, conns := range r.callers {
		for c := range conns {
			c.wake()
		}
	}
}

func (r *roster) isHandingOn() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.handing
}

// cut closes all that is open.
func (r *roster) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining, r.drainingFresh = true, true
	for _, conns := range r.callers {
		for c := range conns {
			c.cut()
		}
	}
}
