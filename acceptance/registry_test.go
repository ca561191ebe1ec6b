package acceptance

import (
	"io"
	"log"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"casco/internal/outside"
	"casco/internal/realdocker"
)

// TestStaleImage is CIS 5.28: a container of a tag that names a newer image by
// now. The image comes from a registry, as it does in life.
func TestStaleImage(t *testing.T) {
	e := realdocker.Start(t)
	hub := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	app := listenIn(t, e, hub) + "/app"
	const wait = `CMD ["sleep","100000"]`
	e.Docker("push", e.Image(app+":1", "ENV VERSION=one", "ENV OLD=1", "LABEL edition=one", "VOLUME /data", wait))
	e.Docker("push", e.Image(app+":2", "ENV VERSION=two", "ENV NEW=1", "LABEL edition=two", "VOLUME /data", "USER app", wait))
	e.Docker("run", "-d", "--name", "stale", "--stop-timeout", "1", "-e", "MODE=prod", "-l", "team=web", app+":1")
	e.Docker("run", "-d", "--name", "fresh", "--stop-timeout", "1", app+":2")
	e.Docker("exec", "stale", "sh", "-c", "echo kept >/data/file; chmod 644 /data/file")

	// Somebody publishes the second as the first, and the host pulls it.
	outside.Retag(t, hub, "/v2/app/manifests/", "2", "1")
	if v := outside.Verdict(outside.Findings(t, e), "container-image-moved", "container/stale"); v != "pass" {
		t.Errorf("before the pull: %q, want pass: the host does not know of it", v)
	}
	e.Docker("pull", app+":1")
	if v := outside.Verdict(outside.Findings(t, e), "container-image-moved", "container/fresh"); v != "pass" {
		t.Errorf("the good twin: %q, want pass", v)
	}

	held := func() string {
		want := e.Docker("image", "inspect", "-f", "{{.Id}}", app+":1")
		if got := e.Docker("inspect", "-f", "{{.Image}}", "stale"); got != want {
			return "it runs " + got + ", and the tag names " + want
		}
		env := strings.Fields(inside(t, e, "stale", "env"))
		for _, kv := range []string{"VERSION=two", "NEW=1", "MODE=prod"} {
			if !strings.Contains(" "+strings.Join(env, " ")+" ", " "+kv+" ") {
				return "its environment lacks " + kv
			}
		}
		if strings.Contains(strings.Join(env, " "), "OLD=1") {
			return "it still has a variable of the old image"
		}
		if got := e.Docker("inspect", "-f", "{{.Config.Labels.edition}} {{.Config.Labels.team}} {{.Config.User}}", "stale"); got != "two web app" {
			return "its labels and user are " + got
		}
		if got := inside(t, e, "stale", "cat", "/data/file"); got != "kept" {
			return "its data is " + got
		}
		return ""
	}
	ref := "container/stale"
	if stdout, stderr, code := outside.Casco(t, e, "plan", "--check", "container-image-moved", "--ref", ref); code != 0 || !strings.Contains(stdout, "approved one") {
		t.Errorf("casco plan: exit code %d, want 0 and the question\n%s%s", code, stdout, stderr)
	}
	args := []string{"--check", "container-image-moved", "--ref", ref, "--suggested"}
	if _, err := e.TryDocker("image", "inspect", e.Docker("inspect", "-f", "{{.Image}}", "stale")); err != nil {
		// 26.1 with images in containerd forgets an image that loses its last tag,
		// though a container is made of it. What the container has from it can then
		// not be told: casco begins nothing.
		out, code := applied(t, e, args...)
		wants(t, out, code, 1, "nothing was begun", "its image is gone")
		return
	}
	turn(t, e, "container-image-moved", ref, args, func() string { return inspect(t, e, "stale") }, held, func() {})
}

// applied plans, approves and applies, and returns what the last one said.
func applied(t *testing.T, e *realdocker.Engine, planArgs ...string) (out string, code int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "plan.json")
	if stdout, stderr, code := outside.Casco(t, e, append([]string{"plan", "-o", file}, planArgs...)...); code != 5 {
		t.Fatalf("casco plan: exit code %d, want 5\n%s%s", code, stdout, stderr)
	}
	if stdout, stderr, code := outside.Casco(t, e, "approve", file, "--yes"); code != 0 {
		t.Fatalf("casco approve: exit code %d\n%s%s", code, stdout, stderr)
	}
	stdout, stderr, code := outside.Casco(t, e, "apply", file, "--yes")
	return stdout + stderr, code
}

// listenIn serves h on the loopback of the engine's host, and returns the
// address. An engine takes plain HTTP there. A socket stays in the network
// namespace in which it was made.
func listenIn(t *testing.T, e *realdocker.Engine, h http.Handler) string {
	t.Helper()
	return outside.Serve(t, e, "127.0.0.1:0", h, nil)
}
