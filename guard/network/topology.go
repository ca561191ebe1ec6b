package network

import (
	"slices"
	"strconv"
	"strings"

	"casco/lang"
	"casco/policy"
)

// A topology is a World as a graph.
type topology struct {
	w     World
	judge *Judge
	rules *Ruleset
	nodes []*node // namespaces in their order, then the host, then outside
	host  *node
	net   *node
}

// A node is where a packet can come from or go to.
type node struct {
	name string
	ns   *placedNS // nil: the host, or outside
}

// remote reports whether it is on another host of the swarm.
func (n *node) remote() bool { return n.ns != nil && n.ns.Remote }

func newTopology(w World, p *policy.Policy) (*topology, error) {
	j, err := NewJudge(p)
	if err != nil {
		return nil, err
	}
	t := &topology{w: w, judge: j}
	s := NewState(j)
	s.SetHost(w.Segments, w.Host)
	for _, n := range w.Namespaces {
		s.Put(n)
		if !n.OnHost() {
			t.nodes = append(t.nodes, &node{name: n.Name(), ns: j.placedNS(n)})
		}
	}
	t.rules = s.Rules()
	t.host, t.net = &node{name: TheHost}, &node{name: Internet}
	t.nodes = append(t.nodes, t.host, t.net)
	return t, nil
}

// named are the nodes that a name speaks of. A workload on the host is the host
// under its own name.
func (t *topology) named(name string) ([]*node, error) {
	switch name {
	case TheHost:
		return []*node{t.host}, nil
	case Internet:
		return []*node{t.net}, nil
	}
	e := parseEnd(name)
	var out []*node
	for _, n := range t.w.Namespaces {
		for _, m := range n.Members {
			place := t.judge.Place(m.Workload)
			called := name != "" && slices.Contains([]string{m.Workload.Name, m.Workload.Labels[composeService], m.Workload.Labels[swarmService], n.Name()}, name)
			if !called && (name == "" || place.Tier != name) && !(e.kind == aPlace && e.name != "" && e.of(place, m.Workload)) {
				continue
			}
			if n.OnHost() {
				out = append(out, &node{name: m.Workload.Name})
				continue
			}
			of := t.node(n.ID)
			if len(n.Members) > 1 && !slices.ContainsFunc(out, func(o *node) bool { return o.ns == of.ns && o.name == m.Workload.Name }) {
				of = &node{name: m.Workload.Name, ns: of.ns}
			}
			if !slices.Contains(out, of) {
				out = append(out, of)
			}
		}
	}
	if len(out) == 0 && t.judge.policy.Tier(name) == nil {
		return nil, lang.Errorf(lang.Text{
			En: "there is no workload, service or tier %q here; name one, or host, or any-internet",
			Es: "no hay aquí carga, servicio ni nivel %q; nombre uno, o host, o any-internet",
		}, name)
	}
	return out, nil
}

func (t *topology) node(id uint64) *node {
	i := slices.IndexFunc(t.nodes, func(n *node) bool { return n.ns != nil && n.ns.ID == id })
	return t.nodes[i]
}

// isHost and isNet say what a node without a namespace is.
func (t *topology) isHost(n *node) bool { return n.ns == nil && n != t.net }
func (t *topology) isNet(n *node) bool  { return n == t.net }

// same reports whether two nodes are one place on the network.
func (t *topology) same(a, b *node) bool {
	return a == b || a.ns != nil && a.ns == b.ns || t.isHost(a) && t.isHost(b)
}

// engineBefore reports whether the engine may be older than that.
func (t *topology) engineBefore(major int) bool {
	head, _, _ := strings.Cut(t.w.Engine, ".")
	n, err := strconv.Atoi(head)
	return err != nil || n < major
}

func (t *topology) segment(name string) (Segment, bool) {
	i := slices.IndexFunc(t.w.Segments, func(s Segment) bool { return s.Name == name })
	if i < 0 {
		return Segment{Name: name}, false
	}
	return t.w.Segments[i], true
}

func onLAN(s Segment) bool { return s.Driver == "macvlan" || s.Driver == "ipvlan" }
