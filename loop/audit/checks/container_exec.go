package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// What is started in a container later has rights of its own, which nothing
// that can be read of the container shows. A person answers from the records
// of admission or of the host's audit.
var containerExecPrivileged = &audit.Check{
	ID:    "container-exec-privileged",
	Title: lang.Text{En: "Privileged commands are run in the container", Es: "Se ejecutan órdenes privilegiadas en el contenedor"},
	Why: lang.Text{
		En: "docker exec --privileged gives a process all capabilities, whatever the container was allowed.",
		Es: "docker exec --privileged da a un proceso todas las capacidades, sea lo que sea lo permitido al contenedor.",
	},
	Remedy: lang.Text{
		En: "Refuse privileged exec at admission, and review the records of exec.",
		Es: "Rechace en la admisión el exec privilegiado y revise los registros de exec.",
	},
	Severity: audit.Medium,
	Domains:  []audit.Domain{audit.Security, audit.Supervision},
	Controls: rowEngineAccess.cis("5.23"),
	Kind:     inventory.Container,
	Eval: manually(lang.Text{
		En: "Do the records of admission or of the host's audit show docker exec --privileged in it, and who allowed it?",
		Es: "¿Muestran los registros de admisión o la auditoría del anfitrión docker exec --privileged en él, y quién lo permitió?",
	}),
}

var containerExecRoot = &audit.Check{
	ID:    "container-exec-root",
	Title: lang.Text{En: "Commands are run in the container as root", Es: "Se ejecutan órdenes como root en el contenedor"},
	Why: lang.Text{
		En: "docker exec --user root undoes the ordinary user that the service was given.",
		Es: "docker exec --user root deshace el usuario corriente que se dio al servicio.",
	},
	Remedy: lang.Text{
		En: "Refuse exec as root at admission, and review the records of exec.",
		Es: "Rechace en la admisión el exec como root y revise los registros de exec.",
	},
	Severity: audit.Low,
	Domains:  []audit.Domain{audit.Security, audit.Supervision},
	Controls: rowEngineAccess.cis("5.24"),
	Kind:     inventory.Container,
	Eval: manually(lang.Text{
		En: "Do the records of admission or of the host's audit show docker exec --user root in it, and what for?",
		Es: "¿Muestran los registros de admisión o la auditoría del anfitrión docker exec --user root en él, y para qué?",
	}),
}

func manually(question lang.Text) func(*inventory.Snapshot, *inventory.Object) audit.Answer {
	return func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		_, user, _ := inventory.User.Of(o)
		_, running, _ := inventory.Running.Of(o)
		return audit.Question(question, user, running)
	}
}
