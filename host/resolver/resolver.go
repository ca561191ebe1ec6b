// Package resolver answers the DNS questions of containers by a list of names,
// so that egress can be allowed by name. A name that is allowed is asked of the
// host's own name servers; before the container hears its addresses they are
// handed to a function that lets them through (an element of an nftables set),
// and only when that has succeeded they are answered. So an answer cannot be
// used too early, and an address that was not answered cannot be used at all.
// All other names are never sent anywhere, so names carry no data out. Under a
// wildcard they do: Limits.PerSecond is how fast.
//
// A Server opens a Listener in each network namespace, on UDP and TCP, on
// loopback, at a port of the kernel's choice. Rules in that namespace, which
// are not made here, send there all that would leave it for port 53:
//
//	table inet x { chain n {
//	    type nat hook output priority -150;
//	    ip daddr != 127.0.0.0/8 udp dport 53 redirect to :PORT
//	    ip daddr != 127.0.0.0/8 tcp dport 53 redirect to :PORT
//	    ip6 daddr != ::1 udp dport 53 redirect to :PORT
//	    ip6 daddr != ::1 tcp dport 53 redirect to :PORT
//	} }
//
// A filter chain behind it sees such a packet with the address 127.0.0.1 or ::1
// and still with the interface by which it would have left (kernel 6.18): it
// accepts it by address, and the reply, to the container's own address, by
// "ct state established".
//
// Docker's embedded resolver, 127.0.0.11, is left alone: it knows the names of
// the other containers. What it does not know it asks upstream from inside the
// container's namespace (moby, daemon/libnetwork/resolver.go, dialExtDNS), and
// so it asks us. It does not where its upstream is a loopback address of the
// host: then it asks from the host's namespace, past every rule of the
// container's. The engine then needs another server: "dns" in daemon.json.
//
// # What is answered
//
// To a name that no rule allows: NXDOMAIN, and not REFUSED. Of the replies that
// getaddrinfo knows, measured with glibc 2.36 and musl 1.2.3, a REFUSED or a
// SERVFAIL costs a program on musl 5 s, for it goes on waiting for another
// reply; and where resolv.conf(5) makes it try "name.search.domain" first
// ("ndots:5"), musl then gives up on the name itself, which is allowed, and does
// so after a NOERROR without records too. After NXDOMAIN both libraries go on
// within 1 ms. Docker's resolver takes REFUSED as a reason to ask its next
// server, and passes it on in the end (Engine 20.10) or says SERVFAIL (29).
// The reply has AA, for Engine 20.10 asks the next server after an NXDOMAIN
// without it. No SOA goes with it, so nobody should remember it, RFC 2308
// section 5. Who speaks EDNS is told "Blocked", RFC 8914.
//
// To an allowed name: its addresses, type A and AAAA, as records of the asked
// name itself. CNAMEs are followed inside upstream's answer and are not shown:
// an answer has nothing in it but addresses that were committed, in random
// order. Every other type is answered with no records, without asking anybody:
// TXT, NULL, MX and such carry data, HTTPS and SVCB (RFC 9460) carry addresses
// and keys that hide the name of a connection. Names of addresses (PTR) are not
// allowed names. A validating resolver inside a container finds no signatures
// here.
//
// Addresses that lead inside are taken out: see Rule.Private. If none is left,
// there are no records.
//
// SERVFAIL is for what may be otherwise soon: no server answers, the addresses
// could not be committed, a limit is reached.
package resolver

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/net/dns/dnsmessage"

	"casco/lang"
)

// A Config says how a Server asks and what it allows at most. Zero values are
// replaced by the defaults that the comments name.
type Config struct {
	// Upstreams are the servers to ask, in this order. Default: those of
	// ResolvConf, which is followed when it changes.
	Upstreams  []netip.AddrPort
	ResolvConf string          // default /etc/resolv.conf
	From       *netns.NsHandle // from where they are asked; default: the process's network namespace

	// Timeout is for a whole question: 3 s, so that Docker's resolver, which
	// waits 4 s, hears of a failure. Step is how long one server is waited for
	// before another is asked too: 700 ms.
	Timeout, Step time.Duration

	// An answer's TTL is cut to MaxTTL (1 h) and is at least 1 s. Addresses are
	// committed for that TTL, or MinTTL (1 min) if that is longer, and Grace
	// (1 min) on top: programs use an address a little longer than they may.
	MinTTL, MaxTTL, Grace time.Duration

	Limits Limits

	// Event hears of every question that was not answered as it was asked,
	// within a rate (see Event.Missed). It is called from many goroutines, and
	// must not block. Default: nobody hears of it.
	Event func(Event)
	Log   *slog.Logger // default: discards
}

// Limits are per listener but for the cache.
type Limits struct {
	InFlight  int // questions that are being answered at once: 64. More are answered SERVFAIL
	PerSecond int // questions that go upstream in a second, and four times as many at once: 50
	Conns     int // TCP connections: 8. More are closed
	Names     int // names that hold addresses: 1024
	Addrs     int // addresses that a name holds at a time: 64
	Cache     int // answers remembered by the Server: 8192
}

// A Commit lets addresses through for the namespace of a listener, for ttl from
// now. name is in lower case, without a last dot. It returns when packets to
// the addresses pass: the answer follows at once. It is called for every
// answer, from several goroutines at a time, and again for addresses that are
// already there; then the longer time holds. On an error nothing is answered.
// ctx ends after 2 s, or when the listener closes. It must not call the
// listener's Set or Close, which wait for it.
type Commit func(ctx context.Context, name string, addrs []netip.Addr, ttl time.Duration) error

// A Server answers in any number of network namespaces. Make one with New, and
// Close it.
type Server struct {
	cfg   Config
	up    *upstream
	cache *cache

	mu     sync.Mutex // guards what follows
	open   map[*Listener]bool
	closed bool
}

// New returns a Server that nobody asks yet. It reads and opens nothing.
func New(cfg Config) *Server {
	def(&cfg.ResolvConf, "/etc/resolv.conf")
	def(&cfg.Timeout, 3*time.Second)
	def(&cfg.Step, 700*time.Millisecond)
	def(&cfg.MinTTL, time.Minute)
	def(&cfg.MaxTTL, time.Hour)
	def(&cfg.Grace, time.Minute)
	def(&cfg.Limits.InFlight, 64)
	def(&cfg.Limits.PerSecond, 50)
	def(&cfg.Limits.Conns, 8)
	def(&cfg.Limits.Names, 1024)
	def(&cfg.Limits.Addrs, 64)
	def(&cfg.Limits.Cache, 8192)
	def(&cfg.Log, slog.New(slog.DiscardHandler))
	if cfg.Event == nil {
		cfg.Event = func(Event) {}
	}
	servers := (&conf{path: cfg.ResolvConf}).read
	if len(cfg.Upstreams) > 0 {
		servers = func() ([]netip.AddrPort, error) { return cfg.Upstreams, nil }
	}
	return &Server{
		cfg:   cfg,
		up:    &upstream{servers: servers, from: cfg.From, timeout: cfg.Timeout, step: cfg.Step},
		cache: &cache{most: cfg.Limits.Cache, longer: cfg.MaxTTL, entries: map[key]*entry{}},
		open:  map[*Listener]bool{},
	}
}

// def sets what is zero.
func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Close closes all listeners, and waits for them and for all that they began.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	var all []*Listener
	for l := range s.open {
		all = append(all, l)
	}
	s.mu.Unlock()
	for _, l := range all {
		l.Close()
	}
	s.cache.close()
}

// add notes a listener, unless the server is closed.
func (s *Server) add(l *Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.open[l] = true
	}
	return !s.closed
}

func (s *Server) drop(l *Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, l)
}

// commitTimeout is how long a Commit may take.
const commitTimeout = 2 * time.Second

// judge answers at once what needs nobody else. Otherwise work is true, and
// resolve answers.
func (l *Listener) judge(msg []byte, tcp bool) (q question, reply []byte, work bool) {
	q, rcode, drop := parseQuestion(msg, tcp)
	if drop {
		return q, nil, false
	}
	l.stats.asked.Add(1)
	if rcode != dnsmessage.RCodeSuccess {
		return q, q.reply(rcode, edeNone, nil, 0), false
	}
	zone := l.zone.Load()
	if _, ok := zone.match(q.name); !ok {
		return q, l.refuse(&q, zone.whyNot(q.name)), false
	}
	switch q.typ {
	case dnsmessage.TypeA, dnsmessage.TypeAAAA:
		return q, nil, true
	case dnsmessage.TypeHTTPS, dnsmessage.TypeSVCB: // asked with every A by browsers: no event
	default:
		l.event(&q, Type, nil)
	}
	l.stats.refused.Add(1)
	return q, q.reply(dnsmessage.RCodeSuccess, edeBlocked, nil, 0), false
}

// refuse says that there is no such name.
func (l *Listener) refuse(q *question, why Why) []byte {
	l.stats.refused.Add(1)
	l.event(q, why, nil)
	return q.reply(dnsmessage.RCodeNameError, edeBlocked, nil, 0)
}

// fail says that it did not work this time.
func (l *Listener) fail(q *question, why Why, err error) []byte {
	l.stats.failed.Add(1)
	l.event(q, why, err)
	return q.reply(dnsmessage.RCodeServerFailure, edeNone, nil, 0)
}

// resolve answers a question for the addresses of an allowed name. It returns
// nil if the listener closes meanwhile.
func (l *Listener) resolve(ctx context.Context, q *question) []byte {
	mayAsk := func() bool { return l.upstream.take(time.Now()) }
	a, left, err := l.s.cache.get(ctx, q.key, mayAsk, func(ctx context.Context) (answer, error) { return l.s.up.ask(ctx, q.key) })
	switch {
	case ctx.Err() != nil:
		return nil
	case err == errFlood:
		return l.fail(q, Flood, nil)
	case err != nil:
		return l.fail(q, Upstream, err)
	case a.none:
		l.stats.answered.Add(1)
		return q.reply(dnsmessage.RCodeNameError, edeNone, nil, 0)
	case len(a.addrs) == 0:
		l.stats.answered.Add(1)
		return q.reply(dnsmessage.RCodeSuccess, edeNone, nil, 0)
	}
	return l.grant(ctx, q, a.addrs, left)
}

// grant commits those of addrs that q may have, and then answers them. It
// judges by the zone of now, which does not change until Commit is done.
func (l *Listener) grant(ctx context.Context, q *question, addrs []netip.Addr, left time.Duration) []byte {
	l.granting.RLock()
	defer l.granting.RUnlock()
	zone := l.zone.Load()
	private, ok := zone.match(q.name)
	if !ok {
		return l.refuse(q, zone.whyNot(q.name))
	}
	var good []netip.Addr
	for _, a := range addrs {
		if zone.allows(a, private) {
			good = append(good, a)
		}
	}
	if len(good) < len(addrs) {
		l.event(q, Rebinding, nil)
	}
	if len(good) == 0 {
		l.stats.refused.Add(1)
		return q.reply(dnsmessage.RCodeSuccess, edeBlocked, nil, 0)
	}
	cfg := &l.s.cfg
	ttl := min(max(left.Truncate(time.Second), time.Second), cfg.MaxTTL)
	hold := max(ttl, cfg.MinTTL) + cfg.Grace
	now := time.Now()
	in := l.held.admit(q.name, good, now, now.Add(hold))
	if len(in) < len(good) {
		l.event(q, Full, nil)
	}
	if len(in) == 0 {
		l.stats.failed.Add(1)
		return q.reply(dnsmessage.RCodeServerFailure, edeNone, nil, 0)
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if err := l.commit(ctx, q.name, in, hold); err != nil {
		return l.fail(q, Uncommit, err)
	}
	l.stats.answered.Add(1)
	// What is remembered keeps its order: not everybody shall take the first.
	rand.Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
	return q.reply(dnsmessage.RCodeSuccess, edeNone, in, ttl)
}

// event reports, within the rate.
func (l *Listener) event(q *question, why Why, err error) {
	now := time.Now()
	if !l.events.take(now) {
		l.missed.Add(1)
		return
	}
	e := Event{ID: l.id, Time: now.UTC(), Name: escape(q.name), Type: typeName(q.typ), Why: why, Missed: l.missed.Swap(0)}
	if err != nil {
		e.Err = err.Error()
	}
	l.s.cfg.Event(e)
}

// ErrHost is the refusal to listen in the host's own network namespace, where
// a container with "--network host" lives: it is the host's DNS, and rules that
// send it here would send our own questions here too.
var ErrHost = lang.Errorf(lang.Text{
	En: "it is the network namespace of the host itself",
	Es: "es el espacio de red del propio host",
})
