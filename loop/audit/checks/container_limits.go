package checks

import (
	"fmt"
	"slices"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// Suggested limits come from what the container was measured to use since it
// started, with room to grow; without a measurement there is no suggestion.
const (
	mebibyte   = 1 << 20
	memoryStep = 16 * mebibyte
	memoryMin  = 32 * mebibyte // the engine refuses less than 6 MiB
	pidsStep   = 16
	pidsMin    = 64
)

// roomFor returns peak times factor, rounded up to step, at least min.
func roomFor(peak, factor, step, min int64) int64 {
	return max(min, (peak*factor+step-1)/step*step)
}

var containerMemory = &audit.Check{
	ID:    "container-memory",
	Title: lang.Text{En: "Container may use all memory", Es: "El contenedor puede usar toda la memoria"},
	Why: lang.Text{
		En: "A leak or an attack in it makes the kernel kill other services of the host.",
		Es: "Una fuga o un ataque en él hace que el núcleo mate otros servicios del anfitrión.",
	},
	Remedy: lang.Text{
		En: "docker update --memory and --memory-swap, sized by what it was seen to use; it takes effect without a restart.",
		Es: "docker update --memory y --memory-swap, según lo que se vio usar; rige sin reinicio.",
	},
	Severity: audit.Medium,
	Domains:  operates,
	Controls: rowResources.cis("5.11"),
	Kind:     inventory.Container,
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return limited(o, inventory.Memory, inventory.EffectiveMemoryMax, func(o *inventory.Object) []audit.Want {
			wants := memoryWants(o)
			if limits, _, ok := inventory.DaemonSwapLimit.Of(inventory.EngineOf(s)); ok && !limits {
				return wants[:1] // it would be dropped with a warning
			}
			return wants
		})
	},
}

// memoryWants wants a limit of memory, and one of memory and swap together.
func memoryWants(o *inventory.Object) []audit.Want {
	mem := audit.Want{
		Ref: o.Ref, Field: inventory.Memory.Path,
		Ask:    lang.Text{En: "How much memory may it use, in bytes? No peak was measured.", Es: "¿Cuánta memoria puede usar, en bytes? No se midió un máximo."},
		Breaks: lang.Text{En: "Beyond the limit the kernel kills a process of the container.", Es: "Pasado el límite, el núcleo mata un proceso del contenedor."},
	}
	swap := mem
	swap.Field = inventory.MemorySwap.Path
	swap.Ask = lang.Text{En: "How much memory and swap together, in bytes? The engine's rule is twice the memory.", Es: "¿Cuánta memoria y swap juntas, en bytes? La regla del motor es el doble de la memoria."}
	if peak, _, ok := inventory.EffectiveMemoryPeak.Of(o); ok && peak > 0 {
		limit := roomFor(peak, 2, memoryStep, memoryMin)
		mem.Value, swap.Value = limit, 2*limit
		mem.Ask = lang.Text{
			En: "How much memory may it use, in bytes? It used %d at most since it started.",
			Es: "¿Cuánta memoria puede usar, en bytes? Usó %d como máximo desde que arrancó.",
		}.F(peak)
	}
	return []audit.Want{mem, swap}
}

var containerPids = &audit.Check{
	ID:    "container-pids",
	Title: lang.Text{En: "Container may start any number of processes", Es: "El contenedor puede crear procesos sin límite"},
	Why: lang.Text{
		En: "A fork bomb in it takes all process numbers of the host.",
		Es: "Una bomba de procesos en él agota los números de proceso del anfitrión.",
	},
	Remedy: lang.Text{
		En: "docker update --pids-limit, sized by what it was seen to use; it takes effect without a restart.",
		Es: "docker update --pids-limit, según lo que se vio usar; rige sin reinicio.",
	},
	Severity: audit.Medium,
	Domains:  operates,
	Controls: rowResources.cis("5.29"),
	Kind:     inventory.Container,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return limited(o, inventory.PidsLimit, inventory.EffectivePidsMax, pidsWants)
	},
}

func pidsWants(o *inventory.Object) []audit.Want {
	w := audit.Want{
		Ref: o.Ref, Field: inventory.PidsLimit.Path,
		Ask:    lang.Text{En: "How many processes and threads may it have? No peak was measured.", Es: "¿Cuántos procesos e hilos puede tener? No se midió un máximo."},
		Breaks: lang.Text{En: "Beyond the limit it cannot start processes or threads.", Es: "Pasado el límite no puede crear procesos ni hilos."},
	}
	if peak, _, ok := inventory.EffectivePidsPeak.Of(o); ok && peak > 0 {
		w.Value = roomFor(peak, 4, pidsStep, pidsMin)
		w.Ask = lang.Text{
			En: "How many processes and threads may it have? %d were seen at most.",
			Es: "¿Cuántos procesos e hilos puede tener? Se vieron %d como máximo.",
		}.F(peak)
	}
	return []audit.Want{w}
}

// limited judges a limit that is -1 in the kernel, or null, 0 or -1 in the
// engine's configuration, where there is none.
func limited(o *inventory.Object, asked, is inventory.Field[int64], wants func(*inventory.Object) []audit.Want) audit.Answer {
	want, fact, ok := asked.Of(o)
	if !ok {
		if v, null, has := inventory.Lookup(o, asked.Path); has && v == nil { // PidsLimit is null for none
			fact, ok = null, true
		}
	}
	if limit, kernel, read := is.Of(o); read {
		evidence := append([]inventory.Fact{kernel}, known(fact)...)
		if limit >= 0 {
			return audit.Good(evidence...)
		}
		a := audit.Bad(evidence...).Wanting(wants(o)...)
		if want > 0 {
			a.Reason = contradicted(want, "none")
		}
		return a
	}
	switch {
	case !ok:
		return audit.Untold(fact)
	case want > 0:
		return declared(o, audit.Good(fact))
	}
	return declared(o, audit.Bad(fact).Wanting(wants(o)...))
}

var containerCPU = &audit.Check{
	ID:    "container-cpu",
	Title: lang.Text{En: "Container has no share or limit of CPU", Es: "El contenedor no tiene cuota ni límite de CPU"},
	Why: lang.Text{
		En: "A loop in it, or a miner that somebody plants, takes the processor from the services beside it.",
		Es: "Un bucle en él, o un minero que alguien instale, quita el procesador a los servicios vecinos.",
	},
	Remedy: lang.Text{
		En: "docker update --cpus, --cpu-shares or --cpuset-cpus; it takes effect without a restart.",
		Es: "docker update --cpus, --cpu-shares o --cpuset-cpus; rige sin reinicio.",
	},
	Severity: audit.Low,
	Domains:  operates,
	Controls: rowResources.cis("5.12"),
	Kind:     inventory.Container,
	Eval:     evalCPU,
}

func evalCPU(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
	nano, f1, ok1 := inventory.NanoCpus.Of(o)
	quota, f2, ok2 := inventory.CpuQuota.Of(o)
	shares, f3, ok3 := inventory.CpuShares.Of(o)
	set, f4, ok4 := inventory.CpusetCpus.Of(o)
	evidence := known(f1, f2, f3, f4)
	bad := audit.Bad(evidence...).Wanting(audit.Want{
		Ref: o.Ref, Field: inventory.NanoCpus.Path,
		Ask:    lang.Text{En: "How many CPUs may it use, in units of 1e-9 (500000000 is half a CPU)?", Es: "¿Cuántas CPU puede usar, en unidades de 1e-9 (500000000 es media CPU)?"},
		Breaks: lang.Text{En: "It is slowed down once it needs more.", Es: "Va más lento cuando necesita más."},
	})
	quotaSet, shareSet := nano > 0 || quota > 0, weighs(shares)
	limit, kernel, read := inventory.EffectiveCPUMax.Of(o)
	weight, weightFact, readWeight := inventory.EffectiveCPUWeight.Of(o)
	if read {
		bad.Evidence = append([]inventory.Fact{kernel}, append(known(weightFact), evidence...)...)
		evidence = bad.Evidence
		if quotaSet && limit < 0 {
			bad.Reason = contradicted("a quota", "none")
		}
		quotaSet = limit >= 0
	}
	if readWeight {
		if shareSet && !weighs(weight) {
			bad.Reason = contradicted(shares, weight)
		}
		shareSet = shareSet && weighs(weight)
	}
	settle := func(a audit.Answer) audit.Answer {
		if read {
			return a
		}
		return declared(o, a)
	}
	switch {
	case quotaSet, shareSet, set != "":
		return settle(audit.Good(evidence...))
	case !(ok1 && ok2 && ok3 && ok4) && !read:
		return audit.Untold(f1, f2, f3, f4)
	}
	return settle(bad)
}

// weighs reports whether a CPU weight is another than everybody's: 1024 shares
// (cgroup v1), weight 100 (v2), 0 not set.
func weighs(n int64) bool { return n != 0 && n != 1024 && n != 100 }

// openFiles is the highest hard limit of open files that still bounds
// anything: fs.nr_open of a fresh kernel (Documentation/admin-guide/sysctl/fs.rst).
const openFiles = 1 << 20

var containerUlimits = &audit.Check{
	ID:    "container-ulimits",
	Title: lang.Text{En: "Container may open any number of files", Es: "El contenedor puede abrir archivos sin límite"},
	Why: lang.Text{
		En: "One process can use up the open files of the kernel; some old programs also loop over the whole limit at start.",
		Es: "Un proceso puede agotar los archivos abiertos del núcleo; algunos programas viejos además recorren todo el límite al arrancar.",
	},
	Remedy: lang.Text{
		En: "Set default-ulimits in the engine's configuration, or create the container again with --ulimit nofile=SOFT:HARD.",
		Es: "Ponga default-ulimits en la configuración del motor, o vuelva a crear el contenedor con --ulimit nofile=BLANDO:DURO.",
	},
	Severity: audit.Low,
	Domains:  operates,
	Controls: rowResources.cis("5.19"),
	Kind:     inventory.Container,
	CausedBy: "daemon-default-ulimits",
	Eval:     evalUlimits,
}

func evalUlimits(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
	list, asked, ok := inventory.Ulimits.Of(o)
	want := ask(o, inventory.Ulimits.Path, lang.Text{
		En: `How many files may it open? For example [{"Name":"nofile","Soft":1024,"Hard":65536}].`,
		Es: `¿Cuántos archivos puede abrir? Por ejemplo [{"Name":"nofile","Soft":1024,"Hard":65536}].`,
	})
	if limits, fact, read := inventory.EffectiveLimits.Of(o); read {
		hard, has := asInt(asMap(limits["nofile"])["Hard"])
		switch {
		case !has:
			return audit.Untold(inventory.Fact{Ref: o.Ref, Field: fact.Field + ".nofile", Err: inventory.Absent, Source: fact.Source, Read: fact.Read})
		case bounds(hard):
			return audit.Good(append([]inventory.Fact{fact}, known(asked)...)...)
		}
		return audit.Bad(append([]inventory.Fact{fact}, known(asked)...)...).Wanting(want)
	}
	if !ok {
		return audit.Untold(asked)
	}
	i := slices.IndexFunc(list, func(v any) bool { return asMap(v)["Name"] == "nofile" })
	if i >= 0 {
		if hard, has := asInt(asMap(list[i])["Hard"]); has && bounds(hard) {
			return declared(o, audit.Good(asked))
		}
		return declared(o, audit.Bad(asked).Wanting(want))
	}
	// Nothing of its own: a new container takes the engine's default.
	def, engine, ok := inventory.DaemonUlimits.Of(inventory.EngineOf(s))
	if !ok {
		return audit.Untold(engine, asked)
	}
	if hard, has := asInt(asMap(def["nofile"])["Hard"]); has && bounds(hard) && !settled(o) {
		return declared(o, audit.Good(asked, engine))
	}
	return declared(o, audit.Bad(asked, engine).Wanting(want))
}

func bounds(hard int64) bool { return hard >= 0 && hard <= openFiles }

var containerCgroupParent = &audit.Check{
	ID:    "container-cgroup-parent",
	Title: lang.Text{En: "Container runs below a cgroup of its own choice", Es: "El contenedor corre bajo un cgroup elegido por él"},
	Why: lang.Text{
		En: "It escapes the limits and the accounting that the host sets for containers.",
		Es: "Escapa a los límites y a la contabilidad que el anfitrión fija para los contenedores.",
	},
	Remedy: lang.Text{
		En: "Create the container again without --cgroup-parent.",
		Es: "Vuelva a crear el contenedor sin --cgroup-parent.",
	},
	Severity: audit.Low,
	Domains:  operates,
	Controls: rowResources.cis("5.25"),
	Kind:     inventory.Container,
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		parent, fact, ok := inventory.CgroupParent.Of(o)
		if !ok {
			return audit.Untold(fact)
		}
		def, engine, _ := inventory.DaemonCgroupParent.Of(inventory.EngineOf(s))
		if parent == "" || parent == def {
			return audit.Good(append([]inventory.Fact{fact}, known(engine)...)...)
		}
		return audit.Bad(fact).Because(lang.Text{En: "asked for %s", Es: "pidió %s"}.F(fmt.Sprintf("%q", parent))).Wanting(audit.Want{
			Ref: o.Ref, Field: inventory.CgroupParent.Path, Value: "",
			Breaks: lang.Text{En: "Limits set on that cgroup no longer hold for it.", Es: "Los límites de ese cgroup dejan de regir para él."},
		})
	},
}
