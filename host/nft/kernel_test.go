package nft

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"casco/guard/network"
	"casco/internal/handtest"
	"casco/internal/nsenter"
)

// A pen is a network namespace of a test, as a container would have it: eth0
// is a veth whose other end is on the bridge br0 of the test's host.
type pen struct {
	name  string
	ns    netns.NsHandle
	end   network.Endpoint
	iface string // its interface, "eth0"
}

// pens makes a host with so many containers on one bridge, 10.9.0.2 and so on,
// fd00:9::2 and so on; the host is .1 there.
func pens(t testing.TB, n int) (host pen, cs []pen) {
	t.Helper()
	handtest.NeedRoot(t)
	tag := fmt.Sprintf("cn%x%x", os.Getpid()&0xffff, time.Now().UnixNano()&0xffff)
	make := func(name string) pen {
		ip(t, "netns", "add", name)
		t.Cleanup(func() { exec.Command("ip", "netns", "del", name).Run() })
		h, err := netns.GetFromName(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		ip(t, "-n", name, "link", "set", "lo", "up")
		return pen{name: name, ns: h}
	}
	host = make(tag + "h")
	ip(t, "-n", host.name, "link", "add", "br0", "type", "bridge")
	ip(t, "-n", host.name, "addr", "add", "10.9.0.1/16", "dev", "br0")
	ip(t, "-n", host.name, "addr", "add", "fd00:9::1/64", "dev", "br0", "nodad")
	ip(t, "-n", host.name, "link", "set", "br0", "up")
	for i := range n {
		c := make(fmt.Sprintf("%s%d", tag, i))
		peer := fmt.Sprintf("vt%d", i)
		ip(t, "-n", host.name, "link", "add", peer, "type", "veth", "peer", "name", "eth0", "netns", c.name)
		ip(t, "-n", host.name, "link", "set", peer, "master", "br0", "up")
		v4, v6 := netip.AddrFrom4([4]byte{10, 9, byte((i + 2) / 256), byte((i + 2) % 256)}), netip.MustParseAddr(fmt.Sprintf("fd00:9::%x", i+2))
		ip(t, "-n", c.name, "addr", "add", v4.String()+"/16", "dev", "eth0")
		ip(t, "-n", c.name, "addr", "add", v6.String()+"/64", "dev", "eth0", "nodad")
		ip(t, "-n", c.name, "link", "set", "eth0", "up")
		ip(t, "-n", c.name, "route", "add", "default", "via", "10.9.0.1")
		c.iface = "eth0"
		c.end = network.Endpoint{
			Iface: "eth0", Network: "n", Peer: peer, Addrs: []netip.Addr{v4, v6},
			Gateways: []netip.Addr{netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("fd00:9::1")},
		}
		nl, err := netlink.NewHandleAt(c.ns)
		if err != nil {
			t.Fatal(err)
		}
		link, err := nl.LinkByName("eth0")
		if err != nil {
			t.Fatal(err)
		}
		copy(c.end.MAC[:], link.Attrs().HardwareAddr)
		nl.Close()
		c.awaitUp(t)
		cs = append(cs, c)
	}
	return host, cs
}

func ip(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// serve answers on that port of the namespace, TCP and UDP, until the test ends.
func (p pen) serve(t testing.TB, port int) {
	t.Helper()
	err := nsenter.Net(p.ns, func() error {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		u, err := net.ListenPacket("udp", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close(); u.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		}()
		go func() {
			b := make([]byte, 10)
			for {
				n, from, err := u.ReadFrom(b)
				if err != nil {
					return
				}
				u.WriteTo(b[:n], from)
			}
		}()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// comes reports whether something on the other side answers before long: what is
// to be reached may be slow on a busy machine.
func (p pen) comes(proto, to string) bool {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		if p.reaches(proto, to) {
			return true
		}
	}
	return false
}

// reaches reports whether something on the other side answers at once.
func (p pen) reaches(proto, to string) bool {
	return nsenter.Net(p.ns, func() error {
		c, err := net.DialTimeout(proto, to, 300*time.Millisecond)
		if err != nil {
			return err
		}
		defer c.Close()
		if proto != "udp" {
			return nil
		}
		c.SetDeadline(time.Now().Add(300 * time.Millisecond))
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		_, err = c.Read(make([]byte, 1))
		return err
	}) == nil
}

func peers(es ...network.Element) network.Elements {
	out := network.Elements{}
	for _, e := range es {
		out[e] = struct{}{}
	}
	return out
}

var web = network.Port{Number: 80, Proto: network.TCP}

func TestSpace(t *testing.T) {
	_, cs := pens(t, 2)
	a, b := cs[0], cs[1]
	b.serve(t, 80)
	b.serve(t, 81)
	b4, b6 := b.end.Addrs[0], b.end.Addrs[1]
	to := func(a netip.Addr, port uint16) string { return netip.AddrPortFrom(a, port).String() }
	if !a.comes("tcp", to(b4, 81)) || !a.comes("tcp", to(b6, 80)) || !a.comes("udp", to(b4, 80)) {
		t.Fatal("without rules everything is to be reached")
	}
	s, err := Enter(a.ns)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := &network.Inside{
		Endpoints: []network.Endpoint{a.end}, Gateways: a.end.Gateways, Managed: []netip.Prefix{netip.MustParsePrefix("10.10.0.0/16")},
		Peers: peers(network.Element{Set: network.Out, A: b4, Port: web}),
	}
	if err := s.Replace(in, Options{Enforce: true}); err != nil {
		t.Fatal(err)
	}
	expect := func(want bool, proto, to string) {
		t.Helper()
		if got := a.reaches(proto, to) || want && a.comes(proto, to); got != want {
			t.Errorf("%s %s: reached %v, want %v", proto, to, got, want)
		}
	}
	expect(true, "tcp", to(b4, 80))
	expect(false, "tcp", to(b4, 81))
	expect(false, "udp", to(b4, 80))
	expect(false, "tcp", to(b6, 80))
	if err := s.Check(in); err != nil {
		t.Error(err)
	}

	if !s.Agrees() {
		t.Error("nobody changed anything, and it does not agree")
	}
	ip(t, "netns", "exec", a.name, "nft", "add", "table", "inet", "others")
	if s.Agrees() {
		t.Error("somebody made a table, and it still agrees")
	}
	if err := s.Check(in); err != nil || !s.Agrees() {
		t.Errorf("the table of others is not ours to care for: %v", err)
	}

	more := network.Element{Set: network.OutAll, A: b6}
	if err := s.Change(network.Change{Add: []network.Element{more}, Del: []network.Element{{Set: network.Out, A: b4, Port: web}}}); err != nil {
		t.Fatal(err)
	}
	expect(false, "tcp", to(b4, 80))
	expect(true, "tcp", to(b6, 80))
	if s.Check(in) == nil {
		t.Error("the sets are others now, and Check says they are the same")
	}
	in.Peers = peers(more)
	if err := s.Check(in); err != nil {
		t.Error(err)
	}
	if err := s.Allow([]Named{{Addr: b4, Port: web, TTL: time.Second}}); err != nil {
		t.Fatal(err)
	}
	expect(true, "tcp", to(b4, 80))
	time.Sleep(1200 * time.Millisecond)
	expect(false, "tcp", to(b4, 80))
	d, err := s.Drops()
	if err != nil || d[DropOut].Packets == 0 {
		t.Errorf("drops are %v, %v", d, err)
	}

	// Whoever may change rules in the namespace cannot change ours.
	out, err := exec.Command("ip", "netns", "exec", a.name, "nft", "delete", "table", "inet", Table).CombinedOutput()
	if s.Owned() && err == nil {
		t.Errorf("nft took our table out: %s", out)
	}
	exec.Command("ip", "netns", "exec", a.name, "nft", "flush", "ruleset").Run()
	expect(false, "tcp", to(b4, 80))
	if err := s.Check(in); err != nil {
		t.Error(err)
	}

	// The next guard takes over, with no moment without rules.
	s.Close()
	expect(false, "tcp", to(b4, 80))
	s2, err := Enter(a.ns)
	if err != nil {
		t.Fatal(err)
	}
	defer s2.Close()
	if err := s2.Replace(in, Options{Enforce: true}); err != nil {
		t.Fatal(err)
	}
	expect(false, "tcp", to(b4, 80))
	if err := s2.Remove(); err != nil {
		t.Fatal(err)
	}
	expect(true, "tcp", to(b4, 81))
	if out, _ := exec.Command("ip", "netns", "exec", a.name, "nft", "list", "ruleset").Output(); strings.Contains(string(out), Table) {
		t.Errorf("left behind:\n%s", out)
	}
}

// TestTaken wants a table that a container made under our name, while no guard
// was there, to be ours all the same.
func TestTaken(t *testing.T) {
	_, cs := pens(t, 1)
	a := cs[0]
	if out, err := exec.Command("ip", "netns", "exec", a.name, "nft", "add table inet casco; add table netdev casco").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s, err := Enter(a.ns)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := &network.Inside{Endpoints: []network.Endpoint{a.end}}
	if err := s.Replace(in, Options{Enforce: true}); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("ip", "netns", "exec", a.name, "nft", "delete", "table", "inet", Table).CombinedOutput()
	if owns(t) && (!s.Owned() || err == nil) {
		t.Errorf("owned %v, and nft could take our table out: %v %s", s.Owned(), err, out)
	}
}

// owns reports whether this kernel lets tables be owned for good.
func owns(t *testing.T) bool {
	_, cs := pens(t, 1)
	s, err := Enter(cs[0].ns)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Replace(&network.Inside{}, Options{}); err != nil {
		t.Fatal(err)
	}
	return s.Owned()
}

// TestClosed wants who comes late not to write to the file that has the number
// of the socket by then.
func TestClosed(t *testing.T) {
	_, cs := pens(t, 2)
	b4 := cs[0].end.Addrs[0]
	gone, err := Enter(cs[0].ns)
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	s, err := Enter(cs[1].ns) // has the same number
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := &network.Inside{Endpoints: []network.Endpoint{cs[1].end}}
	if err := s.Replace(in, Options{Enforce: true}); err != nil {
		t.Fatal(err)
	}
	if err := gone.Change(network.Change{Add: []network.Element{{Set: network.OutAll, A: b4}}}); err == nil {
		t.Error("rules were changed after Close")
	}
	if err := s.Check(in); err != nil {
		t.Errorf("those of another namespace were: %v", err)
	}
}

// TestListed wants nft(8) to be able to read what we wrote.
func TestListed(t *testing.T) {
	host, cs := pens(t, 1)
	s, err := Enter(cs[0].ns)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := &network.Inside{
		Endpoints: []network.Endpoint{cs[0].end}, Gateways: cs[0].end.Gateways,
		Managed: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16"), netip.MustParsePrefix("10.9.1.0/24"), netip.MustParsePrefix("fd00:9::/64")},
		Nets:    []network.NetPort{{Net: netip.MustParsePrefix("203.0.113.0/25"), Port: web}, {Net: netip.MustParsePrefix("2001:db8::7/128"), Port: web}},
		Open:    []network.Port{web}, FromHost: []network.Port{web},
		Peers: peers(network.Element{Set: network.In, A: netip.MustParseAddr("fd00::7"), Port: web}),
	}
	if err := s.Replace(in, Options{Enforce: true, Resolver: 5300}); err != nil {
		t.Fatal(err)
	}
	h, err := OpenHost(host.ns)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	o := network.Outside{
		Bridges: []string{"br0"}, Managed: in.Managed, Local: cs[0].end.Gateways,
		Elements: peers(
			network.Element{Set: network.Reach, A: cs[0].end.Addrs[0], B: netip.MustParseAddr("10.9.0.9")},
			network.Element{Set: network.Egress, A: cs[0].end.Addrs[0], Net: netip.MustParsePrefix("203.0.113.0/25"), Port: web},
			network.Element{Set: network.Shut, A: netip.IPv4Unspecified(), Port: web},
			network.Element{Set: network.Between, A: cs[0].end.Addrs[1], B: netip.MustParseAddr("fd00:9::9"), Port: web}),
	}
	if err := h.Replace(o, []*network.Inside{in}); err != nil {
		t.Fatal(err)
	}
	if err := h.Check(o); err != nil {
		t.Error(err)
	}
	if err := h.Allow([]Named{{Own: cs[0].end.Addrs, Addr: netip.MustParseAddr("192.0.2.1"), Port: web, TTL: time.Minute}}); err != nil {
		t.Error(err)
	}
	if err := h.Pin(in); err != nil {
		t.Error(err)
	}
	// A network outside that is new, one that overlaps, and one that nobody wants.
	wide := network.Element{Set: network.Egress, A: cs[0].end.Addrs[0], Net: netip.MustParsePrefix("203.0.0.0/16"), Port: web}
	six := network.Element{Set: network.Egress, A: cs[0].end.Addrs[1], Net: netip.MustParsePrefix("2001:db8::/32"), Port: web}
	o.Elements[wide], o.Elements[six] = struct{}{}, struct{}{}
	if h.Check(o) == nil {
		t.Error("two sets are missing, and Check says nothing")
	}
	if err := h.Change(network.Change{Add: []network.Element{wide, six}}); err != nil {
		t.Fatal(err)
	}
	if err := h.Check(o); err != nil {
		t.Error(err)
	}
	if err := h.Change(network.Change{Del: []network.Element{wide}}); err != nil {
		t.Fatal(err)
	}
	if h.Check(o) == nil {
		t.Error("a set is empty, and Check says nothing")
	}
	if err := h.Change(network.Change{Add: []network.Element{wide}}); err != nil {
		t.Fatal(err)
	}
	if err := h.Replace(o, []*network.Inside{in}); err != nil {
		t.Error(err)
	}
	if err := h.Check(o); err != nil {
		t.Error(err)
	}

	o.Bridges, o.Local = append(o.Bridges, "br1"), nil
	o.Managed = append(o.Managed[:1:1], netip.MustParsePrefix("10.8.0.0/16"))
	if err := h.Around(o); err != nil {
		t.Error(err)
	}
	if err := h.Check(o); err != nil || !h.Agrees() {
		t.Error(err)
	}
	if out, err := exec.Command("ip", "netns", "exec", host.name, "nft", "list", "set", "inet", Table, "managed4").CombinedOutput(); !strings.Contains(string(out), "10.8.0.0/16, 10.9.0.0/16") {
		t.Errorf("%v: %s", err, out)
	}
	for _, ns := range []string{host.name, cs[0].name} {
		out, err := exec.Command("ip", "netns", "exec", ns, "nft", "list", "ruleset").CombinedOutput()
		if err != nil {
			t.Errorf("nft cannot list it: %v: %s", err, out)
		}
		t.Logf("%s", out)
	}
	if err := h.Unpin(in); err != nil {
		t.Error(err)
	}
}
