package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var daemonSeccompProfile = &audit.Check{
	ID:    "daemon-seccomp-profile",
	Title: lang.Text{En: "Engine does not filter system calls by default", Es: "El motor no filtra llamadas al sistema por defecto"},
	Why: lang.Text{
		En: "The engine's own profile refuses some forty system calls that containers do not need and that kernel exploits do.",
		Es: "El perfil propio del motor niega unas cuarenta llamadas al sistema que los contenedores no necesitan y los ataques al núcleo sí.",
	},
	Remedy: lang.Text{
		En: `Drop "seccomp-profile" from daemon.json (the built-in profile then holds) and run a kernel with CONFIG_SECCOMP_FILTER.`,
		Es: `Quite "seccomp-profile" de daemon.json (vale entonces el perfil incorporado) y use un núcleo con CONFIG_SECCOMP_FILTER.`,
	},
	Severity: audit.High,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowConfinement.cis("2.18"),
	Kind:     inventory.Daemon,
	Eval:     evalSeccompProfile,
}

// The engine reports its default profile as "default" before version 23 and
// as "builtin" since; another word is the path of a profile of one's own.
func evalSeccompProfile(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
	profile, on, said, saidOK := securityOption(o, "seccomp")
	set, fact, has := inventory.DaemonSeccompProfile.Of(o)
	switch {
	case !saidOK && !has:
		return audit.Untold(said, fact)
	case saidOK && !on:
		return audit.Bad(said).Because(lang.Text{
			En: "the engine reports no seccomp at all: its kernel or its build lacks it",
			Es: "el motor no informa de seccomp: le falta a su núcleo o a su compilación",
		})
	case !saidOK:
		profile = set
	}
	switch profile {
	case "", "default", "builtin":
		return audit.Good(said, fact)
	case "unconfined":
		return audit.Bad(said, fact).Wanting(audit.Want{
			Ref: o.Ref, Field: inventory.DaemonSeccompProfile.Path, Value: "", Breaks: textOnlyNew,
		})
	}
	return audit.Question(lang.Text{
		En: "The engine's default is a profile of your own. Does it refuse at least what the built-in one refuses, and who keeps it up to date?",
		Es: "El perfil por defecto del motor es propio. ¿Niega al menos lo que niega el incorporado, y quién lo mantiene al día?",
	}, said, fact)
}

var daemonSELinux = &audit.Check{
	ID:    "daemon-selinux",
	Title: lang.Text{En: "Engine does not label its containers for SELinux", Es: "El motor no etiqueta sus contenedores para SELinux"},
	Why: lang.Text{
		En: "On a host with SELinux, containers of an engine without it all run under the engine's own, nearly unconfined type.",
		Es: "En un anfitrión con SELinux, los contenedores de un motor sin él corren con el tipo del motor, casi sin confinar.",
	},
	Remedy:   lang.Text{En: `Install container-selinux and set "selinux-enabled": true in daemon.json.`, Es: `Instale container-selinux y ponga "selinux-enabled": true en daemon.json.`},
	Severity: audit.High,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowConfinement,
	Kind:     inventory.Daemon,
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		mode, kernel, ok := inventory.KernelSELinux.Of(s.Find(theKernel))
		if ok && mode == "" {
			return audit.Beside(lang.Text{En: "the kernel runs without SELinux", Es: "el núcleo corre sin SELinux"}, kernel)
		}
		_, on, fact, said := securityOption(o, "selinux")
		if !ok && !on {
			return audit.Untold(kernel)
		}
		return mustBe(o, heard{on, fact, said}, inventory.DaemonSELinux, true, lang.Text{
			En: "Bind mounts without :z or :Z are denied to containers.",
			Es: "Se niegan a los contenedores los montajes sin :z o :Z.",
		})
	},
}

// theKernel is the one object of its kind.
var theKernel = inventory.Ref{Kind: inventory.Kernel, Name: "kernel"}
