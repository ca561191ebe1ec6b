// Package acceptance sees casco from outside, as a person does who does not
// trust it.
//
// Its tests run the built program on a real engine, and take the truth from
// ordinary tools (docker inspect, stat, sha256sum, auditctl, the cgroup files),
// never from casco: a cure counts when those tools show it, and a rollback
// when they show what they showed before.
//
// The tests run in a mount namespace of their own with a throw-away copy of
// /etc, so that no file of the machine is changed. The kernel's audit rules
// are the machine's, for there is but one table of them: what a test loads
// there it takes out again.
package acceptance
