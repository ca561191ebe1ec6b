package rollback

import (
	"context"
	"encoding/json"
	"testing"

	"casco/loop/apply"
	"casco/loop/inventory"
	"casco/loop/plan"
)

type watchful struct {
	apply.Hand
	cs []apply.Conflict
}

func (w watchful) Foreign(context.Context, plan.Step, json.RawMessage) ([]apply.Conflict, error) {
	return w.cs, nil
}

// TestLaterStep does not take for foreign what a later step of the same change
// did to an object that an earlier one had in hand too.
func TestLaterStep(t *testing.T) {
	db, side := inventory.Ref{Kind: inventory.Container, Name: "db"}, inventory.Ref{Kind: inventory.Container, Name: "side"}
	rec := &apply.Record{
		Plan: &plan.Plan{Steps: []plan.Step{{Ref: db, Hand: "first", With: []inventory.Ref{side}}, {Ref: side, Hand: "second"}}},
		Done: []apply.Done{{Step: 0}, {Step: 1}},
	}
	s := &inventory.Snapshot{}
	s.Add(&inventory.Object{Ref: db})
	s.Add(&inventory.Object{Ref: side})
	hands := map[string]apply.Hand{"first": watchful{cs: []apply.Conflict{{What: "container/side HostConfig"}}}, "second": watchful{}}
	if cs, err := Conflicts(t.Context(), rec, s, hands); err != nil || len(cs) != 0 {
		t.Errorf("ours, and called foreign: %v %v", cs, err)
	}
	hands["first"] = watchful{cs: []apply.Conflict{{What: "container/sidecar HostConfig"}}}
	if cs, err := Conflicts(t.Context(), rec, s, hands); err != nil || len(cs) != 1 {
		t.Errorf("foreign, and called ours: %v %v", cs, err)
	}
}

// TestConflicts finds what somebody changed after us, and nothing else: not
// what is as we left it, as the engine wrote it, or already back as before.
func TestConflicts(t *testing.T) {
	ref := inventory.Ref{Kind: inventory.Container, Name: "web"}
	rec := &apply.Record{
		Plan: &plan.Plan{Steps: []plan.Step{{Ref: ref, Hand: "h", Sets: []plan.Set{{Field: "F", From: json.Number("1"), To: 2}}}}},
		Done: []apply.Done{{Step: 0}},
	}
	now := func(v any) *inventory.Snapshot {
		s := &inventory.Snapshot{}
		s.Add(&inventory.Object{Ref: ref, Fields: map[string]any{"F": v}})
		return s
	}
	quiet := map[string]apply.Hand{"h": watchful{}}
	for _, c := range []struct {
		name  string
		after map[string]any
		now   *inventory.Snapshot
		hands map[string]apply.Hand
		want  int
	}{
		{"as we left it", nil, now(json.Number("2")), quiet, 0},
		{"already back", nil, now(1), quiet, 0},
		{"as the engine wrote it", map[string]any{"F": json.Number("4")}, now(4), quiet, 0},
		{"changed since", nil, now(3), quiet, 1},
		{"gone", nil, &inventory.Snapshot{}, quiet, 1},
		{"the hand sees more", nil, now(2), map[string]apply.Hand{"h": watchful{cs: make([]apply.Conflict, 2)}}, 2},
	} {
		rec.Done[0].After = c.after
		cs, err := Conflicts(t.Context(), rec, c.now, c.hands)
		if err != nil || len(cs) != c.want {
			t.Errorf("%s: %v %v", c.name, cs, err)
		}
		// The same after a step that failed half way, but for an object that it
		// may have left without its name.
		if c.name == "gone" {
			c.want = 0
		}
		rec.Done[0].Err = "failed"
		if cs, err := Conflicts(t.Context(), rec, c.now, c.hands); err != nil || len(cs) != c.want {
			t.Errorf("%s, half way: %v %v", c.name, cs, err)
		}
		rec.Done[0].Err = ""
	}
}
