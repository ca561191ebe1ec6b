package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"casco/internal/atomicfile"
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/audit/checks"
	"casco/loop/inventory"
	"casco/loop/risk"
	"casco/policy"
	"casco/report"
	"casco/signed"
	"casco/store"
)

func riskCmd(a *app) *cobra.Command {
	var all bool
	list := func(cmd *cobra.Command, _ []string) error { return a.riskList(cmd.Context(), all) }
	cmd := a.manual.verb(&cobra.Command{
		Use:  "risk",
		RunE: list,
	}, lang.Text{En: "Say how bad it is, here: the register of risks", Es: "Dice qué tan grave es, aquí: el registro de riesgos"}, lang.Text{
		En: "Say how bad it is, here: the register of risks, worst first. Nothing is changed.\n\n" +
			"Exit codes: 0 no risk is overdue, 1 the host could not be read, 3 risks are overdue.",
		Es: "Dice qué tan grave es, aquí: el registro de riesgos, primero el peor. No cambia nada.\n\n" +
			"Códigos de salida: 0 ningún riesgo vencido, 1 no se pudo leer el anfitrión, 3 hay riesgos vencidos.",
	})
	listCmd := a.manual.verb(&cobra.Command{
		Use:  "list",
		RunE: list,
	}, lang.Text{En: "The risks of this host, worst first", Es: "Los riesgos de este anfitrión, primero el peor"}, lang.Text{
		En: "The risks of this host, worst first.\n\n" +
			"Exit codes: 0 no risk is overdue, 1 the host could not be read, 3 risks are overdue.",
		Es: "Los riesgos de este anfitrión, primero el peor.\n\n" +
			"Códigos de salida: 0 ningún riesgo vencido, 1 no se pudo leer el anfitrión, 3 hay riesgos vencidos.",
	})
	for _, c := range []*cobra.Command{cmd, listCmd} {
		c.Flags().BoolVar(&all, "all", false, "")
		a.manual.flag(c.Flags(), "all", lang.Text{En: "show every risk one by one, those that are closed too", Es: "muestra cada riesgo uno a uno, también los cerrados"})
	}
	show := a.manual.verb(&cobra.Command{
		Use:  "show",
		RunE: func(cmd *cobra.Command, args []string) error { return a.riskShow(cmd.Context(), args[0]) },
	}, lang.Text{En: "All that is known of one risk, or of the risks of one object", Es: "Todo lo que se sabe de un riesgo, o de los riesgos de un objeto"}, lang.Text{
		En: "All that is known of one risk, or of the risks of one object: its inputs, its paths, its decisions.\n\n" +
			"Exit codes: 0 shown, 1 trouble.",
		Es: "Todo lo que se sabe de un riesgo, o de los riesgos de un objeto: sus datos, sus caminos, sus decisiones.\n\n" +
			"Códigos de salida: 0 mostrado, 1 problema.",
	}, aRiskOrObject)
	cmd.AddCommand(listCmd, show, riskTreatCmd(a), riskExportCmd(a))
	return cmd
}

func riskExportCmd(a *app) *cobra.Command {
	var out string
	var asCSV bool
	cmd := a.manual.verb(&cobra.Command{
		Use: "export",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, trouble, err := a.register(cmd.Context())
			if err != nil {
				return err
			}
			var b bytes.Buffer
			if asCSV {
				err = r.CSV(&b, a.lang)
			} else {
				err = r.JSON(&b)
			}
			if err != nil {
				return err
			}
			if out == "" || out == "-" {
				_, err = a.out.Write(b.Bytes())
			} else {
				err = atomicfile.Write(out, b.Bytes(), 0o600)
			}
			return cmp.Or(err, trouble)
		},
	}, lang.Text{En: "Write the register with the inputs of every number", Es: "Escribe el registro de riesgos con los datos de cada número"}, lang.Text{
		En: "Write the register with the inputs of every number, so that anybody can work it out again.\n\n" +
			"Exit codes: 0 written, 1 trouble.",
		Es: "Escribe el registro de riesgos con los datos de cada número, para que cualquiera pueda rehacer la cuenta.\n\n" +
			"Códigos de salida: 0 escrito, 1 problema.",
	})
	cmd.Flags().StringVarP(&out, "output", "o", "", "")
	a.manual.flag(cmd.Flags(), "output", lang.Text{En: "`FILE` to write; else standard output", Es: "`ARCHIVO` que escribir; si no, la salida estándar"})
	cmd.Flags().BoolVar(&asCSV, "csv", false, "")
	a.manual.flag(cmd.Flags(), "csv", lang.Text{En: "as a table for a spreadsheet, in place of JSON", Es: "como tabla para una hoja de cálculo, en lugar de JSON"})
	return cmd
}

// register looks at the host, or at the snapshot file that stands for it, and
// weighs what it finds. Trouble is what kept it from seeing the whole host.
func (a *app) register(ctx context.Context) (r *report.Register, trouble, err error) {
	l, err := a.look(ctx)
	if err != nil {
		return nil, nil, err
	}
	pol := l.judge.inForce.Policy
	history, err := a.lives(ctx)
	if err != nil {
		return nil, nil, err
	}
	treatments, err := a.treatments(pol)
	if err != nil {
		return nil, nil, err
	}
	// Findings are of the moment when the host was read, decisions are judged now.
	ours := audit.Ours(l.findings)
	lives, _ := risk.Track(history, l.snapshot, ours, l.snapshot.Taken)
	cves := published(l.snapshot, l.findings)
	now := time.Now().UTC()
	x := risk.Judge(pol, l.snapshot, ours, loaded, now)
	findings := append(ours, aboutExceptions(x)...)
	r = &report.Register{
		Snapshot: l.snapshot, Policy: pol, Findings: findings, Exceptions: x, Problems: risk.Problems(lives, nil), At: now, NoHistory: history == nil,
		Risks: risk.Register(risk.Input{Snapshot: l.snapshot, Findings: ours, Policy: pol, Lives: lives, Treatments: treatments, Exceptions: x, At: now, CVEs: cves}),
	}
	// A way in may lead over another engine of the host.
	terrain := risk.Survey(l.snapshot, l.findings, pol, cves)
	r.Paths, r.Unread = terrain.Paths(shownPaths), terrain.Unread()
	return r, l.trouble, nil
}

// shownPaths is how many attack paths a register shows.
const shownPaths = 3

// loaded takes for good the signatures that were checked when the policy was
// read.
func loaded(e policy.Exception) ([]policy.Signature, error) { return e.Signatures, nil }

// aboutExceptions is what the checks say of the exceptions themselves.
func aboutExceptions(x risk.Exceptions) []audit.Finding {
	s := &inventory.Snapshot{Taken: x.At}
	for _, o := range x.Objects() {
		s.Add(o)
	}
	s.Sort()
	return audit.Run([]*audit.Check{checks.ExceptionUnmatched}, s)
}

// lives returns what the ledger knows of the findings of this host; nil where
// there is no ledger yet, and of a snapshot file.
func (a *app) lives(ctx context.Context) (map[string]risk.Life, error) {
	if _, err := os.Stat(filepath.Join(a.statePath, "ledger")); a.snapshot != "" || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	b, err := a.book(ctx)
	if err != nil {
		return nil, err
	}
	verdicts, err := store.All[store.Verdict](ctx, b.store, store.Period{}, "")
	if err != nil {
		return nil, err
	}
	runs, err := store.All[store.Run](ctx, b.store, store.Period{}, "")
	if err != nil {
		return nil, err
	}
	begun := map[string]time.Time{} // when the run looked, by its ID
	var looked []time.Time
	for _, r := range runs {
		begun[r.Event.ID] = r.Event.Begun
		if r.Event.Counts != (store.Counts{}) {
			looked = append(looked, r.Event.Begun)
		}
	}
	seen := make([]risk.Seen, 0, len(verdicts))
	for _, v := range verdicts {
		ref, err := inventory.ParseRef(v.Event.Ref)
		if err != nil {
			return nil, err
		}
		at, ok := begun[v.Event.Run]
		if !ok { // it was cut short before it could say that it ran
			at = v.At
		}
		verdict, _ := audit.ParseVerdict(v.Event.Verdict)
		seen = append(seen, risk.Seen{
			Fingerprint: v.Event.Fingerprint, Check: v.Event.Check, Ref: ref, Verdict: verdict, Gone: v.Event.Verdict == store.Gone, At: at,
		})
	}
	slices.SortFunc(looked, time.Time.Compare)
	return risk.Replay(seen, looked), nil
}

func (a *app) riskList(ctx context.Context, all bool) error {
	r, trouble, err := a.register(ctx)
	if err != nil {
		return err
	}
	if a.format == "json" {
		err = r.JSON(a.out)
	} else {
		a.printer().Register(*r, all)
		fmt.Fprintln(a.out)
		fmt.Fprintln(a.out, lang.Text{
			En: "more: casco risk show RISK · decide: casco risk treat RISK --how mitigate|avoid|transfer|accept",
			Es: "más: casco risk show RIESGO · decidir: casco risk treat RIESGO --how mitigate|avoid|transfer|accept",
		}.In(a.lang))
	}
	if err := cmp.Or(err, trouble); err != nil {
		return err
	}
	if slices.ContainsFunc(r.Risks, func(k risk.Risk) bool { return k.Overdue }) {
		return quiet(exitFindings)
	}
	return nil
}

func (a *app) riskShow(ctx context.Context, what string) error {
	r, trouble, err := a.register(ctx)
	if err != nil {
		return err
	}
	var found []risk.Risk
	for _, k := range r.Risks {
		if k.ID == what || k.Ref.String() == what {
			found = append(found, k)
		}
	}
	if found == nil {
		return coded{exitTrouble, lang.Errorf(lang.Text{En: "there is no risk %s on this host", Es: "no hay riesgo %s en este anfitrión"}, what), "casco risk list --all"}
	}
	if a.format == "json" {
		return cmp.Or(a.json(map[string]any{"schema": report.RegisterSchema, "risks": found}), trouble)
	}
	for i, k := range found {
		if i > 0 {
			fmt.Fprintln(a.out)
		}
		a.printer().Risk(k)
	}
	return trouble
}

// A treatmentDoc is a decision as it is kept and signed.
type treatmentDoc struct {
	APIVersion string `json:"apiVersion"`
	Doc        string `json:"kind"`
	risk.Treatment
}

const treatmentKind = "Treatment"

func riskTreatCmd(a *app) *cobra.Command {
	var t risk.Treatment
	var how, due string
	cmd := a.manual.verb(&cobra.Command{
		Use: "treat",
		RunE: func(cmd *cobra.Command, args []string) error {
			t.Risk, t.Kind = args[0], risk.Kind(how)
			if due != "" {
				var err error
				if t.Due, err = policy.ParseDate(due); err != nil {
					return usage(lang.Errorf(lang.Text{En: "--due: %w", Es: "--due: %w"}, err))
				}
			}
			return a.riskTreat(cmd.Context(), t)
		},
	}, lang.Text{En: "Decide about a risk", Es: "Decide sobre un riesgo"}, lang.Text{
		En: "Decide about a risk, for the facts as they are now: --how mitigate, avoid, transfer or accept, with --reason. The decision is kept " +
			"below treatments under --state and changes no number of the risk. Where the policy names persons, a risk owner signs the file. To " +
			"accept takes exceptions, one for each finding: see casco exception ask.\n\n" +
			"Exit codes: 0 kept, 1 trouble, 4 refused.",
		Es: "Decide sobre un riesgo, para los hechos de ahora: --how mitigate, avoid, transfer o accept, con --reason. La decisión se guarda en " +
			"treatments bajo --state y no cambia ningún número del riesgo. Si la política nombra personas, un dueño de riesgo firma el archivo. " +
			"Aceptar requiere excepciones, una por hallazgo: vea casco exception ask.\n\n" +
			"Códigos de salida: 0 guardada, 1 problema, 4 rechazado.",
	}, aRisk)
	f := cmd.Flags()
	f.StringVar(&how, "how", "", "")
	a.manual.flag(f, "how", lang.Text{En: "`HOW`: mitigate, avoid, transfer or accept", Es: "`CÓMO`: mitigate, avoid, transfer o accept"})
	f.StringVar(&t.Reason, "reason", "", "")
	a.manual.flag(f, "reason", lang.Text{En: "`TEXT` that says why", Es: "`TEXTO` que dice por qué"})
	f.StringVar(&t.By, "by", "", "")
	a.manual.flag(f, "by", lang.Text{
		En: "`WHO` decides, as the policy names them; else who runs casco",
		Es: "`QUIÉN` decide, como lo nombra la política; si no, quien ejecuta casco",
	})
	f.StringVar(&t.Owner, "owner", "", "")
	a.manual.flag(f, "owner", lang.Text{En: "`WHO` carries it out; else who decides", Es: "`QUIÉN` lo lleva a cabo; si no, quien decide"})
	f.StringVar(&due, "due", "", "")
	a.manual.flag(f, "due", lang.Text{En: "until which `DAY`: 2026-12-31", Es: "hasta qué `DÍA`: 2026-12-31"})
	f.StringVar(&t.Change, "change", "", "")
	a.manual.flag(f, "change", lang.Text{En: "the `CHANGE` that carries it out, as casco changes names it", Es: "el `CAMBIO` que lo lleva a cabo, como lo nombra casco changes"})
	f.StringArrayVar(&t.Exceptions, "exception", nil, "")
	a.manual.flag(f, "exception", lang.Text{En: "an `EXCEPTION` that accepts a finding of it (repeat)", Es: "una `EXCEPCIÓN` que acepta un hallazgo suyo (repetible)"})
	f.StringArrayVar(&t.Cures, "cure", nil, "")
	a.manual.flag(f, "cure", lang.Text{En: "a `CHECK` of it that will pass (repeat); else all", Es: "una `COMPROBACIÓN` suya que se cumplirá (repetible); si no, todas"})
	f.StringArrayVar(&t.Controls, "control", nil, "")
	a.manual.flag(f, "control", lang.Text{
		En: "a `CHECK` that will pass and makes it less likely (repeat)",
		Es: "una `COMPROBACIÓN` que se cumplirá y lo hace menos probable (repetible)",
	})
	return cmd
}

func (a *app) riskTreat(ctx context.Context, t risk.Treatment) error {
	if !slices.Contains(risk.Kinds, t.Kind) {
		return usage(lang.Errorf(lang.Text{En: "--how is mitigate, avoid, transfer or accept", Es: "--how es mitigate, avoid, transfer o accept"}))
	}
	if strings.TrimSpace(t.Reason) == "" {
		return usage(lang.Errorf(lang.Text{En: "--reason is wanted: a decision says why", Es: "falta --reason: una decisión dice por qué"}))
	}
	if t.Kind == risk.Accept && len(t.Exceptions) == 0 {
		return refused(lang.Errorf(lang.Text{
			En: "to accept a risk takes an exception for each of its findings, signed by a risk owner",
			Es: "aceptar un riesgo requiere una excepción por cada hallazgo, firmada por un dueño de riesgo",
		}), "casco exception ask CHECK KIND/NAME --reason TEXT --expires DATE")
	}
	r, trouble, err := a.register(ctx)
	if err := cmp.Or(err, trouble); err != nil {
		return err
	}
	i := slices.IndexFunc(r.Risks, func(k risk.Risk) bool { return k.ID == t.Risk && len(k.Findings) > 0 })
	if i < 0 {
		return coded{exitTrouble, lang.Errorf(lang.Text{En: "there is no open risk %s on this host", Es: "no hay riesgo abierto %s en este anfitrión"}, t.Risk), "casco risk list --all"}
	}
	if err := fits(t, r.Risks[i], r.Exceptions); err != nil {
		return err
	}
	t.By, t.On, t.Inputs = cmp.Or(t.By, operator()), r.At.Truncate(time.Second), r.Risks[i].Digest
	b, err := json.MarshalIndent(treatmentDoc{policy.APIVersion, treatmentKind, t}, "", " ")
	if err != nil {
		return err
	}
	path, err := a.state().AddTreatment(t.Risk, append(b, '\n'))
	if err != nil {
		return err
	}
	a.tried(a.note(ctx, store.Treatment{
		Risk: t.Risk, Decision: string(t.Kind), By: t.By, Owner: t.Owner, Due: t.Due.Time, Change: t.Change, Exception: strings.Join(t.Exceptions, " "),
		Inputs: t.Inputs, R: r.Risks[i].Current.R, Priority: r.Risks[i].Priority.String(), Comment: t.Reason,
	}))
	if a.format == "json" {
		return a.json(map[string]any{"file": path, "treatment": t})
	}
	fmt.Fprintln(a.out, lang.Text{En: "%s: %s, kept in %s", Es: "%s: %s, guardado en %s"}.F(t.Risk, t.Kind, path).In(a.lang))
	if len(r.Policy.People) > 0 {
		fmt.Fprintln(a.out, lang.Text{En: "a risk owner signs it:", Es: "lo firma un dueño de riesgo:"}.In(a.lang), "ssh-keygen -Y sign -n", string(signed.Treatment), "-f KEY", path)
	}
	return nil
}

// fits refuses a treatment that speaks of what the risk does not have.
func fits(t risk.Treatment, k risk.Risk, x risk.Exceptions) error {
	var members, controls, exceptions []string
	for _, m := range k.Findings {
		members = append(members, m.Check)
		for _, c := range m.Inputs.Controls {
			controls = append(controls, c.Check)
		}
	}
	for _, e := range x.Judged {
		exceptions = append(exceptions, e.ID)
	}
	for _, c := range []struct {
		flag        string
		given, have []string
	}{{"cure", t.Cures, members}, {"control", t.Controls, controls}, {"exception", t.Exceptions, exceptions}} {
		for _, g := range c.given {
			if !slices.Contains(c.have, g) {
				slices.Sort(c.have)
				return usage(lang.Errorf(lang.Text{En: "--%s %s: there is only %s", Es: "--%s %s: solo hay %s"}, c.flag, g, cmp.Or(strings.Join(slices.Compact(c.have), ", "), "-")))
			}
		}
	}
	return nil
}

// treatments reads what was decided on this host, with the signatures that fit.
func (a *app) treatments(pol *policy.Policy) ([]risk.Treatment, error) {
	docs, err := a.state().Treatments()
	if err != nil {
		return nil, err
	}
	var out []risk.Treatment
	for _, d := range docs {
		var t treatmentDoc
		dec := json.NewDecoder(bytes.NewReader(d.Bytes))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&t); err != nil {
			return nil, lang.Errorf(lang.Text{En: "%s: not a treatment: %w", Es: "%s: no es un tratamiento: %w"}, d.Path, err)
		}
		if t.APIVersion != policy.APIVersion || t.Doc != treatmentKind || !slices.Contains(risk.Kinds, t.Kind) {
			return nil, lang.Errorf(lang.Text{En: "%s: not a treatment of %s", Es: "%s: no es un tratamiento de %s"}, d.Path, policy.APIVersion)
		}
		t.Signatures = nil // not what the document may claim of itself
		for _, sig := range d.Signatures {
			who, key, err := pol.SignedBy(sig, signed.Treatment, d.Bytes)
			if err != nil {
				a.tell(lang.Text{En: "%s: a signature does not count: %v", Es: "%s: una firma no cuenta: %v"}, d.Path, err)
				continue
			}
			t.Signatures = append(t.Signatures, policy.Signature{Person: who.ID, Key: key.Fingerprint()})
		}
		out = append(out, t.Treatment)
	}
	return out, nil
}
