package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"casco/lang"
	"casco/loop/apply"
	"casco/loop/change"
	"casco/loop/plan"
	"casco/report"
)

func confirmCmd(a *app) *cobra.Command {
	var release bool
	cmd := a.manual.verb(&cobra.Command{
		Use: "confirm",
		RunE: func(cmd *cobra.Command, args []string) error {
			h, rec, unlock, err := a.takeChange(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer unlock()
			// Released a second time: letting go was cut off.
			if !rec.Stands() || rec.State == apply.Released && !release {
				return refused(lang.Errorf(lang.Text{
					En: "change %s is %s: there is nothing to confirm",
					Es: "el cambio %s está %s: no hay nada que confirmar",
				}, rec.ID, report.StateWord(rec.State)), command("changes"))
			}
			if !release {
				return a.confirm(cmd.Context(), rec)
			}
			question := lang.Text{En: "Let go of its undo? It can then no longer be taken back.", Es: "¿Soltar lo que permite deshacerlo? Ya no se podrá revertir."}
			if ok, err := a.ask(question); err != nil || !ok {
				return errors.Join(err, quiet(exitRefused))
			}
			rec.Ended = time.Now().UTC()
			err = a.runner(h).Release(cmd.Context(), rec)
			if err = errors.Join(err, a.noteState(cmd.Context(), rec, "")); err != nil {
				return err
			}
			fmt.Fprintln(a.out, lang.Text{En: "change %s kept for good", Es: "cambio %s definitivo"}.F(rec.ID).In(a.lang))
			return nil
		},
	}, lang.Text{
		En: "Say that a change may stay; one that could cut you off goes back by itself without it",
		Es: "Dice que un cambio puede quedarse; el que podría dejarle fuera vuelve atrás solo sin ello",
	}, lang.Text{
		En: "Say that a change may stay. A change of the engine, a swarm, a network or of how the kernel forwards takes itself back unless it is " +
			"confirmed in time (the policy's confirm_within). With --release what its undo holds on to is let go: a parked container, a saved " +
			"image. It can then no longer be taken back.\n\n" +
			"Exit codes: 0 it stays, 1 trouble, 4 refused.",
		Es: "Dice que un cambio puede quedarse. Un cambio del motor, de un swarm, de una red o de cómo reenvía el núcleo se revierte solo si no " +
			"se confirma a tiempo (confirm_within de la política). Con --release se suelta lo que retiene su vuelta atrás: un contenedor " +
			"apartado, una imagen guardada. Ya no se podrá revertir.\n\n" +
			"Códigos de salida: 0 se queda, 1 problema, 4 rechazado.",
	}, aChange)
	cmd.Flags().BoolVar(&release, "release", false, "")
	a.manual.flag(cmd.Flags(), "release", lang.Text{En: "keep it for good and let go of what its undo holds on to", Es: "consérvalo y suelta lo que retiene su vuelta atrás"})
	return cmd
}

func (a *app) confirm(ctx context.Context, rec *apply.Record) error {
	rec.State = apply.Confirmed
	if err := a.state().Save(rec); err != nil {
		return err
	}
	if err := a.noteState(ctx, rec, ""); err != nil {
		return err
	}
	if a.format == "json" {
		return a.json(changeLines([]*apply.Record{rec})[0])
	}
	fmt.Fprintln(a.out, lang.Text{En: "change %s confirmed", Es: "cambio %s confirmado"}.F(rec.ID).In(a.lang))
	return nil
}

// confirmBy is when a change that was proved at that time must have been
// confirmed, zero for never. Where nobody wrote a policy, --yes answers this
// question too: a script that applies has nobody who would confirm.
func (a *app) confirmBy(rec *apply.Record, rules change.Rules, proved time.Time) time.Time {
	within := time.Duration(rules.Policy.Changes.ConfirmWithin)
	if within <= 0 || a.yes && rules.Policy.Digest == "builtin" {
		return time.Time{}
	}
	if !slices.ContainsFunc(rec.Plan.Steps, plan.Step.Severing) {
		return time.Time{}
	}
	return proved.UTC().Add(within)
}

// awaitVerb is the verb with which casco calls itself to wait for a confirmation.
const awaitVerb = "await"

func awaitCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:    awaitVerb + " CHANGE",
		Short:  "Wait until a change is confirmed or due, and take it back in the second case",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.yes = true
			return a.await(cmd.Context(), args[0])
		},
	}
}

// A waiting casco looks each second whether somebody confirmed. One that is due
// and cannot be taken back, because the engine does not answer or another casco
// is at work, is tried again ever more seldom, and for a day.
const (
	lookEvery = time.Second
	tryAtMost = time.Minute
	tryFor    = 24 * time.Hour
)

// await ends when change id is confirmed, taken back or its record is gone, and
// takes it back when it is due. The record decides, not this process: one that
// was killed is made good by the next casco command.
func (a *app) await(ctx context.Context, id string) error {
	for pause := lookEvery; ; {
		rec, err := a.state().Record(id)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		now := a.now()
		if rec.State != apply.Verified || rec.ConfirmBy.IsZero() || now.After(rec.ConfirmBy.Add(tryFor)) {
			return nil
		}
		if rec.Unconfirmed(now) {
			if err := a.recover(ctx); err != nil {
				fmt.Fprintln(a.err, now.UTC().Format(time.RFC3339), clean(err.Error()))
			}
			pause = min(2*pause, tryAtMost)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// startAwait leaves a casco behind that waits for the confirmation of rec. It
// has a session of its own, so that it lives on when a connection that the
// change cut off takes this one with it.
func (a *app) startAwait(rec *apply.Record) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(a.state().Path(), "await.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	path, err := filepath.Abs(a.statePath)
	if err != nil {
		return err
	}
	run, err := filepath.Abs(a.runPath)
	if err != nil {
		return err
	}
	args := []string{"--state", path, "--run", run, "--lang", string(a.lang)}
	if a.host != "" {
		args = append(args, "--host", a.host)
	}
	cmd := exec.Command(self, append(args, awaitVerb, rec.ID)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}
