package network

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"casco/policy"
)

// A Set is one of the sets of addresses that rules look into.
type Set string

// The sets of a namespace.
const (
	OutAll Set = "outall" // A: may be sent anything
	Out    Set = "out"    // A, Port: may be sent that
	InAll  Set = "inall"  // A: may send anything
	In     Set = "in"     // A, Port: may send that
)

// The sets of the host.
const (
	Reach      Set = "reach"      // A, B: some packet from A to B has its place
	Between    Set = "between"    // A, B, Port: may pass from A to B
	BetweenAll Set = "betweenall" // A, B: anything may
	ToHost     Set = "tohost"     // A, Port: A may use that port of the host
	Open       Set = "open"       // A, Port: may be reached from outside
	Shut       Set = "shut"       // A, Port: published on the host, and nobody outside may use it; A unspecified: on all addresses
	Egress     Set = "egress"     // A, Net, Port: A may send that there
)

// An Element is in a set. Which of its fields count, the set says.
type Element struct {
	Set  Set          `json:"set"`
	A    netip.Addr   `json:"a,omitzero"`
	B    netip.Addr   `json:"b,omitzero"`
	Net  netip.Prefix `json:"net,omitzero"`
	Port Port         `json:"port,omitzero"`
}

// compare goes no further than the first difference: thousands are put in order
// when one container starts.
func (e Element) compare(o Element) int {
	if e.Set != o.Set {
		return cmp.Compare(e.Set, o.Set)
	}
	if e.A != o.A {
		return e.A.Compare(o.A)
	}
	if e.B != o.B {
		return e.B.Compare(o.B)
	}
	if e.Net != o.Net {
		return cmp.Or(e.Net.Addr().Compare(o.Net.Addr()), cmp.Compare(e.Net.Bits(), o.Net.Bits()))
	}
	return e.Port.compare(o.Port)
}

// Elements is a set of them.
type Elements map[Element]struct{}

func (es Elements) add(e Element) { es[e] = struct{}{} }

// Sorted lists them in order.
func (es Elements) Sorted() []Element {
	out := make([]Element, 0, len(es))
	for e := range es {
		out = append(out, e)
	}
	slices.SortFunc(out, Element.compare)
	return out
}

// NetPort is a network of which one port may be used.
type NetPort struct {
	Net  netip.Prefix `json:"net"`
	Port Port         `json:"port"`
}

// Covers reports whether it is a flow to an address. One to many addresses is
// none to those at which clouds hand out credentials: whoever wants them says
// so.
func (n NetPort) Covers(a netip.Addr) bool {
	return n.Net.Contains(a) && (n.Net.IsSingleIP() || !slices.Contains(Metadata, a))
}

// NamePort is a host name of which one port may be used.
type NamePort struct {
	Name    string `json:"name"` // "updates.example", "*.example"
	Port    Port   `json:"port"`
	Private bool   `json:"private,omitempty"` // its addresses may be of a private network
}

// Inside is what may pass in one network namespace. Everything else may not.
type Inside struct {
	Namespace uint64
	Endpoints []Endpoint
	Gateways  []netip.Addr
	Managed   []netip.Prefix // subnets of the engine: an address in them is no outside
	Nets      []NetPort      // may be sent to
	Names     []NamePort     // may be sent to, once they were asked for
	Open      []Port         // may be reached from outside
	FromHost  []Port         // may be reached from this host
	Peers     Elements       // OutAll, Out, InAll, In
}

// Outside is what the host lets pass around all namespaces: behind each
// container's own rules, and where a packet is not in any container.
type Outside struct {
	Bridges  []string // interfaces of the host behind which containers are
	Managed  []netip.Prefix
	Local    []netip.Addr // addresses of the host
	Elements Elements
}

// A Ruleset is everything that is enforced on one host.
type Ruleset struct {
	Inside  map[uint64]*Inside
	Outside Outside
}

// Rules makes the rules for all that runs in w.
func Rules(w World, p *policy.Policy) (*Ruleset, error) {
	j, err := NewJudge(p)
	if err != nil {
		return nil, err
	}
	s := NewState(j)
	s.SetHost(w.Segments, w.Host)
	for _, n := range w.Namespaces {
		s.Put(n)
	}
	return s.Rules(), nil
}

// placedNS is a namespace with its members' places.
type placedNS struct {
	Namespace
	members []placed
	group   *group
	addrs   []netip.Addr
	meeting []netip.Addr // see Namespace.meeting
	still   *Inside      // its rules without Peers; nil if it is Remote
}

// pass is what may pass from one namespace to another: what each member of the
// one may send to each of the other.
func (j *Judge) pass(from, to *placedNS) []Reason { return j.all(from.members, to.members) }

func (j *Judge) all(from, to []placed) []Reason {
	var out []Reason
	for i, f := range from {
		for k, t := range to {
			r := j.between(f, t)
			if i > 0 || k > 0 {
				r = both(out, r)
			}
			if out = r; len(out) == 0 {
				return nil
			}
		}
	}
	return out
}

// common is what f gives for every member of n.
func common[T comparable](n *placedNS, f func(placed) []T) []T {
	var out []T
	for i, m := range n.members {
		ts := f(m)
		if i == 0 {
			out = ts
			continue
		}
		out = slices.DeleteFunc(slices.Clone(out), func(t T) bool { return !slices.Contains(ts, t) })
	}
	return out
}

// mayBePrivate reports whether a name may have addresses of private networks. No
// name is told from another by its case (RFC 4343).
func (j *Judge) mayBePrivate(name string) bool {
	return slices.ContainsFunc(j.policy.Network.PrivateNames, func(n string) bool { return strings.EqualFold(n, name) })
}

// still is the part of a namespace's rules that does not depend on who else is
// there.
func (j *Judge) still(n *placedNS, managed []netip.Prefix) *Inside {
	in := &Inside{Namespace: n.ID, Endpoints: n.Endpoints, Gateways: n.gateways(), Managed: managed}
	in.Nets = common(n, func(p placed) (out []NetPort) {
		for _, i := range p.from {
			if f := j.flows[i]; f.to.kind == aNetwork {
				out = append(out, NetPort{f.to.net, f.port})
			}
		}
		return out
	})
	in.Names = common(n, func(p placed) (out []NamePort) {
		for _, i := range p.from {
			if f := j.flows[i]; f.to.kind == aHostName {
				out = append(out, NamePort{f.to.name, f.port, j.mayBePrivate(f.to.name)})
			}
		}
		return out
	})
	in.Open = j.openTo(n, internet)
	in.FromHost = j.openTo(n, host)
	return in
}

// openTo are the ports of n that one kind of outside may reach.
func (j *Judge) openTo(n *placedNS, kind endKind) []Port {
	return common(n, func(p placed) (out []Port) {
		for _, i := range p.to {
			if f := j.flows[i]; f.from.kind == kind {
				out = append(out, f.port)
			}
		}
		return out
	})
}

// ofHost are the ports of the host that n may use.
func (j *Judge) ofHost(n *placedNS) []Port {
	return common(n, func(p placed) (out []Port) {
		for _, i := range p.from {
			if f := j.flows[i]; f.to.kind == host {
				out = append(out, f.port)
			}
		}
		return out
	})
}
