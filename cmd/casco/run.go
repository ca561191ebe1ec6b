package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"casco/host/auditlog"
	"casco/internal/atomicfile"
	"casco/lang"
	"casco/ledger"
	"casco/loop/apply"
	"casco/loop/inventory"
	"casco/loop/risk"
	"casco/report"
	"casco/store"
)

func runCmd(a *app) *cobra.Command {
	var every time.Duration
	var forever bool
	cmd := a.manual.verb(&cobra.Command{
		Use: "run",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.policyPath != "" {
				return usage(lang.Errorf(lang.Text{
					En: "the loop turns by the policy in force: leave --policy out", Es: "el ciclo gira por la política en vigor: quite --policy",
				}))
			}
			p, err := a.policy()
			if err != nil {
				return err
			}
			if every == 0 {
				every = time.Duration(p.Operations.Every)
			}
			if !forever {
				return a.turnOnce(cmd.Context(), every)
			}
			return a.turnForever(cmd.Context(), every)
		},
	}, lang.Text{
		En: "Turn the loop once, or for ever: audit, drift, expiry, all written into the ledger",
		Es: "Da una vuelta al ciclo, o para siempre: auditoría, deriva, vencimientos, todo escrito en el registro",
	}, lang.Text{
		En: "Turn the loop once: bring to an end what a dead run left, take back what nobody confirmed, read and judge the host, compare it with " +
			"the last reading, judge exceptions, publish the ledger's checkpoint, purge evidence whose time is over. All of it is written into " +
			"the ledger. What should have run and did not is written down too, with its reason.\n\n" +
			"With --forever it goes on, at the interval of the policy (operations.every) or of --every. With systemd, a timer calls it instead: " +
			"see casco run units.\n\n" +
			"Exit codes: 0 it ran, 1 trouble. What it found is in the ledger: casco audit, casco risk list.",
		Es: "Da una vuelta al ciclo: lleva a su fin lo que dejó una ejecución muerta, revierte lo que nadie confirmó, lee y juzga el anfitrión, " +
			"lo compara con la última lectura, juzga excepciones, publica el punto de control del registro, purga evidencia cuyo plazo pasó. " +
			"Todo se escribe en el registro. Lo que debía correr y no corrió también se anota, con su razón.\n\n" +
			"Con --forever sigue, con el intervalo de la política (operations.every) o de --every. Con systemd lo llama un temporizador: vea " +
			"casco run units.\n\n" +
			"Códigos de salida: 0 corrió, 1 problema. Lo hallado está en el registro: casco audit, casco risk list.",
	})
	cmd.Flags().DurationVar(&every, "every", 0, "")
	a.manual.flag(cmd.Flags(), "every", lang.Text{En: "`TIME` between two runs; else the policy's", Es: "`TIEMPO` entre dos ejecuciones; si no, el de la política"})
	cmd.Flags().BoolVar(&forever, "forever", false, "")
	a.manual.flag(cmd.Flags(), "forever", lang.Text{En: "go on until told to end", Es: "sigue hasta que se le diga que termine"})
	cmd.AddCommand(unitsCmd(a))
	return cmd
}

// turnForever turns the loop at fixed times, so that a slow run does not move
// those after it. One that fails is written down and does not end the others.
func (a *app) turnForever(ctx context.Context, every time.Duration) error {
	if every < time.Second {
		return usage(lang.Errorf(lang.Text{En: "--every %s is too often", Es: "--every %s es demasiado seguido"}, every))
	}
	next := time.Now()
	for {
		if err := a.turnOnce(ctx, every); err != nil && ctx.Err() == nil {
			fmt.Fprintln(a.err, "casco:", clean(lang.Say(err, a.lang)))
		}
		for !next.After(time.Now()) {
			next = next.Add(every)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Until(next)):
		}
	}
}

// turnOnce is one turn. Every part of it is tried, whatever became of the others.
func (a *app) turnOnce(ctx context.Context, every time.Duration) error {
	unlock, err := a.state().LockRun()
	if err != nil {
		return err
	}
	defer unlock()
	begun := time.Now().UTC()
	b, err := a.book(ctx)
	if err != nil {
		return err
	}
	errs := []error{a.noteMissed(ctx, every, begun), a.recover(ctx), a.noteRecords(ctx, runID(begun, "audit")), a.noteUnratified(ctx, begun)}
	l, err := a.look(ctx)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	if l.trouble == nil {
		errs = append(errs, a.noteExceptions(ctx, l, begun))
	}
	t := turn{of: "audit", begun: begun}
	if l.trouble == nil {
		t.same, err = a.noteDrift(ctx, l, begun)
		errs = append(errs, err)
	}
	errs = append(errs, l.trouble, a.noteLook(ctx, t, l), a.publish(b), a.purge(ctx, b, begun))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return a.beat(begun, every)
}

// noteMissed writes down each scheduled run that should have begun since the
// last one and did not, with the reason as far as the machine knows it.
func (a *app) noteMissed(ctx context.Context, every time.Duration, now time.Time) error {
	runs, err := store.All[store.Run](ctx, a.opened.store, store.Period{}, "")
	if err != nil || every <= 0 {
		return err
	}
	var last time.Time
	for _, r := range runs {
		if r.Event.Of == "audit" {
			last = r.Event.Begun
			if r.Event.Outcome == missed {
				last = r.Event.Due
			}
		}
	}
	if last.IsZero() {
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	var events []store.Event
	// A run may be late by half an interval before the next one is missed.
	for due := last.Add(every); now.Sub(due) > every/2 && len(events) < mostMissed; due = due.Add(every) {
		events = append(events, store.Run{
			ID: runID(due, "audit"), Of: "audit", Begun: due, Ended: due, Outcome: missed, Due: due, Why: whyMissed(due), Program: version, Host: host,
		})
	}
	if len(events) == 0 {
		return nil
	}
	return a.note(ctx, events...)
}

const (
	missed     = "missed"
	mostMissed = 1000 // of one silence: that there are more shows by itself
)

// runID names a run by when it began and what it was.
func runID(begun time.Time, of string) string {
	return begun.UTC().Format("20060102T150405.000Z") + "-" + of
}

// whyMissed says why nothing ran at that time: the machine was off, or nobody
// started casco.
func whyMissed(due time.Time) string {
	b, err := os.ReadFile("/proc/stat")
	if err == nil {
		for line := range strings.Lines(string(b)) {
			var boot int64
			if n, _ := fmt.Sscanf(line, "btime %d", &boot); n == 1 && due.Before(time.Unix(boot, 0)) {
				return report.MachineOff.En + " (" + time.Unix(boot, 0).UTC().Format(time.RFC3339) + ")"
			}
		}
	}
	return report.NotStarted.En
}

// noteUnratified writes down, once each, the emergencies that stand and were
// not ratified in time.
func (a *app) noteUnratified(ctx context.Context, now time.Time) error {
	recs, err := a.state().Records()
	if err != nil {
		return err
	}
	for _, rec := range recs {
		if !rec.Unratified(now) {
			continue
		}
		known, err := store.All[store.Change](ctx, a.opened.store, store.Period{}, rec.ID)
		if err != nil {
			return err
		}
		if len(known) > 0 && known[len(known)-1].Event.State == unratified {
			continue
		}
		e := a.changed(rec, "not ratified until "+rec.RatifyBy.Format(time.RFC3339)+": taking it back is proposed")
		e.State = unratified
		if err := a.note(ctx, e); err != nil {
			return err
		}
		a.tell(lang.Text{
			En: "emergency change %s was not ratified until %s; proposed: casco rollback %[1]s",
			Es: "el cambio de emergencia %s no se ratificó hasta %s; se propone: casco rollback %[1]s",
		}, rec.ID, rec.RatifyBy.Format(time.RFC3339))
	}
	return nil
}

const unratified = "unratified"

// noteExceptions writes down each exception that stands otherwise than the
// ledger last had it. Nothing waits for that: an exception is judged whenever
// it is used.
func (a *app) noteExceptions(ctx context.Context, l *look, now time.Time) error {
	pol, err := a.policy()
	if err != nil {
		return err
	}
	written, err := store.All[store.Exception](ctx, a.opened.store, store.Period{}, "")
	if err != nil {
		return err
	}
	last := map[string]store.Exception{}
	for _, e := range written {
		last[e.Event.ID] = e.Event
	}
	var events []store.Event
	for _, j := range risk.Judge(pol, l.snapshot, l.findings, loaded, now).Judged {
		e := store.Exception{ID: j.ID, State: string(j.Force), Check: j.Check, Asset: j.Asset, Expires: j.Expires.End(), Renews: j.Renews}
		for _, r := range j.Reasons {
			e.Why = strings.TrimPrefix(e.Why+", "+string(r), ", ")
		}
		for _, s := range j.Signatures {
			e.By = append(e.By, s.Person)
		}
		was := last[e.ID]
		delete(last, e.ID)
		if was.State != e.State || was.Why != e.Why {
			events = append(events, e)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(last)) {
		if e := last[id]; e.State != withdrawn {
			e.State, e.Why = withdrawn, ""
			events = append(events, e)
		}
	}
	if len(events) == 0 {
		return nil
	}
	return a.note(ctx, events...)
}

// withdrawn is the state of an exception that the policy has no more.
const withdrawn = "withdrawn"

// noteDrift writes down what differs from the last reading and no change of
// casco explains. The evidence of that reading may have been purged, or altered:
// then nothing can be compared, and that is trouble. Same is the digest of that
// reading if nothing at all differs, so that it need not be kept a second time.
func (a *app) noteDrift(ctx context.Context, l *look, begun time.Time) (same string, err error) {
	last, ok, err := a.lastWhole(ctx, l.engine)
	if err != nil || !ok {
		return "", err
	}
	was, err := a.readSnapshot(last.Snapshot)
	if err != nil {
		return "", lang.Errorf(lang.Text{En: "the last reading: %w", Es: "la última lectura: %w"}, err)
	}
	recs, err := a.state().Records()
	if err != nil {
		return "", err
	}
	differs := inventory.Diff(was, l.read)
	if len(differs) == 0 && slices.Equal(was.Gaps, l.read.Gaps) && begun.Sub(was.Taken) < keepAgain {
		return last.Snapshot, nil
	}
	var events []store.Event
	for _, d := range differs {
		if explained(recs, d, last.Ended) {
			continue
		}
		e := store.Drift{Ref: d.Ref.String(), Field: d.Field, Was: brief(d.Was), Now: brief(d.Now), Run: runID(begun, "audit")}
		if e.Who, err = whoWrote(was, d.Ref, last.Begun, begun); err != nil {
			return "", err
		}
		events = append(events, e)
	}
	if len(events) == 0 {
		return "", nil
	}
	return "", a.note(ctx, events...)
}

// most is how many bytes of JSON of a value are written down with a difference;
// the ledger takes no entry above 64 KiB (ledger.MaxEntry).
const most = 16 << 10

// brief is v, or its digest where it is long: the snapshots have it whole. A
// label of a megabyte must not keep out what else differs.
func brief(v any) any {
	b, err := json.Marshal(v)
	if err != nil || len(b) <= most {
		return v
	}
	return fmt.Sprintf("%s (%d bytes)", ledger.DigestOf(b).About(), len(b))
}

// keepAgain is after how long a reading is kept although nothing differs from
// the one before: a run's evidence goes at most so much before its time.
const keepAgain = 24 * time.Hour

// lastWhole is the newest run that read the whole of the engine at that
// address. One that did not tells nothing of what it could not read, and would
// make all of it seem to have come since.
func (a *app) lastWhole(ctx context.Context, engine string) (run store.Run, ok bool, err error) {
	runs, err := store.All[store.Run](ctx, a.opened.store, store.Period{}, "")
	for _, r := range slices.Backward(runs) {
		if r.Event.Outcome == "ok" && r.Event.Engine == engine && r.Event.Snapshot != "" {
			return r.Event, true, nil
		}
	}
	return run, false, err
}

// whoWrote says who wrote to the file that ref is about, between two readings,
// as far as the kernel's audit trail knows; empty if it does not.
func whoWrote(s *inventory.Snapshot, ref inventory.Ref, from, until time.Time) (string, error) {
	var paths []string
	switch ref.Kind {
	case inventory.File:
		paths = []string{ref.Name}
	case inventory.Daemon:
		if path, _, ok := inventory.DaemonConfigFile.Of(s.Find(ref)); ok {
			paths = []string{path}
		}
	}
	if len(paths) == 0 {
		return "", nil
	}
	name := func(uid uint32) string {
		if u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil {
			return u.Username
		}
		return ""
	}
	acts, err := auditlog.New(auditlog.Default, name).Writes(paths, from, until)
	var who []string
	for _, act := range acts {
		who = append(who, act.String())
	}
	return strings.Join(who, "; "), err
}

// explained reports whether a change of casco made what differs: it left the
// field so, or it was made or taken back since a run last looked and touched the
// object. (A change looks by itself when it is over; what differs after that is
// somebody else's.)
func explained(recs []*apply.Record, d inventory.Difference, since time.Time) bool {
	if madeBy(recs, d) != "" {
		return true
	}
	for _, rec := range recs {
		if rec.Ended.Before(since) {
			continue
		}
		for _, done := range rec.Done {
			st := rec.Plan.Steps[done.Step]
			for _, ref := range append(st.With, st.Ref) {
				if ref == d.Ref {
					return true
				}
			}
		}
	}
	return false
}

func (a *app) readSnapshot(digest string) (*inventory.Snapshot, error) {
	b, err := a.opened.evidence.Get(ledger.Digest(digest))
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return inventory.ReadSnapshot(z)
}

// publish writes the ledger's checkpoint and gives a copy to each witness that
// is a file.
func (a *app) publish(b *book) error {
	cp, err := b.log.Publish()
	if err != nil {
		return err
	}
	p, err := a.policy()
	if err != nil {
		return err
	}
	var errs []error
	for _, w := range p.Log.Witnesses {
		path, is := strings.CutPrefix(w, "file:")
		if !is {
			continue
		}
		errs = append(errs, giveCheckpoint(path, cp))
	}
	return errors.Join(errs...)
}

// giveCheckpoint puts cp beside those that a witness's folder holds already.
// None is replaced: an older one is what proves that nothing was cut off.
func giveCheckpoint(dir string, cp ledger.Checkpoint) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return lang.Errorf(lang.Text{En: "witness: %w", Es: "testigo: %w"}, err)
	}
	path := filepath.Join(dir, fmt.Sprintf("checkpoint-%012d", cp.Size))
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	if err := atomicfile.Write(path, cp.Note, 0o600); err != nil {
		return lang.Errorf(lang.Text{En: "witness: %w", Es: "testigo: %w"}, err)
	}
	return nil
}

// purge deletes the evidence whose time is over, but for what is under a legal
// hold. The ledger says what was deleted.
func (a *app) purge(ctx context.Context, b *book, now time.Time) error {
	kept, err := store.All[store.Evidence](ctx, b.store, store.Period{}, "")
	if err != nil {
		return err
	}
	gone := map[ledger.Digest]bool{}
	var errs []error
	for _, e := range kept {
		d := e.Event.Digest
		if gone[d] || e.Event.Until.IsZero() || now.Before(e.Event.Until) {
			continue
		}
		gone[d] = true
		err := b.evidence.Purge(d, "casco", "its retention ended at "+e.Event.Until.Format(time.RFC3339))
		if err != nil && !errors.Is(err, ledger.ErrHeld) && !errors.Is(err, ledger.ErrRetained) && !errors.Is(err, ledger.ErrNoEvidence) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, b.store.CatchUp(ctx))...)
}

// A heartbeat says when the loop last turned wholly, and when it should again.
// Others look at it: a watcher that died does not say so itself.
type heartbeat struct {
	At   time.Time `json:"at"`
	Next time.Time `json:"next"`
}

func (a *app) beat(at time.Time, every time.Duration) error {
	b, err := json.Marshal(heartbeat{at, at.Add(every)})
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(a.statePath, "heartbeat"), append(b, '\n'), 0o600)
}

// warnSilence says on the terminal that the loop should have turned and did not:
// whatever the verb, somebody is looking.
func (a *app) warnSilence() {
	if d := a.silence(time.Now()); d > 0 {
		a.tell(lang.Text{
			En: "warning: the loop has not turned for %s though it should have; casco run, and look why (its timer, a full disk, a stopped process)",
			Es: "aviso: el ciclo no gira desde hace %s aunque debería; casco run, y mire por qué (su temporizador, disco lleno, proceso detenido)",
		}, d.Round(time.Second))
	}
}

// silence is for how long the loop has not turned though it should have; zero
// if it has, or was never started on this host.
func (a *app) silence(now time.Time) time.Duration {
	raw, err := os.ReadFile(filepath.Join(a.statePath, "heartbeat"))
	var h heartbeat
	if errors.Is(err, fs.ErrNotExist) || err == nil && json.Unmarshal(raw, &h) != nil {
		return 0
	}
	p, err := a.policy()
	if err != nil || h.Next.IsZero() {
		return 0
	}
	// The policy says how many intervals without a run are silence.
	limit := h.Next.Add(time.Duration(max(p.Operations.SilentAfter-1, 0)) * h.Next.Sub(h.At))
	return max(0, now.Sub(limit))
}
