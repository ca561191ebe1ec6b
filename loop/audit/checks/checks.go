// Package checks holds the checks, one file each; a family of equal checks
// (the files whose mode matters) is one file and a table.
//
// To add a check, add ID.go (dashes become underscores) that defines one
// *audit.Check and names it in All, and testdata/ID.txt with at least one
// object that passes, one that fails and one that cannot be told. TestChecks
// holds every check to both languages, a severity, a domain, controls that
// exist, evidence always, and a remedy that cures.
package checks

import (
	"slices"
	"strings"

	"casco/loop/audit"
)

// All returns every check, sorted by ID.
func All() []*audit.Check {
	all := slices.Concat(containerChecks(), imageChecks(), daemonChecks(), fileChecks(), watchChecks(), hostChecks(), swarmChecks(), dockerfileChecks())
	slices.SortFunc(all, func(a, b *audit.Check) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// Find returns the check with that ID, or nil.
func Find(id string) *audit.Check {
	for _, c := range All() {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// on builds the list of controls from pairs of framework and number.
func on(pairs ...string) []audit.Control {
	var cs []audit.Control
	for i := 0; i+1 < len(pairs); i += 2 {
		cs = append(cs, audit.Control{Framework: pairs[i], Number: pairs[i+1]})
	}
	return cs
}
