package report

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/audit/frameworks"
	"casco/loop/inventory"
	"casco/loop/risk"
	"casco/policy"
	"casco/store"
	"casco/supervision"
)

// DossierSchema names the format of a whole report in JSON. Fields are added,
// never renamed or removed.
const DossierSchema = "casco/report/v1"

// A Dossier is a whole report: what an auditor is given. It is one value, from
// which every format is written, so that a number is the same in all of them
// and can be reckoned again from the JSON. Sections stand in the order in which
// they are read.
type Dossier struct {
	Schema       string                           `json:"schema"`
	Cover        Cover                            `json:"cover"`
	Posture      Posture                          `json:"posture"`
	History      []Point                          `json:"history"` // posture over time, oldest first
	Limits       Limits                           `json:"limits"`
	Inventory    []Asset                          `json:"inventory"`
	Results      []Result                         `json:"results"`
	Risks        []risk.Risk                      `json:"risks"`
	Paths        []risk.Path                      `json:"attack_paths"`
	Exceptions   []risk.Judged                    `json:"exceptions"`
	Overrides    []Override                       `json:"overrides"` // checks that the policy tailors
	Changes      []ChangeLine                     `json:"changes"`
	Undeclared   []store.Recorded[store.Drift]    `json:"undeclared_changes"`
	Segmentation Segmentation                     `json:"segmentation"`
	Incidents    []Incident                       `json:"incidents"`
	Problems     []risk.Problem                   `json:"problems"`
	Metrics      []supervision.Metric             `json:"metrics"`
	Controls     []supervision.Held               `json:"controls"`
	Runs         []store.Recorded[store.Run]      `json:"runs"`
	Annex        []FrameworkLine                  `json:"frameworks"`
	Evidence     []store.Recorded[store.Evidence] `json:"evidence"`
	Sample       Sample                           `json:"sample"`
}

// Cover says what a report is of, and how whoever holds it checks it.
type Cover struct {
	Host      string    `json:"host"`
	Engine    string    `json:"engine,omitempty"`
	From      time.Time `json:"from"` // of the period
	Until     time.Time `json:"until"`
	Read      time.Time `json:"read"` // when the host was read for it
	Generated time.Time `json:"generated"`
	Program   string    `json:"program"` // version of casco

	PolicyName    string `json:"policy_name"`
	PolicyVersion int    `json:"policy_version"`
	PolicyDigest  string `json:"policy_digest"`
	PolicySigner  string `json:"policy_signer,omitempty"` // ID of a person; empty: unsigned
	// SingleOperator: one person plans and approves. No four eyes saw a change.
	SingleOperator bool `json:"single_operator"`

	// Origin, Size and Root are the checkpoint of the ledger that the report
	// rests on; Key verifies it. With them the report is checked offline.
	Origin    string `json:"ledger_origin,omitempty"`
	Size      int64  `json:"ledger_size"`
	Root      string `json:"ledger_root,omitempty"`
	Key       string `json:"ledger_key,omitempty"`
	Witnessed int64  `json:"ledger_witnessed"` // entries that a witness vouches for
	// Silent is for how long the loop had not turned though it should have.
	Silent time.Duration `json:"silent,omitempty"`
}

// Posture is how far the host conforms: an interval, never a grade. Accepted is
// a part of Fail.
type Posture struct {
	Pass          int     `json:"pass"`
	Fail          int     `json:"fail"`
	Unknown       int     `json:"unknown"`
	Manual        int     `json:"manual"`
	NotApplicable int     `json:"not_applicable"`
	Accepted      int     `json:"accepted"`
	N             int     `json:"n"`
	Low           float64 `json:"low"`
	High          float64 `json:"high"`
	Coverage      float64 `json:"coverage"`
	AcceptedShare float64 `json:"accepted_share"`

	Domains []DomainPosture `json:"domains"`
	// Priorities counts the risks that are open, by priority, soonest first.
	Priorities []Count `json:"priorities"`
	Overdue    int     `json:"overdue"`
}

// A DomainPosture is the posture of the checks of one COBIT domain. A check of
// two domains counts in both.
type DomainPosture struct {
	Domain  audit.Domain `json:"domain"`
	Pass    int          `json:"pass"`
	Fail    int          `json:"fail"`
	Unknown int          `json:"unknown"` // with those for a person to answer
}

// A Count is how many there are of something.
type Count struct {
	Key string `json:"key"`
	N   int    `json:"n"`
}

// A Point is the posture of one run, with the policy that was in force: a new
// policy is a break in the curve.
type Point struct {
	At     time.Time    `json:"at"`
	Counts store.Counts `json:"counts"`
	Policy string       `json:"policy"`
	Missed bool         `json:"missed,omitempty"`
}

// Limits is what the report does not see.
type Limits struct {
	Gaps     []inventory.Gap `json:"gaps"`
	Unknown  []Reasoned      `json:"unknown"`
	Manual   []Reasoned      `json:"manual"`
	NotAsked []Reasoned      `json:"not_applicable"`
	Other    []string        `json:"other_engines"` // engines of the host that were not judged
}

// A Reasoned is a check that could not be told, with the reason that most of its
// objects have.
type Reasoned struct {
	Check  string    `json:"check"`
	Title  lang.Text `json:"title"`
	Reason lang.Text `json:"reason"`
	N      int       `json:"n"` // objects
}

// An Asset is one object of the inventory.
type Asset struct {
	Ref    inventory.Ref `json:"ref"`
	Tier   string        `json:"tier,omitempty"`
	Image  string        `json:"image,omitempty"`
	Owner  string        `json:"owner,omitempty"` // compose, swarm
	Source string        `json:"source"`
}

// A Result is one finding with what was declared beside what is in effect.
type Result struct {
	Fingerprint string          `json:"fingerprint"`
	Check       string          `json:"check"`
	Title       lang.Text       `json:"title"`
	Why         lang.Text       `json:"why"`
	Remedy      lang.Text       `json:"remedy"`
	Ref         inventory.Ref   `json:"ref"`
	Verdict     audit.Verdict   `json:"verdict"`
	Severity    audit.Severity  `json:"severity"`
	Domains     []audit.Domain  `json:"domains"`
	Controls    []audit.Control `json:"controls"`
	Reason      lang.Text       `json:"reason,omitzero"`
	// Counted is false for what is in no number of the host: what is found of
	// other engines, and of exceptions.
	Counted     bool             `json:"counted"`
	Evidence    []inventory.Fact `json:"evidence"`
	FirstFailed time.Time        `json:"first_failed,omitzero"`
	Reopened    int              `json:"reopened,omitempty"`
	New         bool             `json:"new,omitempty"` // it first failed in the period
	Exception   string           `json:"exception,omitempty"`
	CausedBy    string           `json:"caused_by,omitempty"`
	Priority    string           `json:"priority,omitempty"`
	Due         time.Time        `json:"due,omitzero"`
}

// An Override is a check that the policy made stricter, milder or void, and why.
type Override struct {
	Check   string `json:"check"`
	What    string `json:"what"` // "severity: high", "applicable: false"
	Because string `json:"because"`
	Line    string `json:"line,omitempty"` // policy.yaml:41
}

// A ChangeLine is one change of the period.
type ChangeLine struct {
	ID        string    `json:"id"`
	Class     string    `json:"class"`
	State     string    `json:"state"`
	Author    string    `json:"author"`
	Approvers []string  `json:"approvers"`
	Reason    string    `json:"reason,omitempty"`
	Asked     time.Time `json:"asked,omitzero"`
	Begun     time.Time `json:"begun"`
	Ended     time.Time `json:"ended,omitzero"`
	Steps     int       `json:"steps"`
	Why       string    `json:"why,omitempty"`
	RatifyBy  time.Time `json:"ratify_by,omitzero"`
	Ratified  time.Time `json:"ratified,omitzero"`
	Late      bool      `json:"unratified,omitempty"`
}

// Segmentation is the matrix of sensitivity levels: what was declared to talk,
// and what the host lets talk.
type Segmentation struct {
	Tiers []string  `json:"tiers"`
	Pairs []Pairing `json:"pairs"` // ordered pairs of different tiers
}

// A Pairing is one crossing from a tier to another.
type Pairing struct {
	From     string   `json:"from"`
	To       string   `json:"to"`
	Declared []string `json:"declared"` // IDs of flows of the policy
	// Shared are networks on which members of both sit, Published the ports of
	// the second that the first reaches: what is open though nobody declared it.
	Shared    []string `json:"shared_networks"`
	Published []string `json:"published_ports"`
}

// An Incident is something that happened and needed somebody.
type Incident struct {
	At       time.Time `json:"at"`
	Severity string    `json:"severity"`
	What     lang.Text `json:"what"`
	About    string    `json:"about"`
	Open     bool      `json:"open"`
}

// A FrameworkLine says how far one requirement of a framework is covered here.
type FrameworkLine struct {
	Framework string    `json:"framework"`
	Number    string    `json:"number"`
	Title     lang.Text `json:"title"`
	// Status: automated (a machine judges all of it that casco knows), partial
	// (some by a person), manual (all by a person), none.
	Status  string   `json:"status"`
	Checks  []string `json:"checks"`
	Pass    int      `json:"pass"`
	Fail    int      `json:"fail"`
	Unknown int      `json:"unknown"`
}

// A Sample says how to draw the auditor's sample again.
type Sample struct {
	Seed    string  `json:"seed"`
	N       int     `json:"n"`
	Size    int     `json:"size"`  // of the population: the ledger's entries in the period
	Drawn   []int64 `json:"drawn"` // indices of entries of the ledger
	Command string  `json:"command"`
}

// domains in the order in which a report shows them.
var domains = []audit.Domain{audit.Security, audit.Risk, audit.Change, audit.Operations, audit.Supervision}

// PostureOf counts what a report shows of findings and risks.
func PostureOf(fs []audit.Finding, x risk.Exceptions, risks []risk.Risk) Posture {
	c := risk.PostureOf(fs, x)
	p := Posture{
		Pass: c.Pass, Fail: c.Fail, Unknown: c.Unknown, Manual: c.Manual, NotApplicable: c.NotApplicable, Accepted: c.Accepted,
		N: c.N(), Low: c.Low(), High: c.High(), Coverage: c.Coverage(), AcceptedShare: c.AcceptedShare(),
	}
	for _, d := range domains {
		p.Domains = append(p.Domains, domainPosture(fs, d))
	}
	for _, level := range []risk.Priority{risk.Immediate, risk.OutOfCycle, risk.Scheduled, risk.Defer} {
		n := 0
		for _, r := range risks {
			if r.Open() && r.Priority == level {
				n++
			}
		}
		p.Priorities = append(p.Priorities, Count{level.String(), n})
	}
	for _, r := range risks {
		if r.Overdue {
			p.Overdue++
		}
	}
	return p
}

// counted reports whether f is a question about the host, as audit.Conform has it.
func counted(f audit.Finding) bool {
	return f.Other == (inventory.Ref{}) && f.Ref.Kind != inventory.Exception
}

// counts are the whole numbers of p, in the order in which they are shown.
func (p Posture) counts() []Count {
	return []Count{
		{"pass", p.Pass},
		{"fail", p.Fail},
		{"unknown", p.Unknown},
		{"manual", p.Manual},
		{"not_applicable", p.NotApplicable},
		{"accepted", p.Accepted},
		{"n", p.N},
		{"overdue", p.Overdue},
	}
}

type namedShare struct {
	key   string
	share float64
}

// shares are the shares of p, each of N.
func (p Posture) shares() []namedShare {
	return []namedShare{{"low", p.Low}, {"high", p.High}, {"coverage", p.Coverage}, {"accepted_share", p.AcceptedShare}}
}

func domainPosture(fs []audit.Finding, d audit.Domain) DomainPosture {
	p := DomainPosture{Domain: d}
	for _, f := range fs {
		if !counted(f) || !slices.Contains(f.Check.Domains, d) {
			continue
		}
		switch f.Verdict {
		case audit.Pass:
			p.Pass++
		case audit.Fail:
			p.Fail++
		case audit.Unknown, audit.Manual:
			p.Unknown++
		}
	}
	return p
}

// LimitsOf gathers what could not be told of s.
func LimitsOf(s *inventory.Snapshot, fs []audit.Finding) Limits {
	l := Limits{Gaps: append([]inventory.Gap{}, s.Gaps...), Other: []string{}}
	l.Unknown = reasoned(fs, audit.Unknown)
	l.Manual = reasoned(fs, audit.Manual)
	l.NotAsked = reasoned(fs, audit.NotApplicable)
	for _, o := range others(Audit{Snapshot: s, Findings: fs}) {
		l.Other = append(l.Other, o.Ref.String())
	}
	return l
}

func reasoned(fs []audit.Finding, v audit.Verdict) []Reasoned {
	out := []Reasoned{}
	at := map[string]int{}
	for _, f := range fs {
		if f.Verdict != v || !counted(f) {
			continue
		}
		i, is := at[f.Check.ID]
		if !is {
			i = len(out)
			at[f.Check.ID] = i
			out = append(out, Reasoned{Check: f.Check.ID, Title: f.Check.Title, Reason: f.Reason})
		}
		out[i].N++
	}
	return out
}

// ResultsOf lists findings, failures first and worst first among them; lives and
// risks say since when, and until when.
func ResultsOf(fs []audit.Finding, lives map[string]risk.Life, x risk.Exceptions, risks []risk.Risk, from time.Time) []Result {
	causes := Causes(fs)
	members := map[string]risk.Member{}
	for _, r := range risks {
		for _, m := range r.Findings {
			members[m.Fingerprint] = m
		}
	}
	out := make([]Result, 0, len(fs))
	for _, f := range fs {
		fp := f.Fingerprint()
		life := lives[fp]
		r := Result{
			Fingerprint: fp, Check: f.Check.ID, Title: f.Check.Title, Why: f.Check.Why, Remedy: f.Check.Remedy, Ref: f.Ref,
			Verdict: f.Verdict, Severity: f.Check.Severity, Domains: f.Check.Domains, Controls: f.Check.Controls, Reason: f.Reason,
			Counted: counted(f), Evidence: f.Evidence, FirstFailed: life.FirstFailed, Reopened: life.Reopened,
		}
		if f.Verdict == audit.Fail {
			r.Exception, _ = x.Of(f)
			r.CausedBy = causes[f.Check.ID]
			r.New = !life.FirstFailed.Before(from)
		}
		if m, is := members[fp]; is {
			r.Priority, r.Due = m.Priority.String(), m.Due
		}
		out = append(out, r)
	}
	rank := map[audit.Verdict]int{audit.Fail: 0, audit.Unknown: 1, audit.Manual: 2, audit.Pass: 3, audit.NotApplicable: 4}
	slices.SortStableFunc(out, func(a, b Result) int {
		return cmp.Or(cmp.Compare(rank[a.Verdict], rank[b.Verdict]), cmp.Compare(b.Severity, a.Severity))
	})
	return out
}

// AnnexOf says for every requirement of every catalogue how far checks cover it
// and what they found. Checks are all that there are; fs is what was found.
func AnnexOf(checks []*audit.Check, fs []audit.Finding) []FrameworkLine {
	type key struct{ framework, number string }
	found := map[string]FrameworkLine{} // by check
	manual := map[string]bool{}         // checks that a person answered, or must
	for _, f := range fs {
		if !counted(f) {
			continue
		}
		l := found[f.Check.ID]
		switch f.Verdict {
		case audit.Pass:
			l.Pass++
		case audit.Fail:
			l.Fail++
		case audit.Unknown, audit.Manual:
			l.Unknown++
		}
		found[f.Check.ID] = l
		manual[f.Check.ID] = manual[f.Check.ID] || f.Verdict == audit.Manual
	}
	by := map[key][]*audit.Check{}
	for _, c := range checks {
		for _, ctl := range c.Controls {
			k := key{ctl.Framework, ctl.Number}
			by[k] = append(by[k], c)
		}
	}
	all := frameworks.All()
	var ids []string
	for id := range all {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	var out []FrameworkLine
	for _, id := range ids {
		for _, req := range all[id].Requirements {
			line := FrameworkLine{Framework: id, Number: req.Number, Title: req.Title, Checks: []string{}}
			persons := 0
			for _, c := range by[key{id, req.Number}] {
				line.Checks = append(line.Checks, c.ID)
				n := found[c.ID]
				line.Pass, line.Fail, line.Unknown = line.Pass+n.Pass, line.Fail+n.Fail, line.Unknown+n.Unknown
				if manual[c.ID] {
					persons++
				}
			}
			switch {
			case len(line.Checks) == 0:
				line.Status = "none"
			case persons == len(line.Checks):
				line.Status = "manual"
			case persons > 0:
				line.Status = "partial"
			default:
				line.Status = "automated"
			}
			out = append(out, line)
		}
	}
	return out
}

// HistoryOf is the posture of each run that looked at the whole host, and of
// each that should have and did not.
func HistoryOf(runs []store.Recorded[store.Run]) []Point {
	out := []Point{}
	for _, r := range runs {
		e := r.Event
		switch {
		case e.Outcome == "missed":
			out = append(out, Point{At: e.Due, Policy: e.Policy, Missed: true})
		case e.Counts != store.Counts{}:
			out = append(out, Point{At: e.Ended, Counts: e.Counts, Policy: e.Policy})
		}
	}
	return out
}

// AssetsOf lists the objects of s with the tier, image and owner that they have.
func AssetsOf(s *inventory.Snapshot) []Asset {
	out := []Asset{}
	for _, o := range s.Objects {
		if o.Ref.Kind == inventory.Policy || o.Ref.Kind == inventory.Exception {
			continue
		}
		a := Asset{Ref: o.Ref, Owner: string(inventory.OwnerOf(o)), Source: o.Source}
		switch o.Ref.Kind {
		case inventory.Container:
			a.Tier, _, _ = inventory.ContainerTier.Of(o)
			a.Image, _, _ = inventory.ImageName.Of(o)
		case inventory.Network:
			a.Tier, _, _ = inventory.NetworkTier.Of(o)
		}
		out = append(out, a)
	}
	return out
}

// SegmentationOf holds the flows that p declares against what s shows: networks
// that members of two tiers share, and ports of one that are published where the
// other reaches them (a bridge's gateway is the host, so a port that is not
// bound to a loopback address is reached from every network).
func SegmentationOf(s *inventory.Snapshot, p *policy.Policy) Segmentation {
	out := Segmentation{Tiers: []string{}, Pairs: []Pairing{}}
	for _, t := range p.Tiers {
		out.Tiers = append(out.Tiers, t.ID)
	}
	for _, from := range out.Tiers {
		for _, to := range out.Tiers {
			if from == to {
				continue
			}
			out.Pairs = append(out.Pairs, Pairing{
				From: from, To: to, Declared: declaredFlows(p, from, to), Shared: sharedNetworks(s, from, to), Published: publishedOf(s, from, to),
			})
		}
	}
	return out
}

func declaredFlows(p *policy.Policy, from, to string) []string {
	ids := []string{}
	for _, f := range p.Flows {
		a, _, _ := strings.Cut(f.From, "/")
		b, _, _ := strings.Cut(f.To, "/")
		if a == from && b == to {
			ids = append(ids, f.ID)
		}
	}
	return ids
}

func sharedNetworks(s *inventory.Snapshot, from, to string) []string {
	sides := map[string][2]bool{}
	for _, o := range s.Of(inventory.Container) {
		tier, _, _ := inventory.ContainerTier.Of(o)
		if tier != from && tier != to {
			continue
		}
		nets, _, _ := inventory.Networks.Of(o)
		for name := range nets {
			both := sides[name]
			both[0], both[1] = both[0] || tier == from, both[1] || tier == to
			sides[name] = both
		}
	}
	shared := []string{}
	for name, both := range sides {
		if both[0] && both[1] && name != "none" {
			shared = append(shared, name)
		}
	}
	slices.Sort(shared)
	return shared
}

func publishedOf(s *inventory.Snapshot, from, to string) []string {
	ports := []string{}
	if !slices.ContainsFunc(s.Of(inventory.Container), func(o *inventory.Object) bool {
		tier, _, _ := inventory.ContainerTier.Of(o)
		return tier == from
	}) {
		return ports // nobody there reaches anything
	}
	for _, o := range s.Of(inventory.Container) {
		if tier, _, _ := inventory.ContainerTier.Of(o); tier != to {
			continue
		}
		live, _, _ := inventory.LivePorts.Of(o)
		for inside, list := range live {
			bindings, _ := list.([]any)
			for _, b := range bindings {
				m, _ := b.(map[string]any)
				ip, _ := m["HostIp"].(string)
				if addr, err := netip.ParseAddr(ip); err == nil && addr.IsLoopback() {
					continue
				}
				_, proto, _ := strings.Cut(inside, "/")
				ports = append(ports, fmt.Sprintf("%s %v/%s", o.Ref.Name, m["HostPort"], proto))
			}
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// Why nothing ran, as the loop writes it down, in English; when may follow.
var (
	MachineOff = lang.Text{En: "the machine was started after it", Es: "la máquina se encendió después"}
	NotStarted = lang.Text{En: "the machine was running and nothing started casco", Es: "la máquina funcionaba y nada inició casco"}
)

// whyMissed is a reason of a missed run as people read it.
func whyMissed(why string, l lang.Lang) string {
	for _, t := range []lang.Text{MachineOff, NotStarted} {
		if when, is := strings.CutPrefix(why, t.En); is {
			return t.In(l) + when
		}
	}
	return why
}

// IncidentsOf lists what happened in p and needed somebody: times in which
// nothing ran, emergencies that nobody ratified, changes without a record.
func IncidentsOf(drifts []store.Recorded[store.Drift], runs []store.Recorded[store.Run], changes []store.Recorded[store.Change], p store.Period) []Incident {
	out := []Incident{}
	in := func(t time.Time) bool { return !t.Before(p.From) && t.Before(p.Until) }
	for _, r := range runs {
		if e := r.Event; e.Outcome == "missed" && in(e.Due) {
			out = append(out, Incident{At: e.Due, Severity: audit.Medium.String(), What: lang.Text{En: "nothing ran", Es: "no se ejecutó nada"}, About: e.Why})
		}
	}
	for _, c := range changes {
		if c.Event.State == "unratified" && in(c.At) {
			out = append(out, Incident{At: c.At, Severity: audit.High.String(), What: lang.Text{En: "emergency change not ratified in time", Es: "cambio de emergencia no ratificado a tiempo"}, About: c.Event.ID, Open: true})
		}
	}
	byRun := map[string]int{}
	for _, d := range drifts {
		if !in(d.At) {
			continue
		}
		i, is := byRun[d.Event.Run]
		if !is {
			i = len(out)
			byRun[d.Event.Run] = i
			out = append(out, Incident{At: d.At, Severity: audit.Medium.String(), What: lang.Text{En: "changed without a record", Es: "cambiado sin registro"}, Open: true})
		}
		if len(out[i].About) < 200 {
			out[i].About = strings.TrimPrefix(out[i].About+", "+d.Event.Ref, ", ")
		}
	}
	slices.SortStableFunc(out, func(a, b Incident) int { return a.At.Compare(b.At) })
	return out
}
