package policy

import (
	"encoding/json"
	"reflect"
)

// SchemaID names the JSON Schema of policy documents.
const SchemaID = "https://casco.example/schema/policy-v1.json"

// Schema returns the JSON Schema (draft 2020-12) of one document of a policy,
// for editors and for other programs. It is made from the types and rules that
// the parser goes by. What it cannot say, the parser does: keys that are written
// twice, words of old YAML, dates and zones that do not exist, keys that do not
// parse, and whatever Lint looks at across documents.
func Schema() []byte {
	g := generator{defs: map[string]any{}}
	var kinds []any
	for _, k := range []struct {
		name string
		v    any
	}{{kindPolicy, Policy{}}, {kindException, Exception{}}, {kindCheck, OwnCheck{}}, {kindAnswer, Answer{}}} {
		doc := g.object(reflect.TypeOf(k.v), rule{})
		props := doc["properties"].(map[string]any)
		props["apiVersion"] = map[string]any{"const": APIVersion}
		props["kind"] = map[string]any{"const": k.name}
		required, _ := doc["required"].([]string)
		doc["required"] = append([]string{"apiVersion", "kind"}, required...)
		g.defs[k.name] = doc
		kinds = append(kinds, ref(k.name))
	}
	b, err := json.MarshalIndent(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"$id":     SchemaID,
		"title":   "A document of a casco policy",
		"oneOf":   kinds,
		"$defs":   g.defs,
	}, "", " ")
	if err != nil {
		panic(err) // maps of texts and numbers
	}
	return append(b, '\n')
}

func ref(name string) map[string]any { return map[string]any{"$ref": "#/$defs/" + name} }

type generator struct{ defs map[string]any }

// of describes the values of t under a rule.
func (g generator) of(t reflect.Type, name string, ru rule) map[string]any {
	switch t {
	case durationType:
		return text(durationPattern)
	case bytesType:
		return map[string]any{"anyOf": []any{text(bytesPattern), map[string]any{"type": "integer", "minimum": 1, "maximum": 999999999999999}}}
	case dateType:
		s := text(datePattern)
		s["anyOf"] = []any{map[string]any{"format": "date"}, map[string]any{"format": "date-time"}}
		return s
	case windowType:
		return text(windowPattern)
	}
	switch t.Kind() {
	case reflect.Struct:
		if ru.pattern != "" {
			name = t.Name() + "-" + name
		} else {
			name = t.Name()
		}
		if g.defs[name] == nil {
			g.defs[name] = g.object(t, ru)
		}
		return ref(name)
	case reflect.Pointer:
		return g.of(t.Elem(), name, ru)
	case reflect.Slice:
		s := map[string]any{"type": "array", "items": g.of(t.Elem(), name, ru)}
		if ru.atLeast > 0 {
			s["minItems"] = ru.atLeast
		}
		return s
	case reflect.Map:
		s := map[string]any{"type": "object"}
		if t.Elem().Kind() != reflect.Interface {
			s["additionalProperties"] = g.of(t.Elem(), name, rule{enum: ru.enum, pattern: ru.pattern})
		}
		if ru.keys != nil {
			s["propertyNames"] = scalar(map[string]any{}, *ru.keys)
		}
		return s
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return scalar(map[string]any{"type": "integer", "minimum": 0}, ru)
	case reflect.Float64:
		return scalar(map[string]any{"type": "number", "minimum": 0}, ru)
	}
	return scalar(map[string]any{"type": "string"}, ru)
}

func text(pattern string) map[string]any { return map[string]any{"type": "string", "pattern": pattern} }

func scalar(s map[string]any, ru rule) map[string]any {
	if ru.enum != nil {
		s["enum"] = ru.enum
	}
	if ru.pattern != "" {
		s["pattern"] = ru.pattern
	}
	if ru.min != nil {
		s["minimum"] = *ru.min
	}
	if ru.max != nil {
		s["maximum"] = *ru.max
	}
	if ru.above != nil {
		delete(s, "minimum")
		s["exclusiveMinimum"] = *ru.above
	}
	if ru.say.En != "" {
		s["description"] = ru.say.En
	}
	return s
}

func (g generator) object(t reflect.Type, over rule) map[string]any {
	props := map[string]any{}
	var required []string
	for _, f := range fields(t) {
		ru := f.rule
		if over.pattern != "" {
			ru = over
		}
		props[f.key] = g.of(t.Field(f.index).Type, f.key, ru)
		if f.required {
			required = append(required, f.key)
		}
	}
	s := map[string]any{"type": "object", "additionalProperties": false, "properties": props}
	if required != nil {
		s["required"] = required
	}
	switch t {
	case reflect.TypeFor[Assign](): // reader.whole says the same
		s["oneOf"] = []any{
			map[string]any{"required": []string{"match", "tier"}, "not": map[string]any{"required": []string{"default"}}},
			map[string]any{"required": []string{"default"}, "not": map[string]any{"anyOf": []any{
				map[string]any{"required": []string{"match"}}, map[string]any{"required": []string{"tier"}},
			}}},
		}
	case reflect.TypeFor[Match](), reflect.TypeFor[Things]():
		s["minProperties"] = 1
	case reflect.TypeFor[Tailoring]():
		s["anyOf"] = []any{map[string]any{"required": []string{"severity"}}, map[string]any{"required": []string{"applicable"}}}
	}
	return s
}
