package network

import (
	"cmp"
	"slices"
)

// straight are the ways to a container's own address.
func (t *topology) straight(a, b *placedNS, enforced bool) []Hop {
	hops := t.open(a, b)
	if !enforced {
		return hops
	}
	reasons := t.judge.pass(a, b)
	if len(reasons) == 0 {
		return nil
	}
	if len(hops) == 0 && len(a.Endpoints) > 0 && len(b.Endpoints) > 0 {
		hops = []Hop{{Way: AcrossBridges, Doubt: doubtRules}}
	}
	for i := range hops {
		hops[i].Reasons, hops[i].Ports = reasons, portsOf(reasons)
	}
	return hops
}

// portsOf are the ports that reasons are about; nil is all.
func portsOf(rs []Reason) []Port {
	var out []Port
	for _, r := range rs {
		if r.Port == (Port{}) {
			return nil
		}
		if !slices.Contains(out, r.Port) {
			out = append(out, r.Port)
		}
	}
	return out
}

// open are the ways that Docker leaves to a container's own address.
func (t *topology) open(a, b *placedNS) []Hop {
	var out []Hop
	for _, e := range a.Endpoints {
		for _, f := range b.Endpoints {
			if h, ok := t.between(e.Network, f.Network); ok {
				out = append(out, h)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Hop) int {
		unsure := func(h Hop) int { return len(h.Doubt.En) }
		return cmp.Compare(min(1, unsure(a)), min(1, unsure(b)))
	})
	return slices.CompactFunc(out, func(a, b Hop) bool { return a.Way == b.Way && slices.Equal(a.Via, b.Via) && a.Doubt == b.Doubt })
}

// between is what Docker leaves open from one network to another, or within one.
func (t *topology) between(from, to string) (Hop, bool) {
	s, read := t.segment(from)
	d, readTo := t.segment(to)
	if from == to {
		h := Hop{Way: Direct, Via: []string{from}}
		switch mode := cmp.Or(s.Options["macvlan_mode"], s.Options["ipvlan_mode"]); {
		case !read:
			h.Doubt = doubtUnread.F(from)
		case s.Driver == "bridge":
			return h, s.Options[optICC] != "false" // moby: bridge/setup_ip_tables.go, setIcc
		case mode == "private" || mode == "vepa" || mode == "l3" || mode == "l3s":
			h.Doubt = doubtMode.F(from, mode)
		case s.Driver != "overlay" && !onLAN(s):
			h.Doubt = doubtDriver.F(from)
		}
		return h, true
	}
	h := Hop{Way: AcrossBridges, Via: []string{to}}
	for _, mode := range []string{d.Options[optMode4], d.Options[optMode6]} {
		if (mode == "routed" || mode == "nat-unprotected") && !s.Internal {
			h.Doubt = doubtRouted.F(to, mode)
			return h, true
		}
	}
	switch {
	case !read:
		h.Doubt = doubtUnread.F(from)
	case !readTo:
		h.Doubt = doubtUnread.F(to)
	case onLAN(s) && onLAN(d) && s.Options[optParent] == d.Options[optParent]:
		h.Way, h.Doubt = OnTheLAN, doubtParent.F(from, to)
	case onLAN(d) && !s.Internal && s.Driver == "bridge":
		h.Way = OnTheLAN // as any address outside
		h.Doubt = doubtLANHost
	case onLAN(s) && d.Driver == "bridge" && t.engineBefore(28):
		h.Doubt = doubtNeighbour
	case s.Driver != "bridge" && s.Driver != "overlay" && !onLAN(s):
		h.Doubt = doubtDriver.F(from)
	case d.Driver != "bridge" && d.Driver != "overlay" && !onLAN(d):
		h.Doubt = doubtDriver.F(to)
	default:
		return Hop{}, false
	}
	return h, true
}
