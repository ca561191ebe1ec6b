package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"casco/lang"
	"casco/loop/apply"
	"casco/loop/audit"
	"casco/loop/audit/checks"
	"casco/loop/change"
	"casco/loop/inventory"
	"casco/loop/plan"
	"casco/loop/verify"
	"casco/state"
)

func applyCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "apply FILE",
		Short: "Do an approved plan, prove that it held, and undo it when it did not",
		Long: "Do an approved plan, prove that it held, and undo it when it did not.\n\n" +
			"Exit codes: 0 done and proved, 1 it failed and was undone (or could not be: see casco changes), 4 refused.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := readChange(args[0])
			if err != nil {
				return asRefusal(err)
			}
			return a.apply(cmd.Context(), c, args[0])
		},
	}
}

func (a *app) apply(ctx context.Context, c *change.Change, file string) error {
	h, unlock, err := a.takeHost(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	before, err := a.ready(ctx, h, c, file)
	if err != nil {
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
		return fmt.Errorf("not begun, the record could not be saved: %w", err)
	}
	rec := &apply.Record{ID: id, PlanID: c.PlanID, Plan: c.Plan, Host: h.name, Engine: h.address(), By: operator(), Begun: time.Now().UTC()}
	if err := a.runner(h).Run(ctx, rec); err != nil {
		return a.ended(rec, err)
	}
	return a.prove(ctx, h, rec, before.findings)
}

// ready says whether c may be applied now, and reads the host as it is before.
func (a *app) ready(ctx context.Context, h *host, c *change.Change, file string) (*look, error) {
	trusted, err := a.state().Approvers()
	if err != nil {
		return nil, err
	}
	if h.engine == nil {
		return nil, h.trouble
	}
	if len(c.Plan.Steps) == 0 {
		return nil, refused(errors.New("the plan has no steps"), "casco plan -o "+file)
	}
	if err := c.Ready(h.name, trusted); err != nil {
		return nil, refused(err, "casco approve "+file)
	}
	if err := a.unused(c, file); err != nil {
		return nil, err
	}
	if c.Plan.Engine != "" && c.Plan.Engine != h.address() {
		return nil, refused(fmt.Errorf("the plan is for the engine at %s, this is %s", c.Plan.Engine, h.address()), "casco -H "+c.Plan.Engine+" apply "+file)
	}
	before := h.look(ctx)
	if before.trouble != nil {
		return nil, before.trouble
	}
	if stale := c.Plan.Stale(before.snapshot); len(stale) > 0 {
		for _, r := range stale {
			a.tell(lang.Text{En: "  %s %s is now %v", Es: "  %s %s es ahora %v"}, r.Ref, r.Field, r.Value)
		}
		return nil, refused(errors.New("the plan is stale: what it rests on has changed since"), "casco plan -o "+file)
	}
	return before, nil
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
			return refused(fmt.Errorf("the plan was applied already, by change %s (%s): an approval is good for one change", rec.ID, rec.State), "casco plan -o "+file)
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
		if err := a.state().Save(rec); err != nil {
			return a.ended(rec, errors.Join(err, a.runner(h).Undo(context.WithoutCancel(ctx), rec, apply.Undoing, err.Error())))
		}
		return a.applied(rec, o)
	}
	a.printerErr().Outcome(o)
	why := "the host does not show what was promised"
	if after.trouble != nil {
		why = "the host could not be read after the change: " + after.trouble.Error()
	}
	err := errors.Join(errors.New(why), a.runner(h).Undo(context.WithoutCancel(ctx), rec, apply.Undoing, why))
	return a.ended(rec, err)
}

func (a *app) applied(rec *apply.Record, o verify.Outcome) error {
	if a.format == "json" {
		return a.json(changeLines([]*apply.Record{rec})[0])
	}
	fmt.Fprintln(a.out, lang.Text{En: "change %s: %d steps done", Es: "cambio %s: %d pasos hechos"}.F(rec.ID, len(rec.Done)).In(a.lang))
	a.printer().Outcome(o)
	fmt.Fprintln(a.out, lang.Text{En: "take it back:", Es: "revertir:"}.In(a.lang), "casco rollback", rec.ID,
		lang.Text{En: "· keep it for good:", Es: "· conservarlo:"}.In(a.lang), "casco confirm", rec.ID)
	return nil
}

// ended says how a change that did not hold came to its end.
func (a *app) ended(rec *apply.Record, err error) error {
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
		Step: func(i int, st plan.Step) {
			a.tell(lang.Text{En: "step %d: %s (%s)", Es: "paso %d: %s (%s)"}, i+1, st.Ref, st.Hand)
		},
		Reach: h.reach,
	}
}

// takeHost opens the host for a change: nobody else may be changing it, and
// what a dead run left is brought to its end first.
func (a *app) takeHost(ctx context.Context) (*host, func(), error) {
	if a.snapshot != "" {
		return nil, nil, usage(errors.New("a snapshot file cannot be changed: leave --snapshot out"))
	}
	unlock, err := a.state().Lock()
	if err != nil {
		return nil, nil, err
	}
	h, err := a.openHost()
	if err == nil {
		err = a.finish(ctx, h)
	}
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
	if err != nil || !anyOpen(recs) {
		return err
	}
	_, unlock, err := a.takeHost(ctx)
	if errors.Is(err, state.ErrLocked) {
		return nil
	}
	if errors.Is(err, errNotHere) {
		fmt.Fprintln(a.err, clean(err.Error())) // reading goes on without it
		return nil
	}
	if err == nil {
		unlock()
	}
	return err
}

func anyOpen(recs []*apply.Record) bool {
	for _, r := range recs {
		if r.State.Open() {
			return true
		}
	}
	return false
}

// errNotHere is wrapped by the reasons for which a record must be left alone:
// what it did cannot be reached from here.
var errNotHere = errors.New("it is left as it is")

// made returns nil if rec is of this host and of the engine in h. Containers
// of another engine may have the same names, and going back removes by name.
func (h *host) made(rec *apply.Record) error {
	switch {
	case h.engine == nil:
		return fmt.Errorf("change %s: %w: %w", rec.ID, h.trouble, errNotHere)
	case rec.Host != h.name:
		return refused(fmt.Errorf("change %s was made on host %q, this is %q: %w", rec.ID, rec.Host, h.name, errNotHere), "")
	case rec.Engine != h.address():
		return refused(fmt.Errorf("change %s was made on the engine at %s, this is %s: %w", rec.ID, rec.Engine, h.address(), errNotHere), "casco -H "+rec.Engine+" changes")
	}
	return nil
}

// finish brings every open record to its end. The caller holds the lock.
func (a *app) finish(ctx context.Context, h *host) error {
	recs, err := a.state().Records()
	if err != nil {
		return err
	}
	for _, rec := range recs {
		if !rec.State.Open() {
			continue
		}
		if err := h.made(rec); err != nil {
			return err
		}
		a.tell(lang.Text{En: "change %s was left half way (%s) by a run that ended", Es: "el cambio %s quedó a medias (%s) por una ejecución que terminó"}, rec.ID, rec.State)
		if rec.State == apply.Verifying {
			err = a.finishProof(ctx, h, rec)
		} else {
			err = a.ended(rec, a.runner(h).Recover(context.WithoutCancel(ctx), rec))
		}
		if err != nil {
			return fmt.Errorf("change %s: %w", rec.ID, err)
		}
	}
	return nil
}

func (a *app) finishProof(ctx context.Context, h *host, rec *apply.Record) error {
	var marks []mark
	if err := a.state().Before(rec.ID, &marks); err != nil {
		// What was promised cannot be held against what was: go back.
		return a.ended(rec, a.runner(h).Undo(context.WithoutCancel(ctx), rec, apply.Undoing, "the findings before it could not be read: "+err.Error()))
	}
	if err := a.prove(ctx, h, rec, findingsOf(marks)); err != nil && rec.State != apply.Undone {
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

func findingsOf(ms []mark) []audit.Finding {
	byID := map[string]*audit.Check{}
	for _, c := range checks.All() {
		byID[c.ID] = c
	}
	var fs []audit.Finding
	for _, m := range ms {
		if c := byID[m.Check]; c != nil {
			f := audit.Finding{Check: c, Ref: m.Ref}
			f.Verdict, _ = audit.ParseVerdict(m.Verdict)
			fs = append(fs, f)
		}
	}
	return fs
}
