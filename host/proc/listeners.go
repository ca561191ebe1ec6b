package proc

import (
	"context"
	"errors"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"casco/loop/inventory"
)

// Listeners is the inventory.Source of the sockets that listen in the host's
// own network namespace, each with the process behind it and the container it
// serves. It must run after the source that reads the containers.
type Listeners struct {
	root procfs
	pid  int      // whose network namespace; 0 is ours
	open *hearing // what Begin found; nil before it, and after Read
}

// A hearing is the listening sockets and their holders.
type hearing struct {
	socks  []socket
	source string
	read   time.Time
	held   map[uint64]holder
	unheld error // why held is not all
	err    error
}

// NewListeners returns a source that reads /proc.
func NewListeners() *Listeners { return &Listeners{root: "/proc"} }

// Name implements inventory.Source.
func (*Listeners) Name() string { return "proc listeners" }

// Begin implements inventory.Early: it asks every process for its sockets.
func (l *Listeners) Begin(ctx context.Context, _ string) {
	l.open = &hearing{read: time.Now().UTC()}
	l.open.err = l.listen(ctx, l.open)
}

func (l *Listeners) listen(ctx context.Context, h *hearing) error {
	p, err := l.root.self()
	if l.pid != 0 {
		p, err = l.root.open(l.pid)
	}
	if err != nil {
		return err
	}
	defer p.close()
	if h.socks, h.source, err = p.listening(); err != nil {
		return err
	}
	pids, err := l.root.pids()
	if err != nil {
		return err
	}
	// systemd keeps the sockets of the services it activates: it comes last.
	if i := slices.Index(pids, 1); i >= 0 {
		pids = append(slices.Delete(pids, i, i+1), 1)
	}
	h.held, h.unheld = l.root.holders(pids, inodesOf(h.socks), 16*filesMost)
	sortSockets(h.socks)
	return ctx.Err()
}

// Read implements inventory.Source: it adds listener objects to s. A process
// that may not be looked at leaves its sockets without Pid, and why.
func (l *Listeners) Read(ctx context.Context, s *inventory.Snapshot) error {
	if l.open == nil {
		l.Begin(ctx, s.Host)
	}
	h := l.open
	l.open = nil
	if h.err != nil {
		return h.err
	}
	owners := ownersOf(s)
	for _, sock := range h.socks {
		o := object(sock, h.source, h.read)
		if s.Find(o.Ref) != nil {
			continue // SO_REUSEPORT: one of several sockets of a server
		}
		if by, ok := h.held[sock.inode]; ok {
			l.holder(o, sock, by, owners)
		} else {
			why := h.unheld
			if why == nil {
				why = errors.New("no process has it open: the kernel does, or the process has ended")
			}
			for _, f := range []string{"Pid", "Exe", "Container"} {
				unread(o, f, why)
			}
		}
		s.Add(o)
	}
	return nil
}

// object is a listening socket, named proto:addr:port.
func object(sock socket, source string, now time.Time) *inventory.Object {
	return &inventory.Object{
		Ref:    inventory.Ref{Kind: inventory.Listener, Name: sock.proto + ":" + sock.at.String()},
		Source: source,
		Read:   now,
		Fields: map[string]any{
			"Proto": sock.proto,
			"Addr":  sock.at.Addr().String(),
			"Port":  int64(sock.at.Port()),
		},
	}
}

// holder adds to o the process that holds the socket, and its container.
func (l *Listeners) holder(o *inventory.Object, sock socket, h holder, owners *owners) {
	dir := path.Join(string(l.root), strconv.Itoa(h.pid))
	note(o, "Pid", dir+"/fd", int64(h.pid))
	p, err := l.root.open(h.pid)
	if err != nil {
		unread(o, "Exe", err)
		unread(o, "Container", err)
		return
	}
	defer p.close()
	if exe, err := p.link("exe"); err != nil {
		unread(o, "Exe", err)
	} else {
		note(o, "Exe", dir, strings.TrimSuffix(exe, " (deleted)"))
	}
	cgroup, err := p.read("cgroup")
	if err != nil {
		unread(o, "Container", err)
		return
	}
	name := owners.byCgroup(cgroup)
	if name == "" && forwards[h.comm] {
		args, _ := p.read("cmdline")
		name = owners.byPort(sock, parseProxy(args))
	}
	note(o, "Container", dir, name)
}

// forwards are the commands that listen for a container: docker-proxy, dockerd
// itself where docker-proxy is off, and what does it for a rootless engine.
var forwards = map[string]bool{
	"docker-proxy": true, "dockerd": true, "rootlesskit": true, "rootlessport": true, "slirp4netns": true,
}

// A proxy is what a docker-proxy was started for: its command line has
// -proto -host-ip -host-port -container-ip -container-port.
type proxy struct {
	to netip.Addr // the container's address, zero if it is no docker-proxy
}

// parseProxy reads a /proc/PID/cmdline.
func parseProxy(cmdline []byte) proxy {
	args := strings.Split(string(cmdline), "\x00")
	for i, arg := range args {
		name, value, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if name != "container-ip" || !strings.HasPrefix(arg, "-") {
			continue
		}
		if !joined && i+1 < len(args) {
			value = args[i+1]
		}
		to, _ := netip.ParseAddr(value)
		return proxy{to}
	}
	return proxy{}
}

// owners finds containers by what the kernel shows of them.
type owners struct {
	ids   map[string]string // ID to name
	ports map[portKey][]published
	addrs map[netip.Addr][]string
}

type portKey struct {
	proto string
	port  uint16
}

type published struct {
	addr netip.Addr // zero is all addresses
	name string
}

func ownersOf(s *inventory.Snapshot) *owners {
	w := &owners{map[string]string{}, map[portKey][]published{}, map[netip.Addr][]string{}}
	for _, o := range s.Of(inventory.Container) {
		if id, _, ok := inventory.ContainerID.Of(o); ok {
			w.ids[id] = o.Ref.Name
		}
		w.addAddrs(o)
		w.addPorts(o)
	}
	return w
}

func (w *owners) addAddrs(o *inventory.Object) {
	nets, _, _ := inventory.Networks.Of(o)
	for _, n := range nets {
		n, _ := n.(map[string]any)
		for _, key := range []string{"IPAddress", "GlobalIPv6Address"} {
			s, _ := n[key].(string)
			if a, err := netip.ParseAddr(s); err == nil {
				w.addrs[a] = append(w.addrs[a], o.Ref.Name)
			}
		}
	}
}

// addPorts reads {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}.
func (w *owners) addPorts(o *inventory.Object) {
	ports, _, _ := inventory.LivePorts.Of(o)
	for inside, bindings := range ports {
		_, proto, _ := strings.Cut(inside, "/")
		list, _ := bindings.([]any)
		for _, b := range list {
			b, _ := b.(map[string]any)
			host, _ := b["HostPort"].(string)
			port, err := strconv.ParseUint(host, 10, 16)
			if err != nil {
				continue
			}
			ip, _ := b["HostIp"].(string)
			addr, _ := netip.ParseAddr(ip)
			key := portKey{proto, uint16(port)}
			w.ports[key] = append(w.ports[key], published{addr, o.Ref.Name})
		}
	}
}

// byCgroup names the container of a process, "" if it is in none.
func (w *owners) byCgroup(text []byte) string {
	ms, err := parseCgroup(text)
	if err != nil {
		return ""
	}
	for _, m := range ms {
		for _, id := range idsIn(m.path) {
			if name := w.ids[id]; name != "" {
				return name
			}
		}
	}
	return ""
}

// byPort names the container that publishes a socket: on exactly its address
// first, then on all of them; then the only one that has the address to which
// its proxy forwards.
func (w *owners) byPort(s socket, p proxy) string {
	candidates := w.ports[portKey{s.proto, s.at.Port()}]
	for _, c := range candidates {
		if c.addr == s.at.Addr() {
			return c.name
		}
	}
	for _, c := range candidates {
		if !c.addr.IsValid() || c.addr.IsUnspecified() && s.at.Addr().IsUnspecified() {
			return c.name
		}
	}
	if names := w.addrs[p.to]; p.to.IsValid() && len(names) == 1 {
		return names[0]
	}
	return ""
}
