package admission

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"casco/lang"
	"casco/policy"
)

// What a JSON body may have, by what its endpoint reads. The engine takes more; no
// request of a client has it.
const (
	// MaxBody is for a container, a command, a swarm. The kernel takes no argument
	// and no variable longer than 128 KiB, and 2 MiB of them (execve(2)).
	MaxBody = 1 << 20
	// maxSwarmBody is for secrets and configs, of up to 1,000 kB (swarmkit
	// MaxSecretSize, MaxConfigSize), which base64 makes a third longer, and for the
	// services that have them.
	maxSwarmBody = 2 << 20
	// maxSmallBody is for networks, volumes, limits and the like: names, labels,
	// options.
	maxSmallBody = 256 << 10
	// maxNoBody is for what an endpoint does not read: see nothing.
	maxNoBody = 16 << 10

	maxDepth = 32 // the deepest of the engine's types has 10
	// A value takes its place in memory however short it is: "[]," is 3 bytes and
	// some 150 here. A body may have freeValues, and one more for each of
	// bytesPerValue; ten thousand published ports have one for 14.
	freeValues    = 4096
	bytesPerValue = 8
)

// A Body is what was read of a request's body.
type Body struct {
	// JSON is the same again, in the one form that every reader of JSON takes
	// alike: this is what goes to the engine. It is empty where nothing is to be
	// sent, nil where the body is a stream and passes as it is.
	JSON []byte
	// Value is JSON decoded: maps, lists, texts, bools, json.Number, nil.
	Value any
}

// Decode reads the body of a request strictly: as the engine's own types would
// be filled from it (encoding/json), or not at all. An error is a *Refusal.
func Decode(r Route, contentType string, body []byte) (Body, error) {
	form, err := mediaType(contentType)
	if err != nil {
		return Body{}, err
	}
	if r.Endpoint.reads() || r.Endpoint.body == stream {
		if !r.Streams() {
			return Body{JSON: []byte{}}, nil // the engine reads none
		}
		return Body{}, nil
	}
	if len(body) > r.Endpoint.limit() {
		return Body{}, refused("request-size", 413, lang.Text{
			En: "the body has more than %d bytes", Es: "el cuerpo tiene más de %d bytes",
		}.F(r.Endpoint.limit()), lang.Text{En: "send a shorter body", Es: "envíe un cuerpo más corto"})
	}
	empty := len(bytes.Trim(body, " \t\r\n")) == 0
	switch {
	case r.Endpoint.body == noBody:
		if !empty && !r.Endpoint.nothing(body) {
			return Body{}, malformed(lang.Text{En: "%s reads no body, and there is one", Es: "%s no lee cuerpo, y lo hay"}.F(r.Endpoint))
		}
		return Body{JSON: []byte{}}, nil
	case empty && r.Endpoint.body == maybeJSON:
		return Body{JSON: []byte{}}, nil
	case empty:
		return Body{}, malformed(lang.Text{En: "there is no body", Es: "no hay cuerpo"})
	case form != "application/json":
		return Body{}, refused("request-type", 415, lang.Text{
			En: "the body is called %q, not application/json", Es: "el cuerpo se dice %q, no application/json",
		}.F(printable(contentType)), fixType)
	}
	tree, err := parseJSON(body)
	if err != nil {
		return Body{}, err
	}
	if tree == nil && r.Endpoint.body != maybeJSON {
		return Body{}, malformed(lang.Text{En: "the body is null", Es: "el cuerpo es null"})
	}
	value, err := canonical(r.Endpoint.without(tree), r.Endpoint.of, "")
	if err != nil {
		return Body{}, err
	}
	return Body{encode(value), value}, nil
}

// limit is how long e's body may be.
func (e *Endpoint) limit() int {
	switch {
	case e.body == noBody:
		return maxNoBody
	case e.Class == Content, e.Class == Service:
		return maxSwarmBody
	case e.Class == Create, e.Class == Exec && e.body == jsonBody, e.Class == Image, e.Class == Swarm:
		return MaxBody
	}
	return maxSmallBody
}

// Limit is how much of a request's body there is to read: one that is longer is
// refused, or, where the policy only observes that, refused if it is longer than
// that of any.
func (j *Judge) Limit(r Route) int64 {
	if mode, _ := j.mode("request-size", ""); mode != policy.Enforce || r.Endpoint == nil {
		return maxSwarmBody
	}
	return int64(r.Endpoint.limit())
}

var fixType = lang.Text{En: "send it with Content-Type: application/json", Es: "envíelo con Content-Type: application/json"}

// mediaType reads a Content-Type as the engine does. A form is refused
// wherever it stands: net/http would take parameters from it, before those of
// the query.
func mediaType(contentType string) (string, error) {
	if contentType == "" {
		return "", nil
	}
	form, params, err := mime.ParseMediaType(contentType)
	charset, has := params["charset"]
	switch {
	case err != nil, has && !strings.EqualFold(charset, "utf-8"):
		return "", refused("request-type", 415, lang.Text{
			En: "%q can be read in more than one way", Es: "%q se puede leer de más de una manera",
		}.F(printable(contentType)), fixType)
	case form == "application/x-www-form-urlencoded", strings.HasPrefix(form, "multipart/"):
		return "", refused("request-type", 415, lang.Text{
			En: "a form as body would give parameters that stand before those of the query", Es: "un formulario como cuerpo daría parámetros que van antes que los de la consulta",
		}, fixType)
	}
	return form, nil
}

// nothing reports whether a body says nothing that e's parameters do not: some
// clients send {} or null where the engine reads none, or the parameters again.
func (e *Endpoint) nothing(body []byte) bool {
	v, err := parseJSON(body)
	if err != nil || v == nil {
		return err == nil
	}
	o, isObject := v.(*object)
	return isObject && !slices.ContainsFunc(o.keys, func(key string) bool { return !e.repeated(key) })
}

// without is a body without what the engine has in no body: see repeated.
func (e *Endpoint) without(body any) any {
	o, isObject := body.(*object)
	if !isObject || e.of.Kind() != reflect.Struct {
		return body
	}
	known, out := words(e.of), &object{}
	for i, key := range o.keys {
		if _, has := known[fold(key)]; has || !e.repeated(key) {
			out.keys, out.values = append(out.keys, key), append(out.values, o.values[i])
		}
	}
	return out
}

func malformed(why lang.Text) *Refusal {
	return refused("request-body", 400, why, lang.Text{En: "send one JSON value, each key once, in UTF-8", Es: "envíe un solo valor JSON, cada clave una vez, en UTF-8"})
}

// An object is a JSON object with its keys in their order.
type object struct {
	keys   []string
	values []any
}

// parseJSON reads one JSON value without losing anything on the way: a key
// that stands there twice, even in another case, text that is no UTF-8, or a
// second value are refused. It gives nil, bool, json.Number, string, []any and
// *object.
func parseJSON(body []byte) (any, error) {
	if !utf8.Valid(body) {
		return nil, malformed(lang.Text{En: "the body is not UTF-8", Es: "el cuerpo no es UTF-8"})
	}
	d := &treeReader{json.NewDecoder(bytes.NewReader(body)), freeValues + len(body)/bytesPerValue}
	d.UseNumber()
	v, err := d.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed(lang.Text{En: "something follows the JSON value", Es: "algo sigue al valor JSON"})
	}
	return v, nil
}

// A treeReader reads a JSON value, of not more than left others.
type treeReader struct {
	*json.Decoder
	left int
}

func (d *treeReader) value(depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, malformed(lang.Text{En: "the body is no JSON: %v", Es: "el cuerpo no es JSON: %v"}.F(err))
	}
	if depth > maxDepth {
		return nil, malformed(lang.Text{En: "the body is nested too deeply", Es: "el cuerpo está anidado demasiado hondo"})
	}
	if d.left--; d.left < 0 {
		return nil, refused("request-size", 413, lang.Text{En: "the body has too many values for its length", Es: "el cuerpo tiene demasiados valores para su longitud"},
			lang.Text{En: "send fewer", Es: "envíe menos"})
	}
	switch t := t.(type) {
	case string:
		return text(t)
	case json.Delim:
		if t == '[' {
			return d.list(depth)
		}
		return d.members(depth)
	}
	return t, nil
}

// text refuses what a decoder put in place of half a surrogate pair, and NUL,
// at which the kernel's names end and Go's do not.
func text(s string) (any, error) {
	if strings.ContainsRune(s, utf8.RuneError) || strings.ContainsRune(s, 0) {
		return nil, malformed(lang.Text{En: "a text has a character that can be read in two ways", Es: "un texto tiene un carácter que se puede leer de dos maneras"})
	}
	return s, nil
}

func (d *treeReader) list(depth int) (any, error) {
	l := []any{}
	for d.More() {
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
	}
	_, err := d.Token()
	if err != nil {
		return nil, malformed(lang.Text{En: "the body is no JSON: %v", Es: "el cuerpo no es JSON: %v"}.F(err))
	}
	return l, nil
}

func (d *treeReader) members(depth int) (any, error) {
	o := &object{}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return nil, malformed(lang.Text{En: "the body is no JSON: %v", Es: "el cuerpo no es JSON: %v"}.F(err))
		}
		if _, err := text(key); err != nil {
			return nil, err
		}
		if seen[key] {
			return nil, twice(key)
		}
		seen[key] = true
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		o.keys, o.values = append(o.keys, key), append(o.values, v)
	}
	if _, err := d.Token(); err != nil {
		return nil, malformed(lang.Text{En: "the body is no JSON: %v", Es: "el cuerpo no es JSON: %v"}.F(err))
	}
	return o, nil
}

func twice(key string) *Refusal {
	return malformed(lang.Text{En: "the key %q stands there twice", Es: "la clave %q está dos veces"}.F(key))
}

// fold brings together the keys that encoding/json takes for one field: as it
// does, each character becomes the smallest of those that differ from it only
// in case. So ſ is s, and the Kelvin sign k.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				return next
			}
			r = next
		}
	}, s)
}

// encode writes a value in the one form of it: keys sorted, nothing escaped
// that need not be, no space.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // maps, lists, texts and numbers that were read from JSON
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
