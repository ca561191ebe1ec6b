// Package change says who agreed to a plan.
//
// An approval is an Ed25519 signature over the plan's ID, which is a digest of
// all its bytes: approve, change one byte, and the approval is void. The host
// that applies checks the signatures itself against the keys it trusts; it
// takes nobody's word for it.
package change

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"time"

	"casco/lang"
	"casco/loop/plan"
)

// ErrRefused is wrapped by every reason for which a change may not be applied.
var ErrRefused = lang.Errorf(lang.Text{En: "refused", Es: "rechazado"})

// An Approval is one person's signed yes to one plan.
type Approval struct {
	By        string    `json:"by"`        // who, as the system knows them
	At        time.Time `json:"at"`        // when, UTC
	PlanID    string    `json:"plan"`      // plan.Plan.ID
	Key       string    `json:"key"`       // Ed25519 public key, base64
	Signature string    `json:"signature"` // over message(), base64
}

// Sign approves the plan with that ID, in the name of by.
func Sign(key ed25519.PrivateKey, planID, by string, at time.Time) Approval {
	a := Approval{By: by, At: at.UTC(), PlanID: planID, Key: PublicKey(key)}
	a.Signature = base64.StdEncoding.EncodeToString(ed25519.Sign(key, a.message()))
	return a
}

// PublicKey is the public half of key, as approvals and lists of keys write it.
func PublicKey(key ed25519.PrivateKey) string {
	return base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
}

// message is what is signed: a fixed head, so that the signature means nothing
// elsewhere, and every field quoted, so that none can run into the next.
func (a Approval) message() []byte {
	return fmt.Appendf(nil, "casco approval v1\n%q\n%q\n%q\n%q\n", a.PlanID, a.By, a.At.UTC().Format(time.RFC3339Nano), a.Key)
}

// Verify returns nil if a's signature is right. It does not say whether the
// key is trusted.
func (a Approval) Verify() error {
	key, err := base64.StdEncoding.DecodeString(a.Key)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return lang.Errorf(lang.Text{En: "approval by %q: no Ed25519 key", Es: "aprobación de %q: no es una clave Ed25519"}, a.By)
	}
	sig, err := base64.StdEncoding.DecodeString(a.Signature)
	if err != nil || !ed25519.Verify(key, a.message(), sig) {
		return lang.Errorf(lang.Text{En: "approval by %q: the signature does not fit", Es: "aprobación de %q: la firma no corresponde"}, a.By)
	}
	return nil
}

// A Change is a plan with what people said of it. It is what a plan file holds.
type Change struct {
	PlanID    string     `json:"id"`
	Plan      *plan.Plan `json:"plan"`
	Approvals []Approval `json:"approvals,omitempty"`
}

// New asks for approval of p.
func New(p *plan.Plan) *Change { return &Change{PlanID: p.ID(), Plan: p} }

// Intact returns an error if the plan is no longer the one that the ID names,
// or is of a format that this program does not know.
func (c *Change) Intact() error {
	if c.Plan == nil || c.Plan.Schema != plan.Schema {
		return lang.Errorf(lang.Text{En: "not a plan of format %s", Es: "no es un plan de formato %s"}, plan.Schema)
	}
	if id := c.Plan.ID(); id != c.PlanID {
		return lang.Errorf(lang.Text{
			En: "the plan is not the one that was made: its digest is %.12s, its ID says %.12s: %w",
			Es: "el plan no es el que se hizo: su resumen es %.12s, su ID dice %.12s: %w",
		}, id, c.PlanID, ErrRefused)
	}
	return nil
}

// Ready returns nil if c may be applied on a host of that name by the keys it
// trusts: the plan is intact and for this host, and at least one trusted key
// approved exactly it. Every approval must be good; one bad one is a sign of
// tampering.
func (c *Change) Ready(host string, trusted map[string]bool) error {
	if err := c.Intact(); err != nil {
		return err
	}
	if c.Plan.Host != host {
		return lang.Errorf(lang.Text{
			En: "the plan is for host %q, this is %q: %w",
			Es: "el plan es para el anfitrión %q, este es %q: %w",
		}, c.Plan.Host, host, ErrRefused)
	}
	good := 0
	for _, a := range c.Approvals {
		if err := a.Verify(); err != nil {
			return fmt.Errorf("%w: %w", err, ErrRefused)
		}
		if a.PlanID != c.PlanID {
			return lang.Errorf(lang.Text{
				En: "approval by %q is for another plan (%.12s): %w",
				Es: "la aprobación de %q es para otro plan (%.12s): %w",
			}, a.By, a.PlanID, ErrRefused)
		}
		if trusted[a.Key] {
			good++
		}
	}
	if good == 0 {
		return lang.Errorf(lang.Text{
			En: "not approved by a key that this host trusts: %w",
			Es: "no lo aprobó una clave en la que este anfitrión confíe: %w",
		}, ErrRefused)
	}
	return nil
}
