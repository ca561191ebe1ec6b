package checks

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var (
	imageVulnerable = vulnerable("image-vulnerable", audit.High, grave, lang.Text{
		En: "Image has packages with grave or exploited vulnerabilities", Es: "La imagen tiene paquetes con vulnerabilidades graves o explotadas",
	})
	imageVulnerableLess = vulnerable("image-vulnerable-less", audit.Medium, func(m map[string]any) bool { return !grave(m) }, lang.Text{
		En: "Image has packages with lesser vulnerabilities", Es: "La imagen tiene paquetes con vulnerabilidades menores",
	})
)

// vulnerable makes the check of the vulnerabilities that are meant.
func vulnerable(id string, severity audit.Severity, meant func(map[string]any) bool, title lang.Text) *audit.Check {
	return &audit.Check{
		ID:    id,
		Title: title,
		Why: lang.Text{
			En: "How to break in is published. Every container of the image has it, until it is made anew from an image that has the fix.",
			Es: "Cómo irrumpir está publicado. Lo tiene todo contenedor de la imagen, hasta que se rehaga desde una imagen que tenga el arreglo.",
		},
		Remedy: lang.Text{
			En: "Build the image again: on a newer base if the layer is the base's, else with the version that fixes; then create its containers anew. Do not patch inside a container.",
			Es: "Construya la imagen de nuevo: sobre una base más nueva si la capa es de la base; si no, con la versión que lo arregla; luego rehaga sus contenedores. No parchee dentro de un contenedor.",
		},
		Severity: severity,
		Domains:  changes,
		Controls: rowImageFlaws.cis("4.4"),
		Kind:     inventory.Image,
		Policy:   []string{inventory.PolicyAdvisoriesAge.Path},
		Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
			return judgeFlaws(s, o, meant)
		},
	}
}

// grave reports whether a vulnerability is used by attackers, or is rated so
// that it may be soon (CVSS 3.1, 5: high from 7.0 on). One without a rating is.
// A distribution that calls it unimportant knows how it builds the package
// (Debian security tracker, "unimportant").
func grave(m map[string]any) bool {
	switch {
	case m["Exploited"] == true:
		return true
	case asString(m["Urgency"]) == "unimportant":
		return false
	}
	return slices.Contains([]string{"high", "critical", ""}, asString(m["Severity"]))
}

// judgeFlaws fails the vulnerabilities that are meant and that nobody has
// stated not to concern the image. None found is a pass only if all packages
// were seen and could be judged, by what was published of late.
func judgeFlaws(s *inventory.Snapshot, o *inventory.Object, meant func(map[string]any) bool) audit.Answer {
	list, fact, ok := inventory.ImageFlaws.Of(o)
	if !ok {
		return audit.Untold(fact)
	}
	var lines, loci []string
	silent := 0
	for _, e := range list {
		m := asMap(e)
		switch {
		case !meant(m):
		case asString(m["Silent"]) != "":
			silent++
		default:
			lines, loci = append(lines, flawLine(m)), append(loci, asString(m["ID"])+" "+asString(m["Package"]))
		}
	}
	var reason lang.Text
	if silent > 0 {
		reason = lang.Text{En: "of %d more a VEX statement says that there is nothing to do", Es: "de %d más una declaración VEX dice que no hay nada que hacer"}.F(silent)
	}
	_, used, _ := inventory.ImageUsedBy.Of(o)
	if len(lines) > 0 {
		return audit.Bad(known(with(fact, lines), used)...).Because(reason).At(slices.Compact(loci)...)
	}
	unseen, seen, _ := inventory.ImageUnseen.Of(o)
	unjudged, judged, _ := inventory.ImageUnjudged.Of(o)
	switch {
	case len(unseen) > 0:
		return audit.Untold(seen).Because(lang.Text{En: "not all packages can be seen: %s", Es: "no se ven todos los paquetes: %s"}.F(unseen[0]))
	case len(unjudged) > 0:
		return audit.Untold(judged).Because(lang.Text{En: "not all packages could be judged: %s", Es: "no se pudieron juzgar todos los paquetes: %s"}.F(unjudged[0]))
	}
	if at, old := oldAdvisories(s, o); old {
		return audit.Untold(at).Because(lang.Text{
			En: "what was published of late is not known here: casco db update, or casco db import FILE",
			Es: "aquí no se conoce lo publicado últimamente: casco db update, o casco db import ARCHIVO",
		})
	}
	return audit.Good(with(fact, lines)).Because(reason)
}

// AdvisoriesAge is how old what is known of vulnerabilities may be where the
// policy does not say. Some of it changes every day; for data about exploitation
// package risk has the same.
const AdvisoriesAge = 7 * 24 * time.Hour

// oldAdvisories reports whether what image o was held against is too old, or of
// an age that nobody knows.
func oldAdvisories(s *inventory.Snapshot, o *inventory.Object) (inventory.Fact, bool) {
	text, fact, ok := inventory.ImageAdvisories.Of(o)
	at, err := time.Parse(time.RFC3339, text)
	if !ok || err != nil {
		return fact, true
	}
	most := AdvisoriesAge
	text, _, ok = inventory.PolicyAdvisoriesAge.Of(s.Find(inventory.PolicyRef))
	if d, read := lasting(text); ok && read {
		most = d
	}
	return fact, s.Taken.Sub(at) > most
}

// flawLine says of one vulnerability where it is and what fixes it.
func flawLine(m map[string]any) string {
	line := asString(m["ID"]) + " " + asString(m["Package"]) + " " + asString(m["Version"])
	if n, ok := asInt(m["Layer"]); ok && n > 0 {
		line += ", layer " + strconv.FormatInt(n, 10)
	}
	line += ", " + cmp.Or(asString(m["Severity"]), "not rated")
	if m["Exploited"] == true {
		line += ", exploited"
	}
	if p, err := strconv.ParseFloat(fmt.Sprint(m["EPSS"]), 64); err == nil {
		line += fmt.Sprintf(", EPSS %.3f", p)
	}
	if fixed := asString(m["Fixed"]); fixed != "" {
		return line + ": fixed in " + fixed
	}
	return line + ": no fix is published"
}
