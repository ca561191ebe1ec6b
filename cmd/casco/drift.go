package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"casco/internal/atomicfile"
	"casco/lang"
	"casco/loop/apply"
	"casco/loop/inventory"
)

func driftCmd(a *app) *cobra.Command {
	var against string
	var accept bool
	cmd := a.manual.verb(&cobra.Command{
		Use: "drift",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.recover(cmd.Context()); err != nil {
				return err
			}
			baseline := against
			if baseline == "" {
				baseline = filepath.Join(a.statePath, "baseline.json")
			}
			l, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			if accept {
				return a.accept(l, baseline)
			}
			if l.trouble != nil { // all of it would seem to be gone
				return l.trouble
			}
			f, err := os.Open(baseline)
			if errors.Is(err, fs.ErrNotExist) {
				return coded{exitTrouble, lang.Errorf(lang.Text{
					En: "there is no baseline to compare with",
					Es: "no hay una base con la que comparar",
				}), command("drift", "--accept")}
			}
			if err != nil {
				return err
			}
			defer f.Close()
			was, err := inventory.ReadSnapshot(f)
			if err != nil {
				return fmt.Errorf("%s: %w", baseline, err)
			}
			return a.drift(was, l.read)
		},
	}, lang.Text{En: "Show what changed on this host outside casco", Es: "Muestra qué cambió en este anfitrión fuera de casco"}, lang.Text{
		En: "Show what changed on this host outside casco since a baseline: a snapshot file, or the one that drift --accept keeps.\n\n" +
			"Exit codes: 0 nothing changed, 1 trouble, 3 something changed.",
		Es: "Muestra qué cambió en este anfitrión fuera de casco desde una base: un archivo de instantánea, o el que guarda drift --accept.\n\n" +
			"Códigos de salida: 0 nada cambió, 1 problema, 3 algo cambió.",
	})
	cmd.Flags().StringVar(&against, "against", "", "")
	cmd.Flags().BoolVar(&accept, "accept", false, "")
	a.manual.flag(cmd.Flags(), "against", lang.Text{En: "snapshot `FILE` to compare with", Es: "`ARCHIVO` de instantánea con el que comparar"})
	a.manual.flag(cmd.Flags(), "accept", lang.Text{En: "take this host as it is now for the baseline", Es: "toma este anfitrión como está ahora por base"})
	return cmd
}

func (a *app) accept(l *look, path string) error {
	if l.trouble != nil {
		return l.trouble
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := l.read.Write(&b); err != nil {
		return err
	}
	if err := atomicfile.Write(path, b.Bytes(), 0o600); err != nil {
		return err
	}
	a.tell(lang.Text{En: "baseline kept: %s, %d objects", Es: "base guardada: %s, %d objetos"}, path, len(l.snapshot.Objects))
	return nil
}

// A drifted field is a difference; Change names the change of ours that made
// it, if one did.
type drifted struct {
	inventory.Difference
	Change string `json:"change,omitempty"`
}

func (a *app) drift(was, now *inventory.Snapshot) error {
	recs, err := a.state().Records()
	if err != nil {
		return err
	}
	out, foreign := []drifted{}, 0
	for _, d := range inventory.Diff(was, now) {
		by := madeBy(recs, d)
		if by == "" {
			foreign++
		}
		out = append(out, drifted{d, by})
	}
	if a.format == "json" {
		err = a.json(map[string]any{"since": was.Taken, "drift": out})
	} else {
		a.printDrift(was, out, foreign)
	}
	if err == nil && foreign > 0 {
		return quiet(exitFindings)
	}
	return err
}

func (a *app) printDrift(was *inventory.Snapshot, out []drifted, foreign int) {
	since := was.Taken.Format("2006-01-02 15:04:05Z")
	fmt.Fprintln(a.out, lang.Text{En: "%d differences since %s, %d without a change of casco", Es: "%d diferencias desde %s, %d sin un cambio de casco"}.
		F(len(out), since, foreign).In(a.lang))
	p := a.printer()
	for _, d := range out {
		p.Difference(d.Difference, d.Change)
	}
}

// madeBy returns the change that stands and left the field as it is now.
func madeBy(recs []*apply.Record, d inventory.Difference) string {
	for i := len(recs) - 1; i >= 0; i-- {
		if !recs[i].Stands() {
			continue
		}
		for _, done := range recs[i].Done {
			if v, ok := done.After[d.Field]; ok && recs[i].Plan.Steps[done.Step].Ref == d.Ref && inventory.Equal(v, d.Now) {
				return recs[i].ID
			}
		}
	}
	return ""
}
