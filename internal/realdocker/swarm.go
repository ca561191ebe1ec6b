package realdocker

import (
	"os/exec"
	"strings"
	"testing"
)

// Swarm starts two engines of one swarm, the manager first. A wire is between
// their hosts, "wire" on both, with the addresses 192.0.2.1 and 192.0.2.2.
func Swarm(t testing.TB) (manager, worker *Engine) {
	t.Helper()
	a, b := Start(t), Start(t)
	for _, args := range []string{
		"link add wire netns " + a.NetNS + " type veth peer name wire netns " + b.NetNS,
		"-n " + a.NetNS + " addr add 192.0.2.1/24 dev wire", "-n " + a.NetNS + " link set wire up",
		"-n " + b.NetNS + " addr add 192.0.2.2/24 dev wire", "-n " + b.NetNS + " link set wire up",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	a.Docker("swarm", "init", "--advertise-addr", "192.0.2.1", "--task-history-limit", "1")
	b.Docker("swarm", "join", "--advertise-addr", "192.0.2.2", "--token", a.Docker("swarm", "join-token", "-q", "worker"), "192.0.2.1:2377")
	return a, b
}
