package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"casco/guard/admission"
	"casco/host/compose"
	"casco/lint"
	"casco/loop/inventory"
)

// Files that are Compose files by their names, and those that Compose lays over
// the one that it finds by itself (compose-spec, 03-compose-file.md).
var (
	composeName     = regexp.MustCompile(`^(?:docker-)?compose(?:[._-].*)?\.ya?ml$`)
	composeOverride = regexp.MustCompile(`^((?:docker-)?compose)\.override\.ya?ml$`)
	composeDefaults = []string{"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}
)

// A project is the files of one Compose project. Only what stands in Of is told,
// if that is not "": the others are told for themselves.
type project struct {
	Files []string
	Of    string
}

// projects puts Compose files together as Compose would: an override over its
// base, and any other variant over the base of its folder.
func projects(files []string) []project {
	var out []project
	for _, f := range files {
		dir, name := filepath.Split(f)
		base := baseIn(dir)
		m := composeOverride.FindStringSubmatch(name)
		override := m != nil && strings.HasPrefix(base, m[1]+".")
		switch {
		case base == "" || name != base && slices.Contains(composeDefaults, name):
			out = append(out, project{Files: []string{f}})
		case name == base:
			p := project{Files: []string{f}}
			for _, o := range files {
				if m := composeOverride.FindStringSubmatch(filepath.Base(o)); m != nil && filepath.Dir(o) == filepath.Dir(f) && strings.HasPrefix(base, m[1]+".") {
					p.Files = append(p.Files, o)
				}
			}
			out = append(out, p)
		case override && slices.Contains(files, filepath.Join(dir, base)): // it is judged with its base
		default:
			out = append(out, project{[]string{filepath.Join(dir, base), f}, filepath.ToSlash(f)})
		}
	}
	return out
}

// baseIn is the file that Compose takes in a folder if it is told none, "" if
// there is none.
func baseIn(dir string) string {
	for _, name := range composeDefaults {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
			return name
		}
	}
	return ""
}

// compose judges one project: each service as the container that it would be,
// what the engine would make beside it, and the Dockerfiles of what is built.
func (l *linter) compose(ctx context.Context, p project) ([]lint.Result, []*lint.Pragma) {
	made, err := compose.Load(ctx, p.Files, os.Environ(), l.instead)
	if err != nil {
		l.gap(strings.Join(p.Files, ", "), err)
		return nil, nil
	}
	var found []lint.Result
	var pragmas []*lint.Pragma
	for name, text := range made.Files {
		if l.texts[name] = text; (p.Of == "" || p.Of == name) && !l.accepting[name] {
			l.accepting[name] = true
			pragmas = append(pragmas, lint.Pragmas(name, text, nil)...)
		}
	}
	w := lintWorld{linter: l, built: map[string]*inventory.Object{}}
	for _, s := range made.Services {
		if s.Build != nil {
			o, fs, ps := l.built(s.Build, p.Of == "")
			if o != nil {
				w.built[s.Body["Image"].(string)] = o
			}
			found, pragmas = append(found, fs...), append(pragmas, ps...)
		}
	}
	objects := slices.Concat([]*inventory.Object{made.Self}, made.Networks, made.Volumes)
	for _, o := range objects {
		o.Read = l.now
	}
	for _, s := range made.Services {
		o, err := l.container(s, w)
		if err != nil {
			l.gap(s.At, err)
			continue
		}
		objects = append(objects, o)
	}
	_, fs := l.findings(objects)
	return append(found, slices.DeleteFunc(l.placed(fs), func(r lint.Result) bool { return p.Of != "" && r.At.File != p.Of })...), pragmas
}

// container is a service as the container that would be made.
func (l *linter) container(s compose.Asked, w lintWorld) (*inventory.Object, error) {
	body, err := json.Marshal(s.Body)
	if err != nil {
		return nil, err
	}
	o, err := admission.Container(s.Name, body, l.now, w)
	if err != nil {
		return nil, err
	}
	o.Source, o.Sources = s.At, s.Sources
	l.whole[o.Ref], l.services[o.Ref], l.containers[o.Ref] = s.At, s, o
	for field, unset := range s.Unset {
		if field == "Config.Labels" || field == "Config.Env" {
			continue // one of many values
		}
		inventory.Put(o.Fields, field, nil)
		if o.Unread == nil {
			o.Unread = map[string]string{}
		}
		o.Unread[field] = "no value is known here for " + unset
	}
	return o, nil
}

// built is the image that a service builds, nil if it could not be read; its
// Dockerfile is judged once, if it is to be told of.
func (l *linter) built(b *compose.Build, told bool) (*inventory.Object, []lint.Result, []*lint.Pragma) {
	if b.Inline != "" || strings.Contains(b.Context, "://") {
		return nil, nil, nil // an inline one is a part of the Compose file; a remote one is not read
	}
	name := filepath.ToSlash(relative(b.Dockerfile))
	src, err := l.file(relative(b.Dockerfile))
	if err != nil {
		l.gap(name, err)
		return nil, nil, nil
	}
	o, err := l.readDockerfile(name, src, relative(b.Context), b.Target, b.Args)
	if err != nil {
		l.gap(name, err)
		return nil, nil, nil
	}
	image := &inventory.Object{Ref: inventory.Ref{Kind: inventory.Image, Name: name}, Source: o.Source, Read: l.now, Unread: o.Unread, Fields: map[string]any{"Config": o.Fields["Config"]}}
	if _, seen := l.texts[name]; seen || !told {
		return image, nil, nil
	}
	l.texts[name] = src
	_, found := l.findings([]*inventory.Object{o})
	return image, l.placed(found), lint.Pragmas(name, src, endsOf(o))
}

// relative is a path as a person in this folder would write it.
func relative(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(here, path); err == nil && filepath.IsAbs(path) && !strings.HasPrefix(rel, "..") {
		return rel
	}
	return path
}

// A lintWorld is what is known to a request that nobody sends: the engine that
// was named, if one was, and the images that the project builds.
type lintWorld struct {
	*linter
	built map[string]*inventory.Object
}

func (w lintWorld) Image(ref string) *inventory.Object {
	if o := w.built[ref]; o != nil {
		return o
	}
	return w.image(ref)
}

func (w lintWorld) find(k inventory.Kind, name string) *inventory.Object {
	return w.host.Find(inventory.Ref{Kind: k, Name: name})
}

func (w lintWorld) Container(name string) *inventory.Object { return w.find(inventory.Container, name) }

func (w lintWorld) Network(name string) *inventory.Object { return w.find(inventory.Network, name) }

func (w lintWorld) Volume(name string) *inventory.Object { return w.find(inventory.Volume, name) }
func (lintWorld) Get(string) any                         { return nil }
func (lintWorld) Seccomp(string) ([]byte, error)         { return nil, os.ErrNotExist }
func (lintWorld) Signatures(string) [][]byte             { return nil }
func (w lintWorld) Snapshot() *inventory.Snapshot        { return w.host }

// Resolve follows the links of this host only if its engine was named: a file
// is judged alike wherever it is.
func (w lintWorld) Resolve(path string) string {
	if w.host == nil {
		return ""
	}
	return resolve(path)
}

// refine moves a result from a list or map to the elements of it that are wrong:
// those that a part of the container is called by, or of an environment those
// that hold a secret.
func refine(r *lint.Result, s compose.Asked) {
	var at []inventory.Position
	for _, e := range r.Evidence {
		for _, item := range s.Items[e.Field] {
			secret := false
			if name, value, ok := strings.Cut(item.Text, "="); ok && e.Field == inventory.Env.Path {
				secret = inventory.Masked(inventory.MaskValue(name, value))
			}
			p, ok := inventory.ParsePosition(item.At)
			if ok && (secret || slices.ContainsFunc(r.Loci, func(part string) bool { return names(item.Text, part) })) && !slices.Contains(at, p) {
				at = append(at, p)
			}
		}
	}
	if len(at) == 0 {
		return
	}
	for _, p := range append([]inventory.Position{r.At}, r.Also...) {
		inside := slices.ContainsFunc(at, func(in inventory.Position) bool {
			return p.File == in.File && p.Line <= in.Line && p.EndLine >= in.EndLine
		})
		if !inside {
			at = append(at, p)
		}
	}
	r.At, r.Also = at[0], at[1:]
}

// names reports whether an element as a person wrote it speaks of a part of a
// container: a path, a capability, a published port (0.0.0.0:443/tcp).
func names(item, part string) bool {
	if number := publishedPart.FindStringSubmatch(part); number != nil {
		part = number[1]
	}
	return slices.ContainsFunc(strings.FieldsFunc(item, func(r rune) bool { return strings.ContainsRune(":=, ", r) }), func(w string) bool {
		w, _, _ = strings.Cut(w, "/tcp")
		w, _, _ = strings.Cut(w, "/udp")
		return w == part || strings.TrimPrefix(w, "CAP_") == part
	})
}

var publishedPart = regexp.MustCompile(`:(\d+)/[a-z]+$`)
