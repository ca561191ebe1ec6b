package network

import (
	"net/netip"
	"slices"

	"casco/lang"
)

// A door is an address at which a namespace finds the host.
type door struct {
	at    netip.Addr // invalid: not known
	way   Way
	doubt lang.Text
}

// doors are where a namespace finds the host. From an internal network only the
// host's address on it: it has no route to others.
func (t *topology) doors(n *placedNS) []door {
	var out []door
	add := func(d door) {
		i := slices.IndexFunc(out, func(o door) bool { return o.at == d.at })
		switch {
		case i < 0:
			out = append(out, d)
		case d.doubt == lang.Text{}:
			out[i] = d
		}
	}
	gateways := n.gateways()
	for _, e := range n.Endpoints {
		s, read := t.segment(e.Network)
		doubt := lang.Text{}
		switch {
		case !read:
			doubt = doubtUnread.F(e.Network)
		case onLAN(s):
			doubt = doubtLANHost
		case s.Driver == "overlay":
			if s.Internal {
				continue // no docker_gwbridge
			}
		case s.Driver != "bridge":
			doubt = doubtDriver.F(e.Network)
		case s.Options[optMode4] == "isolated" && (s.Options[optMode6] == "isolated" || !hasSix(s)):
			continue // the bridge has no address
		}
		for _, g := range e.Gateways {
			add(door{g, OwnGateway, doubt})
		}
		if read && s.Driver == "bridge" && len(e.Gateways) == 0 {
			add(door{netip.Addr{}, OwnGateway, doubtGateway.F(e.Network)})
		}
		if s.Internal {
			continue
		}
		for _, h := range t.w.Host {
			way := HostAddress
			if slices.ContainsFunc(t.w.Segments, func(s Segment) bool { return s.Driver == "bridge" && slices.Contains(s.Gateways, h) }) {
				way = OtherGateway
			}
			if !slices.Contains(gateways, h) {
				add(door{h, way, doubt})
			}
		}
		if len(t.w.Host) == 0 {
			add(door{netip.Addr{}, HostAddress, doubt})
		}
	}
	return out
}

func hasSix(s Segment) bool {
	return slices.ContainsFunc(s.Subnets, func(p netip.Prefix) bool { return p.Addr().Is6() })
}

// published are the ways round by ports that the host publishes for b.
func (t *topology) published(a, b *placedNS, enforced bool) []Hop {
	var out []Hop
	for _, m := range b.Members {
		for _, p := range m.Published {
			if p.Host.IsLoopback() {
				if !enforced && t.engineBefore(28) && len(a.Endpoints) > 0 {
					out = append(out, Hop{Way: HostLoopback, Via: []string{where(p.Host, p.HostPort)}, Ports: []Port{p.Port}, Doubt: doubtLoopback})
				}
				continue
			}
			for _, d := range t.doors(a) {
				if h, ok := t.round(a, b, p, d, enforced); ok {
					out = append(out, h)
				}
			}
		}
	}
	return joined(out)
}

// round is the way by one door to one published port.
func (t *topology) round(a, b *placedNS, p Published, d door, enforced bool) (Hop, bool) {
	switch {
	case !d.at.IsValid():
	case p.Host.IsUnspecified() && p.Host.Is4() != d.at.Is4():
		return Hop{}, false
	case !p.Host.IsUnspecified() && p.Host != d.at:
		return Hop{}, false
	}
	h := Hop{Way: d.way, Via: []string{where(d.at, p.HostPort)}, Ports: []Port{p.Port}, Doubt: d.doubt}
	if !enforced {
		return h, true
	}
	at := Port{p.HostPort, p.Port.Proto}
	own, far := t.rules.Inside[a.ID], t.rules.Inside[b.ID]
	if !d.at.IsValid() || !own.Sends(d.at, at) {
		return Hop{}, false
	}
	proxied := slices.ContainsFunc(a.addrs, func(x netip.Addr) bool { return t.rules.Outside.Serves(x, at) }) &&
		slices.ContainsFunc(b.gateways(), func(g netip.Addr) bool { return far.Takes(g, p.Port) })
	translated := slices.ContainsFunc(a.addrs, func(x netip.Addr) bool {
		return far.Takes(x, p.Port) && slices.ContainsFunc(b.addrs, func(y netip.Addr) bool { return t.rules.Outside.Forwards(x, y, p.Port) })
	})
	if !proxied && !translated {
		return Hop{}, false
	}
	h.Reasons = about(t.judge.pass(a, b), p.Port)
	if len(h.Reasons) == 0 { // to the host, and from the host
		h.Reasons = append(about(t.judge.reasons(a, host, true), at), about(append(t.judge.reasons(b, host, false), t.judge.reasons(b, internet, false)...), p.Port)...)
	}
	return h, true
}

// about are the reasons for one port.
func about(rs []Reason, port Port) []Reason {
	return slices.DeleteFunc(slices.Clone(rs), func(r Reason) bool { return r.Port != port && r.Port != Port{} })
}
