package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"casco/lang"
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
	for _, p := range r.Problems {
		if p.Text.Empty() {
			t.Errorf("%s: a text in one language only: %+v", p.Code, p.Text)
		}
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
	for _, n := range []int64{0, 1, 255, 256, 257, 700, 1024, 66000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			dir, key := tempDir(t), newTestKey(t)
			l := openLog(t, dir, key)
			fill(t, l, n)
			wantOK(t, verifyLog(t, dir, Checks{}, key), n) // while it is open
			closeLog(t, l)
			r := verifyLog(t, dir, Checks{}, key)
			wantOK(t, r, n)
			wantNotes(t, r)
			if r.Kinds[Step] != n {
				t.Errorf("%v", r.Kinds)
			}
		})
	}
}

// A sample is a log of 700 entries in three appends a hundred... full bundles 0
// and 1, 188 entries in the journal and in a partial bundle, a witness that
// cosigned 400, and two pieces of evidence.
type sample struct {
	dir, evidence string
	key, witness  *Key
	at400, old    []byte // checkpoints: of the witness, and one of 650 entries
	oldJournal    []byte // with the entries up to 650
}

func newSample(t testing.TB) sample {
	t.Helper()
	s := sample{dir: tempDir(t), evidence: tempDir(t), key: newTestKey(t)}
	var err error
	if s.witness, err = NewWitnessKey("auditor.example/w1"); err != nil {
		t.Fatal(err)
	}
	l := openLogAt(t, s.dir, s.key, newClock().Now)
	store := NewEvidence(s.evidence, l)
	for i := range 2 {
		if _, err := store.Put(fmt.Appendf(nil, "evidence %d", i), "uid 0", Meta{Media: "text/plain", Source: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, l, 400)
	s.at400 = cosignNow(t, l, s.key, s.witness)
	fill(t, l, 512)
	if _, err := l.Publish(); err != nil {
		t.Fatal(err)
	}
	fill(t, l, 650)
	if _, err := l.Publish(); err != nil {
		t.Fatal(err)
	}
	s.old, s.oldJournal = get(t, s.dir, "checkpoint"), get(t, s.dir, "journal")
	fill(t, l, 700)
	closeLog(t, l)
	return s
}

// cosignNow has a witness cosign the log as it is, and returns the checkpoint.
func cosignNow(t testing.TB, l *Log, key, witness *Key) []byte {
	t.Helper()
	w, err := NewWitness(tempDir(t), witness, newClock().Now, key.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	req, err := viewOf(t, l).Request(0)
	if err != nil {
		t.Fatal(err)
	}
	line, err := w.Add(req)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := l.Witnessed(req.Checkpoint, line, witness.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	return cp.Note
}

func (s sample) checks() Checks {
	return Checks{
		Trust:        Trust{Log: []note.Verifier{s.key.Verifier()}, Witnesses: []note.Verifier{s.witness.Verifier()}},
		MinWitnesses: 1, Evidence: s.evidence,
	}
}

func (s sample) witnessFile() string {
	return fmt.Sprintf("witness/auditor.example_w1+%08x", s.witness.KeyHash())
}

// copied is a sample in folders of its own.
func (s sample) copied(t testing.TB) sample {
	s.dir, s.evidence = copyTree(t, s.dir), copyTree(t, s.evidence)
	return s
}

func TestSampleIsGood(t *testing.T) {
	s := newSample(t)
	r := verifyLog(t, s.dir, s.checks())
	wantOK(t, r, 700)
	wantNotes(t, r)
	if r.Witnessed != 400 || r.Evidence.Good != 2 || len(r.Held) != 1 || !r.Held[0].Agrees || r.Held[0].Cosigned[0].Witness != "auditor.example/w1" {
		t.Errorf("%+v", r)
	}
	if got, want := r.Kinds, map[Kind]int64{Evidenced: 2, Witnessed: 1, Step: 697}; !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
}

// TestTamper does to a good log what somebody who wants to hide something (or
// a bad disk) could do to its files, and wants that Verify names what is wrong.
func TestTamper(t *testing.T) {
	s := newSample(t)
	flip := func(name string, at int) func(*testing.T, sample) {
		return func(t *testing.T, s sample) {
			b := get(t, s.dir, name)
			if at < 0 {
				at += len(b)
			}
			b[at] ^= 0x20
			put(t, s.dir, name, string(b))
		}
	}
	drop := func(name string) func(*testing.T, sample) {
		return func(t *testing.T, s sample) { remove(t, s.dir, name) }
	}
	cut := func(name string) func(*testing.T, sample) {
		return func(t *testing.T, s sample) {
			b := get(t, s.dir, name)
			put(t, s.dir, name, string(b[:len(b)/2+1]))
		}
	}
	grow := func(name string) func(*testing.T, sample) {
		return func(t *testing.T, s sample) {
			put(t, s.dir, name, string(get(t, s.dir, name))+"some garbage at the end")
		}
	}
	swap := func(a, b string) func(*testing.T, sample) {
		return func(t *testing.T, s sample) {
			x, y := get(t, s.dir, a), get(t, s.dir, b)
			put(t, s.dir, a, string(y))
			put(t, s.dir, b, string(x))
		}
	}
	both := func(a, b func(*testing.T, sample)) func(*testing.T, sample) {
		return func(t *testing.T, s sample) { a(t, s); b(t, s) }
	}
	entry := func(b []byte, i int) []byte { // i-th of a bundle
		es, err := splitBundle(b)
		if err != nil {
			t.Fatal(err)
		}
		return es[i]
	}
	w := s.witnessFile()
	at := bytes.Index(get(t, s.dir, "tile/entries/000"), entry(get(t, s.dir, "tile/entries/000"), 137)) + 60
	in := bytes.LastIndex(get(t, s.dir, "journal"), []byte("change/660")) + 9 // in the last append
	for _, tt := range []struct {
		name    string
		do      func(*testing.T, sample)
		code    Code
		first   int64 // entry named; -2: any
		last    int64
		file    string
		says    string
		noWrite bool // Open must refuse too
	}{
		{"entry edited", flip("tile/entries/000", at), BadEntry, 137, 137, "tile/entries/000", "entry 137: not what was recorded", false},
		{"bundle lost", drop("tile/entries/001"), Missing, 256, 511, "tile/entries/001", "is missing", false},
		{"bundle cut", cut("tile/entries/001"), BadEntry, -2, 511, "tile/entries/001", "ends within an entry", false},
		{"bundle with garbage", grow("tile/entries/000"), BadEntry, -1, -1, "tile/entries/000", "something stands behind its last entry", false},
		{"bundles swapped", swap("tile/entries/000", "tile/entries/001"), BadEntry, 0, 255, "tile/entries/000", "entries 0 to 255: not what was recorded", false},
		{"bundle and tile swapped", both(swap("tile/entries/000", "tile/entries/001"), swap("tile/0/000", "tile/0/001")), BadEntry, 0, 255, "tile/1/000.p/2", "does not hold the hash of entries 0 to 255", false},
		{"two entries swapped", func(t *testing.T, s sample) {
			b := get(t, s.dir, "tile/entries/000")
			es, err := splitBundle(b)
			if err != nil {
				t.Fatal(err)
			}
			es[10], es[11] = es[11], es[10]
			put(t, s.dir, "tile/entries/000", string(joinBundle(es)))
		}, BadEntry, 10, 11, "tile/entries/000", "entries 10 to 11", false},
		{"tile edited", flip("tile/0/001", 5000), BadTile, -1, -1, "tile/0/001", "was altered", false},
		{"tile lost", drop("tile/0/000"), Missing, -1, -1, "tile/0/000", "is missing", false},
		{"tile cut", cut("tile/0/000"), BadTile, -1, -1, "tile/0/000", "bytes are not a whole number of hashes", false},
		{"tile with garbage", grow("tile/0/000"), BadTile, -1, -1, "tile/0/000", "", false},
		{"tiles swapped", swap("tile/0/000", "tile/0/001"), BadTile, -1, -1, "tile/0/000", "was altered", false},
		{"bundle and its tile lost", both(drop("tile/0/000"), drop("tile/entries/000")), BadRoot, 0, 511, "", "no signed root can be checked", false},
		{"partial tile edited", flip("tile/0/002.p/188", 40), BadTile, -1, -1, "tile/0/002.p/188", "does not hold the hash of entry 513", false},
		{"partial tile lost", drop("tile/0/002.p/188"), Missing, -1, -1, "tile/0/002.p/188", "is missing", false},
		{"partial tile cut", cut("tile/0/002.p/188"), BadTile, -1, -1, "tile/0/002.p/188", "bytes", false},
		{"partial tile with garbage", grow("tile/0/002.p/188"), BadTile, -1, -1, "tile/0/002.p/188", "bytes", false},
		{"tile of level 1 edited", flip("tile/1/000.p/2", 40), BadTile, -1, -1, "tile/1/000.p/2", "does not hold the hash of entries 256 to 511", false},
		{"tile of level 1 lost", drop("tile/1/000.p/2"), Missing, -1, -1, "tile/1/000.p/2", "is missing", false},
		{"partial bundle edited", flip("tile/entries/002.p/188", 50), BadEntry, 512, 512, "tile/entries/002.p/188", "entry 512 is not what was recorded", false},
		{"partial bundle lost", drop("tile/entries/002.p/188"), Missing, -1, -1, "tile/entries/002.p/188", "is missing", false},
		{"partial bundle cut", cut("tile/entries/002.p/188"), BadEntry, -2, -2, "tile/entries/002.p/188", "", false},
		{"partial bundle with garbage", grow("tile/entries/002.p/188"), BadEntry, -1, -1, "tile/entries/002.p/188", "stands behind its last entry", false},
		{"older partial bundle edited", flip("tile/entries/002.p/138", 50), BadEntry, 512, 512, "tile/entries/002.p/138", "", false},
		{"checkpoint edited: size", func(t *testing.T, s sample) {
			put(t, s.dir, "checkpoint", strings.Replace(string(get(t, s.dir, "checkpoint")), "\n700\n", "\n699\n", 1))
		}, BadSignature, -1, -1, "checkpoint", "is not good", true},
		{"checkpoint edited: signature", flip("checkpoint", -20), BadSignature, -1, -1, "checkpoint", "", true},
		{"checkpoint lost", drop("checkpoint"), Missing, -1, -1, "checkpoint", "is missing", true},
		{"checkpoint cut", cut("checkpoint"), BadSignature, -1, -1, "checkpoint", "", true},
		{"checkpoint with garbage", grow("checkpoint"), BadSignature, -1, -1, "checkpoint", "", true},
		{"checkpoint of a time before bundles", func(t *testing.T, s sample) { put(t, s.dir, "checkpoint", string(s.at400)) }, OldCheckpoint, 400, 511, "checkpoint", "an old checkpoint was put back: it has 400 entries", true},
		{"journal edited", flip("journal", in), BadJournal, 650, 650, "journal", "from entry 650 on", true},
		{"journal's first line edited", flip("journal", len("casco-journal 1 5")), BadJournal, -1, -1, "journal", "", true},
		{"journal lost", drop("journal"), Missing, -1, -1, "journal", "journal is missing", true},
		{"journal cut", cut("journal"), MissingTail, -2, 699, "checkpoint", "the tail is missing", true},
		{"journal with garbage", grow("journal"), BadJournal, 700, 700, "journal", "", true},
		{"old journal put back", func(t *testing.T, s sample) { put(t, s.dir, "journal", string(s.oldJournal)) }, MissingTail, 650, 699, "checkpoint", "of 700 entries, the log has 650", true},
		{"old checkpoint and journal put back", func(t *testing.T, s sample) {
			put(t, s.dir, "journal", string(s.oldJournal))
			put(t, s.dir, "checkpoint", string(s.old))
		}, Stray, -1, -1, "tile/0/002.p/188", "a log of 650 entries has no such file", false},
		{"full tile too many", func(t *testing.T, s sample) { put(t, s.dir, "tile/0/009", "x") }, Stray, -1, -1, "tile/0/009", "", false},
		{"a file that is no tile", func(t *testing.T, s sample) { put(t, s.dir, "tile/0/x00/1", "x") }, Stray, -1, -1, "tile/0/x00/1", "", false},
		{"witness's checkpoint edited", flip(w, 25), BadSignature, -1, -1, w, "", false},
		{"witness's checkpoint lost", drop(w), Unwitnessed, -1, -1, "", "0 witnesses vouch for the log, 1 are demanded", false},
		{"witness's checkpoint cut", cut(w), BadSignature, -1, -1, w, "", false},
		{"witness's checkpoint exchanged for the log's", func(t *testing.T, s sample) { put(t, s.dir, w, string(s.old)) }, Unwitnessed, -1, -1, "", "", false},
		{"evidence edited", func(t *testing.T, s sample) {
			put(t, s.evidence, DigestOf([]byte("evidence 1")).path(), "evidence 2")
		}, BadEvidence, 1, 1, "", "evidence was altered", false},
		{"evidence lost", func(t *testing.T, s sample) { remove(t, s.evidence, DigestOf([]byte("evidence 0")).path()) }, BadEvidence, 0, 0, "", "no such evidence", false},
		{"evidence swapped", func(t *testing.T, s sample) {
			a, b := DigestOf([]byte("evidence 0")).path(), DigestOf([]byte("evidence 1")).path()
			put(t, s.evidence, a, "evidence 1")
			put(t, s.evidence, b, "evidence 0")
		}, BadEvidence, 0, 0, "", "evidence was altered", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := s.copied(t)
			tt.do(t, s)
			r := verifyLog(t, s.dir, s.checks())
			found := false
			for _, p := range r.Problems {
				found = found || p.Code == tt.code && (tt.first == -2 || p.First == tt.first) && (tt.last == -2 || p.Last == tt.last) &&
					p.File == tt.file && strings.Contains(p.Text.En, tt.says)
			}
			if !found {
				t.Errorf("not found; found %+v", r.Problems)
			}
			if tt.name == "entry edited" && len(r.Problems) != 1 {
				t.Errorf("one altered entry makes %d problems", len(r.Problems))
			}
			l, err := Open(s.dir, s.key, time.Now)
			if tt.noWrite != (err != nil) || err != nil && !errors.Is(err, ErrDamaged) {
				t.Errorf("open for writing: %v", err)
			}
			if err == nil {
				// Damage in the past does not keep from recording what happens now.
				if _, err := l.Append(step(0)); err != nil {
					t.Errorf("append: %v", err)
				}
			}
		})
	}
}

// TestEveryByte changes one byte in the middle of every 97 of every file and
// wants each seen.
func TestEveryByte(t *testing.T) {
	s := newSample(t)
	n := 0
	for name, content := range filesOf(t, s.dir) {
		for i := 48; i < len(content); i += 1997 {
			b := []byte(content)
			b[i] ^= 1
			put(t, s.dir, name, string(b))
			if r := verifyLog(t, s.dir, s.checks()); r.OK() {
				t.Errorf("%s, byte %d: not seen", name, i)
			}
			n++
		}
		put(t, s.dir, name, content)
	}
	if r := verifyLog(t, s.dir, s.checks()); !r.OK() || n < 50 {
		t.Errorf("%d bytes, %+v", n, r.Problems)
	}
}

// TestTruncateAndSignAgain holds I15. It is the attack of who has the host's key: the log is
// written anew without its end. By itself it verifies; an older checkpoint that
// somebody else holds gives it away, also when the log has grown again.
func TestTruncateAndSignAgain(t *testing.T) {
	key := newTestKey(t)
	dir := tempDir(t)
	l := openLogAt(t, dir, key, newClock().Now)
	fill(t, l, 500)
	if _, err := l.Publish(); err != nil {
		t.Fatal(err)
	}
	early := get(t, dir, "checkpoint")
	fill(t, l, 900)
	closeLog(t, l)
	late := get(t, dir, "checkpoint")

	forged := tempDir(t)
	l = openLogAt(t, forged, key, newClock().Now)
	fill(t, l, 812)
	if _, err := l.Publish(); err != nil {
		t.Fatal(err)
	}
	wantOK(t, verifyLog(t, forged, Checks{}, key), 812) // alone it cannot be seen

	held := Checks{Held: []Held{{"auditor.ckpt", early}, {"docker02", late}}}
	r := verifyLog(t, forged, held, key)
	wantProblems(t, r, "missing-tail 812-899 docker02: the tail is missing: the checkpoint in docker02 is of 900 entries, the log has 812")
	if !r.Held[0].Agrees || r.Held[1].Agrees {
		t.Errorf("%+v", r.Held)
	}
	// The same when the copy lies with the log: then it is not even written to.
	closeLog(t, l)
	copied := copyTree(t, forged)
	put(t, copied, "witness/docker02", string(late))
	if _, err := Open(copied, key, time.Now); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "of 900 entries, the log has 812") {
		t.Errorf("%v", err)
	}

	l = openLogAt(t, forged, key, newClock().Now)
	for range 200 {
		if _, err := l.Append(Entry{Kind: Run, Actor: "nobody", About: "nothing happened"}); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, l)
	r = verifyLog(t, forged, held, key)
	if len(r.Problems) != 1 || r.Problems[0].Code != Forked || r.Problems[0].First != 500 || r.Problems[0].Last != 899 {
		t.Errorf("%+v", r.Problems)
	}
	if r = verifyLog(t, dir, held, key); !r.OK() {
		t.Errorf("the true one: %+v", r.Problems)
	}
}

func wantProblems(t testing.TB, r *Report, want ...string) {
	t.Helper()
	var got []string
	for _, p := range r.Problems {
		got = append(got, fmt.Sprintf("%s %d-%d %s: %s", p.Code, p.First, p.Last, p.File, p.Text.En))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestHistoryWrittenAnew is the attack of who has not the host's key and makes
// everything fit but the signature.
func TestHistoryWrittenAnew(t *testing.T) {
	s := newSample(t)
	other, err := NewKey(s.key.Name())
	if err != nil {
		t.Fatal(err)
	}
	forged := tempDir(t)
	l := openLogAt(t, forged, other, newClock().Now)
	fill(t, l, 450)
	if _, err := l.Append(Entry{Kind: Step, Actor: "uid 0", About: "change/450", Data: []byte(`{"did":"nothing"}`)}); err != nil {
		t.Fatal(err)
	}
	fill(t, l, 700)
	closeLog(t, l)
	r := verifyLog(t, forged, Checks{}, s.key)
	if len(r.Problems) == 0 || r.Problems[0].Code != BadSignature || r.Proved != 0 {
		t.Errorf("%+v", r)
	}
	// With the true checkpoint put in its place.
	put(t, forged, "checkpoint", string(get(t, s.dir, "checkpoint")))
	remove(t, forged, "journal")
	remove(t, forged, "lock")
	r = verifyLog(t, forged, Checks{}, s.key)
	if r.OK() || r.Problems[0].Code != BadRoot || r.Proved != 0 {
		t.Errorf("%+v", r)
	}
	// A witness says where to look.
	r = verifyLog(t, forged, Checks{Held: []Held{{"auditor", s.at400}}}, s.key)
	if r.OK() || r.Problems[0].Code != Forked || r.Problems[0].Last != 399 {
		t.Errorf("%+v", r)
	}
}

func TestTimesRunBackwards(t *testing.T) {
	dir, key := tempDir(t), newTestKey(t)
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	l := openLogAt(t, dir, key, func() time.Time { return at })
	fill(t, l, 5)
	at = at.Add(-time.Hour)
	l.state.lastTime = time.Time{} // as somebody who wants no clock entry would have it
	fill(t, l, 6)
	closeLog(t, l)
	r := verifyLog(t, dir, Checks{}, key)
	wantProblems(t, r, "backwards 5-5 : entry 5 is of 2026-11-26T11:00:00Z, the one before of 2026-11-26T12:00:00Z, and no clock entry says why")
}

func TestSilence(t *testing.T) {
	dir, key := tempDir(t), newTestKey(t)
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	now := at
	l := openLogAt(t, dir, key, func() time.Time { return now })
	fill(t, l, 1)
	now = at.Add(25 * time.Hour)
	fill(t, l, 2)
	closeLog(t, l)
	wantNotes(t, verifyLog(t, dir, Checks{Now: now}, key))
	wantNotes(t, verifyLog(t, dir, Checks{Silence: 24 * time.Hour, Now: now}, key), Silence)
	r := verifyLog(t, dir, Checks{Silence: 24 * time.Hour, Now: now.Add(30 * time.Hour)}, key)
	wantNotes(t, r, Silence, Silence)
	if got := r.Notes[1].Text.En; got != "nothing was recorded since 2026-11-27T13:00:00Z, for 30h0m0s" {
		t.Error(got)
	}
	wantNotes(t, verifyLog(t, dir, Checks{Now: at}, key), InFuture)
}

// TestLogOfTwoKeys has a log go on under another key: it verifies for who trusts
// both.
func TestLogOfTwoKeys(t *testing.T) {
	dir, old, key := tempDir(t), newTestKey(t), newTestKey(t)
	l := openLogAt(t, dir, old, newClock().Now)
	fill(t, l, 300)
	closeLog(t, l)
	if _, err := Open(dir, key, time.Now); !errors.Is(err, ErrDamaged) {
		t.Errorf("a key that nobody introduced: %v", err)
	}
	l, err := Open(dir, key, time.Now, old.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	fill(t, l, 310)
	closeLog(t, l)
	wantOK(t, verifyLog(t, dir, Checks{}, key, old), 310)
	r := verifyLog(t, dir, Checks{}, old)
	if r.OK() || r.Problems[0].Code != BadSignature {
		t.Errorf("by the old key alone: %+v", r.Problems)
	}
	l, err = Open(dir, key, time.Now, old.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	fill(t, l, 2000)
	closeLog(t, l)
	wantOK(t, verifyLog(t, dir, Checks{}, key), 2000) // the newest root speaks for all before
	if _, err := Verify(context.Background(), dir, Checks{}); err != nil {
		t.Error(err) // no key at all is a bad signature in the report
	}
}

// TestVerifyWhileWritten verifies a log again and again while others append to
// it and publish.
func TestVerifyWhileWritten(t *testing.T) {
	dir, key := tempDir(t), newTestKey(t)
	l := openLogAt(t, dir, key, time.Now)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := int64(0); ctx.Err() == nil; i++ {
			es := make([]Entry, 1+i%300)
			for n := range es {
				es[n] = step(i)
			}
			if _, err := l.Append(es...); err != nil {
				t.Error(err)
				return
			}
			if i%3 == 0 {
				if _, err := l.Publish(); err != nil {
					t.Error(err)
					return
				}
			}
			time.Sleep(2 * time.Millisecond) // or the log grows faster than it can be read
		}
	})
	last := int64(0)
	for begun := time.Now(); time.Since(begun) < time.Second; {
		r := verifyLog(t, dir, Checks{}, key)
		if !r.OK() || r.Proved != r.Size || r.Size < last {
			t.Errorf("%d entries, %d proved, before %d: %+v", r.Size, r.Proved, last, r.Problems)
		}
		last = r.Size
	}
	cancel()
	wg.Wait()
	if last < 1000 {
		t.Errorf("only %d entries: nothing was written meanwhile", last)
	}
}

func TestVerifyCannotRead(t *testing.T) {
	dir := tempDir(t)
	if _, err := Verify(context.Background(), dir, Checks{}); !errors.Is(err, ErrNoLog) {
		t.Errorf("%v", err)
	}
	s := newSample(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Verify(ctx, s.dir, s.checks()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	put(t, s.dir, "format", "casco ledger 7\n")
	if _, err := Verify(context.Background(), s.dir, s.checks()); !errors.Is(err, ErrNewer) {
		t.Errorf("%v", err)
	}
}

// TestReadsNothingAltered wants that what a View returns is proved: where
// Verify would find a problem, reading is an error.
func TestReadsNothingAltered(t *testing.T) {
	s := newSample(t)
	v, err := Read(s.dir, s.key.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	b := get(t, s.dir, "tile/entries/000")
	put(t, s.dir, "tile/entries/000", strings.Replace(string(b), "change/137", "change/731", 1))
	if r, err := v.Entry(137); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "entry 137 is not the one that was signed") {
		t.Errorf("%s, %v", r.Raw, err)
	}
	if _, err := v.Entry(300); err != nil {
		t.Errorf("the next bundle: %v", err)
	}
	b = get(t, s.dir, "tile/0/001")
	b[0] ^= 1
	put(t, s.dir, "tile/0/001", string(b))
	if r, err := v.Entry(300); !errors.Is(err, ErrDamaged) {
		t.Errorf("%s, %v", r.Raw, err)
	}
	if _, err := v.Inclusion(257); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
	remove(t, s.dir, "tile/0/001")
	if _, err := v.Entry(300); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
}

// published reads a log as any client of tiled logs does: files only.
type published struct{ dir string }

func (published) Height() int                     { return 8 }
func (published) SaveTiles([]tlog.Tile, [][]byte) {}

func (p published) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, t := range tiles {
		b, err := os.ReadFile(filepath.Join(p.dir, strings.Replace(t.Path(), "tile/8/", "tile/", 1)))
		if err != nil {
			return nil, err
		}
		data = append(data, b)
	}
	return data, nil
}

// TestOthersReadIt reads the published files with golang.org/x/mod alone: the
// note, the tiles, proofs of both kinds.
func TestOthersReadIt(t *testing.T) {
	for _, size := range []int64{1, 256, 700, 1024, 66000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			dir, key := tempDir(t), newTestKey(t)
			l := openLog(t, dir, key)
			fill(t, l, size)
			closeLog(t, l)
			verifier, err := note.NewVerifier(key.Public())
			if err != nil {
				t.Fatal(err)
			}
			n, err := note.Open(get(t, dir, "checkpoint"), note.VerifierList(verifier))
			if err != nil {
				t.Fatal(err)
			}
			tree, err := tlog.ParseTree([]byte(strings.Replace(n.Text, "docker01/casco", "go.sum database tree", 1)))
			if err != nil || tree.N != size {
				t.Fatalf("%v, %v", tree, err)
			}
			r := tlog.TileHashReader(tree, published{dir})
			v := viewOf(t, openLog(t, dir, key))
			for _, i := range []int64{0, size / 3, size / 2, size - 1} {
				e, err := v.Entry(i)
				if err != nil {
					t.Fatal(err)
				}
				proof, err := tlog.ProveRecord(size, i, r)
				if err != nil {
					t.Fatal(err)
				}
				if err := tlog.CheckRecord(proof, size, tree.Hash, i, tlog.RecordHash(e.Raw)); err != nil {
					t.Errorf("entry %d: %v", i, err)
				}
				ours, err := v.Inclusion(i)
				if diff := cmp.Diff(proof, ours); diff != "" || err != nil {
					t.Errorf("entry %d: %s%v", i, diff, err)
				}
				old, err := v.RootAt(i + 1)
				if err != nil {
					t.Fatal(err)
				}
				grown, err := v.Consistency(i+1, size)
				if err != nil {
					t.Fatal(err)
				}
				if err := tlog.CheckTree(grown, size, tree.Hash, i+1, old); err != nil {
					t.Errorf("from %d: %v", i+1, err)
				}
			}
		})
	}
}

// TestProblemInSpanish wants a problem that is an error to be told in Spanish,
// with what it wraps.
func TestProblemInSpanish(t *testing.T) {
	s := newSample(t)
	put(t, s.dir, "journal", string(s.oldJournal))
	_, err := Open(s.dir, s.key, time.Now)
	if got, want := lang.Say(err, lang.Spanish), "abrir el registro: falta el final: el punto de control es de 700 entradas, el registro tiene 650"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	put(t, s.dir, "checkpoint", "x")
	_, err = Read(s.dir, s.key.Verifier())
	if got, want := lang.Say(err, lang.Spanish), "leer el registro: checkpoint: no es un punto de control: malformed note"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	l := openLog(t, tempDir(t), s.key)
	_, err = l.Append(Entry{Kind: Run, Actor: "x", Data: fmt.Appendf(nil, "%q", strings.Repeat("x", MaxEntry))})
	if got, want := lang.Say(err, lang.Spanish), `entrada run sobre "": 65601 bytes: demasiado grande para el registro: guárdelo como evidencia`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
