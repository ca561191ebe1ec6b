package vuln

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"casco/loop/inventory"
	"casco/loop/risk"
)

// Known is until when a database knows what attackers use, and what was
// published; zero: it has nothing of that.
type Known struct{ KEV, EPSS, Advisories time.Time }

// CVE is m as package risk weighs it. What no record or catalogue says is not
// known there, and counts as the worst.
func (m Match) CVE(k Known) risk.CVE {
	c := risk.CVE{ID: m.ID, Remote: m.CVSS.Vector == "" || m.CVSS.Remote()}
	if !k.KEV.IsZero() {
		listed := m.KEV != nil
		c.KEV = &listed
	}
	if !k.EPSS.IsZero() && m.EPSS != nil {
		c.EPSS = &m.EPSS.Probability
	}
	if c.DataAt = k.KEV; k.EPSS.Before(k.KEV) {
		c.DataAt = k.EPSS
	}
	return c
}

// A Ranked is a match with how soon it is treated, here.
type Ranked struct {
	Match
	Priority risk.Priority `json:"priority,omitempty"` // zero: somebody states that there is nothing to do
	Axes     risk.Axes     `json:"axes"`
	Risk     float64       `json:"risk"` // formula risk/1; it orders inside a priority
	Inputs   risk.Inputs   `json:"inputs"`
}

// Rank puts the matches of what is at ref, an image or a container of t, into
// the order in which to treat them: by the decision table, which knows who
// exploits it and whether what has it runs, is reached and matters; then by the
// formula, CVSS, and whether there is a fix.
func Rank(ms []Match, ref inventory.Ref, t *risk.Terrain, k Known, at time.Time) []Ranked {
	out := make([]Ranked, 0, len(ms))
	for _, m := range ms {
		r := Ranked{Match: m}
		r.Inputs, r.Axes = t.RateCVE(ref, m.CVE(k), at)
		r.Risk = r.Inputs.Current().R
		if !m.VEX.Silent() {
			r.Priority = r.Axes.Priority()
		}
		out = append(out, r)
	}
	slices.SortStableFunc(out, func(a, b Ranked) int {
		return cmp.Or(
			cmp.Compare(b.Priority, a.Priority), cmp.Compare(b.Risk, a.Risk), cmp.Compare(b.CVSS.Score, a.CVSS.Score),
			cmp.Compare(min(len(b.Fixed), 1), min(len(a.Fixed), 1)), strings.Compare(a.ID, b.ID), a.Package.compare(b.Package),
		)
	})
	return out
}
