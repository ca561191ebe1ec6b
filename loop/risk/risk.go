// Package risk says how bad it is, here.
//
// A finding says that a check failed. A risk says what that means on this host:
// what an attacker would do with it, from where, how far he would get, who
// decides about it and until when. It is reckoned from facts and verdicts by
// two published rules that can be redone by hand:
//
//   - Priority comes from a decision table (priority.go) and decides due dates.
//   - Order inside a priority is R = 100·L·I by formula risk/1 (formula.go). Its
//     inputs are kept with the risk, so that a pocket calculator gives the same.
//
// The weights are judgement, and say so. An input that is missing counts as the
// worst it could be and makes the confidence low; it is never zero. Deciding
// about a risk, or excepting a finding, changes no verdict and no number.
//
// The package is pure. The time of judgement is always an argument.
package risk

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/policy"
)

// A Risk is one scenario: what may happen to, or through, one object of one
// host. The findings that make it possible are its members. Its ID is made of
// host, object and threat alone, so it stays while findings come and go.
type Risk struct {
	ID       string        `json:"id"`
	Host     string        `json:"host"`
	Ref      inventory.Ref `json:"ref"`
	Threat   Threat        `json:"threat"`
	Scenario lang.Text     `json:"scenario"`

	// Findings that are open, worst first: the first one leads, and its values
	// are the risk's. They are not added up: two ways to the same end do not
	// make the end twice as bad.
	Findings []Member `json:"findings"`
	Blast    Blast    `json:"blast_radius"`
	Paths    []Path   `json:"paths,omitempty"` // attack paths that use one of the findings; first those that arrive

	// Inherent is without any defence, Current with the defences that passed in
	// the last run, Residual with what the treatment plans to add or to cure.
	Inherent Value `json:"inherent"`
	Current  Value `json:"current"`
	Residual Value `json:"residual"`
	// Confidence is low if an input was missing or is too old.
	Confidence Confidence `json:"confidence"`
	Priority   Priority   `json:"priority"`

	FirstFailed time.Time `json:"first_failed,omitzero"`
	Due         time.Time `json:"due,omitzero"` // the earliest due date of its findings
	Overdue     bool      `json:"overdue"`

	Owner     string    `json:"owner,omitempty"` // ID of a person; empty: nobody's yet
	State     State     `json:"state"`
	Treatment Standings `json:"treatment,omitzero"`
	// Reassess is set when the inputs are not those that the treatment was
	// decided on.
	Reassess bool `json:"reassess"`
	// Digest is over all that the values rest on: a treatment is bound to it.
	Digest string `json:"inputs_digest"`
}

// A Member is one finding of a risk with its own rating.
type Member struct {
	Fingerprint string        `json:"fingerprint"`
	Check       string        `json:"check"`
	Ref         inventory.Ref `json:"ref"`
	Title       lang.Text     `json:"title"`
	Verdict     audit.Verdict `json:"verdict"` // fail, or unknown: failed before and could not be told since
	Facts       string        `json:"facts"`   // Digest of its evidence
	Inputs      Inputs        `json:"inputs"`
	Axes        Axes          `json:"axes"`
	Inherent    Value         `json:"inherent"`
	Current     Value         `json:"current"`
	Priority    Priority      `json:"priority"`
	FirstFailed time.Time     `json:"first_failed"`
	Due         time.Time     `json:"due"`
	Reopened    int           `json:"reopened"`
	// Exception is the ID of an exception in force that covers it, all of it.
	Exception string `json:"exception,omitempty"`
	// CausedBy names the check of the engine's default that explains it.
	CausedBy string `json:"caused_by,omitempty"`
}

// A State is how far the work on a risk has come.
type State string

const (
	Identified State = "identified"        // an input is missing: what it is worth is not known for sure
	Assessed   State = "assessed"          // all inputs are known, nobody has decided
	Decided    State = "treatment-decided" // decided, not begun
	Treating   State = "in-treatment"      // a change is under way
	Monitored  State = "monitored"         // accepted for a time, or another's: it is watched
	Closed     State = "closed"            // every finding of it was measured to pass
	Gone       State = "gone"              // what it was about is no longer there: nothing was cured
)

// A Confidence says how much a value may be relied on.
type Confidence string

const (
	Good Confidence = "good"
	Low  Confidence = "low"
)

// A Kind of treatment: ISO 31000 6.5, in the words of COBIT APO12.
type Kind string

const (
	Mitigate Kind = "mitigate" // make it less likely or less bad
	Avoid    Kind = "avoid"    // stop what brings it about
	Transfer Kind = "transfer" // let another bear the loss
	Accept   Kind = "accept"   // live with it for a time, by exceptions that a risk owner signed
)

// Kinds are all treatments there are.
var Kinds = []Kind{Mitigate, Avoid, Transfer, Accept}

// A Treatment is what somebody decided about a risk. It is for the facts of
// that day: Inputs is the digest of the risk then.
type Treatment struct {
	Risk   string      `json:"risk"`
	Kind   Kind        `json:"how"`
	By     string      `json:"by"` // ID of a person
	On     time.Time   `json:"on"`
	Reason string      `json:"reason"`
	Due    policy.Date `json:"due,omitzero"`
	Owner  string      `json:"owner,omitempty"` // who carries it out; By if empty
	// Change is the ID of the change that carries it out.
	Change string `json:"change,omitempty"`
	// Exceptions are those that accept it: each finding needs one.
	Exceptions []string `json:"exceptions,omitempty"`
	// Cures are the checks that the change will make pass; empty with Mitigate
	// or Avoid and no Controls: all of them.
	Cures []string `json:"cures,omitempty"`
	// Controls are checks of the same object that will pass when it is done.
	// Until they do, they lower the residual value alone.
	Controls []string `json:"controls,omitempty"`
	Inputs   string   `json:"inputs_digest"`
	// Signatures are those that were found good over the document's bytes.
	Signatures []policy.Signature `json:"signatures,omitempty"`
}

// Standings is a treatment with how it stands.
type Standings struct {
	Treatment
	State TreatmentState `json:"state"`
	// Overdue: its own date has passed and the risk is still there.
	Overdue bool `json:"overdue"`
}

// A TreatmentState is how far a treatment has come. Done is never said: what
// was done is measured, and then the risk is closed.
type TreatmentState string

const (
	Proposed   TreatmentState = "proposed"    // nobody who may decide has signed it
	Approved   TreatmentState = "approved"    // signed, not begun
	InProgress TreatmentState = "in-progress" // a change carries it out, or exceptions are in force
	Verified   TreatmentState = "verified"    // every finding was measured to pass
)

// riskID names a scenario for ever: "R-" and 10 hex digits.
func riskID(host string, ref inventory.Ref, t Threat) string {
	h := sha256.Sum256([]byte(host + "\x00" + ref.String() + "\x00" + string(t)))
	return "R-" + hex.EncodeToString(h[:5])
}

// Open reports whether something of k still fails, or was not told since.
func (k Risk) Open() bool { return k.State != Closed && k.State != Gone }
