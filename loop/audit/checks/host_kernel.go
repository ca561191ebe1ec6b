package checks

import (
	"maps"
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var kernelLSM = &audit.Check{
	ID:    "kernel-lsm",
	Title: lang.Text{En: "No mandatory access control is in force", Es: "No hay control de acceso obligatorio en vigor"},
	Why: lang.Text{
		En: "Without AppArmor or SELinux nothing stands behind a container's capabilities and mounts: the engine takes a profile's name and enforces nothing.",
		Es: "Sin AppArmor ni SELinux nada respalda las capacidades y montajes de un contenedor: el motor acepta el nombre de un perfil y no aplica nada.",
	},
	Remedy: lang.Text{
		En: "Boot with the distribution's LSM (security=apparmor, or SELinux enforcing) and restart the engine.",
		Es: "Arranque con el LSM de la distribución (security=apparmor, o SELinux en modo estricto) y reinicie el motor.",
	},
	Severity: audit.High,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowKernel.and("nist-800-53-r5", "AC-3(3)", "iso-27001-2022", "A.8.2"),
	Kind:     inventory.Kernel,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		armor, armorFact, armorOK := inventory.KernelAppArmor.Of(o)
		selinux, selinuxFact, selinuxOK := inventory.KernelSELinux.Of(o)
		_, lsms, _ := inventory.KernelLSMs.Of(o)
		switch {
		case armorOK && armor:
			return audit.Good(armorFact, lsms)
		case selinuxOK && selinux == "enforcing":
			return audit.Good(selinuxFact, lsms)
		case !armorOK || !selinuxOK:
			return audit.Untold(armorFact, selinuxFact, lsms)
		case selinux == "permissive":
			return audit.Bad(selinuxFact, lsms).Because(lang.Text{En: "SELinux records and refuses nothing", Es: "SELinux registra y no niega nada"})
		}
		return audit.Bad(armorFact, selinuxFact, lsms)
	},
}

var kernelLockdown = &audit.Check{
	ID:    "kernel-lockdown",
	Title: lang.Text{En: "Root may change the running kernel", Es: "Root puede cambiar el núcleo en marcha"},
	Why: lang.Text{
		En: "Without lockdown, a process that got root loads unsigned modules and writes kernel memory, and can hide from everything that watches.",
		Es: "Sin lockdown, un proceso que obtuvo root carga módulos sin firma y escribe la memoria del núcleo, y se oculta de todo lo que vigila.",
	},
	Remedy:   lang.Text{En: "Boot with lockdown=integrity, or with Secure Boot on a distribution that turns it on.", Es: "Arranque con lockdown=integrity, o con Secure Boot en una distribución que lo active."},
	Severity: audit.Low,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowKernel,
	Kind:     inventory.Kernel,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		level, fact, ok := inventory.KernelLockdown.Of(o)
		switch {
		case !ok || level == "":
			return audit.Untold(fact)
		case level == "none":
			return audit.Bad(fact)
		}
		return audit.Good(fact)
	},
}

var kernelCgroup = &audit.Check{
	ID:    "kernel-cgroup",
	Title: lang.Text{En: "Host uses the old control groups", Es: "El anfitrión usa los grupos de control antiguos"},
	Why: lang.Text{
		En: "Version 1 has release_agent, a way for a container with CAP_SYS_ADMIN to run a program on the host; it bounds memory and I/O less well, and engines are dropping it.",
		Es: "La versión 1 tiene release_agent, con que un contenedor con CAP_SYS_ADMIN ejecuta un programa en el anfitrión; acota peor memoria y E/S, y los motores la abandonan.",
	},
	Remedy:   lang.Text{En: "Boot with systemd.unified_cgroup_hierarchy=1, or a release whose default it is.", Es: "Arranque con systemd.unified_cgroup_hierarchy=1, o una versión que lo traiga por defecto."},
	Severity: audit.Low,
	Domains:  []audit.Domain{audit.Operations, audit.Security},
	Controls: rowResources,
	Kind:     inventory.Kernel,
	Eval:     evalCgroup,
}

// evalCgroup wants nothing of a hand: only another boot changes the version.
func evalCgroup(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
	version, fact, ok := inventory.KernelCgroup.Of(o)
	switch {
	case !ok:
		return audit.Untold(fact)
	case version < 2:
		return audit.Bad(fact)
	}
	return audit.Good(fact)
}

var kernelCPUVulnerabilities = &audit.Check{
	ID:    "kernel-cpu-vulnerabilities",
	Title: lang.Text{En: "A hole of the processor is not mitigated", Es: "Un fallo del procesador no está mitigado"},
	Why: lang.Text{
		En: "Containers share the processor with the host and each other: through such a hole one reads what another keeps in memory.",
		Es: "Los contenedores comparten el procesador con el anfitrión y entre sí: por un fallo así uno lee lo que otro tiene en memoria.",
	},
	Remedy:   lang.Text{En: "Install the processor's microcode and a current kernel; take mitigations=off and its like from the kernel's command line.", Es: "Instale el microcódigo del procesador y un núcleo actual; quite mitigations=off y similares de la línea del núcleo."},
	Severity: audit.Medium,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowKernel,
	Kind:     inventory.Kernel,
	Eval:     evalCPUVulnerabilities,
}

// The kernel's words are those of Documentation/admin-guide/hw-vuln: "Not
// affected", "Mitigation: …", "Vulnerable…", and "Unknown: …" where only the
// hypervisor could say.
func evalCPUVulnerabilities(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
	holes, fact, ok := inventory.KernelVulns.Of(o)
	if !ok || len(holes) == 0 {
		if ok {
			fact.Err = "the kernel lists none"
		}
		return audit.Untold(fact)
	}
	var open, unknown []string
	for _, name := range slices.Sorted(maps.Keys(holes)) {
		switch state, _ := holes[name].(string); {
		case strings.HasPrefix(state, "Vulnerable"):
			open = append(open, name)
		case !strings.HasPrefix(state, "Mitigation") && !strings.HasPrefix(state, "Not affected") && !strings.HasPrefix(state, "KVM: "):
			unknown = append(unknown, name)
		}
	}
	_, cmdline, _ := inventory.KernelCmdline.Of(o)
	switch {
	case len(open) > 0:
		list := strings.Join(open, ", ")
		return audit.Bad(fact, cmdline).Because(lang.Text{En: "not mitigated: " + list, Es: "sin mitigar: " + list})
	case len(unknown) > 0:
		list := strings.Join(unknown, ", ")
		return audit.Untold(fact).Because(lang.Text{En: "the kernel cannot tell: " + list, Es: "el núcleo no puede decirlo: " + list})
	}
	return audit.Good(fact)
}

var kernelConfigIsolation = &audit.Check{
	ID:    "kernel-config-isolation",
	Title: lang.Text{En: "Kernel was built without something that isolates containers", Es: "El núcleo se compiló sin algo que aísla contenedores"},
	Why: lang.Text{
		En: "What the kernel lacks the engine leaves out: limits are accepted and not enforced, namespaces are shared.",
		Es: "Lo que falta al núcleo el motor lo omite: los límites se aceptan y no se aplican, los espacios de nombres se comparten.",
	},
	Remedy:   lang.Text{En: "Boot a kernel of the distribution that has these options.", Es: "Arranque un núcleo de la distribución que tenga estas opciones."},
	Severity: audit.High,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowKernel,
	Kind:     inventory.Kernel,
	Eval:     builtWith(isolationOptions),
}

var kernelConfigHardening = &audit.Check{
	ID:    "kernel-config-hardening",
	Title: lang.Text{En: "Kernel was built without defences of its own", Es: "El núcleo se compiló sin defensas propias"},
	Why: lang.Text{
		En: "Every container calls the same kernel; these options turn many of its errors from a way out into a crash.",
		Es: "Todo contenedor llama al mismo núcleo; estas opciones convierten muchos de sus errores de salida en simple caída.",
	},
	Remedy:   lang.Text{En: "Boot a kernel of the distribution that has these options.", Es: "Arranque un núcleo de la distribución que tenga estas opciones."},
	Severity: audit.Low,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowKernel,
	Kind:     inventory.Kernel,
	Eval:     builtWith(hardeningOptions),
}

// isolationOptions are "Generally Necessary" in moby's contrib/check-config.sh,
// with the limits and filters that CIS Docker builds on. A module will do.
var isolationOptions = []string{
	"CONFIG_NAMESPACES", "CONFIG_NET_NS", "CONFIG_PID_NS", "CONFIG_IPC_NS", "CONFIG_UTS_NS", "CONFIG_USER_NS",
	"CONFIG_CGROUPS", "CONFIG_CGROUP_DEVICE", "CONFIG_CGROUP_PIDS", "CONFIG_MEMCG", "CONFIG_CPUSETS", "CONFIG_CFS_BANDWIDTH",
	"CONFIG_SECCOMP", "CONFIG_SECCOMP_FILTER", "CONFIG_SECURITY",
}

// hardeningOptions are recommendations of the Kernel Self Protection Project
// (kspp.github.io/Recommended_Settings) that the kernels of distributions have
// at no cost that containers would feel.
var hardeningOptions = []string{
	"CONFIG_STACKPROTECTOR_STRONG", "CONFIG_STRICT_KERNEL_RWX", "CONFIG_VMAP_STACK", "CONFIG_HARDENED_USERCOPY",
	"CONFIG_FORTIFY_SOURCE", "CONFIG_SLAB_FREELIST_RANDOM", "CONFIG_SLAB_FREELIST_HARDENED", "CONFIG_RANDOMIZE_BASE",
	"CONFIG_SECURITY_YAMA", "CONFIG_BPF_UNPRIV_DEFAULT_OFF",
}

// renamed is what an option was called in kernels before it got its name.
var renamed = map[string]string{
	"CONFIG_STACKPROTECTOR_STRONG": "CONFIG_CC_STACKPROTECTOR_STRONG", // until 4.18
	"CONFIG_STRICT_KERNEL_RWX":     "CONFIG_DEBUG_RODATA",             // until 4.11
}

func builtWith(options []string) func(*inventory.Snapshot, *inventory.Object) audit.Answer {
	return func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		config, fact, ok := inventory.KernelConfig.Of(o)
		if !ok || len(config) == 0 {
			if ok {
				fact.Err = "is empty"
			}
			return audit.Untold(fact)
		}
		_, release, _ := inventory.KernelRelease.Of(o)
		// The whole configuration has thousands of lines: show those that count.
		shown, missing := map[string]any{}, []string(nil)
		for _, option := range options {
			v := config[option]
			if v == nil {
				v = config[renamed[option]]
			}
			if shown[option] = v; v != "y" && v != "m" {
				missing = append(missing, option)
			}
		}
		fact.Value = shown
		if len(missing) == 0 {
			return audit.Good(fact, release)
		}
		list := strings.Join(missing, ", ")
		return audit.Bad(fact, release).Because(lang.Text{En: "not built in: " + list, Es: "sin compilar: " + list})
	}
}
