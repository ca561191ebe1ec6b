package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var imageSetuid = &audit.Check{
	ID:    "image-setuid",
	Title: lang.Text{En: "Image has setuid or setgid programs", Es: "La imagen tiene programas setuid o setgid"},
	Why: lang.Text{
		En: "An unprivileged process inside can become root with one of them that has a flaw.",
		Es: "Un proceso sin privilegios puede volverse root con uno que tenga un fallo.",
	},
	Remedy: lang.Text{
		En: "Add RUN find / -xdev -perm /6000 -type f -exec chmod a-s {} + to the Dockerfile; until then run with no-new-privileges.",
		Es: "Añada al Dockerfile RUN find / -xdev -perm /6000 -type f -exec chmod a-s {} +; mientras tanto ejecute con no-new-privileges.",
	},
	Severity: audit.Low,
	Domains:  secures,
	Controls: rowImages.cis("4.8"),
	Kind:     inventory.Image,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		paths, fact, ok := inventory.ImageSetuid.Of(o)
		switch {
		case !ok:
			return audit.Untold(fact)
		case len(paths) > 0:
			return audit.Bad(with(fact, paths))
		}
		return audit.Good(fact)
	},
}
