package checks

import (
	"maps"
	"path"
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var containerReadOnlyRoot = &audit.Check{
	ID:    "container-read-only-root",
	Title: lang.Text{En: "Container may change its own programs", Es: "El contenedor puede cambiar sus propios programas"},
	Why: lang.Text{
		En: "An intruder writes tools and changes programs and settings in the root file system; read-only, there is nowhere to put them.",
		Es: "Un intruso escribe herramientas y cambia programas y ajustes en la raíz; en solo lectura no hay dónde ponerlos.",
	},
	Remedy: lang.Text{
		En: "Create the container again with --read-only, a --tmpfs for each directory of passing files, and a volume for each of lasting ones.",
		Es: "Vuelva a crear el contenedor con --read-only, un --tmpfs por cada directorio de archivos pasajeros y un volumen por cada uno de duraderos.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowReadOnly.cis("5.13"),
	Kind:     inventory.Container,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		want, asked, ok := inventory.ReadonlyRootfs.Of(o)
		if is, fact, read := inventory.EffectiveRootReadOnly.Of(o); read {
			evidence := append([]inventory.Fact{fact}, known(asked)...)
			a := audit.Good(evidence...)
			if !is {
				a = audit.Bad(evidence...).Wanting(readOnlyWants(o)...)
			}
			if ok && is != want {
				a.Reason = contradicted(want, is)
			}
			return a
		}
		switch {
		case !ok:
			return audit.Untold(asked)
		case want:
			return declared(o, audit.Good(asked))
		}
		return declared(o, audit.Bad(asked).Wanting(readOnlyWants(o)...))
	},
}

// readOnlyWants suggests a read-only root where what the container has written
// so far allows it: nothing, or only where files need not last.
func readOnlyWants(o *inventory.Object) []audit.Want {
	w := audit.Want{
		Ref: o.Ref, Field: inventory.ReadonlyRootfs.Path,
		Ask:    lang.Text{En: "Can it run with a read-only root? What it writes was not read.", Es: "¿Puede correr con la raíz en solo lectura? No se leyó lo que escribe."},
		Breaks: lang.Text{En: "Writes outside volumes and tmpfs fail.", Es: "Fallan las escrituras fuera de volúmenes y tmpfs."},
	}
	changes, _, ok := changesOf(o)
	if !ok {
		return []audit.Want{w}
	}
	dirs := writtenDirs(changes)
	lasting := slices.DeleteFunc(slices.Clone(dirs), passing)
	if len(lasting) > 0 {
		w.Ask = lang.Text{
			En: "Can it run with a read-only root? It has written to %s: a volume, a tmpfs, or nothing?",
			Es: "¿Puede correr con la raíz en solo lectura? Ha escrito en %s: ¿volumen, tmpfs o nada?",
		}.F(quoted(lasting))
		return []audit.Want{w}
	}
	w.Value = true
	w.Ask = lang.Text{
		En: "Can it run with a read-only root? So far it has written nothing that must last.",
		Es: "¿Puede correr con la raíz en solo lectura? Hasta ahora no ha escrito nada que deba durar.",
	}
	if len(dirs) == 0 {
		return []audit.Want{w}
	}
	was, _, _ := inventory.Tmpfs.Of(o)
	tmpfs := maps.Clone(was)
	if tmpfs == nil {
		tmpfs = map[string]any{}
	}
	for _, dir := range dirs {
		if tmpfs[dir] == nil {
			tmpfs[dir] = ""
		}
	}
	return []audit.Want{w, {Ref: o.Ref, Field: inventory.Tmpfs.Path, Value: tmpfs, Ask: lang.Text{
		En: "May %s be a tmpfs, empty at each start?",
		Es: "¿Puede %s ser un tmpfs, vacío en cada arranque?",
	}.F(quoted(dirs))}}
}

// passing reports whether files below dir need not outlive a restart: FHS 3.0
// says so of /run and /tmp, and that /var/cache can be made again.
func passing(dir string) bool {
	return slices.ContainsFunc([]string{"/tmp", "/run", "/var/run", "/var/cache"}, func(p string) bool { return within(dir, p) })
}

// A change is one path that differs from the image.
type change struct {
	path       string
	kind       int64 // 0 modified, 1 added, 2 deleted (GET /containers/{id}/changes)
	executable bool  // known to be a program
}

// changesOf returns the changes of o without the directories that are listed
// only because something below them changed.
func changesOf(o *inventory.Object) (leaves []change, fact inventory.Fact, ok bool) {
	list, fact, ok := inventory.Changes.Of(o)
	if !ok {
		return nil, fact, false
	}
	parents := map[string]bool{}
	for _, v := range list {
		parents[path.Dir(asString(asMap(v)["Path"]))] = true
	}
	for _, v := range list {
		p := asString(asMap(v)["Path"])
		if kind, ok := asInt(asMap(v)["Kind"]); ok && !parents[p] && p != "/sbin/docker-init" {
			x, _ := asMap(v)["Executable"].(bool)
			leaves = append(leaves, change{p, kind, x})
		}
	}
	return leaves, fact, true
}

// writtenDirs returns the directories in which something changed, without
// those below another of them, sorted.
func writtenDirs(changes []change) []string {
	var dirs []string
	for _, c := range changes {
		dirs = append(dirs, path.Dir(c.path))
	}
	slices.Sort(dirs)
	var out []string
	for _, d := range slices.Compact(dirs) {
		if !slices.ContainsFunc(out, func(above string) bool { return within(d, above) }) {
			out = append(out, d)
		}
	}
	return out
}

var containerDrift = &audit.Check{
	ID:    "container-drift",
	Title: lang.Text{En: "Container differs from its image", Es: "El contenedor difiere de su imagen"},
	Why: lang.Text{
		En: "Somebody patched it in place, or an intruder left something: what runs is not what was built, scanned and approved.",
		Es: "Alguien lo parcheó en caliente o un intruso dejó algo: lo que corre no es lo que se construyó, analizó y aprobó.",
	},
	Remedy: lang.Text{
		En: "Keep what is needed as evidence (casco case), put the change into the image, and create the container again from it.",
		Es: "Conserve lo necesario como evidencia (casco case), lleve el cambio a la imagen y vuelva a crear el contenedor a partir de ella.",
	},
	Severity: audit.High,
	Domains:  changes,
	Controls: rowDrift.cis("5.13"),
	Kind:     inventory.Container,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		list, fact, ok := changesOf(o)
		if !ok {
			return audit.Untold(fact)
		}
		class := map[string][]string{}
		for _, c := range list {
			class[c.class()] = append(class[c.class()], c.path)
		}
		var en, es []string
		for _, k := range []struct{ class, es string }{{"new executable", "ejecutable nuevo"}, {"config", "configuración"}, {"deletion", "borrado"}} {
			if paths := class[k.class]; paths != nil {
				en, es = append(en, k.class+": "+quoted(paths)), append(es, k.es+": "+quoted(paths))
			}
		}
		if en == nil {
			return audit.Good(fact)
		}
		return audit.Bad(fact).Because(lang.Text{En: strings.Join(en, "; "), Es: strings.Join(es, "; ")})
	},
}

// programDirs hold what runs: programs, and the libraries they load.
var programDirs = []string{"/bin", "/sbin", "/lib", "/lib64", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib64", "/usr/libexec", "/usr/local", "/opt"}

// engineFiles are what the engine itself writes into every container.
var engineFiles = []string{"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/mtab", "/.dockerenv"}

// class is "new executable", "config", "deletion", or "" for data that a
// running service may write.
func (c change) class() string {
	in := func(dirs []string) bool {
		return slices.ContainsFunc(dirs, func(d string) bool { return within(c.path, d) })
	}
	switch {
	case in(engineFiles):
		return ""
	case c.kind == 2 && !passing(c.path):
		return "deletion"
	case c.kind == 2:
		return ""
	case c.executable, in(programDirs) && !strings.HasSuffix(c.path, ".pyc"):
		return "new executable"
	case in([]string{"/etc", "/root", "/var/spool/cron"}):
		return "config"
	}
	return ""
}
