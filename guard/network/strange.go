package network

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"casco/lang"
	"casco/policy"
)

// A Strange is something in a policy that means nothing on this host now, or
// may not mean what was thought. It is no error: what a policy names may come.
type Strange struct {
	Path string    `json:"path,omitempty"` // of the policy; "" is the host's own
	Text lang.Text `json:"text"`
}

// Look compares a policy with what runs: networks and ends of flows that are
// not there, and networks of the engine that share addresses, where an address
// does not say which one is meant.
func Look(w World, p *policy.Policy) ([]Strange, error) {
	j, err := NewJudge(p)
	if err != nil {
		return nil, err
	}
	var out []Strange
	for i, t := range p.Tiers {
		for k, name := range t.Networks {
			if !slices.ContainsFunc(w.Segments, func(s Segment) bool { return s.Name == name }) {
				out = append(out, Strange{"tiers." + strconv.Itoa(i) + ".networks." + strconv.Itoa(k), lang.Text{
					En: "tier %s has network %s, and there is none of that name", Es: "el nivel %s tiene la red %s, y no hay ninguna de ese nombre",
				}.F(t.ID, name)})
			}
		}
	}
	seen := make([]struct{ from, to bool }, len(j.flows))
	for _, n := range w.Namespaces {
		for _, m := range n.Members {
			pl := j.placed(m.Workload)
			for _, i := range pl.from {
				seen[i].from = true
			}
			for _, i := range pl.to {
				seen[i].to = true
			}
		}
	}
	for i, f := range j.flows {
		var nowhere []string
		if f.from.kind == aPlace && !seen[i].from {
			nowhere = append(nowhere, p.Flows[i].From)
		}
		if f.to.kind == aPlace && !seen[i].to {
			nowhere = append(nowhere, p.Flows[i].To)
		}
		if nowhere != nil {
			out = append(out, Strange{f.path, lang.Text{
				En: "flow %s: nothing that runs is %s", Es: "flujo %s: nada de lo que corre es %s",
			}.F(p.Flows[i].ID, strings.Join(nowhere, ", "))})
		}
	}
	for i, a := range w.Segments {
		for _, b := range w.Segments[i+1:] {
			if at, yes := overlap(a, b); yes {
				out = append(out, Strange{Text: lang.Text{
					En: "networks %s and %s share addresses (%s): rules take a packet for that of either", Es: "las redes %s y %s comparten direcciones (%s): las reglas toman un paquete por de cualquiera",
				}.F(a.Name, b.Name, at)})
			}
		}
	}
	return out, nil
}

func overlap(a, b Segment) (netip.Prefix, bool) {
	for _, x := range a.Subnets {
		for _, y := range b.Subnets {
			if x.Overlaps(y) {
				return x, true
			}
		}
	}
	return netip.Prefix{}, false
}
