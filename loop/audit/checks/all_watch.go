package checks

import "casco/loop/audit"

// watchChecks lists the checks about one kind of object.
func watchChecks() []*audit.Check {
	return []*audit.Check{}
}
