package main

import (
	"errors"
	"net/http"
	"slices"
	"sync"

	"casco/guard/admission"
	"casco/host/docker"
	"casco/loop/inventory"
)

// A memory keeps what the engine said of images and networks, which each request
// for a container is judged by. What one is does not change while it is there; by
// a name there may be another as soon as somebody changes anything of that kind.
// So nothing is known while such a request is under way, at the door or at the
// plugin, or while the engine does not tell of changes; and all is forgotten when
// it tells of one: that is some moments late, for what neither of the two has seen.
type memory struct {
	mu      sync.Mutex
	open    bool              // the engine tells what changes
	changes map[*weighed]bool // requests under way that may change something
	epoch   uint64
	objects map[string]*inventory.Object // by path; nil is not there
}

func newMemory() *memory { return &memory{changes: map[*weighed]bool{}} }

// memoryMost is how much is kept: an object has some 5 KiB. Who asks chooses the
// names, and those that are longer than an engine's are not kept.
const (
	memoryMost = 1000
	pathMost   = 512 // bytes
)

// recall is what the engine said, and the moment of now for keep.
func (m *memory) recall(path string) (o *inventory.Object, known bool, now uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, known = m.objects[path]
	return o, known, m.epoch
}

// keep takes what was asked for at a moment, unless something changed since.
func (m *memory) keep(path string, o *inventory.Object, asked uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.open || len(path) > pathMost || len(m.changes) > 0 || asked != m.epoch {
		return
	}
	if m.objects == nil || len(m.objects) >= memoryMost {
		m.objects = map[string]*inventory.Object{}
	}
	m.objects[path] = o
}

// forget is for when something has changed, or may have.
func (m *memory) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.renew()
}

// renew is forget for who holds mu: what is told with it counts at the same moment.
func (m *memory) renew() {
	m.epoch++
	m.objects = nil
}

// begins is told of a request that was let through.
func (m *memory) begins(w *weighed) {
	if !w.changesOthers() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.renew()
	m.changes[w] = true
}

// ends is told that one is over; nil: of some it was not told.
func (m *memory) ends(w *weighed) {
	if w != nil && !w.changesOthers() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.renew()
	if w == nil {
		clear(m.changes)
	}
	delete(m.changes, w)
}

// listens says whether the engine tells what changes from now on.
func (m *memory) listens(open bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.renew()
	m.open = open
}

// within are classes of requests that change containers only.
var within = []admission.Class{admission.Create, admission.Update, admission.Exec, admission.Attach, admission.Archive, admission.Lifecycle}

// changesOthers reports whether a call may change an image or a network.
func (w *weighed) changesOthers() bool {
	return w.Allow && w.changes() && !slices.Contains(within, w.Route.Endpoint.Class)
}

// lasting is object for kinds that a memory keeps.
func (w world) lasting(kind inventory.Kind, name, path string) *inventory.Object {
	if name == "" {
		return nil
	}
	o, known, now := w.memory.recall(path)
	if !known {
		var err error
		if o, err = w.read(kind, name, path); err == nil || isNotThere(err) {
			w.memory.keep(path, o, now)
		}
	}
	return o
}

func isNotThere(err error) bool {
	e, ok := errors.AsType[*docker.Error](err)
	return ok && e.Status == http.StatusNotFound
}
