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
	cmd := &cobra.Command{
		Use:   "exception",
		Short: "Exceptions: what may stand for a time, and why",
		Long:  "Exceptions: what may stand for a time, and why. They change no result and no number, and are judged whenever they are used.",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.exceptionList(cmd.Context()) },
	}
	list := &cobra.Command{
		Use:   "list",
		Short: "The exceptions of the policy, and whether each is in force",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.exceptionList(cmd.Context()) },
	}
	show := &cobra.Command{
		Use:   "show EXCEPTION",
		Short: "All of one exception",
		Args:  cobra.ExactArgs(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return a.exceptionShow(cmd.Context(), args[0]) },
	}
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
	cmd := &cobra.Command{
		Use:   "ask CHECK KIND/NAME --reason TEXT --expires DATE",
		Short: "Write an exception for a finding, to be signed and put into the policy",
		Long: "Write an exception for a finding that fails now, with the facts and the risk of this moment in it. Nothing is excepted by that: a risk owner\n" +
			"signs the file, and it goes into the policy's folder. Once the facts change it is void.",
		Args: cobra.ExactArgs(2),
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
	}
	f := cmd.Flags()
	f.StringVar(&e.Reason, "reason", "", "why it must stand")
	f.StringVar(&expires, "expires", "", "its last day, 2026-12-31, or moment, 2026-12-31T18:00:00Z")
	f.StringVar(&starts, "starts", "", "its first day (default: today)")
	f.StringVar(&e.Locus, "locus", "", "the part of the object that is meant, as casco exception ask lists them: 0.0.0.0:443/tcp")
	f.StringArrayVar(&compensating, "compensating", nil, "a check that must pass for it to hold: CHECK or CHECK@KIND/NAME (repeat)")
	f.StringVar(&e.Requester, "by", "", "who asks, as the policy names them (default: who runs casco)")
	f.StringVar(&e.Renews, "renews", "", "the exception that this one renews")
	f.StringVar(&e.ID, "id", "", "its name (default: made of the year and what it is for)")
	f.StringVarP(&out, "output", "o", "", "file to write (default: ID.yaml; - for standard output)")
	return cmd
}

var noSuchCheck = lang.Text{En: "there is no check %q", Es: "no existe la comprobación %q"}

// asked completes e with what the command line says of it.
func (j *judge) asked(e *policy.Exception, starts, expires string, compensating []string) (err error) {
	if strings.TrimSpace(e.Reason) == "" || expires == "" {
		return lang.Errorf(lang.Text{En: "--reason and --expires are wanted", Es: "faltan --reason y --expires"})
	}
	if j.find(e.Check) == nil {
		return lang.Errorf(noSuchCheck, e.Check)
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
			return lang.Errorf(noSuchCheck, check)
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
	terrain := risk.Survey(r.Snapshot, r.Findings, r.Policy, nil)
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
