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
// has it: rules that it changed, a request to the engine that it judged.
type Decision struct {
	Ref  string `json:"ref"`            // what it is about, or what was made; the engine if that is not known
	By   string `json:"by"`             // part of the guard: network, admission
	What string `json:"what"`           // kind of decision: rules; allowed, refused, observed (let through against a rule)
	Text string `json:"text,omitempty"` // in English
	Call *Call  `json:"call,omitempty"` // of admission
}

func (Decision) Kind() string    { return "decision" }
func (d Decision) About() string { return d.Ref }

// By and What of decisions about requests.
const (
	Admission = "admission"
	Allowed   = "allowed"
	Refused   = "refused"
	Observed  = "observed"
)

// A Call is a request to an engine that was judged, if it asks for a change, for
// contents, or was refused. It has no body, no value of an environment, and of a
// query only what names things.
type Call struct {
	At       time.Time `json:"at"`               // when it came
	Engine   string    `json:"engine,omitempty"` // its address, if Ref is not the engine itself
	Endpoint string    `json:"endpoint"`         // of the Engine API: "POST /containers/{id}/start"; empty if it is none
	Request  string    `json:"request"`          // "POST /v1.41/containers/web1/start"
	ID       string    `json:"id,omitempty"`     // the engine's own, of what Ref names; with Made, of what was made
	Made     bool      `json:"made,omitempty"`   // the engine answered that it made ID
	With     string    `json:"with,omitempty"`   // what it is about beside Ref: the network that a container is put on
	Exec     string    `json:"exec,omitempty"`   // the engine's ID of the command, of /exec
	Caller   Caller    `json:"caller"`

	Refusals []Refusal  `json:"refusals,omitempty"`
	Excepted []string   `json:"excepted,omitempty"` // exceptions without which it would have been refused
	Added    []Addition `json:"added,omitempty"`    // what the policy put into it
	Status   int        `json:"status,omitempty"`   // of the engine's answer; 0 if there was none or it is not known
	Trouble  string     `json:"trouble,omitempty"`  // why it did not come to the engine, or why there is no answer
}

// A Caller is who asked, as the kernel and the TLS library said then.
type Caller struct {
	UID         int64  `json:"uid"` // -1 if that is not known; so with GID and LoginUID
	GID         int64  `json:"gid"`
	LoginUID    int64  `json:"login_uid"` // who logged in, whatever sudo made of them since
	PID         int    `json:"pid,omitempty"`
	Unit        string `json:"unit,omitempty"`         // of systemd
	Container   string `json:"container,omitempty"`    // in which it runs: name, or ID if that is not known
	ContainerID string `json:"container_id,omitempty"` // its full ID
	Userns      string `json:"userns,omitempty"`       // user who made the user namespace in which it runs, if that is not the host's
	Certificate string `json:"certificate,omitempty"`  // common name
	Via         string `json:"via"`                    // the door's address; authz, the engine's plugin; ViaRuntime
}

// ViaRuntime is Caller.Via of a call of the runtime: what is judged is the
// container's final configuration, and who wanted it is not known there.
const ViaRuntime = "runtime"

// A Refusal is what a rule has against a request.
type Refusal struct {
	Rule     string `json:"rule"`
	Reason   string `json:"reason"`              // in English
	ReasonEs string `json:"reason_es,omitempty"` // in Spanish; entries of earlier versions lack it
	Path     string `json:"path,omitempty"`      // of the policy, that says how the rule is taken
	Observed bool   `json:"observed,omitempty"`  // it was let through all the same
}

// An Addition is a setting that the policy put into a request.
type Addition struct {
	Field string `json:"field"`
	Value string `json:"value"`
	Path  string `json:"path"` // of the policy
}

// An Alert is something that the guard saw.
type Alert struct {
	Ref   string `json:"ref"`
	What  string `json:"what"` // kind of event: dropped, tampered, late …; Unknown, Lost
	Text  string `json:"text"` // in English
	Count uint64 `json:"count,omitempty"`
	Rogue *Rogue `json:"rogue,omitempty"` // of Unknown
}

// What of alerts that others look for.
const (
	Unknown = "origin-unknown" // a container runs, or is there, of which nobody knows who made it
	Lost    = "lost"           // Count events that could not be written down
	Again   = "again"          // Count calls more of a sort of which some were written down
)

// A Rogue is a container of which nobody knows who made it.
type Rogue struct {
	ID        string    `json:"id,omitempty"`        // that its runtime or engine gave it
	Seen      time.Time `json:"seen"`                // when it was met
	Why       string    `json:"why"`                 // past-engine, past-door, guard-away
	Engine    string    `json:"engine"`              // where it is: an engine's or containerd's address, or the runtime's state directory
	Namespace string    `json:"namespace,omitempty"` // of containerd
	Runtime   string    `json:"runtime,omitempty"`   // path of the program
	Bundle    string    `json:"bundle,omitempty"`
	PID       int       `json:"pid,omitempty"`     // of its first process
	Program   string    `json:"program,omitempty"` // that this process runs: its path in the container
	Cgroup    string    `json:"cgroup,omitempty"`
	UID       int64     `json:"uid"`               // of who called the runtime; -1 if that is not known
	LoginUID  int64     `json:"login_uid"`         // of the same
	Parents   []string  `json:"parents,omitempty"` // programs that called each other for it, the nearest first
}

func (Alert) Kind() string    { return "alert" }
func (a Alert) About() string { return a.Ref }

// States of a Control.
const (
	Begun = "begun"
	Ended = "ended"
)

// A Control is one of casco's own that began its work or ended it.
type Control struct {
	Name  string `json:"name"`         // door, plugin
	State string `json:"state"`        // begun, ended
	At    string `json:"at,omitempty"` // where it works
}

func (Control) Kind() string    { return "control" }
func (c Control) About() string { return c.Name }

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

// An Advisories is a database of advisories that was built or imported here, or
// refused.
type Advisories struct {
	How    string    `json:"how"`   // build, update, import
	State  string    `json:"state"` // taken, refused
	Made   time.Time `json:"made,omitzero"`
	Covers string    `json:"covers,omitempty"` // ecosystems
	Key    string    `json:"key,omitempty"`    // that signed it
	Why    string    `json:"why,omitempty"`    // it was refused
}

func (Advisories) Kind() string    { return "advisories" }
func (e Advisories) About() string { return e.How }

// An Export says what was given out.
type Export struct {
	What   string `json:"what"` // report, log, register, sample
	Format string `json:"format"`
	SHA256 string `json:"sha256,omitempty"`
	Scope  string `json:"scope,omitempty"`
}

func (Export) Kind() string    { return "export" }
func (e Export) About() string { return e.What }
