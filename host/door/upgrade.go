package door

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"casco/lang"
)

// A way says what a connection may be switched to at an endpoint: there, and
// only there, both sides speak freely after the answer.
type way struct {
	method string
	path   *regexp.Regexp
	to     string // Upgrade
	bare   bool   // the engine also switches when no Upgrade was asked for (API before 1.20 and simple clients)
}

// ways are the endpoints of the engine that take over the connection: moby,
// daemon/server/router, those that call Hijack. Anywhere else an Upgrade is
// refused: an engine that speaks HTTP/2 would take it for itself, and nobody
// would see what is asked over it.
var ways = []way{
	{http.MethodPost, regexp.MustCompile(`^(/v[0-9.]+)?/containers/[^/]+/attach$`), "tcp", true},
	{http.MethodPost, regexp.MustCompile(`^(/v[0-9.]+)?/exec/[^/]+/start$`), "tcp", true},
	{http.MethodGet, regexp.MustCompile(`^(/v[0-9.]+)?/containers/[^/]+/attach/ws$`), "websocket", false},
	{http.MethodPost, regexp.MustCompile(`^(/v[0-9.]+)?/(session|grpc)$`), "h2c", false},
}

var errUpgrade = badRequest(lang.Text{
	En: "the connection cannot be switched to another protocol for this request",
	Es: "para esta petición no se puede cambiar la conexión a otro protocolo",
})

// wayOf returns how the connection may be switched by a request for uri; nil if
// it may not. It fails if the request asks for what it may not.
func wayOf(h *head, uri string) (*way, error) {
	u, err := url.ParseRequestURI(uri)
	if err != nil {
		return nil, errLine
	}
	for i := range ways {
		w := &ways[i]
		if w.method != h.method || !w.path.MatchString(u.Path) {
			continue
		}
		if h.upgrade != "" && (h.minor == 0 || !strings.EqualFold(h.upgrade, w.to)) {
			return nil, errUpgrade
		}
		return w, nil
	}
	if h.upgrade != "" {
		return nil, errUpgrade
	}
	return nil, nil
}

// switches reports whether the connection is both sides' after this answer.
func (w *way) switches(req, res *head) bool {
	if w == nil {
		return false
	}
	if res.status == http.StatusSwitchingProtocols {
		return req.upgrade != ""
	}
	return w.bare && req.upgrade == "" && res.status == http.StatusOK && res.body == open
}
