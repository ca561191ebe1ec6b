// Package rollback takes a verified change back.
//
// It never overwrites what somebody else changed after us: a field, or a file,
// that is no longer as the change left it is a Conflict, shown with what it
// was before, what we made it and what it is now, and the rollback does not
// begin.
package rollback

import (
	"context"
	"strings"

	"casco/lang"
	"casco/loop/apply"
	"casco/loop/inventory"
)

// Conflicts compares what rec did with the host as it is now, field by field
// and, where a hand can tell more than the fields show, by asking it. Of a step
// that failed half way, that its object is gone is no conflict: the hand may
// have left it under another name.
func Conflicts(ctx context.Context, rec *apply.Record, now *inventory.Snapshot, hands map[string]apply.Hand) ([]apply.Conflict, error) {
	var cs []apply.Conflict
	for _, d := range rec.Done {
		if d.Undone {
			continue
		}
		st := rec.Plan.Steps[d.Step]
		o := now.Find(st.Ref)
		if o == nil && d.Err == "" {
			cs = append(cs, apply.Conflict{What: st.Ref.String(), Before: there, Ours: there, Now: gone})
			continue
		}
		for _, s := range st.Sets {
			if o == nil {
				break
			}
			v, _, _ := inventory.Lookup(o, s.Field)
			ours, observed := d.After[s.Field]
			if !observed {
				ours = s.To
			}
			if !inventory.Equal(v, ours) && !inventory.Equal(v, s.From) {
				cs = append(cs, apply.Conflict{What: st.Ref.String() + " " + s.Field, Before: s.From, Ours: ours, Now: v})
			}
		}
		w, ok := hands[st.Hand].(apply.Watchful)
		if !ok {
			continue
		}
		more, err := w.Foreign(ctx, st, d.Undo)
		if err != nil {
			return cs, lang.Errorf(lang.Text{En: "%s: tell foreign changes: %w", Es: "%s: distinguir cambios ajenos: %w"}, st.Ref, err)
		}
		later := touchedAfter(rec, d.Step)
		for _, c := range more {
			if !about(c, later) {
				cs = append(cs, c)
			}
		}
	}
	return cs, nil
}

// What is said of an object as a whole.
var (
	there = lang.Text{En: "there", Es: "está"}
	gone  = lang.Text{En: "gone", Es: "ya no está"}
)

// touchedAfter lists the objects that steps of the same change after step i
// went on to change. They are not as step i left them, and that is ours.
func touchedAfter(rec *apply.Record, i int) []inventory.Ref {
	var refs []inventory.Ref
	for _, d := range rec.Done {
		if d.Step > i && !d.Undone {
			st := rec.Plan.Steps[d.Step]
			refs = append(append(refs, st.Ref), st.With...)
		}
	}
	return refs
}

func about(c apply.Conflict, refs []inventory.Ref) bool {
	for _, r := range refs {
		if c.What == r.String() || strings.HasPrefix(c.What, r.String()+" ") {
			return true
		}
	}
	return false
}
