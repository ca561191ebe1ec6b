package daemonjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tailscale/hujson"

	"casco/lang"
)

// A Change gives one key of the file a value, or removes it.
type Change struct {
	Key   string // "icc"; below an object with dots: "log-opts.max-size"
	Value any    // decoded JSON; nil removes the key
}

// Edit returns src with the changes made and everything else as it was, to the
// byte: order of keys, indentation, line ends, the newline at the end or its
// absence. A key that has the value already is not touched; a new one goes to
// the end, written as its neighbours are. An empty src is an empty object.
//
// It refuses what dockerd would refuse, or would read in another way than a
// person does: bad JSON, comments, a byte order mark, a key that comes twice.
// The error begins with line:column.
func Edit(src []byte, changes ...Change) ([]byte, error) {
	root, err := parse(src)
	if err != nil {
		return nil, err
	}
	st := styleOf(src, root)
	for _, c := range changes {
		if err := st.set(root.Value.(*hujson.Object), strings.Split(c.Key, "."), c.Value, 0); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Key, err)
		}
	}
	return root.Pack(), nil
}

// parse reads src as dockerd reads it, with more care.
func parse(src []byte) (*hujson.Value, error) {
	if bytes.HasPrefix(src, []byte("\xef\xbb\xbf")) {
		return nil, hinder("1:1: a byte order mark, which not every dockerd reads over; save the file without it",
			"1:1: una marca de orden de bytes, que no todo dockerd pasa por alto; guarde el archivo sin ella")
	}
	if len(bytes.TrimSpace(src)) == 0 {
		return &hujson.Value{Value: &hujson.Object{}, AfterExtra: hujson.Extra("\n")}, nil
	}
	root, err := hujson.Parse(src)
	if err != nil {
		return nil, positioned(err)
	}
	if _, ok := root.Value.(*hujson.Object); !ok {
		return nil, behind(at(src, root.StartOffset)+": ", hinder("is no object: { must come first", "no es un objeto: primero debe venir {"))
	}
	for v := range root.All() {
		if err := standard(src, v); err != nil {
			return nil, err
		}
	}
	if err := spelled(src, root.Value.(*hujson.Object)); err != nil {
		return nil, err
	}
	root = root.Clone() // hujson aliases src
	return &root, nil
}

// positioned turns hujson's "hujson: line 3, column 5: why" into "3:5: why".
func positioned(err error) error {
	var line, column int
	if n, _ := fmt.Sscanf(err.Error(), "hujson: line %d, column %d:", &line, &column); n != 2 {
		return err
	}
	if cause := errors.Unwrap(err); cause != nil {
		err = cause
	}
	return hinder("%d:%d: is no JSON: %v", "%d:%d: no es JSON: %v", line, column, err)
}

// at is line:column of an offset, both from 1, the column in bytes.
func at(src []byte, offset int) string {
	before := src[:offset]
	return fmt.Sprintf("%d:%d", 1+bytes.Count(before, []byte("\n")), offset-bytes.LastIndexByte(before, '\n'))
}

// standard refuses what hujson allows and dockerd does not, and keys that come
// twice: of them dockerd takes the last, whatever a person saw first.
func standard(src []byte, v *hujson.Value) error {
	if !v.BeforeExtra.IsStandard() || !v.AfterExtra.IsStandard() {
		return behind(at(src, v.StartOffset)+": ", hinder("a comment near here; daemon.json may have none", "un comentario cerca de aquí; daemon.json no puede tenerlos"))
	}
	switch o := v.Value.(type) {
	case *hujson.Array:
		if n := len(o.Elements); n > 0 && o.Elements[n-1].AfterExtra != nil {
			return behind(at(src, o.Elements[n-1].EndOffset)+": ", hinder("a comma after the last element", "una coma tras el último elemento"))
		}
		return commentAtEnd(src, o.AfterExtra, v.EndOffset)
	case *hujson.Object:
		seen := map[string]bool{}
		for _, m := range o.Members {
			name := m.Name.Value.(hujson.Literal).String()
			if seen[name] {
				return behind(at(src, m.Name.StartOffset)+": ", hinder("the key %q comes a second time; dockerd takes the last, remove one",
					"la clave %q aparece por segunda vez; dockerd toma la última, quite una", name))
			}
			seen[name] = true
		}
		if n := len(o.Members); n > 0 && o.Members[n-1].Value.AfterExtra != nil {
			return behind(at(src, o.Members[n-1].Value.EndOffset)+": ", hinder("a comma after the last key", "una coma tras la última clave"))
		}
		return commentAtEnd(src, o.AfterExtra, v.EndOffset)
	}
	return nil
}

func commentAtEnd(src []byte, extra hujson.Extra, end int) error {
	if !extra.IsStandard() {
		return behind(at(src, end)+": ", hinder("a comment before here; daemon.json may have none", "un comentario antes de aquí; daemon.json no puede tenerlos"))
	}
	return nil
}

// A style is how the author of the file writes JSON.
type style struct {
	eol    string // "\n", "\r\n"
	unit   string // one level of indentation
	colon  string // between colon and value
	inline bool   // the whole object stands on one line
}

// styleOf learns from the first key. A file without keys is written with two
// blanks, as Docker's manual does.
func styleOf(src []byte, root *hujson.Value) style {
	st := style{eol: "\n", unit: "  ", colon: " "}
	if bytes.Contains(src, []byte("\r\n")) {
		st.eol = "\r\n"
	}
	o := root.Value.(*hujson.Object)
	if len(o.Members) == 0 {
		return st
	}
	first := o.Members[0]
	if before := string(first.Name.BeforeExtra); strings.Contains(before, "\n") {
		st.unit = before[strings.LastIndexByte(before, '\n')+1:]
	} else {
		st.inline = !bytes.Contains(bytes.TrimSpace(src), []byte("\n"))
	}
	if c := string(first.Value.BeforeExtra); !strings.Contains(c, "\n") {
		st.colon = c
	}
	return st
}

// set walks down path below o, which stands depth levels deep.
func (st style) set(o *hujson.Object, path []string, v any, depth int) error {
	i := slices.IndexFunc(o.Members, func(m hujson.ObjectMember) bool {
		return m.Name.Value.(hujson.Literal).String() == path[0]
	})
	if len(path) == 1 {
		switch {
		case v == nil && i >= 0:
			remove(o, i)
		case v == nil:
		case i >= 0:
			return st.replace(&o.Members[i].Value, v, depth+1)
		default:
			return st.add(o, path[0], v, depth)
		}
		return nil
	}
	if i < 0 {
		if v == nil {
			return nil
		}
		for _, key := range slices.Backward(path[1:]) {
			v = map[string]any{key: v}
		}
		return st.add(o, path[0], v, depth)
	}
	inner, ok := o.Members[i].Value.Value.(*hujson.Object)
	if !ok {
		return lang.Errorf(lang.Text{En: "%s is no object in the file", Es: "%s no es un objeto en el archivo"}, path[0])
	}
	return st.set(inner, path[1:], v, depth+1)
}

func remove(o *hujson.Object, i int) {
	o.Members = slices.Delete(o.Members, i, i+1)
	if n := len(o.Members); n > 0 {
		o.Members[n-1].Value.AfterExtra = nil // or it would be written with a comma
	}
}

// replace gives a value that is there a new one, changing as little as it can:
// of a list or an object only what differs.
func (st style) replace(old *hujson.Value, v any, depth int) error {
	if same(old.Value, v) {
		return nil
	}
	switch was := old.Value.(type) {
	case *hujson.Object:
		if m, ok := v.(map[string]any); ok {
			return st.merge(was, m, depth)
		}
	case *hujson.Array:
		if l, ok := listOf(v); ok && st.amend(was, l, depth) {
			return nil
		}
	}
	trimmed, err := st.write(v, depth)
	old.Value = trimmed
	return err
}

// merge makes object o hold exactly m.
func (st style) merge(o *hujson.Object, m map[string]any, depth int) error {
	for i := len(o.Members) - 1; i >= 0; i-- {
		if _, ok := m[o.Members[i].Name.Value.(hujson.Literal).String()]; !ok {
			remove(o, i)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if err := st.set(o, []string{key}, m[key], depth); err != nil {
			return err
		}
	}
	return nil
}

// amend makes array a hold l if that takes only leaving out elements and
// adding some at the end, in the way in which the last one is written.
func (st style) amend(a *hujson.Array, l []any, depth int) bool {
	kept := make([]hujson.Value, 0, len(l))
	for _, e := range a.Elements {
		if len(kept) < len(l) && same(e.Value, l[len(kept)]) {
			kept = append(kept, e)
		}
	}
	if len(kept) == 0 || len(kept) < len(l) && len(kept) < len(a.Elements) {
		return false
	}
	if len(kept) > 0 && len(a.Elements) > 0 {
		kept[0].BeforeExtra = a.Elements[0].BeforeExtra
	}
	for _, v := range l[len(kept):] {
		trimmed, err := st.write(v, depth+1)
		if err != nil {
			return false
		}
		before := kept[len(kept)-1].BeforeExtra
		if len(kept) == 1 && len(before) == 0 {
			before = hujson.Extra(st.colon)
		}
		kept = append(kept, hujson.Value{BeforeExtra: before, Value: trimmed})
	}
	kept[len(kept)-1].AfterExtra = nil
	a.Elements = kept
	return true
}

// add puts a new key at the end of o.
func (st style) add(o *hujson.Object, key string, v any, depth int) error {
	trimmed, err := st.write(v, depth+1)
	if err != nil {
		return err
	}
	m := hujson.ObjectMember{
		Name:  hujson.Value{Value: hujson.String(key)},
		Value: hujson.Value{BeforeExtra: hujson.Extra(st.colon), Value: trimmed},
	}
	switch n := len(o.Members); {
	case n == 0 && !st.inline:
		m.Name.BeforeExtra = st.newline(depth + 1)
		o.AfterExtra = st.newline(depth)
	case n == 0:
	default:
		m.Name.BeforeExtra = st.like(o.Members[n-1].Name.BeforeExtra)
		if n == 1 && len(m.Name.BeforeExtra) == 0 {
			m.Name.BeforeExtra = hujson.Extra(st.colon) // {"a": 1, "b": 2}
		}
	}
	o.Members = append(o.Members, m)
	return nil
}

// like is the space before a neighbour, without its blank lines.
func (st style) like(extra hujson.Extra) hujson.Extra {
	if i := bytes.LastIndexByte(extra, '\n'); i >= 0 {
		return hujson.Extra(st.eol + string(extra[i+1:]))
	}
	return extra
}

func (st style) newline(depth int) hujson.Extra {
	return hujson.Extra(st.eol + strings.Repeat(st.unit, depth))
}

// write makes the value v, at this depth. An object gets one line for each of
// its keys, a list stays on one line if its elements are short.
func (st style) write(v any, depth int) (hujson.ValueTrimmed, error) {
	if m, ok := v.(map[string]any); ok && len(m) > 0 {
		o := &hujson.Object{}
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if err := st.add(o, key, m[key], depth); err != nil {
				return nil, err
			}
		}
		return o, nil
	}
	if l, ok := listOf(v); ok && len(l) > 0 {
		return st.writeList(l, depth)
	}
	lit, err := literal(v)
	if err != nil {
		return nil, err
	}
	parsed, err := hujson.Parse(lit)
	return parsed.Value, err
}

func (st style) writeList(l []any, depth int) (hujson.ValueTrimmed, error) {
	const short = 60 // bytes that may follow the key on its line
	a, size := &hujson.Array{}, 0
	for _, v := range l {
		trimmed, err := st.write(v, depth+1)
		if err != nil {
			return nil, err
		}
		e := hujson.Value{Value: trimmed}
		size += len(e.Pack())
		a.Elements = append(a.Elements, e)
	}
	if st.inline || size <= short {
		for i := range a.Elements[1:] {
			a.Elements[i+1].BeforeExtra = hujson.Extra(st.colon)
		}
		return a, nil
	}
	for i := range a.Elements {
		a.Elements[i].BeforeExtra = st.newline(depth + 1)
	}
	a.AfterExtra = st.newline(depth)
	return a, nil
}

func listOf(v any) ([]any, bool) {
	switch l := v.(type) {
	case []any:
		return l, true
	case []string:
		out := make([]any, 0, len(l))
		for _, s := range l {
			out = append(out, s)
		}
		return out, true
	}
	return nil, false
}

// literal is v as JSON, without the escapes that encoding/json makes for HTML.
func literal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// same reports whether a value of the file is v, as JSON values.
func same(file hujson.ValueTrimmed, v any) bool {
	x, err1 := canonical(hujson.Value{Value: file}.Pack())
	lit, err2 := literal(v)
	if err1 != nil || err2 != nil {
		return false
	}
	y, err := canonical(lit)
	return err == nil && bytes.Equal(x, y)
}

func canonical(b []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// A text literal of the file, and where it stands.
type textLiteral struct {
	key, text string
	from, to  int
}

// literals are the strings below v in the order of the file, each with the
// key that it belongs to. The offsets of v must be up to date.
func literals(key string, v *hujson.Value) (out []textLiteral) {
	switch t := v.Value.(type) {
	case hujson.Literal:
		if t.Kind() == '"' {
			out = append(out, textLiteral{key, t.String(), v.StartOffset, v.EndOffset})
		}
	case *hujson.Array:
		for i := range t.Elements {
			out = append(out, literals(key, &t.Elements[i])...)
		}
	case *hujson.Object:
		for i := range t.Members {
			name := t.Members[i].Name.Value.(hujson.Literal).String()
			out = append(out, literals(name, &t.Members[i].Value)...)
		}
	}
	return out
}
