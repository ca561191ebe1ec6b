package proc

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"casco/loop/inventory"
)

// nsNames are the kinds of namespaces, as /proc/PID/ns names them;
// namespaces(7). "time" exists since kernel 5.6.
var nsNames = []string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"}

// namespaces are those of one process: kind to identity, "net:[4026531840]".
// A kind that the kernel does not have is not in it.
type namespaces map[string]string

// namespaces reads those of p. It takes the right to trace p (ptrace(2)).
func (p *process) namespaces() (namespaces, error) {
	ns := namespaces{}
	for _, name := range nsNames {
		id, err := p.link("ns/" + name)
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			return nil, err
		default:
			ns[name] = id
		}
	}
	return ns, nil
}

// A home is what a container could share with the host: the namespaces and
// the mounts of the host and of its engines.
type home struct {
	ns      namespaces      // the host's
	err     error           // why ns is nil
	nets    map[string]bool // network namespaces of the engines: what "--net host" gives
	peers   peers           // peer groups of the host's and the engines' mounts
	peerErr error           // why peers may lack some
	self    *process
	engines []*process // the engines themselves
	views   views      // what file trees they all see
}

// home reads what is the host's own, until it is closed: of process 1, or of ourselves where a
// security module hides process 1 even from root.
func (fs procfs) home(daemons []*inventory.Object) (*home, error) {
	self, err := fs.self()
	if err != nil {
		return nil, err
	}
	h := &home{nets: map[string]bool{}, peers: peers{}, self: self, views: views{}}
	h.addPeers(self)
	h.addHost(fs)
	for _, d := range daemons {
		h.addEngine(fs, d)
	}
	return h, nil
}

// addHost reads process 1, and falls back to ourselves.
func (h *home) addHost(fs procfs) {
	if first, err := fs.open(1); err == nil {
		defer first.close()
		if ns, err := first.namespaces(); err == nil {
			h.ns = ns
			h.addPeers(first)
			return
		}
	}
	h.ns, h.err = h.self.namespaces()
}

// addEngine holds the process of daemon d, if it can be seen from here, and
// notes on d which namespaces it has for itself: what it calls the host's
// network is then its own.
func (h *home) addEngine(fs procfs, d *inventory.Object) {
	pid, _, ok := inventory.DaemonPid.Of(d)
	if !ok || pid <= 0 {
		return
	}
	p, err := fs.open(int(pid))
	if err != nil {
		unread(d, "OwnNamespaces", err)
		return
	}
	h.engines = append(h.engines, p)
	h.addPeers(p)
	ns, err := p.namespaces()
	ours, selfErr := h.self.namespaces()
	if err = errors.Join(err, selfErr, h.err); err != nil {
		unread(d, "OwnNamespaces", err)
		return
	}
	h.nets[ns["net"]] = true
	host := maps.Clone(h.ns)
	host["mnt"] = ours["mnt"] // whether its paths are the ones that we read
	note(d, "OwnNamespaces", p.at, ns.without(host))
}

func (h *home) addPeers(p *process) {
	v, err := h.views.of(p)
	if err != nil {
		h.peerErr = errors.Join(h.peerErr, err)
		return
	}
	for group := range peersOf(v.mounts) {
		h.peers[group] = true
	}
}

func (h *home) close() {
	h.views.close()
	h.self.close()
	for _, p := range h.engines {
		p.close()
	}
}

// shared returns the names of the host's namespaces among ns, sorted. The
// engine's network is the host's for a container, wherever the engine is.
func (h *home) shared(ns namespaces) ([]string, error) {
	if h.err != nil {
		return nil, fmt.Errorf("the host's own namespaces: %w", h.err)
	}
	names := []string{}
	for name, id := range ns {
		if h.ns[name] == id || name == "net" && h.nets[id] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// without returns the names of the namespaces of ns that are not those of
// other, sorted.
func (ns namespaces) without(other namespaces) []string {
	names := []string{}
	for name, id := range ns {
		if other[name] != id {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
