package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var dataRootFilesystem = &audit.Check{
	ID:    "data-root-filesystem",
	Title: lang.Text{En: "Data of containers share the host's root file system", Es: "Los datos de los contenedores comparten el sistema de archivos raíz"},
	Why: lang.Text{
		En: "Images, logs and volumes that grow fill the file system that the host itself needs to run, to log and to be logged in to.",
		Es: "Imágenes, registros y volúmenes que crecen llenan el sistema de archivos que el propio anfitrión necesita para correr, registrar y dejar entrar.",
	},
	Remedy: lang.Text{
		En: `Make a volume of its own, stop the engine, copy its data root over with all attributes, mount it there (or name it in "data-root"), start the engine.`,
		Es: `Cree un volumen propio, detenga el motor, copie su raíz de datos con todos los atributos, móntelo allí (o nómbrelo en "data-root") e inicie el motor.`,
	},
	Severity: audit.Low,
	Domains:  []audit.Domain{audit.Operations},
	Controls: rowResources.cis("1.1.1"),
	Kind:     inventory.Daemon,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		// Devices are compared, not mount points: the engine mounts its data
		// root upon itself when the mount above is not shared.
		_, fact, ok := inventory.DaemonDataRoot.Of(o)
		dev, _, devOK := inventory.Field[int64]{Kind: inventory.Daemon, Path: "DataRoot.Dev"}.Of(o)
		root, _, rootOK := inventory.Field[int64]{Kind: inventory.Daemon, Path: "DataRoot.RootDev"}.Of(o)
		switch {
		case !ok || !devOK || !rootOK:
			if fact.Err == "" {
				fact.Err = "lacks the device of the data root or of /"
			}
			return audit.Untold(fact)
		case dev == root:
			return audit.Bad(fact)
		}
		return audit.Good(fact)
	},
}
