package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var daemonLogLevel = &audit.Check{
	ID:    "daemon-log-level",
	Title: lang.Text{En: "Engine does not log at level info", Es: "El motor no registra en nivel info"},
	Why: lang.Text{
		En: "Below info the log lacks what an investigation needs; debug fills it with noise and with the content of requests.",
		Es: "Por encima de info faltan en el registro datos para investigar; debug lo llena de ruido y del contenido de las peticiones.",
	},
	Remedy: lang.Text{
		En: `Set "log-level": "info" and "debug": false in daemon.json.`,
		Es: `Ponga "log-level": "info" y "debug": false en daemon.json.`,
	},
	Severity: audit.Low,
	Domains:  []audit.Domain{audit.Operations, audit.Supervision},
	Controls: rowLog.cis("2.3"),
	Kind:     inventory.Daemon,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		level, levelFact, levelOK := inventory.DaemonLogLevel.Of(o)
		debug, debugFact, debugOK := inventory.DaemonDebug.Of(o)
		var wants []audit.Want
		if levelOK && level != "info" {
			wants = append(wants, audit.Want{Ref: o.Ref, Field: inventory.DaemonLogLevel.Path, Value: "info"})
		}
		if debugOK && debug {
			wants = append(wants, audit.Want{Ref: o.Ref, Field: inventory.DaemonDebug.Path, Value: false})
		}
		switch {
		case len(wants) > 0:
			return audit.Bad(levelFact, debugFact).Wanting(wants...)
		case !levelOK || !debugOK:
			return audit.Untold(levelFact, debugFact)
		}
		return audit.Good(levelFact, debugFact)
	},
}
