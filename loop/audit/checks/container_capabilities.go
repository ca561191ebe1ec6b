package checks

import (
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// dangerousCaps are those with which the host, its kernel or the traffic of
// others is within reach (capabilities(7)); none is among the engine's 14
// defaults. NET_RAW is, and has a check of its own.
var dangerousCaps = []string{
	"AUDIT_CONTROL", "BPF", "CHECKPOINT_RESTORE", "DAC_READ_SEARCH", "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE",
	"NET_ADMIN", "PERFMON", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_MODULE", "SYS_PTRACE", "SYS_RAWIO", "SYS_TIME",
}

// defaultCaps are what the engine gives if nobody says otherwise (moby
// oci/caps/defaults.go, unchanged since 1.10).
var defaultCaps = []string{
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW",
	"SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

// capName is the name of a capability as the kernel's tools print it: without
// CAP_, upper case. The engine accepts it in any case, with or without.
func capName(s string) string { return strings.TrimPrefix(strings.ToUpper(s), "CAP_") }

// A capSet is what a container may ever hold.
type capSet struct {
	all      bool
	names    []string
	measured bool
	facts    []inventory.Fact
}

func (c capSet) has(name string) bool { return c.all || slices.Contains(c.names, name) }

// capsOf prefers the kernel's bounding set, which also limits what set-uid
// programs and docker exec get, and else follows the engine's rule: the
// defaults, or nothing after CapDrop ALL, minus CapDrop, plus CapAdd;
// privileged is all of them. bad holds what could not be read.
func capsOf(o *inventory.Object) (set capSet, bad []inventory.Fact) {
	priv, privFact, okPriv := inventory.Privileged.Of(o)
	add, addFact, okAdd := inventory.CapAdd.Of(o)
	drop, dropFact, okDrop := inventory.CapDrop.Of(o)
	said := known(privFact, addFact, dropFact)
	if names, fact, ok := inventory.EffectiveBounding.Of(o); ok {
		return capSet{names: names, measured: true, facts: append([]inventory.Fact{fact}, said...)}, nil
	}
	switch {
	case okPriv && priv:
		return capSet{all: true, facts: said}, nil
	case !okPriv || !okAdd || !okDrop:
		return capSet{}, []inventory.Fact{privFact, addFact, dropFact}
	}
	dropped, added := capNames(drop), capNames(add)
	if slices.Contains(added, "ALL") {
		return capSet{all: len(dropped) == 0, names: allBut(dropped), facts: said}, nil
	}
	if !slices.Contains(dropped, "ALL") {
		set.names = slices.DeleteFunc(slices.Clone(defaultCaps), func(c string) bool { return slices.Contains(dropped, c) })
	}
	set.names = append(set.names, added...)
	set.facts = said
	return set, nil
}

func allBut(dropped []string) []string {
	names := slices.Concat(defaultCaps, dangerousCaps)
	return slices.DeleteFunc(names, func(c string) bool { return slices.Contains(dropped, c) })
}

func capNames(list []string) []string {
	var out []string
	for _, s := range list {
		out = append(out, capName(s))
	}
	return out
}

var whichCaps = lang.Text{
	En: "Which capabilities does its work need? A recording (casco profile) tells.",
	Es: "¿Qué capacidades necesita su trabajo? Una grabación (casco profile) lo dice.",
}

var containerDangerousCapabilities = &audit.Check{
	ID:    "container-dangerous-capabilities",
	Title: lang.Text{En: "Container holds capabilities that reach the host", Es: "El contenedor tiene capacidades que alcanzan el anfitrión"},
	Why: lang.Text{
		En: "With one of them a process mounts file systems, loads code into the kernel, enters other processes or rewrites the network.",
		Es: "Con una de ellas un proceso monta sistemas de archivos, carga código en el núcleo, entra en otros procesos o reescribe la red.",
	},
	Remedy: lang.Text{
		En: "Create the container again without these --cap-add and without --privileged.",
		Es: "Vuelva a crear el contenedor sin esos --cap-add ni --privileged.",
	},
	Severity: audit.High,
	Domains:  secures,
	Controls: rowConfinement.cis("5.4"),
	Kind:     inventory.Container,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		set, bad := capsOf(o)
		if bad != nil {
			return audit.Untold(bad...)
		}
		var held []string
		for _, c := range dangerousCaps {
			if set.has(c) {
				held = append(held, c)
			}
		}
		if len(held) == 0 {
			return measured(o, set, audit.Good(set.facts...))
		}
		a := audit.Bad(set.facts...).Because(lang.Text{En: "holds %s", Es: "tiene %s"}.F(strings.Join(held, ", "))).At(held...).Wanting(unprivileged(o)...)
		if add, _, _ := inventory.CapAdd.Of(o); len(add) > 0 {
			a = a.Wanting(ask(o, inventory.CapAdd.Path, whichCaps))
		}
		return a
	},
}

func measured(o *inventory.Object, set capSet, a audit.Answer) audit.Answer {
	if set.measured {
		return a
	}
	return declared(o, a)
}

var containerCapabilities = &audit.Check{
	ID:    "container-capabilities",
	Title: lang.Text{En: "Container keeps the engine's default capabilities", Es: "El contenedor conserva las capacidades por defecto del motor"},
	Why: lang.Text{
		En: "Most services need none of the fourteen; each that stays is one more thing that an intruder can do.",
		Es: "La mayoría de los servicios no necesita ninguna de las catorce; cada una que queda es algo más que puede hacer un intruso.",
	},
	Remedy: lang.Text{
		En: "Create the container again with --cap-drop ALL and a --cap-add for each capability that a recording shows in use.",
		Es: "Vuelva a crear el contenedor con --cap-drop ALL y un --cap-add por cada capacidad que una grabación muestre en uso.",
	},
	Severity: audit.Low,
	Domains:  secures,
	Controls: rowConfinement.cis("5.4"),
	Kind:     inventory.Container,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		drop, fact, ok := inventory.CapDrop.Of(o)
		priv, privFact, okPriv := inventory.Privileged.Of(o)
		if !ok || !okPriv {
			return audit.Untold(fact, privFact)
		}
		if !priv && slices.Contains(capNames(drop), "ALL") {
			return audit.Good(fact, privFact)
		}
		return audit.Bad(fact, privFact).Wanting(unprivileged(o)...).Wanting(
			audit.Want{Ref: o.Ref, Field: inventory.CapDrop.Path, Op: audit.Add, Value: "ALL"},
			ask(o, inventory.CapAdd.Path, whichCaps))
	},
}

var containerNetRaw = &audit.Check{
	ID:    "container-net-raw",
	Title: lang.Text{En: "Container can forge packets", Es: "El contenedor puede falsificar paquetes"},
	Why: lang.Text{
		En: "CAP_NET_RAW opens raw and packet sockets: ARP and IPv6 spoofing of the neighbours on its bridge, and a history of kernel defects.",
		Es: "CAP_NET_RAW abre sockets raw y de paquetes: suplantación ARP e IPv6 de los vecinos de su puente, y un historial de defectos del núcleo.",
	},
	Remedy: lang.Text{
		En: "Create the container again with --cap-drop NET_RAW; ping works without it where net.ipv4.ping_group_range allows, as the engine sets it since 20.10.",
		Es: "Vuelva a crear el contenedor con --cap-drop NET_RAW; ping funciona sin ella donde net.ipv4.ping_group_range lo permite, como el motor lo ajusta desde 20.10.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowSegments.cis("5.4"),
	Kind:     inventory.Container,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		set, bad := capsOf(o)
		if bad != nil {
			return audit.Untold(bad...)
		}
		if !set.has("NET_RAW") {
			return measured(o, set, audit.Good(set.facts...))
		}
		return measured(o, set, audit.Bad(set.facts...).Wanting(
			ask(o, inventory.CapDrop.Path, lang.Text{
				En: "Does it send raw packets (ping, traceroute, dhcp, arping)? If not, give the list with NET_RAW.",
				Es: "¿Envía paquetes crudos (ping, traceroute, dhcp, arping)? Si no, dé la lista con NET_RAW.",
			})))
	},
}
