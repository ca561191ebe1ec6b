package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"casco/internal/atomicfile"
	"casco/lang"
	"casco/ledger"
	"casco/loop/apply"
	"casco/loop/audit/checks"
	"casco/loop/risk"
	"casco/policy"
	"casco/report"
	"casco/store"
	"casco/supervision"
)

func reportCmd(a *app) *cobra.Command {
	var q reportAsk
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Write a whole report: for people, auditors and programs",
		Long: "Write a whole report of this host over a period: posture, what could not be seen, findings with their evidence, risks,\n" +
			"exceptions, changes and those without a record, segmentation, metrics with their definitions, frameworks, evidence.\n\n" +
			"Formats: " + strings.Join(report.Formats(), ", ") + ". Every number in them can be reckoned again from the JSON; with\n" +
			"-o the JSON is written beside the file. Every file says how to verify it offline.\n\n" +
			"Exit codes: 0 written, 1 trouble.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.report(cmd.Context(), q) },
	}
	f := cmd.Flags()
	f.StringVar(&q.as, "as", "", "format: "+strings.Join(report.Formats(), ", ")+" (default: by the ending of -o, else text)")
	f.StringVar(&q.from, "from", "", "beginning of the period: 2026-11-01 or 2026-11-01T00:00:00Z (default: 30 days before its end)")
	f.StringVar(&q.until, "until", "", "end of the period (default: now)")
	f.StringVar(&q.seed, "seed", "", "seed of the auditor's sample (default: the period)")
	f.IntVar(&q.n, "sample", 25, "entries of the ledger to draw for the auditor's sample")
	f.StringVarP(&q.out, "output", "o", "", "file to write (default: standard output)")
	return cmd
}

// reportAsk is what a report is asked to be.
type reportAsk struct {
	as, from, until, seed, out string
	n                          int
}

const reportPeriod = 30 * 24 * time.Hour

// period reads the ends of a period. It may not end in the future nor be empty.
func (q reportAsk) period(now time.Time) (store.Period, error) {
	p := store.Period{Until: now}
	if q.until != "" {
		d, err := policy.ParseDate(q.until)
		if err != nil {
			return p, usage(fmt.Errorf("%s: %w", "--until", err))
		}
		if p.Until = d.Time; d.Whole {
			p.Until = d.Time.AddDate(0, 0, 1)
		}
	}
	p.From = p.Until.Add(-reportPeriod)
	if q.from != "" {
		d, err := policy.ParseDate(q.from)
		if err != nil {
			return p, usage(fmt.Errorf("%s: %w", "--from", err))
		}
		p.From = d.Time
	}
	switch {
	case p.From.After(now):
		return p, usage(lang.Errorf(lang.Text{En: "the period begins at %s, which is still to come", Es: "el período empieza en %s, que aún no ha llegado"}, p.From.Format(time.RFC3339)))
	case p.Until.After(now): // today, as a whole day
		p.Until = now
	}
	if !p.From.Before(p.Until) {
		return p, usage(lang.Errorf(lang.Text{En: "the period from %s until %s is empty", Es: "el período de %s a %s está vacío"}, p.From.Format(time.RFC3339), p.Until.Format(time.RFC3339)))
	}
	return p, nil
}

// format is what the report is written as.
func (q reportAsk) format() (string, error) {
	as := q.as
	if as == "" {
		as = "text"
		if ext := strings.TrimPrefix(filepath.Ext(q.out), "."); slices.Contains(report.Formats(), ext) {
			as = ext
		}
	}
	if !slices.Contains(report.Formats(), as) {
		return "", usage(lang.Errorf(lang.Text{En: "--as is one of %s, not %q", Es: "--as es uno de %s, no %q"}, strings.Join(report.Formats(), ", "), as))
	}
	return as, nil
}

func (a *app) report(ctx context.Context, q reportAsk) error {
	now := time.Now().UTC()
	p, err := q.period(now)
	if err != nil {
		return err
	}
	as, err := q.format()
	if err != nil {
		return err
	}
	d, err := a.dossier(ctx, p, q, now)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := d.Write(&b, as, a.lang); err != nil {
		return err
	}
	if q.out == "" {
		_, err := a.out.Write(b.Bytes())
		return err
	}
	if err := atomicfile.Write(q.out, b.Bytes(), 0o600); err != nil {
		return err
	}
	if as != "json" {
		var beside bytes.Buffer
		if err := d.Write(&beside, "json", a.lang); err != nil {
			return err
		}
		if err := atomicfile.Write(strings.TrimSuffix(q.out, filepath.Ext(q.out))+".json", beside.Bytes(), 0o600); err != nil {
			return err
		}
	}
	if a.snapshot != "" {
		return nil
	}
	return a.note(ctx, store.Export{
		What: "report", Format: as, SHA256: string(ledger.DigestOf(b.Bytes())),
		Scope: p.From.Format(time.RFC3339) + "/" + p.Until.Format(time.RFC3339),
	})
}

// dossier gathers a whole report: the host as it is now, and what the ledger
// says of the period.
func (a *app) dossier(ctx context.Context, p store.Period, q reportAsk, now time.Time) (*report.Dossier, error) {
	r, trouble, err := a.register(ctx)
	if err != nil {
		return nil, err
	}
	if trouble != nil && len(r.Findings) == 0 {
		return nil, trouble
	}
	history, err := a.lives(ctx)
	if err != nil {
		return nil, err
	}
	lives, _ := risk.Track(history, r.Snapshot, r.Findings, r.Snapshot.Taken)
	d := &report.Dossier{
		Schema: report.DossierSchema, Posture: report.PostureOf(r.Findings, r.Exceptions, r.Risks), Limits: report.LimitsOf(r.Snapshot, r.Findings),
		Inventory: report.AssetsOf(r.Snapshot), Results: report.ResultsOf(r.Findings, lives, r.Exceptions, r.Risks, p.From),
		Risks: r.Risks, Paths: r.Paths, Exceptions: r.Exceptions.Judged, Problems: r.Problems,
		Segmentation: report.SegmentationOf(r.Snapshot, r.Policy), Annex: report.AnnexOf(checks.All(), r.Findings),
	}
	d.Cover = report.Cover{
		Host: r.Snapshot.Host, From: p.From, Until: p.Until, Read: r.Snapshot.Taken, Generated: now, Program: version,
		PolicyName: r.Policy.Metadata.Name, PolicyVersion: r.Policy.Metadata.Version, PolicyDigest: r.Policy.Digest, PolicySigner: a.policySigner(),
		SingleOperator: len(r.Policy.People) == 0, Silent: a.silence(now),
	}
	d.Overrides = a.overrides()
	if a.snapshot != "" {
		return d, nil
	}
	return d, a.fromLedger(ctx, d, p, q, r)
}

// fromLedger adds what the ledger says of the period.
func (a *app) fromLedger(ctx context.Context, d *report.Dossier, p store.Period, q reportAsk, r *report.Register) error {
	b, err := a.book(ctx)
	if err != nil {
		return err
	}
	in := supervision.Input{Period: p, Longest: a.longest(r.Policy)}
	until := store.Period{Until: p.Until}
	var evidence []store.Recorded[store.Evidence]
	err = errors.Join(
		load(ctx, b, until, &in.Verdicts), load(ctx, b, until, &in.Runs), load(ctx, b, until, &in.Changes), load(ctx, b, until, &in.Drifts),
		load(ctx, b, until, &in.Exceptions), load(ctx, b, p, &evidence),
	)
	if err != nil {
		return err
	}
	member := map[string]risk.Member{}
	for _, k := range r.Risks {
		for _, m := range k.Findings {
			member[m.Fingerprint] = m
		}
	}
	in.Priority = func(fp string) string {
		if m, is := member[fp]; is {
			return m.Priority.String()
		}
		return ""
	}
	in.Due = func(fp string, from time.Time) time.Time {
		if m, is := member[fp]; is {
			return from.Add(m.Due.Sub(m.FirstFailed))
		}
		return time.Time{}
	}
	d.Metrics = supervision.Measure(in)
	d.Controls = supervision.Effectiveness(in.Verdicts, in.Runs, p, in.Longest)
	d.History = report.HistoryOf(in.Runs)
	d.Evidence = evidence
	for _, run := range in.Runs {
		if !run.At.Before(p.From) {
			d.Runs = append(d.Runs, run)
		}
	}
	for _, drift := range in.Drifts {
		if !drift.At.Before(p.From) {
			d.Undeclared = append(d.Undeclared, drift)
		}
	}
	d.Incidents = report.IncidentsOf(in.Drifts, in.Runs, in.Changes, p)
	if d.Changes, err = a.changesOf(p); err != nil {
		return err
	}
	return a.seal(ctx, d, b, q)
}

func load[E store.Event](ctx context.Context, b *book, p store.Period, into *[]store.Recorded[E]) (err error) {
	*into, err = store.All[E](ctx, b.store, p, "")
	return err
}

// longest is how far two runs may lie apart before nobody looked in between.
func (a *app) longest(p *policy.Policy) time.Duration {
	return time.Duration(p.Operations.Every) * time.Duration(max(p.Operations.SilentAfter, 1))
}

// changesOf are the changes that were begun, or ended, in the period.
func (a *app) changesOf(p store.Period) ([]report.ChangeLine, error) {
	recs, err := a.state().Records()
	if err != nil {
		return nil, err
	}
	out := []report.ChangeLine{}
	for _, rec := range recs {
		if !rec.Begun.Before(p.Until) || !rec.Ended.IsZero() && rec.Ended.Before(p.From) {
			continue
		}
		out = append(out, changeLineOf(rec, p.Until))
	}
	return out, nil
}

func changeLineOf(rec *apply.Record, at time.Time) report.ChangeLine {
	return report.ChangeLine{
		ID: rec.ID, Class: rec.Class, State: string(rec.State), Author: rec.Author, Approvers: rec.Approvers, Reason: rec.Reason,
		Begun: rec.Begun, Ended: rec.Ended, Steps: len(rec.Plan.Steps), Why: rec.Why, RatifyBy: rec.RatifyBy, Ratified: rec.Ratified,
		Late: rec.Unratified(at),
	}
}

// seal writes into the cover which state of the ledger the report rests on, who
// vouches for it, and the auditor's sample of it.
func (a *app) seal(ctx context.Context, d *report.Dossier, b *book, q reportAsk) error {
	cp, err := b.log.Publish()
	if err != nil {
		return err
	}
	key, err := a.logKey()
	if err != nil {
		return err
	}
	d.Cover.Origin, d.Cover.Size, d.Cover.Root, d.Cover.Key = cp.Origin, cp.Size, cp.Root.String(), key.Public()
	v, err := ledger.Verify(ctx, a.ledgerDir(), ledger.Checks{Trust: ledger.Trust{Log: []note.Verifier{key.Verifier()}}, Now: time.Now()})
	if err != nil {
		return err
	}
	if !v.OK() {
		return coded{exitFindings, lang.Errorf(lang.Text{
			En: "the ledger does not verify, and a report rests on it: %s", Es: "el registro no se verifica, y un informe se apoya en él: %s",
		}, v.Problems[0].Text), command("log", "verify")}
	}
	d.Cover.Witnessed = v.Witnessed
	d.Sample, err = a.sample(ctx, b, q, store.Period{From: d.Cover.From, Until: d.Cover.Until})
	return err
}

func (a *app) sample(ctx context.Context, b *book, q reportAsk, p store.Period) (report.Sample, error) {
	seed := q.seed
	if seed == "" {
		seed = p.From.Format(time.DateOnly) + "/" + p.Until.Format(time.DateOnly)
	}
	drawn, size, err := a.draw(b, seed, q.n, "", p)
	s := report.Sample{Seed: seed, N: q.n, Size: size, Drawn: []int64{}}
	for _, e := range drawn {
		s.Drawn = append(s.Drawn, e.Index)
	}
	s.Command = command("audit-sample", "--seed", seed, "--n", fmt.Sprint(q.n), "--from", p.From.Format(time.RFC3339), "--until", p.Until.Format(time.RFC3339))
	return s, err
}

// draw draws n entries of the ledger of a kind (empty: all) and a period by seed.
func (a *app) draw(b *book, seed string, n int, kind string, p store.Period) (drawn []ledger.Record, size int, err error) {
	view, err := b.log.View()
	if err != nil {
		return nil, 0, err
	}
	var population []ledger.Record
	for r, err := range view.Entries(0, view.Size()) {
		if err != nil {
			return nil, 0, err
		}
		if (kind == "" || string(r.Kind) == kind) && !r.Time.Before(p.From) && (p.Until.IsZero() || r.Time.Before(p.Until)) {
			population = append(population, r)
		}
	}
	return supervision.Sample(population, func(r ledger.Record) string { return fmt.Sprint(r.Index) }, seed, n), len(population), nil
}

func sampleCmd(a *app) *cobra.Command {
	var q reportAsk
	var kind string
	cmd := &cobra.Command{
		Use:   "audit-sample",
		Short: "Draw a sample of the ledger that comes out the same anywhere",
		Long: "Draw a sample of the ledger's entries. Who has the same ledger, or an export of it, and the same seed draws the same: each\n" +
			"entry's ticket is SHA-256 over the seed, a zero byte and its index in decimal, and the lowest tickets are drawn. So it\n" +
			"can be checked with sha256sum and sort.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if q.seed == "" {
				return usage(lang.Errorf(lang.Text{En: "--seed is needed: let the auditor choose it", Es: "falta --seed: que lo elija el auditor"}))
			}
			begin, err1 := parseTime(q.from)
			end, err2 := parseTime(q.until)
			if err := errors.Join(err1, err2); err != nil {
				return usage(err)
			}
			b, err := a.book(cmd.Context())
			if err != nil {
				return err
			}
			drawn, size, err := a.draw(b, q.seed, q.n, kind, store.Period{From: begin, Until: end})
			if err != nil {
				return err
			}
			if a.format == "json" {
				return a.json(map[string]any{"seed": q.seed, "n": q.n, "population": size, "entries": append([]ledger.Record{}, drawn...)})
			}
			fmt.Fprintln(a.out, lang.Text{En: "%d of %d entries, seed %q", Es: "%d de %d entradas, semilla %q"}.F(len(drawn), size, q.seed).In(a.lang))
			for _, e := range drawn {
				a.printer().Entry(e.Index, e.Time, string(e.Kind), e.Actor, e.About, e.Data)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.seed, "seed", "", "seed: a word that the auditor chooses")
	f.IntVar(&q.n, "n", 25, "how many to draw")
	f.StringVar(&kind, "kind", "", "only entries of this kind: change, approval, verdict, exception …")
	f.StringVar(&q.from, "from", "", "not before: 2026-11-01T00:00:00Z")
	f.StringVar(&q.until, "until", "", "before: 2026-12-01T00:00:00Z")
	return cmd
}
