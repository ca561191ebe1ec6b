package acceptance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"casco/internal/realdocker"
)

// program is the variable that tells the tests where the built casco is, and
// that they are already apart from the machine.
const program = "CASCO_ACCEPTANCE_PROGRAM"

// TestMain builds casco once, and runs the tests again in a process that has
// its own mounts.
func TestMain(m *testing.M) {
	if os.Getenv(program) == "" {
		os.Exit(apart())
	}
	if os.Geteuid() == 0 && os.Getenv(guestName) == "" { // a guest is thrown away, /etc and all
		if err := errors.Join(ownEtc(), ownRuntimes(), ownPlugins()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	realdocker.Main(m)
}

// apart builds casco and runs this test binary in a new mount namespace. Who
// is not root cannot have one, and has no engine either: the tests then skip.
func apart() int {
	dir, err := os.MkdirTemp("", "casco-acceptance-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "casco")
	if out, err := exec.Command("go", "build", "-o", bin, "../cmd/casco").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build ../cmd/casco: %v\n%s", err, out)
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

// sources makes the test cache depend on all of the program: it notes which
// directories a test has listed, and runs it again when a file in them changes.
var sources = sync.OnceValue(func() error {
	return filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != ".." && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		return err
	})
})

// casco runs the program on e, with a record of changes of e's own, and
// returns what it printed and its exit code.
func casco(t testing.TB, e *realdocker.Engine, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	if err := sources(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Getenv(program), append([]string{"--host", "unix://" + e.Socket, "--state", filepath.Join(e.Root, "state"), "--lang", "en"}, args...)...)
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

// A finding is one of "casco audit --format json".
type finding struct {
	Check, Ref, Verdict, Severity, Reason string
	Controls                              []struct{ Framework, Number string }
	Evidence                              []struct {
		Field string
		Value any
		Err   string
	}
}

// findings audits e; flags may follow.
func findings(t testing.TB, e *realdocker.Engine, flags ...string) []finding {
	t.Helper()
	stdout, stderr, code := casco(t, e, append([]string{"audit", "--format", "json"}, flags...)...)
	if code != 0 && code != 3 {
		t.Fatalf("casco audit: exit code %d\n%s", code, stderr)
	}
	var report struct {
		Schema   string
		Findings []finding
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("casco audit --format json: %v", err)
	}
	if !strings.HasPrefix(report.Schema, "casco/") || len(report.Findings) == 0 {
		t.Fatalf("casco audit: schema %q, %d findings", report.Schema, len(report.Findings))
	}
	return report.Findings
}

// verdict returns what fs say of one check and one object, "" for nothing.
func verdict(fs []finding, check, ref string) string {
	i := slices.IndexFunc(fs, func(f finding) bool { return f.Check == check && f.Ref == ref })
	if i < 0 {
		return ""
	}
	return fs[i].Verdict
}

// planApplyVerify plans with planArgs ("--check", ID, "--ref", REF …), approves
// and applies, and returns the ID of the change. The test ends here if there is
// nothing to plan, or if the change does not hold.
func planApplyVerify(t testing.TB, e *realdocker.Engine, planArgs ...string) (changeID string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "plan.json")
	stdout, stderr, code := casco(t, e, append([]string{"plan", "-o", file}, planArgs...)...)
	if code != 5 {
		t.Fatalf("casco plan %s: exit code %d, want 5\n%s%s", strings.Join(planArgs, " "), code, stdout, stderr)
	}
	if stdout, stderr, code := casco(t, e, "approve", file, "--yes"); code != 0 {
		t.Fatalf("casco approve: exit code %d\n%s%s", code, stdout, stderr)
	}
	applied, stderr, code := casco(t, e, "apply", file, "--yes", "--format", "json")
	if code != 0 {
		t.Fatalf("casco apply (%s): exit code %d\n%s%s\nthe plan:\n%s", strings.Join(planArgs, " "), code, applied, stderr, stdout)
	}
	var change struct{ ID, State string }
	if err := json.Unmarshal([]byte(applied), &change); err != nil {
		t.Fatalf("casco apply --format json: %v\n%s", err, applied)
	}
	if change.ID == "" || change.State != "verified" {
		t.Fatalf("casco apply: %s", applied)
	}
	return change.ID
}

// rollback takes a change back.
func rollback(t testing.TB, e *realdocker.Engine, id string) {
	t.Helper()
	if stdout, stderr, code := casco(t, e, "rollback", id, "--yes"); code != 0 {
		t.Fatalf("casco rollback %s: exit code %d\n%s%s", id, code, stdout, stderr)
	}
}

// TestHarness: the program reads the engine that it was told to, and /etc is
// our own.
func TestHarness(t *testing.T) {
	e := realdocker.Shared(t)
	if v := verdict(findings(t, e), "daemon-live-restore", "daemon/"+e.Socket); v != "fail" {
		t.Errorf("daemon-live-restore of a new engine: %q, want fail", v)
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs("/etc", &fs); err != nil || fs.Type != 0x794c7630 { // OVERLAYFS_SUPER_MAGIC, linux/magic.h
		t.Errorf("/etc is of type %#x, not an overlay (%v)", fs.Type, err)
	}
}

// A recorded change is one of "casco changes --format json".
type recorded struct{ ID, State, Why string }

// lastChange is the newest change of e.
func lastChange(t testing.TB, e *realdocker.Engine) recorded {
	t.Helper()
	stdout, stderr, code := casco(t, e, "changes", "--format", "json")
	var doc struct{ Changes []recorded }
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil || code != 0 || len(doc.Changes) == 0 {
		t.Fatalf("casco changes: exit code %d, %v\n%s%s", code, err, stdout, stderr)
	}
	return doc.Changes[len(doc.Changes)-1]
}
