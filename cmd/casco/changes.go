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
			a.printer().Changes(recs)
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
}

func changeLines(recs []*apply.Record) []changeLine {
	out := []changeLine{}
	for _, r := range recs {
		out = append(out, changeLine{r.ID, r.PlanID, r.State, r.By, r.Begun, r.Ended, len(r.Plan.Steps), r.Why})
	}
	return out
}
