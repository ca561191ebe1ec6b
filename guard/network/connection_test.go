package network

import (
	"net/netip"
	"testing"
)

// TestAllows: a connection is let be if its first packet would be, whichever
// end is said to have opened it.
func TestAllows(t *testing.T) {
	a := netip.MustParseAddr
	own, peer, gateway, far, host := a("10.1.0.2"), a("10.1.0.3"), a("10.1.0.1"), a("192.0.2.9"), a("192.0.2.1")
	db, web := Port{5432, TCP}, Port{8080, TCP}
	managed := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
	in := &Inside{
		Endpoints: []Endpoint{{Addrs: []netip.Addr{own}}}, Gateways: []netip.Addr{gateway}, Managed: managed,
		Open: []Port{web}, Nets: []NetPort{{netip.MustParsePrefix("192.0.2.8/30"), db}},
		Peers: Elements{{Set: Out, A: peer, Port: db}: {}, {Set: InAll, A: peer}: {}},
	}
	r := &Ruleset{Inside: map[uint64]*Inside{1: in}, Outside: Outside{Managed: managed, Local: []netip.Addr{gateway, host}, Elements: Elements{
		{Set: Between, A: own, B: peer, Port: db}: {}, {Set: ToHost, A: own, Port: web}: {}, {Set: Open, A: own, Port: web}: {},
		{Set: Egress, A: own, Net: netip.MustParsePrefix("192.0.2.8/30"), Port: db}: {},
	}}}
	for _, c := range []struct {
		name            string
		from, to        netip.Addr
		port            Port
		inside, outside bool
	}{
		{"to a peer", own, peer, db, true, true},
		{"to another port of it", own, peer, web, false, false},
		{"to loopback", own, a("127.0.0.11"), Port{53, UDP}, true, false},
		{"ping", own, far, Port{0, ICMP}, false, false},
		{"out, to a network", own, far, db, true, true},
		{"out, elsewhere", own, a("203.0.113.1"), db, false, false},
		{"from outside", far, own, web, true, true},
		{"from outside, closed", far, own, db, false, false},
		{"by the gateway", gateway, own, web, true, true},
		{"by the gateway, closed", gateway, own, db, false, true},
	} {
		conn := Connection{From: c.from, To: c.to, FromPort: 40000, Port: c.port}
		if got := in.allows(conn); got != c.inside {
			t.Errorf("%s: in the namespace %v, want %v", c.name, got, c.inside)
		}
		if got := r.allows(conn); got != c.outside && c.to != a("127.0.0.11") {
			t.Errorf("%s: on the host %v, want %v", c.name, got, c.outside)
		}
		if c.inside && (!in.Allows(conn.back()) || !in.Allows(conn)) {
			t.Errorf("%s: not the same from the other end", c.name)
		}
	}
	if !r.Allows(Connection{From: own, To: host, FromPort: 1, Port: web}) || r.Allows(Connection{From: own, To: host, FromPort: 1, Port: db}) {
		t.Error("services of the host")
	}
}
