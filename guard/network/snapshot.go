package network

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"casco/loop/declared"
	"casco/loop/inventory"
)

// Options of networks, as the engine calls them.
const (
	optBridgeName = "com.docker.network.bridge.name"
	optICC        = "com.docker.network.bridge.enable_icc"
	optMode4      = "com.docker.network.bridge.gateway_mode_ipv4" // nat, nat-unprotected, routed, isolated
	optMode6      = "com.docker.network.bridge.gateway_mode_ipv6"
	optParent     = "parent" // of macvlan and ipvlan: the host's interface
)

// The fields of a network and of a container that only this reads.
var (
	networkIPAM    = inventory.Field[[]any]{Kind: inventory.Network, Path: "IPAM.Config"}
	containerState = inventory.Field[string]{Kind: inventory.Container, Path: "State.Status"}
)

// madeUp is set in the ID of a namespace whose inode nobody read: an inode
// number of nsfs has 32 bits (fs/nsfs.c, ns_common.inum).
const madeUp = 1 << 63

// FromSnapshot is the World that s describes: the containers that run, or are
// paused, on their networks. A snapshot does not have the interfaces' names
// nor the inodes of namespaces: Iface and Peer are empty, and an ID is made of
// the container's, the same each time.
//
// What could not be placed is in the gaps: whoever says that something is shut
// must say them too.
func FromSnapshot(s *inventory.Snapshot) (World, []inventory.Gap) {
	r := &reading{s: s, taken: map[uint64]bool{}}
	r.engines()
	for _, o := range s.Of(inventory.Network) {
		r.segment(o)
	}
	r.namespaces()
	r.hostAddresses()
	return r.w, r.gaps
}

type reading struct {
	s     *inventory.Snapshot
	w     World
	gaps  []inventory.Gap
	taken map[uint64]bool // IDs of namespaces
}

func (r *reading) gap(o *inventory.Object, format string, args ...any) {
	r.gaps = append(r.gaps, inventory.Gap{Ref: o.Ref, Source: o.Source, Reason: fmt.Sprintf(format, args...)})
}

// engines notes the version of the one that was asked, and those that were not.
func (r *reading) engines() {
	r.w.Engine, _, _ = inventory.DaemonVersion.Of(inventory.EngineOf(r.s))
	for _, d := range r.s.Of(inventory.Daemon) {
		if _, _, other := inventory.DaemonOther.Of(d); other {
			r.gap(d, "another engine of this host: its containers and networks are not here")
		}
	}
}

// segment places a network. "host" and "none" are none.
func (r *reading) segment(o *inventory.Object) {
	driver, fact, ok := inventory.NetworkDriver.Of(o)
	if !ok {
		r.gap(o, "%s", fact)
	}
	if driver == "host" || driver == "null" {
		return
	}
	seg := Segment{Name: o.Ref.Name, Driver: driver}
	if seg.Internal, fact, ok = inventory.NetworkInternal.Of(o); !ok {
		r.gap(o, "%s", fact)
	}
	labels, _, _ := inventory.NetworkLabels.Of(o)
	options, _, _ := inventory.NetworkOptions.Of(o)
	seg.Labels, seg.Options = textsOf(labels), textsOf(options)
	if driver == "bridge" {
		id, _, _ := inventory.NetworkID.Of(o)
		switch name := seg.Options[optBridgeName]; {
		case name != "":
			seg.Bridge = name
		case o.Ref.Name == "bridge":
			seg.Bridge = "docker0"
		case len(id) >= 12:
			seg.Bridge = "br-" + id[:12] // moby, libnetwork/drivers/bridge: getBridgeName
		default:
			r.gap(o, "has no ID from which its bridge has its name")
		}
	}
	config, fact, ok := networkIPAM.Of(o)
	if !ok {
		r.gap(o, "%s", fact)
	}
	for _, c := range config {
		c, _ := c.(map[string]any)
		if text := textOf(c["Subnet"]); text != "" {
			if p, err := netip.ParsePrefix(text); err == nil {
				seg.Subnets = append(seg.Subnets, p.Masked())
			} else {
				r.gap(o, "IPAM.Config: %q is no network", text)
			}
		}
		if a, ok := r.addr(o, "IPAM.Config.Gateway", textOf(c["Gateway"])); ok {
			seg.Gateways = append(seg.Gateways, a)
		}
	}
	r.w.Segments = append(r.w.Segments, seg)
}

// addr reads an address, with the length of its network or without.
func (r *reading) addr(o *inventory.Object, field, text string) (netip.Addr, bool) {
	if text == "" {
		return netip.Addr{}, false
	}
	bare, _, _ := strings.Cut(text, "/")
	a, err := netip.ParseAddr(bare)
	if err != nil || a.IsUnspecified() && field != "NetworkSettings.Ports" {
		r.gap(o, "%s: %q is no address", field, text)
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

// namespaces groups the containers that run by what network they share.
func (r *reading) namespaces() {
	group := map[string]string{} // a container, and one that it is with
	root := func(name string) string {
		for group[name] != name {
			name = group[name]
		}
		return name
	}
	var running []*inventory.Object
	for _, o := range r.s.Of(inventory.Container) {
		if r.runs(o) {
			running = append(running, o)
			group[o.Ref.Name] = o.Ref.Name
		}
	}
	for _, o := range running {
		for _, with := range r.with(o) {
			if _, here := group[with]; !here {
				r.gap(o, "shares the network of %s, which does not run or was not read", with)
				continue
			}
			a, b := root(o.Ref.Name), root(with)
			group[max(a, b)] = min(a, b)
		}
	}
	members := map[string][]*inventory.Object{}
	for _, o := range running {
		members[root(o.Ref.Name)] = append(members[root(o.Ref.Name)], o)
	}
	for _, o := range running {
		if ms := members[o.Ref.Name]; ms != nil {
			r.namespace(ms)
		}
	}
}

func (r *reading) runs(o *inventory.Object) bool {
	on, fact, ok := inventory.Running.Of(o)
	if ok {
		return on
	}
	switch status, _, known := containerState.Of(o); {
	case status == "running" || status == "paused" || status == "restarting":
		return true
	case !known:
		r.gap(o, "%s: whether it runs is not known", fact)
	}
	return false
}

// with names the containers whose network o uses: as it was told, and as the
// kernel says.
func (r *reading) with(o *inventory.Object) []string {
	shares, _, _ := inventory.EffectiveSharesNet.Of(o)
	out := slices.Clone(shares)
	mode, fact, ok := inventory.NetworkMode.Of(o)
	if !ok {
		r.gap(o, "%s", fact)
	}
	if name, other := inventory.Joined(r.s, mode); other != nil {
		out = append(out, other.Ref.Name)
	} else if name != "" {
		out = append(out, name)
	}
	return out
}

// namespace places containers that share one. It is the host's if one of them
// says so, or the kernel of one.
func (r *reading) namespace(members []*inventory.Object) {
	onHost := false
	for _, o := range members {
		mode, _, _ := inventory.NetworkMode.Of(o)
		shared, _, _ := inventory.EffectiveHostNamespaces.Of(o)
		onHost = onHost || mode == "host" || slices.Contains(shared, "net")
	}
	n := Namespace{ID: r.id(members[0])}
	for _, o := range members {
		id, _, _ := inventory.ContainerID.Of(o)
		w := Workload{ID: id, Workload: declared.Workload(r.s, o), OnHost: onHost}
		if !onHost {
			n.Endpoints = append(n.Endpoints, r.endpoints(o)...)
			w.Published = r.published(o)
		}
		n.Members = append(n.Members, w)
	}
	if onHost {
		if i := slices.IndexFunc(r.w.Namespaces, Namespace.OnHost); i >= 0 {
			r.w.Namespaces[i].Members = append(r.w.Namespaces[i].Members, n.Members...)
			return
		}
	}
	r.w.Namespaces = append(r.w.Namespaces, n)
}

// id makes the number of a namespace.
func (r *reading) id(o *inventory.Object) uint64 {
	id, _, _ := inventory.ContainerID.Of(o)
	h := fnv.New64a()
	fmt.Fprint(h, cmp.Or(id, o.Ref.Name))
	n := h.Sum64() | madeUp
	for r.taken[n] {
		n = (n + 1) | madeUp
	}
	r.taken[n] = true
	return n
}

// endpoints are the interfaces of o. One that shares another's network has none
// of its own in the engine's reply.
func (r *reading) endpoints(o *inventory.Object) []Endpoint {
	mode, _, _ := inventory.NetworkMode.Of(o)
	nets, fact, ok := inventory.Networks.Of(o)
	if !ok && !strings.HasPrefix(mode, "container:") {
		r.gap(o, "%s", fact)
	}
	var out []Endpoint
	for _, name := range sortedKeys(nets) {
		if name == "none" || name == "host" {
			continue
		}
		of, _ := nets[name].(map[string]any)
		e := Endpoint{Network: name}
		if hw, err := net.ParseMAC(textOf(of["MacAddress"])); err == nil && len(hw) == len(e.MAC) {
			copy(e.MAC[:], hw)
		}
		for _, key := range []string{"IPAddress", "GlobalIPv6Address"} {
			if a, ok := r.addr(o, "NetworkSettings.Networks."+name+"."+key, textOf(of[key])); ok {
				e.Addrs = append(e.Addrs, a)
			}
		}
		if len(e.Addrs) == 0 {
			r.gap(o, "has no address on network %s", name)
		}
		i := slices.IndexFunc(r.w.Segments, func(s Segment) bool { return s.Name == name })
		if i < 0 {
			r.gap(o, "is on network %s, which was not read", name)
		}
		// Of a bridge the gateway is the host; of macvlan and the like a router.
		if i < 0 || r.w.Segments[i].Driver == "bridge" {
			for _, key := range []string{"Gateway", "IPv6Gateway"} {
				if a, ok := r.addr(o, "NetworkSettings.Networks."+name+"."+key, textOf(of[key])); ok {
					e.Gateways = append(e.Gateways, a)
				}
			}
		}
		if i >= 0 && r.w.Segments[i].Driver == "bridge" {
			// A container has one way out, and each of its bridges an address.
			for _, g := range r.w.Segments[i].Gateways {
				if !slices.Contains(e.Gateways, g) {
					e.Gateways = append(e.Gateways, g)
				}
			}
		}
		out = append(out, e)
	}
	return out
}

// published are the doors of the host that lead into o, those of its Swarm
// service too.
func (r *reading) published(o *inventory.Object) []Published {
	var out []Published
	live, fact, ok := inventory.LivePorts.Of(o)
	if !ok {
		r.gap(o, "%s", fact)
	}
	for _, inner := range sortedKeys(live) {
		bindings, _ := live[inner].([]any)
		for _, b := range bindings {
			out = append(out, r.binding(o, inner, inventory.PortOf(inner, b))...)
		}
	}
	labels, _, _ := inventory.Labels.Of(o)
	service := r.s.Find(inventory.Ref{Kind: inventory.Service, Name: textOf(labels[swarmService])})
	if service == nil {
		return out
	}
	ports, _, _ := inventory.ServicePorts.Of(service)
	for _, p := range ports {
		p, _ := p.(map[string]any)
		if mode := textOf(p["PublishMode"]); mode != "ingress" && mode != "" {
			continue // of the host: the container has it
		}
		inner := fmt.Sprintf("%v/%s", p["TargetPort"], cmp.Or(textOf(p["Protocol"]), "tcp"))
		at, _ := strconv.ParseInt(fmt.Sprint(p["PublishedPort"]), 10, 64)
		out = append(out, r.binding(o, inner, inventory.Port{Inner: inner, Host: at})...)
	}
	return out
}

// binding is one door. One that names no address is on all of both families.
func (r *reading) binding(o *inventory.Object, inner string, p inventory.Port) []Published {
	if p.Host == 0 {
		return nil // not bound, or not yet
	}
	port, err := ParsePort(inner)
	if err != nil || p.Host < 0 || p.Host > 65535 {
		r.gap(o, "NetworkSettings.Ports: cannot place %s", p)
		return nil
	}
	out := Published{HostPort: uint16(p.Host), Port: port}
	if p.Addr == "" {
		four, six := out, out
		four.Host, six.Host = netip.IPv4Unspecified(), netip.IPv6Unspecified()
		return []Published{four, six}
	}
	a, ok := r.addr(o, "NetworkSettings.Ports", strings.Trim(p.Addr, "[]"))
	if !ok {
		return nil
	}
	out.Host = a
	return []Published{out}
}

// hostAddresses are those that the snapshot shows: of bridges, of the host's
// own sockets, and where something is published.
func (r *reading) hostAddresses() {
	add := func(a netip.Addr) {
		if a = a.Unmap(); a.IsValid() && !a.IsLoopback() && !a.IsUnspecified() && !slices.Contains(r.w.Host, a) {
			r.w.Host = append(r.w.Host, a)
		}
	}
	for _, seg := range r.w.Segments {
		if seg.Bridge != "" {
			for _, g := range seg.Gateways {
				add(g)
			}
		}
	}
	for _, n := range r.w.Namespaces {
		for _, m := range n.Members {
			for _, p := range m.Published {
				add(p.Host)
			}
		}
	}
	for _, l := range r.s.Of(inventory.Listener) {
		text, _, _ := inventory.ListenerAddr.Of(l)
		if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
			add(a.WithZone(""))
		}
	}
	slices.SortFunc(r.w.Host, netip.Addr.Compare)
}

func textOf(v any) string {
	s, _ := v.(string)
	return s
}

func textsOf(m map[string]any) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		if text, ok := v.(string); ok {
			out[k] = text
		}
	}
	return out
}

func sortedKeys(m map[string]any) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
