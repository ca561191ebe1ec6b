package nft

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"casco/guard/network"
	"casco/internal/nsenter"
)

// passes reports whether a packet of protocol 58 that is made by hand arrives:
// a solicitation of a neighbour by its first byte, and by nothing else.
func (p pen) passes(t *testing.T, to pen, dst netip.Addr, hops int) bool {
	t.Helper()
	family, level, option, name := "ip4:58", unix.IPPROTO_IP, unix.IP_TTL, unix.AF_INET
	var at unix.Sockaddr = &unix.SockaddrInet4{}
	if dst.Is6() {
		family, level, option, name = "ip6:58", unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, unix.AF_INET6
		at = &unix.SockaddrInet6{Addr: dst.As16()}
	} else {
		at = &unix.SockaddrInet4{Addr: dst.As4()}
	}
	var c net.PacketConn
	if err := nsenter.Net(to.ns, func() (err error) { c, err = net.ListenPacket(family, ""); return err }); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err := nsenter.Net(p.ns, func() error {
		fd, err := unix.Socket(name, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, level, option, hops); err != nil {
			return err
		}
		return unix.Sendto(fd, append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, "a secret of somebody"...), 0, at)
	})
	if err != nil {
		return false // the sender is told
	}
	b := make([]byte, 200)
	for {
		c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		n, _, err := c.ReadFrom(b)
		if err != nil {
			return false
		}
		if n == 28 && b[0] == 135 { // others look for their neighbours meanwhile
			return true
		}
	}
}

// TestNear wants what IPv6 must say on a link to be no way out: neither for
// what only looks like it, nor past a router.
func TestNear(t *testing.T) {
	host, cs := pens(t, 1)
	box := cs[0]
	out := pen{name: host.name + "o"}
	ip(t, "netns", "add", out.name)
	t.Cleanup(func() { ip(t, "netns", "del", out.name) })
	for _, args := range [][]string{
		// The host looks for neighbours by its address of the link, at once.
		{"netns", "exec", host.name, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0"},
		{"-n", host.name, "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", out.name},
		{"-n", host.name, "addr", "add", "10.8.0.1/24", "dev", "up0"},
		{"-n", host.name, "addr", "add", "fd00:8::1/64", "dev", "up0", "nodad"},
		{"-n", host.name, "link", "set", "up0", "up"},
		{"-n", out.name, "addr", "add", "10.8.0.2/24", "dev", "eth0"},
		{"-n", out.name, "addr", "add", "fd00:8::2/64", "dev", "eth0", "nodad"},
		{"-n", out.name, "link", "set", "eth0", "up"},
		{"-n", out.name, "route", "add", "default", "via", "10.8.0.1"},
		{"-n", out.name, "route", "add", "default", "via", "fd00:8::1"},
		{"-n", box.name, "route", "add", "default", "via", "fd00:9::1"},
		{"netns", "exec", host.name, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"},
	} {
		ip(t, args...)
	}
	out.ns, out.iface = open(t, out.name), "eth0"
	out.awaitUp(t)
	pen{name: host.name, ns: host.ns, iface: "up0"}.awaitUp(t)
	far := []netip.Addr{netip.MustParseAddr("10.8.0.2"), netip.MustParseAddr("fd00:8::2")}
	for _, a := range far {
		if !box.passes(t, out, a, 255) {
			t.Fatalf("without rules, nothing arrives at %s", a)
		}
	}

	s, err := Enter(box.ns)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	managed := []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16"), netip.MustParsePrefix("fd00:9::/64")}
	in := &network.Inside{Endpoints: []network.Endpoint{box.end}, Gateways: box.end.Gateways, Managed: managed}
	if err := s.Replace(in, Options{Enforce: true}); err != nil {
		t.Fatal(err)
	}
	for _, a := range far {
		if box.passes(t, out, a, 255) {
			t.Errorf("the namespace lets out to %s what is no neighbour's", a)
		}
	}
	if err := s.Remove(); err != nil {
		t.Fatal(err)
	}

	h, err := OpenHost(host.ns)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Replace(network.Outside{Bridges: []string{"br0"}, Managed: managed, Local: box.end.Gateways}, []*network.Inside{in}); err != nil {
		t.Fatal(err)
	}
	for _, a := range far {
		for _, hops := range []int{255, 64, 2} {
			if box.passes(t, out, a, hops) {
				t.Errorf("the host passes on to %s, with %d hops left, what is no neighbour's", a, hops)
			}
		}
	}

	// And neighbours are still found.
	if err := s.Replace(in, Options{Enforce: true}); err != nil {
		t.Fatal(err)
	}
	ip(t, "-n", box.name, "neigh", "flush", "dev", "eth0")
	ip(t, "-n", host.name, "neigh", "flush", "dev", "br0")
	in.Peers = peers(network.Element{Set: network.Out, A: netip.MustParseAddr("fd00:9::1"), Port: web})
	if err := s.Replace(in, Options{Enforce: true}); err != nil {
		t.Fatal(err)
	}
	host.serve(t, 80)
	if err := h.Change(network.Change{Add: []network.Element{{Set: network.ToHost, A: box.end.Addrs[1], Port: web}}}); err != nil {
		t.Fatal(err)
	}
	if !box.comes("tcp", "[fd00:9::1]:80") {
		t.Error("the host is not found over IPv6")
	}
}

func open(t *testing.T, name string) netns.NsHandle {
	t.Helper()
	ns, err := netns.GetFromName(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}
