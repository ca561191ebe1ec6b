// Package apply carries out approved changes.
//
// A change is done wholly or not at all. Each step's undo is on disk before
// the step begins; when a step fails, it and all before it are undone, last
// first. A run that was killed is found by its Record, and Recover takes it
// back. "Done" is not "fixed": only package verify says that.
package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"casco/lang"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// A State is how far a change has come.
type State string

const (
	Applying    State = "applying"     // steps are being done; after a crash: undo them
	Verifying   State = "verifying"    // all steps are done, the proof is outstanding
	Verified    State = "verified"     // done and proved; can be taken back
	Confirmed   State = "confirmed"    // a person said that it may stay; can be taken back
	Released    State = "released"     // kept for good: what its undo needs was let go
	Undoing     State = "undoing"      // a step or the proof failed
	Undone      State = "undone"       // the host is as it was before
	RollingBack State = "rolling-back" // a verified change is being taken back
	RolledBack  State = "rolled-back"  // the host is as it was before
	Failed      State = "failed"       // could not be undone: a person must look
)

// Open reports whether a change in state s was left half way by a run that is
// no more.
func (s State) Open() bool {
	return s == Applying || s == Verifying || s == Undoing || s == RollingBack
}

// A Done is one step that was begun.
type Done struct {
	Step     int             `json:"step"` // index in Plan.Steps
	Undo     json.RawMessage `json:"undo"`
	Finished bool            `json:"finished"` // Do returned without an error
	Undone   bool            `json:"undone"`
	Err      string          `json:"err,omitempty"`
	// After is what the step's fields were once the change was proved, as the
	// host says it: an engine may write a value in another way than asked.
	After map[string]any `json:"after,omitempty"`
}

// A Record is what was done for one change. It is saved before and after every
// act; what it says is what is known after a crash.
type Record struct {
	ID     string     `json:"id"`
	PlanID string     `json:"plan"`
	Plan   *plan.Plan `json:"steps"`
	Host   string     `json:"host"`   // the machine's name; its undo is for no other
	Engine string     `json:"engine"` // address of the engine that was changed; nor for any other engine
	By     string     `json:"by"`
	Begun  time.Time  `json:"begun"` // UTC
	// Class, Author, Approvers and Reason are those of the change, as it was
	// approved; Digest is what was signed.
	Class     string    `json:"class,omitempty"`
	Author    string    `json:"author,omitempty"`
	Asked     time.Time `json:"asked,omitzero"` // when its author did
	Approvers []string  `json:"approvers,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	Digest    string    `json:"digest,omitempty"`
	// ConfirmBy is when the change takes itself back unless somebody has
	// confirmed it; RatifyBy when an emergency must have been ratified. Zero: never.
	ConfirmBy time.Time `json:"confirm_by,omitzero"`
	RatifyBy  time.Time `json:"ratify_by,omitzero"`
	Ratified  time.Time `json:"ratified,omitzero"`
	Ended     time.Time `json:"ended,omitzero"`
	State     State     `json:"state"`
	Done      []Done    `json:"done"`
	Why       string    `json:"why,omitempty"` // why it was undone or failed
}

// Stands reports whether what rec did is in force, as far as casco knows.
func (rec *Record) Stands() bool {
	return rec.State == Verified || rec.State == Confirmed || rec.State == Released
}

// Reversible reports whether rec can be taken back.
func (rec *Record) Reversible() bool {
	return rec.State == Verified || rec.State == Confirmed || rec.State == Failed
}

// Unconfirmed reports whether rec should have been confirmed by now and was not.
func (rec *Record) Unconfirmed(now time.Time) bool {
	return rec.State == Verified && !rec.ConfirmBy.IsZero() && !now.Before(rec.ConfirmBy)
}

// Unratified reports whether rec is an emergency that stands and should have
// been ratified by now.
func (rec *Record) Unratified(now time.Time) bool {
	return rec.Stands() && !rec.RatifyBy.IsZero() && rec.Ratified.IsZero() && !now.Before(rec.RatifyBy)
}

// Sound returns an error if rec is of a format that this program does not
// know, or names steps that its plan lacks.
func (rec *Record) Sound() error {
	if rec.Plan == nil || rec.Plan.Schema != plan.Schema {
		return lang.Errorf(lang.Text{En: "its record is not of format %s", Es: "su registro no es de formato %s"}, plan.Schema)
	}
	for _, d := range rec.Done {
		if d.Step < 0 || d.Step >= len(rec.Plan.Steps) {
			return lang.Errorf(lang.Text{En: "its record names step %d of %d", Es: "su registro nombra el paso %d de %d"}, d.Step, len(rec.Plan.Steps))
		}
	}
	return nil
}

// Observe notes in rec what its fields are in s, read after the change.
func (rec *Record) Observe(s *inventory.Snapshot) {
	for i := range rec.Done {
		d := &rec.Done[i]
		d.After = map[string]any{}
		for _, set := range rec.Plan.Steps[d.Step].Sets {
			if o := s.Find(rec.Plan.Steps[d.Step].Ref); o != nil {
				d.After[set.Field], _, _ = inventory.Lookup(o, set.Field)
			}
		}
	}
}

// An Act is what a run did with a step.
type Act string

const (
	Begun    Act = "begun"  // its undo is on disk, it is about to be done
	Finished Act = "done"   // the hand returned without an error
	Broke    Act = "failed" // the hand returned an error
	Reversed Act = "undone"
)

// A Runner carries out plans with its hands. Save must put the record on
// stable storage before it returns. Note is told of each act on step i, of which
// err is the outcome; if it fails for a step that is about to be done, that step
// is not done. It may be nil. Reach waits, within reason, until what a step
// changes can be reached, and fails if it cannot: an engine that died may be on
// its way back. It may be nil.
type Runner struct {
	Hands map[string]Hand
	Save  func(*Record) error
	Note  func(ctx context.Context, rec *Record, i int, what Act, err error) error
	Reach func(ctx context.Context, st plan.Step) error
}

func (r Runner) note(ctx context.Context, rec *Record, i int, what Act, err error) error {
	if r.Note == nil {
		return nil
	}
	return r.Note(ctx, rec, i, what, err)
}

// Run carries out the plan of rec, in order. It returns nil when all steps are
// done (rec is then Verifying). Otherwise the host has been put back (rec is
// Undone) or could not be (Failed), and the error says why.
func (r Runner) Run(ctx context.Context, rec *Record) error {
	rec.State = Applying
	if err := r.preflight(ctx, rec); err != nil {
		return errors.Join(err, r.Undo(context.WithoutCancel(ctx), rec, Undoing, err.Error()))
	}
	for i := range rec.Plan.Steps {
		if err := r.step(ctx, rec, i); err != nil {
			err = fmt.Errorf("%s: %w", rec.Plan.Steps[i].Ref, err)
			// Undo although ctx may be over: half a change is worse than a late one.
			return errors.Join(err, r.Undo(context.WithoutCancel(ctx), rec, Undoing, err.Error()))
		}
	}
	rec.State = Verifying
	if err := r.Save(rec); err != nil {
		err = lang.Errorf(lang.Text{En: "record could not be saved: %w", Es: "no se pudo guardar el registro: %w"}, err)
		return errors.Join(err, r.Undo(context.WithoutCancel(ctx), rec, Undoing, err.Error()))
	}
	return nil
}

// preflight prepares every step and forgets the result: a change whose last
// step cannot be done is not begun. Each step is prepared again when it is its
// turn, for those before it may have changed what it will find.
func (r Runner) preflight(ctx context.Context, rec *Record) error {
	for _, st := range rec.Plan.Steps {
		h, ok := r.Hands[st.Hand]
		if !ok {
			return lang.Errorf(lang.Text{
				En: "%s: not begun: no hand %q on this host",
				Es: "%s: no se empezó: no hay mano %q en este anfitrión",
			}, st.Ref, st.Hand)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := h.Prepare(ctx, st); err != nil {
			return lang.Errorf(lang.Text{En: "%s: not begun: %w", Es: "%s: no se empezó: %w"}, st.Ref, err)
		}
	}
	return nil
}

func (r Runner) step(ctx context.Context, rec *Record, i int) error {
	st := rec.Plan.Steps[i]
	h := r.Hands[st.Hand] // preflight found it
	if err := ctx.Err(); err != nil {
		return err
	}
	undo, err := h.Prepare(ctx, st)
	if err != nil {
		return lang.Errorf(lang.Text{En: "prepare: %w", Es: "preparar: %w"}, err)
	}
	rec.Done = append(rec.Done, Done{Step: i, Undo: undo})
	if err := r.Save(rec); err != nil {
		rec.Done = rec.Done[:len(rec.Done)-1]
		return lang.Errorf(lang.Text{En: "not begun, its undo could not be saved: %w", Es: "no se empezó, no se pudo guardar cómo deshacerlo: %w"}, err)
	}
	d := &rec.Done[len(rec.Done)-1]
	if err := r.note(ctx, rec, i, Begun, nil); err != nil {
		return lang.Errorf(lang.Text{En: "not begun, it could not be written down: %w", Es: "no se empezó, no se pudo dejar constancia: %w"}, err)
	}
	if err := h.Do(ctx, st, undo); err != nil {
		d.Err = err.Error()
		return errors.Join(err, r.note(ctx, rec, i, Broke, err))
	}
	d.Finished = true
	if err := r.note(ctx, rec, i, Finished, nil); err != nil {
		return lang.Errorf(lang.Text{En: "done, and could not be written down: %w", Es: "hecho, y no se pudo dejar constancia: %w"}, err)
	}
	if err := r.Save(rec); err != nil {
		return lang.Errorf(lang.Text{En: "record could not be saved: %w", Es: "no se pudo guardar el registro: %w"}, err)
	}
	return nil
}

// Undo takes back all steps of rec that were begun, last first, and does not
// stop at failures. During is the state until it is over: Undoing or
// RollingBack. It ends in Undone, RolledBack, or Failed with an error. If what
// a step changes cannot be reached it stays in the state during, with an
// error: the way back is open, for Recover to go.
func (r Runner) Undo(ctx context.Context, rec *Record, during State, why string) error {
	rec.State, rec.Why = during, why
	// With a full disk the record cannot be saved, but going back must not
	// wait for that: the undo of every step is there already.
	errs := []error{r.Save(rec)}
	failed, away := false, false
	for i := len(rec.Done) - 1; i >= 0; i-- {
		d := &rec.Done[i]
		if d.Undone {
			continue
		}
		st := rec.Plan.Steps[d.Step]
		reached, err := r.undo(ctx, st, d.Undo)
		if err != nil {
			d.Err = err.Error()
			errs = append(errs, lang.Errorf(lang.Text{En: "%s: undo: %w", Es: "%s: deshacer: %w"}, st.Ref, err))
			failed, away = failed || reached, away || !reached
			continue
		}
		d.Undone = true
		_ = r.note(ctx, rec, d.Step, Reversed, nil) // going back does not wait for the ledger
	}
	switch {
	case failed:
		rec.State = Failed
	case away: // still during
	case during == RollingBack:
		rec.State = RolledBack
	default:
		rec.State = Undone
	}
	err := r.Save(rec)
	if failed || away || err != nil {
		return errors.Join(append(errs, err)...)
	}
	return nil
}

// undo takes one step back. What it changes may go away under it and come
// back: then it is tried once more. Reached is false if it is still away.
func (r Runner) undo(ctx context.Context, st plan.Step, undo json.RawMessage) (reached bool, err error) {
	h, ok := r.Hands[st.Hand]
	if !ok {
		return true, lang.Errorf(lang.Text{En: "no hand %q on this host", Es: "no hay mano %q en este anfitrión"}, st.Hand)
	}
	if r.Reach == nil {
		return true, h.Undo(ctx, st, undo)
	}
	for range 2 {
		if err := r.Reach(ctx, st); err != nil {
			return false, err
		}
		if err = h.Undo(ctx, st, undo); err == nil {
			return true, nil
		}
	}
	if away := r.Reach(ctx, st); away != nil {
		return false, errors.Join(err, away)
	}
	return true, err
}

// Release lets go of what the undo of a verified change holds on to. The
// change is then Released and can no longer be taken back.
func (r Runner) Release(ctx context.Context, rec *Record) error {
	rec.State = Released
	if err := r.Save(rec); err != nil {
		return err
	}
	var errs []error
	for _, d := range rec.Done {
		st := rec.Plan.Steps[d.Step]
		if k, ok := r.Hands[st.Hand].(Keeper); ok {
			if err := k.Release(ctx, st, d.Undo); err != nil {
				errs = append(errs, lang.Errorf(lang.Text{En: "%s: release: %w", Es: "%s: soltar: %w"}, st.Ref, err))
			}
		}
	}
	return errors.Join(errs...)
}

// Recover brings a record that a dead run left open to its end: what was half
// done or being taken back is taken back. A record in Verifying is left to the
// caller, who can prove it, or Undo it.
func (r Runner) Recover(ctx context.Context, rec *Record) error {
	switch rec.State {
	case Applying:
		return r.Undo(ctx, rec, Undoing, "the run that applied it ended before it was done")
	case Undoing, RollingBack:
		return r.Undo(ctx, rec, rec.State, rec.Why)
	}
	return nil
}
