package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var containerTierDefault = &audit.Check{
	ID:    "container-tier-default",
	Title: lang.Text{En: "Nobody has placed the container in a tier", Es: "Nadie ha ubicado el contenedor en un nivel"},
	Why: lang.Text{
		En: "It gets the default tier and its crossings because no entry of the policy speaks of it, not because somebody weighed what it holds.",
		Es: "Recibe el nivel por defecto y sus cruces porque ninguna entrada de la política habla de él, no porque alguien pesara lo que guarda.",
	},
	Remedy: lang.Text{
		En: "Add an entry for it to assign in the policy, or give it what an entry goes by: a label, a network, its Compose service.",
		Es: "Añada una entrada para él en assign de la política, o déle aquello por lo que se guía una: una etiqueta, una red, su servicio de Compose.",
	},
	Severity: audit.Low,
	Domains:  secures,
	Controls: rowTiers,
	Kind:     inventory.Container,
	Policy:   []string{"tiers", "assign"},
	About: func(_ *inventory.Snapshot, o *inventory.Object) bool {
		_, _, ok := inventory.ContainerTier.Of(o)
		return ok
	},
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		byDefault, fact, ok := inventory.ContainerTierDefault.Of(o)
		_, tier, _ := inventory.ContainerTier.Of(o)
		switch {
		case !ok:
			return audit.Untold(fact)
		case byDefault:
			return audit.Bad(tier, fact)
		}
		return audit.Good(tier, fact)
	},
}
