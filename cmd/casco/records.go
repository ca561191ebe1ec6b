package main

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"

	"casco/lang"
	"casco/loop/apply"
	"casco/loop/inventory"
	"casco/state"
	"casco/store"
)

// noteRecords holds the record of each change against what the ledger last said
// of it. They part when a run is killed between the two, and when somebody edits
// a record: from here that cannot be told apart. So both are written down, the
// difference as drift of the record, and that the ledger now says what the
// record says, with the reason. While a change is under way nothing is compared.
func (a *app) noteRecords(ctx context.Context, run string) error {
	unlock, err := a.state().Lock()
	if errors.Is(err, state.ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	recs, err := a.state().Records()
	if err != nil {
		return err
	}
	said, err := store.All[store.Change](ctx, a.opened.store, store.Period{}, "")
	if err != nil {
		return err
	}
	last := map[string]store.Change{}
	for _, c := range said {
		if c.Event.ID != "" && c.Event.State != unratified { // a record says no such thing
			last[c.Event.ID] = c.Event
		}
	}
	var events []store.Event
	for _, rec := range recs {
		was := last[rec.ID]
		delete(last, rec.ID)
		if rec.State.Open() { // its way back is open too
			continue
		}
		if ds := a.parted(was, rec); len(ds) > 0 {
			for _, d := range ds {
				d.Run = run
				events = append(events, d)
			}
			events = append(events, a.changed(rec, "taken over from its record: the run that did it ended before it could say so, or somebody edited the record"))
			a.tell(lang.Text{
				En: "change %s: its record and the ledger differ: a run was killed, or somebody edited the record: casco log show --about %[1]s",
				Es: "cambio %s: su record.json y el registro difieren: se mató una ejecución, o alguien lo editó: casco log show --about %[1]s",
			}, rec.ID)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(last)) {
		e, err := a.lost(ctx, last[id], run)
		if err != nil {
			return err
		}
		events = append(events, e...)
	}
	if len(events) == 0 {
		return nil
	}
	return a.note(ctx, events...)
}

// recordRef is the record of change id as an object of this host.
func (a *app) recordRef(id string) string {
	return inventory.Ref{Kind: inventory.File, Name: filepath.Join(a.statePath, "changes", id, "record.json")}.String()
}

// parted is what rec says otherwise than the ledger.
func (a *app) parted(was store.Change, rec *apply.Record) []store.Drift {
	is := a.changed(rec, "")
	var out []store.Drift
	differs := func(field string, said, says any) {
		out = append(out, store.Drift{Ref: a.recordRef(rec.ID), Field: field, Was: said, Now: says})
	}
	for _, f := range []struct{ field, was, is string }{
		{"state", was.State, is.State},
		{"plan", was.Plan, is.Plan},
		{"digest", was.Digest, is.Digest},
		{"class", was.Class, is.Class},
		{"author", was.Author, is.Author},
	} {
		if f.was != f.is {
			differs(f.field, f.was, f.is)
		}
	}
	if !was.Due.Equal(is.Due) {
		differs("due", was.Due, is.Due)
	}
	return out
}

// lost says of a change that has no record why: no step of it was begun before
// the run was killed, or somebody removed what there was. That is said once.
func (a *app) lost(ctx context.Context, was store.Change, run string) ([]store.Event, error) {
	if was.State == string(apply.Undone) {
		return nil, nil
	}
	steps, err := store.All[store.Step](ctx, a.opened.store, store.Period{}, was.ID)
	if err != nil {
		return nil, err
	}
	if was.State == string(apply.Applying) && len(steps) == 0 {
		was.State, was.By, was.Why = string(apply.Undone), operator(), "no step of it was begun: the run ended before"
		return []store.Event{was}, nil
	}
	ref := a.recordRef(was.ID)
	drifts, err := store.All[store.Drift](ctx, a.opened.store, store.Period{}, ref)
	if err != nil {
		return nil, err
	}
	if len(drifts) > 0 && drifts[len(drifts)-1].Event.Now == inventory.Absent {
		return nil, nil
	}
	a.tell(lang.Text{
		En: "change %s (%s in the ledger) has no record any more: somebody removed it, and it cannot be taken back",
		Es: "el cambio %s (%s en el registro) ya no tiene record.json: alguien lo borró, y no se puede revertir",
	}, was.ID, was.State)
	return []store.Event{store.Drift{Ref: ref, Was: inventory.Present, Now: inventory.Absent, Run: run}}, nil
}
