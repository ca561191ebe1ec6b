package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func newTestWitness(t testing.TB, dir string, logs ...note.Verifier) (*Witness, *Key) {
	t.Helper()
	key, err := NewWitnessKey("auditor.example/w1")
	if err != nil {
		t.Fatal(err)
	}
	w, err := NewWitness(dir, key, newClock().Now, logs...)
	if err != nil {
		t.Fatal(err)
	}
	return w, key
}

func requestOf(t testing.TB, l *Log, old int64) Request {
	t.Helper()
	r, err := viewOf(t, l).Request(old)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWitnessing(t *testing.T) {
	dir, key := tempDir(t), newTestKey(t)
	l := openLog(t, dir, key)
	w, wkey := newTestWitness(t, tempDir(t), key.Verifier())
	old := int64(0)
	for _, size := range []int64{0, 1, 5, 300, 301, 1100} {
		for viewOf(t, l).Size() < size {
			if _, err := l.Append(step(0)); err != nil {
				t.Fatal(err)
			}
		}
		req := requestOf(t, l, old)
		again, err := ParseRequest(req.Text())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(req.Text()), string(again.Text())); diff != "" {
			t.Fatal(diff)
		}
		line, err := w.Add(again)
		if err != nil {
			t.Fatalf("from %d to %d: %v", old, size, err)
		}
		if !strings.HasPrefix(string(line), "— auditor.example/w1 ") || bytes.Count(line, []byte("\n")) != 1 {
			t.Errorf("not a signature line: %q", line)
		}
		cp, err := l.Witnessed(req.Checkpoint, line, wkey.Verifier())
		if err != nil {
			t.Fatal(err)
		}
		seen, err := w.Seen(key.Name())
		if err != nil || seen.Size != cp.Size || seen.Root != cp.Root || len(cp.Cosigned) != 1 {
			t.Errorf("%+v, %+v, %v", seen, cp, err)
		}
		old = cp.Size
	}
	e, err := viewOf(t, l).Entry(viewOf(t, l).Size() - 1)
	if err != nil || e.Kind != Witnessed || !strings.Contains(string(e.Data), fmt.Sprintf(`"witness":"auditor.example/w1+%08x","size":%d`, wkey.KeyHash(), old)) {
		t.Errorf("%s, %v", e.Raw, err)
	}
	closeLog(t, l)
	r := verifyLog(t, dir, Checks{Trust: Trust{Witnesses: []note.Verifier{wkey.Verifier()}}, MinWitnesses: 1}, key)
	if !r.OK() || r.Witnessed != old {
		t.Errorf("%+v", r)
	}
	r = verifyLog(t, dir, Checks{Trust: Trust{Witnesses: []note.Verifier{wkey.Verifier()}}, MinWitnesses: 2}, key)
	wantProblems(t, r, "unwitnessed -1--1 : 1 witnesses vouch for the log, 2 are demanded")
}

func TestWitnessRefuses(t *testing.T) {
	key := newTestKey(t)
	l := openLog(t, tempDir(t), key)
	fill(t, l, 500)
	at500 := requestOf(t, l, 0)
	fill(t, l, 900)
	w, _ := newTestWitness(t, tempDir(t), key.Verifier())
	if _, err := w.Add(at500); err != nil {
		t.Fatal(err)
	}
	good := requestOf(t, l, 500)

	forged := openLog(t, tempDir(t), key) // the same key, another history
	for range 900 {
		if _, err := forged.Append(Entry{Kind: Run, Actor: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	short := openLog(t, tempDir(t), key)
	fill(t, short, 400)
	otherKey, err := NewKey("other/casco")
	if err != nil {
		t.Fatal(err)
	}
	other := openLog(t, tempDir(t), otherKey)
	fill(t, other, 3)
	impostor := openLog(t, tempDir(t), newTestKey(t))
	fill(t, impostor, 600)
	empty, err := signRoot(0, tlog.Hash{1}, key)
	if err != nil {
		t.Fatal(err)
	}
	with := func(r Request, do func(*Request)) Request {
		do(&r)
		return r
	}
	for _, tt := range []struct {
		name   string
		req    Request
		status int
		size   int64 // that the witness says it has seen
	}{
		{"no old size", with(good, func(r *Request) { r.Old, r.Proof = 0, nil }), 409, 500},
		{"another old size", with(good, func(r *Request) { r.Old = 499 }), 409, 500},
		{"log cut off", requestOf(t, short, 0), 409, 500},
		{"size goes back", with(requestOf(t, short, 0), func(r *Request) { r.Old = 500 }), 400, 0},
		{"no proof", with(good, func(r *Request) { r.Proof = nil }), 422, 0},
		{"proof altered", with(good, func(r *Request) { r.Proof = append(tlog.TreeProof{{1}}, r.Proof[1:]...) }), 422, 0},
		{"proof too long", with(good, func(r *Request) { r.Proof = append(r.Proof[:len(r.Proof):len(r.Proof)], tlog.Hash{}) }), 422, 0},
		{"another history", requestOf(t, forged, 500), 422, 0},
		{"another history of the same size", with(good, func(r *Request) {
			cp, err := signRoot(500, tlog.Hash{7}, key)
			if err != nil {
				t.Fatal(err)
			}
			r.Checkpoint, r.Proof = cp.Note, nil
		}), 422, 0},
		{"empty tree of another root", with(good, func(r *Request) { r.Old, r.Proof, r.Checkpoint = 0, nil, empty.Note }), 409, 500},
		{"unknown log", requestOf(t, other, 0), 404, 0},
		{"known name, unknown key", with(good, func(r *Request) { r.Checkpoint = requestOf(t, impostor, 0).Checkpoint }), 403, 0},
		{"signature altered", with(good, func(r *Request) {
			r.Checkpoint = bytes.Clone(r.Checkpoint)
			c := &r.Checkpoint[len(r.Checkpoint)-12] // a digit of base64, and another one after it
			if *c == 'A' {
				*c = 'B'
			} else {
				*c = 'A'
			}
		}), 403, 0},
		{"no signature", with(good, func(r *Request) { r.Checkpoint = []byte("docker01/casco\n900\n") }), 400, 0},
		{"no checkpoint", with(good, func(r *Request) { r.Checkpoint = []byte("docker01/casco\nmany\nx\n\n— a b\n") }), 400, 0},
	} {
		line, err := w.Add(tt.req)
		if line != nil || WitnessStatus(err) != tt.status {
			t.Errorf("%s: status %d, want %d: %v", tt.name, WitnessStatus(err), tt.status, err)
		}
		var seen *SeenError
		if errors.As(err, &seen) && seen.Size != tt.size {
			t.Errorf("%s: says that it has seen %d", tt.name, seen.Size)
		}
	}
	if seen, err := w.Seen(key.Name()); err != nil || seen.Size != 500 {
		t.Errorf("what it has seen was changed: %+v, %v", seen, err)
	}
	if _, err := w.Add(good); err != nil {
		t.Errorf("the good one: %v", err)
	}
	if _, err := w.Add(with(requestOf(t, l, 900), func(*Request) {})); err != nil {
		t.Errorf("the same again: %v", err)
	}

	fresh, _ := newTestWitness(t, tempDir(t), key.Verifier())
	if _, err := fresh.Add(Request{Checkpoint: empty.Note}); WitnessStatus(err) != 422 {
		t.Errorf("an empty tree with another root: %v", err)
	}
	if _, err := fresh.Add(Request{Checkpoint: good.Checkpoint, Proof: good.Proof}); WitnessStatus(err) != 422 {
		t.Errorf("a proof from nothing: %v", err)
	}
	if _, err := NewWitness(tempDir(t), key, time.Now); err == nil {
		t.Error("a witness with the key of a log")
	}
}

// TestWitnessRemembers wants a witness whose memory was altered to sign nothing.
func TestWitnessRemembers(t *testing.T) {
	key := newTestKey(t)
	l := openLog(t, tempDir(t), key)
	fill(t, l, 10)
	dir := tempDir(t)
	w, _ := newTestWitness(t, dir, key.Verifier())
	if _, err := w.Add(requestOf(t, l, 0)); err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(w.path(key.Name()), dir+"/")
	put(t, dir, name, strings.Replace(string(get(t, dir, name)), "\n10\n", "\n1\n", 1))
	fill(t, l, 20)
	if line, err := w.Add(requestOf(t, l, 10)); line != nil || !errors.Is(err, ErrSignature) {
		t.Errorf("%s, %v", line, err)
	}
	put(t, dir, name, string(viewOf(t, l).Checkpoint().Note)) // signed by the log alone
	if line, err := w.Add(requestOf(t, l, 20)); line != nil || !errors.Is(err, ErrSignature) {
		t.Errorf("%s, %v", line, err)
	}
}

// TestWitnessRace has two histories of one log ask at the same time: only one
// can be cosigned.
func TestWitnessRace(t *testing.T) {
	key := newTestKey(t)
	l := openLog(t, tempDir(t), key)
	fill(t, l, 10)
	dir := tempDir(t)
	w, wkey := newTestWitness(t, dir, key.Verifier())
	if _, err := w.Add(requestOf(t, l, 0)); err != nil {
		t.Fatal(err)
	}
	twin, err := NewWitness(dir, wkey, time.Now, key.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	var reqs []Request
	for i := range 8 {
		fork := openLog(t, copyTree(t, l.dir), key)
		if _, err := fork.Append(Entry{Kind: Run, Actor: "x", About: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
		reqs = append(reqs, requestOf(t, fork, 10))
	}
	var mu sync.Mutex
	signed := 0
	var wg sync.WaitGroup
	for i, req := range reqs {
		wg.Go(func() {
			_, err := []*Witness{w, twin}[i%2].Add(req)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				signed++
			} else if WitnessStatus(err) != 409 {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if signed != 1 {
		t.Errorf("%d histories were cosigned", signed)
	}
}

func TestWitnessedRefuses(t *testing.T) {
	key := newTestKey(t)
	l := openLog(t, tempDir(t), key)
	fill(t, l, 10)
	w, wkey := newTestWitness(t, tempDir(t), key.Verifier())
	req := requestOf(t, l, 0)
	line, err := w.Add(req)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := NewWitnessKey("stranger")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Witnessed(req.Checkpoint, line, stranger.Verifier()); !errors.Is(err, ErrSignature) {
		t.Errorf("by a stranger: %v", err)
	}
	if _, err := l.Witnessed(req.Checkpoint, nil, wkey.Verifier()); !errors.Is(err, ErrSignature) {
		t.Errorf("without a cosignature: %v", err)
	}
	fork := openLog(t, copyTree(t, l.dir), key)
	if _, err := fork.Append(step(77)); err != nil {
		t.Fatal(err)
	}
	fill(t, l, 11)
	w2, wkey2 := newTestWitness(t, tempDir(t), key.Verifier())
	req = requestOf(t, fork, 0)
	if line, err = w2.Add(req); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Witnessed(req.Checkpoint, line, wkey2.Verifier()); !errors.Is(err, ErrInconsistent) {
		t.Errorf("of another history: %v", err)
	}
	if n := viewOf(t, l).Size(); n != 11 {
		t.Errorf("refused and recorded: %d entries", n)
	}
}

// Made with github.com/transparency-dev/formats v0.1.1, note.NewSignerForCosignatureV1
// and golang.org/x/mod/sumdb/note, so that the form of signatures is not ours alone.
const (
	formatsLogKey     = "docker01/casco+6fa7ff0c+AdAw18eTAF00WHrX867L7rNkDH1CstAS1MlY0hXqmwuS"
	formatsWitnessKey = "witness.example/w1+29874377+BAzXRs8HsjgNa8xvMQOjHgg0Pz1NzrA4mT/hTmV/zA3D"
	formatsNote       = `docker01/casco
123456
47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=

— docker01/casco b6f/DHO552XhfQOuA/4OZfJmoMncCfVAZcXRyY6FgGkamX0rBilgMclWsNM2BMahttY1wYBigj6BFDMrI1ixkR3eEAg=
— witness.example/w1 KYdDdwAAAABrCIVLp1p565yGtG+OV1unjdl3TSEzmuyuQQcJbverV66CYHwLCp1Y/QY7Lrx0BMqIp4QvJ6So5SPqT+LTLNjckAAgAg==
`
)

func TestCosignatureOfOthers(t *testing.T) {
	var keys []note.Verifier
	for _, s := range []string{formatsLogKey, formatsWitnessKey} {
		k, err := ParseVerifier(s)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	cp, err := Trust{Log: keys[:1], Witnesses: keys[1:]}.Open([]byte(formatsNote))
	if err != nil {
		t.Fatal(err)
	}
	if cp.Size != 123456 || len(cp.Cosigned) != 1 || cp.Cosigned[0].Witness != "witness.example/w1" || cp.Cosigned[0].Time.Year() < 2026 {
		t.Errorf("%+v", cp)
	}
	altered := strings.Replace(formatsNote, "123456", "123457", 1)
	if _, err := (Trust{Log: keys[:1], Witnesses: keys[1:]}).Open([]byte(altered)); !errors.Is(err, ErrSignature) {
		t.Errorf("%v", err)
	}
}
