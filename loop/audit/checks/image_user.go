package checks

import (
	"slices"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var imageRootUser = &audit.Check{
	ID:    "image-root-user",
	Title: lang.Text{En: "Image runs as root by default", Es: "La imagen se ejecuta como root por defecto"},
	Why: lang.Text{
		En: "Every container of it is root inside unless somebody remembers --user; what breaks in starts with uid 0.",
		Es: "Todo contenedor suyo es root por dentro si nadie recuerda --user; quien irrumpe empieza con uid 0.",
	},
	Remedy: lang.Text{
		En: "Put USER UID:GID into the last stage of the Dockerfile and give that user the files that it must write.",
		Es: "Ponga USER UID:GID en la última etapa del Dockerfile y dé a ese usuario los archivos que debe escribir.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowImages.cis("4.1"),
	Kind:     inventory.Image,
	Eval:     evalImageUser,
}

func evalImageUser(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
	user, fact, ok := configKey(o, inventory.ImageUser)
	switch {
	case !ok:
		return audit.Untold(fact)
	case !isRoot(user):
		// Any name may be uid 0: the image's own passwd(5) says so, once its layers
		// were looked into.
		id, known, ok := inventory.ImageUserID.Of(o)
		if !ok || !isRoot(id) {
			return audit.Good(fact)
		}
		fact = known
	}
	opts, engine, told := inventory.DaemonSecurityOptions.Of(inventory.EngineOf(s))
	if told && (slices.Contains(opts, "name=rootless") || slices.Contains(opts, "name=userns")) {
		return audit.Good(fact, engine).Because(lang.Text{
			En: "root inside is an ordinary user of the host",
			Es: "el root interior es un usuario corriente del anfitrión",
		})
	}
	return audit.Bad(fact)
}
