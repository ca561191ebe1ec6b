package acceptance

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"casco/internal/outside"
	"casco/internal/realdocker"
)

// TestContainer builds casco's own image by the Dockerfile of the repository,
// lets a container of it judge an image of its engine, and judges it: there is
// no list of packages in it, and yet all that it is made of is seen.
func TestContainer(t *testing.T) {
	e := realdocker.Start(t)
	e.Image("bb:c")
	t.Setenv("DOCKER_BUILDKIT", "0") // BuildKit would ask a registry for its frontend
	dir := t.TempDir()
	outside.Write(t, filepath.Join(dir, "Dockerfile"), string(outside.MustRead(t, "../Dockerfile")))
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(outside.Program(t), filepath.Join(dir, "bin", "casco")); err != nil {
		outside.Tool(t, "cp", outside.Program(t), filepath.Join(dir, "bin", "casco"))
	}
	e.Docker("build", "-q", "-t", "casco:1", dir)
	if out := e.Docker("run", "--rm", "--network", "none", "casco:1", "--version"); !strings.Contains(out, "casco") {
		t.Errorf("casco --version: %q", out)
	}
	out, err := e.TryDocker("run", "--rm", "--network", "none", "--user", "0", "-v", e.Socket+":/var/run/docker.sock", "casco:1", "image", "bb:c", "--lang", "en")
	if !strings.Contains(out, "image-root-user") { // it has findings, so that it ends with 3
		t.Errorf("in a container: %s (%v)", out, err)
	}
	stdout, stderr, _ := outside.Casco(t, e, "image", "casco:1", "--format", "json")
	var got struct {
		Packages []struct{ Ecosystem, Name string }
		Unseen   []string
		Findings []outside.Finding
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	if len(got.Unseen) > 0 || !slices.ContainsFunc(got.Packages, func(p struct{ Ecosystem, Name string }) bool {
		return p.Ecosystem == "Go" && p.Name == "github.com/spf13/cobra"
	}) {
		t.Errorf("%d packages, unseen: %v", len(got.Packages), got.Unseen)
	}
	for _, f := range got.Findings {
		if f.Verdict == "fail" && f.Severity != "low" {
			t.Errorf("%s fails for casco's own image: %s %v", f.Check, f.Reason, f.Evidence)
		}
	}
}
