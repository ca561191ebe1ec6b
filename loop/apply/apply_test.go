package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"casco/loop/inventory"
	"casco/loop/plan"
)

// disk is a host of numbered switches, with a hand that turns them on.
type disk struct {
	on    map[string]bool
	fails map[string]error // "do a", "undo a", "prepare a"
	log   []string
}

func (d *disk) act(what string, st plan.Step) error {
	what += " " + st.Ref.Name
	d.log = append(d.log, what)
	return d.fails[what]
}

func (d *disk) Prepare(_ context.Context, st plan.Step) (json.RawMessage, error) {
	return json.RawMessage(fmt.Sprint(d.on[st.Ref.Name])), d.act("prepare", st)
}

func (d *disk) Do(_ context.Context, st plan.Step, _ json.RawMessage) error {
	d.on[st.Ref.Name] = true // half done, then fails: Undo must cope
	return d.act("do", st)
}

func (d *disk) Undo(_ context.Context, st plan.Step, undo json.RawMessage) error {
	if err := d.act("undo", st); err != nil {
		return err
	}
	d.on[st.Ref.Name] = string(undo) == "true"
	return nil
}

func threeSteps() *Record {
	rec := &Record{ID: "1", Plan: &plan.Plan{}}
	for _, name := range []string{"a", "b", "c"} {
		rec.Plan.Steps = append(rec.Plan.Steps, plan.Step{Ref: inventory.Ref{Kind: "x", Name: name}, Hand: "disk", Sets: []plan.Set{{Field: "F", From: 1, To: 2}}})
	}
	return rec
}

func (d *disk) all(want bool) bool {
	return d.on["a"] == want && d.on["b"] == want && d.on["c"] == want
}

// TestRun makes every act of a run fail in turn: the host is then wholly before
// or, if all went well, wholly after, and the record says which.
func TestRun(t *testing.T) {
	broken := errors.New("broken")
	for _, at := range []string{"", "prepare a", "do a", "prepare b", "do b", "do c"} {
		d := &disk{on: map[string]bool{}, fails: map[string]error{at: broken}}
		rec := threeSteps()
		var saved []State
		r := Runner{Hands: map[string]Hand{"disk": d}, Save: func(rec *Record) error { saved = append(saved, rec.State); return nil }}
		err := r.Run(t.Context(), rec)
		if at == "" {
			if err != nil || rec.State != Verifying || !d.all(true) {
				t.Errorf("%v %v %v", err, rec.State, d.on)
			}
			continue
		}
		if !errors.Is(err, broken) || rec.State != Undone || !d.all(false) || !strings.Contains(rec.Why, "broken") {
			t.Errorf("%s: err %v, state %v, host %v", at, err, rec.State, d.on)
		}
		if saved[len(saved)-1] != Undone {
			t.Errorf("%s: the end was not saved: %v", at, saved)
		}
	}
}

// TestFullDisk makes the n-th save fail, for all n. A step whose undo could not
// be saved is never begun.
func TestFullDisk(t *testing.T) {
	full := errors.New("no space left on device")
	for n := range 9 {
		d := &disk{on: map[string]bool{}}
		rec := threeSteps()
		saves := 0
		r := Runner{Hands: map[string]Hand{"disk": d}, Save: func(rec *Record) error {
			if saves++; saves > n {
				return full
			}
			if len(rec.Done) > 0 && !rec.Done[len(rec.Done)-1].Finished && d.on[rec.Plan.Steps[len(rec.Done)-1].Ref.Name] {
				t.Error("saved after the step had begun")
			}
			return nil
		}}
		err := r.Run(t.Context(), rec)
		if n >= 7 { // 2 a step, 1 at the end
			if err != nil || !d.all(true) {
				t.Errorf("%d saves: %v %v", n, err, d.on)
			}
		} else if !errors.Is(err, full) || !d.all(false) || rec.State != Undone {
			t.Errorf("%d saves: err %v, state %v, host %v", n, err, rec.State, d.on)
		}
	}
}

// TestCrash holds I6, the undo of every step is on record before it runs: it stops a run dead at each of its saves and hands what was saved last
// to Recover, as the next casco does.
func TestCrash(t *testing.T) {
	for n := 1; n <= 7; n++ {
		d := &disk{on: map[string]bool{}}
		var last []byte
		func() {
			defer func() { _ = recover() }()
			saves := 0
			r := Runner{Hands: map[string]Hand{"disk": d}, Save: func(rec *Record) error {
				last, _ = json.Marshal(rec)
				if saves++; saves == n {
					panic("kill -9")
				}
				return nil
			}}
			_ = r.Run(t.Context(), threeSteps())
		}()
		rec := new(Record)
		if err := json.Unmarshal(last, rec); err != nil {
			t.Fatal(err)
		}
		r := Runner{Hands: map[string]Hand{"disk": d}, Save: func(*Record) error { return nil }}
		if err := r.Recover(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		switch rec.State {
		case Verifying:
			if n != 7 || !d.all(true) {
				t.Errorf("save %d: verifying, host %v", n, d.on)
			}
		case Undone:
			if !d.all(false) {
				t.Errorf("save %d: undone, host %v", n, d.on)
			}
		default:
			t.Errorf("save %d: state %v", n, rec.State)
		}
	}
}

// TestUndoFails goes on with the other steps, ends Failed, and a second try
// undoes only what is left.
func TestUndoFails(t *testing.T) {
	d := &disk{on: map[string]bool{}, fails: map[string]error{}}
	rec := threeSteps()
	r := Runner{Hands: map[string]Hand{"disk": d}, Save: func(*Record) error { return nil }}
	if err := r.Run(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	d.fails["undo b"], d.log = errors.New("stuck"), nil
	if err := r.Undo(t.Context(), rec, RollingBack, "because"); err == nil || rec.State != Failed {
		t.Fatalf("%v %v", err, rec.State)
	}
	if want := []string{"undo c", "undo b", "undo a"}; !slices.Equal(d.log, want) {
		t.Errorf("order %v, want %v", d.log, want)
	}
	delete(d.fails, "undo b")
	d.log = nil
	if err := r.Undo(t.Context(), rec, RollingBack, "because"); err != nil || rec.State != RolledBack || !d.all(false) {
		t.Errorf("%v %v %v", err, rec.State, d.on)
	}
	if !slices.Equal(d.log, []string{"undo b"}) {
		t.Errorf("second try: %v", d.log)
	}
}

// TestAway leaves the way back open while what a step changed is away, and goes
// it when that is back.
func TestAway(t *testing.T) {
	d := &disk{on: map[string]bool{}, fails: map[string]error{"do c": errors.New("gone away")}}
	rec := threeSteps()
	away := errors.New("not reachable")
	r := Runner{Hands: map[string]Hand{"disk": d}, Save: func(*Record) error { return nil }, Reach: func(_ context.Context, st plan.Step) error {
		if st.Ref.Name == "b" {
			return away
		}
		return nil
	}}
	err := r.Run(t.Context(), rec)
	if !errors.Is(err, away) || rec.State != Undoing || !rec.State.Open() || d.on["a"] || !d.on["b"] || d.on["c"] {
		t.Fatalf("err %v, state %v, host %v", err, rec.State, d.on)
	}
	away, d.log = nil, nil
	if err := r.Recover(t.Context(), rec); err != nil || rec.State != Undone || !d.all(false) || !slices.Equal(d.log, []string{"undo b"}) {
		t.Errorf("back again: err %v, state %v, host %v, did %v", err, rec.State, d.on, d.log)
	}

	// It goes away in the middle of an undo, and is back for a second try.
	rec, d = threeSteps(), &disk{on: map[string]bool{}, fails: map[string]error{"do a": errors.New("gone away"), "undo a": errors.New("cut off")}}
	r.Hands, r.Reach = map[string]Hand{"disk": d}, func(context.Context, plan.Step) error {
		if slices.Contains(d.log, "undo a") {
			delete(d.fails, "undo a")
		}
		return nil
	}
	if err := r.Run(t.Context(), rec); rec.State != Undone || !d.all(false) {
		t.Errorf("second try: err %v, state %v, host %v", err, rec.State, d.on)
	}
}

// TestInterrupted undoes although the context is over.
func TestInterrupted(t *testing.T) {
	d := &disk{on: map[string]bool{}}
	rec := threeSteps()
	ctx, cancel := context.WithCancel(t.Context())
	r := Runner{Hands: map[string]Hand{"disk": d}, Save: func(*Record) error { return nil }, Note: func(_ context.Context, _ *Record, i int, what Act, _ error) error {
		if i == 1 && what == Begun {
			cancel()
		}
		return nil
	}}
	if err := r.Run(ctx, rec); !errors.Is(err, context.Canceled) && rec.State != Undone || !d.all(false) {
		t.Errorf("%v %v %v", err, rec.State, d.on)
	}
}
