package keeper

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"casco/guard/network"
	"casco/host/nft"
	"casco/internal/realdocker"
)

const swarmPolicy = `apiVersion: casco/v1
kind: Policy
metadata: {name: t, version: 1}
tiers:
  - {id: public, impact: 0.3, inside: closed}
  - {id: restricted, impact: 1, inside: closed}
  - {id: other, impact: 1, inside: closed}
assign:
  - {match: {name: "web*"}, tier: public}
  - {match: {name: "db*"}, tier: restricted}
  - {default: other}
flows:
  - {id: f1, from: "public/*", to: "restricted/*", port: 8000/tcp, why: x, owner: ro1, review: 2099-01-01}
  - {id: f2, from: any-internet, to: public/webpub, port: 8000/tcp, why: x, owner: ro1, review: 2099-01-01}
`

// newSwarmSites is two sites of one swarm with an overlay network.
func newSwarmSites(t *testing.T, enforceA, enforceB bool) (a, b *site) {
	t.Helper()
	m, w := realdocker.Swarm(t)
	m.Docker("network", "create", "-d", "overlay", "--attachable", "--subnet", "10.77.0.0/24", "over")
	a, b = &site{Engine: m, t: t, image: m.Probe("probe")}, &site{Engine: w, t: t, image: w.Probe("probe")}
	a.world()
	b.world()
	a.keep(swarmPolicy, enforceA)
	b.keep(swarmPolicy, enforceB)
	return a, b
}

func (s *site) addr(name, net string) netip.Addr {
	s.t.Helper()
	return netip.MustParseAddr(s.docker("inspect", "-f", fmt.Sprintf("{{(index .NetworkSettings.Networks %q).IPAddress}}", net), name))
}

func (s *site) serve(name string, args ...string) {
	s.t.Helper()
	s.docker(append(append([]string{"run", "-d", "--name", name, "--network", "over"}, args...), s.image, "http", ":8000", name)...)
}

// get is one try of a container that is new.
func (s *site) get(name string, at netip.Addr, args ...string) (string, error) {
	out, err := s.run("docker", append(append([]string{"run", "--rm", "--name", name, "--network", "over"}, args...), s.image, "get", fmt.Sprintf("http://%s:8000", at))...)
	return strings.TrimSpace(string(out)), err
}

// runs waits for a task of a service, and gives the name of its container.
func (s *site) runs(service string) string {
	s.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if name := s.docker("ps", "--format", "{{.Names}}", "--filter", "label=com.docker.swarm.service.name="+service); name != "" {
			return name
		}
	}
	s.t.Fatalf("no task of %s runs", service)
	return ""
}

// TestSwarm: on an overlay network the policy holds between hosts.
func TestSwarm(t *testing.T) {
	a, b := newSwarmSites(t, true, true)
	a.serve("db1")
	b.serve("db2")
	a.serve("app1")
	// A service whose name stands for its tasks: without IPVS there is no other.
	a.docker("service", "create", "-d", "--name", "dbrr", "--network", "over", "--endpoint-mode", "dnsrr", "--constraint", "node.role==worker", "--no-resolve-image", "probe", "http", ":8000", "dbrr")
	task := b.runs("dbrr")
	for _, c := range []struct {
		from   *site
		name   string
		to     *site
		at     string
		passes bool
	}{
		{b, "web1", a, "db1", true},
		{a, "web2", b, "db2", true},
		{a, "web3", a, "db1", true},
		{b, "app2", a, "db1", false},
		{b, "web4", a, "app1", false},
		{a, "app3", b, "db2", false},
		{a, "app4", a, "db1", false},
		{b, "db9", a, "db1", false},
		{a, "web6", b, task, true},
		{a, "app5", b, task, false},
	} {
		begun := time.Now()
		out, err := c.from.get(c.name, c.to.addr(c.at, "over"))
		if passed := err == nil && (out == c.at || out == "dbrr"); passed != c.passes {
			t.Errorf("%s to %s: %v %q, want %v", c.name, c.at, err, out, c.passes)
		}
		t.Logf("%s to %s: %s", c.name, c.at, time.Since(begun).Round(time.Millisecond))
	}
	// What passes is seen where it leaves and where it comes.
	db1 := a.addr("db1", "over")
	b.docker("run", "-d", "--name", "web7", "--network", "over", b.image, "wait")
	b.docker("exec", "web7", "/probe", "get", fmt.Sprintf("http://%s:8000", db1))
	web7 := b.addr("web7", "over")
	sees := func(s *site, what func(network.Flow) bool) bool {
		fs, err := s.keeper.Flows()
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(fs, what)
	}
	if !sees(b, func(f network.Flow) bool { return f.Workload == "web7" && f.Out && f.Peer == db1 && f.Replied == 1 }) {
		t.Error("the host of web7 did not see its flow")
	}
	if !sees(b, func(f network.Flow) bool {
		return f.Workload == "web1" && f.Out && f.Peer == db1 && f.Connections == 1 && f.Open == 0
	}) {
		fs, err := b.keeper.Flows()
		t.Errorf("the host of web1, which is gone, did not see its flow: %v %+v", err, fs)
	}
	if !sees(a, func(f network.Flow) bool {
		return f.Workload == "db1" && !f.Out && f.Port.Number == 8000 && f.Replied == 1 && f.Peer == web7
	}) {
		t.Error("the host of db1 did not see its flow")
	}
	if !b.saw(Elsewhere, "tier other") {
		t.Error("nobody was told that app1 has the tier that is left")
	}
	if a.saw(Trouble, "") || b.saw(Trouble, "") {
		t.Errorf("%v\n%v", a.events, b.events)
	}
	// All of them are on docker_gwbridge too.
	gw, _, _ := strings.Cut(a.docker("network", "inspect", "-f", fmt.Sprintf("{{(index .Containers %q).IPv4Address}}", a.docker("inspect", "-f", "{{.Id}}", "db1")), network.GatewayBridge), "/")
	way := netip.MustParseAddr(gw)
	if out, err := a.get("web5", way); err == nil {
		t.Errorf("a container was reached by docker_gwbridge: %s", out)
	}
}

// TestSwarmNothingInherited: an address on another host that somebody else has
// now carries nothing over, even if that host has no guard that enforces.
func TestSwarmNothingInherited(t *testing.T) {
	a, b := newSwarmSites(t, true, false)
	a.serve("db1")
	db := a.addr("db1", "over")
	times := 4
	if os.Getenv("CASCO_RACE") != "" {
		times = 20
	}
	for i := range times {
		if out, err := b.get(fmt.Sprint("web", i), db, "--ip", "10.77.0.99"); err != nil || out != "db1" {
			t.Errorf("%d: the one that may: %v %s", i, err, out)
		}
		evil := b.docker("run", "-d", "--network", "over", "--name", fmt.Sprint("evil", i), "--ip", "10.77.0.99", b.image, "get", fmt.Sprintf("http://%s:8000", db))
		time.Sleep(1200 * time.Millisecond) // the kernel asks again after a second
		if out := b.docker("logs", evil); out != "" {
			t.Errorf("%d: the one that has its address now: %s", i, out)
		}
		b.docker("rm", "-f", evil)
	}
	if n := a.keeper.Report().Drops["db1"][nft.DropIn].Packets; n < uint64(times) {
		t.Errorf("only %d packets of theirs came as far as the database's host", n)
	}
}
