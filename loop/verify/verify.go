// Package verify says whether a change did what its plan promised.
//
// It compares findings before and after, read afresh from the host: a step
// that returned without an error has proved nothing. Only a measured pass
// closes a finding.
package verify

import (
	"slices"

	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// An Outcome compares the host after a change with the plan.
type Outcome struct {
	Kept   []audit.Finding // promised, and passing now
	Broken []plan.Cure     // promised, and not passing now, or gone
	Worse  []audit.Finding // about an object that the plan touched: passed before, fails now
	Aside  []audit.Finding // the same about other objects: not ours, but worth saying
}

// OK reports whether the change may stand.
func (o Outcome) OK() bool { return len(o.Broken) == 0 && len(o.Worse) == 0 }

// Compare judges p by the findings before and after it.
func Compare(p *plan.Plan, before, after []audit.Finding) Outcome {
	promised := map[plan.Cure]bool{}
	touched := map[inventory.Ref]bool{}
	for _, st := range p.Steps {
		touched[st.Ref] = true
		for _, r := range st.With {
			touched[r] = true
		}
		for _, c := range st.For {
			promised[c] = true
			touched[c.Ref] = true
		}
	}
	passed := map[plan.Cure]bool{}
	for _, f := range before {
		passed[key(f)] = f.Verdict == audit.Pass
	}
	var o Outcome
	for _, f := range after {
		k := key(f)
		switch {
		case promised[k] && f.Verdict == audit.Pass:
			o.Kept = append(o.Kept, f)
		case promised[k]:
			o.Broken = append(o.Broken, k)
		case passed[k] && f.Verdict == audit.Fail && touched[f.Ref]:
			o.Worse = append(o.Worse, f)
		case passed[k] && f.Verdict == audit.Fail:
			o.Aside = append(o.Aside, f)
		}
		delete(promised, k)
	}
	for _, st := range p.Steps { // what is left was not judged at all
		for _, c := range st.For {
			if promised[c] && !slices.Contains(o.Broken, c) {
				o.Broken = append(o.Broken, c)
			}
		}
	}
	return o
}

func key(f audit.Finding) plan.Cure { return plan.Cure{Check: f.Check.ID, Ref: f.Ref} }
