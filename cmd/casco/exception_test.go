package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"casco/policy"
)

// TestExceptionYAML: what is asked for is read back as it was meant, whatever a
// person writes into it.
func TestExceptionYAML(t *testing.T) {
	day := func(s string) policy.Date {
		d, err := policy.ParseDate(s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	rapid.Check(t, func(t *rapid.T) {
		want := policy.Exception{
			ID: "EX-1", Requester: "op", Check: "container-privileged-port", Host: "h", Asset: "container/web", Locus: "[::]:443/tcp",
			Reason:          "x" + rapid.StringOfN(rapid.RuneFrom([]rune("aé \"'\\:#{}[]&*!|>%@`,\n\t-?~=")), 0, 40, -1).Draw(t, "reason"),
			Compensating:    []policy.Compensating{{Check: "container-read-only-root"}, {Check: "network-icc", Asset: "network/dmz"}},
			FactsAtDecision: "sha256:9c1e", RiskAtDecision: policy.RiskThen{Formula: "risk/1", Likelihood: 0.25, Impact: 1, Priority: "defer"},
			Starts: day("2026-01-01"), Expires: day("2026-02-01T18:00:00Z"), Renews: "EX-0",
		}
		got, problems := policy.ParseException("ex.yaml", exceptionYAML(want))
		if len(problems) > 0 {
			t.Fatalf("%v\n%s", problems, exceptionYAML(want))
		}
		if d := cmp.Diff(want, *got, cmpopts.IgnoreFields(policy.Exception{}, "Pos", "Bytes")); d != "" {
			t.Fatal(d)
		}
	})
}
