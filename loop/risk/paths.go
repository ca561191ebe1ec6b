package risk

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// A Node is a place on an attacker's way.
type Node struct {
	Kind NodeKind `json:"kind"`
	Name string   `json:"name,omitempty"`
}

// A NodeKind says what a Node is.
type NodeKind string

const (
	InternetNode  NodeKind = "internet"  // anybody
	OutsideNode   NodeKind = "outside"   // a private network outside the host
	DefectNode    NodeKind = "defect"    // of an image: a library with a hole, or what stands for one
	DoorNode      NodeKind = "door"      // a published port
	AddressesNode NodeKind = "addresses" // the host's addresses, as its containers reach them
	LoopbackNode  NodeKind = "loopback"  // 127.0.0.1 of the host
	HostNetNode   NodeKind = "host-net"  // the host's own network namespace
	NetworkNode   NodeKind = "network"
	SpaceNode     NodeKind = "namespace" // a network namespace that containers share
	WritesNode    NodeKind = "writes"    // a volume that one writes and others mount
	ReadsNode     NodeKind = "reads"     // a volume that others write and one mounts
	ContainerNode NodeKind = "container"
	RootNode      NodeKind = "root" // root inside a container
	APINode       NodeKind = "api"  // the engine's socket on TCP
	HostNode      NodeKind = "host" // root of the host
	TierNode      NodeKind = "tier" // the data of a tier
)

// nodeWords say a node of each kind; %s is its name, where it has one.
var nodeWords = map[NodeKind]lang.Text{
	InternetNode:  {En: "internet", Es: "internet"},
	OutsideNode:   {En: "private network", Es: "red privada"},
	DefectNode:    {En: "%s", Es: "%s"},
	DoorNode:      {En: "%s", Es: "%s"},
	AddressesNode: {En: "the host's addresses", Es: "las direcciones del anfitrión"},
	LoopbackNode:  {En: "the host's loopback", Es: "el loopback del anfitrión"},
	HostNetNode:   {En: "the host's network", Es: "la red del anfitrión"},
	NetworkNode:   {En: "network %s", Es: "red %s"},
	SpaceNode:     {En: "network namespace of %s", Es: "espacio de red de %s"},
	WritesNode:    {En: "volume %s", Es: "volumen %s"},
	ReadsNode:     {En: "volume %s", Es: "volumen %s"},
	ContainerNode: {En: "%s", Es: "%s"},
	RootNode:      {En: "root in %s", Es: "root en %s"},
	APINode:       {En: "engine API %s", Es: "API del motor %s"},
	HostNode:      {En: "host", Es: "anfitrión"},
	TierNode:      {En: "tier %s", Es: "nivel %s"},
}

// Text says n to people. Names come from the host: whoever prints them cleans
// them.
func (n Node) Text() lang.Text {
	w := nodeWords[n.Kind]
	if strings.Contains(w.En, "%s") {
		return w.F(n.Name)
	}
	return w
}

// A Cause is a finding that opens a step of a path.
type Cause struct {
	Check       string        `json:"check"`
	Ref         inventory.Ref `json:"ref"`
	Fingerprint string        `json:"fingerprint"`
}

// A Hop is one step of a path. It is there because of findings, any of which
// would do, or of a plain fact, which Why says.
type Hop struct {
	From Node      `json:"from"`
	To   Node      `json:"to"`
	By   []Cause   `json:"by,omitempty"`
	Why  lang.Text `json:"why"`
}

// A Path is a way from where an attacker may come from to what is worth most.
type Path []Hop

// Text is the path in one line: "internet → 0.0.0.0:8080/tcp → web → host".
func (p Path) Text() lang.Text {
	if len(p) == 0 {
		return lang.Text{}
	}
	t := p[0].From.Text()
	for _, h := range p {
		to := h.To.Text()
		t = lang.Text{En: t.En + " → " + to.En, Es: t.Es + " → " + to.Es}
	}
	return t
}

// Paths returns up to k of the shortest ways from outside to the worst tier on
// the host, shortest first: from the internet, from a private network outside,
// from a defect in an image. Without a tier whose impact is known they end at
// the host. No way is an empty list, and says no more than what was read: see
// Unread.
func (t *Terrain) Paths(k int) []Path { return t.ways().shortest(k) }

// Through returns the shortest such way that takes a step which a finding
// opens. Where it could go on only through places it has been at, it ends with
// that step.
func (t *Terrain) Through(fingerprint string) (Path, bool) { return t.ways().through(fingerprint) }

// nearer orders paths: those that arrive, then the shorter ones.
func (t *Terrain) nearer(a, b Path) int {
	leads := func(p Path) int {
		if p[len(p)-1].To == t.ways().target {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(leads(a), leads(b)), cmp.Compare(len(a), len(b)))
}

// Unread names the containers whose networks or doors could not be read: ways
// through them may be missing, or too many.
func (t *Terrain) Unread() []inventory.Ref {
	var out []inventory.Ref
	for _, pl := range t.places {
		if pl.running && (!pl.doors || !pl.netsRead) {
			out = append(out, pl.o.Ref)
		}
	}
	return out
}

// toHost are the checks whose failure leads from inside a container to the
// host. Where root is set, who is inside must be root there first.
var toHost = []struct {
	check string
	root  bool
}{
	{"container-privileged", true},
	{"container-engine-socket", false}, // a group may open it, or everybody
	{"container-sensitive-mount", false},
	{"container-dangerous-capabilities", true},
	{"container-devices", true},
	{"container-system-paths", true},
}

// hostCaps are the capabilities with which root inside a container becomes root
// of the host, where no user namespace lies between (capabilities(7)): it
// mounts, loads modules, writes to I/O ports, or opens any file by its handle.
var hostCaps = []string{"SYS_ADMIN", "SYS_MODULE", "SYS_RAWIO", "DAC_READ_SEARCH"}

func (t *Terrain) ways() *graph {
	if t.graph == nil {
		t.graph = newGraph()
		t.mapOut(t.graph)
	}
	return t.graph
}

// mapOut draws every step that facts and findings allow. Places of equal reach
// meet in a node of their own, so the number of steps grows with the number of
// containers, not with its square.
func (t *Terrain) mapOut(g *graph) {
	for _, pl := range t.places {
		c := Node{ContainerNode, pl.o.Ref.Name}
		g.step(Node{Kind: HostNode}, c, lang.Text{En: "runs on it", Es: "corre en él"})
		g.step(c, Node{TierNode, pl.tier.Name}, lang.Text{En: "its data", Es: "sus datos"})
		for _, v := range slices.Sorted(maps.Keys(pl.volumes)) {
			g.step(Node{WritesNode, v}, c, lang.Text{En: "mounts it", Es: "lo monta"})
			if pl.volumes[v] {
				g.step(Node{ReadsNode, v}, c, lang.Text{En: "writes it", Es: "lo escribe"})
			}
		}
		if pl.running {
			t.doorsOf(g, pl, c)
			t.onward(g, pl, c)
			t.upward(g, pl, c)
		}
	}
	t.engineDoors(g)
	g.entries = []Node{{Kind: InternetNode}, {Kind: OutsideNode}}
	for _, f := range t.defects {
		d := Node{DefectNode, t.defectName(f)}
		g.defects = append(g.defects, d)
		for _, pl := range t.users(f.Ref) {
			if pl.running {
				g.step(d, Node{ContainerNode, pl.o.Ref.Name}, f.Check.Title, cause(f))
			}
		}
	}
	g.target = t.prize()
	g.ready()
}

// brought are the checks of an image that say that somebody else may have put
// something into it.
var brought = []string{"image-source", "image-unverified-packages"}

// defectName names what is wrong in an image: the hole, if it has a name, else
// the check.
func (t *Terrain) defectName(f audit.Finding) string {
	what := f.Check.ID
	if cves := t.cves[f.Fingerprint()]; len(cves) > 0 {
		what = cves[0].ID
	}
	return what + " (" + f.Ref.Name + ")"
}

// prize is what an attacker is after: the worst tier whose impact is known, or
// else the host.
func (t *Terrain) prize() Node {
	best := Node{Kind: HostNode}
	impact := 0.0
	for _, pl := range t.places {
		if pl.tier.Known && pl.tier.Impact > impact {
			best, impact = Node{TierNode, pl.tier.Name}, pl.tier.Impact
		}
	}
	return best
}

// doorsOf draws what leads from outside, and from the host's addresses, to pl.
func (t *Terrain) doorsOf(g *graph, pl *place, c Node) {
	if !pl.doors {
		g.step(Node{Kind: InternetNode}, c, lang.Text{En: "its published ports could not be read", Es: "no se pudieron leer sus puertos publicados"})
	}
	for _, p := range pl.ports {
		door := Node{DoorNode, p.Locus()}
		t.outer(g, ofPort(p).Level, door)
		var by []Cause
		if f, ok := t.failed[key{"container-published-everywhere", pl.o.Ref}]; ok && p.Everywhere() {
			by = append(by, cause(f))
		}
		g.step(door, c, lang.Text{En: "published", Es: "publicado"}, by...)
	}
	for _, name := range pl.networks {
		if t.net(name).outside {
			g.step(Node{Kind: OutsideNode}, c, lang.Text{En: "network %s stands outside the host", Es: "la red %s está fuera del anfitrión"}.F(name))
		}
	}
}

// outer draws who reaches a door of the host. Its containers reach one that is
// open to more than the host itself: the engine's rules that keep networks
// apart do not stand in that way (measured on Docker 20.10.24: the packet goes
// through INPUT to docker-proxy, never through FORWARD).
func (t *Terrain) outer(g *graph, l Level, door Node) {
	because := lang.Text{En: "reaches that address", Es: "alcanza esa dirección"}
	switch l {
	case HostLocal:
		g.step(Node{Kind: LoopbackNode}, door, because)
		return
	case OtherTier:
		g.step(Node{Kind: OutsideNode}, door, because)
	default:
		g.step(Node{Kind: InternetNode}, door, because)
	}
	g.step(Node{Kind: AddressesNode}, door, because)
}

// onward draws where who is in pl gets to without becoming more than he is.
func (t *Terrain) onward(g *graph, pl *place, c Node) {
	if pl.space != "" {
		g.step(c, Node{Kind: AddressesNode}, lang.Text{En: "every network has a gateway to them", Es: "toda red tiene una puerta de enlace a ellas"})
		shared := Node{SpaceNode, pl.space}
		if pl.space == "host" {
			shared = Node{Kind: HostNetNode}
			g.step(c, Node{Kind: LoopbackNode}, lang.Text{En: "is on the host's network", Es: "está en la red del anfitrión"}, t.causes("container-host-net", pl)...)
			g.step(c, shared, lang.Text{En: "is on the host's network", Es: "está en la red del anfitrión"}, t.causes("container-host-net", pl)...)
		} else {
			g.step(Node{Kind: HostNetNode}, c, lang.Text{En: "the host reaches every network", Es: "el anfitrión alcanza toda red"})
			g.step(c, shared, lang.Text{En: "same network namespace", Es: "mismo espacio de red"})
			g.step(shared, c, lang.Text{En: "same network namespace", Es: "mismo espacio de red"})
		}
	}
	for _, name := range pl.networks {
		if n := t.net(name); n.open && name != "host" {
			node := Node{NetworkNode, name}
			g.step(c, node, lang.Text{En: "is on it", Es: "está en ella"}, t.causes("container-mixed-tiers", pl)...)
			g.step(node, c, lang.Text{En: "is on it", Es: "está en ella"}, t.causes("container-mixed-tiers", pl)...)
		}
	}
	for _, v := range slices.Sorted(maps.Keys(pl.volumes)) {
		g.step(c, Node{ReadsNode, v}, lang.Text{En: "mounts it", Es: "lo monta"})
		if pl.volumes[v] {
			g.step(c, Node{WritesNode, v}, lang.Text{En: "writes it", Es: "lo escribe"})
		}
	}
	for _, f := range []inventory.Field[string]{inventory.PidMode, inventory.IpcMode} {
		mode, _, _ := f.Of(pl.o)
		if _, other := inventory.Joined(t.s, mode); other != nil {
			g.step(c, Node{ContainerNode, other.Ref.Name}, lang.Text{En: "shares %s of it", Es: "comparte %s con él"}.F(f.Path))
		}
	}
}

// upward draws how who is in pl becomes root there, and root of the host.
func (t *Terrain) upward(g *graph, pl *place, c Node) {
	root, host := Node{RootNode, pl.o.Ref.Name}, Node{Kind: HostNode}
	if t.root(pl) {
		g.step(c, root, lang.Text{En: "runs as root", Es: "corre como root"}, t.causes("container-root-user", pl)...)
	} else if t.said[key{"container-no-new-privileges", pl.o.Ref}] != audit.Pass {
		g.step(c, root, lang.Text{En: "setuid programs give more privileges", Es: "los programas setuid dan más privilegios"}, t.causes("container-no-new-privileges", pl)...)
	}
	remapped := t.said[key{"container-user-namespace", pl.o.Ref}] == audit.Pass
	for _, way := range toHost {
		f, ok := t.failed[key{way.check, pl.o.Ref}]
		switch {
		case !ok, way.root && remapped && way.check != "container-privileged":
			continue
		case way.check == "container-dangerous-capabilities" && !t.capable(pl, f):
			continue
		}
		from := c
		if way.root {
			from = root
		}
		// Two defects together are found as one more: it opens what they open.
		g.step(from, host, f.Check.Title, append([]Cause{cause(f)}, t.causes("container-combination", pl)...)...)
	}
	for _, v := range slices.Sorted(maps.Keys(pl.volumes)) {
		if f, ok := t.failed[key{"volume-host-path", inventory.Ref{Kind: inventory.Volume, Name: v}}]; ok {
			g.step(c, host, f.Check.Title, cause(f))
		}
	}
	if engine := inventory.EngineOf(t.s); engine != nil {
		if f, ok := t.failed[key{"engine-known-holes", engine.Ref}]; ok {
			g.step(root, host, f.Check.Title, cause(f))
		}
	}
}

// capable reports whether the capabilities that f found reach the host by
// themselves, or with the host's processes in sight.
func (t *Terrain) capable(pl *place, f audit.Finding) bool {
	has := func(c string) bool { return slices.Contains(f.Loci, c) }
	_, seesHost := t.failed[key{"container-host-pid", pl.o.Ref}]
	return slices.ContainsFunc(hostCaps, has) || seesHost && has("SYS_PTRACE")
}

// engineDoors draws the engine's own sockets on TCP that ask nobody who they
// are.
func (t *Terrain) engineDoors(g *graph) {
	for _, d := range t.s.Of(inventory.Daemon) {
		f, ok := t.failed[key{"daemon-tls", d.Ref}]
		if !ok {
			continue
		}
		list, _, _ := inventory.DaemonListeners.Of(d)
		for _, l := range list {
			m, _ := l.(map[string]any)
			if asString(m["Proto"]) != "tcp" || asString(m["Role"]) != "api" || asString(m["TLS"]) == "mutual" {
				continue
			}
			p := engineDoor(m)
			api := Node{APINode, p.Locus()}
			t.outer(g, ofPort(p).Level, api)
			g.step(api, Node{Kind: HostNode}, f.Check.Title, cause(f))
		}
	}
}

func cause(f audit.Finding) Cause { return Cause{f.Check.ID, f.Ref, f.Fingerprint()} }

// causes are the finding of that check about pl, if it failed.
func (t *Terrain) causes(check string, pl *place) []Cause {
	if f, ok := t.failed[key{check, pl.o.Ref}]; ok {
		return []Cause{cause(f)}
	}
	return nil
}
