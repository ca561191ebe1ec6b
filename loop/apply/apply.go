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

	"casco/loop/inventory"
	"casco/loop/plan"
)

// A State is how far a change has come.
type State string

const (
	Applying    State = "applying"     // steps are being done; after a crash: undo them
	Verifying   State = "verifying"    // all steps are done, the proof is outstanding
	Verified    State = "verified"     // done and proved; can be taken back
	Confirmed   State = "confirmed"    // kept for good: what its undo needs was let go
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
	Ended  time.Time  `json:"ended,omitzero"`
	State  State      `json:"state"`
	Done   []Done     `json:"done"`
	Why    string     `json:"why,omitempty"` // why it was undone or failed
}

// Sound returns an error if rec is of a format that this program does not
// know, or names steps that its plan lacks.
func (rec *Record) Sound() error {
	if rec.Plan == nil || rec.Plan.Schema != plan.Schema {
		return fmt.Errorf("its record is not of format %s", plan.Schema)
	}
	for _, d := range rec.Done {
		if d.Step < 0 || d.Step >= len(rec.Plan.Steps) {
			return fmt.Errorf("its record names step %d of %d", d.Step, len(rec.Plan.Steps))
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

// A Runner carries out plans with its hands. Save must put the record on
// stable storage before it returns. Step is called before each step is begun;
// it may be nil. Reach waits, within reason, until what a step changes can be
// reached, and fails if it cannot: an engine that died may be on its way back.
// It may be nil.
type Runner struct {
	Hands map[string]Hand
	Save  func(*Record) error
	Step  func(i int, st plan.Step)
	Reach func(ctx context.Context, st plan.Step) error
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
		err = fmt.Errorf("record could not be saved: %w", err)
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
			return fmt.Errorf("%s: not begun: no hand %q on this host", st.Ref, st.Hand)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := h.Prepare(ctx, st); err != nil {
			return fmt.Errorf("%s: not begun: %w", st.Ref, err)
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
	if r.Step != nil {
		r.Step(i, st)
	}
	undo, err := h.Prepare(ctx, st)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	rec.Done = append(rec.Done, Done{Step: i, Undo: undo})
	if err := r.Save(rec); err != nil {
		rec.Done = rec.Done[:len(rec.Done)-1]
		return fmt.Errorf("not begun, its undo could not be saved: %w", err)
	}
	d := &rec.Done[len(rec.Done)-1]
	if err := h.Do(ctx, st, undo); err != nil {
		d.Err = err.Error()
		return err
	}
	d.Finished = true
	if err := r.Save(rec); err != nil {
		return fmt.Errorf("record could not be saved: %w", err)
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
			errs = append(errs, fmt.Errorf("%s: undo: %w", st.Ref, err))
			failed, away = failed || reached, away || !reached
			continue
		}
		d.Undone = true
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
		return true, fmt.Errorf("no hand %q on this host", st.Hand)
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
// change is then Confirmed and can no longer be taken back.
func (r Runner) Release(ctx context.Context, rec *Record) error {
	rec.State = Confirmed
	if err := r.Save(rec); err != nil {
		return err
	}
	var errs []error
	for _, d := range rec.Done {
		st := rec.Plan.Steps[d.Step]
		if k, ok := r.Hands[st.Hand].(Keeper); ok {
			if err := k.Release(ctx, st, d.Undo); err != nil {
				errs = append(errs, fmt.Errorf("%s: release: %w", st.Ref, err))
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
