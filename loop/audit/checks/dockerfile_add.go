package checks

import (
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var dockerfileAddRemote = &audit.Check{
	ID:       "dockerfile-add-remote",
	Title:    lang.Text{En: "ADD fetches from the network what nobody checks", Es: "ADD descarga de la red lo que nadie comprueba"},
	Why:      imageAdd.Why,
	Remedy:   lang.Text{En: "Give ADD a --checksum=sha256:…, for a Git repository a whole commit; or fetch with curl and check the digest in the same RUN.", Es: "Dé a ADD un --checksum=sha256:…, a un repositorio Git un commit entero; o descargue con curl y compruebe el resumen en el mismo RUN."},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowTrust.cis("4.9"),
	Kind:     inventory.Dockerfile,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return judgeLines(o, func(l dockerLine, a *dockerAnswer) {
			if l.Word == "ADD" && l.text("Checksum") == "" && slices.ContainsFunc(l.list("Sources"), func(src string) bool {
				return remoteSource.MatchString(src) && !pinnedCommit.MatchString(src)
			}) {
				a.bad(l.fact)
			}
			openSources(l, a)
		})
	},
}

var dockerfileAddLocal = &audit.Check{
	ID:       "dockerfile-add-local",
	Title:    lang.Text{En: "ADD where COPY would do", Es: "ADD donde bastaba COPY"},
	Why:      imageAdd.Why,
	Remedy:   lang.Text{En: "Use COPY for local files that are not to be unpacked.", Es: "Use COPY para archivos locales que no haya que desempaquetar."},
	Severity: audit.Low,
	Domains:  secures,
	Controls: rowImages.cis("4.9"),
	Kind:     inventory.Dockerfile,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return judgeLines(o, func(l dockerLine, a *dockerAnswer) {
			sources := l.list("Sources")
			if l.Word == "ADD" && len(l.list("Unresolved")) == 0 && !slices.ContainsFunc(sources, func(src string) bool {
				return remoteSource.MatchString(src) || mayBeArchive(src)
			}) {
				a.bad(l.fact)
			}
			openSources(l, a)
		})
	},
}

// openSources notes that what an ADD brings is not known.
func openSources(l dockerLine, a *dockerAnswer) {
	if missing := l.list("Unresolved"); l.Word == "ADD" && missing != nil {
		a.open(noValue(missing), l.fact)
	}
}

func noValue(names []string) lang.Text {
	return lang.Text{En: "no value is known here for %s", Es: "aquí no se conoce valor para %s"}.F(strings.Join(names, ", "))
}

// mayBeArchive reports whether a local source may be one that ADD unpacks: by
// its name, or because a pattern says no more of it.
func mayBeArchive(src string) bool {
	return archiveName.MatchString(src) || strings.HasSuffix(src, "*")
}
