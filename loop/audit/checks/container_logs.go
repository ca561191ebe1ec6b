package checks

import (
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// What a bounded log of json-file keeps: the example of Docker's manual ("JSON
// File logging driver"), which daemon-log-bounds wants for the engine too.
const (
	logMaxSize = "10m"
	logMaxFile = "3"
)

var containerLogBounds = &audit.Check{
	ID:    "container-log-bounds",
	Title: lang.Text{En: "Container's log grows without bound", Es: "El registro del contenedor crece sin límite"},
	Why: lang.Text{
		En: "Whoever makes it write fills the host's disk, and with it stops every container.",
		Es: "Quien lo haga escribir llena el disco del anfitrión y con ello detiene todos los contenedores.",
	},
	Remedy: lang.Text{
		En: "Set log-opts max-size and max-file in the engine's configuration, and create the container again. No log is deleted for it: ship old ones first.",
		Es: "Ponga log-opts max-size y max-file en la configuración del motor y vuelva a crear el contenedor. No se borra registro alguno: envíe antes los viejos.",
	},
	Severity: audit.Medium,
	Domains:  operates,
	Controls: rowLogBounds,
	Kind:     inventory.Container,
	CausedBy: "daemon-log-bounds",
	Eval:     evalContainerLog,
}

// evalContainerLog judges the drivers that write files without end by themselves:
// only json-file does (Docker manual, "JSON File logging driver": max-size is
// unlimited by default).
func evalContainerLog(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
	driver, fact, ok := inventory.LogDriver.Of(o)
	opts, optFact, okOpts := inventory.LogConfig.Of(o)
	if !ok && settled(o) {
		return audit.Untold(fact)
	}
	evidence := known(fact, optFact)
	if driver == "" { // a request without a driver takes the engine's, and its options
		def, engine, told := inventory.DaemonLogDriver.Of(inventory.EngineOf(s))
		if !told {
			return audit.Untold(engine, fact)
		}
		inherited, engineOpts, told := inventory.DaemonLogOpts.Of(inventory.EngineOf(s))
		driver, evidence = def, append(evidence, known(engine, engineOpts)...)
		if told && len(opts) == 0 {
			opts, okOpts = inherited, true
		}
	}
	switch {
	case driver != "json-file":
		return audit.Good(evidence...)
	case !okOpts:
		return audit.Untold(optFact, fact)
	case sizeBounded(asString(opts["max-size"])):
		return audit.Good(evidence...)
	}
	wanted := map[string]any{"max-file": logMaxFile}
	for k, v := range opts {
		wanted[k] = v
	}
	wanted["max-size"] = logMaxSize
	a := audit.Bad(evidence...)
	if fact.Value != driver { // the options are the driver's, so it must be named with them
		a = a.Wanting(audit.Want{Ref: o.Ref, Field: inventory.LogDriver.Path, Value: driver})
	}
	return a.Wanting(
		audit.Want{Ref: o.Ref, Field: inventory.LogConfig.Path, Value: wanted, Breaks: lang.Text{
			En: "Lines older than the newest 30 MB are no longer kept on the host.",
			Es: "Las líneas anteriores a los últimos 30 MB dejan de guardarse en el anfitrión.",
		}})
}

// sizeBounded reports whether max-size is a size: "", "-1" and "0" bound nothing.
func sizeBounded(size string) bool {
	return strings.Trim(size, "0bBkKmMgGiI. ") != "" && !strings.HasPrefix(size, "-")
}
