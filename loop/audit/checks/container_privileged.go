package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var containerPrivileged = &audit.Check{
	ID:    "container-privileged",
	Title: lang.Text{En: "Container runs privileged", Es: "El contenedor se ejecuta en modo privilegiado"},
	Why: lang.Text{
		En: "A privileged container holds every capability, sees every device of the host and runs without seccomp and AppArmor; who breaks into it owns the host.",
		Es: "Un contenedor privilegiado tiene todas las capacidades, ve todos los dispositivos del anfitrión y corre sin seccomp ni AppArmor; quien entra en él es dueño del anfitrión.",
	},
	Remedy: lang.Text{
		En: "Create the container again without --privileged; grant single capabilities or devices if it needs them.",
		Es: "Vuelva a crear el contenedor sin --privileged; conceda capacidades o dispositivos sueltos si los necesita.",
	},
	Severity: audit.Critical,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowConfinement.cis("5.5"),
	Kind:     inventory.Container,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		a := audit.Must(inventory.Privileged, false)(nil, o)
		for i := range a.Wants {
			a.Wants[i].Breaks = losesPrivileges
		}
		return a
	},
}
