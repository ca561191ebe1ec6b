package network

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
)

// A State is a World with its rules, kept up to date one namespace at a time:
// what changes is worked out from what the one namespace has to do with each
// other, and not from all pairs. It gives at every moment what Rules gives for
// the same World. It is for one goroutine.
//
// What two namespaces let pass between them is not kept but worked out again
// when it is asked for: a thousand that may all talk have four million
// elements, which took 2.5 GiB. Kept is what several of them give together:
// ways by the host.
type State struct {
	judge    *Judge
	segments []Segment
	managed  []netip.Prefix // subnets of the segments
	host     []netip.Addr
	spaces   map[uint64]*placedNS
	groups   map[string]*group     // by what the policy says of their members
	owner    map[netip.Addr]uint64 // who has an address
	// shared counts how many gave an element of a namespace, or of the host (0),
	// by itself or by a way that goes round by the host.
	shared map[uint64]map[Element]int
}

// A group are namespaces of which a policy says the same: what may pass between
// two of them is asked once for each pair of groups.
type group struct {
	key     string
	members []placed
	spaces  map[*placedNS]struct{}
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
		judge: j, spaces: map[uint64]*placedNS{}, groups: map[string]*group{}, owner: map[netip.Addr]uint64{},
		shared: map[uint64]map[Element]int{},
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
	// Only what is open to the host's addresses and to relays depends on them:
	// each namespace's own flows to the host, and ways by published ports and by
	// services.
	w.byHost(-1)
	s.segments, s.host, s.managed = segments, host, nil
	for _, seg := range segments {
		s.managed = append(s.managed, seg.Subnets...)
	}
	for _, n := range s.spaces {
		if n.still != nil {
			still := *n.still
			still.Managed = s.managed
			n.still = &still
		}
	}
	w.byHost(+1)
	w.outside = true
	return w.end()
}

// byHost gives (+1) or takes (-1) all that goes by the host.
func (w *work) byHost(by int) {
	for _, n := range w.s.spaces {
		w.share(by, w.s.alone(n))
		if n.publishes() || n.balanced() {
			w.s.peers(n, func(other *placedNS, _, in []Reason) { w.share(by, w.s.round(other, n, in)) })
		}
	}
}

// balanced reports whether it is sent to by relays.
func (n *placedNS) balanced() bool {
	return slices.ContainsFunc(n.Endpoints, func(e Endpoint) bool { return e.VIP.IsValid() })
}

func (n *placedNS) publishes() bool {
	return slices.ContainsFunc(n.Members, func(m Workload) bool { return len(m.Published) > 0 })
}

// Put says what a namespace is now. One that has no members any more is to be
// dropped instead. One with a member on the host's own network is the host's:
// it gets no rules, or they would shut the host itself.
func (s *State) Put(n Namespace) Delta {
	if was := s.spaces[n.ID]; was != nil && reflect.DeepEqual(was.Namespace, n) {
		return Delta{}
	}
	w := s.begin()
	if n.OnHost() {
		w.drop(n.ID)
		return w.end()
	}
	// What is here was read from a kernel, and what is elsewhere was told.
	if n.Remote {
		n = without(n, slices.DeleteFunc(n.Addrs(), func(a netip.Addr) bool {
			has := s.spaces[s.owner[a]]
			return has == nil || has.Remote
		}))
	}
	// Whoever had one of these addresses has it no more. All are taken out before
	// any comes back, so that what is given is given once.
	var lose []Namespace
	addrs := n.Addrs()
	w.drop(n.ID)
	for _, a := range addrs {
		if id, taken := s.owner[a]; taken {
			lose = append(lose, s.spaces[id].Namespace)
			w.drop(id)
		}
	}
	for _, other := range lose {
		w.put(without(other, addrs))
	}
	w.put(n)
	return w.end()
}

// Owner is the namespace that has an address, 0 if none does.
func (s *State) Owner(a netip.Addr) uint64 { return s.owner[a] }

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

// Rules is all that is to be enforced. It is worked out for the caller, whose it
// is.
func (s *State) Rules() *Ruleset {
	r := &Ruleset{Inside: make(map[uint64]*Inside, len(s.spaces)), Outside: s.Outside()}
	for id, n := range s.spaces {
		if n.still != nil {
			in := *n.still
			in.Peers = Elements{}
			r.Inside[id] = &in
		}
	}
	s.each(func(g given) {
		if in := r.Inside[g.in]; in != nil {
			in.Peers.add(g.Element)
		} else if g.in == 0 {
			r.Outside.Elements.add(g.Element)
		}
	})
	return r
}

// Inside is what is enforced in one namespace, nil if it is not there. It is
// worked out for the caller, whose it is.
func (s *State) Inside(id uint64) *Inside {
	n := s.spaces[id]
	if n == nil || n.still == nil {
		return nil
	}
	in := *n.still
	in.Peers = make(Elements, len(s.shared[id]))
	for e := range s.shared[id] {
		in.Peers.add(e)
	}
	add := func(g given) {
		if g.in == id {
			in.Peers.add(g.Element)
		}
	}
	s.peers(n, func(other *placedNS, out, into []Reason) { between(n, other, out, into, add) })
	return &in
}

// Still is Inside without its Peers, which are many.
func (s *State) Still(id uint64) *Inside {
	if n := s.spaces[id]; n != nil {
		return n.still
	}
	return nil
}

// Outside is what the host lets pass, without the elements of its sets.
func (s *State) Outside() Outside {
	o := Outside{Local: s.host, Managed: s.managed, Elements: Elements{}}
	for _, seg := range s.segments {
		if seg.Bridge != "" {
			o.Bridges = append(o.Bridges, seg.Bridge)
		}
	}
	return o
}

// Host is what the host lets pass. It is worked out for the caller, whose it
// is.
func (s *State) Host() Outside {
	o := s.Outside()
	s.each(func(g given) {
		if g.in == 0 {
			o.Elements.add(g.Element)
		}
	})
	return o
}

// A work is one change of a State: it remembers what was there before, and adds
// up what came and what went. An element goes before it comes, if it does both.
type work struct {
	s       *State
	was     map[uint64]*Inside // of namespaces that are changed; nil: it was not there
	changes map[uint64]*Change
	outside bool
}

func (s *State) begin() *work {
	return &work{s: s, was: map[uint64]*Inside{}, changes: map[uint64]*Change{}}
}

func (w *work) end() Delta {
	d := Delta{Inside: make(map[uint64]Change, len(w.changes))}
	fresh := map[uint64]bool{}
	for id, was := range w.was {
		is := w.s.spaces[id]
		switch {
		case was != nil && (is == nil || is.still == nil):
			d.Gone = append(d.Gone, id)
		case is != nil && is.still != nil && (was == nil || !sameStill(was, is.still)):
			d.Fresh = append(d.Fresh, id)
			fresh[id] = true
		}
	}
	slices.Sort(d.Gone)
	slices.Sort(d.Fresh)
	for id, c := range w.changes {
		if id != 0 && (w.s.Still(id) == nil || fresh[id]) {
			continue
		}
		c.settle()
		switch {
		case id == 0:
			d.Host = *c
		case !c.empty():
			d.Inside[id] = *c
		}
	}
	d.Outside = w.outside
	return d
}

// settle puts both parts in order, and leaves out what went and came again.
func (c *Change) settle() {
	tidy := func(es []Element) []Element {
		slices.SortFunc(es, Element.compare)
		return slices.Compact(es)
	}
	c.Add, c.Del = tidy(c.Add), tidy(c.Del)
	if len(c.Add) == 0 || len(c.Del) == 0 {
		return
	}
	add, del := c.Add, c.Del
	c.Add, c.Del = nil, nil
	for len(add) > 0 && len(del) > 0 {
		switch order := add[0].compare(del[0]); {
		case order < 0:
			c.Add, add = append(c.Add, add[0]), add[1:]
		case order > 0:
			c.Del, del = append(c.Del, del[0]), del[1:]
		default:
			add, del = add[1:], del[1:]
		}
	}
	c.Add, c.Del = append(c.Add, add...), append(c.Del, del...)
}

// sameStill reports whether two differ in nothing but sets.
func sameStill(a, b *Inside) bool {
	x, y := *a, *b
	x.Peers, y.Peers = nil, nil
	x.Managed, y.Managed = nil, nil
	return reflect.DeepEqual(x, y)
}

func (w *work) remember(id uint64) {
	if _, known := w.was[id]; known {
		return
	}
	w.was[id] = w.s.Still(id)
}

func (w *work) drop(id uint64) {
	s := w.s
	n := s.spaces[id]
	if n == nil {
		return
	}
	w.remember(id)
	w.meet(-1, n)
	delete(s.spaces, id)
	if delete(n.group.spaces, n); len(n.group.spaces) == 0 {
		delete(s.groups, n.group.key)
	}
	for _, a := range n.addrs {
		delete(s.owner, a)
	}
	w.ways(-1, n)
	delete(s.shared, id)
}

func (w *work) put(n Namespace) {
	s := w.s
	w.remember(n.ID)
	p := &placedNS{Namespace: n, addrs: n.Addrs(), meeting: n.meeting()}
	for _, m := range n.Members {
		p.members = append(p.members, s.judge.placed(m.Workload))
	}
	s.join(p)
	for _, a := range p.addrs {
		s.owner[a] = n.ID
	}
	s.spaces[n.ID] = p
	if !n.Remote {
		p.still = s.judge.still(p, s.managed)
	}
	w.meet(+1, p)
	w.ways(+1, p)
}

// join puts a namespace into the group of those like it.
func (s *State) join(n *placedNS) {
	var key []byte
	for _, m := range n.members {
		key = fmt.Appendf(key, "%q %q %v %v\n", m.Tier, m.App, m.from, m.to)
	}
	g := s.groups[string(key)]
	if g == nil {
		g = &group{key: string(key), members: n.members, spaces: map[*placedNS]struct{}{}}
		s.groups[g.key] = g
	}
	// One slice of members for all of them.
	n.group, n.members = g, g.members
	g.spaces[n] = struct{}{}
}

// peers calls f with each namespace beside n that something may pass to or
// from, and with what.
func (s *State) peers(n *placedNS, f func(other *placedNS, out, in []Reason)) {
	for _, g := range s.groups {
		out, in := s.judge.all(n.members, g.members), s.judge.all(g.members, n.members)
		if len(out) == 0 && len(in) == 0 {
			continue
		}
		for other := range g.spaces {
			if other.ID != n.ID {
				f(other, out, in)
			}
		}
	}
}

// meet gives or takes what n and each other let pass between them. It comes
// before ways, both when n comes and when it goes.
func (w *work) meet(by int, n *placedNS) {
	w.s.peers(n, func(other *placedNS, out, in []Reason) {
		between(n, other, out, in, func(g given) {
			// A way by the host may have given the same: the host may have had an
			// address that is now a container's.
			if w.s.shared[g.in][g.Element] == 0 {
				w.change(by, g)
			}
		})
	})
}

// ways gives or takes what n has by itself and by the host.
func (w *work) ways(by int, n *placedNS) {
	s := w.s
	w.share(by, s.alone(n))
	s.peers(n, func(other *placedNS, out, in []Reason) {
		w.share(by, s.round(n, other, out))
		w.share(by, s.round(other, n, in))
	})
}

// share counts what was given or taken together with others.
func (w *work) share(by int, gs []given) {
	for _, g := range gs {
		of := w.s.shared[g.in]
		if of == nil {
			of = map[Element]int{}
			w.s.shared[g.in] = of
		}
		was := of[g.Element]
		if of[g.Element] += by; of[g.Element] == 0 {
			delete(of, g.Element)
		}
		if (was == 0) != (was+by == 0) && !w.s.pairHas(g) {
			w.change(by, g)
		}
	}
}

func (w *work) change(by int, g given) {
	c := w.changes[g.in]
	if c == nil {
		c = &Change{}
		w.changes[g.in] = c
	}
	if by > 0 {
		c.Add = append(c.Add, g.Element)
	} else {
		c.Del = append(c.Del, g.Element)
	}
}

// pairHas reports whether two namespaces let an element pass between them,
// whatever else gives it.
func (s *State) pairHas(g given) bool {
	passes := func(from, to *placedNS) bool {
		return from != nil && to != nil && from != to && !strangers(from, to) && slices.ContainsFunc(s.judge.pass(from, to), func(r Reason) bool {
			return g.Set == Reach || r.Port == g.Port
		})
	}
	at := func(n *placedNS, a netip.Addr) bool { return n != nil && slices.Contains(n.meeting, a) }
	here := func(n *placedNS) bool { return n != nil && !n.Remote }
	a, b := s.spaces[s.owner[g.A]], s.spaces[s.owner[g.B]]
	switch g.Set {
	case OutAll, Out:
		return at(a, g.A) && passes(s.spaces[g.in], a)
	case InAll, In:
		return at(a, g.A) && passes(a, s.spaces[g.in])
	}
	if !at(a, g.A) || !at(b, g.B) || g.A.Is4() != g.B.Is4() || !here(a) || !here(b) {
		return false // what comes from another host is in no table of this one
	}
	switch g.Set {
	case Between, BetweenAll:
		return passes(a, b)
	case Reach:
		return passes(a, b) || passes(b, a)
	}
	return false
}
