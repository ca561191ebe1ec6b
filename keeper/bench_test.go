package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"casco/guard/network"
	"casco/host/gate"
	"casco/host/spaces"
	"casco/internal/handtest"
	"casco/policy"
)

// A crowd is a host with many containers and no engine: each has a network
// namespace with an interface on one of twenty bridges, and is a thread of this
// process. All of it ends with the process.
type crowd struct {
	dir    string
	host   *spaces.Space
	starts []gate.Start
	nets   []spaces.NetworkJSON
	free   chan struct{} // closed when the threads may end
}

const perBridge = 50

// alone is a thread in a new network namespace.
func alone(free chan struct{}) (tid int, err error) {
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: it ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
		}
		tid = unix.Gettid()
		made <- err
		if err == nil {
			<-free
		}
	}()
	err = <-made
	return tid, err
}

func newCrowd(t testing.TB, n int) *crowd {
	t.Helper()
	handtest.NeedRoot(t)
	c := &crowd{dir: t.TempDir(), free: make(chan struct{})}
	t.Cleanup(func() { close(c.free) })
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	tid, err := alone(c.free)
	fail(err)
	c.host, err = spaces.Of(tid)
	fail(err)
	t.Cleanup(func() { c.host.Close() })
	nl, err := netlink.NewHandleAt(c.host.NS)
	fail(err)
	defer nl.Close()
	begun := time.Now()
	for i := range n {
		bridge := fmt.Sprintf("br%d", i/perBridge)
		if i%perBridge == 0 {
			br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridge}}
			fail(nl.LinkAdd(br))
			fail(nl.AddrAdd(br, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 9, byte(i/perBridge), 1), Mask: net.CIDRMask(24, 32)}}))
			fail(nl.LinkSetUp(br))
			var j spaces.NetworkJSON
			fail(json.Unmarshal(fmt.Appendf(nil, `{"Id":"%064x","Name":"n%d","Driver":"bridge","Options":{"com.docker.network.bridge.name":%q},
				"IPAM":{"Config":[{"Subnet":"10.9.%d.0/24","Gateway":"10.9.%d.1"}]}}`, i, i/perBridge, bridge, i/perBridge, i/perBridge), &j))
			c.nets = append(c.nets, j)
		}
		c.add(t, nl, i, bridge)
	}
	t.Logf("%d namespaces made in %s", n, time.Since(begun).Round(time.Millisecond))
	return c
}

// add makes one container: ten are an application, of one of twenty tiers.
func (c *crowd) add(t testing.TB, nl *netlink.Handle, i int, bridge string) {
	t.Helper()
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	tid, err := alone(c.free)
	fail(err)
	ns, err := netns.GetFromPath(fmt.Sprintf("/proc/%d/ns/net", tid))
	fail(err)
	defer ns.Close()
	peer := fmt.Sprintf("v%d", i)
	br, err := nl.LinkByName(bridge)
	fail(err)
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: peer, MasterIndex: br.Attrs().Index}, PeerName: "eth0", PeerNamespace: netlink.NsFd(ns)}
	fail(nl.LinkAdd(veth))
	fail(nl.LinkSetUp(veth))
	in, err := netlink.NewHandleAt(ns)
	fail(err)
	defer in.Close()
	eth, err := in.LinkByName("eth0")
	fail(err)
	fail(in.AddrAdd(eth, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 9, byte(i/perBridge), byte(2+i%perBridge)), Mask: net.CIDRMask(24, 32)}}))
	fail(in.LinkSetUp(eth))

	app := i / 10
	id := fmt.Sprintf("%064x", i+1)
	write := func(path, text string) {
		fail(os.MkdirAll(filepath.Dir(path), 0o700))
		fail(os.WriteFile(path, []byte(text), 0o600))
	}
	name := fmt.Sprintf("t%d-%d-c%d", app%20, app, i%10)
	write(filepath.Join(c.dir, "containers", id, "config.v2.json"), fmt.Sprintf(`{"ID":%q,"Name":"/%s","Config":{"Image":"x","Labels":
		{"com.docker.compose.project":"p%d","com.docker.compose.service":"c%d"}},"NetworkSettings":{"Networks":{"n%d":{}}}}`, id, name, app, i%10, i/perBridge))
	write(filepath.Join(c.dir, "containers", id, "hostconfig.json"), `{"NetworkMode":"x"}`)
	root := filepath.Join(c.dir, "moby")
	write(filepath.Join(root, id, "state.json"), fmt.Sprintf(`{"init_process_pid":%d}`, tid))
	c.starts = append(c.starts, gate.Start{ID: id, PID: tid, Root: root})
}

// Networks is a method of Engine.
func (c *crowd) Networks(context.Context) ([]spaces.NetworkJSON, error) { return c.nets, nil }

// Ports is a method of Engine.
func (c *crowd) Ports(context.Context, string) ([]network.Published, error) { return nil, nil }

// Overlay is a method of Engine: there is no swarm.
func (c *crowd) Overlay(context.Context, string) (spaces.OverlayJSON, error) {
	return spaces.OverlayJSON{}, errors.New("no swarm")
}

// Services is a method of Engine.
func (c *crowd) Services(context.Context) (map[string]spaces.ServiceJSON, error) {
	return nil, errors.New("no swarm")
}

// Events is a method of Engine.
func (c *crowd) Events(ctx context.Context, begun func(), _ func(EngineEvent)) error {
	begun()
	<-ctx.Done()
	return ctx.Err()
}

// crowdPolicy has twenty tiers, an application's containers may talk, and each
// tier may send to an address outside.
func crowdPolicy(t testing.TB) *policy.Policy {
	t.Helper()
	b := strings.Builder{}
	b.WriteString("apiVersion: casco/v1\nkind: Policy\nmetadata: {name: x, version: 2}\ntiers:\n")
	for i := range 20 {
		fmt.Fprintf(&b, "  - {id: t%d, impact: %g}\n", i, float64(i+1)/20)
	}
	b.WriteString("assign:\n")
	for i := range 20 {
		fmt.Fprintf(&b, "  - {match: {name: \"t%d-*\"}, tier: t%d}\n", i, i)
	}
	b.WriteString("  - default: t0\nflows:\n")
	for i := range 20 {
		fmt.Fprintf(&b, "  - {id: f%d, from: \"t%d/*\", to: \"egress:203.0.113.%d\", port: 443/tcp}\n", i, i, i)
		fmt.Fprintf(&b, "  - {id: g%d, from: \"t%d/*\", to: \"egress:198.51.%d.0/24\", port: 443/tcp}\n", i, i, i)
		fmt.Fprintf(&b, "  - {id: h%d, from: any-internet, to: t%d/c0, port: 80/tcp}\n", i, i)
	}
	p, problems := policy.ParseFile("policy.yaml", []byte(b.String()))
	if p == nil {
		t.Fatal(problems)
	}
	return p
}

func (c *crowd) keeper(t testing.TB, enforce bool) *Keeper {
	t.Helper()
	k, err := New(Config{
		Engine: c, Host: c.host, Files: spaces.Files(filepath.Join(c.dir, "containers")), Roots: []string{filepath.Join(c.dir, "moby")},
		Policy: crowdPolicy(t), Enforce: enforce, Log: slog.New(slog.DiscardHandler),
		Happened: func(e Event) {
			if e.Kind != Rules && e.Kind != Late { // nobody made rules for a crowd before
				t.Errorf("%s: %s: %s", e.Kind, e.Container, e.Text.En)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// stop takes a container away as its end does.
func (k *Keeper) stop(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.leave(k.containers[id])
}

// quantile of durations, in milliseconds.
func quantile(ds []time.Duration, q float64) float64 {
	slices.Sort(ds)
	return float64(ds[min(len(ds)-1, int(q*float64(len(ds))))]) / 1e6
}

// maxUpdate is how long, in milliseconds, half of the updates of one container
// among a thousand may take.
const maxUpdate = 5

// BenchmarkHost is a host with 1,000 containers (CASCO_BENCH_CONTAINERS), each
// in a real network namespace, without an engine: what the start of one waits
// for, what the rest costs a guard. The namespaces are made in some ten
// seconds.
func BenchmarkHost(b *testing.B) {
	n := 1000
	if s := os.Getenv("CASCO_BENCH_CONTAINERS"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	c := newCrowd(b, n)
	ctx := context.Background()
	k := c.keeper(b, true)
	defer k.Close()
	begun := time.Now()
	if err := k.Load(ctx); err != nil {
		b.Fatal(err)
	}
	b.Logf("all rules made in %s", time.Since(begun).Round(time.Millisecond))

	i := 0
	var starts, stops []time.Duration
	b.Run("start", func(b *testing.B) {
		starts, stops = nil, nil
		for b.Loop() {
			s := c.starts[i%n]
			i += 7
			t0 := time.Now()
			k.stop(s.ID)
			t1 := time.Now()
			k.ending.Wait() // a real one starts again in another namespace
			t2 := time.Now()
			if err := k.Start(ctx, s); err != nil {
				b.Fatal(err)
			}
			starts, stops = append(starts, time.Since(t2)), append(stops, t1.Sub(t0))
		}
		if p50 := quantile(starts, 0.5); n == 1000 && p50 > maxUpdate {
			b.Errorf("an update of one container among %d takes %.1f ms at the median, more than %d", n, p50, maxUpdate)
		}
		b.ReportMetric(quantile(starts, 0.5), "p50-ms/start")
		b.ReportMetric(quantile(starts, 0.99), "p99-ms/start")
		b.ReportMetric(quantile(stops, 0.5), "p50-ms/stop")
		b.ReportMetric(quantile(stops, 0.99), "p99-ms/stop")
	})
	try := func(name string, do func() error) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	try("look", func() error { return k.Look(ctx) })
	try("count", k.Count)
	on := false
	last := c.nets
	try("network", func() error {
		// A network comes, and goes again.
		if on = !on; on {
			more := c.nets[0]
			more.ID, more.Name = "ff", "more"
			more.IPAM.Config = append(more.IPAM.Config[:0:0], more.IPAM.Config[0])
			more.IPAM.Config[0].Subnet, more.IPAM.Config[0].Gateway = "10.10.0.0/24", "10.10.0.1"
			c.nets = append(slices.Clip(last), more)
		} else {
			c.nets = last
		}
		e := EngineEvent{Type: "network", Action: "create"}
		return k.event(ctx, e)
	})
	try("policy", func() error { return k.SetPolicy(k.policy, true) })
	rss(b)
}

// rss says what the process weighs.
func rss(b *testing.B) {
	b.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "VmRSS:") || strings.HasPrefix(line, "VmHWM:") || strings.HasPrefix(line, "Threads:") {
			b.Log(strings.TrimSpace(line))
		}
	}
}
