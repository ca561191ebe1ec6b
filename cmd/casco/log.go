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

	"casco/internal/atomicfile"
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
	cmd.AddCommand(logShowCmd(a), logVerifyCmd(a), logProveCmd(a), logCheckpointCmd(a), logWitnessCmd(a), logWitnessedCmd(a), logExportCmd(a), logRebuildCmd(a), logHoldCmd(a))
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

func logCheckpointCmd(a *app) *cobra.Command {
	var out string
	cmd := a.manual.verb(&cobra.Command{
		Use: "checkpoint",
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := a.book(cmd.Context())
			if err != nil {
				return err
			}
			cp, err := b.log.Publish()
			if err != nil {
				return err
			}
			if out != "" {
				return atomicfile.Write(out, cp.Note, 0o644)
			}
			_, err = a.out.Write(cp.Note)
			return err
		},
	}, lang.Text{
		En: "Publish the signed root of the log, to be kept by somebody else",
		Es: "Publica la raíz firmada del registro, para que la guarde otra persona",
	}, lang.Text{
		En: "Publish the signed root of the log, to be kept by somebody else: an older one is the only thing that shows a log that was cut " +
			"short.\n\n" +
			"Exit codes: 0 published, 1 trouble.",
		Es: "Publica la raíz firmada del registro, para que la guarde otra persona: una más antigua es lo único que muestra un registro cortado.\n\n" +
			"Códigos de salida: 0 publicada, 1 problema.",
	})
	cmd.Flags().StringVarP(&out, "output", "o", "", "")
	a.manual.flag(cmd.Flags(), "output", lang.Text{En: "`FILE` to write it to; else standard output", Es: "`ARCHIVO` donde escribirlo; si no, la salida estándar"})
	return cmd
}

func logWitnessCmd(a *app) *cobra.Command {
	var of, key, out, name string
	cmd := a.manual.verb(&cobra.Command{
		Use: "witness",
		RunE: func(cmd *cobra.Command, args []string) error {
			wkey, err := witnessKey(args[0], name)
			if err != nil {
				return err
			}
			if of == "" {
				return a.witnessOwn(cmd.Context(), args[0], wkey)
			}
			log, err := ledger.ParseVerifier(key)
			if err != nil {
				return usage(fmt.Errorf("%s: %w", "--log", err))
			}
			view, err := ledger.Read(of, log)
			if err != nil {
				return err
			}
			line, cp, err := cosign(args[0], wkey, view, log)
			if err != nil {
				return err
			}
			cosigned := append(append([]byte(nil), cp.Note...), line...)
			if out != "" {
				return atomicfile.Write(out, cosigned, 0o644)
			}
			_, err = a.out.Write(cosigned)
			return err
		},
	}, lang.Text{
		En: "Be a witness: cosign the log if it has merely grown since you last saw it",
		Es: "Sea testigo: cofirma el registro si solo ha crecido desde la última vez",
	}, lang.Text{
		En: "Be a witness: cosign the log if it has merely grown since you last saw it, and remember that you did. DIR is the witness's own, " +
			"with its key, which is made the first time: keep it on another machine, or with the auditor.\n\n" +
			"Without --of it is the log of this host, which takes the cosignature over. With --of DIR --log KEY it is a copy of another host's " +
			"log, or its export; the cosigned checkpoint is printed, for casco log witnessed on that host.\n\n" +
			"Exit codes: 0 cosigned, 1 trouble.",
		Es: "Sea testigo: cofirma el registro si solo ha crecido desde la última vez, y recuerda que lo hizo. DIR es del testigo, con su clave, " +
			"que se crea la primera vez: guárdela en otra máquina, o con el auditor.\n\n" +
			"Sin --of es el registro de este anfitrión, que toma la cofirma. Con --of DIR --log CLAVE es una copia del registro de otro " +
			"anfitrión, o su exportación; el punto de control cofirmado se imprime, para casco log witnessed en aquel anfitrión.\n\n" +
			"Códigos de salida: 0 cofirmado, 1 problema.",
	}, aDir)
	f := cmd.Flags()
	f.StringVar(&of, "of", "", "")
	a.manual.flag(f, "of", lang.Text{En: "`DIR` with a copy or an export of another host's log", Es: "`DIR` con una copia o una exportación del registro de otro anfitrión"})
	f.StringVar(&key, "log", "", "")
	a.manual.flag(f, "log", lang.Text{
		En: "public `KEY` of that log, name+id+base64: its host prints it with casco log verify --format json",
		Es: "`CLAVE` pública de ese registro, name+id+base64: su anfitrión la imprime con casco log verify --format json",
	})
	f.StringVar(&name, "name", "", "")
	a.manual.flag(f, "name", lang.Text{
		En: "`NAME` of the witness, when its key is made; else this host's",
		Es: "`NOMBRE` del testigo, al crear su clave; si no, el de este anfitrión",
	})
	f.StringVarP(&out, "output", "o", "", "")
	a.manual.flag(f, "output", lang.Text{
		En: "`FILE` to write the cosigned checkpoint to; else standard output",
		Es: "`ARCHIVO` donde escribir el punto de control cofirmado; si no, la salida estándar",
	})
	return cmd
}

func witnessKey(dir, name string) (*ledger.Key, error) {
	path := filepath.Join(dir, "witness.key")
	if b, err := os.ReadFile(path); err == nil {
		if k, err := ledger.ParseKey(string(trimNewline(b))); err == nil {
			name = k.Name()
		}
	}
	if name == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, err
		}
		name = host + "/witness"
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return ledger.WitnessKeyFile(path, name)
}

func trimNewline(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == '\n' {
		b = b[:len(b)-1]
	}
	return b
}

// cosign asks the witness in dir to cosign the newest checkpoint of view.
func cosign(dir string, key *ledger.Key, view *ledger.View, log note.Verifier) ([]byte, ledger.Checkpoint, error) {
	cp := view.Checkpoint()
	w, err := ledger.NewWitness(filepath.Join(dir, "seen"), key, time.Now, log)
	if err != nil {
		return nil, cp, err
	}
	seen, err := w.Seen(cp.Origin)
	if err != nil {
		return nil, cp, err
	}
	if seen.Size > cp.Size {
		return nil, cp, coded{exitFindings, lang.Errorf(lang.Text{
			En: "this witness has cosigned %d entries of %s, and it has only %d: its tail was cut off",
			Es: "este testigo cofirmó %d entradas de %s, y sólo tiene %d: se le cortó el final",
		}, seen.Size, cp.Origin, cp.Size), ""}
	}
	r, err := view.Request(seen.Size)
	if err != nil {
		return nil, cp, err
	}
	line, err := w.Add(r)
	if errors.Is(err, ledger.ErrInconsistent) {
		return nil, cp, coded{exitFindings, lang.Errorf(lang.Text{
			En: "%s is not the log that this witness has seen: %w", Es: "%s no es el registro que este testigo vio: %w",
		}, cp.Origin, err), ""}
	}
	return line, cp, err
}

func (a *app) witnessOwn(ctx context.Context, dir string, key *ledger.Key) error {
	b, err := a.book(ctx)
	if err != nil {
		return err
	}
	own, err := a.logKey()
	if err != nil {
		return err
	}
	view, err := b.log.View()
	if err != nil {
		return err
	}
	line, cp, err := cosign(dir, key, view, own.Verifier())
	if err != nil {
		return err
	}
	if _, err := b.log.Witnessed(cp.Note, line, key.Verifier()); err != nil {
		return err
	}
	fmt.Fprintln(a.out, lang.Text{En: "%d entries cosigned by %s", Es: "%d entradas cofirmadas por %s"}.F(cp.Size, key.Public()).In(a.lang))
	return nil
}

func logWitnessedCmd(a *app) *cobra.Command {
	var key string
	cmd := a.manual.verb(&cobra.Command{
		Use: "witnessed",
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := ledger.ParseVerifier(key)
			if err != nil {
				return usage(fmt.Errorf("%s: %w", "--key", err))
			}
			cosigned, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			b, err := a.book(cmd.Context())
			if err != nil {
				return err
			}
			cp, err := b.log.Witnessed(cosigned, nil, v)
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, lang.Text{En: "%d entries are witnessed by %s", Es: "%d entradas tienen el testimonio de %s"}.F(cp.Size, v.Name()).In(a.lang))
			return nil
		},
	}, lang.Text{En: "Take over a checkpoint that a witness elsewhere cosigned", Es: "Toma un punto de control que cofirmó un testigo en otra parte"}, lang.Text{
		En: "Take over a checkpoint that a witness elsewhere cosigned.\n\n" +
			"Exit codes: 0 taken over, 1 trouble.",
		Es: "Toma un punto de control que cofirmó un testigo en otra parte.\n\n" +
			"Códigos de salida: 0 tomado, 1 problema.",
	}, aFile)
	cmd.Flags().StringVar(&key, "key", "", "")
	a.manual.flag(cmd.Flags(), "key", lang.Text{En: "public `KEY` of the witness, name+id+base64", Es: "`CLAVE` pública del testigo, name+id+base64"})
	return cmd
}

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
