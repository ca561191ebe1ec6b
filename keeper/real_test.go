package keeper

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/net/dns/dnsmessage"

	"casco/host/gate"
	"casco/host/spaces"
	"casco/internal/nsenter"
	"casco/internal/realdocker"
	"casco/policy"
)

func TestMain(m *testing.M) { realdocker.Main(m) }

// A site is an engine with a keeper that enforces a policy on it, and a world
// outside: 198.51.100.2 and .3 behind a veth of the engine's host.
type site struct {
	*realdocker.Engine
	t       *testing.T
	image   string
	keeper  *Keeper
	outside netns.NsHandle

	mu     sync.Mutex // guards what follows
	events []Event
}

func newSite(t *testing.T, yaml string) *site {
	t.Helper()
	s := &site{Engine: realdocker.Start(t), t: t}
	s.world()
	s.image = s.Probe("probe")
	s.keep(yaml, true)
	return s
}

// keep starts a keeper of the site's engine, which may enforce its policy.
func (s *site) keep(yaml string, enforce bool) {
	t, e := s.t, s.Engine
	t.Helper()
	p, problems := policy.ParseFile("policy.yaml", []byte(yaml))
	if p == nil {
		t.Fatal(problems)
	}
	pid, err := os.ReadFile(filepath.Join(e.Root, "dockerd.pid"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	if err != nil {
		t.Fatal(err)
	}
	host, err := spaces.Of(n)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s.keeper, err = New(Config{
		Engine: EngineAt("unix://" + e.Socket), Host: host, Files: spaces.Files(filepath.Join(e.Root, "data", "containers")),
		Roots: []string{filepath.Join(e.Root, "exec", "runtime-runc", "moby")}, Sandboxes: spaces.Sandboxes(filepath.Join(e.Root, "exec", "netns")),
		Policy: p, Enforce: enforce, Happened: s.happened, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := s.keeper.Load(ctx); err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		if err := gate.Watch(ctx, gate.WatchConfig{Binaries: gate.Find(), Roots: s.keeper.cfg.Roots, Fail: s.keeper.MayStart}, s.keeper.Start, log); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	})
	work.Go(func() { s.keeper.Follow(ctx) })
	t.Cleanup(func() {
		cancel()
		work.Wait()
		s.keeper.Close()
	})
	// Until the kernel asks before it runs the runtime.
	time.Sleep(200 * time.Millisecond)
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Log(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}

func (s *site) happened(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

func (s *site) saw(kind Kind, text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.events, func(e Event) bool { return e.Kind == kind && strings.Contains(e.Text.En, text) })
}

func (s *site) run(name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+s.Socket)
	return cmd.CombinedOutput()
}

func (s *site) docker(args ...string) string {
	s.t.Helper()
	out, err := s.run("docker", args...)
	if err != nil {
		s.t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// world makes the network outside.
func (s *site) world() {
	s.t.Helper()
	name := "out" + s.NetNS
	for _, args := range [][]string{
		{"netns", "add", name},
		{"-n", s.NetNS, "link", "add", "wan0", "type", "veth", "peer", "name", "eth0", "netns", name},
		{"-n", s.NetNS, "addr", "add", "198.51.100.1/24", "dev", "wan0"},
		{"-n", s.NetNS, "link", "set", "wan0", "up"},
		{"-n", s.NetNS, "route", "add", "default", "via", "198.51.100.2"},
		{"-n", name, "addr", "add", "198.51.100.2/24", "dev", "eth0"},
		{"-n", name, "addr", "add", "198.51.100.3/24", "dev", "eth0"},
		{"-n", name, "link", "set", "eth0", "up"},
		{"-n", name, "link", "set", "lo", "up"},
		{"-n", name, "route", "add", "default", "via", "198.51.100.1"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			s.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
		if args[0] == "netns" {
			s.t.Cleanup(func() { exec.Command("ip", "netns", "del", name).Run() })
		}
	}
	h, err := netns.GetFromName(name)
	if err != nil {
		s.t.Fatal(err)
	}
	s.outside = h
	s.t.Cleanup(func() { h.Close() })
}

// web answers HTTP outside, on port 80 of every address.
func (s *site) web() {
	s.t.Helper()
	var l net.Listener
	err := nsenter.Net(s.outside, func() (err error) { l, err = net.Listen("tcp", ":80"); return err })
	if err != nil {
		s.t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })}
	go srv.Serve(l)
	s.t.Cleanup(func() { srv.Close() })
}

// names answers DNS outside: every name that is asked for has the address that
// of says, which may be none.
func (s *site) names(of func(name string) netip.Addr) {
	s.t.Helper()
	var c net.PacketConn
	err := nsenter.Net(s.outside, func() (err error) { c, err = net.ListenPacket("udp", "198.51.100.2:53"); return err })
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
			if a := of(strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))); a.Is4() && q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}, Body: &dnsmessage.AResource{A: a.As4()},
				}}
			}
			if out, err := m.Pack(); err == nil {
				c.WriteTo(out, from)
			}
		}
	}()
}

const namesPolicy = `apiVersion: casco/v1
kind: Policy
metadata: {name: t, version: 1}
tiers:
  - {id: public, impact: 0.3}
  - {id: other, impact: 1}
assign:
  - {match: {name: "web*"}, tier: public}
  - {default: other}
network: {resolvers: [198.51.100.2]}
flows:
  - {id: f1, from: public/web, to: "egress:updates.example", port: 80/tcp, why: x, owner: ro1, review: 2099-01-01}
  - {id: f2, from: public/web, to: "egress:inner.example", port: 80/tcp, why: x, owner: ro1, review: 2099-01-01}
`

// TestNames wants a container to reach what a name of the policy has, from the
// moment in which it is told so, and nothing else.
func TestNames(t *testing.T) {
	s := newSite(t, namesPolicy)
	s.web()
	s.names(func(name string) netip.Addr {
		switch name {
		case "updates.example":
			return netip.MustParseAddr("198.51.100.2")
		case "inner.example":
			return netip.MustParseAddr("169.254.169.254")
		}
		return netip.MustParseAddr("198.51.100.3")
	})
	for _, network := range []string{"bridge", "n1"} {
		t.Run(network, func(t *testing.T) {
			if network != "bridge" {
				s.docker("network", "create", network)
			}
			get := func(url string) (string, error) {
				out, err := s.run("docker", "run", "--rm", "--name", "web", "--network", network, "--dns", "198.51.100.9", s.image, "get", url)
				return string(out), err
			}
			if out, err := get("http://updates.example"); err != nil || !strings.Contains(out, "hello") {
				t.Errorf("the name of the policy: %v: %s", err, out)
			}
			for _, url := range []string{"http://198.51.100.2", "http://evil.example", "http://inner.example", "http://198.51.100.3"} {
				begun := time.Now()
				if out, err := get(url); err == nil {
					t.Errorf("%s was reached: %s", url, out)
				}
				if took := time.Since(begun); took > 8*time.Second {
					t.Errorf("%s was refused after %s", url, took)
				}
			}
		})
	}
	if !s.saw(Name, "evil.example") || !s.saw(Name, "inner.example") {
		t.Errorf("nobody heard of the names that were refused")
	}
	// Nothing is left of containers that are gone.
	deadline := time.Now().Add(5 * time.Second)
	for s.keeper.Report().Namespaces > 0 && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
	}
	if n := s.keeper.Report().Namespaces; n != 0 {
		t.Errorf("%d namespaces are still kept", n)
	}
}
