package plan

import (
	"slices"

	"casco/loop/audit"
	"casco/loop/inventory"
)

// Foreign returns the index of the first step of p that a plan for the same
// findings would not have, made of fs and s now, or -1. Where a check asks for
// a value, that of p is taken for the answer. It tells a plan that cures what it
// says, at the price that it says, from one that somebody wrote.
func (p *Plan) Foreign(s *inventory.Snapshot, fs []audit.Finding, means []Means) int {
	cures := map[Cure]bool{}
	values := map[Key]any{}
	for _, st := range p.Steps {
		for _, c := range st.For {
			cures[c] = true
		}
		for _, set := range st.Sets {
			values[Key{st.Ref, set.Field}] = set.To
		}
	}
	var mine []audit.Finding
	opt := Options{Answers: map[Key]any{}}
	for _, f := range fs {
		if f.Verdict != audit.Fail || !cures[Cure{f.Check.ID, f.Ref}] {
			continue
		}
		mine = append(mine, f)
		for _, w := range f.Wants {
			if v, ok := values[Key{w.Ref, w.Field}]; ok && !w.Ask.Empty() {
				opt.Answers[Key{w.Ref, w.Field}] = v
			}
		}
	}
	anew := Make(s, mine, means, opt)
	return slices.IndexFunc(p.Steps, func(st Step) bool { return !slices.ContainsFunc(anew.Steps, st.same) })
}

// same reports whether o does the same to the same, at the same price, for the
// same findings.
func (st Step) same(o Step) bool {
	return st.Ref == o.Ref && st.Hand == o.Hand && st.Cost == o.Cost && slices.Equal(st.With, o.With) && slices.Equal(st.For, o.For) &&
		slices.EqualFunc(st.Sets, o.Sets, func(a, b Set) bool { return a.Field == b.Field && inventory.Equal(a.To, b.To) })
}
