package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var daemonCgroupParent = &audit.Check{
	ID:    "daemon-cgroup-parent",
	Title: lang.Text{En: "Containers are put under another control group", Es: "Los contenedores se ponen bajo otro grupo de control"},
	Why: lang.Text{
		En: "Containers share the limits of the group they are put under; a group nobody watches may be unlimited, or starve its neighbours.",
		Es: "Los contenedores comparten los límites del grupo en que se ponen; un grupo que nadie vigila puede no tener límite, o ahogar a sus vecinos.",
	},
	Remedy: lang.Text{
		En: `Drop "cgroup-parent" from daemon.json and --cgroup-parent from the unit, unless the group's limits are set on purpose; then accept the risk with that reason.`,
		Es: `Quite "cgroup-parent" de daemon.json y --cgroup-parent de la unidad, salvo que los límites del grupo sean intencionales; entonces acepte el riesgo con ese motivo.`,
	},
	Severity: audit.Low,
	Domains:  []audit.Domain{audit.Operations},
	Controls: rowResources.cis("2.11"),
	Kind:     inventory.Daemon,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		parent, fact, ok := inventory.DaemonCgroupParent.Of(o)
		if !ok {
			return audit.Untold(fact)
		}
		switch parent {
		case "", "/docker", "docker", "system.slice": // the defaults of dockerd(8)
			return audit.Good(fact)
		}
		if is, rootlessFact, _ := rootless(o); is && parent == "user.slice" { // the default of a rootless engine
			return audit.Good(fact, rootlessFact)
		}
		return audit.Bad(fact).Wanting(audit.Want{
			Ref: o.Ref, Field: inventory.DaemonCgroupParent.Path, Value: "",
			Breaks: lang.Text{
				En: "Limits set on the group no longer hold for new containers.",
				Es: "Los límites puestos en el grupo dejan de valer para los contenedores nuevos.",
			},
		})
	},
}
