package door

import (
	"bytes"
	"math"
	"net/http"
	"strconv"
	"strings"

	"casco/internal/apicall"
	"casco/lang"
)

// A head is a request's or a response's first part. The fields keep their order
// and their spelling.
type head struct {
	method, uri string // of a request
	status      int    // of a response
	minor       int    // HTTP/1.minor
	fields      []field

	body        kind
	length      int64 // where body is counted
	hasLength   bool  // Content-Length was given, be it 0
	closes      bool  // Connection: close, or HTTP/1.0
	expects     bool  // Expect: 100-continue
	upgrade     string
	contentType string
}

type field struct{ name, value string }

// A problem is a request that is not understood, or an engine that is not.
type problem struct {
	status int
	err    error
	full   bool // it is one of room: see Record.Full
}

func (p *problem) Error() string { return p.err.Error() }
func (p *problem) Unwrap() error { return p.err }

func trouble(status int, t lang.Text, args ...any) *problem {
	return &problem{status: status, err: lang.Errorf(t, args...)}
}

// noRoom is a problem of a request that takes too much.
func noRoom(status int, t lang.Text, args ...any) *problem {
	p := trouble(status, t, args...)
	p.full = true
	return p
}

func badRequest(t lang.Text, args ...any) *problem { return trouble(http.StatusBadRequest, t, args...) }

var (
	errBareLF = badRequest(lang.Text{
		En: "a line of the request's head does not end in CR LF",
		Es: "una línea de la cabecera de la petición no termina en CR LF",
	})
	errLongHead = trouble(http.StatusRequestHeaderFieldsTooLarge, lang.Text{
		En: "the request's head is too long",
		Es: "la cabecera de la petición es demasiado larga",
	})
	errLine = badRequest(lang.Text{
		En: "the request's first line is not METHOD /PATH HTTP/1.1",
		Es: "la primera línea de la petición no es MÉTODO /RUTA HTTP/1.1",
	})
	errField = badRequest(lang.Text{
		En: "a line of the request's head is not NAME: VALUE",
		Es: "una línea de la cabecera de la petición no es NOMBRE: VALOR",
	})
	errFraming = badRequest(lang.Text{
		En: "the request does not say in one way where its body ends",
		Es: "la petición no dice de una sola manera dónde termina su cuerpo",
	})
)

// parseRequest reads a request's head, its empty line included (RFC 9112, 3 to
// 6). It is stricter than Go's net/http, of which engines are made: nothing that
// two readers could understand in two ways is passed on. So net/http behind it
// reads what was read here.
func parseRequest(b []byte) (*head, error) {
	line, rest, ok := bytes.Cut(b, crlf)
	if !ok {
		return nil, errLine
	}
	method, target, ok := strings.Cut(string(line), " ")
	uri, version, ok2 := strings.Cut(target, " ")
	h := &head{method: method, uri: uri}
	switch {
	case !ok || !ok2 || method == "" || !all(method, isToken) || !isTarget(uri):
		return nil, errLine
	case version == "HTTP/1.1":
		h.minor = 1
	case version == "HTTP/1.0":
		h.closes = true
	case strings.HasPrefix(version, "HTTP/"):
		return nil, trouble(http.StatusHTTPVersionNotSupported, lang.Text{En: "only HTTP/1.1 is spoken here", Es: "aquí solo se habla HTTP/1.1"})
	default:
		return nil, errLine
	}
	if err := h.parseFields(rest); err != nil {
		return nil, err
	}
	return h, h.frame()
}

// isTarget wants the origin form: a path of printable ASCII. An engine takes a
// whole URL and "*" too, which no client sends it.
func isTarget(s string) bool {
	return strings.HasPrefix(s, "/") && all(s, func(c byte) bool { return c > ' ' && c < 0x7f && c != '#' && c != '\\' })
}

// maxFields is how many fields a head may have. Clients send some ten, and each
// takes more room here than on its way: "a:" is four bytes.
const maxFields = 200

var crlf = []byte("\r\n")

// parseFields reads "NAME: VALUE" lines up to the empty one.
func (h *head) parseFields(b []byte) error {
	for {
		line, rest, ok := bytes.Cut(b, crlf)
		switch {
		case !ok:
			return errField
		case len(line) == 0 && len(rest) > 0:
			return errField
		case len(line) == 0:
			return nil
		}
		name, value, ok := strings.Cut(string(line), ":")
		// A line that begins with a space continued the one before (RFC 9112, 5.2);
		// a space before the colon hides a name from some readers (5.1).
		if !ok || name == "" || !all(name, isToken) || !all(value, isValue) {
			return errField
		}
		if len(h.fields) == maxFields {
			return errLongHead
		}
		h.fields = append(h.fields, field{name, strings.Trim(value, " \t")})
		b = rest
	}
}

// frame finds out where the body ends and what becomes of the connection.
func (h *head) frame() error {
	hosts := 0
	for i := range h.fields {
		f := &h.fields[i]
		var again bool
		switch strings.ToLower(f.name) {
		case "content-length":
			n, ok := parseLength(f.value)
			if !ok || h.hasLength || h.body == chunked {
				return errFraming
			}
			h.hasLength, h.length, h.body = true, n, counted
		case "transfer-encoding":
			if h.hasLength || h.body == chunked || !strings.EqualFold(f.value, "chunked") || h.minor == 0 {
				return errFraming
			}
			h.body = chunked
		case "host":
			hosts++
		case "expect":
			if !strings.EqualFold(f.value, "100-continue") {
				return trouble(http.StatusExpectationFailed, lang.Text{En: "Expect: only 100-continue is known", Es: "Expect: solo se conoce 100-continue"})
			}
			h.expects = h.minor == 1
		case "connection":
			if err := h.connection(f.value); err != nil {
				return err
			}
		case "content-type":
			again, h.contentType = h.contentType != "", f.value
		case "upgrade":
			again, h.upgrade = h.upgrade != "", f.value
		case strings.ToLower(apicall.PassField):
			return badRequest(lang.Text{En: "%s is written by casco alone", Es: "%s solo lo escribe casco"}, f.name)
		case "http2-settings":
			// With it an Upgrade is answered by the engine's server, and not by the
			// endpoint: all that follows would be HTTP/2, unseen by anybody.
			return badRequest(lang.Text{En: "only HTTP/1.1 is spoken here, not HTTP/2", Es: "aquí solo se habla HTTP/1.1, no HTTP/2"})
		}
		if again {
			return badRequest(lang.Text{En: "%s is there more than once", Es: "%s está más de una vez"}, f.name)
		}
	}
	if hosts > 1 || hosts == 0 && h.minor == 1 {
		return badRequest(lang.Text{En: "the request names no host, or more than one", Es: "la petición no nombra un host, o nombra más de uno"})
	}
	return nil
}

// connection reads the options of a Connection field. One that names another
// field would have it dropped by some and not by others (RFC 9110, 7.6.1).
func (h *head) connection(value string) error {
	for option := range strings.SplitSeq(value, ",") {
		switch strings.ToLower(strings.Trim(option, " \t")) {
		case "close":
			h.closes = true
		case "keep-alive", "upgrade", "":
		default:
			return badRequest(lang.Text{En: "Connection: only close, keep-alive and upgrade are known", Es: "Connection: solo se conocen close, keep-alive y upgrade"})
		}
	}
	return nil
}

func parseLength(s string) (int64, bool) {
	if s == "" || !all(s, func(c byte) bool { return '0' <= c && c <= '9' }) {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n < math.MaxInt64
}

// parseResponse reads the head of the engine's answer to a request that was made
// with a method.
func parseResponse(b []byte, method string) (*head, error) {
	bad := trouble(http.StatusBadGateway, lang.Text{En: "the engine's answer is not HTTP/1.1", Es: "la respuesta del motor no es HTTP/1.1"})
	line, rest, ok := bytes.Cut(b, crlf)
	version, code, _ := strings.Cut(string(line), " ")
	code, _, _ = strings.Cut(code, " ")
	h := &head{body: open}
	var err error
	h.status, err = strconv.Atoi(code)
	switch {
	case !ok || err != nil || len(code) != 3:
		return nil, bad
	case version == "HTTP/1.1":
		h.minor = 1
	case version == "HTTP/1.0":
		h.closes = true
	default:
		return nil, bad
	}
	if h.parseFields(rest) != nil {
		return nil, bad
	}
	for _, f := range h.fields {
		switch strings.ToLower(f.name) {
		case "content-length":
			n, ok := parseLength(f.value)
			if !ok || h.hasLength || h.body == chunked {
				return nil, bad
			}
			h.hasLength, h.length, h.body = true, n, counted
		case "transfer-encoding":
			if h.body != open || !strings.EqualFold(f.value, "chunked") {
				return nil, bad
			}
			h.body = chunked
		case "connection":
			h.closes = h.closes || strings.EqualFold(f.value, "close")
		}
	}
	if method == http.MethodHead || h.status < http.StatusOK || h.status == http.StatusNoContent || h.status == http.StatusNotModified {
		h.body = empty
	}
	return h, nil
}

// request is the head that is sent to the engine, with another target and, if
// length is not negative, another length, for a body that is here already.
// A body that the judge wrote anew is JSON. If it is the last, the engine is to
// close the connection after its answer. pass is what the engine's plugin shall
// know the request by; "" is nothing.
func (h *head) request(uri string, length int64, anew, last bool, pass string) []byte {
	var b bytes.Buffer
	b.Grow(512)
	b.WriteString(h.method + " " + uri + " HTTP/1." + strconv.Itoa(h.minor) + "\r\n")
	for _, f := range h.fields {
		switch name := strings.ToLower(f.name); {
		case length >= 0 && (name == "content-length" || name == "transfer-encoding" || name == "expect"):
		case anew && name == "content-type":
		case last && name == "connection":
		default:
			b.WriteString(f.name + ": " + f.value + "\r\n")
		}
	}
	if anew && length > 0 {
		b.WriteString("Content-Type: application/json\r\n")
	}
	if length > 0 || length == 0 && h.body != empty {
		b.WriteString("Content-Length: " + strconv.FormatInt(length, 10) + "\r\n")
	}
	if last {
		b.WriteString("Connection: close\r\n")
	}
	if pass != "" {
		b.WriteString(apicall.PassField + ": " + pass + "\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

func all(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

// isToken is for names (RFC 9110, 5.6.2).
func isToken(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// isValue is for values (RFC 9110, 5.5).
func isValue(c byte) bool { return c == '\t' || c >= ' ' && c != 0x7f }
