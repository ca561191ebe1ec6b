package checks

import (
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var dockerfileSecrets = &audit.Check{
	ID:       "dockerfile-secrets",
	Title:    lang.Text{En: "Dockerfile holds a secret, or is given one as an argument", Es: "El Dockerfile contiene un secreto, o lo recibe como argumento"},
	Why:      lang.Text{En: "It is in the file, its versions and the image's history: everybody who can read one of them has it.", Es: "Está en el archivo, en sus versiones y en el historial de la imagen: lo tiene cualquiera que lea uno de ellos."},
	Remedy:   imageSecrets.Remedy,
	Severity: audit.High,
	Domains:  secures,
	Controls: rowSecrets.cis("4.10"),
	Kind:     inventory.Dockerfile,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return judgeLines(o, func(l dockerLine, a *dockerAnswer) {
			switch l.Word {
			case "ENV", "ARG", "LABEL":
				if !isClean(asString(l.fact.Value)) || slices.ContainsFunc(l.list("Pairs"), inventory.Masked) || l.Word == "ARG" && asksForSecret(l) {
					a.bad(l.fact)
				}
				return
			}
			cmds, _ := l.commands()
			before := len(a.wrong)
			for _, c := range cmds {
				if !isClean(asString(c.fact.Value)) {
					a.bad(c.fact)
				}
			}
			if len(a.wrong) == before && !isClean(asString(l.fact.Value)) {
				a.bad(l.fact)
			}
		})
	},
}

// asksForSecret reports whether an ARG without a value is to be given a secret:
// the arguments of a build are in the image's history.
func asksForSecret(l dockerLine) bool {
	words := strings.Fields(l.text("Text"))
	return len(words) > 1 && slices.ContainsFunc(words[1:], func(w string) bool { return !strings.Contains(w, "=") && inventory.NamesSecret(w) })
}

var dockerfilePrivateFiles = &audit.Check{
	ID:       "dockerfile-private-files",
	Title:    lang.Text{En: "Keys, logins or the repository are copied into the image", Es: "Claves, credenciales o el repositorio se copian en la imagen"},
	Why:      imageAccessMaterial.Why,
	Remedy:   lang.Text{En: "Leave them out in .dockerignore, or copy what is needed by name; give a build its secrets with RUN --mount=type=secret. Replace what has been in an image.", Es: "Exclúyalos en .dockerignore, o copie por su nombre lo necesario; dé los secretos a la construcción con RUN --mount=type=secret. Cambie lo que ya estuvo en una imagen."},
	Severity: audit.High,
	Domains:  secures,
	Controls: rowSecrets.cis("4.10"),
	Kind:     inventory.Dockerfile,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		looked, context, _ := inventory.DockerfileContext.Of(o)
		return judgeLines(o, func(l dockerLine, a *dockerAnswer) {
			if l.Word != "COPY" && l.Word != "ADD" || l.text("From") != "" {
				return
			}
			sources := l.list("Sources")
			rest := instruction{Word: l.Word, Rest: strings.Join(append(sources, l.text("Dest")), " ")}
			brings := l.list("Brings")
			switch {
			case len(brings) > 0 && !onlyPublic(brings, l.text("Dest")):
				f := l.fact
				f.Value = asString(f.Value) + "  ← " + quoted(brings)
				a.bad(f)
			case copiesKey(rest):
				a.bad(l.fact)
			case !looked && slices.ContainsFunc(sources, func(src string) bool { return !remoteSource.MatchString(src) }):
				a.open(lang.Text{En: "the files that the build would be given were not looked at", Es: "no se miraron los archivos que recibiría la construcción"}, context)
			}
		})
	},
}

// onlyPublic reports whether files go where public keys belong.
func onlyPublic(files []string, dest string) bool {
	return !copiesKey(instruction{Word: "COPY", Rest: "id_rsa " + dest}) && !slices.ContainsFunc(files, func(f string) bool { return !inventory.KeyFile(f) })
}
