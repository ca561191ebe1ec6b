package flows

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"casco/guard/network"
	"casco/internal/realdocker"
)

// inside is the spot of a container.
func inside(t *testing.T, e *realdocker.Engine, container string) *spot {
	t.Helper()
	pid, err := strconv.Atoi(e.Docker("inspect", "-f", "{{.State.Pid}}", container))
	if err != nil {
		t.Fatal(err)
	}
	s := &spot{t: t, name: container}
	if s.ns, err = netns.GetFromPid(pid); err == nil {
		s.id, err = inode(s.ns)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.ns.Close() })
	return s
}

func addrIn(t *testing.T, e *realdocker.Engine, container, network string) netip.Addr {
	t.Helper()
	a, err := netip.ParseAddr(e.Docker("inspect", "-f", `{{(index .NetworkSettings.Networks "`+network+`").IPAddress}}`, container))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestEngine: two containers of one network, of which the host's own rules see
// nothing, and two of the default bridge, where nothing is tracked before.
func TestEngine(t *testing.T) {
	e := realdocker.Shared(t)
	img := e.Image("flows")
	e.Docker("network", "create", "own")
	for _, on := range []string{"own", "bridge"} {
		t.Run(on, func(t *testing.T) {
			e.Docker("run", "-d", "--name", "server-"+on, "--network", on, img, "httpd", "-f", "-p", "8000")
			e.Docker("run", "-d", "--name", "client-"+on, "--network", on, img, "sleep", "600")
			t.Cleanup(func() { e.Docker("rm", "-f", "server-"+on, "client-"+on) })
			client, server := inside(t, e, "client-"+on), inside(t, e, "server-"+on)
			at, from := addrIn(t, e, "server-"+on, on), addrIn(t, e, "client-"+on, on)
			w := watch(t, Options{}, client, server)
			target := at.String()
			if on == "own" {
				target = "server-own"
			}
			e.Docker("exec", "client-"+on, "sh", "-c", "for i in $(seq 50); do wget -q -O /dev/null http://"+target+":8000/etc/passwd || exit 1; done")
			want := []network.Flow{{Out: true, Peer: at, Port: tcp(8000), Connections: 50, Replied: 50}}
			seen := read(t, w, client)
			if on == "own" { // it comes first in order
				dns := brief(seen)[0]
				if dns.Peer != network.Resolver || dns.Connections < 50 || dns.Port != (network.Port{Number: 53, Proto: network.UDP}) {
					t.Errorf("resolver: %+v", dns)
				}
				seen.Flows = brief(seen)[1:]
			}
			compare(t, "client", seen, want...)
			compare(t, "server", read(t, w, server), network.Flow{Peer: from, Port: tcp(8000), Connections: 50, Replied: 50})
			if f := brief(read(t, w, server))[0]; f.Sent.Bytes < 50*64 || f.Received.Packets < 200 {
				t.Errorf("counted %+v", f)
			}
		})
	}
}

// TestEngineGone: a container that is removed is let go.
func TestEngineGone(t *testing.T) {
	e := realdocker.Shared(t)
	e.Docker("run", "-d", "--name", "goes", e.Image("flows"), "sleep", "600")
	s := inside(t, e, "goes")
	ended := make(chan Seen, 1)
	w := New(Options{Every: 50 * time.Millisecond, Ended: func(s Seen) { ended <- s }})
	defer w.Close()
	if err := errors.Join(w.Add(s.ns, "goes"), s.ns.Close()); err != nil {
		t.Fatal(err)
	}
	s.ns = netns.None()
	e.Docker("restart", "-t", "0", "goes")
	select {
	case seen := <-ended:
		if seen.Workload != "goes" || seen.Namespace != s.id {
			t.Errorf("%+v", seen)
		}
	case <-time.After(10 * time.Second):
		t.Error("it is watched for ever")
	}
	e.Docker("rm", "-f", "goes")
}

// BenchmarkConnection is what a connection costs its two ends, watched or not.
func BenchmarkConnection(b *testing.B) {
	for _, how := range []string{"untracked", "tracked", "watched"} {
		b.Run(how, func(b *testing.B) {
			if os.Geteuid() != 0 {
				b.Skip("needs root")
			}
			x, y := newPair(b)
			y.serve(":8000")
			if how == "tracked" {
				for _, s := range []*spot{x, y} {
					s.run("nft 'table inet t { chain c { ct state invalid; }; }'")
				}
			}
			if how == "watched" {
				watch(b, Options{}, x, y)
			}
			x.do(func() error {
				b.ResetTimer()
				for range b.N {
					c, err := net.Dial("tcp", "10.77.0.2:8000")
					if err != nil {
						return err
					}
					if err := errors.Join(hear(c), c.(*net.TCPConn).SetLinger(0), c.Close()); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
}
