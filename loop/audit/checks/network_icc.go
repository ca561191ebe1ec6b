package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var networkICC = &audit.Check{
	ID:    "network-icc",
	Title: lang.Text{En: "All containers of a network may talk to each other", Es: "Todos los contenedores de una red pueden hablarse"},
	Why: lang.Text{
		En: "On a bridge one container reaches every port of its neighbours, whether or not the application needs it.",
		Es: "En un puente un contenedor alcanza todos los puertos de sus vecinos, los necesite o no la aplicación.",
	},
	Remedy: lang.Text{
		En: "Give each application, and each tier of it, a network of its own, or declare the flows between tiers in the policy and enforce them.",
		Es: "Dé a cada aplicación, y a cada nivel suyo, una red propia, o declare en la política los flujos entre niveles y aplíquelos.",
	},
	Severity: audit.Low,
	Domains:  secures,
	Controls: rowSegments.cis("2.2"),
	Kind:     inventory.Network,
	Eval:     evalNetworkICC,
}

// evalNetworkICC asks, and does not fail: containers of one application share
// a network because they talk. The default bridge is for daemon-icc.
func evalNetworkICC(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
	driver, fact, ok := inventory.NetworkDriver.Of(o)
	switch {
	case !ok:
		return audit.Untold(fact)
	case driver != "bridge":
		return audit.Beside(lang.Text{En: "it is no bridge", Es: "no es un puente"}, fact)
	case o.Ref.Name == "bridge":
		return audit.Beside(lang.Text{En: "the default bridge is judged with its engine", Es: "el puente por defecto se juzga con su motor"}, fact)
	}
	options, set, ok := inventory.NetworkOptions.Of(o)
	on, attached, okOn := inventory.NetworkContainers.Of(o)
	switch {
	case ok && asString(options[optionICC]) == "false":
		return audit.Good(set)
	case okOn && len(on) < 2:
		return audit.Good(attached)
	case !ok || !okOn:
		return audit.Untold(set, attached)
	}
	return audit.Question(lang.Text{
		En: "Must all of these reach each other: %s?",
		Es: "¿Deben alcanzarse todos entre sí: %s?",
	}.F(quoted(on)), set, attached)
}
