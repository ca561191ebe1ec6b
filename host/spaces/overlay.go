package spaces

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"casco/guard/network"
	"casco/policy"
)

// Labels that a swarm gives the containers of a service, and a stack those of
// its services and networks.
const (
	swarmService   = "com.docker.swarm.service.name"
	stackNamespace = "com.docker.stack.namespace"
)

// An OverlayJSON is a network with all that is on it, on every host, as the
// engine says it (Engine API 1.41, GET /networks/{id}?verbose=true).
type OverlayJSON struct {
	NetworkJSON
	// Containers are the endpoints on this host, by the ID of the container or
	// the name of a load balancer ("lb-NETWORK", "ingress-sbox").
	Containers map[string]struct{ EndpointID, IPv4Address, IPv6Address string }
	// Services are all services by name; under "" are containers of no service.
	Services map[string]struct {
		VIP   string
		Ports []string // "Target: 80, Publish: 8080"
		Tasks []struct {
			Name, EndpointID, EndpointIP string
			Info                         map[string]string // "Host IP"
		}
	}
}

// A ServiceJSON is a service as a manager says it (Engine API 1.41, GET
// /services).
type ServiceJSON struct {
	Spec struct {
		Name         string
		TaskTemplate struct {
			ContainerSpec struct {
				Image  string
				Labels map[string]string
			}
		}
		EndpointSpec struct {
			Ports []struct {
				Protocol                  string
				TargetPort, PublishedPort uint16
				PublishMode               string
			}
		}
	}
}

// An Overlay is a network that hosts of a swarm have in common, as one of them
// knows it.
type Overlay struct {
	Network string
	// Remote are containers on other hosts, each with the one address that it has
	// on this network, and the services with theirs.
	Remote []network.Namespace
	// VIPs are by the address of a task on this network that of its service.
	VIPs map[netip.Addr]netip.Addr
	// Relays are the addresses of load balancers that the engine says: this
	// host's own, and of the network of published ports all.
	Relays []netip.Addr
	// Listed are all addresses that have a name, of this host too.
	Listed map[netip.Addr]bool
}

// ingressEndpoint is what a swarm calls the load balancers for published ports
// (moby, daemon/network.go, startIngressWorker).
const ingressEndpoint = "ingress-endpoint"

// Overlay reads who is on n. What is on this host is left to the kernel: that
// which n has among its own, and that whose host has one of the addresses of
// host. Services may be nil: only a manager knows them, and without them a peer
// has no labels but the name of its service.
func (n OverlayJSON) Overlay(services map[string]ServiceJSON, host []netip.Addr) Overlay {
	o := Overlay{Network: n.Name, VIPs: map[netip.Addr]netip.Addr{}, Listed: map[netip.Addr]bool{}}
	own := map[string]string{} // containers of this host by endpoint
	for id, c := range n.Containers {
		own[c.EndpointID] = id
		if !containerID.MatchString(id) {
			o.relays(c.IPv4Address, c.IPv6Address)
		}
	}
	twice := map[netip.Addr]int{}
	for name, s := range n.Services {
		vip := network.Namespace{ID: network.RemoteID("service " + name + " " + n.ID), Remote: true, Service: name}
		at, _ := netip.ParseAddr(s.VIP) // "<nil>" if it has none
		for _, t := range s.Tasks {
			ip, err := netip.ParseAddr(t.EndpointIP)
			if err != nil {
				continue
			}
			o.Listed[ip] = true
			if name == "" && t.Name == ingressEndpoint && n.Ingress {
				o.relays(t.EndpointIP)
				continue
			}
			w := n.task(name, t.Name, services)
			w.ID = own[t.EndpointID]
			vip.Members = append(vip.Members, w)
			if at.IsValid() {
				o.VIPs[ip] = at
			}
			where, _ := netip.ParseAddr(t.Info["Host IP"])
			if w.ID != "" || slices.Contains(host, where) {
				continue
			}
			twice[ip]++
			o.Remote = append(o.Remote, network.Namespace{
				ID: network.RemoteID("endpoint " + t.EndpointID), Remote: true, Members: []network.Workload{w},
				Endpoints: []network.Endpoint{{Network: n.Name, Addrs: []netip.Addr{ip}}},
			})
		}
		if name != "" && at.IsValid() && len(vip.Members) > 0 {
			o.Listed[at] = true
			twice[at]++
			vip.Endpoints = []network.Endpoint{{Network: n.Name, Addrs: []netip.Addr{at}}}
			for i := range vip.Members {
				vip.Members[i].Published = publishedBy(services[name], s.Ports)
			}
			slices.SortFunc(vip.Members, func(a, b network.Workload) int { return strings.Compare(a.Workload.Name, b.Workload.Name) })
			o.Remote = append(o.Remote, vip)
		}
	}
	// Of two that have one address, one is no more: which, is not said.
	o.Remote = slices.DeleteFunc(o.Remote, func(r network.Namespace) bool { return twice[r.Endpoints[0].Addrs[0]] > 1 })
	slices.SortFunc(o.Remote, func(a, b network.Namespace) int { return strings.Compare(a.Name(), b.Name()) })
	slices.SortFunc(o.Relays, netip.Addr.Compare)
	o.Relays = slices.Compact(o.Relays)
	return o
}

func (o *Overlay) relays(texts ...string) {
	for _, text := range texts {
		text, _, _ = strings.Cut(text, "/")
		if a, err := netip.ParseAddr(text); err == nil {
			o.Relays = append(o.Relays, a)
			o.Listed[a] = true
		}
	}
}

// task is a container of a service, or of none, as far as it is known here.
func (n OverlayJSON) task(service, name string, services map[string]ServiceJSON) network.Workload {
	w := policy.Workload{Name: name, Networks: []string{n.Name}, Labels: map[string]string{}}
	if service != "" {
		spec := services[service].Spec.TaskTemplate.ContainerSpec
		for k, v := range spec.Labels {
			w.Labels[k] = v
		}
		w.Image = spec.Image
		w.Labels[swarmService] = service
		// Who is no manager sees of a stack what it named: its networks have its
		// label, and its services begin with its name (docker/cli, convert.Scope).
		if stack := n.Labels[stackNamespace]; stack != "" && w.Labels[stackNamespace] == "" && strings.HasPrefix(service, stack+"_") {
			w.Labels[stackNamespace] = stack
		}
	}
	if len(n.Labels) > 0 {
		w.NetworkLabels = []map[string]string{n.Labels}
	}
	return network.Workload{Workload: w}
}

var portPair = regexp.MustCompile(`^Target: (\d+), Publish: (\d+)$`)

// publishedBy are the ports that a swarm passes on to a service. A network does
// not say of which protocol they are, and who is no manager takes them for
// TCP's and UDP's: rules let pass what a flow names, and that has a protocol.
func publishedBy(s ServiceJSON, pairs []string) []network.Published {
	var out []network.Published
	add := func(target, publish, proto string) {
		if p, err := network.ParsePort(target + "/" + proto); err == nil {
			if pub, ok := published(p, "0.0.0.0", publish); ok {
				out = append(out, pub...)
			}
		}
	}
	for _, p := range s.Spec.EndpointSpec.Ports {
		add(fmt.Sprint(p.TargetPort), fmt.Sprint(p.PublishedPort), p.Protocol)
	}
	for _, pair := range pairs {
		m := portPair.FindStringSubmatch(pair)
		if m == nil || slices.ContainsFunc(out, func(p network.Published) bool { return fmt.Sprint(p.HostPort) == m[2] }) {
			continue
		}
		add(m[1], m[2], "tcp")
		add(m[1], m[2], "udp")
	}
	sortPublished(out)
	return slices.Compact(out)
}

// Sandboxes is where an engine keeps the network namespaces that are no
// container's: "/var/run/docker/netns".
type Sandboxes string

// Overlay opens the namespace in which the engine has the bridge of an overlay
// network (moby, libnetwork/drivers/overlay, network.generateVxlanName and
// initSandbox: the number of an encounter and ten characters of the ID).
func (s Sandboxes) Overlay(id string) (*Space, error) {
	found, err := filepath.Glob(filepath.Join(string(s), "*-"+id[:min(10, len(id))]))
	if err != nil || len(found) == 0 {
		return nil, fmt.Errorf("overlay %s: %w", id, errors.Join(err, os.ErrNotExist))
	}
	return open(found[len(found)-1])
}

// Neighbours are the addresses that the engine told the kernel to be on other
// hosts, by the address of the host, in the namespace of an overlay network. They
// are there from the moment in which a peer can be reached, and among them are
// the load balancers that have no name in what the engine says.
func Neighbours(s *Space) (map[netip.Addr]netip.Addr, error) {
	nl, err := netlink.NewHandleAt(s.NS, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	defer nl.Close()
	links, err := nl.LinkList()
	if err != nil {
		return nil, fmt.Errorf("interfaces: %w", err)
	}
	out := map[netip.Addr]netip.Addr{}
	for _, l := range links {
		if l.Type() != "vxlan" {
			continue
		}
		hosts := map[string]netip.Addr{}
		bridged, err := nl.NeighList(l.Attrs().Index, unix.AF_BRIDGE)
		if err != nil {
			return nil, fmt.Errorf("hosts behind %s: %w", l.Attrs().Name, err)
		}
		for _, n := range bridged {
			if a, ok := netip.AddrFromSlice(n.IP); ok {
				hosts[n.HardwareAddr.String()] = a.Unmap()
			}
		}
		for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
			all, err := nl.NeighList(l.Attrs().Index, family)
			if err != nil {
				return nil, fmt.Errorf("neighbours behind %s: %w", l.Attrs().Name, err)
			}
			for _, n := range all {
				if a, ok := netip.AddrFromSlice(n.IP); ok && n.State&netlink.NUD_PERMANENT != 0 {
					out[a.Unmap()] = hosts[n.HardwareAddr.String()]
				}
			}
		}
	}
	return out, nil
}

// FollowNeighbours tells of each address that comes to another host, or goes,
// until ctx ends or the kernel had no room to tell.
func FollowNeighbours(ctx context.Context, s *Space, f func(a netip.Addr, gone bool)) error {
	nl, err := netlink.NewHandleAt(s.NS, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer nl.Close()
	tunnel := func(index int) bool {
		l, err := nl.LinkByIndex(index)
		return err != nil || l.Type() == "vxlan" // one that is gone may have been
	}
	news := make(chan netlink.NeighUpdate, 256)
	failed := make(chan error, 1)
	opts := netlink.NeighSubscribeOptions{
		Namespace: &s.NS, ReceiveBufferSize: 1 << 20, ReceiveBufferForceSize: true,
		ErrorCallback: func(err error) {
			select {
			case failed <- err:
			default:
			}
		},
	}
	if err := netlink.NeighSubscribeWithOptions(news, ctx.Done(), opts); err != nil {
		return fmt.Errorf("neighbours: %w", err)
	}
	for n := range news {
		a, ok := netip.AddrFromSlice(n.IP)
		if !ok || n.Family != unix.AF_INET && n.Family != unix.AF_INET6 || !tunnel(n.LinkIndex) {
			continue
		}
		// One that is deleted is first said to be there and to have failed.
		f(a.Unmap(), n.Type == unix.RTM_DELNEIGH || n.State&netlink.NUD_PERMANENT == 0)
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("neighbours: %w", <-failed)
}
