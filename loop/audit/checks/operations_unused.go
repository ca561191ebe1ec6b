package checks

import (
	"time"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// maxUnused is how long something that nothing uses may stay. The number is
// our choice: a month, so that last month's release can still be gone back to.
const maxUnused = 30 * 24 * time.Hour

var operationsUnusedImages = &audit.Check{
	ID:    "operations-unused-images",
	Title: lang.Text{En: "Old images that no container uses stay on the host", Es: "Quedan en el anfitrión imágenes viejas que ningún contenedor usa"},
	Why: lang.Text{
		En: "Somebody starts one of them again, with every hole that has been found since; and they fill the disk.",
		Es: "Alguien vuelve a arrancar una, con todos los agujeros hallados desde entonces; y llenan el disco.",
	},
	Remedy: lang.Text{
		En: "Look at them, then docker image prune --all --filter until=720h; a registry must still have what you may want back.",
		Es: "Revíselas y luego docker image prune --all --filter until=720h; lo que quiera recuperar debe estar en un registro.",
	},
	Severity: audit.Low,
	Domains:  []audit.Domain{audit.Operations},
	Controls: rowLineage.cis("6.1"),
	Kind:     inventory.Daemon,
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return evalUnused(s, o, "Images", "Created")
	},
}

var operationsStoppedContainers = &audit.Check{
	ID:    "operations-stopped-containers",
	Title: lang.Text{En: "Containers that stopped long ago stay on the host", Es: "Quedan en el anfitrión contenedores parados hace tiempo"},
	Why: lang.Text{
		En: "They keep data and old configuration, can be started again by anybody with access, and hide what really belongs to the host.",
		Es: "Guardan datos y configuración vieja, cualquiera con acceso puede arrancarlos, y ocultan lo que de verdad pertenece al anfitrión.",
	},
	Remedy: lang.Text{
		En: "Save what their file systems still hold, then docker container prune --filter until=720h.",
		Es: "Guarde lo que aún contengan y luego docker container prune --filter until=720h.",
	},
	Severity: audit.Low,
	Domains:  []audit.Domain{audit.Operations},
	Controls: rowLineage.cis("6.2"),
	Kind:     inventory.Daemon,
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return evalUnused(s, o, "Containers", "Since")
	},
}

// evalUnused judges one list of Unused by the date that its entries have under
// dated. Removing cannot be taken back, so nothing is wanted.
func evalUnused(s *inventory.Snapshot, o *inventory.Object, list, dated string) audit.Answer {
	all, fact, ok := inventory.Field[[]any]{Kind: inventory.Daemon, Path: inventory.DaemonUnused.Path + "." + list}.Of(o)
	if !ok {
		return audit.Untold(fact)
	}
	var old, undated []any
	for _, e := range all {
		switch age, what := ageOf(asString(asMap(e)[dated]), s.Taken); {
		case what != dateReal:
			undated = append(undated, e)
		case age > maxUnused:
			old = append(old, e)
		}
	}
	switch {
	case len(old) > 0:
		return audit.Bad(with(fact, old))
	case len(undated) > 0:
		return audit.Untold(with(fact, undated)).Because(lang.Text{
			En: "unused, and their dates cannot be true: how long they have been here is not known",
			Es: "sin uso, y sus fechas no pueden ser ciertas: no se sabe cuánto llevan aquí",
		})
	}
	return audit.Good(fact)
}
