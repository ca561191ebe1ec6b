package admission

import (
	"encoding"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/swarm"

	"casco/lang"
)

// older are fields that engines within the versions understood read, or their
// clients send, and that the types of today have no more: Engine API
// documentation and moby's api/types at 20.10 and 28.
var older = map[reflect.Type]map[string]reflect.Type{
	reflect.TypeFor[container.Config]():            {"MacAddress": aString},                               // 1.43
	reflect.TypeFor[container.Resources]():         {"KernelMemory": anInt64, "KernelMemoryTCP": anInt64}, // 1.41
	reflect.TypeFor[container.ExecCreateRequest](): {"Detach": aBool},                                     // 1.41
	reflect.TypeFor[network.CreateRequest]():       {"CheckDuplicate": aBool},                             // 1.43
	reflect.TypeFor[registry.AuthConfig]():         {"email": aString},
	serviceSpec:                                    {"Networks": reflect.TypeFor[[]swarm.NetworkAttachmentConfig]()}, // 1.43
}

var (
	aString = reflect.TypeFor[string]()
	aBool   = reflect.TypeFor[bool]()
	anInt64 = reflect.TypeFor[int64]()
)

// oneOrMany are lists that engines up to 28 took as a single text too (moby,
// api/types/strslice), by type and key.
var oneOrMany = map[reflect.Type]string{
	reflect.TypeFor[container.Config]():     "Cmd Entrypoint Shell",
	reflect.TypeFor[container.HostConfig](): "CapAdd CapDrop",
}

// A member is one key that a struct is filled from.
type member struct {
	name string
	typ  reflect.Type
	many bool // a single text stands for a list of one
}

// A vocabulary finds members by their folded names.
type vocabulary map[string]member

var vocabularies sync.Map // reflect.Type -> vocabulary

// words returns the keys of t. As with encoding/json those of an embedded
// struct are t's own, unless t has the same.
func words(t reflect.Type) vocabulary {
	if v, ok := vocabularies.Load(t); ok {
		return v.(vocabulary)
	}
	v := vocabulary{}
	var embedded []reflect.Type
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		in := f.Type
		if in.Kind() == reflect.Pointer {
			in = in.Elem()
		}
		switch {
		case name == "-":
		case f.Anonymous && name == "" && in.Kind() == reflect.Struct:
			embedded = append(embedded, in)
		case f.IsExported():
			if name == "" {
				name = f.Name
			}
			v[fold(name)] = member{name, f.Type, hasWord(oneOrMany[t], name)}
		}
	}
	for name, typ := range older[t] {
		v[fold(name)] = member{name, typ, false}
	}
	for _, e := range embedded {
		for key, m := range words(e) {
			if _, own := v[key]; !own {
				v[key] = m
			}
		}
	}
	vocabularies.Store(t, v)
	return v
}

func hasWord(list, word string) bool {
	for w := range strings.FieldsSeq(list) {
		if w == word {
			return true
		}
	}
	return false
}

var textType = reflect.TypeFor[encoding.TextUnmarshaler]()

// canonical says what encoding/json would fill a t with from v, in t's own
// names, or why that cannot be told or would fail. at is where v stands.
func canonical(v any, t reflect.Type, at string) (any, error) {
	if v == nil {
		return nil, nil
	}
	if reflect.PointerTo(t).Implements(textType) {
		return canonicalText(v, t, at)
	}
	switch t.Kind() {
	case reflect.Pointer:
		return canonical(v, t.Elem(), at)
	case reflect.Struct:
		return canonicalStruct(v, t, at)
	case reflect.Map:
		return canonicalMap(v, t, at)
	case reflect.Slice, reflect.Array:
		return canonicalList(v, t, at)
	case reflect.String:
		if s, ok := v.(string); ok {
			return s, nil
		}
	case reflect.Bool:
		if b, ok := v.(bool); ok {
			return b, nil
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if n, ok := v.(json.Number); ok {
			if i, err := strconv.ParseInt(string(n), 10, t.Bits()); err == nil {
				return json.Number(strconv.FormatInt(i, 10)), nil
			}
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if n, ok := v.(json.Number); ok {
			if i, err := strconv.ParseUint(string(n), 10, t.Bits()); err == nil {
				return json.Number(strconv.FormatUint(i, 10)), nil
			}
		}
	case reflect.Float32, reflect.Float64:
		if n, ok := v.(json.Number); ok {
			if f, err := strconv.ParseFloat(string(n), t.Bits()); err == nil {
				return json.Number(strconv.FormatFloat(f, 'g', -1, t.Bits())), nil
			}
		}
	}
	return nil, mistyped(v, t, at)
}

func mistyped(v any, t reflect.Type, at string) error {
	is := "null"
	switch v.(type) {
	case *object:
		is = "{}"
	case []any:
		is = "[]"
	case string:
		is = `""`
	case json.Number:
		is = "0"
	case bool:
		is = "true"
	}
	if at == "" {
		return malformed(lang.Text{En: "the body is a JSON value like %s, and not a %s", Es: "el cuerpo es un valor JSON como %s, y no un %s"}.F(is, t.Kind()))
	}
	return malformed(lang.Text{En: "%s: a JSON value like %s is no %s of the engine", Es: "%s: un valor JSON como %s no es un %s del motor"}.F(at, is, t.Kind()))
}

func canonicalStruct(v any, t reflect.Type, at string) (any, error) {
	o, ok := v.(*object)
	if !ok {
		return nil, mistyped(v, t, at)
	}
	known := words(t)
	out := map[string]any{}
	for i, key := range o.keys {
		m, ok := known[fold(key)]
		where := below(at, key)
		switch {
		case !ok && o.values[i] == nil: // says nothing: docker-py up to 6 puts the name of a network beside EndpointsConfig
			continue
		case !ok:
			return nil, refused("request-field", 400, lang.Text{
				En: "%q is no key of the engine's that is known here", Es: "%q no es una clave del motor que aquí se conozca",
			}.F(where), lang.Text{En: "leave out %q", Es: "quite %q"}.F(where))
		}
		where = below(at, m.name)
		if _, twiceThere := out[m.name]; twiceThere {
			return nil, twice(where)
		}
		val := o.values[i]
		if s, single := val.(string); single && m.many {
			val = []any{s}
		}
		c, err := canonical(val, m.typ, where)
		if err != nil {
			return nil, err
		}
		out[m.name] = c
	}
	return out, nil
}

func below(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}

// canonicalMap keeps keys as they are, unless the engine reads them: "80" is
// "80/tcp" to it.
func canonicalMap(v any, t reflect.Type, at string) (any, error) {
	o, ok := v.(*object)
	if !ok {
		return nil, mistyped(v, t, at)
	}
	out, taken := map[string]any{}, map[string]bool{}
	for i, key := range o.keys {
		where, means := below(at, key), key
		if reflect.PointerTo(t.Key()).Implements(textType) {
			ranged := t == exposed && strings.Contains(key, "-")
			is := t.Key()
			if ranged {
				is = portRange
			}
			k, err := canonicalText(key, is, where)
			if err != nil {
				return nil, err
			}
			if means = k.(string); !ranged {
				key = means
			}
		}
		if taken[means] {
			return nil, twice(where)
		}
		taken[means] = true
		c, err := canonical(o.values[i], t.Elem(), where)
		if err != nil {
			return nil, err
		}
		out[key] = c
	}
	return out, nil
}

// Engines up to 28 keep the ports that a container exposes as the texts that they
// are, and so take the range that Compose makes of expose: "3000-3005" (moby 28.5,
// go-connections nat.PortSet). It opens nothing there, for a text that is no number
// is port 0, and shows in inspect as it came: so it is passed on. The ports that a
// container publishes they read, and take no range.
var (
	exposed   = reflect.TypeFor[network.PortSet]()
	portRange = reflect.TypeFor[network.PortRange]()
)

func canonicalList(v any, t reflect.Type, at string) (any, error) {
	if s, ok := v.(string); ok && t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 {
		data, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return nil, mistyped(v, t, at)
		}
		return base64.StdEncoding.EncodeToString(data), nil
	}
	l, ok := v.([]any)
	if !ok || t.Kind() == reflect.Array && len(l) != t.Len() || t.Elem().Kind() == reflect.Uint8 {
		return nil, mistyped(v, t, at)
	}
	out := make([]any, len(l))
	for i, e := range l {
		c, err := canonical(e, t.Elem(), at+"."+strconv.Itoa(i))
		if err != nil {
			return nil, err
		}
		out[i] = c
	}
	return out, nil
}

// canonicalText reads a text that has a type of its own, such as an address or
// a port, and writes it as that type does.
func canonicalText(v any, t reflect.Type, at string) (any, error) {
	s, ok := v.(string)
	if !ok {
		return nil, mistyped(v, t, at)
	}
	p := reflect.New(t)
	if err := p.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s)); err != nil {
		return nil, malformed(lang.Text{En: "%s: %q is no %s", Es: "%s: %q no es %s"}.F(at, s, t.Name()))
	}
	b, err := p.Elem().Interface().(encoding.TextMarshaler).MarshalText()
	if err != nil {
		return nil, mistyped(v, t, at)
	}
	return string(b), nil
}
