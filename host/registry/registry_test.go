package registry

import (
	"context"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"casco/loop/inventory"
)

func TestOf(t *testing.T) {
	for ref, want := range map[string]string{
		"nginx": hub, "library/nginx:1": hub, "ghcr.io/a/b@sha256:x": "ghcr.io", "localhost/a": "localhost",
		"localhost:5000/a:1": "localhost:5000", "10.0.0.1:5000/a": "10.0.0.1:5000", "user/app": hub, "": hub,
	} {
		if got := Of(ref); got != want {
			t.Errorf("Of(%q) = %q, want %q", ref, got, want)
		}
	}
}

// TestRead judges registries as an engine with these settings would treat them.
// The one on loopback is really asked, from this process's own namespace.
func TestRead(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer plain.Close()
	tls := httptest.NewTLSServer(http.NotFoundHandler())
	defer tls.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	address := func(s *httptest.Server) string { return s.Listener.Addr().String() }
	_, port, err := net.SplitHostPort(address(plain))
	if err != nil {
		t.Fatal(err)
	}
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte("127.0.0.1 reg.local # ours\n10.9.9.9 far.local\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &inventory.Snapshot{}
	s.Add(&inventory.Object{Ref: inventory.Ref{Kind: inventory.Daemon, Name: "/d.sock"}, Fields: map[string]any{
		"Process": map[string]any{"Pid": int64(os.Getpid())},
		"Info": map[string]any{"RegistryConfig": map[string]any{
			"IndexConfigs": map[string]any{
				"docker.io":    map[string]any{"Secure": true},
				"old.lan:5000": map[string]any{"Secure": false},
			},
			"InsecureRegistryCIDRs": []any{"127.0.0.0/8", "10.0.0.0/8"},
			"Mirrors":               []any{"http://mirror.lan/"},
		}},
	}})
	for i, ref := range []string{
		address(plain) + "/a:1", address(tls) + "/a:1", closed.Addr().String() + "/a:1", "reg.local:" + port + "/a:1",
		"far.local/a:1", "else.where/a:1", "192.0.2.1/a:1", "ghcr.io/a:1", "local-only:1",
	} {
		s.Add(&inventory.Object{Ref: inventory.Ref{Kind: inventory.Container, Name: fmt.Sprint("c", i)}, Fields: map[string]any{"Config": map[string]any{"Image": ref}}})
	}
	r := &Reader{hosts: hosts}
	if err := r.Read(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	tell := func(f inventory.Field[bool], o *inventory.Object) string {
		v, fact, ok := f.Of(o)
		if !ok {
			return "? " + fact.Err
		}
		return fmt.Sprint(v)
	}
	for name, want := range map[string][3]string{ // insecure, loopback, plain
		address(plain):         {"true", "true", "true"},
		address(tls):           {"true", "true", "false"},
		"reg.local:" + port:    {"true", "true", "true"},
		"docker.io":            {"false", "false", "? absent"},
		"old.lan:5000":         {"true", "false", "? absent"},
		"mirror.lan":           {"true", "false", "? absent"},
		"far.local":            {"true", "false", "? absent"},
		"192.0.2.1":            {"false", "false", "? absent"},
		"else.where":           {"? its address is not known here, and the engine accepts whole networks", "false", "? absent"},
		closed.Addr().String(): {"true", "true", "? dial tcp " + closed.Addr().String() + ": connect: connection refused"},
	} {
		o := s.Find(inventory.Ref{Kind: inventory.Registry, Name: name})
		if o == nil {
			t.Errorf("%s was not found", name)
			continue
		}
		if got := [3]string{tell(inventory.RegistryInsecure, o), tell(inventory.RegistryLoopback, o), tell(inventory.RegistryPlain, o)}; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestNewer: a newer tag is one of the same kind with higher numbers.
func TestNewer(t *testing.T) {
	all := []string{"1.4.0", "1.4.3", "1.10.0", "2.0.0-rc1", "1.4.3-alpine", "1.9-alpine", "latest", "20240101", "v3.0.0"}
	for tag, want := range map[string]string{
		"1.4.0": "1.10.0", "1.10.0": "", "1.4.2-alpine": "1.4.3-alpine", "1.4-alpine": "1.9-alpine", "latest": "", "20230101": "", "v2.0.0": "v3.0.0",
		"1.4.99999999999999999999999": "1.10.0",
	} {
		if got := newer(tag, all); got != want {
			t.Errorf("newer than %s: %q, want %q", tag, got, want)
		}
	}
}

// TestLoginsStay: logins are given to nobody who did not prove who it is.
func TestLoginsStay(t *testing.T) {
	var given []string
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if auth := r.Header.Get("Authorization"); auth != "" {
			given = append(given, auth)
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer s.Close()
	at := s.Listener.Addr().String()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	login := fmt.Sprintf(`{"auths": {%q: {"auth": "YTpi"}}}`, at) // a:b
	if err := os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(login), 0o600); err != nil {
		t.Fatal(err)
	}
	certs := t.TempDir()
	for _, trusted := range []bool{false, true} {
		if trusted {
			dir := filepath.Join(certs, at)
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
			if err := os.WriteFile(filepath.Join(dir, "ca.crt"), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		snap := &inventory.Snapshot{}
		snap.Add(&inventory.Object{Ref: inventory.Ref{Kind: inventory.Image, Name: "a"}, Fields: map[string]any{
			"RepoTags": []any{at + "/a:1"}, "RepoDigests": []any{at + "/a@sha256:" + strings.Repeat("a", 64)},
		}})
		// On loopback an engine looks at no certificate; here it is to.
		o := &inventory.Object{Ref: inventory.Ref{Kind: inventory.Registry, Name: at}, Fields: map[string]any{"Insecure": !trusted}, Unread: map[string]string{}}
		a := &asker{pid: int64(os.Getpid()), certs: certs, proxy: func(*url.URL) (*url.URL, error) { return nil, nil }, now: time.Now}
		given = nil
		a.askAll(t.Context(), snap, []*inventory.Object{o})
		if (len(given) > 0) != trusted {
			t.Errorf("trusted %v (%v): it was given %q", trusted, o.Fields, given)
		}
	}
}

// TestProxy: who asks goes the way that the engine goes.
func TestProxy(t *testing.T) {
	var through []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		through = append(through, r.Method+" "+r.Host)
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer proxy.Close()
	d := &inventory.Object{Ref: inventory.Ref{Kind: inventory.Daemon, Name: "/d.sock"}, Fields: map[string]any{
		"Process": map[string]any{"Pid": int64(os.Getpid())},
		"Info":    map[string]any{"HttpsProxy": proxy.URL, "NoProxy": "near.example"},
	}}
	a, err := newAsker(d, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.ask(t.Context(), "far.example"); err == nil || len(through) != 1 || through[0] != "CONNECT far.example:443" {
		t.Errorf("%v, and the proxy was asked for %q", err, through)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, _ = a.ask(ctx, "near.example"); len(through) != 1 {
		t.Errorf("the proxy was asked for %q", through)
	}
}
