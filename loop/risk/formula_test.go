package risk

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"casco/loop/audit"
)

func yes(b bool) *bool       { return &b }
func p(f float64) *float64   { return &f }
func near(a, b float64) bool { return math.Abs(a-b) < 0.05 }
func control(e float64, v audit.Verdict) Control {
	return Control{Check: "c", E: e, Verdict: v, Counts: v == audit.Pass}
}

func inputs(class Class, l Level, impact float64, cs ...Control) Inputs {
	return Inputs{Formula: Formula, Class: class, Base: Base{bases[class], "class"}, Exposure: exposed(l, scenarios[Other]), Controls: cs, Floor: atLeast, Impact: Impact{Value: impact}}
}

func cve(c CVE, l Level, impact float64, cs ...Control) Inputs {
	in := inputs(Layer, l, impact, cs...)
	c.DataAt = now
	in.Base, in.Missing = baseOfCVE(c, now)
	return in
}

// TestOrder reckons cases that were worked out by hand when the formula was
// chosen. What they show: a known exploit behind a measured defence stands below
// an open engine, and a terrible score that nobody uses stands near the end.
func TestOrder(t *testing.T) {
	for _, c := range []struct {
		what string
		in   Inputs
		want float64
	}{
		{"exploited kernel hole, reached from outside", cve(CVE{KEV: yes(true)}, Internet, 1), 95},
		{"engine API on TCP without TLS", inputs(Takeover, Internet, 1), 90},
		{"engine socket in a public container", inputs(Takeover, Internet, 1), 90},
		{"a public tier reaches a restricted one", inputs(Escalation, Internet, 1), 50},
		{"the same kernel hole, seccomp measured", cve(CVE{KEV: yes(true)}, Internet, 1, control(0.7, audit.Pass)), 28.5},
		{"CVSS 7.5, EPSS 0.82, in a public image", cve(CVE{KEV: yes(false), EPSS: p(0.82)}, Internet, 0.2), 16.4},
		{"sshd inside", inputs(Layer, SameTier, 0.5), 5},
		{"no memory limit inside", inputs(Layer, SameTier, 0.5), 5},
		{"CVSS 9.8, EPSS 0.004, inside", cve(CVE{KEV: yes(false), EPSS: p(0.004)}, SameTier, 0.5), 0.4},
		{"an old image that nothing runs", inputs(Hygiene, NotRunning, 0.5), 0.25},
	} {
		if got := c.in.Current().R; !near(got, c.want) {
			t.Errorf("%s: %.2f, want %.2f", c.what, got, c.want)
		}
	}
}

// TestCalculator reckons R with nothing but the numbers that are stored, as an
// auditor would: 100 × base × exposure × max(floor, product of 1−e over the
// controls that count) × impact.
func TestCalculator(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := inputs(
			rapid.SampledFrom([]Class{Takeover, Escalation, Layer, Hygiene}).Draw(t, "class"),
			rapid.SampledFrom([]Level{Internet, OtherTier, SameTier, HostLocal, NotRunning}).Draw(t, "exposure"),
			rapid.Float64Range(0.01, 1).Draw(t, "impact"),
		)
		for range rapid.IntRange(0, 5).Draw(t, "controls") {
			in.Controls = append(in.Controls, control(rapid.Float64Range(0.01, 0.99).Draw(t, "e"), rapid.SampledFrom([]audit.Verdict{audit.Pass, audit.Fail, audit.Unknown}).Draw(t, "v")))
		}
		b, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		var stored struct {
			Base, Exposure, Impact struct{ Value float64 }
			Controls               []struct {
				E      float64
				Counts bool
			}
			Floor float64
		}
		if err := json.Unmarshal(b, &stored); err != nil {
			t.Fatal(err)
		}
		left := 1.0
		for _, c := range stored.Controls {
			if c.Counts {
				left *= 1 - c.E
			}
		}
		want := 100 * stored.Base.Value * stored.Exposure.Value * math.Max(stored.Floor, left) * stored.Impact.Value
		got := in.Current()
		if math.Abs(got.R-want) > 1e-9 {
			t.Fatalf("%v, by hand %v", got.R, want)
		}
		inherent := in.Inherent()
		if got.R < 0 || got.R > 100 || got.R > inherent.R+1e-9 || got.R < atLeast*inherent.R-1e-9 {
			t.Fatalf("current %v is not between a fifth of and all of inherent %v", got.R, inherent.R)
		}
	})
}

// TestControlsCount: a control that failed, or that nobody could tell, takes
// nothing away; one that is planned does so only of the residual value.
func TestControlsCount(t *testing.T) {
	without := inputs(Escalation, Internet, 1).Current()
	for _, v := range []audit.Verdict{audit.Fail, audit.Unknown, audit.NotApplicable, audit.Manual} {
		in := inputs(Escalation, Internet, 1, control(0.5, v))
		if in.Current() != without {
			t.Errorf("a control with verdict %v lowers %v to %v", v, without, in.Current())
		}
		if got := in.Residual([]string{"c"}).R; got != 25 {
			t.Errorf("planned: %v, want 25", got)
		}
	}
	if got := inputs(Escalation, Internet, 1, control(0.9, audit.Pass), control(0.9, audit.Pass)).Current().R; got != 10 {
		t.Errorf("two strong controls leave %v, want a fifth of 50", got)
	}
}

// TestBaseOfCVE: what is not known counts as the worst, and old data makes the
// confidence low without changing the number.
func TestBaseOfCVE(t *testing.T) {
	for _, c := range []struct {
		what    string
		cve     CVE
		base    float64
		missing int
	}{
		{"fresh", CVE{KEV: yes(false), EPSS: p(0.3), DataAt: now}, 0.3, 0},
		{"a week old", CVE{KEV: yes(false), EPSS: p(0.3), DataAt: now.Add(-7 * day)}, 0.3, 0},
		{"older than a week", CVE{KEV: yes(false), EPSS: p(0.3), DataAt: now.Add(-7*day - time.Second)}, 0.3, 1},
		{"no date", CVE{KEV: yes(false), EPSS: p(0.3)}, 0.3, 1},
		{"no EPSS", CVE{KEV: yes(false), DataAt: now}, 0.95, 1},
		{"no KEV", CVE{EPSS: p(0.001), DataAt: now}, 0.95, 1},
		{"neither", CVE{}, 0.95, 2},
		{"never zero", CVE{KEV: yes(false), EPSS: p(0), DataAt: now}, 0.02, 0},
		{"exploited beats improbable", CVE{KEV: yes(true), EPSS: p(0.001), DataAt: now}, 0.95, 0},
	} {
		b, missing := baseOfCVE(c.cve, now)
		if b.Value != c.base || len(missing) != c.missing {
			t.Errorf("%s: %v, missing %v", c.what, b, missing)
		}
	}
}
