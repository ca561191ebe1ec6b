package flows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"casco/guard/network"
	"casco/internal/handtest"
	"casco/internal/nsenter"
	"casco/internal/realdocker"
)

func TestMain(m *testing.M) { realdocker.Main(m) }

// A place of its own for tests: a network namespace with a name.
type spot struct {
	t    testing.TB
	name string
	ns   netns.NsHandle
	id   uint64
}

var spots struct {
	sync.Mutex
	n int
}

func newSpot(t testing.TB) *spot {
	t.Helper()
	handtest.NeedRoot(t)
	spots.Lock()
	spots.n++
	name := fmt.Sprintf("casco-fl-%d-%d", os.Getpid(), spots.n)
	spots.Unlock()
	ip(t, "netns", "add", name)
	s := &spot{t: t, name: name}
	t.Cleanup(func() {
		s.ns.Close()
		_ = exec.Command("ip", "netns", "del", name).Run()
	})
	var err error
	if s.ns, err = netns.GetFromName(name); err == nil {
		s.id, err = inode(s.ns)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.run("ip link set lo up")
	return s
}

func ip(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %v: %v\n%s", args, err, out)
	}
}

// run runs a shell command there.
func (s *spot) run(command string) string {
	s.t.Helper()
	out, err := exec.Command("ip", "netns", "exec", s.name, "sh", "-ec", command).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// do runs f there.
func (s *spot) do(f func() error) {
	s.t.Helper()
	if err := nsenter.Net(s.ns, f); err != nil {
		s.t.Fatal(err)
	}
}

// Addresses of the two spots of a pair.
var (
	addrA, addrB   = netip.MustParseAddr("10.77.0.1"), netip.MustParseAddr("10.77.0.2")
	addrA6, addrB6 = netip.MustParseAddr("fd77::1"), netip.MustParseAddr("fd77::2")
)

// newPair makes two spots with a wire between them.
func newPair(t testing.TB) (a, b *spot) {
	t.Helper()
	a, b = newSpot(t), newSpot(t)
	ip(t, "link", "add", "eth0", "netns", a.name, "type", "veth", "peer", "name", "eth0", "netns", b.name)
	a.run("ip addr add 10.77.0.1/24 dev eth0; ip addr add fd77::1/64 dev eth0 nodad; ip link set eth0 up")
	b.run("ip addr add 10.77.0.2/24 dev eth0; ip addr add fd77::2/64 dev eth0 nodad; ip link set eth0 up")
	return a, b
}

// serve answers each TCP connection at a port there with what it says.
func (s *spot) serve(addr string) {
	s.t.Helper()
	var l net.Listener
	s.do(func() (err error) {
		l, err = net.Listen("tcp", addr)
		return err
	})
	s.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
}

// say opens n connections from there, says something in each and hears it.
func (s *spot) say(addr string, n int) {
	s.t.Helper()
	s.do(func() error {
		for range n {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				return err
			}
			if err := errors.Join(hear(c), c.Close()); err != nil {
				return err
			}
		}
		return nil
	})
}

func hear(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 5))
	return err
}

// watch starts a watcher on those spots.
func watch(t testing.TB, o Options, all ...*spot) *Watcher {
	t.Helper()
	w := New(o)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, s := range all {
		if err := w.Add(s.ns, "w-"+s.name); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func read(t *testing.T, w *Watcher, s *spot) Seen {
	t.Helper()
	seen, err := w.Read(s.id)
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// brief is what of a flow can be known beforehand. Neighbours talk in
// multicast of their own accord, and that is left out.
func brief(seen Seen) []network.Flow {
	out := slices.Clone(seen.Flows)
	return slices.DeleteFunc(out, func(f network.Flow) bool {
		return f.Peer.IsMulticast() || f.Asked.Addr().IsMulticast() || f.Peer.IsLinkLocalUnicast()
	})
}

var same = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
}

var uncounted = cmpopts.IgnoreFields(network.Flow{}, "Namespace", "Workload", "Open", "Sent", "Received", "First", "Last")

func compare(t *testing.T, what string, seen Seen, want ...network.Flow) {
	t.Helper()
	if d := cmp.Diff(want, brief(seen), uncounted, same); d != "" {
		t.Errorf("%s: %s", what, d)
	}
	if seen.Lost != 0 {
		t.Errorf("%s: lost %d", what, seen.Lost)
	}
}

func tcp(n uint16) network.Port { return network.Port{Number: n, Proto: network.TCP} }

// TestThousand: each connection is counted once, on either side, with what
// went through it; and conntrack -E, where it is there, says the same.
func TestThousand(t *testing.T) {
	a, b := newPair(t)
	b.serve(":8000")
	w := watch(t, Options{}, a, b)
	second := events(t, b)
	began := time.Now()
	a.say("10.77.0.2:8000", 1000)
	t.Logf("1000 connections in %v", time.Since(began))
	atA, atB := read(t, w, a), read(t, w, b)
	compare(t, "opener", atA, network.Flow{Out: true, Peer: addrB, Port: tcp(8000), Connections: 1000, Replied: 1000})
	compare(t, "server", atB, network.Flow{Peer: addrA, Port: tcp(8000), Connections: 1000, Replied: 1000})
	fa, fb := brief(atA)[0], brief(atB)[0]
	if fa.Sent != fb.Received || fa.Received != fb.Sent || fa.Sent.Packets < 4000 || fa.Sent.Bytes < 1000*(4*40+5) {
		t.Errorf("opener %+v %+v, server %+v %+v", fa.Sent, fa.Received, fb.Sent, fb.Received)
	}
	if fa.Workload != "w-"+a.name || fa.Namespace != a.id || fa.First.Before(began) || fa.Last.Before(fa.First) {
		t.Errorf("%+v", fa)
	}
	if second != nil {
		if n := second(); n != 1000 {
			t.Errorf("conntrack -E counted %d", n)
		}
	}
	// That they end changes no sum.
	b.run("echo 0 >/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_time_wait")
	if n, err := Cut(b.ns, Match{Peer: netip.MustParsePrefix("10.77.0.1/32")}); err != nil || n != 1000 {
		t.Errorf("cut %d, %v", n, err)
	}
	again := brief(read(t, w, b))[0]
	if glance, err := w.Glance(b.id); err != nil || !cmp.Equal(brief(glance)[0], again, same) {
		t.Errorf("at a glance %+v, %v", glance.Flows, err)
	}
	if again.Open != 0 || again.Connections != 1000 || again.Replied != 1000 || again.Sent != fb.Sent || again.Received != fb.Received {
		t.Errorf("after their end %+v, before %+v", again, fb)
	}
}

// events counts the beginnings that conntrack -E tells there, for a second
// opinion; nil if it is not installed.
func events(t *testing.T, s *spot) (count func() int) {
	path, err := exec.LookPath("conntrack")
	if err != nil {
		t.Log("no conntrack: no second opinion")
		return nil
	}
	cmd := exec.Command("ip", "netns", "exec", s.name, path, "-E", "-e", "NEW", "-p", "tcp", "-b", "8388608")
	out, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	return func() int {
		n := -1
		for { // until it says nothing more
			b, _ := os.ReadFile(out.Name())
			if now := strings.Count(string(b), "[NEW]"); now == n {
				break
			} else {
				n = now
			}
			time.Sleep(500 * time.Millisecond)
		}
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		return n
	}
}

// TestKinds: UDP, ICMP and IPv6, and what nobody answers.
func TestKinds(t *testing.T) {
	a, b := newPair(t)
	b.serve("[::]:8000")
	b.echo(":5353")
	w := watch(t, Options{}, a, b)
	a.say("[fd77::2]:8000", 3)
	a.do(func() error {
		c, err := net.Dial("udp", "10.77.0.2:5353")
		if err != nil {
			return err
		}
		defer c.Close()
		return errors.Join(hear(c), hear(c))
	})
	a.run("busybox ping -c 2 10.77.0.2; busybox ping -c 1 fd77::2")
	a.do(func() error { // refused
		if c, err := net.Dial("tcp", "10.77.0.2:9"); err == nil {
			c.Close()
			return errors.New("somebody waits at port 9")
		}
		return nil
	})
	b.run("nft 'table inet t { chain c { type filter hook input priority 0; tcp dport 10 drop; }; }'")
	a.do(func() error { // lost
		if c, err := net.DialTimeout("tcp", "10.77.0.2:10", 100*time.Millisecond); err == nil {
			c.Close()
			return errors.New("port 10 answers")
		}
		return nil
	})
	a.do(initSCTP)
	sctp := network.Port{Number: 36412, Proto: network.SCTP}
	echo := func(proto network.Proto, typ uint16) network.Port { return network.Port{Number: typ, Proto: proto} }
	udp := network.Port{Number: 5353, Proto: network.UDP}
	compare(t, "opener", read(t, w, a),
		network.Flow{Out: true, Peer: addrB, Port: echo(network.ICMP, 8), Connections: 1, Replied: 1},
		network.Flow{Out: true, Peer: addrB, Port: tcp(9), Connections: 1},
		network.Flow{Out: true, Peer: addrB, Port: tcp(10), Connections: 1},
		network.Flow{Out: true, Peer: addrB, Port: udp, Connections: 1, Replied: 1},
		network.Flow{Out: true, Peer: addrB, Port: sctp, Connections: 1},
		network.Flow{Out: true, Peer: addrB6, Port: tcp(8000), Connections: 3, Replied: 3},
		network.Flow{Out: true, Peer: addrB6, Port: echo(network.ICMPv6, 128), Connections: 1, Replied: 1},
	)
	// What a rule drops at once is no connection for the kernel, and is seen
	// where it was sent.
	compare(t, "server", read(t, w, b),
		network.Flow{Peer: addrA, Port: echo(network.ICMP, 8), Connections: 1, Replied: 1},
		network.Flow{Peer: addrA, Port: tcp(9), Connections: 1},
		network.Flow{Peer: addrA, Port: udp, Connections: 1, Replied: 1},
		network.Flow{Peer: addrA, Port: sctp, Connections: 1},
		network.Flow{Peer: addrA6, Port: tcp(8000), Connections: 3, Replied: 3},
		network.Flow{Peer: addrA6, Port: echo(network.ICMPv6, 128), Connections: 1, Replied: 1},
	)
}

// initSCTP sends the first packet of an association, RFC 9260, 3.3.2, by hand:
// not every kernel speaks SCTP that can track it.
func initSCTP() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_SCTP)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	p := make([]byte, 12+20)
	binary.BigEndian.PutUint16(p, 40000)
	binary.BigEndian.PutUint16(p[2:], 36412)
	p[12], p[15] = 1, 20 // INIT
	binary.BigEndian.PutUint32(p[16:], 7)
	binary.BigEndian.PutUint32(p[20:], 65536)
	p[25], p[27] = 1, 1
	binary.LittleEndian.PutUint32(p[8:], crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)))
	return unix.Sendto(fd, p, 0, &unix.SockaddrInet4{Addr: addrB.As4()})
}

// echo answers UDP at a port there.
func (s *spot) echo(addr string) {
	s.t.Helper()
	var l net.PacketConn
	s.do(func() (err error) {
		l, err = net.ListenPacket("udp", addr)
		return err
	})
	s.t.Cleanup(func() { l.Close() })
	go func() {
		b := make([]byte, 100)
		for {
			n, from, err := l.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = l.WriteTo(b[:n], from)
		}
	}()
}

// TestAsked: a translation in the namespace, as Docker makes it for its
// resolver and Swarm for the ports that it publishes.
func TestAsked(t *testing.T) {
	a, b := newPair(t)
	b.serve(":8000")
	b.run("nft 'table ip t { chain c { type nat hook prerouting priority dstnat; tcp dport 80 redirect to :8000; }; }'")
	a.run(`ip route add 10.99.0.0/24 via 10.77.0.2
nft 'table ip t { chain c { type nat hook output priority -100; ip daddr 10.99.0.1 dnat to 10.77.0.2; ip daddr 127.0.0.11 udp dport 53 dnat to 127.0.0.11:5353; }; }'`)
	a.echo("127.0.0.11:5353")
	w := watch(t, Options{}, a, b)
	a.say("10.99.0.1:80", 2)
	a.do(func() error {
		c, err := net.Dial("udp", "127.0.0.11:53")
		if err != nil {
			return err
		}
		defer c.Close()
		return hear(c)
	})
	compare(t, "opener", read(t, w, a),
		network.Flow{Out: true, Peer: addrB, Port: tcp(80), Asked: netip.MustParseAddrPort("10.99.0.1:80"), Connections: 2, Replied: 2},
		network.Flow{Out: true, Peer: network.Resolver, Port: network.Port{Number: 53, Proto: network.UDP}, Connections: 1, Replied: 1},
	)
	compare(t, "server", read(t, w, b),
		network.Flow{Peer: addrA, Port: tcp(8000), Asked: netip.MustParseAddrPort("10.77.0.2:80"), Connections: 2, Replied: 2})
}

// TestLoopback: what a namespace says to itself is nobody's traffic, unless it
// is wanted.
func TestLoopback(t *testing.T) {
	a, _ := newPair(t)
	a.serve(":8000")
	quiet, all := New(Options{}), New(Options{Loopback: true})
	defer quiet.Close()
	defer all.Close()
	if err := errors.Join(quiet.Add(a.ns, ""), all.Add(a.ns, "")); err != nil {
		t.Fatal(err)
	}
	a.say("127.0.0.1:8000", 1)
	a.say("[::1]:8000", 1)
	a.say("10.77.0.1:8000", 1)
	compare(t, "quiet", read(t, quiet, a), []network.Flow{}...)
	compare(t, "all", read(t, all, a),
		network.Flow{Out: true, Peer: addrA, Port: tcp(8000), Connections: 1, Replied: 1},
		network.Flow{Out: true, Peer: netip.MustParseAddr("127.0.0.1"), Port: tcp(8000), Connections: 1, Replied: 1},
		network.Flow{Out: true, Peer: netip.IPv6Loopback(), Port: tcp(8000), Connections: 1, Replied: 1},
	)
}

// TestUnderWay: connections that were open before anybody looked, tracked or
// not, whichever end speaks next.
func TestUnderWay(t *testing.T) {
	for _, tracked := range []bool{false, true} {
		t.Run(fmt.Sprintf("tracked %v", tracked), func(t *testing.T) {
			a, b := newPair(t)
			if tracked {
				for _, s := range []*spot{a, b} {
					s.run("nft 'table inet t { chain c { type filter hook input priority 0; ct state established accept; }; }'")
				}
			}
			c, there := a.connect(b)
			// The server speaks next, and its answer is the peer's first word.
			w := watch(t, Options{}, a, b)
			if _, err := there.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				compare(t, "opener", read(t, w, a), network.Flow{Out: true, Peer: addrB, Port: tcp(8000), Connections: 1, Replied: 1})
				compare(t, "server", read(t, w, b), network.Flow{Peer: addrA, Port: tcp(8000), Connections: 1, Replied: 1})
			}
			// Its end, of which the kernel may not tell, changes no sum.
			before := brief(read(t, w, b))[0]
			if n, err := Cut(b.ns, Match{Peer: netip.PrefixFrom(addrA, 32), Port: tcp(8000), Way: In}); n != 1 || err != nil {
				t.Errorf("cut %d, %v", n, err)
			}
			if after := brief(read(t, w, b))[0]; after.Open != 0 || after.Sent != before.Sent || after.Connections != 1 || after.Replied != 1 {
				t.Errorf("after its end %+v, before %+v", after, before)
			}
		})
	}
}

// connect opens one connection to port 8000 of b, and returns both its ends.
func (s *spot) connect(b *spot) (here, there net.Conn) {
	s.t.Helper()
	var l net.Listener
	b.do(func() (err error) {
		l, err = net.Listen("tcp", ":8000")
		return err
	})
	s.t.Cleanup(func() { l.Close() })
	s.do(func() (err error) {
		here, err = net.Dial("tcp", "10.77.0.2:8000")
		return err
	})
	there, err := l.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { here.Close(); there.Close() })
	return here, there
}

// TestLost: a message that had no room is not hidden, and what is there is
// found again.
func TestLost(t *testing.T) {
	a, b := newPair(t)
	b.serve(":8000")
	w := watch(t, Options{Buffer: 4096}, b)
	s := w.spaces[b.id]
	s.mu.Lock() // nobody reads
	a.say("10.77.0.2:8000", 500)
	s.mu.Unlock()
	seen := read(t, w, b)
	fs := brief(seen)
	if seen.Lost == 0 || len(fs) != 1 || fs[0].Connections != 500 || fs[0].Replied != 500 {
		t.Errorf("lost %d: %+v", seen.Lost, fs)
	}
	a.say("10.77.0.2:8000", 10)
	if fs := brief(read(t, w, b)); fs[0].Connections < 510 {
		t.Errorf("then %+v", fs)
	}
}

// TestMost: more flows than have a place are counted together.
func TestMost(t *testing.T) {
	a, b := newPair(t)
	w := watch(t, Options{Flows: 20}, a)
	a.do(func() error {
		for port := 1000; port < 1100; port++ {
			if c, err := net.Dial("tcp", fmt.Sprintf("10.77.0.2:%d", port)); err == nil {
				c.Close()
			}
		}
		return nil
	})
	var sum, rest uint64
	fs := brief(read(t, w, a))
	for _, f := range fs {
		sum += f.Connections
		if !f.Peer.IsValid() {
			rest = f.Connections
		}
	}
	if sum != 100 || rest < 80 || len(fs) > 21 {
		t.Errorf("%d flows of %d connections, %d without a place", len(fs), sum, rest)
	}
	_ = b
}

// TestTakenBack: a namespace is as it was, once nobody watches.
func TestTakenBack(t *testing.T) {
	a, _ := newPair(t)
	state := func() string {
		return a.run("nft list ruleset; cat /proc/sys/net/netfilter/nf_conntrack_acct /proc/sys/net/netfilter/nf_conntrack_events")
	}
	a.run("echo 0 >/proc/sys/net/netfilter/nf_conntrack_events")
	before := state()
	routines := runtime.NumGoroutine()
	w := New(Options{})
	if err := w.Add(a.ns, ""); err != nil {
		t.Fatal(err)
	}
	during := state()
	if !strings.Contains(during, "casco_flows_") || !strings.HasSuffix(during, "1\n1\n") {
		t.Errorf("watched:\n%s", during)
	}
	if err := w.Add(a.ns, ""); err == nil {
		t.Error("it is watched twice")
	}
	if _, err := w.Drop(a.id); err != nil {
		t.Error(err)
	}
	if after := state(); after != before {
		t.Errorf("was\n%s is\n%s", before, after)
	}
	if _, err := w.Read(a.id); err == nil {
		t.Error("it was dropped, and still read")
	}
	if err := errors.Join(w.Add(a.ns, ""), w.Close(), w.Close()); err != nil {
		t.Error(err)
	}
	if after := state(); after != before {
		t.Errorf("was\n%s is\n%s", before, after)
	}
	if err := w.Add(a.ns, ""); err == nil {
		t.Error("a closed watcher watches")
	}
	for range 100 {
		if runtime.NumGoroutine() <= routines {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, before %d", runtime.NumGoroutine(), routines)
}

// TestWantUnowned: where a table cannot belong to its socket it is taken away.
func TestWantUnowned(t *testing.T) {
	a := newSpot(t)
	a.do(func() error {
		fd, err := dial()
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		w := want{table: "casco_flows_0"}
		if err := w.make(fd, 0); err != nil {
			return err
		}
		if out := a.run("nft list tables"); !strings.Contains(out, w.table) {
			t.Errorf("made, and not there: %s", out)
		}
		return w.end()
	})
	if out := a.run("nft list tables"); out != "" {
		t.Errorf("left: %s", out)
	}
}

// TestGone: a namespace that is removed is let go, with what was seen of it.
func TestGone(t *testing.T) {
	a, b := newPair(t)
	b.serve(":8000")
	ended := make(chan Seen, 1)
	w := watch(t, Options{Every: 20 * time.Millisecond, Ended: func(s Seen) { ended <- s }}, a)
	a.say("10.77.0.2:8000", 5)
	time.Sleep(100 * time.Millisecond)
	if got := w.Namespaces(); !slices.Equal(got, []uint64{a.id}) {
		t.Fatalf("watched %v, want %d", got, a.id)
	}
	ip(t, "netns", "del", a.name)
	a.ns.Close()
	a.ns = netns.None()
	select {
	case seen := <-ended:
		compare(t, "last", seen, network.Flow{Out: true, Peer: addrB, Port: tcp(8000), Connections: 5, Replied: 5})
	case <-time.After(5 * time.Second):
		t.Fatal("it is watched for ever")
	}
	if got := w.Namespaces(); len(got) != 0 {
		t.Errorf("still watched: %v", got)
	}
	// Its end of the wire is gone only if nobody keeps it, we least of all.
	for range 200 {
		if out, _ := exec.Command("ip", "-n", b.name, "-o", "link", "show", "eth0").CombinedOutput(); !strings.Contains(string(out), "eth0@") {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("the namespace is still there")
}

// TestCut: an established stream ends under rules that let pass only what is
// established or named, and others do not.
func TestCut(t *testing.T) {
	a, b := newPair(t)
	b.serve("[::]:8000")
	b.serve("[::]:8001")
	b.run(`nft 'table inet t {
	set four { type ipv4_addr . inet_service; elements = { 10.77.0.1 . 8000, 10.77.0.1 . 8001 }; }
	set six { type ipv6_addr . inet_service; elements = { fd77::1 . 8000, fd77::1 . 8001 }; }
	chain o { type filter hook output priority 0; policy drop; ct state established accept; icmpv6 type { 135, 136 } accept; }
	chain c { type filter hook input priority 0; policy drop; ct state established accept; ip saddr . tcp dport @four accept; ip6 saddr . tcp dport @six accept; icmpv6 type { 135, 136 } accept; }
}'`)
	conns := map[string]net.Conn{}
	for _, addr := range []string{"10.77.0.2:8000", "10.77.0.2:8001", "[fd77::2]:8000", "[fd77::2]:8001"} {
		a.do(func() (err error) {
			if conns[addr], err = net.Dial("tcp", addr); err == nil {
				err = hear(conns[addr])
			}
			return err
		})
		defer conns[addr].Close()
	}
	b.run("nft 'delete element inet t four { 10.77.0.1 . 8000 }; delete element inet t six { fd77::1 . 8000 }'")
	for addr, c := range conns {
		if err := hear(c); err != nil {
			t.Errorf("%s before the cut: %v", addr, err)
		}
	}
	for _, tt := range []struct {
		e    network.Element
		want int
	}{
		{network.Element{Set: network.Out, A: addrA, Port: tcp(8000)}, 0},
		{network.Element{Set: network.In, A: addrB, Port: tcp(8000)}, 0},
		{network.Element{Set: network.In, A: addrA, Port: tcp(8000)}, 1},
		{network.Element{Set: network.In, A: addrA6, Port: tcp(8000)}, 1},
		{network.Element{Set: network.In, A: addrA6, Port: tcp(8000)}, 0},
	} {
		m, ok := Of(tt.e)
		if n, err := Cut(b.ns, m); !ok || n != tt.want || err != nil {
			t.Errorf("%v: cut %d, %v; want %d", tt.e, n, err, tt.want)
		}
	}
	for addr, c := range conns {
		if err := hear(c); (err == nil) != strings.HasSuffix(addr, "1") {
			t.Errorf("%s after the cut: %v", addr, err)
		}
	}
	if _, err := Cut(b.ns, Match{}); err == nil {
		t.Error("a match that names nobody cuts")
	}
}

// TestRead sees what there is and changes nothing.
func TestRead(t *testing.T) {
	a, b := newPair(t)
	b.serve(":8000")
	a.say("10.77.0.2:8000", 1)
	if fs, err := Read(b.ns, "b"); err != nil || len(fs) != 0 {
		t.Errorf("nothing is tracked: %v, %v", fs, err)
	}
	b.run("nft 'table inet t { chain c { type filter hook input priority 0; ct state established accept; }; }'")
	a.say("10.77.0.2:8000", 3)
	fs, err := Read(b.ns, "b")
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "now", Seen{Flows: fs}, network.Flow{Peer: addrA, Port: tcp(8000), Connections: 3, Replied: 3})
}

// TestCost prints what it costs to watch 200 namespaces.
func TestCost(t *testing.T) {
	const n = 200
	var all []*spot
	for range n {
		all = append(all, newSpot(t))
	}
	measure := func() (int, uint64) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), m.HeapAlloc + m.StackInuse
	}
	routines, bytes := measure()
	threads := threadsOf(t)
	began := time.Now()
	w := watch(t, Options{}, all...)
	took := time.Since(began)
	r2, b2 := measure()
	t.Logf("%d namespaces: %d goroutines, %d bytes each, %d threads more, begun in %v each",
		n, r2-routines, (int64(b2)-int64(bytes))/n, threadsOf(t)-threads, took/n)
	began = time.Now()
	for _, s := range all {
		read(t, w, s)
	}
	t.Logf("read in %v each", time.Since(began)/n)
	began = time.Now()
	if got := empty(w.Namespaces()); len(got) != 0 {
		t.Errorf("%v are empty", got)
	}
	t.Logf("looked who is there in %v for all", time.Since(began))
	began = time.Now()
	if _, err := Cut(all[0].ns, Match{Peer: netip.MustParsePrefix("10.0.0.1/32")}); err != nil {
		t.Error(err)
	}
	t.Logf("cut nothing in %v", time.Since(began))
	if r2-routines > n+2 {
		t.Errorf("%d goroutines for %d namespaces", r2-routines, n)
	}
}

func threadsOf(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
