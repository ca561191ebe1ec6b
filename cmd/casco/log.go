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
	cmd := &cobra.Command{
		Use:   "log",
		Short: "The ledger of all that casco did: show, verify, prove, witness, export",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(logShowCmd(a), logVerifyCmd(a), logProveCmd(a), logCheckpointCmd(a), logWitnessCmd(a), logWitnessedCmd(a), logExportCmd(a), logRebuildCmd(a), logHoldCmd(a))
	return cmd
}

func logShowCmd(a *app) *cobra.Command {
	var kind, about, from, until string
	var last int
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print entries, oldest first",
		Args:  cobra.NoArgs,
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
	}
	f := cmd.Flags()
	f.StringVar(&kind, "kind", "", "only entries of this kind: run, verdict, change, approval, step, policy …")
	f.StringVar(&about, "about", "", "only entries about this: a change's ID, a finding's fingerprint, container/web")
	f.StringVar(&from, "from", "", "not before: 2026-12-01T00:00:00Z")
	f.StringVar(&until, "until", "", "before: 2026-12-31T00:00:00Z")
	f.IntVarP(&last, "last", "n", 0, "only so many, the newest")
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
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check every entry, tile, root and piece of evidence, and the tables beside them",
		Long: "Check every entry, tile, root and piece of evidence, and the tables beside them. What is wrong is named.\n\n" +
			"A log that its own host cut short and signed again verifies by itself: give a checkpoint that somebody else keeps\n" +
			"(--held, a file or a folder of them) and that is seen too.\n\n" +
			"Exit codes: 0 nothing is wrong, 1 it could not be read, 3 something is wrong.",
		Args: cobra.NoArgs,
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
	}
	f := cmd.Flags()
	f.StringArrayVar(&held, "held", nil, "a checkpoint that somebody keeps outside this host: a file, or a folder of them (repeat)")
	f.StringArrayVar(&witnesses, "witness", nil, "public key of a witness, name+id+base64 (repeat)")
	f.IntVar(&least, "min-witnesses", 0, "so many witnesses must vouch for the log")
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
	return &cobra.Command{
		Use:   "prove INDEX",
		Short: "Print a proof that an entry is in the log, which anybody can check offline",
		Long:  "Print a proof that an entry is in the log, in the format c2sp.org/tlog-proof. In JSON the entry's own bytes come with it.",
		Args:  cobra.ExactArgs(1),
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
	}
}

func logCheckpointCmd(a *app) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "checkpoint",
		Short: "Publish the signed root of the log, to be kept by somebody else",
		Args:  cobra.NoArgs,
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
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write it to")
	return cmd
}

func logWitnessCmd(a *app) *cobra.Command {
	var of, key, out, name string
	cmd := &cobra.Command{
		Use:   "witness DIR",
		Short: "Be a witness: cosign the log if it has merely grown since you last saw it",
		Long: "Be a witness: cosign the log if it has merely grown since you last saw it, and remember that you did. DIR is the\n" +
			"witness's own, with its key, which is made the first time: keep it on another machine, or with the auditor.\n\n" +
			"Without --of it is the log of this host, which takes the cosignature over. With --of DIR --log KEY it is a copy of\n" +
			"another host's log, or its export; the cosigned checkpoint is printed, for casco log witnessed on that host.",
		Args: cobra.ExactArgs(1),
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
	}
	f := cmd.Flags()
	f.StringVar(&of, "of", "", "a copy or an export of another host's log")
	f.StringVar(&key, "log", "", "public key of that log, name+id+base64: its host prints it with casco log verify --format json")
	f.StringVar(&name, "name", "", "name of the witness, when its key is made (default: this host's)")
	f.StringVarP(&out, "output", "o", "", "file to write the cosigned checkpoint to")
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
	cmd := &cobra.Command{
		Use:   "witnessed FILE",
		Short: "Take over a checkpoint that a witness elsewhere cosigned",
		Args:  cobra.ExactArgs(1),
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
	}
	cmd.Flags().StringVar(&key, "key", "", "public key of the witness, name+id+base64")
	return cmd
}

func logExportCmd(a *app) *cobra.Command {
	var from, to int64
	var bare bool
	var witnesses []string
	cmd := &cobra.Command{
		Use:   "export DIR",
		Short: "Write a folder that proves itself, to be checked offline with casco-verify",
		Args:  cobra.ExactArgs(1),
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
	}
	f := cmd.Flags()
	f.Int64Var(&from, "from", 0, "first entry")
	f.Int64Var(&to, "to", 0, "entry before which it ends (default: all)")
	f.BoolVar(&bare, "no-evidence", false, "leave the evidence out")
	f.StringArrayVar(&witnesses, "witness", nil, "public key of a witness, to go with it (repeat)")
	return cmd
}

func logRebuildCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "rebuild",
		Short: "Make the tables again from the ledger",
		Args:  cobra.NoArgs,
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
	}
}

func logHoldCmd(a *app) *cobra.Command {
	var why string
	var release bool
	cmd := &cobra.Command{
		Use:   "hold SHA256",
		Short: "Put a legal hold on evidence, so that nothing deletes it; or release one",
		Args:  cobra.ExactArgs(1),
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
	}
	cmd.Flags().StringVar(&why, "why", "", "the reason; it is recorded")
	cmd.Flags().BoolVar(&release, "release", false, "take the hold off")
	return cmd
}
