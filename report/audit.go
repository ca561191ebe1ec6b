package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// A group is all failures of one check, with the groups that it causes.
type group struct {
	check  *audit.Check
	refs   []inventory.Ref
	causes []*group
}

// reach is how many findings a cure of g would touch.
func (g *group) reach() int {
	n := len(g.refs)
	for _, c := range g.causes {
		n += len(c.refs)
	}
	return n
}

// worst is the highest severity in g.
func (g *group) worst() audit.Severity {
	s := g.check.Severity
	for _, c := range g.causes {
		s = max(s, c.check.Severity)
	}
	return s
}

// groups orders failures worst first, those with a common cause under it.
func groups(fs []audit.Finding) []*group {
	byID := map[string]*group{}
	for i := range fs {
		f := &fs[i]
		if !f.Fails(audit.Low) {
			continue
		}
		g := byID[f.Check.ID]
		if g == nil {
			g = &group{check: f.Check}
			byID[f.Check.ID] = g
		}
		g.refs = append(g.refs, f.Ref)
	}
	var top []*group
	for _, g := range byID {
		if cause := byID[g.check.CausedBy]; cause != nil && cause != g {
			cause.causes = append(cause.causes, g)
		} else {
			top = append(top, g)
		}
	}
	order := func(a, b *group) int {
		return cmp.Or(cmp.Compare(b.worst(), a.worst()), cmp.Compare(b.reach(), a.reach()), strings.Compare(a.check.ID, b.check.ID))
	}
	for _, g := range top {
		slices.SortFunc(g.causes, order)
	}
	slices.SortFunc(top, order)
	return top
}

// Summary prints a: worst first, grouped by cause, then the numbers and what
// could not be read. What is below min is only counted, check by check. Took
// is how long the reading took; zero leaves it out.
func (p Printer) Summary(a Audit, min audit.Severity, took time.Duration) {
	p.head(a.Snapshot, a.Policy, took)
	var below []*group
	for _, g := range groups(a.Findings) {
		if g.worst() < min {
			below = append(below, g)
			continue
		}
		p.group(g, "")
		for _, c := range g.causes {
			p.group(c, "  └ ")
		}
	}
	p.below(below, min)
	p.Numbers(a.Findings)
	p.tailored(a.Policy.Tailored)
	p.others(a)
	p.gaps(a.Snapshot.Gaps)
}

// others names the engines of the host that were not asked, what failed by
// their process and files alone, and how to have them judged.
func (p Printer) others(a Audit) {
	list := others(a)
	if len(list) == 0 {
		return
	}
	p.printf("\n")
	text := lang.Text{
		En: "%d other engines on this host were not asked, and are not counted above:",
		Es: "%d otros motores de este anfitrión no fueron consultados y no se cuentan arriba:",
	}
	if len(list) == 1 {
		text = lang.Text{
			En: "%d other engine on this host was not asked, and is not counted above:",
			Es: "%d otro motor de este anfitrión no fue consultado y no se cuenta arriba:",
		}
	}
	p.say(text, len(list))
	for _, o := range list {
		p.wrap(2, Clean(o.Ref.Name)+": "+p.failures(o.Failed))
		if o.Address != "" {
			p.printf("    casco -H %s audit\n", Word(Clean(o.Address)))
		} else {
			p.wrap(4, lang.Text{En: "cannot be asked from here", Es: "no se lo puede consultar desde aquí"}.In(p.Lang))
		}
	}
}

// failures counts what failed by severity, worst first.
func (p Printer) failures(n map[audit.Severity]int) string {
	var words []string
	for _, s := range []audit.Severity{audit.Critical, audit.High, audit.Medium, audit.Low} {
		if n[s] > 0 {
			words = append(words, fmt.Sprintf("%d %s", n[s], severityWords[s].In(p.Lang)))
		}
	}
	if len(words) == 0 {
		return lang.Text{En: "nothing found by its process and files", Es: "nada hallado por su proceso y sus archivos"}.In(p.Lang)
	}
	return strings.Join(words, ", ") + lang.Text{En: " by its process and files", Es: " por su proceso y sus archivos"}.In(p.Lang)
}

func (p Printer) head(s *inventory.Snapshot, by Policy, took time.Duration) {
	what, read := []string{}, false
	for _, d := range s.Of(inventory.Daemon) {
		if version, _, ok := inventory.DaemonVersion.Of(d); ok {
			read = true
			what = append(what, "Docker "+Clean(version)+" "+Clean(d.Ref.Name))
		}
	}
	if !read {
		what = append(what, lang.Text{En: "engine not read", Es: "motor no leído"}.In(p.Lang))
	}
	what = append(what, lang.Text{En: "%d containers, %d images", Es: "%d contenedores, %d imágenes"}.
		F(len(s.Of(inventory.Container)), len(s.Of(inventory.Image))).In(p.Lang), s.Taken.Format("2006-01-02 15:04:05Z"))
	title, rest := "casco audit "+Clean(s.Host), strings.Join(what, " · ")
	if p.Width <= 0 || utf8.RuneCountInString(title+" · "+rest) <= p.width() { // not on a terminal: one line, to be searched for
		p.printf("%s · %s\n", p.bold(title), rest)
	} else {
		p.Heading(title)
		p.wrap(0, rest)
	}
	if by.Version > 0 {
		signed := lang.Text{En: "not signed", Es: "sin firma"}
		if by.SignedBy != "" {
			signed = lang.Text{En: "signed by %s", Es: "firmada por %s"}.F(Clean(by.SignedBy))
		}
		p.say(lang.Text{En: "policy %s, version %d, %s", Es: "política %s, versión %d, %s"}, Clean(by.Name), by.Version, signed.In(p.Lang))
	}
	if took > 0 {
		p.say(lang.Text{En: "read and judged in %.2f s", Es: "leído y juzgado en %.2f s"}, took.Seconds())
	}
	p.printf("\n")
}

// below counts the groups that are not worth a line of their own.
func (p Printer) below(gs []*group, min audit.Severity) {
	if len(gs) == 0 {
		return
	}
	var counts []string
	for _, g := range gs {
		for _, each := range append([]*group{g}, g.causes...) {
			counts = append(counts, fmt.Sprintf("%s %d", each.check.ID, len(each.refs)))
		}
	}
	p.printf("\n")
	p.say(lang.Text{En: "below %s (--all shows them):", Es: "por debajo de %s (--all los muestra):"}, severityWords[min].In(p.Lang))
	p.wrap(2, strings.Join(counts, " · "))
}

func (p Printer) group(g *group, branch string) {
	title := g.check.Title.In(p.Lang)
	indent := 10 + utf8.RuneCountInString(branch)
	if pad := p.width() - indent - utf8.RuneCountInString(title+g.check.ID); pad >= 2 {
		p.printf("%s  %s%s%s%s\n", p.severity(g.check.Severity), branch, p.bold(title), strings.Repeat(" ", pad), p.dim(g.check.ID))
	} else { // too narrow for both
		p.printf("%s  %s%s\n%s%s\n", p.severity(g.check.Severity), branch, p.bold(title), strings.Repeat(" ", indent), p.dim(g.check.ID))
	}
	p.wrap(indent, p.names(g.refs))
}

// names lists refs without repeating their kind, and not more than fit.
func (p Printer) names(refs []inventory.Ref) string {
	const most = 8
	var names []string
	for _, r := range refs[:min(len(refs), most)] {
		names = append(names, Clean(r.String()))
	}
	s := strings.Join(names, ", ")
	if more := len(refs) - most; more > 0 {
		s += lang.Text{En: " and %d more", Es: " y %d más"}.F(more).In(p.Lang)
	}
	return s
}

// Numbers prints conformance as the interval it is, coverage beside it.
func (p Printer) Numbers(fs []audit.Finding) {
	c := audit.Conform(fs)
	percent := func(f float64) string { return fmt.Sprintf("%.1f %%", 100*f) }
	p.printf("\n")
	p.say(lang.Text{
		En: "conformance between %s and %s of %d questions, %s could be told",
		Es: "conformidad entre %s y %s de %d preguntas, se pudo saber el %s",
	}, percent(c.Low()), percent(c.High()), c.N(), percent(c.Coverage()))
	p.say(lang.Text{
		En: "%d pass, %d fail, %d unknown, %d for a person to answer; %d not applicable",
		Es: "%d cumplen, %d fallan, %d desconocidas, %d por responder; %d no aplican",
	}, c.Pass, c.Fail, c.Unknown, c.Manual, c.NotApplicable)
	if c.Aside > 0 {
		p.say(lang.Text{
			En: "of those not applicable, %d because the policy sets their check aside",
			Es: "de las que no aplican, %d porque la política aparta su comprobación",
		}, c.Aside)
	}
}

// tailored lists what the policy changed of the checks, each with its reason
// and its line. It is never left out.
func (p Printer) tailored(os []audit.Override) {
	if len(os) == 0 {
		return
	}
	p.printf("\n")
	p.say(lang.Text{En: "changed by the policy (%d):", Es: "cambiado por la política (%d):"}, len(os))
	for _, o := range os {
		p.wrap(2, OverrideLine(o, p.Lang))
	}
}

// OverrideLine says in one line what the policy changed of a check, and why.
func OverrideLine(o audit.Override, l lang.Lang) string {
	what := lang.Text{En: "set aside", Es: "apartada"}.In(l)
	if !o.Aside {
		what = severityWords[o.Severity].In(l)
	}
	return fmt.Sprintf("%s: %s, %s (%s)", o.Check, what, Clean(o.Because.In(l)), Clean(o.Fact.Source))
}

func (p Printer) gaps(gaps []inventory.Gap) {
	if len(gaps) == 0 {
		return
	}
	p.printf("\n")
	p.say(lang.Text{En: "could not be read (%d):", Es: "no se pudo leer (%d):"}, len(gaps))
	for _, g := range gaps {
		where := Clean(g.Source)
		if g.Ref != (inventory.Ref{}) {
			where = Clean(g.Ref.String()) + " " + where
		}
		p.wrap(2, where+": "+Clean(g.Reason))
	}
}

// Why prints all that is known of one check on this host.
func (p Printer) Why(c *audit.Check, fs []audit.Finding) {
	p.printf("%s  %s  %s\n\n", p.severity(c.Severity), p.bold(c.Title.In(p.Lang)), p.dim(c.ID))
	p.wrap(2, c.Why.In(p.Lang))
	p.printf("\n")
	p.wrap(2, lang.Text{En: "Remedy: ", Es: "Remedio: "}.In(p.Lang)+c.Remedy.In(p.Lang))
	var controls []string
	for _, ctl := range c.Controls {
		controls = append(controls, ctl.Framework+" "+ctl.Number)
	}
	p.printf("\n")
	p.wrap(2, strings.Join(controls, " · "))
	for _, f := range fs {
		if f.Check.ID == c.ID {
			p.printf("\n")
			p.Finding(f)
		}
	}
}

// Of prints every finding about one object.
func (p Printer) Of(ref inventory.Ref, fs []audit.Finding) {
	for _, f := range fs {
		if f.Ref == ref {
			p.printf("%s  %s  %s\n", p.severity(f.Check.Severity), p.bold(f.Check.Title.In(p.Lang)), p.dim(f.Check.ID))
			p.Finding(f)
		}
	}
}

// Finding prints a verdict, its grounds and what would cure it.
func (p Printer) Finding(f audit.Finding) {
	p.printf("  %s  %s\n", Clean(f.Ref.String()), p.verdict(f.Verdict))
	if r := f.Reason.In(p.Lang); r != "" {
		p.wrap(4, Clean(r))
	}
	for _, e := range f.Evidence {
		v := value(e.Value)
		if e.Err != "" {
			v = Clean(e.Err)
		}
		p.printf("    %s = %s  %s\n", e.Field, v, p.dim(Clean(e.Source)))
	}
	for _, w := range f.Wants {
		p.printf("    %s %s\n", lang.Text{En: "wanted:", Es: "se quiere:"}.In(p.Lang), want(w))
		if q := w.Ask.In(p.Lang); q != "" {
			p.wrap(6, q)
		}
	}
}

func want(w audit.Want) string {
	switch {
	case w.Value == nil:
		return w.Field
	case w.Op == audit.Add:
		return w.Field + " + " + value(w.Value)
	case w.Op == audit.Remove:
		return w.Field + " − " + value(w.Value)
	}
	return w.Field + " = " + value(w.Value)
}
