package network

import (
	"net/netip"
	"slices"
	"strings"

	"casco/lang"
	"casco/policy"
)

// A Layer is one of the places at which a packet is dropped or not, in the
// order in which it meets them.
type Layer string

// The layers.
const (
	OwnOut    Layer = "own-out"    // the rules in the namespace of who sends
	SourcePin Layer = "source-pin" // the host's end of its interface: its own addresses only
	HostTable Layer = "host-table"
	PeerIn    Layer = "peer-in" // the rules in the namespace of who is sent to
)

// A Verdict is what a layer does with the packet.
type Verdict struct {
	Layer  Layer `json:"layer"`
	Passes bool  `json:"passes"`
}

// A Route is one way of the packet, with what each layer on it does.
type Route struct {
	Way      Way       `json:"way"`
	From     string    `json:"from,omitempty"` // address; "" if it has none, or any
	To       string    `json:"to"`             // address and port, or name and port
	Verdicts []Verdict `json:"verdicts"`
}

// Passes reports whether no layer drops it.
func (r Route) Passes() bool {
	return !slices.ContainsFunc(r.Verdicts, func(v Verdict) bool { return !v.Passes })
}

// Drops is the first layer that does not let it pass, "" if all do.
func (r Route) Drops() Layer {
	for _, v := range r.Verdicts {
		if !v.Passes {
			return v.Layer
		}
	}
	return ""
}

// A Line is a line of the policy and where it stands.
type Line struct {
	Path string     `json:"path"`
	Flow string     `json:"flow,omitempty"` // its ID, of a flow
	At   policy.Pos `json:"at,omitzero"`
}

// An Explanation says why something passes or does not.
type Explanation struct {
	From   string  `json:"from"`
	To     string  `json:"to"`
	Port   Port    `json:"port"`
	Passes bool    `json:"passes"` // on some route
	Routes []Route `json:"routes"`
	Lines  []Line  `json:"lines"` // that let it pass; none: no line of the policy does
	// Notes are what else one has to know.
	Notes []lang.Text `json:"notes,omitempty"`
	// Add is a flow that would let it pass; nil if it passes, or no flow can.
	Add *Suggestion `json:"add,omitempty"`
}

// A Suggestion is a flow that the policy does not have.
type Suggestion struct {
	ID       string `json:"id"`
	From     string `json:"from"`
	To       string `json:"to"`
	Port     Port   `json:"port"`
	Crossing bool   `json:"crossing"` // leaves a tier: somebody must answer for it
}

// Lines are s as a policy has it under "flows:". What a person has to say is
// empty, which a policy refuses.
func (s Suggestion) Lines(in lang.Lang) []string {
	return flowLines(s.ID, s.From, s.To, s.Port, s.Crossing, in)
}

// Explain says whether from may send to a port of to when the policy of j is
// enforced, where it is dropped, and by which line of the policy or for want of
// which. From and to are the name of a container or a service, "host" or
// "any-internet"; to may also be an address or a host name outside.
func Explain(w World, j *Judge, from, to string, port Port) (Explanation, error) {
	t, err := newTopology(w, j.policy)
	if err != nil {
		return Explanation{}, err
	}
	x := explainer{topology: t, Explanation: Explanation{From: from, To: to, Port: port}}
	a, err := x.one(from)
	if err != nil {
		return Explanation{}, err
	}
	outside := ""
	if at, ok := x.at(to); ok {
		x.note(lang.Text{En: "%s is %s now", Es: "%s es ahora %s"}, to, at)
		to = at
	}
	b, err := x.one(to)
	if err != nil {
		if outside = destination(to); outside == "" {
			return Explanation{}, err
		}
		b, x.Notes = t.net, x.Notes[:min(len(x.Notes), 1)]
	}
	if a.ns == nil && b.ns == nil {
		x.note(lang.Text{
			En: "casco rules what goes into containers or out of them: this is neither", Es: "casco rige lo que entra en contenedores o sale de ellos: esto no es ni lo uno ni lo otro",
		})
		x.Passes = true
		return x.Explanation, nil
	}
	x.routes(a, b, outside)
	x.Passes = slices.ContainsFunc(x.Routes, Route.Passes)
	x.lines(a, b, outside)
	if !x.Passes {
		x.wanting(a, b, outside)
	}
	return x.Explanation, nil
}

// destination is to, if it is an address or the name of a host outside.
func destination(to string) string {
	to = strings.TrimPrefix(to, "egress:")
	if _, err := netip.ParseAddr(to); err == nil {
		return to
	}
	if strings.Contains(to, ".") && !strings.ContainsAny(to, "/ ") {
		return strings.ToLower(to)
	}
	return ""
}

type explainer struct {
	*topology
	Explanation
}

func (x *explainer) note(t lang.Text, args ...any) { x.Notes = append(x.Notes, t.F(args...)) }

// one is the node of that name; of replicas the first.
func (x *explainer) one(name string) (*node, error) {
	nodes, err := x.named(name)
	if err != nil {
		return nil, err
	}
	if len(nodes) == 0 {
		return nil, lang.Errorf(lang.Text{En: "nothing runs in tier %s", Es: "nada corre en el nivel %s"}, name)
	}
	if len(nodes) > 1 {
		x.note(lang.Text{En: "%s is %d workloads; this is about %s", Es: "%s son %d cargas; esto trata de %s"}, name, len(nodes), nodes[0].name)
	}
	if nodes[0].ns == nil && name != TheHost && name != Internet {
		x.note(lang.Text{En: "%s is on the host's network: it is the host", Es: "%s está en la red del anfitrión: es el anfitrión"}, name)
	}
	return nodes[0], nil
}

// at is who has an address: a container, or the host.
func (x *explainer) at(text string) (string, bool) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return "", false
	}
	host := slices.Contains(x.w.Host, a)
	for _, n := range x.nodes {
		if n.ns != nil && slices.Contains(n.ns.addrs, a) {
			return n.name, true
		}
		host = host || n.ns != nil && slices.Contains(n.ns.gateways(), a)
	}
	return TheHost, host
}

// routes are all ways that a packet could take.
func (x *explainer) routes(a, b *node, outside string) {
	port := x.Port
	switch {
	case (a.remote() || b.remote()) && (a.ns == nil || b.ns == nil || a.remote() && b.remote()):
		x.note(whyElsewhere)
	case a.ns != nil && a.ns == b.ns:
		x.Routes = append(x.Routes, Route{Way: SharedNamespace, To: port.String()})
	case a.ns != nil && b.ns != nil:
		x.between(a.ns, b.ns)
	case a.ns != nil && x.isHost(b):
		for _, d := range x.doors(a.ns) {
			x.byDoor(HostService, a.ns, d.at, port)
		}
	case a.ns != nil:
		x.out(a.ns, outside)
	case x.isHost(a):
		in := x.rules.Inside[b.ns.ID]
		x.Routes = append(x.Routes, Route{FromTheHost, "", port.String(), []Verdict{{PeerIn, in.TakesHost(port)}}})
	default:
		in := x.rules.Inside[b.ns.ID]
		for _, addr := range b.ns.addrs {
			x.Routes = append(x.Routes, Route{PublishedPort, "", where(addr, port.Number), []Verdict{
				{HostTable, x.rules.Outside.Lets(addr, port)}, {PeerIn, slices.Contains(in.Open, port)},
			}})
		}
	}
}

// between two containers: to each address of the one, and round by the host.
func (x *explainer) between(a, b *placedNS) {
	own, far := x.rules.Inside[a.ID], x.rules.Inside[b.ID]
	way, open := AcrossBridges, x.open(a, b)
	if len(open) == 0 && len(about(x.judge.pass(a, b), x.Port)) > 0 {
		x.Notes = append(x.Notes, doubtRules)
	}
	if slices.ContainsFunc(open, func(h Hop) bool { return h.Way == Direct }) {
		way = Direct
	}
	for _, to := range b.addrs {
		for _, from := range a.addrs {
			if from.Is4() == to.Is4() {
				x.Routes = append(x.Routes, Route{way, from.String(), where(to, x.Port.Number), x.verdicts(own, far, from, to)})
			}
		}
	}
	for _, m := range b.Members {
		if own == nil || far == nil {
			break // round by a port of this host it is nobody's way
		}
		for _, p := range m.Published {
			if p.Port != x.Port || p.Host.IsLoopback() {
				continue
			}
			for _, d := range x.doors(a) {
				if !d.at.IsValid() || p.Host != d.at && !(p.Host.IsUnspecified() && p.Host.Is4() == d.at.Is4()) {
					continue
				}
				x.byDoor(d.way, a, d.at, Port{p.HostPort, p.Port.Proto})
				last := &x.Routes[len(x.Routes)-1]
				last.Verdicts = append(last.Verdicts, Verdict{PeerIn, slices.ContainsFunc(b.gateways(), func(g netip.Addr) bool { return far.Takes(g, p.Port) })})
			}
		}
	}
}

// verdicts are those of the layers between two addresses. One that is on another
// host has its rules there, and what it sends is in no table of this one.
func (x *explainer) verdicts(own, far *Inside, from, to netip.Addr) []Verdict {
	var out []Verdict
	if own != nil {
		out = append(out, Verdict{OwnOut, own.Sends(to, x.Port)}, Verdict{SourcePin, true})
	}
	if own != nil && far != nil {
		out = append(out, Verdict{HostTable, x.rules.Outside.Forwards(from, to, x.Port)})
	}
	if far != nil {
		out = append(out, Verdict{PeerIn, far.Takes(from, x.Port)})
	}
	return out
}

var whyElsewhere = lang.Text{
	En: "it is on another host of the swarm, whose own guard answers for this", Es: "está en otro anfitrión del swarm, de cuya propia guardia es esto",
}

// byDoor is a way to the host.
func (x *explainer) byDoor(way Way, a *placedNS, at netip.Addr, port Port) {
	serves := slices.ContainsFunc(a.addrs, func(f netip.Addr) bool { return x.rules.Outside.Serves(f, port) })
	x.Routes = append(x.Routes, Route{way, "", where(at, port.Number), []Verdict{
		{OwnOut, at.IsValid() && x.rules.Inside[a.ID].Sends(at, port)}, {SourcePin, len(a.addrs) > 0}, {HostTable, serves},
	}})
}

// out of the host, to an address or a name; to "" is anywhere.
func (x *explainer) out(a *placedNS, outside string) {
	in := x.rules.Inside[a.ID]
	r := Route{Way: ToOutside, To: outside + ":" + x.Port.String()}
	passes := false
	switch addr, err := netip.ParseAddr(outside); {
	case outside == "":
		passes = slices.ContainsFunc(in.Nets, func(n NetPort) bool { return n.Port == x.Port }) || slices.ContainsFunc(in.Names, func(n NamePort) bool { return n.Port == x.Port })
		r.To = x.Port.String()
	case err == nil:
		passes = in.Sends(addr, x.Port)
	default:
		passes = slices.ContainsFunc(in.Names, func(n NamePort) bool { return n.Port == x.Port && nameIs(n.Name, outside) })
	}
	r.Verdicts = []Verdict{{OwnOut, passes}, {SourcePin, len(a.addrs) > 0}, {HostTable, passes}}
	x.Routes = append(x.Routes, r)
}

// nameIs reports whether a name of a policy, which may begin with "*.", is that
// of a host.
func nameIs(pattern, name string) bool {
	if tail, wild := strings.CutPrefix(pattern, "*"); wild {
		return strings.HasSuffix(name, tail) && len(name) > len(tail)
	}
	return pattern == name
}

// reasonsFor are what of the policy is about the two, for any port.
func (x *explainer) reasonsFor(a, b *node, outside string) []Reason {
	j := x.judge
	switch {
	case a.ns != nil && b.ns != nil:
		return j.pass(a.ns, b.ns)
	case a.ns != nil && x.isHost(b):
		return j.reasons(a.ns, host, true)
	case x.isHost(a):
		return append(j.reasons(b.ns, host, false), j.reasons(b.ns, internet, false)...)
	case b.ns != nil:
		return j.reasons(b.ns, internet, false)
	}
	addr, err := netip.ParseAddr(outside)
	return j.reasonsOf(a.ns, func(e end) bool {
		switch e.kind {
		case aNetwork:
			return outside == "" || err == nil && e.net.Contains(addr)
		case aHostName:
			return outside == "" || err != nil && nameIs(e.name, outside)
		}
		return false
	})
}

func (x *explainer) line(path string) Line {
	l := Line{Path: path, At: x.judge.policy.Where(path)}
	for i, f := range x.judge.flows {
		if f.path == path {
			l.Flow = x.judge.policy.Flows[i].ID
		}
	}
	return l
}

// lines are those of the policy that let it pass.
func (x *explainer) lines(a, b *node, outside string) {
	for _, r := range about(x.reasonsFor(a, b, outside), x.Port) {
		x.Lines = append(x.Lines, x.line(r.Path))
	}
}

// wanting says what is missing.
func (x *explainer) wanting(a, b *node, outside string) {
	j := x.judge
	for _, r := range x.reasonsFor(a, b, outside) {
		if r.Port != x.Port && r.Port != (Port{}) {
			x.note(lang.Text{En: "flow %s is for %s, not for %s", Es: "el flujo %s es para %s, no para %s"}, x.line(r.Path).Flow, r.Port, x.Port)
		}
	}
	if outside == "" {
		for _, r := range about(x.reasonsFor(b, a, ""), x.Port) {
			x.note(lang.Text{En: "%s is for the other direction", Es: "%s es para el otro sentido"}, x.judge.policy.Where(r.Path))
		}
	}
	for _, n := range []*node{a, b} {
		if n.ns == nil {
			continue
		}
		if len(n.ns.addrs) == 0 {
			x.note(lang.Text{En: "%s has no address: nothing reaches it, nothing leaves it", Es: "%s no tiene dirección: nada le llega, nada sale de él"}, n.name)
		}
		for i, m := range n.ns.Members {
			if n.ns.members[i].Default {
				x.note(lang.Text{
					En: "nothing places %s: it has tier %s, which is what is left (%s)", Es: "nada coloca a %s: tiene el nivel %s, que es el que queda (%s)",
				}, m.Workload.Name, n.ns.members[i].Tier, x.judge.policy.Where(n.ns.members[i].By))
			}
		}
		if len(n.ns.Members) > 1 {
			x.note(lang.Text{
				En: "%s share one namespace: only what all of them may passes", Es: "%s comparten un espacio de red: sólo pasa lo que pueden todos",
			}, n.ns.Name())
		}
	}
	if a.ns != nil && b.ns != nil && a.ns.members[0].Tier == b.ns.members[0].Tier {
		tier := a.ns.members[0].Tier
		mode, path := j.inside(tier)
		x.note(lang.Text{
			En: "both are in tier %s, whose inside is %q (%s): %s and %s", Es: "ambos están en el nivel %s, cuyo inside es %q (%s): %s y %s",
		}, tier, mode, j.policy.Where(path), a.ns.members[0].App, b.ns.members[0].App)
	}
	from, ok1 := x.policyEnd(a, "", TheHost, Internet)
	to, ok2 := x.policyEnd(b, outside, TheHost, "")
	if !ok1 || !ok2 || x.Port.Number == 0 {
		return
	}
	_, _, crossing := policy.Flow{From: from, To: to}.Ends()
	taken := map[string]bool{}
	for _, f := range j.policy.Flows {
		taken[f.ID] = true
	}
	if len(x.Lines) == 0 {
		x.Add = &Suggestion{flowID(Observed{From: from, To: to, Port: x.Port}, taken), from, to, x.Port, crossing}
	}
}

// policyEnd is how a flow names n. One that has several members has no one name.
func (x *explainer) policyEnd(n *node, outside, theHost, theNet string) (string, bool) {
	switch {
	case n.ns != nil:
		if len(n.ns.Members) != 1 {
			return "", false
		}
		return x.judge.nameOf(n.ns.Members[0], n.ns.members[0])
	case x.isHost(n):
		return theHost, true
	case outside != "":
		return "egress:" + outside, true
	}
	return theNet, theNet != ""
}
