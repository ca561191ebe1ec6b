package nft

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/google/nftables/expr"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"casco/guard/network"
)

// Counters of what is dropped on the host.
const (
	DropHost    = "drop_host"    // a container wanted a service of the host
	DropAround  = "drop_around"  // a container wanted a way through the host
	DropOutside = "drop_outside" // somebody outside wanted a container
	DropShut    = "drop_shut"    // somebody outside wanted a published port
	DropForged  = "drop_forged"  // a frame with an address that is not its container's
	DropReach   = "drop_reach"   // a container's frame to one with whom it may not talk
)

// hostTable and pinTable name the tables whose sets change.
var (
	hostTable = &table{family: unix.NFPROTO_INET, name: Table}
	pinTable  = &table{family: unix.NFPROTO_NETDEV, name: Table}
)

// A Host is the part of the rules that stands on the host. Its methods may
// be called from any goroutine.
type Host struct {
	mu sync.Mutex // guards all of it

	ns     netns.NsHandle // whoever opened the Host keeps it open
	c      *conn
	flags  uint32
	chains chains
	pinned map[string]bool // interfaces that have a chain
	egress map[string]bool // sets of who may send to a network outside
}

// OpenHost takes the network namespace of the host: that of the engine. It must
// stay open until Close.
func OpenHost(ns netns.NsHandle) (*Host, error) {
	c, err := dial(ns)
	if err != nil {
		return nil, err
	}
	return &Host{ns: ns, c: c, flags: flagOwner | flagPersist, chains: chains{}, pinned: map[string]bool{}, egress: map[string]bool{}}, nil
}

// Close lets go of the rules, which stay.
func (h *Host) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.c.close()
}

// Replace makes all rules of the host anew.
func (h *Host) Replace(o network.Outside, spaces []*network.Inside) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	ts := outside(o, spaces)
	if err := carry(h.c, ts[0]); err != nil {
		return err
	}
	flags, err := replace(h.c, h.flags, ts)
	for err != nil && withoutGone(ts[1], err) {
		flags, err = replace(h.c, h.flags, ts)
	}
	if err != nil {
		return err
	}
	h.flags, h.chains = flags, chainsOf(ts)
	clear(h.egress)
	for e := range o.Elements {
		if e.Set == network.Egress {
			h.egress[hostSet(e).name] = true
		}
	}
	clear(h.pinned)
	for _, c := range ts[1].chains {
		if c.hook != nil {
			h.pinned[c.hook.device] = true
		}
	}
	return nil
}

// withoutGone takes the chain that the kernel refused out of t, if that is one
// of an interface which is gone: before Linux 6.16 there is none without its
// interface, and containers end while rules are made.
func withoutGone(t *table, err error) bool {
	var r *refusedError
	if !errors.As(err, &r) || r.errno != unix.ENOENT && r.errno != unix.ENODEV {
		return false
	}
	n := len(t.chains)
	t.chains = slices.DeleteFunc(t.chains, func(c chain) bool { return c.hook != nil && r.what == "chain "+c.name })
	return len(t.chains) < n
}

// Change puts elements into the sets of the host and takes others out.
func (h *Host) Change(c network.Change) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ms []message
	for _, e := range c.Del {
		ms = append(ms, tableOf(e).elements(unix.NFT_MSG_DELSETELEM, hostSet(e), []elem{{key: hostKey(e)}})...)
	}
	more, names, err := h.newEgress(c.Add)
	if err != nil {
		return err
	}
	ms = append(ms, more...)
	for _, t := range []*table{hostTable, pinTable} {
		mine := slices.DeleteFunc(slices.Clone(c.Add), func(e network.Element) bool { return tableOf(e) != t })
		ms = append(ms, together(t, mine, hostSet, hostKey)...)
	}
	if err := h.c.commit(ms); err != nil {
		return err
	}
	for _, e := range c.Add {
		if name := hostSet(e).name; slices.Contains(names, name) && !h.egress[name] {
			h.egress[name] = true
			if m := h.chains[egressChain(e)]; m != nil {
				m.rules, m.sum = m.rules+1, nil
			}
		}
	}
	return nil
}

// egressChain is where the rule of a network outside is.
func egressChain(e network.Element) place {
	return place{hostTable.family, string(network.Egress) + wayOf(e.A).suffix}
}

// newEgress are messages that make sets and rules for networks outside which
// nobody was sending to. They stay, though they may be empty again, until the
// rules are made anew.
func (h *Host) newEgress(es []network.Element) (ms []message, names []string, err error) {
	for _, e := range es {
		if e.Set != network.Egress {
			continue
		}
		s := hostSet(e)
		if h.egress[s.name] || slices.Contains(names, s.name) {
			continue
		}
		names = append(names, s.name)
		rules, err := hostTable.rules(chain{name: egressChain(e).chain, todo: []rule{egressRule(e)}})
		if err != nil {
			return nil, nil, err
		}
		ms = append(append(ms, hostTable.newSet(s, uint32(len(names)))), rules...)
	}
	return ms, names, nil
}

// egressRule lets those pass to a network outside that are in its set. There is
// one for each network and port of a policy, with a set of its own: a set of
// tuples with ranges is made anew with each change, which took 5 ms with 1,000
// elements and 17 with 3,000, and refuses two networks that overlap.
func egressRule(e network.Element) rule {
	w := wayOf(e.A)
	return ruler(w.of(), beyondMetadata(w, e.Net), toNet(e.Net, e.Port), w.load(w.src, 1), in(hostSet(e).name), accept)
}

// Allow lets packets of a namespace pass to what a name was found to have.
func (h *Host) Allow(as []Named) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.c.commit(allow(hostTable, as, true))
}

// Disallow takes addresses that names gave to who has those of own out again.
func (h *Host) Disallow(own, addrs []netip.Addr) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return disallow(h.c, hostTable, func(key string) bool {
		return slices.ContainsFunc(own, func(o netip.Addr) bool {
			return slices.ContainsFunc(addrs, func(a netip.Addr) bool { return strings.HasPrefix(key, addrKey(o)+addrKey(a)) })
		})
	})
}

// Gone takes out what names gave to who had those addresses: somebody else may
// have them next.
func (h *Host) Gone(own []netip.Addr) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return disallow(h.c, hostTable, func(key string) bool {
		return slices.ContainsFunc(own, func(o netip.Addr) bool { return strings.HasPrefix(key, addrKey(o)) && len(key) == 2*len(addrKey(o))+8 })
	})
}

// Pin holds the host's ends of a namespace's interfaces to what it has. One
// that was pinned is pinned anew.
func (h *Host) Pin(in *network.Inside) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range in.Endpoints {
		if e.Peer == "" {
			continue
		}
		if err := h.unpin(e.Peer); err != nil {
			return err
		}
		c := pin(e)
		rules, err := pinTable.rules(c)
		if err != nil {
			return err
		}
		err = h.c.commit(append([]message{pinTable.newChain(c)}, rules...))
		// The interface may be gone again, with the container.
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) {
			return err
		}
		h.pinned[e.Peer] = err == nil
		if err == nil {
			h.chains[place{pinTable.family, c.name}] = &made{rules: len(c.todo)}
		}
	}
	return nil
}

// Unpin takes away the pins of a namespace that is gone: the kernel keeps the
// chain of an interface that is no more.
func (h *Host) Unpin(in *network.Inside) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	for _, e := range in.Endpoints {
		if e.Peer != "" {
			errs = append(errs, h.unpin(e.Peer))
		}
	}
	return errors.Join(errs...)
}

// unpin does not try what is not there: a transaction that the kernel aborts
// waits for all CPUs (synchronize_rcu), which took 5 to 10 ms.
func (h *Host) unpin(peer string) error {
	if !h.pinned[peer] {
		return nil
	}
	delete(h.pinned, peer)
	delete(h.chains, place{pinTable.family, pinName(peer)})
	a := attrs{}
	a.text(unix.NFTA_CHAIN_TABLE, pinTable.name)
	a.text(unix.NFTA_CHAIN_NAME, pinName(peer))
	err := h.c.commit([]message{{unix.NFT_MSG_DELCHAIN, 0, pinTable.family, a, "chain " + pinName(peer)}})
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// Made reports whether the host has any of our tables, whoever made them.
func (h *Host) Made() (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	is, err := has(h.c, hostTable)
	if is || err != nil {
		return is, err
	}
	return has(h.c, pinTable)
}

// Remove takes our tables out of the host.
func (h *Host) Remove() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := remove(h.c, h.flags, unix.NFPROTO_INET, unix.NFPROTO_NETDEV); err != nil {
		return err
	}
	h.chains = chains{}
	clear(h.pinned)
	clear(h.egress)
	return nil
}

// Around says anew which networks the engine has, and which addresses the host.
// The rules must be there.
func (h *Host) Around(o network.Outside) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ms []message
	aroundHost, aroundPins := around(o)
	for _, s := range aroundHost {
		ms = append(ms, hostTable.refill(s, s.elements)...)
	}
	for _, s := range aroundPins {
		ms = append(ms, pinTable.refill(s, s.elements)...)
	}
	return h.c.commit(ms)
}

// around are the sets of both tables of the host that depend on nothing but the
// networks of the engine and the addresses of the host.
func around(o network.Outside) (host, pins []set) {
	var bridges []elem
	for _, b := range o.Bridges {
		bridges = append(bridges, elem{key: b + string(make([]byte, 16-len(b)))})
	}
	host = []set{{name: "bridges", fields: []field{fieldIface}, elements: bridges}}
	for _, w := range ways {
		managed := set{name: setManaged + w.suffix, fields: []field{w.addr}, ranges: true, elements: ranges(o.Managed, w)}
		host = append(host, managed)
		pins = append(pins, managed, set{name: "local" + w.suffix, fields: []field{w.addr}, elements: addrs(o.Local, w)})
	}
	return host, pins
}

// outside are the tables of the host.
func outside(o network.Outside, spaces []*network.Inside) []*table {
	t := &table{family: unix.NFPROTO_INET, name: Table, counters: []string{DropHost, DropAround, DropOutside, DropShut}}
	p := &table{family: unix.NFPROTO_NETDEV, name: Table, counters: []string{DropForged, DropReach}}
	aroundHost, aroundPins := around(o)
	t.sets = append(aroundHost, set{name: "shutany", fields: []field{fieldProto, fieldPort}})
	p.sets = aroundPins
	for _, w := range ways {
		for _, name := range []network.Set{network.Between, network.BetweenAll, network.ToHost, network.Open, network.Shut} {
			t.sets = append(t.sets, sampleSet(name, w))
		}
		t.sets = append(t.sets, namesSet(w, true, nil), metadataSet(w))
		p.sets = append(p.sets, sampleSet(network.Reach, w))
	}
	egress := map[string][]rule{}
	first := map[string][]elem{}
	for _, e := range o.Elements.Sorted() {
		s := hostSet(e)
		if e.Set == network.Egress && first[s.name] == nil {
			t.sets = append(t.sets, s)
			egress[wayOf(e.A).suffix] = append(egress[wayOf(e.A).suffix], egressRule(e))
		}
		first[s.name] = append(first[s.name], elem{key: hostKey(e)})
	}
	for _, t := range []*table{t, p} {
		for i, s := range t.sets {
			if es := first[s.name]; es != nil {
				t.sets[i].elements = es
			}
		}
	}

	var toHost, around, from []rule
	for _, w := range ways {
		toHost = append(toHost, ruler(w.portIn(w.src, string(network.ToHost)), accept))
		around = append(around,
			ruler(w.flowIn(string(network.Between)), accept),
			ruler(w.pairIn(string(network.BetweenAll)), accept),
			ruler(w.of(), outsideOnly(w), jump(string(network.Egress)+w.suffix)),
			ruler(w.of(), outsideOnly(w), w.flowIn(setNames), accept))
		from = append(from, ruler(w.portIn(w.dst, string(network.Open)), accept))
	}
	nd := neighbour(ways[1].of(), 130, 131, 132, 133, 135, 136, 143)
	toHost = append(append(toHost, nd...), ruler(count(DropHost), drop))
	around = append(append(around, nd...), ruler(count(DropAround), drop))
	from = append(from, ruler(count(DropOutside), drop))
	behind := func(key expr.MetaKey) []expr.Any {
		return ruler(part(&expr.Meta{Key: key, Register: 1}), in("bridges"))
	}
	shut := []rule{ruler(part(
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Payload{DestRegister: 9, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
	), in("shutany"), count(DropShut), drop)}
	for _, w := range ways {
		shut = append(shut, ruler(w.portIn(w.dst, string(network.Shut)), count(DropShut), drop))
	}
	t.chains = []chain{
		{name: string(network.Egress) + "4", todo: egress["4"]},
		{name: string(network.Egress) + "6", todo: egress["6"]},
		{name: "to_host", todo: toHost},
		{name: "around", todo: around},
		{name: "from_outside", todo: from},
		// Before those of everybody else, so that what is dropped is counted here.
		{name: "enter", hook: &hook{kind: "filter", num: unix.NF_INET_LOCAL_IN, priority: -10}, todo: append([]rule{
			ruler(known, accept),
			ruler(iface(expr.MetaKeyIIFNAME, "lo"), accept),
			ruler(behind(expr.MetaKeyIIFNAME), jump("to_host")),
		}, shut...)},
		{name: "through", hook: &hook{kind: "filter", num: unix.NF_INET_FORWARD, priority: -10}, todo: []rule{
			ruler(known, accept),
			ruler(behind(expr.MetaKeyIIFNAME), jump("around")),
			ruler(behind(expr.MetaKeyOIFNAME), jump("from_outside")),
		}},
	}
	for _, w := range ways {
		p.chains = append(p.chains, chain{name: "reachable" + w.suffix, todo: reachable(w)})
	}
	for _, s := range spaces {
		for _, e := range s.Endpoints {
			if e.Peer != "" {
				p.chains = append(p.chains, pin(e))
			}
		}
	}
	return []*table{t, p}
}

func pinName(peer string) string { return "pin_" + safe(peer) }

// pin is the chain that sees all that comes out of an interface: no address in
// it may be another's. A message that claims an address for a neighbour (ARP,
// and an advertisement of ICMPv6) counts as one, and nobody in a container is a
// router.
func pin(e network.Endpoint) chain {
	mac := part(&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseLLHeader, Offset: 6, Len: 6}, isNot(e.MAC[:]))
	rules := []rule{ruler(mac, count(DropForged), drop)}
	own := func(a netip.Addr) rule {
		w := wayOf(a)
		return ruler(w.frame(), w.load(w.src, 1), part(is(a.AsSlice())), part(&expr.Verdict{Kind: expr.VerdictGoto, Chain: "reachable" + w.suffix}))
	}
	// Nearly all frames first.
	for _, a := range e.Addrs {
		if a.Is4() {
			rules = append(rules, own(a))
		}
	}
	rules = append(rules, arp(e.MAC, e.Addrs)...)
	if slices.ContainsFunc(e.Addrs, netip.Addr.Is6) {
		rules = append(rules, pin6(e, own)...)
	}
	rules = append(rules, ruler(count(DropForged), drop))
	return chain{name: pinName(e.Peer), drop: true, hook: &hook{kind: "filter", num: ingressHook, priority: -200, device: e.Peer}, todo: rules}
}

// pin6 is the part for IPv6 of an interface that has it. Each rule counts: the
// kernel walks through those of all interfaces when one is pinned.
func pin6(e network.Endpoint, own func(netip.Addr) rule) []rule {
	v6 := ways[1]
	icmp := func(kind byte) []expr.Any {
		return part(
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, is([]byte{unix.IPPROTO_ICMPV6}),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1}, is([]byte{kind}),
		)
	}
	forged := func(match []expr.Any) rule { return ruler(match, count(DropForged), drop) }
	rules := []rule{forged(ruler(v6.frame(), icmp(134))), forged(ruler(v6.frame(), icmp(137)))}
	for _, a := range e.Addrs {
		if !a.Is4() {
			target := part(&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 8, Len: 16}, is(a.AsSlice())) // RFC 4861, 4.4
			rules = append(rules, ruler(v6.frame(), v6.load(v6.src, 1), part(is(a.AsSlice())), icmp(136), target, accept))
		}
	}
	rules = append(rules, forged(ruler(v6.frame(), icmp(136))))
	for _, a := range e.Addrs {
		if !a.Is4() {
			rules = append(rules, own(a))
		}
	}
	// An address is looked for before it is had (RFC 4862, 5.4.2), and so are the
	// listeners of its group.
	for _, kind := range []byte{135, 143} {
		rules = append(rules, ruler(v6.frame(), v6.load(v6.src, 1), part(is(make([]byte, 16))), icmp(kind), accept))
	}
	return rules
}

// reachable lets an interface reach those with whom its container may talk in
// either direction, and whatever is no container, by one version of the
// protocol. It has no memory of connections: that frames go both ways is in the
// set.
func reachable(w way) []rule {
	unreachable := func(match []expr.Any) rule { return ruler(match, count(DropReach), drop) }
	to := func(cidr string) []expr.Any { return ruler(w.load(w.dst, 1), masked(netip.MustParsePrefix(cidr))) }
	out := []rule{ruler(w.load(w.src, 1), w.load(w.dst, w.second), in(string(network.Reach)+w.suffix), accept)}
	if w.proto == unix.NFPROTO_IPV6 {
		out = append(out, neighbour(nil, 133, 135, 136, 143)...) // a frame of IPv6 that is
		out = append(out, unreachable(to("ff00::/8")), unreachable(to("fe80::/10")))
	} else {
		out = append(out, unreachable(to("224.0.0.0/3")))
	}
	return append(
		out,
		ruler(w.load(w.dst, 1), in("local"+w.suffix), accept),
		unreachable(ruler(w.load(w.dst, 1), in(setManaged+w.suffix))),
		ruler(accept))
}

// sampleSet is the set of that name and version.
func sampleSet(name network.Set, w way) set {
	s := set{name: string(name) + w.suffix, fields: []field{w.addr}}
	switch name {
	case network.Reach, network.BetweenAll:
		s.fields = append(s.fields, w.addr)
	case network.Between:
		s.fields = append(s.fields, w.addr, fieldProto, fieldPort)
	default:
		s.fields = append(s.fields, fieldProto, fieldPort)
	}
	return s
}

// hostSet is the set of the host that e belongs to.
func hostSet(e network.Element) set {
	if e.Set == network.Shut && (!e.A.IsValid() || e.A.IsUnspecified()) {
		return set{name: "shutany", fields: []field{fieldProto, fieldPort}}
	}
	if e.Set == network.Egress {
		net := e.Net.Masked()
		return set{
			name:   fmt.Sprintf("%s_%x_%d_%s_%d", e.Set, net.Addr().AsSlice(), net.Bits(), e.Port.Proto, e.Port.Number),
			fields: []field{wayOf(e.A).addr},
		}
	}
	return sampleSet(e.Set, wayOf(e.A))
}

func tableOf(e network.Element) *table {
	if e.Set == network.Reach {
		return pinTable
	}
	return hostTable
}

func hostKey(e network.Element) string {
	switch e.Set {
	case network.Reach, network.BetweenAll:
		return addrKey(e.A) + addrKey(e.B)
	case network.Between:
		return addrKey(e.A) + addrKey(e.B) + portKey(e.Port)
	case network.Egress:
		return addrKey(e.A)
	case network.Shut:
		if hostSet(e).name == "shutany" {
			return portKey(e.Port)
		}
	}
	return addrKey(e.A) + portKey(e.Port)
}
