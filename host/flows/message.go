package flows

import (
	"encoding/binary"
	"errors"
	"iter"
	"net/netip"

	"golang.org/x/sys/unix"

	"casco/guard/network"
)

// Numbers of linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h.
const (
	subsystem = 1 << 8    // NFNL_SUBSYS_CTNETLINK, as it stands in a type
	msgNew    = subsystem // IPCTNL_MSG_CT_NEW, 0: an entry, new or listed
	msgGet    = subsystem | 1
	msgDelete = subsystem | 2 // the end of one, or the wish for it

	groupNew     = 1 // NFNLGRP_CONNTRACK_NEW
	groupDestroy = 3

	ctTupleOrig   = 1
	ctTupleReply  = 2
	ctStatus      = 3
	ctProtoInfo   = 4
	ctCountsOrig  = 9
	ctCountsReply = 10
	ctID          = 12
	ctZone        = 18

	seenReply   = 1 << 1 // IPS_SEEN_REPLY
	tcpSynRecv  = 2      // TCP_CONNTRACK_SYN_RECV: until then a connection is being opened
	genLen      = 4      // struct nfgenmsg
	maskOfTypes = 1<<14 - 1
)

var errShort = errors.New("ctnetlink: half a message")

// A tuple is one direction of an entry. What has no ports has none; of ICMP
// the source port is the identifier and the other one the type.
type tuple struct {
	src, dst     netip.Addr
	proto        network.Proto
	sport, dport uint16
}

// A name tells an entry from all others, also from one of the same tuple later.
type name struct {
	id   uint32
	orig tuple
}

// An entry is one of the kernel's connection tracking.
type entry struct {
	name
	reply      tuple
	replied    bool
	midway     bool // TCP that was under way when the kernel first saw it
	there      network.Count
	back       network.Count
	wire, zone []byte // the first tuple and the zone as they came; valid until the next message
}

// alone is e without what is valid for a moment only.
func (e entry) alone() entry {
	e.wire, e.zone = nil, nil
	return e
}

// attrs are the attributes of a netlink message by their types; it ends at one
// that is cut off.
func attrs(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		const head = unix.SizeofNlAttr
		for len(b) >= head {
			size := int(binary.NativeEndian.Uint16(b))
			if size < head || size > len(b) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(b[2:])&maskOfTypes, b[head:size]) {
				return
			}
			b = b[min((size+3)&^3, len(b)):]
		}
	}
}

// parse reads what follows the header of a netlink message.
func parse(b []byte) (e entry, err error) {
	if len(b) < genLen {
		return e, errShort
	}
	for typ, v := range attrs(b[genLen:]) {
		switch typ {
		case ctTupleOrig:
			e.orig, e.wire = parseTuple(v), v
		case ctTupleReply:
			e.reply = parseTuple(v)
		case ctStatus:
			e.replied = number(v)&seenReply != 0
		case ctProtoInfo:
			e.midway = tcpState(v) > tcpSynRecv
		case ctCountsOrig:
			e.there = parseCount(v)
		case ctCountsReply:
			e.back = parseCount(v)
		case ctID:
			e.id = uint32(number(v))
		case ctZone:
			e.zone = v
		}
	}
	if !e.orig.whole() || !e.reply.whole() {
		return e, errShort
	}
	return e, nil
}

func (t tuple) whole() bool { return t.src.IsValid() && t.dst.IsValid() && t.proto != 0 }

func parseTuple(b []byte) (t tuple) {
	for typ, v := range attrs(b) {
		switch typ {
		case 1: // CTA_TUPLE_IP
			for typ, v := range attrs(v) {
				addr, _ := netip.AddrFromSlice(v)
				switch typ {
				case 1, 3: // CTA_IP_V4_SRC, CTA_IP_V6_SRC
					t.src = addr
				case 2, 4:
					t.dst = addr
				}
			}
		case 2: // CTA_TUPLE_PROTO
			t.parseProto(v)
		}
	}
	return t
}

func (t *tuple) parseProto(b []byte) {
	for typ, v := range attrs(b) {
		n := uint16(number(v))
		switch typ {
		case 1: // CTA_PROTO_NUM
			t.proto = network.Proto(n)
		case 2, 4, 7: // CTA_PROTO_SRC_PORT, CTA_PROTO_ICMP_ID, CTA_PROTO_ICMPV6_ID
			t.sport = n
		case 3, 5, 8: // CTA_PROTO_DST_PORT, CTA_PROTO_ICMP_TYPE, CTA_PROTO_ICMPV6_TYPE
			t.dport = n
		}
	}
}

func tcpState(b []byte) (state uint64) {
	for typ, v := range attrs(b) {
		if typ != 1 { // CTA_PROTOINFO_TCP
			continue
		}
		for typ, v := range attrs(v) {
			if typ == 1 { // CTA_PROTOINFO_TCP_STATE
				state = number(v)
			}
		}
	}
	return state
}

func parseCount(b []byte) (c network.Count) {
	for typ, v := range attrs(b) {
		switch typ {
		case 1: // CTA_COUNTERS_PACKETS
			c.Packets = number(v)
		case 2:
			c.Bytes = number(v)
		}
	}
	return c
}

// number is one in network order, of whatever length.
func number(b []byte) (n uint64) {
	if len(b) > 8 {
		return 0
	}
	for _, x := range b {
		n = n<<8 | uint64(x)
	}
	return n
}

// A request is a netlink message in the making.
type request []byte

// newRequest begins one to nfnetlink. resource is the last part of its header,
// struct nfgenmsg, which only batches use.
func newRequest(typ, flags uint16, family uint8, resource uint16) request {
	b := make([]byte, unix.SizeofNlMsghdr+genLen, 256)
	binary.NativeEndian.PutUint16(b[4:], typ)
	binary.NativeEndian.PutUint16(b[6:], flags|unix.NLM_F_REQUEST)
	b[unix.SizeofNlMsghdr] = family
	binary.BigEndian.PutUint16(b[unix.SizeofNlMsghdr+2:], resource)
	return request(b).sized()
}

// sized is r with its length in its header.
func (r request) sized() request {
	binary.NativeEndian.PutUint32(r, uint32(len(r)))
	return r
}

// with is r and one attribute more.
func (r request) with(typ uint16, v []byte) request {
	return append(r, attr(typ, v)...).sized()
}

// attr is an attribute with whatever pads it.
func attr(typ uint16, v []byte) []byte {
	b := make([]byte, unix.SizeofNlAttr, unix.SizeofNlAttr+len(v)+3)
	binary.NativeEndian.PutUint16(b, uint16(len(b)+len(v)))
	binary.NativeEndian.PutUint16(b[2:], typ)
	b = append(b, v...)
	return append(b, make([]byte, -len(b)&3)...)
}

// nested is an attribute that consists of others.
func nested(typ uint16, parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return attr(typ|unix.NLA_F_NESTED, all)
}

func word(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func text(s string) []byte { return append([]byte(s), 0) }

// messages are those in what was received, by type and content; it ends at one
// that is cut off.
func messages(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofNlMsghdr {
			size := int(binary.NativeEndian.Uint32(b))
			if size < unix.SizeofNlMsghdr || size > len(b) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(b[4:]), b[unix.SizeofNlMsghdr:size]) {
				return
			}
			b = b[min((size+3)&^3, len(b)):]
		}
	}
}

// answer is what an NLMSG_ERROR says: nil for an acknowledgement.
func answer(b []byte) error {
	if len(b) < 4 {
		return errShort
	}
	if n := int32(binary.NativeEndian.Uint32(b)); n != 0 {
		return unix.Errno(-n)
	}
	return nil
}
