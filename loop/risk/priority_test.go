package risk

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"casco/policy"
)

func eachCell(do func(Axes)) {
	for e := NoExploitation; e <= Active; e++ {
		for r := Small; r <= Open; r++ {
			for _, auto := range []bool{false, true} {
				for h := LowHarm; h <= VeryHighHarm; h++ {
					do(Axes{e, r, auto, h})
				}
			}
		}
	}
}

// TestMonotone walks the whole table: one step worse on any axis is never later.
func TestMonotone(t *testing.T) {
	count := map[Priority]int{}
	eachCell(func(a Axes) {
		pr := a.Priority()
		count[pr]++
		for _, worse := range []Axes{
			{min(a.Exploitation+1, Active), a.Exposure, a.Automatable, a.Impact},
			{a.Exploitation, min(a.Exposure+1, Open), a.Automatable, a.Impact},
			{a.Exploitation, a.Exposure, true, a.Impact},
			{a.Exploitation, a.Exposure, a.Automatable, min(a.Impact+1, VeryHighHarm)},
		} {
			if worse.Priority() < pr {
				t.Errorf("%+v is %v, and %+v, which is worse, only %v", a, pr, worse, worse.Priority())
			}
		}
	})
	t.Logf("%v", count)
	if n := count[Immediate] + count[OutOfCycle] + count[Scheduled] + count[Defer]; n != 72 || count[Immediate] > 8 || count[Defer] == 0 {
		t.Errorf("the table has %v", count)
	}
}

// TestDecisions names the cells that the table was made around.
func TestDecisions(t *testing.T) {
	for _, c := range []struct {
		what string
		axes Axes
		want Priority
	}{
		{"the worst there is", Axes{Active, Open, true, VeryHighHarm}, Immediate},
		{"the host's root behind a public container, restricted data on it", Axes{Active, Open, false, VeryHighHarm}, Immediate},
		{"the same, from the host only", Axes{Active, Small, false, VeryHighHarm}, OutOfCycle},
		{"the same on a host with public data only", Axes{Active, Open, false, LowHarm}, Scheduled},
		{"a way from a public to a restricted tier", Axes{PoC, Open, false, VeryHighHarm}, OutOfCycle},
		{"no memory limit inside", Axes{NoExploitation, Controlled, false, MediumHarm}, Defer},
		{"the least there is", Axes{NoExploitation, Small, false, LowHarm}, Defer},
	} {
		if got := c.axes.Priority(); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

// TestTableAsPublished holds the table in docs/decisions to the one that decides.
func TestTableAsPublished(t *testing.T) {
	b, err := os.ReadFile("../../docs/decisions/0008-priority-by-table-order-by-formula.md")
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "| ") {
			written[strings.TrimSpace(line)] = true
		}
	}
	rows := map[string]string{}
	eachCell(func(a Axes) {
		auto := map[bool]string{false: "no", true: "yes"}[a.Automatable]
		head := fmt.Sprintf("| %v | %v | %s |", a.Exploitation, a.Exposure, auto)
		rows[head] += fmt.Sprintf(" %v |", a.Priority())
	})
	for head, cells := range rows {
		if !written[head+cells] {
			t.Errorf("not written so: %s%s", head, cells)
		}
	}
	if len(written) != len(rows)+1 {
		t.Errorf("%d lines are written, of %d rows", len(written), len(rows))
	}
}

func TestSLA(t *testing.T) {
	own := policy.SLA{Immediate: policy.Duration(hour)}
	for _, c := range []struct {
		p    Priority
		sla  policy.SLA
		want time.Duration
	}{
		{Immediate, own, hour},
		{OutOfCycle, own, 14 * day},
		{Immediate, policy.SLA{}, 3 * day},
		{OutOfCycle, policy.SLA{}, 14 * day},
		{Scheduled, policy.SLA{}, 30 * day},
		{Defer, policy.SLA{}, 180 * day},
	} {
		if got := c.p.within(c.sla); got != c.want {
			t.Errorf("%v: %v, want %v", c.p, got, c.want)
		}
	}
}

// TestCVEAxes: a known exploit is active, a probable one is as good as shown,
// and one of which nothing is known counts as active.
func TestCVEAxes(t *testing.T) {
	pol := tiered()
	for _, c := range []struct {
		cve  CVE
		epss float64 // of the policy
		want Exploitation
	}{
		{CVE{KEV: yes(true), EPSS: p(0)}, 0, Active},
		{CVE{KEV: yes(false), EPSS: p(0.10)}, 0, PoC},
		{CVE{KEV: yes(false), EPSS: p(0.09)}, 0, NoExploitation},
		{CVE{KEV: yes(false), EPSS: p(0.09), PoC: true}, 0, PoC},
		{CVE{KEV: yes(false), EPSS: p(0.09)}, 0.05, PoC},
		{CVE{KEV: yes(false), EPSS: p(0.10)}, 0.5, NoExploitation},
		{CVE{KEV: yes(false)}, 0, Active},
		{CVE{EPSS: p(0.01)}, 0, Active},
	} {
		pol.Images.FailOn.EPSS = c.epss
		in := inputs(Layer, Internet, 1)
		in.CVE = &c.cve
		if got := axesOf(Nature{}, in, pol).Exploitation; got != c.want {
			t.Errorf("%+v: %v, want %v", c.cve, got, c.want)
		}
	}
}
