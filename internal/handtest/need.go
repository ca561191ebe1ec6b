package handtest

import (
	"os"
	"testing"
)

// Need skips a test that cannot run on this machine, with the reason. Where
// the machine is said to be able (CASCO_MUST_RUN=1) it fails instead, so that a
// test cannot silently stop running.
func Need(t testing.TB, have bool, what string) {
	t.Helper()
	switch {
	case have:
	case os.Getenv("CASCO_MUST_RUN") == "1":
		t.Fatalf("needs %s", what)
	default:
		t.Skipf("needs %s", what)
	}
}

// NeedRoot is Need for tests that only root can run.
func NeedRoot(t testing.TB) {
	t.Helper()
	Need(t, os.Geteuid() == 0, "root")
}
