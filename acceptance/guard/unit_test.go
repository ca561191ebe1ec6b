package guard

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"casco/internal/outside"
)

// A serviced host is a guest whose first process is systemd, with Debian's own
// docker.service and the guard as "casco guard units" installs it.
type serviced struct{ *testing.T }

const (
	guardUnit   = "casco-guard.service"
	guestSocket = "/run/docker.sock"
)

// does runs a program and returns what it prints.
func (h serviced) does(code int, name string, args ...string) string {
	h.Helper()
	cmd := exec.Command(name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code {
		h.Fatalf("%s: %v, want code %d\n%s%s", cmd, err, code, &out, &errs)
	}
	return strings.TrimSpace(out.String())
}

func (h serviced) casco(code int, args ...string) string {
	h.Helper()
	return h.does(code, outside.Program(h), args...)
}

// is what systemd says of a property of the guard's unit.
func (h serviced) is(property string) string {
	h.Helper()
	return h.does(0, "systemctl", "show", "--property="+property, "--value", guardUnit)
}

// pid of the guard.
func (h serviced) pid() int {
	h.Helper()
	n, err := strconv.Atoi(h.is("MainPID"))
	if err != nil {
		h.Fatal(err)
	}
	return n
}

// wants waits for something that takes a while in an emulated machine.
func (h serviced) wants(within time.Duration, what string, is func() bool) time.Duration {
	h.Helper()
	began := time.Now()
	for time.Since(began) < within {
		if is() {
			return time.Since(began)
		}
		time.Sleep(200 * time.Millisecond)
	}
	h.Errorf("not within %s: %s", within, what)
	return within
}

// privileged asks the public socket for a privileged container, of no image.
func (h serviced) privileged() (int, string) {
	h.Helper()
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", guestSocket)
	}}}
	res, err := client.Post("http://engine/v1.41/containers/create?name=bad", "application/json", strings.NewReader(`{"Image":"none","HostConfig":{"Privileged":true}}`))
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

// judges wants a privileged container to be refused by its rule. A processor that
// is emulated beside others may leave the guard without time for a while: then its
// second process refuses.
func (h serviced) judges(when string) {
	h.Helper()
	var code int
	var said string
	h.wants(time.Minute, when+": a privileged container is refused by its rule", func() bool {
		code, said = h.privileged()
		return code == http.StatusForbidden && strings.Contains(said, "container-privileged") || code == http.StatusNotFound
	})
	if code != http.StatusForbidden {
		h.Errorf("%s: a privileged container: %d %s", when, code, said)
	}
}

// install puts the engine behind the door. Where an emulated processor is so slow
// that a change takes itself back, it is made again.
func (h serviced) install() {
	h.Helper()
	plan := filepath.Join(h.TempDir(), "door.json")
	for range 3 {
		h.casco(5, "plan", "--check", "guard-door", "-o", plan)
		h.casco(0, "approve", plan, "--yes")
		out, err := exec.Command(outside.Program(h), "apply", plan, "--yes").CombinedOutput()
		if err == nil {
			return
		}
		h.Logf("apply: %v\n%s", err, out)
	}
	h.Fatal("the door was not installed")
}

// off gives the engine its socket back. It may be said again where systemctl is so
// slow, on an emulated processor, that it runs out of its minute.
func (h serviced) off() {
	h.Helper()
	for range 3 {
		out, err := exec.Command(outside.Program(h), "guard", "off").CombinedOutput()
		if err == nil {
			return
		}
		h.Logf("guard off: %v\n%s", err, out)
	}
	h.Error("guard off does not come to its end")
}

// during asks the door over and over while something is done, and wants nobody to
// be refused.
func (h serviced) during(what string, act func()) *caller {
	h.Helper()
	c := &caller{}
	ctx, cancel := context.WithCancel(h.Context())
	var calls sync.WaitGroup
	calls.Go(func() { c.call(ctx, guestSocket) })
	time.Sleep(time.Second)
	act()
	time.Sleep(time.Second)
	cancel()
	calls.Wait()
	h.Logf("%s: asked %d times, refused %d, failed %d", what, c.asked, len(c.refused), len(c.failed))
	if len(c.refused) > 0 || c.asked < 3 {
		h.Errorf("%s: of %d requests %d were refused: %.300s", what, c.asked, len(c.refused), strings.Join(c.refused, "; "))
	}
	return c
}

// TestUnit: the guard as a service of systemd is ready when it says so, bounded,
// restarted without a refused request, started again when it is killed or hangs,
// and leaves the engine as it was when it is stopped and put off.
func TestUnit(t *testing.T) {
	if os.Getenv(outside.Guest) != "systemd" {
		t.Skip("runs in the guest \"systemd\" of make lsm (lsm/guests)")
	}
	h := serviced{t}
	h.does(0, "systemctl", "start", "docker.service")
	path := filepath.Join(t.TempDir(), "policy.yaml")
	outside.Write(t, path, lifePolicy)
	h.casco(0, "policy", "load", path)
	h.does(0, "sh", "-c", outside.Program(t)+" guard units | sh")
	if state := h.is("ActiveState"); state != "active" {
		t.Fatalf("the guard is %s\n%s", state, h.does(0, "journalctl", "-u", guardUnit, "-n", "50"))
	}
	if _, err := os.Stat("/run/casco/guard.sock"); err != nil {
		t.Errorf("ready, and its socket is not there: %v", err)
	}

	// Its bounds are the kernel's.
	group := filepath.Join("/sys/fs/cgroup", h.is("ControlGroup"))
	for file, want := range map[string]string{"memory.max": "629145600", "cpu.max": "100000 100000"} {
		b, err := os.ReadFile(filepath.Join(group, file))
		if got := strings.TrimSpace(string(b)); err != nil || got != want {
			t.Errorf("%s is %q, want %q: %v", file, got, want, err)
		}
	}

	h.install()
	var doc struct{ Changes []outside.Recorded }
	if err := json.Unmarshal([]byte(h.casco(0, "changes", "--format", "json")), &doc); err != nil || len(doc.Changes) == 0 {
		t.Fatalf("changes: %v, %v", doc, err)
	}
	h.casco(0, "confirm", doc.Changes[len(doc.Changes)-1].ID)
	h.judges("behind the door")
	h.wants(30*time.Second, "systemd holds the sockets of guard, gate, door and plugin", func() bool { return h.is("NFileDescriptorStore") == "4" })

	first := h.pid()
	c := h.during("systemctl restart", func() { h.does(0, "systemctl", "restart", guardUnit) })
	if len(c.failed) > 0 {
		t.Errorf("restarted: %d requests failed: %s", len(c.failed), c.failed[0])
	}
	if h.pid() == first {
		t.Error("it was not restarted")
	}
	h.judges("restarted")

	again := func(was int) func() bool {
		return func() bool { return h.pid() != was && h.pid() != 0 && h.is("ActiveState") == "active" }
	}
	was := h.pid()
	h.during("killed", func() {
		syscall.Kill(was, syscall.SIGKILL)
		h.wants(time.Minute, "one that was killed is started again", again(was))
	})
	h.judges("killed")

	was = h.pid()
	syscall.Kill(was, syscall.SIGSTOP)
	took := h.wants(3*time.Minute, "one that hangs is started again", again(was))
	t.Logf("a guard that hangs was started again after %s", took.Round(time.Second))
	h.judges("hung")

	h.does(0, "systemctl", "stop", guardUnit)
	for _, left := range []string{"/run/casco/guard.sock", "/run/casco/gate.sock", "/run/docker/plugins/casco.sock"} {
		if _, err := os.Lstat(left); err == nil {
			t.Errorf("stopped, it leaves %s", left)
		}
	}
	if held := h.is("NFileDescriptorStore"); held != "0" {
		t.Errorf("stopped, systemd holds %s sockets", held)
	}
	if code, said := h.privileged(); code != 0 {
		t.Errorf("stopped, the door answers: %d %s", code, said)
	}
	h.off()
	if code, said := h.privileged(); code != http.StatusNotFound { // no such image
		t.Errorf("off, the engine answers: %d %s", code, said)
	}
	if _, err := os.Stat("/etc/docker/daemon.json"); err == nil {
		t.Error("off, daemon.json is there, which was not")
	}
}
