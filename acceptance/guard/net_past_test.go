package guard

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"casco/internal/handtest"
	"casco/internal/outside"
	"casco/lab/actor"
)

// TestNetBuild: a step of a build is run by BuildKit within the engine, and never
// becomes a container that rules are made for. Somebody is told, and where rules
// are enforced it gets to nobody.
func TestNetBuild(t *testing.T) {
	w := newWorld(t)
	t.Setenv("DOCKER_BUILDKIT", "1")
	if _, err := w.e.TryDocker("build", "--help"); err != nil {
		t.Skip("this docker command speaks to no BuildKit: it needs the plugin buildx")
	}
	w.counterIn(w.outside, "outside", outsideAddr+":7000")
	w.counterIn(w.e.NetNS, "host", ":7100")
	w.counterBox("db")
	reached := func() (got []string) {
		t.Helper()
		names := []string{"outside", "host", "db"}
		w.clear(names...)
		for i, addr := range []string{outsideAddr + ":7000", hostAddr + ":7100", w.addr("db", "bridge") + ":7000"} {
			dir := t.TempDir()
			outside.Write(t, filepath.Join(dir, "Dockerfile"), fmt.Sprintf("FROM %s\nRUN [\"/probe\", \"try\", \"tcp\", %q, %q]\n", w.image, addr, w.newTag()))
			_, err := w.e.TryDocker("build", dir)
			came := len(w.counts(names[i]).Tags) > 0
			if came != (err == nil) {
				t.Errorf("the step for %s ended with %v, and it came there: %v", names[i], err, came)
			}
			if came {
				got = append(got, names[i])
			}
		}
		return got
	}
	if got := reached(); len(got) != 3 {
		t.Fatalf("without casco a build gets to %q only: the test proves nothing", got)
	}
	g := w.newGuard(failPolicy)
	g.mode(false)
	g.start()
	if got := reached(); len(got) != 3 {
		t.Errorf("while it is only counted a build gets to %q", got)
	}
	if !g.event("ungoverned", "") {
		t.Error("nobody is told of a step of a build")
	}
	g.mode(true)
	g.reload()
	if got := reached(); len(got) != 0 {
		t.Errorf("a build gets to %q", got)
	}
	g.quiet()
	g.stop()
}

// TestNetShim: a container whose shim the engine was told of by its type, with a
// runtime that nobody watches and whose states are elsewhere, has its rules when
// the engine tells of its start, and keeps them.
func TestNetShim(t *testing.T) {
	w := newWorld(t)
	if w.e.Major() < 23 {
		t.Skip("an engine before 23.0 takes no type of a shim")
	}
	runc, err := exec.LookPath("runc")
	handtest.Need(t, err == nil, "runc")
	b, err := os.ReadFile(runc)
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(w.e.Root, "own-runc")
	if err := os.WriteFile(own, b, 0o755); err != nil {
		t.Fatal(err)
	}
	outside.Write(t, w.e.Config, fmt.Sprintf(`{"runtimes": {"own": {"runtimeType": "io.containerd.runc.v2", "options": {"BinaryName": %q, "Root": %q}},
		"elsewhere": {"runtimeType": "io.containerd.runc.v2", "options": {"Root": %q}}}}`, own, w.e.Root+"/own-states", w.e.Root+"/elsewhere"))
	w.e.Restart()
	w.e.Docker("network", "create", "--subnet", "10.76.0.0/24", "n")
	w.counterIn(w.outside, "outside", outsideAddr+":7000")
	w.counterBox("shut", "--network", "n")
	w.counterBox("open-0", "--network", "n", "--runtime", "own")
	gets := func(from string) (got []string) {
		for name, addr := range map[string]string{"outside": outsideAddr, "shut": w.addr("shut", "n")} {
			w.clear(name)
			w.try(from, actor.Try{Kind: "udp", Addr: addr + ":7000", Wait: 200})
			if len(w.counts(name).Tags) > 0 {
				got = append(got, name)
			}
		}
		return got
	}
	if got := gets("open-0"); len(got) != 2 {
		t.Fatalf("without casco it gets to %q only: the test proves nothing", got)
	}
	g := w.newGuard(failPolicy)
	g.start()
	w.counterBox("open-1", "--network", "n", "--runtime", "own")
	w.counterBox("open-2", "--network", "n", "--runtime", "elsewhere")
	for name, late := range map[string]bool{"open-0": true, "open-1": true, "open-2": false} {
		if late && !g.event("late", name) {
			t.Errorf("nobody is told that %s ran without its rules", name)
		}
		if !late && g.told("late", name) {
			t.Errorf("%s, whose runtime is watched, was late", name)
		}
		if got := gets(name); len(got) > 0 {
			t.Errorf("%s gets to %q", name, got)
		}
		if has := w.inBox(name, "nft", "list", "tables"); !strings.Contains(has, "inet casco") {
			t.Errorf("%s has no rules: %s", name, has)
		}
	}
	w.e.Docker("rm", "-f", "open-1", "open-2")
	g.quiet()
	g.stop()
}
