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
	cmd := a.manual.verb(&cobra.Command{
		Use:  "lab",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}, lang.Text{En: "A deliberately weak estate to practise on", Es: "Una instalación débil a propósito para practicar"}, lang.Text{
		En: "A deliberately weak estate to practise on, made without pulling an image. All of it is named lab-… and labelled casco.lab=1. " +
			"It opens ports and holes on this machine: not for one that others reach.",
		Es: "Una instalación débil a propósito para practicar, hecha sin descargar imágenes. Todo en ella se llama lab-… y lleva la etiqueta casco.lab=1. " +
			"Abre puertos y agujeros en esta máquina: no es para una a la que lleguen otros.",
	})
	up := a.manual.verb(&cobra.Command{
		Use: "up",
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
	}, lang.Text{En: "Put the estate on the engine", Es: "Pone la instalación en el motor"}, lang.Text{
		En: "Put the estate on the engine.\n\nExit codes: 0 it is up, 1 trouble.",
		Es: "Pone la instalación en el motor.\n\nCódigos de salida: 0 está puesta, 1 problema.",
	})
	down := a.manual.verb(&cobra.Command{
		Use: "down",
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.lab()
			if err != nil {
				return err
			}
			return l.Down(cmd.Context())
		},
	}, lang.Text{En: "Remove the estate, with its data", Es: "Quita la instalación, con sus datos"}, lang.Text{
		En: "Remove the estate, with its data.\n\nExit codes: 0 it is gone, 1 trouble.",
		Es: "Quita la instalación, con sus datos.\n\nCódigos de salida: 0 ya no está, 1 problema.",
	})
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
