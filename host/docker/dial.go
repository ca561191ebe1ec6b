package docker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"casco/internal/doorway"
	"casco/lang"
)

// Check says what is wrong with the address of an engine, without asking it.
func Check(host string) error {
	_, err := dial(host)
	return err
}

// dial makes a client for host. It opens no connection yet.
func dial(host string) (*Client, error) {
	if host == "" {
		host = DefaultHost
	}
	if strings.HasPrefix(host, "/") {
		host = "unix://" + host
	}
	scheme, addr, ok := strings.Cut(host, "://")
	if !ok || addr == "" {
		return nil, lang.Errorf(lang.Text{
			En: "engine address %q: want unix:///path, /path or tcp://host:port",
			Es: "dirección del motor %q: se quiere unix:///ruta, /ruta o tcp://anfitrión:puerto",
		}, host)
	}
	switch scheme {
	case "unix":
		return dialUnix(host, addr), nil
	case "tcp":
		return dialTCP(host, addr, os.Getenv("DOCKER_CERT_PATH"))
	}
	return nil, lang.Errorf(lang.Text{
		En: "engine address %q: %s:// is not supported, only unix:// and tcp://",
		Es: "dirección del motor %q: %s:// no se admite, solo unix:// y tcp://",
	}, host, scheme)
}

// transport keeps enough idle connections that the workers of a Source never
// dial twice. The engine sends JSON uncompressed.
func transport() *http.Transport {
	return &http.Transport{
		MaxIdleConns:        4 * workers,
		MaxIdleConnsPerHost: 4 * workers,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true,
	}
}

func dialUnix(host, path string) *Client {
	t := transport()
	t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", doorway.Socket(path))
	}
	return &Client{host: host, socket: path, base: "http://docker", http: &http.Client{Transport: t}}
}

func dialTCP(host, addr, certs string) (*Client, error) {
	t := transport()
	c := &Client{host: host, base: "http://" + addr, http: &http.Client{Transport: t}}
	if certs == "" {
		return c, nil
	}
	conf, err := tlsFiles(certs)
	if err != nil {
		return nil, lang.Errorf(lang.Text{En: "engine at %s: %w", Es: "motor en %s: %w"}, host, err)
	}
	t.TLSClientConfig, c.base = conf, "https://"+addr
	return c, nil
}

// tlsFiles reads a client's key and certificates under the names that the
// docker command line gives them.
func tlsFiles(dir string) (*tls.Config, error) {
	pem, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, lang.Errorf(lang.Text{En: "%s: no certificate in it", Es: "%s: no contiene ningún certificado"}, filepath.Join(dir, "ca.pem"))
	}
	own, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		return nil, lang.Errorf(lang.Text{En: "client certificate: %w", Es: "certificado de cliente: %w"}, err)
	}
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12}, nil
}

// workers is how many requests a Source has under way at once. More than 8 did
// not make reading 1,000 containers faster on two cores.
const workers = 8
