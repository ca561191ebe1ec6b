package checks

import (
	_ "embed"
	"slices"
	"strings"
	"sync"
	"time"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

//go:embed engine_support.tsv
var engineSupportTable string

//go:embed engine_holes.tsv
var engineHolesTable string

// A supportLine is one release line and its last day of support.
type supportLine struct {
	of, line string
	end      time.Time // zero if none was set when the table was written
}

// A hole is one range of versions of a component that has a published hole:
// from the first that has it up to, not including, the first that has not.
type hole struct {
	of, cve, from, fixed string
}

var (
	engineSupport = sync.OnceValue(func() []supportLine { return parseSupport(engineSupportTable) })
	engineHoles   = sync.OnceValue(func() (holes []hole) {
		for _, c := range rowsOf(engineHolesTable) {
			holes = append(holes, hole{c[0], c[1], c[2], c[3]})
		}
		return holes
	})
)

func parseSupport(table string) (lines []supportLine) {
	for _, c := range rowsOf(table) {
		end, _ := time.Parse(time.DateOnly, c[2]) // "-" leaves it zero
		lines = append(lines, supportLine{c[0], c[1], end})
	}
	return lines
}

// rowsOf splits a table of tab-separated columns; # begins a comment.
func rowsOf(table string) (rows [][]string) {
	for line := range strings.Lines(table) {
		if line = strings.TrimRight(line, "\n"); line != "" && line[0] != '#' {
			rows = append(rows, strings.Split(line, "\t"))
		}
	}
	return rows
}

var engineVersions = &audit.Check{
	ID:    "engine-versions",
	Title: lang.Text{En: "Engine or containerd no longer gets security fixes", Es: "El motor o containerd ya no recibe arreglos de seguridad"},
	Why: lang.Text{
		En: "Holes found after the end of support stay open for good, and everybody can read in the fixes of newer versions where they are.",
		Es: "Los fallos hallados tras el fin del soporte quedan abiertos, y cualquiera lee en los arreglos de las versiones nuevas dónde están.",
	},
	Remedy: lang.Text{
		En: "Move to a supported release of the engine; turn live-restore on first, so that containers keep running.",
		Es: "Pase a una versión con soporte del motor; active antes live-restore para que los contenedores sigan en marcha.",
	},
	Severity: audit.High,
	Domains:  []audit.Domain{audit.Security, audit.Operations},
	Controls: rowEngineFlaws.cis("1.2.2"),
	Kind:     inventory.Daemon,
	Eval:     evalEngineVersions,
}

func evalEngineVersions(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
	parts, fact, ok := componentsOf(o)
	if !ok {
		return audit.Untold(fact)
	}
	var ended, unlisted []string
	for _, p := range parts {
		if p.of == "runc" {
			continue // names no dates
		}
		line, listed := supportOf(engineSupport(), p.of, p.version)
		switch {
		case !listed:
			unlisted = append(unlisted, p.of+" "+p.version)
		case !line.end.IsZero() && s.Taken.After(line.end.AddDate(0, 0, 1)):
			ended = append(ended, p.of+" "+p.version+" ("+line.end.Format(time.DateOnly)+")")
		}
	}
	switch {
	case len(ended) > 0:
		list := strings.Join(ended, ", ")
		a := audit.Bad(fact).Because(lang.Text{
			En: "support by its makers ended: " + list, Es: "terminó el soporte de sus autores: " + list,
		})
		if slices.ContainsFunc(parts, component.repackaged) {
			a.Reason.En += "; the distribution may still patch some holes under the same number, not all"
			a.Reason.Es += "; la distribución quizá aún arregle algunos fallos con el mismo número, no todos"
		}
		return a
	case len(unlisted) > 0 || !slices.ContainsFunc(parts, func(p component) bool { return p.of == "engine" }):
		list := strings.Join(unlisted, ", ")
		return audit.Untold(fact).Because(lang.Text{
			En: "no support date is known here for this version (the table is of 2026-08-22): " + list,
			Es: "aquí no se conoce fecha de soporte de esta versión (la tabla es del 2026-08-22): " + list,
		})
	}
	return audit.Good(fact)
}

// supportOf finds the release line of a version: the longest that begins it.
func supportOf(lines []supportLine, of, version string) (best supportLine, ok bool) {
	for _, l := range lines {
		rest, is := strings.CutPrefix(version, l.line)
		if l.of == of && is && (rest == "" || rest[0] < '0' || rest[0] > '9') && len(l.line) > len(best.line) {
			best, ok = l, true
		}
	}
	return best, ok
}

var engineKnownHoles = &audit.Check{
	ID:    "engine-known-holes",
	Title: lang.Text{En: "Engine, containerd or runc has published holes", Es: "El motor, containerd o runc tiene fallos publicados"},
	Why: lang.Text{
		En: "The published holes of runc and the engine are ways out of a container, with code that anybody can run.",
		Es: "Los fallos publicados de runc y del motor son salidas de un contenedor, con código que cualquiera puede ejecutar.",
	},
	Remedy: lang.Text{
		En: "Update the packages that the reason names to the version beside each hole, or later, and restart the engine; running containers keep the old runc's mounts until they are created again.",
		Es: "Actualice los paquetes que nombra el motivo a la versión junto a cada fallo, o posterior, y reinicie el motor; los contenedores en marcha conservan lo del runc viejo hasta crearse de nuevo.",
	},
	Severity: audit.High,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowEngineFlaws.and("nist-800-53-r5", "RA-5").cis("1.2.2"),
	Kind:     inventory.Daemon,
	Eval:     evalKnownHoles,
}

func evalKnownHoles(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
	parts, fact, ok := componentsOf(o)
	if !ok {
		return audit.Untold(fact)
	}
	var open, perhaps []string
	for _, p := range parts {
		for _, h := range engineHoles() {
			if h.of != p.of || !h.in(p.version) {
				continue
			}
			if h.fixed == "?" || p.repackaged() {
				perhaps = append(perhaps, h.cve+" ("+p.of+")")
			} else {
				open = append(open, h.cve+" ("+p.of+" "+h.fixed+")")
			}
		}
	}
	switch {
	case len(open) > 0:
		list := strings.Join(open, ", ")
		return audit.Bad(fact).Because(lang.Text{En: "holes, and the version without: " + list, Es: "fallos, y la versión que no los tiene: " + list})
	case len(perhaps) > 0:
		list := strings.Join(perhaps, ", ")
		return audit.Untold(fact).Because(lang.Text{
			En: "by its number the version has holes, but its packager may have fixed them under the same number; look them up in the distribution's tracker: " + list,
			Es: "por su número la versión tiene fallos, pero quien la empaqueta quizá los arregló con el mismo número; búsquelos en el rastreador de la distribución: " + list,
		})
	case len(parts) < 3:
		return audit.Untold(fact).Because(lang.Text{
			En: "the engine does not tell the versions of all of engine, containerd and runc",
			Es: "el motor no dice las versiones de todos: motor, containerd y runc",
		})
	}
	return audit.Good(fact)
}

func (h hole) in(version string) bool {
	return (h.from == "0" || compareVersions(version, h.from) >= 0) &&
		(h.fixed == "?" && strings.HasPrefix(version, majorMinor(h.from)) || h.fixed != "?" && compareVersions(version, h.fixed) < 0)
}

// A component is the engine, containerd or runc, and its version as the engine
// tells it.
type component struct{ of, version string }

// componentsOf reads what GET /version says of the three.
func componentsOf(o *inventory.Object) (parts []component, fact inventory.Fact, ok bool) {
	components, fact, ok := inventory.DaemonComponents.Of(o)
	for _, e := range components {
		c, _ := e.(map[string]any)
		name, _ := c["Name"].(string)
		version, _ := c["Version"].(string)
		name = strings.ToLower(name)
		version = strings.TrimPrefix(version, "v")
		numbered := version != "" && version[0] >= '0' && version[0] <= '9' // not "dev", "unknown"
		if numbered && slices.Contains([]string{"engine", "containerd", "runc"}, name) {
			parts = append(parts, component{name, version})
		}
	}
	if ok && len(parts) == 0 {
		fact.Err = "names no version of engine, containerd or runc"
		return nil, fact, false
	}
	return parts, fact, ok
}

// repackaged reports whether a distribution built it, which patches holes and
// leaves the number as it is: "20.10.24+dfsg1", "1.1.5+ds1", "1.6.20~ds1",
// "24.0.7-0ubuntu4".
func (p component) repackaged() bool {
	_, rest := splitVersion(p.version)
	_, pre := preRelease(rest)
	return rest != "" && !pre && rest != "-ce" && rest != "-ee"
}
