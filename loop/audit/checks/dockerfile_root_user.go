package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var dockerfileRootUser = &audit.Check{
	ID:       "dockerfile-root-user",
	Title:    lang.Text{En: "Image would run as root", Es: "La imagen correría como root"},
	Why:      imageRootUser.Why,
	Remedy:   imageRootUser.Remedy,
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowImages.cis("4.1"),
	Kind:     inventory.Dockerfile,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		user, fact, ok := inventory.DockerfileUser.Of(o)
		switch {
		case !ok && fact.Err == inventory.Absent && o.Fields["Config"] != nil:
			fact.Err, fact.Value = "", ""
			return audit.Bad(fact).Because(lang.Text{En: "no USER in the stage that makes the image, nor in its bases", Es: "sin USER en la etapa que hace la imagen ni en sus bases"})
		case !ok:
			return audit.Untold(fact)
		case isRoot(user):
			return audit.Bad(fact)
		}
		return audit.Good(fact)
	},
}
