package checks

import (
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var dockerfileUpdateAlone = &audit.Check{
	ID:       "dockerfile-update-alone",
	Title:    lang.Text{En: "RUN fetches a package index and installs nothing with it", Es: "RUN descarga un índice de paquetes y no instala nada con él"},
	Why:      imageUpdateAlone.Why,
	Remedy:   imageUpdateAlone.Remedy,
	Severity: audit.Low,
	Domains:  secures,
	Controls: rowImageFlaws.cis("4.7"),
	Kind:     inventory.Dockerfile,
	Eval: judgeRuns(false, func(_ dockerLine, cmds []dockerCommand, a *dockerAnswer) {
		verdict, why := judgeIndex(bare(cmds))
		if verdict == audit.Pass {
			return
		}
		for _, c := range cmds {
			if slices.ContainsFunc(packagers, func(p packager) bool { refreshes, _ := p.does(bare([]dockerCommand{c})); return refreshes }) {
				if verdict == audit.Unknown {
					a.open(why, c.fact)
				} else {
					a.bad(c.fact)
				}
				return
			}
		}
	}),
}

var dockerfilePackageCache = &audit.Check{
	ID:    "dockerfile-package-cache",
	Title: lang.Text{En: "Layer keeps the index of a package manager", Es: "La capa conserva el índice de un gestor de paquetes"},
	Why: lang.Text{
		En: "Whoever gets in installs what they need from it, and the image is larger to store, move and scan.",
		Es: "Quien entra instala con él lo que necesita, y la imagen es mayor para guardar, mover y analizar.",
	},
	Remedy: lang.Text{
		En: "Remove it in the same RUN: rm -rf /var/lib/apt/lists/*, apk add --no-cache, dnf clean all; or keep it out with --mount=type=cache.",
		Es: "Quítelo en el mismo RUN: rm -rf /var/lib/apt/lists/*, apk add --no-cache, dnf clean all; o déjelo fuera con --mount=type=cache.",
	},
	Severity: audit.Low,
	Domains:  secures,
	Controls: rowImageSize.cis("4.3"),
	Kind:     inventory.Dockerfile,
	Eval: judgeRuns(true, func(l dockerLine, cmds []dockerCommand, a *dockerAnswer) {
		if strings.Contains(l.text("Text"), "type=cache") {
			return
		}
		for i, c := range cmds {
			if keepsIndex(c) && !slices.ContainsFunc(cmds[i:], func(c dockerCommand) bool { return removesIndex(c.Command) || cleans(c) }) {
				a.bad(c.fact)
				return
			}
		}
	}),
}

// keepsIndex reports whether c leaves an index behind: apt-get update, and what
// refreshes it by itself (apk add without --no-cache, dnf).
func keepsIndex(c dockerCommand) bool {
	as := c.Args()
	switch c.Name() {
	case "apt-get", "apt", "aptitude":
		return c.Verb("-o", "-c", "-t", "--option") == "update"
	case "apk":
		return slices.Contains([]string{"update", "--update", "--update-cache", "-U"}, c.Verb()) || !slices.Contains(as, "--no-cache") && slices.ContainsFunc(as, func(a string) bool { return a == "-U" || a == "--update" || a == "--update-cache" })
	case "yum", "dnf", "microdnf", "tdnf":
		return slices.Contains([]string{"install", "update", "upgrade", "makecache"}, c.Verb("-c", "-x"))
	}
	return false
}

// cleans reports whether c is a package manager that drops what it keeps.
func cleans(c dockerCommand) bool {
	switch c.Name() {
	case "yum", "dnf", "microdnf", "tdnf", "zypper":
		return c.Verb("-c", "-x") == "clean" || c.Verb("-c", "-x") == "cc"
	case "apt-get", "apt":
		return c.Verb() == "distclean"
	case "apk":
		return strings.HasPrefix(strings.Join(c.Args(), " "), "cache clean")
	}
	return false
}

var dockerfileUnsignedPackages = &audit.Check{
	ID:    "dockerfile-unsigned-packages",
	Title: lang.Text{En: "Packages are installed without a check of their signatures", Es: "Se instalan paquetes sin comprobar sus firmas"},
	Why:   imageUnverifiedPackages.Why,
	Remedy: lang.Text{
		En: "Leave the option out, and give the package manager the repository's key.",
		Es: "Quite la opción y dé al gestor de paquetes la clave del repositorio.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowTrust.cis("4.11"),
	Kind:     inventory.Dockerfile,
	Eval:     judgeEach(false, func(c dockerCommand) bool { return skipsSignatures(c.Command) }),
}
