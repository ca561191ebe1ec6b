package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"casco/loop/apply"
	"casco/loop/plan"
	"casco/store"
)

// TestRecordsAndLedger finds each way in which the record of a change and the
// ledger part, says so once, and finds nothing where they agree.
func TestRecordsAndLedger(t *testing.T) {
	confirmBy := time.Now().UTC().Add(time.Hour)
	for _, c := range []struct {
		name   string
		do     func(*testing.T, loop, *apply.Record)
		fields []string // that differ
		state  string   // that the ledger then says
	}{
		{"nothing", func(*testing.T, loop, *apply.Record) {}, nil, "verified"},
		{"confirmed by the verb", func(t *testing.T, l loop, rec *apply.Record) {
			rec.State = apply.Confirmed
			ok(t, l.a.state().Save(rec))
			ok(t, l.a.noteState(t.Context(), rec, ""))
		}, nil, "confirmed"},
		{"confirmed by hand", func(t *testing.T, l loop, rec *apply.Record) {
			rec.State = apply.Confirmed
			ok(t, l.a.state().Save(rec))
		}, []string{"state", "due"}, "confirmed"},
		{"never to go back", func(t *testing.T, l loop, rec *apply.Record) {
			rec.ConfirmBy = time.Time{}
			ok(t, l.a.state().Save(rec))
		}, []string{"due"}, "verified"},
		{"another author", func(t *testing.T, l loop, rec *apply.Record) {
			rec.Author = "ana"
			ok(t, l.a.state().Save(rec))
		}, []string{"author"}, "verified"},
		{"its record removed", func(t *testing.T, l loop, _ *apply.Record) {
			ok(t, os.RemoveAll(filepath.Join(l.a.statePath, "changes")))
		}, []string{""}, "verified"},
		{"killed before its first step", func(t *testing.T, l loop, _ *apply.Record) {
			ok(t, l.a.note(t.Context(), store.Change{ID: "2-x", State: "applying"}))
		}, nil, "undone"},
		{"a change under way", func(t *testing.T, l loop, rec *apply.Record) {
			unlock, err := l.a.state().Lock()
			ok(t, err)
			t.Cleanup(unlock)
			rec.State = apply.RolledBack
			ok(t, l.a.state().Save(rec))
		}, nil, "verified"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLoop(t)
			rec := &apply.Record{ID: "1-x", Plan: &plan.Plan{Schema: plan.Schema}, State: apply.Applying, Author: "op"}
			ok(t, l.a.noteState(t.Context(), rec, ""))
			rec.State, rec.ConfirmBy = apply.Verified, confirmBy
			ok(t, l.a.state().Save(rec))
			ok(t, l.a.noteState(t.Context(), rec, ""))
			c.do(t, l, rec)
			for range 3 {
				ok(t, l.a.noteRecords(t.Context(), "r"))
			}
			drifts, err := store.All[store.Drift](t.Context(), l.a.opened.store, store.Period{}, l.a.recordRef("1-x"))
			ok(t, err)
			var fields []string
			for _, d := range drifts {
				fields = append(fields, d.Event.Field)
			}
			if d := cmp.Diff(c.fields, fields); d != "" {
				t.Error(d)
			}
			last, _, err := store.Last[store.Change](t.Context(), l.a.opened.store, "")
			ok(t, err)
			if last.Event.State != c.state {
				t.Errorf("the ledger says %s, want %s", last.Event.State, c.state)
			}
		})
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
