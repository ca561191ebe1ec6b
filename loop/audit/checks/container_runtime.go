package checks

import (
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var containerRuntime = &audit.Check{
	ID:    "container-runtime-policy",
	Title: lang.Text{En: "Container runs otherwise than the policy wants of its tier", Es: "El contenedor corre de otro modo que el que la política quiere de su nivel"},
	Why: lang.Text{
		En: "The organisation decided how far a container of this tier may go; this one may go further.",
		Es: "La organización decidió hasta dónde puede llegar un contenedor de este nivel; este puede llegar más lejos.",
	},
	Remedy: lang.Text{
		En: "Give it the settings that runtime in the policy names, or give its tier others there.",
		Es: "Déle los ajustes que nombra runtime en la política, o déle ahí otros a su nivel.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowConfinement.and("nist-800-53-r5", "CM-6", "cobit-2019", "BAI10.02"),
	Kind:     inventory.Container,
	Policy:   []string{"runtime", "tiers", "assign"},
	About: func(_ *inventory.Snapshot, o *inventory.Object) bool {
		wanted, _, ok := inventory.Wanted.Of(o)
		return ok && len(wanted) > 0
	},
	Eval: evalRuntime,
}

// A held rule is one setting of a container against what is wanted of it.
type heldRule struct {
	told  bool
	wrong bool
	facts []inventory.Fact
	wants []audit.Want
}

// runtimeRules by the keys of the policy, in the order of a report.
var runtimeRules = []struct {
	key  string
	hold func(o *inventory.Object) heldRule
}{
	{"cap_drop", capDropRule},
	{"cap_add", capAddRule},
	{"no_new_privileges", noNewPrivilegesRule},
	{"read_only", readOnlyRule},
	{"pids", pidsRule},
	{"memory", memoryRule},
	{"cpus", cpusRule},
	{"user", userRule},
}

func evalRuntime(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
	wanted, all, ok := inventory.Wanted.Of(o)
	if !ok {
		return audit.Untold(all)
	}
	var good, untold, wrong []inventory.Fact
	var wants []audit.Want
	var loci []string
	for _, r := range runtimeRules {
		if _, said := wanted[r.key]; !said {
			continue
		}
		_, line, _ := inventory.Lookup(o, inventory.Wanted.Path+"."+r.key)
		h := r.hold(o)
		switch {
		case !h.told:
			untold = append(untold, append(h.facts, line)...)
		case h.wrong:
			wrong = append(wrong, append(h.facts, line)...)
			wants, loci = append(wants, h.wants...), append(loci, r.key)
		default:
			good = append(good, append(h.facts, line)...)
		}
	}
	switch {
	case wrong != nil:
		return audit.Bad(wrong...).At(loci...).Wanting(wants...).Because(lang.Text{
			En: "otherwise than wanted: %s", Es: "de otro modo que el querido: %s",
		}.F(strings.Join(loci, ", ")))
	case untold != nil:
		return audit.Untold(untold...)
	case good == nil:
		return audit.Good(all)
	}
	return audit.Good(good...)
}

func capDropRule(o *inventory.Object) heldRule {
	want, _, _ := inventory.WantedCapDrop.Of(o)
	is, fact, ok := inventory.CapDrop.Of(o)
	h := heldRule{told: ok, facts: []inventory.Fact{fact}}
	for _, c := range want {
		if !slices.Contains(capNames(is), c) && !slices.Contains(capNames(is), "ALL") {
			h.wrong = true
			h.wants = append(h.wants, audit.Want{Ref: o.Ref, Field: inventory.CapDrop.Path, Op: audit.Add, Value: c, Breaks: losesPrivileges})
		}
	}
	return h
}

func capAddRule(o *inventory.Object) heldRule {
	may, _, _ := inventory.WantedCapAdd.Of(o)
	is, fact, ok := inventory.CapAdd.Of(o)
	h := heldRule{told: ok, facts: []inventory.Fact{fact}}
	for _, c := range is {
		if !slices.Contains(may, capName(c)) {
			h.wrong = true
			h.wants = append(h.wants, audit.Want{Ref: o.Ref, Field: inventory.CapAdd.Path, Op: audit.Remove, Value: c, Breaks: losesPrivileges})
		}
	}
	return h
}

func noNewPrivilegesRule(o *inventory.Object) heldRule {
	want, _, _ := inventory.WantedNoNewPrivileges.Of(o)
	is, fact, ok := inventory.EffectiveNoNewPrivs.Of(o)
	if !ok {
		var opts []string
		opts, fact, ok = inventory.SecurityOpt.Of(o)
		is = slices.Contains(opts, "no-new-privileges") || slices.Contains(opts, "no-new-privileges:true")
	}
	return heldRule{told: ok, wrong: want && !is, facts: []inventory.Fact{fact}, wants: []audit.Want{{
		Ref: o.Ref, Field: inventory.SecurityOpt.Path, Op: audit.Add, Value: "no-new-privileges:true",
	}}}
}

func readOnlyRule(o *inventory.Object) heldRule {
	want, _, _ := inventory.WantedReadOnly.Of(o)
	is, fact, ok := inventory.EffectiveRootReadOnly.Of(o)
	if !ok {
		is, fact, ok = inventory.ReadonlyRootfs.Of(o)
	}
	return heldRule{told: ok, wrong: want && !is, facts: []inventory.Fact{fact}, wants: []audit.Want{{
		Ref: o.Ref, Field: inventory.ReadonlyRootfs.Path, Value: true,
		Breaks: lang.Text{En: "Writes outside volumes and tmpfs fail.", Es: "Fallan las escrituras fuera de volúmenes y tmpfs."},
	}}}
}

// atMost holds a limit of the kernel (-1 is none), or else of the engine's
// configuration (nothing, 0 and -1 are none), against the highest that is wanted.
func atMost(o *inventory.Object, most int64, effective, asked inventory.Field[int64], scale int64) heldRule {
	is, fact, ok := effective.Of(o)
	if !ok {
		is, fact, ok = asked.Of(o)
		if v, null, has := inventory.Lookup(o, asked.Path); !ok && has && v == nil {
			is, fact, ok = 0, null, true
		}
		if is /= scale; is <= 0 {
			is = -1
		}
	}
	return heldRule{told: ok, wrong: is < 0 || is > most, facts: []inventory.Fact{fact}}
}

func pidsRule(o *inventory.Object) heldRule {
	most, _, _ := inventory.WantedPids.Of(o)
	h := atMost(o, most, inventory.EffectivePidsMax, inventory.PidsLimit, 1)
	h.wants = []audit.Want{{
		Ref: o.Ref, Field: inventory.PidsLimit.Path, Value: most,
		Breaks: lang.Text{En: "Beyond the limit it cannot start processes or threads.", Es: "Pasado el límite no puede crear procesos ni hilos."},
	}}
	return h
}

func memoryRule(o *inventory.Object) heldRule {
	most, _, _ := inventory.WantedMemory.Of(o)
	h := atMost(o, most, inventory.EffectiveMemoryMax, inventory.Memory, 1)
	breaks := lang.Text{En: "Beyond the limit the kernel kills a process of the container.", Es: "Pasado el límite, el núcleo mata un proceso del contenedor."}
	h.wants = []audit.Want{ // memory and swap together: the engine's own rule is twice the memory
		{Ref: o.Ref, Field: inventory.Memory.Path, Value: most, Breaks: breaks},
		{Ref: o.Ref, Field: inventory.MemorySwap.Path, Value: 2 * most, Breaks: breaks},
	}
	return h
}

func cpusRule(o *inventory.Object) heldRule {
	most, _, _ := inventory.WantedCPUs.Of(o)
	const perThousandth = 1_000_000 // of the 1e-9 CPUs that the engine counts in
	h := atMost(o, most, inventory.EffectiveCPUMax, inventory.NanoCpus, perThousandth)
	h.wants = []audit.Want{{
		Ref: o.Ref, Field: inventory.NanoCpus.Path, Value: most * perThousandth,
		Breaks: lang.Text{En: "It is slowed down once it needs more.", Es: "Va más lento cuando necesita más."},
	}}
	return h
}

func userRule(o *inventory.Object) heldRule {
	want, _, _ := inventory.WantedUser.Of(o)
	is, fact, ok := inventory.User.Of(o)
	return heldRule{told: ok, wrong: is != want, facts: []inventory.Fact{fact}, wants: []audit.Want{{
		Ref: o.Ref, Field: inventory.User.Path, Value: want,
		Breaks: lang.Text{En: "It no longer reaches files that only its present user may.", Es: "Deja de alcanzar los archivos que solo puede su usuario actual."},
	}}}
}
