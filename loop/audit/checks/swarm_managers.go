package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// maxManagers is the most that Docker advises ("Administer and maintain a
// swarm of Docker Engines": an odd number, seven at most).
const maxManagers = 7

var swarmManagers = &audit.Check{
	ID:    "swarm-managers",
	Title: lang.Text{En: "Swarm has a wrong number of managers", Es: "El swarm tiene un número equivocado de gestores"},
	Why: lang.Text{
		En: "Each manager holds the keys of the cluster; an even number adds one more to break into and no tolerance of failure.",
		Es: "Cada gestor tiene las claves del clúster; un número par añade uno más que atacar y ninguna tolerancia a fallos.",
	},
	Remedy: lang.Text{
		En: "Demote nodes until an odd number of at most seven managers is left: docker node demote NODE.",
		Es: "Degrade nodos hasta que quede un número impar de a lo sumo siete gestores: docker node demote NODO.",
	},
	Severity: audit.Medium,
	Domains:  operates,
	Controls: rowEngineAccess.cis("7.1"),
	Kind:     inventory.Daemon,
	Eval: inSwarm(managers, func(_ *inventory.Snapshot, _, swarm *inventory.Object) audit.Answer {
		n, fact, ok := inventory.SwarmManagers.Of(swarm)
		switch {
		case !ok || n <= 0:
			return audit.Untold(fact)
		case n > maxManagers:
			return audit.Bad(fact).Because(lang.Text{En: "more than seven", Es: "más de siete"})
		case n%2 == 0:
			return audit.Bad(fact).Because(lang.Text{En: "an even number", Es: "un número par"})
		}
		return audit.Good(fact)
	}),
}
