package nft

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"casco/guard/network"
)

// The parts of rules. What matches comes first, then what is done.

// A ruler joins parts of a rule.
func ruler(parts ...[]expr.Any) rule {
	var r rule
	for _, p := range parts {
		r = append(r, p...)
	}
	return r
}

func part(e ...expr.Any) []expr.Any { return e }

var (
	accept = part(&expr.Verdict{Kind: expr.VerdictAccept})
	drop   = part(&expr.Verdict{Kind: expr.VerdictDrop})
	// refuse tells the sender, who is in the same container: an error at once is
	// better than a timeout. Code 3 is "administratively prohibited" of ICMP and
	// ICMPv6 alike (NFT_REJECT_ICMPX_ADMIN_PROHIBITED).
	refuse = part(&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED})
)

func jump(to string) []expr.Any { return part(&expr.Verdict{Kind: expr.VerdictJump, Chain: to}) }

// count counts in the named counter.
func count(name string) []expr.Any {
	return part(&expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: name})
}

func iface(key expr.MetaKey, name string) []expr.Any {
	return part(&expr.Meta{Key: key, Register: 1}, is(append([]byte(name), make([]byte, 16-len(name))...)))
}

func is(v []byte) *expr.Cmp    { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: v} }
func isNot(v []byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: v} }

// known matches packets of a connection that was let pass, and what belongs to
// one, such as an ICMP error.
var known = part(
	&expr.Ct{Register: 1, Key: expr.CtKeySTATE},
	&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: native32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED), Xor: make([]byte, 4)},
	isNot(make([]byte, 4)),
)

// A way is one of the two versions of the Internet Protocol, with where its
// header has the addresses.
type way struct {
	suffix   string // of the names of sets
	proto    byte   // NFPROTO_…
	ether    uint16
	addr     field
	src, dst uint32 // offsets
	len      uint32
	second   uint32 // the register behind an address in register 1
}

var ways = [2]way{
	{"4", unix.NFPROTO_IPV4, unix.ETH_P_IP, fieldV4, 12, 16, 4, 9},
	{"6", unix.NFPROTO_IPV6, unix.ETH_P_IPV6, fieldV6, 8, 24, 16, 12},
}

func wayOf(a netip.Addr) way {
	if a.Is4() {
		return ways[0]
	}
	return ways[1]
}

// of matches packets of that version.
func (w way) of() []expr.Any {
	return part(&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, is([]byte{w.proto}))
}

// frame matches Ethernet frames of that version.
func (w way) frame() []expr.Any {
	return part(&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1}, is(portBytes(w.ether)))
}

// load puts the address at that offset into a register.
func (w way) load(offset, register uint32) []expr.Any {
	return part(&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: w.len})
}

// tail puts protocol and destination port into the registers from that one on.
func tail(register uint32) []expr.Any {
	return part(
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
		&expr.Payload{DestRegister: register + 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
	)
}

func in(set string) []expr.Any { return part(&expr.Lookup{SourceRegister: 1, SetName: set}) }
func notIn(set string) []expr.Any {
	return part(&expr.Lookup{SourceRegister: 1, SetName: set, Invert: true})
}

// addrIn matches if the address at that offset is in the set.
func (w way) addrIn(offset uint32, set string) []expr.Any {
	return ruler(w.of(), w.load(offset, 1), in(set+w.suffix))
}

// portIn matches if address, protocol and port are in the set.
func (w way) portIn(offset uint32, set string) []expr.Any {
	return ruler(w.of(), w.load(offset, 1), tail(w.second), in(set+w.suffix))
}

// pairIn matches if source and destination are.
func (w way) pairIn(set string) []expr.Any {
	return ruler(w.of(), w.load(w.src, 1), w.load(w.dst, w.second), in(set+w.suffix))
}

// flowIn matches if source, destination, protocol and port are.
func (w way) flowIn(set string) []expr.Any {
	return ruler(w.of(), w.load(w.src, 1), w.load(w.dst, w.second), tail(2*w.second-8), in(set+w.suffix))
}

// neighbour accepts the messages of ICMPv6 without which IPv6 does not work on
// a link: solicitations and advertisements of neighbours and solicitations of
// routers, which no router passed on, for their hop limit is 255 (RFC 4861,
// 6.1 and 7.1); queries and reports of listeners, which none will, for theirs
// is 1 (RFC 2710, 3; RFC 3810, 5). Whatever else has such a number is no such
// message: of is what tells IPv6, for IPv4 has a protocol 58 too.
func neighbour(of []expr.Any, types ...byte) []rule {
	var out []rule
	for _, t := range types {
		hops := byte(255)
		if t <= 132 || t == 143 {
			hops = 1
		}
		out = append(out, ruler(
			of,
			part(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, is([]byte{unix.IPPROTO_ICMPV6})),
			part(&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1}, is([]byte{t})),
			part(&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 7, Len: 1}, is([]byte{hops})), // RFC 8200, 3
			accept,
		))
	}
	return out
}

// toNet matches packets to a network, with one port of it unless that is zero.
func toNet(p netip.Prefix, port network.Port) []expr.Any {
	w := wayOf(p.Addr())
	r := ruler(w.of())
	if p.Bits() > 0 {
		r = ruler(r, w.load(w.dst, 1), masked(p))
	}
	if port != (network.Port{}) {
		r = ruler(r, toPort(port))
	}
	return r
}

// masked compares the address in register 1 with a network.
func masked(p netip.Prefix) []expr.Any {
	a := p.Masked().Addr().AsSlice()
	if p.Bits() == len(a)*8 {
		return part(is(a))
	}
	mask := make([]byte, len(a))
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return part(&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(len(a)), Mask: mask, Xor: make([]byte, len(a))}, is(a))
}

func toPort(p network.Port) []expr.Any {
	return part(
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, is([]byte{byte(p.Proto)}),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}, is(portBytes(p.Number)),
	)
}

func native32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
