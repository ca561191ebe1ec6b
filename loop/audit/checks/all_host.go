package checks

import "casco/loop/audit"

// hostChecks lists the checks about one kind of object.
func hostChecks() []*audit.Check {
	return []*audit.Check{}
}
