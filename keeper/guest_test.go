package keeper

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"casco/guard/network"
	"casco/internal/realdocker"
)

const guestPolicy = swarmPolicy + `  - {id: f2, from: any-internet, to: public/webpub, port: 8000/tcp, why: x, owner: ro1, review: 2099-01-01}
`

// TestSwarmGuest: what needs a kernel with ESP and IPVS. On an encrypted
// overlay the policy holds between hosts, for containers, for the address of a
// service and for ports that a swarm publishes.
func TestSwarmGuest(t *testing.T) {
	if guest := os.Getenv("CASCO_GUEST"); guest != "overlay" {
		t.Skip("runs in the guest overlay of make lsm: this kernel may lack ESP and IPVS")
	}
	m, w := realdocker.Swarm(t)
	m.Docker("network", "create", "-d", "overlay", "--attachable", "--opt", "encrypted", "over")
	a, b := &site{Engine: m, t: t, image: m.Image("flows")}, &site{Engine: w, t: t, image: w.Image("flows")}
	httpd := []string{"httpd", "-f", "-p", "8000"}
	// A manager may take longer to attach a container there than an engine waits.
	start := func(s *site, name string, args ...string) {
		var out []byte
		for range 5 {
			var err error
			if out, err = s.run("docker", append([]string{"run", "-d", "--name", name, "--network", "over", s.image}, args...)...); err == nil {
				return
			}
			s.run("docker", "rm", "-f", name)
		}
		log := a.Log()
		t.Fatalf("%s: %s\n%s", name, out, log[max(0, len(log)-4000):])
	}
	start(a, "db1", httpd...)
	for _, s := range []*site{a, b} {
		for _, name := range []string{"web", "app"} {
			start(s, name, "sleep", "3600")
		}
	}
	a.world()
	a.keep(guestPolicy, true)
	b.keep(guestPolicy, true)
	begun := time.Now()
	step := func(format string, args ...any) {
		t.Logf("%s: %s", time.Since(begun).Round(time.Second), fmt.Sprintf(format, args...))
	}
	const marker = "casco-keeper-marker-77c2"
	gets := func(s *site, from, at string) bool {
		out, err := s.run("docker", "exec", from, "timeout", "5", "wget", "-U", marker, "-q", "-O", "-", "http://"+at+":8000/etc/passwd")
		return err == nil && strings.Contains(string(out), "root:")
	}
	// Tunnels and load balancers take their time in an emulated machine.
	soon := func(s *site, from, at string) bool {
		for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(time.Second) {
			if gets(s, from, at) {
				return true
			}
		}
		return false
	}

	db1 := a.addr("db1", "over")
	sniffed := a.Sniff()
	if !soon(b, "web", db1.String()) {
		t.Error("who may talk to the other host does not reach it")
	}
	step("reached")
	if gets(b, "app", db1.String()) || gets(a, "app", b.addr("web", "over").String()) {
		t.Error("who may not does")
	}
	raw := sniffed()
	if esp := bytes.Count(raw, realdocker.ESPMark); esp == 0 || bytes.Contains(raw, []byte(marker)) {
		t.Errorf("%d packets of ESP on the wire; the marker is in clear: %v", esp, bytes.Contains(raw, []byte(marker)))
	} else {
		step("%d packets of ESP, no marker", esp)
	}
	for _, c := range []struct {
		s    *site
		own  string
		peer string
		out  bool
	}{{b, "web", "db1", true}, {a, "db1", "web", false}} {
		fs, err := c.s.keeper.Flows()
		if err != nil {
			t.Fatal(err)
		}
		world, _ := c.s.keeper.World()
		if !slices.ContainsFunc(network.NameFlows(fs, world, c.s.keeper.judge), func(f network.NamedFlow) bool {
			return f.Workload == c.own && f.PeerName == c.peer && f.Out == c.out && f.Port.Number == 8000 && f.Replied > 0
		}) {
			t.Errorf("the host of %s did not see its flow with %s: %+v", c.own, c.peer, fs)
		}
	}

	create := func(name string, args ...string) {
		args = append([]string{"service", "create", "-d", "--name", name, "--network", "over", "--constraint", "node.role==worker", "--no-resolve-image"}, args...)
		a.docker(append(append(args, a.image), httpd...)...)
	}
	create("dbvip")
	create("webpub", "--publish", "8080:8000")
	create("dbpub", "--publish", "8081:8000")
	for _, name := range []string{"dbvip", "webpub", "dbpub"} {
		b.runs(name)
	}
	vip, _, _ := strings.Cut(a.docker("service", "inspect", "-f", "{{(index .Endpoint.VirtualIPs 0).Addr}}", "dbvip"), "/")
	step("services run; %s", vip)
	for _, s := range []*site{b, a} { // its own host's load balancer, and another's
		if !soon(s, "web", vip) {
			t.Errorf("who may talk to a service does not reach it at %s", vip)
			t.Log(balancer(s, vip))
			t.Logf("%+v", b.keeper.Report().Drops)
		}
		if gets(s, "app", vip) {
			t.Error("who may not talk to a service reaches it")
		}
	}
	step("services reached")

	outside := func(port string) bool {
		_, err := exec.Command("ip", "netns", "exec", "out"+a.NetNS, "timeout", "5", "busybox", "wget", "-q", "-O", "-", "http://198.51.100.1:"+port+"/etc/passwd").Output()
		return err == nil
	}
	reached := false
	for deadline := time.Now().Add(40 * time.Second); !reached && time.Now().Before(deadline); time.Sleep(time.Second) {
		reached = outside("8080")
	}
	if !reached {
		t.Errorf("nobody outside reaches a published port that is for them: %+v %+v", a.keeper.Report().Drops, b.keeper.Report().Drops)
	}
	if outside("8081") {
		t.Error("somebody outside reaches a published port that is not for them")
	}
	step("published ports")
}

// balancer is what the load balancers of an engine say of themselves.
func balancer(s *site, vip string) string {
	var b strings.Builder
	found, _ := filepath.Glob(filepath.Join(s.Root, "exec", "netns", "lb_*"))
	for _, ns := range found {
		out, _ := exec.Command("nsenter", "--net="+ns, "sh", "-c", "ip -br a; cat /proc/net/ip_vs /proc/sys/net/ipv4/vs/conntrack; iptables -t mangle -S; iptables -t nat -vnL POSTROUTING").CombinedOutput()
		fmt.Fprintf(&b, "%s for %s:\n%s", ns, vip, out)
	}
	for line := range strings.Lines(s.Log()) {
		if low := strings.ToLower(line); strings.Contains(low, "ipvs") || strings.Contains(low, "ip_vs") || strings.Contains(low, "sandbox") {
			b.WriteString(line)
		}
	}
	return b.String()
}
