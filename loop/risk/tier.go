package risk

import (
	"casco/loop/declared"
	"casco/loop/inventory"
	"casco/policy"
)

// A Tier is the sensitivity of a container. Impact is what the policy declares
// of it; where the policy declares none, Known is false and Impact the worst.
type Tier struct {
	Name   string  `json:"name"` // "" if nobody named one
	Impact float64 `json:"impact"`
	Known  bool    `json:"known"`
}

// worst is an impact that is not known.
const worst = 1.0

// named returns the tier that the policy declares under that name.
func named(p *policy.Policy, name string) Tier {
	for _, t := range p.Tiers {
		if t.ID == name && t.Impact > 0 {
			return Tier{name, t.Impact, true}
		}
	}
	return Tier{name, worst, false}
}

// tierOf places container o as the policy does: see policy.Policy.TierOf. What
// it places nowhere is of the worst tier.
func tierOf(s *inventory.Snapshot, p *policy.Policy, o *inventory.Object) Tier {
	t, _, _ := p.TierOf(declared.Workload(s, o))
	if t == nil {
		return Tier{"", worst, false}
	}
	return named(p, t.ID)
}

// defaultTier is where the policy puts what nothing else matches.
func defaultTier(p *policy.Policy) Tier {
	for _, a := range p.Assign {
		if a.Default != "" {
			return named(p, a.Default)
		}
	}
	return named(p, "")
}

func asString(v any) string { s, _ := v.(string); return s }
