package docker

import "casco/loop/inventory"

// The engine's replies are maps all the way down. These walk them: a value
// that is absent, null or of another type is the empty one.

func str(m map[string]any, keys ...string) string {
	s, _ := at(m, keys).(string)
	return s
}

func object(m map[string]any, keys ...string) map[string]any {
	o, _ := at(m, keys).(map[string]any)
	return o
}

func list(m map[string]any, keys ...string) []any {
	l, _ := at(m, keys).([]any)
	return l
}

func truth(m map[string]any, keys ...string) bool {
	b, _ := at(m, keys).(bool)
	return b
}

func texts(m map[string]any, keys ...string) []string {
	var out []string
	for _, e := range list(m, keys...) {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func at(m map[string]any, keys []string) any {
	var v any = m
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	return v
}

// clone copies a reply so that it can be changed.
func clone(m map[string]any) map[string]any {
	return (&inventory.Object{Fields: m}).Clone().Fields
}
