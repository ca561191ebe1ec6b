package risk

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/policy"
)

// An exception lets a finding stand for a time. It is judged whenever it is
// used, at that moment: there is no job that must run for it to end, and
// nothing that it changes. The finding stays a fail, in every number.

// A Verify says who signed exactly the bytes of e for an exception. An error
// says why a signature that is there does not count: the bytes were changed, or
// the key is nobody's.
type Verify func(e policy.Exception) ([]policy.Signature, error)

// A Force is whether an exception is in force, and if not, why.
type Force string

const (
	InForce   Force = "active"
	NotYet    Force = "not-yet"   // it starts later
	Expired   Force = "expired"   // its last moment has passed
	Void      Force = "void"      // Reasons say why
	Unmatched Force = "unmatched" // there is no such finding: cured, gone or misspelt
	NotTold   Force = "not-told"  // whether the finding is there could not be told
)

// A Reason is why an exception is void.
type Reason string

const (
	Unsigned           Reason = "unsigned"            // nobody signed it
	BadSignature       Reason = "bad-signature"       // a signature does not fit its bytes, or is nobody's
	OwnRequest         Reason = "own-request"         // only who asked for it signed
	NoRole             Reason = "no-role"             // who signed may not grant
	NeverExcept        Reason = "never-except"        // the policy lets nobody except this check
	TooLong            Reason = "too-long"            // it lasts longer than the policy allows
	NoEnd              Reason = "no-end"              // it has no start, or no end after it
	NoReason           Reason = "no-reason"           // it does not say why
	NoFacts            Reason = "no-facts"            // it does not say on which facts it was granted
	FactsChanged       Reason = "facts-changed"       // the finding rests on other facts now
	CompensatingFailed Reason = "compensating-failed" // a check that must pass did not
)

// A Judged exception is what one exception is worth at one moment.
type Judged struct {
	policy.Exception
	Force   Force    `json:"force"`
	Reasons []Reason `json:"reasons,omitempty"` // of Void, all there are
	Detail  string   `json:"detail,omitempty"`  // which check, which signature
	// Fingerprint is the finding that it is for; empty if it matches none.
	Fingerprint string `json:"fingerprint,omitempty"`
	// Covers are the parts of the finding that it excepts; with none the whole.
	Covers []string `json:"covers,omitempty"`
	// Renewals is how often the same was granted before: the length of its
	// chain of renewed exceptions.
	Renewals int `json:"renewals"`
}

// An Exceptions is the judgement of all exceptions at one moment.
type Exceptions struct {
	Judged []Judged  `json:"exceptions"` // in order of their IDs
	At     time.Time `json:"at"`

	whole map[string]string            // fingerprint -> ID of one in force for all of it
	parts map[string]map[string]string // fingerprint -> part -> ID
}

// Judge says of each exception of p whether it is in force at that time, given
// the findings of s. It changes none of them. A nil verify takes no signature
// for good.
func Judge(p *policy.Policy, s *inventory.Snapshot, findings []audit.Finding, verify Verify, at time.Time) Exceptions {
	j := judge{p: p, host: s.Host, at: at.UTC(), verify: verify, found: asked(p.Granted, findings)}
	out := Exceptions{At: j.at, whole: map[string]string{}, parts: map[string]map[string]string{}}
	for _, e := range p.Granted {
		if e.Host != "" && e.Host != s.Host {
			continue // another host's
		}
		out.Judged = append(out.Judged, j.one(e))
	}
	slices.SortFunc(out.Judged, func(a, b Judged) int { return strings.Compare(a.ID, b.ID) })
	for _, e := range out.Judged {
		out.use(e)
	}
	return out
}

func (x *Exceptions) use(e Judged) {
	switch {
	case e.Force != InForce:
	case len(e.Covers) == 0:
		x.whole[e.Fingerprint] = e.ID
	default:
		if x.parts[e.Fingerprint] == nil {
			x.parts[e.Fingerprint] = map[string]string{}
		}
		for _, part := range e.Covers {
			x.parts[e.Fingerprint][part] = e.ID
		}
	}
}

// Of returns the ID of the exception that covers all of f. A finding about
// several parts is covered if each part is; the ID is then that of the first.
func (x Exceptions) Of(f audit.Finding) (id string, ok bool) {
	if f.Verdict != audit.Fail {
		return "", false
	}
	fp := f.Fingerprint()
	if id, ok := x.whole[fp]; ok {
		return id, true
	}
	for i, part := range f.Loci {
		by, ok := x.parts[fp][part]
		if !ok {
			return "", false
		}
		if i == 0 {
			id = by
		}
	}
	return id, id != ""
}

// find returns the judged exception with that ID.
func (x Exceptions) find(id string) (Judged, bool) {
	i := slices.IndexFunc(x.Judged, func(j Judged) bool { return j.ID == id })
	if i < 0 {
		return Judged{}, false
	}
	return x.Judged[i], true
}

type judge struct {
	p      *policy.Policy
	host   string
	at     time.Time
	verify Verify
	found  map[key]audit.Finding
}

// asked are the findings of the checks that exceptions speak of: a host has a
// thousand times as many.
func asked(granted []policy.Exception, findings []audit.Finding) map[key]audit.Finding {
	checks := map[string]bool{}
	for _, e := range granted {
		checks[e.Check] = true
		for _, c := range e.Compensating {
			checks[c.Check] = true
		}
	}
	found := map[key]audit.Finding{}
	for i := range findings {
		if f := &findings[i]; checks[f.Check.ID] {
			found[key{f.Check.ID, f.Ref}] = *f
		}
	}
	return found
}

func (j judge) one(e policy.Exception) Judged {
	out := Judged{Exception: e, Renewals: renewals(j.p.Granted, e)}
	out.Reasons, out.Detail = j.form(&out.Exception)
	ref, err := inventory.ParseRef(e.Asset)
	f, found := j.found[key{e.Check, ref}]
	matched := err == nil && found
	if matched {
		out.Fingerprint = f.Fingerprint()
		out.Covers = covered(f, e.Locus)
	}
	switch {
	case len(out.Reasons) > 0:
		out.Force = Void
	case j.at.Before(e.Starts.Time):
		out.Force = NotYet
	case j.at.After(e.Expires.End()):
		out.Force = Expired
	case matched && (f.Verdict == audit.Unknown || f.Verdict == audit.Manual):
		out.Force = NotTold
	case !matched, f.Verdict != audit.Fail, e.Locus != "" && len(out.Covers) == 0:
		out.Force = Unmatched
	default:
		out.Force = InForce
		if out.Reasons, out.Detail = j.facts(e, f, ref); len(out.Reasons) > 0 {
			out.Force = Void
		}
	}
	if out.Force == Unmatched {
		out.Fingerprint, out.Covers = "", nil
	}
	return out
}

// form is what is wrong with e whatever the host is like.
func (j judge) form(e *policy.Exception) (why []Reason, detail string) {
	rules := j.p.Exceptions
	add := func(r Reason, bad bool) {
		if bad {
			why = append(why, r)
		}
	}
	add(NeverExcept, slices.Contains(rules.MayNeverExcept, e.Check))
	noEnd := e.Starts.IsZero() || e.Expires.IsZero() || !e.Expires.End().After(e.Starts.Time)
	add(NoEnd, noEnd)
	length := e.Expires.End().Sub(e.Starts.Time)
	add(TooLong, !noEnd && rules.MaxDuration > 0 && length > time.Duration(rules.MaxDuration))
	add(NoReason, strings.TrimSpace(e.Reason) == "")
	add(NoFacts, e.FactsAtDecision == "")
	r, detail := j.signatures(e)
	add(r, r != "")
	return why, detail
}

// signatures says why no signature on e counts; "" if one does.
func (j judge) signatures(e *policy.Exception) (Reason, string) {
	var sigs []policy.Signature
	var err error
	if j.verify != nil {
		sigs, err = j.verify(*e)
	}
	e.Signatures = sigs // not what the document may claim of itself
	if err != nil {
		return BadSignature, err.Error()
	}
	worst := Unsigned
	for _, s := range sigs {
		switch person := j.p.Person(s.Person); {
		case person == nil:
			worst = BadSignature
		case !mayGrant(*person, j.p.Exceptions):
			worst = NoRole
		case s.Person == e.Requester && !j.p.Exceptions.RequesterMayApprove:
			worst = OwnRequest
		default:
			return "", ""
		}
	}
	return worst, ""
}

// mayGrant reports whether who may grant exceptions: a risk owner, if the
// policy names no roles. An auditor never may, whatever else they are.
func mayGrant(who policy.Person, rules policy.ExceptionRules) bool {
	roles := rules.Roles
	if len(roles) == 0 {
		roles = []policy.Role{policy.RiskOwner}
	}
	return who.HasAny(roles)
}

// facts is what on the host makes e void: it was granted on other facts, or a
// check that must pass beside it did not, in this run.
func (j judge) facts(e policy.Exception, f audit.Finding, ref inventory.Ref) (why []Reason, detail string) {
	if !factsUnchanged(f, e.FactsAtDecision) {
		why = append(why, FactsChanged)
	}
	for _, c := range e.Compensating {
		on := ref
		if c.Asset != "" {
			var err error
			if on, err = inventory.ParseRef(c.Asset); err != nil {
				return append(why, CompensatingFailed), err.Error()
			}
		}
		if g, ok := j.found[key{c.Check, on}]; !ok {
			return append(why, CompensatingFailed), fmt.Sprintf("%s %s: %s", c.Check, on, "not put")
		} else if g.Verdict != audit.Pass {
			return append(why, CompensatingFailed), fmt.Sprintf("%s %s: %s", c.Check, on, g.Verdict)
		}
	}
	return why, ""
}

// covered returns the parts of f that locus names: the very part, or without an
// address ("443/tcp") that port on whatever address of the host.
func covered(f audit.Finding, locus string) []string {
	var out []string
	for _, part := range f.Loci {
		if locus != "" && (part == locus || !strings.Contains(locus, ":") && strings.HasSuffix(part, ":"+locus)) {
			out = append(out, part)
		}
	}
	return out
}

// renewals walks the chain of what e renews. A chain that bites its tail ends
// there.
func renewals(all []policy.Exception, e policy.Exception) (n int) {
	seen := map[string]bool{e.ID: true}
	for e.Renews != "" && !seen[e.Renews] {
		n++
		seen[e.Renews] = true
		i := slices.IndexFunc(all, func(o policy.Exception) bool { return o.ID == e.Renews })
		if i < 0 {
			break // named, and no longer kept
		}
		e = all[i]
	}
	return n
}

// Objects are the exceptions as objects that checks judge: exception-unmatched
// finds the one that is for nothing. They are no part of the host, so they
// belong into no snapshot that is kept, and count in no number.
func (x Exceptions) Objects() []*inventory.Object {
	out := make([]*inventory.Object, 0, len(x.Judged))
	for _, e := range x.Judged {
		source := "policy"
		if e.Pos.File != "" {
			source = fmt.Sprintf("%s:%d", e.Pos.File, e.Pos.Line)
		}
		out = append(out, &inventory.Object{
			Ref: inventory.Ref{Kind: inventory.Exception, Name: e.ID}, Source: source, Read: x.At,
			Fields: map[string]any{
				"Check": e.Check, "Asset": e.Asset, "Locus": e.Locus, "Force": string(e.Force), "Expires": e.Expires.End().UTC().Format(time.RFC3339),
			},
		})
	}
	return out
}

// forceWords and reasonWords say each of them to people.
var (
	forceWords = map[Force]lang.Text{
		InForce:   {En: "active", Es: "vigente"},
		NotYet:    {En: "not yet", Es: "aún no"},
		Expired:   {En: "expired", Es: "vencida"},
		Void:      {En: "void", Es: "sin efecto"},
		Unmatched: {En: "matches nothing", Es: "no corresponde a nada"},
		NotTold:   {En: "cannot be told", Es: "no se puede saber"},
	}
	reasonWords = map[Reason]lang.Text{
		Unsigned:           {En: "nobody signed it", Es: "nadie la firmó"},
		BadSignature:       {En: "a signature does not fit it, or is nobody's", Es: "una firma no corresponde o no es de nadie"},
		OwnRequest:         {En: "only who asked for it signed it", Es: "solo la firmó quien la pidió"},
		NoRole:             {En: "who signed may not grant exceptions", Es: "quien firmó no puede conceder excepciones"},
		NeverExcept:        {En: "the policy lets nobody except this check", Es: "la política no permite exceptuar esta comprobación"},
		TooLong:            {En: "it lasts longer than the policy allows", Es: "dura más de lo que permite la política"},
		NoEnd:              {En: "it has no start, or no end after it", Es: "no tiene inicio, o no tiene fin posterior"},
		NoReason:           {En: "it does not say why", Es: "no dice por qué"},
		NoFacts:            {En: "it does not say on which facts it was granted", Es: "no dice con qué hechos se concedió"},
		FactsChanged:       {En: "the finding rests on other facts now", Es: "el hallazgo se apoya ahora en otros hechos"},
		CompensatingFailed: {En: "a check that must pass beside it does not", Es: "una comprobación que debe cumplirse junto a ella no se cumple"},
	}
)

// Text says f to people.
func (f Force) Text() lang.Text { return forceWords[f] }

// Text says r to people.
func (r Reason) Text() lang.Text { return reasonWords[r] }
