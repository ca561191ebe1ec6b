// Package network says which workloads may talk, as values.
//
// A policy names tiers and the few flows between them. From it and from what
// runs, Rules makes what each network namespace and the host let pass; all else
// is dropped. Nothing here touches a kernel: host/nft writes the rules, and
// whoever prints, explains or tests them reads the same values.
//
// The identity of a workload is its network namespace. An address is only what
// a namespace has now: two containers that share a namespace may do what both
// of them may, and an address that is taken over carries nothing with it.
package network

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"casco/lang"
	"casco/policy"
)

// A Proto is a protocol of the Internet that has ports, by its number (IANA,
// Protocol Numbers).
type Proto uint8

// The protocols that a policy can name.
const (
	TCP  Proto = 6
	UDP  Proto = 17
	SCTP Proto = 132
)

var protoNames = map[Proto]string{TCP: "tcp", UDP: "udp", SCTP: "sctp"}

func (p Proto) String() string {
	if name, ok := protoNames[p]; ok {
		return name
	}
	return strconv.Itoa(int(p))
}

// A Port is a port with its protocol. The zero Port stands for every protocol
// and port.
type Port struct {
	Number uint16
	Proto  Proto
}

// ParsePort reads 5432/tcp.
func ParsePort(s string) (Port, error) {
	number, proto, _ := strings.Cut(s, "/")
	n, err := strconv.ParseUint(number, 10, 16)
	for p, name := range protoNames {
		if err == nil && n > 0 && name == proto {
			return Port{uint16(n), p}, nil
		}
	}
	return Port{}, lang.Errorf(lang.Text{En: "%q is no port with its protocol, such as 443/tcp", Es: "%q no es un puerto con su protocolo, como 443/tcp"}, s)
}

func (p Port) String() string {
	if p == (Port{}) {
		return "*"
	}
	return fmt.Sprintf("%d/%s", p.Number, p.Proto)
}

// MarshalText makes a Port a JSON string.
func (p Port) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (p *Port) UnmarshalText(b []byte) (err error) {
	if string(b) == "*" {
		*p = Port{}
		return nil
	}
	if *p, err = ParsePort(string(b)); err == nil {
		return nil
	}
	// A flow may have a protocol that no policy names: "8/1" is ICMP.
	number, proto, _ := strings.Cut(string(b), "/")
	n, err1 := strconv.ParseUint(number, 10, 16)
	m, err2 := strconv.ParseUint(proto, 10, 8)
	if err1 != nil || err2 != nil {
		return err
	}
	*p = Port{uint16(n), Proto(m)}
	return nil
}

func (p Port) compare(o Port) int {
	return cmp.Or(cmp.Compare(p.Proto, o.Proto), cmp.Compare(p.Number, o.Number))
}

// A Workload is a container, as far as a policy speaks of it.
type Workload struct {
	ID        string // the engine's; "" of one that only a file describes
	Workload  policy.Workload
	Published []Published
	// OnHost says that it uses the network namespace of the host: it is the host.
	OnHost bool
}

// Published is a port of a container that the host passes on.
type Published struct {
	Host     netip.Addr // where the host listens; unspecified: on all its addresses of that family
	HostPort uint16
	Port     Port // in the container
}

// An Endpoint is an interface of a namespace, with what it has now.
type Endpoint struct {
	Iface    string // its name in the namespace, "eth0"
	Network  string // the engine's network that it is on; "" if none was found
	MAC      [6]byte
	Addrs    []netip.Addr // of both families, fe80::/10 too
	Gateways []netip.Addr // of the network: addresses of the host on it
	Peer     string       // the name of the other end on the host; "" if it is not there
	// VIP is the address on this network of the Swarm service that the container
	// is a task of; zero if there is none. What is sent to it arrives here from a
	// relay of the network.
	VIP netip.Addr
}

// A Namespace is a network namespace in which containers run, here or on
// another host of the swarm; or what has the address of a service.
type Namespace struct {
	ID        uint64 // inode number in nsfs, or of RemoteID; never 0
	Members   []Workload
	Endpoints []Endpoint
	// Remote says that nothing can be enforced in it from here: it is on another
	// host, or is no namespace at all. It has one endpoint, on a network that
	// both hosts have.
	Remote bool
	// Service is the name of the Swarm service for whose virtual address it
	// stands, "" if containers run in it. Its members are the tasks of the
	// service, wherever they are. It is Remote, and is only sent to: who talks to
	// it talks to any of its tasks, so what all of them may be sent passes.
	Service string
}

// RemoteID makes the ID of a Remote namespace of what names it in the swarm. It
// is no inode's.
func RemoteID(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64() | madeUp
}

// GatewayBridge is the network by which containers of overlay networks reach
// their host and what is outside. The engine puts all of them on it, of all
// tiers, and nobody there has to do with another (moby, libnetwork/controller.go,
// libnGWNetwork).
const GatewayBridge = "docker_gwbridge"

// Name is what its members are called, in order, joined with "+"; of a service
// its own name.
func (n Namespace) Name() string {
	if n.Service != "" {
		return n.Service
	}
	var names []string
	for _, m := range n.Members {
		names = append(names, m.Workload.Name)
	}
	slices.Sort(names)
	return strings.Join(names, "+")
}

// OnHost reports whether it is the host's own: one of its members says so.
func (n Namespace) OnHost() bool {
	return slices.ContainsFunc(n.Members, func(w Workload) bool { return w.OnHost })
}

// Addrs are the addresses of its endpoints but those of one link only, of which
// every interface has one.
func (n Namespace) Addrs() []netip.Addr {
	var out []netip.Addr
	for _, e := range n.Endpoints {
		for _, a := range e.Addrs {
			if !a.IsLinkLocalUnicast() {
				out = append(out, a)
			}
		}
	}
	return out
}

// meeting are the addresses at which containers talk to each other: those of
// Addrs but the ones of the way out.
func (n Namespace) meeting() []netip.Addr {
	n.Endpoints = slices.DeleteFunc(slices.Clone(n.Endpoints), func(e Endpoint) bool { return e.Network == GatewayBridge })
	return n.Addrs()
}

// on reports whether it has an endpoint on a network.
func (n Namespace) on(network string) bool {
	return network != "" && slices.ContainsFunc(n.Endpoints, func(e Endpoint) bool { return e.Network == network })
}

// gateways are those of its endpoints, each once.
func (n Namespace) gateways() []netip.Addr {
	var out []netip.Addr
	for _, e := range n.Endpoints {
		for _, g := range e.Gateways {
			if !slices.Contains(out, g) {
				out = append(out, g)
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// A Segment is a network of the engine.
type Segment struct {
	Name     string
	Driver   string
	Bridge   string // its interface on the host; "" if it has none there
	Subnets  []netip.Prefix
	Gateways []netip.Addr
	Internal bool
	Labels   map[string]string
	Options  map[string]string // the engine's: "com.docker.network.bridge.enable_icc", "parent"
	// Ingress says that it is the one by which a swarm passes on what comes to
	// published ports of its services.
	Ingress bool
	// Relays are addresses on it of load balancers of the swarm, of each host:
	// what comes from them was sent by somebody else. Of GatewayBridge it is
	// where published ports of services lead first.
	Relays []netip.Addr
}

// A World is what rules are made for: what runs on one host.
type World struct {
	Namespaces []Namespace
	Segments   []Segment
	// Host are the host's own addresses, those of its bridges too.
	Host []netip.Addr
	// Engine is the version of the engine, "" if it is not known. No rule depends
	// on it: what is open without rules does.
	Engine string
}
