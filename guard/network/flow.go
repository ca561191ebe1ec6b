package network

import (
	"cmp"
	"net/netip"
	"time"
)

// Protocols without ports that a Flow may have and a policy cannot name.
const (
	ICMP   Proto = 1
	ICMPv6 Proto = 58
)

// Resolver is where the engine answers for names in the namespace of a
// container that is on a network of its own. That it is asked leaves the
// namespace nowhere; what dockerd asks others for it does, and is a Flow too.
var Resolver = netip.AddrFrom4([4]byte{127, 0, 0, 11})

// A Count is of packets, and of their bytes from the IP header on.
type Count struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Plus is the sum of two.
func (c Count) Plus(o Count) Count { return Count{c.Packets + o.Packets, c.Bytes + o.Bytes} }

// A Flow is all that passed between a namespace and one peer at one port, in
// connections that the same of the two opened. A datagram and its answers are
// a connection too, as the kernel's connection tracking sees it.
type Flow struct {
	Namespace uint64 `json:"namespace"`
	Workload  string `json:"workload,omitempty"`
	Out       bool   `json:"out"` // the namespace opened them; else the peer did
	// Peer is the other end: who answered, or who opened. The zero Addr stands
	// for all flows of that direction that found no place of their own.
	Peer netip.Addr `json:"peer,omitzero"`
	// Port is that of whoever did not open: the peer's if Out, else the
	// namespace's own. Of ICMP its number is the type; of what has no ports, 0.
	Port Port `json:"port"`
	// Asked is where they were opened to, if a translation of addresses inside
	// the namespace led them elsewhere; else zero.
	Asked netip.AddrPort `json:"asked,omitzero"`

	Connections uint64 `json:"connections"`
	Replied     uint64 `json:"replied"` // of Connections, those that were answered; the rest are attempts
	Open        uint64 `json:"open"`    // of Connections, those that the kernel still knows
	Sent        Count  `json:"sent"`    // by the namespace
	Received    Count  `json:"received"`

	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
}

// Compare orders flows by who, which way, with whom, where.
func (f Flow) Compare(o Flow) int {
	out := func(f Flow) int {
		if f.Out {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(f.Namespace, o.Namespace), cmp.Compare(out(f), out(o)), f.Peer.Compare(o.Peer),
		f.Port.compare(o.Port), f.Asked.Compare(o.Asked))
}
