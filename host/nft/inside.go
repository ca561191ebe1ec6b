package nft

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"casco/guard/network"
)

// Counters of what is dropped in a namespace. A drop class is one of these.
const (
	DropOut     = "drop_out"     // it sent what it may not
	DropIn      = "drop_in"      // somebody sent it what may not be
	DropForward = "drop_forward" // it passed something on
	DropFrame   = "drop_frame"   // a frame past the IP stack: AF_PACKET
)

// insideTable names the table whose sets change.
var insideTable = &table{family: unix.NFPROTO_INET, name: Table}

// inside are the tables of a namespace.
func inside(in *network.Inside, opts Options) []*table {
	t := &table{family: unix.NFPROTO_INET, name: Table, counters: []string{DropOut, DropIn, DropForward}}
	sets := map[string]*set{}
	add := func(s set) {
		t.sets = append(t.sets, s)
	}
	for _, w := range ways {
		for _, name := range []network.Set{network.OutAll, network.InAll} {
			add(set{name: string(name) + w.suffix, fields: []field{w.addr}})
		}
		for _, name := range []network.Set{network.Out, network.In} {
			add(set{name: string(name) + w.suffix, fields: []field{w.addr, fieldProto, fieldPort}})
		}
		add(namesSet(w, false, in.Names))
		add(set{name: setManaged + w.suffix, fields: []field{w.addr}, ranges: true, elements: ranges(in.Managed, w)})
		add(metadataSet(w))
		add(set{name: setGateways + w.suffix, fields: []field{w.addr}, elements: addrs(in.Gateways, w)})
	}
	add(set{name: "open", fields: []field{fieldProto, fieldPort}, elements: ports(in.Open)})
	add(set{name: "fromhost", fields: []field{fieldProto, fieldPort}, elements: ports(in.FromHost)})
	for i := range t.sets {
		sets[t.sets[i].name] = &t.sets[i]
	}
	for _, e := range in.Peers.Sorted() {
		s := sets[peerSet(e).name]
		s.elements = append(s.elements, elem{key: peerKey(e)})
	}

	may := func(name string, rules ...rule) {
		t.chains = append(t.chains, chain{name: name, todo: rules})
	}
	may("may_out", mayOut(in)...)
	may("may_in", mayIn()...)
	v6 := ways[1]
	may("near", neighbour(v6.of(), 133, 135, 136, 143)...)
	hooked := func(name, kind string, num uint32, priority int32, rules ...rule) {
		t.chains = append(t.chains, chain{name: name, hook: &hook{kind: kind, num: num, priority: priority}, drop: opts.Enforce && kind == "filter", todo: rules})
	}
	loopback := []rule{
		ruler(toNet(netip.MustParsePrefix("127.0.0.0/8"), network.Port{}), accept),
		ruler(toNet(netip.MustParsePrefix("::1/128"), network.Port{}), accept),
	}
	// What is known comes first: it is nearly all. Loopback by address too: a query
	// that goes to the resolver has been turned round, and the interface is still
	// that which it had.
	out := append([]rule{ruler(known, accept), ruler(iface(expr.MetaKeyOIFNAME, "lo"), accept)}, loopback...)
	// Neighbours are on the link: to any other address it would be a way out.
	for _, link := range []string{"fe80::/10", "ff00::/8"} {
		out = append(out, ruler(toNet(netip.MustParsePrefix(link), network.Port{}), jump("near")))
	}
	out = append(out, ruler(v6.addrIn(v6.dst, setManaged), jump("near")))
	out = append(out, ruler(jump("may_out")))
	out = append(out, ending(DropOut, opts.Enforce, true)...)
	hooked("leave", "filter", unix.NF_INET_LOCAL_OUT, 0, out...)

	into := []rule{ruler(known, accept), ruler(iface(expr.MetaKeyIIFNAME, "lo"), accept)}
	into = append(into, neighbour(v6.of(), 134, 135, 136, 130)...)
	into = append(into, ruler(jump("may_in")))
	into = append(into, ending(DropIn, opts.Enforce, false)...)
	hooked("enter", "filter", unix.NF_INET_LOCAL_IN, 0, into...)

	through := []rule{ruler(known, accept), ruler(jump("may_out")), ruler(jump("may_in"))}
	through = append(through, ending(DropForward, opts.Enforce, false)...)
	hooked("through", "filter", unix.NF_INET_FORWARD, 0, through...)

	if opts.Resolver > 0 {
		// Before Docker's, which are at -100 and are for 127.0.0.11 only.
		hooked("ask", "nat", unix.NF_INET_LOCAL_OUT, -150, toResolver(opts.Resolver)...)
	}
	return []*table{t, frames(in, opts)}
}

// Names of sets beside those of package network.
const (
	setNames    = "names"
	setManaged  = "managed"
	setGateways = "gateways"
	setMetadata = "metadata"
)

func metadataSet(w way) set {
	return set{name: setMetadata + w.suffix, fields: []field{w.addr}, elements: addrs(network.Metadata, w)}
}

func mayOut(in *network.Inside) []rule {
	var out []rule
	for _, w := range ways {
		out = append(out,
			ruler(w.addrIn(w.dst, string(network.OutAll)), accept),
			ruler(w.portIn(w.dst, string(network.Out)), accept),
			ruler(w.of(), outsideOnly(w), w.portIn(w.dst, setNames), accept))
	}
	for _, n := range in.Nets {
		w := wayOf(n.Net.Addr())
		out = append(out, ruler(w.of(), outsideOnly(w), beyondMetadata(w, n.Net), toNet(n.Net, n.Port), accept))
	}
	return out
}

// beyondMetadata matches packets to none of the addresses at which clouds hand
// out credentials, unless the flow is to one address: see NetPort.Covers.
func beyondMetadata(w way, to netip.Prefix) []expr.Any {
	if to.IsSingleIP() {
		return nil
	}
	return ruler(w.load(w.dst, 1), notIn(setMetadata+w.suffix))
}

// outsideOnly matches packets to no address of the engine's networks: a flow to
// 0.0.0.0/0 is one to the Internet, and not to all containers.
func outsideOnly(w way) []expr.Any { return ruler(w.load(w.dst, 1), notIn(setManaged+w.suffix)) }

// mayIn takes an address of the engine's networks that is no gateway for a
// container: what is open to outside is not for it. A gateway stands for the
// host, and for who reached the host from outside and was passed on by a
// process of it: the two are told apart on the host.
func mayIn() []rule {
	var out []rule
	open := func(set string) []expr.Any {
		return ruler(part(
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Payload{DestRegister: 9, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		), in(set))
	}
	for _, w := range ways {
		out = append(out,
			ruler(w.addrIn(w.src, string(network.InAll)), accept),
			ruler(w.portIn(w.src, string(network.In)), accept),
			ruler(w.of(), w.load(w.src, 1), notIn(setManaged+w.suffix), open("open"), accept),
			ruler(w.addrIn(w.src, setGateways), open("open"), accept),
			ruler(w.addrIn(w.src, setGateways), open("fromhost"), accept))
	}
	return out
}

// ending is what becomes of a packet that nothing let pass.
func ending(counter string, enforce, tell bool) []rule {
	switch {
	case !enforce:
		return []rule{ruler(count(counter))}
	case tell:
		return []rule{ruler(count(counter), refuse)}
	}
	return []rule{ruler(count(counter), drop)}
}

// toResolver turns questions round to the resolver on loopback.
func toResolver(port int) []rule {
	var out []rule
	for _, proto := range []network.Proto{network.UDP, network.TCP} {
		for _, w := range ways {
			loop := netip.MustParsePrefix("127.0.0.0/8")
			if w.proto == unix.NFPROTO_IPV6 {
				loop = netip.MustParsePrefix("::1/128")
			}
			not := slices.Clone(masked(loop))
			last := *not[len(not)-1].(*expr.Cmp)
			last.Op = expr.CmpOpNeq
			not[len(not)-1] = &last
			out = append(out, ruler(
				w.of(), w.load(w.dst, 1), not,
				toPort(network.Port{Number: 53, Proto: proto}),
				part(&expr.Immediate{Register: 1, Data: portBytes(uint16(port))}, &expr.Redir{RegisterProtoMin: 1}),
			))
		}
	}
	return out
}

// frames is the table that sees every frame which leaves, those too that a
// process wrote with AF_PACKET and that no other hook sees. A packet of the IP
// stack was routed and has been judged: it carries its route (rtclassid can be
// read), a frame of a process has none. Address resolution has none either, and
// may speak for the interface only. Before Linux 5.16 there is no such hook: it
// is then the host alone that holds frames to what their container is.
func frames(in *network.Inside, opts Options) *table {
	t := &table{family: unix.NFPROTO_NETDEV, name: Table, counters: []string{DropFrame}}
	if !hooksEgress() {
		return t
	}
	for _, e := range in.Endpoints {
		rules := append([]rule{ruler(part(&expr.Meta{Key: expr.MetaKeyRTCLASSID, Register: 1}), accept)}, arp(e.MAC, e.Addrs)...)
		rules = append(rules, ending(DropFrame, opts.Enforce, false)...)
		t.chains = append(t.chains, chain{
			name: "frames_" + safe(e.Iface), drop: opts.Enforce, todo: rules,
			hook: &hook{kind: "filter", num: egressHook, device: e.Iface},
		})
	}
	if !opts.Enforce || !hooksAhead() {
		return t
	}
	// Those that come later, with "docker network connect", before anybody can
	// say what is theirs.
	for i := range laterIfaces {
		name := fmt.Sprint("eth", i)
		if slices.ContainsFunc(in.Endpoints, func(e network.Endpoint) bool { return e.Iface == name }) {
			continue
		}
		isARP := part(&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1}, is(portBytes(unix.ETH_P_ARP)))
		rules := []rule{ruler(isARP, accept), ruler(part(&expr.Meta{Key: expr.MetaKeyRTCLASSID, Register: 1}), accept)}
		t.chains = append(t.chains, chain{
			name: "later_" + name, drop: true, todo: append(rules, ending(DropFrame, true, false)...),
			hook: &hook{kind: "filter", num: egressHook, device: name},
		})
	}
	return t
}

// laterIfaces is how many names of interfaces are held before they are there:
// Docker gives a container's the first that is free, from eth0 on.
const laterIfaces = 8

// hooksAhead reports whether the kernel takes a hook of an interface that is
// not there yet: from Linux 6.16 on (net/netfilter/nf_tables_api.c,
// nft_netdev_hook_alloc).
var hooksAhead = sync.OnceValue(func() bool { return linux(6, 16) })

// hooksEgress reports whether the kernel has a hook for what leaves by an
// interface: from Linux 5.16 on.
var hooksEgress = sync.OnceValue(func() bool { return linux(5, 16) })

// linux reports whether the kernel is of that version or later.
func linux(major, minor int) bool {
	var u unix.Utsname
	return unix.Uname(&u) == nil && atLeast(unix.ByteSliceToString(u.Release[:]), major, minor)
}

func atLeast(release string, major, minor int) bool {
	var a, b int
	n, _ := fmt.Sscanf(release, "%d.%d", &a, &b)
	return n == 2 && (a > major || a == major && b >= minor)
}

// Hooks of netdev (include/uapi/linux/netfilter.h, enum nf_dev_hooks).
const (
	ingressHook = 0
	egressHook  = 1
)

// arp lets pass what tells the truth about who has an address.
func arp(mac [6]byte, own []netip.Addr) []rule {
	isARP := part(&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1}, is(portBytes(unix.ETH_P_ARP)))
	sender := func(offset uint32, v []byte) []expr.Any {
		return part(&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(len(v))}, is(v))
	}
	var out []rule
	for _, a := range own {
		if a.Is4() {
			out = append(out, ruler(isARP, sender(8, mac[:]), sender(14, a.AsSlice()), accept)) // RFC 826
		}
	}
	return out
}

// safe is a text as part of a chain's name: interfaces may have almost any.
func safe(s string) string {
	b := []byte(s)
	for i, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') {
			b[i] = '_'
		}
	}
	return string(b)
}

// peerSet is the set of a namespace that e belongs to.
func peerSet(e network.Element) set {
	w := wayOf(e.A)
	s := set{name: string(e.Set) + w.suffix, fields: []field{w.addr}}
	if e.Set == network.Out || e.Set == network.In {
		s.fields = append(s.fields, fieldProto, fieldPort)
	}
	return s
}

func peerKey(e network.Element) string {
	if e.Set == network.Out || e.Set == network.In {
		return addrKey(e.A) + portKey(e.Port)
	}
	return addrKey(e.A)
}

func addrKey(a netip.Addr) string { return string(a.AsSlice()) }

func portKey(p network.Port) string {
	return string(pad([]byte{byte(p.Proto)})) + string(pad(portBytes(p.Number)))
}

func addrs(as []netip.Addr, w way) []elem {
	var out []elem
	for _, a := range as {
		if wayOf(a).proto == w.proto {
			out = append(out, elem{key: addrKey(a)})
		}
	}
	return out
}

func ports(ps []network.Port) []elem {
	var out []elem
	for _, p := range ps {
		out = append(out, elem{key: portKey(p)})
	}
	return out
}

// ranges are networks as ranges of addresses: one that lies within another is
// left out, for ranges of a set must not overlap.
func ranges(ps []netip.Prefix, w way) []elem {
	ps = slices.Clone(ps)
	slices.SortFunc(ps, func(a, b netip.Prefix) int { return a.Bits() - b.Bits() })
	var kept []netip.Prefix
	for _, p := range ps {
		if wayOf(p.Addr()).proto == w.proto && !slices.ContainsFunc(kept, func(k netip.Prefix) bool { return k.Overlaps(p) }) {
			kept = append(kept, p.Masked())
		}
	}
	var out []elem
	for _, p := range kept {
		e := elem{key: addrKey(p.Addr())}
		if next := lastOf(p).Next(); next.IsValid() {
			e.end = addrKey(next)
		}
		out = append(out, e)
	}
	return out
}

// lastOf is the last address of a network.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
