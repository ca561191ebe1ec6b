package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var guardNetwork = &audit.Check{
	ID:    "guard-network",
	Title: lang.Text{En: "The tiers of the policy are not kept apart", Es: "Los niveles de la política no se mantienen separados"},
	Why: lang.Text{
		En: "Docker's networks separate no levels of sensitivity: a published port is reached from every other network through the host, and " +
			"containers of one network reach all of each other. What the policy says of flows holds only where somebody enforces it.",
		Es: "Las redes de Docker no separan niveles de sensibilidad: a un puerto publicado se llega desde cualquier otra red a través del " +
			"anfitrión, y los contenedores de una red se alcanzan por completo. Lo que la política dice de los flujos rige solo donde alguien lo aplica.",
	},
	Remedy: lang.Text{
		En: "Start the guard (casco guard units | sh), see what talks to what (casco net flows), and have it enforced: casco net enforce.",
		Es: "Arranque la guardia (casco guard units | sh), vea qué habla con qué (casco net flows) y haga que se aplique: casco net enforce.",
	},
	Severity: audit.High,
	Domains:  []audit.Domain{audit.Security, audit.Risk},
	Controls: rowTiers,
	Kind:     inventory.Guard,
	Policy:   []string{"tiers", "network.enforce"},
	About:    keepsApart,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		running, there, ok := inventory.GuardRunning.Of(o)
		if !ok {
			return audit.Untold(there)
		}
		enforced, fact, ok := inventory.GuardEnforced.Of(o)
		if !ok {
			return audit.Untold(fact)
		}
		switch {
		case !running:
			return audit.Bad(there, fact).Because(lang.Text{En: "no guard is at work", Es: "no hay ninguna guardia en marcha"})
		case !enforced:
			return audit.Bad(fact).Wanting(audit.Want{Ref: o.Ref, Field: inventory.GuardEnforced.Path, Value: true})
		}
		return audit.Good(fact, there)
	},
}

// keepsApart reports whether o is about networks, and the policy wants them to be
// kept apart. With one tier there is nothing to keep apart.
func keepsApart(s *inventory.Snapshot, o *inventory.Object) bool {
	if _, _, door := inventory.GuardDoor.Of(o); door {
		return false
	}
	for _, p := range s.Of(inventory.Policy) {
		tiers, _, _ := inventory.PolicyTiers.Of(p)
		if wanted, _, said := inventory.PolicyEnforce.Of(p); wanted || !said && len(tiers) > 1 {
			return true
		}
	}
	return false
}
