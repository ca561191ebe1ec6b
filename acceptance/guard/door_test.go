package guard

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"casco/internal/outside"
)

const doorPolicy = `apiVersion: casco/v1
kind: Policy
metadata: {name: door, version: 1}
tiers:
  - {id: public, impact: 0.3, networks: [n1]}
  - {id: restricted, impact: 1, networks: [n2]}
assign:
  - {match: {name: "web*"}, tier: public}
  - {default: restricted}
admission: {mode: enforce}
`

// TestDoor asks a real engine for weak containers through the guard's door, with
// the docker client as it is: each is refused with its rule and leaves nothing
// behind, and its harmless twin works as without a door.
func TestDoor(t *testing.T) {
	w := newWorld(t)
	w.e.Docker("network", "create", "n1")
	w.e.Docker("network", "create", "n2")
	w.e.Docker("volume", "create", "vol")
	w.e.Docker("run", "-d", "--name", "db", "--network", "n2", w.image, "wait")
	g := w.newGuard(strings.TrimPrefix(doorPolicy, "apiVersion: casco/v1\nkind: Policy\nmetadata: {name: door, version: 1}\n"))
	outside.Write(t, g.policy, doorPolicy)
	g.mode(false)
	socket := filepath.Join(w.e.Root, "door.sock")
	g.more = []string{"--door", socket}
	g.start()
	for range 100 {
		if exec.Command("docker", "-H", "unix://"+socket, "version").Run() == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	docker := func(stdin string, args ...string) (string, error) {
		cmd := exec.Command("docker", append([]string{"-H", "unix://" + socket}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	before := w.e.Docker("ps", "-aq") + w.e.Docker("volume", "ls", "-q") + w.e.Docker("network", "ls", "-q")
	for _, c := range []struct {
		rule string
		args string
	}{
		{"container-privileged", "run --rm --privileged IMAGE exit 0"},
		{"container-dangerous-capabilities", "run --rm --cap-add SYS_ADMIN IMAGE exit 0"},
		{"container-sensitive-mount", "run --rm -v /etc:/h IMAGE exit 0"},
		{"container-engine-socket", "run --rm -v " + w.e.Socket + ":/s IMAGE exit 0"},
		{"container-host-pid", "run --rm --pid host IMAGE exit 0"},
		{"container-host-net", "run --rm --network host IMAGE exit 0"},
		{"container-seccomp", "run --rm --security-opt seccomp=unconfined IMAGE exit 0"},
		{"container-devices", "run --rm --device /dev/kmsg IMAGE exit 0"},
		{"volume-host-path", "volume create -o type=none -o device=/ -o o=bind bad"},
		{"exec-privileged", "exec --privileged db /probe exit 0"},
		{"container-mixed-tiers", "run --rm --name web1 --network n2 IMAGE exit 0"},
		{"container-mixed-tiers", "network connect n1 db"},
	} {
		out, err := docker("", strings.Fields(strings.ReplaceAll(c.args, "IMAGE", w.image))...)
		if err == nil || !strings.Contains(out, c.rule) {
			t.Errorf("docker %s: %v, want a refusal by %s:\n%s", c.args, err, c.rule, out)
		}
	}
	if after := w.e.Docker("ps", "-aq") + w.e.Docker("volume", "ls", "-q") + w.e.Docker("network", "ls", "-q"); after != before {
		t.Errorf("what was refused left something: %s, before %s", after, before)
	}
	for _, c := range []struct{ args, want string }{
		{"run --rm --network n1 --name web1 IMAGE exit 0", ""},
		{"run --rm -v vol:/data --network n2 IMAGE exit 0", ""},
		{"exec db /probe exit 0", ""},
		{"ps --format {{.Names}}", "db"},
		{"volume create good", "good"},
		{"inspect -f {{.Name}} db", "/db"},
	} {
		if out, err := docker("", strings.Fields(strings.ReplaceAll(c.args, "IMAGE", w.image))...); err != nil || !strings.Contains(out, c.want) {
			t.Errorf("docker %s: %v\n%s", c.args, err, out)
		}
	}
	// Who asked, for what, and what was decided is in the ledger.
	g.stop()
	if _, err := os.Lstat(socket); err == nil {
		t.Error("ended, the guard leaves the socket that it made")
	}
	log, err := exec.Command(g.program, "--state", g.state, "--format", "json", "log", "show", "--kind", "decision").Output()
	for _, want := range []string{`"container-privileged"`, `"uid": 0`, `"what": "allowed"`, `"what": "refused"`} {
		if err != nil || !strings.Contains(string(log), want) {
			t.Errorf("the ledger does not say who asked for what: %v, no %s\n%.3000s", err, want, log)
		}
	}
}
