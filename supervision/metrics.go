package supervision

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"casco/lang"
	"casco/store"
)

// A Metric is one number of the process, with what one must know to reckon it
// again: its definition, what it is of, and how many that were.
type Metric struct {
	ID         string    `json:"id"`
	Title      lang.Text `json:"title"`
	Definition lang.Text `json:"definition"`
	Unit       string    `json:"unit"` // "days", "share", "count"
	// Value is nil where it cannot be told: of nothing there is no share, and
	// too few closed findings have no median.
	Value *float64 `json:"value"`
	N     int      `json:"n"` // size of the population
	Parts []Part   `json:"parts,omitempty"`
}

// A Part is the same number of a part of the population.
type Part struct {
	Key   string    `json:"key"` // "high", "immediate", "taken-back"
	Title lang.Text `json:"title"`
	Value *float64  `json:"value"`
	N     int       `json:"n"`
}

// levels are the words of priorities and severities.
var levels = map[string]lang.Text{
	"immediate":    {En: "immediate", Es: "inmediata"},
	"out-of-cycle": {En: "out of cycle", Es: "fuera de ciclo"},
	"scheduled":    {En: "scheduled", Es: "programada"},
	"defer":        {En: "deferred", Es: "diferida"},
	"critical":     {En: "critical", Es: "crítica"},
	"high":         {En: "high", Es: "alta"},
	"medium":       {En: "medium", Es: "media"},
	"low":          {En: "low", Es: "baja"},
}

// An Input is what metrics are reckoned from: all events of the ledger up to
// the end of the period, also those before it began, for what was open then
// still counts.
type Input struct {
	Period     store.Period
	Verdicts   []store.Recorded[store.Verdict]
	Runs       []store.Recorded[store.Run]
	Changes    []store.Recorded[store.Change]
	Drifts     []store.Recorded[store.Drift]
	Exceptions []store.Recorded[store.Exception]
	// Due is when a finding of that fingerprint that first failed then must be
	// cured, by the policy's SLA; zero if nothing is said.
	Due func(fingerprint string, firstFailed time.Time) time.Time
	// Priority is the priority of a finding's risk; empty where none is known.
	Priority func(fingerprint string) string
	// Longest is how far two runs may lie apart without a hole between them.
	Longest time.Duration
}

const dayLength = 24 * time.Hour

// Measure reckons all metrics, in the order in which a report shows them.
func Measure(in Input) []Metric {
	in.Verdicts = until(in.Verdicts, in.Period.Until)
	spells := Spells(in.Verdicts, in.Period.Until)
	changes := lifecycles(in)
	return []Metric{
		in.timeToRemediate(spells), in.openAge(spells), in.inTime(spells), in.coverage(),
		in.drift(), in.exceptionDebt(spells), in.changeSuccess(changes), in.emergencies(changes), in.leadTime(changes),
		in.uptime(), in.recurrence(spells), in.regularity(),
	}
}

func until[E store.Event](rs []store.Recorded[E], end time.Time) []store.Recorded[E] {
	i := slices.IndexFunc(rs, func(r store.Recorded[E]) bool { return !r.At.Before(end) })
	if i < 0 {
		return rs
	}
	return rs[:i]
}

func (in Input) within(t time.Time) bool {
	return !t.Before(in.Period.From) && t.Before(in.Period.Until)
}

func days(d *time.Duration) *float64 {
	if d == nil {
		return nil
	}
	v := float64(*d) / float64(dayLength)
	return &v
}

// median is the middle one of ds, or half way between the two in the middle; nil
// of none.
func median(ds []time.Duration) *time.Duration {
	if len(ds) == 0 {
		return nil
	}
	slices.Sort(ds)
	m := ds[(len(ds)-1)/2] + (ds[len(ds)/2]-ds[(len(ds)-1)/2])/2
	return &m
}

// share is k of n, nil of nothing.
func share(k, n int) *float64 {
	if n == 0 {
		return nil
	}
	v := float64(k) / float64(n)
	return &v
}

func count(n int) *float64 {
	v := float64(n)
	return &v
}

// by parts spells by their priority, or severity where that is not known.
func (in Input) by(spells []Spell, value func([]Spell) Part) []Part {
	groups := map[string][]Spell{}
	for _, s := range spells {
		label := s.Severity
		if in.Priority != nil {
			label = cmp.Or(in.Priority(s.Fingerprint), label)
		}
		groups[label] = append(groups[label], s)
	}
	var out []Part
	for _, label := range slices.Sorted(maps.Keys(groups)) {
		p := value(groups[label])
		p.Key, p.Title = label, levels[label]
		out = append(out, p)
	}
	return out
}

func (in Input) timeToRemediate(spells []Spell) Metric {
	var mine []Spell // open at any time in the period
	for _, s := range spells {
		if s.To.After(in.Period.From) {
			mine = append(mine, s)
		}
	}
	half := func(ss []Spell) Part {
		v := Survive(ss)
		return Part{Value: days(v.Median), N: v.N}
	}
	all := half(mine)
	return Metric{
		ID: "time-to-remediate", Unit: "days", Value: all.Value, N: all.N, Parts: in.by(mine, half),
		Title: lang.Text{En: "Time to remediate, median", Es: "Tiempo de remediación, mediana"},
		Definition: lang.Text{
			En: "from the run that first saw a finding fail to the first measured pass; estimated by Kaplan and Meier over all findings that were open in the period, those still open included",
			Es: "desde la ejecución que vio fallar un hallazgo hasta el primer cumplimiento medido; estimado por Kaplan y Meier sobre todos los hallazgos abiertos en el período, también los que siguen abiertos",
		},
	}
}

func (in Input) openAge(spells []Spell) Metric {
	var open []Spell
	for _, s := range spells {
		if s.End == "" {
			open = append(open, s)
		}
	}
	age := func(ss []Spell) Part {
		var ages []time.Duration
		for _, s := range ss {
			ages = append(ages, in.Period.Until.Sub(s.FirstFailed))
		}
		return Part{Value: days(median(ages)), N: len(ages)}
	}
	all := age(open)
	return Metric{
		ID: "open-age", Unit: "days", Value: all.Value, N: all.N, Parts: in.by(open, age),
		Title: lang.Text{En: "Age of open findings, median", Es: "Antigüedad de los hallazgos abiertos, mediana"},
		Definition: lang.Text{
			En: "from the first time that a finding failed to the end of the period; one that was cured and came back keeps its first day",
			Es: "desde la primera vez que falló un hallazgo hasta el fin del período; el que se curó y volvió conserva su primer día",
		},
	}
}

func (in Input) inTime(spells []Spell) Metric {
	rate := func(ss []Spell) Part {
		good, n := 0, 0
		for _, s := range ss {
			due := time.Time{}
			if in.Due != nil {
				due = in.Due(s.Fingerprint, s.FirstFailed)
			}
			switch {
			case due.IsZero():
			case s.End == "pass" && in.within(s.To):
				n++
				if !s.To.After(due) {
					good++
				}
			case s.End == "" && in.Period.Until.After(due):
				n++
			}
		}
		return Part{Value: share(good, n), N: n}
	}
	all := rate(spells)
	return Metric{
		ID: "sla", Unit: "share", Value: all.Value, N: all.N, Parts: in.by(spells, rate),
		Title: lang.Text{En: "Remediated in time", Es: "Remediado a tiempo"},
		Definition: lang.Text{
			En: "findings closed in the period before they were due, of those closed in it and those open and overdue at its end",
			Es: "hallazgos cerrados en el período antes de su vencimiento, de los cerrados en él y los abiertos y vencidos a su fin",
		},
	}
}

func (in Input) coverage() Metric {
	m := Metric{
		ID: "coverage", Unit: "share",
		Title: lang.Text{En: "Coverage", Es: "Cobertura"},
		Definition: lang.Text{
			En: "questions that could be answered pass or fail, of all that arose, in the last run of the period that read the whole host",
			Es: "preguntas que pudieron responderse cumple o falla, de todas las que surgieron, en la última ejecución del período que leyó todo el anfitrión",
		},
	}
	for _, r := range slices.Backward(whole(in.Runs)) {
		if in.within(r.At) {
			c := r.Event.Counts
			m.N = c.Pass + c.Fail + c.Unknown + c.Manual
			m.Value = share(c.Pass+c.Fail, m.N)
			break
		}
	}
	return m
}

func (in Input) drift() Metric {
	foreign, ours := 0, 0
	for _, d := range in.Drifts {
		if in.within(d.At) {
			foreign++
		}
	}
	for _, c := range in.Changes {
		if in.within(c.At) && c.Event.State == "verified" {
			ours += c.Event.Steps
		}
	}
	return Metric{
		ID: "drift", Unit: "share", Value: share(foreign, foreign+ours), N: foreign + ours,
		Parts: []Part{{Key: "without-record", Title: lang.Text{En: "without a record", Es: "sin registro"}, Value: count(foreign), N: foreign}, {Key: "recorded", Title: lang.Text{En: "by casco", Es: "por casco"}, Value: count(ours), N: ours}},
		Title: lang.Text{En: "Changes without a record", Es: "Cambios sin registro"},
		Definition: lang.Text{
			En: "differences on the host that no change explains, of those and the steps of changes that were proved, in the period",
			Es: "diferencias en el anfitrión que ningún cambio explica, de ellas y los pasos de cambios probados, en el período",
		},
	}
}

func (in Input) exceptionDebt(spells []Spell) Metric {
	last := map[string]store.Exception{}
	renewals := 0
	for _, e := range until(in.Exceptions, in.Period.Until) {
		if _, known := last[e.Event.ID]; !known && e.Event.Renews != "" {
			renewals++
		}
		last[e.Event.ID] = e.Event
	}
	failing := map[[2]string]bool{}
	for _, s := range spells {
		if s.End == "" {
			failing[[2]string{s.Check, s.Ref}] = true
		}
	}
	active, soon, ended := 0, 0, 0
	for _, e := range last {
		switch {
		case e.State == "active":
			active++
			if e.Expires.Before(in.Period.Until.Add(30 * dayLength)) {
				soon++
			}
		case (e.State == "expired" || e.State == "void") && failing[[2]string{e.Check, e.Asset}]:
			ended++
		}
	}
	return Metric{
		ID: "exceptions", Unit: "count", Value: count(active), N: len(last),
		Parts: []Part{
			{Key: "ending", Title: lang.Text{En: "end within 30 days", Es: "terminan en 30 días"}, Value: count(soon), N: soon},
			{Key: "outlived", Title: lang.Text{En: "ended or void, and still failing", Es: "terminadas o nulas, y aún falla"}, Value: count(ended), N: ended},
			{Key: "renewals", Title: lang.Text{En: "renewals", Es: "renovaciones"}, Value: count(renewals), N: renewals},
		},
		Title: lang.Text{En: "Exceptions in force", Es: "Excepciones vigentes"},
		Definition: lang.Text{
			En: "exceptions that were in force at the end of the period; beside them those that end soon, those whose finding outlived them, and how many renewed an earlier one",
			Es: "excepciones vigentes al fin del período; junto a ellas las que terminan pronto, las que su hallazgo sobrevivió y cuántas renovaron una anterior",
		},
	}
}

// A lifecycle is what became of one change.
type lifecycle struct {
	class            string
	asked, applied   time.Time
	verified, undone bool
	back             bool
	late             bool // an emergency that was not ratified in time
}

// lifecycles are the changes that were begun in the period.
func lifecycles(in Input) []lifecycle {
	byID := map[string]*lifecycle{}
	var order []string
	for _, c := range until(in.Changes, in.Period.Until) {
		e := c.Event
		if e.ID == "" {
			continue
		}
		l := byID[e.ID]
		if l == nil {
			l = &lifecycle{class: e.Class}
			byID[e.ID] = l
			order = append(order, e.ID)
		}
		switch e.State {
		case "applying":
			l.applied, l.asked = c.At, e.Asked
		case "verified":
			l.verified = true
		case "undone", "failed":
			l.undone = true
		case "rolled-back":
			l.back = true
		case "unratified":
			l.late = true
		}
	}
	var out []lifecycle
	for _, id := range order {
		if in.within(byID[id].applied) {
			out = append(out, *byID[id])
		}
	}
	return out
}

func (in Input) changeSuccess(ls []lifecycle) Metric {
	good, back, undone := 0, 0, 0
	for _, l := range ls {
		switch {
		case l.back:
			back++
		case l.undone:
			undone++
		case l.verified:
			good++
		}
	}
	return Metric{
		ID: "change-success", Unit: "share", Value: share(good, len(ls)), N: len(ls),
		Parts: []Part{
			{Key: "taken-back", Title: lang.Text{En: "taken back", Es: "revertidos"}, Value: share(back, len(ls)), N: back},
			{Key: "undone", Title: lang.Text{En: "undone by themselves", Es: "deshechos por sí solos"}, Value: share(undone, len(ls)), N: undone},
		},
		Title: lang.Text{En: "Changes that held", Es: "Cambios que se sostuvieron"},
		Definition: lang.Text{
			En: "changes that were proved and not taken back, of all begun in the period",
			Es: "cambios probados y no revertidos, de todos los iniciados en el período",
		},
	}
}

func (in Input) emergencies(ls []lifecycle) Metric {
	n, late := 0, 0
	for _, l := range ls {
		if l.class == "emergency" {
			n++
			if l.late {
				late++
			}
		}
	}
	return Metric{
		ID: "emergencies", Unit: "share", Value: share(n, len(ls)), N: len(ls),
		Parts: []Part{{Key: "unratified", Title: lang.Text{En: "not ratified in time", Es: "no ratificadas a tiempo"}, Value: share(late, n), N: n}},
		Title: lang.Text{En: "Emergency changes", Es: "Cambios de emergencia"},
		Definition: lang.Text{
			En: "emergency changes of all begun in the period, and of them those not ratified in time",
			Es: "cambios de emergencia de todos los iniciados en el período, y de ellos los no ratificados a tiempo",
		},
	}
}

func (in Input) leadTime(ls []lifecycle) Metric {
	var ds []time.Duration
	for _, l := range ls {
		if !l.asked.IsZero() {
			ds = append(ds, l.applied.Sub(l.asked))
		}
	}
	return Metric{
		ID: "lead-time", Unit: "days", Value: days(median(ds)), N: len(ds),
		Title: lang.Text{En: "From request to change, median", Es: "De la solicitud al cambio, mediana"},
		Definition: lang.Text{
			En: "from the moment a change was asked for to the moment it was begun, of those begun in the period",
			Es: "desde que se pidió un cambio hasta que se inició, de los iniciados en el período",
		},
	}
}

func (in Input) uptime() Metric {
	held := Effectiveness(in.Verdicts, in.Runs, in.Period, in.Longest)
	m := Metric{
		ID: "control-uptime", Unit: "share",
		Title: lang.Text{En: "Controls measured effective", Es: "Controles medidos como eficaces"},
		Definition: lang.Text{
			En: "share of the period in which a control was measured to hold, mean over all controls; the time in which nobody looked does not count as held",
			Es: "parte del período en que se midió que un control se sostenía, media de todos los controles; el tiempo en que nadie miró no cuenta como sostenido",
		},
	}
	var pass, unmeasured float64
	for _, h := range held {
		if h.Pass+h.Fail+h.Unknown+h.Unmeasured > 0 {
			m.N++
			pass += h.Pass
			unmeasured += h.Unmeasured
		}
	}
	if m.N > 0 {
		mean, gaps := pass/float64(m.N), unmeasured/float64(m.N)
		m.Value = &mean
		m.Parts = []Part{{Key: "unmeasured", Title: lang.Text{En: "not measured", Es: "no medido"}, Value: &gaps, N: m.N}}
	}
	return m
}

// recurring: two times in ninety days (the period may be shorter).
const recurrenceWindow = 90 * dayLength

func (in Input) recurrence(spells []Spell) Metric {
	from := in.Period.Until.Add(-recurrenceWindow)
	times, all := map[string]int{}, map[string]bool{}
	for _, s := range spells {
		all[s.Fingerprint] = true
		if s.Cured && s.From.After(from) {
			times[s.Fingerprint]++
		}
	}
	n := 0
	for _, t := range times {
		if t >= 2 {
			n++
		}
	}
	return Metric{
		ID: "recurrence", Unit: "count", Value: count(n), N: len(all),
		Title: lang.Text{En: "Findings that keep coming back", Es: "Hallazgos que reaparecen"},
		Definition: lang.Text{
			En: "findings that were cured and failed again at least twice in the 90 days before the end of the period",
			Es: "hallazgos curados que volvieron a fallar al menos dos veces en los 90 días antes del fin del período",
		},
	}
}

func (in Input) regularity() Metric {
	missed, ran := 0, 0
	for _, r := range in.Runs {
		switch {
		case r.Event.Outcome == "missed":
			if in.within(r.Event.Due) { // it was written down by the next one, which may be of another period
				missed++
			}
		case r.Event.Of == "audit" && in.within(r.Event.Begun):
			ran++
		}
	}
	return Metric{
		ID: "runs", Unit: "share", Value: share(ran, ran+missed), N: ran + missed,
		Title: lang.Text{En: "Runs that took place", Es: "Ejecuciones realizadas"},
		Definition: lang.Text{
			En: "scheduled runs that took place, of those that were due in the period",
			Es: "ejecuciones programadas que se realizaron, de las que correspondían al período",
		},
	}
}
