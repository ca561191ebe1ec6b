package checks

import (
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// Drivers that the engine has dropped: aufs in Engine 24, devicemapper in
// Engine 25 (docs.docker.com/engine/deprecated).
var daemonAUFS = driverGone("daemon-aufs", "2.6", "aufs",
	lang.Text{En: "Engine keeps its data with the aufs driver", Es: "El motor guarda sus datos con el controlador aufs"})

var daemonDeviceMapper = driverGone("daemon-devicemapper", "2.7", "devicemapper",
	lang.Text{En: "Engine keeps its data with the devicemapper driver", Es: "El motor guarda sus datos con el controlador devicemapper"})

func driverGone(id, number, driver string, title lang.Text) *audit.Check {
	return &audit.Check{
		ID: id, Title: title,
		Why: lang.Text{
			En: "The driver gets no more fixes and newer engines lack it: the host is held back on an engine with known holes.",
			Es: "El controlador ya no recibe arreglos y los motores nuevos no lo traen: el anfitrión queda atado a un motor con fallos conocidos.",
		},
		Remedy: lang.Text{
			En: "Save images and volumes, set \"storage-driver\": \"overlay2\" in daemon.json, restart the engine, and load them again; the old driver's data is not visible to the new one.",
			Es: "Guarde imágenes y volúmenes, ponga \"storage-driver\": \"overlay2\" en daemon.json, reinicie el motor y cárguelos de nuevo; el nuevo controlador no ve los datos del viejo.",
		},
		Severity: audit.Medium,
		Domains:  []audit.Domain{audit.Operations, audit.Security},
		Controls: rowEngineFlaws.cis(number),
		Kind:     inventory.Daemon,
		Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
			got, fact, ok := inventory.DaemonStorageDriver.Of(o)
			switch {
			case !ok:
				return audit.Untold(fact)
			case got == driver:
				return audit.Bad(fact)
			}
			return audit.Good(fact)
		},
	}
}

var daemonStorageBaseSize = &audit.Check{
	ID:    "daemon-storage-basesize",
	Title: lang.Text{En: "Base size of containers was raised", Es: "Se aumentó el tamaño base de los contenedores"},
	Why: lang.Text{
		En: "A larger base device lets one container fill the pool that all of them share.",
		Es: "Con un dispositivo base mayor, un solo contenedor puede llenar el espacio que comparten todos.",
	},
	Remedy: lang.Text{
		En: `Drop dm.basesize from "storage-opts" in daemon.json.`,
		Es: `Quite dm.basesize de "storage-opts" en daemon.json.`,
	},
	Severity: audit.Low,
	Domains:  []audit.Domain{audit.Operations},
	Controls: rowResources.cis("2.12"),
	Kind:     inventory.Daemon,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		driver, driverFact, ok := inventory.DaemonStorageDriver.Of(o)
		if ok && driver != "devicemapper" {
			return audit.Beside(lang.Text{En: "only the devicemapper driver has a base size", Es: "solo el controlador devicemapper tiene tamaño base"}, driverFact)
		}
		opts, fact, has := inventory.DaemonStorageOpts.Of(o)
		if !ok || !has {
			return audit.Untold(driverFact, fact)
		}
		i := slices.IndexFunc(opts, func(opt string) bool { return strings.HasPrefix(opt, "dm.basesize=") })
		if i < 0 {
			return audit.Good(driverFact, fact)
		}
		return audit.Bad(driverFact, fact).Wanting(audit.Want{
			Ref: o.Ref, Field: inventory.DaemonStorageOpts.Path, Op: audit.Remove, Value: opts[i],
		})
	},
}
