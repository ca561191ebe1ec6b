package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"casco/lang"
	"casco/loop/apply"
	"casco/loop/change"
	"casco/loop/inventory"
	"casco/loop/plan"
	"casco/loop/verify"
)

// Plan prints a plan as a diff: for each step what it sets, what it closes,
// what it costs, what might break and how it is undone; then what it leaves.
func (p Printer) Plan(c *change.Change) {
	pl := c.Plan
	p.printf("%s\n", p.bold(lang.Text{En: "plan %.12s for %s: %d steps", Es: "plan %.12s para %s: %d pasos"}.F(c.PlanID, Clean(pl.Host), len(pl.Steps)).In(p.Lang)))
	for n := 0; n < len(pl.Steps); {
		alike := 1
		for n+alike < len(pl.Steps) && sameButRef(pl.Steps[n], pl.Steps[n+alike]) {
			alike++
		}
		p.printf("\n")
		p.step(n+1, pl.Steps[n:n+alike])
		n += alike
	}
	p.left(pl.Left)
	if len(pl.Steps) == 0 {
		p.printf("\n")
		p.say(lang.Text{En: "no step: there is nothing to approve", Es: "ningún paso: no hay nada que aprobar"})
	}
}

// sameButRef reports whether two steps do the same to two objects.
func sameButRef(a, b plan.Step) bool {
	return a.Hand == b.Hand && a.Cost == b.Cost && a.Undo == b.Undo && a.Ref.Kind == b.Ref.Kind &&
		len(a.With) == 0 && len(b.With) == 0 && slices.Equal(a.Breaks, b.Breaks) && slices.Equal(checksOf(a), checksOf(b)) &&
		sameSets(a.Sets, b.Sets) && sameSets(a.Shows, b.Shows)
}

func sameSets(a, b []plan.Set) bool {
	return slices.EqualFunc(a, b, func(x, y plan.Set) bool {
		return x.Field == y.Field && inventory.Equal(x.From, y.From) && inventory.Equal(x.To, y.To)
	})
}

func checksOf(st plan.Step) []string {
	var ids []string
	for _, c := range st.For {
		if !slices.Contains(ids, c.Check) {
			ids = append(ids, c.Check)
		}
	}
	return ids
}

// step prints steps that do the same, the first of which has number n.
func (p Printer) step(n int, alike []plan.Step) {
	st := alike[0]
	number, what := fmt.Sprintf("%3d.", n), Clean(st.Ref.String())
	if len(alike) > 1 {
		number = fmt.Sprintf("%d–%d.", n, n+len(alike)-1)
		what = lang.Text{En: "%d of kind %s", Es: "%d de tipo %s"}.F(len(alike), Clean(string(st.Ref.Kind))).In(p.Lang)
	}
	p.printf("%s %s  %s  %s\n", number, p.bold(what), costWords[st.Cost].In(p.Lang), p.dim(Clean(st.Hand)))
	if len(alike) > 1 {
		var names []string
		for _, a := range alike {
			names = append(names, Clean(a.Ref.Name))
		}
		p.wrap(5, strings.Join(names, ", "))
	}
	for _, s := range slices.Concat(st.Sets, st.Shows) {
		p.printf("     %s\n", Clean(s.Field))
		if s.From != nil {
			p.printf("       %s\n", p.paint("31", "- "+value(s.From)))
		}
		if s.To != nil {
			p.printf("       %s\n", p.paint("32", "+ "+value(s.To)))
		}
	}
	p.wrap(5, lang.Text{En: "closes: ", Es: "cierra: "}.In(p.Lang)+strings.Join(checksOf(st), ", "))
	if len(st.With) > 0 {
		p.wrap(5, lang.Text{En: "goes with it: ", Es: "lo acompañan: "}.In(p.Lang)+p.names(st.With))
	}
	for _, b := range st.Breaks {
		p.wrap(5, lang.Text{En: "may break: ", Es: "puede romper: "}.In(p.Lang)+b.In(p.Lang))
	}
	if !st.Undo.Empty() {
		p.wrap(5, lang.Text{En: "undo: ", Es: "deshacer: "}.In(p.Lang)+st.Undo.In(p.Lang))
	}
}

// left prints what the plan does not cure: questions first, one line a value
// that can be pasted, then what is not ours to do.
func (p Printer) left(ls []plan.Left) {
	var asked, others []plan.Left
	for _, l := range ls {
		if len(l.Asks) > 0 {
			asked = append(asked, l)
		} else {
			others = append(others, l)
		}
	}
	if len(asked) > 0 {
		p.printf("\n")
		p.say(lang.Text{
			En: "needs a value from you (%d), as --set, or --suggested to take the ones shown:",
			Es: "necesita un valor suyo (%d), con --set, o --suggested para tomar los mostrados:",
		}, len(asked))
		p.asks(asked)
	}
	if len(others) > 0 {
		p.printf("\n")
		p.say(lang.Text{En: "left for a person (%d):", Es: "queda para una persona (%d):"}, len(others))
		p.leftByCheck(others)
	}
}

// asks prints one line to paste for each value that is suggested, and one
// pattern for all objects that the same question without a suggestion is about.
func (p Printer) asks(ls []plan.Left) {
	type question struct{ check, field, text string }
	done := map[question]bool{}
	for _, l := range ls {
		for _, a := range l.Asks {
			q := question{l.Check, a.Field, a.Question.In(p.Lang)}
			if done[q] {
				continue
			}
			done[q] = true
			open := p.pasted(ls, l.Check, a)
			p.wrap(6, q.text+"  ("+l.Check+")")
			if len(open) > 0 {
				p.wrap(6, lang.Text{En: "for: ", Es: "para: "}.In(p.Lang)+p.names(open))
			}
		}
	}
}

// pasted prints the lines for one question and returns the objects for which
// there is no suggestion.
func (p Printer) pasted(ls []plan.Left, check string, asked plan.Ask) (open []inventory.Ref) {
	for _, l := range ls {
		for _, a := range l.Asks {
			if l.Check != check || a.Field != asked.Field || a.Question != asked.Question {
				continue
			}
			if a.Suggestion == nil {
				open = append(open, a.Ref)
				continue
			}
			p.printf("  --set %s\n", quoted(Clean(a.Ref.String())+":"+Clean(a.Field)+"="+value(a.Suggestion)))
		}
	}
	if len(open) > 0 {
		p.printf("  --set %s\n", quoted(Clean(open[0].String())+":"+Clean(asked.Field)+"=VALUE"))
	}
	return open
}

// quoted is s as one word of a POSIX shell, whatever it holds.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// Word is s as one word of a command that a person may paste into a POSIX
// shell, quoted only where that is needed.
func Word(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-") == "" {
		return s
	}
	return quoted(s)
}

func (p Printer) leftByCheck(ls []plan.Left) {
	done := map[string]bool{}
	for _, l := range ls {
		key := l.Check + "\x00" + l.Reason.En
		if done[key] {
			continue
		}
		done[key] = true
		var refs []inventory.Ref
		for _, m := range ls {
			if m.Check == l.Check && m.Reason == l.Reason {
				refs = append(refs, m.Ref)
			}
		}
		p.printf("  %s  %s\n", p.bold(Clean(l.Check)), p.names(refs))
		p.wrap(6, l.Reason.In(p.Lang))
		p.wrap(6, l.Remedy.In(p.Lang))
	}
}

// Conflicts prints, three ways, what a rollback would have overwritten.
func (p Printer) Conflicts(cs []apply.Conflict) {
	for _, c := range cs {
		p.printf("  %s\n", p.bold(Clean(c.What)))
		p.printf("    %s %s\n", lang.Text{En: "before:", Es: "antes:  "}.In(p.Lang), p.value(c.Before))
		p.printf("    %s %s\n", lang.Text{En: "ours:  ", Es: "nuestro:"}.In(p.Lang), p.value(c.Ours))
		p.printf("    %s %s\n", lang.Text{En: "now:   ", Es: "ahora:  "}.In(p.Lang), p.value(c.Now))
	}
}

// Outcome prints what verify said of a change.
func (p Printer) Outcome(o verify.Outcome) {
	p.say(lang.Text{En: "proved: %d findings closed, %d not, %d worse", Es: "probado: %d hallazgos cerrados, %d no, %d peor"},
		len(o.Kept), len(o.Broken), len(o.Worse))
	for _, b := range o.Broken {
		p.printf("  %s %s %s\n", lang.Text{En: "not closed:", Es: "no cerrado:"}.In(p.Lang), b.Check, Clean(b.Ref.String()))
	}
	for _, f := range o.Worse {
		p.printf("  %s %s\n", lang.Text{En: "worse:", Es: "peor:"}.In(p.Lang), f.Check.ID)
		p.Finding(f)
	}
	for _, f := range o.Aside {
		p.printf("  %s %s %s\n", lang.Text{En: "meanwhile, elsewhere:", Es: "entretanto, en otra parte:"}.In(p.Lang), f.Check.ID, Clean(f.Ref.String()))
	}
}

// Changes prints the record of changes, oldest first.
func (p Printer) Changes(recs []*apply.Record, now time.Time) {
	for _, r := range recs {
		p.printf("%-14s  %s  %-12s  %s\n", r.ID, r.Begun.Format("2006-01-02 15:04:05Z"), stateWords[r.State].In(p.Lang), Clean(r.By))
		p.wrap(4, stepsByHand(r.Plan))
		if r.Class != "" {
			p.wrap(4, lang.Text{En: "%s change, asked for by %s, approved by %s", Es: "cambio %s, pedido por %s, aprobado por %s"}.
				F(changeWords[change.Class(r.Class)].In(p.Lang), Clean(r.Author), dash(Clean(strings.Join(r.Approvers, ", ")))).In(p.Lang))
		}
		if r.State == apply.Verified && !r.ConfirmBy.IsZero() {
			p.wrap(4, lang.Text{En: "goes back by itself at %s unless confirmed: casco confirm %s", Es: "se revierte por sí solo a las %s si no se confirma: casco confirm %s"}.
				F(moment(r.ConfirmBy), r.ID).In(p.Lang))
		}
		switch {
		case r.Unratified(now):
			p.printf("    %s\n", p.paint("1;31", lang.Text{En: "EMERGENCY NOT RATIFIED until %s; proposed: casco rollback %s", Es: "EMERGENCIA SIN RATIFICAR hasta %s; se propone: casco rollback %s"}.
				F(moment(r.RatifyBy), r.ID).In(p.Lang)))
		case !r.RatifyBy.IsZero() && r.Ratified.IsZero() && r.Stands():
			p.wrap(4, lang.Text{En: "to be ratified until %s: casco ratify %s", Es: "a ratificar hasta %s: casco ratify %s"}.F(moment(r.RatifyBy), r.ID).In(p.Lang))
		}
		if r.Why != "" {
			p.wrap(4, Clean(r.Why))
		}
	}
}

// stepsByHand counts the steps of a plan: "8 docker-update, 1 daemon-json".
func stepsByHand(pl *plan.Plan) string {
	var hands, counts []string
	n := map[string]int{}
	for _, st := range pl.Steps {
		if n[st.Hand]++; n[st.Hand] == 1 {
			hands = append(hands, st.Hand)
		}
	}
	for _, h := range hands {
		counts = append(counts, fmt.Sprintf("%d %s", n[h], h))
	}
	return strings.Join(counts, ", ")
}

// Difference prints one field that drifted, and by which change if by one of
// ours.
func (p Printer) Difference(d inventory.Difference, change string) {
	by := lang.Text{En: "without a change", Es: "sin cambio"}.In(p.Lang)
	if change != "" {
		by = lang.Text{En: "change %s", Es: "cambio %s"}.F(change).In(p.Lang)
	}
	p.printf("  %s %s  %s\n", p.bold(Clean(d.Ref.String())), Clean(d.Field), p.dim(by))
	was, now := value(d.Was), value(d.Now)
	if d.Field == "" { // the object as a whole
		was, now = wholeWords[was].In(p.Lang), wholeWords[now].In(p.Lang)
	}
	p.printf("    %s\n    %s\n", p.paint("31", "- "+was), p.paint("32", "+ "+now))
}
