package image

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"casco/vuln"
)

// A stack is the digests of an image's layers, the lowest first: those of their
// content (RootFS.Layers, diff IDs of the OCI image specification).
type stack []string

// digest names a stack by the content of all its layers.
func (st stack) digest() string {
	h := sha256.New()
	for _, l := range st {
		fmt.Fprintln(h, l)
	}
	return "stack:" + hex.EncodeToString(h.Sum(nil))
}

// A Content is what the layers of an image hold, seen as a container would see
// it; of keys and logins also what a later layer deletes.
type Content struct {
	Read     time.Time         `json:"read"` // UTC
	Setuid   []string          `json:"setuid,omitempty"`
	Access   []Access          `json:"access,omitempty"`
	Release  Release           `json:"release"`
	Users    map[string]string `json:"users,omitempty"` // names of passwd(5), with their numbers
	Packages []vuln.Package    `json:"packages,omitempty"`
	Unseen   []string          `json:"unseen,omitempty"` // why there may be more packages
	SSH      []string          `json:"ssh,omitempty"`
	Caches   map[string]int64  `json:"caches,omitempty"`
	Layers   []Sheet           `json:"layers"`
}

// An Access is a Material with the layer that has it, counted from 1 at the
// bottom.
type Access struct {
	Material
	Layer   int  `json:"layer"`
	Deleted bool `json:"deleted,omitempty"`
}

// A Sheet says what one layer adds.
type Sheet struct {
	Digest   string `json:"digest"`
	Files    int    `json:"files"`
	Bytes    int64  `json:"bytes"`
	Wasted   int64  `json:"wasted,omitempty"` // bytes that a layer above replaces or deletes
	Packages int    `json:"packages,omitempty"`
}

// content says what a stack holds, if all of its layers are known.
func (c *cache) content(st stack) (Content, error) {
	if r, ok := c.get(st.digest()); ok && r.Content != nil {
		return *r.Content, nil
	}
	layers := make([]Layer, len(st))
	for i, digest := range st {
		l, err := c.layer(digest)
		if err != nil {
			return Content{}, err
		}
		layers[i] = l
	}
	found := compose(st, layers)
	found.Read = time.Now().UTC()
	return found, c.put(record{Digest: st.digest(), Content: &found})
}

// compose lays layers above one another.
func compose(st stack, layers []Layer) Content {
	s := &composing{stack: st, layers: layers, sets: map[string]map[string]bool{}}
	var out Content
	waste := make([]index, len(layers))
	texts := map[string]string{}
	for i, l := range layers {
		waste[i] = l.Index
		out.Setuid = append(out.Setuid, s.shown(i, l.Setuid)...)
		out.SSH = append(out.SSH, s.shown(i, l.SSH)...)
		for _, m := range l.Material {
			out.Access = append(out.Access, Access{m, i + 1, !s.shows(i, m.Path)})
		}
		for p, text := range l.Texts {
			if s.shows(i, p) {
				texts[p] = text
			}
		}
		for dir, n := range l.Caches {
			if out.Caches == nil {
				out.Caches = map[string]int64{}
			}
			out.Caches[dir] += n // whether it shows or not, it is carried along
		}
	}
	out.Setuid, out.SSH = sorted(out.Setuid), sorted(out.SSH)
	out.Release = releaseOf(cmp.Or(texts["/etc/os-release"], texts["/usr/lib/os-release"]))
	out.Users = usersOf(texts["/etc/passwd"])
	out.Packages, out.Unseen = s.packages(out.Release)
	brought := map[string]int{}
	for _, p := range out.Packages {
		brought[p.Layer]++
	}
	for i, n := range wasted(waste) {
		out.Layers = append(out.Layers, Sheet{st[i], layers[i].Files, layers[i].Bytes, n, brought[st[i]]})
		delete(brought, st[i]) // a layer that comes twice brings nothing new
	}
	return out
}

type composing struct {
	stack  stack
	layers []Layer
	sets   map[string]map[string]bool // see names
}

// shows reports whether a file of a layer is still seen under those above.
func (s *composing) shows(layer int, p string) bool {
	return !slices.ContainsFunc(s.layers[layer+1:], func(l Layer) bool { return l.Index.hides(p) })
}

func (s *composing) shown(layer int, paths []string) []string {
	return slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return !s.shows(layer, p) })
}

// packages returns what is installed, and why there may be more.
func (s *composing) packages(r Release) (all []vuln.Package, unseen []string) {
	kinds := map[string]bool{} // of the databases that are seen
	deleted := ""
	for i, l := range s.layers {
		for _, f := range l.Software {
			switch shown := s.shows(i, f.Path); {
			case shown && f.database():
				for _, p := range f.Packages {
					kinds[p.Ecosystem] = true
				}
			case f.database():
				deleted = fmt.Sprintf("%s, the database of packages of layer %d, is deleted in a later one", f.Path, i+1)
			}
		}
	}
	for i, l := range s.layers {
		for _, f := range l.Software {
			if !s.shows(i, f.Path) || !f.database() && owned(kinds, f.Path) {
				continue
			}
			if f.Err != "" {
				unseen = append(unseen, f.Path+": "+f.Err)
			}
			for _, p := range f.Packages {
				p.Layer = s.stack[s.brought(i, f, p)]
				all = append(all, r.settle(p))
			}
		}
	}
	if len(kinds) == 0 {
		for i, l := range s.layers {
			if programs := s.shown(i, l.Programs); len(programs) > 0 {
				unseen = append(unseen, cmp.Or(deleted, "no package database")+"; programs such as "+programs[0]+" do not say of what they are made")
				break
			}
		}
	}
	return merge(all), unseen
}

// database reports whether f is the database of a distribution's packages.
func (f Found) database() bool {
	return len(f.Packages) > 0 && slices.Contains([]string{debs, apks, rpms}, f.Packages[0].Ecosystem)
}

// nameOf is what makes two packages of one database the same.
func nameOf(p vuln.Package) string { return p.Name + "\x00" + p.Version + "\x00" + p.Arch }

// brought is the layer that brought a package of file f, which is in layer at: a
// database is written anew by each layer that installs something, with all
// that was there before.
func (s *composing) brought(at int, f Found, p vuln.Package) int {
	if !f.database() {
		return at
	}
	for i := at - 1; i >= 0; i-- {
		for _, before := range s.layers[i].Software {
			if before.Path != f.Path {
				continue
			}
			if !s.names(i, before)[nameOf(p)] {
				return at
			}
			at = i
		}
	}
	return at
}

// names are the packages of a database in a layer.
func (s *composing) names(layer int, f Found) map[string]bool {
	k := fmt.Sprint(layer, f.Path)
	if known, ok := s.sets[k]; ok {
		return known
	}
	set := make(map[string]bool, len(f.Packages))
	for _, p := range f.Packages {
		set[nameOf(p)] = true
	}
	s.sets[k] = set
	return set
}

// owned are the places of a distribution's own packages of a language, whose
// fixes and versions are the distribution's: Debian Python Policy 3.1, Debian
// JavaScript and Java policies; Fedora Packaging Guidelines, Python.
func owned(kinds map[string]bool, p string) bool {
	var places []string
	switch {
	case kinds[debs]:
		places = []string{"/usr/lib/python3/dist-packages/", "/usr/share/nodejs/", "/usr/lib/nodejs/", "/usr/share/java/", "/usr/share/maven-repo/"}
	case kinds[rpms]:
		if dir, _, ok := strings.Cut(p, "/site-packages/"); ok {
			ok, _ = path.Match("/usr/lib*/python3*", dir)
			return ok
		}
		places = []string{"/usr/share/java/", "/usr/lib/node_modules/"}
	}
	return slices.ContainsFunc(places, func(dir string) bool { return strings.HasPrefix(p, dir) })
}

// merge sorts packages, and makes those one that differ only in their places.
func merge(all []vuln.Package) []vuln.Package {
	slices.SortStableFunc(all, func(a, b vuln.Package) int {
		return cmp.Or(cmp.Compare(a.Ecosystem, b.Ecosystem), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Arch, b.Arch), cmp.Compare(a.Layer, b.Layer))
	})
	var out []vuln.Package
	for _, p := range all {
		if n := len(out) - 1; n >= 0 && out[n].Ecosystem == p.Ecosystem && out[n].Name == p.Name && out[n].Version == p.Version && out[n].Arch == p.Arch && out[n].Layer == p.Layer {
			out[n].Paths = sorted(slices.Concat(out[n].Paths, p.Paths))
			continue
		}
		out = append(out, p)
	}
	return out
}

// releaseOf reads os-release(5).
func releaseOf(text string) Release {
	words := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, readMost+1)
	for lines.Scan() {
		if key, value, ok := strings.Cut(lines.Text(), "="); ok {
			words[key] = strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	return Release{ID: words["ID"], Version: words["VERSION_ID"], Codename: words["VERSION_CODENAME"], Name: words["PRETTY_NAME"], CPE: words["CPE_NAME"]}
}

// usersOf reads the lines "name:uid".
func usersOf(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		if name, id, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && name != "" {
			if _, twice := out[name]; !twice { // getpwnam(3) takes the first
				out[name] = id
			}
		}
	}
	return out
}
