package checks

import (
	"slices"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// Measured: `docker run -v /run/containerd/containerd.sock:/s` on a host where
// the path is free makes a directory of it, and an engine 20.10 without
// --containerd then fails to start.
var fileSocketDirectory = &audit.Check{
	ID:    "file-socket-directory",
	Title: lang.Text{En: "A directory stands where a socket belongs", Es: "Hay un directorio donde va un socket"},
	Why: lang.Text{
		En: "A bind mount of a socket that was not there has left a directory of root's in its place; the service that wants to listen there does not come up at its next start.",
		Es: "Un montaje de un socket que no existía dejó en su lugar un directorio de root; el servicio que quiere escuchar allí no arranca la próxima vez.",
	},
	Remedy: lang.Text{
		En: "Stop and remove the container that mounts it, rmdir the path, start the service; mount sockets with --mount, which refuses a source that is not there.",
		Es: "Detenga y elimine el contenedor que lo monta, haga rmdir de la ruta, inicie el servicio; monte sockets con --mount, que rechaza un origen inexistente.",
	},
	Severity: audit.Medium,
	Domains:  []audit.Domain{audit.Operations},
	Controls: rowAvailability,
	Kind:     inventory.File,
	About: func(_ *inventory.Snapshot, o *inventory.Object) bool {
		roles, _, _ := inventory.FileRoles.Of(o)
		return slices.Contains(roles, "docker-socket") || slices.Contains(roles, "containerd-socket")
	},
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		exists, fact, ok := inventory.FileExists.Of(o)
		if ok && !exists {
			return audit.Beside(lang.Text{En: "there is no such file", Es: "no existe tal archivo"}, fact)
		}
		kind, kindFact, known := inventory.FileType.Of(o)
		switch {
		case !known:
			return audit.Untold(fact, kindFact)
		case kind == "dir":
			return audit.Bad(kindFact)
		}
		return audit.Good(kindFact)
	},
}
