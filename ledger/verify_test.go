package ledger

import (
	"context"
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

func verifyLog(t testing.TB, dir string, c Checks, keys ...*Key) *Report {
	t.Helper()
	for _, k := range keys {
		c.Trust.Log = append(c.Trust.Log, k.Verifier())
	}
	r, err := Verify(context.Background(), dir, c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantOK(t testing.TB, r *Report, size int64) {
	t.Helper()
	for _, p := range r.Problems {
		t.Errorf("%s: %s", p.Code, p.Text.En)
	}
	if r.Size != size || r.Proved != size {
		t.Errorf("size %d, proved %d, want %d", r.Size, r.Proved, size)
	}
}

func TestVerifyGood(t *testing.T) {
	for _, n := range []int64{0, 1, 255, 256, 257, 700, 66000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			dir, key := t.TempDir(), newTestKey(t)
			l := openLog(t, dir, key)
			fill(t, l, n)
			wantOK(t, verifyLog(t, dir, Checks{}, key), n) // while it is open
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			wantOK(t, verifyLog(t, dir, Checks{}, key), n)
		})
	}
}

var _ = note.Open
