package plan

import (
	"cmp"
	"slices"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// Options narrow a plan and answer its questions. The zero value plans for
// everything and answers nothing.
type Options struct {
	Refs      []inventory.Ref  // only findings about these objects; none is all of the engine in use and its host
	Kinds     []inventory.Kind // only findings about objects of these kinds
	Checks    []string         // only findings of these checks
	MaxCost   Disruption       // with Limited: no step that costs more
	Limited   bool
	Answers   map[Key]any // values that a person gave
	Suggested bool        // take a check's suggestion where it has one
	Exact     bool        // only means that can be taken back to the byte
}

// A Key names one field of one object.
type Key struct {
	Ref   inventory.Ref
	Field string
}

func (o Options) covers(f audit.Finding) bool {
	return f.Verdict == audit.Fail &&
		(f.Other == (inventory.Ref{}) || len(o.Refs) > 0) && // of another engine: not unless it is named
		(len(o.Refs) == 0 || slices.Contains(o.Refs, f.Ref)) &&
		(len(o.Kinds) == 0 || slices.Contains(o.Kinds, f.Ref.Kind)) &&
		(len(o.Checks) == 0 || slices.Contains(o.Checks, f.Check.ID))
}

// Make plans for the failed findings fs of the host in s, with the means at
// hand. The steps come in the order in which they are to be done: what an owner
// such as Compose makes again first, then what costs least, so that live-restore
// is on before the engine restarts. Taken back in reverse, the engine has its old
// defaults again before the owner makes its containers under them.
func Make(s *inventory.Snapshot, fs []audit.Finding, means []Means, opt Options) *Plan {
	m := maker{s: s, means: means, opt: opt, decided: map[Key]any{}, sets: map[Key]*Set{}}
	m.decide(fs)
	p := &Plan{Schema: Schema, Host: s.Host, Taken: s.Taken, Steps: []Step{}, Reads: []Read{}}
	for _, f := range fs {
		if opt.covers(f) {
			if left := m.finding(f); left != nil {
				p.Left = append(p.Left, *left)
			}
		}
	}
	m.merge()
	slices.SortStableFunc(m.steps, func(a, b *draft) int { return cmp.Compare(a.turn(), b.turn()) })
	for _, d := range m.steps {
		p.Steps = append(p.Steps, d.step())
	}
	p.Reads = m.reads(p.Steps)
	return p
}

// A maker gathers wants into drafts of steps.
type maker struct {
	decided map[Key]any // what a finding wants without asking
	s       *inventory.Snapshot
	means   []Means
	opt     Options
	steps   []*draft
	sets    map[Key]*Set
}

type draft struct {
	Step
	owned bool // done through the object's owner
	sets  []*Set
	reads []string
	// leaves is what is not as before once the step was taken back.
	leaves []lang.Text
}

func (d *draft) turn() int {
	if d.owned {
		return -1
	}
	return int(d.Cost)
}

func (d *draft) step() Step {
	for _, s := range d.sets {
		d.Sets = append(d.Sets, *s)
	}
	for _, l := range d.leaves {
		d.Undo = lang.Text{En: d.Undo.En + "; " + l.En, Es: d.Undo.Es + "; " + l.Es}
	}
	return d.Step
}

// finding adds all that f wants, or nothing and says why.
func (m *maker) finding(f audit.Finding) *Left {
	left := &Left{Check: f.Check.ID, Ref: f.Ref, Remedy: f.Check.Remedy}
	if f.Other != (inventory.Ref{}) {
		left.Reason = lang.Text{
			En: "it belongs to another engine than the one that was asked, %s: a plan is for one engine",
			Es: "pertenece a otro motor que el consultado, %s: un plan es para un solo motor",
		}.F(f.Other.Name)
		return left
	}
	if len(f.Wants) == 0 {
		left.Reason = lang.Text{
			En: "no setting of this host cures it; see the remedy",
			Es: "ningún ajuste de este anfitrión lo cura; vea el remedio",
		}
		return left
	}
	var wants []audit.Want
	var use []Means
	for _, w := range f.Wants {
		w, ask := m.answer(w)
		if ask != nil {
			left.Asks = append(left.Asks, *ask)
			continue
		}
		means, reason := m.find(w)
		if !reason.Empty() {
			left.Reason = reason
			return left
		}
		wants, use = append(wants, w), append(use, means)
	}
	if len(left.Asks) > 0 {
		left.Reason = lang.Text{En: "the value depends on the workload", Es: "el valor depende de la carga de trabajo"}
		return left
	}
	if reason := m.clash(wants); !reason.Empty() {
		left.Reason = reason
		return left
	}
	for i, w := range wants {
		m.add(f, w, use[i])
	}
	return nil
}

// decide notes the values that findings want without asking: where the policy
// says how much memory a container may have, nobody is asked how much.
func (m *maker) decide(fs []audit.Finding) {
	for _, f := range fs {
		for _, w := range f.Wants {
			if m.opt.covers(f) && w.Op == audit.Set && w.Value != nil && w.Ask.Empty() {
				m.decided[Key{w.Ref, w.Field}] = w.Value
			}
		}
	}
}

// answer fills in what a person said, or what is decided, or returns the
// question.
func (m *maker) answer(w audit.Want) (audit.Want, *Ask) {
	if v, ok := m.opt.Answers[Key{w.Ref, w.Field}]; ok {
		w.Op, w.Value = audit.Set, v
		return w, nil
	}
	if v, ok := m.decided[Key{w.Ref, w.Field}]; ok && !w.Ask.Empty() {
		w.Op, w.Value, w.Ask = audit.Set, v, lang.Text{}
		return w, nil
	}
	if w.Ask.Empty() || m.opt.Suggested && w.Value != nil {
		return w, nil
	}
	return w, &Ask{w.Ref, w.Field, w.Ask, m.suggestion(w)}
}

func (m *maker) suggestion(w audit.Want) any {
	if w.Value == nil {
		return nil
	}
	var was any
	if o := m.s.Find(w.Ref); o != nil {
		was, _, _ = inventory.Lookup(o, w.Field)
	}
	return w.Apply(was)
}

// find looks for a hand that can set what w wants.
func (m *maker) find(w audit.Want) (Means, lang.Text) {
	o := m.s.Find(w.Ref)
	if o == nil {
		return Means{}, lang.Text{En: "%s was not read", Es: "%s no se leyó"}.F(w.Ref)
	}
	owner := inventory.OwnerOf(o)
	var refused lang.Text
	for _, means := range m.means {
		if !means.can(w.Ref.Kind, owner, w.Field) {
			continue
		}
		if m.opt.Limited && means.Cost > m.opt.MaxCost {
			refused = lang.Text{En: "costs a %s, more than was allowed", Es: "cuesta un %s, más de lo permitido"}.F(means.Cost)
			continue
		}
		if means.Refuse != nil {
			if reason := means.Refuse(m.s, o, w.Field); !reason.Empty() {
				refused = reason
				continue
			}
		}
		if m.opt.Exact && !means.leaves(o, w.Field).Empty() {
			refused = lang.Text{En: "could not be taken back to the byte", Es: "no se podría revertir al byte"}
			continue
		}
		return means, lang.Text{}
	}
	if refused.Empty() {
		refused = lang.Text{En: "no hand sets %s of a %s", Es: "ninguna mano ajusta %s de un %s"}.F(w.Field, w.Ref.Kind)
		if owner != inventory.OwnerNone {
			refused = lang.Text{
				En: "%s owns it and would undo a change of %s made here",
				Es: "%s es su dueño y desharía un cambio de %s hecho aquí",
			}.F(owner, w.Field)
		}
	}
	return Means{}, refused
}

// clash finds a want that contradicts what another finding already set.
func (m *maker) clash(wants []audit.Want) lang.Text {
	for _, w := range wants {
		set := m.sets[Key{w.Ref, w.Field}]
		if set != nil && !inventory.Equal(w.Apply(set.To), set.To) && w.Op == audit.Set {
			return lang.Text{
				En: "wants another value of %s than a finding before it",
				Es: "quiere otro valor de %s que un hallazgo anterior",
			}.F(w.Field)
		}
	}
	return lang.Text{}
}

func (m *maker) add(f audit.Finding, w audit.Want, means Means) {
	d := m.draft(w.Ref, means)
	key := Key{w.Ref, w.Field}
	set := m.sets[key]
	if set == nil {
		was, _, _ := inventory.Lookup(m.s.Find(w.Ref), w.Field)
		set = &Set{Field: w.Field, From: was, To: was}
		m.sets[key] = set
		d.sets = append(d.sets, set)
	}
	set.To = w.Apply(set.To)
	if l := means.leaves(m.s.Find(w.Ref), w.Field); !l.Empty() && !slices.Contains(d.leaves, l) {
		d.leaves = append(d.leaves, l)
	}
	if cure := (Cure{f.Check.ID, f.Ref}); !slices.Contains(d.For, cure) {
		d.For = append(d.For, cure)
	}
	if !w.Breaks.Empty() && !slices.Contains(d.Breaks, w.Breaks) {
		d.Breaks = append(d.Breaks, w.Breaks)
	}
}

// merge lets a step that makes an object anew do what a live one would do to
// it: that costs nothing more, and goes back with the old object, to the byte.
func (m *maker) merge() {
	for _, d := range slices.Clone(m.steps) {
		i := slices.IndexFunc(m.steps, func(e *draft) bool { return e.Ref == d.Ref && e.Cost == Recreate })
		if d.Cost != Live || i < 0 || !m.takes(m.steps[i], d) {
			continue
		}
		anew := m.steps[i]
		anew.sets = append(anew.sets, d.sets...)
		for _, c := range d.For {
			if !slices.Contains(anew.For, c) {
				anew.For = append(anew.For, c)
			}
		}
		for _, b := range d.Breaks {
			if !slices.Contains(anew.Breaks, b) {
				anew.Breaks = append(anew.Breaks, b)
			}
		}
		anew.reads = append(anew.reads, d.reads...)
		m.steps = slices.DeleteFunc(m.steps, func(e *draft) bool { return e == d })
	}
}

// takes reports whether the hand of anew can set all that d sets.
func (m *maker) takes(anew, d *draft) bool {
	o := m.s.Find(d.Ref)
	return !slices.ContainsFunc(d.sets, func(s *Set) bool {
		return !slices.ContainsFunc(m.means, func(means Means) bool {
			return means.Hand == anew.Hand && means.can(d.Ref.Kind, inventory.OwnerOf(o), s.Field) &&
				(means.Refuse == nil || means.Refuse(m.s, o, s.Field).Empty())
		})
	})
}

func (m *maker) draft(ref inventory.Ref, means Means) *draft {
	i := slices.IndexFunc(m.steps, func(d *draft) bool { return d.Ref == ref && d.Hand == means.Hand })
	if i < 0 {
		d := &draft{Step: Step{Ref: ref, Hand: means.Hand, Undo: means.Undo, For: []Cure{}}, owned: means.Owner != inventory.OwnerNone}
		if means.Shows != nil {
			d.Shows = means.Shows(m.s, m.s.Find(ref))
		}
		m.steps = append(m.steps, d)
		i = len(m.steps) - 1
	}
	d := m.steps[i]
	if d.Cost = max(d.Cost, means.Cost); d.Cost == Recreate {
		d.With = inventory.Dependents(m.s, m.s.Find(ref))
	}
	for _, field := range means.Reads {
		if !slices.Contains(d.reads, field) {
			d.reads = append(d.reads, field)
		}
	}
	return d
}

// reads is the read-set of the plan, in the order of its steps.
func (m *maker) reads(steps []Step) []Read {
	out := []Read{}
	add := func(ref inventory.Ref, field string) {
		v, _, _ := inventory.Lookup(m.s.Find(ref), field)
		if !slices.ContainsFunc(out, func(r Read) bool { return r.Ref == ref && r.Field == field }) {
			out = append(out, Read{ref, field, v})
		}
	}
	for _, st := range steps {
		for _, s := range st.Sets {
			add(st.Ref, s.Field)
		}
		for _, d := range m.steps {
			if d.Ref == st.Ref && d.Hand == st.Hand {
				for _, field := range d.reads {
					add(st.Ref, field)
				}
			}
		}
	}
	return out
}
