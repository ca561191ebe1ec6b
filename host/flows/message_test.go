package flows

import (
	"bytes"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"casco/guard/network"
)

// wireTuple is a tuple as the kernel sends it.
func wireTuple(typ uint16, t tuple) []byte {
	first := uint16(1)
	if t.src.Is6() {
		first = 3
	}
	proto := [][]byte{attr(1, []byte{byte(t.proto)})}
	switch t.proto {
	case network.ICMP:
		proto = append(proto, attr(4, word(uint32(t.sport))[2:]), attr(5, []byte{byte(t.dport)}))
	case network.ICMPv6:
		proto = append(proto, attr(7, word(uint32(t.sport))[2:]), attr(8, []byte{byte(t.dport)}))
	default:
		proto = append(proto, attr(2, word(uint32(t.sport))[2:]), attr(3, word(uint32(t.dport))[2:]))
	}
	return nested(typ, nested(1, attr(first, t.src.AsSlice()), attr(first+1, t.dst.AsSlice())), nested(2, proto...))
}

// wire is an entry as the kernel sends it, without the header of netlink.
func wire(e entry, state byte) []byte {
	status := word(1)
	if e.replied {
		status = word(1 | seenReply)
	}
	count := func(typ uint16, c network.Count) []byte {
		return nested(typ, attr(1, append(word(0), word(uint32(c.Packets))...)), attr(2, append(word(0), word(uint32(c.Bytes))...)))
	}
	b := []byte{unix.AF_INET, 0, 0, 0}
	for _, a := range [][]byte{
		wireTuple(ctTupleOrig, e.orig), wireTuple(ctTupleReply, e.reply), attr(ctStatus, status), attr(ctID, word(e.id)),
		nested(ctProtoInfo, nested(1, attr(1, []byte{state}))), count(ctCountsOrig, e.there), count(ctCountsReply, e.back),
	} {
		b = append(b, a...)
	}
	return b
}

func TestParse(t *testing.T) {
	v4 := tuple{src: addrA, dst: addrB, proto: network.TCP, sport: 40000, dport: 80}
	for _, e := range []entry{
		{name: name{7, v4}, reply: v4.reverse(), replied: true, midway: true, there: network.Count{Packets: 3, Bytes: 180}, back: network.Count{Packets: 2, Bytes: 120}},
		{name: name{1 << 31, tuple{addrA6, addrB6, network.SCTP, 1, 2}}, reply: tuple{addrB6, addrA6, network.SCTP, 2, 1}},
		{name: name{1, tuple{addrA, addrB, network.ICMP, 99, 8}}, reply: tuple{addrB, addrA, network.ICMP, 99, 0}},
		{name: name{1, tuple{addrA6, addrB6, network.ICMPv6, 99, 128}}, reply: tuple{addrB6, addrA6, network.ICMPv6, 99, 129}},
		{name: name{1, tuple{addrA, addrB, 47, 0, 0}}, reply: tuple{addrB, addrA, 47, 0, 0}},
	} {
		state := byte(1)
		if e.midway {
			state = 3
		}
		got, err := parse(wire(e, state))
		got.wire = nil
		if err != nil || got.name != e.name || got.reply != e.reply || got.replied != e.replied || got.midway != e.midway || got.there != e.there || got.back != e.back {
			t.Errorf("%+v, %v; want %+v", got, err, e)
		}
		if _, err := parse(wire(e, state)[:30]); err == nil {
			t.Error("half a message was read")
		}
	}
}

// FuzzParse: an entry that is read can be asked for by itself; a request to
// forget one without a tuple would empty the table.
func FuzzParse(f *testing.F) {
	f.Add(wire(entry{name: name{7, tuple{addrA, addrB, network.TCP, 40000, 80}}, reply: tuple{addrB, addrA, network.TCP, 80, 40000}}, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parse(bytes.Clone(b))
		if err != nil {
			return
		}
		for typ, b := range messages(e.wish()) {
			if again := tupleOf(b); typ != msgDelete || again != e.orig {
				t.Errorf("type %x, %v, want %v", typ, again, e.orig)
			}
		}
	})
}

func tupleOf(b []byte) (t tuple) {
	for typ, v := range attrs(b[genLen:]) {
		if typ == ctTupleOrig {
			t = parseTuple(v)
		}
	}
	return t
}

func TestMatch(t *testing.T) {
	own := map[netip.Addr]bool{addrA: true}
	out := entry{name: name{1, tuple{addrA, addrB, network.TCP, 40000, 80}}, reply: tuple{addrB, addrA, network.TCP, 80, 40000}}
	in := entry{name: name{1, tuple{addrB, addrA, network.TCP, 40000, 80}}, reply: tuple{addrA, addrB, network.TCP, 80, 40000}}
	late := in // B spoke first in what A opened
	late.orig, late.reply, late.midway = in.reply, in.orig, true
	vip := out
	vip.orig.dst = netip.MustParseAddr("10.99.0.1")
	b, other, thevip := netip.PrefixFrom(addrB, 32), netip.MustParsePrefix("10.88.0.0/16"), netip.MustParsePrefix("10.99.0.1/32")
	for _, tt := range []struct {
		e    entry
		m    Match
		want bool
	}{
		{out, Match{b, tcp(80), Out}, true},
		{out, Match{b, tcp(80), Both}, true},
		{out, Match{b, network.Port{}, Both}, true},
		{out, Match{b, tcp(80), In}, false},
		{out, Match{b, network.Port{}, In}, false},
		{out, Match{b, tcp(40000), Both}, false},
		{out, Match{b, network.Port{Number: 80, Proto: network.UDP}, Out}, false},
		{out, Match{other, network.Port{}, Both}, false},
		{in, Match{b, tcp(80), In}, true},
		{in, Match{b, tcp(80), Out}, false},
		{in, Match{b, network.Port{}, In}, true},
		{late, Match{b, tcp(80), In}, true},
		{late, Match{b, tcp(80), Out}, false},
		{vip, Match{thevip, tcp(80), Out}, true},
		{vip, Match{b, tcp(80), Out}, true},
	} {
		if got := tt.m.of(&tt.e, own); got != tt.want {
			t.Errorf("%v of %v: %v", tt.m, tt.e.orig, got)
		}
	}
}
