package network

import (
	"net/netip"
	"slices"
)

// What the rules of a namespace and of the host answer to one packet. A kernel
// looks into the same sets; these are for whoever explains them, and for tests.

func (es Elements) has(e Element) bool { _, ok := es[e]; return ok }

// Sends reports whether the namespace's own rules let it send to a port of an
// address. Names are not in it: their addresses are known once asked for. An
// address of the engine's networks is no outside, however wide a flow to outside
// is.
func (in *Inside) Sends(to netip.Addr, port Port) bool {
	return in.Peers.has(Element{Set: OutAll, A: to}) || in.Peers.has(Element{Set: Out, A: to, Port: port}) ||
		!contains(in.Managed, to) && slices.ContainsFunc(in.Nets, func(n NetPort) bool { return n.Port == port && n.Covers(to) })
}

// Takes reports whether the namespace's own rules let an address, of a
// container or of the host on the same network, in to a port. The host's
// address is also what outside has behind the engine's proxy, so what is open
// to outside is open to it.
func (in *Inside) Takes(from netip.Addr, port Port) bool {
	return in.Peers.has(Element{Set: InAll, A: from}) || in.Peers.has(Element{Set: In, A: from, Port: port}) ||
		slices.Contains(in.Gateways, from) && in.TakesHost(port)
}

// TakesHost reports whether they let the host in to a port.
func (in *Inside) TakesHost(port Port) bool {
	return slices.Contains(in.FromHost, port) || slices.Contains(in.Open, port)
}

// Forwards reports whether the host lets an address of a container send to a
// port of another's.
func (o *Outside) Forwards(from, to netip.Addr, port Port) bool {
	return o.Elements.has(Element{Set: BetweenAll, A: from, B: to}) || o.Elements.has(Element{Set: Between, A: from, B: to, Port: port})
}

// Serves reports whether the host lets a container's address use a port of its
// own.
func (o *Outside) Serves(from netip.Addr, port Port) bool {
	return o.Elements.has(Element{Set: ToHost, A: from, Port: port})
}

// Lets reports whether the host lets outside reach a port of a container.
func (o *Outside) Lets(to netip.Addr, port Port) bool {
	return o.Elements.has(Element{Set: Open, A: to, Port: port})
}

func contains(nets []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(a) })
}
