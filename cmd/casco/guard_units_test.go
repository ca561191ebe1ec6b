package main

import (
	"strings"
	"testing"
)

// TestUnitText: a unit names no page that is nowhere, and the guard's has what its
// sockets need to outlive it.
func TestUnitText(t *testing.T) {
	for _, script := range []string{guardScript, unitScript} {
		if strings.Contains(script, "man:") {
			t.Error("a unit names a manual page, and none is installed")
		}
	}
	for _, line := range []string{"FileDescriptorStoreMax=", "Environment=CASCO_UNIT=", "TimeoutAbortSec="} {
		if !strings.Contains(guardScript, "\n"+line) {
			t.Errorf("the guard's unit has no %s", line)
		}
	}
}
