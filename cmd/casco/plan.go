package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"casco/host/compose"
	"casco/host/daemonjson"
	"casco/internal/atomicfile"
	"casco/lang"
	"casco/loop/change"
	"casco/loop/inventory"
	"casco/loop/plan"
)

func planCmd(a *app) *cobra.Command {
	var out, max string
	var refs, kinds, ids, sets []string
	var suggested, exact bool
	var ask asking
	cmd := a.manual.verb(&cobra.Command{
		Use: "plan",
		RunE: func(cmd *cobra.Command, _ []string) error {
			opt := plan.Options{Checks: ids, Suggested: suggested, Exact: exact, Limited: max != ""}
			if err := errors.Join(parseRefs(refs, &opt), parseKinds(kinds, &opt), parseSets(sets, &opt), parseCost(max, &opt)); err != nil {
				return usage(err)
			}
			if err := a.knowsCheck(ids...); err != nil {
				return err
			}
			l, err := a.look(cmd.Context(), forPlans)
			if err != nil {
				return err
			}
			if l.trouble != nil {
				return l.trouble
			}
			for _, r := range opt.Refs {
				if l.snapshot.Find(r) == nil {
					return notFound(r)
				}
			}
			p := plan.Make(l.snapshot, l.findings, means(), opt)
			p.Engine = l.engine
			c := change.New(p, operator(), time.Now())
			if err := a.request(c, ask); err != nil {
				return err
			}
			a.unanswered(opt, c.Plan)
			if err := a.printPlan(c, out); err != nil {
				return err
			}
			if len(c.Plan.Steps) > 0 {
				return quiet(exitPending)
			}
			return nil
		},
	}, lang.Text{En: "Say what would cure this host, as a diff", Es: "Dice qué curaría este anfitrión, como diferencias"}, lang.Text{
		En: "Say what would cure this host, as a diff. Nothing is changed.\n\n" +
			"Exit codes: 0 nothing to do, or nothing that can be done: it says why, 1 trouble, 5 there are changes.",
		Es: "Dice qué curaría este anfitrión, como diferencias. No cambia nada.\n\n" +
			"Códigos de salida: 0 nada que hacer, o nada que se pueda hacer: dice por qué, 1 problema, 5 hay cambios.",
	})
	ask.flags(a, cmd)
	f := cmd.Flags()
	f.StringVarP(&out, "output", "o", "", "")
	a.manual.flag(f, "output", lang.Text{En: "`FILE` to write the plan to", Es: "`ARCHIVO` donde escribir el plan"})
	f.StringArrayVar(&refs, "ref", nil, "")
	a.manual.flag(f, "ref", lang.Text{En: "plan only for this object, `KIND/NAME` (repeat)", Es: "planifica solo para este objeto, `TIPO/NOMBRE` (repetible)"})
	f.StringArrayVar(&kinds, "kind", nil, "")
	a.manual.flag(f, "kind", lang.Text{
		En: "plan only for objects of this `KIND`: container, daemon, file … (repeat)",
		Es: "planifica solo para objetos de este `TIPO`: container, daemon, file … (repetible)",
	})
	f.StringArrayVar(&ids, "check", nil, "")
	a.manual.flag(f, "check", lang.Text{En: "plan only for this `CHECK` (repeat)", Es: "planifica solo para esta `COMPROBACIÓN` (repetible)"})
	f.StringArrayVar(&sets, "set", nil, "")
	a.manual.flag(f, "set", lang.Text{
		En: "answer a question: `KIND/NAME:FIELD=VALUE`, value in JSON (repeat)",
		Es: "responde una pregunta: `TIPO/NOMBRE:CAMPO=VALOR`, valor en JSON (repetible)",
	})
	f.BoolVar(&suggested, "suggested", false, "")
	a.manual.flag(f, "suggested", lang.Text{En: "take the suggested value where casco asks", Es: "toma el valor sugerido donde casco pregunta"})
	f.BoolVar(&exact, "exact", false, "")
	a.manual.flag(f, "exact", lang.Text{
		En: "only steps that a rollback takes back to the byte: limits that were not there are set by a re-creation",
		Es: "solo pasos que una reversión devuelve al byte: los límites que no estaban se ponen recreando",
	})
	f.StringVar(&max, "max-cost", "", "")
	a.manual.flag(f, "max-cost", lang.Text{
		En: "no step that costs more than this `COST`: live, reload, restart, recreate",
		Es: "ningún paso que cueste más que este `COSTE`: live, reload, restart, recreate",
	})
	complete(cmd, "check", checkIDs())
	complete(cmd, "kind", kindNames())
	complete(cmd, "max-cost", []string{"live", "reload", "restart", "recreate"})
	return cmd
}

// forPlans are the sources that only a plan needs: the files in which an owner
// says what it makes.
func forPlans(h *host) []inventory.Source {
	return []inventory.Source{compose.NewSource(h.engine), daemonjson.NewSource()}
}

// unanswered says which answers no step of the plan took up: a misspelt field, or a
// question that was not asked.
func (a *app) unanswered(opt plan.Options, p *plan.Plan) {
	for key := range opt.Answers {
		taken := slices.ContainsFunc(p.Steps, func(st plan.Step) bool {
			_, ok := st.To(key.Field)
			return ok && st.Ref == key.Ref
		})
		if !taken {
			a.tell(lang.Text{En: "--set %s:%s answers no question of this plan", Es: "--set %s:%s no responde ninguna pregunta de este plan"}, key.Ref, key.Field)
		}
	}
}

func parseRefs(refs []string, opt *plan.Options) error {
	for _, s := range refs {
		r, err := inventory.ParseRef(s)
		if err != nil {
			return err
		}
		opt.Refs = append(opt.Refs, r)
	}
	return nil
}

func parseKinds(kinds []string, opt *plan.Options) error {
	known := kindNames()
	for _, k := range kinds {
		if !slices.Contains(known, k) {
			return lang.Errorf(lang.Text{En: "there is no kind %q: %s", Es: "no existe el tipo %q: %s"}, k, strings.Join(known, ", "))
		}
		opt.Kinds = append(opt.Kinds, inventory.Kind(k))
	}
	return nil
}

func parseCost(word string, opt *plan.Options) error {
	if word == "" {
		return nil
	}
	return opt.MaxCost.UnmarshalText([]byte(word))
}

// parseSets reads KIND/NAME:FIELD=VALUE. Neither a kind nor a field has a
// colon in it, but a name may: the last colon before the first "=" counts. A
// value that is not JSON is taken as a string.
func parseSets(sets []string, opt *plan.Options) error {
	opt.Answers = map[plan.Key]any{}
	for _, s := range sets {
		key, val, ok := strings.Cut(s, "=")
		i := strings.LastIndex(key, ":")
		if !ok || i < 0 {
			return lang.Errorf(lang.Text{En: "--set %q is not KIND/NAME:FIELD=VALUE", Es: "--set %q no es KIND/NAME:FIELD=VALUE"}, s)
		}
		ref, err := inventory.ParseRef(key[:i])
		if err != nil {
			return err
		}
		opt.Answers[plan.Key{Ref: ref, Field: key[i+1:]}] = jsonOrString(val)
	}
	return nil
}

func jsonOrString(s string) any {
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil || d.More() {
		return s
	}
	return v
}

func (a *app) printPlan(c *change.Change, out string) error {
	if out != "" {
		if err := writeChange(out, c); err != nil {
			return err
		}
	}
	if a.format == "json" {
		return a.json(c)
	}
	a.printer().Plan(c)
	if out != "" && len(c.Plan.Steps) > 0 {
		fmt.Fprintf(a.out, "\n%s %s\n", lang.Text{En: "next:", Es: "sigue:"}.In(a.lang), command("approve", out))
	}
	return nil
}

func writeChange(path string, c *change.Change) error {
	b, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return err
	}
	return atomicfile.Write(path, append(b, '\n'), 0o600)
}

func readChange(path string) (*change.Change, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	c := new(change.Change)
	if err := d.Decode(c); err != nil {
		return nil, lang.Errorf(lang.Text{En: "%s: not a plan: %w", Es: "%s: no es un plan: %w"}, path, err)
	}
	if err := c.Intact(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}
