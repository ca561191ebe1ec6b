package flows

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"casco/guard/network"
)

// newTestTally is one of a namespace that has addrA and waits at port 80.
func newTestTally() *tally {
	t := newTally(network.Flow{}, 10)
	t.own = map[netip.Addr]bool{addrA: true}
	t.look = func(time.Time) map[netip.Addr]bool { return t.own }
	t.waits = func(port uint16, _ time.Time) bool { return port == 80 }
	return t
}

// conn is the nth connection from addrA to port 80 of addrB, after n packets
// there and as many back.
func conn(id uint32, packets uint64) entry {
	e := entry{name: name{id, tuple{addrA, addrB, network.TCP, uint16(40000 + id), 80}}, replied: packets > 0}
	e.reply = e.orig.reverse()
	e.there, e.back = network.Count{Packets: packets, Bytes: 100 * packets}, network.Count{Packets: packets, Bytes: 10 * packets}
	return e
}

// TestTally: every order in which the kernel may tell and forget gives the
// same sums, and they never sink.
func TestTally(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	one, grown, ended, two := conn(1, 1), conn(1, 5), conn(1, 6), conn(2, 2)
	type sums struct{ connections, replied, open, sent uint64 }
	for _, tt := range []struct {
		name string
		do   func(*tally) []network.Flow
		want sums
	}{
		{"of whoever watches", func(t *tally) []network.Flow {
			t.ours = func(s netip.AddrPort) bool { return s == netip.AddrPortFrom(addrA, 40001) }
			t.begin(&one, at(1))
			t.ours = func(netip.AddrPort) bool { return false } // its time is over
			t.read([]entry{grown}, false, at(2))
			t.end(&ended, at(3))
			t.begin(&two, at(4))
			return t.read([]entry{two}, false, at(5))
		}, sums{1, 1, 1, 2}},
		{"told, then listed", func(t *tally) []network.Flow {
			t.begin(&one, at(1))
			return t.read([]entry{grown}, false, at(2))
		}, sums{1, 1, 1, 5}},
		{"told from beginning to end", func(t *tally) []network.Flow {
			t.begin(&one, at(1))
			t.end(&ended, at(2))
			return t.read(nil, false, at(3))
		}, sums{1, 1, 0, 6}},
		{"listed between", func(t *tally) []network.Flow {
			t.begin(&one, at(1))
			t.read([]entry{grown}, false, at(2))
			t.end(&ended, at(3))
			return t.read(nil, false, at(4))
		}, sums{1, 1, 0, 6}},
		{"there before, and told all the same", func(t *tally) []network.Flow {
			t.found([]entry{one}, at(1))
			t.begin(&one, at(1))
			return t.read([]entry{grown}, false, at(2))
		}, sums{1, 1, 1, 5}},
		{"there before, and gone without a word", func(t *tally) []network.Flow {
			t.found([]entry{one}, at(1))
			t.read([]entry{grown}, false, at(2))
			return t.read(nil, false, at(3))
		}, sums{1, 1, 0, 5}},
		{"there before, and its end is told", func(t *tally) []network.Flow {
			t.found([]entry{one}, at(1))
			t.read([]entry{grown}, false, at(2))
			t.end(&ended, at(3))
			return t.read(nil, false, at(4))
		}, sums{1, 1, 0, 6}},
		{"listed before its beginning is told", func(t *tally) []network.Flow {
			t.read([]entry{one}, false, at(1))
			t.begin(&one, at(2))
			return t.read([]entry{grown}, false, at(3))
		}, sums{1, 1, 1, 5}},
		{"a beginning was lost, and it is still open", func(t *tally) []network.Flow {
			t.begin(&one, at(1))
			return t.read([]entry{grown, two}, true, at(2))
		}, sums{2, 2, 2, 7}},
		{"all beginnings were lost", func(t *tally) []network.Flow {
			return t.read([]entry{grown, two}, true, at(2))
		}, sums{2, 2, 2, 7}},
		{"a beginning was lost, and its end is told", func(t *tally) []network.Flow {
			t.end(&ended, at(2))
			return t.read(nil, true, at(3))
		}, sums{1, 1, 0, 6}},
		{"a beginning was lost, it was listed and its end is told", func(t *tally) []network.Flow {
			t.read([]entry{one}, true, at(1))
			t.end(&ended, at(2))
			return t.read(nil, false, at(3))
		}, sums{1, 1, 0, 6}},
		{"an end was lost", func(t *tally) []network.Flow {
			t.begin(&one, at(1))
			t.begin(&two, at(1))
			return t.read([]entry{two}, true, at(2))
		}, sums{2, 1, 1, 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fs := tt.do(newTestTally())
			if len(fs) != 1 {
				t.Fatalf("%d flows: %+v", len(fs), fs)
			}
			f := fs[0]
			if got := (sums{f.Connections, f.Replied, f.Open, f.Sent.Packets}); got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
			if f.Sent.Bytes != 100*f.Sent.Packets || f.Received.Bytes != 10*f.Received.Packets || f.Received.Packets != f.Sent.Packets {
				t.Errorf("%+v", f)
			}
		})
	}
}

// TestTimes: a flow is last seen when one of it begins, or when a reading
// finds that it grew; not when the kernel forgets it, minutes later.
func TestTimes(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	one, grown := conn(1, 1), conn(1, 5)
	y := newTestTally()
	y.begin(&one, at(1))
	var last []int64
	for i, all := range [][]entry{{one}, {one}, {grown}, {grown}} {
		last = append(last, y.read(all, false, at(10+i))[0].Last.Unix())
	}
	y.end(&grown, at(20))
	f := y.read(nil, false, at(21))[0]
	if d := cmp.Diff([]int64{10, 10, 12, 12}, last); d != "" || f.First != at(1) || f.Last != at(12) {
		t.Errorf("%s %v %v", d, f.First, f.Last)
	}
}

// TestWhere: whose connection it is, and where it went.
func TestWhere(t *testing.T) {
	far, vip := netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("10.99.0.1")
	turned := func(e entry) entry { e.midway = true; return e }
	make := func(src, dst netip.Addr, sport, dport uint16, from netip.Addr, fport uint16) entry {
		o := tuple{src, dst, network.TCP, sport, dport}
		return entry{name: name{1, o}, reply: tuple{from, src, network.TCP, fport, sport}}
	}
	for _, tt := range []struct {
		name string
		e    entry
		want place
	}{
		{"out", make(addrA, addrB, 40000, 80, addrB, 80), place{true, addrB, tcp(80), netip.AddrPort{}}},
		{"out by a virtual address", make(addrA, vip, 40000, 80, addrB, 8080), place{true, addrB, tcp(8080), netip.AddrPortFrom(vip, 80)}},
		{"in", make(far, addrA, 40000, 80, addrA, 80), place{false, far, tcp(80), netip.AddrPort{}}},
		{"in by another port", make(far, addrA, 40000, 8080, addrA, 80), place{false, far, tcp(80), netip.AddrPortFrom(addrA, 8080)}},
		{"passed through", make(far, addrB, 40000, 80, addrB, 80), place{false, far, tcp(80), netip.AddrPortFrom(addrB, 80)}},
		{"under way, the server spoke next", turned(make(addrA, far, 80, 40000, far, 40000)), place{false, far, tcp(80), netip.AddrPort{}}},
		{"under way, the client was spoken to", turned(make(far, addrA, 443, 40000, addrA, 40000)), place{true, far, tcp(443), netip.AddrPort{}}},
		{"under way, as it seems", turned(make(far, addrA, 40000, 80, addrA, 80)), place{false, far, tcp(80), netip.AddrPort{}}},
	} {
		y := newTestTally()
		y.turn(&tt.e, time.Time{})
		if got, _, ok := y.where(&tt.e, time.Time{}); got != tt.want || !ok {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
