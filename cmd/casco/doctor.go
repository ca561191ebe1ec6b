package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"casco/lang"
	"casco/policy"
	"casco/report"
)

func doctorCmd(a *app) *cobra.Command {
	return a.manual.verb(&cobra.Command{
		Use: "doctor",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.snapshot != "" {
				return usage(lang.Errorf(lang.Text{
					En: "doctor looks at this host, not at a snapshot: leave --snapshot out",
					Es: "doctor mira este anfitrión, no una instantánea: quite --snapshot",
				}))
			}
			stop := a.progress(lang.Text{En: "reading the host", Es: "leyendo el anfitrión"})
			o, policyErr := a.orderedPolicy()
			if policyErr != nil {
				o.InForce = &policy.InForce{Policy: policy.Builtin()} // it asks for no verdict of it
			}
			h, err := a.hostBy(newJudge(o.InForce))
			if err != nil {
				stop()
				return err
			}
			all := a.examine(cmd.Context(), h, a.policyAbility(o, policyErr))
			stop()
			if a.format == "json" {
				err = a.json(map[string]any{"host": h.name, "works": fit(all), "abilities": a.inLanguage(all)})
			} else {
				a.printAbilities(h, all)
			}
			if err == nil && !fit(all) {
				return quiet(exitTrouble)
			}
			return err
		},
	}, lang.Text{En: "Say what works on this host", Es: "Dice qué funciona en este anfitrión"}, lang.Text{
		En: "Say what works on this host, what does not and why, and how to mend it. Nothing is changed.\n\n" +
			"Exit codes: 0 casco can do its work here, 1 it cannot: it could not read the engine or what runs, go by its policy, or keep its record.",
		Es: "Dice qué funciona en este anfitrión, qué no y por qué, y cómo arreglarlo. No cambia nada.\n\n" +
			"Códigos de salida: 0 casco puede hacer su trabajo aquí, 1 no puede: no podría leer el motor o lo que corre, regirse por su política, o guardar su registro.",
	})
}

// A standing is how it is with an ability.
type standing string

const (
	works  standing = "works"
	partly standing = "partly"
	fails  standing = "fails"
	absent standing = "absent" // not there, and nothing of this host needs it
)

var standings = map[standing]lang.Text{
	works:  {En: "works", Es: "funciona"},
	partly: {En: "partly", Es: "en parte"},
	fails:  {En: "fails", Es: "falla"},
	absent: {En: "absent", Es: "ausente"},
}

// A field of work groups abilities, in the order in which they are printed.
type fieldOfWork string

const (
	ofEngine fieldOfWork = "engine"
	ofRead   fieldOfWork = "read"
	ofChange fieldOfWork = "change"
	ofKernel fieldOfWork = "kernel"
)

var fieldsOfWork = []struct {
	field fieldOfWork
	title lang.Text
}{
	{ofEngine, lang.Text{En: "The engine", Es: "El motor"}},
	{ofRead, lang.Text{En: "What can be read", Es: "Qué se puede leer"}},
	{ofChange, lang.Text{En: "What can be changed", Es: "Qué se puede cambiar"}},
	{ofKernel, lang.Text{En: "What the kernel offers", Es: "Qué ofrece el núcleo"}},
}

// An ability is one thing that casco can or cannot do on this host.
type ability struct {
	id     string // for programs, and for ever
	field  fieldOfWork
	what   lang.Text
	is     standing
	detail lang.Text
	remedy lang.Text // empty where there is nothing to mend
	main   bool      // without it casco cannot do its work
}

// fit reports whether casco can do its work.
func fit(all []ability) bool {
	for _, b := range all {
		if b.main && b.is == fails {
			return false
		}
	}
	return true
}

// inLanguage is the abilities as JSON.
func (a *app) inLanguage(all []ability) []map[string]any {
	out := []map[string]any{}
	for _, b := range all {
		m := map[string]any{"id": b.id, "field": b.field, "what": b.what.In(a.lang), "is": b.is, "detail": b.detail.In(a.lang), "main": b.main}
		if !b.remedy.Empty() {
			m["remedy"] = b.remedy.In(a.lang)
		}
		out = append(out, m)
	}
	return out
}

func (a *app) printAbilities(h *host, all []ability) {
	p := a.printer()
	p.Heading("casco doctor " + report.Clean(h.name))
	for _, f := range fieldsOfWork {
		fmt.Fprintln(a.out)
		p.Heading(f.title.In(a.lang))
		for _, b := range all {
			if b.field == f.field {
				p.Ability(standings[b.is].In(a.lang), b.is == fails, b.what.In(a.lang), b.detail.In(a.lang), b.remedy.In(a.lang))
			}
		}
	}
	fmt.Fprintln(a.out)
	verdict := lang.Text{En: "casco can do its work here.", Es: "casco puede hacer su trabajo aquí."}
	if !fit(all) {
		verdict = lang.Text{En: "casco can NOT do its work here: see what fails above.", Es: "casco NO puede hacer su trabajo aquí: vea arriba lo que falla."}
	}
	p.Heading(verdict.In(a.lang))
}
