package compose

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"casco/internal/handtest"
	"casco/internal/realdocker"
	"casco/loop/apply"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// socket is an Engine over a unix socket, as small as this test needs it.
type socket string

func (s socket) Host() string { return "unix://" + string(s) }

func (s socket) Call(ctx context.Context, method, path string, _, out any) error {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", string(s))
	}}}
	req, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, nil)
	if err != nil {
		return err
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 400 {
		b, err := io.ReadAll(res.Body)
		return fmt.Errorf("%s: %s %w", res.Status, b, err)
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(out)
}

const shop = `# kept
services:
  web:
    image: casco-test:1
    command: ["sleep", "1000000"]   # kept too
    stop_signal: SIGKILL
    privileged: false
    environment: {SHARD: "${SHARD:-1}"}
    volumes:
      - /data
  db:
    image: casco-test:1
    command: ["sleep", "1000000"]
    stop_signal: SIGKILL
`

// bringUp brings up a project of its own on a real engine.
func bringUp(t *testing.T, e *realdocker.Engine) (dir, container string) {
	t.Helper()
	_, err := exec.LookPath("docker-compose")
	handtest.Need(t, err == nil, "docker-compose (make setup)")
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "docker-compose.yml"), []byte("version: \"2.4\"\n"+shop), 0o640); err != nil {
		t.Fatal(err)
	}
	compose(t, e, dir, "up", "-d")
	t.Cleanup(func() { compose(t, e, dir, "down", "-v", "-t", "0") })
	return dir, strings.TrimSpace(e.Docker("ps", "--filter", "label=com.docker.compose.service=web", "--format", "{{.Names}}"))
}

func compose(t *testing.T, e *realdocker.Engine, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("docker-compose", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "DOCKER_HOST=unix://"+e.Socket)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("docker-compose %v: %v\n%s", args, err, out)
	}
}

func webStep(name string) plan.Step {
	return plan.Step{Ref: inventory.Ref{Kind: inventory.Container, Name: name}, Hand: Hand, Sets: []plan.Set{
		{Field: "HostConfig.ReadonlyRootfs", From: false, To: true},
		{Field: "HostConfig.SecurityOpt", From: nil, To: []any{"no-new-privileges:true"}},
		{Field: "HostConfig.PidsLimit", From: nil, To: 64},
	}}
}

// state is what the hand could touch: the file with its mode, both services,
// and the data of the anonymous volume.
func state(t *testing.T, e *realdocker.Engine, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, "docker-compose.yml")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	format := "{{.Name}} {{.State.Running}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.SecurityOpt}} {{.HostConfig.PidsLimit}} {{.HostConfig.Privileged}} {{range .Mounts}}{{.Name}}{{end}}"
	db := strings.Replace(name, "web", "db", 1)
	return fmt.Sprint(string(b), st.Mode(), len(names), "\n", e.Docker("inspect", "--format", format, name), e.Docker("inspect", "--format", "{{.Id}} "+format, db))
}

func TestRealProject(t *testing.T) {
	e := realdocker.Start(t)
	e.Image("casco-test:1")
	dir, name := bringUp(t, e)
	hand := New(socket(e.Socket))
	t.Run("conformance", func(t *testing.T) {
		handtest.Run(t, func(t *testing.T) (apply.Hand, plan.Step, func() string) {
			return hand, webStep(name), func() string { return state(t, e, dir, name) }
		})
	})
	t.Run("holds and survives the next up", func(t *testing.T) {
		undo, err := hand.Prepare(t.Context(), webStep(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := hand.Do(t.Context(), webStep(name), undo); err != nil {
			t.Fatal(err)
		}
		compose(t, e, dir, "up", "-d")
		if got := e.Docker("inspect", "--format", "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.SecurityOpt}} {{.HostConfig.PidsLimit}}", name); !strings.Contains(got, "true [no-new-privileges:true] 64") {
			t.Errorf("after the next up: %s", got)
		}
		if cs, err := hand.Foreign(t.Context(), webStep(name), undo); err != nil || len(cs) != 0 {
			t.Errorf("%v %v", cs, err)
		}
		path := filepath.Join(dir, "docker-compose.yml")
		ours, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		write := func(b []byte) {
			if err := os.WriteFile(path, b, 0o640); err != nil {
				t.Fatal(err)
			}
		}
		write([]byte(strings.Replace(string(ours), "read_only: true", "read_only: true\n    shm_size: 1m", 1)))
		if cs, err := hand.Foreign(t.Context(), webStep(name), undo); err != nil || len(cs) != 1 {
			t.Errorf("a foreign edit of the service was not noticed: %v %v", cs, err)
		}
		if err := hand.Undo(t.Context(), webStep(name), undo); err == nil {
			t.Error("a foreign edit of the service was overwritten")
		}
		const note = "# a colleague's note\n"
		write(append(ours, note...))
		if cs, err := hand.Foreign(t.Context(), webStep(name), undo); err != nil || len(cs) != 0 {
			t.Errorf("a note elsewhere in the file is no conflict: %v %v", cs, err)
		}
		if err := hand.Undo(t.Context(), webStep(name), undo); err != nil {
			t.Error(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != "version: \"2.4\"\n"+shop+note {
			t.Errorf("taken back, the file is\n%s\n%v", got, err)
		}
		write([]byte("version: \"2.4\"\n" + shop))
	})
	t.Run("variables of another shell", func(t *testing.T) {
		t.Setenv("SHARD", "2")
		if _, err := hand.Prepare(t.Context(), webStep(name)); err == nil || !strings.Contains(err.Error(), "no longer gives") {
			t.Errorf("a file that gives another container now: %v", err)
		}
	})
	t.Run("a service that does not stand", func(t *testing.T) {
		st := webStep(name)
		st.Sets = []plan.Set{{Field: "Config.User", From: "", To: "nobody-here"}}
		before := state(t, e, dir, name)
		undo, err := hand.Prepare(t.Context(), st)
		if err != nil {
			t.Fatal(err)
		}
		if err := hand.Do(t.Context(), st, undo); err == nil {
			t.Error("a user that the image does not have was no failure")
		}
		if err := hand.Undo(t.Context(), st, undo); err != nil {
			t.Error(err)
		}
		if after := state(t, e, dir, name); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
}
