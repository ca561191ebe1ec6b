package checks

import (
	"maps"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var daemonDefaultUlimits = &audit.Check{
	ID:    "daemon-default-ulimits",
	Title: lang.Text{En: "Containers have no default limit of open files", Es: "Los contenedores no tienen un límite por defecto de archivos abiertos"},
	Why: lang.Text{
		En: "A container without a limit inherits the engine's own, often a million or none: one that leaks or is made to leak uses up the host's file handles.",
		Es: "Un contenedor sin límite hereda el del motor, a menudo un millón o ninguno: uno que pierde descriptores, o al que se fuerza a ello, agota los del anfitrión.",
	},
	Remedy: lang.Text{
		En: `Set "default-ulimits" in daemon.json, at least nofile. Do not set nproc: it counts all processes of a user ID over all containers; use a PIDs limit.`,
		Es: `Ponga "default-ulimits" en daemon.json, al menos nofile. No ponga nproc: cuenta los procesos de un usuario en todos los contenedores; use un límite de PIDs.`,
	},
	Severity: audit.Low,
	Domains:  []audit.Domain{audit.Operations, audit.Security},
	Controls: rowResources.cis("2.9"),
	Kind:     inventory.Daemon,
	Eval:     evalDefaultUlimits,
}

// defaultNoFile is the value of the example in dockerd(8), default-ulimits.
const defaultNoFile = 64000

func evalDefaultUlimits(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
	limits, fact, ok := inventory.DaemonUlimits.Of(o)
	if !ok {
		return audit.Untold(fact)
	}
	nofile, _ := limits["nofile"].(map[string]any)
	hard, _, has := inventory.Field[int64]{Kind: inventory.Daemon, Path: "Hard"}.Of(&inventory.Object{Fields: nofile})
	if has && hard > 0 {
		return audit.Good(fact)
	}
	with := maps.Clone(limits)
	if with == nil {
		with = map[string]any{}
	}
	own, ownFact, told := inventory.DaemonNoFile.Of(o)
	most := min(own, defaultNoFile)
	with["nofile"] = map[string]any{"Name": "nofile", "Soft": most, "Hard": most}
	var suggestion any
	if told { // more than its own, an engine without CAP_SYS_RESOURCE cannot give: no container would start
		suggestion = with
	}
	return audit.Bad(fact, ownFact).Wanting(audit.Want{
		Ref: o.Ref, Field: inventory.DaemonUlimits.Path, Value: suggestion,
		Ask: lang.Text{
			En: "How many open files may a container have at most? Databases and proxies may need more than the suggestion.",
			Es: "¿Cuántos archivos abiertos puede tener un contenedor como máximo? Bases de datos y proxies pueden necesitar más que lo sugerido.",
		},
		Breaks: textOnlyNew,
	})
}
