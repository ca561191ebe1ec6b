package checks

import (
	"slices"
	"strings"
	"testing"

	"casco/loop/audit/frameworks"
)

// TestCISNumbers counts that the checks leave out no recommendation of
// sections 1, 2 and 3 of CIS Docker 1.8.0.
func TestCISNumbers(t *testing.T) {
	have := map[string]bool{}
	for _, c := range slices.Concat(daemonChecks(), fileChecks(), watchChecks(), hostChecks()) {
		for _, ctl := range c.Controls {
			if ctl.Framework == "cis-docker-1.8.0" {
				have[ctl.Number] = true
			}
		}
	}
	n := 0
	for _, r := range frameworks.All()["cis-docker-1.8.0"].Requirements {
		if section, _, _ := strings.Cut(r.Number, "."); section > "3" {
			continue
		}
		if n++; !have[r.Number] {
			t.Errorf("no check is about %s %s", r.Number, r.Title.En)
		}
	}
	if n != 63 { // 18+2, 19, 24
		t.Errorf("%d recommendations in sections 1 to 3, want 63", n)
	}
}
