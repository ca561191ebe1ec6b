package report

import (
	"encoding/json"
	"io"
)

// json writes d with the texts of both languages. A list without elements is
// an empty list, never null: whoever reckons with it need not ask.
func (d *Dossier) json(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	return e.Encode(d.whole())
}

// whole is d with its missing lists empty.
func (d *Dossier) whole() Dossier {
	out := *d
	out.Posture.Domains, out.Posture.Priorities = orEmpty(d.Posture.Domains), orEmpty(d.Posture.Priorities)
	out.History, out.Inventory, out.Results = orEmpty(d.History), orEmpty(d.Inventory), orEmpty(d.Results)
	out.Risks, out.Paths, out.Exceptions, out.Overrides = orEmpty(d.Risks), orEmpty(d.Paths), orEmpty(d.Exceptions), orEmpty(d.Overrides)
	out.Changes, out.Undeclared, out.Incidents, out.Problems = orEmpty(d.Changes), orEmpty(d.Undeclared), orEmpty(d.Incidents), orEmpty(d.Problems)
	out.Metrics, out.Controls, out.Runs, out.Annex = orEmpty(d.Metrics), orEmpty(d.Controls), orEmpty(d.Runs), orEmpty(d.Annex)
	out.Evidence, out.Sample.Drawn = orEmpty(d.Evidence), orEmpty(d.Sample.Drawn)
	out.Limits.Gaps, out.Limits.Other = orEmpty(d.Limits.Gaps), orEmpty(d.Limits.Other)
	out.Limits.Unknown, out.Limits.Manual, out.Limits.NotAsked = orEmpty(d.Limits.Unknown), orEmpty(d.Limits.Manual), orEmpty(d.Limits.NotAsked)
	out.Segmentation.Tiers, out.Segmentation.Pairs = orEmpty(d.Segmentation.Tiers), orEmpty(d.Segmentation.Pairs)
	return out
}
