package main

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"casco/guard/admission"
	"casco/store"
)

// A roll knows the containers of the engine: what they are called, and of which
// it was seen who made them.
type roll struct {
	mu         sync.Mutex           // guards what follows
	containers map[string]*member   // by full ID
	execs      map[string]string    // container by the ID of a command in it
	order      []string             // of execs, oldest first
	making     map[string]int       // requests for containers that are under way, by the name that they give
	building   int                  // builds that are under way
	built      time.Time            // when the last one ended
	stale      map[string]time.Time // IDs that the ledger knows to be made, or told of, and since when they are here; of containers that are gone none is kept
	first      time.Time            // when requests were first judged here; zero if never before
}

// A member is one container.
type member struct {
	name    string
	labels  map[string]string
	met     time.Time // when it was heard of
	away    bool      // it was made while nobody looked
	settled bool      // it is known who made it, or it was told of that nobody knows
	gone    bool
}

func newRoll() *roll {
	return &roll{containers: map[string]*member{}, execs: map[string]string{}, making: map[string]int{}, stale: map[string]time.Time{}}
}

// keptExecs is how many commands are remembered: one that is made is started at
// once.
const keptExecs = 10000

// begin notes since when requests are judged.
func (r *roll) begin(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first.IsZero() {
		r.first = now
	}
}

// begins is told of a call that was let through and that may make a container.
func (r *roll) begins(w *weighed) {
	r.count(w, 1)
}

func (r *roll) count(w *weighed, by int) {
	if !w.Allow || w.Route.Endpoint == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch w.Route.Endpoint.Path {
	case "/containers/create":
		if r.making[w.Object.Name] += by; r.making[w.Object.Name] <= 0 {
			delete(r.making, w.Object.Name)
		}
	case "/build":
		if r.building += by; by < 0 {
			r.built = time.Now()
		}
	}
}

// done is told of a call that is over, and of what is written down about it.
func (r *roll) done(w *weighed, e store.Decision) {
	r.count(w, -1)
	r.mu.Lock()
	defer r.mu.Unlock()
	c := e.Call
	switch {
	case c.Made && w.Route.Endpoint.Class == admission.Create:
		r.stale[c.ID] = time.Now()
		if m := r.containers[c.ID]; m != nil {
			m.settled = true
		}
	case c.Exec != "" && w.Route.Endpoint.Path == "/containers/{id}/exec":
		r.execs[c.Exec] = c.ID
		if r.order = append(r.order, c.Exec); len(r.order) > keptExecs {
			delete(r.execs, r.order[0])
			r.order = r.order[1:]
		}
	}
}

func (r *roll) exec(id string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.execs[id]
}

// name is what the container of a full ID is called; "" if that is not known.
func (r *roll) name(id string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.containers[id]; m != nil {
		return m.name
	}
	return ""
}

// find is the container that a request names: by its name, its ID, or the
// beginning of it if it is the only one. Of one that is not known the name is as
// it was given.
func (r *roll) find(named string) (name, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.containers[named]; m != nil {
		return m.name, named
	}
	for full, m := range r.containers {
		if m.name == named && !m.gone {
			return m.name, full
		}
	}
	for full, m := range r.containers {
		if strings.HasPrefix(full, named) {
			if id != "" {
				return named, ""
			}
			name, id = m.name, full
		}
	}
	if id == "" {
		return named, ""
	}
	return name, id
}

// An engineEvent is one of the engine's (Engine API 1.41, GET /events).
type engineEvent struct {
	Type   string // "container", "network", …
	Action string
	Actor  struct {
		ID         string
		Attributes map[string]string // name, image, and the labels
	}
}

// passing are events of a container that change nothing of it: what is done in it
// while it runs.
var passing = []string{"exec_create", "exec_start", "exec_die", "exec_detach", "health_status", "attach", "detach", "resize", "top", "export", "copy", "archive-path", "extract-to-dir"}

// heard follows an event of a container.
func (r *roll) heard(e engineEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, name := e.Actor.ID, e.Actor.Attributes["name"]
	switch m := r.containers[id]; {
	case e.Action == "create" && m == nil:
		r.containers[id] = &member{name: name, labels: e.Actor.Attributes, met: time.Now(), settled: r.knows(id)}
	case e.Action == "rename" && m != nil:
		m.name = name
	case e.Action == "destroy" && m != nil:
		m.gone = true
	}
}

// A listed is a container as the engine lists it (GET /containers/json).
type listed struct {
	ID      string `json:"Id"`
	Names   []string
	Created int64 // Unix time
	Labels  map[string]string
}

// listed takes what there is when somebody begins to look.
func (r *roll) listed(all []listed, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	there := map[string]bool{}
	for _, c := range all {
		there[c.ID] = true
		if r.containers[c.ID] != nil {
			continue
		}
		before := r.first.IsZero() || time.Unix(c.Created, 0).Before(r.first)
		m := &member{labels: c.Labels, met: now, away: true, settled: before || r.knows(c.ID)}
		if len(c.Names) > 0 {
			m.name = strings.TrimPrefix(c.Names[0], "/")
		}
		r.containers[c.ID] = m
	}
	for id, m := range r.containers {
		m.gone = m.gone || !there[id]
	}
	for id, since := range r.stale {
		// One that was made while the list was written may be missing in it.
		if !there[id] && now.Sub(since) > lingering {
			delete(r.stale, id)
		}
	}
}

// knows reports whether the ledger knows of a container. It is for who holds mu.
func (r *roll) knows(id string) bool {
	_, has := r.stale[id]
	return has
}

const (
	// settling is how long a call may take, from the engine's word that there is a
	// container, to be told as over.
	settling = time.Second
	// lingering is how long one that is still under way is waited for.
	lingering = 10 * time.Second
)

// A stranger is a container that nobody was seen to make.
type stranger struct {
	id string
	member
}

// strangers are those that nobody was seen to make, each told once.
func (r *roll) strangers(now time.Time) (out []stranger) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, m := range r.containers {
		age := now.Sub(m.met)
		if !m.settled && age >= settling && !(age < lingering && r.underWay(m)) {
			m.settled = true
			if r.stale[id] = now; !r.expected(m) {
				out = append(out, stranger{id, *m})
			}
		}
		if m.gone && m.settled {
			delete(r.containers, id)
			delete(r.stale, id)
		}
	}
	return out
}

// underWay reports whether a request is not over that may be the one.
func (r *roll) underWay(m *member) bool {
	return r.making[m.name] > 0 || r.making[""] > 0 && givenName.MatchString(m.name)
}

// expected reports whether a container is made by what was judged under another
// name: the task of a service, a step of a build by the engine's own builder,
// which is never given a name.
func (r *roll) expected(m *member) bool {
	if m.labels["com.docker.swarm.service.name"] != "" {
		return true
	}
	return givenName.MatchString(m.name) && (r.building > 0 || m.met.Sub(r.built) < settling)
}

// givenName are names that the engine gives (moby, pkg/namesgenerator).
var givenName = regexp.MustCompile(`^[a-z]+_[a-z]+[0-9]?$`)

// followRoll keeps the roll until ctx ends.
func (d *doorman) followRoll(ctx context.Context) error {
	for ctx.Err() == nil {
		err := d.events(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
			d.g.log.Warn("engine events ended", "err", err)
		}
	}
	return nil
}

// remember takes from the ledger what was made, and since when requests are
// judged.
func (d *doorman) remember(ctx context.Context) error {
	b, err := d.g.a.book(ctx)
	if err != nil {
		return err
	}
	made, err := b.store.Made(ctx)
	if err != nil {
		return err
	}
	told, err := b.store.Rogues(ctx)
	if err != nil {
		return err
	}
	begun, err := store.All[store.Control](ctx, b.store, store.Period{}, "")
	if err != nil {
		return err
	}
	d.roll.mu.Lock()
	defer d.roll.mu.Unlock()
	for _, id := range made {
		d.roll.stale[id] = time.Time{}
	}
	for _, a := range told {
		if a.Event.Rogue.Engine == d.g.engine {
			d.roll.stale[a.Event.Rogue.ID] = time.Time{}
		}
	}
	if len(begun) > 0 {
		d.roll.first = begun[0].At
	}
	return nil
}

// events follows what changes, until the engine tells no more.
func (d *doorman) events(ctx context.Context) error {
	res, err := d.client.Do(ctx, http.MethodGet, "/events", nil, "")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	d.memory.listens(true)
	defer d.memory.listens(false)
	var all []listed
	if err := d.client.Call(ctx, http.MethodGet, "/containers/json?all=1", nil, &all); err != nil {
		return err
	}
	d.roll.listed(all, time.Now())
	d.turned() // whatever happened while nobody listened
	for in := json.NewDecoder(res.Body); ; {
		var e engineEvent
		if err := in.Decode(&e); err != nil {
			return err
		}
		if e.Type == "container" {
			d.roll.heard(e)
			if verb, _, _ := strings.Cut(e.Action, ":"); slices.Contains(passing, verb) {
				continue
			}
		} else if e.Action != "connect" && e.Action != "disconnect" && e.Action != "mount" && e.Action != "unmount" {
			d.memory.forget()
		}
		d.turned()
	}
}
