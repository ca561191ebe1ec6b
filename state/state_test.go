package state

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"casco/loop/apply"
	"casco/loop/change"
	"casco/loop/plan"
)

func TestRecords(t *testing.T) {
	d := Open(filepath.Join(t.TempDir(), "state"))
	if recs, err := d.Records(); err != nil || len(recs) != 0 {
		t.Fatalf("a host without changes: %v %v", recs, err)
	}
	var ids []string
	for range 11 { // 10 sorts after 9, not after 1
		id, err := d.NewID("abcdef0123456789")
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
		c := change.New(&plan.Plan{Schema: plan.Schema}, "ana", time.Now())
		if err := d.Begin(id, c, []string{"before"}); err != nil {
			t.Fatal(err)
		}
		if err := d.Save(&apply.Record{ID: id, Plan: c.Plan, State: apply.Verified}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(d.Path(), "changes", "12-never-began"), 0o700); err != nil {
		t.Fatal(err)
	}
	if id, err := d.NewID("0123456789"); err != nil || id != "13-01234567" {
		t.Errorf("the number of a change that never began is given away again: %s %v", id, err)
	}
	recs, err := d.Records()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range recs {
		got = append(got, r.ID)
	}
	if !slices.Equal(got, ids) || ids[10] != "11-abcdef01" {
		t.Errorf("got %v, want %v", got, ids)
	}
	var before []string
	if err := d.Before(ids[3], &before); err != nil || len(before) != 1 {
		t.Errorf("%v %v", before, err)
	}
	if r, err := d.Record("4"); err != nil || r.ID != ids[3] {
		t.Errorf("by its number: %v %v", r, err)
	}
	for _, bad := range []string{"", "..", "../x", "a/b", ".", "99"} {
		if _, err := d.Record(bad); err == nil {
			t.Errorf("%q is the ID of a change", bad)
		}
	}
}

// TestBadRecord does not go on as if a record that it cannot read were not there.
func TestBadRecord(t *testing.T) {
	d := Open(t.TempDir())
	dir := filepath.Join(d.Path(), "changes", "1-x")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{`{"id":`, `{"id":"1-x"}`, `{"steps":{"schema":"casco/plan/v0"}}`, `{"steps":{"schema":"` + plan.Schema + `"},"done":[{"step":0}]}`} {
		if err := os.WriteFile(filepath.Join(dir, "record.json"), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Records(); err == nil || !strings.Contains(err.Error(), "1-x") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestLock(t *testing.T) {
	d := Open(filepath.Join(t.TempDir(), "new"))
	unlock, err := d.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lock(); !errors.Is(err, ErrLocked) {
		t.Errorf("locked twice: %v", err)
	}
	unlock()
	if unlock, err = d.Lock(); err != nil {
		t.Fatal(err)
	}
	unlock()
}

// TestKey keeps one key, that only its owner can read, and trusts only the
// first that approves.
func TestKey(t *testing.T) {
	d := Open(filepath.Join(t.TempDir(), "state"))
	key, err := d.Key()
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.Key()
	if err != nil || !key.Key().Equal(again.Key()) {
		t.Errorf("another key the second time: %v", err)
	}
	path := filepath.Join(d.Path(), "key")
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if st, err := os.Stat(d.Path()); err != nil || st.Mode() != fs.ModeDir|0o700 {
		t.Errorf("mode of the folder %v, %v", st.Mode(), err)
	}
	if err := d.Enrol(key.Key(), "ana\nx", time.Now()); err != nil {
		t.Fatal(err)
	}
	other, err := Open(filepath.Join(t.TempDir(), "other")).Key()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Enrol(other.Key(), "eve", time.Now()); err != nil {
		t.Fatal(err)
	}
	keys, err := d.Approvers()
	if err != nil || len(keys) != 1 || !keys[0].Equal(key.Key()) {
		t.Errorf("%v %v", keys, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Key(); err == nil {
		t.Error("a key that others can read is used")
	}
}

// TestOurs trusts no directory that somebody else may write to.
func TestOurs(t *testing.T) {
	for _, c := range []struct {
		mode os.FileMode
		uid  int
		ok   bool
	}{
		{0o700, os.Geteuid(), true},
		{0o755, os.Geteuid(), true},
		{0o770, os.Geteuid(), false},
		{0o777, os.Geteuid(), false},
		{0o700, 1000, false},
	} {
		path := t.TempDir()
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		if c.uid != os.Geteuid() {
			if os.Geteuid() != 0 {
				continue
			}
			if err := os.Chown(path, c.uid, 0); err != nil {
				t.Fatal(err)
			}
		}
		unlock, err := Open(path).Lock()
		if err == nil {
			unlock()
		}
		if _, listErr := Open(path).Approvers(); (err == nil) != c.ok || (listErr == nil) != c.ok {
			t.Errorf("%v, owned by %d: lock %v, approvers %v", c.mode, c.uid, err, listErr)
		}
	}
}

// TestLockRun keeps two loops apart, and neither from a change.
func TestLockRun(t *testing.T) {
	d := Open(t.TempDir())
	unlock, err := d.LockRun()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.LockRun(); !errors.Is(err, ErrRunning) {
		t.Errorf("a second loop: %v", err)
	}
	change, err := d.Lock()
	if err != nil {
		t.Fatal(err)
	}
	change()
	unlock()
	if unlock, err = d.LockRun(); err != nil {
		t.Fatal(err)
	}
	unlock()
}
