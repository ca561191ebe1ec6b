package checks

import (
	"fmt"
	"strings"
	"time"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var policyCrossingReview = &audit.Check{
	ID:    "policy-crossing-review",
	Title: lang.Text{En: "Nobody has looked again at a crossing between tiers", Es: "Nadie ha vuelto a mirar un cruce entre niveles"},
	Why: lang.Text{
		En: "A crossing stays open until somebody asks whether it is still needed; the policy says by when, and that day is over.",
		Es: "Un cruce queda abierto hasta que alguien pregunta si aún hace falta; la política dice para cuándo, y ese día pasó.",
	},
	Remedy: lang.Text{
		En: "Ask the owner whether the flow is needed: set a new review date in the policy, or take the flow out of it.",
		Es: "Pregunte al dueño si el flujo hace falta: ponga otra fecha de revisión en la política, o quítelo de ella.",
	},
	Severity: audit.Medium,
	Domains:  []audit.Domain{audit.Security, audit.Supervision},
	Controls: rowTiers,
	Kind:     inventory.Policy,
	Policy:   []string{"flows"},
	About: func(_ *inventory.Snapshot, o *inventory.Object) bool {
		flows, _, ok := inventory.PolicyFlows.Of(o)
		return ok && len(flows) > 0
	},
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		flows, all, ok := inventory.PolicyFlows.Of(o)
		if !ok {
			return audit.Untold(all)
		}
		var due []inventory.Fact
		var loci []string
		for i, f := range flows {
			review, has := asMap(f)["review"].(string)
			if !has {
				continue // within one tier: the policy's own check wants it of crossings
			}
			fact := inventory.Fact{
				Ref: o.Ref, Field: fmt.Sprintf("flows.%d.review", i), Value: review,
				Source: o.SourceOf(fmt.Sprintf("flows.%d.review", i)), Read: o.Read,
			}
			end, err := endOf(review)
			switch {
			case err != nil:
				fact.Err = "is no date"
				return audit.Untold(fact)
			case s.Taken.After(end):
				due, loci = append(due, fact), append(loci, asString(asMap(f)["id"]))
			}
		}
		if due == nil {
			return audit.Good(all)
		}
		return audit.Bad(due...).At(loci...).Because(lang.Text{
			En: "the review was due of %s", Es: "vencía la revisión de %s",
		}.F(strings.Join(loci, ", ")))
	},
}

// endOf is the last moment of a date of the policy: of a whole day its end, in
// UTC.
func endOf(date string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, date); err == nil {
		return t.AddDate(0, 0, 1).Add(-time.Nanosecond), nil
	}
	return time.Parse(time.RFC3339, date)
}
