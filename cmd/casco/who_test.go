package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"casco/loop/inventory"
	"casco/store"
)

// TestLives: which requests were about which object of a name, and how each is
// known to have come to be.
func TestLives(t *testing.T) {
	at := func(min int) time.Time { return time.Date(2026, 11, 1, 10, min, 0, 0, time.UTC) }
	call := func(min int, ref, endpoint, id string, more ...func(*store.Decision)) store.Recorded[store.Decision] {
		d := store.Decision{Ref: ref, By: store.Admission, What: store.Allowed, Call: &store.Call{At: at(min), Endpoint: endpoint, ID: id, Status: 200}}
		for _, f := range more {
			f(&d)
		}
		return store.Recorded[store.Decision]{At: at(min), Event: d}
	}
	made := func(d *store.Decision) { d.Call.Made, d.Call.Status = true, 201 }
	with := func(ref string) func(*store.Decision) { return func(d *store.Decision) { d.Call.With = ref } }
	refusedCall := func(d *store.Decision) { d.What, d.Call.Status = store.Refused, 0 }
	conflict := func(d *store.Decision) { d.Call.Status = 409 }
	const create, start, remove, connect, pull = "POST /containers/create", "POST /containers/{id}/start", "DELETE /containers/{id}", "POST /networks/{id}/connect", "POST /images/create"
	tr := &trail{
		calls: []store.Recorded[store.Decision]{
			call(1, "container/web", create, "w1", made),
			call(2, "container/web", start, "w1"),
			call(3, "container/web", "POST /containers/{id}/rename", "w1"),
			call(4, "container/old", remove, "w1"),
			call(5, "container/web", create, "", refusedCall),
			call(6, "container/web", create, "w2", made),
			call(7, "container/web", create, "", conflict),
			call(8, "network/n", "POST /networks/create", "n1", made),
			call(9, "container/web", connect, "w2", with("network/n")),
			call(10, "network/n", "DELETE /networks/{id}", ""),
			call(11, "network/n", "POST /networks/create", "n2", made),
			call(12, "container/web", connect, "w2", with("network/n")),
			call(13, "network/before", "DELETE /networks/{id}", ""),
			call(14, "image/a:1", pull, ""),
			call(15, "container/fail", create, "", conflict),
			call(16, "image/b:1", pull, "", conflict),
		},
		rogues: []store.Recorded[store.Alert]{
			{Event: store.Alert{Ref: "container/private", Rogue: &store.Rogue{ID: "p1", Why: pastDoor}}},
			{Event: store.Alert{Ref: "container/process/7", Rogue: &store.Rogue{Why: pastEngine, PID: 7}}},
		},
		steps: []store.Recorded[store.Step]{{At: at(21), Event: store.Step{Change: "1-ab", Ref: "container/cured", State: "done"}}},
		judged: []store.Recorded[store.Control]{
			{At: at(0), Event: store.Control{Name: "door", State: store.Begun}},
			{At: at(30), Event: store.Control{Name: "door", State: store.Ended}},
			{At: at(40), Event: store.Control{Name: "door", State: store.Begun}},
		},
	}
	for _, c := range []struct {
		ref  string
		now  *here
		want string // each life: ID, origin, number of acts; then what came to nothing
	}{
		{"container/web", &here{id: "w2"}, "w1 call 4; w2 call 3; 2"},
		{"container/old", nil, "w1 call 4; 0"},
		{"network/n", &here{id: "n2"}, "n1 call 3; n2 call 2; 0"},
		{"network/before", nil, " no-record 1; 0"},
		{"image/a:1", &here{}, " call 1; 0"},
		{"image/b:1", nil, "1"},
		{"container/fail", nil, "1"},
		{"container/private", &here{id: "p1", made: at(9)}, "p1 past-door 0; 0"},
		{"container/process/7", nil, "container/process/7 past-engine 0; 0"},
		{"container/cured", &here{id: "c1", made: at(20)}, "c1 change 0; 0"},
		{"container/first", &here{id: "f1", made: at(-60)}, "f1 before-guard 0; 0"},
		{"container/slipped", &here{id: "s1", made: at(15)}, "s1 past-door 0; 0"},
		{"container/away", &here{id: "a1", made: at(35)}, "a1 guard-away 0; 0"},
		{"container/task", &here{id: "t1", made: at(15), labels: map[string]string{"com.docker.swarm.service.name": "s"}}, "t1 service 0; 0"},
		{"container/none", nil, "0"},
	} {
		ref, err := inventory.ParseRef(c.ref)
		if err != nil {
			t.Fatal(err)
		}
		w := tr.gather(ref, c.now)
		var got []string
		for _, l := range w.Lives {
			got = append(got, fmt.Sprintf("%s %s %d", l.ID, firstSet(l.Origin.By, l.Origin.Why), len(l.Acts)))
		}
		if text := strings.Join(append(got, fmt.Sprint(len(w.Asked))), "; "); text != c.want {
			t.Errorf("%s: %q, want %q", c.ref, text, c.want)
		}
	}
}
