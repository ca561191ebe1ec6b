package checks

import "casco/loop/audit"

// containerChecks lists the checks about one kind of object.
func containerChecks() []*audit.Check {
	return []*audit.Check{
		containerPrivileged,
	}
}
