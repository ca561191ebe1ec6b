package risk

import (
	"cmp"
	"fmt"
	"slices"

	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/policy"
)

// A Terrain is one host as an attacker finds it: what is published, what shares
// a network with what, which tier each container is of, and what a failed check
// opens. It is made once from a snapshot and asked many times.
type Terrain struct {
	s       *inventory.Snapshot
	p       *policy.Policy
	places  []*place // containers, in order of their names
	of      map[inventory.Ref]*place
	nets    map[string]*net
	said    map[key]audit.Verdict
	failed  map[key]audit.Finding
	cves    map[string][]CVE // by fingerprint
	defects []audit.Finding  // of images, that an attacker may come in by

	// Reckoned when first asked for: a Terrain is for one goroutine.
	graph   *graph
	blasts  map[radius]reckoned
	open    []*place
	sharing map[string][]*place
}

// A key names a finding.
type key struct {
	check string
	ref   inventory.Ref
}

// A place is a container with what leads to it and away from it.
type place struct {
	o        *inventory.Object
	tier     Tier
	running  bool // or nobody knows
	networks []string
	netsRead bool
	space    string           // its network namespace: the name of the container that owns it, or "host"; "" none
	ports    []inventory.Port // doors of its network namespace
	doors    bool             // they could be read
	volumes  map[string]bool  // named volumes and paths of the host that it mounts; true: to write
	exposure Exposure         // zero until asked for
	reach    []*place         // nil until asked for
}

// A net is a network of the engine with the containers on it.
type net struct {
	name    string
	open    bool     // its members reach one another
	outside bool     // its members stand on a network outside the host (macvlan, ipvlan)
	spans   bool     // it has members on other hosts (overlay)
	members []*place // that run, worst tier first
}

// Survey reads the terrain of s. Findings are those of s; tiers come from p.
// Cves, by the fingerprint of their finding, are the published vulnerabilities
// that findings are about; it may be nil.
func Survey(s *inventory.Snapshot, findings []audit.Finding, p *policy.Policy, cves map[string][]CVE) *Terrain {
	t := &Terrain{
		s: s, p: p, cves: cves, of: map[inventory.Ref]*place{}, nets: map[string]*net{}, blasts: map[radius]reckoned{},
		said: make(map[key]audit.Verdict, len(findings)), failed: map[key]audit.Finding{},
	}
	for _, f := range findings {
		k := key{f.Check.ID, f.Ref}
		t.said[k] = f.Verdict
		if f.Verdict == audit.Fail {
			t.failed[k] = f
			if f.Ref.Kind == inventory.Image && (slices.Contains(brought, f.Check.ID) || len(cves) > 0 && len(cves[f.Fingerprint()]) > 0) {
				t.defects = append(t.defects, f)
			}
		}
	}
	for _, o := range s.Of(inventory.Container) {
		pl := &place{o: o, running: true}
		if on, _, ok := inventory.Running.Of(o); ok {
			pl.running = on
		}
		pl.networks, _, pl.netsRead = inventory.NetworksOf(s, o)
		pl.tier = tierOf(s, p, o)
		pl.volumes = volumesOf(o)
		owner := ownerOfNet(s, o)
		pl.ports, _, pl.doors = inventory.Published(s, owner)
		pl.ports = append(pl.ports, ingress(s, o)...)
		switch mode, _, _ := inventory.NetworkMode.Of(owner); mode {
		case "host":
			pl.space = "host"
		case "none":
		default:
			pl.space = owner.Ref.Name
		}
		t.places = append(t.places, pl)
		t.of[o.Ref] = pl
		if !pl.running {
			continue
		}
		for _, n := range pl.networks {
			t.net(n).members = append(t.net(n).members, pl)
		}
	}
	for _, n := range t.nets {
		slices.SortFunc(n.members, byTier)
	}
	return t
}

// ownerOfNet follows "container:NAME" to the container whose network o uses.
func ownerOfNet(s *inventory.Snapshot, o *inventory.Object) *inventory.Object {
	for range 8 { // a longer chain is a circle
		mode, _, _ := inventory.NetworkMode.Of(o)
		_, other := inventory.Joined(s, mode)
		if other == nil {
			break
		}
		o = other
	}
	return o
}

// Options of a bridge, and what a network without them does.
const optionICC = "com.docker.network.bridge.enable_icc"

func (t *Terrain) net(name string) *net {
	if n := t.nets[name]; n != nil {
		return n
	}
	n := &net{name: name, open: true}
	o := t.s.Find(inventory.Ref{Kind: inventory.Network, Name: name})
	driver, _, _ := inventory.NetworkDriver.Of(o)
	opts, _, ok := inventory.NetworkOptions.Of(o)
	n.outside, n.spans = driver == "macvlan" || driver == "ipvlan", driver == "overlay"
	if ok && asString(opts[optionICC]) == "false" {
		n.open = false
	}
	if icc, _, ok := inventory.DaemonICC.Of(inventory.EngineOf(t.s)); ok && !icc && name == "bridge" {
		n.open = false
	}
	t.nets[name] = n
	return n
}

// volumesOf names what o mounts that others may mount too, as the engine
// reports it: volumes by name, paths by themselves.
func volumesOf(o *inventory.Object) map[string]bool {
	list, _, _ := inventory.Mounts.Of(o)
	out := map[string]bool{}
	for _, e := range list {
		m, _ := e.(map[string]any)
		rw, said := m["RW"].(bool)
		switch asString(m["Type"]) {
		case "volume":
			out[asString(m["Name"])] = rw || !said
		case "bind":
			out[asString(m["Source"])] = rw || !said
		}
	}
	delete(out, "")
	return out
}

// ingress returns the doors that Swarm opens for the service of o: on all
// addresses of every node (GET /services, Endpoint.Ports).
func ingress(s *inventory.Snapshot, o *inventory.Object) []inventory.Port {
	labels, _, _ := inventory.Labels.Of(o)
	name := asString(labels["com.docker.swarm.service.name"])
	if name == "" {
		return nil
	}
	list, _, _ := inventory.ServicePorts.Of(s.Find(inventory.Ref{Kind: inventory.Service, Name: name}))
	var out []inventory.Port
	for _, e := range list {
		m, _ := e.(map[string]any)
		if asString(m["PublishMode"]) != "ingress" {
			continue // "host" stands with the container itself
		}
		p := inventory.PortOf(fmt.Sprintf("%v/%v", m["TargetPort"], m["Protocol"]), map[string]any{"HostPort": fmt.Sprint(m["PublishedPort"])})
		if p.Host > 0 {
			out = append(out, p)
		}
	}
	return out
}

// neighbour returns the container of the worst tier that pl reaches on n and
// that ok selects, or nil. Where a bridge keeps its containers apart
// (enable_icc=false), only those in the same network namespace reach each other.
func (n *net) neighbour(pl *place, ok func(*place) bool) *place {
	for _, other := range n.members {
		if other != pl && (n.open || other.space == pl.space) && ok(other) {
			return other
		}
	}
	return nil
}

// published reports whether a door of pl is open to more than the host itself.
func (pl *place) published() bool {
	return slices.ContainsFunc(pl.ports, func(p inventory.Port) bool { return !p.Loopback() })
}

// root tells whether who is inside is root there, as container-root-user found;
// nobody knows is yes.
func (t *Terrain) root(pl *place) bool {
	return t.said[key{"container-root-user", pl.o.Ref}] != audit.Pass
}

// users returns the containers that use an image, a network or a volume.
func (t *Terrain) users(ref inventory.Ref) []*place {
	var out []*place
	if ref.Kind == inventory.Image {
		names, _, _ := inventory.ImageUsedBy.Of(t.s.Find(ref))
		for _, name := range names {
			if pl := t.of[inventory.Ref{Kind: inventory.Container, Name: name}]; pl != nil {
				out = append(out, pl)
			}
		}
		return out
	}
	for _, pl := range t.places {
		if ref.Kind == inventory.Network && slices.Contains(pl.networks, ref.Name) || ref.Kind == inventory.Volume && has(pl.volumes, ref.Name) {
			out = append(out, pl)
		}
	}
	return out
}

func has(m map[string]bool, k string) bool { _, ok := m[k]; return ok }

func byTier(a, b *place) int {
	return cmp.Or(cmp.Compare(b.tier.Impact, a.tier.Impact), cmp.Compare(a.o.Ref.Name, b.o.Ref.Name))
}
