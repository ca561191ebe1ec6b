package atomicfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func ours(t *testing.T) Ours {
	return Ours{
		Path: filepath.Join(t.TempDir(), "d/60-casco.conf"), Header: "# Written by casco.", Perm: 0o644,
		Key: func(line string) (string, bool) {
			k, _, ok := strings.Cut(line, " = ")
			return k, ok && !strings.HasPrefix(k, "#")
		},
	}
}

func TestWith(t *testing.T) {
	for _, tc := range []struct{ name, was, key, line, want string }{
		{"new file", "", "b", "b = 1", "# Written by casco.\nb = 1\n"},
		{"sorted in", "# Written by casco.\na = 1\nc = 1\n", "b", "b = 1", "# Written by casco.\na = 1\nb = 1\nc = 1\n"},
		{"replaced", "# Written by casco.\nb = 0\n# mine\nc = 1\n", "b", "b = 1", "# Written by casco.\nb = 1\n# mine\nc = 1\n"},
		{"the last of two counts", "# Written by casco.\nb = 0\n# mine\nb = 2\nc = 3\n", "b", "b = 1", "# Written by casco.\n# mine\nb = 1\nc = 3\n"},
		{"three of one key", "# Written by casco.\nb = 0\nb = 5\nb = 2\n", "b", "b = 1", "# Written by casco.\nb = 1\n"},
		{"taken out", "# Written by casco.\na = 1\nb = 0\n", "b", "", "# Written by casco.\na = 1\n"},
		{"no newline at the end", "# Written by casco.\na = 1", "b", "b = 1", "# Written by casco.\na = 1\nb = 1\n"},
	} {
		if got := string(ours(t).with([]byte(tc.was), tc.key, tc.line)); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

// TestEditsInAnyOrder makes two edits and takes back the first one first.
func TestEditsInAnyOrder(t *testing.T) {
	o := ours(t)
	a, err := o.Prepare("a", "a = 1")
	must(t, err)
	must(t, o.Do(a))
	b, err := o.Prepare("b", "b = 1")
	must(t, err)
	must(t, o.Do(b))
	is(t, o.Path, "# Written by casco.\na = 1\nb = 1\n", 0o644)
	must(t, o.Undo(a))
	is(t, o.Path, "# Written by casco.\nb = 1\n", 0o644)
	must(t, o.Undo(a))
	is(t, o.Path, "# Written by casco.\nb = 1\n", 0o644)
	must(t, o.Undo(b)) // b found a in the file, but a is not b's to bring back
	only(t, filepath.Dir(o.Path))
}

func TestUndoToTheByte(t *testing.T) {
	o := ours(t)
	must(t, os.Mkdir(filepath.Dir(o.Path), 0o755))
	was := "# Written by casco.\nb = 0\n\nb = 7"
	put(t, o.Path, was, 0o600)
	e, err := o.Prepare("b", "b = 1")
	must(t, err)
	must(t, o.Do(e))
	is(t, o.Path, string(o.Preview(e)), 0o600)
	must(t, o.Undo(e))
	is(t, o.Path, was, 0o600)
}

func TestUndoRemovesWhatItMade(t *testing.T) {
	o := ours(t)
	e, err := o.Prepare("b", "b = 1")
	must(t, err)
	must(t, o.Undo(e))
	must(t, o.Do(e))
	must(t, o.Undo(e))
	must(t, o.Undo(e))
	only(t, filepath.Dir(filepath.Dir(o.Path)))
}

func TestForeignLineIsNotOverwritten(t *testing.T) {
	o := ours(t)
	e, err := o.Prepare("b", "b = 1")
	must(t, err)
	must(t, o.Do(e))
	if _, _, foreign, err := o.Foreign(e); foreign || err != nil {
		t.Errorf("untouched: %v, %v", foreign, err)
	}
	theirs := "# Written by casco.\n# no: 2, please\nb = 2\n"
	put(t, o.Path, theirs, 0o644)
	before, now, foreign, err := o.Foreign(e)
	must(t, err)
	if before != "" || now != "b = 2" || !foreign {
		t.Errorf("got %q, %q, %v", before, now, foreign)
	}
	must(t, o.Undo(e))
	is(t, o.Path, theirs, 0o644)

	put(t, o.Path, "# Written by casco.\n# a note\nb = 1\n", 0o644)
	if _, _, foreign, err := o.Foreign(e); foreign || err != nil {
		t.Errorf("a note beside the line: %v, %v", foreign, err)
	}
	must(t, o.Undo(e))
	is(t, o.Path, "# Written by casco.\n# a note\n", 0o644)
}

func TestPrepareRefuses(t *testing.T) {
	o := ours(t)
	if _, err := o.Prepare("b", "b = 1\nc = 2"); err == nil {
		t.Error("two lines are accepted")
	}
	if _, err := o.Prepare("b", "c = 1"); err == nil {
		t.Error("the line of another key is accepted")
	}
	must(t, os.Mkdir(filepath.Dir(o.Path), 0o755))
	put(t, o.Path, "b = 0\n", 0o644)
	if _, err := o.Prepare("b", "b = 1"); err == nil || !strings.Contains(err.Error(), "is not casco's") {
		t.Errorf("somebody else's file: %v", err)
	}
}
