package checks

import (
	"maps"
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// inRegistry says what registries have under the tags of an image.
func inRegistry(o *inventory.Object, bad func(tag string, about map[string]any) (lang.Text, bool)) audit.Answer {
	tags, fact, ok := inventory.ImageRegistry.Of(o)
	if !ok {
		if o.Unread["Registry"] != "" {
			return audit.Untold(fact)
		}
		return audit.Beside(notAsked, fact)
	}
	for _, tag := range slices.Sorted(maps.Keys(tags)) {
		about, _ := tags[tag].(map[string]any)
		if reason, is := bad(tag, about); is {
			return audit.Bad(fact).Because(reason)
		}
	}
	return audit.Good(fact)
}

var imageTagMoved = &audit.Check{
	ID:    "image-tag-moved",
	Title: lang.Text{En: "The registry has another image under this tag", Es: "El registro tiene otra imagen bajo esta etiqueta"},
	Why: lang.Text{
		En: "What runs here is not what the tag stands for any more: it lacks what was fixed since, or somebody has put another image in its place.",
		Es: "Lo que corre aquí ya no es lo que la etiqueta nombra: le falta lo corregido desde entonces, o alguien puso otra imagen en su lugar.",
	},
	Remedy: lang.Text{
		En: "Find out who published it. Pull it if it is the approved one, name it by its digest, and create the containers again.",
		Es: "Averigüe quién la publicó. Descárguela si es la aprobada, nómbrela por su digest, y vuelva a crear los contenedores.",
	},
	Severity: audit.Medium,
	Domains:  changes,
	Controls: rowImageFlaws,
	Kind:     inventory.Image,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return inRegistry(o, func(tag string, about map[string]any) (lang.Text, bool) {
			digest, _ := about["Digest"].(string)
			if about["Same"] != false {
				return lang.Text{}, false
			}
			if _, t, _ := strings.Cut(tag[strings.LastIndexByte(tag, '/')+1:], ":"); isVersion(t) {
				return lang.Text{
					En: "%s was overwritten: it is %s there. A version is published once", Es: "%s se sobrescribió: allí es %s. Una versión se publica una vez",
				}.F(tag, short(digest)), true
			}
			return lang.Text{En: "%s is %s there: newer, or another", Es: "%s es %s allí: más nueva, u otra"}.F(tag, short(digest)), true
		})
	},
}

// isVersion reports whether a tag is written as a version with three numbers.
func isVersion(tag string) bool {
	main, _, _ := strings.Cut(strings.TrimPrefix(tag, "v"), "-")
	parts := strings.Split(main, ".")
	return len(parts) >= 3 && !slices.ContainsFunc(parts, func(p string) bool { return p == "" || strings.Trim(p, "0123456789") != "" })
}

var imageNewerTag = &audit.Check{
	ID:    "image-newer-tag",
	Title: lang.Text{En: "The registry has a newer release of this image", Es: "El registro tiene una versión más nueva de esta imagen"},
	Why: lang.Text{
		En: "Fixes come with releases: what was found in this one since is mended in the newer one at best.",
		Es: "Los arreglos llegan con las versiones: lo hallado en esta desde entonces está corregido, en el mejor caso, en la más nueva.",
	},
	Remedy: lang.Text{
		En: "Read what changed, approve the newer one, and create the containers again from it, named by its digest.",
		Es: "Lea qué cambió, apruebe la más nueva, y vuelva a crear los contenedores con ella, nombrada por su digest.",
	},
	Severity: audit.Low,
	Domains:  changes,
	Controls: rowImageFlaws,
	Kind:     inventory.Image,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return inRegistry(o, func(tag string, about map[string]any) (lang.Text, bool) {
			newest, _ := about["Newest"].(string)
			return lang.Text{En: "%s: there is %s", Es: "%s: hay %s"}.F(tag, newest), newest != ""
		})
	},
}
