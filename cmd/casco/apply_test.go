package main

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"casco/host/docker"
	"casco/loop/apply"
	"casco/loop/change"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// pinged returns an engine that answers pings and nothing else, until the test
// ends.
func pinged(t *testing.T) *docker.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go answerPings(l)
	engine, err := docker.New("unix://" + socket)
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

// TestNotHere leaves a record alone that was made elsewhere, or whose engine
// does not answer: no state of it is saved.
func TestNotHere(t *testing.T) {
	engine := pinged(t)
	for _, c := range []struct {
		name string
		h    *host
		rec  apply.Record
		want string
	}{
		{"no engine", &host{name: "h", trouble: errors.New("nobody listens")}, apply.Record{Host: "h", Engine: engine.Host()}, "nobody listens"},
		{"another engine", &host{name: "h", engine: engine}, apply.Record{Host: "h", Engine: "unix:///other"}, "unix:///other"},
		{"another host", &host{name: "h", engine: engine}, apply.Record{Host: "i", Engine: engine.Host()}, `"i"`},
		{"here", &host{name: "h", engine: engine}, apply.Record{Host: "h", Engine: engine.Host()}, ""},
	} {
		a := &app{statePath: t.TempDir(), err: os.Stderr}
		c.rec.ID, c.rec.State, c.rec.Plan = "1-x", apply.Applying, &plan.Plan{Schema: plan.Schema}
		if err := a.state().Save(&c.rec); err != nil {
			t.Fatal(err)
		}
		err := a.finish(t.Context(), c.h)
		after, readErr := a.state().Record("1")
		if readErr != nil {
			t.Fatal(readErr)
		}
		if c.want == "" {
			if err != nil || after.State != apply.Undone {
				t.Errorf("%s: %v, %s", c.name, err, after.State)
			}
			continue
		}
		if !errors.Is(err, errNotHere) || !strings.Contains(err.Error(), c.want) || after.State != apply.Applying {
			t.Errorf("%s: %v, %s", c.name, err, after.State)
		}
	}
}

// TestFinishPastAnother brings a change of this engine to its end although a
// newer one is of an engine that is away.
func TestFinishPastAnother(t *testing.T) {
	engine := pinged(t)
	a := &app{statePath: t.TempDir(), err: io.Discard}
	defer a.close()
	none := &plan.Plan{Schema: plan.Schema}
	for _, rec := range []*apply.Record{
		{ID: "1-x", Host: "h", Engine: engine.Host(), State: apply.Applying, Plan: none},
		{ID: "2-x", Host: "h", Engine: "unix:///other", State: apply.Verified, ConfirmBy: time.Now(), Plan: none},
	} {
		if err := a.state().Save(rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.finish(t.Context(), &host{name: "h", engine: engine}); !errors.Is(err, errNotHere) {
		t.Error(err)
	}
	recs, err := a.state().Records()
	if err != nil {
		t.Fatal(err)
	}
	if recs[0].State != apply.Undone || recs[0].Ended.IsZero() || recs[1].State != apply.Verified {
		t.Errorf("%s (%s), %s", recs[0].State, recs[0].Ended, recs[1].State)
	}
}

// TestSettled refuses to lay one change that may go back over another one.
func TestSettled(t *testing.T) {
	a := &app{statePath: t.TempDir()}
	daemon := &plan.Plan{Schema: plan.Schema, Steps: []plan.Step{{Ref: inventory.Ref{Kind: inventory.Daemon, Name: "s"}}}}
	file := &plan.Plan{Schema: plan.Schema, Steps: []plan.Step{{Ref: inventory.Ref{Kind: inventory.File, Name: "/f"}}}}
	rec := &apply.Record{ID: "1-x", State: apply.Verified, Plan: daemon, ConfirmBy: time.Now().Add(time.Hour)}
	for _, c := range []struct {
		state apply.State
		p     *plan.Plan
		ok    bool
	}{
		{apply.Verified, daemon, false},
		{apply.Verified, file, true},
		{apply.Confirmed, daemon, true},
		{apply.RolledBack, daemon, true},
	} {
		rec.State = c.state
		if err := a.state().Save(rec); err != nil {
			t.Fatal(err)
		}
		if err := a.settled(&change.Change{Plan: c.p}); (err == nil) != c.ok {
			t.Errorf("%s, then %s: %v", c.state, c.p.Steps[0].Ref.Kind, err)
		}
	}
}

// TestClockSetBack: time goes on although the clock was set back.
func TestClockSetBack(t *testing.T) {
	began := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct{ clock, passed, want time.Duration }{
		{time.Minute, time.Minute, time.Minute},
		{-time.Hour, time.Minute, time.Minute}, // set back
		{time.Hour, time.Minute, time.Hour},    // set forward, or the machine slept
	} {
		if got := atLeast(began.Add(c.clock), began, c.passed).Sub(began); got != c.want {
			t.Errorf("the clock says %s and %s passed: %s", c.clock, c.passed, got)
		}
	}
}

func answerPings(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = c.Read(make([]byte, 4096))
		_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK"))
		c.Close()
	}
}
