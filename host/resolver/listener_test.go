package resolver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netns"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

var estate = zoneFile(
	"updates.example 300 A 192.0.2.1", "updates.example 300 A 192.0.2.2", "updates.example 300 AAAA 2001:db8::1",
	"short.example 0 A 192.0.2.3",
	"long.example 999999 A 192.0.2.4",
	"www.example 300 CNAME cdn.other", "cdn.other 20 A 192.0.2.5",
	"rebind.example 60 A 169.254.169.254", "rebind.example 60 A 10.0.0.1", "rebind.example 60 AAAA ::ffff:10.0.0.1",
	"half.example 60 A 192.168.0.1", "half.example 60 A 192.0.2.6",
	"intra.example 60 A 10.0.0.1", "intra.example 60 A 127.0.0.1", "intra.example 60 A 203.0.113.7",
	"docker.example 60 A 203.0.113.7",
)

// TestAnswers: what a container hears, what was committed for it, and what is
// reported, over UDP and TCP, IPv4 and IPv6.
func TestAnswers(t *testing.T) {
	p := anew(t)
	up := fake(t, estate)
	var c commits
	var e events
	s := start(t, Config{Event: e.event}, up)
	l := p.open(t, s, c.commit, zoneOf(t, "updates.example", "short.example", "long.example", "www.example",
		"rebind.example", "half.example", "intra.example private", "docker.example", "none.example"))
	p.run(redirect(l.Port()))
	for _, tt := range []struct {
		name, typ, want string
		ttl             uint32
		commits, events string
	}{
		{"updates.example", "A", "Success 192.0.2.1 192.0.2.2", 300, "updates.example 192.0.2.1 192.0.2.2 6m0s", ""},
		{"UpDates.Example", "AAAA", "Success 2001:db8::1", 300, "updates.example 2001:db8::1 6m0s", ""},
		{"short.example", "A", "Success 192.0.2.3", 1, "short.example 192.0.2.3 2m0s", ""},
		{"long.example", "A", "Success 192.0.2.4", 3600, "long.example 192.0.2.4 1h1m0s", ""},
		{"www.example", "A", "Success 192.0.2.5", 20, "www.example 192.0.2.5 2m0s", ""},
		{"www.example", "AAAA", "Success", 0, "", ""},
		{"none.example", "A", "NameError", 0, "", ""},
		{"rebind.example", "A", "Success", 0, "", "rebinding A rebind.example"},
		{"rebind.example", "AAAA", "Success", 0, "", "rebinding AAAA rebind.example"},
		{"half.example", "A", "Success 192.0.2.6", 60, "half.example 192.0.2.6 2m0s", "rebinding A half.example"},
		{"intra.example", "A", "Success 10.0.0.1 203.0.113.7", 60, "intra.example 10.0.0.1 203.0.113.7 2m0s", "rebinding A intra.example"},
		{"docker.example", "A", "Success", 0, "", "rebinding A docker.example"},
		{"cdn.other", "A", "NameError", 0, "", "name A cdn.other"},
		{"evil.example", "A", "NameError", 0, "", "name A evil.example"},
		{"updates.example.corp", "A", "NameError", 0, "", "search A updates.example.corp"},
		{"updates.example", "TXT", "Success", 0, "", "type TXT updates.example"},
		{"updates.example", "HTTPS", "Success", 0, "", ""},
	} {
		for _, way := range []struct{ network, address string }{
			{"udp", at(l)},
			{"tcp", at(l)},
			{"udp", fmt.Sprintf("[::1]:%d", l.Port())},
			{"udp", "8.8.8.8:53"},
			{"tcp", "8.8.8.8:53"},
			{"udp", "[2001:4860:4860::8888]:53"},
			{"tcp", "[2001:4860:4860::8888]:53"},
		} {
			l.events.fill()
			m := p.ask(t, way.network, way.address, tt.name, tt.typ)
			got := said(m)
			if got != tt.want {
				t.Errorf("%s %s, %s %s: %s, want %s", tt.typ, tt.name, way.network, way.address, got, tt.want)
			}
			for _, r := range m.Answers {
				if r.Header.TTL > tt.ttl || r.Header.TTL+2 < tt.ttl || r.Header.Name != m.Questions[0].Name {
					t.Errorf("%s: %s", tt.name, r.GoString())
				}
			}
			trim := func(s string) string { // seconds have gone by in the cache
				return strings.NewReplacer("5m59s", "6m0s", "5m58s", "6m0s", "1h0m59s", "1h1m0s", "1h0m58s", "1h1m0s").Replace(s)
			}
			if diff := cmp.Diff(tt.commits, trim(strings.Join(c.take(), ", "))); diff != "" {
				t.Errorf("%s: commits: %s", tt.name, diff)
			}
			if diff := cmp.Diff(tt.events, strings.Join(e.take(), ", ")); diff != "" {
				t.Errorf("%s: events: %s", tt.name, diff)
			}
		}
	}
	asked := up.asked()
	slices.Sort(asked)
	if all := slices.Compact(slices.Clone(asked)); len(asked) > len(all)+14 { // short.example is not kept
		t.Errorf("asked again: %v", asked)
	}
	for _, q := range asked {
		if strings.Contains(q, "evil") || strings.Contains(q, "corp") || strings.Contains(q, "TXT") || strings.Contains(q, "cdn") {
			t.Errorf("upstream was asked for %s", q)
		}
	}
	if st := l.Stats(); st.Asked != 17*7 || st.Answered+st.Refused != st.Asked || st.Failed != 0 {
		t.Errorf("%+v", st)
	}
}

// TestCommitFirst: no answer is sent before Commit has returned, and none if it
// fails.
func TestCommitFirst(t *testing.T) {
	p := anew(t)
	var e events
	s := start(t, Config{Event: e.event}, fake(t, estate))
	begun, let := make(chan bool), make(chan error)
	l := p.open(t, s, func(context.Context, string, []netip.Addr, time.Duration) error {
		begun <- true
		return <-let
	}, zoneOf(t, "updates.example"))
	for _, network := range []string{"udp", "tcp"} {
		for _, fails := range []error{nil, errTest} {
			conn := p.dial(t, network, at(l))
			conn.SetDeadline(time.Now().Add(5 * time.Second))
			type heard struct {
				m   dnsmessage.Message
				err error
			}
			answer := make(chan heard, 1)
			go func() {
				m, err := exchange(conn, ask("updates.example", "A", 0))
				answer <- heard{m, err}
			}()
			<-begun
			select {
			case h := <-answer:
				t.Fatalf("an answer before it was committed: %v", h)
			case <-time.After(100 * time.Millisecond):
			}
			let <- fails
			want := "Success 192.0.2.1 192.0.2.2"
			if fails != nil {
				want = "ServerFailure"
			}
			if h := <-answer; h.err != nil || said(h.m) != want {
				t.Errorf("%s %v, want %s", said(h.m), h.err, want)
			}
		}
	}
	if diff := cmp.Diff([]string{"commit A updates.example", "commit A updates.example"}, e.take()); diff != "" {
		t.Error(diff)
	}
}

// TestPass: with rules that let only committed addresses out, the answer can be
// used at once, and no other address can.
func TestPass(t *testing.T) {
	p := anew(t)
	s := start(t, Config{}, fake(t, estate))
	l := p.open(t, s, func(_ context.Context, _ string, addrs []netip.Addr, ttl time.Duration) error {
		p.run(fmt.Sprintf("nft 'add element inet egress open { %s timeout %ds }'", strings.Join(texts(addrs), fmt.Sprintf(" timeout %ds, ", ttl/time.Second)), ttl/time.Second))
		return nil
	}, zoneOf(t, "updates.example", "rebind.example"))
	p.run(redirect(l.Port()))
	p.run("nft 'table inet egress { set open { type ipv4_addr; flags timeout; }; chain out { type filter hook output priority 0; policy drop; ct state established accept; ip daddr 127.0.0.1 accept; ip daddr @open accept; }; }'")
	sent := func(addr string) error {
		conn := p.dial(t, "udp", addr+":443")
		defer conn.Close()
		_, err := conn.Write([]byte("hello"))
		return err
	}
	if err := sent("192.0.2.1"); !errors.Is(err, unix.EPERM) {
		t.Fatalf("before anybody asked: %v", err)
	}
	for _, a := range addrsOf(p.ask(t, "udp", "8.8.8.8:53", "updates.example", "A")) {
		if err := sent(a.String()); err != nil {
			t.Errorf("%s was answered: %v", a, err)
		}
	}
	p.ask(t, "udp", "8.8.8.8:53", "rebind.example", "A")
	for _, addr := range []string{"192.0.2.3", "10.0.0.1", "169.254.169.254"} {
		if err := sent(addr); !errors.Is(err, unix.EPERM) {
			t.Errorf("%s was not answered: %v", addr, err)
		}
	}
}

// TestNoCommit: without a Commit nothing is answered.
func TestNoCommit(t *testing.T) {
	p := anew(t)
	l := p.open(t, start(t, Config{}, fake(t, estate)), nil, zoneOf(t, "updates.example"))
	if got := said(p.ask(t, "udp", at(l), "updates.example", "A")); got != "ServerFailure" {
		t.Error(got)
	}
}

// TestSet: a rule is taken away while a Commit by it is running, and while its
// answer is on the way.
func TestSet(t *testing.T) {
	p := anew(t)
	asked, answer := make(chan bool, 1), make(chan bool)
	s := start(t, Config{}, fake(t, func(q dnsmessage.Message, tcp bool) []dnsmessage.Message {
		asked <- true
		<-answer
		return estate(q, tcp)
	}))
	var c commits
	begun, let := make(chan bool, 1), make(chan bool, 1)
	l := p.open(t, s, func(ctx context.Context, name string, addrs []netip.Addr, ttl time.Duration) error {
		begun <- true
		<-let
		return c.commit(ctx, name, addrs, ttl)
	}, zoneOf(t, "updates.example", "www.example"))
	conn := p.dial(t, "udp", at(l))
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	send := func(name string) {
		if _, err := conn.Write(packed(t, ask(name, "A", 0))); err != nil {
			t.Fatal(err)
		}
	}
	hear := func() string {
		buf := make([]byte, 1000)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		var m dnsmessage.Message
		if err := m.Unpack(buf[:n]); err != nil {
			t.Fatal(err)
		}
		return said(m)
	}

	send("updates.example")
	<-asked
	answer <- true
	<-begun
	set := make(chan []netip.Addr)
	go func() { set <- l.Set(zoneOf(t, "www.example")) }()
	select {
	case <-set:
		t.Fatal("Set returned while a Commit was running")
	case <-time.After(50 * time.Millisecond):
	}
	let <- true
	if gone := fmt.Sprint(texts(<-set)); gone != "[192.0.2.1 192.0.2.2]" {
		t.Errorf("Set says that %s are to be taken out", gone)
	}
	hear()

	send("www.example")
	<-asked
	if gone := l.Set(Zone{}); len(gone) > 0 {
		t.Errorf("gone: %v", gone)
	}
	c.take()
	answer <- true
	if got := hear(); got != "NameError" || len(c.take()) > 0 {
		t.Errorf("%s after the rule was taken away", got)
	}
	if got := said(talk(t, conn, "updates.example", "A")); got != "NameError" {
		t.Errorf("%s after the rule was taken away", got)
	}
}

// TestCoalesce: ten containers that ask the same at once make one question
// upstream and ten commits.
func TestCoalesce(t *testing.T) {
	up := fake(t, func(q dnsmessage.Message, tcp bool) []dnsmessage.Message {
		time.Sleep(200 * time.Millisecond)
		return estate(q, tcp)
	})
	s := start(t, Config{}, up)
	var c commits
	var all sync.WaitGroup
	for range 10 {
		p := anew(t)
		l := p.open(t, s, c.commit, zoneOf(t, "updates.example"))
		conn := p.dial(t, "udp", at(l))
		all.Go(func() {
			conn.SetDeadline(time.Now().Add(2 * time.Second))
			if m, err := exchange(conn, ask("updates.example", "A", 0)); err != nil || said(m) != "Success 192.0.2.1 192.0.2.2" {
				t.Error(said(m), err)
			}
		})
	}
	all.Wait()
	if asked, committed := up.asked(), c.take(); len(asked) != 1 || len(committed) != 10 {
		t.Errorf("asked %v, committed %d times", asked, len(committed))
	}
}

// TestFlood: one namespace floods with names that are allowed, and not, and
// opens connections; another is answered all the same, within a second.
func TestFlood(t *testing.T) {
	slow := make(chan struct{})
	up := fake(t, func(q dnsmessage.Message, tcp bool) []dnsmessage.Message {
		if strings.HasSuffix(plain(q.Questions[0].Name), ".flood.example") {
			<-slow
		}
		return estate(q, tcp)
	})
	t.Cleanup(func() { close(slow) })
	var c commits
	var reported atomic.Int64
	s := start(t, Config{Event: func(Event) { reported.Add(1) }}, up)
	bad, good := anew(t), anew(t)
	flooded := bad.open(t, s, c.commit, zoneOf(t, "*.flood.example"))
	quiet := good.open(t, s, c.commit, zoneOf(t, "updates.example"))
	var floods sync.WaitGroup
	stop := make(chan struct{})
	for i := range 2 {
		conn := bad.dial(t, "udp", at(flooded))
		floods.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				conn.Write(packed(t, ask(fmt.Sprintf("x%d-%d.flood.example", i, n), "A", 0)))
				conn.Write(packed(t, ask(fmt.Sprintf("x%d-%d.evil.example", i, n), "A", 0)))
			}
		})
	}
	for range 50 {
		bad.dial(t, "tcp", at(flooded))
	}
	var worst time.Duration
	for range 100 {
		begin := time.Now()
		if got := said(good.ask(t, "udp", at(quiet), "updates.example", "A")); got != "Success 192.0.2.1 192.0.2.2" {
			t.Fatal(got)
		}
		worst = max(worst, time.Since(begin))
	}
	close(stop)
	floods.Wait()
	st := flooded.Stats()
	t.Logf("%+v; the slowest of 100 answers elsewhere took %v; %d events", st, worst, reported.Load())
	if n := len(flooded.slots); n > 64 || len(flooded.conns) > 8 || st.Failed == 0 {
		t.Errorf("%d questions at once, %d connections, %+v", n, len(flooded.conns), st)
	}
	if n := reported.Load(); n > 200 {
		t.Errorf("%d events", n)
	}
	if n := len(up.asked()); n > 400 {
		t.Errorf("upstream was asked %d times", n)
	}
}

// TestFloodRate: names under a wildcard go upstream at a rate, which is what a
// tunnel through them has.
func TestFloodRate(t *testing.T) {
	p := anew(t)
	up := fake(t, estate)
	var e events
	s := start(t, Config{Event: e.event, Limits: Limits{PerSecond: 1}}, up)
	l := p.open(t, s, nil, zoneOf(t, "*.wild.example"))
	got := map[string]int{}
	for i := range 10 {
		got[said(p.ask(t, "udp", at(l), fmt.Sprintf("data%d.wild.example", i), "A"))]++
	}
	if n := got["NameError"]; n < 4 || n > 6 || n+got["ServerFailure"] != 10 || len(up.asked()) != n { // four, and one a second
		t.Error(got, up.asked())
	}
	if all := e.take(); len(all) != got["ServerFailure"] || !strings.HasPrefix(all[0], "flood A data") {
		t.Error(all)
	}
}

// TestBounds: a name holds so many addresses, and a namespace so many names.
func TestBounds(t *testing.T) {
	p := anew(t)
	var lines []string
	for i := range 200 {
		lines = append(lines, fmt.Sprintf("many.example 60 A 198.51.100.%d", i))
	}
	lines = append(lines, "b.example 60 A 192.0.2.1", "c.example 60 A 192.0.2.2")
	var c commits
	var e events
	s := start(t, Config{Event: e.event, Limits: Limits{Names: 2}}, fake(t, zoneFile(lines...)))
	l := p.open(t, s, c.commit, zoneOf(t, "*.example"))
	m := p.ask(t, "tcp", at(l), "many.example", "A")
	if n := len(addrsOf(m)); n != 64 {
		t.Errorf("%d addresses", n)
	}
	if all := c.take(); len(all) != 1 || len(strings.Fields(all[0])) != 64+2 {
		t.Errorf("committed %v", all)
	}
	for name, want := range map[string]string{"b.example": "Success 192.0.2.1"} {
		if got := said(p.ask(t, "udp", at(l), name, "A")); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if got := said(p.ask(t, "udp", at(l), "c.example", "A")); got != "ServerFailure" {
		t.Errorf("a third name: %s", got)
	}
	if diff := cmp.Diff([]string{"full A many.example", "full A c.example"}, e.take()); diff != "" {
		t.Error(diff)
	}
}

// TestUpstreamDown is told in time for Docker's resolver, which waits 4 s.
func TestUpstreamDown(t *testing.T) {
	p := anew(t)
	var e events
	s := start(t, Config{Event: e.event, Timeout: 300 * time.Millisecond},
		fake(t, func(dnsmessage.Message, bool) []dnsmessage.Message { return nil }))
	l := p.open(t, s, nil, zoneOf(t, "updates.example"))
	for range 2 { // the second one from memory
		if got := said(p.ask(t, "udp", at(l), "updates.example", "A")); got != "ServerFailure" {
			t.Error(got)
		}
	}
	if diff := cmp.Diff([]string{"upstream A updates.example", "upstream A updates.example"}, e.take()); diff != "" {
		t.Error(diff)
	}
}

// TestFrom: upstream is asked from another namespace than ours.
func TestFrom(t *testing.T) {
	far, p := anew(t), anew(t)
	var c commits
	s := start(t, Config{From: &far.ns, Upstreams: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}})
	// The namespace has a server of its own: a listener that answers NXDOMAIN.
	other := start(t, Config{})
	l := far.open(t, other, nil, Zone{})
	far.run(fmt.Sprintf("nft 'table ip x { chain n { type nat hook output priority -150; ip daddr 127.0.0.1 udp dport 53 redirect to :%d; }; }'", l.Port()))
	mine := p.open(t, s, c.commit, zoneOf(t, "updates.example"))
	if got := said(p.ask(t, "udp", at(mine), "updates.example", "A")); got != "NameError" {
		t.Error(got)
	}
	if _, err := s.Open(Target{NS: far.ns}, Zone{}); !errors.Is(err, ErrHost) {
		t.Errorf("listens where it asks from: %v", err)
	}
}

// TestHost: never in the host's own namespace.
func TestHost(t *testing.T) {
	s := start(t, Config{})
	own, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if _, err := s.Open(Target{NS: own, ID: "web1"}, Zone{}); !errors.Is(err, ErrHost) || !strings.HasPrefix(err.Error(), "web1: ") {
		t.Error(err)
	}
}

// TestLife: when the container ends, the listener ends by itself, and the
// namespace goes away with the last descriptor.
func TestLife(t *testing.T) {
	p := bare(t) // lo is down: there is no 127.0.0.1 yet
	up := fake(t, func(dnsmessage.Message, bool) []dnsmessage.Message { return nil })
	s := start(t, Config{}, up)
	l := p.open(t, s, nil, zoneOf(t, "updates.example"))
	p.run("ip link set lo up")
	conn := p.dial(t, "udp", at(l))
	if got := said(talk(t, conn, "evil.example", "A")); got != "NameError" {
		t.Error(got)
	}
	conn.Write(packed(t, ask("updates.example", "A", 0))) // and is on its way when the end comes
	idle := p.dial(t, "tcp", at(l))
	begin := time.Now()
	p.end()
	select {
	case <-l.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("it did not end")
	}
	t.Logf("ended %v after the container", time.Since(begin))
	idle.SetDeadline(time.Now().Add(time.Second))
	if _, err := idle.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("its connection: %v", err)
	}
	l.Close()
	if s.Close(); len(s.open) != 0 {
		t.Error("the server still has it")
	}
	if _, err := s.Open(Target{NS: p.ns}, Zone{}); err == nil {
		t.Error("a closed server opens a listener")
	}
}

// TestNoIPv6: where ::1 is not there, as Docker leaves it; it comes later.
func TestNoIPv6(t *testing.T) {
	p := bare(t)
	p.run("ip link set lo up; echo 1 >/proc/sys/net/ipv6/conf/lo/disable_ipv6")
	s := start(t, Config{})
	l := p.open(t, s, nil, Zone{})
	if got := said(p.ask(t, "udp", at(l), "evil.example", "A")); got != "NameError" {
		t.Error(got)
	}
	p.run("echo 0 >/proc/sys/net/ipv6/conf/lo/disable_ipv6")
	if got := said(p.ask(t, "udp", fmt.Sprintf("[::1]:%d", l.Port()), "evil.example", "A")); got != "NameError" {
		t.Error(got)
	}
}

// TestTCP: several questions on a connection, in pieces; a message that is too
// long ends it.
func TestTCP(t *testing.T) {
	p := anew(t)
	s := start(t, Config{}, fake(t, estate))
	var c commits
	l := p.open(t, s, c.commit, zoneOf(t, "updates.example"))
	conn := p.dial(t, "tcp", at(l))
	for range 3 {
		if got := said(talk(t, conn, "updates.example", "A")); got != "Success 192.0.2.1 192.0.2.2" {
			t.Error(got)
		}
	}
	msg := packed(t, ask("updates.example", "A", 0))
	for _, part := range [][]byte{{0}, {byte(len(msg))}, msg[:5], msg[5:]} {
		conn.Write(part)
		time.Sleep(10 * time.Millisecond)
	}
	if b, err := readTCP(conn, 1000); err != nil || len(b) == 0 {
		t.Error(err)
	}
	conn.Write([]byte{0xff, 0xff, 0})
	conn.SetDeadline(time.Now().Add(time.Second))
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes after a message of 65535", n)
	}
}

// TestHuge: packets that are no questions do not stop those that are.
func TestHuge(t *testing.T) {
	p := anew(t)
	s := start(t, Config{}, fake(t, estate))
	var c commits
	l := p.open(t, s, c.commit, zoneOf(t, "updates.example"))
	conn := p.dial(t, "udp", at(l))
	for _, n := range []int{0, 1, 11, questionTop, questionTop + 1, 60000} {
		conn.Write(make([]byte, n))
	}
	time.Sleep(50 * time.Millisecond)
	fresh := p.dial(t, "udp", at(l))
	if got := said(talk(t, fresh, "updates.example", "A")); got != "Success 192.0.2.1 192.0.2.2" {
		t.Error(got)
	}
}

// TestIdle prints what 200 namespaces cost while nobody asks.
func TestIdle(t *testing.T) {
	const many = 200
	var places []*place
	for range many {
		places = append(places, bare(t))
	}
	z := zoneOf(t, "updates.example")
	s := start(t, Config{})
	memory := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	goroutines, before := runtime.NumGoroutine(), memory()
	begin := time.Now()
	for _, p := range places {
		p.open(t, s, nil, z)
	}
	took := time.Since(begin)
	time.Sleep(100 * time.Millisecond)
	bytes, more := (memory()-before)/many, runtime.NumGoroutine()-goroutines
	t.Logf("of %d namespaces each: %d bytes, %.1f goroutines, opened in %v", many, bytes, float64(more)/many, took/many)
	if bytes > 8<<10 || more > many {
		t.Errorf("%d bytes, %d goroutines", bytes, more)
	}
	begin = time.Now()
	s.Close()
	t.Logf("all closed in %v", time.Since(begin))
	for range 100 { // the runtime's own may end a moment later
		if runtime.NumGoroutine() <= goroutines {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines are left", runtime.NumGoroutine()-goroutines)
}

// BenchmarkAnswer: a question whose answer is known, with a Commit that does
// nothing, through the kernel and back; and one that is not allowed.
func BenchmarkAnswer(b *testing.B) {
	p := anew(b)
	s := start(b, Config{}, fake(b, estate))
	l := p.open(b, s, func(context.Context, string, []netip.Addr, time.Duration) error { return nil }, zoneOf(b, "updates.example"))
	conn := p.dial(b, "udp", at(l))
	for _, name := range []string{"updates.example", "evil.example"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				talk(b, conn, name, "A")
			}
		})
	}
}
