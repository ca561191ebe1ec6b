package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var imageSSH = &audit.Check{
	ID:    "image-ssh",
	Title: lang.Text{En: "Image brings an SSH server", Es: "La imagen trae un servidor SSH"},
	Why: lang.Text{
		En: "It is a second way in, with keys and accounts of its own that nobody watches; what is changed over it is in no image.",
		Es: "Es una segunda entrada, con claves y cuentas propias que nadie vigila; lo que se cambia por ella no está en ninguna imagen.",
	},
	Remedy: lang.Text{
		En: "Leave it out of the image: docker exec gets in, and a new image changes things.",
		Es: "Déjelo fuera de la imagen: docker exec permite entrar, y una imagen nueva cambia las cosas.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowImages.cis("5.7"),
	Kind:     inventory.Image,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		paths, fact, ok := inventory.ImageSSH.Of(o)
		switch {
		case !ok:
			return audit.Untold(fact)
		case len(paths) > 0:
			return audit.Bad(with(fact, paths))
		}
		return audit.Good(fact)
	},
}
