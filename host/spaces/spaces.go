// Package spaces reads the network namespaces in which containers run: what
// they are, which interfaces and addresses they have, and who runs in them.
//
// It asks the kernel and the engine's files, not the engine: a container that
// is starting is locked, and a question about it would wait for the start that
// waits for the answer (moby, daemon/start.go, containerStart).
package spaces

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"casco/guard/network"
	"casco/internal/conntrack"
	"casco/internal/nsenter"
	"casco/lang"
	"casco/loop/inventory"
	"casco/policy"
)

// A Space is a network namespace that is held open: as long as it is, its
// inode number means this one and no other.
type Space struct {
	ID uint64 // inode number in nsfs
	NS netns.NsHandle
	// nl asks for its interfaces; nil until that was done. To enter the namespace
	// for a new one each time took longer than to ask.
	nl *netlink.Handle
}

// Of opens the network namespace of a process.
func Of(pid int) (*Space, error) {
	return open("/proc/" + strconv.Itoa(pid) + "/ns/net")
}

func open(path string) (*Space, error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(ns), &st); err != nil {
		ns.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Space{ID: st.Ino, NS: ns}, nil
}

// Again is a second hold on the same namespace, for who may outlive the first.
func (s *Space) Again() (*Space, error) {
	fd, err := unix.FcntlInt(uintptr(s.NS), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	return &Space{ID: s.ID, NS: netns.NsHandle(fd)}, nil
}

// Close lets go of the namespace.
func (s *Space) Close() error {
	s.again()
	return s.NS.Close()
}

// again has the next question asked on a new socket.
func (s *Space) again() {
	if s.nl != nil {
		s.nl.Close()
		s.nl = nil
	}
}

// Forget makes the kernel forget the connections of the namespace that allows
// does not let be: what belongs to one is then judged anew. It returns how many
// they were.
func (s *Space) Forget(allows func(network.Connection) bool) (int, error) {
	none := false
	err := nsenter.Net(s.NS, func() error { none = conntrack.NoneHere(); return nil })
	if err != nil || none {
		return 0, err
	}
	nl, err := netlink.NewHandleAt(s.NS, unix.NETLINK_NETFILTER)
	if err != nil {
		return 0, fmt.Errorf("connections: %w", err)
	}
	defer nl.Close()
	n, errs := 0, []error{}
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		gone, err := nl.ConntrackDeleteFilters(netlink.ConntrackTable, family, forbidden(allows))
		n += int(gone)
		// The table changes while it is read; what is new was judged.
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			errs = append(errs, fmt.Errorf("connections: %w", err))
		}
	}
	return n, errors.Join(errs...)
}

// forbidden finds what a function does not let be.
type forbidden func(network.Connection) bool

// MatchConntrackFlow is a method of netlink.CustomConntrackFilter.
func (f forbidden) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	from, ok := netip.AddrFromSlice(flow.Forward.SrcIP)
	to, answers := netip.AddrFromSlice(flow.Reverse.SrcIP)
	if !ok || !answers {
		return false
	}
	return !f(network.Connection{
		From: from.Unmap(), To: to.Unmap(), FromPort: flow.Forward.SrcPort,
		Port: network.Port{Number: flow.Reverse.SrcPort, Proto: network.Proto(flow.Forward.Protocol)},
	})
}

// A Host reads what is on the other end of a container's interfaces. It is for
// one goroutine.
type Host struct{ nl *netlink.Handle }

// OpenHost takes the network namespace of the host: that of the engine.
func OpenHost(ns netns.NsHandle) (*Host, error) {
	nl, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return &Host{nl}, nil
}

// Close ends it.
func (h *Host) Close() { h.nl.Close() }

// Addrs are the addresses of the host, those of one link only and of loopback
// aside.
func (h *Host) Addrs() ([]netip.Addr, error) {
	list, err := h.nl.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("addresses of the host: %w", err)
	}
	var out []netip.Addr
	for _, a := range list {
		if addr, ok := addrOf(a); ok && !addr.IsLoopback() && !addr.IsLinkLocalUnicast() {
			out = append(out, addr)
		}
	}
	return out, nil
}

// Bridges are the networks of an engine as far as the kernel shows them: what
// is known while the engine is not there to be asked. They have the names of
// their interfaces.
func (h *Host) Bridges() ([]network.Segment, error) {
	links, err := h.nl.LinkList()
	if err != nil {
		return nil, fmt.Errorf("interfaces of the host: %w", err)
	}
	var out []network.Segment
	for _, l := range links {
		if l.Type() != "bridge" {
			continue
		}
		s := network.Segment{Name: l.Attrs().Name, Driver: "bridge", Bridge: l.Attrs().Name}
		addrs, err := h.nl.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			return nil, fmt.Errorf("addresses of %s: %w", s.Bridge, err)
		}
		for _, a := range addrs {
			addr, ok := addrOf(a)
			if !ok || addr.IsLinkLocalUnicast() {
				continue
			}
			ones, _ := a.Mask.Size()
			s.Subnets = append(s.Subnets, netip.PrefixFrom(addr, ones).Masked())
			s.Gateways = append(s.Gateways, addr)
		}
		if s.Subnets != nil {
			out = append(out, s)
		}
	}
	return out, nil
}

func addrOf(a netlink.Addr) (netip.Addr, bool) {
	addr, ok := netip.AddrFromSlice(a.IP)
	return addr.Unmap(), ok
}

// peer is the interface of the host with that index whose other end is in ns and
// has index other, and the bridge that it is on, "" for none. An index is that of
// another namespace for an overlay network, where the host may have an interface
// of that index too; and whoever has CAP_NET_ADMIN in a container makes
// interfaces with the indices that he likes, so the host must say the same.
func (h *Host) peer(ns netns.NsHandle, index, other int) (name, bridge string) {
	link, err := h.nl.LinkByIndex(index)
	if err != nil || link.Attrs().ParentIndex != other || link.Type() != "veth" {
		return "", ""
	}
	if id, err := h.nl.GetNetNsIdByFd(int(ns)); err != nil || id < 0 || id != link.Attrs().NetNsID {
		return "", ""
	}
	if master := link.Attrs().MasterIndex; master != 0 {
		if br, err := h.nl.LinkByIndex(master); err == nil {
			bridge = br.Attrs().Name
		}
	}
	return link.Attrs().Name, bridge
}

// Endpoints are the interfaces of s with what they have now, without loopback.
// Each is on the segment whose bridge its other end is on, or else that its
// address is in; an address that its segment does not have is not the engine's
// but of whoever has CAP_NET_ADMIN in there, and is left out: rules would let
// others send to it, wherever it is. It is for one goroutine, for each s too.
func (h *Host) Endpoints(s *Space, segments []network.Segment) ([]network.Endpoint, error) {
	if s.nl == nil {
		nl, err := netlink.NewHandleAt(s.NS, unix.NETLINK_ROUTE)
		if err != nil {
			return nil, fmt.Errorf("netlink: %w", err)
		}
		s.nl = nl
	}
	links, err := s.nl.LinkList()
	if err != nil {
		s.again()
		return nil, fmt.Errorf("interfaces: %w", err)
	}
	addrs, err := s.nl.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		s.again()
		return nil, fmt.Errorf("addresses: %w", err)
	}
	var out []network.Endpoint
	for _, l := range links {
		a := l.Attrs()
		// Interfaces without an address of a link are tunnels that every namespace
		// has (sit0, tunl0).
		if len(a.HardwareAddr) != 6 || a.Name == "lo" {
			continue
		}
		e := network.Endpoint{Iface: a.Name}
		copy(e.MAC[:], a.HardwareAddr)
		for _, addr := range addrs {
			if ip, ok := addrOf(addr); ok && addr.LinkIndex == a.Index {
				e.Addrs = append(e.Addrs, ip)
			}
		}
		slices.SortFunc(e.Addrs, netip.Addr.Compare)
		bridge := ""
		if l.Type() == "veth" {
			e.Peer, bridge = h.peer(s.NS, a.ParentIndex, a.Index)
		}
		seg := segmentOf(e, bridge, segments)
		e.Network, e.Gateways = seg.Name, seg.Gateways
		e.Addrs = slices.DeleteFunc(e.Addrs, func(a netip.Addr) bool { return !a.IsLinkLocalUnicast() && !has(seg, a) })
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b network.Endpoint) int { return strings.Compare(a.Iface, b.Iface) })
	return out, nil
}

// segmentOf is the segment of an interface, the zero one if none is known.
func segmentOf(e network.Endpoint, bridge string, segments []network.Segment) network.Segment {
	for _, s := range segments {
		switch {
		case bridge != "" && s.Bridge == bridge,
			// What is not on a bridge of the host is on no network that has one.
			bridge == "" && (s.Bridge == "" || e.Peer != "") && slices.ContainsFunc(e.Addrs, func(a netip.Addr) bool { return has(s, a) }):
			return s
		}
	}
	return network.Segment{}
}

func has(s network.Segment, a netip.Addr) bool {
	return slices.ContainsFunc(s.Subnets, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Files is where an engine keeps what it knows of its containers:
// "/var/lib/docker/containers".
type Files string

// A Described is a container as the engine's files have it.
type Described struct {
	network.Workload
	// Shares is the ID or name of the container whose network it uses, "" if it
	// has its own.
	Shares string
	// PID is the process that the engine last wrote down as the container's, 0 for
	// none. It may be long gone, and its number another's.
	PID int
}

// All are the IDs of the engine's containers, whether they run or not.
func (f Files) All() ([]string, error) {
	dirs, err := os.ReadDir(string(f))
	var ids []string
	for _, d := range dirs {
		if containerID.MatchString(d.Name()) {
			ids = append(ids, d.Name())
		}
	}
	return ids, err
}

// Has reports whether a container is the engine's.
func (f Files) Has(id string) bool {
	if !containerID.MatchString(id) {
		return false
	}
	_, err := os.Stat(filepath.Join(string(f), id, "config.v2.json"))
	return err == nil
}

// containerID is what an engine calls a container: it becomes part of a path.
var containerID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Read reads what a container is. Ports that the engine chooses are known only
// once it runs.
func (f Files) Read(id string) (*Described, error) {
	if !containerID.MatchString(id) {
		return nil, lang.Errorf(lang.Text{En: "%q is no ID of a container", Es: "%q no es el ID de un contenedor"}, id)
	}
	var c containerFile
	var h hostFile
	dir := filepath.Join(string(f), id)
	for name, into := range map[string]any{"config.v2.json": &c, "hostconfig.json": &h} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(b, into); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
	}
	return describe(&c, &h)
}

// Object is a container as the engine's files have it, under the names of the
// Engine API (GET /containers/{id}/json), and the names of its volumes by the
// paths at which the engine keeps them. What the engine knows of it only while it
// runs is not there.
func (f Files) Object(id string) (*inventory.Object, map[string]string, error) {
	if !containerID.MatchString(id) {
		return nil, nil, lang.Errorf(lang.Text{En: "%q is no ID of a container", Es: "%q no es el ID de un contenedor"}, id)
	}
	dir := filepath.Join(string(f), id)
	var c struct {
		Name            string
		Config          map[string]any
		NetworkSettings struct{ Networks map[string]any }
		MountPoints     map[string]struct{ Type, Name, Source string }
	}
	var host map[string]any
	for name, into := range map[string]any{"config.v2.json": &c, "hostconfig.json": &host} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, nil, err
		}
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		if err := d.Decode(into); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
	}
	if c.Name == "" {
		return nil, nil, errNameless
	}
	volumes := map[string]string{}
	for _, m := range c.MountPoints {
		if m.Type != "bind" && m.Source != "" {
			volumes[m.Source] = m.Name
		}
	}
	networks := map[string]any{}
	for name, v := range c.NetworkSettings.Networks {
		networks[name] = v
	}
	return &inventory.Object{
		Ref: inventory.Ref{Kind: inventory.Container, Name: strings.TrimPrefix(c.Name, "/")}, Source: dir, Read: time.Now().UTC(),
		Fields: map[string]any{
			"Config": c.Config, "HostConfig": host, "NetworkSettings": map[string]any{"Networks": networks}, "State": map[string]any{"Running": false},
		},
	}, volumes, nil
}

// Named is the ID of a container of that name, "" if there is none.
func (f Files) Named(name string) string {
	dirs, err := os.ReadDir(string(f))
	if err != nil {
		return ""
	}
	for _, d := range dirs {
		var c struct{ Name string }
		b, err := os.ReadFile(filepath.Join(string(f), d.Name(), "config.v2.json"))
		if err == nil && json.Unmarshal(b, &c) == nil && c.Name == "/"+name {
			return d.Name()
		}
	}
	return ""
}

type containerFile struct {
	ID, Name string
	State    struct {
		Running bool
		Pid     int
	}
	Config struct {
		Image  string
		Labels map[string]string
	}
	NetworkSettings struct {
		Networks map[string]json.RawMessage
	}
}

type hostFile struct {
	NetworkMode  string
	PortBindings map[string][]struct{ HostIp, HostPort string }
}

var errNameless = errors.New("the engine's file has no name of a container in it")

func describe(c *containerFile, h *hostFile) (*Described, error) {
	d := &Described{Workload: network.Workload{ID: c.ID}}
	d.Workload.Workload = policy.Workload{Name: strings.TrimPrefix(c.Name, "/"), Image: c.Config.Image, Labels: c.Config.Labels}
	if d.Workload.Workload.Name == "" || c.ID == "" {
		return nil, errNameless
	}
	for name := range c.NetworkSettings.Networks {
		d.Workload.Workload.Networks = append(d.Workload.Workload.Networks, name)
	}
	slices.Sort(d.Workload.Workload.Networks)
	if c.State.Running {
		d.PID = c.State.Pid
	}
	d.OnHost = h.NetworkMode == "host"
	d.Shares, _ = strings.CutPrefix(h.NetworkMode, "container:")
	if d.Shares == h.NetworkMode {
		d.Shares = ""
	}
	for port, bindings := range h.PortBindings {
		p, err := network.ParsePort(port)
		if err != nil {
			continue // "8000-8010/tcp" is not what the engine keeps
		}
		for _, b := range bindings {
			if pub, ok := published(p, b.HostIp, b.HostPort); ok {
				d.Published = append(d.Published, pub...)
			}
		}
	}
	sortPublished(d.Published)
	return d, nil
}

// published is a binding; one without an address is on all of both families.
func published(p network.Port, ip, port string) ([]network.Published, bool) {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return nil, false // the engine chooses
	}
	if ip == "" {
		return []network.Published{
			{Host: netip.IPv4Unspecified(), HostPort: uint16(n), Port: p}, {Host: netip.IPv6Unspecified(), HostPort: uint16(n), Port: p},
		}, true
	}
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return nil, false
	}
	return []network.Published{{Host: a, HostPort: uint16(n), Port: p}}, true
}

func sortPublished(ps []network.Published) {
	slices.SortFunc(ps, func(a, b network.Published) int {
		if c := a.Host.Compare(b.Host); c != 0 {
			return c
		}
		return strings.Compare(fmt.Sprint(a.HostPort, a.Port), fmt.Sprint(b.HostPort, b.Port))
	})
}

// Ports are the published ports of a running container as the engine says them
// (NetworkSettings.Ports of Engine API 1.41, GET /containers/{id}/json).
func Ports(ports map[string][]struct{ HostIp, HostPort string }) []network.Published {
	var out []network.Published
	for port, bindings := range ports {
		p, err := network.ParsePort(port)
		if err != nil {
			continue
		}
		for _, b := range bindings {
			if pub, ok := published(p, b.HostIp, b.HostPort); ok {
				out = append(out, pub...)
			}
		}
	}
	sortPublished(out)
	return out
}

// A NetworkJSON is a network as the engine says it (Engine API 1.41, GET
// /networks).
type NetworkJSON struct {
	ID       string `json:"Id"`
	Name     string
	Driver   string
	Internal bool
	Ingress  bool
	Labels   map[string]string
	Options  map[string]string
	IPAM     struct {
		Config []struct{ Subnet, Gateway string }
	}
}

// Segment is the network as the rules speak of it.
func (n NetworkJSON) Segment() network.Segment {
	s := network.Segment{Name: n.Name, Driver: n.Driver, Internal: n.Internal, Ingress: n.Ingress, Labels: n.Labels, Options: n.Options}
	if n.Driver == "bridge" {
		s.Bridge = n.Options["com.docker.network.bridge.name"]
		if s.Bridge == "" && len(n.ID) >= 12 {
			s.Bridge = "br-" + n.ID[:12]
		}
		if len(s.Bridge) >= unix.IFNAMSIZ {
			s.Bridge = ""
		}
	}
	for _, c := range n.IPAM.Config {
		// A network without addresses of the engine's (--ipam-driver null) has
		// 0.0.0.0/0, which would be the whole Internet.
		if p, err := netip.ParsePrefix(c.Subnet); err == nil && p.Bits() > 0 {
			s.Subnets = append(s.Subnets, p.Masked())
		}
		// Of other drivers it is a router's, or nobody's: it is not the host.
		gw, _, _ := strings.Cut(c.Gateway, "/")
		if a, err := netip.ParseAddr(gw); err == nil && n.Driver != "overlay" && n.Driver != "macvlan" && n.Driver != "ipvlan" {
			s.Gateways = append(s.Gateways, a)
		}
	}
	return s
}
