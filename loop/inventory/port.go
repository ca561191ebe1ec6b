package inventory

import (
	"net/netip"
	"strconv"
	"strings"
)

// A Port is a door of the host that leads into a container.
type Port struct {
	Inner string // "80/tcp" as the engine writes it; "" for a socket on the host's own network
	Addr  string // the host's address; "" if nobody said
	Host  int64  // the host's port; 0 if the engine picks one
	Proto string // "tcp", "udp", "sctp"; "" if it was not read
}

// String shows p as docker ps does: "0.0.0.0:8080->80/tcp".
func (p Port) String() string {
	s := p.at()
	if p.Inner != "" {
		s += "->" + p.Inner
	}
	return s
}

// Locus is p as a part of its container, from outside: "0.0.0.0:8080/tcp". Of
// all addresses, however they are written, it is 0.0.0.0, or [::] if only
// those of IPv6 are meant.
func (p Port) Locus() string {
	switch {
	case !p.Everywhere():
	case strings.Contains(p.Addr, ":"):
		p.Addr = "::"
	default:
		p.Addr = "0.0.0.0"
	}
	if p.Proto == "" {
		return p.at()
	}
	return p.at() + "/" + p.Proto
}

func (p Port) at() string {
	s := strings.Trim(p.Addr, "[]")
	if strings.Contains(s, ":") {
		s = "[" + s + "]"
	}
	return s + ":" + strconv.FormatInt(p.Host, 10)
}

// Everywhere reports whether the host listens on all its addresses, of IPv4 or
// of IPv6, however that is written.
func (p Port) Everywhere() bool {
	addr, err := netip.ParseAddr(strings.Trim(p.Addr, "[]"))
	return p.Addr == "" || p.Addr == "*" || err == nil && addr.IsUnspecified()
}

// Loopback reports whether only the host itself reaches p.
func (p Port) Loopback() bool {
	addr, err := netip.ParseAddr(strings.Trim(p.Addr, "[]"))
	return err == nil && addr.Unmap().IsLoopback()
}

// Published returns the doors of o: what it publishes or, on the host's own
// network, what it listens on. It is built on what is declared; what the
// engine filled in by itself is taken from NetworkSettings.Ports where o runs.
// ok is false if it could not be read; the last fact says why.
func Published(s *Snapshot, o *Object) (ports []Port, facts []Fact, ok bool) {
	mode, fact, hasMode := NetworkMode.Of(o)
	if name, _ := Joined(nil, mode); mode == "none" || name != "" {
		return nil, []Fact{fact}, true // the engine ignores what it publishes
	}
	if hasMode && mode == "host" {
		return onHost(s, o, fact)
	}
	bindings, bound, ok := PortBindings.Of(o)
	if !ok {
		return nil, []Fact{bound}, false
	}
	all, allFact, ok := PublishAllPorts.Of(o)
	if !ok {
		return nil, []Fact{allFact}, false
	}
	live, liveFact, _ := LivePorts.Of(o)
	facts = append(facts, bound, allFact)
	if len(live) > 0 {
		facts = append(facts, liveFact)
	}
	for _, inner := range sortedKeys(bindings) {
		for _, b := range asList(bindings[inner]) {
			ports = append(ports, filledIn(PortOf(inner, b), asList(live[inner]), defaultAddr(s, o))...)
		}
	}
	if all {
		exposed, _, _ := ExposedPorts.Of(o)
		for _, inner := range sortedKeys(exposed) {
			if bindings[inner] == nil {
				ports = append(ports, filledIn(PortOf(inner, nil), asList(live[inner]), defaultAddr(s, o))...)
			}
		}
	}
	return ports, facts, true
}

// PortOf reads a binding of an exposed port, {"HostIp": "", "HostPort": "8080"}. Of a range it is the lowest.
func PortOf(inner string, binding any) Port {
	b := asMap(binding)
	first, _, _ := strings.Cut(asString(b["HostPort"]), "-")
	n, _ := strconv.ParseInt(first, 10, 64)
	_, proto, _ := strings.Cut(inner, "/")
	return Port{inner, asString(b["HostIp"]), n, proto}
}

// filledIn replaces what p leaves to the engine by what the engine did.
func filledIn(p Port, live []any, def string) []Port {
	if p.Addr != "" && p.Host != 0 {
		return []Port{p}
	}
	var out []Port
	for _, l := range live {
		is := PortOf(p.Inner, l)
		if (p.Host == 0 || p.Host == is.Host) && (p.Addr == "" || p.Addr == is.Addr) {
			out = append(out, is)
		}
	}
	if out == nil {
		if p.Addr == "" {
			p.Addr = def
		}
		out = []Port{p}
	}
	return out
}

// defaultAddr is where the engine binds a port that names no address: as an
// option of the bridge network says, or else key "ip" of its configuration.
func defaultAddr(s *Snapshot, o *Object) string {
	mode, _, _ := NetworkMode.Of(o)
	if mode == "" || mode == "default" {
		mode = "bridge"
	}
	opts, _, _ := NetworkOptions.Of(s.Find(Ref{Kind: Network, Name: mode}))
	if addr := asString(opts["com.docker.network.bridge.host_binding_ipv4"]); addr != "" {
		return addr
	}
	addr, _, _ := DaemonDefaultIP.Of(EngineOf(s))
	return addr
}

// onHost returns the sockets of o that listen on the host's own network.
func onHost(s *Snapshot, o *Object, mode Fact) ([]Port, []Fact, bool) {
	missing := func(why string) ([]Port, []Fact, bool) {
		return nil, []Fact{mode, {Ref: o.Ref, Field: "Listeners", Err: why, Source: o.Source, Read: o.Read}}, false
	}
	if on, _, ok := Running.Of(o); !ok || !on {
		return missing("on the host's network, and does not run: what it will listen on cannot be told")
	}
	if list, heard, ok := Listeners.Of(o); ok { // its own sockets, told from the host's
		var ports []Port
		for _, l := range list {
			n, _ := integer(asMap(l)["Port"])
			ports = append(ports, Port{Addr: asString(asMap(l)["Addr"]), Host: n, Proto: plainProto(asString(asMap(l)["Proto"]))})
		}
		return ports, []Fact{mode, heard}, true
	}
	all := s.Of(Listener)
	if len(all) == 0 {
		return missing("on the host's network, and the host's listening sockets were not read")
	}
	facts := []Fact{mode}
	var ports []Port
	for _, l := range all {
		owner, fact, _ := ListenerOwner.Of(l)
		if owner != o.Ref.Name {
			continue
		}
		addr, _, _ := ListenerAddr.Of(l)
		n, _, _ := ListenerPort.Of(l)
		proto, _, _ := ListenerProto.Of(l)
		ports, facts = append(ports, Port{Addr: addr, Host: n, Proto: plainProto(proto)}), append(facts, fact)
	}
	return ports, facts, true
}

// plainProto is the protocol without the version of IP: tcp6 is tcp.
func plainProto(s string) string { return strings.TrimRight(strings.ToLower(s), "46") }
