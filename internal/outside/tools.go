package outside

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netns"

	"casco/internal/handtest"
	"casco/internal/nsenter"
	"casco/internal/realdocker"
)

// WorldDir is a directory that everybody can enter.
func WorldDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "casco-w-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// MustRead is the text of a file.
func MustRead(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Put writes a file that is there, or in a directory that is.
func Put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Fill leaves so many bytes free in dir, rounded down to a page.
func Fill(t *testing.T, dir string, free int) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	if n := int(fs.Bavail)*int(fs.Bsize) - free; n > 0 {
		// A disk that keeps some for itself is full a little earlier.
		if _, err := f.Write(make([]byte, n)); err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
}

// Tool runs an ordinary tool and returns what it printed.
func Tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// Write writes a file, and makes its directory.
func Write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// SmallDisk makes a file system of a size and mounts it until the test ends.
// It is no tmpfs: the engine's databases are mapped, and a page of a full
// tmpfs that was never written ends who touches it.
func SmallDisk(t *testing.T, size string) (at string) {
	t.Helper()
	dir := WorldDir(t)
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	if err := os.Mkdir(at, 0o711); err != nil {
		t.Fatal(err)
	}
	Tool(t, "truncate", "-s", size, image)
	Tool(t, "mkfs.ext4", "-q", "-m", "0", image)
	if out, err := exec.Command("mount", "-o", "loop", image, at).CombinedOutput(); err != nil {
		handtest.Need(t, false, "loop devices: "+string(out))
	}
	t.Cleanup(func() { Tool(t, "umount", "-l", at) })
	return at
}

// Serve serves h in the network namespace of the engine, over TLS if there is a
// certificate, until the test ends.
func Serve(t *testing.T, e *realdocker.Engine, addr string, h http.Handler, cert *tls.Certificate) (at string) {
	t.Helper()
	ns, err := netns.GetFromName(e.NetNS)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	var l net.Listener
	if err := nsenter.Net(ns, func() (err error) { l, err = net.Listen("tcp", addr); return err }); err != nil {
		t.Fatal(err)
	}
	at = l.Addr().String()
	if cert != nil {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*cert}})
	}
	s := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = s.Serve(l) }() // until Close
	t.Cleanup(func() { s.Close() })
	return at
}

// Retag makes one tag of a registry name what another one names: OCI
// distribution specification, "Pulling manifests" and "Pushing manifests".
func Retag(t *testing.T, hub http.Handler, path, from, to string) {
	t.Helper()
	ask := func(method, tag string, body []byte, contentType string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path+tag, bytes.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		hub.ServeHTTP(w, r)
		if w.Code >= 300 {
			t.Fatalf("%s %s%s: %d %s", method, path, tag, w.Code, w.Body)
		}
		return w
	}
	got := ask(http.MethodGet, from, nil, "")
	ask(http.MethodPut, to, got.Body.Bytes(), got.Header().Get("Content-Type"))
}
