package store

import (
	"time"

	"casco/ledger"
)

// An Event is something that happened in the process and is written down for
// good. Its kind is the kind of the ledger's entry, what it is about the entry's
// About, and its JSON the entry's data: fields are added, never renamed.
type Event interface {
	Kind() string
	About() string // what a reader looks for: a change's ID, a finding's fingerprint, a ref
}

// A Run is one turn of a part of the loop: an audit, an apply, a rollback. It
// is written when it has ended; one that did not happen is Missed.
type Run struct {
	ID       string    `json:"id"`
	Of       string    `json:"of"` // audit, apply, verify, rollback, drift
	Begun    time.Time `json:"begun"`
	Ended    time.Time `json:"ended"`
	Outcome  string    `json:"outcome"` // ok, partial, failed, interrupted, missed
	Why      string    `json:"why,omitempty"`
	Program  string    `json:"program"` // version of casco
	Host     string    `json:"host"`
	Engine   string    `json:"engine,omitempty"`
	Policy   string    `json:"policy"` // digest of the policy in force, "builtin" for none
	Version  int       `json:"policy_version,omitempty"`
	Snapshot string    `json:"snapshot,omitempty"` // digest of the evidence
	Due      time.Time `json:"due,omitzero"`       // when a scheduled run should have begun
	Counts   Counts    `json:"counts,omitzero"`
}

func (Run) Kind() string    { return "run" }
func (r Run) About() string { return r.ID }

// Counts is a posture: how many questions had which answer. Accepted is a part
// of Fail: an exception changes no result.
type Counts struct {
	Pass          int `json:"pass"`
	Fail          int `json:"fail"`
	Unknown       int `json:"unknown"`
	Manual        int `json:"manual"`
	NotApplicable int `json:"not_applicable"`
	Accepted      int `json:"accepted"`
	Gaps          int `json:"gaps"`
}

// Gone is the verdict on an object that is no more: nothing was cured.
const Gone = "gone"

// A Verdict is a finding that has another answer than in the run before. What
// no Verdict speaks of stayed as it was.
type Verdict struct {
	Fingerprint string `json:"fingerprint"`
	Check       string `json:"check"`
	Ref         string `json:"ref"`
	Severity    string `json:"severity"`
	Verdict     string `json:"verdict"` // as in audit, or Gone
	Was         string `json:"was,omitempty"`
	Facts       string `json:"facts,omitempty"` // digest of the evidence
	Run         string `json:"run"`
}

func (Verdict) Kind() string    { return "verdict" }
func (v Verdict) About() string { return v.Fingerprint }

// A Change is one that has come to another state.
type Change struct {
	ID     string    `json:"id,omitempty"` // empty until it is begun
	Plan   string    `json:"plan"`         // plan's ID
	Digest string    `json:"digest"`       // what was signed
	Class  string    `json:"class"`
	State  string    `json:"state"` // refused, unratified, or as in apply: applying, verified, rolled-back …
	Author string    `json:"author"`
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by,omitempty"` // who took it to this state
	Why    string    `json:"why,omitempty"`
	Steps  int       `json:"steps,omitempty"`
	Asked  time.Time `json:"asked,omitzero"` // when its author asked for it
	Due    time.Time `json:"due,omitzero"`   // when it must be confirmed, or ratified
}

func (Change) Kind() string { return "change" }

// About is the change's ID, or the plan's before it has one.
func (c Change) About() string {
	if c.ID != "" {
		return c.ID
	}
	return c.Plan
}

// An Approval is a person's decision on a change, or on a risk, with the
// signature that proves it.
type Approval struct {
	Plan      string    `json:"plan"`
	Change    string    `json:"change,omitempty"` // ID, once it has one
	Digest    string    `json:"digest"`
	Decision  string    `json:"decision"`
	By        string    `json:"by"`
	Key       string    `json:"key"`
	At        time.Time `json:"at"`
	Until     time.Time `json:"until,omitzero"`
	Comment   string    `json:"comment,omitempty"`
	Signature string    `json:"signature"`
}

func (Approval) Kind() string    { return "approval" }
func (a Approval) About() string { return a.Plan }

// A Step is one act of a change.
type Step struct {
	Change string `json:"change"`
	Index  int    `json:"index"`
	Ref    string `json:"ref"`
	Hand   string `json:"hand"`
	State  string `json:"state"` // begun, done, failed, undone
	Err    string `json:"err,omitempty"`
}

func (Step) Kind() string    { return "step" }
func (s Step) About() string { return s.Change }

// A Policy is one that was taken into force, or refused.
type Policy struct {
	Name    string `json:"name,omitempty"`
	Version int    `json:"version,omitempty"`
	Digest  string `json:"digest"`
	Signer  string `json:"signer,omitempty"` // ID of the person; empty: unsigned
	Key     string `json:"key,omitempty"`
	State   string `json:"state"` // in-force, refused, superseded
	Why     string `json:"why,omitempty"`
}

func (Policy) Kind() string    { return "policy" }
func (p Policy) About() string { return p.Digest }

// A Treatment is what was decided about a risk.
type Treatment struct {
	Risk      string    `json:"risk"`
	Decision  string    `json:"decision"` // mitigate, avoid, transfer, accept
	By        string    `json:"by"`
	Owner     string    `json:"owner,omitempty"`
	Due       time.Time `json:"due,omitzero"`
	Change    string    `json:"change,omitempty"`    // plan or change that does it
	Exception string    `json:"exception,omitempty"` // that accepts it
	Inputs    string    `json:"inputs"`              // digest of the risk's inputs at the decision
	R         float64   `json:"r"`
	Priority  string    `json:"priority"`
	Comment   string    `json:"comment,omitempty"`
	Key       string    `json:"key,omitempty"`
	Signature string    `json:"signature,omitempty"`
}

func (Treatment) Kind() string    { return "treatment" }
func (t Treatment) About() string { return t.Risk }

// An Exception is one that has come to another state.
type Exception struct {
	ID      string    `json:"id"`
	State   string    `json:"state"` // active, not-yet, expired, void, unmatched, withdrawn
	Why     string    `json:"why,omitempty"`
	Check   string    `json:"check"`
	Asset   string    `json:"asset"`
	By      []string  `json:"by,omitempty"` // who granted it
	Expires time.Time `json:"expires,omitzero"`
	Renews  string    `json:"renews,omitempty"`
}

func (Exception) Kind() string    { return "exception" }
func (e Exception) About() string { return e.ID }

// A Drift is a difference that no change of casco explains. Who is what the
// kernel's audit trail says of it, if it was watching.
type Drift struct {
	Ref   string `json:"ref"`
	Field string `json:"field"`
	Was   any    `json:"was"`
	Now   any    `json:"now"`
	Who   string `json:"who,omitempty"`
	Run   string `json:"run"`
}

func (Drift) Kind() string    { return "drift" }
func (d Drift) About() string { return d.Ref }

// A Decision is something that a part of the guard did by itself, as the policy
// has it: rules that it changed.
type Decision struct {
	Ref  string `json:"ref"`
	By   string `json:"by"`   // part of the guard: network
	What string `json:"what"` // kind of decision: rules
	Text string `json:"text"` // in English
}

func (Decision) Kind() string    { return "decision" }
func (d Decision) About() string { return d.Ref }

// An Alert is something that the guard saw.
type Alert struct {
	Ref   string `json:"ref"`
	What  string `json:"what"` // kind of event: dropped, tampered, late …
	Text  string `json:"text"` // in English
	Count uint64 `json:"count,omitempty"`
}

func (Alert) Kind() string    { return "alert" }
func (a Alert) About() string { return a.Ref }

// Evidence, Hold and Purge are what package ledger itself writes of the things
// that it keeps by their digests.
type (
	Evidence ledger.Meta
	Hold     ledger.HoldData
	Purge    ledger.PurgeData
)

func (Evidence) Kind() string    { return string(ledger.Evidenced) }
func (e Evidence) About() string { return e.Digest.About() }
func (Hold) Kind() string        { return string(ledger.Hold) }
func (h Hold) About() string     { return h.Digest.About() }
func (Purge) Kind() string       { return string(ledger.Purge) }
func (p Purge) About() string    { return p.Digest.About() }

// An Export says what was given out.
type Export struct {
	What   string `json:"what"` // report, log, register, sample
	Format string `json:"format"`
	SHA256 string `json:"sha256,omitempty"`
	Scope  string `json:"scope,omitempty"`
}

func (Export) Kind() string    { return "export" }
func (e Export) About() string { return e.What }
