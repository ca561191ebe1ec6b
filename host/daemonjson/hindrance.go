package daemonjson

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/tailscale/hujson"
	"golang.org/x/sys/unix"

	"casco/internal/atomicfile"
	"casco/lang"
	"casco/loop/inventory"
)

// hinder says why a daemon.json is not edited. It names the file and, where
// there is one, the place in it.
func hinder(en, es string, args ...any) error { return lang.Errorf(lang.Text{En: en, Es: es}, args...) }

// behind puts where, a path or a place, before what err says.
func behind(where string, err error) error { return fmt.Errorf("%s%w", where, err) }

// A Source adds to each engine the field Config.Hindrance: why the hand would
// not edit its daemon.json, {en, es}; absent if nothing hinders it. It runs
// after the source that reads the engines' processes.
type Source struct{}

// NewSource returns a Source.
func NewSource() Source { return Source{} }

// Name implements inventory.Source.
func (Source) Name() string { return Name }

// Read implements inventory.Source.
func (Source) Read(_ context.Context, s *inventory.Snapshot) error {
	for _, o := range s.Of(inventory.Daemon) {
		if _, _, ok := inventory.DaemonConfigFile.Of(o); !ok {
			continue // no process, no file
		}
		if _, err := fileOf(o); err != nil {
			inventory.Put(o.Fields, "Config.Hindrance", map[string]any{"en": lang.Say(err, lang.English), "es": lang.Say(err, lang.Spanish)})
		}
	}
	return nil
}

// hindranceOf is what Source found.
func hindranceOf(o *inventory.Object) lang.Text {
	v, _, _ := inventory.Lookup(o, "Config.Hindrance")
	m, _ := v.(map[string]any)
	en, _ := m["en"].(string)
	es, _ := m["es"].(string)
	return lang.Text{En: en, Es: es}
}

// fileOf reads the configuration file of engine o and makes sure that it can
// be edited and written, that it is for us the file that it is for the engine,
// and that the engine would start with it as it is: else there were no way back.
func fileOf(o *inventory.Object) (atomicfile.Saved, error) {
	path, fact, ok := inventory.DaemonConfigFile.Of(o)
	if !ok {
		return atomicfile.Saved{}, errors.New(fact.Err)
	}
	pid, _, _ := inventory.DaemonPid.Of(o)
	if !filepath.IsAbs(path) {
		cwd, err := os.Readlink(procPath(int(pid), "cwd"))
		if err != nil {
			return atomicfile.Saved{}, err
		}
		path = filepath.Join(cwd, path)
	}
	if err := regular(path); err != nil {
		return atomicfile.Saved{}, err
	}
	if !sameInside(int(pid), path) {
		return atomicfile.Saved{}, hinder("%s is another file for the engine, which lives in another mount namespace; run casco inside it",
			"%s es otro archivo para el motor, que vive en otro espacio de nombres de montaje; ejecute casco dentro de él", path)
	}
	saved, err := atomicfile.Save(path)
	if err != nil {
		return saved, err
	}
	if err := sound(o, saved); err != nil {
		return saved, err
	}
	return saved, writable(path)
}

// regular refuses what is there and is no file that can be replaced.
func regular(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR):
		return nil
	case errors.Is(err, unix.ELOOP):
		return hinder("%s is a symbolic link that leads to itself", "%s es un enlace simbólico que lleva a sí mismo", path)
	case errors.Is(err, fs.ErrPermission):
		return unreadable(path)
	case err != nil:
		return err
	case info.IsDir():
		return hinder("%s is a directory; it must be a file, or nothing", "%s es un directorio; debe ser un archivo, o nada", path)
	case !info.Mode().IsRegular():
		return hinder("%s is no regular file", "%s no es un archivo regular", path)
	}
	if n := info.Sys().(*syscall.Stat_t).Nlink; n > 1 {
		return hinder("%s has %d hard links; replacing it would part them", "%s tiene %d enlaces duros; reemplazarlo los separaría", path, n)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return unreadable(path)
	}
	if err == nil {
		f.Close()
	}
	return err
}

func unreadable(path string) error {
	return hinder("%s cannot be read: permission denied", "%s no se puede leer: permiso denegado", path)
}

// sound refuses a file with which the engine would not start again.
func sound(o *inventory.Object, file atomicfile.Saved) error {
	if named, _, _ := inventory.Lookup(o, "Config.Named"); !file.Exists && named == true {
		return hinder("%s is named on the command line of dockerd and is not there: the engine would not start again; make one first: echo '{}' > %[1]s",
			"%s figura en la línea de órdenes de dockerd y no existe: el motor no volvería a arrancar; créelo antes: echo '{}' > %[1]s", file.Path)
	}
	root, err := parse(file.Data)
	if err != nil {
		return behind(file.Path+":", err)
	}
	from, _, _ := inventory.Field[map[string]any]{Kind: inventory.Daemon, Path: "EffectiveFrom"}.Of(o)
	for _, m := range root.Value.(*hujson.Object).Members {
		key := m.Name.Value.(hujson.Literal).String()
		if from[key] == "flag" && key != "runtimes" { // the one key that dockerd takes from both: moby, daemon/config, skipDuplicates
			return behind(fmt.Sprintf("%s:%s: ", file.Path, at(file.Data, m.Name.StartOffset)), hinder(
				"the key %q is on the command line of dockerd too, which would not start again with both; remove one",
				"la clave %q está también en la línea de órdenes de dockerd, que no volvería a arrancar con ambas; quite una", key))
		}
	}
	return nil
}

// knownKeys are all keys of which this package knows how they are written.
var knownKeys = slices.Concat(reloadable, restarting, migrations)

// spelled refuses a key of the file that another key, or dockerd, writes with
// other capitals: encoding/json would take it for the same, and dockerd ends
// with "the following directives don't match any configuration option".
func spelled(src []byte, o *hujson.Object) error {
	for _, m := range o.Members {
		key := m.Name.Value.(hujson.Literal).String()
		i := slices.IndexFunc(knownKeys, func(k string) bool { return strings.EqualFold(k, key) && k != key })
		if i >= 0 {
			return behind(at(src, m.Name.StartOffset)+": ", hinder("the key %q is written %q; dockerd does not start with another spelling",
				"la clave %q se escribe %q; dockerd no arranca con otra grafía", key, knownKeys[i]))
		}
	}
	return nil
}

// What dockerd says of a key: moby, daemon/config, findConfigurationConflicts
// and encoding/json.
var complaints = []*regexp.Regexp{
	regexp.MustCompile(`don't match any configuration option: ([^,\s]+)`),
	regexp.MustCompile(`Go struct field \w+\.([^\s]+) of type`),
}

var trialFile = regexp.MustCompile(`\S*/` + trialPrefix + `[^\s:]*`)

// placed makes a complaint about our copy of a file one about the file itself,
// and says where in it stands the key that it is about.
func placed(err error, file atomicfile.Saved) error {
	if err == nil {
		return nil
	}
	in := func(l lang.Lang) string { return trialFile.ReplaceAllLiteralString(lang.Say(err, l), file.Path) }
	said := lang.Errorf(lang.Text{En: "%s", Es: "%s"}, lang.Text{En: in(lang.English), Es: in(lang.Spanish)})
	root, perr := parse(file.Data)
	if perr != nil {
		return said
	}
	for _, re := range complaints {
		found := re.FindStringSubmatch(said.Error())
		if found == nil {
			continue
		}
		// Newer Go names the structs in which the field is embedded, too:
		// "CommonConfig.debug".
		for word := range strings.SplitSeq(found[1], ".") {
			for _, m := range root.Value.(*hujson.Object).Members {
				if m.Name.Value.(hujson.Literal).String() == word {
					return fmt.Errorf("%s:%s: %w", file.Path, at(file.Data, m.Name.StartOffset), said)
				}
			}
		}
	}
	return said
}
