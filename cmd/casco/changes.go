package main

import (
	"time"

	"github.com/spf13/cobra"

	"casco/loop/apply"
)

func changesCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "changes",
		Short: "Show the record of changes, oldest first",
		Args:  cobra.NoArgs,
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
			a.printer().Changes(recs)
			return nil
		},
	}
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
