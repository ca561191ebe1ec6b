package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"casco/api"
	"casco/guard/admission"
	"casco/keeper"
	"casco/lang"
	"casco/policy"
	"casco/store"
)

// glassed is a doorman's judge while root has broken the glass: it refuses
// nothing, and notes what it would have.
type glassed struct {
	api.Glass
	judge *admission.Judge
	until time.Time // with the monotonic clock: setting the clock back makes it no longer
	over  *time.Timer
}

// judgeNow is the judge that counts now.
func (d *doorman) judgeNow() *admission.Judge {
	if j := d.broken(); j != nil {
		return j
	}
	return d.judge.Load()
}

// broken is the judge while root has broken the glass, nil else.
func (d *doorman) broken() *admission.Judge {
	if g := d.glass.Load(); g != nil && time.Now().Before(g.until) {
		return g.judge
	}
	return nil
}

// setGlass goes by the file, and ends by itself what it says.
func (d *doorman) setGlass(p *policy.Policy) error {
	said, err := api.ReadGlass(api.GlassFile(d.g.a.statePath))
	if err != nil {
		return err
	}
	was, now := d.glass.Load(), time.Now()
	left := said.Left(now)
	if left == 0 {
		if was != nil {
			d.endGlass(was)
		}
		return nil
	}
	j, err := admission.NewJudge(observing(p), loaded)
	if err != nil {
		return err
	}
	next := &glassed{Glass: said, judge: j, until: now.Add(left)}
	if was != nil {
		was.over.Stop()
		if was.Glass == said && was.until.Before(next.until) {
			next.until = was.until
		}
	}
	next.over = time.AfterFunc(next.until.Sub(now), func() { d.endGlass(next) })
	d.glass.Store(next)
	if was == nil || was.Glass != said {
		d.g.happened(glassEvent(lang.Text{
			En: "BREAK-GLASS: until %s requests are observed and not refused, by %s: %s", Es: "CRISTAL ROTO: hasta %s las peticiones se observan y no se rechazan, por %s: %s",
		}, said.Until.UTC().Format(time.RFC3339), said.By, said.Why))
	}
	return nil
}

func (d *doorman) endGlass(g *glassed) {
	g.over.Stop()
	if d.glass.CompareAndSwap(g, nil) {
		d.g.happened(glassEvent(lang.Text{En: "break-glass is over: requests are refused again", Es: "terminó el cristal roto: las peticiones se rechazan de nuevo"}))
	}
}

func glassEvent(text lang.Text, args ...any) keeper.Event {
	return keeper.Event{Time: time.Now().UTC(), Kind: keeper.Glass, Text: text.F(args...)}
}

// observing is p with every rule of admission that refuses only looking.
func observing(p *policy.Policy) *policy.Policy {
	out := *p
	out.Admission.Mode, out.Admission.Rules = policy.Observe, maps.Clone(p.Admission.Rules)
	for id, r := range out.Admission.Rules {
		if r.Mode == policy.Enforce {
			r.Mode = policy.Observe
			out.Admission.Rules[id] = r
		}
	}
	return &out
}

func guardOpenCmd(a *app) *cobra.Command {
	var length time.Duration
	var why string
	cmd := a.manual.verb(&cobra.Command{
		Use:  "open",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.guardOpen(cmd.Context(), length, why) },
	}, lang.Text{
		En: "Break the glass: for a while requests are observed and not refused; for root at a terminal",
		Es: "Rompe el cristal: durante un tiempo las peticiones se observan y no se rechazan; para root en una terminal",
	}, lang.Text{
		En: "Break the glass: for a while requests to the engine are judged, noted and let through, whatever the policy says. It ends by itself; " +
			"--for 0s ends it now. Only root may, at a terminal, and must say why: who, why and until when stand in the ledger, in casco net status and in the audit.\n\n" +
			"Exit codes: 0 done, 1 trouble, 2 usage, 4 refused.",
		Es: "Rompe el cristal: durante un tiempo las peticiones al motor se juzgan, se anotan y se dejan pasar, diga lo que diga la política. Termina por sí solo; " +
			"--for 0s lo termina ya. Solo puede root, en una terminal, y debe decir por qué: quién, por qué y hasta cuándo constan en el registro, en casco net status y en la auditoría.\n\n" +
			"Códigos de salida: 0 hecho, 1 problema, 2 uso, 4 rechazado.",
	})
	cmd.Flags().DurationVar(&length, "for", 15*time.Minute, "")
	a.manual.flag(cmd.Flags(), "for", lang.Text{En: "how `LONG`, at most 4h", Es: "cuánto `TIEMPO`, como máximo 4h"})
	cmd.Flags().StringVar(&why, "why", "", "")
	a.manual.flag(cmd.Flags(), "why", lang.Text{En: "the `REASON`, for the ledger", Es: "el `MOTIVO`, para el registro"})
	return cmd
}

// guardOpen is for somebody who sits there: neither a service nor a container
// nor a pipe has a terminal.
func (a *app) guardOpen(ctx context.Context, length time.Duration, why string) error {
	if err := a.onConsole(); err != nil {
		return err
	}
	client := api.NewClient(a.runPath)
	if length == 0 {
		if err := api.WriteGlass(api.GlassFile(a.statePath), api.Glass{}); err != nil {
			return err
		}
		a.loud(ctx, "closed", "by "+operator()+" "+terminal())
		return client.Reload(ctx)
	}
	if length < 0 || length > api.GlassTime {
		return usage(lang.Errorf(lang.Text{En: "--for is up to %v, not %v", Es: "--for es hasta %v, no %v"}, api.GlassTime, length))
	}
	if why = strings.TrimSpace(why); why == "" {
		return usage(lang.Errorf(lang.Text{En: "say why: --why", Es: "diga por qué: --why"}))
	}
	st, err := client.Status(ctx)
	if err != nil {
		return coded{exitTrouble, err, command("guard", "off")}
	}
	if st.Door == nil {
		return refused(lang.Errorf(lang.Text{En: "no requests are judged here: there is nothing to open", Es: "aquí no se juzga ninguna petición: no hay nada que abrir"}), "")
	}
	now := time.Now().UTC()
	g := api.Glass{Since: now, Until: now.Add(length), By: operator() + " " + terminal(), Why: why}
	a.loud(ctx, "opened", fmt.Sprintf("until %s by %s: %s", g.Until.Format(time.RFC3339), g.By, why))
	if err := api.WriteGlass(api.GlassFile(a.statePath), g); err != nil {
		return err
	}
	if err := client.Reload(ctx); err != nil {
		return err
	}
	fmt.Fprintln(a.out, lang.Text{
		En: "open until %s: requests are observed and not refused; to end it now: %s", Es: "abierto hasta %s: las peticiones se observan y no se rechazan; para terminarlo ya: %s",
	}.F(g.Until.Format("15:04:05Z"), command("guard", "open", "--for", "0s")).In(a.lang))
	return nil
}

// onConsole wants root, at a terminal that is theirs.
func (a *app) onConsole() error {
	f, ok := a.in.(*os.File)
	if os.Geteuid() == 0 && ok && term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return refused(lang.Errorf(lang.Text{
		En: "only root may, at a terminal", Es: "solo puede root, en una terminal",
	}), "")
}

// terminal is the name of the terminal of standard input.
func terminal() string {
	name, err := os.Readlink("/proc/self/fd/0")
	if err != nil {
		return ""
	}
	return "(" + name + ")"
}

// loud writes down that the glass was broken, or the guard switched off. It never
// fails: what the ledger does not take now is left for it beside it, see catchUp.
func (a *app) loud(ctx context.Context, what, text string) {
	e := store.Alert{Ref: doorRef.String(), What: "break-glass " + what, Text: text}
	ctx, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	err := a.noteWithin(ctx, e)
	if err != nil {
		err = errors.Join(err, a.leaveMark(e))
		a.tell(lang.Text{
			En: "not written into the ledger yet, casco catches up on it: %v", Es: "aún no se escribió en el registro, casco lo hará después: %v",
		}, err)
	}
}
