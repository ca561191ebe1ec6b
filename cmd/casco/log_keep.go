package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"casco/lang"
	"casco/ledger"
)

func logExportCmd(a *app) *cobra.Command {
	var from, to int64
	var bare bool
	var witnesses []string
	cmd := a.manual.verb(&cobra.Command{
		Use: "export",
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := a.book(cmd.Context())
			if err != nil {
				return err
			}
			view, err := b.log.View()
			if err != nil {
				return err
			}
			if to == 0 {
				to = view.Size()
			}
			o := ledger.ExportOptions{From: from, To: to, Actor: operator(), Witnesses: witnesses, Evidence: b.evidence.Get}
			if bare {
				o.Evidence = nil
			}
			m, err := b.log.Export(args[0], o)
			if err != nil {
				return err
			}
			if a.format == "json" {
				return a.json(m)
			}
			fmt.Fprintln(a.out, lang.Text{
				En: "entries %d to %d and %d pieces of evidence are in %s; to check: casco-verify %[4]s",
				Es: "las entradas %d a %d y %d piezas de evidencia están en %s; para comprobar: casco-verify %[4]s",
			}.F(m.From, m.To-1, m.Blobs, args[0]).In(a.lang))
			return b.store.CatchUp(cmd.Context())
		},
	}, lang.Text{
		En: "Write a folder that proves itself, to be checked offline with casco-verify",
		Es: "Escribe una carpeta que se prueba a sí misma, para comprobarla sin red con casco-verify",
	}, lang.Text{
		En: "Write a folder that proves itself, to be checked offline with casco-verify: entries, proofs, evidence, keys.\n\n" +
			"Exit codes: 0 written, 1 trouble.",
		Es: "Escribe una carpeta que se prueba a sí misma, para comprobarla sin red con casco-verify: entradas, pruebas, evidencia, claves.\n\n" +
			"Códigos de salida: 0 escrita, 1 problema.",
	}, aDir)
	f := cmd.Flags()
	f.Int64Var(&from, "from", 0, "")
	a.manual.flag(f, "from", lang.Text{En: "first `ENTRY`", Es: "primera `ENTRADA`"})
	f.Int64Var(&to, "to", 0, "")
	a.manual.flag(f, "to", lang.Text{En: "`ENTRY` before which it ends; else all", Es: "`ENTRADA` antes de la cual termina; si no, todas"})
	f.BoolVar(&bare, "no-evidence", false, "")
	a.manual.flag(f, "no-evidence", lang.Text{En: "leave the evidence out", Es: "deja fuera la evidencia"})
	f.StringArrayVar(&witnesses, "witness", nil, "")
	a.manual.flag(f, "witness", lang.Text{En: "public `KEY` of a witness, to go with it (repeat)", Es: "`CLAVE` pública de un testigo, que va con ella (repetible)"})
	return cmd
}

func logRebuildCmd(a *app) *cobra.Command {
	return a.manual.verb(&cobra.Command{
		Use: "rebuild",
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := a.book(cmd.Context())
			if err != nil {
				return err
			}
			if err := b.store.Rebuild(cmd.Context()); err != nil {
				return err
			}
			view, err := b.log.View()
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, lang.Text{En: "%d rows made from the ledger", Es: "%d filas hechas a partir del registro"}.F(view.Size()).In(a.lang))
			return nil
		},
	}, lang.Text{En: "Make the tables again from the ledger", Es: "Rehace las tablas a partir del registro"}, lang.Text{
		En: "Make the tables again from the ledger. They hold nothing that is not in it.\n\n" +
			"Exit codes: 0 made, 1 trouble.",
		Es: "Rehace las tablas a partir del registro. No tienen nada que no esté en él.\n\n" +
			"Códigos de salida: 0 hechas, 1 problema.",
	})
}

func logHoldCmd(a *app) *cobra.Command {
	var why string
	var release bool
	cmd := a.manual.verb(&cobra.Command{
		Use: "hold",
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := ledger.ParseDigest(args[0])
			if err != nil {
				return usage(err)
			}
			if why == "" {
				return usage(lang.Errorf(lang.Text{En: "--why is needed: who asks for it, and for what", Es: "falta --why: quién lo pide y para qué"}))
			}
			b, err := a.book(cmd.Context())
			if err != nil {
				return err
			}
			put := b.evidence.Hold
			if release {
				put = b.evidence.Release
			}
			return errors.Join(put(d, operator(), why), b.store.CatchUp(cmd.Context()))
		},
	}, lang.Text{
		En: "Put a legal hold on evidence, so that nothing deletes it; or release one",
		Es: "Pone una retención legal sobre una evidencia, para que nada la borre; o la levanta",
	}, lang.Text{
		En: "Put a legal hold on evidence, so that nothing deletes it; or release one. --why is wanted.\n\n" +
			"Exit codes: 0 recorded, 1 trouble.",
		Es: "Pone una retención legal sobre una evidencia, para que nada la borre; o la levanta. Hace falta --why.\n\n" +
			"Códigos de salida: 0 registrado, 1 problema.",
	}, aDigest)
	cmd.Flags().StringVar(&why, "why", "", "")
	a.manual.flag(cmd.Flags(), "why", lang.Text{En: "`TEXT` with the reason; it is recorded", Es: "`TEXTO` con la razón; queda registrado"})
	cmd.Flags().BoolVar(&release, "release", false, "")
	a.manual.flag(cmd.Flags(), "release", lang.Text{En: "take the hold off", Es: "levanta la retención"})
	return cmd
}
