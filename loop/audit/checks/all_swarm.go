package checks

import "casco/loop/audit"

// swarmChecks lists the checks about one kind of object.
func swarmChecks() []*audit.Check {
	return []*audit.Check{}
}
