package checks

import (
	"maps"
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var daemonLogShipping = &audit.Check{
	ID:    "daemon-log-shipping",
	Title: lang.Text{En: "Logs of containers stay on the host", Es: "Los registros de los contenedores se quedan en el anfitrión"},
	Why: lang.Text{
		En: "Who takes the host takes the logs with it, and `docker rm` deletes them with the container.",
		Es: "Quien toma el anfitrión se lleva los registros, y `docker rm` los borra con el contenedor.",
	},
	Remedy: lang.Text{
		En: `Set "log-driver" and "log-opts" in daemon.json to a collector on another host, or use journald or syslog and forward those.`,
		Es: `Ponga en "log-driver" y "log-opts" de daemon.json un recolector en otro anfitrión, o use journald o syslog y reenvíelos.`,
	},
	Severity: audit.Medium,
	Domains:  []audit.Domain{audit.Supervision, audit.Operations},
	Controls: rowLogStore.cis("2.14"),
	Kind:     inventory.Daemon,
	Eval:     evalLogShipping,
}

// remoteLog names, for a log driver that sends to a collector, the option
// with its address (docs.docker.com, "Configure logging drivers"). Drivers of
// one vendor's service have none: they cannot but leave the host.
var remoteLog = map[string]string{
	"syslog": "syslog-address", "gelf": "gelf-address", "fluentd": "fluentd-address", "splunk": "splunk-url",
	"awslogs": "", "gcplogs": "", "etwlogs": "", "logentries": "",
}

func evalLogShipping(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
	driver, evidence, ok := logDriver(o)
	if !ok {
		return audit.Untold(evidence...)
	}
	if driver == "json-file" || driver == "local" || driver == "none" {
		return audit.Bad(evidence...).Wanting(audit.Want{
			Ref: o.Ref, Field: inventory.DaemonLogDriver.Path,
			Ask: lang.Text{
				En: "Which log driver takes this host's logs away (syslog, gelf, fluentd, splunk, journald with forwarding)?",
				Es: "¿Qué controlador de registro saca los registros de este anfitrión (syslog, gelf, fluentd, splunk, journald con reenvío)?",
			},
			Breaks: textOnlyNew,
		}, audit.Want{
			Ref: o.Ref, Field: inventory.DaemonLogOpts.Path,
			Ask: lang.Text{
				En: `With which options? The driver needs its collector's address: {"syslog-address":"tcp://logs.example:514"}; {} for one that needs none.`,
				Es: `¿Con qué opciones? El controlador necesita la dirección de su recolector: {"syslog-address":"tcp://logs.example:514"}; {} para uno que no necesita ninguna.`,
			},
			Breaks: textOnlyNew,
		})
	}
	opts, fact, optsOK := inventory.DaemonLogOpts.Of(o)
	evidence = append(evidence, fact)
	option, sends := remoteLog[driver]
	if sends && option == "" {
		return audit.Good(evidence...)
	}
	if sends && !optsOK {
		return audit.Untold(fact)
	}
	if address, _ := opts[option].(string); sends && address != "" && !localAddress(address) {
		return audit.Good(evidence...)
	}
	return audit.Question(lang.Text{
		En: "Logs go to " + driver + " on this host. Does something forward them to another one, and who checks that it does?",
		Es: "Los registros van a " + driver + " en este anfitrión. ¿Algo los reenvía a otro, y quién comprueba que así sea?",
	}, evidence...)
}

// localAddress reports whether the address of a collector is on this host:
// "unix:///dev/log", "tcp://127.0.0.1:514", "localhost:24224".
func localAddress(address string) bool {
	scheme, rest, has := strings.Cut(address, "://")
	if !has {
		rest = address
	}
	rest, _, _ = strings.Cut(rest, "/")
	return scheme == "unix" || scheme == "unixgram" || rest == "" || loopbackRegistry(rest)
}

// logDriver returns the driver in force: what the engine reports, or else what
// it is configured with.
func logDriver(o *inventory.Object) (driver string, evidence []inventory.Fact, ok bool) {
	said, fact, ok := inventory.DaemonLoggingDriver.Of(o)
	if ok {
		return said, []inventory.Fact{fact}, true
	}
	set, setFact, ok := inventory.DaemonLogDriver.Of(o)
	return set, []inventory.Fact{fact, setFact}, ok
}

var daemonLogBounds = &audit.Check{
	ID:    "daemon-log-bounds",
	Title: lang.Text{En: "Logs of containers grow without bound", Es: "Los registros de los contenedores crecen sin límite"},
	Why: lang.Text{
		En: "The json-file driver keeps everything unless told otherwise: a container that prints fills the disk, and the engine and its neighbours stop.",
		Es: "El controlador json-file guarda todo si no se le dice otra cosa: un contenedor que imprime llena el disco, y el motor y sus vecinos se detienen.",
	},
	Remedy: lang.Text{
		En: `Set "log-opts": {"max-size": "10m", "max-file": "3"} in daemon.json. Logs that exist are not touched.`,
		Es: `Ponga "log-opts": {"max-size": "10m", "max-file": "3"} en daemon.json. Los registros que existen no se tocan.`,
	},
	Severity: audit.Medium,
	Domains:  []audit.Domain{audit.Operations},
	Controls: rowLogBounds,
	Kind:     inventory.Daemon,
	Eval:     evalLogBounds,
}

func evalLogBounds(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
	driver, evidence, ok := logDriver(o)
	switch {
	case !ok:
		return audit.Untold(evidence...)
	case driver == "local" || driver == "none": // local rotates by default: 5 files of 20 MB
		return audit.Good(evidence...)
	case driver != "json-file":
		return audit.Beside(lang.Text{
			En: driver + " keeps no file of its own that could grow", Es: driver + " no guarda archivo propio que pueda crecer",
		}, evidence...)
	}
	opts, fact, ok := inventory.DaemonLogOpts.Of(o)
	evidence = append(evidence, fact)
	size, _ := opts["max-size"].(string)
	switch {
	case !ok:
		return audit.Untold(evidence...)
	case size != "" && !slices.Contains([]string{"-1", "0"}, size): // -1, the default, is no bound
		return audit.Good(evidence...)
	}
	with := maps.Clone(opts)
	if with == nil {
		with = map[string]any{}
	}
	with["max-size"] = "10m"
	if files, _ := opts["max-file"].(string); files == "" {
		with["max-file"] = "3"
	}
	return audit.Bad(evidence...).Wanting(audit.Want{
		Ref: o.Ref, Field: inventory.DaemonLogOpts.Path, Value: with, Breaks: textOnlyNew,
	})
}
