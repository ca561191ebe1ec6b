package checks

import (
	"cmp"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// judgeBases puts a question to each external image of a Dockerfile.
func judgeBases(o *inventory.Object, bad func(image string, a *dockerAnswer, f inventory.Fact)) audit.Answer {
	list, fact, ok := inventory.DockerfileBases.Of(o)
	if !ok {
		return audit.Untold(fact)
	}
	a := &dockerAnswer{}
	for _, e := range list {
		m := asMap(e)
		f := inventory.Fact{Ref: o.Ref, Field: "FROM", Value: asString(m["Image"]), Source: asString(m["At"]), Read: o.Read}
		if missing := asList(m["Unresolved"]); len(missing) > 0 {
			var names []string
			for _, n := range missing {
				names = append(names, asString(n))
			}
			a.open(noValue(names), f)
			continue
		}
		bad(asString(m["Image"]), a, f)
	}
	fact.Value = len(list)
	return a.of(fact)
}

var dockerfileBaseLatest = &audit.Check{
	ID:    "dockerfile-base-latest",
	Title: lang.Text{En: "Base image is whatever is latest", Es: "La imagen base es lo que sea último"},
	Why: lang.Text{
		En: "The tag latest moves with each push: two builds of one file give different images, and nobody can say which flaws are in them.",
		Es: "La etiqueta latest se mueve con cada publicación: dos construcciones del mismo archivo dan imágenes distintas y nadie sabe qué fallos tienen.",
	},
	Remedy:   containerImageLatest.Remedy,
	Severity: audit.Medium,
	Domains:  changes,
	Controls: rowLineage.cis("4.2"),
	Kind:     inventory.Dockerfile,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return judgeBases(o, func(image string, a *dockerAnswer, f inventory.Fact) {
			if !byDigest(image) && !byID(image) && strings.HasSuffix(tagged(image), ":latest") {
				a.bad(f)
			}
		})
	},
}

var dockerfileBaseDigest = &audit.Check{
	ID:    "dockerfile-base-digest",
	Title: lang.Text{En: "Base image is not named by its digest", Es: "La imagen base no se nombra por su digest"},
	Why: lang.Text{
		En: "A tag can be moved by whoever may push: the policy wants images that are what was approved.",
		Es: "Quien pueda publicar puede mover una etiqueta: la política quiere imágenes que sean lo aprobado.",
	},
	Remedy: lang.Text{
		En: "Write name:tag@sha256:…; casco lint --fix -H ENGINE takes the digest from an engine that has the image.",
		Es: "Escriba nombre:etiqueta@sha256:…; casco lint --fix -H MOTOR toma el digest de un motor que tenga la imagen.",
	},
	Severity: audit.Low,
	Domains:  changes,
	Controls: rowLineage.cis("4.2"),
	Kind:     inventory.Dockerfile,
	Policy:   []string{inventory.PolicyRequire.Path},
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		wants, said, ok := inventory.PolicyRequire.Of(s.Find(inventory.PolicyRef))
		answer := judgeBases(o, func(image string, a *dockerAnswer, f inventory.Fact) {
			if !byDigest(image) {
				a.bad(f)
			}
		})
		if answer.Verdict == audit.Fail && (!ok || !slices.Contains(wants, "digest")) {
			return audit.Beside(lang.Text{En: "the policy does not want digests (registries.require)", Es: "la política no pide digests (registries.require)"}, append(answer.Evidence, known(said)...)...)
		}
		return answer
	},
}

var dockerfileBaseRegistry = &audit.Check{
	ID:       "dockerfile-base-registry",
	Title:    lang.Text{En: "Base image is of no registry that the policy allows", Es: "La imagen base no es de un registro que la política permita"},
	Why:      imageSource.Why,
	Remedy:   lang.Text{En: "Take the base from a registry of the policy, or add it to registries.allow.", Es: "Tome la base de un registro de la política, o añádalo a registries.allow."},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowTrust.cis("4.2"),
	Kind:     inventory.Dockerfile,
	Policy:   []string{inventory.PolicyRegistries.Path},
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		list, said, ok := inventory.PolicyRegistries.Of(s.Find(inventory.PolicyRef))
		answer := judgeBases(o, func(image string, a *dockerAnswer, f inventory.Fact) {
			if ok && !slices.ContainsFunc(list, func(entry string) bool { return fromRegistry(entry, untagged(image)) }) {
				a.bad(f)
			}
		})
		if answer.Verdict == audit.Pass && !ok {
			return audit.Beside(lang.Text{En: "the policy names no registries", Es: "la política no nombra registros"}, answer.Evidence...)
		}
		if ok {
			answer.Evidence = append(answer.Evidence, said)
		}
		return answer
	},
}

func untagged(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		return image[:i]
	}
	return image
}

var dockerfileBaseSupport = &audit.Check{
	ID:    "dockerfile-base-support",
	Title: lang.Text{En: "Base image no longer gets security fixes", Es: "La imagen base ya no recibe arreglos de seguridad"},
	Why: lang.Text{
		En: "What is found in its packages stays open in every image that is built on it.",
		Es: "Lo que se halle en sus paquetes queda abierto en toda imagen construida sobre ella.",
	},
	Remedy:   lang.Text{En: "Move to a release, or an image, with support.", Es: "Pase a una versión o imagen con soporte."},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowImageFlaws.cis("4.4"),
	Kind:     inventory.Dockerfile,
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return judgeBases(o, func(image string, a *dockerAnswer, f inventory.Fact) {
			if abandoned(image) {
				a.bad(f)
				return
			}
			id, version := releaseOf(image)
			line, listed := supportOf(hostSupport(), id, version)
			switch {
			case listed && !line.end.IsZero() && s.Taken.After(line.end.AddDate(0, 0, 1)):
				f.Value = image + " (" + line.end.Format(time.DateOnly) + ")"
				a.bad(f)
			case !listed && version != "" && beforeAll(id, version):
				a.bad(f)
			case !listed:
				a.open(lang.Text{En: "the name says of no system in the table of supported ones that it is built on it", Es: "el nombre no dice sobre qué sistema de la tabla de soporte está hecha"}, f)
			}
		})
	},
}

// retired are official images of Docker Hub whose pages say DEPRECATED: nobody
// builds them any more.
var retired = []string{"adoptopenjdk", "centos", "clefos", "django", "glassfish", "iojs", "java", "openjdk", "owncloud", "piwik", "rails"}

func abandoned(image string) bool {
	name := strings.TrimPrefix(strings.TrimPrefix(untagged(image), "docker.io/"), "library/")
	return slices.Contains(retired, name)
}

// Codenames that tags of images carry: Debian (distro-info-data), Ubuntu's LTS.
var codenames = map[string][2]string{
	"jessie": {"debian", "8"}, "stretch": {"debian", "9"}, "buster": {"debian", "10"}, "bullseye": {"debian", "11"}, "bookworm": {"debian", "12"},
	"trixie": {"debian", "13"}, "forky": {"debian", "14"}, "trusty": {"ubuntu", "14.04"}, "xenial": {"ubuntu", "16.04"},
	"bionic": {"ubuntu", "18.04"}, "focal": {"ubuntu", "20.04"}, "jammy": {"ubuntu", "22.04"}, "noble": {"ubuntu", "24.04"},
}

var distributions = map[string]string{
	"debian": "debian", "ubuntu": "ubuntu", "alpine": "alpine", "fedora": "fedora", "almalinux": "almalinux", "rockylinux": "rocky", "amazonlinux": "amzn",
}

// releaseOf is the system that an image is built on, by its name and tag alone:
// debian:12-slim, python:3.8-buster, node:14-alpine3.12. Both are "" if they
// do not say.
func releaseOf(image string) (id, version string) {
	named := untagged(image)
	tag := strings.TrimPrefix(strings.TrimPrefix(image, named), ":")
	tag, _, _ = strings.Cut(tag, "@")
	parts := strings.Split(tag, "-")
	for _, p := range parts {
		if release, ok := codenames[p]; ok {
			return release[0], release[1]
		}
		if v, ok := strings.CutPrefix(p, "alpine"); ok && v != "" {
			return "alpine", v
		}
	}
	if id = distributions[path.Base(named)]; id == "" || parts[0] == "" || parts[0][0] < '0' || parts[0][0] > '9' {
		return "", ""
	}
	return id, parts[0]
}

// beforeAll reports whether version is older than all that the table has of id.
func beforeAll(id, version string) bool {
	known := false
	for _, l := range hostSupport() {
		if l.of == id {
			known = true
			if compareReleases(version, l.line) >= 0 {
				return false
			}
		}
	}
	return known
}

// compareReleases compares the first two numbers of releases.
func compareReleases(a, b string) int {
	number := func(s string, i int) int {
		parts := strings.Split(s, ".")
		if i >= len(parts) {
			return 0
		}
		n, _ := strconv.Atoi(parts[i])
		return n
	}
	return cmp.Or(cmp.Compare(number(a, 0), number(b, 0)), cmp.Compare(number(a, 1), number(b, 1)))
}
