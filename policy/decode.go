package policy

import (
	"cmp"
	"encoding/json"
	"math"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"casco/lang"
	"casco/signed"
)

// publicKey and network are what a pattern cannot say.
func publicKey(s string) error {
	if _, _, err := signed.ParseKey(s); err != nil {
		return says(lang.Text{En: "this key does not count: %v", Es: "esta clave no vale: %v"}, err)
	}
	return nil
}

func network(s string) error {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return says(lang.Text{En: "%q is no network, such as 10.0.9.0/24", Es: "%q no es una red, como 10.0.9.0/24"}, s)
	}
	if p != p.Masked() {
		return says(lang.Text{En: "%s has bits behind its prefix; the network is %s", Es: "%s tiene bits tras su prefijo; la red es %s"}, p, p.Masked())
	}
	return nil
}

// resolver wants an address with a port or without.
func resolver(s string) error {
	if _, err := netip.ParseAddr(s); err == nil {
		return nil
	}
	if at, err := netip.ParseAddrPort(s); err == nil && at.Port() != 0 {
		return nil
	}
	return says(lang.Text{En: "%q is no address of a resolver", Es: "%q no es la dirección de un resolvedor"}, s)
}

// egress wants what stands behind "egress:" to be a network, an address or a
// host name.
func egress(s string) error {
	dest, ok := strings.CutPrefix(s, "egress:")
	if !ok {
		return nil
	}
	if _, err := netip.ParseAddr(dest); err == nil {
		return nil
	}
	if strings.Contains(dest, "/") {
		return network(dest)
	}
	if len(dest) > 253 || !hostName.MatchString(dest) {
		return says(lang.Text{
			En: "%q is no host name, address or network, such as updates.example, *.example, 192.0.2.7 or 192.0.2.0/24",
			Es: "%q no es un nombre de anfitrión, una dirección ni una red, como updates.example, *.example, 192.0.2.7 o 192.0.2.0/24",
		}, dest)
	}
	return nil
}

// hostName is one of RFC 1123, 2.1, which may begin with "*." and has at least
// one letter, or it could be taken for an address.
var hostName = regexp.MustCompile(`^(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*([A-Za-z_]|[A-Za-z0-9_][A-Za-z0-9_-]{0,61}[A-Za-z0-9_])$`)

// A field is one key of a struct that a document fills.
type field struct {
	key      string
	index    int
	required bool // a key whose JSON form is never left out
	rule     rule
}

// fields lists the keys of t in their order.
func fields(t reflect.Type) []field {
	var fs []field
	for i := range t.NumField() {
		f := t.Field(i)
		key := f.Tag.Get("yaml")
		if key == "" || key == "-" {
			continue
		}
		js := f.Tag.Get("json")
		fs = append(fs, field{
			key: key, index: i,
			required: !strings.Contains(js, ",omitempty") && !strings.Contains(js, ",omitzero"),
			rule:     rules[t.Name()+"."+key],
		})
	}
	return fs
}

// Types with a text form of their own.
var (
	durationType = reflect.TypeFor[Duration]()
	bytesType    = reflect.TypeFor[Bytes]()
	dateType     = reflect.TypeFor[Date]()
	windowType   = reflect.TypeFor[Window]()
)

// value decodes n into v, which stands at path in the policy.
func (r *reader) value(n *yaml.Node, v reflect.Value, path string, ru rule) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		r.wrong(r.pos(n), lang.Text{En: "%s has no value: leave the key out", Es: "%s no tiene valor: quite la clave"}, last(path))
		return
	}
	switch v.Type() {
	case durationType:
		parsed(r, n, v, durationPattern, ParseDuration)
		return
	case bytesType:
		parsed(r, n, v, bytesPattern, ParseBytes)
		return
	case dateType:
		parsed(r, n, v, datePattern, ParseDate)
		return
	case windowType:
		parsed(r, n, v, windowPattern, ParseWindow)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		if r.is(n, yaml.MappingNode, path) {
			r.object(n, v, path, ru)
		}
	case reflect.Map:
		if r.is(n, yaml.MappingNode, path) {
			r.dict(n, v, path, ru)
		}
	case reflect.Slice:
		if r.is(n, yaml.SequenceNode, path) {
			r.list(n, v, path, ru)
		}
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		r.value(n, p.Elem(), path, ru)
		v.Set(p)
	default:
		r.scalarInto(n, v, path, ru)
	}
}

var kindNames = map[yaml.Kind]lang.Text{
	yaml.MappingNode:  {En: "keys with values, one under the other or in { }", Es: "claves con valores, una bajo otra o entre { }"},
	yaml.SequenceNode: {En: "a list, in [ ] or with a - before each", Es: "una lista, entre [ ] o con un - ante cada uno"},
	yaml.ScalarNode:   {En: "one value", Es: "un valor"},
}

func (r *reader) is(n *yaml.Node, k yaml.Kind, path string) bool {
	if n.Kind == k {
		return true
	}
	want := kindNames[k]
	r.wrong(r.pos(n), lang.Text{
		En: cmp.Or(last(path), "the document") + " is " + want.En,
		Es: cmp.Or(last(path), "el documento") + " es " + want.Es,
	})
	return false
}

// object decodes a mapping into a struct. A rule of the key that holds it
// stands over those of its own lists.
func (r *reader) object(n *yaml.Node, v reflect.Value, path string, over rule, also ...string) {
	fs := fields(v.Type())
	have := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, val := n.Content[i], n.Content[i+1]
		have[k.Value] = true
		if slices.Contains(also, k.Value) {
			continue
		}
		j := slices.IndexFunc(fs, func(f field) bool { return f.key == k.Value })
		if j < 0 {
			r.unknown(k, fs)
			continue
		}
		ru := fs[j].rule
		if over.pattern != "" {
			ru = over
		}
		at := join(path, k.Value)
		r.lines[at] = r.pos(k)
		r.value(val, v.Field(fs[j].index), at, ru)
	}
	for _, f := range fs {
		if f.required && !have[f.key] {
			r.wrong(r.pos(n), lang.Text{En: "%s is missing", Es: "falta %s"}, f.key)
		}
	}
	r.whole(n, v, have)
}

// whole says what is wrong with a struct as a whole, by the keys that it has.
func (r *reader) whole(n *yaml.Node, v reflect.Value, have map[string]bool) {
	switch v.Interface().(type) {
	case Match, Things:
		if len(have) == 0 {
			r.wrong(r.pos(n), lang.Text{En: "it matches nothing: name something", Es: "no cumple con nada: nombre algo"})
		}
	case Assign:
		if have["match"] != have["tier"] || have["default"] == have["tier"] {
			r.wrong(r.pos(n), lang.Text{En: "an entry has either match and tier, or default", Es: "una entrada tiene o match y tier, o default"})
		}
	case Tailoring:
		if !have["severity"] && !have["applicable"] {
			r.wrong(r.pos(n), lang.Text{En: "it changes nothing: give severity, or applicable: false", Es: "no cambia nada: ponga severity, o applicable: false"})
		}
	}
}

func (m Match) zero() bool { return reflect.ValueOf(m).IsZero() }

func (r *reader) unknown(k *yaml.Node, fs []field) {
	var keys []string
	best, near := "", 3 // a slip of two letters
	for _, f := range fs {
		keys = append(keys, f.key)
		if d := distance(k.Value, f.key); d < near {
			best, near = f.key, d
		}
	}
	if best != "" {
		r.wrong(r.pos(k), lang.Text{En: "there is no key %s here; did you mean %s?", Es: "aquí no hay clave %s; ¿quiso decir %s?"}, k.Value, best)
		return
	}
	r.wrong(r.pos(k), lang.Text{En: "there is no key %s here; there are %s", Es: "aquí no hay clave %s; hay %s"}, k.Value, strings.Join(keys, ", "))
}

// distance is how many letters must be put, taken or changed to make b of a
// (Levenshtein). Words longer than any key are far from all.
func distance(a, b string) int {
	if len(a) > 40 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func (r *reader) dict(n *yaml.Node, v reflect.Value, path string, ru rule) {
	m := reflect.MakeMap(v.Type())
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, val := n.Content[i], n.Content[i+1]
		if ru.keys != nil {
			r.fits(k, k.Value, *ru.keys)
		}
		e := reflect.New(v.Type().Elem()).Elem()
		at := join(path, k.Value)
		r.lines[at] = r.pos(k)
		if x := anything(val); e.Kind() != reflect.Interface {
			r.value(val, e, at, ru)
		} else if x != nil {
			e.Set(reflect.ValueOf(x))
		}
		m.SetMapIndex(reflect.ValueOf(k.Value), e)
	}
	v.Set(m)
}

func (r *reader) list(n *yaml.Node, v reflect.Value, path string, ru rule) {
	if len(n.Content) < ru.atLeast {
		r.wrong(r.pos(n), lang.Text{En: "%s needs at least %d entries", Es: "%s necesita al menos %d entradas"}, last(path), ru.atLeast)
	}
	l := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, c := range n.Content {
		at := join(path, strconv.Itoa(i))
		r.lines[at] = r.pos(c)
		r.value(c, l.Index(i), at, ru)
	}
	v.Set(l)
}

var (
	wholeNumber = regexp.MustCompile(`^(0|[1-9][0-9]{0,17})$`)
	decimal     = regexp.MustCompile(`^(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?$`)
)

func (r *reader) scalarInto(n *yaml.Node, v reflect.Value, path string, ru rule) {
	if !r.is(n, yaml.ScalarNode, path) {
		return
	}
	switch v.Kind() {
	case reflect.String:
		if r.text(n) && r.fits(n, n.Value, ru) {
			v.SetString(n.Value)
		}
	case reflect.Bool:
		if n.Style != 0 || n.Value != "true" && n.Value != "false" {
			r.wrong(r.pos(n), lang.Text{En: "%s is true or false, without quotes", Es: "%s es true o false, sin comillas"}, last(path))
			return
		}
		v.SetBool(n.Value == "true")
	case reflect.Int, reflect.Int64:
		i, err := strconv.ParseInt(n.Value, 10, 64)
		if n.Style != 0 || err != nil || !wholeNumber.MatchString(n.Value) {
			r.wrong(r.pos(n), lang.Text{En: "%s is a whole number, such as 3", Es: "%s es un número entero, como 3"}, last(path))
		} else if r.between(n, float64(i), ru, path) {
			v.SetInt(i)
		}
	case reflect.Float64:
		f, err := strconv.ParseFloat(n.Value, 64)
		if n.Style != 0 || err != nil || !decimal.MatchString(n.Value) {
			r.wrong(r.pos(n), lang.Text{En: "%s is a number, such as 0.5", Es: "%s es un número, como 0.5"}, last(path))
		} else if r.between(n, f, ru, path) {
			v.SetFloat(f)
		}
	}
}

// text wants a scalar that is a text to every parser.
func (r *reader) text(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode {
		return r.is(n, yaml.ScalarNode, "")
	}
	if n.Tag != "!!str" {
		r.wrong(r.pos(n), lang.Text{En: `%s is no text to YAML; put it in quotes: "%[1]s"`, Es: `%s no es un texto para YAML; póngalo entre comillas: "%[1]s"`}, n.Value)
		return false
	}
	return true
}

// fits holds a text against its rule.
func (r *reader) fits(n *yaml.Node, s string, ru rule) bool {
	switch {
	case ru.enum != nil && !slices.Contains(ru.enum, s):
		best, near := "", 3
		for _, e := range ru.enum {
			if d := distance(s, e); d < near {
				best, near = e, d
			}
		}
		if best != "" {
			r.wrong(r.pos(n), lang.Text{En: "%s is none of %s; did you mean %s?", Es: "%s no es ninguno de %s; ¿quiso decir %s?"}, s, strings.Join(ru.enum, ", "), best)
		} else {
			r.wrong(r.pos(n), lang.Text{En: "%s is none of %s", Es: "%s no es ninguno de %s"}, s, strings.Join(ru.enum, ", "))
		}
		return false
	case ru.pattern != "" && !ru.matches(s):
		r.wrong(r.pos(n), lang.Text{En: "%q is not " + ru.say.En, Es: "%q no es " + ru.say.Es}, s)
		return false
	case ru.check != nil:
		if err := ru.check(s); err != nil {
			r.say(n, told(err))
			return false
		}
	}
	return true
}

func (r *reader) between(n *yaml.Node, f float64, ru rule, path string) bool {
	low, high := 0.0, math.Inf(1)
	if ru.min != nil {
		low = *ru.min
	}
	if ru.max != nil {
		high = *ru.max
	}
	switch {
	case ru.above != nil && (f <= *ru.above || f > high):
		r.wrong(r.pos(n), lang.Text{En: "%s must be greater than %v, and at most %v", Es: "%s debe ser mayor que %v, y a lo sumo %v"}, last(path), *ru.above, high)
	case f < low, f > high:
		r.wrong(r.pos(n), lang.Text{En: "%s is from %v to %v", Es: "%s va de %v a %v"}, last(path), low, high)
	default:
		return true
	}
	return false
}

// parsed reads a value that has a text form of its own.
func parsed[T any](r *reader, n *yaml.Node, v reflect.Value, pattern string, parse func(string) (T, error)) {
	if n.Kind != yaml.ScalarNode {
		r.is(n, yaml.ScalarNode, "")
		return
	}
	x, err := parse(n.Value)
	if err == nil && !(rule{pattern: pattern}).matches(n.Value) {
		err = says(lang.Text{En: "%q is too large, or nothing", Es: "%q es demasiado grande, o nada"}, n.Value)
	}
	if err != nil {
		r.say(n, told(err))
		return
	}
	v.Set(reflect.ValueOf(x))
}

// anything decodes a value of any form, as an object's fields are decoded:
// numbers are json.Number.
func anything(n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = anything(n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		l := []any{}
		for _, c := range n.Content {
			l = append(l, anything(c))
		}
		return l
	}
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		if signless := strings.TrimPrefix(n.Value, "-"); decimal.MatchString(signless) {
			return json.Number(n.Value)
		}
	}
	return n.Value
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// last is the word of path that a person wrote: of people.2.id it is id, of
// people.2 it is people.
func last(path string) string {
	words := strings.Split(path, ".")
	for i := len(words) - 1; i > 0; i-- {
		if _, err := strconv.Atoi(words[i]); err != nil {
			return words[i]
		}
	}
	return words[0]
}
