package verify

import (
	"testing"

	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// TestCompare holds a change to what it promised: only a measured pass counts.
func TestCompare(t *testing.T) {
	web, db := inventory.Ref{Kind: "container", Name: "web"}, inventory.Ref{Kind: "container", Name: "db"}
	a, b := &audit.Check{ID: "a"}, &audit.Check{ID: "b"}
	p := &plan.Plan{Steps: []plan.Step{{Ref: web, For: []plan.Cure{{Check: "a", Ref: web}}}}}
	f := func(c *audit.Check, r inventory.Ref, v audit.Verdict) audit.Finding {
		return audit.Finding{Check: c, Ref: r, Answer: audit.Answer{Verdict: v}}
	}
	before := []audit.Finding{f(a, web, audit.Fail), f(b, web, audit.Pass), f(b, db, audit.Pass)}
	for name, c := range map[string]struct {
		after                      []audit.Finding
		kept, broken, worse, aside int
		ok                         bool
	}{
		"held":             {[]audit.Finding{f(a, web, audit.Pass), f(b, web, audit.Pass), f(b, db, audit.Pass)}, 1, 0, 0, 0, true},
		"still fails":      {[]audit.Finding{f(a, web, audit.Fail), f(b, web, audit.Pass)}, 0, 1, 0, 0, false},
		"cannot be told":   {[]audit.Finding{f(a, web, audit.Unknown), f(b, web, audit.Pass)}, 0, 1, 0, 0, false},
		"gone":             {[]audit.Finding{f(b, web, audit.Pass)}, 0, 1, 0, 0, false},
		"worse":            {[]audit.Finding{f(a, web, audit.Pass), f(b, web, audit.Fail)}, 1, 0, 1, 0, false},
		"worse, elsewhere": {[]audit.Finding{f(a, web, audit.Pass), f(b, web, audit.Pass), f(b, db, audit.Fail)}, 1, 0, 0, 1, true},
	} {
		o := Compare(p, before, c.after)
		if len(o.Kept) != c.kept || len(o.Broken) != c.broken || len(o.Worse) != c.worse || len(o.Aside) != c.aside || o.OK() != c.ok {
			t.Errorf("%s: %+v", name, o)
		}
	}
}
