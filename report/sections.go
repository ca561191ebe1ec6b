package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"casco/lang"
	"casco/loop/apply"
	"casco/loop/audit"
	"casco/loop/change"
	"casco/loop/inventory"
	"casco/loop/risk"
	"casco/policy"
	"casco/supervision"
)

// document lays d out in language l. The order of sections is the one in which
// an auditor reads. A brief one is for a terminal: what matters first, and
// without annexes.
func (d *Dossier) document(l lang.Lang, brief bool) document {
	b := &layout{document: document{lang: l}, brief: brief}
	b.title = b.in(lang.Text{En: "Hardening of the Docker host %s", Es: "Fortalecimiento del anfitrión Docker %s"}, Clean(d.Cover.Host))
	if brief {
		d.brief(b)
		return b.document
	}
	d.cover(b)
	d.verify(b)
	for _, section := range []func(*layout){
		d.summary, d.limits, d.inventory, d.results, d.risks, d.exceptions, d.changes, d.segmentation, d.incidents, d.metrics, d.annex, d.evidence, d.sample, d.glossary,
	} {
		section(b)
	}
	return b.document
}

// brief is a report for a terminal.
func (d *Dossier) brief(b *layout) {
	d.warnings(b)
	for _, section := range []func(*layout){d.summary, d.failures, d.risks, d.limits, d.exceptions, d.changes, d.segmentation, d.incidents, d.metrics, d.frameworks} {
		section(b)
	}
	b.h1(lang.Text{En: "What this report is of", Es: "De qué es este informe"})
	d.cover(b)
	d.sampled(b)
	d.verify(b)
	b.say(lang.Text{
		En: "Evidence of each finding, requirements of frameworks, evidence list and glossary: casco report -o report.html (or .pdf, .md, .csv).",
		Es: "La evidencia de cada hallazgo, los requisitos de los marcos, la lista de evidencias y el glosario: casco report -o report.html (o .pdf, .md, .csv).",
	})
}

var none = lang.Text{En: "none", Es: "ninguno"}

// verification says how a file is checked without the host; it is in each.
var verification = lang.Text{
	En: "To verify this file offline: ask the host for casco log export DIR and run casco-verify DIR --key KEY with the ledger's key named here; an entry of kind export has the SHA-256 of this file. Every number can be reckoned again from the JSON that lies beside it.",
	Es: "Para verificar este archivo sin conexión: pida al anfitrión casco log export DIR y ejecute casco-verify DIR --key CLAVE con la clave del registro aquí nombrada; una entrada de tipo export tiene el SHA-256 de este archivo. Todo número puede recalcularse con el JSON que lo acompaña.",
}

func (d *Dossier) verify(b *layout) {
	b.h2(lang.Text{En: "How to verify this file offline", Es: "Cómo verificar este archivo sin conexión"})
	b.say(verification)
}

func (d *Dossier) cover(b *layout) {
	c := d.Cover
	t := b.table(none, lang.Text{En: "What", Es: "Qué"}, lang.Text{En: "Value", Es: "Valor"})
	say := func(what lang.Text, value any) { t.row(what.In(b.lang), value) }
	say(lang.Text{En: "Period", Es: "Período"}, moment(c.From)+" – "+moment(c.Until))
	say(lang.Text{En: "Host read", Es: "Anfitrión leído"}, moment(c.Read))
	say(lang.Text{En: "Report written", Es: "Informe escrito"}, moment(c.Generated)+", casco "+c.Program)
	pol := lang.Text{En: "%s, version %d, %s", Es: "%s, versión %d, %s"}.F(c.PolicyName, c.PolicyVersion, c.PolicyDigest)
	if c.PolicyDigest == policy.Builtin().Digest {
		pol = lang.Text{En: "built in: the organisation has given none", Es: "incorporada: la organización no ha dado ninguna"}
	}
	say(lang.Text{En: "Policy", Es: "Política"}, pol.In(b.lang))
	signer := lang.Text{En: "nobody", Es: "nadie"}.In(b.lang)
	if c.PolicySigner != "" {
		signer = c.PolicySigner
	}
	say(lang.Text{En: "Policy signed by", Es: "Política firmada por"}, signer)
	if c.Size == 0 {
		say(lang.Text{En: "Ledger", Es: "Registro"}, lang.Text{En: "none: nothing is known of earlier runs", Es: "ninguno: nada se sabe de ejecuciones anteriores"}.In(b.lang))
	} else {
		say(lang.Text{En: "Ledger", Es: "Registro"}, b.in(lang.Text{En: "%s, %d entries, root %s", Es: "%s, %d entradas, raíz %s"}, c.Origin, c.Size, c.Root))
		say(lang.Text{En: "Key of the ledger", Es: "Clave del registro"}, c.Key)
		say(lang.Text{En: "Witnessed", Es: "Con testigo"}, b.in(lang.Text{En: "%d of %d entries", Es: "%d de %d entradas"}, c.Witnessed, c.Size))
	}
	if !b.brief {
		d.warnings(b)
	}
}

// warnings are what whoever reads a number must know before.
func (d *Dossier) warnings(b *layout) {
	c := d.Cover
	if c.Read.After(c.Until.Add(time.Minute)) {
		b.warn(lang.Text{
			En: "The host was read at %s, after the end of the period: results, risks and inventory are of that reading. What was measured in the period is under posture over time and metrics.",
			Es: "El anfitrión se leyó el %s, después del fin del período: resultados, riesgos e inventario son de esa lectura. Lo medido en el período está en postura en el tiempo y en métricas.",
		}, moment(c.Read))
	}
	if c.SingleOperator {
		b.warn(lang.Text{
			En: "Single operator: the policy names no persons, so who planned a change could also approve it. No four eyes saw the changes in this report.",
			Es: "Operador único: la política no nombra personas, así que quien planificó un cambio pudo también aprobarlo. Los cambios de este informe no tuvieron doble aprobación.",
		})
	}
	if c.Size > 0 && c.Witnessed == 0 {
		b.warn(lang.Text{
			En: "No witness outside this host holds a checkpoint of its ledger: if whoever is root here had cut off its end, this report could not show it.",
			Es: "Ningún testigo fuera de este anfitrión tiene un punto de control de su registro: si quien es root aquí hubiera cortado su final, este informe no podría mostrarlo.",
		})
	}
	if c.Silent > 0 {
		b.warn(lang.Text{En: "The loop has not turned for %s though it should have.", Es: "El ciclo no gira desde hace %s aunque debería."}, strings.TrimSuffix(c.Silent.Round(time.Minute).String(), "0s"))
	}
}

func (d *Dossier) summary(b *layout) {
	p := d.Posture
	b.h1(lang.Text{En: "Summary", Es: "Resumen"})
	b.say(lang.Text{
		En: "Conformance lies between %s and %s of %d questions; %s could be told. %d failures (%s) are accepted by exceptions in force: they stay failures in every number.",
		Es: "La conformidad está entre %s y %s de %d preguntas; se pudo saber el %s. %d fallos (%s) están aceptados por excepciones vigentes: siguen siendo fallos en todo número.",
	}, percent(b.lang, p.Low), percent(b.lang, p.High), p.N, percent(b.lang, p.Coverage), p.Accepted, percent(b.lang, p.AcceptedShare))
	t := b.table(none, lang.Text{En: "COBIT domain", Es: "Dominio COBIT"}, lang.Text{En: ">Pass", Es: ">Cumple"}, lang.Text{En: ">Fail", Es: ">Falla"}, lang.Text{En: ">Not told", Es: ">Sin saber"})
	for _, x := range p.Domains {
		t.row(domainWords[x.Domain].In(b.lang), x.Pass, x.Fail, x.Unknown)
	}
	b.h2(lang.Text{En: "Open risks by priority", Es: "Riesgos abiertos por prioridad"})
	t = b.table(none, lang.Text{En: "Priority", Es: "Prioridad"}, lang.Text{En: ">Risks", Es: ">Riesgos"})
	for _, c := range p.Priorities {
		t.row(priorityOf(c.Key).In(b.lang), c.N)
	}
	b.say(lang.Text{En: "Risks that are overdue: %d. Differences on the host without a change record: %d.", Es: "Riesgos vencidos: %d. Diferencias en el anfitrión sin registro de cambio: %d."},
		p.Overdue, len(d.Undeclared))
	if !b.brief { // the table says it
		b.blocks = append(b.blocks, d.prioritiesChart(b.lang))
	}
	if len(d.History) > 1 && !d.Cover.Until.Equal(d.Cover.From) {
		b.blocks = append(b.blocks, d.historyChart(b.lang))
	}
}

func (d *Dossier) limits(b *layout) {
	b.h1(lang.Text{En: "Scope and limits: what this report does not see", Es: "Alcance y límites: lo que este informe no ve"})
	t := b.table(lang.Text{En: "everything that was looked for could be read", Es: "se pudo leer todo lo buscado"},
		lang.Text{En: "Could not be read", Es: "No se pudo leer"}, lang.Text{En: "Reason", Es: "Razón"})
	for _, g := range d.Limits.Gaps {
		what := g.Source
		if g.Ref.Name != "" {
			what = g.Ref.String() + " " + what
		}
		t.row(what, cause(g.Reason, b.lang))
	}
	b.cut(t)
	for _, part := range []struct {
		title, short lang.Text
		rs           []Reasoned
	}{
		{lang.Text{En: "Unknown", Es: "Desconocido"}, lang.Text{En: "unknown (%d checks): %s", Es: "desconocido (%d comprobaciones): %s"}, d.Limits.Unknown},
		{lang.Text{En: "For a person to answer", Es: "Por responder"}, lang.Text{En: "for a person to answer (%d checks): %s", Es: "por responder (%d comprobaciones): %s"}, d.Limits.Manual},
		{lang.Text{En: "Not applicable", Es: "No aplica"}, lang.Text{En: "not applicable (%d checks): %s", Es: "no aplica (%d comprobaciones): %s"}, d.Limits.NotAsked},
	} {
		if b.brief {
			b.say(part.short, len(part.rs), reasonedList(part.rs))
			continue
		}
		b.h2(part.title)
		t := b.table(none, lang.Text{En: "Check", Es: "Comprobación"}, lang.Text{En: ">Objects", Es: ">Objetos"}, lang.Text{En: "Reason", Es: "Razón"})
		for _, r := range part.rs {
			t.row(r.Check, r.N, reason(r.Reason, b.lang))
		}
		b.cut(t)
	}
	if len(d.Limits.Other) > 0 {
		b.say(lang.Text{En: "Other engines on this host were not judged: %s.", Es: "No se juzgaron otros motores de este anfitrión: %s."}, strings.Join(d.Limits.Other, ", "))
	}
	b.say(lang.Text{
		En: "casco does not see: what happens between two readings, what root hides from the kernel's own answers, capability levels, culture and people.",
		Es: "casco no ve: lo que pasa entre dos lecturas, lo que root oculta de las respuestas del propio núcleo, niveles de capacidad, cultura y personas.",
	})
}

// reasonedList lists checks with how many objects each is about.
func reasonedList(rs []Reasoned) string {
	const most = 30
	var ids []string
	for _, r := range rs[:min(len(rs), most)] {
		ids = append(ids, fmt.Sprintf("%s %d", r.Check, r.N))
	}
	if len(rs) > most {
		ids = append(ids, "…")
	}
	return dash(strings.Join(ids, " · "))
}

func (d *Dossier) inventory(b *layout) {
	b.h1(lang.Text{En: "Inventory", Es: "Inventario"})
	counts := map[string]int{}
	for _, a := range d.Inventory {
		counts[string(a.Ref.Kind)]++
	}
	t := b.table(none, lang.Text{En: "Kind", Es: "Tipo"}, lang.Text{En: ">Objects", Es: ">Objetos"})
	for _, k := range sortedKeys(counts) {
		t.row(kindWord(inventory.Kind(k)).In(b.lang), counts[k])
	}
	b.h2(lang.Text{En: "Containers", Es: "Contenedores"})
	t = b.table(none, lang.Text{En: "Container", Es: "Contenedor"}, lang.Text{En: "Tier", Es: "Nivel"}, lang.Text{En: "Image", Es: "Imagen"}, lang.Text{En: "Owner", Es: "Dueño"})
	for _, a := range d.Inventory {
		if a.Ref.Kind == "container" {
			t.row(a.Ref.Name, dash(a.Tier), dash(a.Image), dash(a.Owner))
		}
	}
	b.cut(t)
}

func (d *Dossier) results(b *layout) {
	b.h1(lang.Text{En: "Results", Es: "Resultados"})
	b.say(lang.Text{
		En: "What failed, worst first, with the evidence: what was declared and what is in effect. Passed and untold questions are in the JSON with theirs.",
		Es: "Lo que falla, lo peor primero, con la evidencia: lo declarado y lo efectivo. Lo que cumple y lo que no se supo está en el JSON con la suya.",
	})
	for _, rs := range d.failed() {
		first := rs[0]
		b.h2(lang.Text{
			En: strings.ToUpper(severityWords[first.Severity].En) + "  " + first.Title.En + " (" + first.Check + ")",
			Es: strings.ToUpper(severityWords[first.Severity].Es) + "  " + first.Title.Es + " (" + first.Check + ")",
		})
		b.say(first.Why)
		b.say(lang.Text{En: "Remedy: %s", Es: "Remedio: %s"}, first.Remedy.In(b.lang))
		if first.CausedBy != "" {
			b.say(lang.Text{En: "One cause for all of them: %s.", Es: "Una causa para todos: %s."}, first.CausedBy)
		}
		const most = 40 // objects of one check: a fleet of equal containers says no more
		t := b.table(none, lang.Text{En: "Object", Es: "Objeto"}, lang.Text{En: "Fact", Es: "Hecho"}, lang.Text{En: "Value", Es: "Valor"}, lang.Text{En: "Source", Es: "Fuente"})
		for _, r := range rs[:min(len(rs), most)] {
			for i, e := range r.Evidence {
				name := ""
				if i == 0 {
					name = r.Ref.String() + b.history(r)
				}
				t.row(name, e.Field, factValue(e, b.lang), e.Source)
			}
		}
		if more := len(rs) - most; more > 0 {
			b.say(lang.Text{En: "and %d more objects: the JSON has them all", Es: "y %d objetos más: el JSON los tiene todos"}, more)
		}
	}
}

// failed are the failures that count, by check, worst first.
func (d *Dossier) failed() [][]Result {
	var out [][]Result
	at := map[string]int{}
	for _, r := range d.Results {
		if r.Verdict != audit.Fail || !r.Counted {
			continue
		}
		i, is := at[r.Check]
		if !is {
			i = len(out)
			at[r.Check] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], r)
	}
	return out
}

// failures are results for a terminal: a line for each check.
func (d *Dossier) failures(b *layout) {
	b.h1(lang.Text{En: "What fails, worst first", Es: "Lo que falla, lo peor primero"})
	t := b.table(lang.Text{En: "nothing that was told", Es: "nada de lo que se supo"}, lang.Text{En: "Severity", Es: "Gravedad"}, lang.Text{En: ">Objects", Es: ">Objetos"}, lang.Text{En: "Check", Es: "Comprobación"}, lang.Text{En: "On", Es: "En"})
	const names = 2
	for _, rs := range d.failed() {
		var on []string
		for _, r := range rs[:min(len(rs), names)] {
			on = append(on, Clean(r.Ref.String()))
		}
		said := strings.Join(on, ", ")
		if more := len(rs) - names; more > 0 {
			said += b.in(lang.Text{En: " and %d more", Es: " y %d más"}, more)
		}
		t.row(severityWords[rs[0].Severity].In(b.lang), len(rs), rs[0].Title.In(b.lang)+" ("+rs[0].Check+")", said)
	}
	if more := len(t.rows) - 25; more > 0 {
		t.rows = t.rows[:25]
		b.say(lang.Text{En: "and %d more checks, milder ones: casco audit --all", Es: "y %d comprobaciones más, más leves: casco audit --all"}, more)
	}
}

// factValue is what a fact says: its value, or why there is none.
func factValue(e inventory.Fact, l lang.Lang) string {
	switch {
	case e.Err == inventory.Absent:
		return wholeWords[inventory.Absent].In(l)
	case e.Err != "":
		return Clean(cause(e.Err, l))
	}
	if t, ok := e.Value.(lang.Text); ok {
		return Clean(t.In(l))
	}
	return value(e.Value)
}

// history is what is known of a finding beside its evidence.
func (b *layout) history(r Result) string {
	var s []string
	if !r.FirstFailed.IsZero() {
		s = append(s, b.in(lang.Text{En: "since %s", Es: "desde %s"}, day(r.FirstFailed)))
	}
	if r.Reopened > 0 {
		s = append(s, b.in(lang.Text{En: "reopened %d times", Es: "reabierto %d veces"}, r.Reopened))
	}
	if !r.Due.IsZero() {
		s = append(s, b.in(lang.Text{En: "due %s", Es: "vence %s"}, day(r.Due)))
	}
	if r.Exception != "" {
		s = append(s, b.in(lang.Text{En: "accepted by %s", Es: "aceptado por %s"}, r.Exception))
	}
	if len(s) == 0 {
		return ""
	}
	return " · " + strings.Join(s, " · ")
}

func (d *Dossier) risks(b *layout) {
	b.h1(lang.Text{En: "Risk register", Es: "Registro de riesgos"})
	b.say(lang.Text{
		En: "Priority comes from the decision table and decides due dates; R = 100·L·I orders inside a priority (formula %s). Inputs of every value are in the JSON.",
		Es: "La prioridad sale de la tabla de decisión y fija los vencimientos; R = 100·L·I ordena dentro de una prioridad (fórmula %s). Los datos de cada valor están en el JSON.",
	}, risk.Formula)
	columns := []lang.Text{
		{En: "Risk", Es: "Riesgo"},
		{En: "Priority", Es: "Prioridad"},
		{En: ">R inherent", Es: ">R inherente"},
		{En: ">R current", Es: ">R actual"},
		{En: ">R residual", Es: ">R residual"},
		{En: "Due", Es: "Vence"},
		{En: "Treatment", Es: "Tratamiento"},
		{En: "Scenario", Es: "Escenario"},
	}
	if b.brief {
		columns = []lang.Text{columns[0], columns[1], columns[3], columns[5], columns[7]}
	}
	t := b.table(none, columns...)
	for _, r := range d.Risks {
		if !r.Open() {
			continue
		}
		due := day(r.Due)
		if r.Overdue {
			due += b.in(lang.Text{En: " (overdue)", Es: " (vencido)"})
		}
		how := "–"
		if r.Treatment.Kind != "" {
			how = kindOf[r.Treatment.Kind].In(b.lang)
		}
		if r.Owner != "" {
			how += " · " + r.Owner
		}
		priority, scenario := priorityWords[r.Priority].In(b.lang), r.Scenario.In(b.lang)
		if b.brief {
			t.row(r.ID, priority, number(b.lang, r.Current.R), due, scenario)
			continue
		}
		t.row(r.ID, priority, number(b.lang, r.Inherent.R), number(b.lang, r.Current.R), number(b.lang, r.Residual.R), due, how, scenario)
	}
	b.cut(t)
	b.h2(lang.Text{En: "Attack paths", Es: "Caminos de ataque"})
	t = b.table(lang.Text{En: "no way was found from outside to the worst tier; what could not be read may hide one", Es: "no se halló camino desde fuera hasta el peor nivel; lo que no se leyó puede ocultar uno"},
		lang.Text{En: "Path", Es: "Camino"})
	for _, p := range d.Paths {
		t.row(p.Text().In(b.lang))
	}
	b.h2(lang.Text{En: "Problems: findings that keep coming back", Es: "Problemas: hallazgos que reaparecen"})
	t = b.table(none, lang.Text{En: "Check", Es: "Comprobación"}, lang.Text{En: "Object", Es: "Objeto"}, lang.Text{En: ">Reopened", Es: ">Reabierto"}, lang.Text{En: "Cause", Es: "Causa"})
	for _, p := range d.Problems {
		t.row(p.Check, p.Ref, p.Reopened, dash(p.Cause))
	}
}

func (d *Dossier) exceptions(b *layout) {
	b.h1(lang.Text{En: "Exceptions", Es: "Excepciones"})
	t := b.table(none, lang.Text{En: "Exception", Es: "Excepción"}, lang.Text{En: "For", Es: "Para"}, lang.Text{En: "State", Es: "Estado"},
		lang.Text{En: "Granted by", Es: "Concedida por"}, lang.Text{En: "Ends", Es: "Termina"}, lang.Text{En: ">Renewals", Es: ">Renovaciones"}, lang.Text{En: "Reason", Es: "Razón"})
	for _, e := range d.Exceptions {
		var by []string
		for _, s := range e.Signatures {
			by = append(by, s.Person)
		}
		state := e.Force.Text().In(b.lang)
		for _, r := range e.Reasons {
			state += ", " + r.Text().In(b.lang)
		}
		t.row(e.ID, e.Check+" "+e.Asset+" "+e.Locus, state, dash(strings.Join(by, ", ")), day(e.Expires.End()), e.Renewals, e.Exception.Reason)
	}
	b.h2(lang.Text{En: "Checks that the policy tailors", Es: "Comprobaciones que la política ajusta"})
	t = b.table(none, lang.Text{En: "Check", Es: "Comprobación"}, lang.Text{En: "What", Es: "Qué"}, lang.Text{En: "Because", Es: "Porque"}, lang.Text{En: "Line", Es: "Línea"})
	for _, o := range d.Overrides {
		t.row(o.Check, o.What, o.Because, o.Line)
	}
}

func (d *Dossier) changes(b *layout) {
	b.h1(lang.Text{En: "Changes in the period", Es: "Cambios en el período"})
	t := b.table(none, lang.Text{En: "Change", Es: "Cambio"}, lang.Text{En: "Class", Es: "Clase"}, lang.Text{En: "State", Es: "Estado"}, lang.Text{En: "Author", Es: "Autor"},
		lang.Text{En: "Approved by", Es: "Aprobado por"}, lang.Text{En: "Begun", Es: "Iniciado"}, lang.Text{En: ">Steps", Es: ">Pasos"}, lang.Text{En: "Reason", Es: "Razón"})
	for _, c := range d.Changes {
		state := StateWord(apply.State(c.State)).In(b.lang)
		if c.Late {
			state += b.in(lang.Text{En: " · not ratified until %s", Es: " · no ratificado hasta %s"}, moment(c.RatifyBy))
		}
		t.row(c.ID, changeWords[change.Class(c.Class)].In(b.lang), state, c.Author, dash(strings.Join(c.Approvers, ", ")), moment(c.Begun), c.Steps, dash(c.Reason))
	}
	b.h2(lang.Text{En: "Changes without a record", Es: "Cambios sin registro"})
	columns := []lang.Text{{En: "Seen", Es: "Visto"}, {En: "Object", Es: "Objeto"}, {En: "Fact", Es: "Hecho"}, {En: "Was", Es: "Era"}, {En: "Is", Es: "Ahora es"}, {En: "Who", Es: "Quién"}}
	if b.brief {
		columns = columns[:3]
	}
	t = b.table(lang.Text{En: "every difference that was seen has a change record", Es: "toda diferencia vista tiene un registro de cambio"}, columns...)
	for _, u := range d.Undeclared {
		cells := []any{moment(u.At), u.Event.Ref, dash(u.Event.Field), short(difference(u.Event.Was, b.lang)), short(difference(u.Event.Now, b.lang)), dash(u.Event.Who)}
		t.row(cells[:len(columns)]...)
	}
	b.cut(t)
}

// difference is one side of what differs; an object that came or went has a word.
func difference(v any, l lang.Lang) string {
	if s, ok := v.(string); ok && wholeWords[s].En != "" {
		return wholeWords[s].In(l)
	}
	return value(v)
}

// short cuts what would fill a page.
func short(s string) string {
	const most = 120
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

func (d *Dossier) segmentation(b *layout) {
	b.h1(lang.Text{En: "Segmentation", Es: "Segmentación"})
	b.say(lang.Text{
		En: "Declared flows between tiers, and what the host lets pass: shared networks, and published ports that the other tier reaches through a gateway. Nothing was sent through them for this report.",
		Es: "Flujos declarados entre niveles, y lo que el anfitrión deja pasar: redes compartidas y puertos publicados que el otro nivel alcanza por una puerta de enlace. Para este informe no se envió nada por ellos.",
	})
	t := b.table(lang.Text{En: "the policy names one tier: there is nothing to keep apart", Es: "la política nombra un solo nivel: no hay nada que separar"},
		lang.Text{En: "From", Es: "De"}, lang.Text{En: "To", Es: "A"}, lang.Text{En: "Declared", Es: "Declarado"}, lang.Text{En: "Shared networks", Es: "Redes compartidas"}, lang.Text{En: "Published ports", Es: "Puertos publicados"})
	for _, p := range d.Segmentation.Pairs {
		if b.brief && len(p.Declared)+len(p.Shared)+len(p.Published) == 0 {
			continue
		}
		t.row(p.From, p.To, dash(strings.Join(p.Declared, ", ")), dash(strings.Join(p.Shared, ", ")), dash(strings.Join(p.Published, ", ")))
	}
	if b.brief && len(t.rows) == 0 && len(d.Segmentation.Pairs) > 0 {
		t.empty = lang.Text{En: "nothing passes between tiers, and nothing was declared", Es: "nada pasa entre niveles y nada se declaró"}.In(b.lang)
	}
	b.cut(t)
	if len(d.Segmentation.Tiers) > 1 {
		b.blocks = append(b.blocks, d.matrixChart(b.lang))
	}
}

func (d *Dossier) incidents(b *layout) {
	b.h1(lang.Text{En: "Incidents", Es: "Incidentes"})
	t := b.table(none, lang.Text{En: "When", Es: "Cuándo"}, lang.Text{En: "What", Es: "Qué"}, lang.Text{En: "About", Es: "Sobre"}, lang.Text{En: "State", Es: "Estado"})
	for _, i := range d.Incidents {
		t.row(moment(i.At), i.What.In(b.lang), whyMissed(i.About, b.lang), openWord(i.Open).In(b.lang))
	}
	b.cut(t)
}

func openWord(open bool) lang.Text {
	if open {
		return lang.Text{En: "open", Es: "abierto"}
	}
	return lang.Text{En: "over", Es: "terminado"}
}

func (d *Dossier) metrics(b *layout) {
	b.h1(lang.Text{En: "Metrics", Es: "Métricas"})
	columns := []lang.Text{{En: "Metric", Es: "Métrica"}, {En: ">Value", Es: ">Valor"}, {En: ">Of", Es: ">De"}, {En: "Definition", Es: "Definición"}}
	if b.brief {
		columns = columns[:3]
	}
	t := b.table(lang.Text{En: "there is no ledger to reckon them from", Es: "no hay registro con que calcularlas"}, columns...)
	row := func(cells ...any) { t.row(cells[:len(columns)]...) }
	for _, m := range d.Metrics {
		row(m.Title.In(b.lang), measure(b.lang, m.Unit, m.Value), m.N, m.Definition.In(b.lang))
		if b.brief {
			continue
		}
		for _, p := range m.Parts {
			row("– "+p.Title.In(b.lang), measure(b.lang, m.Unit, p.Value), p.N, "")
		}
	}
	if b.brief {
		return
	}
	if len(d.Controls) > 0 {
		b.h2(lang.Text{En: "Controls over the period", Es: "Controles durante el período"})
		b.say(lang.Text{
			En: "Share of the period in which each control was measured to hold. Those that held all the while are in the JSON.",
			Es: "Parte del período en que se midió que cada control se sostenía. Los que se sostuvieron todo el tiempo están en el JSON.",
		})
		t := b.table(lang.Text{En: "all held all the while", Es: "todos se sostuvieron todo el tiempo"}, lang.Text{En: "Check", Es: "Comprobación"}, lang.Text{En: "Object", Es: "Objeto"},
			lang.Text{En: ">Held", Es: ">Sostenido"}, lang.Text{En: ">Failed", Es: ">Falló"}, lang.Text{En: ">Not told", Es: ">Sin saber"}, lang.Text{En: ">Not measured", Es: ">Sin medir"})
		broken := broken(d.Controls)
		for _, h := range broken {
			t.row(h.Check, h.Ref, percent(b.lang, h.Pass), percent(b.lang, h.Fail), percent(b.lang, h.Unknown), percent(b.lang, h.Unmeasured))
		}
		if len(broken) > 0 {
			b.blocks = append(b.blocks, d.controlsChart(b.lang, broken))
		}
	}
}

// priorityOf is the word of a priority by its name.
func priorityOf(name string) lang.Text {
	var p risk.Priority
	if err := p.UnmarshalText([]byte(name)); err != nil {
		return lang.Text{En: name, Es: name}
	}
	return priorityWords[p]
}

// broken are the controls that held at a time and at another did not, or were
// not measured; the worst first, as many as a person reads.
func broken(hs []supervision.Held) []supervision.Held {
	const most = 40
	var out []supervision.Held
	for _, h := range hs {
		if h.Pass > 0 && h.Pass < 1 {
			out = append(out, h)
		}
	}
	slices.SortStableFunc(out, func(a, b supervision.Held) int {
		switch {
		case a.Pass < b.Pass:
			return -1
		case a.Pass > b.Pass:
			return 1
		}
		return 0
	})
	return out[:min(len(out), most)]
}

// coverage counts how far requirements are covered.
func (d *Dossier) coverage(b *layout) (ids []string) {
	b.h1(lang.Text{En: "Frameworks", Es: "Marcos de referencia"})
	b.say(lang.Text{
		En: "How far each requirement that casco knows is covered: automated, partial (some of it by a person), manual, or none. Titles are our own words.",
		Es: "Hasta dónde se cubre cada requisito que casco conoce: automatizado, parcial (algo por una persona), manual o ninguno. Los títulos son palabras nuestras.",
	})
	counts := map[string]map[string]int{}
	for _, f := range d.Annex {
		if counts[f.Framework] == nil {
			counts[f.Framework] = map[string]int{}
		}
		counts[f.Framework][f.Status]++
	}
	t := b.table(none, lang.Text{En: "Framework", Es: "Marco"}, lang.Text{En: ">Automated", Es: ">Automatizado"}, lang.Text{En: ">Partial", Es: ">Parcial"}, lang.Text{En: ">Manual", Es: ">Manual"}, lang.Text{En: ">None", Es: ">Ninguno"})
	for _, id := range sortedKeys(counts) {
		n := counts[id]
		t.row(id, n["automated"], n["partial"], n["manual"], n["none"])
	}
	return sortedKeys(counts)
}

func (d *Dossier) frameworks(b *layout) { d.coverage(b) }

func (d *Dossier) annex(b *layout) {
	for _, id := range d.coverage(b) {
		b.h2(lang.Text{En: id, Es: id})
		t := b.table(none, lang.Text{En: "Number", Es: "Número"}, lang.Text{En: "Requirement", Es: "Requisito"}, lang.Text{En: "Covered", Es: "Cubierto"},
			lang.Text{En: ">Pass", Es: ">Cumple"}, lang.Text{En: ">Fail", Es: ">Falla"}, lang.Text{En: ">Not told", Es: ">Sin saber"})
		for _, f := range d.Annex {
			if f.Framework == id {
				t.row(f.Number, f.Title.In(b.lang), statusWords[f.Status].In(b.lang), f.Pass, f.Fail, f.Unknown)
			}
		}
	}
}

func (d *Dossier) evidence(b *layout) {
	b.h1(lang.Text{En: "Evidence", Es: "Evidencia"})
	t := b.table(none, lang.Text{En: ">Entry", Es: ">Entrada"}, lang.Text{En: "SHA-256", Es: "SHA-256"}, lang.Text{En: "What", Es: "Qué"}, lang.Text{En: "Taken", Es: "Tomada"}, lang.Text{En: "Kept until", Es: "Se conserva hasta"})
	for _, e := range d.Evidence {
		t.row(e.Index, e.Event.Digest, evidenceWord(e.Event.What).In(b.lang), moment(e.Event.Taken), day(e.Event.Until))
	}
	b.cut(t)
}

// evidenceWord says what a piece of evidence is: "snapshot", or "change 3-ab".
func evidenceWord(what string) lang.Text {
	head, id, _ := strings.Cut(what, " ")
	switch head {
	case "snapshot":
		return lang.Text{En: "snapshot", Es: "instantánea de hechos"}
	case "change":
		return lang.Text{En: "change %s", Es: "cambio %s"}.F(id)
	}
	return lang.Text{En: what, Es: what}
}

func (d *Dossier) sample(b *layout) {
	b.h1(lang.Text{En: "The auditor's sample", Es: "La muestra del auditor"})
	d.sampled(b)
}

func (d *Dossier) sampled(b *layout) {
	if d.Sample.Size == 0 {
		b.say(lang.Text{En: "There are no entries to draw from.", Es: "No hay entradas de las que extraer."})
		return
	}
	var drawn []string
	for _, i := range d.Sample.Drawn {
		drawn = append(drawn, fmt.Sprint(i))
	}
	b.say(lang.Text{
		En: "%d of %d entries of the ledger, drawn with the seed %q: %s. The same are drawn anywhere with: %s",
		Es: "%d de %d entradas del registro, extraídas con la semilla %q: %s. Las mismas se extraen en cualquier parte con: %s",
	}, len(drawn), d.Sample.Size, d.Sample.Seed, strings.Join(drawn, ", "), d.Sample.Command)
}

func (d *Dossier) glossary(b *layout) {
	b.h1(lang.Text{En: "Glossary", Es: "Glosario"})
	t := b.table(none, lang.Text{En: "Term", Es: "Término"}, lang.Text{En: "Meaning", Es: "Significado"})
	for _, g := range glossary {
		t.row(g[0].In(b.lang), g[1].In(b.lang))
	}
}

// glossary has the terms that auditors use, in both languages.
var glossary = [][2]lang.Text{
	{{En: "finding", Es: "hallazgo"}, {En: "one answer of one check about one object; its fingerprint stays the same for ever", Es: "una respuesta de una comprobación sobre un objeto; su huella no cambia nunca"}},
	{{En: "conformance", Es: "conformidad"}, {En: "the share of questions that passed, as the interval in which the truth lies: what could not be told might be either", Es: "la parte de las preguntas que cumplen, como el intervalo donde está la verdad: lo que no se supo puede ser lo uno o lo otro"}},
	{{En: "coverage", Es: "cobertura"}, {En: "the share of questions that could be told", Es: "la parte de las preguntas que se pudo saber"}},
	{{En: "inherent, current, residual risk", Es: "riesgo inherente, actual, residual"}, {En: "without any defence; with those measured to work in the last run; with what the treatment plans", Es: "sin ninguna defensa; con las que se midieron eficaces en la última ejecución; con lo que planea el tratamiento"}},
	{{En: "treatment", Es: "tratamiento"}, {En: "what was decided about a risk: mitigate, avoid, transfer, accept", Es: "lo decidido sobre un riesgo: mitigar, evitar, transferir, aceptar"}},
	{{En: "exception", Es: "excepción"}, {En: "a signed permission for one finding to stand for a time; it changes no result and no number", Es: "un permiso firmado para que un hallazgo permanezca un tiempo; no cambia ningún resultado ni número"}},
	{{En: "compensating control", Es: "control compensatorio"}, {En: "a check that must pass for an exception to hold", Es: "una comprobación que debe cumplir para que una excepción valga"}},
	{{En: "four eyes", Es: "doble aprobación"}, {En: "who approves a change is not who asked for it", Es: "quien aprueba un cambio no es quien lo pidió"}},
	{{En: "drift", Es: "deriva"}, {En: "a difference on the host that no change record explains", Es: "una diferencia en el anfitrión que ningún registro de cambio explica"}},
	{{En: "ledger", Es: "registro"}, {En: "the append-only log of all that casco did; nothing in it can be altered unseen by who holds an older checkpoint", Es: "el registro de sólo adición de todo lo que hizo casco; nada en él puede alterarse sin que lo vea quien tenga un punto de control anterior"}},
	{{En: "witness", Es: "testigo"}, {En: "somebody outside the host who holds checkpoints of its ledger", Es: "alguien fuera del anfitrión que guarda puntos de control de su registro"}},
}
