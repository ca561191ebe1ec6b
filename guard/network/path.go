package network

import (
	"net/netip"
	"slices"
	"strconv"

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
