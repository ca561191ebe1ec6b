package realdocker

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

// TestLife holds an engine to what the tests of other packages rely on, and to
// leaving nothing behind.
func TestLife(t *testing.T) {
	var e *Engine
	t.Run("engine", func(t *testing.T) {
		e = Start(t, "--dockerd-arg", "--label=of=casco", "--dockerd-arg", "--live-restore")
		if got := e.Docker("info", "-f", "{{.Labels}}"); got != "[of=casco]" {
			t.Errorf("labels: %s: the argument did not reach dockerd", got)
		}
		img := e.Image("quiet", "USER app")
		e.Docker("run", "-d", "--name", "sleeps", "--restart", "always", "-p", "8080:80", img, "sleep", "600")
		if got := e.Docker("exec", "sleeps", "id", "-u"); got != "1000" {
			t.Errorf("id -u: %q, want 1000", got)
		}
		if out, err := e.Enter("ip", "-brief", "link").Output(); err != nil || !strings.Contains(string(out), "docker0") {
			t.Errorf("links of the engine's namespace: %s %v", out, err)
		}
		testRestart(t, e)
		testRefusedConfig(t, e)
	})
	if e != nil {
		testNothingLeft(t, e)
	}
}

// testRestart: a restart reads daemon.json again, and with live-restore the
// containers live on.
func testRestart(t *testing.T, e *Engine) {
	t.Helper()
	dockerd, container := e.Pid(), e.Docker("inspect", "-f", "{{.State.Pid}}", "sleeps")
	write(t, e.Config, `{"userland-proxy": false, "no-new-privileges": true}`)
	e.Restart()
	if e.Pid() == dockerd {
		t.Errorf("dockerd is still process %d", dockerd)
	}
	if got := e.Docker("inspect", "-f", "{{.State.Pid}}", "sleeps"); got != container {
		t.Errorf("the container was process %s and is %s, in spite of live-restore", container, got)
	}
	status := e.Docker("run", "--rm", "quiet", "grep", "NoNewPrivs", "/proc/self/status")
	if strings.Fields(status)[1] != "1" {
		t.Errorf("%s: daemon.json was not read", status)
	}
}

// testRefusedConfig: the reason why dockerd refuses a file is in the error,
// and the engine can be brought back.
func testRefusedConfig(t *testing.T, e *Engine) {
	t.Helper()
	write(t, e.Config, `{"no-such-key": 1}`)
	if err := e.TryRestart(); err == nil || !strings.Contains(err.Error(), "no-such-key") {
		t.Errorf("a wrong key: %v", err)
	}
	write(t, e.Config, `{}`)
	e.Restart()
}

func testNothingLeft(t *testing.T, e *Engine) {
	t.Helper()
	for _, path := range []string{e.Root, "/run/netns/" + e.NetNS, "/sys/fs/cgroup/" + e.NetNS, "/sys/fs/cgroup/*/" + e.NetNS} {
		if left, _ := filepath.Glob(path); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), e.Root) {
		t.Errorf("still mounted below %s:\n%s", e.Root, mounts)
	}
	args, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range args {
		if b, err := os.ReadFile(path); err == nil && strings.Contains(string(b), e.Root+"/") {
			t.Errorf("still runs: %q", b)
		}
	}
}

// TestShared: two tests have one engine, and each its own errors.
func TestShared(t *testing.T) {
	var roots [2]string
	for i := range roots {
		t.Run(fmt.Sprint(i), func(t *testing.T) { roots[i] = Shared(t).Root })
	}
	if roots[0] != roots[1] {
		t.Errorf("%v: not one engine", roots)
	}
}

func TestProbe(t *testing.T) {
	e := Shared(t)
	img := e.Probe("probe")
	e.Docker("run", "-d", "--name", "speaks", img, "ssh", ":2222")
	addr := e.Docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "speaks") + ":2222"
	if got := e.Docker("run", "--rm", img, "get", addr); !strings.HasPrefix(got, "SSH-2.0-") {
		t.Errorf("banner: %q", got)
	}
	e.Docker("rm", "-f", "speaks")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestOwner: an engine does not outlive the process that it was started for,
// however that ends.
func TestOwner(t *testing.T) {
	need(t)
	owner := exec.Command("sleep", "600")
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "e")
	if err := engine("start", root, "--owner", strconv.Itoa(owner.Process.Pid)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(owner.Process.Kill(), engine("restart", root)); err != nil {
		t.Error(err)
	}
	owner.Wait()
	for range 300 {
		if _, err := os.Stat(root); os.IsNotExist(err) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Error("the engine is still there, 30 s after its owner was killed")
	if err := stop(root); err != nil {
		t.Error(err)
	}
}
