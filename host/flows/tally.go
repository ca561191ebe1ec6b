package flows

import (
	"net/netip"
	"slices"
	"time"

	"casco/guard/network"
)

// A tally adds up what the connections of one namespace do. It is told of each
// that begins and ends, and now and then of all there are; it knows no kernel
// and no clock.
//
// Of a connection that began before the tally or in its absence the kernel may
// never tell the end (it tells only of those that began while somebody
// listened): those are kept one by one. Of all others nothing is kept but what
// is counted.
type tally struct {
	about    network.Flow // Namespace and Workload of all
	most     int          // flows with a place of their own
	loopback bool
	// own are the addresses of the namespace, as look said last.
	own  map[netip.Addr]bool
	look func(time.Time) map[netip.Addr]bool
	// waits reports whether a TCP socket of the namespace waits at a port.
	waits func(uint16, time.Time) bool
	first func(network.Flow)
	// ours reports whether a socket that opens connections is of whoever watches.
	ours func(netip.AddrPort) bool

	sums   map[place]*sum
	old    map[name]*older
	turned map[name]bool // connections that the other end opened than the kernel thinks
	mine   map[name]bool // those of whoever watches
}

// A place is what the connections of one flow have in common.
type place struct {
	out   bool
	peer  netip.Addr
	port  network.Port
	asked netip.AddrPort
}

type sum struct {
	connections, replied, open uint64
	sent, received             network.Count // of those that have ended
	first, last                time.Time
	packets                    uint64 // at the last reading
}

// older is a connection that was there when the tally first looked.
type older struct {
	place          place
	replied        bool
	sent, received network.Count // at the last reading
}

func newTally(about network.Flow, most int) *tally {
	return &tally{
		about: about, most: most,
		first: func(network.Flow) {}, ours: func(netip.AddrPort) bool { return false },
		sums: map[place]*sum{}, old: map[name]*older{}, turned: map[name]bool{}, mine: map[name]bool{},
	}
}

// where says which flow e belongs to, and whether the namespace sends what the
// kernel counts as the way there. ok is false for what stays inside, and for what
// whoever watches has opened.
func (t *tally) where(e *entry, now time.Time) (p place, sends, ok bool) {
	o, r := e.orig, e.reply
	if t.mine[e.name] || t.ours(netip.AddrPortFrom(o.src, o.sport)) {
		t.mine[e.name] = true
		return p, false, false
	}
	if o.dst == network.Resolver && o.dport == 53 {
		return place{out: true, peer: o.dst, port: network.Port{Number: 53, Proto: o.proto}}, true, true
	}
	if !t.own[o.src] && !t.own[o.dst] && !t.own[r.src] {
		t.own = t.look(now) // one may be new
	}
	sends = t.own[o.src]
	inside := o.src.IsLoopback() || o.dst.IsLoopback() || sends && (t.own[o.dst] || t.own[r.src])
	if inside && !t.loopback {
		return p, false, false
	}
	sends = sends || inside
	p = place{out: sends, peer: o.src, port: port(o, r)}
	if p.out {
		p.peer = r.src
	}
	// What is for nobody here passes through, or is for a group: then too it is
	// said for whom.
	asked := netip.AddrPortFrom(o.dst, port(o, o.reverse()).Number)
	if asked != netip.AddrPortFrom(r.src, p.port.Number) || !p.out && !t.own[r.src] {
		p.asked = asked
	}
	if t.turned[e.name] {
		p.out, p.asked = !p.out, netip.AddrPort{}
		p.port.Number = o.sport
	}
	return p, sends, true
}

// port is that of whoever answers r to o.
func port(o, r tuple) network.Port {
	n := r.sport
	if o.proto == network.ICMP || o.proto == network.ICMPv6 {
		n = o.dport // the type
	}
	return network.Port{Number: n, Proto: o.proto}
}

func (t tuple) reverse() tuple {
	return tuple{src: t.dst, dst: t.src, proto: t.proto, sport: t.dport, dport: t.sport}
}

// ephemeral is the first port that the kernel gives to who opens a connection
// and names none: net.ipv4.ip_local_port_range, Documentation/networking/ip-sysctl.rst.
const ephemeral = 32768

// turn finds out who opened a TCP connection that was under way when the
// kernel first saw it: whichever end spoke next counts as the opener there. It
// was not the namespace if it waits at its port, and not the peer if at that
// port nobody waits and it is one that openers get.
func (t *tally) turn(e *entry, now time.Time) {
	if !e.midway || e.orig.proto != network.TCP || e.orig.src.IsLoopback() {
		return
	}
	if t.own[e.orig.src] {
		if t.waits(e.orig.sport, now) {
			t.turned[e.name] = true
		}
	} else if mine := e.reply.sport; mine >= ephemeral && e.orig.sport < ephemeral && !t.waits(mine, now) {
		t.turned[e.name] = true
	}
}

// sumOf is where connections of p are counted.
func (t *tally) sumOf(p place, now time.Time) *sum {
	s := t.placed(p)
	if s == nil {
		if len(t.sums) >= t.most {
			p = place{out: p.out}
		}
		s = &sum{first: now, last: now}
		t.sums[p] = s
		t.first(t.flow(p, s))
	}
	return s
}

// begin is told of a connection that begins.
func (t *tally) begin(e *entry, now time.Time) {
	if t.old[e.name] != nil {
		return
	}
	t.turn(e, now)
	p, _, ok := t.where(e, now)
	if !ok {
		return
	}
	s := t.sumOf(p, now)
	s.connections++
	s.open++
	s.last = now
}

// end is told of one that ends, with all that it was.
func (t *tally) end(e *entry, now time.Time) {
	p, sends, ok := t.where(e, now)
	delete(t.old, e.name)
	delete(t.turned, e.name)
	delete(t.mine, e.name)
	if !ok {
		return
	}
	s := t.sumOf(p, now)
	if s.open > 0 {
		s.open--
	} else { // its beginning was lost
		s.connections++
	}
	if e.replied {
		s.replied++
	}
	there, back := e.counts(sends)
	s.sent, s.received = s.sent.Plus(there), s.received.Plus(back)
}

// counts are what the namespace sent and what it received.
func (e *entry) counts(sends bool) (sent, received network.Count) {
	if sends {
		return e.there, e.back
	}
	return e.back, e.there
}

// found is told of all the connections that were there before.
func (t *tally) found(all []entry, now time.Time) {
	for i := range all {
		e := &all[i]
		t.turn(e, now)
		p, sends, ok := t.where(e, now)
		if !ok {
			continue
		}
		o := &older{place: p, replied: e.replied}
		o.sent, o.received = e.counts(sends)
		t.old[e.name] = o
		s := t.sumOf(p, now)
		s.connections++
		s.open++
	}
}

// live is what the connections of one flow are at a reading.
type live struct {
	open, replied  uint64
	sent, received network.Count
}

// read is told of all the connections that are there now, and says what there
// was in all. lost says that some beginnings or ends were not told since the
// last time.
func (t *tally) read(all []entry, lost bool, now time.Time) []network.Flow {
	t.forget(all)
	lives := map[*sum]*live{}
	for i := range all {
		e := &all[i]
		p, sends, ok := t.where(e, now)
		if !ok {
			continue
		}
		s := t.placed(p)
		if s == nil && !lost {
			continue // it began just now, and that is still to be told
		} else if s == nil {
			s = t.sumOf(p, now)
		}
		if lives[s] == nil {
			lives[s] = &live{}
		}
		lives[s].add(e, sends)
		if o := t.old[e.name]; o != nil {
			o.replied = e.replied
			o.sent, o.received = e.counts(sends)
		}
	}
	out := make([]network.Flow, 0, len(t.sums))
	for p, s := range t.sums {
		l := lives[s]
		if l == nil {
			l = &live{}
		}
		out = append(out, t.reading(p, s, l, lost, now))
	}
	slices.SortFunc(out, network.Flow.Compare)
	return out
}

// ended is all that was, with what went through connections that have ended.
func (t *tally) ended() []network.Flow {
	out := make([]network.Flow, 0, len(t.sums))
	for p, s := range t.sums {
		out = append(out, t.flow(p, s))
	}
	slices.SortFunc(out, network.Flow.Compare)
	return out
}

// placed is where connections of p are counted so far, nil if nowhere.
func (t *tally) placed(p place) *sum {
	if s := t.sums[p]; s != nil || len(t.sums) < t.most {
		return s
	}
	return t.sums[place{out: p.out}]
}

func (l *live) add(e *entry, sends bool) {
	l.open++
	if e.replied {
		l.replied++
	}
	sent, received := e.counts(sends)
	l.sent, l.received = l.sent.Plus(sent), l.received.Plus(received)
}

// forget lets go of what is kept of single connections that are not there any
// more.
func (t *tally) forget(all []entry) {
	if len(t.old) == 0 && len(t.turned) == 0 && len(t.mine) == 0 {
		return
	}
	there := make(map[name]bool, len(all))
	for i := range all {
		there[all[i].name] = true
	}
	for _, of := range []map[name]bool{t.turned, t.mine} {
		for n := range of {
			if !there[n] {
				delete(of, n)
			}
		}
	}
	for n, o := range t.old {
		if there[n] {
			continue
		}
		delete(t.old, n)
		s := t.sumOf(o.place, time.Time{}) // it is there since found
		s.open -= min(s.open, 1)
		s.sent, s.received = s.sent.Plus(o.sent), s.received.Plus(o.received)
		if o.replied {
			s.replied++
		}
	}
}

// reading is one flow as it is now.
func (t *tally) reading(p place, s *sum, l *live, lost bool, now time.Time) network.Flow {
	if lost {
		if l.open > s.open {
			s.connections += l.open - s.open
		}
		s.open = l.open
	}
	if n := s.sent.Packets + s.received.Packets + l.sent.Packets + l.received.Packets; n > s.packets {
		s.packets, s.last = n, now
	}
	f := t.flow(p, s)
	f.Replied += l.replied
	f.Sent, f.Received = f.Sent.Plus(l.sent), f.Received.Plus(l.received)
	return f
}

func (t *tally) flow(p place, s *sum) network.Flow {
	f := t.about
	f.Out, f.Peer, f.Port, f.Asked = p.out, p.peer, p.port, p.asked
	f.Connections, f.Replied, f.Open = s.connections, s.replied, s.open
	f.Sent, f.Received = s.sent, s.received
	f.First, f.Last = s.first, s.last
	return f
}
