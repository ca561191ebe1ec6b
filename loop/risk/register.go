package risk

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/policy"
)

// An Input is all that a register is made of. Equal inputs give equal
// registers, byte for byte.
type Input struct {
	Snapshot *inventory.Snapshot
	Findings []audit.Finding // of that snapshot
	Policy   *policy.Policy
	// Lives are those of the history after these findings (Track). A finding
	// without one first failed at At.
	Lives      map[string]Life
	Treatments []Treatment
	Exceptions Exceptions
	CVEs       map[string][]CVE // by the fingerprint of the finding they belong to
	At         time.Time
}

// pathsPerRisk is how many attack paths a risk shows.
const pathsPerRisk = 3

// Register makes the risks of a host: first those to be treated soonest, among
// them the greatest R; last those that are closed.
func Register(in Input) []Risk {
	r := register{Input: in, terrain: Survey(in.Snapshot, in.Findings, in.Policy, in.CVEs), risks: map[string]*Risk{}, failed: map[string]bool{}}
	r.At = in.At.UTC()
	for _, f := range in.Findings {
		if f.Verdict == audit.Fail {
			r.failed[f.Check.ID] = true
		}
	}
	open := map[string]bool{}
	for _, f := range in.Findings {
		if r.counts(f) {
			open[f.Fingerprint()] = true
			r.add(f)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(in.Lives)) {
		if l := in.Lives[k]; !open[k] && l.Status != LifeUntold {
			r.past(l)
		}
	}
	for _, k := range r.risks {
		r.finish(k)
	}
	sorted := slices.SortedFunc(maps.Values(r.risks), func(a, b *Risk) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(b.Current.R, a.Current.R), cmp.Compare(a.ID, b.ID))
	})
	out := make([]Risk, 0, len(sorted))
	for _, k := range sorted {
		out = append(out, *k)
	}
	return out
}

type register struct {
	Input
	terrain *Terrain
	risks   map[string]*Risk
	failed  map[string]bool // check IDs
}

// counts reports whether f is a member of a risk: it failed, or it did before
// and could not be told since.
func (r *register) counts(f audit.Finding) bool {
	switch f.Verdict {
	case audit.Fail:
		return f.Ref.Kind != inventory.Exception
	case audit.Unknown, audit.Manual:
		return r.Lives[f.Fingerprint()].Status == LifeOpen
	}
	return false
}

func (r *register) risk(ref inventory.Ref, t Threat) *Risk {
	id := riskID(r.Snapshot.Host, ref, t)
	if r.risks[id] == nil {
		r.risks[id] = &Risk{ID: id, Host: r.Snapshot.Host, Ref: ref, Threat: t, Scenario: scenario(t, ref)}
	}
	return r.risks[id]
}

func (r *register) add(f audit.Finding) {
	m := Member{Fingerprint: f.Fingerprint(), Check: f.Check.ID, Ref: f.Ref, Title: f.Check.Title, Verdict: f.Verdict, Facts: Digest(f)}
	var blast Blast
	m.Inputs, m.Axes, blast = r.terrain.Rate(f, r.At)
	m.Inherent, m.Current, m.Priority = m.Inputs.Inherent(), m.Inputs.Current(), m.Axes.Priority()
	life := r.Lives[m.Fingerprint]
	m.FirstFailed, m.Reopened = life.FirstFailed, life.Reopened
	if m.FirstFailed.IsZero() {
		m.FirstFailed = r.At
	}
	m.Due = m.FirstFailed.Add(m.Priority.within(r.Policy.SLA))
	m.Exception, _ = r.Exceptions.Of(f)
	if r.failed[f.Check.CausedBy] {
		m.CausedBy = f.Check.CausedBy
	}
	risk := r.risk(f.Ref, threatNamed(f.Check.ID))
	if len(risk.Findings) == 0 || before(m, risk.Findings[0]) < 0 {
		risk.Blast = blast
		risk.Findings = slices.Insert(risk.Findings, 0, m)
		return
	}
	risk.Findings = append(risk.Findings, m)
}

// before orders members: soonest, then greatest, then by name.
func before(a, b Member) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(b.Current.R, a.Current.R), cmp.Compare(a.Check, b.Check))
}

// past keeps what was a risk: its findings were measured to pass, or what they
// were about is gone. What is open elsewhere in the same risk keeps it open.
func (r *register) past(l Life) {
	risk := r.risk(l.Ref, threatNamed(l.Check))
	if len(risk.Findings) > 0 {
		return
	}
	switch {
	case l.Status == LifeClosed:
		risk.State = Closed
	case l.Status == LifeGone && risk.State != Closed:
		risk.State = Gone
	case l.Status == LifeOpen: // its check was not put this time
		risk.State = Assessed
	}
	if risk.FirstFailed.IsZero() || l.FirstFailed.Before(risk.FirstFailed) {
		risk.FirstFailed = l.FirstFailed
	}
}

func (r *register) finish(k *Risk) {
	treatment, decided := r.treatmentOf(k.ID)
	k.Owner = r.owner(treatment)
	if len(k.Findings) == 0 {
		if decided {
			k.Treatment = Standings{Treatment: treatment, State: r.signed(treatment)}
			if k.State == Closed {
				k.Treatment.State = Verified
			}
		}
		return
	}
	slices.SortFunc(k.Findings, before)
	lead := k.Findings[0]
	k.Inherent, k.Current, k.Residual = lead.Inherent, lead.Current, lead.Current
	k.Priority, k.Confidence = lead.Priority, lead.Inputs.Confidence()
	k.FirstFailed, k.Due = lead.FirstFailed, lead.Due
	for _, m := range k.Findings {
		if m.FirstFailed.Before(k.FirstFailed) {
			k.FirstFailed = m.FirstFailed
		}
		if m.Due.Before(k.Due) {
			k.Due = m.Due
		}
		if p, ok := r.terrain.Through(m.Fingerprint); ok && !slices.ContainsFunc(k.Paths, func(q Path) bool { return q.Text() == p.Text() }) {
			k.Paths = append(k.Paths, p)
		}
	}
	slices.SortStableFunc(k.Paths, r.terrain.nearer)
	k.Paths = k.Paths[:min(len(k.Paths), pathsPerRisk)]
	k.Overdue = r.At.After(k.Due)
	k.Digest = digestOf(k.Findings)
	r.treat(k, treatment, decided)
}

// treatmentOf returns what was decided last about a risk; of two decisions of
// one moment the one that stands later in the list.
func (r *register) treatmentOf(id string) (last Treatment, ok bool) {
	for _, t := range r.Treatments {
		if t.Risk == id && (!ok || !t.On.Before(last.On)) {
			last, ok = t, true
		}
	}
	return last, ok
}

// owner is who carries out the treatment, or else the one risk owner that the
// policy names.
func (r *register) owner(t Treatment) string {
	if o := cmp.Or(t.Owner, t.By); o != "" {
		return o
	}
	if owners := r.Policy.Who(policy.RiskOwner); len(owners) == 1 {
		return owners[0].ID
	}
	return ""
}

// signed says whether a decision counts: a risk owner of the policy signed it.
// Where the policy names no persons, whoever runs casco decides.
func (r *register) signed(t Treatment) TreatmentState {
	if len(r.Policy.People) == 0 {
		return Approved
	}
	for _, s := range t.Signatures {
		if p := r.Policy.Person(s.Person); p != nil && p.Has(policy.RiskOwner) {
			return Approved
		}
	}
	return Proposed
}

// treat says where the work on k stands. It changes none of its values but the
// residual one, which is a promise.
func (r *register) treat(k *Risk, t Treatment, decided bool) {
	k.State = Assessed
	if k.Confidence == Low {
		k.State = Identified
	}
	accepted := r.accepted(k)
	if decided {
		k.Treatment = Standings{Treatment: t, State: r.signed(t)}
		k.Treatment.Overdue = !t.Due.IsZero() && r.At.After(t.Due.End())
		k.Reassess = t.Inputs != k.Digest
		if k.Treatment.State == Approved {
			r.underWay(k, t, accepted != nil)
		}
		if t.Kind == Mitigate || t.Kind == Avoid {
			k.Residual = residual(k.Findings, t)
		}
	}
	if accepted != nil {
		k.State = Monitored
		if !decided {
			k.Treatment = *accepted
		}
	}
}

// underWay moves k on by a decision that counts. One about other facts does
// not count any more, where it was to live with them.
func (r *register) underWay(k *Risk, t Treatment, accepted bool) {
	switch {
	case t.Kind == Accept && accepted:
		k.Treatment.State = InProgress
	case t.Kind == Accept: // no exception is in force for all of it
	case t.Kind == Transfer && !k.Reassess:
		k.State, k.Treatment.State = Monitored, InProgress
	case t.Kind == Transfer:
	case t.Change != "":
		k.State, k.Treatment.State = Treating, InProgress
	default:
		k.State = Decided
	}
}

// accepted returns the acceptance of k if each of its findings is excepted by
// an exception in force: what the risk owners who granted them have signed.
func (r *register) accepted(k *Risk) *Standings {
	s := Standings{Treatment: Treatment{Risk: k.ID, Kind: Accept, Inputs: k.Digest}, State: InProgress}
	for _, m := range k.Findings {
		e, ok := r.Exceptions.find(m.Exception)
		if !ok {
			return nil
		}
		if !slices.Contains(s.Exceptions, e.ID) {
			s.Exceptions = append(s.Exceptions, e.ID)
		}
		if s.Due.IsZero() || e.Expires.End().Before(s.Due.End()) {
			s.Due, s.Reason = e.Expires, e.Reason
			s.On, s.Signatures = e.Starts.Time, e.Signatures
		}
	}
	return &s
}

// residual is the value of what a treatment leaves, if it does what it says.
func residual(ms []Member, t Treatment) Value {
	all := len(t.Cures) == 0 && len(t.Controls) == 0
	left := Value{I: ms[0].Current.I}
	for _, m := range ms {
		if all || slices.Contains(t.Cures, m.Check) {
			continue
		}
		if v := m.Inputs.Residual(t.Controls); v.R > left.R {
			left = v
		}
	}
	return left
}

// digestOf is over what makes a risk what it is: its findings with their facts
// and where these put them. Figures that move every day without a change of the
// host, such as the probability of exploitation, count by their step in the
// decision table.
func digestOf(ms []Member) string {
	type line struct {
		Check, Ref, Facts, Class, Tier string
		Exposure                       Level
		Impact                         float64
		Axes                           Axes
		Passed                         []string
	}
	lines := make([]line, 0, len(ms))
	for _, m := range ms {
		l := line{m.Check, m.Ref.String(), m.Facts, string(m.Inputs.Class), m.Inputs.Impact.Tier, m.Inputs.Exposure.Level, m.Inputs.Impact.Value, m.Axes, nil}
		for _, c := range m.Inputs.Controls {
			if c.Counts {
				l.Passed = append(l.Passed, c.Check)
			}
		}
		lines = append(lines, l)
	}
	slices.SortFunc(lines, func(a, b line) int { return cmp.Or(cmp.Compare(a.Check, b.Check), cmp.Compare(a.Ref, b.Ref)) })
	b, err := json.Marshal(lines)
	if err != nil {
		panic(err) // plain strings and numbers
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}
