package risk

import (
	"strings"

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
	for _, t := range p.Tiers {
		if t.ID == name && t.Impact > 0 {
			return Tier{name, t.Impact, true}
		}
	}
	return Tier{name, worst, false}
}

// tierOf places container o: the first assignment of the policy that matches,
// else the worst tier whose network it is on, else its label casco.tier or that
// of one of its networks, else the policy's default.
func tierOf(s *inventory.Snapshot, p *policy.Policy, o *inventory.Object, networks []string) Tier {
	w := workloadOf(o, networks)
	def := ""
	for _, a := range p.Assign {
		switch {
		case a.Default != "":
			def = a.Default
		case w.matches(a.Match):
			return named(p, a.Tier)
		}
	}
	if t, ok := tierOfNetworks(p, networks); ok {
		return t
	}
	if name := asString(w.labels[TierLabel]); name != "" {
		return named(p, name)
	}
	for _, n := range networks {
		labels, _, _ := inventory.NetworkLabels.Of(s.Find(inventory.Ref{Kind: inventory.Network, Name: n}))
		if name := asString(labels[TierLabel]); name != "" {
			return named(p, name)
		}
	}
	return named(p, def)
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

func tierOfNetworks(p *policy.Policy, networks []string) (best Tier, ok bool) {
	for _, t := range p.Tiers {
		for _, pattern := range t.Networks {
			for _, n := range networks {
				if glob(pattern, n) && (!ok || t.Impact > best.Impact) {
					best, ok = named(p, t.ID), true
				}
			}
		}
	}
	return best, ok
}

// A workload is what a policy can tell a container by.
type workload struct {
	name, image string
	networks    []string
	labels      map[string]any
}

func workloadOf(o *inventory.Object, networks []string) workload {
	image, _, _ := inventory.ImageName.Of(o)
	labels, _, _ := inventory.Labels.Of(o)
	return workload{o.Ref.Name, image, networks, labels}
}

// matches reports whether all that m names is true of w. An empty m matches
// nothing.
func (w workload) matches(m policy.Match) bool {
	said := false
	is := func(pattern string, values ...string) bool {
		if pattern == "" {
			return true
		}
		said = true
		for _, v := range values {
			if glob(pattern, v) {
				return true
			}
		}
		return false
	}
	ok := is(m.Name, w.name) && is(m.Image, w.image) && is(m.Network, w.networks...) &&
		is(m.ComposeProject, asString(w.labels["com.docker.compose.project"])) &&
		is(m.ComposeService, asString(w.labels["com.docker.compose.service"]))
	for k, v := range m.Label {
		has, present := w.labels[k].(string)
		said = true
		ok = ok && present && glob(v, has)
	}
	return ok && said
}

// glob matches alternatives with "|", each of which may end in "*".
func glob(pattern, s string) bool {
	for alt := range strings.SplitSeq(pattern, "|") {
		if head, open := strings.CutSuffix(alt, "*"); alt == s || open && strings.HasPrefix(s, head) {
			return true
		}
	}
	return false
}

func asString(v any) string { s, _ := v.(string); return s }
