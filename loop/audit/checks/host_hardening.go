package checks

import (
	_ "embed"
	"sync"
	"time"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var hostHardening = &audit.Check{
	ID:    "host-hardening",
	Title: lang.Text{En: "The host itself may not be hardened", Es: "El propio anfitrión quizá no está endurecido"},
	Why: lang.Text{
		En: "Containers are as safe as the host below them: its logins, its updates, its services.",
		Es: "Los contenedores son tan seguros como el anfitrión que los sostiene: sus accesos, actualizaciones y servicios.",
	},
	Remedy: lang.Text{
		En: "Hold the host to a benchmark of its distribution (CIS, DISA STIG) and attach the result as evidence.",
		Es: "Someta el anfitrión a una guía de su distribución (CIS, DISA STIG) y adjunte el resultado como evidencia.",
	},
	Severity: audit.Medium,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowHardening.cis("1.2.1"),
	Kind:     inventory.Host,
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		_, system, _ := inventory.HostOS.Of(o)
		evidence := []inventory.Fact{system}
		if kernel := s.Find(theKernel); kernel != nil {
			for _, path := range []string{
				inventory.KernelRelease.Path, inventory.KernelLSMs.Path, inventory.KernelLockdown.Path, inventory.KernelVulns.Path,
			} {
				_, fact, _ := inventory.Lookup(kernel, path)
				evidence = append(evidence, fact)
			}
		}
		return audit.Question(lang.Text{
			En: "Against which benchmark was this host hardened, when, and with what result? casco's own checks of kernel, sysctls, services and accounts are a part of one.",
			Es: "¿Con qué guía se endureció este anfitrión, cuándo y con qué resultado? Las comprobaciones de casco sobre núcleo, sysctl, servicios y cuentas son una parte.",
		}, evidence...)
	},
}

//go:embed host_support.tsv
var hostSupportTable string

var hostSupport = sync.OnceValue(func() []supportLine { return parseSupport(hostSupportTable) })

var hostVersion = &audit.Check{
	ID:    "host-version",
	Title: lang.Text{En: "The host's system no longer gets security fixes", Es: "El sistema del anfitrión ya no recibe arreglos de seguridad"},
	Why: lang.Text{
		En: "Its kernel is that of all containers: a hole that is not closed there is open in every one.",
		Es: "Su núcleo es el de todos los contenedores: un fallo que no se cierra allí está abierto en cada uno.",
	},
	Remedy:   lang.Text{En: "Move to a release with support, or buy extended support and record it.", Es: "Pase a una versión con soporte, o contrate soporte extendido y regístrelo."},
	Severity: audit.High,
	Domains:  []audit.Domain{audit.Security, audit.Operations},
	Controls: rowHostFlaws,
	Kind:     inventory.Host,
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		system, fact, ok := inventory.HostOS.Of(o)
		if !ok {
			return audit.Untold(fact)
		}
		id, _ := system["ID"].(string)
		version, _ := system["VERSION_ID"].(string)
		line, listed := supportOf(hostSupport(), id, version)
		switch {
		case !listed:
			return audit.Untold(fact).Because(lang.Text{
				En: "no support date is known here for this system", Es: "aquí no se conoce fecha de soporte de este sistema",
			})
		case !line.end.IsZero() && s.Taken.After(line.end.AddDate(0, 0, 1)):
			day := line.end.Format(time.DateOnly)
			return audit.Bad(fact).Because(lang.Text{En: "support ended on " + day, Es: "el soporte terminó el " + day})
		}
		return audit.Good(fact)
	},
}
