package nft

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"casco/guard/network"
	"casco/policy"
)

// TestManyFlows wants a policy of 10,000 flows in one namespace: all of it or,
// if one cannot be, nothing.
func TestManyFlows(t *testing.T) {
	_, cs := pens(t, 2)
	a, b := cs[0], cs[1]
	b.serve(t, 80)
	p := &policy.Policy{
		Tiers:  []policy.Tier{{ID: "t", Impact: 1}},
		Assign: []policy.Assign{{Default: "t"}},
	}
	add := func(to, port string) {
		p.Flows = append(p.Flows, policy.Flow{ID: fmt.Sprint("f", len(p.Flows)), From: "t/a", To: to, Port: port})
	}
	for i := range 9999 {
		add(fmt.Sprintf("egress:203.%d.%d.0/24", i/256, i%256), "443/tcp")
	}
	add("t/b", "80/tcp")
	w := network.World{Segments: []network.Segment{{Name: "n", Driver: "bridge", Bridge: "br0", Subnets: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}, Gateways: a.end.Gateways}}}
	for i, c := range cs {
		w.Namespaces = append(w.Namespaces, network.Namespace{
			ID: uint64(i + 1), Endpoints: []network.Endpoint{c.end},
			Members: []network.Workload{{ID: fmt.Sprint(i), Workload: policy.Workload{Name: string(rune('a' + i))}}},
		})
	}
	rules, err := network.Rules(w, p)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Enter(a.ns)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	begun := time.Now()
	if err := s.Replace(rules.Inside[1], Options{Enforce: true}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d flows in %s", len(p.Flows), time.Since(begun))
	if err := s.Check(rules.Inside[1]); err != nil {
		t.Error(err)
	}
	if !a.comes("tcp", netip.AddrPortFrom(b.end.Addrs[0], 80).String()) {
		t.Error("the last of the flows is not let pass")
	}
	if a.reaches("udp", netip.AddrPortFrom(b.end.Addrs[0], 80).String()) {
		t.Error("what no flow says is let pass")
	}

	// One rule that the kernel refuses: the old ones stay, whole.
	bad := *rules.Inside[1]
	bad.Endpoints = append([]network.Endpoint{{Iface: "longer-than-a-name-may-be"}}, bad.Endpoints...)
	bad.Peers = network.Elements{}
	if err := s.Replace(&bad, Options{Enforce: true}); err == nil {
		t.Fatal("an interface whose name cannot be was taken")
	} else {
		t.Log(err)
	}
	if err := s.Check(rules.Inside[1]); err != nil {
		t.Errorf("half of it was applied: %v", err)
	}
}

// TestFrames wants frames that a process writes itself to be stopped where they
// are written, and forged ones on the host, whatever the namespace lets out.
func TestFrames(t *testing.T) {
	host, cs := pens(t, 2)
	a, b := cs[0], cs[1]
	heard := b.hears(t)
	send := func(src netip.Addr, n int) {
		t.Helper()
		if err := a.writes(b, src, n); err != nil {
			t.Log(err) // the sender is told, on some kernels
		}
	}
	own, forged := a.end.Addrs[0], netip.MustParseAddr("10.9.0.77")
	send(own, 5)
	send(forged, 5)
	if n := heard(10); n != 10 {
		t.Fatalf("without rules %d of 10 frames arrived", n)
	}
	in := &network.Inside{Endpoints: []network.Endpoint{a.end}, Gateways: a.end.Gateways, Peers: peers(network.Element{Set: network.OutAll, A: b.end.Addrs[0]})}
	s, err := Enter(a.ns)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Replace(in, Options{Enforce: true}); err != nil {
		t.Fatal(err)
	}
	send(own, 5)
	send(forged, 5)
	if n := heard(0); n != 0 {
		t.Errorf("%d frames passed the namespace", n)
	}
	// An interface that comes later, as with "docker network connect", is held
	// from its first frame on, where the kernel hooks what is not there yet.
	ip(t, "-n", a.name, "link", "set", "eth0", "down")
	ip(t, "-n", a.name, "link", "set", "eth0", "name", "eth3")
	ip(t, "-n", a.name, "link", "set", "eth3", "up")
	a.iface = "eth3"
	a.awaitUp(t)
	send(own, 5)
	if n := heard(0); n != 0 && hooksAhead() {
		t.Errorf("%d frames passed an interface that came later", n)
	}
	ip(t, "-n", a.name, "link", "set", "eth3", "down")
	ip(t, "-n", a.name, "link", "set", "eth3", "name", "eth0")
	ip(t, "-n", a.name, "link", "set", "eth0", "up")
	a.iface = "eth0"
	a.awaitUp(t)
	if err := s.Remove(); err != nil {
		t.Fatal(err)
	}

	h, err := OpenHost(host.ns)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	o := network.Outside{
		Bridges: []string{"br0"}, Managed: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")},
		Elements: peers(network.Element{Set: network.Reach, A: own, B: b.end.Addrs[0]}, network.Element{Set: network.BetweenAll, A: own, B: b.end.Addrs[0]}),
	}
	if err := h.Replace(o, []*network.Inside{in}); err != nil {
		t.Fatal(err)
	}
	send(forged, 5)
	if n := heard(0); n != 0 {
		t.Errorf("%d forged frames passed the host", n)
	}
	send(own, 5)
	if n := heard(5); n != 5 {
		t.Errorf("%d of 5 frames arrived with the container's own address, to one whom it may reach", n)
	}
	if err := h.Change(network.Change{Del: o.Elements.Sorted()}); err != nil {
		t.Fatal(err)
	}
	send(own, 5)
	if n := heard(0); n != 0 {
		t.Errorf("%d frames reached one whom the container may not reach", n)
	}
	d, err := h.Drops()
	if err != nil || d[DropForged].Packets != 5 || d[DropReach].Packets != 5 {
		t.Errorf("drops are %v, %v", d, err)
	}
}
