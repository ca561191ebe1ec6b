// Package units reads which services systemd starts at boot.
//
// It reads the links that "systemctl enable" makes (*.wants and *.requires),
// and the unit files, and asks no systemd: the answer is the same from a rescue
// system, and it is about the next boot, not about what runs. Units that a
// generator makes at boot are not seen.
package units

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"casco/loop/inventory"
)

// unitDirs is where unit files are, the first that has one wins:
// systemd.unit(5), "System Unit Search Path". On a host with a merged /usr the
// last two are one.
var unitDirs = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// A Reader is the source of the unit objects.
type Reader struct{ root string }

// New returns a source that reads the units under root, "" for the host's own.
func New(root string) *Reader { return &Reader{root} }

// Name implements inventory.Source.
func (r *Reader) Name() string { return "units" }

// Read implements inventory.Source: one object for each unit that something
// wants. One that is masked, or has no file, is there and not Enabled.
func (r *Reader) Read(ctx context.Context, s *inventory.Snapshot) error {
	wanted, err := r.wanted()
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		links := wanted[name]
		slices.Sort(links)
		o := &inventory.Object{
			Ref:    inventory.Ref{Kind: inventory.Unit, Name: name},
			Source: links[0],
			Read:   now,
			Fields: map[string]any{"WantedBy": targets(links)},
			Unread: map[string]string{},
		}
		r.describe(o, name)
		s.Add(o)
	}
	return nil
}

// wanted finds the links, by the name of the unit.
func (r *Reader) wanted() (map[string][]string, error) {
	out := map[string][]string{}
	found := false
	for _, dir := range unitDirs {
		es, err := os.ReadDir(filepath.Join(r.root, dir))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = true
		for _, e := range es {
			if !strings.HasSuffix(e.Name(), ".wants") && !strings.HasSuffix(e.Name(), ".requires") {
				continue
			}
			links, err := os.ReadDir(filepath.Join(r.root, dir, e.Name()))
			if err != nil {
				return nil, err
			}
			for _, l := range links {
				out[l.Name()] = append(out[l.Name()], filepath.Join(dir, e.Name(), l.Name()))
			}
		}
	}
	if !found {
		return nil, errors.New("no units of systemd on this host; what another init starts is not read")
	}
	return out, nil
}

// targets are the units whose .wants the links are in.
func targets(links []string) []string {
	var out []string
	for _, l := range links {
		dir := filepath.Base(filepath.Dir(l))
		out = append(out, strings.TrimSuffix(strings.TrimSuffix(dir, ".wants"), ".requires"))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// describe fills in what the unit's file says.
func (r *Reader) describe(o *inventory.Object, name string) {
	fragment, err := r.fragment(name)
	switch {
	case errors.Is(err, errMasked):
		o.Fields["Enabled"], o.Fields["Masked"] = false, true
		return
	case errors.Is(err, fs.ErrNotExist):
		o.Fields["Enabled"] = false
		o.Unread["FragmentPath"], o.Unread["Exec"] = "no unit file", "no unit file"
		return
	case err != nil:
		for _, f := range []string{"Enabled", "FragmentPath", "Exec"} {
			o.Unread[f] = err.Error()
		}
		return
	}
	o.Fields["Enabled"], o.Fields["FragmentPath"] = true, fragment
	exec, err := r.exec(name, fragment)
	if err != nil {
		o.Unread["Exec"] = err.Error()
		return
	}
	o.Fields["Exec"] = exec
}

var errMasked = errors.New("is masked")

// fragment finds the file of a unit; that of an instance (a@b.service) may be
// its template's (a@.service). A link to /dev/null, or an empty file, masks.
func (r *Reader) fragment(name string) (string, error) {
	for _, n := range fileNames(name) {
		for _, dir := range unitDirs {
			path := filepath.Join(dir, n)
			info, err := os.Stat(filepath.Join(r.root, path))
			if to, linkErr := os.Readlink(filepath.Join(r.root, path)); linkErr == nil && filepath.IsAbs(to) && to != os.DevNull {
				info, err = os.Stat(filepath.Join(r.root, to)) // an absolute link means the host's root
				path = to
			}
			switch {
			case errors.Is(err, fs.ErrNotExist):
				continue
			case err != nil:
				return "", err
			case info.Size() == 0 && !info.IsDir():
				return "", errMasked
			}
			return path, nil
		}
	}
	return "", fs.ErrNotExist
}

func fileNames(unit string) []string {
	before, after, ok := strings.Cut(unit, "@")
	if !ok {
		return []string{unit}
	}
	return []string{unit, before + "@" + filepath.Ext(after)}
}

// exec lists the commands that a service starts: ExecStart of the unit's file
// and of its drop-ins, where an empty one forgets those before it:
// systemd.service(5). Secrets in them are masked.
func (r *Reader) exec(name, fragment string) ([]string, error) {
	files := []string{fragment}
	dropIns, err := r.dropIns(name)
	if err != nil {
		return nil, err
	}
	out := []string{}
	for _, f := range append(files, dropIns...) {
		b, err := os.ReadFile(filepath.Join(r.root, f))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		for _, command := range execStarts(string(b)) {
			if command == "" {
				out = out[:0]
				continue
			}
			out = append(out, inventory.MaskText(command))
		}
	}
	return out, nil
}

// dropIns lists NAME.d/*.conf of all directories in the order of their file
// names; a name in an earlier directory hides the later ones.
func (r *Reader) dropIns(name string) ([]string, error) {
	byName := map[string]string{}
	for _, n := range fileNames(name) {
		for _, dir := range unitDirs {
			es, err := os.ReadDir(filepath.Join(r.root, dir, n+".d"))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			for _, e := range es {
				if _, hidden := byName[e.Name()]; !hidden && strings.HasSuffix(e.Name(), ".conf") {
					byName[e.Name()] = filepath.Join(dir, n+".d", e.Name())
				}
			}
		}
	}
	var out []string
	for _, base := range slices.Sorted(maps.Keys(byName)) {
		out = append(out, byName[base])
	}
	return out, nil
}

// execStarts returns the values of ExecStart in a unit file, in order.
func execStarts(text string) []string {
	var out []string
	section := ""
	lines := bufio.NewScanner(strings.NewReader(continued(text)))
	lines.Buffer(nil, len(text)+1)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") {
			section = line
			continue
		}
		if key, value, ok := strings.Cut(line, "="); ok && section == "[Service]" && strings.TrimSpace(key) == "ExecStart" {
			out = append(out, strings.TrimSpace(value))
		}
	}
	return out
}

// continued joins lines that end in a backslash, and takes out comments, which
// may stand between them: systemd.syntax(7).
func continued(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if t := strings.TrimSpace(line); strings.HasPrefix(t, "#") || strings.HasPrefix(t, ";") {
			continue
		}
		if more, ok := strings.CutSuffix(line, `\`); ok {
			b.WriteString(more + " ")
			continue
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}
