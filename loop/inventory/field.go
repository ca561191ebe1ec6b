package inventory

import (
	"encoding/json"
	"fmt"
	"strings"
)

// A Field is the typed name of one field of one kind of object. It is the
// hinge of the program: a check reads it, a want names it, a plan sets it, a
// report prints it. The fields that this program knows are declared, once, in
// fields.go. T is bool, string, int64, []string, []any, map[string]any or any.
//
// Path walks nested objects by their keys, joined with dots. A key that has a
// dot in it must be the last one.
type Field[T any] struct {
	Kind Kind
	Path string // "HostConfig.Privileged"
}

// Of reads f from o. If o has no such field, or it has another type, ok is
// false and the fact says why. A JSON null is absent, except that a null list
// or map is an empty one: Go's encoder writes null for both.
func (f Field[T]) Of(o *Object) (v T, fact Fact, ok bool) {
	if o == nil {
		fact = Fact{Ref: Ref{Kind: f.Kind, Name: "?"}, Field: f.Path, Err: "no such object was read"}
		return v, fact, false
	}
	raw, fact, ok := Lookup(o, f.Path)
	if !ok {
		return v, fact, false
	}
	v, ok = convert[T](raw)
	if !ok {
		fact.Value, fact.Err = nil, fmt.Sprintf("is %T, want %T", raw, v)
		if raw == nil {
			fact.Err = Absent
		}
		return v, fact, false
	}
	return v, fact, true
}

// Lookup finds the value at path in o, whatever its type.
func Lookup(o *Object, path string) (v any, fact Fact, ok bool) {
	fact = Fact{Ref: o.Ref, Field: path, Source: o.SourceOf(path), Read: o.Read}
	v, ok = dig(o.Fields, path)
	if !ok {
		fact.Err = Absent
		top, _, _ := strings.Cut(path, ".")
		if why, has := o.Unread[path]; has {
			fact.Err = why
		} else if why, has := o.Unread[top]; has {
			fact.Err = why
		}
		return nil, fact, false
	}
	fact.Value = v
	return v, fact, true
}

// SourceOf returns where the value at path, or what it is part of, came from.
func (o *Object) SourceOf(path string) string {
	for p := path; len(o.Sources) > 0; {
		if src, has := o.Sources[p]; has {
			return src
		}
		i := strings.LastIndexByte(p, '.')
		if i < 0 {
			break
		}
		p = p[:i]
	}
	return o.Source
}

// dig follows path from map to map. Where a step leads nowhere, what is left
// of the path may be one key with dots in it.
func dig(m map[string]any, path string) (any, bool) {
	for {
		head, rest, more := strings.Cut(path, ".")
		v, ok := m[head]
		if !more {
			return v, ok
		}
		next, isMap := v.(map[string]any)
		if !isMap {
			v, ok = m[path]
			return v, ok
		}
		m, path = next, rest
	}
}

// Put sets the value at path in fields, making the maps on the way. A nil v
// removes the last key.
func Put(fields map[string]any, path string, v any) {
	for {
		head, rest, more := strings.Cut(path, ".")
		if !more {
			break
		}
		next, ok := fields[head].(map[string]any)
		if !ok {
			if _, whole := fields[path]; whole {
				break
			}
			next = map[string]any{}
			fields[head] = next
		}
		fields, path = next, rest
	}
	if v == nil {
		delete(fields, path)
		return
	}
	fields[path] = v
}

func convert[T any](raw any) (v T, ok bool) {
	switch p := any(&v).(type) {
	case *int64:
		*p, ok = integer(raw)
	case *[]string:
		*p, ok = stringsOf(raw)
	case *[]any:
		if raw == nil {
			return v, true
		}
		v, ok = raw.(T)
	case *map[string]any:
		if raw == nil {
			return v, true
		}
		v, ok = raw.(T)
	default:
		v, ok = raw.(T)
	}
	return v, ok
}

func integer(raw any) (int64, bool) {
	switch n := raw.(type) {
	case json.Number:
		i, err := n.Int64()
		return i, err == nil
	case int64:
		return n, true
	case int:
		return int64(n), true
	case float64:
		return int64(n), float64(int64(n)) == n
	}
	return 0, false
}

func stringsOf(raw any) ([]string, bool) {
	switch l := raw.(type) {
	case nil:
		return nil, true
	case []string:
		return l, true
	case []any:
		ss := make([]string, 0, len(l))
		for _, e := range l {
			s, ok := e.(string)
			if !ok {
				return nil, false
			}
			ss = append(ss, s)
		}
		return ss, true
	}
	return nil, false
}

// Equal reports whether two field values are the same JSON: 5, int64(5) and
// json.Number("5") are, and so are a null and an empty list.
func Equal(a, b any) bool {
	if empty(a) && empty(b) {
		return true
	}
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case []any:
		return len(v) == 0
	case []string:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}
