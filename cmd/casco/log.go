package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"casco/lang"
	"casco/ledger"
	"casco/report"
	"casco/store"
)

func logCmd(a *app) *cobra.Command {
	cmd := a.manual.verb(&cobra.Command{
		Use:  "log",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}, lang.Text{
		En: "The ledger of all that casco did: show, verify, prove, witness, export",
		Es: "El registro de todo lo que hizo casco: mostrar, verificar, probar, atestiguar, exportar",
	}, lang.Text{
		En: "The ledger of all that casco did: show, verify, prove, witness, export. Entries are only ever added; nothing in it is changed or " +
			"taken out.",
		Es: "El registro de todo lo que hizo casco: mostrar, verificar, probar, atestiguar, exportar. Solo se añaden entradas; nada de él se " +
			"cambia ni se quita.",
	})
	cmd.AddCommand(logShowCmd(a), logVerifyCmd(a), logProveCmd(a), logKeyCmd(a), logCheckpointCmd(a), logWitnessCmd(a), logWitnessedCmd(a), logExportCmd(a), logRebuildCmd(a), logHoldCmd(a))
	return cmd
}

func logShowCmd(a *app) *cobra.Command {
	var kind, about, from, until string
	var last int
	cmd := a.manual.verb(&cobra.Command{
		Use: "show",
		RunE: func(cmd *cobra.Command, _ []string) error {
			begin, err1 := parseTime(from)
			end, err2 := parseTime(until)
			if err := errors.Join(err1, err2); err != nil {
				return usage(err)
			}
			if kind != "" && !ledger.Kind(kind).Known() {
				return usage(lang.Errorf(lang.Text{En: "there is no kind of entry %q: %v", Es: "no hay entradas de tipo %q: %v"}, kind, ledger.Kinds()))
			}
			view, err := a.ledgerView()
			if err != nil {
				return err
			}
			entries := []ledger.Record{}
			for r, err := range view.Entries(0, view.Size()) {
				if err != nil {
					return err
				}
				if (kind == "" || string(r.Kind) == kind) && (about == "" || r.About == about) &&
					!r.Time.Before(begin) && (end.IsZero() || r.Time.Before(end)) {
					entries = append(entries, r)
				}
			}
			if last > 0 {
				entries = entries[max(0, len(entries)-last):]
			}
			if a.format == "json" {
				return a.json(map[string]any{"entries": entries})
			}
			p := a.printer()
			for _, r := range entries {
				p.Entry(r.Index, r.Time, string(r.Kind), r.Actor, r.About, r.Data)
			}
			return nil
		},
	}, lang.Text{En: "Print entries, oldest first", Es: "Imprime entradas, primero la más antigua"}, lang.Text{
		En: "Print entries, oldest first.\n\n" +
			"Exit codes: 0 printed, 1 trouble.",
		Es: "Imprime entradas, primero la más antigua.\n\n" +
			"Códigos de salida: 0 impresas, 1 problema.",
	})
	f := cmd.Flags()
	f.StringVar(&kind, "kind", "", "")
	a.manual.flag(f, "kind", lang.Text{
		En: "only entries of this `KIND`: run, verdict, change, approval, step, policy …",
		Es: "solo entradas de este `TIPO`: run, verdict, change, approval, step, policy …",
	})
	f.StringVar(&about, "about", "", "")
	a.manual.flag(f, "about", lang.Text{
		En: "only entries about this `THING`: a change's ID, a finding's fingerprint, container/web",
		Es: "solo entradas sobre esta `COSA`: el ID de un cambio, la huella de un hallazgo, container/web",
	})
	f.StringVar(&from, "from", "", "")
	a.manual.flag(f, "from", lang.Text{En: "not before this `TIME`: 2026-12-01T00:00:00Z", Es: "no antes de esta `HORA`: 2026-12-01T00:00:00Z"})
	f.StringVar(&until, "until", "", "")
	a.manual.flag(f, "until", lang.Text{En: "before this `TIME`: 2026-12-31T00:00:00Z", Es: "antes de esta `HORA`: 2026-12-31T00:00:00Z"})
	f.IntVarP(&last, "last", "n", 0, "")
	a.manual.flag(f, "last", lang.Text{En: "only this `NUMBER`, the newest", Es: "solo este `NÚMERO`, las más nuevas"})
	return cmd
}

// ledgerView opens the ledger for reading; reading makes nothing.
func (a *app) ledgerView() (*ledger.View, error) {
	trust, err := a.ledgerTrust(nil)
	if err != nil {
		return nil, err
	}
	return ledger.Read(a.ledgerDir(), trust.Log...)
}

func (a *app) ledgerDir() string { return filepath.Join(a.statePath, "ledger") }

// ledgerTrust is the key of this host's ledger, with those of witnesses.
func (a *app) ledgerTrust(witnesses []string) (ledger.Trust, error) {
	if _, err := os.Stat(filepath.Join(a.statePath, "ledger.key")); errors.Is(err, fs.ErrNotExist) {
		return ledger.Trust{}, coded{exitTrouble, lang.Errorf(lang.Text{
			En: "this host has no ledger yet: nothing was run here", Es: "este anfitrión aún no tiene registro: no se ejecutó nada aquí",
		}), command("run")}
	}
	key, err := a.logKey()
	if err != nil {
		return ledger.Trust{}, err
	}
	trust := ledger.Trust{Log: []note.Verifier{key.Verifier()}}
	for _, w := range witnesses {
		v, err := ledger.ParseVerifier(w)
		if err != nil {
			return trust, usage(err)
		}
		trust.Witnesses = append(trust.Witnesses, v)
	}
	return trust, nil
}

func logVerifyCmd(a *app) *cobra.Command {
	var held, witnesses []string
	var least int
	cmd := a.manual.verb(&cobra.Command{
		Use: "verify",
		RunE: func(cmd *cobra.Command, _ []string) error {
			trust, err := a.ledgerTrust(witnesses)
			if err != nil {
				return err
			}
			checks := ledger.Checks{Trust: trust, MinWitnesses: least, Evidence: filepath.Join(a.statePath, "evidence"), Now: time.Now()}
			if checks.Held, err = readHeld(held); err != nil {
				return err
			}
			r, err := ledger.Verify(cmd.Context(), a.ledgerDir(), checks)
			if err != nil {
				return err
			}
			// The ledger's verdict stands, also where a full disk keeps the tables shut.
			rows, err := a.checkTables(cmd.Context(), r)
			if a.format == "json" {
				err = errors.Join(err, a.json(struct {
					*ledger.Report
					Tables []store.Mismatch `json:"tables"`
				}{r, rows}))
			} else {
				for _, line := range r.Lines() {
					fmt.Fprintln(a.out, report.Clean(line.In(a.lang)))
				}
				for _, m := range rows {
					fmt.Fprintln(a.out, rowIs[m.What].F(m.Index).In(a.lang))
				}
			}
			if err == nil && (!r.OK() || len(rows) > 0 || a.opened.damaged) {
				return quiet(exitFindings)
			}
			return err
		},
	}, lang.Text{
		En: "Check every entry, tile, root and piece of evidence, and the tables beside them",
		Es: "Comprueba cada entrada, losa, raíz y pieza de evidencia, y las tablas junto a ellas",
	}, lang.Text{
		En: "Check every entry, tile, root and piece of evidence, and the tables beside them. What is wrong is named.\n\n" +
			"A log that its own host cut short and signed again verifies by itself: give a checkpoint that somebody else keeps (--held, a file " +
			"or a folder of them) and that is seen too.\n\n" +
			"Exit codes: 0 nothing is wrong, 1 it could not be read, 3 something is wrong.",
		Es: "Comprueba cada entrada, losa, raíz y pieza de evidencia, y las tablas junto a ellas. Lo que está mal se nombra.\n\n" +
			"Un registro que su propio anfitrión cortó y volvió a firmar se verifica por sí solo: dé un punto de control que guarde otra persona " +
			"(--held, un archivo o una carpeta de ellos) y eso también se ve.\n\n" +
			"Códigos de salida: 0 nada está mal, 1 no se pudo leer, 3 algo está mal.",
	})
	f := cmd.Flags()
	f.StringArrayVar(&held, "held", nil, "")
	a.manual.flag(f, "held", lang.Text{
		En: "a checkpoint that somebody keeps outside this host: a `FILE`, or a folder of them (repeat)",
		Es: "un punto de control que alguien guarda fuera de este anfitrión: un `ARCHIVO`, o una carpeta de ellos (repetible)",
	})
	f.StringArrayVar(&witnesses, "witness", nil, "")
	a.manual.flag(f, "witness", lang.Text{En: "public `KEY` of a witness, name+id+base64 (repeat)", Es: "`CLAVE` pública de un testigo, name+id+base64 (repetible)"})
	f.IntVar(&least, "min-witnesses", 0, "")
	a.manual.flag(f, "min-witnesses", lang.Text{En: "this `NUMBER` of witnesses must vouch for the log", Es: "este `NÚMERO` de testigos debe responder por el registro"})
	return cmd
}

var rowIs = map[string]lang.Text{
	"changed": {En: "entry %d: its row in the tables was changed; casco log rebuild", Es: "entrada %d: su fila en las tablas fue alterada; casco log rebuild"},
	"missing": {En: "entry %d: its row in the tables is missing; casco log rebuild", Es: "entrada %d: falta su fila en las tablas; casco log rebuild"},
	"extra":   {En: "entry %d: there is a row in the tables and no such entry; casco log rebuild", Es: "entrada %d: hay una fila en las tablas y no existe tal entrada; casco log rebuild"},
}

// checkTables compares the tables with a ledger that is good; with one that is
// not there is nothing to compare.
func (a *app) checkTables(ctx context.Context, r *ledger.Report) ([]store.Mismatch, error) {
	if !r.OK() {
		return nil, nil
	}
	b, err := a.book(ctx)
	if err != nil || b.damaged { // what was wrong with them has been said
		return nil, err
	}
	return b.store.Check(ctx)
}

// readHeld reads the checkpoints in files and folders.
func readHeld(paths []string) ([]ledger.Held, error) {
	var out []ledger.Held
	for _, path := range paths {
		files := []string{path}
		if st, err := os.Stat(path); err != nil {
			return nil, err
		} else if st.IsDir() {
			if files, err = filepath.Glob(filepath.Join(path, "*")); err != nil {
				return nil, err
			}
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				return nil, err
			}
			out = append(out, ledger.Held{From: f, Note: b})
		}
	}
	return out, nil
}

func logProveCmd(a *app) *cobra.Command {
	return a.manual.verb(&cobra.Command{
		Use: "prove",
		RunE: func(_ *cobra.Command, args []string) error {
			i, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				return usage(lang.Errorf(lang.Text{En: "%q is not the index of an entry", Es: "%q no es el índice de una entrada"}, args[0]))
			}
			view, err := a.ledgerView()
			if err != nil {
				return err
			}
			e, err := view.Entry(i)
			if err != nil {
				return err
			}
			p, err := view.Proof(i)
			if err != nil {
				return err
			}
			if a.format == "json" {
				return a.json(map[string]any{"entry": string(e.Raw), "proof": string(p.Text())})
			}
			_, err = a.out.Write(p.Text())
			return err
		},
	}, lang.Text{
		En: "Print a proof that an entry is in the log, which anybody can check offline",
		Es: "Imprime una prueba de que una entrada está en el registro, que cualquiera comprueba sin red",
	}, lang.Text{
		En: "Print a proof that an entry is in the log, in the format c2sp.org/tlog-proof. In JSON the entry's own bytes come with it.\n\n" +
			"Exit codes: 0 printed, 1 trouble.",
		Es: "Imprime una prueba de que una entrada está en el registro, en el formato c2sp.org/tlog-proof. En JSON la acompañan los bytes de la " +
			"propia entrada.\n\n" +
			"Códigos de salida: 0 impresa, 1 problema.",
	}, anIndex)
}
