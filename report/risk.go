package report

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/loop/risk"
	"casco/policy"
)

// RegisterSchema names the format of a risk register in JSON. It is a
// contract: fields are added, never renamed or removed.
const RegisterSchema = "casco/risk/v1"

// A Register is the risks of one host at one moment, with what they rest on.
type Register struct {
	Snapshot   *inventory.Snapshot
	Policy     *policy.Policy
	Findings   []audit.Finding
	Risks      []risk.Risk
	Exceptions risk.Exceptions
	Problems   []risk.Problem
	Paths      []risk.Path     // the shortest from outside to the worst tier
	Unread     []inventory.Ref // what may hide others
	NoHistory  bool            // nothing is known of earlier readings
	At         time.Time
}

type policyJSON struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
	Digest  string `json:"digest"`
}

// JSON writes r as one document of RegisterSchema. Texts are in both languages:
// a register is evidence, and is not written twice.
func (r Register) JSON(w io.Writer) error {
	posture := risk.PostureOf(r.Findings, r.Exceptions)
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	return e.Encode(map[string]any{
		"schema": RegisterSchema, "host": r.Snapshot.Host, "taken": r.Snapshot.Taken, "at": r.At, "formula": risk.Formula,
		"policy":      policyJSON{r.Policy.Metadata.Name, r.Policy.Metadata.Version, r.Policy.Digest},
		"conformance": conformance(r.Findings), "accepted": posture.Accepted,
		"risks": orEmpty(r.Risks), "exceptions": orEmpty(r.Exceptions.Judged), "problems": orEmpty(r.Problems),
		"paths": orEmpty(r.Paths), "unread": orEmpty(r.Unread), "gaps": orEmpty(r.Snapshot.Gaps),
	})
}

// orEmpty makes a list that is there of one that is not: null would say that
// nobody looked.
func orEmpty[T any](l []T) []T { return append([]T{}, l...) }

// CSV writes a line for each risk, for a spreadsheet. What a program of that
// kind would take for a formula is written as text.
func (r Register) CSV(w io.Writer, l lang.Lang) error {
	c := csv.NewWriter(w)
	head := []string{
		"id", "host", "object", "threat", "scenario", "priority", "state", "owner", "first_failed", "due", "overdue", "confidence", "formula",
		"exploitation", "exposure", "automatable", "impact", "base", "exposure_value", "impact_value",
		"inherent_r", "current_l", "current_i", "current_r", "residual_r", "findings", "treatment", "treatment_state", "reassess", "inputs_digest",
	}
	if err := c.Write(head); err != nil {
		return err
	}
	num := func(f float64) string { return strconv.FormatFloat(f, 'g', 6, 64) }
	for _, k := range r.Risks {
		line := []string{k.ID, k.Host, k.Ref.String(), string(k.Threat), k.Scenario.In(l), k.Priority.String(), string(k.State), k.Owner, stamp(k.FirstFailed), stamp(k.Due), strconv.FormatBool(k.Overdue), string(k.Confidence), risk.Formula}
		if len(k.Findings) == 0 {
			line = append(line, make([]string, 12)...)
		} else {
			m := k.Findings[0]
			line = append(line, m.Axes.Exploitation.String(), m.Axes.Exposure.String(), strconv.FormatBool(m.Axes.Automatable), m.Axes.Impact.String(),
				num(m.Inputs.Base.Value), num(m.Inputs.Exposure.Value), num(m.Inputs.Impact.Value),
				num(k.Inherent.R), num(k.Current.L), num(k.Current.I), num(k.Current.R), num(k.Residual.R))
		}
		line = append(line, strings.Join(checksIn(k), " "), string(k.Treatment.Kind), string(k.Treatment.State), strconv.FormatBool(k.Reassess), k.Digest)
		for i := range line {
			if line[i] != "" && strings.ContainsRune("=+-@\t\r", rune(line[i][0])) {
				line[i] = "'" + line[i]
			}
			line[i] = Clean(line[i])
		}
		if err := c.Write(line); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}

func checksIn(k risk.Risk) []string {
	var ids []string
	for _, m := range k.Findings {
		ids = append(ids, m.Check)
	}
	return ids
}

// fewest is how many risks a register shows one by one at least, if there are
// so many.
const fewest = 5

// Register prints the risks worst first: those that cannot wait for the next
// maintenance one by one, the others as a number, or all of them. Then the ways
// to what is worth most, and the numbers of the audit.
func (p Printer) Register(r Register, all bool) {
	p.say(lang.Text{En: "%s · policy %s · formula %s · %s", Es: "%s · política %s · fórmula %s · %s"},
		p.bold("casco risk "+Clean(r.Snapshot.Host)), Clean(policyName(r.Policy)), risk.Formula, r.At.Format("2006-01-02 15:04Z"))
	count, overdue, open := map[risk.Priority]int{}, 0, 0
	for _, k := range r.Risks {
		count[k.Priority]++
		if k.Overdue {
			overdue++
		}
		if k.Priority > 0 {
			open++
		}
	}
	p.say(lang.Text{
		En: "%d risks: %d immediate, %d out of cycle, %d scheduled, %d to defer; %d overdue",
		Es: "%d riesgos: %d inmediatos, %d fuera de ciclo, %d programados, %d diferidos; %d vencidos",
	}, open, count[risk.Immediate], count[risk.OutOfCycle], count[risk.Scheduled], count[risk.Defer], overdue)
	if r.NoHistory {
		p.say(lang.Text{En: "no earlier readings are known: ages count from this one", Es: "no se conocen lecturas anteriores: la antigüedad cuenta desde esta"})
	}
	p.printf("\n")
	shown := 0
	for _, k := range r.Risks {
		if !all && (k.Priority == 0 || k.Priority < risk.OutOfCycle && shown >= fewest && !k.Overdue) {
			continue
		}
		shown++
		p.riskLine(k)
	}
	if left := open - shown; !all && left > 0 {
		p.say(lang.Text{En: "%d more that can wait (--all shows them)", Es: "%d más que pueden esperar (--all los muestra)"}, left)
	}
	p.ways(r)
	p.posture(r)
	p.problems(r.Problems)
}

func policyName(pol *policy.Policy) string {
	if pol.Metadata.Version == 0 {
		return pol.Metadata.Name
	}
	return fmt.Sprintf("%s v%d", pol.Metadata.Name, pol.Metadata.Version)
}

func (p Printer) riskLine(k risk.Risk) {
	p.printf("%s  R %4.1f  %s  %s\n", p.priority(k.Priority), k.Current.R, k.ID, p.bold(Clean(k.Scenario.In(p.Lang))))
	var notes []string
	if len(k.Findings) > 0 {
		due := lang.Text{En: "due %s", Es: "vence %s"}
		if k.Overdue {
			due = lang.Text{En: "OVERDUE since %s", Es: "VENCIDO desde %s"}
		}
		notes = append(notes, due.F(k.Due.Format(time.DateOnly)).In(p.Lang))
	}
	notes = append(notes, stateOf[k.State].In(p.Lang))
	if k.Reassess {
		notes = append(notes, lang.Text{En: "to be assessed again", Es: "por evaluar de nuevo"}.In(p.Lang))
	}
	if k.Owner != "" {
		notes = append(notes, lang.Text{En: "owner %s", Es: "dueño %s"}.F(k.Owner).In(p.Lang))
	}
	if k.Confidence == risk.Low {
		notes = append(notes, lang.Text{En: "low confidence", Es: "confianza baja"}.In(p.Lang))
	}
	notes = append(notes, strings.Join(checksIn(k), ", "))
	p.wrap(14, strings.Join(notes, " · "))
	if len(k.Paths) > 0 {
		p.wrap(14, k.Paths[0].Text().In(p.Lang))
	}
}

// ways prints the attack paths of the host.
func (p Printer) ways(r Register) {
	p.printf("\n")
	if len(r.Paths) == 0 {
		p.say(lang.Text{En: "no way from outside to the worst tier was found", Es: "no se halló camino desde fuera hasta el peor nivel"})
	} else {
		p.say(lang.Text{En: "shortest ways from outside to the worst tier:", Es: "caminos más cortos desde fuera hasta el peor nivel:"})
	}
	for _, path := range r.Paths {
		p.wrap(2, path.Text().In(p.Lang))
	}
	if len(r.Unread) > 0 {
		p.wrap(2, lang.Text{En: "as far as was read; not the networks or ports of ", Es: "hasta donde se leyó; no las redes o puertos de "}.In(p.Lang)+p.names(r.Unread))
	}
}

func (p Printer) posture(r Register) {
	p.Numbers(r.Findings)
	if po := risk.PostureOf(r.Findings, r.Exceptions); len(r.Exceptions.Judged) > 0 {
		p.say(lang.Text{En: "%d of the failures are accepted by an exception (%.1f %%); they stay failures", Es: "%d de los fallos están aceptados por una excepción (%.1f %%); siguen siendo fallos"},
			po.Accepted, 100*po.AcceptedShare())
	}
}

func (p Printer) problems(ps []risk.Problem) {
	for i, pr := range ps {
		if i == 0 {
			p.printf("\n")
			p.say(lang.Text{En: "cured and back again, three times or more:", Es: "remediados y de vuelta, tres veces o más:"})
		}
		cause := pr.Cause
		if cause == "" {
			cause = lang.Text{En: "cause not found", Es: "causa no hallada"}.In(p.Lang)
		}
		p.wrap(2, fmt.Sprintf("%s %s: %d× · %s", pr.Check, Clean(pr.Ref.String()), pr.Reopened, Clean(cause)))
	}
}

// Risk prints all that is known of one risk, with its value written out so that
// it can be reckoned again by hand.
func (p Printer) Risk(k risk.Risk) {
	p.riskLine(k)
	if len(k.Findings) == 0 {
		return
	}
	p.printf("\n")
	p.reckoning(k.Findings[0])
	p.say(lang.Text{En: "  inherent R %.1f · current R %.1f · residual R %.1f", Es: "  inherente R %.1f · actual R %.1f · residual R %.1f"}, k.Inherent.R, k.Current.R, k.Residual.R)
	for _, what := range k.Findings[0].Inputs.Missing {
		p.wrap(2, lang.Text{En: "not known, taken as the worst: ", Es: "no se sabe, contado como lo peor: "}.In(p.Lang)+Clean(what))
	}
	p.axes(k.Findings[0])
	p.blast(k)
	p.treatment(k)
	for _, path := range k.Paths {
		p.printf("\n")
		p.path(path)
	}
	p.printf("\n")
	for _, m := range k.Findings {
		p.member(m)
	}
}

// reckoning writes formula risk/1 with its numbers.
func (p Printer) reckoning(m risk.Member) {
	in := m.Inputs
	p.printf("  R = 100 × %.2f × %.2f × max(%.1f, 1", in.Base.Value, in.Exposure.Value, in.Floor)
	for _, c := range in.Controls {
		if c.Counts {
			p.printf(" × %.2f", 1-c.E)
		}
	}
	p.printf(") × %.2f = %.2f\n", in.Impact.Value, m.Current.R)
	line := func(v float64, what string) { p.printf("    %.2f  %s\n", v, Clean(what)) }
	line(in.Base.Value, p.base(in))
	line(in.Exposure.Value, levelOf[in.Exposure.Level].In(p.Lang)+": "+in.Exposure.Because.In(p.Lang))
	for _, c := range in.Controls {
		v := 1.0
		if c.Counts {
			v = 1 - c.E
		}
		line(v, fmt.Sprintf("%s %s: %s", c.Check, c.Ref, verdictWords[c.Verdict].In(p.Lang)))
	}
	impact := lang.Text{En: "tier %s", Es: "nivel %s"}.F(firstOf(in.Impact.Tier, "?")).In(p.Lang)
	if in.Impact.Of != (inventory.Ref{}) {
		impact += " (" + in.Impact.Of.String() + ")"
	}
	line(in.Impact.Value, impact)
}

// base says where a likelihood begins.
func (p Printer) base(in risk.Inputs) string {
	if in.CVE == nil {
		return classWords[in.Class].In(p.Lang)
	}
	return in.CVE.ID + ": " + strings.ToUpper(in.Base.From)
}

func firstOf(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func (p Printer) axes(m risk.Member) {
	auto := lang.Text{En: "no", Es: "no"}
	if m.Axes.Automatable {
		auto = lang.Text{En: "yes", Es: "sí"}
	}
	p.say(lang.Text{
		En: "  %s, for: exploitation %s, exposure %s, automatable %s, impact %s",
		Es: "  %s, por: explotación %s, exposición %s, automatizable %s, impacto %s",
	}, priorityWords[m.Priority].In(p.Lang), exploitationOf[m.Axes.Exploitation].In(p.Lang), reachOf[m.Axes.Exposure].In(p.Lang), auto.In(p.Lang), harmOf[m.Axes.Impact].In(p.Lang))
}

func (p Printer) blast(k risk.Risk) {
	var tiers []string
	for _, t := range k.Blast.Tiers {
		tiers = append(tiers, firstOf(t.Name, "?"))
	}
	p.wrap(2, lang.Text{En: "within reach: ", Es: "al alcance: "}.In(p.Lang)+k.Blast.Because.In(p.Lang)+" · "+strings.Join(tiers, ", "))
}

func (p Printer) treatment(k risk.Risk) {
	t := k.Treatment
	if t.Kind == "" {
		return
	}
	words := []string{kindOf[t.Kind].In(p.Lang), standingOf[t.State].In(p.Lang)}
	if t.By != "" {
		words = append(words, lang.Text{En: "by %s", Es: "por %s"}.F(t.By).In(p.Lang))
	}
	if !t.Due.IsZero() {
		until := lang.Text{En: "until %s", Es: "hasta %s"}
		if t.Overdue {
			until = lang.Text{En: "OVERDUE since %s", Es: "VENCIDO desde %s"}
		}
		words = append(words, until.F(t.Due).In(p.Lang))
	}
	if t.Change != "" {
		words = append(words, lang.Text{En: "change %s", Es: "cambio %s"}.F(t.Change).In(p.Lang))
	}
	words = append(words, t.Exceptions...)
	p.wrap(2, lang.Text{En: "treatment: ", Es: "tratamiento: "}.In(p.Lang)+strings.Join(words, " · "))
	if t.Reason != "" {
		p.wrap(4, t.Reason)
	}
}

// path prints a way step by step, with what opens each.
func (p Printer) path(path risk.Path) {
	p.wrap(2, path.Text().In(p.Lang))
	for _, h := range path {
		why := h.Why.In(p.Lang)
		for i, c := range h.By {
			sep := ", "
			if i == 0 {
				sep = "  ← "
			}
			why += sep + c.Check
		}
		p.wrap(4, "→ "+h.To.Text().In(p.Lang)+": "+why)
	}
}

func (p Printer) member(m risk.Member) {
	p.printf("  %s  R %4.1f  %s  %s\n", p.priority(m.Priority), m.Current.R, p.bold(m.Title.In(p.Lang)), p.dim(m.Check))
	words := []string{
		verdictWords[m.Verdict].In(p.Lang), lang.Text{En: "since %s", Es: "desde %s"}.F(m.FirstFailed.Format(time.DateOnly)).In(p.Lang),
		lang.Text{En: "due %s", Es: "vence %s"}.F(m.Due.Format(time.DateOnly)).In(p.Lang),
	}
	if m.Reopened > 0 {
		words = append(words, lang.Text{En: "back %d times", Es: "volvió %d veces"}.F(m.Reopened).In(p.Lang))
	}
	if m.CausedBy != "" {
		words = append(words, lang.Text{En: "caused by %s", Es: "causado por %s"}.F(m.CausedBy).In(p.Lang))
	}
	if m.Exception != "" {
		words = append(words, lang.Text{En: "excepted by %s", Es: "exceptuado por %s"}.F(m.Exception).In(p.Lang))
	}
	p.wrap(14, strings.Join(words, " · "))
	p.wrap(14, "sha256:"+m.Facts)
}

// Exceptions prints each exception with whether it is in force, and why not.
func (p Printer) Exceptions(x risk.Exceptions) {
	if len(x.Judged) == 0 {
		p.say(lang.Text{En: "the policy excepts nothing on this host", Es: "la política no exceptúa nada en este anfitrión"})
		return
	}
	for _, e := range x.Judged {
		p.printf("%s  %s  %s\n", p.bold(Clean(e.ID)), p.force(e.Force), Clean(strings.TrimSpace(e.Check+" "+e.Asset+" "+e.Locus)))
		for _, r := range e.Reasons {
			p.wrap(4, r.Text().In(p.Lang))
		}
		if e.Detail != "" {
			p.wrap(4, Clean(e.Detail))
		}
		words := []string{lang.Text{En: "from %s to %s", Es: "del %s al %s"}.F(e.Starts, e.Expires).In(p.Lang)}
		if e.Force == risk.InForce {
			words = append(words, lang.Text{En: "%d days left", Es: "quedan %d días"}.F(int(e.Expires.End().Sub(x.At).Hours()/24)).In(p.Lang))
		}
		if e.Renewals > 0 {
			words = append(words, lang.Text{En: "renewed %d times", Es: "renovada %d veces"}.F(e.Renewals).In(p.Lang))
		}
		words = append(words, lang.Text{En: "asked by %s", Es: "pedida por %s"}.F(e.Requester).In(p.Lang))
		for _, s := range e.Signatures {
			words = append(words, lang.Text{En: "signed by %s", Es: "firmada por %s"}.F(firstOf(s.Person, s.Key)).In(p.Lang))
		}
		p.wrap(4, Clean(strings.Join(words, " · ")))
	}
}

// Exception prints all of one exception.
func (p Printer) Exception(x risk.Exceptions, e risk.Judged) {
	p.Exceptions(risk.Exceptions{Judged: []risk.Judged{e}, At: x.At})
	p.wrap(4, e.Reason)
	for _, c := range e.Compensating {
		p.wrap(4, lang.Text{En: "void when this does not pass: ", Es: "sin efecto si esto no se cumple: "}.In(p.Lang)+Clean(c.Check+" "+firstOf(c.Asset, e.Asset)))
	}
	then := e.RiskAtDecision
	if then.Formula != "" {
		p.say(lang.Text{En: "    when granted: %s, likelihood %.3f, impact %.2f, %s", Es: "    al concederse: %s, probabilidad %.3f, impacto %.2f, %s"}, Clean(then.Formula), then.Likelihood, then.Impact, Clean(then.Priority))
	}
	p.printf("    %s\n", p.dim(Clean(e.FactsAtDecision)))
	if e.Pos.File != "" {
		p.printf("    %s\n", p.dim(Clean(fmt.Sprintf("%s:%d", e.Pos.File, e.Pos.Line))))
	}
}

func (p Printer) priority(pr risk.Priority) string {
	code := map[risk.Priority]string{risk.Immediate: "1;31", risk.OutOfCycle: "31", risk.Scheduled: "33", risk.Defer: "36"}[pr]
	return p.paint(code, fmt.Sprintf("%-12s", strings.ToUpper(priorityWords[pr].In(p.Lang))))
}

func (p Printer) force(f risk.Force) string {
	code := "31"
	switch f {
	case risk.InForce:
		code = "32"
	case risk.NotYet:
		code = "33"
	}
	return p.paint(code, f.Text().In(p.Lang))
}

// The words of the register.
var (
	priorityWords = map[risk.Priority]lang.Text{
		0:               {En: "closed", Es: "cerrado"},
		risk.Immediate:  {En: "immediate", Es: "inmediato"},
		risk.OutOfCycle: {En: "out of cycle", Es: "fuera de ciclo"},
		risk.Scheduled:  {En: "scheduled", Es: "programado"},
		risk.Defer:      {En: "defer", Es: "diferir"},
	}
	stateOf = map[risk.State]lang.Text{
		risk.Identified: {En: "identified", Es: "identificado"},
		risk.Assessed:   {En: "assessed", Es: "evaluado"},
		risk.Decided:    {En: "treatment decided", Es: "tratamiento decidido"},
		risk.Treating:   {En: "in treatment", Es: "en tratamiento"},
		risk.Monitored:  {En: "monitored", Es: "en seguimiento"},
		risk.Closed:     {En: "closed by a measured pass", Es: "cerrado por un cumplimiento medido"},
		risk.Gone:       {En: "gone with its object, not cured", Es: "desaparecido con su objeto, no remediado"},
	}
	classWords = map[risk.Class]lang.Text{
		risk.Takeover:   {En: "takeover: no further flaw is needed", Es: "toma de control: no hace falta otro fallo"},
		risk.Escalation: {En: "escalation: one known step leads on", Es: "escalada: un paso conocido lleva más allá"},
		risk.Layer:      {En: "layer: one of several defences is weaker", Es: "capa: una de varias defensas es más débil"},
		risk.Hygiene:    {En: "hygiene: harm needs much else", Es: "higiene: el daño requiere mucho más"},
	}
	levelOf = map[risk.Level]lang.Text{
		risk.Internet:   {En: "internet", Es: "internet"},
		risk.OtherTier:  {En: "another tier", Es: "otro nivel"},
		risk.SameTier:   {En: "its own tier", Es: "su propio nivel"},
		risk.HostLocal:  {En: "host", Es: "anfitrión"},
		risk.NotRunning: {En: "nobody", Es: "nadie"},
	}
	exploitationOf = map[risk.Exploitation]lang.Text{
		risk.NoExploitation: {En: "none", Es: "ninguna"},
		risk.PoC:            {En: "known", Es: "conocida"},
		risk.Active:         {En: "active", Es: "activa"},
	}
	reachOf = map[risk.Reach]lang.Text{
		risk.Small:      {En: "small", Es: "pequeña"},
		risk.Controlled: {En: "controlled", Es: "controlada"},
		risk.Open:       {En: "open", Es: "abierta"},
	}
	harmOf = map[risk.Harm]lang.Text{
		risk.LowHarm:      {En: "low", Es: "bajo"},
		risk.MediumHarm:   {En: "medium", Es: "medio"},
		risk.HighHarm:     {En: "high", Es: "alto"},
		risk.VeryHighHarm: {En: "very high", Es: "muy alto"},
	}
	kindOf = map[risk.Kind]lang.Text{
		risk.Mitigate: {En: "mitigate", Es: "mitigar"},
		risk.Avoid:    {En: "avoid", Es: "evitar"},
		risk.Transfer: {En: "transfer", Es: "transferir"},
		risk.Accept:   {En: "accept", Es: "aceptar"},
	}
	standingOf = map[risk.TreatmentState]lang.Text{
		risk.Proposed:   {En: "proposed, not signed by who may decide", Es: "propuesto, sin firma de quien puede decidir"},
		risk.Approved:   {En: "approved", Es: "aprobado"},
		risk.InProgress: {En: "in progress", Es: "en curso"},
		risk.Verified:   {En: "verified", Es: "verificado"},
	}
)
