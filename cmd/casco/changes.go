package main

import (
	"time"

	"github.com/spf13/cobra"

	"casco/lang"
	"casco/loop/apply"
)

func changesCmd(a *app) *cobra.Command {
	return a.manual.verb(&cobra.Command{
		Use: "changes",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.recover(cmd.Context()); err != nil {
				return err
			}
			a.warnSilence()
			recs, err := a.state().Records()
			if err != nil {
				return err
			}
			if a.format == "json" {
				return a.json(map[string]any{"changes": changeLines(recs)})
			}
			if len(recs) == 0 {
				a.tell(lang.Text{En: "no change is on record under %s", Es: "no hay ningún cambio registrado bajo %s"}, a.statePath)
			}
			a.printer().Changes(recs, time.Now())
			return nil
		},
	}, lang.Text{En: "Show the record of changes, oldest first", Es: "Muestra el registro de cambios, primero el más antiguo"}, lang.Text{
		En: "Show the record of changes, oldest first. One that a dead run left half way is brought to its end first.\n\n" +
			"Exit codes: 0 shown, 1 trouble.",
		Es: "Muestra el registro de cambios, primero el más antiguo. Antes lleva a su fin el que una ejecución muerta dejó a medias.\n\n" +
			"Códigos de salida: 0 mostrado, 1 problema.",
	})
}

// A changeLine is one change in the JSON of "casco changes".
type changeLine struct {
	ID    string      `json:"id"`
	Plan  string      `json:"plan"`
	State apply.State `json:"state"`
	By    string      `json:"by"`
	Begun time.Time   `json:"begun"`
	Ended time.Time   `json:"ended,omitzero"`
	Steps int         `json:"steps"`
	Why   string      `json:"why,omitempty"`

	Class     string    `json:"class"`
	Author    string    `json:"author"`
	Approvers []string  `json:"approvers"`
	Reason    string    `json:"reason,omitempty"`
	ConfirmBy time.Time `json:"confirm_by,omitzero"` // it takes itself back then, unless confirmed
	RatifyBy  time.Time `json:"ratify_by,omitzero"`  // an emergency: to be ratified until then
	Ratified  time.Time `json:"ratified,omitzero"`
	// Proposed is a command that is proposed for it: an emergency that nobody
	// ratified in time is to be taken back.
	Proposed string `json:"proposed,omitempty"`
}

func changeLines(recs []*apply.Record) []changeLine {
	out := []changeLine{}
	for _, r := range recs {
		c := changeLine{
			ID: r.ID, Plan: r.PlanID, State: r.State, By: r.By, Begun: r.Begun, Ended: r.Ended, Steps: len(r.Plan.Steps), Why: r.Why,
			Class: r.Class, Author: r.Author, Approvers: append([]string{}, r.Approvers...), Reason: r.Reason, RatifyBy: r.RatifyBy, Ratified: r.Ratified,
		}
		if r.State == apply.Verified {
			c.ConfirmBy = r.ConfirmBy
		}
		if r.Unratified(time.Now()) {
			c.Proposed = command("rollback", r.ID)
		}
		out = append(out, c)
	}
	return out
}
