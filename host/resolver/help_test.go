package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"casco/internal/handtest"
	"casco/internal/nsenter"
	"casco/internal/realdocker"
)

func TestMain(m *testing.M) { realdocker.Main(m) }

// A saying is what a server sends, in this order, for what it received.
type saying func(q dnsmessage.Message, tcp bool) []dnsmessage.Message

// A server is an upstream of the test.
type server struct {
	at  netip.AddrPort
	say saying

	mu  sync.Mutex // guards got
	got []string   // "A updates.example", in lower case; "tcp " before those over TCP
}

// fake starts a server on loopback, on UDP and TCP.
func fake(t testing.TB, say saying) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s := &server{at: netip.MustParseAddrPort(l.Addr().String()), say: say}
	var all sync.WaitGroup
	all.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			msg := slices.Clone(buf[:n])
			all.Go(func() {
				for _, m := range s.answer(msg, false) {
					c.WriteTo(m, from)
				}
			})
		}
	})
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				msg, err := readTCP(conn, 4096)
				if err != nil {
					return
				}
				for _, m := range s.answer(msg, true) {
					writeTCP(conn, m)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		c.Close()
		all.Wait()
	})
	return s
}

func (s *server) answer(msg []byte, tcp bool) [][]byte {
	var q dnsmessage.Message
	if err := q.Unpack(msg); err != nil || len(q.Questions) != 1 {
		return nil
	}
	what := typeName(q.Questions[0].Type) + " " + plain(q.Questions[0].Name)
	if tcp {
		what = "tcp " + what
	}
	s.mu.Lock()
	s.got = append(s.got, what)
	s.mu.Unlock()
	var out [][]byte
	for _, m := range s.say(q, tcp) {
		b, err := m.Pack()
		if err != nil {
			panic(err)
		}
		out = append(out, b)
	}
	return out
}

// asked returns what the server was asked so far.
func (s *server) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// to is an answer to q without records.
func to(q dnsmessage.Message, rcode dnsmessage.RCode) dnsmessage.Message {
	return dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, RCode: rcode}, Questions: q.Questions}
}

// rr is a record, as in a zone file: "www.example 60 A 192.0.2.1".
func rr(line string) dnsmessage.Resource {
	var owner, typ, data string
	var ttl uint32
	if _, err := fmt.Sscan(line, &owner, &ttl, &typ, &data); err != nil {
		panic(line)
	}
	r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(owner + "."), Class: dnsmessage.ClassINET, TTL: ttl}}
	switch typ {
	case "A":
		r.Body = &dnsmessage.AResource{A: netip.MustParseAddr(data).As4()}
	case "AAAA":
		r.Body = &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(data).As16()}
	case "CNAME":
		r.Body = &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(data + ".")}
	case "TXT":
		r.Body = &dnsmessage.TXTResource{TXT: []string{data}}
	case "SOA":
		r.Body = &dnsmessage.SOAResource{NS: dnsmessage.MustNewName("ns."), MBox: dnsmessage.MustNewName("me."), MinTTL: ttl}
	default:
		panic(line)
	}
	return r
}

// zoneFile answers by lines of rr; a name that no line begins with is NXDOMAIN.
func zoneFile(lines ...string) saying {
	return func(q dnsmessage.Message, _ bool) []dnsmessage.Message {
		m := to(q, dnsmessage.RCodeNameError)
		name := plain(q.Questions[0].Name)
		for _, line := range lines {
			r := rr(line)
			if plain(r.Header.Name) != name {
				continue
			}
			m.RCode = dnsmessage.RCodeSuccess
			switch body := r.Body.(type) {
			case *dnsmessage.CNAMEResource:
				m.Answers = append(m.Answers, r)
				name = plain(body.CNAME)
			case *dnsmessage.AResource:
				if q.Questions[0].Type == dnsmessage.TypeA {
					m.Answers = append(m.Answers, r)
				}
			case *dnsmessage.AAAAResource:
				if q.Questions[0].Type == dnsmessage.TypeAAAA {
					m.Answers = append(m.Answers, r)
				}
			}
		}
		if len(m.Answers) == 0 {
			m.Authorities = append(m.Authorities, rr("example 60 SOA x"))
		}
		return []dnsmessage.Message{m}
	}
}

// A place is a network namespace with a process in it.
type place struct {
	ns   netns.NsHandle
	life *os.File // its pidfd
	end  func()   // ends the process, and waits for it
	run  func(command string)
}

// anew makes a place with loopback, and a device to which everything goes that
// leaves, over IPv4 and IPv6.
func anew(t testing.TB) *place {
	t.Helper()
	p := bare(t)
	p.run("ip link set lo up; ip link add out type veth peer name far; ip link set out up; ip link set far up; " +
		"ip addr add 10.9.9.2/24 dev out; ip addr add fd09::2/64 dev out nodad; ip route add default dev out; ip -6 route add default dev out")
	return p
}

func bare(t testing.TB) *place {
	t.Helper()
	handtest.NeedRoot(t)
	holder := exec.Command("unshare", "--net", "sh", "-c", "echo; exec cat")
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = out.Read(make([]byte, 1)) // it is there now
	p := &place{end: sync.OnceFunc(func() {
		in.Close()
		_ = holder.Wait()
	})}
	t.Cleanup(p.end)
	if p.ns, err = netns.GetFromPid(holder.Process.Pid); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.ns.Close() })
	p.enter(t, holder.Process.Pid)
	return p
}

// enter makes life and run of the place of a process.
func (p *place) enter(t testing.TB, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	p.life = os.NewFile(uintptr(fd), "pidfd")
	t.Cleanup(func() { p.life.Close() })
	p.run = func(command string) {
		t.Helper()
		cmd := exec.Command("nsenter", "-t", fmt.Sprint(pid), "-n", "sh", "-ec", command)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
}

// redirect sends what leaves for port 53 to a listener, as the package comment
// says.
func redirect(port int) string {
	rules := "nft 'table inet x { chain n { type nat hook output priority -150; "
	for _, rule := range []string{"ip daddr != 127.0.0.0/8 udp", "ip daddr != 127.0.0.0/8 tcp", "ip6 daddr != ::1 udp", "ip6 daddr != ::1 tcp"} {
		rules += fmt.Sprintf("%s dport 53 redirect to :%d; ", rule, port)
	}
	return rules + "}; }'"
}

// dial connects from inside.
func (p *place) dial(t testing.TB, network, address string) net.Conn {
	t.Helper()
	var conn net.Conn
	err := nsenter.Net(p.ns, func() (err error) {
		conn, err = net.Dial(network, address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// ask asks from inside, at address, and wants an answer within a second.
func (p *place) ask(t testing.TB, network, address, name, typ string) dnsmessage.Message {
	t.Helper()
	conn := p.dial(t, network, address)
	defer conn.Close()
	return talk(t, conn, name, typ)
}

func talk(t testing.TB, conn net.Conn, name, typ string) dnsmessage.Message {
	t.Helper()
	conn.SetDeadline(time.Now().Add(time.Second))
	m, err := exchange(conn, ask(name, typ, 0))
	if err != nil {
		t.Fatalf("%s %s: %v", name, typ, err)
	}
	return m
}

// ask is a question; size is that of EDNS, 0 is none.
func ask(name, typ string, size int) dnsmessage.Message {
	types := map[string]dnsmessage.Type{"A": 1, "AAAA": 28, "TXT": 16, "MX": 15, "SRV": 33, "PTR": 12, "ANY": 255, "HTTPS": 65, "NULL": 10, "CNAME": 5}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 4711, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name + "."), Type: types[typ], Class: dnsmessage.ClassINET}},
	}
	if size > 0 {
		r := dnsmessage.Resource{Body: &dnsmessage.OPTResource{}}
		r.Header.SetEDNS0(size, 0, false)
		m.Additionals = append(m.Additionals, r)
	}
	return m
}

// exchange sends a message and reads one.
func exchange(conn net.Conn, q dnsmessage.Message) (m dnsmessage.Message, err error) {
	b, err := q.Pack()
	if err != nil {
		return m, err
	}
	if conn.LocalAddr().Network() == "tcp" {
		if err := writeTCP(conn, b); err != nil {
			return m, err
		}
		if b, err = readTCP(conn, 1<<16-1); err != nil {
			return m, err
		}
	} else {
		if _, err := conn.Write(b); err != nil {
			return m, err
		}
		b = make([]byte, 1<<16)
		n, err := conn.Read(b)
		if err != nil {
			return m, err
		}
		b = b[:n]
	}
	if err := m.Unpack(b); err != nil {
		return m, err
	}
	if m.ID != q.ID || !m.Response || len(m.Questions) != 1 || m.Questions[0] != q.Questions[0] {
		return m, fmt.Errorf("no answer to the question: %v", m.GoString())
	}
	return m, nil
}

// said is an answer in short: "Success 192.0.2.1 192.0.2.2".
func said(m dnsmessage.Message) string {
	return strings.Join(append([]string{strings.TrimPrefix(m.RCode.String(), "RCode")}, texts(addrsOf(m))...), " ")
}

func addrsOf(m dnsmessage.Message) (all []netip.Addr) {
	for _, r := range m.Answers {
		switch b := r.Body.(type) {
		case *dnsmessage.AResource:
			all = append(all, netip.AddrFrom4(b.A))
		case *dnsmessage.AAAAResource:
			all = append(all, netip.AddrFrom16(b.AAAA))
		}
	}
	return all
}

func texts(addrs []netip.Addr) (all []string) {
	for _, a := range addrs {
		all = append(all, a.String())
	}
	slices.Sort(all)
	return all
}

// A record of what was committed: "updates.example 192.0.2.1 2m0s".
type commits struct {
	mu   sync.Mutex // guards what follows
	all  []string
	fail error
}

func (c *commits) commit(_ context.Context, name string, addrs []netip.Addr, ttl time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, fmt.Sprintf("%s %s %v", name, strings.Join(texts(addrs), " "), ttl))
	return c.fail
}

func (c *commits) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.all
	c.all = nil
	return all
}

// events collects events as "why type name".
type events struct {
	mu  sync.Mutex // guards all
	all []string
}

func (e *events) event(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, string(ev.Why)+" "+ev.Type+" "+ev.Name)
}

func (e *events) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := e.all
	e.all = nil
	return all
}

func zoneOf(t testing.TB, names ...string) Zone {
	t.Helper()
	var rules []Rule
	for _, n := range names {
		name, private := strings.CutSuffix(n, " private")
		rules = append(rules, Rule{name, private})
	}
	z, err := NewZone(rules, []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")})
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// start starts a Server that asks up.
func start(t testing.TB, cfg Config, up ...*server) *Server {
	t.Helper()
	for _, u := range up {
		cfg.Upstreams = append(cfg.Upstreams, u.at)
	}
	s := New(cfg)
	t.Cleanup(s.Close)
	return s
}

func (p *place) open(t testing.TB, s *Server, commit Commit, z Zone) *Listener {
	t.Helper()
	l, err := s.Open(Target{NS: p.ns, ID: "web1", Life: p.life, Commit: commit}, z)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func at(l *Listener) string { return fmt.Sprintf("127.0.0.1:%d", l.Port()) }

var errTest = errors.New("of the test")

// fill lets the test have all of its events.
func (b *bucket) fill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spent = 0
}
