package checks

import (
	"fmt"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var imageAccessMaterial = &audit.Check{
	ID:    "image-access-material",
	Title: lang.Text{En: "Image carries keys or logins", Es: "La imagen lleva claves o credenciales"},
	Why: lang.Text{
		En: "Whoever can pull the image has them, and what they open; a layer that deletes a file only hides it.",
		Es: "Quien pueda bajar la imagen las tiene, y lo que abren; una capa que borra un archivo solo lo oculta.",
	},
	Remedy: lang.Text{
		En: "Replace each at its source first: it is known. Then build without it (RUN --mount=type=secret, RUN --mount=type=ssh, or a stage that is not copied), and give it to the container at run time.",
		Es: "Primero cambie cada una en su origen: ya se conoce. Luego construya sin ella (RUN --mount=type=secret, RUN --mount=type=ssh, o una etapa que no se copia) y désela al contenedor al ejecutarlo.",
	},
	Severity: audit.High,
	Domains:  secures,
	Controls: rowSecrets.cis("4.10"),
	Kind:     inventory.Image,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		list, fact, ok := inventory.ImageAccess.Of(o)
		return judgeMaterial(list, fact, ok)
	},
}

var containerAccessMaterial = &audit.Check{
	ID:    "container-access-material",
	Title: lang.Text{En: "Container keeps keys or logins in its own layer", Es: "El contenedor guarda claves o credenciales en su propia capa"},
	Why: lang.Text{
		En: "They came in by hand or are made at each start: nobody replaces them, who gets in takes them, and a commit of the container puts them in an image.",
		Es: "Entraron a mano o se crean en cada arranque: nadie las cambia, quien entra se las lleva y un commit del contenedor las pone en una imagen.",
	},
	Remedy: lang.Text{
		En: "Keep them in a secret or a file mounted read-only from the host, or in a tmpfs; replace those that others could have read.",
		Es: "Guárdelas en un secreto o en un archivo montado de solo lectura desde el anfitrión, o en un tmpfs; cambie las que otros pudieron leer.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowSecrets,
	Kind:     inventory.Container,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		list, fact, ok := inventory.ContainerAccess.Of(o)
		if !ok && !settled(o) {
			return audit.Beside(lang.Text{En: "it has no layer of its own yet", Es: "aún no tiene capa propia"}, fact)
		}
		return judgeMaterial(list, fact, ok)
	},
}

// judgeMaterial fails what opens a door. Keys that a library brings to test
// itself are counted and open none.
func judgeMaterial(list []any, fact inventory.Fact, ok bool) audit.Answer {
	if !ok {
		return audit.Untold(fact)
	}
	var lines []string
	samples, deleted := 0, 0
	for _, e := range list {
		m := asMap(e)
		if m["Sample"] == true {
			samples++
			continue
		}
		line := asString(m["Path"]) + ": " + asString(m["What"])
		if n, ok := asInt(m["Layer"]); ok {
			line += fmt.Sprintf(", layer %d", n)
		}
		if m["Deleted"] == true {
			line += ", deleted above it"
			deleted++
		}
		lines = append(lines, line)
	}
	var reason lang.Text
	switch {
	case deleted > 0:
		reason = lang.Text{
			En: "a later layer deletes %d of these files; they still go out with the image",
			Es: "una capa posterior borra %d de estos archivos; aun así salen con la imagen",
		}.F(deleted)
	case samples > 0:
		reason = lang.Text{
			En: "%d more lie among tests, examples or documentation and are taken to open nothing",
			Es: "%d más están entre pruebas, ejemplos o documentación y se supone que no abren nada",
		}.F(samples)
	}
	if len(lines) > 0 {
		return audit.Bad(with(fact, lines)).Because(reason)
	}
	return audit.Good(with(fact, lines)).Because(reason)
}
