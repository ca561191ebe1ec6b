// Package realdocker gives a test a real Docker engine of its own.
//
// The engine is started by scripts/engine: it has its own network namespace,
// containerd, data-root and socket, and does not touch the machine's own one.
// It is removed with all that it left when the test ends, and also when the
// test process is killed.
//
// A machine that cannot run an engine (no root, no dockerd) skips the test and
// says what is missing. With CASCO_MUST_RUN=1 the test fails instead, so that
// a test cannot stop running unseen where it did run.
//
// CASCO_ENGINE_STORE=containerd starts engines that keep their images in
// containerd. Which engine it is, the host decides: scripts/engines gives the
// tests a host of another Debian.
//
// No image is pulled: Image makes one of the machine's static busybox, Probe
// one of lab/probe. A container's name has at least two characters.
package realdocker

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// An Engine is a running private engine.
type Engine struct {
	Root   string // its directory, short enough for the sockets in it
	Socket string // path of its unix socket
	Config string // path of its daemon.json; Restart makes it read it again
	NetNS  string // name of its network namespace, for "ip -n" and "nsenter"; its cgroup parent is "/" + NetNS

	t testing.TB
}

// Start starts an engine for t alone. The arguments go to "scripts/engine
// start": "--config", FILE or "--dockerd-arg", ARG.
func Start(t testing.TB, args ...string) *Engine {
	t.Helper()
	need(t)
	e, err := start(args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(e.Root); err != nil {
			t.Error(err)
		}
	})
	e.t = t
	return e
}

// start starts an engine in a new directory below the system's temporary one.
// It does not use t.TempDir, whose paths are too long for a socket.
func start(args ...string) (*Engine, error) {
	root, err := os.MkdirTemp("", "casco-")
	if err != nil {
		return nil, err
	}
	args = append([]string{"start", root, "--owner", strconv.Itoa(os.Getpid())}, args...)
	if err := engine(args...); err != nil {
		os.Remove(root) // empty, if it is still there
		return nil, err
	}
	name, err := os.ReadFile(filepath.Join(root, "netns"))
	if err != nil {
		return nil, err
	}
	return &Engine{
		Root:   root,
		Socket: filepath.Join(root, "docker.sock"),
		Config: filepath.Join(root, "daemon.json"),
		NetNS:  strings.TrimSpace(string(name)),
	}, nil
}

// stop removes the engine in root; one that is gone already is no error.
func stop(root string) error {
	if _, err := os.Stat(root); os.IsNotExist(err) {
		return nil
	}
	return engine("stop", root)
}

// engine runs scripts/engine of this module.
func engine(args ...string) error {
	top, err := moduleRoot()
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(top, "scripts", "engine"), args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("scripts/engine %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// moduleRoot returns the directory of go.mod: a test runs in the directory of
// its package.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("no go.mod in a directory above the test's")
		}
		dir = up
	}
}

// need skips t, or fails it, if this machine cannot run an engine.
func need(t testing.TB) {
	t.Helper()
	missing := []string{}
	if os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	for _, tool := range []string{"dockerd", "containerd", "docker", "ip", "nsenter", "curl", "jq"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, tool)
		}
	}
	switch {
	case len(missing) == 0:
	case os.Getenv("CASCO_MUST_RUN") == "1":
		t.Fatalf("needs a real engine; this machine has no %s", strings.Join(missing, ", "))
	default:
		t.Skipf("needs a real engine; this machine has no %s", strings.Join(missing, ", "))
	}
}

// Docker runs the docker command on the engine and returns what it printed on
// its standard output, without the last line feed. A command that fails ends
// the test.
func (e *Engine) Docker(args ...string) string {
	e.t.Helper()
	out, err := e.TryDocker(args...)
	if err != nil {
		e.t.Fatal(err)
	}
	return out
}

// TryDocker is Docker for a command that may fail; the error holds what it
// printed on its standard error.
func (e *Engine) TryDocker(args ...string) (string, error) {
	return e.docker(nil, args...)
}

// docker runs the docker command with stdin. It is free of the user's own
// configuration: contexts, credentials, plugins.
func (e *Engine) docker(stdin []byte, args ...string) (string, error) {
	cmd := exec.Command("docker", append([]string{"--host", "unix://" + e.Socket}, args...)...)
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+filepath.Join(e.Root, "cli"), "DOCKER_CONTEXT=", "DOCKER_API_VERSION=")
	cmd.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	out := strings.TrimSuffix(stdout.String(), "\n")
	if err != nil {
		return out, fmt.Errorf("docker %s: %w\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out, nil
}

// Major returns the first number of the engine's version: 20, 26, 28.
func (e *Engine) Major() int {
	e.t.Helper()
	version := e.Docker("version", "-f", "{{.Server.Version}}")
	major, err := strconv.Atoi(version[:max(0, strings.IndexByte(version, '.'))])
	if err != nil {
		e.t.Fatalf("docker version: %q", version)
	}
	return major
}

// Pid returns the process ID of dockerd. It changes with a Restart.
func (e *Engine) Pid() int {
	e.t.Helper()
	b, err := os.ReadFile(filepath.Join(e.Root, "dockerd.pid"))
	if err != nil {
		e.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		e.t.Fatalf("dockerd.pid: %v", err)
	}
	return pid
}

// Log returns what dockerd has printed so far, over all its restarts.
func (e *Engine) Log() string {
	e.t.Helper()
	b, err := os.ReadFile(filepath.Join(e.Root, "dockerd.log"))
	if err != nil {
		e.t.Fatal(err)
	}
	return string(b)
}

// Restart ends dockerd with SIGTERM and starts it again, as a service manager
// does. An engine that does not come back ends the test.
func (e *Engine) Restart() {
	e.t.Helper()
	if err := e.TryRestart(); err != nil {
		e.t.Fatal(err)
	}
}

// TryRestart is Restart for a daemon.json that may be refused; the error holds
// the end of dockerd's log.
func (e *Engine) TryRestart() error { return engine("restart", e.Root) }

// Stop removes the engine before its test ends; Root is gone after it.
func (e *Engine) Stop() {
	e.t.Helper()
	if err := stop(e.Root); err != nil {
		e.t.Fatal(err)
	}
}

// Enter returns a command that runs in the network namespace of the engine,
// as its host's own programs do.
func (e *Engine) Enter(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=/run/netns/" + e.NetNS, "--", name}, args...)...)
}
