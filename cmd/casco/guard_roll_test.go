package main

import (
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"casco/guard/admission"
	"casco/loop/inventory"
	"casco/store"
)

// created is the engine's event of a new container.
func created(id, name string, labels ...string) engineEvent {
	e := engineEvent{Action: "create"}
	e.Actor.ID, e.Actor.Attributes = id, map[string]string{"name": name}
	for _, l := range labels {
		e.Actor.Attributes[l] = "x"
	}
	return e
}

// letThrough is a request for a container, or a build, that was let through.
func letThrough(path, name string) *weighed {
	method, uri := "POST", path
	r, err := admission.ParseURI(method, uri)
	if err != nil {
		panic(err)
	}
	w := &weighed{}
	w.Allow, w.Route = true, r
	if name != "" {
		w.Object = inventory.Ref{Kind: inventory.Container, Name: name}
	}
	return w
}

func madeCall(id string) store.Decision { return store.Decision{Call: &store.Call{ID: id, Made: true}} }

// TestStrangers: a container is told of, once, if nobody was seen to ask for it;
// what is asked for and what the engine makes of something that was, is not.
func TestStrangers(t *testing.T) {
	const a, b = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"
	nobody := store.Decision{Call: &store.Call{}}
	for _, c := range []struct {
		what string
		do   func(r *roll)
		want []string
	}{
		{"nobody asked", func(r *roll) { r.heard(created(a, "web")) }, []string{a}},
		{"somebody asked", func(r *roll) {
			w := letThrough("/containers/create?name=web", "web")
			r.begins(w)
			r.heard(created(a, "web"))
			r.done(w, madeCall(a))
		}, nil},
		{"somebody asked, and the answer came before the event", func(r *roll) {
			w := letThrough("/containers/create?name=web", "web")
			r.begins(w)
			r.done(w, madeCall(a))
			r.heard(created(a, "web"))
		}, nil},
		{"somebody asks for one of that name", func(r *roll) {
			r.begins(letThrough("/containers/create?name=web", "web"))
			r.heard(created(a, "web"))
		}, nil},
		{"somebody asks for one of another name", func(r *roll) {
			r.begins(letThrough("/containers/create?name=db", "db"))
			r.heard(created(a, "web"))
		}, []string{a}},
		{"somebody asked and it was not made", func(r *roll) {
			w := letThrough("/containers/create?name=web", "web")
			r.begins(w)
			r.done(w, nobody)
			r.heard(created(a, "web"))
		}, []string{a}},
		{"a step of a build", func(r *roll) {
			r.begins(letThrough("/build", ""))
			r.heard(created(a, "silly_turing"))
			r.heard(created(b, "web"))
		}, []string{b}},
		{"after a build", func(r *roll) {
			w := letThrough("/build", "")
			r.begins(w)
			r.done(w, nobody)
			r.built = r.built.Add(-time.Minute)
			r.heard(created(a, "silly_turing"))
		}, []string{a}},
		{"a task of a service", func(r *roll) { r.heard(created(a, "web.1.x", "com.docker.swarm.service.name")) }, nil},
		{"gone at once", func(r *roll) {
			r.heard(created(a, "web"))
			r.heard(engineEvent{Action: "destroy", Actor: created(a, "web").Actor})
		}, []string{a}},
		{"there before requests were judged", func(r *roll) {
			r.begin(time.Unix(1000, 0))
			r.listed([]listed{{ID: a, Names: []string{"/web"}, Created: 999}, {ID: b, Names: []string{"/db"}, Created: 1001}}, time.Now())
		}, []string{b}},
		{"in the ledger", func(r *roll) {
			r.begin(time.Unix(1000, 0))
			r.stale[b] = time.Time{}
			r.listed([]listed{{ID: b, Names: []string{"/db"}, Created: 1001}}, time.Now())
		}, nil},
	} {
		r := newRoll()
		c.do(r)
		if early := r.strangers(time.Now()); early != nil {
			t.Errorf("%s: told at once: %v", c.what, early)
		}
		var got []string
		for range 2 {
			for _, s := range r.strangers(time.Now().Add(settling)) {
				got = append(got, s.id)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
	r := newRoll()
	r.begins(letThrough("/containers/create?name=web", "web"))
	r.heard(created(a, "web"))
	if got := r.strangers(time.Now().Add(lingering)); len(got) != 1 {
		t.Errorf("a request that never ends hides for ever: %v", got)
	}
}

// TestRoll: containers are found by what requests call them.
func TestRoll(t *testing.T) {
	const a, b, c = "aaaa1aaaaaaaaaaa", "aaaa2aaaaaaaaaaa", "cccccccccccccccc"
	r := newRoll()
	for id, name := range map[string]string{a: "web", b: "db", c: "aaaa1"} {
		r.heard(created(id, name))
	}
	renamed := engineEvent{Action: "rename", Actor: created(b, "store").Actor}
	r.heard(renamed)
	for named, want := range map[string][2]string{
		"web": {"web", a}, a: {"web", a}, "db": {"db", ""}, "store": {"store", b}, "aaaa": {"aaaa", ""}, "aaaa2": {"store", b}, "aaaa1": {"aaaa1", c}, "none": {"none", ""},
	} {
		if name, id := r.find(named); name != want[0] || id != want[1] {
			t.Errorf("%s: %s %s, want %v", named, name, id, want)
		}
	}
	for i := range keptExecs + 5 {
		r.done(letThrough("/containers/web/exec", "web"), store.Decision{Call: &store.Call{ID: a, Exec: time.Duration(i).String()}})
	}
	if r.exec("3ns") != "" || r.exec("5ns") != a || len(r.execs) != keptExecs {
		t.Errorf("%d commands are remembered", len(r.execs))
	}
}

// TestShort: no caller makes an entry too big for the ledger.
func TestShort(t *testing.T) {
	for in, want := range map[string]int{"a": 1, string(make([]byte, 2*mostText)): mostText + len("…"), "\xff\xfe": 3} {
		if got := short(in); len(got) != want {
			t.Errorf("%.10q: %d bytes, want %d", in, len(got), want)
		}
	}
	long := string(slices.Repeat([]rune{'ñ'}, mostText))
	if got := short(long); len(got) > mostText+len("…") || got[len(got)-3:] != "…" {
		t.Errorf("%q", got)
	}
}

// TestRollForgets: of a container that is gone nothing is kept.
func TestRollForgets(t *testing.T) {
	const a, b, c = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "cccccccccccccccc"
	r, now := newRoll(), time.Now()
	w := letThrough("/containers/create?name=web", "web")
	r.begins(w)
	r.heard(created(a, "web"))
	r.done(w, madeCall(a))
	r.heard(engineEvent{Action: "destroy", Actor: created(a, "web").Actor})
	r.strangers(now.Add(time.Minute))
	r.stale[b], r.stale[c] = time.Time{}, now // of the ledger, and just made
	r.listed(nil, now)
	if len(r.containers) != 0 || len(r.stale) != 1 || !r.knows(c) {
		t.Errorf("%v %v", r.containers, r.stale)
	}
}

// TestHeirPassesOn: a connection that no door takes is ended, and holds nobody up.
func TestHeirPassesOn(t *testing.T) {
	pair := func() (*net.UnixConn, *net.UnixConn) {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		a, err1 := socketOfFd(fds[0])
		b, err2 := socketOfFd(fds[1])
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		return a, b
	}
	socket, _ := pair()
	h := &heir{socket, make(chan *net.UnixConn), make(chan struct{})}
	ours, theirs := pair()
	over := make(chan bool)
	go func() { h.passOn(ours); close(over) }()
	h.close()
	select {
	case <-over:
	case <-time.After(time.Minute):
		t.Fatal("it waits for a door")
	}
	theirs.SetDeadline(time.Now().Add(time.Minute))
	if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the client is not told: %v", err)
	}
}
