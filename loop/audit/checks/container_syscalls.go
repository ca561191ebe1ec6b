package checks

import (
	"strconv"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var containerSeccomp = &audit.Check{
	ID:    "container-seccomp",
	Title: lang.Text{En: "Container runs without seccomp", Es: "El contenedor se ejecuta sin seccomp"},
	Why: lang.Text{
		En: "Every system call of the kernel is open to it, with those that the known escapes use: mount, bpf, keyctl, unshare.",
		Es: "Tiene abiertas todas las llamadas al núcleo, incluidas las que usan las fugas conocidas: mount, bpf, keyctl, unshare.",
	},
	Remedy: lang.Text{
		En: "Create the container again without --security-opt seccomp=unconfined and without --privileged; where a call is missing, use a profile made for it.",
		Es: "Vuelva a crear el contenedor sin --security-opt seccomp=unconfined ni --privileged; si falta una llamada, use un perfil hecho para él.",
	},
	Severity: audit.High,
	Domains:  secures,
	Controls: rowConfinement.cis("5.22"),
	Kind:     inventory.Container,
	CausedBy: "daemon-seccomp-profile",
	Eval:     evalSeccomp,
}

// A filter in force proves nothing where none was asked for: the first process
// may have installed its own, or inherited it, and docker exec does not get it.
func evalSeccomp(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
	list, opts, okOpts := inventory.SecurityOpt.Of(o)
	priv, privFact, okPriv := inventory.Privileged.Of(o)
	mode, fact, read := inventory.EffectiveSeccomp.Of(o)
	seccomp := secOpts(list, "seccomp")
	off := isUnconfined(last(seccomp))
	custom := last(seccomp) != "" && !off
	evidence := known(fact, opts, privFact)
	wants := append(without(o, seccomp, isUnconfined, lang.Text{
		En: "System calls outside the engine's default profile fail with EPERM.",
		Es: "Las llamadas fuera del perfil por defecto del motor fallan con EPERM.",
	}), unprivileged(o)...)
	switch {
	case off, read && mode == 0, !read && priv, priv && !custom:
		a := audit.Bad(evidence...).Wanting(wants...)
		if read && mode != 0 {
			a.Reason = lang.Text{
				En: "the filter in force is not the engine's: it does not hold for what docker exec starts",
				Es: "el filtro en vigor no es del motor: no rige para lo que docker exec arranca",
			}
		} else if read && !off && !priv {
			a.Reason = contradicted("the engine's profile", "none")
		}
		return a
	case read:
		return audit.Good(evidence...)
	case !okOpts, !okPriv:
		return audit.Untold(opts, privFact)
	case custom:
		return declared(o, audit.Good(evidence...))
	}
	return declared(o, byDefaultSeccomp(s, evidence))
}

// byDefaultSeccomp judges a container that takes the engine's default profile.
func byDefaultSeccomp(s *inventory.Snapshot, evidence []inventory.Fact) audit.Answer {
	profile, fact, ok := inventory.DaemonSeccompProfile.Of(inventory.EngineOf(s))
	if ok && isUnconfined(profile) {
		return audit.Bad(append(evidence, fact)...).Because(lang.Text{
			En: "the engine's default profile is unconfined",
			Es: "el perfil por defecto del motor es unconfined",
		})
	}
	return audit.Good(append(evidence, known(fact)...)...)
}

func isUnconfined(v string) bool { return v == "unconfined" }

func last(opts []secOpt) string {
	if len(opts) == 0 {
		return ""
	}
	return opts[len(opts)-1].Value
}

var containerNoNewPrivileges = &audit.Check{
	ID:    "container-no-new-privileges",
	Title: lang.Text{En: "Container can gain new privileges", Es: "El contenedor puede ganar privilegios nuevos"},
	Why: lang.Text{
		En: "A set-uid program inside turns an ordinary user into root of the container.",
		Es: "Un programa set-uid interior convierte a un usuario corriente en root del contenedor.",
	},
	Remedy: lang.Text{
		En: "Create the container again with --security-opt no-new-privileges:true, or make it the engine's default. Existing containers keep their setting until they are created again.",
		Es: "Vuelva a crear el contenedor con --security-opt no-new-privileges:true, o hágalo el valor por defecto del motor. Los contenedores existentes conservan el suyo hasta que se vuelvan a crear.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowConfinement.cis("5.26"),
	Kind:     inventory.Container,
	CausedBy: "daemon-no-new-privileges",
	Eval:     evalNoNewPrivileges,
}

func evalNoNewPrivileges(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
	list, opts, ok := inventory.SecurityOpt.Of(o)
	nnp := secOpts(list, "no-new-privileges")
	asked, said := noNewPrivileges(nnp)
	evidence := known(opts)
	if !said {
		def, fact, okDef := inventory.DaemonNoNewPrivileges.Of(inventory.EngineOf(s))
		asked, evidence = def, append(evidence, known(fact)...)
		// A container keeps what was the default when it was made, and inspect
		// does not show it: an existing one is not known to have it now.
		if on, _, _ := inventory.Running.Of(o); okDef && def && !on && settled(o) {
			ok, fact.Err = false, "the engine's default may be newer than the container"
			opts = fact
		}
	}
	bad := func(a audit.Answer) audit.Answer {
		return a.Wanting(without(o, nnp, func(v string) bool { return !truth(v) }, lang.Text{})...).Wanting(audit.Want{
			Ref: o.Ref, Field: inventory.SecurityOpt.Path, Op: audit.Add, Value: "no-new-privileges:true",
			Breaks: lang.Text{En: "sudo, su, ping with set-uid and the like stop working inside.", Es: "sudo, su, ping con set-uid y similares dejan de funcionar dentro."},
		})
	}
	if is, fact, read := inventory.EffectiveNoNewPrivs.Of(o); read {
		a := audit.Good(append([]inventory.Fact{fact}, evidence...)...)
		if !is {
			a.Verdict = audit.Fail
			a = bad(a)
		}
		if asked != is {
			a.Reason = contradicted(asked, is)
		}
		return a
	}
	switch {
	case !ok:
		return audit.Untold(opts)
	case asked:
		return declared(o, audit.Good(evidence...))
	}
	return declared(o, bad(audit.Bad(evidence...)))
}

// noNewPrivileges reads the last element, as dockerd does: bare, or with a
// boolean of strconv.ParseBool.
func noNewPrivileges(opts []secOpt) (on, said bool) {
	if len(opts) == 0 {
		return false, false
	}
	return truth(last(opts)), true
}

func truth(v string) bool {
	b, err := strconv.ParseBool(v)
	return v == "" || err == nil && b
}

var containerSystemPaths = &audit.Check{
	ID:    "container-system-paths",
	Title: lang.Text{En: "Container has the kernel's paths unmasked", Es: "El contenedor tiene sin enmascarar las rutas del núcleo"},
	Why: lang.Text{
		En: "/proc/kcore, /proc/keys or /sys/firmware are readable, or /proc/sys and /proc/sysrq-trigger writable: the kernel can be read and set from inside.",
		Es: "/proc/kcore, /proc/keys o /sys/firmware se leen, o /proc/sys y /proc/sysrq-trigger se escriben: desde dentro se lee y ajusta el núcleo.",
	},
	Remedy: lang.Text{
		En: "Create the container again without --security-opt systempaths=unconfined and without --privileged.",
		Es: "Vuelva a crear el contenedor sin --security-opt systempaths=unconfined ni --privileged.",
	},
	Severity: audit.High,
	Domains:  secures,
	Controls: rowConfinement,
	Kind:     inventory.Container,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		priv, privFact, okPriv := inventory.Privileged.Of(o)
		var facts []inventory.Fact
		var wants []audit.Want
		for _, f := range []inventory.Field[[]string]{inventory.MaskedPaths, inventory.ReadonlyPaths} {
			// Absent and null stand for the engine's default (API 1.41, ContainerCreate).
			paths, fact, ok := f.Of(o)
			if ok && len(paths) == 0 && fact.Value != nil {
				wants = append(wants, audit.Want{Ref: o.Ref, Field: f.Path, Value: nil, Breaks: lang.Text{
					En: "Programs that write to /proc/sys or read masked files fail.",
					Es: "Fallan los programas que escriben en /proc/sys o leen archivos enmascarados.",
				}})
			}
			facts = append(facts, known(fact)...)
		}
		switch {
		case !okPriv:
			return audit.Untold(privFact)
		case priv, len(wants) > 0:
			return audit.Bad(append(facts, privFact)...).Wanting(wants...).Wanting(unprivileged(o)...)
		}
		return audit.Good(append(facts, privFact)...)
	},
}
