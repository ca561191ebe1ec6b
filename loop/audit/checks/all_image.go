package checks

import "casco/loop/audit"

// imageChecks lists the checks about one kind of object.
func imageChecks() []*audit.Check {
	return []*audit.Check{}
}
