package lab

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"casco/internal/handtest"
	"casco/internal/realdocker"

	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) { realdocker.Main(m) }

// program is lab/probe, built for the test: the test's own program may need
// shared libraries.
func program(t *testing.T) Program {
	t.Helper()
	path := filepath.Join(t.TempDir(), "probe")
	build := exec.Command("go", "build", "-o", path, "./probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build, err, out)
	}
	return Program{Path: path}
}

// everything returns what the engine has, by kind and name.
func everything(t *testing.T, e *realdocker.Engine) []string {
	t.Helper()
	all := []string{}
	for kind, args := range map[string]string{
		"container": "ps --all --format {{.Names}}", "image": "image ls --all --quiet",
		"network": "network ls --format {{.Name}}", "volume": "volume ls --quiet",
	} {
		for _, name := range strings.Fields(e.Docker(strings.Fields(args)...)) {
			all = append(all, kind+"/"+name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestUpDown makes the estate beside things of somebody else, looks at what a
// hardening must not lose, and takes it down to what was there before.
func TestUpDown(t *testing.T) {
	e := realdocker.Shared(t)
	ctx := context.Background()
	e.Docker("create", "--name", "other", "-v", "/data", e.Image("other"), "true")
	e.Docker("volume", "create", "other")
	before := everything(t, e)

	l := Lab{Host: e.Socket, Dir: t.TempDir(), Program: program(t)}
	made, err := l.Up(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(made) != len(Estate()) {
		t.Errorf("%d containers made, %d described", len(made), len(Estate()))
	}
	for _, o := range made {
		if o.Trouble != "" {
			t.Errorf("%s: %s", o.Container, o.Trouble)
		}
	}
	testStates(t, e)
	testServers(t, e)
	if _, err := l.Up(ctx); err == nil || !strings.Contains(err.Error(), "up already") {
		t.Errorf("a second up: %v", err)
	}
	for range 2 {
		if err := l.Down(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(before, everything(t, e)); diff != "" {
		t.Errorf("down left or took too much (-before +after):\n%s", diff)
	}
	if exists(l.projectDir()) {
		t.Errorf("%s is still there", l.projectDir())
	}
	e.Docker("rm", "-fv", "other")
	e.Docker("volume", "rm", "other")
}

func testStates(t *testing.T, e *realdocker.Engine) {
	t.Helper()
	for _, m := range Estate() {
		want := "running"
		switch m.Name {
		case "lab-ended":
			want = "exited"
		case "lab-created":
			want = "created"
		}
		if got := e.Docker("inspect", "--format", "{{.State.Status}}", m.Name); got != want {
			t.Errorf("%s: %s, want %s", m.Name, got, want)
		}
	}
}

// testServers asks over the lab's networks, by the names that a client knows.
func testServers(t *testing.T, e *realdocker.Engine) {
	t.Helper()
	for _, c := range []struct{ network, addr, want string }{
		{"lab-back", "database:5432", "rows"},
		{"lab-back", "198.18.238.10:5432", "rows"},
		{"lab-back", "db:9187", ""}, // the sidecar; it speaks HTTP
		{"lab-back", "http://www-back:8080", "welcome"},
		{"lab-front", "http://198.18.237.10:8080", "welcome"},
		{"lab-shop_default", "http://front:8080", "shop"},
		{"host", "127.0.0.1:1017", "SSH-2.0-casco_lab"},
		{"host", "http://127.0.0.1:18080", "shop"},
	} {
		if c.want == "" {
			c.addr, c.want = "http://"+c.addr, "metrics"
		}
		got, err := e.TryDocker("run", "--rm", "--network", c.network, "lab-base", "get", c.addr)
		if err != nil || strings.TrimSpace(got) != c.want {
			t.Errorf("%s from %s: %q %v, want %q", c.addr, c.network, got, err, c.want)
		}
	}
	if got := e.Docker("inspect", "--format", `{{(index .NetworkSettings.Networks "lab-front").MacAddress}}`, "lab-web"); got != webMAC {
		t.Errorf("MAC address %s, want %s", got, webMAC)
	}
	mounts := e.Docker("inspect", "--format", "{{range .Mounts}}{{.Source}} {{end}}", "lab-db")
	for _, dir := range strings.Fields(mounts) {
		if files, err := os.ReadDir(dir); err != nil || len(files) == 0 {
			t.Errorf("volume %s: %v %v, want data", dir, files, err)
		}
	}
}

// TestUpTakesNothing: a name that is somebody's is refused, and what Up had
// made before is removed.
func TestUpTakesNothing(t *testing.T) {
	e := realdocker.Shared(t)
	img := e.Image("mine")
	for name, c := range map[string]struct{ take, free []string }{
		"image":     {[]string{"tag", img, "lab-web:latest"}, []string{"rmi", "lab-web:latest"}},
		"volume":    {[]string{"volume", "create", "lab-data"}, []string{"volume", "rm", "lab-data"}},
		"network":   {[]string{"network", "create", "lab-back"}, []string{"network", "rm", "lab-back"}},
		"container": {[]string{"create", "--name", "lab-ssh", img, "true"}, []string{"rm", "lab-ssh"}},
	} {
		t.Run(name, func(t *testing.T) {
			e.Docker(c.take...)
			before := everything(t, e)
			l := Lab{Host: e.Socket, Dir: t.TempDir(), Program: program(t)}
			if _, err := l.Up(context.Background()); err == nil {
				t.Error("up took a name that is in use")
			}
			if diff := cmp.Diff(before, everything(t, e)); diff != "" {
				t.Errorf("(-before +after):\n%s", diff)
			}
			e.Docker(c.free...)
		})
	}
}

// TestKeepsOverride: a Compose file that is not the lab's, and one that
// somebody wrote beside it, are not removed.
func TestKeepsOverride(t *testing.T) {
	dir := t.TempDir()
	own := filepath.Join(dir, composeFile)
	if err := os.WriteFile(own, []byte("services: {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := removeCompose(dir); err != nil || !exists(own) {
		t.Errorf("%v: a file that is not the lab's was removed", err)
	}
	if err := writeCompose(dir); err != nil {
		t.Fatal(err)
	}
	override := filepath.Join(dir, "compose.override.yaml")
	if err := os.WriteFile(override, []byte("services: {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := removeCompose(dir); err != nil || exists(own) || !exists(override) {
		t.Errorf("%v: the lab's file is there: %v, the override: %v", err, exists(own), exists(override))
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestCompose holds the containers that the lab makes to the project's file:
// Compose takes them for its own, and makes the same of the file.
func TestCompose(t *testing.T) {
	e := realdocker.Shared(t)
	_, err := exec.LookPath("docker-compose")
	handtest.Need(t, err == nil, "docker-compose (make setup)")
	l := Lab{Host: e.Socket, Dir: t.TempDir(), Program: program(t)}
	if _, err := l.Up(context.Background()); err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(e.Docker("ps", "--all", "--format", "{{.Names}}"))
	lab := composedShape(t, e)

	up := exec.Command("docker-compose", "up", "--detach")
	up.Dir, up.Env = l.projectDir(), append(os.Environ(), "DOCKER_HOST=unix://"+e.Socket)
	if out, err := up.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if diff := cmp.Diff(lab, composedShape(t, e)); diff != "" {
		t.Errorf("Compose makes something else of the file (-lab +compose):\n%s", diff)
	}
	after := strings.Fields(e.Docker("ps", "--all", "--format", "{{.Names}}"))
	slices.Sort(names)
	slices.Sort(after)
	if diff := cmp.Diff(names, after); diff != "" {
		t.Errorf("Compose did not take the lab's containers for its own (-before +after):\n%s", diff)
	}
	if err := l.Down(context.Background()); err != nil {
		t.Error(err)
	}
}

// composedShape is what a person would say of the project's containers.
func composedShape(t *testing.T, e *realdocker.Engine) map[string]any {
	t.Helper()
	shape := map[string]any{}
	for _, name := range []string{"lab-shop-cache", "lab-shop-front"} {
		var c []struct {
			Config struct {
				Image        string
				Cmd          []string
				Env          []string
				ExposedPorts map[string]any
			}
			HostConfig struct {
				NetworkMode   string
				PortBindings  map[string]any
				RestartPolicy struct{ Name string }
			}
			NetworkSettings struct {
				Networks map[string]struct{ Aliases []string }
			}
		}
		if err := json.Unmarshal([]byte(e.Docker("inspect", name)), &c); err != nil {
			t.Fatal(err)
		}
		// The engine adds the short ID as an alias, and Compose 2 the container's name.
		for n, net := range c[0].NetworkSettings.Networks {
			net.Aliases = slices.DeleteFunc(net.Aliases, func(a string) bool {
				return a == name || len(a) == 12 && strings.Trim(a, "0123456789abcdef") == ""
			})
			slices.Sort(net.Aliases)
			net.Aliases = slices.Compact(net.Aliases)
			c[0].NetworkSettings.Networks[n] = net
		}
		if p := &c[0].HostConfig.RestartPolicy; p.Name == "no" {
			p.Name = ""
		}
		if len(c[0].HostConfig.PortBindings) == 0 {
			c[0].HostConfig.PortBindings = nil
		}
		shape[name] = c[0]
	}
	return shape
}

// TestEstate: every container is named as the lab's and described in both
// languages.
func TestEstate(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range Estate() {
		if !strings.HasPrefix(m.Name, "lab-") || m.Weak.Empty() || seen[m.Name] {
			t.Errorf("%+v", m)
		}
		seen[m.Name] = true
	}
}

// TestProgram: one that would not run in an image is refused before anything
// is made.
func TestProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := (Program{Path: path}).check(); err == nil {
		t.Error("a script was taken for a static program")
	}
	if err := program(t).check(); err != nil {
		t.Error(err)
	}
}
