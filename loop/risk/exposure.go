package risk

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"casco/lang"
	"casco/loop/inventory"
)

// A Level is how many can be where the weakness is.
type Level string

const (
	Internet   Level = "internet"    // anybody: published on all addresses, or on a public one
	OtherTier  Level = "other-tier"  // another tier, or a private network outside the host
	SameTier   Level = "same-tier"   // containers of its own tier
	HostLocal  Level = "host-local"  // the host itself
	NotRunning Level = "not-running" // nobody, until it starts
)

// exposures are the factors of formula risk/1. From what is exposed to all, to
// what only starts when somebody starts it.
var exposures = map[Level]float64{Internet: 1.0, OtherTier: 0.6, SameTier: 0.4, HostLocal: 0.25, NotRunning: 0.1}

// reach is the level as an axis of the decision table.
func (l Level) reach() Reach {
	switch l {
	case HostLocal, NotRunning:
		return Small
	case OtherTier, SameTier:
		return Controlled
	}
	return Open
}

// An Exposure is a level with what it was told by. Where it could not be told,
// Level is Internet, the worst, and Known false.
type Exposure struct {
	Level   Level     `json:"level"`
	Value   float64   `json:"value"`
	Known   bool      `json:"known"`
	Because lang.Text `json:"because"`
}

func exposed(l Level, because lang.Text) Exposure { return Exposure{l, exposures[l], true, because} }

func notTold(because lang.Text) Exposure {
	return Exposure{Internet, exposures[Internet], false, because}
}

// more returns the wider of two; the first of equals.
func more(a, b Exposure) Exposure {
	if a.Value == 0 || b.Value > a.Value || b.Value == a.Value && !b.Known && a.Known {
		return b
	}
	return a
}

// Exposure says from how far what a check found wrong with ref can be reached.
func (t *Terrain) Exposure(ref inventory.Ref, n Nature) Exposure {
	switch ref.Kind {
	case inventory.Container:
		if pl := t.of[ref]; pl != nil {
			return t.ofContainer(pl)
		}
		return notTold(lang.Text{En: "the container was not read", Es: "no se leyó el contenedor"})
	case inventory.Image, inventory.Network, inventory.Volume:
		return t.ofUsers(ref)
	case inventory.Daemon:
		if n.Threat == Command {
			return t.ofEngine(ref)
		}
		return t.ofContainers()
	case inventory.Kernel, inventory.Sysctl:
		if n.Threat == Escape || n.Threat == Spread {
			return t.ofContainers()
		}
	case inventory.Listener:
		return t.ofListener(ref)
	case inventory.Registry:
		if here, _, ok := inventory.RegistryLoopback.Of(t.s.Find(ref)); ok && here {
			break
		}
		return exposed(Internet, lang.Text{En: "whoever is on the way to the registry", Es: "quien esté en el camino al registro"})
	}
	return exposed(HostLocal, lang.Text{En: "from the host itself", Es: "desde el propio anfitrión"})
}

// ofContainer is kept once it is known: the engine and the kernel ask it of
// every container.
func (t *Terrain) ofContainer(pl *place) Exposure {
	if pl.exposure.Value == 0 {
		pl.exposure = t.lookAround(pl)
	}
	return pl.exposure
}

func (t *Terrain) lookAround(pl *place) Exposure {
	if !pl.running {
		return exposed(NotRunning, lang.Text{En: "it does not run", Es: "no está en marcha"})
	}
	if !pl.doors {
		return notTold(lang.Text{En: "its published ports could not be read", Es: "no se pudieron leer sus puertos publicados"})
	}
	if !pl.netsRead {
		return notTold(lang.Text{En: "its networks could not be read", Es: "no se pudieron leer sus redes"})
	}
	e := exposed(HostLocal, lang.Text{En: "from the host itself", Es: "desde el propio anfitrión"})
	for _, p := range pl.ports {
		e = more(e, ofPort(p))
	}
	for _, name := range pl.networks {
		e = more(e, t.onNetwork(pl, t.net(name)))
	}
	return e
}

// ofPort goes by the address that a door listens on.
func ofPort(p inventory.Port) Exposure {
	because := lang.Text{En: "published on %s", Es: "publicado en %s"}.F(p.Locus())
	addr, err := netip.ParseAddr(strings.Trim(p.Addr, "[]"))
	switch {
	case p.Loopback():
		return exposed(HostLocal, because)
	case !p.Everywhere() && err == nil && private(addr):
		return exposed(OtherTier, because)
	}
	return exposed(Internet, because)
}

// shared is the address space of carriers' translators: RFC 6598.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// private reports whether addr is of no network that everybody reaches: RFC
// 1918, RFC 4193, link-local, and RFC 6598.
func private(addr netip.Addr) bool {
	addr = addr.Unmap()
	return addr.IsPrivate() || addr.IsLinkLocalUnicast() || shared.Contains(addr)
}

// onNetwork says who reaches pl on n without a published port.
func (t *Terrain) onNetwork(pl *place, n *net) Exposure {
	if n.name == "host" {
		return Exposure{} // its doors say it
	}
	if n.outside {
		return exposed(OtherTier, lang.Text{En: "network %s stands outside the host", Es: "la red %s está fuera del anfitrión"}.F(n.name))
	}
	because := lang.Text{En: "shares network %s with %s", Es: "comparte la red %s con %s"}
	// Where nobody named their tiers they may be of different ones.
	if other := n.neighbour(pl, func(o *place) bool { return o.tier.Name != pl.tier.Name || o.tier.Name == "" }); other != nil {
		return exposed(OtherTier, because.F(n.name, other.o.Ref.Name+" ("+cmp.Or(other.tier.Name, "?")+")"))
	}
	if other := n.neighbour(pl, func(*place) bool { return true }); other != nil {
		return exposed(SameTier, because.F(n.name, other.o.Ref.Name))
	}
	if n.spans {
		return exposed(SameTier, lang.Text{En: "network %s spans hosts", Es: "la red %s abarca varios anfitriones"}.F(n.name))
	}
	return Exposure{}
}

// ofUsers is the widest exposure of the containers that use an image, a network
// or a volume.
func (t *Terrain) ofUsers(ref inventory.Ref) Exposure {
	if ref.Kind == inventory.Image {
		if _, fact, ok := inventory.ImageUsedBy.Of(t.s.Find(ref)); !ok {
			return notTold(lang.Text{En: "which containers use it: %s", Es: "qué contenedores la usan: %s"}.F(fact.Err))
		}
	}
	return t.widest(t.users(ref), exposed(NotRunning, lang.Text{En: "no container uses it", Es: "ningún contenedor lo usa"}))
}

// ofContainers is the widest exposure of all containers: they share the engine
// and the kernel.
func (t *Terrain) ofContainers() Exposure {
	return t.widest(t.places, exposed(HostLocal, lang.Text{En: "no container runs", Es: "ningún contenedor está en marcha"}))
}

func (t *Terrain) widest(ps []*place, none Exposure) Exposure {
	var e Exposure
	var by *place
	for _, pl := range ps {
		if w := more(e, t.ofContainer(pl)); w != e {
			e, by = w, pl
		}
	}
	if by == nil {
		return none
	}
	name := by.o.Ref.Name
	e.Because = lang.Text{En: "through " + name + ": " + e.Because.En, Es: "a través de " + name + ": " + e.Because.Es}
	return e
}

// ofEngine goes by the sockets that the engine itself listens on.
func (t *Terrain) ofEngine(ref inventory.Ref) Exposure {
	list, fact, ok := inventory.DaemonListeners.Of(t.s.Find(ref))
	if !ok {
		return notTold(lang.Text{En: "the engine's sockets: %s", Es: "los sockets del motor: %s"}.F(fact.Err))
	}
	e := exposed(HostLocal, lang.Text{En: "over a socket of the host", Es: "por un socket del anfitrión"})
	for _, l := range list {
		m, _ := l.(map[string]any)
		if role := asString(m["Role"]); asString(m["Proto"]) == "tcp" && (role == "api" || role == "swarm") {
			e = more(e, ofPort(engineDoor(m)))
		}
	}
	return e
}

// engineDoor is an element of the engine's Listeners as a door of the host.
func engineDoor(m map[string]any) inventory.Port {
	n, _ := strconv.ParseInt(fmt.Sprint(m["Port"]), 10, 64)
	return inventory.Port{Addr: asString(m["Addr"]), Host: n, Proto: "tcp"}
}

func (t *Terrain) ofListener(ref inventory.Ref) Exposure {
	o := t.s.Find(ref)
	addr, fact, ok := inventory.ListenerAddr.Of(o)
	if !ok {
		return notTold(lang.Text{En: "its address: %s", Es: "su dirección: %s"}.F(fact.Err))
	}
	port, _, _ := inventory.ListenerPort.Of(o)
	proto, _, _ := inventory.ListenerProto.Of(o)
	e := ofPort(inventory.Port{Addr: addr, Host: port, Proto: proto})
	e.Because = lang.Text{En: "listens on %s:%d", Es: "escucha en %s:%d"}.F(addr, port)
	return e
}
