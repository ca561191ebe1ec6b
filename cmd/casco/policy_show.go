package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"casco/lang"
	"casco/loop/audit"
	"casco/policy"
	"casco/report"
)

func policyExplainCmd(a *app) *cobra.Command {
	return a.manual.verb(&cobra.Command{
		Use: "explain",
		RunE: func(_ *cobra.Command, args []string) error {
			j, err := a.judgeNow()
			if err != nil {
				return err
			}
			list := j.checks
			if len(args) == 1 {
				c := j.find(args[0])
				if c == nil {
					return noCheck(args[0], j.checks)
				}
				list = []*audit.Check{c}
			}
			var out []explanation
			for _, c := range list {
				out = append(out, explain(j.inForce.Policy, c, a.lang))
			}
			if a.format == "json" {
				return a.json(map[string]any{"policy": j.report(), "checks": out})
			}
			for _, e := range out {
				a.printExplanation(e, len(args) == 1)
			}
			return nil
		},
	}, lang.Text{
		En: "Say of each check which line of the policy made it what it is",
		Es: "Dice de cada comprobación qué línea de la política la hizo lo que es",
	}, lang.Text{
		En: "Say of each check which line of the policy made it what it is: what it reads of the policy, what was changed of it and why. A check " +
			"that no line speaks of is as casco has it built in.\n\n" +
			"Exit codes: 0 said, 1 trouble, 2 there is no such check.",
		Es: "Dice de cada comprobación qué línea de la política la hizo lo que es: qué lee de la política, qué se le cambió y por qué. Una " +
			"comprobación de la que no habla ninguna línea es como casco la trae.\n\n" +
			"Códigos de salida: 0 dicho, 1 problema, 2 no existe tal comprobación.",
	}, maybeACheck)
}

// An explanation is a check with the lines of the policy that made it.
type explanation struct {
	Check    string            `json:"check"`
	Title    string            `json:"title"`
	Severity audit.Severity    `json:"severity"`
	Aside    bool              `json:"set_aside,omitempty"`
	From     string            `json:"from"`  // "built in", or where the organisation's own check stands
	Lines    []line            `json:"lines"` // of the policy that it goes by
	Tailored []report.Override `json:"tailored"`
}

type line struct {
	Path   string `json:"path"`
	Source string `json:"source"`
}

func explain(p *policy.Policy, c *audit.Check, l lang.Lang) explanation {
	e := explanation{
		Check: c.ID, Title: c.Title.In(l), Severity: c.Severity, Aside: c.Aside(), From: c.From, Lines: []line{}, Tailored: report.OverridesOf(c.Tailored, l),
	}
	if e.From == "" {
		e.From = lang.Text{En: "built in", Es: "de casco"}.In(l)
	}
	for path, at := range p.Lines {
		reads := func(root string) bool { return path == root || strings.HasPrefix(path, root+".") }
		if slices.ContainsFunc(c.Policy, reads) && !hasBelow(p, path) {
			e.Lines = append(e.Lines, line{path, at.String()})
		}
	}
	slices.SortFunc(e.Lines, func(x, y line) int {
		a, b := p.Lines[x.Path], p.Lines[y.Path]
		return (a.Line-b.Line)*1000 + a.Col - b.Col
	})
	return e
}

// hasBelow reports whether path is only the head of other lines.
func hasBelow(p *policy.Policy, path string) bool {
	for other := range p.Lines {
		if strings.HasPrefix(other, path+".") {
			return true
		}
	}
	return false
}

func (a *app) printExplanation(e explanation, long bool) {
	state := e.Severity.String()
	if e.Aside {
		state = lang.Text{En: "set aside", Es: "apartada"}.In(a.lang)
	}
	fmt.Fprintf(a.out, "%-32s %-10s %s\n", e.Check, state, report.Clean(e.From))
	if long {
		fmt.Fprintf(a.out, "  %s\n", report.Clean(e.Title))
	}
	for _, l := range e.Lines {
		fmt.Fprintf(a.out, "  %-40s %s\n", report.Clean(l.Path), report.Clean(l.Source))
	}
	for _, o := range e.Tailored {
		fmt.Fprintf(a.out, "  %-40s %s  %s\n", o.What, report.Clean(o.Line), report.Clean(o.Because))
	}
}

func policyShowCmd(a *app) *cobra.Command {
	return a.manual.verb(&cobra.Command{
		Use: "show",
		RunE: func(*cobra.Command, []string) error {
			f, err := a.takenPolicy()
			if err != nil {
				return err
			}
			now := time.Now().UTC()
			s := rulingOf(f.At(now), now)
			if a.format == "json" {
				return a.json(s)
			}
			a.printRuling(s)
			return nil
		},
	}, lang.Text{
		En: "Show the policy in force, who signed it, and what of it is not in force",
		Es: "Muestra la política en vigor, quién la firmó y qué de ella no rige",
	}, lang.Text{
		En: "Show the policy in force, who signed it, and what of it is not in force now.\n\n" +
			"Exit codes: 0 shown, 1 trouble.",
		Es: "Muestra la política en vigor, quién la firmó y qué de ella no rige ahora.\n\n" +
			"Códigos de salida: 0 mostrada, 1 problema.",
	})
}

// A ruling is the policy in force, what waits, and what is written in it and
// does not count now.
type ruling struct {
	InForce inForceJSON    `json:"in_force"`
	Next    *inForceJSON   `json:"next,omitempty"`
	NotNow  []lang.Text    `json:"not_in_force"`
	Policy  *policy.Policy `json:"policy"`
}

type inForceJSON struct {
	Name      string           `json:"name"`
	Version   int              `json:"version"`
	Effective policy.Date      `json:"effective,omitzero"`
	Since     time.Time        `json:"since,omitzero"`
	Digest    string           `json:"digest"`
	Signature policy.Signature `json:"signature,omitzero"`
}

func jsonOf(f *policy.InForce) inForceJSON {
	m := f.Policy.Metadata
	return inForceJSON{m.Name, m.Version, m.Effective, f.Since, f.Policy.Digest, f.Signature}
}

func rulingOf(f *policy.InForce, now time.Time) ruling {
	s := ruling{InForce: jsonOf(f), NotNow: []lang.Text{}, Policy: f.Policy}
	if f.Next != nil {
		next := jsonOf(f.Next)
		s.Next = &next
	}
	for _, e := range f.Policy.Granted {
		switch {
		case now.Before(e.Starts.Time):
			s.NotNow = append(s.NotNow, lang.Text{En: "exception %s: not before %s", Es: "excepción %s: no antes del %s"}.F(e.ID, e.Starts))
		case now.After(e.Expires.End()):
			s.NotNow = append(s.NotNow, lang.Text{En: "exception %s: ended on %s", Es: "excepción %s: acabó el %s"}.F(e.ID, e.Expires))
		}
	}
	for _, r := range f.Policy.Answers {
		if !r.Valid(now) {
			s.NotNow = append(s.NotNow, lang.Text{En: "answer to %s about %s: given on %s for %s", Es: "respuesta a %s sobre %s: dada el %s por %s"}.F(r.Check, r.Asset, r.On, r.ValidFor))
		}
	}
	std := f.Policy.Changes.Standard
	if len(std.Kinds) > 0 && now.After(std.Expires.End()) {
		s.NotNow = append(s.NotNow, lang.Text{En: "standard changes: agreed to until %s", Es: "cambios estándar: acordados hasta el %s"}.F(std.Expires))
	}
	if len(std.Kinds) > 0 && !f.Signed() {
		s.NotNow = append(s.NotNow, lang.Text{En: "standard changes: the policy is not signed", Es: "cambios estándar: la política no está firmada"})
	}
	if fr := f.Policy.Changes.Frozen(now); fr != nil {
		s.NotNow = append(s.NotNow, lang.Text{En: "changes: frozen until %s", Es: "cambios: congelados hasta el %s"}.F(fr.To))
	}
	return s
}

func (a *app) printRuling(s ruling) {
	say := func(t lang.Text, args ...any) { fmt.Fprintln(a.out, report.Clean(t.F(args...).In(a.lang))) }
	one := func(f inForceJSON) {
		if f.Version == 0 {
			say(lang.Text{En: "the built-in policy: this host has taken none", Es: "la política incorporada: este anfitrión no ha tomado ninguna"})
			return
		}
		say(lang.Text{En: "%s, version %d, sha256 %.12s", Es: "%s, versión %d, sha256 %.12s"}, f.Name, f.Version, f.Digest)
		if f.Signature.Key != "" {
			say(lang.Text{En: "  signed by %s with %s", Es: "  firmada por %s con %s"}, f.Signature.Person, f.Signature.Key)
		} else {
			say(lang.Text{En: "  not signed", Es: "  sin firma"})
		}
		say(lang.Text{En: "  taken %s", Es: "  tomada %s"}, f.Since.UTC().Format("2006-01-02 15:04:05Z"))
		if !f.Effective.IsZero() {
			say(lang.Text{En: "  effective %s", Es: "  vigente desde %s"}, f.Effective)
		}
	}
	one(s.InForce)
	p := s.Policy
	say(lang.Text{
		En: "  %d persons, %d tiers, %d flows, %d checks tailored, %d own checks, %d exceptions, %d answers",
		Es: "  %d personas, %d niveles, %d flujos, %d comprobaciones ajustadas, %d propias, %d excepciones, %d respuestas",
	}, len(p.People), len(p.Tiers), len(p.Flows), len(p.Checks), len(p.Own), len(p.Granted), len(p.Answers))
	say(lang.Text{
		En: "  treated within %s, %s, %s, %s (immediate, out of cycle, scheduled, defer)",
		Es: "  se trata en %s, %s, %s, %s (inmediato, fuera de ciclo, programado, diferido)",
	}, p.SLA.Immediate, p.SLA.OutOfCycle, p.SLA.Scheduled, p.SLA.Defer)
	say(lang.Text{En: "  never excepted: %s", Es: "  nunca se exceptúa: %s"}, strings.Join(p.Exceptions.MayNeverExcept, ", "))
	if s.Next != nil {
		say(lang.Text{En: "next:", Es: "siguiente:"})
		one(*s.Next)
	}
	if len(s.NotNow) > 0 {
		say(lang.Text{En: "not in force:", Es: "no está en vigor:"})
		for _, t := range s.NotNow {
			say(lang.Text{En: "  %s", Es: "  %s"}, t.In(a.lang))
		}
	}
}
