package network

import (
	"net/netip"
	"slices"

	"casco/policy"
)

// given is an element in a set of a namespace, or of the host (0).
type given struct {
	in uint64
	Element
}

// each calls f with all that is given, once or more often.
func (s *State) each(f func(given)) {
	for in, es := range s.shared {
		for e := range es {
			f(given{in, e})
		}
	}
	for _, g := range s.groups {
		for _, h := range s.groups {
			reasons := s.judge.all(g.members, h.members)
			if len(reasons) == 0 {
				continue
			}
			for from := range g.spaces {
				for to := range h.spaces {
					if from != to {
						between(from, to, reasons, nil, f)
					}
				}
			}
		}
	}
}

// strangers reports whether nothing goes from one to the other whatever a policy
// says: both are elsewhere, the one is only sent to, or they are on different
// hosts and have no network in common.
func strangers(from, to *placedNS) bool {
	return from.Remote && to.Remote || from.Service != "" || (from.Remote || to.Remote) && !together(from, to)
}

// together reports whether two have a network in common on which they can talk.
func together(a, b *placedNS) bool {
	return slices.ContainsFunc(a.Endpoints, func(e Endpoint) bool { return e.Network != GatewayBridge && b.on(e.Network) })
}

// between calls add with each element that two namespaces give because of what
// may pass from the one to the other (out) and back (in). It may do so more
// than once. Of one that is elsewhere only the other's half is enforced here.
func between(n, other *placedNS, out, in []Reason, add func(given)) {
	one := func(from, to *placedNS, reasons []Reason) {
		if len(reasons) == 0 || strangers(from, to) {
			return
		}
		here := !from.Remote && !to.Remote
		for _, r := range reasons {
			outSet, inSet, both := Out, In, Between
			if r.Port == (Port{}) {
				outSet, inSet, both = OutAll, InAll, BetweenAll
			}
			if !from.Remote {
				for _, a := range to.meeting {
					add(given{from.ID, Element{Set: outSet, A: a, Port: r.Port}})
				}
			}
			for _, a := range from.meeting {
				if !to.Remote {
					add(given{to.ID, Element{Set: inSet, A: a, Port: r.Port}})
				}
				for _, b := range to.meeting {
					if here && a.Is4() == b.Is4() {
						add(given{0, Element{Set: both, A: a, B: b, Port: r.Port}})
					}
				}
			}
		}
		if !here {
			return
		}
		for _, a := range from.meeting {
			for _, b := range to.meeting {
				if a.Is4() == b.Is4() {
					add(given{0, Element{Set: Reach, A: a, B: b}})
					add(given{0, Element{Set: Reach, A: b, B: a}})
				}
			}
		}
	}
	one(n, other, out)
	one(other, n, in)
}

// alone is what is let pass because of one namespace.
func (s *State) alone(n *placedNS) []given {
	if n.Remote {
		return s.mesh(n)
	}
	var out []given
	for _, relay := range s.relays(func(seg Segment) bool { return seg.Ingress && n.on(seg.Name) }) {
		for _, port := range n.still.Open {
			out = append(out, given{n.ID, Element{Set: In, A: relay, Port: port}})
		}
	}
	for _, port := range s.judge.ofHost(n) {
		for _, h := range s.reachableHost(n) {
			out = append(out, given{n.ID, Element{Set: Out, A: h, Port: port}})
		}
		for _, a := range n.addrs {
			out = append(out, given{0, Element{Set: ToHost, A: a, Port: port}})
		}
	}
	in := n.still
	for _, a := range n.addrs {
		for _, port := range in.Open {
			out = append(out, given{0, Element{Set: Open, A: a, Port: port}})
		}
		for _, net := range in.Nets {
			if net.Net.Addr().Is4() == a.Is4() {
				out = append(out, given{0, Element{Set: Egress, A: a, Net: net.Net, Port: net.Port}})
			}
		}
	}
	for _, m := range n.Members {
		for _, p := range m.Published {
			if !slices.Contains(in.Open, p.Port) {
				// One on all addresses of either version is one element: that of IPv4.
				at := p.Host
				if at.IsUnspecified() {
					at = netip.IPv4Unspecified()
				}
				out = append(out, given{0, Element{Set: Shut, A: at, Port: Port{p.HostPort, p.Port.Proto}}})
			}
		}
	}
	return out
}

// reachableHost are the addresses under which n finds the host.
func (s *State) reachableHost(n *placedNS) []netip.Addr {
	out := slices.Clone(s.host)
	for _, g := range n.gateways() {
		if !slices.Contains(out, g) {
			out = append(out, g)
		}
	}
	return out
}

// relays are those of some networks.
func (s *State) relays(of func(Segment) bool) (out []netip.Addr) {
	for _, seg := range s.segments {
		if of(seg) {
			out = append(out, seg.Relays...)
		}
	}
	return out
}

// mesh is what is let pass because of a service that a swarm publishes: each
// host of it takes what comes to the port, and gives it to its own load
// balancer first, wherever tasks run.
func (s *State) mesh(n *placedNS) []given {
	if n.Service == "" || !slices.ContainsFunc(s.segments, func(seg Segment) bool { return seg.Ingress && n.on(seg.Name) }) {
		return nil
	}
	var out []given
	open := s.judge.openTo(n, internet)
	for _, m := range n.Members {
		for _, p := range m.Published {
			if !slices.Contains(open, p.Port) {
				continue
			}
			for _, relay := range s.relays(func(seg Segment) bool { return seg.Name == GatewayBridge }) {
				out = append(out, given{0, Element{Set: Open, A: relay, Port: Port{p.HostPort, p.Port.Proto}}})
			}
		}
	}
	return out
}

// relayed are the addresses from which to is sent what from sends to the
// address of its service. Who sent it cannot be seen there any more: that from
// may, and nobody else, is enforced where it leaves.
func (s *State) relayed(from, to *placedNS) (out []netip.Addr) {
	for _, e := range to.Endpoints {
		if e.VIP.IsValid() && from.on(e.Network) {
			out = append(out, s.relays(func(seg Segment) bool { return seg.Name == e.Network && !seg.Ingress })...)
		}
	}
	return out
}

// round is what a way from one namespace to another takes that does not go from
// one to the other: by the address of a service, and by a port which the host
// publishes.
func (s *State) round(from, to *placedNS, reasons []Reason) []given {
	if len(reasons) == 0 || strangers(from, to) || to.Remote {
		return nil
	}
	var out []given
	relays := s.relayed(from, to)
	around := !from.Remote && to.publishes() && s.hairpin(from, to)
	for _, r := range reasons {
		set := In
		if r.Port == (Port{}) {
			set = InAll
		}
		for _, a := range relays {
			out = append(out, given{to.ID, Element{Set: set, A: a, Port: r.Port}})
		}
		if around {
			s.published(from, to, r.Port, func(in uint64, e Element) { out = append(out, given{in, e}) })
		}
	}
	return out
}

// hairpin reports whether what from may send to to may also go round by a port
// that the host publishes: there its source is lost.
func (s *State) hairpin(from, to *placedNS) bool {
	mode := s.judge.policy.Ports.HairpinBetweenTiers
	if mode == policy.Allow || mode == policy.Warn {
		return true
	}
	for _, f := range from.members {
		for _, t := range to.members {
			if f.Tier != t.Tier {
				return false
			}
		}
	}
	return true
}

// published adds what a way by the host takes: from to the host, and from the
// host's address on the network of to into it.
func (s *State) published(from, to *placedNS, port Port, add func(uint64, Element)) {
	for _, m := range to.Members {
		for _, p := range m.Published {
			if port != (Port{}) && p.Port != port {
				continue
			}
			at := Port{p.HostPort, p.Port.Proto}
			hosts := []netip.Addr{p.Host}
			if p.Host.IsUnspecified() {
				hosts = s.reachableHost(from)
			}
			hosts = slices.DeleteFunc(hosts, func(h netip.Addr) bool {
				return h.IsLoopback() || p.Host.IsUnspecified() && h.Is4() != p.Host.Is4()
			})
			if len(hosts) == 0 {
				continue // nobody but the host itself gets there
			}
			for _, h := range hosts {
				add(from.ID, Element{Set: Out, A: h, Port: at})
			}
			for _, a := range from.addrs {
				add(0, Element{Set: ToHost, A: a, Port: at})
			}
			for _, g := range to.gateways() {
				add(to.ID, Element{Set: In, A: g, Port: p.Port})
			}
		}
	}
}
