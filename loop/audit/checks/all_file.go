package checks

import "casco/loop/audit"

// fileChecks lists the checks about files: owner and mode of each role.
func fileChecks() []*audit.Check {
	cs := []*audit.Check{fileSocketDirectory}
	for _, g := range guardedFiles {
		cs = append(cs, g.ownerCheck(), g.modeCheck())
	}
	return cs
}
