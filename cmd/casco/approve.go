package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"casco/lang"
	"casco/loop/change"
)

func approveCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "approve FILE",
		Short: "Sign a plan",
		Long: "Sign a plan with this host's operator key, after showing it. The approval is for exactly these bytes.\n" +
			"The first key that approves on a host is the one it trusts; more are added by hand to STATE/approvers.",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := readChange(args[0])
			if err != nil {
				return asRefusal(err)
			}
			if !a.yes {
				a.printer().Plan(c)
				if ok, err := a.ask(lang.Text{En: "Approve this plan?", Es: "¿Aprueba este plan?"}); err != nil || !ok {
					return errors.Join(err, quiet(exitRefused))
				}
			}
			key, err := a.state().Key()
			if err != nil {
				return err
			}
			by, now := operator(), time.Now()
			if err := a.state().Enrol(change.PublicKey(key), by, now); err != nil {
				return err
			}
			c.Approvals = append(c.Approvals, change.Sign(key, c.PlanID, by, now))
			if err := writeChange(args[0], c); err != nil {
				return err
			}
			if a.format == "json" {
				return a.json(c.Approvals[len(c.Approvals)-1])
			}
			fmt.Fprintln(a.out, lang.Text{En: "plan %.12s approved by %s", Es: "plan %.12s aprobado por %s"}.F(c.PlanID, by).In(a.lang))
			fmt.Fprintln(a.out, lang.Text{En: "next:", Es: "sigue:"}.In(a.lang), command("apply", args[0]))
			return nil
		},
	}
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
