// Package audit says what is wrong on a host.
//
// A Check is a pure function over what package inventory read. It does no
// input or output and keeps no state, so the same check judges a running
// container, a container that someone asks to create, a service of a Compose
// file and a container as a plan would leave it.
//
// The zero Verdict is Unknown: silence never passes. A check judges what is in
// effect where that could be read, what was declared otherwise, and shows both.
package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"casco/lang"
	"casco/loop/inventory"
)

// A Verdict is what a check says of an object.
type Verdict uint8

const (
	Unknown       Verdict = iota // could not be told
	Pass                         // as it should be
	Fail                         // not as it should be
	NotApplicable                // the question does not arise here; Reason says why
	Manual                       // a person must answer; Reason is the question
)

var verdicts = [...]string{"unknown", "pass", "fail", "not-applicable", "manual"}

func (v Verdict) String() string { return verdicts[v] }

// MarshalText makes a Verdict its word in JSON.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// A Severity is how bad a failed check is before anything is known of the
// object's exposure. Package risk weighs that.
type Severity uint8

const (
	Low      Severity = iota + 1 // hygiene
	Medium                       // weakens a defence
	High                         // a defence is missing, or data of others is open
	Critical                     // who gets in owns the host
)

var severities = [...]string{"", "low", "medium", "high", "critical"}

func (s Severity) String() string { return severities[s] }

// MarshalText makes a Severity its word in JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// ParseSeverity is the inverse of Severity.String. ok is false for other words.
func ParseSeverity(word string) (s Severity, ok bool) {
	i := slices.Index(severities[1:], word)
	return Severity(i + 1), i >= 0
}

// A Domain is one of the five COBIT domains that steer casco.
type Domain string

const (
	Security    Domain = "security"    // DSS05, APO13
	Risk        Domain = "risk"        // APO12
	Change      Domain = "change"      // BAI06, BAI10
	Operations  Domain = "operations"  // DSS01
	Supervision Domain = "supervision" // MEA01, MEA02
)

// A Control is one requirement of a published framework, for example
// {"cis-docker-1.8.0", "5.5"}. It must exist in package frameworks.
type Control struct {
	Framework string `json:"framework"`
	Number    string `json:"number"`
}

// A Check judges one kind of object. Its ID is its identity for ever; the
// numbers of frameworks are mappings.
type Check struct {
	ID       string
	Title    lang.Text // the defect, as a short sentence: "Container runs privileged"
	Why      lang.Text // what an attacker gains, or what is lost
	Remedy   lang.Text // what a person does; Answer.Wants says the same to a machine
	Severity Severity
	Domains  []Domain
	Controls []Control
	Kind     inventory.Kind
	// About narrows Kind to the objects that the check speaks of: one role of
	// a file, one sysctl, what the policy names. Nil is all of them. Run leaves
	// the others out.
	About func(s *inventory.Snapshot, o *inventory.Object) bool
	// CausedBy is the ID of a check about the daemon whose failure explains
	// failures of this one: a missing default is one cause for all containers.
	CausedBy string
	// Policy lists what the check reads of the policy, by path:
	// "host.packages" is all below it. Empty: the policy does not move it.
	Policy []string
	// From is where an organisation's own check stands: "own.yaml:3:1". Empty:
	// it is one of casco's.
	From string
	// Tailored is what an organisation changed of the check: see Tailor.
	Tailored []Override
	// Eval judges o, which is of Kind, and may look at the rest of s. It must
	// not keep or change either. s may hold nothing but o.
	Eval func(s *inventory.Snapshot, o *inventory.Object) Answer
}

// An Answer is what a check says of one object, and on what grounds.
type Answer struct {
	Verdict  Verdict
	Evidence []inventory.Fact // never empty
	Wants    []Want           // of a Fail: what would turn it into a Pass
	Reason   lang.Text        // why Unknown, NotApplicable or Manual; may be empty for the others
	// Loci are the parts of the object that are wrong, all of them, where a
	// Fail is about parts that have names: published ports (0.0.0.0:443/tcp),
	// paths that are mounted, capabilities. Empty: the object as a whole. An
	// exception may name one.
	Loci []string
}

// An Op is how a Want changes a field.
type Op uint8

const (
	Set    Op = iota // the field has Value
	Add              // the list has Value among its elements
	Remove           // the list has no element equal to Value
)

// A Want is what a field should be, not how it gets there. Wants of several
// checks on one list add up, so two checks can each want one element of
// HostConfig.SecurityOpt.
type Want struct {
	Ref   inventory.Ref
	Field string
	Op    Op
	Value any // nil with Set removes the field
	// Ask is set when the value depends on the workload, so that casco must be
	// told, or must be allowed to take Value as its suggestion. It is the
	// question for a person.
	Ask lang.Text
	// Breaks says what may stop working once the field is so.
	Breaks lang.Text
}

// A Finding is one answer of one check about one object.
type Finding struct {
	Check *Check
	Ref   inventory.Ref
	Answer
	// Other is the engine that Ref belongs to if that is not the one in use:
	// see Snapshot.Another. Such findings are shown and counted apart: what is
	// said of a host must not depend on which other engines run just then, and
	// most of their questions are open because nobody asked them.
	Other inventory.Ref
}

// Fingerprint names a finding for ever: 16 hex digits of a SHA-256 over the
// check's ID and the ref. It does not change with evidence, version or time.
func (f Finding) Fingerprint() string {
	h := sha256.Sum256([]byte(f.Check.ID + "\x00" + f.Ref.String()))
	return hex.EncodeToString(h[:8])
}

// Run puts each check to each object of its kind that it is about. The findings come in the
// order of the checks, then of the objects: equal input gives equal output.
//
// The work goes object by object, and the objects are shared out among the
// CPUs: one object put to all checks stays in a CPU's cache, a thousand put to
// one check do not, which took twice as long (measured). Each pair of a check
// and an object has a place of its own, so that the order of work is not that
// of the findings.
func Run(checks []*Check, s *inventory.Snapshot) []Finding {
	s.Share()
	places := 0
	first := make([]int, len(checks)) // the place of each check's first object
	of := map[inventory.Kind][]int{}  // the checks of each kind
	for i, c := range checks {
		first[i] = places
		places += len(s.Of(c.Kind))
		of[c.Kind] = append(of[c.Kind], i)
	}
	found := make([]Finding, places)
	for kind, mine := range of {
		share(s.Of(kind), func(j int, o *inventory.Object) {
			for _, i := range mine {
				if c := checks[i]; c.About == nil || c.About(s, o) {
					found[first[i]+j] = judge(c, s, o)
				}
			}
		})
	}
	return slices.DeleteFunc(found, func(f Finding) bool { return f.Check == nil })
}

// Of puts to one object of s the checks that are about it, in their order.
func Of(checks []*Check, s *inventory.Snapshot, o *inventory.Object) []Finding {
	var found []Finding
	for _, c := range checks {
		if c.Kind == o.Ref.Kind && (c.About == nil || c.About(s, o)) {
			found = append(found, judge(c, s, o))
		}
	}
	return found
}

func judge(c *Check, s *inventory.Snapshot, o *inventory.Object) Finding {
	f := Finding{Check: c, Ref: o.Ref, Answer: c.Eval(s, o)}
	if d := s.Another(o); d != nil {
		f.Other = d.Ref
	}
	return f
}

// share calls judge for each object, from as many goroutines as there are
// CPUs, and waits for them.
func share(objects []*inventory.Object, judge func(j int, o *inventory.Object)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(objects)) {
		wg.Go(func() {
			for j := int(next.Add(1)) - 1; j < len(objects); j = int(next.Add(1)) - 1 {
				judge(j, objects[j])
			}
		})
	}
	wg.Wait()
}

// Ours returns the findings about the engine in use and its host: those that
// numbers, the register of risks and the ledger are made of.
func Ours(fs []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(fs), func(f Finding) bool { return f.Other != (inventory.Ref{}) })
}

// Fails reports whether f is a failure of at least severity min, of the engine
// in use or its host.
func (f *Finding) Fails(min Severity) bool {
	return f.Verdict == Fail && f.Check.Severity >= min && f.Other == (inventory.Ref{})
}

// ParseVerdict is the inverse of Verdict.String. ok is false for other words.
func ParseVerdict(word string) (v Verdict, ok bool) {
	i := slices.Index(verdicts[:], word)
	return Verdict(max(i, 0)), i >= 0
}
