package admission

import (
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"casco/lang"
)

// Versions of the Engine API that are understood. Below 1.24 a start could
// carry a whole HostConfig; above 1.56 there may be words that nobody here
// knows, so only reads pass.
const (
	MinMinor = 24
	MaxMinor = 56
)

// maxURI bounds a request line; the engine's own server takes 1 MiB of headers.
const maxURI = 64 << 10

// A Route is where a request goes, read in the one way in which the engine
// reads it.
type Route struct {
	Method   string
	Version  string // "1.41"; "" where none was named
	Endpoint *Endpoint
	ID       string // what stands for {id} or {name}
	Sub      string // what stands for {sub}
	Query    url.Values
}

var versionLike = regexp.MustCompile(`^v[0-9.]+$`)

// ParseURI reads the target of a request as the engine's router does
// (net/http, then gorilla/mux over the decoded path), or refuses it where there
// is a second way to read it: the error is a *Refusal. raw is what stood in the
// request line.
func ParseURI(method, raw string) (Route, error) {
	target, query, err := splitTarget(raw)
	if err != nil {
		return Route{}, err
	}
	segs, err := segments(target)
	if err != nil {
		return Route{}, err
	}
	r := Route{Method: method}
	minor := 0
	if len(segs) > 0 && versionLike.MatchString(segs[0]) {
		text, one := strings.CutPrefix(segs[0], "v1.")
		minor, err = strconv.Atoi(text)
		if err != nil || !one || strconv.Itoa(minor) != text || minor < MinMinor {
			return Route{}, refused("request-version", 400, lang.Text{
				En: "%q is no version of the Engine API that is understood: 1.%d to 1.%d", Es: "%q no es una versión de la API del motor que se entienda: de 1.%d a 1.%d",
			}.F(segs[0], MinMinor, MaxMinor), fixVersion)
		}
		r.Version, segs = segs[0][1:], segs[1:]
	}
	r.Endpoint, r.ID, r.Sub = find(method, segs)
	if r.Endpoint == nil {
		return Route{}, refused("request-endpoint", 403, lang.Text{
			En: "%s %q is nothing that the Engine API has up to 1.%d", Es: "%s %q no está en la API del motor hasta 1.%d",
		}.F(printable(method), "/"+strings.Join(segs, "/"), MaxMinor), lang.Text{
			En: "ask for a path of the Engine API's documentation, in its own spelling", Es: "pida una ruta de la documentación de la API del motor, tal como allí se escribe",
		})
	}
	if minor > MaxMinor && !r.Endpoint.reads() {
		return Route{}, refused("request-version", 400, lang.Text{
			En: "version 1.%d may have words that are not understood here", Es: "la versión 1.%d puede tener palabras que aquí no se entienden",
		}.F(minor), fixVersion)
	}
	r.Query, err = parameters(r.Endpoint, query)
	return r, err
}

var fixVersion = lang.Text{En: "set DOCKER_API_VERSION=1.56 or lower", Es: "ponga DOCKER_API_VERSION=1.56 o menor"}

// splitTarget takes the path and the query out of a request line, which may
// name the server as well (RFC 9112, 3.2.2).
func splitTarget(raw string) (target, query string, err error) {
	wrong := func(why lang.Text) (string, string, error) {
		return "", "", refused("request-uri", 400, why, fixURI)
	}
	if len(raw) > maxURI {
		return wrong(lang.Text{En: "the request line is too long", Es: "la línea de la petición es demasiado larga"})
	}
	if i := strings.IndexFunc(raw, func(c rune) bool { return c <= ' ' || c >= 0x7f }); i >= 0 {
		return wrong(lang.Text{En: "the path has a character that must be percent-encoded", Es: "la ruta tiene un carácter que debe ir codificado"})
	}
	if strings.Contains(raw, "#") {
		return wrong(lang.Text{En: "a request line has no #", Es: "una línea de petición no lleva #"})
	}
	target, query, _ = strings.Cut(raw, "?")
	for _, scheme := range []string{"http://", "https://"} {
		if len(target) >= len(scheme) && strings.EqualFold(target[:len(scheme)], scheme) {
			host, rest, ok := strings.Cut(target[len(scheme):], "/")
			if !ok || host == "" || strings.ContainsAny(host, "@%\\") {
				return wrong(lang.Text{En: "the request line names a server in an odd way", Es: "la línea de la petición nombra un servidor de forma extraña"})
			}
			target = "/" + rest
			break
		}
	}
	if !strings.HasPrefix(target, "/") {
		return wrong(lang.Text{En: "the path does not begin with /", Es: "la ruta no empieza con /"})
	}
	return target, query, nil
}

var fixURI = lang.Text{En: "write the path once, clean and unencoded: /v1.44/containers/create", Es: "escriba la ruta una vez, limpia y sin codificar: /v1.44/containers/create"}

// segments decodes a path once, as net/http does, and wants it clean: the
// engine's router would answer another with a redirection. An encoded slash is
// a slash to it.
func segments(target string) ([]string, error) {
	wrong := func(why lang.Text) ([]string, error) { return nil, refused("request-uri", 400, why, fixURI) }
	p, err := url.PathUnescape(target)
	switch {
	case err != nil:
		return wrong(lang.Text{En: "the path is encoded wrongly", Es: "la ruta está mal codificada"})
	case strings.Contains(p, "%"):
		return wrong(lang.Text{En: "the path is encoded twice", Es: "la ruta está codificada dos veces"})
	case !utf8.ValidString(p) || strings.ContainsFunc(p, func(c rune) bool { return !unicode.IsPrint(c) || c == ' ' || c == utf8.RuneError }):
		return wrong(lang.Text{En: "the path has characters that no name of the engine has", Es: "la ruta tiene caracteres que ningún nombre del motor tiene"})
	case strings.ContainsAny(p, `;\`):
		return wrong(lang.Text{En: `the path has a ; or a \`, Es: `la ruta tiene un ; o una \`})
	case path.Clean(p) != p:
		return wrong(lang.Text{
			En: "the path can be read in two ways: //, /./, /../ or a / at its end", Es: "la ruta se puede leer de dos maneras: //, /./, /../ o una / al final",
		})
	case p == "/":
		return nil, nil
	}
	return strings.Split(p[1:], "/"), nil
}

// parameters reads the query as net/http does, and wants each parameter that
// the engine reads once, for it takes the first of several. One that the engine
// does not know may mean something to a newer one.
func parameters(e *Endpoint, query string) (url.Values, error) {
	wrong := func(why lang.Text) (url.Values, error) {
		return nil, refused("request-query", 400, why, lang.Text{
			En: "give each parameter once, as the Engine API's documentation writes it", Es: "dé cada parámetro una vez, como lo escribe la documentación de la API del motor",
		})
	}
	if strings.Contains(query, ";") { // a separator to engines built with Go below 1.17
		return wrong(lang.Text{En: "the query has a ;", Es: "la consulta tiene un ;"})
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		return wrong(lang.Text{En: "the query is encoded wrongly", Es: "la consulta está mal codificada"})
	}
	for name, values := range q {
		known, many := e.parameter(name)
		if !known {
			if e.reads() {
				continue
			}
			if e.repeated(name) {
				delete(q, name)
				continue
			}
			return wrong(lang.Text{En: "%s does not read a parameter %q", Es: "%s no lee ningún parámetro %q"}.F(e, name))
		}
		if len(values) > 1 && !many {
			return wrong(lang.Text{En: "the parameter %q stands there %d times", Es: "el parámetro %q está %d veces"}.F(name, len(values)))
		}
		if slices.ContainsFunc(values, func(v string) bool { return !utf8.ValidString(v) || strings.ContainsRune(v, 0) }) {
			return wrong(lang.Text{En: "the parameter %q is no text", Es: "el parámetro %q no es un texto"}.F(name))
		}
	}
	return q, nil
}

// URI is what is asked of the engine: made of what was understood, never of
// the bytes that came.
func (r Route) URI() string {
	var b strings.Builder
	if r.Version != "" {
		b.WriteString("/v" + r.Version)
	}
	for w := range strings.SplitSeq(r.Endpoint.Path[1:], "/") {
		switch w {
		case "{id}", "{name}":
			for s := range strings.SplitSeq(r.ID, "/") {
				b.WriteString("/" + url.PathEscape(s))
			}
		case "{sub}":
			b.WriteString("/" + url.PathEscape(r.Sub))
		default:
			b.WriteString("/" + w)
		}
	}
	if len(r.Query) > 0 {
		b.WriteString("?" + r.Query.Encode())
	}
	return b.String()
}

// Streams reports whether what follows the headers is not judged but passed on
// as it comes: an archive, or a connection that becomes another protocol. Where
// it is false the whole body belongs into Asked.Body.
func (r Route) Streams() bool { return r.Endpoint != nil && r.Endpoint.body == stream }

// NeedsBody reports whether the engine reads a body that must be seen: it wants
// one, or takes one and was told that it comes. That of a login, which has a
// password, no engine shows its plugin (moby, pkg/authorization: sendBody).
func (r Route) NeedsBody(contentType string) bool {
	if r.Endpoint == nil || r.Endpoint.body == noBody || r.Endpoint.body == stream || r.Endpoint.Class == Login {
		return false
	}
	form, err := mediaType(contentType)
	return r.Endpoint.body != maybeJSON || err != nil || form == "application/json"
}

// flag reads a parameter as the engine reads a boolean one (moby,
// httputils.BoolValue).
func (r Route) flag(name string) bool {
	switch strings.ToLower(strings.TrimSpace(r.Query.Get(name))) {
	case "", "0", "no", "false", "none":
		return false
	}
	return true
}
