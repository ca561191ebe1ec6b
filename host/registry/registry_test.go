package registry

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

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
