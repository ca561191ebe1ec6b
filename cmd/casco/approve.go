package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"casco/lang"
	"casco/loop/apply"
	"casco/loop/change"
	"casco/signed"
)

func approveCmd(a *app) *cobra.Command {
	var says saying
	var reject, withdraw bool
	cmd := a.manual.verb(&cobra.Command{
		Use: "approve",
		RunE: func(_ *cobra.Command, args []string) error {
			says.decision = change.Approve
			switch {
			case reject:
				says.decision = change.Reject
			case withdraw:
				says.decision = change.Withdraw
			}
			c, err := readChange(args[0])
			if err != nil {
				return asRefusal(err)
			}
			if len(c.Plan.Steps) == 0 && says.decision == change.Approve {
				return refused(lang.Errorf(lang.Text{
					En: "the plan has no steps: there is nothing to approve", Es: "el plan no tiene pasos: no hay nada que aprobar",
				}), command("plan", "-o", args[0]))
			}
			if !a.yes {
				a.printer().Plan(c)
				if ok, err := a.ask(lang.Text{En: "Sign this?", Es: "¿Firma esto?"}); err != nil || !ok {
					return errors.Join(err, quiet(exitRefused))
				}
			}
			said, err := a.say(c, says)
			if err != nil {
				return err
			}
			if err := writeChange(args[0], c); err != nil {
				return err
			}
			if a.format == "json" {
				return a.json(said)
			}
			fmt.Fprintln(a.out, decided[said.Decision].F(c.PlanID, said.By).In(a.lang))
			if said.Decision == change.Approve {
				fmt.Fprintln(a.out, lang.Text{En: "next:", Es: "sigue:"}.In(a.lang), command("apply", args[0]))
			}
			return nil
		},
	}, lang.Text{En: "Sign a plan", Es: "Firma un plan"}, lang.Text{
		En: "Sign a plan, after showing it. The approval is for exactly these bytes, this class, window and author. With persons in the policy, " +
			"sign with your own key (--key). Without, this host's operator key signs: the first key that approves on a host is the one it " +
			"trusts; more are added by hand to the file approvers under --state.\n\n" +
			"Exit codes: 0 signed, 1 trouble, 4 refused.",
		Es: "Firma un plan, tras mostrarlo. La aprobación vale exactamente para estos bytes, esta clase, esta ventana y este autor. Si la " +
			"política nombra personas, firme con su propia clave (--key). Si no, firma la clave de operador de este anfitrión: la primera que " +
			"aprueba en un anfitrión es en la que confía; las demás se añaden a mano al archivo approvers bajo --state.\n\n" +
			"Códigos de salida: 0 firmado, 1 problema, 4 rechazado.",
	}, aFile)
	says.flags(a, cmd)
	cmd.Flags().BoolVar(&reject, "reject", false, "")
	a.manual.flag(cmd.Flags(), "reject", lang.Text{En: "say no: it stands against any number of approvals", Es: "dice que no: prevalece sobre cualquier número de aprobaciones"})
	cmd.Flags().BoolVar(&withdraw, "withdraw", false, "")
	a.manual.flag(cmd.Flags(), "withdraw", lang.Text{En: "take your decision back", Es: "retira su decisión"})
	cmd.Flags().DurationVar(&says.valid, "valid", 0, "")
	a.manual.flag(cmd.Flags(), "valid", lang.Text{
		En: "`TIME` for which the approval counts, such as 24h; else as long as the plan is good",
		Es: "`TIEMPO` que vale la aprobación, como 24h; si no, mientras sirva el plan",
	})
	cmd.MarkFlagsMutuallyExclusive("reject", "withdraw")
	return cmd
}

var decided = map[change.Decision]lang.Text{
	change.Approve:  {En: "plan %.12s approved by %s", Es: "plan %.12s aprobado por %s"},
	change.Reject:   {En: "plan %.12s rejected by %s", Es: "plan %.12s rechazado por %s"},
	change.Withdraw: {En: "plan %.12s: %s withdrew", Es: "plan %.12s: %s se retractó"},
	change.Ratify:   {En: "plan %.12s ratified by %s", Es: "plan %.12s ratificado por %s"},
}

func ratifyCmd(a *app) *cobra.Command {
	says := saying{decision: change.Ratify}
	cmd := a.manual.verb(&cobra.Command{
		Use: "ratify",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, said, err := a.ratify(cmd.Context(), args[0], says)
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, decided[change.Ratify].F(c.PlanID, said.By).In(a.lang))
			return nil
		},
	}, lang.Text{En: "Agree to an emergency change after it was made", Es: "Da por bueno un cambio de emergencia después de hecho"}, lang.Text{
		En: "Agree to an emergency change after it was made, as many of you as a normal change needs. One that is not ratified in time is shown " +
			"so, and taking it back is proposed.\n\n" +
			"Exit codes: 0 signed, 1 trouble, 4 refused.",
		Es: "Da por bueno un cambio de emergencia después de hecho, tantas personas como pide un cambio normal. El que no se ratifica a tiempo " +
			"se muestra así, y se propone revertirlo.\n\n" +
			"Códigos de salida: 0 firmado, 1 problema, 4 rechazado.",
	}, aChange)
	says.flags(a, cmd)
	return cmd
}

// ratify signs change id and writes that down. Nobody else may be at work on its
// record: what is saved here must not bring back a state that it had before.
func (a *app) ratify(ctx context.Context, id string, says saying) (*change.Change, change.Approval, error) {
	var said change.Approval
	unlock, err := a.state().Lock()
	if err != nil {
		return nil, said, err
	}
	defer unlock()
	rec, err := a.state().Record(id)
	if err != nil {
		return nil, said, err
	}
	c, err := a.state().Change(rec.ID)
	if err != nil {
		return nil, said, err
	}
	switch {
	case c.Request.Class != change.Emergency:
		return nil, said, refused(lang.Errorf(lang.Text{
			En: "change %s is %s: only an emergency is ratified", Es: "el cambio %s es %s: sólo se ratifica una emergencia",
		}, rec.ID, c.Request.Class), command("changes"))
	case c.Digest() != rec.Digest:
		return nil, said, refused(lang.Errorf(lang.Text{
			En: "change %s: what is kept of it is not what was applied: its digest is %.12s, its record says %.12s",
			Es: "cambio %s: lo que se guarda de él no es lo que se aplicó: su resumen es %.12s, su registro dice %.12s",
		}, rec.ID, c.Digest(), rec.Digest), command("log", "show", "--about", rec.ID))
	}
	if said, err = a.say(c, says); err != nil {
		return nil, said, err
	}
	if err := a.state().Said(rec.ID, c); err != nil {
		return nil, said, err
	}
	return c, said, a.noteSaid(ctx, rec, c, said)
}

// noteSaid writes a ratification down, and that rec is ratified once as many have
// said so as a normal change needs.
func (a *app) noteSaid(ctx context.Context, rec *apply.Record, c *change.Change, said change.Approval) error {
	if err := a.note(ctx, approval(c, rec.ID, said)); err != nil {
		return err
	}
	rules, err := a.rules(rec.Host)
	if err != nil {
		return err
	}
	switch err := c.Ratified(rules); {
	case errors.Is(err, change.ErrRefused):
		a.tell(lang.Text{En: "not ratified yet: %v", Es: "aún no está ratificado: %v"}, err)
		return nil
	case err != nil:
		return err
	}
	rec.Ratified = said.At
	if err := a.state().Save(rec); err != nil {
		return err
	}
	return a.noteState(ctx, rec, "ratified")
}

func submitCmd(a *app) *cobra.Command {
	var ask asking
	cmd := a.manual.verb(&cobra.Command{
		Use: "submit",
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := readChange(args[0])
			if err != nil {
				return asRefusal(err)
			}
			if err := a.request(c, ask); err != nil {
				return err
			}
			if err := writeChange(args[0], c); err != nil {
				return err
			}
			if a.format == "json" {
				return a.json(c.Request)
			}
			fmt.Fprintln(a.out, lang.Text{En: "plan %.12s: a %s change, asked for by %s", Es: "plan %.12s: un cambio %s, pedido por %s"}.
				F(c.PlanID, c.Request.Class, c.Request.By).In(a.lang))
			fmt.Fprintln(a.out, lang.Text{En: "next:", Es: "sigue:"}.In(a.lang), command("approve", args[0]))
			return nil
		},
	}, lang.Text{
		En: "Ask for a plan to be agreed to: its class, reason and window, signed by you",
		Es: "Pide que se apruebe un plan: su clase, motivo y ventana, firmado por usted",
	}, lang.Text{
		En: "Ask for a plan to be agreed to. You sign the plan together with its class, reason and window, and are its author: who approves it " +
			"must be somebody else. Approvals that were given before are dropped, for they were for another request.\n\n" +
			"Exit codes: 0 written, 1 trouble, 4 refused.",
		Es: "Pide que se apruebe un plan. Usted firma el plan con su clase, motivo y ventana, y es su autor: quien lo apruebe debe ser otra " +
			"persona. Las aprobaciones dadas antes se descartan, pues eran para otra petición.\n\n" +
			"Códigos de salida: 0 escrito, 1 problema, 4 rechazado.",
	}, aFile)
	ask.flags(a, cmd)
	return cmd
}

// asking is what an author says of a plan.
type asking struct {
	class, reason, key string
	from, until        string
}

func (q *asking) flags(a *app, cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&q.class, "class", string(change.Normal), "")
	a.manual.flag(f, "class", lang.Text{En: "`CLASS`: standard, normal or emergency", Es: "`CLASE`: standard, normal o emergency"})
	f.StringVar(&q.reason, "reason", "", "")
	a.manual.flag(f, "reason", lang.Text{En: "`TEXT` that says why; an emergency must", Es: "`TEXTO` que dice por qué; una emergencia debe"})
	f.StringVar(&q.from, "from", "", "")
	a.manual.flag(f, "from", lang.Text{En: "not before this `TIME`: 2026-12-01T22:00:00Z", Es: "no antes de esta `HORA`: 2026-12-01T22:00:00Z"})
	f.StringVar(&q.until, "until", "", "")
	a.manual.flag(f, "until", lang.Text{En: "not from this `TIME` on", Es: "no desde esta `HORA`"})
	f.StringVar(&q.key, "key", "", "")
	a.manual.flag(f, "key", lang.Text{En: "`FILE` of your private SSH key, as its author", Es: "`ARCHIVO` de su clave SSH privada, como autor"})
}

// request writes what is asked into c and signs it, if there is a key.
func (a *app) request(c *change.Change, q asking) error {
	from, err1 := parseTime(q.from)
	until, err2 := parseTime(q.until)
	if err := errors.Join(err1, err2); err != nil {
		return usage(err)
	}
	class := change.Class(q.class)
	if class != change.Standard && class != change.Normal && class != change.Emergency {
		return usage(lang.Errorf(lang.Text{En: "--class is standard, normal or emergency, not %q", Es: "--class es standard, normal o emergency, no %q"}, q.class))
	}
	c.Approvals = nil
	c.Request = change.Request{Class: class, Reason: q.reason, Window: change.Span{From: from, Until: until}, By: operator(), At: time.Now().UTC()}
	if q.key == "" {
		return nil
	}
	key, who, err := a.person(q.key)
	if err != nil {
		return err
	}
	c.Request.By = who
	sig, err := key.Sign(signed.Request, c.Message())
	c.Request.Signature = string(sig)
	return err
}

// parseTime reads a moment as RFC 3339 writes it; empty is none.
func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, lang.Errorf(lang.Text{En: "%q is not a time such as 2026-12-01T22:00:00Z", Es: "%q no es una hora como 2026-12-01T22:00:00Z"}, s)
	}
	return t.UTC(), nil
}

// saying is what somebody says of a change.
type saying struct {
	decision     change.Decision
	key, comment string
	valid        time.Duration
}

func (s *saying) flags(a *app, cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.key, "key", "", "")
	a.manual.flag(cmd.Flags(), "key", lang.Text{
		En: "`FILE` of your private SSH key; else this host's operator key",
		Es: "`ARCHIVO` de su clave SSH privada; si no, la clave de operador de este anfitrión",
	})
	cmd.Flags().StringVar(&s.comment, "comment", "", "")
	a.manual.flag(cmd.Flags(), "comment", lang.Text{En: "`TEXT` that you want to say about it; it is signed with it", Es: "`TEXTO` que quiere decir sobre ello; se firma con ello"})
}

// say signs a decision and adds it to c.
func (a *app) say(c *change.Change, s saying) (change.Approval, error) {
	now := time.Now().UTC()
	d := change.Approval{At: now, Decision: s.decision, Change: c.Digest(), Comment: s.comment}
	if s.valid > 0 {
		d.Until = now.Add(s.valid)
	}
	key, who, err := a.signerFor(s.key)
	if err != nil {
		return d, err
	}
	d.By = who
	sig, err := key.Sign(signed.Approval, d.Message())
	if err != nil {
		return d, err
	}
	d.Signature = string(sig)
	c.Approvals = append(c.Approvals, d)
	return d, nil
}

// operator is the person behind the program, as far as the system knows: who
// called sudo, else who runs it.
func operator() string {
	if s := os.Getenv("SUDO_USER"); s != "" && os.Geteuid() == 0 {
		return s
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprint("uid ", os.Getuid())
}

func asRefusal(err error) error {
	if errors.Is(err, change.ErrRefused) {
		return refused(err, "")
	}
	return err
}
