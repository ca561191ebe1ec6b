package checks

import "casco/loop/audit"

// daemonChecks lists the checks about one kind of object.
func daemonChecks() []*audit.Check {
	return []*audit.Check{}
}
