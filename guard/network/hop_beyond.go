package network

import (
	"cmp"
	"slices"
)

// toHost are the ways to what the host itself serves.
func (t *topology) toHost(a *placedNS, enforced bool) []Hop {
	var out []Hop
	reasons := t.judge.reasons(a, host, true)
	if enforced && len(reasons) == 0 {
		return nil
	}
	for _, d := range t.doors(a) {
		h := Hop{Way: HostService, Doubt: cmp.Or(d.doubt, doubtListen)}
		if d.at.IsValid() {
			h.Via = []string{d.at.String()}
		}
		if enforced {
			h.Reasons, h.Ports, h.Doubt = reasons, portsOf(reasons), d.doubt
		}
		out = append(out, h)
	}
	return joined(out)
}

// fromHost are the ways of the host to a container's address.
func (t *topology) fromHost(b *placedNS, enforced bool) []Hop {
	var out []Hop
	// Behind the engine's proxy outside has the host's address: what is open to
	// it is open to the host.
	reasons := append(t.judge.reasons(b, host, false), t.judge.reasons(b, internet, false)...)
	if enforced && len(reasons) == 0 {
		return nil
	}
	for _, e := range b.Endpoints {
		s, read := t.segment(e.Network)
		h := Hop{Way: FromTheHost, Via: []string{e.Network}}
		switch {
		case !read:
			h.Doubt = doubtUnread.F(e.Network)
		case onLAN(s):
			h.Doubt = doubtLANHost
		case s.Driver == "overlay" && s.Internal:
			continue
		case s.Driver != "bridge" && s.Driver != "overlay":
			h.Doubt = doubtDriver.F(e.Network)
		}
		if enforced {
			h.Reasons, h.Ports = reasons, portsOf(reasons)
		}
		out = append(out, h)
	}
	return joined(out)
}

// fromOutside are the ways of whoever is no container and not this host.
func (t *topology) fromOutside(b *placedNS, enforced bool) []Hop {
	var out []Hop
	reasons := t.judge.reasons(b, internet, false)
	if enforced && len(reasons) == 0 {
		return nil
	}
	add := func(h Hop) {
		if enforced {
			if h.Ports == nil {
				h.Ports = portsOf(reasons)
			}
			h.Ports = slices.DeleteFunc(slices.Clone(h.Ports), func(p Port) bool { return len(about(reasons, p)) == 0 })
			if len(h.Ports) == 0 {
				return
			}
			h.Reasons = slices.DeleteFunc(slices.Clone(reasons), func(r Reason) bool { return !slices.Contains(h.Ports, r.Port) })
		}
		out = append(out, h)
	}
	for _, m := range b.Members {
		for _, p := range m.Published {
			h := Hop{Way: PublishedPort, Via: []string{where(p.Host, p.HostPort)}, Ports: []Port{p.Port}}
			if p.Host.IsLoopback() {
				if !t.engineBefore(28) {
					continue
				}
				h.Way, h.Doubt = HostLoopback, doubtLoopback
			}
			add(h)
		}
	}
	for _, e := range b.Endpoints {
		s, read := t.segment(e.Network)
		h := Hop{Way: AcrossBridges, Via: []string{e.Network}}
		switch mode := cmp.Or(routedMode(s.Options[optMode4]), routedMode(s.Options[optMode6])); {
		case !read:
			h.Doubt = doubtUnread.F(e.Network)
		case onLAN(s):
			h.Way = OnTheLAN
		case mode != "":
			h.Doubt = doubtRouted.F(e.Network, mode)
		case s.Driver == "bridge" && !s.Internal && t.engineBefore(28):
			h.Doubt = doubtNeighbour
		default:
			continue
		}
		add(h)
	}
	if enforced && len(out) == 0 {
		add(Hop{Way: PublishedPort, Doubt: doubtClosed})
	}
	return joined(out)
}

func routedMode(mode string) string {
	if mode == "routed" || mode == "nat-unprotected" {
		return mode
	}
	return ""
}

// toOutside are the ways out of the host.
func (t *topology) toOutside(a *placedNS, enforced bool) []Hop {
	out := t.leaves(a)
	if !enforced {
		return out
	}
	in := t.rules.Inside[a.ID]
	sure, any := best(out)
	var allowed []Hop
	say := func(via string, port Port, reasons []Reason) {
		h := Hop{Way: ToOutside, Via: []string{via}, Ports: []Port{port}, Reasons: reasons}
		switch {
		case !any:
			h.Doubt = doubtRules
		default:
			h.Doubt = sure.Doubt
		}
		allowed = append(allowed, h)
	}
	for _, n := range in.Nets {
		say(n.Net.String(), n.Port, about(t.judge.reasonsOf(a, func(e end) bool { return e.kind == aNetwork && e.net == n.Net }), n.Port))
	}
	for _, n := range in.Names {
		say(n.Name, n.Port, about(t.judge.reasonsOf(a, func(e end) bool { return e.kind == aHostName && e.name == n.Name }), n.Port))
	}
	return joined(allowed)
}

// reasonsOf are the flows out of the first of n, to ends of which f is true.
func (j *Judge) reasonsOf(n *placedNS, f func(end) bool) []Reason {
	var out []Reason
	for _, k := range n.members[0].from {
		if fl := j.flows[k]; f(fl.to) {
			out = append(out, Reason{fl.port, fl.path})
		}
	}
	return out
}

// leaves are the ways that Docker leaves open out of the host.
func (t *topology) leaves(a *placedNS) []Hop {
	var out []Hop
	for _, e := range a.Endpoints {
		s, read := t.segment(e.Network)
		h := Hop{Way: ToOutside, Via: []string{e.Network}}
		switch {
		case !read:
			h.Doubt = doubtUnread.F(e.Network)
		case onLAN(s):
			h.Way = OnTheLAN
		case s.Internal && t.engineBefore(26):
			h.Doubt = doubtDNS
		case s.Internal:
			continue
		}
		out = append(out, h)
	}
	return joined(out)
}
