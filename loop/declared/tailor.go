package declared

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/audit/frameworks"
	"casco/loop/inventory"
	"casco/policy"
)

// Tailor returns the checks as the policy wants them, and what it changed of
// them, by check.
func (d *Declared) Tailor(checks []*audit.Check) ([]*audit.Check, []audit.Override) {
	var os []audit.Override
	for _, c := range checks {
		if o, ok := d.belowLevel(c); ok {
			os = append(os, o)
		}
		if t, ok := d.policy.Checks[c.ID]; ok {
			os = append(os, d.override(c.ID, t))
		}
	}
	slices.SortStableFunc(os, func(a, b audit.Override) int { return cmp.Compare(a.Check, b.Check) })
	return audit.Tailor(checks, os, d.replies()), os
}

func (d *Declared) override(id string, t policy.Tailoring) audit.Override {
	o := audit.Override{
		Check: id, Aside: t.Applicable != nil && !*t.Applicable, Because: lang.Text{En: t.Because, Es: t.Because}, Fact: d.fact("checks." + id),
	}
	o.Severity, _ = audit.ParseSeverity(t.Severity) // the parser took no other word
	return o
}

// fact is what the policy says at path.
func (d *Declared) fact(path string) inventory.Fact {
	_, f, _ := inventory.Lookup(&d.object, path)
	return f
}

// belowLevel sets aside a check that the baseline's framework knows only from a
// higher level on. One that the framework does not know stays.
func (d *Declared) belowLevel(c *audit.Check) (audit.Override, bool) {
	b := d.policy.Baseline
	f := frameworks.All()[b.Framework]
	if b.Level == 0 || f == nil {
		return audit.Override{}, false
	}
	lowest := ""
	for _, ctl := range c.Controls {
		if ctl.Framework != b.Framework {
			continue
		}
		if r, ok := f.Find(ctl.Number); ok && (lowest == "" || r.Level < lowest) {
			lowest = r.Level
		}
	}
	if lowest == "" || lowest <= fmt.Sprint("L", b.Level) {
		return audit.Override{}, false
	}
	level := strings.TrimPrefix(lowest, "L")
	return audit.Override{Check: c.ID, Aside: true, Fact: d.fact("baseline.level"), Because: lang.Text{
		En: "the baseline is %s level %d, and this is of level %s", Es: "la línea base es %s nivel %d, y esto es del nivel %s",
	}.F(b.Framework, b.Level, level)}, true
}

// replies are the policy's answers to what no machine can decide. When one was
// given stands in its fact.
func (d *Declared) replies() []audit.Reply {
	var rs []audit.Reply
	for i, a := range d.policy.Answers {
		ref, err := inventory.ParseRef(a.Asset)
		v, ok := audit.ParseVerdict(a.Verdict)
		if err != nil || !ok {
			continue // the parser took no other
		}
		rs = append(rs, audit.Reply{
			Check: a.Check, Ref: ref, Verdict: v, By: a.By, From: a.On.Time, Until: a.On.Add(time.Duration(a.ValidFor)),
			Fact: inventory.Fact{
				Ref: inventory.PolicyRef, Field: fmt.Sprintf("answers.%d", i), Value: a.Verdict + ": " + a.Evidence,
				Source: d.object.SourceOf(fmt.Sprintf("answers.%d.verdict", i)), Read: a.On.Time,
			},
		})
	}
	return rs
}
