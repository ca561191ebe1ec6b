package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
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
	"casco/loop/risk"
	"casco/policy"
	"casco/report"
	"casco/store"
	"casco/supervision"
)

func reportCmd(a *app) *cobra.Command {
	var q reportAsk
	formats := strings.Join(report.Formats(), ", ")
	cmd := a.manual.verb(&cobra.Command{
		Use:  "report",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.report(cmd.Context(), q) },
	}, lang.Text{En: "Write a whole report: for people, auditors and programs", Es: "Escribe un informe completo: para personas, auditores y programas"}, lang.Text{
		En: "Write a whole report of this host over a period: posture, what could not be seen, findings with their evidence, risks, " +
			"exceptions, changes and those without a record, segmentation, metrics with their definitions, frameworks, evidence.\n\n" +
			"Formats: " + formats + ". Every number in them can be reckoned again from the JSON; with -o the JSON is written beside the file. " +
			"Every file says how to verify it offline.\n\n" +
			"Without a ledger (casco run begins one), and of a --snapshot file, what is known of earlier times is left out.\n\n" +
			"Exit codes: 0 written, 1 trouble: an engine that could not be read is written down as a gap, 3 the ledger does not verify.",
		Es: "Escribe un informe completo de este anfitrión en un período: estado, lo que no se pudo ver, hallazgos con su evidencia, riesgos, " +
			"excepciones, cambios y los que no tienen registro, segmentación, métricas con sus definiciones, marcos, evidencia.\n\n" +
			"Formatos: " + formats + ". Todo número se puede rehacer a partir del JSON; con -o el JSON se escribe junto al archivo. " +
			"Cada archivo dice cómo verificarlo sin red.\n\n" +
			"Sin un registro (casco run lo empieza), y de un archivo --snapshot, se omite lo que se sabe de tiempos anteriores.\n\n" +
			"Códigos de salida: 0 escrito, 1 problema: un motor que no se pudo leer se anota como laguna, 3 el registro no se verifica.",
	})
	f := cmd.Flags()
	f.StringVar(&q.as, "as", "", "")
	f.StringVar(&q.from, "from", "", "")
	f.StringVar(&q.until, "until", "", "")
	f.StringVar(&q.seed, "seed", "", "")
	f.IntVar(&q.n, "sample", 25, "")
	f.StringVarP(&q.out, "output", "o", "", "")
	a.manual.flag(f, "as", lang.Text{
		En: "`FORMAT`: " + formats + "; else by the ending of -o, else text", Es: "`FORMATO`: " + formats + "; si no, según la terminación de -o; si no, text",
	})
	a.manual.flag(f, "from", lang.Text{
		En: "beginning of the period, a `DAY` or a moment: 2026-11-01 or 2026-11-01T00:00:00Z; else 30 days before its end",
		Es: "comienzo del período, un `DÍA` o un momento: 2026-11-01 o 2026-11-01T00:00:00Z; si no, 30 días antes de su fin",
	})
	a.manual.flag(f, "until", lang.Text{En: "end of the period, a `DAY` or a moment; else now", Es: "fin del período, un `DÍA` o un momento; si no, ahora"})
	a.manual.flag(f, "seed", lang.Text{En: "seed of the auditor's sample, a `WORD`; else the period", Es: "semilla de la muestra del auditor, una `PALABRA`; si no, el período"})
	a.manual.flag(f, "sample", lang.Text{
		En: "`NUMBER` of entries of the ledger to draw for the auditor's sample", Es: "`NÚMERO` de entradas del registro que sacar para la muestra del auditor",
	})
	a.manual.flag(f, "output", lang.Text{En: "`FILE` to write; else standard output", Es: "`ARCHIVO` que escribir; si no, la salida estándar"})
	complete(cmd, "as", report.Formats())
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

// format is what the report is written as; general is --format.
func (q reportAsk) format(general string) (string, error) {
	as := q.as
	if as == "" {
		as = general
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
	as, err := q.format(a.format)
	if err != nil {
		return err
	}
	d, trouble, err := a.dossier(ctx, p, q, now)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := d.Write(&b, as, a.lang); err != nil {
		return err
	}
	if q.out == "" || q.out == "-" {
		_, err := a.out.Write(b.Bytes())
		return cmp.Or(err, trouble)
	}
	files := map[string][]byte{q.out: b.Bytes()}
	if as != "json" {
		var beside bytes.Buffer
		if err := d.Write(&beside, "json", a.lang); err != nil {
			return err
		}
		files[besideOf(q.out)] = beside.Bytes()
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := a.giveOut(ctx, name, files[name], p); err != nil {
			return err
		}
	}
	return trouble
}

// besideOf is the name of the JSON beside a report. A report that is JSON by its
// name and not by its format keeps its own.
func besideOf(out string) string {
	if ext := filepath.Ext(out); ext != ".json" {
		return strings.TrimSuffix(out, ext) + ".json"
	}
	return strings.TrimSuffix(out, ".json") + ".report.json"
}

// giveOut writes a file of a report, and into the ledger that it was given out.
func (a *app) giveOut(ctx context.Context, name string, b []byte, p store.Period) error {
	if err := atomicfile.Write(name, b, 0o600); err != nil {
		return err
	}
	if a.snapshot != "" {
		return nil
	}
	return a.note(ctx, store.Export{
		What: "report", Format: strings.TrimPrefix(filepath.Ext(name), "."), SHA256: string(ledger.DigestOf(b)),
		Scope: p.From.Format(time.RFC3339) + "/" + p.Until.Format(time.RFC3339),
	})
}

// dossier gathers a whole report: the host as it is now, and what the ledger
// says of the period. Trouble is what kept it from seeing the whole host.
func (a *app) dossier(ctx context.Context, p store.Period, q reportAsk, now time.Time) (d *report.Dossier, trouble, err error) {
	r, trouble, err := a.register(ctx)
	if err != nil {
		return nil, nil, err
	}
	if len(r.Findings) == 0 {
		return nil, nil, cmp.Or(trouble, lang.Errorf(lang.Text{En: "nothing could be judged, and a report of nothing says nothing", Es: "no se pudo juzgar nada, y un informe de nada no dice nada"}))
	}
	j, err := a.judgeNow()
	if err != nil {
		return nil, nil, err
	}
	history, err := a.lives(ctx)
	if err != nil {
		return nil, nil, err
	}
	lives, _ := risk.Track(history, r.Snapshot, r.Findings, r.Snapshot.Taken)
	d = &report.Dossier{
		Schema: report.DossierSchema, Posture: report.PostureOf(r.Findings, r.Exceptions, r.Risks), Limits: report.LimitsOf(r.Snapshot, r.Findings),
		Inventory: report.AssetsOf(r.Snapshot), Results: report.ResultsOf(r.Findings, lives, r.Exceptions, r.Risks, p.From),
		Risks: r.Risks, Paths: r.Paths, Exceptions: r.Exceptions.Judged, Problems: r.Problems, Overrides: report.OverridesOf(j.overrides, a.lang),
		Segmentation: report.SegmentationOf(r.Snapshot, r.Policy), Annex: report.AnnexOf(j.checks, r.Findings),
	}
	d.Cover = report.Cover{
		Host: r.Snapshot.Host, From: p.From, Until: p.Until, Read: r.Snapshot.Taken, Generated: now, Program: version,
		PolicyName: r.Policy.Metadata.Name, PolicyVersion: r.Policy.Metadata.Version, PolicyDigest: r.Policy.Digest, PolicySigner: j.inForce.Signature.Person,
		SingleOperator: len(r.Policy.People) == 0, Silent: a.silence(now),
	}
	if _, err := os.Stat(a.ledgerDir()); a.snapshot != "" || errors.Is(err, fs.ErrNotExist) {
		return d, trouble, nil // there is no history to tell
	}
	return d, trouble, a.fromLedger(ctx, d, p, q, r)
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
	d.Evidence = evidence
	for _, run := range in.Runs {
		if !run.At.Before(p.From) {
			d.Runs = append(d.Runs, run)
		}
	}
	d.History = report.HistoryOf(d.Runs)
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
	cmd := a.manual.verb(&cobra.Command{
		Use: "audit-sample",
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
	}, lang.Text{En: "Draw a sample of the ledger that comes out the same anywhere", Es: "Saca una muestra del registro que sale igual en cualquier parte"}, lang.Text{
		En: "Draw a sample of the ledger's entries. Who has the same ledger, or an export of it, and the same seed draws the same: each entry's " +
			"ticket is SHA-256 over the seed, a zero byte and its index in decimal, and the lowest tickets are drawn. So it can be checked with " +
			"sha256sum and sort. --seed is wanted.\n\n" +
			"Exit codes: 0 drawn, 1 trouble.",
		Es: "Saca una muestra de las entradas del registro. Quien tiene el mismo registro, o una exportación, y la misma semilla saca lo mismo: " +
			"el boleto de cada entrada es SHA-256 sobre la semilla, un byte cero y su índice en decimal, y se sacan los boletos más bajos. Así " +
			"se comprueba con sha256sum y sort. Hace falta --seed.\n\n" +
			"Códigos de salida: 0 sacada, 1 problema.",
	})
	f := cmd.Flags()
	f.StringVar(&q.seed, "seed", "", "")
	a.manual.flag(f, "seed", lang.Text{En: "seed, a `WORD` that the auditor chooses", Es: "semilla, una `PALABRA` que elige el auditor"})
	f.IntVar(&q.n, "n", 25, "")
	a.manual.flag(f, "n", lang.Text{En: "`NUMBER` to draw", Es: "`NÚMERO` que sacar"})
	f.StringVar(&kind, "kind", "", "")
	a.manual.flag(f, "kind", lang.Text{
		En: "only entries of this `KIND`: change, approval, verdict, exception …",
		Es: "solo entradas de este `TIPO`: change, approval, verdict, exception …",
	})
	f.StringVar(&q.from, "from", "", "")
	a.manual.flag(f, "from", lang.Text{En: "not before this `TIME`: 2026-11-01T00:00:00Z", Es: "no antes de esta `HORA`: 2026-11-01T00:00:00Z"})
	f.StringVar(&q.until, "until", "", "")
	a.manual.flag(f, "until", lang.Text{En: "before this `TIME`: 2026-12-01T00:00:00Z", Es: "antes de esta `HORA`: 2026-12-01T00:00:00Z"})
	return cmd
}
