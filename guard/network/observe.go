package network

import (
	"cmp"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"casco/lang"
	"casco/policy"
)

// Metadata are addresses at which clouds hand out credentials to whoever asks:
// AWS, Azure, GCP and most others; AWS over IPv6; Alibaba.
var Metadata = []netip.Addr{
	netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("100.100.100.200"),
}

// An Observed is all that was seen between two ends of which a policy can
// speak. Replicas of one service are one end.
type Observed struct {
	From     string `json:"from"` // as in a policy: "public/web", "any-internet", "host"
	To       string `json:"to"`   // "restricted/db", "egress:203.0.113.7", "host"
	FromTier string `json:"from_tier,omitempty"`
	ToTier   string `json:"to_tier,omitempty"`
	Port     Port   `json:"port"`
	// Paths are the lines of the policy that let it pass; empty: none does.
	Paths []string `json:"paths,omitempty"`
	// Hairpin says that some of it went by a port that the host publishes.
	Hairpin bool `json:"hairpin,omitempty"`
	// SourceLost says that some of it came from an address of the host, which is
	// also what the engine's proxy has when it passes on somebody else.
	SourceLost bool `json:"source_lost,omitempty"`

	Connections uint64    `json:"connections"`
	Replied     uint64    `json:"replied"`
	Bytes       uint64    `json:"bytes"` // both ways
	First       time.Time `json:"first,omitzero"`
	Last        time.Time `json:"last,omitzero"`
	Workloads   []string  `json:"workloads,omitempty"` // containers behind From
	Peers       []string  `json:"peers,omitempty"`     // containers behind To
}

// A LeftOut is a flow of which no rule is made, and why.
type LeftOut struct {
	Flow Flow      `json:"flow"`
	Why  lang.Text `json:"why"`
}

// Observe says flows with the names of a policy. What cannot be said with them
// is left out, with the reason.
func Observe(flows []Flow, w World, j *Judge) ([]Observed, []LeftOut) {
	o := newObserver(w, j)
	for _, f := range flows {
		o.flow(f)
	}
	return o.observed(), o.left
}

type observer struct {
	w     World
	judge *Judge
	by    map[uint64]*placedNS
	owner map[netip.Addr]*placedNS
	host  map[netip.Addr]bool
	seen  map[observedKey]*seenTwice
	left  []LeftOut
}

type observedKey struct {
	from, to string
	port     Port
}

// seenTwice is what the two ends of a flow saw. They saw the same, so the larger
// of two counts is it, not the sum.
type seenTwice struct {
	Observed
	out, in tally
}

type tally struct{ connections, replied, bytes uint64 }

func (t *tally) add(f Flow) {
	t.connections += f.Connections
	t.replied += f.Replied
	t.bytes += f.Sent.Bytes + f.Received.Bytes
}

func newObserver(w World, j *Judge) *observer {
	o := &observer{w: w, judge: j, by: map[uint64]*placedNS{}, owner: map[netip.Addr]*placedNS{}, host: map[netip.Addr]bool{}, seen: map[observedKey]*seenTwice{}}
	for _, a := range w.Host {
		o.host[a] = true
	}
	for _, n := range w.Namespaces {
		p := j.placedNS(n)
		o.by[n.ID] = p
		for _, a := range p.addrs {
			o.owner[a] = p
		}
		for _, g := range n.gateways() {
			o.host[g] = true
		}
	}
	return o
}

// placedNS is n with its members' places.
func (j *Judge) placedNS(n Namespace) *placedNS {
	p := &placedNS{Namespace: n, addrs: n.Addrs(), meeting: n.meeting()}
	for _, m := range n.Members {
		p.members = append(p.members, j.placed(m.Workload))
	}
	return p
}

var (
	whyGone      = lang.Text{En: "the namespace is not among those that run", Es: "el espacio de red no está entre los que corren"}
	whyTogether  = lang.Text{En: "too many peers to have a place of their own", Es: "demasiados pares para tener lugar propio"}
	whyNoPort    = lang.Text{En: "a policy cannot name this protocol", Es: "una política no puede nombrar este protocolo"}
	whyPeerGone  = lang.Text{En: "the peer had an address of a container network, and nobody has it now", Es: "el par tenía una dirección de una red de contenedores, y ahora no es de nadie"}
	whyRelayed   = lang.Text{En: "it came through a load balancer of the swarm: who sent it is seen where it was sent", Es: "vino por un balanceador del swarm: quién lo envió se ve donde se envió"}
	whyOneLink   = lang.Text{En: "it stays on one link: discovery, not service", Es: "no sale de un enlace: descubrimiento, no servicio"}
	whyNoName    = lang.Text{En: "its name or tier cannot stand in a policy", Es: "su nombre o nivel no puede estar en una política"}
	whyItself    = lang.Text{En: "it talks to itself", Es: "habla consigo mismo"}
	whyOnTheHost = lang.Text{En: "it is on the host's network: no rule is about it", Es: "está en la red del anfitrión: ninguna regla trata de él"}
)

func (o *observer) leave(f Flow, why lang.Text) { o.left = append(o.left, LeftOut{f, why}) }

// flow places one.
func (o *observer) flow(f Flow) {
	own := o.by[f.Namespace]
	_, named := protoNames[f.Port.Proto]
	switch {
	case f.Peer == Resolver:
		return // leaves the namespace nowhere
	case own == nil:
		o.leave(f, whyGone)
	case own.OnHost():
		o.leave(f, whyOnTheHost)
	case !f.Peer.IsValid():
		o.leave(f, whyTogether)
	case !named || f.Port.Number == 0:
		o.leave(f, whyNoPort)
	case f.Peer.IsLoopback() || o.owner[f.Peer] == own:
		o.leave(f, whyItself)
	case f.Out:
		o.outward(f, own)
	default:
		o.inward(f, own)
	}
}

// outward places what own opened.
func (o *observer) outward(f Flow, own *placedNS) {
	peer := o.owner[f.Peer]
	switch {
	case peer != nil:
		o.note(f, own, peer, "", f.Port, func(*Observed) {})
	case o.host[f.Peer]:
		if to, inner := o.publishes(f.Peer, f.Port); to != nil && to != own {
			o.note(f, own, to, "", inner, func(x *Observed) { x.Hairpin = true })
			return
		}
		o.note(f, own, nil, "host", f.Port, func(*Observed) {})
	case oneLink(f.Peer):
		o.leave(f, whyOneLink)
	case o.managed(f.Peer):
		o.leave(f, whyPeerGone)
	default:
		o.note(f, own, nil, "egress:"+f.Peer.String(), f.Port, func(*Observed) {})
	}
}

// inward places what somebody else opened to own.
func (o *observer) inward(f Flow, own *placedNS) {
	peer := o.owner[f.Peer]
	switch {
	case peer != nil:
		o.note(f, peer, own, "", f.Port, func(*Observed) {})
	case o.host[f.Peer]:
		o.note(f, nil, own, "host", f.Port, func(x *Observed) { x.SourceLost = true })
	case oneLink(f.Peer):
		o.leave(f, whyOneLink)
	case o.relays(f.Peer, true):
		o.note(f, nil, own, "any-internet", f.Port, func(*Observed) {})
	case o.relays(f.Peer, false):
		o.leave(f, whyRelayed)
	case o.managed(f.Peer):
		o.leave(f, whyPeerGone)
	default:
		o.note(f, nil, own, "any-internet", f.Port, func(*Observed) {})
	}
}

// oneLink reports whether a goes no further than its link. The addresses of
// metadata do: they are answered by the host of the machine.
func oneLink(a netip.Addr) bool {
	return (a.IsLinkLocalUnicast() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})) && !slices.Contains(Metadata, a)
}

// relays reports whether an address is that of a load balancer for published
// ports, or for others.
func (o *observer) relays(a netip.Addr, ingress bool) bool {
	return slices.ContainsFunc(o.w.Segments, func(s Segment) bool { return s.Ingress == ingress && slices.Contains(s.Relays, a) })
}

func (o *observer) managed(a netip.Addr) bool {
	return slices.ContainsFunc(o.w.Segments, func(s Segment) bool { return s.Driver != "macvlan" && s.Driver != "ipvlan" && contains(s.Subnets, a) })
}

// publishes is who is behind a port of the host.
func (o *observer) publishes(at netip.Addr, port Port) (*placedNS, Port) {
	for _, n := range o.w.Namespaces {
		for _, m := range n.Members {
			for _, p := range m.Published {
				if p.HostPort == port.Number && p.Port.Proto == port.Proto && (p.Host == at || p.Host.IsUnspecified() && p.Host.Is4() == at.Is4()) {
					return o.by[n.ID], p.Port
				}
			}
		}
	}
	return nil, Port{}
}

// nameOf is how a policy speaks of a member: by its service, or its own name.
func (j *Judge) nameOf(m Workload, p placed) (name string, ok bool) {
	for _, n := range []string{m.Workload.Labels[composeService], m.Workload.Labels[swarmService], m.Workload.Name} {
		if policyWord.MatchString(n) && p.Tier != "" {
			return p.Tier + "/" + n, true
		}
	}
	return "", false
}

// policyWord is what may stand for a name in an end of a flow.
var policyWord = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// note counts f for each pair of members: containers that share a namespace do
// what all of them may, so each needs its line. One end may be nil, and is then
// called other.
func (o *observer) note(f Flow, from, to *placedNS, other string, port Port, mark func(*Observed)) {
	type end struct{ name, tier, workload string }
	ends := func(n *placedNS) []end {
		if n == nil {
			return []end{{name: other}}
		}
		var out []end
		for i, m := range n.Members {
			name, ok := o.judge.nameOf(m, n.members[i])
			if !ok {
				return nil
			}
			out = append(out, end{name, n.members[i].Tier, m.Workload.Name})
		}
		return out
	}
	as, bs := ends(from), ends(to)
	if len(as) == 0 || len(bs) == 0 {
		o.leave(f, whyNoName)
		return
	}
	for _, a := range as {
		for _, b := range bs {
			key := observedKey{a.name, b.name, port}
			s := o.seen[key]
			if s == nil {
				s = &seenTwice{Observed: Observed{From: a.name, To: b.name, FromTier: a.tier, ToTier: b.tier, Port: port}}
				o.seen[key] = s
			}
			if f.Out {
				s.out.add(f)
			} else {
				s.in.add(f)
			}
			s.First, s.Last = earlier(s.First, f.First), later(s.Last, f.Last)
			s.Workloads, s.Peers = with(s.Workloads, a.workload), with(s.Peers, b.workload)
			for _, r := range o.lets(from, to, other, port) {
				s.Paths = with(s.Paths, r.Path)
			}
			mark(&s.Observed)
		}
	}
}

// lets is what of the policy lets it pass.
func (o *observer) lets(from, to *placedNS, other string, port Port) []Reason {
	j := o.judge
	if from != nil && to != nil {
		return slices.DeleteFunc(slices.Clone(j.pass(from, to)), func(r Reason) bool { return r.Port != port && r.Port != Port{} })
	}
	own, flowsOf := from, func(p placed) []int { return p.from }
	if own == nil {
		own, flowsOf = to, func(p placed) []int { return p.to }
	}
	var out []Reason
	for n, m := range own.members {
		var mine []Reason
		for _, i := range flowsOf(m) {
			fl := j.flows[i]
			far := fl.to
			if from == nil {
				far = fl.from
			}
			if fl.port == port && far.is(other) {
				mine = append(mine, Reason{fl.port, fl.path})
			}
		}
		if len(mine) == 0 {
			return nil // not all of them may
		}
		if n == 0 {
			out = mine
		}
	}
	return out
}

// is reports whether e speaks of an end that is no workload.
func (e end) is(other string) bool {
	switch e.kind {
	case internet:
		return other == "any-internet"
	case host:
		return other == "host"
	case aNetwork:
		a, err := netip.ParseAddr(strings.TrimPrefix(other, "egress:"))
		return err == nil && e.net.Contains(a)
	}
	return false
}

// observed lists what was seen, in order.
func (o *observer) observed() []Observed {
	var out []Observed
	for _, s := range slices.SortedFunc(maps.Values(o.seen), func(a, b *seenTwice) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), a.Port.compare(b.Port))
	}) {
		s.Connections, s.Replied, s.Bytes = max(s.out.connections, s.in.connections), max(s.out.replied, s.in.replied), max(s.out.bytes, s.in.bytes)
		out = append(out, s.Observed)
	}
	return out
}

func with(list []string, s string) []string {
	if s == "" {
		return list
	}
	if i, found := slices.BinarySearch(list, s); !found {
		return slices.Insert(list, i, s)
	}
	return list
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// impactOf is what is lost when a tier falls; of none it is 0.
func impactOf(p *policy.Policy, id string) float64 {
	if t := p.Tier(id); t != nil {
		return t.Impact
	}
	return 0
}
