package risk

import (
	"strings"
	"time"

	"casco/loop/audit"
	"casco/loop/inventory"
)

// Rate gathers the inputs of formula risk/1 for one finding, and where it
// stands in the decision table. At decides how old data about exploitation is.
func (t *Terrain) Rate(f audit.Finding, at time.Time) (Inputs, Axes, Blast) {
	n := NatureOf(f.Check.ID, f.Check.Severity)
	in := Inputs{Formula: Formula, Class: n.Class, Floor: atLeast}
	in.Base = Base{bases[n.Class], "class " + string(n.Class)}
	for _, c := range t.cves[f.Fingerprint()] {
		if b, missing := baseOfCVE(c, at); in.CVE == nil || b.Value > in.Base.Value {
			in.Base, in.CVE, in.Missing = b, &c, missing
		}
	}
	in.Exposure = t.Exposure(f.Ref, n)
	if !in.Exposure.Known {
		in.Missing = append(in.Missing, "exposure")
	}
	in.Controls = t.controls(f)
	blast, impact, missing := t.Blast(f.Ref, n)
	in.Impact, in.Missing = impact, append(in.Missing, missing...)
	return in, axesOf(n, in, t.p), blast
}

// RateCVE is Rate for one published vulnerability of what is in an image, or
// runs in a container. Where its own words do not tell, it is a way in over the
// network that ends in the container: who goes on from there goes on by what
// other checks find.
func (t *Terrain) RateCVE(ref inventory.Ref, c CVE, at time.Time) (Inputs, Axes) {
	n := Nature{Class: Escalation, Threat: Entry, Remote: c.Remote}
	in := Inputs{Formula: Formula, Class: n.Class, Floor: atLeast, CVE: &c}
	in.Base, in.Missing = baseOfCVE(c, at)
	in.Exposure = t.Exposure(ref, n)
	if !in.Exposure.Known {
		in.Missing = append(in.Missing, "exposure")
	}
	_, impact, missing := t.Blast(ref, n)
	in.Impact, in.Missing = impact, append(in.Missing, missing...)
	return in, axesOf(n, in, t.p)
}

// against are the defences by the checks against whose failure they help.
var against = func() map[string][]defence {
	m := map[string][]defence{}
	for _, d := range defences {
		for id := range strings.FieldsSeq(d.against) {
			m[id] = append(m[id], d)
		}
	}
	return m
}()

// controls are the defences against f with what the last run said of them.
func (t *Terrain) controls(f audit.Finding) []Control {
	var out []Control
	for _, d := range against[f.Check.ID] {
		ref, verdict, ok := t.defended(f.Ref, d.check)
		if ok {
			out = append(out, Control{d.check, ref, verdict, d.e, verdict == audit.Pass})
		}
	}
	return out
}

// defended says whether a check passed where it must to defend ref: on the
// container itself, on all containers that use an image or a volume, or on the
// engine. ok is false where the question does not arise.
func (t *Terrain) defended(ref inventory.Ref, check string) (on inventory.Ref, v audit.Verdict, ok bool) {
	if strings.HasPrefix(check, "daemon-") {
		engine := inventory.EngineOf(t.s)
		if engine == nil {
			return inventory.Ref{Kind: inventory.Daemon, Name: "?"}, audit.Unknown, true
		}
		return engine.Ref, t.said[key{check, engine.Ref}], true
	}
	if ref.Kind == inventory.Container {
		return ref, t.said[key{check, ref}], true
	}
	users := t.users(ref)
	for _, pl := range users {
		if v := t.said[key{check, pl.o.Ref}]; v != audit.Pass {
			return pl.o.Ref, v, true
		}
	}
	if len(users) == 0 {
		return ref, audit.Unknown, false
	}
	return users[0].o.Ref, audit.Pass, true
}
