package risk

import (
	"slices"
	"time"

	"casco/lang"
	"casco/policy"
)

// A Priority is how soon a risk is treated. The zero Priority is no priority.
type Priority uint8

const (
	Defer      Priority = iota + 1 // looked at again; not silence
	Scheduled                      // in the next maintenance
	OutOfCycle                     // before it
	Immediate                      // now
)

var priorities = [...]string{"", "defer", "scheduled", "out-of-cycle", "immediate"}

func (p Priority) String() string { return priorities[p] }

// MarshalText makes a Priority its word in JSON.
func (p Priority) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (p *Priority) UnmarshalText(b []byte) error {
	i := slices.Index(priorities[:], string(b))
	if i < 0 {
		return lang.Errorf(lang.Text{En: "%q is no priority", Es: "%q no es una prioridad"}, b)
	}
	*p = Priority(i)
	return nil
}

// The axes are those of SSVC's deployer tree (CERT/CC, Stakeholder-Specific
// Vulnerability Categorization 2.0); the table below is ours.

// Exploitation says how well the way is trodden.
type Exploitation uint8

const (
	NoExploitation Exploitation = iota // nobody is known to use it, or it leads nowhere by itself
	PoC                                // it is known how
	Active                             // it is done, or needs no skill
)

var exploitations = [...]string{"none", "poc", "active"}

func (e Exploitation) String() string { return exploitations[e] }

// MarshalText makes an Exploitation its word in JSON.
func (e Exploitation) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// Reach says who can be there.
type Reach uint8

const (
	Small      Reach = iota // from the host itself, or it does not run
	Controlled              // from a network of the organisation's
	Open                    // from anywhere
)

var reaches = [...]string{"small", "controlled", "open"}

func (r Reach) String() string { return reaches[r] }

// MarshalText makes a Reach its word in JSON.
func (r Reach) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Harm is the impact of the worst tier within the blast radius, in four steps.
type Harm uint8

const (
	LowHarm      Harm = iota // up to 0.25
	MediumHarm               // up to 0.5
	HighHarm                 // up to 0.8
	VeryHighHarm             // above, or not known
)

var harms = [...]string{"low", "medium", "high", "very-high"}

func (h Harm) String() string { return harms[h] }

// MarshalText makes a Harm its word in JSON.
func (h Harm) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// harmOf gives the step of an impact in (0, 1].
func harmOf(impact float64) Harm {
	switch {
	case impact <= 0.25:
		return LowHarm
	case impact <= 0.5:
		return MediumHarm
	case impact <= 0.8:
		return HighHarm
	}
	return VeryHighHarm
}

// Axes are where a finding stands in the decision table.
type Axes struct {
	Exploitation Exploitation `json:"exploitation"`
	Exposure     Reach        `json:"exposure"`
	Automatable  bool         `json:"automatable"` // a program can do all of it, from finding the target on
	Impact       Harm         `json:"impact"`
}

// decisions is the whole table: [exploitation][exposure][automatable][impact].
// Worse on an axis is never later: TestMonotone holds it to that. What reads
// from left to right are the impacts low, medium, high, very high.
var decisions = func() [3][3][2][4]Priority {
	const d, s, o, i = Defer, Scheduled, OutOfCycle, Immediate
	return [3][3][2][4]Priority{
		NoExploitation: {
			Small:      {{d, d, d, s}, {d, d, s, s}},
			Controlled: {{d, d, s, s}, {d, s, s, s}},
			Open:       {{d, s, s, s}, {s, s, s, o}},
		},
		PoC: {
			Small:      {{d, d, s, s}, {d, s, s, s}},
			Controlled: {{d, s, s, o}, {s, s, o, o}},
			Open:       {{s, s, o, o}, {s, o, o, i}},
		},
		Active: {
			Small:      {{s, s, s, o}, {s, s, o, o}},
			Controlled: {{s, s, o, o}, {s, o, o, i}},
			Open:       {{s, o, o, i}, {o, o, i, i}},
		},
	}
}()

// Priority looks a up in the table.
func (a Axes) Priority() Priority {
	auto := 0
	if a.Automatable {
		auto = 1
	}
	return decisions[a.Exploitation][a.Exposure][auto][a.Impact]
}

// defaultPoC is the EPSS from which a way counts as known where the policy
// names none (images.fail_on.epss).
const defaultPoC = 0.10

// axesOf places inputs of that nature in the table. What was missing is in the
// inputs as the worst already.
func axesOf(n Nature, in Inputs, p *policy.Policy) Axes {
	a := Axes{Exploitation: exploitationOf(in.Class), Exposure: in.Exposure.Level.reach(), Automatable: n.Remote, Impact: harmOf(in.Impact.Value)}
	if c := in.CVE; c != nil {
		known := defaultPoC
		if p.Images.FailOn.EPSS > 0 {
			known = p.Images.FailOn.EPSS
		}
		a.Automatable = c.Remote
		switch {
		case c.KEV == nil, *c.KEV, c.EPSS == nil:
			a.Exploitation = Active
		case c.PoC, *c.EPSS >= known:
			a.Exploitation = PoC
		default:
			a.Exploitation = NoExploitation
		}
	}
	return a
}

// exploitationOf a configuration: what gives the host away is public and takes
// no skill; that a missing defence can be stepped over is known.
func exploitationOf(c Class) Exploitation {
	switch c {
	case Takeover:
		return Active
	case Escalation:
		return PoC
	}
	return NoExploitation
}

// defaultSLA is what counts where a policy does not say: CISA's KEV catalogue
// gives three weeks at most for what is exploited, PCI DSS 4.0 6.3.3 a month
// for what is critical.
var defaultSLA = policy.SLA{
	Immediate: policy.Duration(3 * day), OutOfCycle: policy.Duration(14 * day),
	Scheduled: policy.Duration(30 * day), Defer: policy.Duration(180 * day),
}

const day = 24 * time.Hour

// within is how long p leaves, by the policy or else by defaultSLA.
func (p Priority) within(sla policy.SLA) time.Duration {
	pick := func(s policy.SLA) policy.Duration {
		return [...]policy.Duration{0, s.Defer, s.Scheduled, s.OutOfCycle, s.Immediate}[p]
	}
	if d := pick(sla); d > 0 {
		return time.Duration(d)
	}
	return time.Duration(pick(defaultSLA))
}
