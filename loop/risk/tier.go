package risk

import (
	"casco/loop/inventory"
	"casco/policy"
)

// TierLabel names the tier of a container or of a network where the policy
// assigns none.
const TierLabel = "casco.tier"

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
	if t := p.Tier(name); t != nil && t.Impact > 0 {
		return Tier{name, t.Impact, true}
	}
	return Tier{name, worst, false}
}

// tierOf places container o: the first assignment of the policy that matches,
// else the worst tier whose network it is on, else its label casco.tier or that
// of one of its networks, else the policy's default.
func tierOf(s *inventory.Snapshot, p *policy.Policy, o *inventory.Object, networks []string) Tier {
	w := workload(o, networks)
	switch placed, path, byDefault := p.TierOf(w); {
	case byDefault || path == "":
	case placed == nil: // a tier that is not declared
		return named(p, "")
	default:
		return named(p, placed.ID)
	}
	if t, ok := tierOfNetworks(p, networks); ok {
		return t
	}
	if name := w.Labels[TierLabel]; name != "" {
		return named(p, name)
	}
	for _, n := range networks {
		labels, _, _ := inventory.NetworkLabels.Of(s.Find(inventory.Ref{Kind: inventory.Network, Name: n}))
		if name := asString(labels[TierLabel]); name != "" {
			return named(p, name)
		}
	}
	return defaultTier(p)
}

// defaultTier is where the policy puts what nothing else matches.
func defaultTier(p *policy.Policy) Tier {
	if t, _, _ := p.TierOf(policy.Workload{}); t != nil {
		return named(p, t.ID)
	}
	return named(p, "")
}

func tierOfNetworks(p *policy.Policy, networks []string) (best Tier, ok bool) {
	for _, n := range networks {
		if t, _ := p.TierOfNetwork(n); t != nil && (!ok || t.Impact > best.Impact) {
			best, ok = named(p, t.ID), true
		}
	}
	return best, ok
}

// workload is what a policy can tell container o by.
func workload(o *inventory.Object, networks []string) policy.Workload {
	w := policy.Workload{Name: o.Ref.Name, Networks: networks, Labels: map[string]string{}}
	w.Image, _, _ = inventory.ImageName.Of(o)
	labels, _, _ := inventory.Labels.Of(o)
	for k, v := range labels {
		w.Labels[k] = asString(v)
	}
	return w
}

func asString(v any) string { s, _ := v.(string); return s }
