// Package outside has what tests need that see casco as a person does who does
// not trust it: the program as it is built, run apart from the machine that the
// tests run on, and ordinary tools.
package outside

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"casco/internal/realdocker"
)

// program is the variable that tells the tests where the built casco is, and
// that they are already apart from the machine.
const program = "CASCO_ACCEPTANCE_PROGRAM"

// Guest is the variable that says in which guest of lsm/guests a test runs.
const Guest = "CASCO_GUEST"

// Main is for TestMain. It builds casco once, and runs the tests again in a process
// that has its own mounts, with a copy of /etc that is thrown away. root is the
// module's directory.
func Main(m *testing.M, root string) {
	top = root
	if os.Getenv(program) == "" {
		os.Exit(apart(root))
	}
	if os.Geteuid() == 0 && os.Getenv(Guest) == "" { // a guest is thrown away, /etc and all
		if err := errors.Join(ownEtc(), ownRuntimes(), ownPlugins()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	realdocker.Main(m)
}

// apart builds casco and runs this test binary in a new mount namespace. Who
// is not root cannot have one, and has no engine either: the tests then skip.
func apart(root string) int {
	dir, err := os.MkdirTemp("", "casco-acceptance-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "casco")
	build := exec.Command("go", "build", "-o", bin, root+"/cmd/casco")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is shipped
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build cmd/casco: %v\n%s", err, out)
		return 1
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), program+"="+bin)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if os.Geteuid() == 0 {
		// The Go runtime makes the new namespace's mounts private.
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	}
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// ownEtc lays a memory file system over /etc: it shows the machine's files,
// and keeps what is written to it from them.
func ownEtc() error {
	at := filepath.Join(filepath.Dir(os.Getenv(program)), "etc")
	if err := os.Mkdir(at, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount("casco-acceptance", at, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount a tmpfs on %s: %w", at, err)
	}
	for _, dir := range []string{"upper", "work"} {
		if err := os.Mkdir(filepath.Join(at, dir), 0o755); err != nil {
			return err
		}
	}
	data := fmt.Sprintf("lowerdir=/etc,upperdir=%s/upper,workdir=%[1]s/work", at)
	if err := syscall.Mount("casco-acceptance", "/etc", "overlay", 0, data); err != nil {
		return fmt.Errorf("lay an overlay over /etc: %w", err)
	}
	return nil
}

// ownRuntimes lays copies over the OCI runtimes. A guard holds each call of the
// file that it watches, and other engines of this machine need not wait for it.
func ownRuntimes() error {
	for _, path := range []string{"/usr/bin/runc", "/usr/sbin/runc", "/usr/local/bin/runc", "/usr/local/sbin/runc"} {
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		own := filepath.Join(filepath.Dir(os.Getenv(program)), strings.ReplaceAll(path[1:], "/", "-"))
		if err == nil {
			err = os.WriteFile(own, b, 0o755)
		}
		if err == nil {
			err = syscall.Mount(own, path, "", syscall.MS_BIND, "")
		}
		if err != nil {
			return fmt.Errorf("lay a copy over %s: %w", path, err)
		}
	}
	return nil
}

// ownPlugins lays an empty file system over the place where engines look for
// plugins: with a socket that nobody answers at, which another package's test has
// there for a while, each question for a volume that is not there takes 15 s.
func ownPlugins() error {
	const at = "/run/docker/plugins"
	if err := os.MkdirAll(at, 0o700); err != nil {
		return err
	}
	if err := syscall.Mount("casco-acceptance", at, "tmpfs", 0, "mode=0700"); err != nil {
		return fmt.Errorf("mount a tmpfs on %s: %w", at, err)
	}
	return nil
}

// top is the module's directory.
var top string

// sources makes the test cache depend on all of the program: it notes which
// directories a test has listed, and runs it again when a file in them changes.
var sources = sync.OnceValue(func() error {
	return filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != top && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		return err
	})
})

// Program is the path of the built casco.
func Program(t testing.TB) string {
	t.Helper()
	if err := sources(); err != nil {
		t.Fatal(err)
	}
	return os.Getenv(program)
}

// Casco runs the program on e, with a record of changes of e's own, and
// returns what it printed and its exit code.
func Casco(t testing.TB, e *realdocker.Engine, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(Program(t), append([]string{"--host", "unix://" + e.Socket, "--state", filepath.Join(e.Root, "state"), "--lang", "en"}, args...)...)
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+filepath.Join(e.Root, "cli"), "DOCKER_HOST=", "DOCKER_CONTEXT=", "NO_COLOR=1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if cmd.ProcessState.ExitCode() < 0 {
		t.Fatalf("casco %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}
