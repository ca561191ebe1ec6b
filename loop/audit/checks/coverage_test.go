package checks

import (
	"testing"

	"casco/loop/audit/frameworks"
)

// TestEveryCISItem: each recommendation of CIS Docker 1.8.0 is answered by at
// least one check, if only with the question that a person must answer.
func TestEveryCISItem(t *testing.T) {
	const edition = "cis-docker-1.8.0"
	by := map[string][]string{}
	for _, c := range All() {
		for _, ctl := range c.Controls {
			if ctl.Framework == edition {
				by[ctl.Number] = append(by[ctl.Number], c.ID)
			}
		}
	}
	for _, r := range frameworks.All()[edition].Requirements {
		if len(by[r.Number]) == 0 {
			t.Errorf("no check answers %s, %s", r.Number, r.Title.En)
		}
	}
}
