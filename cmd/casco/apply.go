package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"casco/lang"
	"casco/loop/apply"
	"casco/loop/audit"
	"casco/loop/change"
	"casco/loop/inventory"
	"casco/loop/plan"
	"casco/loop/verify"
	"casco/report"
	"casco/state"
	"casco/store"
)

func applyCmd(a *app) *cobra.Command {
	return a.manual.verb(&cobra.Command{
		Use: "apply",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := readChange(args[0])
			if err != nil {
				return asRefusal(err)
			}
			return a.apply(cmd.Context(), c, args[0])
		},
	}, lang.Text{
		En: "Do an approved plan, prove that it held, and undo it when it did not",
		Es: "Ejecuta un plan aprobado, prueba que se sostuvo y lo deshace si no",
	}, lang.Text{
		En: "Do an approved plan, prove that it held, and undo it when it did not.\n\n" +
			"Exit codes: 0 done and proved, 1 it failed and was undone (or could not be: see casco changes), 4 refused.",
		Es: "Ejecuta un plan aprobado, prueba que se sostuvo y lo deshace si no.\n\n" +
			"Códigos de salida: 0 hecho y probado, 1 falló y se deshizo (o no se pudo: vea casco changes), 4 rechazado.",
	}, aFile)
}

func (a *app) apply(ctx context.Context, c *change.Change, file string) error {
	h, unlock, err := a.takeHost(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	before, rules, err := a.ready(ctx, h, c, file)
	if err != nil {
		if refusal := (coded{}); errors.As(err, &refusal) && refusal.code == exitRefused {
			err = errors.Join(err, a.note(ctx, store.Change{
				Plan: c.PlanID, Digest: c.Digest(), Class: string(c.Request.Class), State: "refused", Author: c.Request.By, By: operator(), Why: err.Error(),
			}))
		}
		return err
	}
	if ok, err := a.ask(lang.Text{En: "Apply this plan now?", Es: "¿Aplicar este plan ahora?"}); err != nil || !ok {
		return errors.Join(err, quiet(exitRefused))
	}
	id, err := a.state().NewID(c.PlanID)
	if err != nil {
		return err
	}
	if err := a.state().Begin(id, c, marksOf(before.findings)); err != nil {
		return lang.Errorf(lang.Text{En: "not begun, the record could not be saved: %w", Es: "no se empezó, no se pudo guardar el registro: %w"}, err)
	}
	begun := time.Now().UTC()
	rec := &apply.Record{
		ID: id, PlanID: c.PlanID, Plan: c.Plan, Host: h.name, Engine: h.address(), By: operator(), Begun: begun, State: apply.Applying,
		Class: string(c.Request.Class), Author: c.Request.By, Asked: c.Request.At, Approvers: c.Approvers(rules), Reason: c.Request.Reason, Digest: c.Digest(),
		RatifyBy: c.RatifyBy(rules.Policy, begun),
	}
	if err := a.noteBegun(ctx, rec, c); err != nil {
		return lang.Errorf(lang.Text{En: "not begun, it could not be written into the ledger: %w", Es: "no se empezó, no se pudo escribir en el registro: %w"}, err)
	}
	if err := a.runner(h).Run(ctx, rec); err != nil {
		return a.ended(ctx, rec, err)
	}
	return a.prove(ctx, h, rec, before.findings)
}

// ready says whether c may be applied now, and reads the host as it is before.
func (a *app) ready(ctx context.Context, h *host, c *change.Change, file string) (*look, change.Rules, error) {
	rules, err := a.rules(h.name)
	if err != nil {
		return nil, rules, err
	}
	if h.engine == nil {
		return nil, rules, h.trouble
	}
	if len(c.Plan.Steps) == 0 {
		return nil, rules, refused(lang.Errorf(lang.Text{En: "the plan has no steps", Es: "el plan no tiene pasos"}), command("plan", "-o", file))
	}
	if err := c.Ready(rules); err != nil {
		return nil, rules, refused(err, command("approve", file))
	}
	if err := a.unused(c, file); err != nil {
		return nil, rules, err
	}
	if err := a.settled(c); err != nil {
		return nil, rules, err
	}
	if c.Plan.Engine != "" && c.Plan.Engine != h.address() {
		return nil, rules, refused(lang.Errorf(lang.Text{
			En: "the plan is for the engine at %s, this is %s",
			Es: "el plan es para el motor en %s, este es %s",
		}, c.Plan.Engine, h.address()), command("-H", c.Plan.Engine, "apply", file))
	}
	if c.Request.Class == change.Standard {
		h.sources = append(h.sources, forPlans(h)...) // it is planned anew, to compare
	}
	before := h.look(ctx)
	if before.trouble != nil {
		return nil, rules, before.trouble
	}
	if stale := c.Plan.Stale(before.snapshot); len(stale) > 0 {
		for _, r := range stale {
			a.tell(lang.Text{En: "  %s %s is now %v", Es: "  %s %s es ahora %v"}, r.Ref, r.Field, r.Value)
		}
		return nil, rules, refused(lang.Errorf(lang.Text{
			En: "the plan is stale: what it rests on has changed since",
			Es: "el plan está obsoleto: cambió aquello en lo que se apoya",
		}), command("plan", "-o", file))
	}
	if i := c.Plan.Foreign(before.snapshot, before.findings, means()); c.Request.Class == change.Standard && i >= 0 {
		return nil, rules, refused(lang.Errorf(lang.Text{
			En: "step %d is not what this host plans for what it says it cures: nobody agreed to that beforehand",
			Es: "el paso %d no es lo que este anfitrión planea para lo que dice curar: nadie lo acordó de antemano",
		}, i+1), command("submit", "--class", "normal", file))
	}
	return before, rules, nil
}

// unused refuses a plan of which a step was ever begun: who approved it agreed
// to one change, and not to the same again after it was taken back.
func (a *app) unused(c *change.Change, file string) error {
	recs, err := a.state().Records()
	if err != nil {
		return err
	}
	for _, rec := range recs {
		if rec.PlanID == c.PlanID && len(rec.Done) > 0 {
			return refused(lang.Errorf(lang.Text{
				En: "the plan was applied already, by change %s (%s): an approval is good for one change",
				Es: "el plan ya se aplicó, con el cambio %s (%s): una aprobación vale para un cambio",
			}, rec.ID, report.StateWord(rec.State)), command("plan", "-o", file))
		}
	}
	return nil
}

// settled refuses a change that may have to go back by itself while another one
// may: the way back of the first would lead over the second.
func (a *app) settled(c *change.Change) error {
	recs, err := a.state().Records()
	if err != nil || !slices.ContainsFunc(c.Plan.Steps, plan.Step.Severing) {
		return err
	}
	for _, rec := range recs {
		if rec.State == apply.Verified && !rec.ConfirmBy.IsZero() {
			return refused(lang.Errorf(lang.Text{
				En: "change %s goes back by itself unless it is confirmed, and this one would lie over it",
				Es: "el cambio %s se revierte por sí solo si no se confirma, y este quedaría encima",
			}, rec.ID), command("confirm", rec.ID))
		}
	}
	return nil
}

// prove reads the host afresh and holds it against what was promised. A change
// that did not hold is taken back.
func (a *app) prove(ctx context.Context, h *host, rec *apply.Record, before []audit.Finding) error {
	after := h.look(context.WithoutCancel(ctx))
	o := verify.Compare(rec.Plan, before, after.findings)
	if after.trouble == nil && o.OK() {
		rec.Observe(after.snapshot)
		rec.State, rec.Ended = apply.Verified, time.Now().UTC()
		rules, err := a.rules(h.name)
		rec.ConfirmBy = a.confirmBy(rec, rules, rec.Ended)
		if err = errors.Join(err, a.state().Save(rec)); err != nil {
			return a.ended(ctx, rec, errors.Join(err, a.runner(h).Undo(context.WithoutCancel(ctx), rec, apply.Undoing, err.Error())))
		}
		if !rec.ConfirmBy.IsZero() {
			if err := a.startAwait(rec); err != nil { // the next casco command takes it back instead
				a.tell(lang.Text{En: "nobody waits for its confirmation: %v", Es: "nadie espera su confirmación: %v"}, err)
			}
		}
		a.noteProved(ctx, rec, after)
		return a.applied(rec, o)
	}
	a.printerErr().Outcome(o)
	why := lang.Errorf(lang.Text{En: "the host does not show what was promised", Es: "el anfitrión no muestra lo prometido"})
	if after.trouble != nil {
		why = lang.Errorf(lang.Text{
			En: "the host could not be read after the change: %w", Es: "no se pudo leer el anfitrión después del cambio: %w",
		}, after.trouble)
	}
	err := errors.Join(why, a.runner(h).Undo(context.WithoutCancel(ctx), rec, apply.Undoing, why.Error()))
	return a.ended(ctx, rec, err)
}

func (a *app) applied(rec *apply.Record, o verify.Outcome) error {
	if a.format == "json" {
		return a.json(changeLines([]*apply.Record{rec})[0])
	}
	fmt.Fprintln(a.out, lang.Text{En: "change %s: %d steps done", Es: "cambio %s: %d pasos hechos"}.F(rec.ID, len(rec.Done)).In(a.lang))
	a.printer().Outcome(o)
	fmt.Fprintln(a.out, lang.Text{En: "take it back:", Es: "revertir:"}.In(a.lang), command("rollback", rec.ID),
		lang.Text{En: "· keep it for good:", Es: "· conservarlo:"}.In(a.lang), command("confirm", "--release", rec.ID))
	if !rec.ConfirmBy.IsZero() {
		fmt.Fprintln(a.out, lang.Text{
			En: "it goes back by itself at %s unless you say that it may stay: casco confirm %s",
			Es: "se revierte por sí solo a las %s si usted no dice que puede quedarse: casco confirm %s",
		}.F(rec.ConfirmBy.Format("15:04:05Z"), rec.ID).In(a.lang))
	}
	if !rec.RatifyBy.IsZero() {
		fmt.Fprintln(a.out, lang.Text{En: "an emergency: to be ratified until %s: casco ratify %s", Es: "una emergencia: a ratificar hasta %s: casco ratify %s"}.
			F(rec.RatifyBy.Format("2006-01-02 15:04Z"), rec.ID).In(a.lang))
	}
	return nil
}

// ended says how a change that did not hold came to its end, and when.
func (a *app) ended(ctx context.Context, rec *apply.Record, err error) error {
	if !rec.State.Open() {
		rec.Ended = time.Now().UTC()
		if saveErr := a.state().Save(rec); saveErr != nil { // its state was tried before
			err = errors.Join(err, saveErr)
		}
	}
	if noteErr := a.noteState(context.WithoutCancel(ctx), rec, rec.Why); noteErr != nil {
		a.tell(lang.Text{En: "not written into the ledger: %v", Es: "no se escribió en el registro: %v"}, noteErr)
	}
	switch {
	case rec.State == apply.Undone && len(rec.Done) == 0:
		a.tell(lang.Text{En: "change %s: nothing was begun", Es: "cambio %s: no se empezó nada"}, rec.ID)
	case rec.State == apply.Undone:
		a.tell(lang.Text{En: "change %s was undone: the host is as it was before", Es: "el cambio %s se deshizo: el anfitrión está como antes"}, rec.ID)
	case rec.State.Open():
		a.tell(lang.Text{
			En: "change %s is not undone yet, for the engine does not answer; once it does, any casco takes it back: casco changes",
			Es: "el cambio %s aún no se ha deshecho, pues el motor no responde; cuando responda, cualquier casco lo revierte: casco changes",
		}, rec.ID)
	case rec.State == apply.Failed:
		a.tell(lang.Text{
			En: "change %s could NOT be undone: look at it (casco changes), mend the cause, then casco rollback %[1]s",
			Es: "el cambio %s NO se pudo deshacer: mírelo (casco changes), corrija la causa y luego casco rollback %[1]s",
		}, rec.ID)
	}
	return err
}

func (a *app) runner(h *host) apply.Runner {
	return apply.Runner{
		Hands: h.hands,
		Save:  a.state().Save,
		Note: func(ctx context.Context, rec *apply.Record, i int, what apply.Act, err error) error {
			st := rec.Plan.Steps[i]
			if what == apply.Begun {
				a.tell(lang.Text{En: "step %d: %s (%s)", Es: "paso %d: %s (%s)"}, i+1, st.Ref, st.Hand)
			}
			return a.noteStep(ctx, rec, i, what, err)
		},
		Reach: h.reach,
	}
}

// takeHost opens the host for a change: nobody else may be changing it, and
// what a dead run left is brought to its end first. The caller unlocks if there
// is no error.
func (a *app) takeHost(ctx context.Context) (*host, func(), error) {
	h, unlock, err := a.lockHost()
	if err != nil {
		return nil, nil, err
	}
	if err := a.finish(ctx, h); err != nil {
		unlock()
		return nil, nil, err
	}
	return h, unlock, nil
}

func (a *app) lockHost() (*host, func(), error) {
	if a.snapshot != "" {
		return nil, nil, usage(lang.Errorf(lang.Text{
			En: "a snapshot file cannot be changed: leave --snapshot out",
			Es: "un archivo de instantánea no se puede cambiar: quite --snapshot",
		}))
	}
	if a.policyPath != "" {
		return nil, nil, usage(lang.Errorf(lang.Text{
			En: "a change goes by the policy in force: leave --policy out", Es: "un cambio se rige por la política en vigor: quite --policy",
		}))
	}
	unlock, err := a.state().Lock()
	if err != nil {
		return nil, nil, err
	}
	h, err := a.openHost()
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return h, unlock, nil
}

// recover brings what a dead run left to its end, if there is anything and
// nobody is at work on it.
func (a *app) recover(ctx context.Context) error {
	if a.snapshot != "" {
		return nil
	}
	recs, err := a.state().Records()
	if err != nil || !anyOpen(recs, a.now()) {
		return err
	}
	_, unlock, err := a.takeHost(ctx)
	if errors.Is(err, state.ErrLocked) {
		return nil
	}
	if errors.Is(err, errNotHere) {
		a.notHere(err)
		return nil
	}
	if err == nil {
		unlock()
	}
	return err
}

func anyOpen(recs []*apply.Record, now time.Time) bool {
	for _, r := range recs {
		if r.State.Open() || r.Unconfirmed(now) {
			return true
		}
	}
	return false
}

// started is when this program began. It has the monotonic clock beside it.
var started = time.Now()

// now is the time by which a change goes back that nobody confirmed: what the
// clock says, but not less than has passed since the program began. A clock that
// is set back must not keep a host cut off.
func (a *app) now() time.Time {
	return atLeast(time.Now(), started, time.Since(started))
}

// atLeast is what the clock says, but not less than passed after began.
func atLeast(clock, began time.Time, passed time.Duration) time.Time {
	if least := began.Round(0).Add(passed); clock.Before(least) {
		return least
	}
	return clock
}

// errNotHere is wrapped by the reasons for which a record must be left alone:
// what it did cannot be reached from here.
var errNotHere = lang.Errorf(lang.Text{En: "it is left as it is", Es: "se deja como está"})

// made returns nil if rec is of this host and of the engine in h. Containers
// of another engine may have the same names, and going back removes by name.
func (h *host) made(rec *apply.Record) error {
	address := h.address()
	if h.engine == nil && onlyDoor(rec) {
		address = "unix://" + plainSocket(h.socket)
	}
	switch {
	case address == "":
		return lang.Errorf(lang.Text{En: "change %s: %w: %w", Es: "cambio %s: %w: %w"}, rec.ID, h.trouble, errNotHere)
	case rec.Host != h.name:
		return refused(lang.Errorf(lang.Text{
			En: "change %s was made on host %q, this is %q: %w",
			Es: "el cambio %s se hizo en el anfitrión %q, este es %q: %w",
		}, rec.ID, rec.Host, h.name, errNotHere), "")
	case rec.Engine != address:
		return refused(lang.Errorf(lang.Text{
			En: "change %s was made on the engine at %s, this is %s: %w",
			Es: "el cambio %s se hizo en el motor en %s, este es %s: %w",
		}, rec.ID, rec.Engine, address, errNotHere), command("-H", rec.Engine, "changes"))
	}
	return nil
}

// onlyDoor reports whether rec did no more than to put an engine behind the door.
// It is taken back without asking that engine, which refuses everybody while its
// plugin is dead; and what others changed since it leaves in place.
func onlyDoor(rec *apply.Record) bool {
	return rec.Plan != nil && len(rec.Plan.Steps) > 0 && !slices.ContainsFunc(rec.Plan.Steps, func(st plan.Step) bool { return st.Hand != doorHand })
}

// finish brings every open record to its end, the newest first: what a later
// change did lies over an earlier one. One that cannot be reached from here, or
// that comes to no end, keeps no other from its own. The error wraps errNotHere if
// that is all that is wrong. The caller holds the lock.
func (a *app) finish(ctx context.Context, h *host) error {
	recs, err := a.state().Records()
	if err != nil {
		return err
	}
	var away, errs []error
	for _, rec := range slices.Backward(recs) {
		if !rec.State.Open() && !rec.Unconfirmed(a.now()) {
			continue
		}
		if err := h.made(rec); err != nil {
			away = append(away, err)
		} else if err := a.finishOne(ctx, h, rec); err != nil {
			errs = append(errs, lang.Errorf(lang.Text{En: "change %s: %w", Es: "cambio %s: %w"}, rec.ID, err))
		}
	}
	if len(errs) == 0 {
		return errors.Join(away...)
	}
	for _, err := range away {
		a.notHere(err)
	}
	return errors.Join(errs...)
}

// notHere says what cannot be brought to its end from here, where that is no
// reason to stop.
func (a *app) notHere(err error) { fmt.Fprintln(a.err, clean(lang.Say(err, a.lang))) }

func (a *app) finishOne(ctx context.Context, h *host, rec *apply.Record) error {
	if !rec.State.Open() {
		return a.expire(ctx, h, rec)
	}
	a.tell(lang.Text{En: "change %s was left half way (%s) by a run that ended", Es: "el cambio %s quedó a medias (%s) por una ejecución que terminó"}, rec.ID, rec.State)
	if rec.State == apply.Verifying {
		return a.finishProof(ctx, h, rec)
	}
	return a.ended(ctx, rec, a.runner(h).Recover(context.WithoutCancel(ctx), rec))
}

func (a *app) finishProof(ctx context.Context, h *host, rec *apply.Record) error {
	var marks []mark
	if err := a.state().Before(rec.ID, &marks); err != nil {
		// What was promised cannot be held against what was: go back.
		return a.ended(ctx, rec, a.runner(h).Undo(context.WithoutCancel(ctx), rec, apply.Undoing, "the findings before it could not be read: "+err.Error()))
	}
	if err := a.prove(ctx, h, rec, h.judge.findings(marks)); err != nil && rec.State != apply.Undone {
		return err
	}
	return nil
}

// A mark is what the record keeps of a finding before a change.
type mark struct {
	Check   string        `json:"check"`
	Ref     inventory.Ref `json:"ref"`
	Verdict string        `json:"verdict"`
}

func marksOf(fs []audit.Finding) []mark {
	var ms []mark
	for _, f := range fs {
		ms = append(ms, mark{f.Check.ID, f.Ref, f.Verdict.String()})
	}
	return ms
}

// findings are those that marks were made of.
func (j *judge) findings(ms []mark) []audit.Finding {
	var fs []audit.Finding
	for _, m := range ms {
		if c := j.find(m.Check); c != nil {
			f := audit.Finding{Check: c, Ref: m.Ref}
			f.Verdict, _ = audit.ParseVerdict(m.Verdict)
			fs = append(fs, f)
		}
	}
	return fs
}
