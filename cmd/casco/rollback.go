package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"casco/lang"
	"casco/loop/apply"
	"casco/loop/rollback"
	"casco/report"
)

func rollbackCmd(a *app) *cobra.Command {
	var anyway bool
	cmd := a.manual.verb(&cobra.Command{
		Use: "rollback",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.rollback(cmd.Context(), args[0], anyway)
		},
	}, lang.Text{En: "Take a change back", Es: "Revierte un cambio"}, lang.Text{
		En: "Take a change back, to the byte. What somebody else changed after it is never overwritten: it is shown, and nothing is done.\n\n" +
			"Of a change that failed and could not be undone, what is shown may also be what the failed run left half done; whoever has looked " +
			"at it says --anyway.\n\n" +
			"Exit codes: 0 taken back, 1 trouble, 4 refused.",
		Es: "Revierte un cambio, al byte. Lo que otro cambió después nunca se sobrescribe: se muestra y no se hace nada.\n\n" +
			"De un cambio que falló y no se pudo deshacer, lo mostrado puede ser también lo que la ejecución fallida dejó a medias; quien lo " +
			"haya mirado dice --anyway.\n\n" +
			"Códigos de salida: 0 revertido, 1 problema, 4 rechazado.",
	}, aChange)
	cmd.Flags().BoolVar(&anyway, "anyway", false, "")
	a.manual.flag(cmd.Flags(), "anyway", lang.Text{
		En: "take a failed change back although something is neither as it was nor as the change wanted it",
		Es: "revierte un cambio fallido aunque algo no esté ni como estaba ni como lo quería el cambio",
	})
	return cmd
}

func (a *app) rollback(ctx context.Context, id string, anyway bool) error {
	h, rec, unlock, err := a.takeChange(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	switch {
	case !rec.Reversible():
		return refused(lang.Errorf(lang.Text{
			En: "change %s is %s: there is nothing to take back",
			Es: "el cambio %s está %s: no hay nada que revertir",
		}, rec.ID, report.StateWord(rec.State)), command("changes"))
	case anyway && rec.State != apply.Failed:
		return refused(lang.Errorf(lang.Text{
			En: "change %s is %s: --anyway is for one that failed",
			Es: "el cambio %s está %s: --anyway es para uno que falló",
		}, rec.ID, report.StateWord(rec.State)), command("rollback", rec.ID))
	case !anyway:
		if err := a.unchanged(ctx, h, rec); err != nil {
			return err
		}
	}
	if ok, err := a.ask(lang.Text{En: "Take this change back?", Es: "¿Revertir este cambio?"}); err != nil || !ok {
		return errors.Join(err, quiet(exitRefused))
	}
	if err := a.takeBack(ctx, h, rec, "rolled back by "+operator()); err != nil {
		return err
	}
	if a.format == "json" {
		return a.json(changeLines([]*apply.Record{rec})[0])
	}
	fmt.Fprintln(a.out, lang.Text{En: "change %s taken back", Es: "cambio %s revertido"}.F(rec.ID).In(a.lang))
	return nil
}

// takeBack undoes rec, reads the host again and writes down what it found: a
// rollback is a run like any other.
func (a *app) takeBack(ctx context.Context, h *host, rec *apply.Record, why string) error {
	ctx = context.WithoutCancel(ctx) // half a way back is worse than a late one
	if err := a.runner(h).Undo(ctx, rec, apply.RollingBack, why); err != nil {
		return a.ended(ctx, rec, err)
	}
	rec.Ended = time.Now().UTC()
	if err := a.state().Save(rec); err != nil {
		return err
	}
	if h.engine == nil { // it may answer now
		if again, err := a.openHost(); err == nil {
			h = again
		}
	}
	a.noteTakenBack(ctx, rec, h.look(ctx))
	return nil
}

// expire takes back a change that nobody confirmed in time. What somebody
// changed since is not overwritten: then it stays, and that is written down.
func (a *app) expire(ctx context.Context, h *host, rec *apply.Record) error {
	a.tell(lang.Text{En: "change %s was not confirmed until %s: it goes back", Es: "el cambio %s no se confirmó hasta las %s: se revierte"},
		rec.ID, rec.ConfirmBy.Format("15:04:05Z"))
	err := a.unchanged(ctx, h, rec)
	if c := (coded{}); errors.As(err, &c) && c.code == exitRefused {
		rec.ConfirmBy, rec.Why = time.Time{}, "not confirmed in time, and not taken back: somebody changed it since"
		return errors.Join(a.state().Save(rec), a.noteState(ctx, rec, rec.Why))
	}
	if err != nil {
		return err
	}
	return a.takeBack(ctx, h, rec, "not confirmed in time")
}

// unchanged refuses a rollback of what somebody changed after us.
func (a *app) unchanged(ctx context.Context, h *host, rec *apply.Record) error {
	if h.engine == nil && onlyDoor(rec) {
		return nil
	}
	now := h.look(ctx)
	if now.trouble != nil {
		return now.trouble
	}
	cs, err := rollback.Conflicts(ctx, rec, now.snapshot, h.hands)
	if err != nil || len(cs) == 0 {
		return err
	}
	a.printerErr().Conflicts(cs)
	if rec.State == apply.Failed {
		return refused(lang.Errorf(lang.Text{
			En: "this is neither as it was nor as the change wanted it: the failed run left it half done, or somebody changed it since",
			Es: "esto no está ni como estaba ni como lo quería el cambio: la ejecución fallida lo dejó a medias, o alguien lo cambió después",
		}), command("rollback", rec.ID, "--anyway"))
	}
	return refused(lang.Errorf(lang.Text{
		En: "somebody changed this since; taking it back would undo that too",
		Es: "alguien cambió esto después; revertirlo desharía también lo suyo",
	}), command("drift"))
}

// takeChange opens the host where a change was made, and its record. What
// another engine has open is no reason to let this one go. The caller unlocks if
// there is no error.
func (a *app) takeChange(ctx context.Context, id string) (h *host, rec *apply.Record, unlock func(), err error) {
	h, unlock, err = a.lockHost()
	if err != nil {
		return nil, nil, nil, err
	}
	if err = a.finish(ctx, h); errors.Is(err, errNotHere) {
		a.notHere(err)
		err = nil
	}
	if err == nil {
		rec, err = a.state().Record(id)
	}
	if err == nil {
		err = h.made(rec)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = coded{exitTrouble, lang.Errorf(lang.Text{En: "there is no change %q", Es: "no existe el cambio %q"}, id), command("changes")}
	}
	if err != nil {
		unlock()
		return nil, nil, nil, err
	}
	return h, rec, unlock, nil
}
