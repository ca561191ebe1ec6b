package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"casco/lang"
	"casco/ledger"
	"casco/loop/apply"
	"casco/loop/audit"
	"casco/loop/change"
	"casco/loop/inventory"
	"casco/loop/risk"
	"casco/store"
)

// A book is where a run writes down what happened: the ledger, the tables that
// show it, and the evidence beside it.
type book struct {
	log      *ledger.Log
	store    *store.Store
	evidence *ledger.Evidence
	damaged  bool // the tables were, and have just been made again
}

// book opens the ledger of this host, making it the first time. It stays open
// until the program ends.
func (a *app) book(ctx context.Context) (*book, error) {
	if a.opened != nil {
		return a.opened, nil
	}
	at := func(name string) string { return filepath.Join(a.statePath, name) }
	key, err := a.logKey()
	if err != nil {
		return nil, err
	}
	log, err := ledger.Open(at("ledger"), key, time.Now)
	if err != nil {
		return nil, err
	}
	tables, err := store.Open(ctx, at("store.db"), log)
	damaged := errors.Is(err, store.ErrDamaged)
	if damaged {
		tables, err = a.openAnew(ctx, at("store.db"), log, err)
	}
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	a.opened = &book{log, tables, ledger.NewEvidence(at("evidence"), log), damaged}
	a.tried(a.catchUp(ctx, a.opened))
	return a.opened, nil
}

// openAnew makes the tables again: the ledger is what counts, and no change
// waits for them. That they were damaged is written down, for tables that have
// more than the ledger may be all that shows that it was cut short.
func (a *app) openAnew(ctx context.Context, path string, log *ledger.Log, damage error) (*store.Store, error) {
	tables, aside, err := store.Anew(ctx, path, log)
	if err != nil {
		return nil, errors.Join(damage, err)
	}
	a.tell(lang.Text{En: "%v; they are at %s, and were made again from the ledger", Es: "%v; quedan en %s, y se rehicieron a partir del registro"}, damage, aside)
	ref := inventory.Ref{Kind: inventory.File, Name: path}
	if _, err := tables.Write(ctx, operator(), store.Drift{Ref: ref.String(), Field: "damage", Now: damage.Error()}); err != nil {
		return nil, errors.Join(err, tables.Close())
	}
	return tables, nil
}

// close ends what book opened.
func (a *app) close() error {
	if a.opened == nil {
		return nil
	}
	return errors.Join(a.opened.store.Close(), a.opened.log.Close())
}

// logKey is the key with which this host signs its ledger, made the first time.
func (a *app) logKey() (*ledger.Key, error) {
	name, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(a.statePath, 0o700); err != nil {
		return nil, err
	}
	return ledger.KeyFile(filepath.Join(a.statePath, "ledger.key"), ledger.Origin(name))
}

// note writes events down in the name of the operator.
func (a *app) note(ctx context.Context, events ...store.Event) error {
	b, err := a.book(ctx)
	if err != nil {
		return err
	}
	// What happened is written down although the run is told to end.
	_, err = b.store.Write(context.WithoutCancel(ctx), operator(), events...)
	return err
}

// tried says on the terminal what could not be written down, where that is no
// reason to stop.
func (a *app) tried(err error) {
	if err != nil {
		a.tell(lang.Text{En: "not written into the ledger: %v", Es: "no se escribió en el registro: %v"}, err)
	}
}

// keep puts b among the evidence for as long as the policy says.
func (a *app) keep(ctx context.Context, b []byte, what, media, source string) (string, error) {
	bk, err := a.book(ctx)
	if err != nil {
		return "", err
	}
	p, err := a.policy()
	if err != nil {
		return "", err
	}
	now := time.Now().UTC()
	m := ledger.Meta{Media: media, Source: source, Taken: now, What: what}
	if d := time.Duration(p.Evidence.Keep); d > 0 {
		m.Until = now.Add(d)
	}
	digest, err := bk.evidence.Put(b, operator(), m)
	return string(digest), err
}

func (a *app) keepSnapshot(ctx context.Context, s *inventory.Snapshot) (string, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := errors.Join(s.Write(z), z.Close()); err != nil {
		return "", err
	}
	return a.keep(ctx, b.Bytes(), "snapshot", "application/gzip", "casco of "+s.Host)
}

// noteBegun writes down that a change begins, with what was approved and who
// signed it. If that fails nothing is begun.
func (a *app) noteBegun(ctx context.Context, rec *apply.Record, c *change.Change) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if _, err := a.keep(ctx, b, "change "+rec.ID, "application/json", "casco apply"); err != nil {
		return err
	}
	var events []store.Event
	for _, said := range c.Approvals {
		events = append(events, approval(c, rec.ID, said))
	}
	return a.note(ctx, append(events, a.changed(rec, ""))...)
}

func approval(c *change.Change, id string, said change.Approval) store.Approval {
	return store.Approval{
		Plan: c.PlanID, Change: id, Digest: said.Change, Decision: string(said.Decision), By: said.By,
		At: said.At, Until: said.Until, Comment: said.Comment, Signature: said.Signature,
	}
}

// changed is the state of a change as an event.
func (a *app) changed(rec *apply.Record, why string) store.Change {
	var due time.Time
	switch {
	case rec.State == apply.Verified && !rec.ConfirmBy.IsZero():
		due = rec.ConfirmBy
	case rec.Ratified.IsZero():
		due = rec.RatifyBy
	}
	return store.Change{
		ID: rec.ID, Plan: rec.PlanID, Digest: rec.Digest, Class: rec.Class, State: string(rec.State), Author: rec.Author, Asked: rec.Asked,
		Reason: rec.Reason, By: operator(), Why: why, Steps: len(rec.Plan.Steps), Due: due,
	}
}

func (a *app) noteState(ctx context.Context, rec *apply.Record, why string) error {
	return a.note(ctx, a.changed(rec, why))
}

func (a *app) noteStep(ctx context.Context, rec *apply.Record, i int, what apply.Act, err error) error {
	st := rec.Plan.Steps[i]
	e := store.Step{Change: rec.ID, Index: i, Ref: st.Ref.String(), Hand: st.Hand, State: string(what)}
	if err != nil {
		e.Err = err.Error()
	}
	return a.note(ctx, e)
}

// A turn is one run of a part of the loop, to be written down.
type turn struct {
	of    string // audit, apply, rollback
	begun time.Time
	why   string
	same  string // digest of an earlier reading from which nothing differs; empty: none
}

// noteLook writes down a run with what it saw: the snapshot as evidence, and
// each finding that has another answer than before. Where both are as they were
// the evidence is the earlier snapshot.
func (a *app) noteLook(ctx context.Context, t turn, l *look) error {
	run := store.Run{
		ID: runID(t.begun, t.of), Of: t.of, Begun: t.begun.UTC(), Ended: time.Now().UTC(),
		Outcome: "ok", Why: t.why, Program: version, Host: l.snapshot.Host, Engine: l.engine,
	}
	p, err := a.policy()
	if err != nil {
		return err
	}
	run.Policy, run.Version = p.Digest, p.Metadata.Version
	if l.trouble != nil {
		run.Outcome, run.Why = "partial", l.trouble.Error()
	}
	c := risk.PostureOf(l.findings, risk.Judge(p, l.snapshot, l.findings, loaded, run.Ended))
	run.Counts = store.Counts{
		Pass: c.Pass, Fail: c.Fail, Unknown: c.Unknown, Manual: c.Manual, NotApplicable: c.NotApplicable, Accepted: c.Accepted, Gaps: len(l.snapshot.Gaps),
	}
	events, err := a.transitions(ctx, run.ID, l)
	if err != nil {
		return err
	}
	if run.Snapshot = t.same; run.Snapshot == "" || len(events) > 0 {
		if run.Snapshot, err = a.keepSnapshot(ctx, l.read); err != nil {
			return lang.Errorf(lang.Text{En: "snapshot: %w", Es: "instantánea: %w"}, err)
		}
	}
	return a.note(ctx, append(events, run)...)
}

// transitions are the findings of l that have another answer than the ledger
// last had, and those that are no more. Of a host that was not wholly read none
// is taken to be gone.
func (a *app) transitions(ctx context.Context, run string, l *look) ([]store.Event, error) {
	b, err := a.book(ctx)
	if err != nil {
		return nil, err
	}
	last, err := b.store.Verdicts(ctx)
	if err != nil {
		return nil, err
	}
	var events []store.Event
	for _, f := range audit.Ours(l.findings) { // other engines come and go, and are recorded where they are in use
		fp := f.Fingerprint()
		was, known := last[fp]
		delete(last, fp)
		if known && was.Verdict == f.Verdict.String() {
			continue
		}
		events = append(events, store.Verdict{
			Fingerprint: fp, Check: f.Check.ID, Ref: f.Ref.String(), Severity: f.Check.Severity.String(), Verdict: f.Verdict.String(), Was: was.Verdict, Run: run,
		})
	}
	if l.trouble != nil {
		return events, nil
	}
	for _, fp := range slices.Sorted(maps.Keys(last)) {
		v := last[fp]
		ref, err := inventory.ParseRef(v.Ref)
		if err != nil {
			return nil, err
		}
		if v.Verdict != store.Gone && !risk.Blind(l.snapshot, ref) {
			v.Was, v.Verdict, v.Run = v.Verdict, store.Gone, run
			events = append(events, v)
		}
	}
	return events, nil
}

// noteProved writes down that a change was proved, and what was seen.
func (a *app) noteProved(ctx context.Context, rec *apply.Record, after *look) {
	a.tried(a.noteState(ctx, rec, ""))
	a.tried(a.noteLook(ctx, turn{of: "apply", begun: rec.Begun, why: "change " + rec.ID}, after))
}

// noteTakenBack writes down that a change was taken back, and what was seen.
func (a *app) noteTakenBack(ctx context.Context, rec *apply.Record, after *look) {
	a.tried(a.noteState(ctx, rec, rec.Why))
	a.tried(a.noteLook(ctx, turn{of: "rollback", begun: time.Now(), why: "change " + rec.ID + ": " + rec.Why}, after))
}
