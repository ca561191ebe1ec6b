package checks

import (
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var containerAppArmor = &audit.Check{
	ID:    "container-apparmor",
	Title: lang.Text{En: "Container is not confined by AppArmor", Es: "El contenedor no está confinado por AppArmor"},
	Why: lang.Text{
		En: "The kernel would refuse mounts and writes below /proc and /sys to a confined process even if it is root; this one it lets through.",
		Es: "El núcleo negaría montajes y escrituras bajo /proc y /sys a un proceso confinado aunque sea root; a este se los permite.",
	},
	Remedy: lang.Text{
		En: "Create the container again without --security-opt apparmor=unconfined and without --privileged, or with a profile made for it, loaded in enforce mode.",
		Es: "Vuelva a crear el contenedor sin --security-opt apparmor=unconfined ni --privileged, o con un perfil hecho para él, cargado en modo enforce.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowMandatory.cis("5.2"),
	Kind:     inventory.Container,
	Eval:     evalAppArmor,
}

func evalAppArmor(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
	active, kernel, okKernel := activeAppArmor(s)
	if okKernel && !active {
		return audit.Beside(lang.Text{En: "AppArmor is not active in this kernel", Es: "AppArmor no está activo en este núcleo"}, kernel)
	}
	list, opts, okOpts := inventory.SecurityOpt.Of(o)
	priv, privFact, okPriv := inventory.Privileged.Of(o)
	asked := secOpts(list, "apparmor")
	wants := append(without(o, asked, isUnconfined, lang.Text{
		En: "What the profile docker-default forbids fails: mount, writes to /proc/sys.",
		Es: "Falla lo que prohíbe el perfil docker-default: mount, escrituras en /proc/sys.",
	}), unprivileged(o)...)
	evidence := known(opts, privFact, kernel)
	if label, fact, read := inventory.EffectiveLabel.Of(o); read && !strings.Contains(label, ":") {
		evidence = append([]inventory.Fact{fact}, evidence...)
		if enforced(label) != "" {
			return audit.Good(evidence...)
		}
		if label != "" || okKernel {
			return audit.Bad(evidence...).Wanting(wants...)
		}
	}
	switch {
	case !okOpts, !okPriv:
		return audit.Untold(opts, privFact)
	case isUnconfined(last(asked)), priv && len(asked) == 0:
		return declared(o, audit.Bad(evidence...).Wanting(wants...))
	case !okKernel:
		return audit.Untold(kernel, opts)
	}
	return declared(o, audit.Good(evidence...))
}

// enforced is the profile in an AppArmor label that refuses what it does not
// allow: "NAME (MODE)", of which enforce and kill do (security/apparmor/label.c, label_modename). It is
// "" for all others.
func enforced(label string) string {
	for _, mode := range []string{" (enforce)", " (kill)"} {
		if name, ok := strings.CutSuffix(label, mode); ok {
			return name
		}
	}
	return ""
}

// activeAppArmor asks the kernel, or else the engine that runs on it.
func activeAppArmor(s *inventory.Snapshot) (active bool, fact inventory.Fact, ok bool) {
	if active, fact, ok = inventory.KernelAppArmor.Of(inventory.Only(s, inventory.Kernel)); ok {
		return active, fact, true
	}
	opts, engine, ok := inventory.DaemonSecurityOptions.Of(inventory.EngineOf(s))
	if !ok {
		return false, fact, false
	}
	return slices.Contains(opts, "name=apparmor"), engine, true
}

var containerAppArmorDeclared = &audit.Check{
	ID:    "container-apparmor-declared",
	Title: lang.Text{En: "Declared AppArmor profile is not in effect", Es: "El perfil AppArmor declarado no rige"},
	Why: lang.Text{
		En: "Who reads the configuration believes the container confined. A kernel without AppArmor accepts any profile name, even one that does not exist, without an error.",
		Es: "Quien lee la configuración cree confinado el contenedor. Un núcleo sin AppArmor acepta cualquier nombre de perfil, aun inexistente, sin error.",
	},
	Remedy: lang.Text{
		En: "Enable AppArmor on the host (kernel command line: lsm=…,apparmor) and load the profile, or remove the option so that nobody relies on it.",
		Es: "Active AppArmor en el anfitrión (línea del núcleo: lsm=…,apparmor) y cargue el perfil, o quite la opción para que nadie confíe en ella.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowMandatory.cis("5.2"),
	Kind:     inventory.Container,
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		list, opts, ok := inventory.SecurityOpt.Of(o)
		if !ok {
			return audit.Untold(opts)
		}
		asked := secOpts(list, "apparmor")
		if len(asked) == 0 || isUnconfined(last(asked)) {
			return audit.Good(opts)
		}
		active, kernel, okKernel := activeAppArmor(s)
		question := lang.Text{
			En: "Will AppArmor be enabled on this host, or may the option go?",
			Es: "¿Se activará AppArmor en este anfitrión o puede quitarse la opción?",
		}
		if active {
			question = lang.Text{
				En: "Will the profile be loaded in enforce mode, or may the option go?",
				Es: "¿Se cargará el perfil en modo enforce o puede quitarse la opción?",
			}
		}
		bad := func(is any, facts ...inventory.Fact) audit.Answer {
			w := without(o, asked, func(string) bool { return true }, lang.Text{})
			for i := range w {
				w[i].Ask = question
			}
			return audit.Bad(facts...).Because(contradicted(last(asked), is)).Wanting(w...)
		}
		label, fact, read := inventory.EffectiveLabel.Of(o)
		switch {
		case okKernel && !active:
			return bad("no AppArmor", opts, kernel)
		case read && enforced(label) == last(asked):
			return audit.Good(opts, fact)
		case read:
			return bad(label, opts, fact)
		}
		return audit.Untold(fact, opts)
	},
}

var containerSELinux = &audit.Check{
	ID:    "container-selinux",
	Title: lang.Text{En: "Container is not confined by SELinux", Es: "El contenedor no está confinado por SELinux"},
	Why: lang.Text{
		En: "Its processes carry no container label: a file of the host that it gets hold of is protected by owner and mode alone.",
		Es: "Sus procesos no llevan etiqueta de contenedor: un archivo del anfitrión al que llegue solo lo protegen dueño y permisos.",
	},
	Remedy: lang.Text{
		En: "Set selinux-enabled in the engine's configuration and create the container again without --security-opt label=disable and without --privileged; relabel its volumes with :z or :Z.",
		Es: "Ponga selinux-enabled en la configuración del motor y vuelva a crear el contenedor sin --security-opt label=disable ni --privileged; reetiquete sus volúmenes con :z o :Z.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowMandatory.cis("5.3"),
	Kind:     inventory.Container,
	CausedBy: "daemon-selinux",
	Eval:     evalSELinux,
}

func evalSELinux(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
	mode, kernel, okKernel := inventory.KernelSELinux.Of(inventory.Only(s, inventory.Kernel))
	if okKernel && mode == "" {
		return audit.Beside(lang.Text{En: "SELinux is not active in this kernel", Es: "SELinux no está activo en este núcleo"}, kernel)
	}
	label, labelFact, okLabel := inventory.EffectiveLabel.Of(o)
	list, opts, okOpts := inventory.SecurityOpt.Of(o)
	priv, privFact, okPriv := inventory.Privileged.Of(o)
	if mode == "permissive" { // no other container could be shown to be better off
		return audit.Bad(known(kernel, labelFact, opts)...).Because(lang.Text{
			En: "SELinux is permissive: it records and refuses nothing",
			Es: "SELinux es permisivo: registra y no niega nada",
		})
	}
	labels := secOpts(list, "label")
	disabled := slices.ContainsFunc(labels, func(l secOpt) bool { return l.Value == "disable" })
	enabled, engine, okEngine := inventory.DaemonSELinux.Of(inventory.EngineOf(s))
	given, givenFact, okGiven := inventory.ProcessLabel.Of(o)
	wants := append(without(o, labels, func(v string) bool { return v == "disable" }, relabels), unprivileged(o)...)
	if okGiven && given == "" && okEngine && enabled && len(wants) == 0 {
		wants = append(wants, audit.Want{Ref: o.Ref, Field: inventory.SecurityOpt.Path, Op: audit.Add, Value: "label=type:container_t", Breaks: relabels})
	}
	evidence := known(opts, privFact, kernel)
	if okLabel && okKernel {
		evidence = append([]inventory.Fact{labelFact}, evidence...)
		switch {
		case okGiven && given == "":
			// It has the label of whoever started it, whatever that is called.
			return audit.Bad(append(evidence, givenFact)...).Because(gaveNone).Wanting(wants...)
		case !confinedType(label):
			return audit.Bad(evidence...).Wanting(wants...)
		}
		return audit.Good(evidence...)
	}
	switch {
	case !okKernel:
		return audit.Untold(kernel)
	case !okOpts, !okPriv:
		return audit.Untold(opts, privFact)
	case disabled, priv:
		return declared(o, audit.Bad(evidence...).Wanting(wants...))
	case !okEngine:
		return audit.Untold(engine, opts)
	case !enabled:
		return declared(o, audit.Bad(append(evidence, known(engine)...)...))
	case okGiven && given == "":
		return audit.Bad(append(evidence, engine, givenFact)...).Because(gaveNone).Wanting(wants...)
	}
	return declared(o, audit.Good(append(evidence, known(engine)...)...))
}

var (
	gaveNone = lang.Text{
		En: "the engine gave it no label when it made it, and an existing container gets none",
		Es: "el motor no le dio etiqueta al crearlo, y a un contenedor existente no se le da",
	}
	relabels = lang.Text{
		En: "Files of the host that it mounts are refused until they are relabelled.",
		Es: "Se niegan los archivos montados del anfitrión hasta reetiquetarlos.",
	}
)

// confinedType reports whether the type of an SELinux label confines:
// container_t and kin do, spc_t ("super privileged container"), unconfined_t
// and that of the engine do not (container-selinux).
func confinedType(label string) bool {
	part := strings.Split(label, ":")
	return len(part) >= 3 && part[2] != "spc_t" && !strings.HasPrefix(part[2], "unconfined") && part[2] != "container_runtime_t"
}
