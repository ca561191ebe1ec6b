// Package handtest holds every hand to what the loop relies on when it changes
// a host: that preparing changes nothing, and that whatever was done, wholly,
// half or not at all, can be taken back to the byte, more than once.
//
// A hand's test calls Run with a function that makes a fresh case. The suite
// passes steps and undos through JSON on the way, because that is how they
// reach a hand in real life: a number arrives as a float64.
//
// A run that is killed is imitated by a context: when the hand looks at
// ctx.Err() for the nth time, its goroutine stops there for ever, as a killed
// process would: nothing is cleaned up, no deferred call runs. Run tries every
// n. So a hand looks at ctx.Err() between any two of its acts, the first
// included, and it must not hold a lock across such a look that Undo needs.
package handtest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"casco/loop/apply"
	"casco/loop/plan"
)

// A Fresh makes one case in a state of its own: a hand, a step that changes
// something, and a function that says what state the part of the host is in
// that the hand could touch: contents, modes, running values. It must show
// more than the step's fields, or the suite proves little.
type Fresh func(t *testing.T) (h apply.Hand, st plan.Step, state func() string)

// Run puts the hand through all that can happen to a step.
func Run(t *testing.T, fresh Fresh) {
	t.Helper()
	for _, tc := range []struct {
		name string
		run  func(*testing.T, *attempt)
	}{
		{"prepare changes nothing", func(t *testing.T, a *attempt) {
			a.is("Prepare", a.before)
		}},
		{"undo without do", func(t *testing.T, a *attempt) {
			a.undo()
			a.is("Undo of a step that was never begun", a.before)
		}},
		{"do and undo", func(t *testing.T, a *attempt) {
			a.do()
			a.undo()
			a.is("Undo", a.before)
		}},
		{"undo twice", func(t *testing.T, a *attempt) {
			a.do()
			a.undo()
			a.undo()
			a.is("the second Undo", a.before)
		}},
		{"do, undo and the same again", func(t *testing.T, a *attempt) {
			after := a.do()
			a.undo()
			a.prepare()
			if again := a.do(); again != after {
				t.Errorf("done again it ends elsewhere:\n%s", cmp.Diff(after, again))
			}
			a.undo()
			a.is("the Undo of the second turn", a.before)
		}},
		{"nothing is begun once the context is over", func(t *testing.T, a *attempt) {
			over, cancel := context.WithCancel(t.Context())
			cancel()
			if err := a.hand.Do(over, a.step, a.json); err == nil {
				t.Error("Do says that it succeeded")
			}
			a.is("a Do with a context that is over", a.before)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.run(t, begin(t, fresh)) })
	}
	t.Run("killed half way", func(t *testing.T) { killed(t, fresh) })
}

// looks is more than any hand looks at its context; it ends the search for
// one that never comes to an end.
const looks = 200

func killed(t *testing.T, fresh Fresh) {
	for n := 1; n <= looks; n++ {
		ended := false
		t.Run(fmt.Sprintf("at look %d", n), func(t *testing.T) {
			a := begin(t, fresh)
			ended = !a.doUntil(n)
			a.undo()
			a.is("Undo", a.before)
			a.undo()
			a.is("the second Undo", a.before)
		})
		switch {
		case ended && n == 1:
			t.Error("Do never looks at its context")
			return
		case ended || t.Failed():
			return
		}
	}
	t.Errorf("Do looked at its context %d times and was not done", looks)
}

// An attempt is one case on its way.
type attempt struct {
	t      *testing.T
	hand   apply.Hand
	step   plan.Step
	state  func() string
	before string          // the state that Prepare found
	json   json.RawMessage // what Prepare returned, as it comes back from a disk
}

// begin makes a case and prepares it.
func begin(t *testing.T, fresh Fresh) *attempt {
	t.Helper()
	a := &attempt{t: t}
	var st plan.Step
	a.hand, st, a.state = fresh(t)
	throughJSON(t, st, &a.step)
	a.before = a.state()
	if a.state() != a.before {
		t.Fatal("the case's state is not the same twice; nothing can be told from it")
	}
	a.prepare()
	return a
}

func (a *attempt) prepare() {
	a.t.Helper()
	undo, err := a.hand.Prepare(a.t.Context(), a.step)
	if err != nil {
		a.t.Fatalf("Prepare: %v", err)
	}
	a.json = nil
	throughJSON(a.t, undo, &a.json)
}

// do returns the state after Do.
func (a *attempt) do() string {
	a.t.Helper()
	if err := a.hand.Do(a.t.Context(), a.step, a.json); err != nil {
		a.t.Fatalf("Do: %v", err)
	}
	after := a.state()
	if after == a.before {
		a.t.Fatal("Do changed nothing that the case's state shows")
	}
	return after
}

// doUntil runs Do until its nth look at its context. It returns false if Do
// came to its end before.
func (a *attempt) doUntil(n int) (killed bool) {
	a.t.Helper()
	ctx := &mortal{Context: context.WithoutCancel(a.t.Context()), left: n, dead: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- a.hand.Do(ctx, a.step, a.json) }()
	select {
	case <-ctx.dead:
		return true
	case err := <-ended:
		if err != nil {
			a.t.Fatalf("Do: %v", err)
		}
		return false
	}
}

func (a *attempt) undo() {
	a.t.Helper()
	if err := a.hand.Undo(a.t.Context(), a.step, a.json); err != nil {
		a.t.Fatalf("Undo: %v", err)
	}
}

func (a *attempt) is(what, want string) {
	a.t.Helper()
	if got := a.state(); got != want {
		a.t.Errorf("after %s the state is not what it was:\n%s", what, cmp.Diff(want, got))
	}
}

// mortal is a context that stops who looks at it for the nth time, for ever.
type mortal struct {
	context.Context
	mu   sync.Mutex
	left int // guarded by mu: looks until death
	dead chan struct{}
}

func (m *mortal) Err() error {
	m.mu.Lock()
	m.left--
	last := m.left == 0
	gone := m.left <= 0
	m.mu.Unlock()
	if last {
		close(m.dead)
	}
	if gone {
		select {}
	}
	return nil
}

func throughJSON(t *testing.T, from, to any) {
	t.Helper()
	b, err := json.Marshal(from)
	if err != nil {
		t.Fatalf("%T is not JSON: %v", from, err)
	}
	if err := json.Unmarshal(b, to); err != nil {
		t.Fatal(err)
	}
}
