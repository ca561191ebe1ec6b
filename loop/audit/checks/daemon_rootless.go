package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var daemonRootless = &audit.Check{
	ID:    "daemon-rootless",
	Title: lang.Text{En: "Engine runs as root", Es: "El motor se ejecuta como root"},
	Why: lang.Text{
		En: "Who breaks out of a container, or into the engine, of a rootful engine is root on the host; of a rootless one, an unprivileged user.",
		Es: "Quien sale de un contenedor, o entra en el motor, es root en el anfitrión si el motor corre como root; si no, un usuario sin privilegios.",
	},
	Remedy: lang.Text{
		En: "If no workload needs root's network or devices, set up rootless mode (dockerd-rootless-setuptool.sh) under an account of its own and move the containers there.",
		Es: "Si ninguna carga necesita la red o los dispositivos de root, instale el modo sin root (dockerd-rootless-setuptool.sh) con una cuenta propia y mueva allí los contenedores.",
	},
	Severity: audit.Medium,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowConfinement.cis("2.1"),
	Kind:     inventory.Daemon,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		is, fact, ok := rootless(o)
		if !ok {
			return audit.Untold(fact)
		}
		if is {
			return audit.Good(fact)
		}
		evidence := []inventory.Fact{fact}
		if _, remapped, options, ok := securityOption(o, "userns"); ok && remapped {
			evidence = append(evidence, options)
		}
		return audit.Question(lang.Text{
			En: "Can the work of this host run on a rootless engine (no ports below 1024, no host devices, no host network of root)?",
			Es: "¿Puede el trabajo de este anfitrión correr en un motor sin root (sin puertos por debajo de 1024, sin dispositivos ni red de root)?",
		}, evidence...)
	},
}
