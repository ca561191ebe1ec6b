package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var daemonUsernsRemap = &audit.Check{
	ID:    "daemon-userns-remap",
	Title: lang.Text{En: "Root of a container is root of the host", Es: "El root de un contenedor es el root del anfitrión"},
	Why: lang.Text{
		En: "Without a user namespace, a process that gets out of its container as uid 0 is uid 0 outside; most escapes of the last years (runc's file writes among them) fail against a remapped root.",
		Es: "Sin espacio de nombres de usuario, un proceso que sale de su contenedor como uid 0 es uid 0 fuera; la mayoría de los escapes de los últimos años (como las escrituras de runc) fallan contra un root remapeado.",
	},
	Remedy: lang.Text{
		En: `Set "userns-remap": "default" in daemon.json, with ranges in /etc/subuid and /etc/subgid. The engine then starts with an empty store: move images and volumes over.`,
		Es: `Ponga "userns-remap": "default" en daemon.json, con rangos en /etc/subuid y /etc/subgid. El motor arranca entonces con un almacén vacío: traslade imágenes y volúmenes.`,
	},
	Severity: audit.Medium,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowConfinement.cis("2.10"),
	Kind:     inventory.Daemon,
	Eval:     evalUsernsRemap,
}

func evalUsernsRemap(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
	if is, fact, _ := rootless(o); is {
		return audit.Good(fact) // root of its containers is the engine's user
	}
	_, on, said, saidOK := securityOption(o, "userns")
	set, fact, has := inventory.DaemonUsernsRemap.Of(o)
	switch {
	case !saidOK && !has:
		return audit.Untold(said, fact)
	case saidOK && on, !saidOK && set != "":
		return audit.Good(said, fact)
	}
	a := audit.Bad(said, fact).Wanting(audit.Want{
		Ref: o.Ref, Field: inventory.DaemonUsernsRemap.Path, Value: "default",
		Ask: lang.Text{
			En: "Existing images, containers and anonymous volumes disappear from view until they are moved. Remap now?",
			Es: "Las imágenes, contenedores y volúmenes anónimos existentes dejan de verse hasta trasladarlos. ¿Remapear ahora?",
		},
		Breaks: lang.Text{
			En: "Files on bind mounts belong to other user IDs than before; containers with the host's PID or network namespace need --userns=host.",
			Es: "Los archivos montados pertenecen a otros ID de usuario que antes; los contenedores con el espacio de PID o red del anfitrión necesitan --userns=host.",
		},
	})
	if set != "" {
		a = a.Because(textPending)
	}
	return a
}
