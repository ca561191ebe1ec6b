package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var daemonIPTables = &audit.Check{
	ID:    "daemon-iptables",
	Title: lang.Text{En: "Engine may not write its firewall rules", Es: "El motor no puede escribir sus reglas de cortafuegos"},
	Why: lang.Text{
		En: "Without the engine's rules nothing keeps its networks apart, and published ports behave as the host's own rules happen to let them.",
		Es: "Sin las reglas del motor nada separa sus redes, y los puertos publicados se comportan como las reglas del anfitrión acierten a permitir.",
	},
	Remedy: lang.Text{
		En: `Remove "iptables": false from daemon.json or the command line; put rules of your own in DOCKER-USER or in a table of their own.`,
		Es: `Quite "iptables": false de daemon.json o de la línea de órdenes; ponga sus reglas en DOCKER-USER o en una tabla aparte.`,
	},
	Severity: audit.High,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowSegments.cis("2.4"),
	Kind:     inventory.Daemon,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return mustBe(o, heard{}, inventory.DaemonIPTables, true, lang.Text{
			En: "The engine rewrites the host's firewall rules at its restart.",
			Es: "El motor reescribe las reglas del cortafuegos del anfitrión al reiniciar.",
		})
	},
}

var daemonIP6Tables = &audit.Check{
	ID:    "daemon-ip6tables",
	Title: lang.Text{En: "IPv6 networks of containers are not filtered", Es: "Las redes IPv6 de los contenedores no se filtran"},
	Why: lang.Text{
		En: "With ip6tables off, containers on an IPv6 network are reached on every port, published or not, past all that IPv4 rules forbid.",
		Es: "Con ip6tables apagado se alcanza a los contenedores de una red IPv6 en todos sus puertos, publicados o no, pese a las reglas de IPv4.",
	},
	Remedy: lang.Text{
		En: `Set "ip6tables": true in daemon.json (before Engine 27 also "experimental": true), or make the networks without IPv6.`,
		Es: `Ponga "ip6tables": true en daemon.json (antes de Engine 27 también "experimental": true), o cree las redes sin IPv6.`,
	},
	Severity: audit.High,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowSegments,
	Kind:     inventory.Daemon,
	Eval:     evalIP6Tables,
}

func evalIP6Tables(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
	on, fact, ok := inventory.DaemonIP6Tables.Of(o)
	if ok && on {
		return audit.Good(fact)
	}
	var networks []*inventory.Object
	if onlyAsked(s, o) {
		networks = s.Of(inventory.Network)
	}
	evidence := []inventory.Fact{fact}
	for _, n := range networks {
		if v6, fact, _ := inventory.NetworkIPv6.Of(n); v6 {
			evidence = append(evidence, fact)
		}
	}
	switch {
	case !ok, len(networks) == 0:
		return audit.Untold(evidence...).Because(lang.Text{
			En: "the key or the engine's networks could not be read", Es: "no se pudo leer la clave o las redes del motor",
		})
	case len(evidence) == 1:
		return audit.Beside(lang.Text{En: "no network of the engine has IPv6", Es: "ninguna red del motor tiene IPv6"}, fact)
	}
	return audit.Bad(evidence...).Wanting(audit.Want{
		Ref: o.Ref, Field: inventory.DaemonIP6Tables.Path, Value: true,
		Ask: lang.Text{
			En: "Engines before 27 know this key only as an experimental feature. Set it here?",
			Es: "Los motores anteriores al 27 solo conocen esta clave como función experimental. ¿Ponerla aquí?",
		},
	})
}
