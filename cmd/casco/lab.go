package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"casco/lab"
	"casco/lab/actor"
	"casco/lang"
	"casco/report"
)

func labCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "A deliberately weak estate to practise on",
		Long:  "A deliberately weak estate to practise on, made without pulling an image. All of it is named lab-… and labelled casco.lab=1.",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	up := &cobra.Command{
		Use:   "up",
		Short: "Put the estate on the engine",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.lab()
			if err != nil {
				return err
			}
			out, err := l.Up(cmd.Context())
			if err != nil {
				return err
			}
			if a.format == "json" {
				return a.json(out)
			}
			a.printLab(out)
			return nil
		},
	}
	down := &cobra.Command{
		Use:   "down",
		Short: "Remove the estate, with its data",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.lab()
			if err != nil {
				return err
			}
			return l.Down(cmd.Context())
		},
	}
	act := &cobra.Command{
		Use:                "act",
		Short:              "What the estate's containers run",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			if code := actor.Main(args, a.out, a.err); code != 0 {
				return quiet(code)
			}
			return nil
		},
	}
	cmd.AddCommand(up, down, act)
	return cmd
}

func (a *app) lab() (lab.Lab, error) {
	address, err := engineAddress(a.host)
	return lab.Lab{Host: address, Dir: a.statePath}, err
}

func (a *app) printLab(out []lab.Outcome) {
	for _, o := range out {
		state := lang.Text{En: "running", Es: "en marcha"}
		if !o.Running {
			state = lang.Text{En: "not running", Es: "detenido"}
		}
		fmt.Fprintf(a.out, "%-14s %-12s %s\n", o.Container, state.In(a.lang), o.Weak.In(a.lang))
		if o.Trouble != "" {
			fmt.Fprintf(a.out, "%-14s %s\n", "", report.Clean(o.Trouble))
		}
	}
}
