package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var operationsSwarm = &audit.Check{
	ID:    "operations-swarm",
	Title: lang.Text{En: "Swarm mode is on and may not be wanted", Es: "El modo swarm está encendido y quizá nadie lo quiere"},
	Why: lang.Text{
		En: "It opens ports for the cluster, turns live-restore off, and lets the other managers run anything on this host.",
		Es: "Abre puertos para el clúster, anula live-restore y deja que los otros gestores ejecuten lo que sea en este anfitrión.",
	},
	Remedy: lang.Text{
		En: "If nobody needs it, move the services and run docker swarm leave --force.",
		Es: "Si nadie lo necesita, traslade los servicios y ejecute docker swarm leave --force.",
	},
	Severity: audit.Medium,
	Domains:  operates,
	Controls: rowLeastFunction.cis("5.1"),
	Kind:     inventory.Daemon,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		active, fact := swarmActive(o)
		switch {
		case fact.Err != "":
			return audit.Untold(fact)
		case !active:
			return audit.Good(fact)
		}
		return audit.Question(lang.Text{
			En: "This host is a node of a swarm: is that intended, and who runs the cluster?",
			Es: "Este anfitrión es nodo de un swarm: ¿es a propósito, y quién administra el clúster?",
		}, fact)
	},
}
