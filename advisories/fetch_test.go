package advisories

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A mirror serves one content, and breaks off after some bytes as often as it
// is told to. It writes down what it was asked.
type mirror struct {
	content []byte
	etag    string
	breaks  int // times
	after   int // bytes
	asked   []string
}

func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.asked = append(m.asked, strings.Join([]string{r.URL.Path, r.Header.Get("If-None-Match"), r.Header.Get("Range"), r.Header.Get("If-Range")}, "|"))
	if m.etag != "" {
		w.Header().Set("ETag", m.etag)
	}
	if m.breaks > 0 {
		m.breaks--
		w.Header().Set("Content-Length", fmt.Sprint(len(m.content)))
		_, _ = w.Write(m.content[:m.after])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(m.content))
}

func (m *mirror) took(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, m.asked); diff != "" {
		t.Error(diff)
	}
	m.asked = nil
}

func TestFetch(t *testing.T) {
	m := &mirror{content: []byte("the first content"), etag: `"one"`}
	s := httptest.NewServer(m)
	defer s.Close()
	f := NewFetcher(t.TempDir())
	address := URLOf(s.URL+"/", "Red Hat")
	fetch := func(at time.Time, wantChanged bool) {
		t.Helper()
		in, changed, err := f.Fetch(ctx, address, at)
		if err != nil || changed != wantChanged || in.URL != address || !in.At.Equal(at) {
			t.Fatalf("got %+v, %v, %v", in, changed, err)
		}
		b, err := os.ReadFile(in.Path)
		if err != nil || !bytes.Equal(b, m.content) {
			t.Errorf("got %q, %v", b, err)
		}
		left, err := os.ReadDir(f.Dir)
		if err != nil || len(left) != 2 { // the file and its note
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
	const path = "/Red Hat/all.zip"
	fetch(noon, true)
	m.took(t, path+"|||")
	fetch(noon.Add(time.Hour), false)
	m.took(t, path+`|"one"||`)

	// Broken off twice: each time it goes on where it was.
	m.content, m.etag, m.breaks, m.after = []byte("the second content"), `"two"`, 2, 7
	fetch(noon, true)
	m.took(t, path+`|"one"||`, path+`|"one"|bytes=7-|"two"`, path+`|"one"|bytes=7-|"two"`)

	// Too often broken off: the part is kept for the next time, the file stays.
	m.content, m.etag, m.breaks, m.after = []byte("the third content"), `"three"`, tries, 9
	if _, _, err := f.Fetch(ctx, address, noon); err == nil || !strings.Contains(err.Error(), "unexpected EOF") {
		t.Fatalf("got %v", err)
	}
	m.asked = nil
	fetch(noon, true)
	m.took(t, path+`|"two"|bytes=9-|"three"`)

	// Changed between two parts: it begins anew.
	m.content, m.etag, m.breaks, m.after = []byte("the fourth content"), `"four"`, tries, 9
	if _, _, err := f.Fetch(ctx, address, noon); err == nil {
		t.Fatal("a part is taken for the whole")
	}
	m.content, m.etag = []byte("THE FIFTH CONTENT"), `"five"`
	fetch(noon, true)

	// A weak tag does not say that bytes are the same.
	m.content, m.etag, m.breaks, m.after, m.asked = []byte("the sixth content"), `W/"six"`, 1, 9, nil
	fetch(noon, true)
	m.took(t, path+`|"five"||`, path+`|"five"||`)
}

func TestFetchRefuses(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	safe := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, plain.URL, http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		case "/same":
			w.WriteHeader(http.StatusNotModified)
		}
	}))
	defer safe.Close()
	f := NewFetcher(t.TempDir())
	f.Client.Transport = safe.Client().Transport
	for address, why := range map[string]string{
		plain.URL + "/all.zip":      "404 Not Found",
		safe.URL + "/away":          "which is not encrypted",
		safe.URL + "/round":         "more than 10 redirections",
		safe.URL + "/same":          "what was not there has not changed",
		"file:///etc/passwd":        "is not an address",
		"ftp://host.example/x":      "is not an address",
		"Debian":                    "is not an address",
		"http://127.0.0.1:1/closed": "connection refused",
	} {
		if in, _, err := f.Fetch(ctx, address, noon); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: want %q, got %+v, %v", address, why, in, err)
		}
	}
	// Who cannot show a certificate that counts is not asked.
	if _, _, err := NewFetcher(t.TempDir()).Fetch(ctx, safe.URL, noon); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v", err)
	}
}

// TestProxy: the proxy that the environment names is used.
func TestProxy(t *testing.T) {
	m := &mirror{content: []byte("by the proxy")}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host != "osv.example" {
			http.Error(w, r.URL.String(), http.StatusBadGateway)
			return
		}
		m.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	f := NewFetcher(t.TempDir())
	if f.Client.Transport.(*http.Transport).Proxy == nil {
		t.Fatal("no proxy is looked for")
	}
	// net/http reads the environment once in a process, so it is told here.
	f.Client.Transport.(*http.Transport).Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(proxy.URL) }
	in, _, err := f.Fetch(ctx, "http://osv.example/Debian/all.zip", noon)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(in.Path); err != nil || string(b) != "by the proxy" {
		t.Errorf("got %q, %v", b, err)
	}
}

// TestUpdate is the whole way: downloaded, built, matched; the names of sources
// are those of their addresses, and they are as old as the server's last word.
func TestUpdate(t *testing.T) {
	files := map[string][]byte{
		"/Debian/all.zip":      zipOf(t, "A-1.json", osv("A-1", "2026-11-01T00:00:00Z", "2", "Debian:12/a")),
		"/feeds/kev.json":      []byte(kevText),
		"/distro/debian.csv":   []byte(distroText),
		"/feeds/epss.csv.gz":   gzipped(t, []byte(epssText)),
		"/eol/products/full/x": []byte(endsAPI),
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(files[r.URL.Path])
	}))
	defer s.Close()
	dir := t.TempDir()
	f := NewFetcher(filepath.Join(dir, "cache"))
	var inputs []Input
	for path := range files {
		in, _, err := f.Fetch(ctx, s.URL+path, noon)
		if err != nil {
			t.Fatal(err)
		}
		inputs = append(inputs, in)
	}
	info, err := Build(ctx, Path(dir), inputs, noon.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, src := range info.Sources {
		names[src.Name] = true
		if !src.At.Equal(noon) || !strings.HasPrefix(src.URL, s.URL) {
			t.Errorf("got %+v", src)
		}
	}
	if diff := cmp.Diff(map[string]bool{"Debian": true, "kev.json": true, "debian.csv": true, "epss.csv.gz": true, "x": true}, names); diff != "" {
		t.Error(diff)
	}
	d, err := Open(Path(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if e, err := d.End("debian", "12"); err != nil || e == nil {
		t.Errorf("got %v, %v", e, err)
	}
}
