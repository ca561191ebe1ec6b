package keeper

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A balancer is the namespace of a load balancer of the swarm on one host:
// "lb_NETWORK" of an overlay network, or "ingress_sbox" of published ports.
type balancer string

// balancer finds it.
func (s *site) balancer(pattern string) balancer {
	s.t.Helper()
	found, err := filepath.Glob(filepath.Join(s.Root, "exec", "netns", pattern))
	if err != nil || len(found) != 1 {
		s.t.Fatalf("load balancers %s: %v %v", pattern, found, err)
	}
	return balancer(found[0])
}

func (b balancer) run(name string, args ...string) ([]byte, error) {
	return exec.Command("nsenter", append([]string{"--net=" + string(b), "--", name}, args...)...).CombinedOutput()
}

// own is the address of the load balancer on an interface.
func (b balancer) own(t *testing.T, iface string) string {
	t.Helper()
	out, err := b.run("ip", "-4", "-o", "addr", "show", "dev", iface)
	f := strings.Fields(string(out))
	if err != nil || len(f) < 4 {
		t.Fatalf("%s: %v: %s", b, err, out)
	}
	own, _, _ := strings.Cut(f[3], "/")
	return own
}

// balanced reports whether the kernel has IPVS, with which the engine balances.
// Where it has none, an engine takes services for balanced and makes nothing:
// the test makes what the engine would (moby 20.10, libnetwork/service_linux.go),
// and nftables do to packets what IPVS does: NAT, and from the load balancer's own
// address. All else is the engine's.
func balanced() bool {
	_, err := os.Stat("/proc/net/ip_vs")
	return err == nil
}

// balance has the load balancer send what match says to a task.
func (s *site) balance(b balancer, match, task string) {
	s.t.Helper()
	at, _, _ := strings.Cut(task, ":")
	script := fmt.Sprintf(`
		table ip balance {
			chain pre { type nat hook prerouting priority -100; }
			chain post { type nat hook postrouting priority 100; }
		}
		add rule ip balance pre %s dnat to %s
		add rule ip balance post ct status dnat ip daddr %s snat to %s`, match, task, at, b.own(s.t, "eth0"))
	for _, args := range [][]string{
		{"sh", "-c", "cd /proc/sys/net/ipv4 && echo 1 >ip_forward && echo 0 >conf/all/send_redirects && echo 0 >conf/eth0/send_redirects"},
		{"nft", script},
	} {
		if out, err := b.run(args[0], args[1:]...); err != nil {
			s.t.Fatalf("%s: %v: %s", args, err, out)
		}
	}
}

// address gives a service's address to the load balancer, and sends what comes
// there to its task.
func (s *site) address(vip, task string) {
	s.t.Helper()
	b := s.balancer("lb_*")
	if out, err := b.run("ip", "addr", "add", vip+"/32", "dev", "eth0"); err != nil {
		s.t.Fatalf("%s: %v: %s", vip, err, out)
	}
	s.balance(b, "ip daddr "+vip, task)
}

// publish passes a port of the host on to the load balancer of published ports
// (programIngress), and that on to the task, which has it redirected inside.
func (s *site) publish(port, task string) {
	s.t.Helper()
	b := s.balancer("ingress_sbox")
	way := b.own(s.t, "eth1")
	for _, rule := range []string{
		"-t nat -A PREROUTING -m addrtype --dst-type LOCAL -p tcp --dport " + port + " -j DNAT --to-destination " + way + ":" + port,
		"-I FORWARD -p tcp --sport " + port + " -m state --state ESTABLISHED,RELATED -j ACCEPT",
		"-I FORWARD -p tcp --dport " + port + " -j ACCEPT",
	} {
		if out, err := s.Enter("iptables", strings.Fields(rule)...).CombinedOutput(); err != nil {
			s.t.Fatalf("iptables %s: %v: %s", rule, err, out)
		}
	}
	s.balance(b, "tcp dport "+port, task+":"+port)
}

// TestServices: the address of a service, the name of its tasks, and the ports
// that it publishes on every host of a swarm are reached by whom the policy lets,
// and by nobody else, on whichever host they are.
func TestServices(t *testing.T) {
	a, b := newSwarmSites(t, false, false)
	for _, s := range []*site{a, b} {
		for _, name := range []string{"web", "app"} {
			s.docker("run", "-d", "--name", name, "--network", "over", s.image, "wait")
		}
	}
	create := func(name string, args ...string) {
		args = append([]string{"service", "create", "-d", "--name", name, "--network", "over", "--constraint", "node.role==worker", "--no-resolve-image"}, args...)
		a.docker(append(args, "probe", "http", ":8000", name)...)
	}
	create("dbvip")
	create("webpub", "--publish", "8080:8000")
	create("dbpub", "--publish", "8081:8000")
	vip, _, _ := strings.Cut(a.docker("service", "inspect", "-f", "{{(index .Endpoint.VirtualIPs 0).Addr}}", "dbvip"), "/")
	task := b.runs("dbvip")
	ports := map[string]string{"8080": b.runs("webpub"), "8081": b.runs("dbpub")}
	for _, s := range []*site{a, b} {
		if balanced() {
			break
		}
		s.address(vip, b.addr(task, "over").String())
		for port, of := range ports {
			s.publish(port, b.addr(of, "ingress").String())
		}
	}

	// Each way is tried from the same place, first while it is only counted.
	type way struct {
		from   *site
		who    string // container, "" outside
		at     string
		answer string
		may    bool
	}
	var ways []way
	for _, s := range []*site{a, b} {
		for _, at := range []string{vip, "dbvip", "tasks.dbvip"} {
			ways = append(ways, way{s, "web", at + ":8000", "dbvip", true}, way{s, "app", at + ":8000", "dbvip", false})
		}
		ways = append(ways, way{s, "", "198.51.100.1:8080", "webpub", true}, way{s, "", "198.51.100.1:8081", "dbpub", false})
		for _, node := range []string{"192.0.2.1", "192.0.2.2"} {
			for port, answer := range map[string]string{"8080": "webpub", "8081": "dbpub"} {
				ways = append(ways, way{s, "app", node + ":" + port, answer, false})
			}
		}
	}
	probe := filepath.Join(t.TempDir(), "probe")
	if out, err := exec.Command("go", "build", "-o", probe, "../lab/probe").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	try := func(w way) bool {
		var out []byte
		if w.who == "" {
			out, _ = exec.Command("ip", "netns", "exec", "out"+w.from.NetNS, "timeout", "3", probe, "get", "http://"+w.at).Output()
		} else {
			pid := w.from.docker("inspect", "-f", "{{.State.Pid}}", w.who)
			out, _ = exec.Command("timeout", "3", "nsenter", "-t", pid, "-n", "-m", "--", "/probe", "get", "http://"+w.at).Output()
		}
		return strings.TrimSpace(string(out)) == w.answer
	}
	soon := func(w way) bool {
		for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(time.Second) {
			if try(w) {
				return true
			}
		}
		return false
	}
	name := func(w way) string {
		who, host := w.who, "the manager's host"
		if who == "" {
			who = "somebody outside"
		}
		if w.from == b {
			host = "the worker's host"
		}
		return fmt.Sprintf("%s on %s to %s", who, host, w.at)
	}
	for _, w := range ways {
		if !soon(w) {
			t.Errorf("while it is only counted, %s: not reached", name(w))
		}
	}
	for _, s := range []*site{a, b} {
		if err := s.keeper.SetPolicy(s.keeper.policy, true); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range ways {
		if w.may && !soon(w) {
			t.Errorf("%s: not reached", name(w))
		}
	}
	for range 2 {
		var all sync.WaitGroup
		for _, w := range ways {
			if !w.may {
				all.Go(func() {
					if try(w) {
						t.Errorf("%s: reached", name(w))
					}
				})
			}
		}
		all.Wait()
	}
	if t.Failed() {
		t.Logf("%+v\n%+v", a.keeper.Report().Drops, b.keeper.Report().Drops)
	}
	if a.saw(Trouble, "") || b.saw(Trouble, "") {
		t.Errorf("%v\n%v", a.events, b.events)
	}
}
