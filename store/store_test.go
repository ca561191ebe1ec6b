package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"casco/ledger"
)

// open returns a store on a new ledger, and the ledger.
func open(t *testing.T) (*Store, *ledger.Log, string) {
	t.Helper()
	dir := t.TempDir()
	key, err := ledger.KeyFile(filepath.Join(dir, "key"), ledger.Origin("h"))
	if err != nil {
		t.Fatal(err)
	}
	log, err := ledger.Open(filepath.Join(dir, "ledger"), key, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "store.db")
	s, err := Open(t.Context(), path, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); log.Close() })
	return s, log, path
}

func write(t *testing.T, s *Store, events ...Event) {
	t.Helper()
	if _, err := s.Write(t.Context(), "ana", events...); err != nil {
		t.Fatal(err)
	}
}

var (
	bad  = Verdict{Fingerprint: "f1", Check: "container-privileged", Ref: "container/web", Severity: "critical", Verdict: "fail", Run: "r1"}
	good = Verdict{Fingerprint: "f1", Check: "container-privileged", Ref: "container/web", Severity: "critical", Verdict: "pass", Was: "fail", Run: "r2"}
	run1 = Run{ID: "r1", Of: "audit", Outcome: "ok", Host: "h", Policy: "builtin", Counts: Counts{Pass: 3, Fail: 1}}
)

// TestWrite holds I17, times in UTC with a sequence number. It finds again what was written, in the ledger and in the tables, by
// kind, time and what it is about.
func TestWrite(t *testing.T) {
	s, log, _ := open(t)
	write(t, s, bad, run1)
	write(t, s, good)
	vs, err := All[Verdict](t.Context(), s, Period{}, "f1")
	if err != nil {
		t.Fatal(err)
	}
	if len(vs) != 2 || vs[0].Index != 0 || vs[1].Index != 2 || vs[0].Actor != "ana" {
		t.Errorf("%+v", vs)
	}
	if vs[0].At.Location() != time.UTC || vs[1].At.Before(vs[0].At) {
		t.Errorf("times are %s, %s", vs[0].At, vs[1].At)
	}
	if diff := cmp.Diff([]Verdict{bad, good}, []Verdict{vs[0].Event, vs[1].Event}); diff != "" {
		t.Error(diff)
	}
	last, ok, err := Last[Run](t.Context(), s, "")
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if diff := cmp.Diff(run1, last.Event); diff != "" {
		t.Error(diff)
	}
	before, err := All[Verdict](t.Context(), s, Period{Until: vs[1].At}, "")
	if err != nil || len(before) != 1 {
		t.Errorf("before the second: %d, %v", len(before), err)
	}
	latest, err := s.Verdicts(t.Context())
	if diff := cmp.Diff(map[string]Verdict{"f1": good}, latest); diff != "" || err != nil {
		t.Error(diff, err)
	}
	view, err := log.View()
	if err != nil || view.Size() != 3 {
		t.Errorf("the ledger has %d entries, %v", view.Size(), err)
	}
}

// TestViews asks each view for every column that it has.
func TestViews(t *testing.T) {
	s, _, _ := open(t)
	write(t, s, bad, run1)
	for name := range views() {
		rows, err := s.db.QueryContext(t.Context(), "SELECT * FROM "+name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var check string
	if err := s.db.QueryRowContext(t.Context(), "SELECT \"check\" FROM verdicts WHERE verdict = 'fail'").Scan(&check); err != nil || check != bad.Check {
		t.Errorf("%q, %v", check, err)
	}
}

// TestRebuild makes the same tables again, whatever became of the file, and
// catches up with what another process appended.
func TestRebuild(t *testing.T) {
	s, log, path := open(t)
	write(t, s, bad, run1, good)
	want := dump(t, s)
	if err := s.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, dump(t, s), cmp.AllowUnexported(row{})); diff != "" {
		t.Errorf("after Rebuild: %s", diff)
	}
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		_ = os.Remove(name)
	}
	again, err := Open(t.Context(), path, log)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if diff := cmp.Diff(want, dump(t, again), cmp.AllowUnexported(row{})); diff != "" {
		t.Errorf("after the file was deleted: %s", diff)
	}
	e, err := ledger.NewEntry(ledger.Run, "ben", "r9", Run{ID: "r9"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(e); err != nil {
		t.Fatal(err)
	}
	if err := again.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(dump(t, again)); got != len(want)+1 {
		t.Errorf("%d rows after another's append, want %d", got, len(want)+1)
	}
}

func dump(t *testing.T, s *Store) []row {
	t.Helper()
	rows, err := s.db.QueryContext(t.Context(), "SELECT at, kind, actor, about, data FROM entries ORDER BY idx")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []row
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.at, &r.kind, &r.actor, &r.about, &r.data); err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// TestWriteMany writes more at once than the ledger takes in one append.
func TestWriteMany(t *testing.T) {
	s, log, _ := open(t)
	write(t, s, bad)
	many := make([]Event, 300)
	for i := range many {
		many[i] = Drift{Ref: fmt.Sprint("container/", i), Now: strings.Repeat("x", 60_000)}
	}
	if first, err := s.Write(t.Context(), "ana", many...); err != nil || first != 1 {
		t.Fatal(first, err)
	}
	view, err := log.View()
	if err != nil {
		t.Fatal(err)
	}
	got, err := All[Drift](t.Context(), s, Period{}, "")
	if err != nil || view.Size() != 301 || len(got) != 300 || got[299].Event.Ref != "container/299" {
		t.Errorf("%d entries, %d rows, %v", view.Size(), len(got), err)
	}
}

// TestCheck names the entry of each row that somebody laid hands on.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name, sql string
		want      []Mismatch
	}{
		{"nothing", "SELECT 1", nil},
		{"a verdict is turned", "UPDATE entries SET data = replace(data, 'fail', 'pass') WHERE idx = 0", []Mismatch{{0, "changed"}}},
		{"another did it", "UPDATE entries SET actor = 'eve' WHERE idx = 1", []Mismatch{{1, "changed"}}},
		{"a row is deleted", "DELETE FROM entries WHERE idx = 1", []Mismatch{{1, "missing"}}},
		{"the last is deleted", "DELETE FROM entries WHERE idx = 2", []Mismatch{{2, "missing"}}},
		{"all are deleted", "DELETE FROM entries", []Mismatch{{0, "missing"}, {1, "missing"}, {2, "missing"}}},
		{"one is added at the end", "INSERT INTO entries VALUES (9, '2026', 'run', 'eve', 'x', '{}')", []Mismatch{{9, "extra"}}},
		{"one is added before all", "INSERT INTO entries VALUES (-1, '2026', 'run', 'eve', 'x', '{}')", []Mismatch{{-1, "extra"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _, _ := open(t)
			write(t, s, bad, run1, good)
			if _, err := s.db.ExecContext(t.Context(), c.sql); err != nil {
				t.Fatal(err)
			}
			got, err := s.Check(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestForeign refuses a store of a newer casco, one that is ahead of its ledger
// and a file that is none, and does not touch them.
func TestForeign(t *testing.T) {
	s, log, path := open(t)
	write(t, s, bad)
	if _, err := s.db.ExecContext(t.Context(), "PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path, log); !errors.Is(err, ErrNewer) {
		t.Errorf("a newer store: %v", err)
	}
	other, _, ahead := open(t)
	write(t, other, bad, good)
	if _, err := Open(context.Background(), ahead, log); !errors.Is(err, ErrDamaged) {
		t.Errorf("a store with more entries than its ledger: %v", err)
	}
	junk := filepath.Join(t.TempDir(), "junk.db")
	if err := os.WriteFile(junk, []byte("this is not a database, and longer than its header would be"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), junk, log); !errors.Is(err, ErrDamaged) {
		t.Errorf("a file that is no database: %v", err)
	}
	if b, _ := os.ReadFile(junk); len(b) != 59 {
		t.Errorf("the file that is none was changed: %q", b)
	}
}

// TestAnew makes the tables again beside a damaged file, which stays.
func TestAnew(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"no database": func(path string) error { return os.WriteFile(path, []byte(strings.Repeat("x", 8192)), 0o600) },
		"cut short":   func(path string) error { return os.Truncate(path, 4096) },
		"no table":    func(path string) error { return execute(path, "DROP TABLE entries") },
		"ahead": func(path string) error {
			return execute(path, "INSERT INTO entries VALUES (99, '', 'run', 'eve', '', '{}')")
		},
		"another table": func(path string) error { return execute(path, "DROP TABLE entries; CREATE TABLE entries (a)") },
	} {
		t.Run(name, func(t *testing.T) {
			s, log, path := open(t)
			write(t, s, bad, run1)
			want := dump(t, s)
			if err := errors.Join(s.Close(), damage(path)); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(t.Context(), path, log); !errors.Is(err, ErrDamaged) {
				t.Fatalf("opened: %v", err)
			}
			for n := range 2 { // a second time it does not take the place of the first
				again, aside, err := Anew(t.Context(), path, log)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, dump(t, again), cmp.AllowUnexported(row{})); diff != "" {
					t.Error(diff)
				}
				if aside != fmt.Sprintf("%s.damaged-%d", path, n+1) {
					t.Errorf("put aside as %s", aside)
				}
				if err := again.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func execute(path, statement string) error {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Exec(statement)
	return err
}

// TestModes: what is beside the database is readable by its owner alone, too,
// whatever the umask.
func TestModes(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	s, _, path := open(t)
	write(t, s, bad)
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
	}
}
