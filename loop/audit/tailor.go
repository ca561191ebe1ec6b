package audit

import (
	"fmt"
	"slices"
	"time"

	"casco/lang"
	"casco/loop/inventory"
)

// An Override is how an organisation changes a check for itself. It is never
// silent: every finding of the check shows the line that says so, and reports
// list it. It never turns a Fail into a Pass.
type Override struct {
	Check    string   // ID
	Severity Severity // 0 leaves it
	// Aside takes the check out: it is NotApplicable for every object.
	Aside   bool
	Because lang.Text // why, in the organisation's own words
	Fact    inventory.Fact
}

// A Reply is what a person said of a check that no machine can decide, about
// one object.
type Reply struct {
	Check   string
	Ref     inventory.Ref
	Verdict Verdict // Pass, Fail or NotApplicable
	By      string
	From    time.Time
	Until   time.Time // not included: from then on the question is open again
	Fact    inventory.Fact
}

// Tailor returns the checks as an organisation has them: each override changes
// its check, and replies answer the questions that checks leave to a person, as
// long as they are valid when the snapshot was taken. The checks that were given
// stay as they are. What names no check is left out; the policy's own check
// reports it.
func Tailor(checks []*Check, overrides []Override, replies []Reply) []*Check {
	out := slices.Clone(checks)
	for i, c := range out {
		var mine []Reply
		for _, r := range replies {
			if r.Check == c.ID {
				mine = append(mine, r)
			}
		}
		if mine != nil {
			c = c.answeredBy(mine)
		}
		for _, o := range overrides {
			if o.Check == c.ID {
				c = c.tailored(o)
			}
		}
		out[i] = c
	}
	return out
}

// tailored returns a copy of c under o.
func (c *Check) tailored(o Override) *Check {
	t := *c
	t.Tailored = append(slices.Clone(c.Tailored), o)
	if o.Severity != 0 {
		t.Severity = o.Severity
	}
	t.Eval = func(s *inventory.Snapshot, obj *inventory.Object) Answer {
		line := o.Fact
		line.Read = s.Taken
		if o.Aside {
			return Beside(lang.Text{
				En: "set aside by the policy: %[1]s", Es: "apartada por la política: %[2]s",
			}.F(o.Because.En, o.Because.Es), line)
		}
		a := c.Eval(s, obj)
		a.Evidence = append(slices.Clone(a.Evidence), line)
		return a
	}
	return &t
}

// Aside reports whether an override took c out.
func (c *Check) Aside() bool {
	return slices.ContainsFunc(c.Tailored, func(o Override) bool { return o.Aside })
}

// answeredBy returns a copy of c whose questions the replies answer. Only what
// c leaves to a person is answered: what a machine could tell, and what it could
// not read, stays as it is. Of several valid replies the latest counts.
func (c *Check) answeredBy(replies []Reply) *Check {
	t := *c
	t.Eval = func(s *inventory.Snapshot, o *inventory.Object) Answer {
		a := c.Eval(s, o)
		if a.Verdict != Manual {
			return a
		}
		last := -1
		for i, r := range replies {
			if r.Ref == o.Ref && (last < 0 || !r.From.Before(replies[last].From)) {
				last = i
			}
		}
		if last < 0 {
			return a
		}
		r := replies[last]
		a.Evidence = append(slices.Clone(a.Evidence), r.Fact)
		const day = 24 * time.Hour
		switch now := s.Taken; {
		case now.Before(r.From):
			return a
		case !now.Before(r.Until):
			a.Reason = lang.Text{
				En: fmt.Sprintf("%s The answer of %s counted until %s.", a.Reason.En, r.By, r.Until.UTC().Format(time.DateOnly)),
				Es: fmt.Sprintf("%s La respuesta de %s valía hasta el %s.", a.Reason.Es, r.By, r.Until.UTC().Format(time.DateOnly)),
			}
		default:
			a.Verdict, a.Wants = r.Verdict, nil
			a.Reason = lang.Text{En: "%s said so on %s, %d d ago", Es: "lo dijo %s el %s, hace %d d"}.F(r.By, r.From.Format(time.DateOnly), int(now.Sub(r.From)/day))
		}
		return a
	}
	return &t
}
