package checks

import (
	"slices"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var swarmOverlayEncryption = &audit.Check{
	ID:    "swarm-overlay-encryption",
	Title: lang.Text{En: "Overlay networks carry traffic in the clear", Es: "Redes overlay llevan el tráfico en claro"},
	Why: lang.Text{
		En: "Whoever is on the wire between two nodes reads and forges what containers say to each other: VXLAN has no protection of its own.",
		Es: "Quien esté en el cable entre dos nodos lee y falsifica lo que se dicen los contenedores: VXLAN no se protege solo.",
	},
	Remedy: lang.Text{
		En: "Create the network again with --opt encrypted and move its services; measure the loss of throughput first.",
		Es: "Vuelva a crear la red con --opt encrypted y traslade sus servicios; mida antes la pérdida de rendimiento.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowOverlay.cis("7.3"),
	Kind:     inventory.Daemon,
	Eval:     inSwarm(everyNode, evalOverlays),
}

func evalOverlays(s *inventory.Snapshot, o, _ *inventory.Object) audit.Answer {
	var plain, sealed, dark []inventory.Fact
	for _, n := range overlays(s) {
		if ingress, fact, ok := inventory.NetworkIngress.Of(n); !ok {
			dark = append(dark, fact)
			continue
		} else if ingress {
			continue // swarm-ingress-encryption
		}
		switch encrypted, fact, ok := encryption(n); {
		case !ok:
			dark = append(dark, fact)
		case encrypted:
			sealed = append(sealed, fact)
		default:
			plain = append(plain, fact)
		}
	}
	switch {
	case len(plain) > 0:
		return audit.Bad(plain...)
	case len(dark) > 0:
		return audit.Untold(dark...)
	case len(sealed) == 0:
		_, state, _ := inventory.DaemonSwarmState.Of(o)
		return audit.Beside(lang.Text{En: "there is no overlay network but the ingress", Es: "no hay más red overlay que la de entrada"}, state)
	}
	return audit.Good(sealed...)
}

// overlays returns the networks of the overlay driver that swarm services use.
func overlays(s *inventory.Snapshot) []*inventory.Object {
	return slices.DeleteFunc(slices.Clone(s.Of(inventory.Network)), func(n *inventory.Object) bool {
		driver, _, _ := inventory.NetworkDriver.Of(n)
		return driver != "overlay"
	})
}

// encryption reports whether an overlay network is encrypted: its option
// "encrypted" is there. The engine does not look at the option's value, so
// encrypted=false encrypts too (moby, drivers/overlay/ov_network.go).
func encryption(n *inventory.Object) (on bool, fact inventory.Fact, ok bool) {
	options, fact, ok := inventory.NetworkOptions.Of(n)
	_, on = options["encrypted"]
	return on, fact, ok
}

var swarmIngressEncryption = &audit.Check{
	ID:    "swarm-ingress-encryption",
	Title: lang.Text{En: "Published ports of services cross the cluster in the clear", Es: "Los puertos publicados de servicios cruzan el clúster en claro"},
	Why: lang.Text{
		En: "The ingress network passes a request from the node that took it to the node that serves it; without TLS in the application it can be read on the way.",
		Es: "La red de entrada pasa una petición del nodo que la tomó al que la sirve; sin TLS en la aplicación se puede leer en el camino.",
	},
	Remedy: lang.Text{
		En: "Publish services that speak TLS, publish with mode=host, or create the ingress network again with --opt encrypted.",
		Es: "Publique servicios que hablen TLS, publique con mode=host o vuelva a crear la red de entrada con --opt encrypted.",
	},
	Severity: audit.Low,
	Domains:  secures,
	Controls: rowOverlay.cis("7.3"),
	Kind:     inventory.Daemon,
	Eval:     inSwarm(managers, evalIngress),
}

// evalIngress judges the ingress apart from other overlays: every swarm has
// one, unencrypted, and it matters once a service publishes through it and
// there is another node to reach.
func evalIngress(s *inventory.Snapshot, o, swarm *inventory.Object) audit.Answer {
	nodes, count, ok := inventory.SwarmNodes.Of(swarm)
	if !ok {
		return audit.Untold(count)
	}
	if count = with(count, len(nodes)); len(nodes) < 2 {
		return audit.Beside(lang.Text{En: "the swarm has one node: nothing crosses a wire", Es: "el swarm tiene un nodo: nada cruza un cable"}, count)
	}
	through := publishedThroughIngress(s)
	if len(through) == 0 {
		return audit.Beside(lang.Text{En: "no service publishes through it", Es: "ningún servicio publica por ella"}, count)
	}
	for _, n := range overlays(s) {
		if ingress, _, _ := inventory.NetworkIngress.Of(n); !ingress {
			continue
		}
		switch encrypted, fact, ok := encryption(n); {
		case !ok:
			return audit.Untold(fact)
		case encrypted:
			return audit.Good(fact)
		default:
			return audit.Bad(append([]inventory.Fact{fact}, through...)...)
		}
	}
	return audit.Untold(count).Because(lang.Text{En: "the ingress network was not read", Es: "no se leyó la red de entrada"})
}

func publishedThroughIngress(s *inventory.Snapshot) (through []inventory.Fact) {
	for _, svc := range s.Of(inventory.Service) {
		ports, fact, _ := inventory.ServicePorts.Of(svc)
		if slices.ContainsFunc(ports, func(p any) bool { return asString(asMap(p)["PublishMode"]) == "ingress" }) {
			through = append(through, fact)
		}
	}
	return through
}
