package checks

import "casco/loop/audit"

// fileChecks lists the checks about one kind of object.
func fileChecks() []*audit.Check {
	return []*audit.Check{}
}
