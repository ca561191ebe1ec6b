package door

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"casco/internal/apicall"
	"casco/internal/unixsock"
)

// certificate is one that its parent signed, or that signed itself.
func certificate(t *testing.T, name string, parent *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: parent == nil, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	signer, by := c, any(key)
	if parent != nil {
		signer, by = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, c, signer, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// TestTLS: over TCP a caller is the name of a certificate, and nobody's user.
func TestTLS(t *testing.T) {
	ca := certificate(t, "ca", nil)
	pool := x509.NewCertPool()
	pool.AddCert(ca.Leaf)
	server := &tls.Config{Certificates: []tls.Certificate{certificate(t, "host", &ca)}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	engine := raw(t, func(c *net.UnixConn) {
		in := newReader(c, &clientBuffers)
		b, err := in.head(1000, nil)
		if err != nil {
			return
		}
		in.discard(len(b))
		io.WriteString(c, "HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n")
		n, err := pump(c, in, 0, framed(open, 0))
		if err == nil && n > 0 {
			io.WriteString(c, " and its end")
		}
	})
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	if err := Serve(t.Context(), listen(), Config{Engine: engine, Judge: judge{}}); err == nil {
		t.Error("it serves without TLS")
	}
	if err := Serve(t.Context(), listen(), Config{Engine: engine, Judge: judge{}, TLS: &tls.Config{}}); err == nil {
		t.Error("it serves without client certificates")
	}
	var who atomic.Pointer[apicall.Caller]
	l := listen()
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() {
		over <- Serve(ctx, l, Config{Engine: engine, TLS: server, HeadTime: 200 * time.Millisecond, Drain: 50 * time.Millisecond, Judge: judge{head: func(r apicall.Request) apicall.Verdict {
			who.Store(&r.Caller)
			return apicall.Verdict{Allow: true, Stream: true}
		}}})
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "host", Certificates: []tls.Certificate{certificate(t, "ana", &ca)}, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	if p := c.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
		t.Errorf("protocol %q", p)
	}
	io.WriteString(c, "POST /exec/x/start HTTP/1.1\r\nHost: host\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nhello")
	c.CloseWrite()
	if b, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(b), "\r\n\r\nhello and its end") {
		t.Errorf("%q %v", b, err)
	}
	if got, want := *who.Load(), (apicall.Caller{UID: apicall.NoID, GID: apicall.NoID, LoginUID: -1, TLSName: "ana", Via: l.Addr().String()}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	for name, cfg := range map[string]*tls.Config{
		"none":      {RootCAs: pool, ServerName: "host"},
		"a strange": {RootCAs: pool, ServerName: "host", Certificates: []tls.Certificate{certificate(t, "ana", nil)}},
	} {
		if c, err := tls.Dial("tcp", l.Addr().String(), cfg); err == nil {
			if _, err := c.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "certificate") && !strings.Contains(err.Error(), "authority") {
				t.Errorf("%s certificate: %v", name, err)
			}
		}
	}
	slow, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	slow.SetDeadline(time.Now().Add(10 * time.Second))
	if b, err := io.ReadAll(slow); len(b) > 0 || err != nil {
		t.Errorf("a handshake that does not come: %q %v", b, err)
	}
	cancel()
	if err := <-over; err != nil {
		t.Error(err)
	}
	noGoroutines(t)
}

// TestHandOver: a door gives its socket to its successor, and nobody is turned
// away.
func TestHandOver(t *testing.T) {
	engine := fake(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "OK") }))
	l, err := unixsock.Listen(shortDir(t)+"/s", 0o700, os.Getegid())
	if err != nil {
		t.Fatal(err)
	}
	path := strings.TrimSuffix(l.Addr().String(), "/s")
	path = path[:strings.LastIndexByte(path, '/')] + "/s"
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- Serve(ctx, l.UnixListener, Config{Engine: engine, Judge: judge{}}) }()

	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, os.Args[0], "-test.run=^TestDoorAlone$")
	cmd.Env = append(os.Environ(), "CASCO_DOOR=inherited", "CASCO_DOOR_ENGINE="+engine, "LISTEN_FDS=1")
	cmd.ExtraFiles = []*os.File{f}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}()
	stop := time.AfterFunc(500*time.Millisecond, cancel)
	defer stop.Stop()
	asked := 0
	for began := time.Now(); time.Since(began) < 1500*time.Millisecond; asked++ {
		c := client(t, path)
		res, err := c.Get("http://d/_ping")
		if err != nil {
			t.Fatalf("request %d, %v after the start: %v", asked, time.Since(began), err)
		}
		res.Body.Close()
		c.CloseIdleConnections()
	}
	if err := <-over; err != nil || asked < 20 {
		t.Errorf("%d requests, %v", asked, err)
	}
}
