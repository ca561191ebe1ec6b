package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"casco/loop/apply"
	"casco/loop/inventory"
	"casco/loop/plan"
	"casco/store"
)

// A loop is a state directory on which a test turns the part of the loop that
// writes down what was read.
type loop struct {
	t *testing.T
	a *app
}

func newLoop(t *testing.T) loop {
	t.Helper()
	l := loop{t, &app{statePath: t.TempDir(), lang: "en", err: io.Discard}}
	if _, err := l.a.book(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.a.close() })
	return l
}

// container is a host with one container that has so much memory and so many
// processors.
func container(memory, cpus int64) *inventory.Snapshot {
	s := &inventory.Snapshot{Host: "h", Taken: time.Now().UTC()}
	s.Add(&inventory.Object{Ref: inventory.Ref{Kind: inventory.Container, Name: "web"}, Fields: map[string]any{
		"HostConfig": map[string]any{"Memory": memory, "NanoCpus": cpus},
	}})
	return s
}

// turn is one reading of an engine; trouble means that it was not read whole.
// It returns the fields that differ, and the digest of the evidence.
func (l loop) turn(s *inventory.Snapshot, engine string, trouble error) (fields []string, evidence string) {
	l.t.Helper()
	begun := time.Now().UTC()
	lk := &look{read: s, snapshot: s, engine: engine, trouble: trouble}
	t := turn{of: "audit", begun: begun}
	var err error
	if trouble == nil {
		if t.same, err = l.a.noteDrift(l.t.Context(), lk, begun); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := l.a.noteLook(l.t.Context(), t, lk); err != nil {
		l.t.Fatal(err)
	}
	drifts, err := store.All[store.Drift](l.t.Context(), l.a.opened.store, store.Period{From: begun}, "")
	if err != nil {
		l.t.Fatal(err)
	}
	for _, d := range drifts {
		fields = append(fields, d.Event.Field)
	}
	last, _, err := store.Last[store.Run](l.t.Context(), l.a.opened.store, "")
	if err != nil {
		l.t.Fatal(err)
	}
	return fields, last.Event.Snapshot
}

// TestQuietHost writes nothing and keeps nothing anew while nothing differs.
func TestQuietHost(t *testing.T) {
	l := newLoop(t)
	_, first := l.turn(container(0, 0), "e", nil)
	for range 3 {
		if drift, evidence := l.turn(container(0, 0), "e", nil); len(drift) > 0 || evidence != first {
			t.Errorf("differs: %v, evidence %s, before %s", drift, evidence, first)
		}
	}
	if _, evidence := l.turn(container(64, 0), "e", nil); evidence == first {
		t.Error("a host that differs has the evidence of before")
	}
}

// TestLongValue writes down what differs although one value is longer than an
// entry may be.
func TestLongValue(t *testing.T) {
	l := newLoop(t)
	l.turn(container(0, 0), "e", nil)
	s := container(64, 0)
	s.Objects[0].Fields["Config"] = map[string]any{"Labels": map[string]any{"long": strings.Repeat("x", 1<<20)}}
	if drift, _ := l.turn(s, "e", nil); len(drift) != 2 {
		t.Errorf("differs: %v", drift)
	}
}

// TestDriftSince compares with the last reading of the same engine that was
// whole, whatever ran in between.
func TestDriftSince(t *testing.T) {
	for name, between := range map[string]func(loop){
		"nothing":               func(loop) {},
		"another engine":        func(l loop) { l.turn(container(1, 1), "other", nil) },
		"an engine that is off": func(l loop) { l.turn(&inventory.Snapshot{Host: "h"}, "e", io.EOF) },
		"a run that was missed": func(l loop) {
			if err := l.a.note(t.Context(), store.Run{ID: "m", Of: "audit", Outcome: missed}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLoop(t)
			l.turn(container(0, 0), "e", nil)
			between(l)
			if drift, _ := l.turn(container(64, 0), "e", nil); len(drift) != 1 || drift[0] != "HostConfig.Memory" {
				t.Errorf("differs: %v", drift)
			}
		})
	}
}

// TestForeignAfterOurs tells what somebody else did to an object that casco has
// just changed from what casco did.
func TestForeignAfterOurs(t *testing.T) {
	l := newLoop(t)
	l.turn(container(0, 0), "e", nil)
	ref := inventory.Ref{Kind: inventory.Container, Name: "web"}
	rec := &apply.Record{
		ID: "1-x", State: apply.Verified, Begun: time.Now().UTC(),
		Plan: &plan.Plan{Schema: plan.Schema, Steps: []plan.Step{{Ref: ref, Sets: []plan.Set{{Field: "HostConfig.Memory", To: 64}}}}},
		Done: []apply.Done{{Finished: true}},
	}
	ours := container(64, 0)
	rec.Observe(ours)
	rec.Ended = time.Now().UTC()
	if err := l.a.state().Save(rec); err != nil {
		t.Fatal(err)
	}
	l.a.noteProved(t.Context(), rec, &look{read: ours, snapshot: ours, engine: "e"})
	if drift, _ := l.turn(container(64, 2), "e", nil); len(drift) != 1 || drift[0] != "HostConfig.NanoCpus" {
		t.Errorf("differs: %v", drift)
	}
}
