package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var daemonNoNewPrivileges = &audit.Check{
	ID:    "daemon-no-new-privileges",
	Title: lang.Text{En: "Processes of containers may gain privileges by default", Es: "Los procesos de los contenedores pueden ganar privilegios por defecto"},
	Why: lang.Text{
		En: "Without no-new-privileges, a setuid program left in an image makes an unprivileged process root in its container, the first step out of it.",
		Es: "Sin no-new-privileges, un programa setuid olvidado en una imagen hace root en su contenedor a un proceso sin privilegios: el primer paso para salir.",
	},
	Remedy:   lang.Text{En: `Set "no-new-privileges": true in daemon.json.`, Es: `Ponga "no-new-privileges": true en daemon.json.`},
	Severity: audit.Medium,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowConfinement.cis("2.15"),
	Kind:     inventory.Daemon,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		_, on, fact, ok := securityOption(o, "no-new-privileges")
		return mustBe(o, heard{on, fact, ok && (on || tellsNoNewPrivileges(o))}, inventory.DaemonNoNewPrivileges, true, lang.Text{
			En: "sudo, su and ping of old images stop working in new containers. " + textOnlyNew.En,
			Es: "sudo, su y el ping de imágenes viejas dejan de funcionar en contenedores nuevos. " + textOnlyNew.Es,
		})
	},
}

// tellsNoNewPrivileges reports whether the engine would list the option if it
// were on. 20.10.24 does not, though it is in force (measured); newer ones do
// since API 1.43 (moby, daemon/info_unix.go). Of an old one only the
// configuration tells.
func tellsNoNewPrivileges(o *inventory.Object) bool {
	api, _, ok := inventory.DaemonAPIVersion.Of(o)
	return ok && compareVersions(api, "1.43") >= 0
}

var daemonLiveRestore = &audit.Check{
	ID:    "daemon-live-restore",
	Title: lang.Text{En: "Containers stop when the engine does", Es: "Los contenedores se detienen con el motor"},
	Why: lang.Text{
		En: "Without live-restore every update of the engine is an outage of all containers, so that updates are put off.",
		Es: "Sin live-restore cada actualización del motor es un corte de todos los contenedores, y por eso se posponen.",
	},
	Remedy:   lang.Text{En: `Set "live-restore": true in daemon.json and reload the engine.`, Es: `Ponga "live-restore": true en daemon.json y recargue el motor.`},
	Severity: audit.Low,
	Domains:  []audit.Domain{audit.Operations},
	Controls: rowAvailability.cis("2.16"),
	Kind:     inventory.Daemon,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		if active, fact := swarmActive(o); active {
			return audit.Beside(lang.Text{
				En: "the engine is in a swarm, which refuses live-restore and moves the tasks itself",
				Es: "el motor está en un swarm, que rechaza live-restore y traslada él mismo las tareas",
			}, fact)
		}
		on, fact, ok := inventory.DaemonLiveRestore.Of(o)
		return mustBe(o, heard{on, fact, ok}, inventory.DaemonWantLiveRestore, true, lang.Text{})
	},
}

var daemonUserlandProxy = &audit.Check{
	ID:    "daemon-userland-proxy",
	Title: lang.Text{En: "Published ports go through a process of root", Es: "Los puertos publicados pasan por un proceso de root"},
	Why: lang.Text{
		En: "One docker-proxy per published port runs as root and hides the client's address; through it containers reach ports of other networks past the forward rules.",
		Es: "Un docker-proxy por puerto publicado corre como root y oculta la dirección del cliente; por él los contenedores alcanzan puertos de otras redes eludiendo las reglas de reenvío.",
	},
	Remedy:   lang.Text{En: `Set "userland-proxy": false in daemon.json.`, Es: `Ponga "userland-proxy": false en daemon.json.`},
	Severity: audit.Low,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowLeastFunction.cis("2.17"),
	Kind:     inventory.Daemon,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		if is, fact, _ := rootless(o); is {
			return audit.Beside(textRootless, fact)
		}
		proxies, fact, counted := inventory.DaemonProxies.Of(o)
		a := mustBe(o, heard{true, fact, counted && proxies > 0}, inventory.DaemonUserlandProxy, false, lang.Text{
			En: "Ports published on 127.0.0.1 are then reached through the kernel's loopback routing, not over IPv6 loopback.",
			Es: "Los puertos publicados en 127.0.0.1 se alcanzan entonces por el encaminamiento del núcleo, no por el loopback de IPv6.",
		})
		if counted && proxies == 0 {
			a.Evidence = append(a.Evidence, fact)
		}
		return a
	},
}

var daemonExperimental = &audit.Check{
	ID:    "daemon-experimental",
	Title: lang.Text{En: "Engine runs with experimental features", Es: "El motor corre con funciones experimentales"},
	Why: lang.Text{
		En: "Experimental features are less tested and may change or vanish between versions.",
		Es: "Las funciones experimentales están menos probadas y pueden cambiar o desaparecer entre versiones.",
	},
	Remedy:   lang.Text{En: `Set "experimental": false in daemon.json, or drop the key.`, Es: `Ponga "experimental": false en daemon.json, o quite la clave.`},
	Severity: audit.Low,
	Domains:  []audit.Domain{audit.Operations},
	Controls: rowLeastFunction.cis("2.19"),
	Kind:     inventory.Daemon,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		on, fact, ok := inventory.DaemonExperimentalBuild.Of(o)
		return mustBe(o, heard{on, fact, ok}, inventory.DaemonExperimentalKey, false, lang.Text{
			En: "What was switched on with it stops: before Engine 27 also ip6tables.",
			Es: "Lo que se activó con ella se detiene: antes de Engine 27 también ip6tables.",
		})
	},
}
