package ledger

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// A testClock goes on by a second each time somebody looks.
type testClock struct{ now time.Time }

func newClock() *testClock {
	return &testClock{time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)}
}

func (c *testClock) Now() time.Time {
	c.now = c.now.Add(time.Second)
	return c.now
}

func newTestKey(t testing.TB) *Key {
	t.Helper()
	k, err := NewKey(Origin("docker01"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func openLog(t testing.TB, dir string, key *Key) *Log {
	t.Helper()
	l, err := Open(dir, key, newClock().Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// fill appends entries until the log has n, each with its index in About.
func fill(t testing.TB, l *Log, n int64) {
	t.Helper()
	v, err := l.View()
	if err != nil {
		t.Fatal(err)
	}
	var es []Entry
	for i := v.Size(); i < n; i++ {
		es = append(es, step(i))
		if len(es) == 100 || i == n-1 {
			if _, err := l.Append(es...); err != nil {
				t.Fatal(err)
			}
			es = nil
		}
	}
}

func step(i int64) Entry {
	return Entry{Kind: Step, Actor: "uid 0", About: fmt.Sprintf("change/%d", i), Data: []byte(`{"did":"something"}`)}
}

func TestAppendAndRead(t *testing.T) {
	for _, n := range []int64{0, 1, 2, 3, 100, 255, 256, 257, 511, 512, 513, 1000, 66000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			dir, key := t.TempDir(), newTestKey(t)
			l := openLog(t, dir, key)
			fill(t, l, n)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			v, err := Read(dir, []note.Verifier{key.Verifier()}...)
			if err != nil {
				t.Fatal(err)
			}
			if v.Size() != n {
				t.Fatalf("size %d", v.Size())
			}
			var i int64
			for r, err := range v.Entries(0, n) {
				if err != nil {
					t.Fatal(err)
				}
				if r.Index != i || r.About != fmt.Sprintf("change/%d", i) {
					t.Fatalf("entry %d is %v", i, r)
				}
				i++
			}
			if i != n {
				t.Fatalf("%d entries", i)
			}
		})
	}
}
