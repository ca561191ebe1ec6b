package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var pragmaReason = &audit.Check{
	ID:    "pragma-reason",
	Title: lang.Text{En: "A finding is accepted without a reason", Es: "Un hallazgo se acepta sin motivo"},
	Why: lang.Text{
		En: "Nobody can tell later whether it was thought about, and whether it still holds.",
		Es: "Nadie podrá saber después si se pensó, ni si sigue valiendo.",
	},
	Remedy:   lang.Text{En: "Write why: # casco:ignore CHECK reason: ….", Es: "Escriba por qué: # casco:ignore COMPROBACIÓN reason: …."},
	Severity: audit.Medium,
	Domains:  []audit.Domain{audit.Risk, audit.Supervision},
	Controls: rowExceptions,
	Kind:     inventory.Pragma,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		reason, fact, ok := inventory.PragmaReason.Of(o)
		_, check, _ := inventory.PragmaCheck.Of(o)
		switch {
		case !ok:
			return audit.Untold(fact)
		case reason == "":
			return audit.Bad(fact, check)
		}
		return audit.Good(fact, check)
	},
}

var pragmaUnmatched = &audit.Check{
	ID:    "pragma-unmatched",
	Title: lang.Text{En: "What accepts a finding is for nothing", Es: "Lo que acepta un hallazgo no corresponde a nada"},
	Why: lang.Text{
		En: "What it was written for is cured, or its check is misspelt. It waits to cover, unseen, what comes back at that place.",
		Es: "Aquello para lo que se escribió está remediado, o su comprobación está mal escrita. Espera para cubrir, sin que se note, lo que vuelva en ese lugar.",
	},
	Remedy:   lang.Text{En: "Take the line out, or correct the check it names; it stands on the line before the finding.", Es: "Quite la línea o corrija la comprobación que nombra; va en la línea anterior al hallazgo."},
	Severity: audit.Low,
	Domains:  []audit.Domain{audit.Risk, audit.Supervision},
	Controls: rowExceptions,
	Kind:     inventory.Pragma,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		n, fact, ok := inventory.PragmaMatches.Of(o)
		_, check, _ := inventory.PragmaCheck.Of(o)
		switch {
		case !ok:
			return audit.Untold(fact)
		case n == 0:
			return audit.Bad(check, fact)
		}
		return audit.Good(check, fact)
	},
}
