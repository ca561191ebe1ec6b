package checks

import (
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// byID reports whether a reference is the ID of an image, not a name: what
// "docker run 3f2a…" leaves, and what inspect shows once a tag has moved away.
func byID(name string) bool {
	hex := strings.TrimPrefix(name, "sha256:")
	return len(hex) >= 12 && strings.Trim(hex, "0123456789abcdef") == "" && (len(hex) == 64 || hex != name || len(hex) == 12)
}

func byDigest(name string) bool { return strings.Contains(name, "@sha256:") }

var containerImageMoved = &audit.Check{
	ID:    "container-image-moved",
	Title: lang.Text{En: "Container's tag names another image now", Es: "La etiqueta del contenedor nombra ya otra imagen"},
	Why: lang.Text{
		En: "It runs an older or another version than its name says: fixes that were pulled are not in it, and its next start may bring something else.",
		Es: "Corre una versión más vieja u otra que la que dice su nombre: no tiene los arreglos descargados, y su próxima creación puede traer otra cosa.",
	},
	Remedy: lang.Text{
		En: "Create the container again from the image that was approved, named by its digest.",
		Es: "Vuelva a crear el contenedor con la imagen aprobada, nombrada por su digest.",
	},
	Severity: audit.Medium,
	Domains:  changes,
	Controls: rowImageFlaws.cis("5.28"),
	Kind:     inventory.Container,
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		name, fact, ok := inventory.ImageName.Of(o)
		if !ok {
			return audit.Untold(fact)
		}
		if byID(name) || byDigest(name) {
			return audit.Good(fact)
		}
		id, is, ok := inventory.ContainerImage.Of(o)
		if !ok {
			return audit.Beside(lang.Text{En: "it is not made yet", Es: "aún no se ha creado"}, fact)
		}
		img := imageTagged(s, tagged(name))
		now, idFact, ok := inventory.ImageID.Of(img)
		switch {
		case !ok:
			return audit.Untold(is, inventory.Fact{
				Ref: inventory.Ref{Kind: inventory.Image, Name: tagged(name)}, Field: inventory.ImageID.Path,
				Err: "no image with this tag was read", Source: o.Source, Read: o.Read,
			})
		case now == id:
			return audit.Good(fact, is, idFact)
		}
		_, tags, _ := inventory.ImageTags.Of(img)
		return audit.Bad(fact, is, tags, idFact).Because(lang.Text{
			En: "tag moved: %q was %s, is %s", Es: "etiqueta movida: %q era %s, es %s",
		}.F(name, short(id), short(now))).Wanting(audit.Want{
			Ref: o.Ref, Field: inventory.ImageName.Path, Value: pinned(name, img, now),
			Ask: lang.Text{
				En: "Is the image that the tag names now the approved one, so that the container may be created from it?",
				Es: "¿Es la imagen que la etiqueta nombra ahora la aprobada, para crear de ella el contenedor?",
			},
			Breaks: lang.Text{
				En: "It runs another version of its program, with that image's defaults.",
				Es: "Corre otra versión de su programa, con los valores por defecto de esa imagen.",
			},
		})
	},
}

// pinned names an image so that no tag can move it: by the digest under which
// the registry of name has it, or else by its ID.
func pinned(name string, img *inventory.Object, id string) string {
	full := tagged(name)
	repository := full[:strings.LastIndex(full, ":")]
	digests, _, _ := inventory.ImageDigests.Of(img)
	for _, d := range digests {
		if of, _, ok := strings.Cut(d, "@"); ok && strings.TrimSuffix(tagged(of), ":latest") == repository {
			return d
		}
	}
	return id
}

func short(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(len(id), 12)]
}

var containerImageLatest = &audit.Check{
	ID:    "container-image-latest",
	Title: lang.Text{En: "Container is made of whatever is latest", Es: "El contenedor se crea con lo que sea último"},
	Why: lang.Text{
		En: "The tag latest moves with each push: nobody can say which version runs, nor go back to it.",
		Es: "La etiqueta latest se mueve con cada publicación: nadie puede decir qué versión corre ni volver a ella.",
	},
	Remedy: lang.Text{
		En: "Name a version, or better the digest: name@sha256:….",
		Es: "Nombre una versión o, mejor, el digest: nombre@sha256:….",
	},
	Severity: audit.Low,
	Domains:  changes,
	Controls: rowLineage.cis("5.28"),
	Kind:     inventory.Container,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		name, fact, ok := inventory.ImageName.Of(o)
		switch {
		case !ok || name == "":
			return audit.Untold(fact).Because(lang.Text{En: "it names no image", Es: "no nombra ninguna imagen"})
		case !byID(name) && !byDigest(name) && strings.HasSuffix(tagged(name), ":latest"):
			return audit.Bad(fact)
		}
		return audit.Good(fact)
	},
}

var containerImageUntagged = &audit.Check{
	ID:    "container-image-untagged",
	Title: lang.Text{En: "Container runs an image without a name", Es: "El contenedor corre una imagen sin nombre"},
	Why: lang.Text{
		En: "No tag and no digest of a registry leads to it: it cannot be pulled again, traced to a build, or matched with an advisory of its maker.",
		Es: "Ninguna etiqueta ni digest de un registro lleva a ella: no se puede volver a descargar, ni rastrear su construcción, ni cotejar con avisos de su autor.",
	},
	Remedy: lang.Text{
		En: "Build and push it under a name with a version, and create the container again from that.",
		Es: "Constrúyala y publíquela con nombre y versión, y vuelva a crear el contenedor a partir de ella.",
	},
	Severity: audit.Medium,
	Domains:  changes,
	Controls: rowLineage,
	Kind:     inventory.Container,
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		name, fact, _ := inventory.ImageName.Of(o)
		if byDigest(name) {
			return audit.Good(fact)
		}
		img := imageNamed(s, o)
		tags, tagFact, ok := inventory.ImageTags.Of(img)
		digests, digestFact, _ := inventory.ImageDigests.Of(img)
		switch {
		case !ok:
			return audit.Untold(tagFact, fact)
		case len(tags)+len(digests) == 0:
			return audit.Bad(append(known(tagFact, digestFact), fact)...)
		}
		return audit.Good(known(tagFact, digestFact)...)
	},
}

var containerSecretEnv = &audit.Check{
	ID:    "container-secret-env",
	Title: lang.Text{En: "Container keeps a secret in its environment", Es: "El contenedor guarda un secreto en su entorno"},
	Why: lang.Text{
		En: "Everybody who may inspect it reads it, each child process inherits it, and crash reports carry it away.",
		Es: "Lo lee cualquiera que pueda inspeccionarlo, lo hereda cada proceso hijo y se va con los informes de fallos.",
	},
	Remedy: lang.Text{
		En: "Change the secret, and give the new one as a file: a Compose or Swarm secret, or a mounted file with mode 0400.",
		Es: "Cambie el secreto y entregue el nuevo como archivo: un secret de Compose o Swarm, o un archivo montado con modo 0400.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowSecrets,
	Kind:     inventory.Container,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		env, fact, ok := inventory.Env.Of(o)
		if !ok {
			return audit.Untold(fact)
		}
		fact.Value = inventory.MaskEnv(env) // readers mask too; a request at admission may not have been
		var names []string
		for _, e := range inventory.MaskEnv(env) {
			if name, value, _ := strings.Cut(e, "="); inventory.Masked(value) {
				names = append(names, name)
			}
		}
		if names == nil {
			return audit.Good(fact)
		}
		return audit.Bad(fact).Because(plain(quoted(names))).Wanting(ask(o, inventory.Env.Path, lang.Text{
			En: "From which file will the program read its secrets, so that they can leave the environment?",
			Es: "¿De qué archivo leerá el programa sus secretos, para que salgan del entorno?",
		}))
	},
}
