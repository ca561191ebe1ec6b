package ledger

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func FuzzCheckpoint(f *testing.F) {
	key := newTestKey(f)
	cp, err := signRoot(700, tlog.Hash{1, 2, 3}, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(cp.Note)
	f.Add([]byte(formatsNote))
	f.Add([]byte("a\n9223372036854775807\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— a AAAAAAA=\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := (Trust{Log: []note.Verifier{key.Verifier()}}).Open(b); err == nil && (got.Size != 700 || got.Root != cp.Root) {
			t.Errorf("forged: %+v", got)
		}
		text, _, _ := bytes.Cut(b, []byte("\n\n"))
		got, err := parseRoot(string(text) + "\n")
		if err != nil {
			return
		}
		if got.Size < 0 || got.Size > maxSize || got.Origin == "" {
			t.Errorf("%+v", got)
		}
	})
}

func FuzzBundle(f *testing.F) {
	f.Add(joinBundle([][]byte{[]byte("one"), {}, bytes.Repeat([]byte("x"), MaxEntry)}))
	f.Add([]byte{0, 5, 'a'})
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := splitBundle(b)
		joined := joinBundle(entries)
		if !bytes.HasPrefix(b, joined) || err == nil && len(joined) != len(b) {
			t.Errorf("%q: %q, %v", b, entries, err)
		}
	})
}

func FuzzEntry(f *testing.F) {
	f.Add([]byte(`{"time":"2026-11-26T12:00:01Z","kind":"approval","actor":"a","about":"b","data":{"c":[1]}}`))
	f.Add([]byte(`{"time":"2026-11-26T12:00:01Z","kind":"step","actor":"a","data":null}`))
	f.Add([]byte(`{"time":"2026-11-26T12:00:01+02:00","kind":"step","actor":"","about":"","data":{},"data":7}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if own, ok := parseOwn(b); ok {
			var e Entry
			if err := json.Unmarshal(b, &e); err != nil {
				t.Fatalf("%q: is read though it is not JSON: %v", b, err)
			}
			if own.Data != nil {
				own.Data = bytes.TrimSpace(own.Data)
			}
			if diff := cmp.Diff(e, own); diff != "" {
				t.Fatalf("%q: is read in two ways: %s", b, diff)
			}
		}
		e, err := ParseEntry(b)
		if err != nil || !e.Kind.Known() || e.Actor == "" {
			return
		}
		raw, err := e.encode()
		if err != nil {
			return // too big, or a year that RFC 3339 has not
		}
		again, err := ParseEntry(raw)
		if err != nil || !again.Time.Equal(e.Time) || again.Kind != e.Kind || again.Actor != e.Actor || again.About != e.About {
			t.Errorf("%s: %s, %v", b, raw, err)
		}
	})
}

func FuzzJournal(f *testing.F) {
	key := newTestKey(f)
	cp, err := signRoot(1, tlog.Hash{}, key)
	if err != nil {
		f.Fatal(err)
	}
	whole := append(journalHeader(512), makeFrame([][]byte{[]byte("one"), []byte("two")}, cp.Note)...)
	f.Add(whole)
	f.Add(append(bytes.Clone(whole), whole[20:50]...))
	f.Add(append(bytes.Clone(whole), make([]byte, 2000)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := parseJournal(b)
		if err != nil {
			return
		}
		again := journalHeader(j.base)
		for _, fr := range j.frames {
			again = append(again, makeFrame(fr.entries, fr.signed)...)
		}
		if !bytes.Equal(again, b[:j.end]) {
			t.Errorf("what was read is not what is there, up to %d", j.end)
		}
		if rest := b[j.end:]; len(rest) > 0 && (j.torn == nil) == (j.damaged == nil) {
			t.Errorf("%d bytes are left over, torn %d, damaged %v", len(rest), len(j.torn), j.damaged)
		}
	})
}

func FuzzProof(f *testing.F) {
	f.Add(Proof{7, tlog.RecordProof{{1}, {2}}, []byte("a\n8\nx\n\n— a b\n")}.Text())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseProof(b)
		if err != nil {
			return
		}
		again, err := ParseProof(p.Text())
		if diff := cmp.Diff(p, again); diff != "" || err != nil {
			t.Errorf("%s%v", diff, err)
		}
	})
}

func FuzzRequest(f *testing.F) {
	key := newTestKey(f)
	cp, err := signRoot(8, tlog.Hash{1}, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(Request{7, tlog.TreeProof{{1}, {2}}, cp.Note}.Text())
	w, _ := newTestWitness(f, f.TempDir(), newTestKey(f).Verifier()) // of the same name, another key: signs nothing
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRequest(b)
		if err != nil {
			return
		}
		again, err := ParseRequest(r.Text())
		if diff := cmp.Diff(r, again); diff != "" || err != nil {
			t.Errorf("%s%v", diff, err)
		}
		if line, err := w.Add(r); line != nil || WitnessStatus(err) == 200 || WitnessStatus(err) == 500 {
			t.Errorf("%q, %v", line, err)
		}
	})
}

func FuzzTilePath(f *testing.F) {
	for _, s := range []string{"tile/0/000", "tile/entries/x001/x234/067.p/8", "tile/7/000.p/255", "tile/entries/x001/x234/067"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, n, w, ok := parseTilePath(s)
		if ok && (tilePath(l, n, w) != s || w < 1 || w > tileWidth || n < 0) {
			t.Errorf("%q: %d %d %d", s, l, n, w)
		}
	})
}

// tilePath agrees with golang.org/x/mod/sumdb/tlog.
func TestTilePath(t *testing.T) {
	for _, n := range []int64{0, 1, 999, 1000, 1234067, 999999, 1000000} {
		for _, w := range []int{1, 255, 256} {
			for _, l := range []int{-1, 0, 3} {
				want := tlog.Tile{H: tileHeight, L: l, N: n, W: w}.Path()
				want = "tile" + want[len("tile/8"):]
				if l < 0 {
					want = "tile/entries" + want[len("tile/data"):]
				}
				got := tilePath(l, n, w)
				if got != want {
					t.Errorf("%s, want %s", got, want)
				}
				if l2, n2, w2, ok := parseTilePath(got); !ok || l2 != l || n2 != n || w2 != w {
					t.Errorf("%s: %d %d %d %v", got, l2, n2, w2, ok)
				}
			}
		}
	}
}
