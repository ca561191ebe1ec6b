package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A testClock goes on by a second each time somebody looks.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *testClock {
	return &testClock{now: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)}
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
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
	return openLogAt(t, dir, key, newClock().Now)
}

func openLogAt(t testing.TB, dir string, key *Key, clock func() time.Time) *Log {
	t.Helper()
	l, err := Open(dir, key, clock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() }) // a test that cares closes it itself
	return l
}

func closeLog(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func viewOf(t testing.TB, l *Log) *View {
	t.Helper()
	v, err := l.View()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// fill appends entries, a hundred at a time, until the log has n. Each has its
// index in About.
func fill(t testing.TB, l *Log, n int64) {
	t.Helper()
	var es []Entry
	for i := viewOf(t, l).Size(); i < n; i++ {
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
	for _, n := range []int64{0, 1, 2, 3, 255, 256, 257, 1000, 1023, 1024, 1025, 70000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			dir, key := tempDir(t), newTestKey(t)
			l := openLog(t, dir, key)
			fill(t, l, n)
			wantEntries(t, viewOf(t, l), n)
			closeLog(t, l)
			v, err := Read(dir, key.Verifier())
			if err != nil {
				t.Fatal(err)
			}
			wantEntries(t, v, n)
			if err := os.RemoveAll(filepath.Join(dir, "lock")); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(dir, "journal")); err != nil { // as in a copy made by tools for tiled logs
				t.Fatal(err)
			}
			if v, err = Read(dir, key.Verifier()); err != nil {
				t.Fatal(err)
			}
			wantEntries(t, v, n)
		})
	}
}

// wantEntries wants the entries that fill has made.
func wantEntries(t testing.TB, v *View, n int64) {
	t.Helper()
	if v.Size() != n || v.Checkpoint().Size != n {
		t.Fatalf("size %d, checkpoint of %d, want %d", v.Size(), v.Checkpoint().Size, n)
	}
	var i int64
	for r, err := range v.Entries(0, n) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Index != i || r.About != fmt.Sprintf("change/%d", i) {
			t.Fatalf("entry %d is %d, %s", i, r.Index, r.Raw)
		}
		i++
	}
	if i != n {
		t.Fatalf("%d entries, want %d", i, n)
	}
}

func TestEntryOfRange(t *testing.T) {
	l := openLog(t, tempDir(t), newTestKey(t))
	fill(t, l, 1500)
	v := viewOf(t, l)
	for _, i := range []int64{0, 255, 256, 1023, 1024, 1499} {
		if r, err := v.Entry(i); err != nil || r.About != fmt.Sprintf("change/%d", i) {
			t.Errorf("entry %d: %s, %v", i, r.Raw, err)
		}
	}
	for _, i := range []int64{-1, 1500, 1 << 40} {
		if _, err := v.Entry(i); !errors.Is(err, ErrNoEntry) {
			t.Errorf("entry %d: %v", i, err)
		}
	}
	var got []int64
	for r, err := range v.Entries(254, 259) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r.Index)
	}
	if diff := cmp.Diff([]int64{254, 255, 256, 257, 258}, got); diff != "" {
		t.Error(diff)
	}
	fill(t, l, 3000) // a view does not change
	if _, err := v.Entry(1499); err != nil || v.Size() != 1500 {
		t.Errorf("a view of 1500 entries has %d, %v", v.Size(), err)
	}
}

func TestEntryOnDisk(t *testing.T) {
	dir, key := tempDir(t), newTestKey(t)
	l := openLog(t, dir, key)
	e, err := NewEntry(Approval, `key "op1" <1>`, "change/1", map[string]any{"plan": "a9256aa3"})
	if err != nil {
		t.Fatal(err)
	}
	e.Time = time.Now() // is set by Append
	if _, err := l.Append(e); err != nil {
		t.Fatal(err)
	}
	r, err := viewOf(t, l).Entry(0)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"time":"2026-11-26T12:00:01Z","kind":"approval","actor":"key \"op1\" \u003c1\u003e","about":"change/1","data":{"plan":"a9256aa3"}}`
	if diff := cmp.Diff(want, string(r.Raw)); diff != "" {
		t.Error(diff)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{"index":0,`+want[1:], string(b)); diff != "" {
		t.Error(diff)
	}
	closeLog(t, l)
	for _, name := range []string{"format", "checkpoint", "journal", "lock", "tile/0/000.p/1", "tile/entries/000.p/1"} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil || st.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	l := openLog(t, tempDir(t), newTestKey(t))
	e := step(0)
	e.Time = time.Date(2026, 11, 26, 12, 0, 1, 0, time.UTC) // as long as the times of this test are
	empty, err := json.Marshal(Entry{Time: e.Time, Kind: Step, Actor: "x", Data: []byte(`""`)})
	if err != nil {
		t.Fatal(err)
	}
	sized := func(n int) Entry {
		return Entry{Kind: Step, Actor: "x", Data: []byte(`"` + strings.Repeat("d", n-len(empty)) + `"`)}
	}
	for _, tt := range []struct {
		name string
		e    Entry
		ok   bool
		is   error
	}{
		{"good", step(0), true, nil},
		{"no details", Entry{Kind: Run, Actor: "casco"}, true, nil},
		{"just fits", sized(MaxEntry), true, nil},
		{"one byte too big", sized(MaxEntry + 1), false, ErrTooBig},
		{"no kind", Entry{Actor: "casco"}, false, nil},
		{"unknown kind", Entry{Kind: "gossip", Actor: "casco"}, false, nil},
		{"no actor", Entry{Kind: Run}, false, nil},
		{"no JSON", Entry{Kind: Run, Actor: "casco", Data: []byte(`{"a":`)}, false, nil},
	} {
		before := viewOf(t, l).Size()
		first, err := l.Append(step(1), tt.e, step(2))
		after := viewOf(t, l).Size()
		switch {
		case tt.ok && (err != nil || first != before || after != before+3):
			t.Errorf("%s: first %d, size %d → %d, %v", tt.name, first, before, after, err)
		case !tt.ok && (err == nil || after != before):
			t.Errorf("%s: size %d → %d, %v", tt.name, before, after, err)
		case tt.is != nil && !errors.Is(err, tt.is):
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	big := make([]Entry, 300)
	for i := range big {
		big[i] = sized(MaxEntry)
	}
	before := viewOf(t, l).Size()
	if _, err := l.Append(big...); !errors.Is(err, ErrTooBig) || viewOf(t, l).Size() != before {
		t.Errorf("20 MB at once: %v", err)
	}
	if first, err := l.Append(big[:250]...); err != nil || first != before {
		t.Errorf("16 MB at once: %d, %v", first, err)
	}
	if first, err := l.Append(); err != nil || first != viewOf(t, l).Size() {
		t.Errorf("nothing appended: %d, %v", first, err)
	}
	closeLog(t, l)
	if _, err := l.Append(step(0)); !errors.Is(err, ErrClosed) {
		t.Errorf("append to a closed log: %v", err)
	}
}

// TestAppendTogether has goroutines of two logs on one directory append, good
// entries and bad ones, and wants each good one where Append said.
func TestAppendTogether(t *testing.T) {
	dir, key := tempDir(t), newTestKey(t)
	logs := []*Log{openLogAt(t, dir, key, time.Now), openLogAt(t, dir, key, time.Now)}
	const workers, each = 40, 30
	var mu sync.Mutex
	at := map[int64]string{}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				a, b := fmt.Sprintf("change/%d-%d-a", w, i), fmt.Sprintf("change/%d-%d-b", w, i)
				first, err := logs[w%2].Append(Entry{Kind: Step, Actor: "x", About: a}, Entry{Kind: Step, Actor: "x", About: b})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := logs[w%2].Append(Entry{Kind: "none", Actor: "x"}); err == nil {
					t.Error("a bad entry was taken")
				}
				mu.Lock()
				at[first], at[first+1] = a, b
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	closeLog(t, logs[0])
	closeLog(t, logs[1])
	wantOK(t, verifyLog(t, dir, Checks{}, key), workers*each*2)
	v, err := Read(dir, key.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	if v.Size() != workers*each*2 || len(at) != workers*each*2 {
		t.Fatalf("%d entries, %d places", v.Size(), len(at))
	}
	for r, err := range v.Entries(0, v.Size()) {
		if err != nil {
			t.Fatal(err)
		}
		if r.About != at[r.Index] {
			t.Fatalf("entry %d is %s, want %s", r.Index, r.About, at[r.Index])
		}
	}
}

func TestClock(t *testing.T) {
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	dir, key := tempDir(t), newTestKey(t)
	now := at
	l := openLogAt(t, dir, key, func() time.Time { return now })
	add := func(d time.Duration) {
		t.Helper()
		now = at.Add(d)
		if _, err := l.Append(step(0)); err != nil {
			t.Fatal(err)
		}
	}
	add(0)
	add(10 * time.Second)
	add(9500 * time.Millisecond) // a time daemon at work: levelled
	add(-3 * time.Hour)          // moved back: recorded
	add(-3 * time.Hour)
	closeLog(t, l)
	l = openLogAt(t, dir, key, func() time.Time { return now }) // and remembered over a restart
	add(-5 * time.Hour)
	closeLog(t, l)

	v, err := Read(dir, key.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for r, err := range v.Entries(0, v.Size()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %s %s", r.Time.Sub(at), r.Kind, r.Data))
	}
	data := ` {"did":"something"}`
	want := []string{
		"0s step" + data, "10s step" + data, "10s step" + data,
		`-3h0m0s clock {"was":"2026-11-26T12:00:10Z","now":"2026-11-26T09:00:00Z","seconds":10810}`, "-3h0m0s step" + data,
		"-3h0m0s step" + data,
		`-5h0m0s clock {"was":"2026-11-26T09:00:00Z","now":"2026-11-26T07:00:00Z","seconds":7200}`, "-5h0m0s step" + data,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	r := verifyLog(t, dir, Checks{}, key)
	wantOK(t, r, 8)
	wantNotes(t, r, ClockMoved, ClockMoved)
}

func wantNotes(t testing.TB, r *Report, codes ...NoteCode) {
	t.Helper()
	var got []NoteCode
	for _, n := range r.Notes {
		got = append(got, n.Code)
		if n.Text.Empty() {
			t.Errorf("%s: a text in one language only: %+v", n.Code, n.Text)
		}
	}
	if diff := cmp.Diff(codes, got); diff != "" {
		t.Error(diff)
	}
}

func TestOpenRefuses(t *testing.T) {
	key := newTestKey(t)
	made := func(t *testing.T) string {
		dir := filepath.Join(tempDir(t), "log")
		l := openLog(t, dir, key)
		fill(t, l, 3)
		closeLog(t, l)
		return dir
	}
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, dir string) *Key
		is    error
		says  string
	}{
		{"newer format", func(t *testing.T, dir string) *Key {
			put(t, dir, "format", "casco ledger 2\n")
			return key
		}, ErrNewer, "format 2, this casco knows 1"},
		{"no format", func(t *testing.T, dir string) *Key {
			put(t, dir, "format", "something\n")
			return key
		}, nil, "format marker is unreadable"},
		{"format marker lost", func(t *testing.T, dir string) *Key {
			remove(t, dir, "format")
			return key
		}, ErrNoLog, "no ledger"},
		{"another log's key", func(t *testing.T, dir string) *Key {
			k, err := NewKey("other/casco")
			if err != nil {
				t.Fatal(err)
			}
			return k
		}, ErrDamaged, "signed by docker01/casco+"},
		{"another key of the same name", func(t *testing.T, dir string) *Key { return newTestKey(t) }, ErrDamaged, "not signed by a key that is trusted for it"},
		{"checkpoint lost", func(t *testing.T, dir string) *Key {
			remove(t, dir, "checkpoint")
			return key
		}, ErrDamaged, "checkpoint is missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := made(t)
			k := tt.spoil(t, dir)
			before := filesOf(t, dir)
			l, err := Open(dir, k, time.Now)
			if err == nil {
				l.Close()
				t.Fatal("was opened")
			}
			if !strings.Contains(err.Error(), tt.says) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v", err)
			}
			if diff := cmp.Diff(before, filesOf(t, dir)); diff != "" {
				t.Errorf("was changed: %s", diff)
			}
		})
	}
	t.Run("a folder of something else", func(t *testing.T) {
		dir := tempDir(t)
		put(t, dir, "thesis.txt", "do not lose")
		if _, err := Open(dir, key, time.Now); !errors.Is(err, ErrNoLog) {
			t.Errorf("%v", err)
		}
	})
	t.Run("a folder for everybody", func(t *testing.T) {
		dir := made(t)
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, key, time.Now); err == nil || !strings.Contains(err.Error(), "anybody may write there") {
			t.Errorf("%v", err)
		}
	})
	t.Run("nothing to read", func(t *testing.T) {
		if _, err := Read(tempDir(t), key.Verifier()); !errors.Is(err, ErrNoLog) {
			t.Errorf("%v", err)
		}
	})
}

func put(t testing.TB, dir, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func remove(t testing.TB, dir, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// filesOf returns all files under dir but locks.
func filesOf(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "lock" {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// copyTree makes a copy of a log.
func copyTree(t testing.TB, dir string) string {
	t.Helper()
	to := tempDir(t)
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestTornTail cuts the journal within its last frame at every byte, as a kill
// can, and wants what was acknowledged before, and the cut recorded.
func TestTornTail(t *testing.T) {
	dir, key := tempDir(t), newTestKey(t)
	l := openLog(t, dir, key)
	fill(t, l, 2)
	whole := len(get(t, dir, "journal"))
	if _, err := l.Append(step(2)); err != nil {
		t.Fatal(err)
	}
	journal := get(t, dir, "journal")
	// Without Close: the process was killed. Its open files are let go of.
	if err := l.release(); err != nil {
		t.Fatal(err)
	}
	spoilt := [][]byte{journal[:whole]}
	for n := whole + 1; n < len(journal); n += 1 + (n-whole)/20 { // every byte of the head, then wider
		spoilt = append(spoilt, journal[:n])
	}
	// What a power cut leaves on file systems that make the file longer first.
	spoilt = append(spoilt,
		append(bytes.Clone(journal[:whole]), make([]byte, len(journal)-whole)...),
		append(bytes.Clone(journal[:whole+40]), make([]byte, 4096)...))
	for _, j := range spoilt {
		dir := copyTree(t, dir)
		put(t, dir, "journal", string(j))
		r := verifyLog(t, dir, Checks{}, key)
		wantOK(t, r, 2)
		torn := len(j) - whole
		if torn > 0 {
			wantNotes(t, r, TornTail, Lag)
		}
		l := openLog(t, dir, key)
		if first, err := l.Append(step(9)); err != nil || first != 2+int64(min(torn, 1)) {
			t.Fatalf("%d bytes torn: first %d, %v", torn, first, err)
		}
		closeLog(t, l)
		size := int64(3 + min(torn, 1))
		wantOK(t, verifyLog(t, dir, Checks{}, key), size)
		if torn == 0 {
			continue
		}
		e, err := viewOf(t, openLog(t, dir, key)).Entry(2)
		want := fmt.Sprintf(`{"bytes":%d,"sha256":"%s"}`, torn, DigestOf(j[whole:]))
		if err != nil || e.Kind != Repair || string(e.Data) != want {
			t.Fatalf("%s, %v, want %s", e.Raw, err, want)
		}
	}
}

// TestJournalBitFlips changes every byte of a journal that is not published:
// nothing that was acknowledged may get lost unseen.
func TestJournalBitFlips(t *testing.T) {
	dir, key := tempDir(t), newTestKey(t)
	l := openLog(t, dir, key)
	for i := range int64(3) {
		if _, err := l.Append(step(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.release(); err != nil {
		t.Fatal(err)
	}
	journal := get(t, dir, "journal")
	for i := range journal {
		for _, bit := range []byte{0x01, 0x80} {
			b := bytes.Clone(journal)
			b[i] ^= bit
			put(t, dir, "journal", string(b))
			if v, err := Read(dir, key.Verifier()); !errors.Is(err, ErrDamaged) {
				t.Fatalf("byte %d: %v, %v", i, v, err)
			}
			if r := verifyLog(t, dir, Checks{}, key); r.OK() {
				t.Fatalf("byte %d: found nothing", i)
			}
			if _, err := Open(dir, key, time.Now); !errors.Is(err, ErrDamaged) {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
	}
	put(t, dir, "journal", string(journal))
	wantOK(t, verifyLog(t, dir, Checks{}, key), 3)
}

// tempDir is t.TempDir in memory where that can be had: most tests make
// hundreds of flushes that prove nothing. Those about crashes use the disk.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "casco-ledger.")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestTornTailOfAnother has another process cut off a torn tail and write a
// frame of just its length: a writer that had seen the tail must not take the
// frame for it.
func TestTornTailOfAnother(t *testing.T) {
	key := newTestKey(t)
	made := func(torn int) (dir string, whole int) {
		dir = tempDir(t)
		l := openLog(t, dir, key)
		fill(t, l, 2)
		if err := l.release(); err != nil {
			t.Fatal(err)
		}
		journal := get(t, dir, "journal")
		put(t, dir, "journal", string(journal)+strings.Repeat("\x00", torn))
		return dir, len(journal)
	}
	at := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return at }
	dir, whole := made(500)
	if _, err := openLogAt(t, dir, key, clock).Append(step(7)); err != nil {
		t.Fatal(err)
	}
	frame := len(get(t, dir, "journal")) - whole
	dir, _ = made(frame)
	before := len(get(t, dir, "journal"))
	first, second := openLogAt(t, dir, key, clock), openLogAt(t, dir, key, clock)
	if _, err := second.Append(step(7)); err != nil {
		t.Fatal(err)
	}
	if after := len(get(t, dir, "journal")); after != before {
		t.Fatalf("the journal has %d bytes, not %d: this proves nothing", after, before)
	}
	if i, err := first.Append(step(8)); err != nil || i != 4 {
		t.Errorf("at %d, %v", i, err)
	}
	if e, err := viewOf(t, first).Entry(3); err != nil || e.About != "change/7" {
		t.Errorf("%s, %v", e.Raw, err)
	}
	wantOK(t, verifyLog(t, dir, Checks{}, key), 5)
}
