package network

import (
	"maps"
	"net/netip"
	"slices"
)

// A Connection is one that the kernel tracks: what belongs to it passes, once
// its first packet did. It may be older than the rules.
type Connection struct {
	From, To netip.Addr // To is who answers, whatever was asked for
	FromPort uint16
	Port     Port // of To; of what has no ports the number is 0
}

// back is c as if the other end had opened it: of a connection that was under
// way when it was first seen, the kernel does not know who did.
func (c Connection) back() Connection {
	return Connection{From: c.To, To: c.From, FromPort: c.Port.Number, Port: Port{c.FromPort, c.Port.Proto}}
}

// Allows reports whether in lets a connection be. One to an address that a name
// may have had is let be by its port: names are known to the kernel alone.
func (in *Inside) Allows(c Connection) bool { return in.allows(c) || in.allows(c.back()) }

func (in *Inside) allows(c Connection) bool {
	if c.From.IsLoopback() || c.To.IsLoopback() {
		return true
	}
	if in.has(c.From) {
		return in.Peers.has(Element{Set: OutAll, A: c.To}) || in.Peers.has(Element{Set: Out, A: c.To, Port: c.Port}) || in.beyond(c)
	}
	gateway := slices.Contains(in.Gateways, c.From)
	return in.Peers.has(Element{Set: InAll, A: c.From}) || in.Peers.has(Element{Set: In, A: c.From, Port: c.Port}) ||
		(gateway || !contains(in.Managed, c.From)) && slices.Contains(in.Open, c.Port) ||
		gateway && slices.Contains(in.FromHost, c.Port)
}

func (in *Inside) has(a netip.Addr) bool {
	return slices.ContainsFunc(in.Endpoints, func(e Endpoint) bool { return slices.Contains(e.Addrs, a) })
}

// beyond reports whether c goes to where containers are not, and may.
func (in *Inside) beyond(c Connection) bool {
	return slices.ContainsFunc(in.Nets, func(n NetPort) bool { return n.Covers(c.To) && (n.Port == Port{} || n.Port == c.Port) }) ||
		slices.ContainsFunc(in.Names, func(n NamePort) bool { return n.Port == c.Port }) && !contains(in.Managed, c.To)
}

// Allows reports whether the rules of the host let a connection be that it
// passes on or is an end of.
func (r *Ruleset) Allows(c Connection) bool {
	// What the host opens is its own affair, so that an end of it has but one way.
	return r.allows(c) || !r.local(c.From) && !r.local(c.To) && r.allows(c.back())
}

func (r *Ruleset) local(a netip.Addr) bool {
	return a.IsLoopback() || slices.Contains(r.Outside.Local, a)
}

func (r *Ruleset) allows(c Connection) bool {
	o := r.Outside
	box := func(a netip.Addr) bool { return !r.local(a) && contains(o.Managed, a) }
	has := func(e Element) bool { return o.Elements.has(e) }
	switch {
	case r.local(c.From):
		return true
	case box(c.From) && r.local(c.To):
		return has(Element{Set: ToHost, A: c.From, Port: c.Port})
	case box(c.From):
		return has(Element{Set: BetweenAll, A: c.From, B: c.To}) || has(Element{Set: Between, A: c.From, B: c.To, Port: c.Port}) ||
			slices.ContainsFunc(slices.Collect(maps.Values(r.Inside)), func(in *Inside) bool { return in.has(c.From) && in.beyond(c) })
	case box(c.To):
		return has(Element{Set: Open, A: c.To, Port: c.Port})
	}
	return true // of the host itself; what is shut is in no connection that was let pass
}
