package network

import (
	"cmp"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"casco/policy"
)

// A State is a World with its rules, kept up to date one namespace at a time:
// what changes is worked out from what the one namespace has to do with each
// other, and not from all pairs. It gives at every moment what Rules gives for
// the same World. It is for one goroutine.
type State struct {
	judge    *Judge
	segments []Segment
	host     []netip.Addr
	spaces   map[uint64]*placedNS
	owner    map[netip.Addr]uint64 // who has an address
	insides  map[uint64]*Inside
	// gave are the elements that are there because of one namespace (with
	// itself), or of an ordered pair of them.
	gave map[[2]uint64][]given
	// count says how many gave an element.
	count map[given]int
}

// given is an element in a set of a namespace, or of the host (0).
type given struct {
	in uint64
	Element
}

// A Change is what comes into the sets of one namespace, or of the host, and
// what goes. Both are in order.
type Change struct{ Add, Del []Element }

func (c Change) empty() bool { return len(c.Add) == 0 && len(c.Del) == 0 }

// A Delta is what must be done so that a kernel has the rules of a State again.
type Delta struct {
	Fresh  []uint64          // namespaces whose rules are made anew, as Inside says
	Gone   []uint64          // namespaces of which nothing is left to do but to forget them
	Inside map[uint64]Change // of the others, what changes in their sets
	Host   Change
	// Outside says that the engine's networks changed: what of the host's rules
	// is no set changed of these, and the subnets that every namespace knows.
	Outside bool
}

// Empty reports whether there is nothing to do.
func (d Delta) Empty() bool {
	return len(d.Fresh) == 0 && len(d.Gone) == 0 && len(d.Inside) == 0 && d.Host.empty() && !d.Outside
}

// NewState is one in which nothing runs.
func NewState(j *Judge) *State {
	return &State{
		judge:  j,
		spaces: map[uint64]*placedNS{}, owner: map[netip.Addr]uint64{}, insides: map[uint64]*Inside{},
		gave: map[[2]uint64][]given{}, count: map[given]int{},
	}
}

// Namespaces lists what is in s by the IDs of the namespaces.
func (s *State) Namespaces() []Namespace {
	var out []Namespace
	for _, id := range slices.Sorted(maps.Keys(s.spaces)) {
		out = append(out, s.spaces[id].Namespace)
	}
	return out
}

// SetHost says what networks and addresses the host has. It changes much, and
// seldom happens.
func (s *State) SetHost(segments []Segment, host []netip.Addr) Delta {
	segments = slices.Clone(segments)
	slices.SortFunc(segments, func(a, b Segment) int { return cmp.Compare(a.Name, b.Name) })
	host = slices.Clone(host)
	slices.SortFunc(host, netip.Addr.Compare)
	if reflect.DeepEqual(segments, s.segments) && slices.Equal(host, s.host) {
		return Delta{}
	}
	w := s.begin()
	s.segments, s.host = segments, host
	// Only what is open to the host's addresses depends on them: each namespace's
	// own flows to the host, and ways by published ports.
	for id, n := range s.spaces {
		in := *s.insides[id]
		in.Managed = s.managed()
		s.insides[id] = &in
		w.again([2]uint64{id, id}, func() []given { return s.alone(n) })
		if !n.publishes() {
			continue
		}
		for other, from := range s.spaces {
			if other != id {
				w.again([2]uint64{other, id}, func() []given { return s.pair(from, n) })
			}
		}
	}
	w.outside = true
	return w.end()
}

// managed are the subnets of the engine.
func (s *State) managed() (out []netip.Prefix) {
	for _, seg := range s.segments {
		out = append(out, seg.Subnets...)
	}
	return out
}

// again replaces what one pair gave.
func (w *work) again(pair [2]uint64, give func() []given) {
	w.take(pair)
	w.give(pair, give())
}

func (n *placedNS) publishes() bool {
	return slices.ContainsFunc(n.Members, func(m Workload) bool { return len(m.Published) > 0 })
}

// Put says what a namespace is now. One that has no members any more is to be
// dropped instead. One with a member on the host's own network is the host's:
// it gets no rules, or they would shut the host itself.
func (s *State) Put(n Namespace) Delta {
	w := s.begin()
	if n.OnHost() {
		w.drop(n.ID)
		return w.end()
	}
	// Whoever had one of these addresses has it no more.
	for _, a := range n.Addrs() {
		if id, taken := s.owner[a]; taken && id != n.ID {
			other := s.spaces[id].Namespace
			w.drop(id)
			w.put(without(other, n.Addrs()))
		}
	}
	w.drop(n.ID)
	w.put(n)
	return w.end()
}

// without is n after it lost those addresses.
func without(n Namespace, addrs []netip.Addr) Namespace {
	n.Endpoints = slices.Clone(n.Endpoints)
	for i := range n.Endpoints {
		n.Endpoints[i].Addrs = slices.DeleteFunc(slices.Clone(n.Endpoints[i].Addrs), func(a netip.Addr) bool { return slices.Contains(addrs, a) })
	}
	return n
}

// Drop says that a namespace is gone.
func (s *State) Drop(id uint64) Delta {
	w := s.begin()
	w.drop(id)
	return w.end()
}

// Rules is all that is to be enforced. What it points to is shared with s until
// the next change.
func (s *State) Rules() *Ruleset {
	r := &Ruleset{Inside: s.insides, Outside: s.outside()}
	for g := range s.count {
		if g.in == 0 {
			r.Outside.Elements.add(g.Element)
		}
	}
	return r
}

// Inside is what is enforced in one namespace, nil if it is not there.
func (s *State) Inside(id uint64) *Inside { return s.insides[id] }

// outside is the host's part without its elements.
func (s *State) outside() Outside {
	o := Outside{Local: s.host, Managed: s.managed(), Elements: Elements{}}
	for _, seg := range s.segments {
		if seg.Bridge != "" {
			o.Bridges = append(o.Bridges, seg.Bridge)
		}
	}
	return o
}

// Outside is what the host lets pass, without the elements of its sets.
func (s *State) Outside() Outside { return s.outside() }

// A work is one change of a State: it remembers what was there before.
type work struct {
	s       *State
	before  map[given]bool
	insides map[uint64]*Inside // nil: it was not there
	outside bool
}

func (s *State) begin() *work {
	return &work{s: s, before: map[given]bool{}, insides: map[uint64]*Inside{}}
}

func (w *work) end() Delta {
	d := Delta{Inside: map[uint64]Change{}}
	for id, was := range w.insides {
		is := w.s.insides[id]
		switch {
		case is == nil && was != nil:
			d.Gone = append(d.Gone, id)
		case is != nil && (was == nil || !sameStill(was, is)):
			d.Fresh = append(d.Fresh, id)
		}
	}
	slices.Sort(d.Gone)
	slices.Sort(d.Fresh)
	for g, was := range w.before {
		is := w.s.count[g] > 0
		if is == was || g.in != 0 && (w.s.insides[g.in] == nil || slices.Contains(d.Fresh, g.in)) {
			continue
		}
		c := d.Host
		if g.in != 0 {
			c = d.Inside[g.in]
		}
		if is {
			c.Add = append(c.Add, g.Element)
		} else {
			c.Del = append(c.Del, g.Element)
		}
		if g.in == 0 {
			d.Host = c
		} else {
			d.Inside[g.in] = c
		}
	}
	for id, c := range d.Inside {
		c.sort()
		d.Inside[id] = c
	}
	d.Host.sort()
	d.Outside = w.outside
	return d
}

func (c *Change) sort() {
	slices.SortFunc(c.Add, Element.compare)
	slices.SortFunc(c.Del, Element.compare)
}

// sameStill reports whether two differ in nothing but sets.
func sameStill(a, b *Inside) bool {
	x, y := *a, *b
	x.Peers, y.Peers = nil, nil
	x.Managed, y.Managed = nil, nil
	return reflect.DeepEqual(x, y)
}

func (w *work) remember(id uint64) {
	if _, known := w.insides[id]; known {
		return
	}
	w.insides[id] = w.s.insides[id]
}

func (w *work) drop(id uint64) {
	s := w.s
	if s.spaces[id] == nil {
		return
	}
	w.remember(id)
	w.take([2]uint64{id, id})
	for other := range s.spaces {
		if other != id {
			w.take([2]uint64{id, other})
			w.take([2]uint64{other, id})
		}
	}
	for _, a := range s.spaces[id].addrs {
		delete(s.owner, a)
	}
	delete(s.spaces, id)
	delete(s.insides, id)
}

func (w *work) put(n Namespace) {
	s := w.s
	w.remember(n.ID)
	p := &placedNS{Namespace: n, addrs: n.Addrs()}
	for _, m := range n.Members {
		p.members = append(p.members, s.judge.placed(m.Workload))
	}
	for _, a := range p.addrs {
		s.owner[a] = n.ID
	}
	s.spaces[n.ID] = p
	s.insides[n.ID] = s.judge.still(p, s.managed())
	w.give([2]uint64{n.ID, n.ID}, s.alone(p))
	for id, other := range s.spaces {
		if id != n.ID {
			w.give([2]uint64{n.ID, id}, s.pair(p, other))
			w.give([2]uint64{id, n.ID}, s.pair(other, p))
		}
	}
}

func (w *work) give(pair [2]uint64, gs []given) {
	if len(gs) == 0 {
		return
	}
	w.s.gave[pair] = gs
	for _, g := range gs {
		w.note(g)
		w.s.count[g]++
		if in := w.s.insides[g.in]; in != nil {
			in.Peers.add(g.Element)
		}
	}
}

func (w *work) take(pair [2]uint64) {
	for _, g := range w.s.gave[pair] {
		w.note(g)
		if w.s.count[g]--; w.s.count[g] > 0 {
			continue
		}
		delete(w.s.count, g)
		if in := w.s.insides[g.in]; in != nil {
			delete(in.Peers, g.Element)
		}
	}
	delete(w.s.gave, pair)
}

func (w *work) note(g given) {
	if _, known := w.before[g]; !known {
		w.before[g] = w.s.count[g] > 0
	}
}

// alone is what is let pass because of one namespace.
func (s *State) alone(n *placedNS) []given {
	var out []given
	for _, port := range s.judge.ofHost(n) {
		for _, h := range s.reachableHost(n) {
			out = append(out, given{n.ID, Element{Set: Out, A: h, Port: port}})
		}
		for _, a := range n.addrs {
			out = append(out, given{0, Element{Set: ToHost, A: a, Port: port}})
		}
	}
	in := s.insides[n.ID]
	for _, a := range n.addrs {
		for _, port := range in.Open {
			out = append(out, given{0, Element{Set: Open, A: a, Port: port}})
		}
		for _, net := range in.Nets {
			if net.Net.Addr().Is4() == a.Is4() {
				out = append(out, given{0, Element{Set: Egress, A: a, Net: net.Net, Port: net.Port}})
			}
		}
	}
	for _, m := range n.Members {
		for _, p := range m.Published {
			if !slices.Contains(in.Open, p.Port) {
				out = append(out, given{0, Element{Set: Shut, A: p.Host, Port: Port{p.HostPort, p.Port.Proto}}})
			}
		}
	}
	return out
}

// reachableHost are the addresses under which n finds the host.
func (s *State) reachableHost(n *placedNS) []netip.Addr {
	out := slices.Clone(s.host)
	for _, g := range n.gateways() {
		if !slices.Contains(out, g) {
			out = append(out, g)
		}
	}
	return out
}

// pair is what is let pass from one namespace to another.
func (s *State) pair(from, to *placedNS) []given {
	reasons := s.judge.pass(from, to)
	if len(reasons) == 0 {
		return nil
	}
	var out []given
	add := func(in uint64, e Element) {
		if g := (given{in, e}); !slices.Contains(out, g) {
			out = append(out, g)
		}
	}
	for _, r := range reasons {
		outSet, inSet, between := Out, In, Between
		if r.Port == (Port{}) {
			outSet, inSet, between = OutAll, InAll, BetweenAll
		}
		for _, a := range to.addrs {
			add(from.ID, Element{Set: outSet, A: a, Port: r.Port})
		}
		for _, a := range from.addrs {
			add(to.ID, Element{Set: inSet, A: a, Port: r.Port})
			for _, b := range to.addrs {
				if a.Is4() == b.Is4() {
					add(0, Element{Set: between, A: a, B: b, Port: r.Port})
					add(0, Element{Set: Reach, A: a, B: b})
					add(0, Element{Set: Reach, A: b, B: a})
				}
			}
		}
		if s.hairpin(from, to) {
			s.published(from, to, r.Port, add)
		}
	}
	return out
}

// hairpin reports whether what from may send to to may also go round by a port
// that the host publishes: there its source is lost.
func (s *State) hairpin(from, to *placedNS) bool {
	mode := s.judge.policy.Ports.HairpinBetweenTiers
	if mode == policy.Allow || mode == policy.Warn {
		return true
	}
	for _, f := range from.members {
		for _, t := range to.members {
			if f.Tier != t.Tier {
				return false
			}
		}
	}
	return true
}

// published adds what a way by the host takes: from to the host, and from the
// host's address on the network of to into it.
func (s *State) published(from, to *placedNS, port Port, add func(uint64, Element)) {
	for _, m := range to.Members {
		for _, p := range m.Published {
			if port != (Port{}) && p.Port != port {
				continue
			}
			at := Port{p.HostPort, p.Port.Proto}
			hosts := []netip.Addr{p.Host}
			if p.Host.IsUnspecified() {
				hosts = s.reachableHost(from)
			}
			hosts = slices.DeleteFunc(hosts, func(h netip.Addr) bool {
				return h.IsLoopback() || p.Host.IsUnspecified() && h.Is4() != p.Host.Is4()
			})
			if len(hosts) == 0 {
				continue // nobody but the host itself gets there
			}
			for _, h := range hosts {
				add(from.ID, Element{Set: Out, A: h, Port: at})
			}
			for _, a := range from.addrs {
				add(0, Element{Set: ToHost, A: a, Port: at})
			}
			for _, g := range to.gateways() {
				add(to.ID, Element{Set: In, A: g, Port: p.Port})
			}
		}
	}
}
