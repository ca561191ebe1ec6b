package checks

import "casco/loop/audit"

// watchChecks lists the checks about what the kernel's audit watches.
func watchChecks() []*audit.Check {
	var cs []*audit.Check
	for _, w := range watchedPaths {
		cs = append(cs, w.check())
	}
	return cs
}
