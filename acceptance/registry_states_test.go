package acceptance

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"casco/internal/outside"
	"casco/internal/realdocker"
)

// elsewhere is an address of the engine's host that is not on loopback.
const elsewhere = "192.0.2.10"

// TestRegistryStates: a registry in each state that its connection may be in, what
// casco says of it, how it says that the engine would pull, and how the engine
// then pulls.
func TestRegistryStates(t *testing.T) {
	const badTLS, noTLS = elsewhere + ":5443", elsewhere + ":5444"
	e := realdocker.Start(t, "--dockerd-arg", "--insecure-registry="+badTLS, "--dockerd-arg", "--insecure-registry="+noTLS)
	outside.Tool(t, "ip", "-n", e.NetNS, "addr", "add", elsewhere+"/32", "dev", "lo")
	hub := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	ca := newCA(t)
	good := ca.cert(t, elsewhere, time.Hour)
	selfSigned := newCA(t).cert(t, elsewhere, time.Hour)

	var plainly atomic.Int64 // requests for what is not the base that came without TLS
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			plainly.Add(1)
		}
		hub.ServeHTTP(w, r)
	})
	plain := outside.Serve(t, e, "127.0.0.1:0", counted, nil)
	var lies atomic.Bool
	liar := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !lies.Load() || r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/manifests/sha256:") {
			hub.ServeHTTP(w, r)
			return
		}
		said := httptest.NewRecorder()
		hub.ServeHTTP(said, r)
		for k, v := range said.Header() {
			w.Header()[k] = v
		}
		body := append(bytes.TrimSpace(said.Body.Bytes()), ' ')
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Write(body)
	})
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	hanging := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop })

	e.Docker("push", e.Image(plain+"/app:1.0.0", "ENV VERSION=1"))
	e.Docker("push", e.Image(plain+"/app:1.0.1", "ENV VERSION=2"))
	for _, tt := range []struct {
		name         string
		at           string
		handler      http.Handler
		cert         *tls.Certificate
		trusted      bool // its authority is in certs.d
		verdict      string
		pull, reason string
	}{
		{"good", elsewhere + ":0", hub, good, true, "pass", "tls", ""},
		{"expired", elsewhere + ":0", hub, ca.cert(t, elsewhere, -time.Minute), true, "fail", "refused", "expired"},
		{"wrong name", elsewhere + ":0", hub, ca.cert(t, "192.0.2.99", time.Hour), true, "fail", "refused", "192.0.2.99"},
		{"self-signed", elsewhere + ":0", hub, selfSigned, false, "fail", "refused", "unknown authority"},
		{"plain elsewhere", elsewhere + ":0", hub, nil, false, "fail", "refused", "HTTP response to HTTPS client"},
		{"plain on loopback", "127.0.0.1:0", counted, nil, false, "not-applicable", "plain", ""},
		{"any TLS allowed", badTLS, hub, selfSigned, false, "fail", "tls-unverified", "unknown authority"},
		{"no TLS allowed", noTLS, counted, nil, false, "fail", "plain", "HTTP response to HTTPS client"},
		{"slow", elsewhere + ":0", hanging, good, true, "unknown", "", "did not answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at := outside.Serve(t, e, tt.at, tt.handler, tt.cert)
			if tt.trusted {
				outside.Write(t, "/etc/docker/certs.d/"+at+"/ca.crt", ca.text)
			}
			app := at + "/app:1.0.0"
			e.Docker("tag", plain+"/app:1.0.0", app)
			defer e.TryDocker("rmi", app)
			fs := outside.Findings(t, e, "--registries", "--ref", "registry/"+at)
			f := findingOf(fs, "registry-identity", "registry/"+at)
			if f.Verdict != tt.verdict || !strings.Contains(f.Reason, tt.reason) {
				t.Errorf("registry-identity: %s, %q; want %s, %q", f.Verdict, f.Reason, tt.verdict, tt.reason)
			}
			if got := shownText(f, "Pull"); got != tt.pull {
				t.Errorf("casco says that a pull would be %q, want %q", got, tt.pull)
			}
			if tt.pull == "" {
				return
			}
			e.Docker("rmi", app)
			before := plainly.Load()
			out, err := e.TryDocker("pull", app)
			switch way := tt.pull; {
			case way == "refused" && err == nil:
				t.Errorf("the engine pulls all the same: %s", out)
			case way == "refused" && !strings.Contains(err.Error(), tt.reason):
				t.Errorf("the engine refuses for %v, and casco says %q", err, tt.reason)
			case way != "refused" && err != nil:
				t.Errorf("the engine does not pull: %v", err)
			case (plainly.Load() > before) != (way == "plain"):
				t.Errorf("%d requests came without TLS, and casco says that a pull would be %q", plainly.Load()-before, way)
			}
		})
	}

	t.Run("redirecting", func(t *testing.T) {
		on := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+plain+r.URL.RequestURI(), http.StatusTemporaryRedirect)
		})
		at := outside.Serve(t, e, elsewhere+":0", on, good)
		outside.Write(t, "/etc/docker/certs.d/"+at+"/ca.crt", ca.text)
		app := at + "/app:1.0.0"
		e.Docker("tag", plain+"/app:1.0.0", app)
		fs := outside.Findings(t, e, "--registries", "--ref", "registry/"+at)
		if v := outside.Verdict(fs, "registry-redirect", "registry/"+at); v != "fail" {
			t.Errorf("registry-redirect: %q, want fail", v)
		}
		e.Docker("rmi", app)
		before := plainly.Load()
		e.Docker("pull", app)
		if plainly.Load() == before {
			t.Error("the engine does not follow to the address without TLS, of which casco warns")
		}
	})
	t.Run("lying", func(t *testing.T) {
		at := outside.Serve(t, e, elsewhere+":0", liar, good)
		outside.Write(t, "/etc/docker/certs.d/"+at+"/ca.crt", ca.text)
		app := at + "/app:1.0.0"
		e.Docker("pull", app)
		for _, is := range []bool{false, true} {
			lies.Store(is)
			fs := outside.Findings(t, e, "--registries")
			want := map[bool]string{false: "pass", true: "fail"}[is]
			if v := outside.Verdict(fs, "registry-false-digest", "registry/"+at); v != want {
				t.Errorf("lying %v: registry-false-digest: %q, want %q", is, v, want)
			}
			if v := outside.Verdict(fs, "registry-anonymous-push", "registry/"+at); v != "fail" {
				t.Errorf("registry-anonymous-push: %q, want fail", v)
			}
		}
		// One that the engine never had: it keeps manifests by their digests for a while.
		digest := publish(t, hub, "odd:1")
		if out, err := e.TryDocker("pull", at+"/odd@"+digest); err == nil {
			t.Errorf("the engine takes what is not %s: %s", digest, out)
		}
		lies.Store(false)
		e.Docker("pull", at+"/odd@"+digest)
	})
}

// publish puts an image of random bytes into a registry.
func publish(t *testing.T, hub http.Handler, as string) (digest string) {
	t.Helper()
	s := httptest.NewServer(hub)
	defer s.Close()
	img, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewTag(s.Listener.Addr().String() + "/" + as)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

// TestTagInRegistry: what a registry has under a tag that this host has.
func TestTagInRegistry(t *testing.T) {
	e := realdocker.Start(t)
	hub := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	at := outside.Serve(t, e, "127.0.0.1:0", hub, nil)
	app := at + "/app"
	e.Docker("push", e.Image(app+":1.4.0", "ENV VERSION=1"))
	look := func() (moved, newer outside.Finding) {
		fs := outside.Findings(t, e, "--registries")
		return findingOf(fs, "image-tag-moved", "image/"+app+":1.4.0"), findingOf(fs, "image-newer-tag", "image/"+app+":1.4.0")
	}
	if moved, newer := look(); moved.Verdict != "pass" || newer.Verdict != "pass" {
		t.Errorf("as it was pushed: %+v, %+v", moved, newer)
	}
	e.Docker("push", e.Image(app+":1.4.3", "ENV VERSION=2"))
	e.Docker("rmi", app+":1.4.3")
	if moved, newer := look(); moved.Verdict != "pass" || newer.Verdict != "fail" || !strings.Contains(newer.Reason, "1.4.3") {
		t.Errorf("with a newer one: %+v, %+v", moved, newer)
	}
	outside.Retag(t, hub, "/v2/app/manifests/", "1.4.3", "1.4.0")
	if moved, _ := look(); moved.Verdict != "fail" || !strings.Contains(moved.Reason, "overwritten") {
		t.Errorf("overwritten: %+v", moved)
	}
	if v := outside.Verdict(outside.Findings(t, e), "image-tag-moved", "image/"+app+":1.4.0"); v != "not-applicable" {
		t.Errorf("nobody was asked: %q, want not-applicable", v)
	}
}

func findingOf(fs []outside.Finding, check, ref string) outside.Finding {
	for _, f := range fs {
		if f.Check == check && f.Ref == ref {
			return f
		}
	}
	return outside.Finding{}
}

// shownText is the value of a field that a finding shows.
func shownText(f outside.Finding, field string) string {
	for _, e := range f.Evidence {
		if s, ok := e.Value.(string); ok && e.Field == field {
			return s
		}
	}
	return ""
}

// A ca signs certificates.
type ca struct {
	own  *x509.Certificate
	key  *ecdsa.PrivateKey
	text string // PEM
}

func newCA(t *testing.T) *ca {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a CA of a test"}, NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &ca{c, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

// cert is for a server at an address, and ends so long from now.
func (c *ca) cert(t *testing.T, addr string, ends time.Duration) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: addr}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(ends),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.ParseIP(addr)},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, c.own, &key.PublicKey, c.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
