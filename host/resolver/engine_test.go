package resolver

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/net/dns/dnsmessage"

	"casco/internal/realdocker"
)

// engineIn makes the place of a container that sleeps.
func engineIn(t *testing.T, e *realdocker.Engine, name string) *place {
	t.Helper()
	pid, err := strconv.Atoi(e.Docker("inspect", "-f", "{{.State.Pid}}", name))
	if err != nil {
		t.Fatal(err)
	}
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	p := &place{ns: ns}
	p.enter(t, pid)
	return p
}

// TestEngine: on a network of a user's own, where Docker's resolver answers,
// and on the default bridge, where upstream is asked by the container itself.
func TestEngine(t *testing.T) {
	e := realdocker.Shared(t)
	image := e.Image("resolver-test")
	up := fake(t, estate)
	var c commits
	var ev events
	s := start(t, Config{Event: ev.event}, up)

	e.Docker("network", "create", "resolver-net")
	t.Cleanup(func() { e.TryDocker("network", "rm", "resolver-net") })
	run := func(name string, args ...string) *place {
		e.Docker(append(append([]string{"run", "-d", "--name", name, "--dns", "192.0.2.53", "--dns", "192.0.2.54", "--dns-search", "corp.local"}, args...), image, "sleep", "600")...)
		t.Cleanup(func() { e.TryDocker("rm", "-f", name) })
		return engineIn(t, e, name)
	}
	run("resolver-other", "--network", "resolver-net")
	user := run("resolver-user", "--network", "resolver-net", "--dns-opt", "ndots:5")
	plain := run("resolver-plain")

	for _, tt := range []struct {
		container, server string
		in                *place
	}{
		{"resolver-user", "127.0.0.11:53", user},
		{"resolver-plain", "192.0.2.53:53", plain},
	} {
		t.Run(tt.container, func(t *testing.T) {
			l := tt.in.open(t, s, c.commit, zoneOf(t, "updates.example", "www.example", "rebind.example"))
			tt.in.run(redirect(l.Port()))
			for _, q := range []struct{ name, typ, want string }{
				{"updates.example", "A", "Success 192.0.2.1 192.0.2.2"},
				{"updates.example", "AAAA", "Success 2001:db8::1"},
				{"www.example", "A", "Success 192.0.2.5"},
				{"evil.example", "A", "NameError"},
				{"evil.example", "TXT", "NameError"},
				{"updates.example.corp.local", "A", "NameError"},
				{"updates.example", "TXT", "Success"},
				{"rebind.example", "A", "Success"},
				{"1.2.0.192.in-addr.arpa", "PTR", "NameError"},
			} {
				for _, network := range []string{"udp", "tcp"} {
					l.events.fill()
					c.take()
					begin := time.Now()
					m := tt.in.ask(t, network, tt.server, q.name, q.typ) // within a second
					if got := said(m); got != q.want {
						t.Errorf("%s %s over %s: %s, want %s", q.typ, q.name, network, got, q.want)
					}
					if n := len(c.take()); n != min(1, len(addrsOf(m))) {
						t.Errorf("%s %s over %s: committed %d times", q.typ, q.name, network, n)
					}
					t.Logf("%s %s over %s: %s in %v", q.typ, q.name, network, said(m), time.Since(begin).Round(10*time.Microsecond))
				}
			}
			for name, want := range map[string]string{"updates.example": "192.0.2.1", "evil.example": ""} {
				begin := time.Now()
				out, err := e.TryDocker("exec", tt.container, "sh", "-c", "ping -c1 -W1 "+name+" 2>&1 | head -1; true")
				took := time.Since(begin)
				t.Logf("ping %s: %s in %v", name, out, took)
				if err != nil || want != "" && !strings.Contains(out, "192.0.2.") || want == "" && !strings.Contains(out, "bad address") {
					t.Errorf("ping %s: %s %v", name, out, err)
				}
			}
		})
	}

	t.Run("another container", func(t *testing.T) {
		before := len(up.asked())
		c.take()
		ev.take()
		m := user.ask(t, "udp", "127.0.0.11:53", "resolver-other", "A")
		want := e.Docker("inspect", "-f", `{{(index .NetworkSettings.Networks "resolver-net").IPAddress}}`, "resolver-other")
		if got := said(m); got != "Success "+want {
			t.Errorf("%s, want %s", got, want)
		}
		if all := ev.take(); len(all) > 0 || len(c.take()) > 0 || len(up.asked()) != before {
			t.Errorf("we heard of it: %v", all)
		}
	})

	t.Run("the end", func(t *testing.T) {
		l, err := s.Open(Target{NS: user.ns, ID: "again", Life: user.life}, Zone{})
		if err != nil {
			t.Fatal(err)
		}
		e.Docker("rm", "-f", "resolver-user")
		select {
		case <-l.Done():
		case <-time.After(5 * time.Second):
			t.Error("the listener outlives its container")
		}
	})
}

// TestEngineOnce: a refusal ends with the first server that Docker's resolver
// asks; it is a refusal of a class that shows what it makes of REFUSED.
func TestEngineOnce(t *testing.T) {
	e := realdocker.Shared(t)
	image := e.Image("resolver-test")
	e.Docker("network", "create", "resolver-once")
	t.Cleanup(func() { e.TryDocker("network", "rm", "resolver-once") })
	e.Docker("run", "-d", "--name", "resolver-once", "--network", "resolver-once",
		"--dns", "192.0.2.53", "--dns", "192.0.2.54", "--dns", "192.0.2.55", image, "sleep", "600")
	t.Cleanup(func() { e.TryDocker("rm", "-f", "resolver-once") })
	p := engineIn(t, e, "resolver-once")
	l := p.open(t, start(t, Config{}), nil, Zone{})
	p.run(redirect(l.Port()))

	if got := said(p.ask(t, "udp", "127.0.0.11:53", "evil.example", "A")); got != "NameError" {
		t.Error(got)
	}
	if n := l.Stats().Asked; n != 1 {
		t.Errorf("asked %d times for a name that is not allowed", n)
	}

	chaos := ask("version.bind", "TXT", 0)
	chaos.Questions[0].Class = dnsmessage.ClassCHAOS
	conn := p.dial(t, "udp", "127.0.0.11:53")
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	begin := time.Now()
	m, err := exchange(conn, chaos)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("engine %s: REFUSED from %d servers is %s after %v", e.Docker("version", "-f", "{{.Server.Version}}"), l.Stats().Asked-1, said(m), time.Since(begin))
}
