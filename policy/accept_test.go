package policy

import (
	"fmt"
	"strings"
	"testing"

	"casco/signed"
)

// version is a policy of that version whose steward has key n; 0 is nobody.
func version(t *testing.T, v int, n byte, more string) *Policy {
	t.Helper()
	s := fmt.Sprintf("apiVersion: casco/v1\nkind: Policy\nmetadata: {name: x, version: %d%s}\n", v, more)
	if n > 0 {
		s += fmt.Sprintf("people: [{id: st%d, roles: [steward], keys: [%s]}, {id: op, roles: [operator], keys: [%s]}]\n", n, key(t, n).Key(), key(t, 8).Key())
	}
	p, ps := ParseFile("p.yaml", []byte(s))
	if p == nil {
		t.Fatal(printed(ps))
	}
	return p
}

func signature(t *testing.T, p *Policy, n byte) []byte {
	t.Helper()
	sig, err := key(t, n).Sign(signed.Policy, p.Message)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// TestI14 is invariant I14: no policy downgrade, no unsigned policy once one is
// signed. What is refused leaves what is in force as it is.
func TestI14(t *testing.T) {
	now := at(t, "2026-11-24T12:00:00Z")
	v3 := version(t, 3, 1, "")
	unsigned, err := Accept(nil, Candidate{Policy: v3}, now)
	if err != nil {
		t.Fatal(err)
	}
	first, err := Accept(nil, Candidate{v3, signature(t, v3, 1), key(t, 1).Key()}, now)
	if err != nil || !first.Signed() || first.Signature.Person != "st1" {
		t.Fatal(first, err)
	}
	v4, other3, v5 := version(t, 4, 1, ""), version(t, 3, 2, ""), version(t, 5, 2, "")
	old := version(t, 2, 1, "")
	none := version(t, 4, 0, "")
	changed := version(t, 4, 1, " ") // one byte more
	for _, tc := range []struct {
		name string
		now  *InForce
		c    Candidate
		want string // part of the refusal; "" is accepted
	}{
		{"unsigned, the first", nil, Candidate{Policy: v3}, ""},
		{"unsigned, next version", unsigned, Candidate{Policy: v4}, ""},
		{"unsigned, lower version", unsigned, Candidate{Policy: old}, "version 2 is older than version 3"},
		{"unsigned, same version", unsigned, Candidate{Policy: other3}, "another policy of version 3"},
		{"unsigned, itself", unsigned, Candidate{Policy: v3}, ""},
		{"itself, now signed", unsigned, Candidate{v3, signature(t, v3, 1), key(t, 1).Key()}, ""},
		{"first signed, nobody vouches", unsigned, Candidate{v4, signature(t, v4, 1), signed.Key{}}, "nobody has vouched for the key SHA256:"},
		{"first signed, another key is vouched for", nil, Candidate{v4, signature(t, v4, 1), key(t, 2).Key()}, "nobody has vouched"},
		{"first signed, not by a steward", nil, Candidate{v4, signature(t, v4, 8), key(t, 8).Key()}, "op signed it, who is no steward"},
		{"first signed, by nobody", nil, Candidate{v4, signature(t, v4, 9), key(t, 9).Key()}, "names nobody with this key"},
		{"first signed, names nobody", nil, Candidate{none, signature(t, none, 1), key(t, 1).Key()}, "names nobody with this key"},

		{"signed, next version", first, Candidate{Policy: v4, Signature: signature(t, v4, 1)}, ""},
		{"signed, to another steward", first, Candidate{Policy: v5, Signature: signature(t, v5, 1)}, ""},
		{"signed, itself again", first, Candidate{Policy: v3, Signature: signature(t, v3, 1)}, ""},
		{"unsigned after signed", first, Candidate{Policy: v4}, "it is not signed, and the policy in force is (by st1)"},
		{"itself unsigned after signed", first, Candidate{Policy: v3}, "it is not signed"},
		{"lower version", first, Candidate{Policy: old, Signature: signature(t, old, 1)}, "older than version 3"},
		{"by a steward of its own only", first, Candidate{v5, signature(t, v5, 2), key(t, 2).Key()}, "names nobody with this key"},
		{"not by a steward", first, Candidate{Policy: v4, Signature: signature(t, v4, 8)}, "no steward of version 3"},
		{"one byte changed", first, Candidate{Policy: changed, Signature: signature(t, v4, 1)}, "does not fit these bytes"},
		{"names nobody any more", first, Candidate{Policy: none, Signature: signature(t, none, 1)}, "names no steward"},
		{"rubbish", first, Candidate{Policy: v4, Signature: []byte("x")}, "not an SSH signature"},
		{"an approval", first, Candidate{Policy: v4, Signature: func() []byte {
			sig, err := key(t, 1).Sign(signed.Approval, v4.Message)
			if err != nil {
				t.Fatal(err)
			}
			return sig
		}()}, `is for "casco-approval"`},
	} {
		before := *tc.now.At(now)
		got, err := Accept(tc.now, tc.c, now)
		if after := *tc.now.At(now); tc.now != nil && (after.Policy != before.Policy || after.Signature != before.Signature) {
			t.Errorf("%s: what was in force changed", tc.name)
		}
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: refused: %v", tc.name, err)
		case tc.want == "" && (got.Policy.Digest != tc.c.Policy.Digest || got.Signed() != (tc.c.Signature != nil)):
			t.Errorf("%s: %+v is in force", tc.name, got)
		case tc.want != "" && (err == nil || got != nil || !strings.Contains(err.Error(), tc.want) || told(err).Empty()):
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

// TestEffective: a policy with a date ahead is taken, and waits.
func TestEffective(t *testing.T) {
	now, then := at(t, "2026-11-24T12:00:00Z"), at(t, "2026-12-01T00:00:00Z")
	v3, v4, v5 := version(t, 3, 1, ""), version(t, 4, 1, ", effective: 2026-12-01"), version(t, 5, 1, "")
	f, err := Accept(nil, Candidate{Policy: v3}, now)
	if err != nil {
		t.Fatal(err)
	}
	f, err = Accept(f, Candidate{v4, signature(t, v4, 1), key(t, 1).Key()}, now)
	if err != nil || f.At(now).Policy != v3 || f.At(then.Add(-1)).Policy != v3 || f.At(then).Policy != v4 || !f.At(then).Signed() {
		t.Fatal(f, err)
	}
	// The waiting one counts already: for the version, and that it is signed.
	if _, err := Accept(f, Candidate{Policy: v3}, now); err == nil || !strings.Contains(err.Error(), "older than version 4") {
		t.Error(err)
	}
	if _, err := Accept(f, Candidate{Policy: v5}, now); err == nil || !strings.Contains(err.Error(), "not signed") {
		t.Error(err)
	}
	g, err := Accept(f, Candidate{Policy: v5, Signature: signature(t, v5, 1)}, now)
	if err != nil || g.Policy != v5 || g.Next != nil {
		t.Error(g, err)
	}
	// Before the first one is in force, the built-in policy is.
	h, err := Accept(nil, Candidate{Policy: v4}, now)
	if err != nil || h.Policy.Digest != "builtin" || h.At(then).Policy != v4 {
		t.Error(h, err)
	}
}
