package netbench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"casco/guard/network"
)

// A Bed is two network namespaces as containers have them, and a third as their
// host: each has a veth whose other end is on a bridge of the host. No other
// namespace knows of them.
type Bed struct {
	Host           netns.NsHandle
	Client, Server End
}

// An End is one of the two.
type End struct {
	NS       netns.NsHandle
	Endpoint network.Endpoint
}

// The network of a Bed, of addresses that are for documentation (RFC 5737) and
// so for nobody.
var (
	subnet  = netip.MustParsePrefix("192.0.2.0/24")
	gateway = netip.MustParseAddr("192.0.2.1")
)

const bridge = "casco0"

// NewBed makes one.
func NewBed() (_ *Bed, err error) {
	b := &Bed{Host: -1, Client: End{NS: -1}, Server: End{NS: -1}}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	for _, ns := range []*netns.NsHandle{&b.Host, &b.Client.NS, &b.Server.NS} {
		if *ns, err = unnamed(); err != nil {
			return nil, err
		}
	}
	nl, err := netlink.NewHandleAt(b.Host, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	defer nl.Close()
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridge}}
	err = nl.LinkAdd(br)
	if err == nil {
		err = errors.Join(nl.AddrAdd(br, address24(gateway)), nl.LinkSetUp(br))
	}
	if err != nil {
		return nil, fmt.Errorf("a bridge: %w", err)
	}
	at := gateway
	for _, e := range []*End{&b.Client, &b.Server} {
		at = at.Next()
		if err := e.plug(nl, br.Index, at); err != nil {
			return nil, fmt.Errorf("a veth: %w", err)
		}
	}
	return b, nil
}

// Close lets go of it: the kernel removes what nobody holds.
func (b *Bed) Close() {
	for _, ns := range []*netns.NsHandle{&b.Host, &b.Client.NS, &b.Server.NS} {
		if ns.IsOpen() {
			ns.Close()
		}
	}
}

// unnamed is a new network namespace.
func unnamed() (netns.NsHandle, error) {
	type made struct {
		ns  netns.NsHandle
		err error
	}
	c := make(chan made)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		ns, err := netns.New()
		if err == nil {
			// An address of IPv6 that comes a second later would be measured too.
			_ = os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
			// Else frames between two ports of the bridge are tracked as well, once any
			// rule of the host wants it. Where an engine has that on, it is paid for
			// without our rules.
			_ = os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte("0"), 0)
		}
		c <- made{ns, err}
	}()
	m := <-c
	if m.err != nil {
		return -1, fmt.Errorf("a network namespace: %w", m.err)
	}
	return m.ns, nil
}

func address24(a netip.Addr) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(subnet.Bits(), 32)}}
}

// plug gives e an interface with that address.
func (e *End) plug(host *netlink.Handle, master int, at netip.Addr) error {
	peer := fmt.Sprintf("casco%d", at.As4()[3])
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: peer, MasterIndex: master}, PeerName: "eth0", PeerNamespace: netlink.NsFd(e.NS)}
	if err := host.LinkAdd(veth); err != nil {
		return err
	}
	if err := host.LinkSetUp(veth); err != nil {
		return err
	}
	nl, err := netlink.NewHandleAt(e.NS, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer nl.Close()
	eth, err := nl.LinkByName("eth0")
	if err != nil {
		return err
	}
	e.Endpoint = network.Endpoint{Iface: "eth0", Network: "bench", Peer: peer, Addrs: []netip.Addr{at}, Gateways: []netip.Addr{gateway}}
	copy(e.Endpoint.MAC[:], eth.Attrs().HardwareAddr)
	return errors.Join(nl.AddrAdd(eth, address24(at)), nl.LinkSetUp(eth))
}

// At is where the server listens.
func (b *Bed) At() netip.AddrPort { return netip.AddrPortFrom(b.Server.Endpoint.Addrs[0], 7) }

// Rules are those of a host with so many containers, of which the client may
// send to the server's port and nothing else. Each of the two has as many peers
// beside the other as there are containers, and on the host each container has
// ten: sets are as large as they get, and each packet is looked for in them.
func (b *Bed) Rules(containers int) (client, server *network.Inside, host network.Outside) {
	port := network.Port{Number: b.At().Port(), Proto: network.TCP}
	from, to := b.Client.Endpoint.Addrs[0], b.Server.Endpoint.Addrs[0]
	inside := func(e End) *network.Inside {
		return &network.Inside{
			Endpoints: []network.Endpoint{e.Endpoint}, Gateways: e.Endpoint.Gateways, Managed: []netip.Prefix{subnet}, Peers: network.Elements{},
		}
	}
	client, server = inside(b.Client), inside(b.Server)
	host = network.Outside{Bridges: []string{bridge}, Managed: []netip.Prefix{subnet}, Local: []netip.Addr{gateway}, Elements: network.Elements{}}
	add := func(es network.Elements, e network.Element) { es[e] = struct{}{} }
	pair := func(a, b netip.Addr) {
		add(host.Elements, network.Element{Set: network.Between, A: a, B: b, Port: port})
		add(host.Elements, network.Element{Set: network.Reach, A: a, B: b})
		add(host.Elements, network.Element{Set: network.Reach, A: b, B: a})
	}
	add(client.Peers, network.Element{Set: network.Out, A: to, Port: port})
	add(server.Peers, network.Element{Set: network.In, A: from, Port: port})
	pair(from, to)
	// The others have addresses of a network for measurements (RFC 2544).
	other := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 18, byte(i / 250), byte(i%250 + 1)}) }
	for i := range containers {
		for _, in := range []*network.Inside{client, server} {
			add(in.Peers, network.Element{Set: network.Out, A: other(i), Port: port})
			add(in.Peers, network.Element{Set: network.In, A: other(i), Port: port})
			add(in.Peers, network.Element{Set: network.OutAll, A: other(i)})
		}
		for k := range 10 {
			pair(other(i), other((i+k+1)%containers))
		}
	}
	return client, server, host
}
