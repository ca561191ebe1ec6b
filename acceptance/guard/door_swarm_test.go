package guard

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"casco/internal/outside"
)

// TestDoorSwarm asks a manager of a swarm for weak services through the guard's
// door, with the docker client as it is: each is refused with its rule, when it is
// made and when it is changed, and the swarm is as it was; its harmless twin passes.
func TestDoorSwarm(t *testing.T) {
	w := newWorld(t)
	w.e.Docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377", "--task-history-limit", "0")
	g := w.newGuard(strings.TrimPrefix(doorPolicy, "apiVersion: casco/v1\nkind: Policy\nmetadata: {name: door, version: 1}\n"))
	outside.Write(t, g.policy, doorPolicy+"network: {start: runtime}\n")
	g.mode(false)
	socket := filepath.Join(w.e.Root, "door.sock")
	g.more = []string{"--door", socket}
	g.start()
	docker := func(args ...string) (string, error) {
		out, err := exec.Command("docker", append([]string{"-H", "unix://" + socket}, args...)...).CombinedOutput()
		return string(out), err
	}
	for range 200 {
		if _, err := docker("version"); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	words := func(s string) []string { return strings.Fields(strings.ReplaceAll(s, "IMAGE", w.image)) }
	state := func() string {
		t.Helper()
		ids := strings.Fields(w.e.Docker("service", "ls", "-q"))
		out := w.e.Docker("config", "ls", "-q") + w.e.Docker("secret", "ls", "-q") + w.e.Docker("volume", "ls", "-q")
		for _, id := range ids {
			out += w.e.Docker("service", "inspect", "-f", "{{.ID}} {{.Version.Index}} {{json .Spec}}", id)
		}
		return out
	}
	const create = "service create -d --no-resolve-image --replicas 0 "
	if out, err := docker(words(create + "--name good --limit-memory 64m IMAGE wait")...); err != nil {
		t.Fatalf("a harmless service: %v\n%s", err, out)
	}
	before := state()
	for _, c := range []struct{ rule, args string }{
		{"container-sensitive-mount", create + "--name bad --mount type=bind,src=/etc,dst=/h IMAGE wait"},
		{"container-engine-socket", create + "--name bad --mount type=bind,src=" + w.e.Socket + ",dst=/s IMAGE wait"},
		{"container-dangerous-capabilities", create + "--name bad --cap-add SYS_ADMIN IMAGE wait"},
		{"container-host-net", create + "--name bad --network host IMAGE wait"},
		{"container-sensitive-mount", "service update -d --no-resolve-image --mount-add type=bind,src=/etc,dst=/h good"},
		{"container-dangerous-capabilities", "service update -d --no-resolve-image --cap-add SYS_ADMIN good"},
	} {
		if out, err := docker(words(c.args)...); err == nil || !strings.Contains(out, "("+c.rule+")") {
			t.Errorf("docker %s: %v, want a refusal by %s:\n%s", c.args, err, c.rule, out)
		}
	}
	if after := state(); after != before {
		t.Errorf("what was refused changed the swarm:\n%s\nbefore:\n%s", after, before)
	}
	for _, args := range []string{
		create + "--name twin --mount type=volume,src=data,dst=/d --cap-add NET_BIND_SERVICE IMAGE wait",
		"service update -d --no-resolve-image --env-add A=1 good",
		"service scale -d good=1", "service ls", "service rm twin good",
	} {
		if out, err := docker(words(args)...); err != nil {
			t.Errorf("docker %s: %v\n%s", args, err, out)
		}
	}
}
