package image

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"casco/loop/inventory"
)

// TestPull reads an image of a registry as it reads the archive of it, fetches
// no layer twice, and believes no registry that sends other bytes.
func TestPull(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "app.tar")
	must(t, os.WriteFile(archive, savedImage(t, "app:1", nil, threeLayers(t)...), 0o600))
	img, err := tarball.ImageFromPath(archive, nil)
	must(t, err)
	var blobs atomic.Int32
	var forged atomic.Bool
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			blobs.Add(1)
			if forged.Load() {
				w.Write(gzipped(pack(t, member{name: "evil", text: "x"})))
				return
			}
		}
		inner.ServeHTTP(w, r)
	}))
	defer s.Close()
	ref := strings.TrimPrefix(s.URL, "http://") + "/shop/app:1"
	named, err := name.ParseReference(ref)
	must(t, err)
	must(t, remote.Write(named, img))
	t.Setenv("DOCKER_CONFIG", t.TempDir())

	want, err := NewReader("").Open(t.Context(), archive, "")
	must(t, err)
	cache := t.TempDir()
	for _, when := range []string{"cold", "warm"} {
		blobs.Store(0)
		o, err := NewReader(cache).Pull(t.Context(), ref, nil)
		must(t, err)
		if d := cmp.Diff(listed(want), listed(o)); d != "" {
			t.Errorf("%s: %s", when, d)
		}
		digests, _, _ := inventory.ImageDigests.Of(o)
		if id, _, _ := inventory.ImageID.Of(o); id != want.Fields["Id"] || len(digests) != 1 || !strings.Contains(digests[0], "@sha256:") {
			t.Errorf("%s: %s, %v", when, id, digests)
		}
		if n := blobs.Load(); when == "warm" && n > 1 { // the configuration
			t.Errorf("%d blobs were fetched again", n)
		}
	}
	forged.Store(true)
	if o, err := NewReader("").Pull(t.Context(), ref, nil); err == nil {
		t.Errorf("a registry that sends other bytes was believed: %v", listed(o))
	}
	if _, err := NewReader("").Pull(t.Context(), "NOT/a:reference:", nil); err == nil {
		t.Error("what is no reference was asked for")
	}
}
