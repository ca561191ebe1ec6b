package docker

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// serve answers on a unix socket as an engine of that API version would.
func serve(t *testing.T, api string, h http.HandlerFunc) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "d.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_ping", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Api-Version", api)
	})
	if h != nil {
		mux.HandleFunc("/", h)
	}
	srv := &http.Server{Handler: mux}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return socket
}

func TestNewNegotiates(t *testing.T) {
	for _, tt := range []struct{ engine, want, err string }{
		{engine: "1.41", want: "1.41"},
		{engine: "1.47", want: "1.47"},
		{engine: "1.99", want: "1.51"},
		{engine: "1.40", err: "too old"},
		{engine: "", err: "not a Docker engine"},
		{engine: "2.0", err: "not a Docker engine"},
	} {
		c, err := New(serve(t, tt.engine, nil))
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("engine with API %q: got error %v, want %q", tt.engine, err, tt.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("engine with API %q: %v", tt.engine, err)
		} else if c.Version() != tt.want {
			t.Errorf("engine with API %q: speaks %s, want %s", tt.engine, c.Version(), tt.want)
		}
	}
}

func TestNewSaysWhy(t *testing.T) {
	dead := filepath.Join(t.TempDir(), "dead.sock")
	l, err := net.Listen("unix", dead)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	for _, tt := range []struct{ host, want string }{
		{filepath.Join(t.TempDir(), "none.sock"), "no such socket"},
		{dead, "not reachable"},
		{"ssh://host", "not supported"},
		{"nonsense", "want unix:///path"},
	} {
		_, err := New(tt.host)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New(%q): got error %v, want %q", tt.host, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "http://docker") {
			t.Errorf("New(%q): the error names a made-up URL: %v", tt.host, err)
		}
	}
}

func TestNewPermission(t *testing.T) {
	_, err := New("/run/any.sock", WithTransport(func(http.RoundTripper) http.RoundTripper {
		return roundTrip(func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", os.ErrPermission)}
		})
	}))
	if err == nil || !strings.Contains(err.Error(), "no permission") {
		t.Errorf("got error %v, want one that says no permission", err)
	}
}

// A roundTrip is a transport made of a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestCall(t *testing.T) {
	c, err := New(serve(t, "1.41", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1.41/containers/web/json":
			w.Write([]byte(`{"HostConfig":{"Memory":9007199254740993}}`))
		case "/v1.41/containers/web/stop":
			w.WriteHeader(http.StatusNoContent)
		default:
			w.WriteHeader(http.StatusNotFound)
			w.Write([]byte(`{"message":"No such container: nix"}`))
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	var got struct{ HostConfig map[string]any }
	if err := c.Call(ctx, "GET", "/containers/web/json", nil, &got); err != nil {
		t.Fatal(err)
	}
	if n := got.HostConfig["Memory"]; n != json.Number("9007199254740993") {
		t.Errorf("Memory = %v (%T), want the number as it was sent", n, n)
	}
	if err := c.Call(ctx, "POST", "/containers/web/stop", nil, nil); err != nil {
		t.Errorf("a reply without a body: %v", err)
	}
	err = c.Call(ctx, "GET", "/containers/nix/json", nil, &got)
	var refused *Error
	if !errors.As(err, &refused) || refused.Status != 404 || refused.Message != "No such container: nix" {
		t.Errorf("got error %v, want the engine's 404", err)
	}
	if !notFound(err) {
		t.Error("notFound does not know a 404")
	}
}
