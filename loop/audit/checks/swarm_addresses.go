package checks

import (
	"fmt"
	"net/netip"
	"slices"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var swarmListen = &audit.Check{
	ID:    "swarm-listen",
	Title: lang.Text{En: "Swarm listens on every address of the host", Es: "Swarm escucha en todas las direcciones del anfitrión"},
	Why: lang.Text{
		En: "The cluster's control port can be reached from networks that have no business with it.",
		Es: "Se llega al puerto de control del clúster desde redes que nada tienen que ver con él.",
	},
	Remedy: lang.Text{
		En: "Let the node leave and join again with --listen-addr ADDRESS:2377, one node after the other.",
		Es: "Haga que el nodo salga y vuelva a unirse con --listen-addr DIRECCIÓN:2377, un nodo tras otro.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowHostPorts.cis("7.2"),
	Kind:     inventory.Daemon,
	Eval:     inSwarm(everyNode, evalSwarmListen),
}

// The ports of a swarm that dockerd itself listens on: 2377 control, 7946
// gossip. 4789 is the kernel's VXLAN socket, which has no address to choose.
var swarmPorts = []int64{2377, 7946}

func evalSwarmListen(_ *inventory.Snapshot, _, swarm *inventory.Object) audit.Answer {
	listen, fact, ok := inventory.SwarmListen.Of(swarm)
	if !ok {
		return audit.Untold(fact)
	}
	seen, open := false, []any{}
	for _, l := range listen {
		port, _ := asInt(asMap(l)["Port"])
		if !slices.Contains(swarmPorts, port) {
			continue
		}
		seen = true
		if addr, err := netip.ParseAddr(asString(asMap(l)["Addr"])); err != nil || addr.IsUnspecified() {
			open = append(open, l)
		}
	}
	switch {
	case len(open) > 0:
		return audit.Bad(with(fact, open))
	case !seen:
		return audit.Untold(fact).Because(lang.Text{
			En: fmt.Sprintf("no socket on ports %v was seen", swarmPorts),
			Es: fmt.Sprintf("no se vio ningún socket en los puertos %v", swarmPorts),
		})
	}
	return audit.Good(fact)
}

var swarmDataPath = &audit.Check{
	ID:    "swarm-data-path",
	Title: lang.Text{En: "Swarm control and application traffic share one network", Es: "El control de Swarm y el tráfico de aplicaciones comparten red"},
	Why: lang.Text{
		En: "Who reaches the applications' network also reaches the network that steers the cluster, and a flood of one stops the other.",
		Es: "Quien llega a la red de aplicaciones llega también a la que gobierna el clúster, y una avalancha en una detiene la otra.",
	},
	Remedy: lang.Text{
		En: "Give each node a second interface and join again with --data-path-addr.",
		Es: "Dé a cada nodo una segunda interfaz y vuelva a unirlo con --data-path-addr.",
	},
	Severity: audit.Low,
	Domains:  secures,
	Controls: rowSegments.cis("7.9"),
	Kind:     inventory.Daemon,
	Eval: inSwarm(everyNode, func(_ *inventory.Snapshot, _, swarm *inventory.Object) audit.Answer {
		data, fact, ok := inventory.SwarmDataPathAddr.Of(swarm)
		control, node, okNode := inventory.SwarmNodeAddr.Of(swarm)
		switch {
		case !ok || !okNode:
			return audit.Untold(fact, node)
		case data == "" || data == control:
			return audit.Bad(fact, node)
		}
		return audit.Good(fact, node)
	}),
}
