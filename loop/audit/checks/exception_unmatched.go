package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// ExceptionUnmatched judges the exceptions of a policy, once package risk has
// said how each stands. What it finds counts in no number of the host.
var ExceptionUnmatched = &audit.Check{
	ID:    "exception-unmatched",
	Title: lang.Text{En: "Exception is for nothing", Es: "La excepción no corresponde a nada"},
	Why: lang.Text{
		En: "What it was granted for is cured, gone, or was never there as it is written. It waits to cover, unseen, what comes back under that name.",
		Es: "Aquello para lo que se concedió está remediado, ya no está, o nunca estuvo como está escrito. Espera para cubrir, sin que se note, lo que vuelva con ese nombre.",
	},
	Remedy: lang.Text{
		En: "Take it out of the policy, or correct check, asset and locus and have it signed again.",
		Es: "Quítela de la política, o corrija comprobación, activo y lugar y hágala firmar de nuevo.",
	},
	Severity: audit.Low,
	Domains:  []audit.Domain{audit.Risk, audit.Supervision},
	Controls: rowExceptions,
	Kind:     inventory.Exception,
	Eval:     evalExceptionUnmatched,
}

func evalExceptionUnmatched(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
	force, fact, ok := inventory.ExceptionForce.Of(o)
	_, check, _ := inventory.ExceptionCheck.Of(o)
	_, asset, _ := inventory.ExceptionAsset.Of(o)
	_, locus, _ := inventory.ExceptionLocus.Of(o)
	evidence := append([]inventory.Fact{fact}, known(check, asset, locus)...)
	switch {
	case !ok:
		return audit.Untold(fact)
	case force == "active":
		return audit.Good(evidence...)
	case force == "unmatched":
		return audit.Bad(evidence...)
	case force == "not-told":
		return audit.Untold(evidence...).Because(lang.Text{
			En: "whether what it is for is still so could not be told",
			Es: "no se pudo saber si aquello para lo que es sigue así",
		})
	}
	return audit.Beside(lang.Text{En: "it is not in force", Es: "no está vigente"}, evidence...)
}
