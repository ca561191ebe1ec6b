package ledger

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestEvidence holds I20: what is deleted had its time, was under no hold, and
// the ledger says so.
func TestEvidence(t *testing.T) {
	dir, key := tempDir(t), newTestKey(t)
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	l := openLogAt(t, dir, key, func() time.Time { return now })
	store := NewEvidence(filepath.Join(tempDir(t), "evidence"), l)
	big := make([]byte, 1<<20)
	d, err := store.Put(big, "uid 0", Meta{Media: "application/octet-stream", Source: "/proc/1/maps", Taken: now, Until: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if d != "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58" { // sha256sum of 1 MiB of zeros
		t.Error(d)
	}
	st, err := os.Stat(filepath.Join(store.dir, "30", string(d)))
	if err != nil || st.Mode() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	if b, err := store.Get(d); err != nil || !cmp.Equal(big, b) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if _, err := store.Put(big, "uid 1", Meta{Media: "application/octet-stream", Source: "again", Until: now.Add(2 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if n := len(filesOf(t, store.dir)); n != 1 {
		t.Errorf("%d files for the same bytes", n)
	}
	e, err := viewOf(t, l).Entry(0)
	want := `{"time":"2026-11-26T12:00:00Z","kind":"evidence","actor":"uid 0","about":"sha256:30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58",` +
		`"data":{"sha256":"30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58","size":1048576,"media":"application/octet-stream","source":"/proc/1/maps","taken":"2026-11-26T12:00:00Z","until":"2026-11-26T13:00:00Z"}}`
	if err != nil || string(e.Raw) != want {
		t.Errorf("%s, %v", e.Raw, err)
	}

	// Retention is the longest that was asked for; a hold is stronger.
	refused := func(is error) {
		t.Helper()
		if err := store.Purge(d, "uid 0", "old"); !errors.Is(err, is) {
			t.Errorf("%v, want %v", err, is)
		}
		if _, err := store.Get(d); err != nil {
			t.Errorf("was deleted all the same: %v", err)
		}
	}
	now = now.Add(90 * time.Minute)
	refused(ErrRetained)
	now = now.Add(time.Hour)
	if err := store.Hold(d, "legal", ""); err == nil {
		t.Error("a hold without a reason")
	}
	if err := store.Hold(d, "legal", "case 7"); err != nil {
		t.Fatal(err)
	}
	if err := store.Hold(d, "legal", "case 8"); err == nil {
		t.Error("held twice")
	}
	refused(ErrHeld)
	if err := store.Release(d, "legal", "case 7 is closed"); err != nil {
		t.Fatal(err)
	}
	size := viewOf(t, l).Size()
	if err := store.Purge(d, "uid 0", ""); err == nil {
		t.Error("purged without a reason")
	}
	if err := store.Purge(d, "uid 0", "retention ended"); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Get(d); !errors.Is(err, ErrNoEvidence) {
		t.Errorf("%v", err)
	}
	if e, err := viewOf(t, l).Entry(size); err != nil || e.Kind != Purge || e.About != d.About() {
		t.Errorf("%s, %v", e.Raw, err)
	}
	s, err := store.State(d)
	if diff := cmp.Diff(EvidenceState{Puts: 2, Until: time.Date(2026, 11, 26, 14, 0, 0, 0, time.UTC), Reason: "case 7 is closed", Purged: true}, s); diff != "" || err != nil {
		t.Errorf("%s%v", diff, err)
	}
	if err := store.Purge(d, "uid 0", "again"); !errors.Is(err, ErrNoEvidence) {
		t.Errorf("%v", err)
	}
	r := verifyLog(t, dir, Checks{Evidence: store.dir}, key)
	wantOK(t, r, viewOf(t, l).Size())
	if diff := cmp.Diff(EvidenceReport{Known: 1, Purged: 1, Checked: true}, r.Evidence); diff != "" {
		t.Error(diff)
	}
	put(t, store.dir, d.path(), string(big)) // put back by hand
	wantNotes(t, verifyLog(t, dir, Checks{Evidence: store.dir}, key), Lag, NotPurged)

	for _, bad := range []Digest{"", "30", "../../../../etc/passwd", d[:63] + "G"} {
		if _, err := store.Get(bad); err == nil {
			t.Errorf("%q was found", bad)
		}
	}
	put(t, store.dir, d.path(), "something else")
	if _, err := store.Get(d); !errors.Is(err, ErrAltered) {
		t.Errorf("%v", err)
	}
}

func TestEvidenceForEver(t *testing.T) {
	l := openLogAt(t, tempDir(t), newTestKey(t), time.Now)
	store := NewEvidence(tempDir(t), l)
	d, err := store.Put([]byte("x"), "uid 0", Meta{})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Purge(d, "uid 0", "old"); !errors.Is(err, ErrRetained) {
		t.Errorf("%v", err)
	}
	put(t, store.dir, DigestOf([]byte("stranger")).path(), "stranger")
	if err := store.Purge(DigestOf([]byte("stranger")), "uid 0", "who knows"); !errors.Is(err, ErrRetained) {
		t.Errorf("%v", err)
	}
}

// TestHoldAgainstPurge has a hold and a purge of the same evidence come at the
// same time: whichever is recorded first wins, and the ledger never says that
// held evidence was deleted.
func TestHoldAgainstPurge(t *testing.T) {
	dir, key := tempDir(t), newTestKey(t)
	l := openLogAt(t, dir, key, time.Now)
	twin := openLogAt(t, dir, key, time.Now) // as another process would
	where := tempDir(t)
	store, other := NewEvidence(where, l), NewEvidence(where, twin)
	past := time.Now().Add(-time.Hour)
	held, purged := 0, 0
	for i := range 30 {
		d, err := store.Put([]byte{byte(i)}, "uid 0", Meta{Until: past})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var holdErr, purgeErr error
		wg.Go(func() { holdErr = other.Hold(d, "legal", "now") })
		wg.Go(func() { purgeErr = store.Purge(d, "uid 0", "old") })
		wg.Wait()
		s, err := store.State(d)
		if err != nil {
			t.Fatal(err)
		}
		_, err = store.Get(d)
		switch {
		case purgeErr == nil:
			purged++
			if !s.Purged || !errors.Is(err, ErrNoEvidence) {
				t.Errorf("purged: %+v, %v", s, err)
			}
		case errors.Is(purgeErr, ErrHeld) && holdErr == nil:
			held++
			if s.Purged || !s.Held || err != nil {
				t.Errorf("held: %+v, %v", s, err)
			}
		default:
			t.Errorf("hold: %v, purge: %v", holdErr, purgeErr)
		}
		// In the order of the ledger: never a purge while a hold is on.
		var st EvidenceState
		for r, err := range viewOf(t, l).Entries(0, viewOf(t, l).Size()) {
			if err != nil {
				t.Fatal(err)
			}
			if r.About == d.About() {
				if r.Kind == Purge && st.Held {
					t.Error("purged while a hold was on")
				}
				if err := st.add(r.Entry); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	t.Logf("%d held, %d purged", held, purged)
}
