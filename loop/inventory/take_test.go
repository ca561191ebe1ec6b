package inventory

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A reader of a test reads what read says.
type reader struct {
	name string
	read func(s *Snapshot) error
}

func (f reader) Name() string                              { return f.name }
func (f reader) Read(_ context.Context, s *Snapshot) error { return f.read(s) }

func named(name string) *Object { return &Object{Ref: Ref{Kernel, name}, Fields: map[string]any{}} }

func refs(s *Snapshot) (out []string) {
	for _, o := range s.Objects {
		out = append(out, o.Ref.Name)
	}
	return out
}

// TestTakeEarly wants an early source to be at work while one before it still
// reads, its objects to come in its turn, and all of that again the next time.
func TestTakeEarly(t *testing.T) {
	trouble := errors.New("half of it")
	atWork := make(chan string, 1)
	first := reader{"engine", func(s *Snapshot) error {
		select {
		case host := <-atWork:
			if host != "h" {
				t.Errorf("it was told that the host is %q", host)
			}
		case <-time.After(10 * time.Second):
			t.Error("the early source has not begun")
		}
		s.Add(named("b"))
		return nil
	}}
	early := Alone(reader{"kernel", func(s *Snapshot) error {
		if len(s.Objects) > 0 {
			t.Errorf("it sees %v", refs(s))
		}
		atWork <- s.Host
		s.Add(named("a"))
		s.Gaps = append(s.Gaps, Gap{Source: "kernel", Reason: "a corner"})
		return trouble
	}})
	last := reader{"last", func(s *Snapshot) error {
		if diff := cmp.Diff([]string{"b", "a"}, refs(s)); diff != "" {
			t.Errorf("what was read before the last (- want, + got):\n%s", diff)
		}
		return nil
	}}
	for range 3 {
		s := Take(t.Context(), "h", time.Unix(0, 0), first, early, last)
		if diff := cmp.Diff([]string{"a", "b"}, refs(s)); diff != "" {
			t.Errorf("objects (- want, + got):\n%s", diff)
		}
		if diff := cmp.Diff([]Gap{{Source: "kernel", Reason: "a corner"}, {Source: "kernel", Reason: "half of it"}}, s.Gaps); diff != "" {
			t.Errorf("gaps (- want, + got):\n%s", diff)
		}
	}
}

func TestAloneWithoutBegin(t *testing.T) {
	s := &Snapshot{Host: "h"}
	err := Alone(reader{"kernel", func(s *Snapshot) error { s.Add(named(s.Host)); return nil }}).Read(t.Context(), s)
	if diff := cmp.Diff([]string{"h"}, refs(s)); err != nil || diff != "" {
		t.Errorf("%v (- want, + got):\n%s", err, diff)
	}
}

// TestViewsFollow wants Of, Find and Guests to tell of objects that are added
// after they were asked.
func TestViewsFollow(t *testing.T) {
	guest := &Object{Ref: Ref{Container, "guest"}, Fields: map[string]any{"HostConfig": map[string]any{"NetworkMode": "container:host"}}}
	host := &Object{Ref: Ref{Container, "host"}, Fields: map[string]any{}}
	s := &Snapshot{}
	s.Add(host)
	if len(s.Of(Container)) != 1 || len(s.Guests(host)) != 0 || s.Find(guest.Ref) != nil {
		t.Error("an empty host is not seen so")
	}
	s.Add(guest)
	if len(s.Of(Container)) != 2 || len(s.Guests(host)) != 1 || s.Find(guest.Ref) != guest {
		t.Error("the guest is not seen")
	}
	s.Add(&Object{Ref: guest.Ref, Fields: map[string]any{}})
	if len(s.Of(Container)) != 2 || len(s.Guests(host)) != 0 {
		t.Error("the guest that moved out is still seen")
	}
	s.Sort()
	if s.Of(Container)[0] != guest {
		t.Error("Of does not follow Sort")
	}
}
