package compose

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"casco/loop/inventory"
)

// where finds the places of what a project says in its files: compose-go keeps
// none. It reads the files a second time and looks where Compose would have
// taken a key from: the last file that has it, a mapping that is merged into the
// service, what the service extends, what a file includes.
type where struct {
	files []string
	env   map[string]string
	nodes map[string]*source // by path
	// instead is what is read in place of files, by their absolute paths.
	instead map[string][]byte
}

// A source is one file; its root is nil if it cannot be read so.
type source struct {
	name string
	text []byte
	root *yaml.Node
}

func (w *where) source(name string) *source {
	name = filepath.Clean(name)
	if s := w.nodes[name]; s != nil {
		return s
	}
	s := &source{name: filepath.ToSlash(name)}
	w.nodes[name] = s
	text, err := w.read(name)
	if err != nil {
		return s
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err == nil && len(doc.Content) == 1 {
		s.text, s.root = text, doc.Content[0]
	}
	return s
}

func (w *where) read(name string) ([]byte, error) {
	if abs, err := filepath.Abs(name); err == nil {
		if text, ok := w.instead[abs]; ok {
			return text, nil
		}
	}
	return os.ReadFile(name)
}

// A found is a key with its value in a file.
type found struct {
	in         *source
	key, value *yaml.Node
}

// position is from the key to the end of its value's last line.
func (f found) position() inventory.Position {
	p := inventory.Position{File: f.in.name, Line: f.key.Line, Column: f.key.Column, EndLine: f.key.Line, EndColumn: f.key.Column + width(f.key)}
	if last := lastOf(f.value); last != nil && (last.Line > p.Line || last.Line == p.Line && last.Column >= p.EndColumn) {
		p.EndLine, p.EndColumn = last.Line, last.Column+width(last)
	}
	return f.in.within(p)
}

// items are what the value holds, each with its place.
func (f found) items() []Item {
	var out []Item
	switch v := follow(f.value); {
	case v == nil:
	case v.Kind == yaml.SequenceNode:
		for _, e := range v.Content {
			out = append(out, Item{said(e), found{f.in, e, e}.position().String()})
		}
	case v.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(v.Content); i += 2 {
			out = append(out, Item{v.Content[i].Value + "=" + said(v.Content[i+1]), found{f.in, v.Content[i], v.Content[i+1]}.position().String()})
		}
	}
	return out
}

// said is a scalar's value, or those of all scalars in n, with colons between.
func said(n *yaml.Node) string {
	if n = follow(n); n == nil || n.Kind == yaml.ScalarNode {
		if n == nil {
			return ""
		}
		return n.Value
	}
	var all []string
	for _, c := range n.Content {
		if c.Kind != yaml.AliasNode {
			all = append(all, said(c))
		}
	}
	return strings.Join(all, ":")
}

// lastOf is the last scalar that n holds; what an alias stands for is elsewhere.
func lastOf(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind != yaml.ScalarNode && n.Kind != yaml.AliasNode && len(n.Content) > 0 {
		n = n.Content[len(n.Content)-1]
	}
	return n
}

func width(n *yaml.Node) int {
	switch {
	case n.Kind == yaml.AliasNode:
		return len(n.Value) + 1
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return 1
	case n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
		return len(n.Value) + 2
	}
	return max(1, len(n.Value))
}

// within keeps a place within the lines that there are.
func (s *source) within(p inventory.Position) inventory.Position {
	lines := strings.Split(string(s.text), "\n")
	length := func(line int) int { return len(strings.TrimRight(lines[line-1], "\r")) + 1 }
	if p.Line < 1 || p.Line > len(lines) {
		return inventory.Position{File: p.File, Line: 1, Column: 1, EndLine: 1, EndColumn: 1}
	}
	p.Column = min(p.Column, length(p.Line))
	p.EndLine = min(max(p.EndLine, p.Line), len(lines))
	p.EndColumn = min(p.EndColumn, length(p.EndLine))
	if p.EndLine == p.Line {
		p.EndColumn = max(p.EndColumn, p.Column)
	}
	return p
}

// follow follows an alias.
func follow(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// get finds a key of a mapping, or of one that is merged into it (<<).
func get(m *yaml.Node, name string, depth int) (key, value *yaml.Node) {
	m = follow(m)
	if m == nil || m.Kind != yaml.MappingNode || depth > 8 {
		return nil, nil
	}
	var merged []*yaml.Node
	for i := 0; i+1 < len(m.Content); i += 2 {
		switch k := m.Content[i]; {
		case k.Value == name:
			return k, m.Content[i+1]
		case k.Value == "<<":
			merged = append(merged, m.Content[i+1])
		}
	}
	for _, n := range merged {
		n = follow(n)
		from := []*yaml.Node{n}
		if n != nil && n.Kind == yaml.SequenceNode {
			from = n.Content
		}
		for _, f := range from {
			if k, v := get(f, name, depth+1); k != nil {
				return k, v
			}
		}
	}
	return nil, nil
}

// all are the files that speak of the project, the strongest first: those that
// were given from the last to the first, each with what it includes.
func (w *where) all() []*source {
	var out []*source
	var add func(name string, depth int)
	add = func(name string, depth int) {
		s := w.source(name)
		if s.root == nil || slices.Contains(out, s) || depth > 8 {
			return
		}
		out = append(out, s)
		_, list := get(s.root, "include", 0)
		for _, inc := range items(list) {
			if inc = follow(inc); inc.Kind == yaml.MappingNode {
				_, inc = get(inc, "path", 0)
			}
			for _, path := range slices.Backward(items(inc)) {
				add(w.beside(name, path.Value), depth+1)
			}
		}
	}
	for _, name := range slices.Backward(w.files) {
		add(name, 0)
	}
	return out
}

// items are the elements of a list, or a scalar by itself.
func items(n *yaml.Node) []*yaml.Node {
	switch n = follow(n); {
	case n == nil:
		return nil
	case n.Kind == yaml.SequenceNode:
		return n.Content
	}
	return []*yaml.Node{n}
}

func (w *where) beside(file, path string) string {
	path = os.Expand(path, func(name string) string { return w.env[name] })
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}

// service is where a service begins.
func (w *where) service(name string) inventory.Position { return w.top("services", name) }

// top is where something of a section begins: for a network that no file names,
// the beginning of the first file.
func (w *where) top(section, name string) inventory.Position {
	at := inventory.Position{File: filepath.ToSlash(filepath.Clean(w.files[0])), Line: 1, Column: 1, EndLine: 1, EndColumn: 1}
	for _, s := range slices.Backward(w.all()) {
		_, list := get(s.root, section, 0)
		if k, _ := get(list, name, 0); k != nil {
			return s.within(inventory.Position{File: s.name, Line: k.Line, Column: k.Column, EndLine: k.Line, EndColumn: k.Column + len(k.Value)})
		}
	}
	return at
}

// find is where a key of a service is set.
func (w *where) find(service, name string) (found, bool) {
	for _, s := range w.all() {
		if f, ok := w.of(s, service, name, 0); ok {
			return f, true
		}
	}
	return found{}, false
}

// of is a key of a service in one file, or in what the service extends there.
func (w *where) of(s *source, service, name string, depth int) (found, bool) {
	_, services := get(s.root, "services", 0)
	_, svc := get(services, service, 0)
	parts := strings.Split(name, ".")
	within := svc
	for i, part := range parts {
		k, v := get(within, part, 0)
		if within = v; k == nil {
			break
		}
		if i == len(parts)-1 {
			return found{s, k, v}, true
		}
	}
	_, ext := get(svc, "extends", 0)
	ext = follow(ext)
	if ext == nil || depth > 8 {
		return found{}, false
	}
	file, of := "", ext.Value
	if ext.Kind == yaml.MappingNode {
		if _, v := get(ext, "file", 0); v != nil {
			file = v.Value
		}
		if _, v := get(ext, "service", 0); v != nil {
			of = v.Value
		}
	}
	if file != "" {
		s = w.source(w.beside(s.name, file))
	}
	if s.root == nil {
		return found{}, false
	}
	return w.of(s, of, name, depth+1)
}

// bareVariable is $NAME or ${NAME} without what to take otherwise; $$ is none.
var bareVariable = regexp.MustCompile(`\$\$|\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))`)

// unset are the variables in n that have no value here.
func (w *where) unset(n *yaml.Node) []string {
	var out []string
	if n = follow(n); n == nil {
		return nil
	}
	if n.Kind == yaml.ScalarNode {
		for _, m := range bareVariable.FindAllStringSubmatch(n.Value, -1) {
			if v := m[1] + m[2]; v != "" {
				if _, has := w.env[v]; !has {
					out = append(out, v)
				}
			}
		}
	}
	for _, c := range n.Content {
		if c.Kind != yaml.AliasNode {
			out = append(out, w.unset(c)...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// project is what the files say that is of no container.
func (w *where) project() *inventory.Object {
	name := filepath.ToSlash(filepath.Clean(w.files[0]))
	var secrets, rights []any
	for _, s := range slices.Backward(w.all()) {
		s.walk(s.root, nil, func(path []string, key, value *yaml.Node) {
			in := func(i int, words ...string) bool { return i < len(path) && slices.Contains(words, path[i]) }
			if value.Kind != yaml.ScalarNode {
				return
			}
			entry := map[string]any{"Key": strings.Join(path, "."), "At": found{s, key, value}.position().String()}
			if in(0, "services") && in(2, "build") && (in(3, "privileged") && value.Value == "true" || in(3, "network") && value.Value == "host" || in(3, "entitlements")) {
				rights = append(rights, entry)
				entry["Text"] = path[3] + ": " + value.Value
			}
			if in(0, "services") && in(2, "environment", "env_file") {
				return // of the container, which has a check for it
			}
			if text, is := secretIn(path[len(path)-1], value.Value); is {
				entry["Text"] = text
				secrets = append(secrets, entry)
			}
		})
	}
	at := inventory.Position{File: name, Line: 1, Column: 1, EndLine: 1, EndColumn: 1}
	return &inventory.Object{
		Ref: inventory.Ref{Kind: inventory.Compose, Name: name}, Source: at.String(),
		Fields: map[string]any{"Secrets": listed(secrets), "BuildRights": listed(rights)},
	}
}

func listed(l []any) []any { return append([]any{}, l...) }

// secretIn reports whether a key with its value, or a value by itself, shows a
// secret, and gives it masked.
func secretIn(key, value string) (string, bool) {
	text := inventory.MaskText(value)
	if key != "-" {
		text = key + "=" + inventory.MaskValue(key, value)
	}
	return text, inventory.Masked(text) && !inventory.Masked(value)
}

// walk calls do for every key with its value, and for every element of a list
// with the key "-".
func (s *source) walk(n *yaml.Node, path []string, do func(path []string, key, value *yaml.Node)) {
	if len(path) > 32 || n == nil {
		return
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			here := append(path[:len(path):len(path)], n.Content[i].Value)
			do(here, n.Content[i], n.Content[i+1])
			s.walk(n.Content[i+1], here, do)
		}
	case yaml.SequenceNode:
		for _, c := range n.Content {
			here := append(path[:len(path):len(path)], "-")
			do(here, c, c)
			s.walk(c, here, do)
		}
	}
}
