package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"casco/lang"
	"casco/loop/apply"
	"casco/loop/rollback"
)

func rollbackCmd(a *app) *cobra.Command {
	var anyway bool
	cmd := &cobra.Command{
		Use:   "rollback CHANGE",
		Short: "Take a change back",
		Long: "Take a change back, to the byte. What somebody else changed after it is never overwritten: it is shown, and nothing is done.\n\n" +
			"Of a change that failed and could not be undone, what is shown may also be what the failed run left half done; " +
			"whoever has looked at it says --anyway.\n\n" +
			"Exit codes: 0 taken back, 1 trouble, 4 refused.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.rollback(cmd.Context(), args[0], anyway)
		},
	}
	cmd.Flags().BoolVar(&anyway, "anyway", false, "take a failed change back although something is neither as it was nor as the change wanted it")
	return cmd
}

func (a *app) rollback(ctx context.Context, id string, anyway bool) error {
	h, rec, unlock, err := a.takeChange(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	switch {
	case rec.State != apply.Verified && rec.State != apply.Failed:
		return refused(fmt.Errorf("change %s is %s: there is nothing to take back", rec.ID, rec.State), "casco changes")
	case anyway && rec.State != apply.Failed:
		return refused(fmt.Errorf("change %s is %s: --anyway is for one that failed", rec.ID, rec.State), "casco rollback "+rec.ID)
	case !anyway:
		if err := a.unchanged(ctx, h, rec); err != nil {
			return err
		}
	}
	if ok, err := a.ask(lang.Text{En: "Take this change back?", Es: "¿Revertir este cambio?"}); err != nil || !ok {
		return errors.Join(err, quiet(exitRefused))
	}
	// Half a way back is worse than a late one.
	err = a.runner(h).Undo(context.WithoutCancel(ctx), rec, apply.RollingBack, "rolled back by "+operator())
	rec.Ended = time.Now().UTC()
	if err != nil {
		return a.ended(rec, err)
	}
	if err := a.state().Save(rec); err != nil {
		return err
	}
	if a.format == "json" {
		return a.json(changeLines([]*apply.Record{rec})[0])
	}
	fmt.Fprintln(a.out, lang.Text{En: "change %s taken back", Es: "cambio %s revertido"}.F(rec.ID).In(a.lang))
	return nil
}

// unchanged refuses a rollback of what somebody changed after us.
func (a *app) unchanged(ctx context.Context, h *host, rec *apply.Record) error {
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
		return refused(errors.New("this is neither as it was nor as the change wanted it: the failed run left it half done, or somebody changed it since"),
			"casco rollback "+rec.ID+" --anyway")
	}
	return refused(errors.New("somebody changed this since; taking it back would undo that too"), "casco drift")
}

// takeChange opens the host where a change was made, and its record. The caller
// unlocks if there is no error.
func (a *app) takeChange(ctx context.Context, id string) (h *host, rec *apply.Record, unlock func(), err error) {
	h, unlock, err = a.takeHost(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	if rec, err = a.state().Record(id); err == nil {
		err = h.made(rec)
	}
	if err != nil {
		unlock()
		return nil, nil, nil, err
	}
	return h, rec, unlock, nil
}

func confirmCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "confirm CHANGE",
		Short: "Keep a change for good and let go of what its undo holds on to",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, rec, unlock, err := a.takeChange(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer unlock()
			if rec.State != apply.Verified && rec.State != apply.Confirmed { // a second time: letting go was cut off
				return refused(fmt.Errorf("change %s is %s, not verified", rec.ID, rec.State), "casco changes")
			}
			question := lang.Text{En: "Keep it? It can then no longer be taken back.", Es: "¿Conservarlo? Ya no se podrá revertir."}
			if ok, err := a.ask(question); err != nil || !ok {
				return errors.Join(err, quiet(exitRefused))
			}
			rec.Ended = time.Now().UTC()
			if err := a.runner(h).Release(cmd.Context(), rec); err != nil {
				return err
			}
			fmt.Fprintln(a.out, lang.Text{En: "change %s confirmed", Es: "cambio %s confirmado"}.F(rec.ID).In(a.lang))
			return nil
		},
	}
}
