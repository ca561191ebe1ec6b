package checks

import (
	"slices"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// closesRouting is the first engine that drops, in the raw table, what other
// hosts route to the address of a container: release notes of Engine 28.0,
// "Security"; allow-direct-routing (28.1) takes that away.
const closesRouting = "28.0.0"

var daemonForward = &audit.Check{
	ID:    "daemon-forward",
	Title: lang.Text{En: "Other hosts reach containers past what is published", Es: "Otros equipos alcanzan contenedores más allá de lo publicado"},
	Why: lang.Text{
		En: "The kernel forwards packets and no chain of the firewall drops by default: a neighbour on the network that sets a route to this host reaches every port of every container, published or not. The engine closes FORWARD only if it turned forwarding on itself.",
		Es: "El núcleo reenvía paquetes y ninguna cadena del cortafuegos descarta por defecto: un vecino de red que ponga una ruta hacia este equipo alcanza todos los puertos de todos los contenedores, publicados o no. El motor cierra FORWARD solo si activó él mismo el reenvío.",
	},
	Remedy: lang.Text{
		En: "Accept in FORWARD what this host routes on purpose, then iptables -P FORWARD DROP, and keep both over a boot (netfilter-persistent, ufw, firewalld); or use an engine from 28 on.",
		Es: "Acepte en FORWARD lo que este equipo reenvía a propósito, luego iptables -P FORWARD DROP, y conserve ambos tras un arranque (netfilter-persistent, ufw, firewalld); o use un motor desde la versión 28.",
	},
	Severity: audit.Medium,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowSegments,
	Kind:     inventory.Daemon,
	Eval:     evalForward,
}

func evalForward(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
	on, onFact, ok := inventory.DaemonForwardIPv4.Of(o)
	chains, fact, read := inventory.DaemonForwardChains.Of(o)
	closed := slices.ContainsFunc(chains, func(c any) bool { return asMap(c)["Ends"] == "drop" })
	switch {
	case !ok || !read:
		return audit.Untold(onFact, fact)
	case !on:
		return audit.Good(onFact)
	case closed:
		return audit.Good(onFact, fact)
	}
	evidence := []inventory.Fact{onFact, fact}
	version, versionFact, told := inventory.DaemonVersion.Of(o)
	rules, rulesFact, _ := inventory.DaemonIPTables.Of(o)
	if told && compareVersions(version, closesRouting) >= 0 {
		routed, routedFact, _ := inventory.DaemonDirectRouting.Of(o)
		evidence = append(evidence, known(versionFact, rulesFact, routedFact)...)
		if rules && !routed {
			return audit.Good(evidence...).Because(lang.Text{
				En: "the engine itself drops what is routed to a container", Es: "el propio motor descarta lo que se encamina a un contenedor",
			})
		}
	}
	return audit.Bad(evidence...).Because(lang.Text{
		En: "rules of your own for single interfaces or addresses were not weighed", Es: "no se ponderaron reglas propias para interfaces o direcciones sueltas",
	})
}
