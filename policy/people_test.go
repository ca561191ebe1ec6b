package policy

import (
	"crypto/ed25519"
	"errors"
	"testing"

	"golang.org/x/crypto/ssh"

	"casco/signed"
)

// key returns the signer number n; the same number gives the same key.
func key(t testing.TB, n byte) signed.Signer {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		t.Fatal(err)
	}
	out, err := signed.NewSigner(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRoles(t *testing.T) {
	p := &Policy{People: []Person{
		{ID: "a", Roles: []Role{Operator, Approver}},
		{ID: "b", Roles: []Role{Approver, Auditor}}, // an auditor never approves
		{ID: "c"},
	}}
	if w := p.Who(Approver); len(w) != 1 || w[0].ID != "a" {
		t.Errorf("approvers: %v", w)
	}
	if w := p.Who(Auditor, Operator); len(w) != 2 {
		t.Errorf("auditors and operators: %v", w)
	}
	if p.Person("c") == nil || p.Person("c").HasAny([]Role{Operator, Approver, RiskOwner, Steward, Auditor}) || p.Person("d") != nil {
		t.Error("nobody has a role unless the policy says so")
	}
}

func TestSignedBy(t *testing.T) {
	p := &Policy{People: []Person{
		{ID: "a", Keys: []string{key(t, 1).Key().String(), key(t, 2).Key().String(), key(t, 1).Key().String() + " again"}},
		{ID: "b", Keys: []string{"rubbish", key(t, 3).Key().String()}},
		{ID: "c", Keys: []string{key(t, 3).Key().String()}},
	}}
	sign := func(n byte) []byte {
		t.Helper()
		sig, err := key(t, n).Sign(signed.Approval, []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	for n, want := range map[byte]string{1: "a", 2: "a", 3: "", 4: ""} {
		who, k, err := p.SignedBy(sign(n), signed.Approval, []byte("x"))
		switch {
		case !k.Equal(key(t, n).Key()):
			t.Errorf("key %d: %v, %v", n, k, err)
		case want == "" && (who != nil || !errors.Is(err, errNobody)):
			t.Errorf("key %d is %v's: %v", n, who, err)
		case want != "" && (who == nil || who.ID != want):
			t.Errorf("key %d is %v's, want %s", n, who, want)
		}
	}
	if _, _, err := p.SignedBy(sign(1), signed.Approval, []byte("y")); err == nil || errors.Is(err, errNobody) {
		t.Errorf("other bytes: %v", err)
	}
}
