package checks

import (
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var imageSource = &audit.Check{
	ID:    "image-source",
	Title: lang.Text{En: "Image comes from a source that nobody vouches for", Es: "La imagen viene de una fuente que nadie avala"},
	Why: lang.Text{
		En: "Who makes an image decides what runs; a name says nothing of who made it, and a tag can be moved.",
		Es: "Quien hace una imagen decide qué corre; un nombre no dice quién la hizo y una etiqueta se puede mover.",
	},
	Remedy: lang.Text{
		En: "Name the registries that you trust in the policy and pull by digest over TLS; remove images of unknown origin.",
		Es: "Nombre en la política los registros de confianza y baje por resumen y con TLS; quite las imágenes de origen desconocido.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowTrust.cis("4.2"),
	Kind:     inventory.Image,
	Policy:   []string{inventory.PolicyRegistries.Path},
	Eval:     evalImageSource,
}

func evalImageSource(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
	digests, fact, ok := inventory.ImageDigests.Of(o)
	tags, named, okTags := inventory.ImageTags.Of(o)
	if !ok || !okTags {
		return audit.Untold(fact, named)
	}
	if len(digests) == 0 && len(tags) == 0 {
		return audit.Question(lang.Text{
			En: "It has no name and no digest of a registry: who built it, from what, and is it still needed?",
			Es: "No tiene nombre ni resumen de un registro: ¿quién la construyó, de qué, y aún hace falta?",
		}, fact, named)
	}
	if len(digests) == 0 {
		return audit.Question(lang.Text{
			En: "It was built or loaded here, not pulled: who built it, and from which base image?",
			Es: "Se construyó o cargó aquí, no se bajó: ¿quién la construyó y de qué imagen base?",
		}, fact, named)
	}
	var hosts []string
	for _, d := range digests {
		host := inventory.RegistryOf(d)
		if reg := s.Find(inventory.Ref{Kind: inventory.Registry, Name: host}); reg != nil {
			insecure, open, _ := inventory.RegistryInsecure.Of(reg)
			if loopback, _, _ := inventory.RegistryLoopback.Of(reg); insecure && !loopback {
				return audit.Bad(fact, open).Because(lang.Text{
					En: "it comes from a registry that is reached without verified TLS",
					Es: "viene de un registro al que se llega sin TLS verificado",
				})
			}
		}
		hosts = append(hosts, host)
	}
	slices.Sort(hosts)
	if list, all, said := inventory.PolicyRegistries.Of(s.Find(inventory.PolicyRef)); said {
		for i, entry := range list {
			if slices.ContainsFunc(digests, func(d string) bool { return fromRegistry(entry, d) }) {
				return audit.Good(fact, named, entryFact(s, inventory.PolicyRegistries, i, entry)).Because(policyAllows)
			}
		}
		return audit.Bad(fact, named, all).Because(lang.Text{
			En: "it comes from %s, which is none of the registries that the policy allows",
			Es: "viene de %s, que no es ninguno de los registros que la política permite",
		}.F(quoted(slices.Compact(hosts))))
	}
	return audit.Question(lang.Text{
		En: "Do you trust what is published at %s under this name?",
		Es: "¿Confía en lo que %s publica con este nombre?",
	}.F(quoted(slices.Compact(hosts))), fact, named)
}

// fromRegistry reports whether the image ref is of what entry names: a
// registry, or with a slash the repositories below it.
func fromRegistry(entry, ref string) bool {
	host := inventory.RegistryOf(ref)
	if !strings.Contains(entry, "/") {
		return entry == host
	}
	path, _, _ := strings.Cut(strings.TrimPrefix(ref, host+"/"), "@")
	if host == "docker.io" && !strings.Contains(path, "/") {
		path = "library/" + path // distribution/reference, officialRepoPrefix
	}
	head, star := strings.CutSuffix(entry, "*")
	full := host + "/" + path
	return full == entry || star && strings.HasPrefix(full, head)
}

var imagePackages = &audit.Check{
	ID:    "image-packages",
	Title: lang.Text{En: "Image may hold packages that it does not need", Es: "La imagen puede tener paquetes que no necesita"},
	Why: lang.Text{
		En: "Each shell, compiler and tool is one more thing to patch and one more help for who breaks in.",
		Es: "Cada intérprete, compilador y herramienta es algo más que parchear y una ayuda más para quien irrumpe.",
	},
	Remedy: lang.Text{
		En: "Build in one stage and copy the result into a minimal base; compare the list of packages with what a learned profile saw in use.",
		Es: "Construya en una etapa y copie el resultado a una base mínima; compare la lista de paquetes con lo que un perfil aprendido vio en uso.",
	},
	Severity: audit.Low,
	Domains:  secures,
	Controls: rowImageSize.cis("4.3"),
	Kind:     inventory.Image,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		_, size, _ := inventory.ImageSize.Of(o)
		_, used, _ := inventory.ImageUsedBy.Of(o)
		return audit.Question(lang.Text{
			En: "Which of its packages does the application use, and can the others go?",
			Es: "¿Cuáles de sus paquetes usa la aplicación, y se pueden quitar los demás?",
		}, size, used)
	},
}
