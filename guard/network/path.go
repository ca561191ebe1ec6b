package network

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"casco/lang"
	"casco/policy"
)

// A Way is how one hop gets from one end to the other.
type Way string

// The ways. Those by the host are what Docker's networks do not close: it sends
// what a container sends to a published port to its proxy, a process of the
// host, and no rule about forwarding meets it.
const (
	Direct          Way = "direct"           // on a network that both are on
	AcrossBridges   Way = "across-bridges"   // to the container's address on another network
	OwnGateway      Way = "own-gateway"      // to a published port, at an address of the host on a network of its own
	OtherGateway    Way = "other-gateway"    // at an address of the host on another network
	HostAddress     Way = "host-address"     // at an address of the host outside
	HostLoopback    Way = "host-loopback"    // to a port that is published on 127.0.0.1
	HostService     Way = "host-service"     // to what the host itself listens on
	FromTheHost     Way = "from-host"        // from the host to the container's address
	SharedNamespace Way = "shared-namespace" // containers that share it are one on the network
	HostNetwork     Way = "host-network"     // to or from a container that is the host on the network
	PublishedPort   Way = "published-port"   // from outside to a published port
	OnTheLAN        Way = "on-the-lan"       // to a container that is on the host's own network
	ToOutside       Way = "to-outside"
)

// The ends of paths that are no workload.
const (
	TheHost  = "host"
	Internet = "any-internet"
)

// A Hop is one way from one to another.
type Hop struct {
	From string `json:"from"` // name of a namespace: its containers joined with "+"; "host", "any-internet"
	To   string `json:"to"`
	Way  Way    `json:"way"`
	// Via says where: a network, or addresses with ports.
	Via []string `json:"via,omitempty"`
	// Ports are those of To. None: all, or whatever listens there.
	Ports []Port `json:"ports,omitempty"`
	// Reasons are the lines of the policy that let it pass, if it is enforced.
	Reasons []Reason `json:"reasons,omitempty"`
	// Doubt says why it may be shut all the same. Empty: it is open.
	Doubt lang.Text `json:"doubt,omitzero"`
}

// A Path is a way from one workload to another. One with more hops than one is
// a conduit: whoever breaks into the first, and then into the next.
type Path struct {
	Enforced bool  `json:"enforced"` // the rules are in force; else what Docker leaves open
	Hops     []Hop `json:"hops"`
}

// Conduit reports whether it leads through somebody else.
func (p Path) Conduit() bool { return len(p.Hops) > 1 }

// Sure reports whether no hop of it is in doubt.
func (p Path) Sure() bool {
	return !slices.ContainsFunc(p.Hops, func(h Hop) bool { return h.Doubt != lang.Text{} })
}

// Paths are the ways from one to another: names of containers or of their
// services, a tier for all in it, TIER/NAME as in a flow, "host",
// "any-internet". There are two answers in one: what passes when the policy is
// enforced, and what is open without.
//
// What is in doubt is a path, with the reason: nobody may rely on a "no" that
// was a guess. Conduits are given where no way of one hop is sure: those of two
// hops that are sure, or the shortest that is; and where there is nothing else
// at all those in doubt.
func Paths(w World, p *policy.Policy, from, to string) ([]Path, error) {
	t, err := newTopology(w, p)
	if err != nil {
		return nil, err
	}
	as, err := t.named(from)
	if err != nil {
		return nil, err
	}
	bs, err := t.named(to)
	if err != nil {
		return nil, err
	}
	var out []Path
	for _, enforced := range []bool{true, false} {
		for _, a := range as {
			for _, b := range bs {
				out = append(out, t.paths(a, b, enforced)...)
			}
		}
	}
	return out, nil
}

// A topology is a World as a graph.
type topology struct {
	w     World
	judge *Judge
	rules *Ruleset
	nodes []*node // namespaces in their order, then the host, then outside
	host  *node
	net   *node
}

// A node is where a packet can come from or go to.
type node struct {
	name string
	ns   *placedNS // nil: the host, or outside
}

// remote reports whether it is on another host of the swarm.
func (n *node) remote() bool { return n.ns != nil && n.ns.Remote }

func newTopology(w World, p *policy.Policy) (*topology, error) {
	j, err := NewJudge(p)
	if err != nil {
		return nil, err
	}
	t := &topology{w: w, judge: j}
	s := NewState(j)
	s.SetHost(w.Segments, w.Host)
	for _, n := range w.Namespaces {
		s.Put(n)
		if !n.OnHost() {
			t.nodes = append(t.nodes, &node{name: n.Name(), ns: j.placedNS(n)})
		}
	}
	t.rules = s.Rules()
	t.host, t.net = &node{name: TheHost}, &node{name: Internet}
	t.nodes = append(t.nodes, t.host, t.net)
	return t, nil
}

// named are the nodes that a name speaks of. A workload on the host is the host
// under its own name.
func (t *topology) named(name string) ([]*node, error) {
	switch name {
	case TheHost:
		return []*node{t.host}, nil
	case Internet:
		return []*node{t.net}, nil
	}
	e := parseEnd(name)
	var out []*node
	for _, n := range t.w.Namespaces {
		for _, m := range n.Members {
			place := t.judge.Place(m.Workload)
			called := name != "" && slices.Contains([]string{m.Workload.Name, m.Workload.Labels[composeService], m.Workload.Labels[swarmService], n.Name()}, name)
			if !called && (name == "" || place.Tier != name) && !(e.kind == aPlace && e.name != "" && e.of(place, m.Workload)) {
				continue
			}
			if n.OnHost() {
				out = append(out, &node{name: m.Workload.Name})
				continue
			}
			of := t.node(n.ID)
			if len(n.Members) > 1 && !slices.ContainsFunc(out, func(o *node) bool { return o.ns == of.ns && o.name == m.Workload.Name }) {
				of = &node{name: m.Workload.Name, ns: of.ns}
			}
			if !slices.Contains(out, of) {
				out = append(out, of)
			}
		}
	}
	if len(out) == 0 && t.judge.policy.Tier(name) == nil {
		return nil, lang.Errorf(lang.Text{
			En: "there is no workload, service or tier %q here; name one, or host, or any-internet",
			Es: "no hay aquí carga, servicio ni nivel %q; nombre uno, o host, o any-internet",
		}, name)
	}
	return out, nil
}

func (t *topology) node(id uint64) *node {
	i := slices.IndexFunc(t.nodes, func(n *node) bool { return n.ns != nil && n.ns.ID == id })
	return t.nodes[i]
}

// isHost and isNet say what a node without a namespace is.
func (t *topology) isHost(n *node) bool { return n.ns == nil && n != t.net }
func (t *topology) isNet(n *node) bool  { return n == t.net }

// same reports whether two nodes are one place on the network.
func (t *topology) same(a, b *node) bool {
	return a == b || a.ns != nil && a.ns == b.ns || t.isHost(a) && t.isHost(b)
}

// paths from one node to another.
func (t *topology) paths(a, b *node, enforced bool) []Path {
	if t.same(a, b) {
		return t.within(a, b, enforced)
	}
	var out []Path
	for _, h := range t.hops(a, b, enforced) {
		out = append(out, Path{enforced, []Hop{h}})
	}
	if slices.ContainsFunc(out, Path.Sure) {
		return out
	}
	var doubtful []Path
	for _, x := range t.nodes {
		if t.same(x, a) || t.same(x, b) || !t.conduit(x, enforced) {
			continue
		}
		first, ok1 := best(t.hops(a, x, enforced))
		second, ok2 := best(t.hops(x, b, enforced))
		if p := (Path{enforced, []Hop{first, second}}); ok1 && ok2 && p.Sure() {
			out = append(out, p)
		} else if ok1 && ok2 {
			doubtful = append(doubtful, p)
		}
	}
	if !slices.ContainsFunc(out, Path.Sure) {
		if hops := t.shortest(a, b, enforced, true); hops != nil {
			out = append(out, Path{enforced, hops})
		}
	}
	if len(out) == 0 {
		out = doubtful
	}
	if len(out) == 0 {
		if hops := t.shortest(a, b, enforced, false); hops != nil {
			out = append(out, Path{enforced, hops})
		}
	}
	return out
}

// within is the way between two that are one place.
func (t *topology) within(a, b *node, enforced bool) []Path {
	if a.name == b.name {
		return nil
	}
	way := SharedNamespace
	if a.ns == nil {
		way = HostNetwork
	}
	return []Path{{enforced, []Hop{{From: a.name, To: b.name, Way: way}}}}
}

// conduit reports whether one can be broken into on the way. A host that falls
// takes everything with it, which is no matter of networks, unless it is a
// container or the policy that opens it.
func (t *topology) conduit(n *node, enforced bool) bool {
	return !t.isHost(n) || enforced || slices.ContainsFunc(t.w.Namespaces, Namespace.OnHost)
}

// best is the first hop that is sure, else the first.
func best(hops []Hop) (Hop, bool) {
	if len(hops) == 0 {
		return Hop{}, false
	}
	if i := slices.IndexFunc(hops, func(h Hop) bool { return h.Doubt == lang.Text{} }); i >= 0 {
		return hops[i], true
	}
	return hops[0], true
}

// shortest is a way through as few others as possible, by hops that are sure if
// that is wanted.
func (t *topology) shortest(a, b *node, enforced, sure bool) []Hop {
	came := map[*node][]Hop{a: {}}
	for queue := []*node{a}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		for _, x := range append(slices.Clone(t.nodes), b) {
			if _, been := came[x]; been || t.same(x, a) || x != b && (t.same(x, b) || !t.conduit(x, enforced)) {
				continue
			}
			h, ok := best(t.hops(at, x, enforced))
			if !ok || sure && h.Doubt != (lang.Text{}) {
				continue
			}
			came[x] = append(slices.Clone(came[at]), h)
			if x == b {
				return came[x]
			}
			queue = append(queue, x)
		}
	}
	return nil
}

// hops are the ways of one hop.
func (t *topology) hops(a, b *node, enforced bool) []Hop {
	var out []Hop
	switch {
	case a.ns != nil && a.ns.Service != "":
		return nil // an address that sends nothing
	case a.ns != nil && b.ns != nil && (a.remote() || b.remote()):
		out = t.straight(a.ns, b.ns, enforced)
	case a.remote() || b.remote():
		return nil // not by this host
	case a.ns != nil && b.ns != nil:
		out = append(t.straight(a.ns, b.ns, enforced), t.published(a.ns, b.ns, enforced)...)
	case a.ns != nil && t.isHost(b):
		out = t.toHost(a.ns, enforced)
		if b != t.host {
			for i := range out {
				out[i].Way = HostNetwork
			}
		}
	case a.ns != nil:
		out = t.toOutside(a.ns, enforced)
	case t.isHost(a) && b.ns != nil:
		out = t.fromHost(b.ns, enforced)
		if a != t.host {
			for i := range out {
				out[i].Way = HostNetwork
			}
		}
	case t.isNet(a) && b.ns != nil:
		out = t.fromOutside(b.ns, enforced)
	case t.isNet(a):
		out = []Hop{{Way: HostService, Doubt: doubtHost}}
	default:
		out = []Hop{{Way: ToOutside}}
	}
	for i := range out {
		out[i].From, out[i].To = a.name, b.name
	}
	return out
}

// The doubts.
var (
	doubtHost   = lang.Text{En: "to what the host itself listens on, which casco's network rules leave to the host's own firewall", Es: "a lo que escucha el propio anfitrión, que las reglas de red de casco dejan a su propio cortafuegos"}
	doubtListen = lang.Text{En: "if the host listens there, on all its addresses", Es: "si el anfitrión escucha ahí, en todas sus direcciones"}
	doubtDriver = lang.Text{En: "how the driver of network %s keeps its containers apart is not known", Es: "no se sabe cómo separa a sus contenedores el controlador de la red %s"}
	doubtUnread = lang.Text{En: "network %s was not read", Es: "la red %s no se leyó"}
	doubtMode   = lang.Text{En: "network %s is in mode %s: a switch that reflects passes it on", Es: "la red %s está en modo %s: un conmutador que refleja lo deja pasar"}
	doubtParent = lang.Text{En: "networks %s and %s are on one interface of the host", Es: "las redes %s y %s están en una misma interfaz del anfitrión"}
	doubtRouted = lang.Text{
		En: "network %s is in gateway mode %s: its addresses are routed without a published port", Es: "la red %s está en modo de pasarela %s: sus direcciones se encaminan sin puerto publicado",
	}
	doubtLANHost = lang.Text{
		En: "the kernel keeps a macvlan or ipvlan from its own host, unless a router or another address leads there",
		Es: "el núcleo separa macvlan e ipvlan de su propio anfitrión, salvo que un encaminador u otra dirección lleve allí",
	}
	doubtNeighbour = lang.Text{
		En: "an engine before 28 may forward to a container's address what comes from the host's own network",
		Es: "un motor anterior a 28 puede reenviar a la dirección de un contenedor lo que viene de la red del anfitrión",
	}
	doubtLoopback = lang.Text{
		En: "an engine before 28 may pass on what a neighbour sends to 127.0.0.1 (moby#45610)", Es: "un motor anterior a 28 puede pasar lo que un vecino envía a 127.0.0.1 (moby#45610)",
	}
	doubtRules   = lang.Text{En: "the policy lets it pass, and Docker's own rules keep the two apart", Es: "la política lo deja pasar, y las reglas de Docker los separan"}
	doubtDNS     = lang.Text{En: "in questions for names, which an engine before 26 asks outside for an internal network too (CVE-2024-29018)", Es: "en preguntas por nombres, que un motor anterior a 26 hace fuera también por una red interna (CVE-2024-29018)"}
	doubtGateway = lang.Text{En: "the host's address on network %s is not known", Es: "no se sabe la dirección del anfitrión en la red %s"}
	doubtClosed  = lang.Text{En: "the policy opens it, and no published port leads there", Es: "la política lo abre, y ningún puerto publicado lleva allí"}
)

// engineBefore reports whether the engine may be older than that.
func (t *topology) engineBefore(major int) bool {
	head, _, _ := strings.Cut(t.w.Engine, ".")
	n, err := strconv.Atoi(head)
	return err != nil || n < major
}

func (t *topology) segment(name string) (Segment, bool) {
	i := slices.IndexFunc(t.w.Segments, func(s Segment) bool { return s.Name == name })
	if i < 0 {
		return Segment{Name: name}, false
	}
	return t.w.Segments[i], true
}

func onLAN(s Segment) bool { return s.Driver == "macvlan" || s.Driver == "ipvlan" }

// straight are the ways to a container's own address.
func (t *topology) straight(a, b *placedNS, enforced bool) []Hop {
	hops := t.open(a, b)
	if !enforced {
		return hops
	}
	reasons := t.judge.pass(a, b)
	if len(reasons) == 0 {
		return nil
	}
	if len(hops) == 0 && len(a.Endpoints) > 0 && len(b.Endpoints) > 0 {
		hops = []Hop{{Way: AcrossBridges, Doubt: doubtRules}}
	}
	for i := range hops {
		hops[i].Reasons, hops[i].Ports = reasons, portsOf(reasons)
	}
	return hops
}

// portsOf are the ports that reasons are about; nil is all.
func portsOf(rs []Reason) []Port {
	var out []Port
	for _, r := range rs {
		if r.Port == (Port{}) {
			return nil
		}
		if !slices.Contains(out, r.Port) {
			out = append(out, r.Port)
		}
	}
	return out
}

// open are the ways that Docker leaves to a container's own address.
func (t *topology) open(a, b *placedNS) []Hop {
	var out []Hop
	for _, e := range a.Endpoints {
		for _, f := range b.Endpoints {
			if h, ok := t.between(e.Network, f.Network); ok {
				out = append(out, h)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Hop) int {
		unsure := func(h Hop) int { return len(h.Doubt.En) }
		return cmp.Compare(min(1, unsure(a)), min(1, unsure(b)))
	})
	return slices.CompactFunc(out, func(a, b Hop) bool { return a.Way == b.Way && slices.Equal(a.Via, b.Via) && a.Doubt == b.Doubt })
}

// between is what Docker leaves open from one network to another, or within one.
func (t *topology) between(from, to string) (Hop, bool) {
	s, read := t.segment(from)
	d, readTo := t.segment(to)
	if from == to {
		h := Hop{Way: Direct, Via: []string{from}}
		switch mode := cmp.Or(s.Options["macvlan_mode"], s.Options["ipvlan_mode"]); {
		case !read:
			h.Doubt = doubtUnread.F(from)
		case s.Driver == "bridge":
			return h, s.Options[optICC] != "false" // moby: bridge/setup_ip_tables.go, setIcc
		case mode == "private" || mode == "vepa" || mode == "l3" || mode == "l3s":
			h.Doubt = doubtMode.F(from, mode)
		case s.Driver != "overlay" && !onLAN(s):
			h.Doubt = doubtDriver.F(from)
		}
		return h, true
	}
	h := Hop{Way: AcrossBridges, Via: []string{to}}
	for _, mode := range []string{d.Options[optMode4], d.Options[optMode6]} {
		if (mode == "routed" || mode == "nat-unprotected") && !s.Internal {
			h.Doubt = doubtRouted.F(to, mode)
			return h, true
		}
	}
	switch {
	case !read:
		h.Doubt = doubtUnread.F(from)
	case !readTo:
		h.Doubt = doubtUnread.F(to)
	case onLAN(s) && onLAN(d) && s.Options[optParent] == d.Options[optParent]:
		h.Way, h.Doubt = OnTheLAN, doubtParent.F(from, to)
	case onLAN(d) && !s.Internal && s.Driver == "bridge":
		h.Way = OnTheLAN // as any address outside
		h.Doubt = doubtLANHost
	case onLAN(s) && d.Driver == "bridge" && t.engineBefore(28):
		h.Doubt = doubtNeighbour
	case s.Driver != "bridge" && s.Driver != "overlay" && !onLAN(s):
		h.Doubt = doubtDriver.F(from)
	case d.Driver != "bridge" && d.Driver != "overlay" && !onLAN(d):
		h.Doubt = doubtDriver.F(to)
	default:
		return Hop{}, false
	}
	return h, true
}

// A door is an address at which a namespace finds the host.
type door struct {
	at    netip.Addr // invalid: not known
	way   Way
	doubt lang.Text
}

// doors are where a namespace finds the host. From an internal network only the
// host's address on it: it has no route to others.
func (t *topology) doors(n *placedNS) []door {
	var out []door
	add := func(d door) {
		i := slices.IndexFunc(out, func(o door) bool { return o.at == d.at })
		switch {
		case i < 0:
			out = append(out, d)
		case d.doubt == lang.Text{}:
			out[i] = d
		}
	}
	gateways := n.gateways()
	for _, e := range n.Endpoints {
		s, read := t.segment(e.Network)
		doubt := lang.Text{}
		switch {
		case !read:
			doubt = doubtUnread.F(e.Network)
		case onLAN(s):
			doubt = doubtLANHost
		case s.Driver == "overlay":
			if s.Internal {
				continue // no docker_gwbridge
			}
		case s.Driver != "bridge":
			doubt = doubtDriver.F(e.Network)
		case s.Options[optMode4] == "isolated" && (s.Options[optMode6] == "isolated" || !hasSix(s)):
			continue // the bridge has no address
		}
		for _, g := range e.Gateways {
			add(door{g, OwnGateway, doubt})
		}
		if read && s.Driver == "bridge" && len(e.Gateways) == 0 {
			add(door{netip.Addr{}, OwnGateway, doubtGateway.F(e.Network)})
		}
		if s.Internal {
			continue
		}
		for _, h := range t.w.Host {
			way := HostAddress
			if slices.ContainsFunc(t.w.Segments, func(s Segment) bool { return s.Driver == "bridge" && slices.Contains(s.Gateways, h) }) {
				way = OtherGateway
			}
			if !slices.Contains(gateways, h) {
				add(door{h, way, doubt})
			}
		}
		if len(t.w.Host) == 0 {
			add(door{netip.Addr{}, HostAddress, doubt})
		}
	}
	return out
}

func hasSix(s Segment) bool {
	return slices.ContainsFunc(s.Subnets, func(p netip.Prefix) bool { return p.Addr().Is6() })
}

// published are the ways round by ports that the host publishes for b.
func (t *topology) published(a, b *placedNS, enforced bool) []Hop {
	var out []Hop
	for _, m := range b.Members {
		for _, p := range m.Published {
			if p.Host.IsLoopback() {
				if !enforced && t.engineBefore(28) && len(a.Endpoints) > 0 {
					out = append(out, Hop{Way: HostLoopback, Via: []string{where(p.Host, p.HostPort)}, Ports: []Port{p.Port}, Doubt: doubtLoopback})
				}
				continue
			}
			for _, d := range t.doors(a) {
				if h, ok := t.round(a, b, p, d, enforced); ok {
					out = append(out, h)
				}
			}
		}
	}
	return joined(out)
}

// round is the way by one door to one published port.
func (t *topology) round(a, b *placedNS, p Published, d door, enforced bool) (Hop, bool) {
	switch {
	case !d.at.IsValid():
	case p.Host.IsUnspecified() && p.Host.Is4() != d.at.Is4():
		return Hop{}, false
	case !p.Host.IsUnspecified() && p.Host != d.at:
		return Hop{}, false
	}
	h := Hop{Way: d.way, Via: []string{where(d.at, p.HostPort)}, Ports: []Port{p.Port}, Doubt: d.doubt}
	if !enforced {
		return h, true
	}
	at := Port{p.HostPort, p.Port.Proto}
	own, far := t.rules.Inside[a.ID], t.rules.Inside[b.ID]
	if !d.at.IsValid() || !own.Sends(d.at, at) {
		return Hop{}, false
	}
	proxied := slices.ContainsFunc(a.addrs, func(x netip.Addr) bool { return t.rules.Outside.Serves(x, at) }) &&
		slices.ContainsFunc(b.gateways(), func(g netip.Addr) bool { return far.Takes(g, p.Port) })
	translated := slices.ContainsFunc(a.addrs, func(x netip.Addr) bool {
		return far.Takes(x, p.Port) && slices.ContainsFunc(b.addrs, func(y netip.Addr) bool { return t.rules.Outside.Forwards(x, y, p.Port) })
	})
	if !proxied && !translated {
		return Hop{}, false
	}
	h.Reasons = about(t.judge.pass(a, b), p.Port)
	if len(h.Reasons) == 0 { // to the host, and from the host
		h.Reasons = append(about(t.judge.reasons(a, host, true), at), about(append(t.judge.reasons(b, host, false), t.judge.reasons(b, internet, false)...), p.Port)...)
	}
	return h, true
}

// about are the reasons for one port.
func about(rs []Reason, port Port) []Reason {
	return slices.DeleteFunc(slices.Clone(rs), func(r Reason) bool { return r.Port != port && r.Port != Port{} })
}

// reasons are the flows that all of n have with one kind of end beside the
// workloads.
func (j *Judge) reasons(n *placedNS, kind endKind, out bool) []Reason {
	var all []Reason
	for i, m := range n.members {
		flows := m.to
		if out {
			flows = m.from
		}
		var mine []Reason
		for _, k := range flows {
			f := j.flows[k]
			far := f.from
			if out {
				far = f.to
			}
			if far.kind == kind {
				mine = append(mine, Reason{f.port, f.path})
			}
		}
		if i > 0 {
			mine = both(all, mine)
		}
		all = mine
	}
	return all
}

// joined puts hops that differ only in where they go by into one.
func joined(hops []Hop) []Hop {
	var out []Hop
	for _, h := range hops {
		i := slices.IndexFunc(out, func(o Hop) bool {
			return o.Way == h.Way && o.Doubt == h.Doubt && slices.Equal(o.Ports, h.Ports) && slices.Equal(o.Reasons, h.Reasons)
		})
		if i < 0 {
			out = append(out, h)
			continue
		}
		for _, v := range h.Via {
			if !slices.Contains(out[i].Via, v) {
				out[i].Via = append(out[i].Via, v)
			}
		}
	}
	return out
}

// where is an address with a port; that of an address that is not known has
// none.
func where(a netip.Addr, port uint16) string {
	if !a.IsValid() {
		return "?:" + strconv.Itoa(int(port))
	}
	return netip.AddrPortFrom(a, port).String()
}

// toHost are the ways to what the host itself serves.
func (t *topology) toHost(a *placedNS, enforced bool) []Hop {
	var out []Hop
	reasons := t.judge.reasons(a, host, true)
	if enforced && len(reasons) == 0 {
		return nil
	}
	for _, d := range t.doors(a) {
		h := Hop{Way: HostService, Doubt: cmp.Or(d.doubt, doubtListen)}
		if d.at.IsValid() {
			h.Via = []string{d.at.String()}
		}
		if enforced {
			h.Reasons, h.Ports, h.Doubt = reasons, portsOf(reasons), d.doubt
		}
		out = append(out, h)
	}
	return joined(out)
}

// fromHost are the ways of the host to a container's address.
func (t *topology) fromHost(b *placedNS, enforced bool) []Hop {
	var out []Hop
	// Behind the engine's proxy outside has the host's address: what is open to
	// it is open to the host.
	reasons := append(t.judge.reasons(b, host, false), t.judge.reasons(b, internet, false)...)
	if enforced && len(reasons) == 0 {
		return nil
	}
	for _, e := range b.Endpoints {
		s, read := t.segment(e.Network)
		h := Hop{Way: FromTheHost, Via: []string{e.Network}}
		switch {
		case !read:
			h.Doubt = doubtUnread.F(e.Network)
		case onLAN(s):
			h.Doubt = doubtLANHost
		case s.Driver == "overlay" && s.Internal:
			continue
		case s.Driver != "bridge" && s.Driver != "overlay":
			h.Doubt = doubtDriver.F(e.Network)
		}
		if enforced {
			h.Reasons, h.Ports = reasons, portsOf(reasons)
		}
		out = append(out, h)
	}
	return joined(out)
}

// fromOutside are the ways of whoever is no container and not this host.
func (t *topology) fromOutside(b *placedNS, enforced bool) []Hop {
	var out []Hop
	reasons := t.judge.reasons(b, internet, false)
	if enforced && len(reasons) == 0 {
		return nil
	}
	add := func(h Hop) {
		if enforced {
			if h.Ports == nil {
				h.Ports = portsOf(reasons)
			}
			h.Ports = slices.DeleteFunc(slices.Clone(h.Ports), func(p Port) bool { return len(about(reasons, p)) == 0 })
			if len(h.Ports) == 0 {
				return
			}
			h.Reasons = slices.DeleteFunc(slices.Clone(reasons), func(r Reason) bool { return !slices.Contains(h.Ports, r.Port) })
		}
		out = append(out, h)
	}
	for _, m := range b.Members {
		for _, p := range m.Published {
			h := Hop{Way: PublishedPort, Via: []string{where(p.Host, p.HostPort)}, Ports: []Port{p.Port}}
			if p.Host.IsLoopback() {
				if !t.engineBefore(28) {
					continue
				}
				h.Way, h.Doubt = HostLoopback, doubtLoopback
			}
			add(h)
		}
	}
	for _, e := range b.Endpoints {
		s, read := t.segment(e.Network)
		h := Hop{Way: AcrossBridges, Via: []string{e.Network}}
		switch mode := cmp.Or(routedMode(s.Options[optMode4]), routedMode(s.Options[optMode6])); {
		case !read:
			h.Doubt = doubtUnread.F(e.Network)
		case onLAN(s):
			h.Way = OnTheLAN
		case mode != "":
			h.Doubt = doubtRouted.F(e.Network, mode)
		case s.Driver == "bridge" && !s.Internal && t.engineBefore(28):
			h.Doubt = doubtNeighbour
		default:
			continue
		}
		add(h)
	}
	if enforced && len(out) == 0 {
		add(Hop{Way: PublishedPort, Doubt: doubtClosed})
	}
	return joined(out)
}

func routedMode(mode string) string {
	if mode == "routed" || mode == "nat-unprotected" {
		return mode
	}
	return ""
}

// toOutside are the ways out of the host.
func (t *topology) toOutside(a *placedNS, enforced bool) []Hop {
	out := t.leaves(a)
	if !enforced {
		return out
	}
	in := t.rules.Inside[a.ID]
	sure, any := best(out)
	var allowed []Hop
	say := func(via string, port Port, reasons []Reason) {
		h := Hop{Way: ToOutside, Via: []string{via}, Ports: []Port{port}, Reasons: reasons}
		switch {
		case !any:
			h.Doubt = doubtRules
		default:
			h.Doubt = sure.Doubt
		}
		allowed = append(allowed, h)
	}
	for _, n := range in.Nets {
		say(n.Net.String(), n.Port, about(t.judge.reasonsOf(a, func(e end) bool { return e.kind == aNetwork && e.net == n.Net }), n.Port))
	}
	for _, n := range in.Names {
		say(n.Name, n.Port, about(t.judge.reasonsOf(a, func(e end) bool { return e.kind == aHostName && e.name == n.Name }), n.Port))
	}
	return joined(allowed)
}

// reasonsOf are the flows out of the first of n, to ends of which f is true.
func (j *Judge) reasonsOf(n *placedNS, f func(end) bool) []Reason {
	var out []Reason
	for _, k := range n.members[0].from {
		if fl := j.flows[k]; f(fl.to) {
			out = append(out, Reason{fl.port, fl.path})
		}
	}
	return out
}

// leaves are the ways that Docker leaves open out of the host.
func (t *topology) leaves(a *placedNS) []Hop {
	var out []Hop
	for _, e := range a.Endpoints {
		s, read := t.segment(e.Network)
		h := Hop{Way: ToOutside, Via: []string{e.Network}}
		switch {
		case !read:
			h.Doubt = doubtUnread.F(e.Network)
		case onLAN(s):
			h.Way = OnTheLAN
		case s.Internal && t.engineBefore(26):
			h.Doubt = doubtDNS
		case s.Internal:
			continue
		}
		out = append(out, h)
	}
	return joined(out)
}
