package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// optionICC is the option of a bridge network that lets its containers talk
// to each other (dockerd, drivers/bridge/labels.go).
const optionICC = "com.docker.network.bridge.enable_icc"

var daemonICC = &audit.Check{
	ID:    "daemon-icc",
	Title: lang.Text{En: "Containers on the default bridge reach each other", Es: "Los contenedores del puente por defecto se alcanzan entre sí"},
	Why: lang.Text{
		En: "Every container that names no network lands on the default bridge; one that is broken into reaches every port of all the others there.",
		Es: "Todo contenedor que no nombra una red cae en el puente por defecto; uno comprometido alcanza todos los puertos de los demás.",
	},
	Remedy: lang.Text{
		En: `Set "icc": false in daemon.json and put applications on networks of their own. With live-restore it takes effect only at a restart of the engine during which no container runs.`,
		Es: `Ponga "icc": false en daemon.json y cada aplicación en su propia red. Con live-restore solo surte efecto al reiniciar el motor sin ningún contenedor en marcha.`,
	},
	Severity: audit.Medium,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowSegments.cis("2.2"),
	Kind:     inventory.Daemon,
	Eval:     evalICC,
}

func evalICC(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
	if bridge, fact, _ := inventory.DaemonBridge.Of(o); bridge == "none" {
		return audit.Beside(lang.Text{En: "the engine has no default bridge", Es: "el motor no tiene puente por defecto"}, fact)
	}
	set, fact, ok := inventory.DaemonICC.Of(o)
	evidence := []inventory.Fact{fact}
	live, seen := "", false
	if onlyAsked(s, o) {
		if options, fact, read := inventory.NetworkOptions.Of(s.Find(inventory.Ref{Kind: inventory.Network, Name: "bridge"})); read {
			live, seen = options[optionICC].(string)
			evidence = append(evidence, fact)
		}
	}
	switch {
	case !ok && !seen:
		return audit.Untold(evidence...)
	case ok && set, !ok && live != "false": // unread, as it is after somebody broke the file: still to be set there
		return audit.Bad(evidence...).Wanting(audit.Want{
			Ref: o.Ref, Field: inventory.DaemonICC.Path, Value: false,
			Breaks: lang.Text{
				En: "Containers on the default bridge that talk to each other by address no longer do; networks made by users are not touched.",
				Es: "Los contenedores del puente por defecto que se hablan por dirección dejan de hacerlo; las redes creadas por usuarios no se tocan.",
			},
		})
	case seen && live != "false":
		return audit.Bad(evidence...).Because(lang.Text{
			En: "the key is set, but the bridge is still open: restart the engine once while no container runs",
			Es: "la clave está puesta, pero el puente sigue abierto: reinicie el motor una vez sin contenedores en marcha",
		})
	}
	return audit.Good(evidence...)
}
