package lang

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

func TestSay(t *testing.T) {
	locked := Errorf(Text{En: "another casco is at work", Es: "otro casco está trabajando"})
	state := Text{En: "verified", Es: "verificado"}
	for _, c := range []struct {
		err    error
		en, es string
	}{
		{locked, "another casco is at work", "otro casco está trabajando"},
		{
			Errorf(Text{En: "change %s is %s: %w", Es: "el cambio %s está %s: %w"}, "1-ab", state, locked),
			"change 1-ab is verified: another casco is at work", "el cambio 1-ab está verificado: otro casco está trabajando",
		},
		{fmt.Errorf("file/x: %w", locked), "file/x: another casco is at work", "file/x: otro casco está trabajando"},
		{
			errors.Join(locked, fs.ErrExist, nil, fmt.Errorf("y: %w, %w", locked, locked)),
			"another casco is at work\nfile already exists\ny: another casco is at work, another casco is at work",
			"otro casco está trabajando\nfile already exists\ny: otro casco está trabajando, otro casco está trabajando",
		},
		{
			Errorf(Text{En: "not read: %v, 5 %%", Es: "no leído: %v, 5 %%"}, &fs.PathError{Op: "open", Path: "/x", Err: fs.ErrPermission}),
			"not read: open /x: permission denied, 5 %", "no leído: open /x: permission denied, 5 %",
		},
		{fs.ErrInvalid, "invalid argument", "invalid argument"},
	} {
		if got := Say(c.err, English); got != c.en || c.err.Error() != c.en {
			t.Errorf("English: got %q, want %q", got, c.en)
		}
		if got := Say(c.err, Spanish); got != c.es {
			t.Errorf("Spanish: got %q, want %q", got, c.es)
		}
	}
}

// TestErrorUnwraps: callers branch on what is inside, as with fmt.Errorf.
func TestErrorUnwraps(t *testing.T) {
	one := Errorf(Text{En: "a: %w", Es: "b: %w"}, fs.ErrExist)
	two := Errorf(Text{En: "%w, %w", Es: "%w, %w"}, one, fs.ErrClosed)
	if !errors.Is(two, fs.ErrExist) || !errors.Is(two, fs.ErrClosed) || !errors.Is(two, one) {
		t.Error("what was wrapped is not found")
	}
	if errors.Is(Errorf(Text{En: "%v", Es: "%v"}, fs.ErrExist), fs.ErrExist) {
		t.Error("what was only printed is found")
	}
	path := &fs.PathError{}
	if !errors.As(fmt.Errorf("x: %w", Errorf(Text{En: "%w", Es: "%w"}, &fs.PathError{Op: "open"})), &path) || path.Op != "open" {
		t.Error("errors.As does not see through")
	}
}
