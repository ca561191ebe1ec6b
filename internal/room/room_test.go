package room

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestRoom: one caller gets what one may have, all get what there is, and root gets
// theirs when all is taken. Who waits gets what is given back.
func TestRoom(t *testing.T) {
	r := New(40, 10)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	take := func(caller string, root bool, n int64, want error) func() {
		t.Helper()
		give, err := r.Take(over, caller, root, n)
		if !errors.Is(err, want) {
			t.Fatalf("%s takes %d: %v, want %v", caller, n, err, want)
		}
		return give
	}
	a := take("a", false, 6, nil)
	take("a", false, 6, ErrOwn)
	rest := take("a", false, 4, nil)
	b := take("b", false, 999, nil) // all that one may have
	take("b", false, 1, ErrOwn)
	c := take("c", false, 8, nil)
	take("d", false, 5, ErrAll)
	root := take("root", true, 10, nil)
	take("root", true, 1, ErrOwn)
	if r.Turned() != 4 {
		t.Errorf("%d were turned away", r.Turned())
	}
	got := make(chan error)
	go func() {
		give, err := r.Take(t.Context(), "d", false, 5)
		if err == nil {
			give()
		}
		got <- err
	}()
	select {
	case err := <-got:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	a()
	a()
	if err := <-got; err != nil {
		t.Error(err)
	}
	for _, give := range []func(){rest, b, c, root} {
		give()
	}
	if len(r.callers) != 0 {
		t.Errorf("%d callers are remembered", len(r.callers))
	}
	for i := range 3 {
		take(fmt.Sprint(i), false, 10, nil)
	}
}
