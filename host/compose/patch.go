package compose

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"casco/lang"
)

// A document is a Compose file as its author wrote it. It is changed by whole
// lines: what is not named by an edit stays as it is, to the byte, comments,
// order, quoting and line ends included. Re-encoding YAML would not do that
// (a file of 25 lines came out with 11 of them changed).
type document struct {
	lines   []string // without their ends
	newline string
	root    *yaml.Node // the mapping at the top
}

func parse(src []byte) (*document, error) {
	if bytes.HasPrefix(src, []byte("\xef\xbb\xbf")) {
		return nil, lang.Errorf(lang.Text{En: "the file begins with a byte order mark", Es: "el archivo empieza con una marca de orden de bytes"})
	}
	d := &document{newline: "\n"}
	if i := bytes.IndexByte(src, '\n'); i > 0 && src[i-1] == '\r' {
		d.newline = "\r\n"
	}
	d.lines = strings.Split(string(src), d.newline)
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, lang.Errorf(lang.Text{En: "the file is not a mapping", Es: "el archivo no es un mapa"})
	}
	d.root = doc.Content[0]
	return d, nil
}

func (d *document) bytes() []byte { return []byte(strings.Join(d.lines, d.newline)) }

// child returns the key and the value of name in a mapping, nil if there is none.
func child(m *yaml.Node, name string) (key, value *yaml.Node) {
	if m == nil || m.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == name {
			return m.Content[i], m.Content[i+1]
		}
	}
	return nil, nil
}

// service returns the mapping of a service, or nil if the file does not have it.
func (d *document) service(name string) *yaml.Node {
	_, services := child(d.root, "services")
	_, s := child(services, name)
	return s
}

// editable returns the mapping of a service that can be changed by lines.
func (d *document) editable(name string) (*yaml.Node, error) {
	s := d.service(name)
	switch {
	case s == nil:
		return nil, lang.Errorf(lang.Text{En: "service %q is not in the file", Es: "el servicio %q no está en el archivo"}, name)
	case s.Kind != yaml.MappingNode || s.Style&yaml.FlowStyle != 0 || len(s.Content) == 0:
		return nil, lang.Errorf(lang.Text{
			En: "service %q is not written as a block of lines",
			Es: "el servicio %q no está escrito como un bloque de líneas",
		}, name)
	}
	return s, nil
}

// block returns the lines of a service, from its key on.
func (d *document) block(service string) (from, to int, err error) {
	_, services := child(d.root, "services")
	k, s := child(services, service)
	if s == nil {
		return 0, 0, lang.Errorf(lang.Text{En: "service %q is not in the file", Es: "el servicio %q no está en el archivo"}, service)
	}
	return k.Line - 1, d.end(k.Line, k.Column-1), nil
}

// sameBlock reports whether a service is written alike in two files.
func sameBlock(a, b []byte, service string) (bool, error) {
	x, err := blockOf(a, service)
	if err != nil {
		return false, err
	}
	y, err := blockOf(b, service)
	return slices.Equal(x, y), err
}

func blockOf(src []byte, service string) ([]string, error) {
	d, err := parse(src)
	if err != nil {
		return nil, err
	}
	from, to, err := d.block(service)
	if err != nil {
		return nil, err
	}
	return d.lines[from:to], nil
}

// swapBlock writes a service in src as it is written in from.
func swapBlock(src, from []byte, service string) ([]byte, error) {
	lines, err := blockOf(from, service)
	if err != nil {
		return nil, err
	}
	d, err := parse(src)
	if err != nil {
		return nil, err
	}
	begin, end, err := d.block(service)
	if err != nil {
		return nil, err
	}
	return []byte(strings.Join(slices.Concat(d.lines[:begin], lines, d.lines[end:]), d.newline)), nil
}

// set gives key of a service a value, or takes the key away if it is nil.
func (d *document) set(service, key string, value any) ([]byte, error) {
	s, err := d.editable(service)
	if err != nil {
		return nil, err
	}
	value = literal(value)
	indent := s.Content[0].Column - 1
	var text []string
	if value != nil {
		if text, err = render(indent, key, value); err != nil {
			return nil, err
		}
	}
	k, v := child(s, key)
	if k == nil {
		if value == nil {
			return d.bytes(), nil
		}
		last := s.Content[len(s.Content)-2]
		return d.replaced(service, key, value, d.end(last.Line, indent), d.end(last.Line, indent), text)
	}
	if v.Kind == yaml.AliasNode || v.Anchor != "" {
		return nil, lang.Errorf(lang.Text{
			En: "service %q: %s is shared with other places by an anchor",
			Es: "servicio %q: %s se comparte con otros lugares por un ancla",
		}, service, key)
	}
	if value == nil && len(s.Content) == 2 {
		return nil, lang.Errorf(lang.Text{
			En: "service %q: nothing would be left of it without %s",
			Es: "servicio %q: sin %s no quedaría nada de él",
		}, service, key)
	}
	return d.replaced(service, key, value, k.Line-1, d.end(k.Line, indent), text)
}

// item replaces the item with that index of a list, or takes it away if text
// is empty. The list must be written one item a line or block.
func (d *document) item(service, key string, index int, text string) ([]byte, error) {
	s, err := d.editable(service)
	if err != nil {
		return nil, err
	}
	_, list := child(s, key)
	if list == nil || list.Kind != yaml.SequenceNode || list.Style&yaml.FlowStyle != 0 || list.Anchor != "" {
		return nil, lang.Errorf(lang.Text{
			En: "service %q: %s is not written as a list of lines",
			Es: "servicio %q: %s no está escrito como una lista de líneas",
		}, service, key)
	}
	if len(list.Content) == 1 && text == "" {
		return d.set(service, key, nil)
	}
	line := list.Content[index].Line
	indent := strings.Index(d.lines[line-1], "-")
	if indent < 0 || strings.TrimSpace(d.lines[line-1][:indent]) != "" {
		return nil, lang.Errorf(lang.Text{
			En: "service %q: line %d is not a list item of its own",
			Es: "servicio %q: la línea %d no es un elemento de lista propio",
		}, service, line)
	}
	var lines []string
	if text != "" {
		lines = []string{d.lines[line-1][:indent] + "- " + quote(text)}
	}
	out := slices.Concat(d.lines[:line-1], lines, d.lines[d.itemEnd(line, indent):])
	return []byte(strings.Join(out, d.newline)), nil
}

// end returns the index behind the last line of the block whose key stands on
// line (from 1) with that indentation: the lines that follow and are indented
// deeper, or are items of a list at the same depth. Blank lines and comments at
// its end belong to what comes next.
func (d *document) end(line, indent int) int {
	return d.blockEnd(line, func(depth int, text string) bool {
		return depth > indent || depth == indent && strings.HasPrefix(text, "-")
	})
}

func (d *document) itemEnd(line, indent int) int {
	return d.blockEnd(line, func(depth int, _ string) bool { return depth > indent })
}

func (d *document) blockEnd(line int, inside func(depth int, text string) bool) int {
	end := line
	for i := line; i < len(d.lines); i++ {
		text := strings.TrimSpace(d.lines[i])
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if !inside(len(d.lines[i])-len(strings.TrimLeft(d.lines[i], " ")), text) {
			break
		}
		end = i + 1
	}
	return end
}

// replaced puts text in the place of the lines from..to, and proves that the
// file then says the same as before in everything but the key.
func (d *document) replaced(service, key string, value any, from, to int, text []string) ([]byte, error) {
	out := []byte(strings.Join(slices.Concat(d.lines[:from], text, d.lines[to:]), d.newline))
	var was, now map[string]any
	if err := yaml.Unmarshal(d.bytes(), &was); err != nil {
		return nil, err
	}
	if err := yaml.Unmarshal(out, &now); err != nil {
		return nil, lang.Errorf(lang.Text{
			En: "service %q: %s cannot be changed where it stands: %w",
			Es: "servicio %q: %s no se puede cambiar donde está: %w",
		}, service, key, err)
	}
	old, ok1 := serviceOf(was, service)
	new, ok2 := serviceOf(now, service)
	if !ok1 || !ok2 || !sameValue(new[key], value) {
		return nil, lang.Errorf(lang.Text{
			En: "service %q: %s cannot be changed where it stands",
			Es: "servicio %q: %s no se puede cambiar donde está",
		}, service, key)
	}
	delete(old, key)
	delete(new, key)
	if !reflect.DeepEqual(was, now) {
		return nil, lang.Errorf(lang.Text{
			En: "service %q: changing %s would change something else too",
			Es: "servicio %q: cambiar %s cambiaría también otra cosa",
		}, service, key)
	}
	return out, nil
}

func serviceOf(doc map[string]any, name string) (map[string]any, bool) {
	services, _ := doc["services"].(map[string]any)
	s, ok := services[name].(map[string]any)
	return s, ok
}

func sameValue(a, b any) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// render writes a key with its value as lines of YAML: scalars, lists of
// scalars, and maps of those. Strings are double-quoted, as JSON has them,
// which is YAML too (YAML 1.2, 7.3.1).
func render(indent int, key string, value any) ([]string, error) {
	pad := strings.Repeat(" ", indent)
	switch v := value.(type) {
	case []string:
		lines := []string{pad + key + ":"}
		if len(v) == 0 {
			return []string{pad + key + ": []"}, nil
		}
		for _, s := range v {
			lines = append(lines, pad+"  - "+quote(s))
		}
		return lines, nil
	case string:
		return []string{pad + key + ": " + quote(v)}, nil
	case bool, int, int64, float64, json.Number:
		return []string{fmt.Sprintf("%s%s: %v", pad, key, v)}, nil
	case map[string]any:
		lines := []string{pad + key + ":"}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			sub, err := render(indent+2, k, v[k])
			if err != nil {
				return nil, err
			}
			lines = append(lines, sub...)
		}
		return lines, nil
	}
	return nil, lang.Errorf(lang.Text{En: "%s: %T cannot be written", Es: "%s: %T no se puede escribir"}, key, value)
}

// literal doubles the dollars in a value: Compose would read variables.
func literal(v any) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, "$", "$$")
	case []string:
		out := make([]string, len(v))
		for i, s := range v {
			out[i] = strings.ReplaceAll(s, "$", "$$")
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = literal(e)
		}
		return out
	}
	return v
}

// quote writes s as a double-quoted scalar.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(b)
}
