package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"casco/internal/atomicfile"
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/loop/risk"
	"casco/policy"
	"casco/signed"
)

func exceptionCmd(a *app) *cobra.Command {
	cmd := a.manual.verb(&cobra.Command{
		Use:  "exception",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.exceptionList(cmd.Context()) },
	}, lang.Text{En: "Exceptions: what may stand for a time, and why", Es: "Excepciones: qué puede quedar así por un tiempo, y por qué"}, lang.Text{
		En: "Exceptions: what may stand for a time, and why. They change no result and no number, and are judged whenever they are used.",
		Es: "Excepciones: qué puede quedar así por un tiempo, y por qué. No cambian ningún resultado ni ningún número, y se juzgan cada vez que " +
			"se usan.",
	})
	list := a.manual.verb(&cobra.Command{
		Use:  "list",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.exceptionList(cmd.Context()) },
	}, lang.Text{En: "The exceptions of the policy, and whether each is in force", Es: "Las excepciones de la política, y si cada una rige"}, lang.Text{
		En: "The exceptions of the policy, and whether each is in force.\n\n" +
			"Exit codes: 0 shown, 1 trouble.",
		Es: "Las excepciones de la política, y si cada una rige.\n\n" +
			"Códigos de salida: 0 mostradas, 1 problema.",
	})
	show := a.manual.verb(&cobra.Command{
		Use:  "show",
		RunE: func(cmd *cobra.Command, args []string) error { return a.exceptionShow(cmd.Context(), args[0]) },
	}, lang.Text{En: "All of one exception", Es: "Todo sobre una excepción"}, lang.Text{
		En: "All of one exception: what it covers, by whom, until when, and whether it is in force.\n\n" +
			"Exit codes: 0 shown, 1 trouble.",
		Es: "Todo sobre una excepción: qué cubre, de quién, hasta cuándo y si rige.\n\n" +
			"Códigos de salida: 0 mostrada, 1 problema.",
	}, anException)
	cmd.AddCommand(list, show, exceptionAskCmd(a))
	return cmd
}

func (a *app) exceptionList(ctx context.Context) error {
	r, trouble, err := a.register(ctx)
	if err != nil {
		return err
	}
	if a.format == "json" {
		return cmp.Or(a.json(map[string]any{"at": r.At, "exceptions": append([]risk.Judged{}, r.Exceptions.Judged...)}), trouble)
	}
	a.printer().Exceptions(r.Exceptions)
	return trouble
}

func (a *app) exceptionShow(ctx context.Context, id string) error {
	r, trouble, err := a.register(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(r.Exceptions.Judged, func(j risk.Judged) bool { return j.ID == id })
	if i < 0 {
		return coded{exitTrouble, lang.Errorf(lang.Text{En: "the policy has no exception %s for this host", Es: "la política no tiene excepción %s para este anfitrión"}, id), "casco exception list"}
	}
	if a.format == "json" {
		return cmp.Or(a.json(r.Exceptions.Judged[i]), trouble)
	}
	a.printer().Exception(r.Exceptions, r.Exceptions.Judged[i])
	return trouble
}

func exceptionAskCmd(a *app) *cobra.Command {
	var e policy.Exception
	var out, starts, expires string
	var compensating []string
	cmd := a.manual.verb(&cobra.Command{
		Use: "ask",
		RunE: func(cmd *cobra.Command, args []string) error {
			e.Check, e.Asset = args[0], args[1]
			j, err := a.judgeNow()
			if err != nil {
				return err
			}
			if err := j.asked(&e, starts, expires, compensating); err != nil {
				return usage(err)
			}
			return a.exceptionAsk(cmd.Context(), e, out)
		},
	}, lang.Text{
		En: "Write an exception for a finding, to be signed and put into the policy",
		Es: "Escribe una excepción para un hallazgo, para firmarla y ponerla en la política",
	}, lang.Text{
		En: "Write an exception for a finding that fails now, with the facts and the risk of this moment in it. Nothing is excepted by that: a " +
			"risk owner signs the file, and it goes into the policy's folder. Once the facts change it is void. --reason and --expires are " +
			"wanted.\n\n" +
			"Exit codes: 0 written, 1 trouble, 4 refused.",
		Es: "Escribe una excepción para un hallazgo que falla ahora, con los hechos y el riesgo de este momento. Con eso no se exceptúa nada: un " +
			"dueño de riesgo firma el archivo, y va a la carpeta de la política. En cuanto cambian los hechos deja de valer. Hacen falta " +
			"--reason y --expires.\n\n" +
			"Códigos de salida: 0 escrita, 1 problema, 4 rechazado.",
	}, aCheck, anObject)
	f := cmd.Flags()
	f.StringVar(&e.Reason, "reason", "", "")
	a.manual.flag(f, "reason", lang.Text{En: "`TEXT` that says why it must stand", Es: "`TEXTO` que dice por qué debe quedar así"})
	f.StringVar(&expires, "expires", "", "")
	a.manual.flag(f, "expires", lang.Text{En: "its last `DAY`, 2026-12-31, or moment, 2026-12-31T18:00:00Z", Es: "su último `DÍA`, 2026-12-31, o momento, 2026-12-31T18:00:00Z"})
	f.StringVar(&starts, "starts", "", "")
	a.manual.flag(f, "starts", lang.Text{En: "its first `DAY`; else today", Es: "su primer `DÍA`; si no, hoy"})
	f.StringVar(&e.Locus, "locus", "", "")
	a.manual.flag(f, "locus", lang.Text{
		En: "the `PART` of the object that is meant, as casco exception ask lists them: 0.0.0.0:443/tcp",
		Es: "la `PARTE` del objeto de que se trata, como las lista casco exception ask: 0.0.0.0:443/tcp",
	})
	f.StringArrayVar(&compensating, "compensating", nil, "")
	a.manual.flag(f, "compensating", lang.Text{
		En: "a `CHECK` that must pass for it to hold, or CHECK@KIND/NAME (repeat)",
		Es: "una `COMPROBACIÓN` que debe cumplirse para que valga, o COMPROBACIÓN@TIPO/NOMBRE (repetible)",
	})
	f.StringVar(&e.Requester, "by", "", "")
	a.manual.flag(f, "by", lang.Text{
		En: "`WHO` asks, as the policy names them; else who runs casco",
		Es: "`QUIÉN` lo pide, como lo nombra la política; si no, quien ejecuta casco",
	})
	f.StringVar(&e.Renews, "renews", "", "")
	a.manual.flag(f, "renews", lang.Text{En: "the `EXCEPTION` that this one renews", Es: "la `EXCEPCIÓN` que esta renueva"})
	f.StringVar(&e.ID, "id", "", "")
	a.manual.flag(f, "id", lang.Text{En: "its `NAME`; else made of the year and what it is for", Es: "su `NOMBRE`; si no, hecho del año y de aquello para lo que es"})
	f.StringVarP(&out, "output", "o", "", "")
	a.manual.flag(f, "output", lang.Text{En: "`FILE` to write; else NAME.yaml; - is standard output", Es: "`ARCHIVO` que escribir; si no, NOMBRE.yaml; - es la salida estándar"})
	return cmd
}

// asked completes e with what the command line says of it.
func (j *judge) asked(e *policy.Exception, starts, expires string, compensating []string) (err error) {
	if strings.TrimSpace(e.Reason) == "" || expires == "" {
		return lang.Errorf(lang.Text{En: "--reason and --expires are wanted", Es: "faltan --reason y --expires"})
	}
	if j.find(e.Check) == nil {
		return noCheck(e.Check, j.checks)
	}
	if _, err := inventory.ParseRef(e.Asset); err != nil {
		return err
	}
	today := time.Now().UTC().Truncate(24 * time.Hour)
	e.Starts = policy.Date{Time: today, Whole: true}
	if starts != "" {
		if e.Starts, err = policy.ParseDate(starts); err != nil {
			return lang.Errorf(lang.Text{En: "--starts: %w", Es: "--starts: %w"}, err)
		}
	}
	if e.Expires, err = policy.ParseDate(expires); err != nil {
		return lang.Errorf(lang.Text{En: "--expires: %w", Es: "--expires: %w"}, err)
	}
	for _, c := range compensating {
		check, asset, _ := strings.Cut(c, "@")
		if j.find(check) == nil {
			return noCheck(check, j.checks)
		}
		e.Compensating = append(e.Compensating, policy.Compensating{Check: check, Asset: asset})
	}
	return nil
}

func (a *app) exceptionAsk(ctx context.Context, e policy.Exception, out string) error {
	r, trouble, err := a.register(ctx)
	if err := cmp.Or(err, trouble); err != nil {
		return err
	}
	i := slices.IndexFunc(r.Findings, func(f audit.Finding) bool { return f.Check.ID == e.Check && f.Ref.String() == e.Asset })
	if i < 0 || r.Findings[i].Verdict != audit.Fail {
		return refused(lang.Errorf(lang.Text{En: "there is nothing to except: %s does not fail for %s", Es: "no hay nada que exceptuar: %s no falla para %s"}, e.Check, e.Asset), "casco audit --ref "+e.Asset)
	}
	f := r.Findings[i]
	if e.Locus != "" && !slices.Contains(f.Loci, e.Locus) {
		return usage(lang.Errorf(lang.Text{En: "--locus %s: the finding is about %s", Es: "--locus %s: el hallazgo trata de %s"}, e.Locus, cmp.Or(strings.Join(f.Loci, ", "), e.Asset)))
	}
	terrain := risk.Survey(r.Snapshot, r.Findings, r.Policy, published(r.Snapshot, r.Findings))
	in, axes, _ := terrain.Rate(f, r.At)
	v := in.Current()
	e.Host, e.Requester = r.Snapshot.Host, cmp.Or(e.Requester, operator())
	e.FactsAtDecision = "sha256:" + risk.Digest(f)
	e.RiskAtDecision = policy.RiskThen{Formula: risk.Formula, Likelihood: v.L, Impact: v.I, Priority: axes.Priority().String()}
	if e.ID == "" {
		sum := sha256.Sum256([]byte(e.Check + e.Asset + e.Locus + e.Expires.String()))
		e.ID = fmt.Sprintf("EX-%d-%x", e.Starts.Year(), sum[:3])
	}
	if err := a.grantable(r.Policy, r.Snapshot, r.Findings, e, r.At); err != nil {
		return err
	}
	return a.writeException(e, out)
}

// grantable refuses what no signature could bring into force: it judges e as if
// it were signed by somebody who may.
func (a *app) grantable(pol *policy.Policy, s *inventory.Snapshot, fs []audit.Finding, e policy.Exception, at time.Time) error {
	trial := *pol
	trial.People = append(slices.Clone(pol.People), policy.Person{ID: "\x00", Roles: []policy.Role{policy.RiskOwner}})
	trial.Exceptions.Roles = []policy.Role{policy.RiskOwner}
	trial.Granted = []policy.Exception{e}
	some := func(policy.Exception) ([]policy.Signature, error) { return []policy.Signature{{Person: "\x00"}}, nil }
	j := risk.Judge(&trial, s, fs, some, at).Judged[0]
	if j.Force == risk.InForce || j.Force == risk.NotYet {
		return nil
	}
	why := []string{j.Force.Text().In(a.lang)}
	for _, reason := range j.Reasons {
		why = append(why, reason.Text().In(a.lang))
	}
	if j.Detail != "" {
		why = append(why, j.Detail)
	}
	hint := ""
	if slices.Contains(j.Reasons, risk.TooLong) {
		last := e.Starts.Add(time.Duration(pol.Exceptions.MaxDuration)).Add(-24 * time.Hour)
		hint = "--expires " + last.Format(time.DateOnly)
	}
	return refused(errors.New(strings.Join(why, ": ")), hint)
}

func (a *app) writeException(e policy.Exception, out string) error {
	b := exceptionYAML(e)
	if out == "-" {
		_, err := a.out.Write(b)
		return err
	}
	out = cmp.Or(out, e.ID+".yaml")
	if err := atomicfile.Write(out, b, 0o644); err != nil {
		return err
	}
	if a.format == "json" {
		return a.json(map[string]any{"file": out, "exception": e})
	}
	fmt.Fprintln(a.out, lang.Text{En: "asked in %s; a risk owner signs it, and both files go into the policy's folder:", Es: "pedida en %s; la firma un dueño de riesgo, y ambos archivos van a la carpeta de la política:"}.F(out).In(a.lang))
	fmt.Fprintln(a.out, "ssh-keygen -Y sign -n", string(signed.Exception), "-f KEY", out)
	return nil
}

// exceptionYAML is e as a document of a policy folder. Strings are quoted as
// JSON does, which YAML reads alike, whatever is in them.
func exceptionYAML(e policy.Exception) []byte {
	var b bytes.Buffer
	put := func(indent, key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s%s: %s\n", indent, key, quotedJSON(value))
		}
	}
	fmt.Fprintf(&b, "apiVersion: %s\nkind: Exception\n", policy.APIVersion)
	put("", "id", e.ID)
	put("", "requester", e.Requester)
	put("", "check", e.Check)
	put("", "host", e.Host)
	put("", "asset", e.Asset)
	put("", "locus", e.Locus)
	put("", "reason", e.Reason)
	if len(e.Compensating) > 0 {
		fmt.Fprintln(&b, "compensating:")
	}
	for _, c := range e.Compensating {
		put("  - ", "check", c.Check)
		put("    ", "asset", c.Asset)
	}
	put("", "facts_at_decision", e.FactsAtDecision)
	then := e.RiskAtDecision
	fmt.Fprintf(&b, "risk_at_decision: {formula: %s, likelihood: %.4f, impact: %.4f, priority: %s}\n", quotedJSON(then.Formula), then.Likelihood, then.Impact, then.Priority)
	fmt.Fprintf(&b, "starts: %s\nexpires: %s\n", e.Starts, e.Expires)
	put("", "renews", e.Renews)
	return b.Bytes()
}

func quotedJSON(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err) // a string
	}
	return strings.TrimSpace(b.String())
}
