// Package change says who agreed to a plan.
//
// A Change is a plan with what is asked of it (its class, reason, time window
// and author) and what people said. The author signs the request, each approver
// signs the digest of all of it: approve, change one byte, and every signature
// is void. The host that applies checks the signatures itself, against the
// policy in force on it; it takes nobody's word.
//
// The three classes are those of COBIT 2019 BAI06 and ITIL 4: a standard change
// is agreed to beforehand, by kind; a normal one by so many persons other than
// its author; an emergency by fewer, and must be ratified afterwards.
package change

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"casco/lang"
	"casco/loop/plan"
)

// A Class is how a change is agreed to.
type Class string

const (
	Standard  Class = "standard"
	Normal    Class = "normal"
	Emergency Class = "emergency"
)

// A Change is a plan with what was asked and said of it. It is what a plan
// file holds.
type Change struct {
	PlanID    string     `json:"id"`
	Plan      *plan.Plan `json:"plan"`
	Request   Request    `json:"request"`
	Approvals []Approval `json:"approvals,omitempty"`
}

// A Request is what its author asks of a plan. The author is who signed it;
// without a signature nobody can be told apart from the author, so an
// organisation's policy with persons in it wants one.
type Request struct {
	Class     Class     `json:"class"`
	Reason    string    `json:"reason,omitempty"`
	Window    Span      `json:"window,omitzero"` // when it may begin; zero is any time
	By        string    `json:"by"`              // ID of a person in the policy, or the system's user
	At        time.Time `json:"at"`              // when, UTC
	Signature string    `json:"signature,omitempty"`
}

// A Span is a stretch of time, in UTC. The zero end is open.
type Span struct {
	From  time.Time `json:"from,omitzero"`
	Until time.Time `json:"until,omitzero"` // not included
}

// Contains reports whether t lies in s.
func (s Span) Contains(t time.Time) bool {
	return !t.Before(s.From) && (s.Until.IsZero() || t.Before(s.Until))
}

// New asks for a normal change by p, in the name of by. The plan's digest is
// taken here: p must not change afterwards.
func New(p *plan.Plan, by string, at time.Time) *Change {
	return &Change{PlanID: p.ID(), Plan: p, Request: Request{Class: Normal, By: by, At: at.UTC()}}
}

// Message is what the author signs: a fixed head and every field quoted, so
// that none can run into the next.
func (c *Change) Message() []byte {
	r := c.Request
	return fmt.Appendf(nil, "casco request v1\nplan %s\nclass %q\nreason %q\nfrom %s\nuntil %s\nby %q\nat %s\n",
		c.PlanID, r.Class, r.Reason, stamp(r.Window.From), stamp(r.Window.Until), r.By, stamp(r.At))
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// Digest is a SHA-256 over Message, in hex: what approvers sign. It covers the
// plan, the class, the window and the author.
func (c *Change) Digest() string {
	h := sha256.Sum256(c.Message())
	return hex.EncodeToString(h[:])
}

// Intact returns an error if the plan is no longer the one that the ID names,
// or is of a format that this program does not know.
func (c *Change) Intact() error {
	if c.Plan == nil || c.Plan.Schema != plan.Schema {
		return lang.Errorf(lang.Text{En: "not a plan of format %s", Es: "no es un plan de formato %s"}, plan.Schema)
	}
	if id := c.Plan.ID(); id != c.PlanID {
		return refuse(lang.Text{
			En: "the plan is not the one that was made: its digest is %.12s, its ID says %.12s",
			Es: "el plan no es el que se hizo: su resumen es %.12s, su ID dice %.12s",
		}, id, c.PlanID)
	}
	return nil
}

// A Decision is what an approver says.
type Decision string

const (
	Approve  Decision = "approve"
	Reject   Decision = "reject"   // stands against any number of approvals
	Withdraw Decision = "withdraw" // takes back the person's own decision
	Ratify   Decision = "ratify"   // agrees to an emergency change after it was made
)

// An Approval is one person's signed decision on one change.
type Approval struct {
	By        string    `json:"by"` // ID of a person in the policy, or the system's user
	At        time.Time `json:"at"` // when, UTC
	Decision  Decision  `json:"decision"`
	Change    string    `json:"change"`         // Change.Digest
	Until     time.Time `json:"until,omitzero"` // not counted from then on; zero: as long as the plan holds
	Comment   string    `json:"comment,omitempty"`
	Signature string    `json:"signature"` // SSHSIG over Message
}

// Message is what the approver signs.
func (a Approval) Message() []byte {
	return fmt.Appendf(nil, "casco approval v1\nchange %s\ndecision %q\nby %q\nat %s\nuntil %s\ncomment %q\n",
		a.Change, a.Decision, a.By, stamp(a.At), stamp(a.Until), a.Comment)
}
