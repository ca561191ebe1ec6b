package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/loop/risk"
	"casco/report"
)

func auditCmd(a *app) *cobra.Command {
	var why, ref, threshold string
	var all bool
	cmd := a.manual.verb(&cobra.Command{
		Use: "audit",
		RunE: func(cmd *cobra.Command, _ []string) error {
			min, ok := audit.ParseSeverity(threshold)
			if !ok {
				return usage(lang.Errorf(lang.Text{
					En: "--threshold is low, medium, high or critical, not %q",
					Es: "--threshold es low, medium, high o critical, no %q",
				}, threshold))
			}
			a.warnSilence()
			if why != "" {
				if err := a.knowsCheck(why); err != nil {
					return err
				}
			}
			if _, err := inventory.ParseRef(ref); ref != "" && err != nil {
				return usage(err)
			}
			l, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			// Exceptions are judged with the host and are no part of it: no plan and
			// no proof of a change goes by them.
			l.findings = append(l.findings, aboutExceptions(risk.Judge(l.judge.inForce.Policy, l.snapshot, l.findings, loaded, time.Now()))...)
			if err := a.printAudit(l, why, ref, shown(min, all)); err != nil {
				return err
			}
			return a.verdict(l, min)
		},
	}, lang.Text{En: "Read this host and judge it", Es: "Lee este anfitrión y lo juzga"}, lang.Text{
		En: "Read this host and judge it. Nothing is changed. Without its engine the rest of the host is judged, and the engine is a gap.\n\n" +
			"Exit codes: 0 no finding at or above the threshold, 1 the engine could not be read, 3 findings.",
		Es: "Lee este anfitrión y lo juzga. No cambia nada. Sin su motor se juzga el resto del anfitrión, y el motor es una laguna.\n\n" +
			"Códigos de salida: 0 ningún hallazgo desde el umbral, 1 no se pudo leer el motor, 3 hallazgos.",
	})
	f := cmd.Flags()
	f.StringVar(&why, "why", "", "")
	f.StringVar(&ref, "ref", "", "")
	f.BoolVar(&all, "all", false, "")
	f.StringVar(&threshold, "threshold", "low", "")
	a.manual.flag(f, "why", lang.Text{En: "all that is known of one `CHECK`: container-privileged", Es: "todo lo que se sabe de una `COMPROBACIÓN`: container-privileged"})
	a.manual.flag(f, "ref", lang.Text{En: "all that is known of one object, `KIND/NAME`: container/web1", Es: "todo lo que se sabe de un objeto, `TIPO/NOMBRE`: container/web1"})
	a.manual.flag(f, "all", lang.Text{En: "show findings of low severity one by one too", Es: "muestra también uno a uno los hallazgos de severidad baja"})
	a.manual.flag(f, "threshold", lang.Text{En: "lowest `SEVERITY` that counts: low, medium, high, critical", Es: "`SEVERIDAD` mínima que cuenta: low, medium, high, critical"})
	a.deepFlag(cmd)
	complete(cmd, "why", checkIDs())
	complete(cmd, "threshold", severities)
	return cmd
}

// deepFlag lets a verb look into what takes long to read, or is to be asked of
// others.
func (a *app) deepFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.deep, "deep", false, "")
	a.manual.flag(cmd.Flags(), "deep", lang.Text{
		En: "look into the layers of images too: setuid programs, keys and logins; what is found is kept, so that each layer is read once",
		Es: "mira también dentro de las capas de las imágenes: programas setuid, claves y credenciales; lo hallado se guarda, así cada capa se lee una vez",
	})
	cmd.Flags().BoolVar(&a.registries, "registries", false, "")
	a.manual.flag(cmd.Flags(), "registries", lang.Text{
		En: "ask the registries in use too: who they prove to be, who may publish, what they have under the tags of this host",
		Es: "pregunta también a los registros en uso: quién prueban ser, quién puede publicar, qué tienen bajo las etiquetas de este anfitrión",
	})
}

// shown is the lowest severity that gets a line of its own.
func shown(threshold audit.Severity, all bool) audit.Severity {
	if all {
		return audit.Low
	}
	return max(threshold, audit.Medium)
}

func (a *app) printAudit(l *look, why, ref string, min audit.Severity) error {
	p := a.printer()
	switch {
	case a.format == "json":
		return l.audit(narrow(l.findings, why, ref)).JSON(a.out, a.lang)
	case why != "":
		p.Why(l.judge.find(why), narrow(l.findings, why, ref))
	case ref != "":
		r, _ := inventory.ParseRef(ref)
		if l.snapshot.Find(r) == nil && narrow(l.findings, "", ref) == nil {
			return notFound(r)
		}
		p.Of(r, l.findings)
	default:
		p.Summary(l.audit(l.findings), min, l.took)
		fmt.Fprintln(a.out)
		p.Item("", 0, lang.Text{
			En: "more: casco audit --why CHECK · casco audit --ref container/NAME · cure: casco plan -o cure.json",
			Es: "más: casco audit --why CHECK · casco audit --ref container/NOMBRE · cura: casco plan -o cura.json",
		}.In(a.lang))
	}
	return nil
}

// audit is what a report is made of.
func (l *look) audit(fs []audit.Finding) report.Audit {
	return report.Audit{Snapshot: l.snapshot, Findings: fs, Policy: l.judge.report()}
}

// narrow keeps the findings of one check and one object; empty means all.
func narrow(fs []audit.Finding, check, ref string) []audit.Finding {
	var out []audit.Finding
	for _, f := range fs {
		if (check == "" || f.Check.ID == check) && (ref == "" || f.Ref.String() == ref) {
			out = append(out, f)
		}
	}
	return out
}

// verdict is how an audit ends: one that assessed nothing, or whose engine
// could not be read, has failed, however clean the rest is.
func (a *app) verdict(l *look, min audit.Severity) error {
	if l.trouble != nil {
		return lang.Errorf(lang.Text{
			En: "%w\nwhat is shown is this host without its engine",
			Es: "%w\nlo que se muestra es este anfitrión sin su motor",
		}, l.trouble)
	}
	if c := audit.Conform(l.findings); c.Pass+c.Fail == 0 {
		return lang.Errorf(lang.Text{En: "nothing could be assessed", Es: "no se pudo evaluar nada"})
	}
	if slices.ContainsFunc(l.findings, func(f audit.Finding) bool { return f.Fails(min) }) {
		return quiet(exitFindings)
	}
	return nil
}
