package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"casco/lang"
)

// DefaultHost is where an engine listens when nobody said otherwise.
const DefaultHost = "unix:///var/run/docker.sock"

// The versions of the Engine API that this package speaks. 1.41 is that of
// Docker 20.10, the oldest engine still supported by a distribution (Debian
// 12); 1.51 that of Docker 28.3. The engine's own is in the Api-Version header
// of GET /_ping, the one call that needs no version.
const (
	oldestAPI = 41
	newestAPI = 51
)

// pingTimeout bounds the first call. An engine whose authorization plugin is
// dead takes 15 s to answer with an error (measured on 20.10 and 29).
const pingTimeout = 20 * time.Second

// A Client talks to one engine. It is safe for concurrent use.
type Client struct {
	host   string // as given, with its scheme
	socket string // path of the unix socket, "" for tcp
	base   string // "http://docker", "https://10.0.0.1:2376"
	minor  int    // the API version is 1.minor; 0 before it is negotiated
	http   *http.Client
}

// An Option changes how New makes a client.
type Option func(*Client)

// WithTransport puts wrap around the client's transport, so that a test can
// see, delay or cut off requests.
func WithTransport(wrap func(http.RoundTripper) http.RoundTripper) Option {
	return func(c *Client) { c.http.Transport = wrap(c.http.Transport) }
}

// New connects to the engine at host: a unix:// address, the bare path of a
// socket, or tcp://host:port. The empty host is DefaultHost. A tcp connection
// uses TLS, verified both ways, with ca.pem, cert.pem and key.pem from the
// directory that DOCKER_CERT_PATH names; without it, it is plain HTTP.
//
// The error says whether nobody listens, the caller may not use the socket, or
// the engine is too old.
func New(host string, opts ...Option) (*Client, error) {
	c, err := dial(host)
	if err != nil {
		return nil, err
	}
	for _, opt := range opts {
		opt(c)
	}
	ctx, cancel := context.WithTimeout(context.Background(), pingTimeout)
	defer cancel()
	if err := c.negotiate(ctx); err != nil {
		return nil, lang.Errorf(lang.Text{En: "engine at %s: %w", Es: "motor en %s: %w"}, c.host, err)
	}
	return c, nil
}

// Host returns the address of the engine: "unix:///var/run/docker.sock".
func (c *Client) Host() string { return c.host }

// Socket returns the path of the engine's unix socket, or "" if it is reached
// over tcp.
func (c *Client) Socket() string { return c.socket }

// Version returns the API version in use: "1.41".
func (c *Client) Version() string { return "1." + strconv.Itoa(c.minor) }

// An Error is the engine's refusal of a request.
type Error struct {
	Method, Path string // "GET", "/containers/web1/json"
	Status       int    // of HTTP
	Message      string // the engine's own words
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s %s: %d: %s", e.Method, e.Path, e.Status, e.Message)
}

// notFound reports whether err says that the object is not there.
func notFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

// Call sends in as JSON, unless it is nil, and decodes the reply into out,
// unless that is nil; numbers become json.Number. The path has no version:
// "/containers/web1/json". A refusal is an *Error.
//
// A call may take as long as the engine works on it, but not longer than the
// engine answers at all: one that was stopped would hold its caller for ever.
func (c *Client) Call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer c.watch(ctx, cancel)()
	err := c.call(ctx, method, path, in, out)
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errStuck) {
		return fmt.Errorf("%s %s: %w", method, path, cause)
	}
	return err
}

// errStuck is the end of a call to an engine that no longer answers others.
var errStuck = lang.Errorf(lang.Text{
	En: "the engine has not answered for %v: is it stopped or stuck?",
	Es: "el motor no responde desde hace %v: ¿está detenido o atascado?",
}, stuckAfter+pingTimeout)

// stuckAfter is how long a call is under way before the engine is asked
// whether it still answers.
const stuckAfter = 10 * time.Second

// watch cancels a call with errStuck once the engine answers nobody else
// either. The caller calls stop when the call is over.
func (c *Client) watch(ctx context.Context, cancel context.CancelCauseFunc) (stop func()) {
	over := make(chan struct{})
	var look func()
	look = func() {
		select {
		case <-over:
			return
		default:
		}
		if err := c.ping(ctx); errors.Is(err, context.DeadlineExceeded) {
			cancel(errStuck)
			return
		}
		time.AfterFunc(stuckAfter, look)
	}
	timer := time.AfterFunc(stuckAfter, look)
	return func() { close(over); timer.Stop() }
}

// ping fails unless the engine answers within pingTimeout.
func (c *Client) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	res, err := c.Do(ctx, http.MethodGet, "/_ping", nil, "")
	if err == nil {
		res.Body.Close()
	}
	return err
}

// awaitTime is how long Await waits: systemd starts an engine that died again
// after 2 s (RestartSec of docker.service), and it takes 0.5 s to answer; ten
// times that was seen on a loaded machine.
const awaitTime = 20 * time.Second

// Await waits until the engine answers, for awaitTime at most. It is for going
// back after an engine died, which somebody may be starting again.
func (c *Client) Await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, awaitTime)
	defer cancel()
	for {
		err := c.ping(ctx)
		if err == nil {
			return nil
		}
		if serr := sleep(ctx, 4*pollEvery); serr != nil {
			return lang.Errorf(lang.Text{En: "engine at %s: not reachable: %w", Es: "motor en %s: no se puede alcanzar: %w"}, c.host, err)
		}
	}
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	var contentType string
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		body, contentType = bytes.NewReader(b), "application/json"
	}
	res, err := c.Do(ctx, method, path, body, contentType)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if out == nil { // a body that is not read to its end costs the connection
		_, err = io.Copy(io.Discard, res.Body)
	} else {
		err = readReply(res.Body, out)
	}
	if err != nil {
		return lang.Errorf(lang.Text{En: "%s %s: reply: %w", Es: "%s %s: respuesta: %w"}, method, path, err)
	}
	return nil
}

// Do sends a request whose reply is a stream; the caller closes its body. A
// refusal is an *Error.
func (c *Client) Do(ctx context.Context, method, path string, body io.Reader, contentType string) (*http.Response, error) {
	target := c.base + path
	if c.minor != 0 {
		target = c.base + "/v" + c.Version() + path
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, plain(err))
	}
	if res.StatusCode >= http.StatusBadRequest {
		defer res.Body.Close()
		return nil, &Error{method, path, res.StatusCode, refusal(res)}
	}
	return res, nil
}

// plain strips what net/http and net put around the cause: they name a URL
// that does not exist ("http://docker/…").
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

// refusal reads the engine's message: {"message": "…"}, or plain text if a
// proxy or an old route answered.
func refusal(res *http.Response) string {
	const enough = 64 << 10
	b, err := io.ReadAll(io.LimitReader(res.Body, enough))
	if err != nil {
		return http.StatusText(res.StatusCode)
	}
	var reply struct{ Message string }
	if json.Unmarshal(b, &reply) == nil && reply.Message != "" {
		return strings.TrimSpace(reply.Message)
	}
	if s := strings.TrimSpace(string(b)); s != "" {
		return s
	}
	return http.StatusText(res.StatusCode)
}

// negotiate asks the engine for its API version and chooses the newest that
// both speak.
func (c *Client) negotiate(ctx context.Context) error {
	res, err := c.Do(ctx, http.MethodGet, "/_ping", nil, "")
	switch {
	case errors.Is(err, fs.ErrPermission):
		return lang.Errorf(lang.Text{
			En: "no permission to use the socket: be root or in its group: %w",
			Es: "sin permiso para usar el socket: sea root o de su grupo: %w",
		}, err)
	case errors.Is(err, fs.ErrNotExist):
		return lang.Errorf(lang.Text{En: "no such socket: is the engine running? %w", Es: "no existe tal socket: ¿está en marcha el motor? %w"}, err)
	case errors.Is(err, context.DeadlineExceeded):
		return lang.Errorf(lang.Text{
			En: "no answer within %v: is it stopped or stuck? %w",
			Es: "sin respuesta en %v: ¿está detenido o trabado? %w",
		}, pingTimeout, err)
	case err != nil:
		return lang.Errorf(lang.Text{En: "not reachable: %w", Es: "no se puede alcanzar: %w"}, err)
	}
	res.Body.Close()
	api := res.Header.Get("Api-Version")
	minor, err := minorOf(api)
	if err != nil {
		return err
	}
	if minor < oldestAPI {
		return lang.Errorf(lang.Text{
			En: "too old: it speaks API %s, 1.%d (Docker 20.10) is the oldest known",
			Es: "demasiado viejo: habla la API %s, la más vieja conocida es 1.%d (Docker 20.10)",
		}, api, oldestAPI)
	}
	c.minor = min(minor, newestAPI)
	return nil
}

func minorOf(api string) (int, error) {
	major, minor, _ := strings.Cut(api, ".")
	n, err := strconv.Atoi(minor)
	if major != "1" || err != nil {
		return 0, lang.Errorf(lang.Text{En: "not a Docker engine: its Api-Version is %q", Es: "no es un motor Docker: su Api-Version es %q"}, api)
	}
	return n, nil
}
