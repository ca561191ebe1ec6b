package ledger

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
)

func TestProof(t *testing.T) {
	key := newTestKey(t)
	l := openLog(t, tempDir(t), key)
	trust := Trust{Log: []note.Verifier{key.Verifier()}}
	for _, size := range []int64{1, 2, 700, 1500} {
		fill(t, l, size)
		v := viewOf(t, l)
		for _, i := range []int64{0, size / 2, size - 1} {
			p, err := v.Proof(i)
			if err != nil {
				t.Fatal(err)
			}
			again, err := ParseProof(p.Text())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(p, again); diff != "" && len(p.Path)+len(again.Path) > 0 {
				t.Fatal(diff)
			}
			e, err := v.Entry(i)
			if err != nil {
				t.Fatal(err)
			}
			if cp, err := again.Check(e.Raw, trust); err != nil || cp.Size != size {
				t.Errorf("entry %d of %d: %v", i, size, err)
			}
			if _, err := again.Check(append(bytes.Clone(e.Raw), ' '), trust); !errors.Is(err, ErrProof) {
				t.Errorf("another entry: %v", err)
			}
			if _, err := again.Check(e.Raw, Trust{Log: []note.Verifier{newTestKey(t).Verifier()}}); !errors.Is(err, ErrSignature) {
				t.Errorf("another key: %v", err)
			}
			for _, other := range []int64{again.Index + 1, -1, 1 << 47} {
				moved := again
				moved.Index = other
				if _, err := moved.Check(e.Raw, trust); !errors.Is(err, ErrProof) {
					t.Errorf("another place: %v", err)
				}
			}
		}
	}
	if _, err := viewOf(t, l).Proof(1500); !errors.Is(err, ErrNoEntry) {
		t.Errorf("%v", err)
	}
	p, err := viewOf(t, l).Proof(7)
	if err != nil {
		t.Fatal(err)
	}
	extra := bytes.Replace(p.Text(), []byte("index"), []byte("extra eA==\nindex"), 1)
	if q, err := ParseProof(extra); err != nil || q.Index != 7 {
		t.Errorf("with extra data: %v", err)
	}
	for _, bad := range []string{"", "c2sp.org/tlog-proof@v2\n", proofHead + "index 07\n\nx", proofHead + "index 7\nAAAA\n\nx", proofHead + "index 7\n"} {
		if p, err := ParseProof([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, p)
		}
	}
}
