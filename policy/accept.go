package policy

import (
	"time"

	"casco/lang"
	"casco/signed"
)

// An InForce is the policy that a host goes by.
type InForce struct {
	Policy *Policy
	// Signature says who signed it; the zero one that nobody did.
	Signature Signature
	// Since is when this host took it, UTC.
	Since time.Time
	// Next was taken too, and comes into force on its date.
	Next *InForce
}

// Signed reports whether f was signed.
func (f *InForce) Signed() bool { return f.Signature.Key != "" }

// At returns what is in force at t: Next from its date on. Of nil it is the
// built-in policy.
func (f *InForce) At(t time.Time) *InForce {
	switch {
	case f == nil:
		return &InForce{Policy: Builtin()}
	case f.Next != nil && !t.Before(f.Next.Policy.Metadata.Effective.Time):
		return f.Next
	}
	return f
}

// A Candidate wants to be in force.
type Candidate struct {
	Policy    *Policy
	Signature []byte // armored; nil if there is none
	// Trust is the key that whoever runs the host vouches for. It counts for
	// the first signed policy only: from then on a policy says who signs the
	// next.
	Trust signed.Key
}

// ErrOlder is why a candidate is refused that has a lower version.
var ErrOlder = says(lang.Text{En: "there is no way back", Es: "no hay vuelta atrás"})

// Accept returns what is in force once c has been taken at the moment at, or
// why it is refused; then now stays in force, as it is. Nothing goes back: not
// to a lower version, and not to an unsigned policy once one was signed. A
// signature must be of a steward: of the policy in force, or, for the first
// signed one, of the candidate itself with the key that is trusted. What is in
// force already is accepted and changes nothing.
func Accept(now *InForce, c Candidate, at time.Time) (*InForce, error) {
	now = now.At(at)
	latest, authority := now, now
	if now.Next != nil {
		latest = now.Next
		if !now.Signed() {
			authority = now.Next
		}
	}
	have, want := latest.Policy.Metadata.Version, c.Policy.Metadata.Version
	same := c.Policy.Digest == latest.Policy.Digest
	switch {
	case want < have:
		return nil, says(lang.Text{
			En: "version %d is older than version %d, which is in force: %w; raise metadata.version",
			Es: "la versión %d es anterior a la %d, que está en vigor: %w; suba metadata.version",
		}, want, have, ErrOlder)
	case want == have && !same:
		return nil, says(lang.Text{
			En: "another policy of version %d is in force: raise metadata.version", Es: "hay otra política de versión %d en vigor: suba metadata.version",
		}, want)
	}
	sig, err := signedBy(authority, c)
	if err != nil {
		return nil, err
	}
	if same && (latest.Signed() || sig == (Signature{})) {
		return now, nil
	}
	next := &InForce{Policy: c.Policy, Signature: sig, Since: at.UTC()}
	if at.Before(c.Policy.Metadata.Effective.Time) {
		return &InForce{Policy: now.Policy, Signature: now.Signature, Since: now.Since, Next: next}, nil
	}
	return next, nil
}

// signedBy looks whether c is signed by who must sign it.
func signedBy(authority *InForce, c Candidate) (Signature, error) {
	if c.Signature == nil {
		if authority.Signed() {
			return Signature{}, says(lang.Text{
				En: "it is not signed, and the policy in force is (by %s): a steward must sign it", Es: "no está firmada, y la política en vigor sí (por %s): debe firmarla un steward",
			}, authority.Signature.Person)
		}
		return Signature{}, nil
	}
	rules := c.Policy
	if authority.Signed() {
		rules = authority.Policy
	}
	who, k, err := rules.SignedBy(c.Signature, signed.Policy, c.Policy.Message)
	switch {
	case err != nil:
		return Signature{}, says(lang.Text{En: "its signature does not count: %v", Es: "su firma no vale: %v"}, err)
	case !who.Has(Steward):
		return Signature{}, says(lang.Text{
			En: "%s signed it, who is no steward of version %d", Es: "la firmó %s, que no es steward de la versión %d",
		}, who.ID, rules.Metadata.Version)
	case !authority.Signed() && !c.Trust.Equal(k):
		return Signature{}, says(lang.Text{
			En: "it is the first signed policy here, and nobody has vouched for the key %s", Es: "es la primera política firmada aquí, y nadie ha avalado la clave %s",
		}, k.Fingerprint())
	}
	for _, s := range c.Policy.Who(Steward) {
		if len(s.Keys) > 0 {
			return Signature{who.ID, k.Fingerprint()}, nil
		}
	}
	return Signature{}, says(lang.Text{En: "it names no steward: nobody could sign the next one", Es: "no nombra ningún steward: nadie podría firmar la siguiente"})
}
