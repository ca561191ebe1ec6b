package keeper

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"casco/guard/network"
	"casco/host/gate"
	"casco/host/spaces"
	"casco/internal/procs"
	"casco/lang"
)

// failing is what decides about a start that nobody could judge.
type failing struct {
	judge   *network.Judge
	enforce bool
}

// running are the containers that the runtime knows: those that have started,
// and with a Verb those that are about to. What waits is listed first, so that
// what starts meanwhile is listed twice and not left out. Those of other runtimes
// are listed as long as they live. What could not be read is in the error, beside
// all the others.
func (k *Keeper) running() ([]gate.Start, error) {
	var out []gate.Start
	var errs []error
	for _, root := range k.cfg.Roots {
		for _, list := range []struct {
			verb string
			of   func(root string) ([]gate.Start, error)
		}{{"start", gate.Pending}, {"", gate.Running}} {
			some, err := list.of(root)
			for i := range some {
				some[i].Verb = list.verb
			}
			if !errors.Is(err, unix.ENOENT) { // no container was ever started
				errs = append(errs, err)
			}
			out = append(out, some...)
		}
	}
	for id, c := range k.containers {
		if c.apart && procs.Alive(c.pid) {
			out = append(out, gate.Start{ID: id, PID: c.pid})
		}
	}
	return out, errors.Join(errs...)
}

// inRoots reports whether the states of a runtime are where the engine's own has
// them.
func (k *Keeper) inRoots(root string) bool {
	return slices.ContainsFunc(k.cfg.Roots, func(r string) bool { return filepath.Clean(root) == r })
}

// strays are the containers that run by the engine's files, and of which no
// runtime in Roots knows: an engine may be told of a shim by its type, which has
// a runtime of its own.
func (k *Keeper) strays() (out []gate.Start, err error) {
	ids, err := k.cfg.Files.All()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range ids {
		if s, ok := k.stray(id); ok {
			out = append(out, s)
		}
	}
	return out, err
}

// stray is the one of strays with that ID. It is for who holds mu.
func (k *Keeper) stray(id string) (gate.Start, bool) {
	if k.containers[id] != nil || slices.ContainsFunc(k.cfg.Roots, func(root string) bool { return isDir(filepath.Join(root, id)) }) {
		return gate.Start{}, false
	}
	d, err := k.cfg.Files.Read(id)
	if err != nil || d.PID <= 1 {
		return gate.Start{}, false
	}
	// The file may be of before the machine was started, and the process another's.
	groups, err := os.ReadFile(procs.Dir(d.PID) + "/cgroup")
	if err != nil || !bytes.Contains(groups, []byte(id)) {
		return gate.Start{}, false
	}
	return gate.Start{ID: id, PID: d.PID}, true
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// readHost asks what networks and addresses the host has. An engine that is
// only starting, and starts containers before it answers anybody, is known by
// its bridges.
func (k *Keeper) readHost(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, engineTime)
	defer cancel()
	nets, err := k.cfg.Engine.Networks(asking)
	if err != nil {
		k.cfg.Log.Warn("engine does not answer", "err", err)
		if k.segments == nil {
			k.segments, err = k.links.Bridges()
			return err
		}
		return nil
	}
	addrs, err := k.links.Addrs()
	if err != nil {
		return err
	}
	k.segments = nil
	clear(k.swarm.ids)
	for _, n := range nets {
		s := n.Segment()
		if s.Driver == "overlay" || s.Name == network.GatewayBridge {
			k.swarm.ids[s.Name] = n.ID
		}
		s.Relays = k.swarm.relays[s.Name]
		// The engine does not say the gateway of its first network, and a gateway
		// may have been given up for another.
		for _, a := range addrs {
			if !slices.Contains(s.Gateways, a) && slices.ContainsFunc(s.Subnets, func(p netip.Prefix) bool { return p.Contains(a) }) {
				s.Gateways = append(s.Gateways, a)
			}
		}
		k.segments = append(k.segments, s)
	}
	return nil
}

func (k *Keeper) hostAddrs() []netip.Addr {
	addrs, err := k.links.Addrs()
	if err != nil {
		k.trouble("", err)
	}
	return addrs
}

// meet takes note of a container and its namespace. Of one on the host's there
// is none: the host's own namespace is never written to as if it were a
// container's.
func (k *Keeper) meet(ctx context.Context, s gate.Start) (*container, *space, error) {
	d, err := k.cfg.Files.Read(s.ID)
	if err != nil {
		return nil, nil, err
	}
	opened, err := spaces.Of(s.PID)
	if err != nil {
		return nil, nil, err
	}
	if opened.ID == k.cfg.Host.ID {
		opened.Close()
		d.OnHost = true
		k.containers[s.ID] = &container{Described: d, pid: s.PID}
		k.happened(Event{Kind: Ungoverned, Container: d.Workload.Workload.Name, Text: lang.Text{
			En: "it uses the host's network: no rule can tell it from the host", Es: "usa la red del anfitrión: ninguna regla puede distinguirlo de él",
		}})
		return k.containers[s.ID], nil, nil
	}
	sp := k.spaces[opened.ID]
	if sp == nil {
		if over := k.endings[opened.ID]; over != nil {
			<-over // its rules still are another's, and can be nobody's else
			delete(k.endings, opened.ID)
		}
		sp = &space{Space: opened, members: map[string]*container{}}
		k.spaces[opened.ID] = sp
	} else {
		opened.Close()
	}
	k.label(d)
	c := k.containers[s.ID]
	if c != nil && c.space != sp.ID {
		k.leave(c)
	}
	if c != nil && len(c.Published) > 0 && c.started {
		d.Published = c.Published
	}
	c = &container{Described: d, pid: s.PID, space: sp.ID, started: c != nil && c.started, apart: !k.inRoots(s.Root)}
	k.containers[s.ID], sp.members[s.ID] = c, c
	return c, sp, nil
}

// members are the containers of a namespace, by full ID.
func (k *Keeper) members(id uint64) map[string]*container {
	if s := k.spaces[id]; s != nil {
		return s.members
	}
	return nil
}

// unmet tells of a container that could not be taken note of, unless it ended
// meanwhile.
func (k *Keeper) unmet(s gate.Start, err error) {
	if procs.Alive(s.PID) {
		k.trouble(s.ID, err)
	}
}

// ports asks for the ports that the engine chose, of a container that has
// started. It is for who does not hold mu: the engine answers about a container
// once no start of it is under way, and each start waits for mu.
func (k *Keeper) ports(ctx context.Context, id string) ([]network.Published, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	return k.cfg.Engine.Ports(ctx, id)
}

// askWithin is how long the engine may take to answer what it is asked.
const askWithin = 5 * time.Second

// started takes note that a container has started, with the ports that the
// engine chose for it.
func (k *Keeper) started(ctx context.Context, id string) error {
	ps, err := k.ports(ctx, id)
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.containers[id]
	if c == nil || k.spaces[c.space] == nil || !procs.Alive(c.pid) {
		return nil // it has ended already
	}
	c.started = true
	if err != nil {
		k.trouble(c.Workload.Workload.Name, err)
	} else {
		c.Published = ps
	}
	return k.write(k.state.Put(k.namespace(c.space)))
}

// namespace is the value of a namespace as it is now.
func (k *Keeper) namespace(id uint64) network.Namespace {
	n := network.Namespace{ID: id}
	for _, c := range k.members(id) {
		n.Members = append(n.Members, c.Workload)
	}
	slices.SortFunc(n.Members, func(a, b network.Workload) int { return strings.Compare(a.ID, b.ID) })
	ends, err := k.links.Endpoints(k.spaces[id].Space, k.segments)
	if err != nil {
		k.trouble(n.Name(), err)
		if in := k.state.Still(id); in != nil {
			ends = in.Endpoints // as they were: without any it would be cut off
		}
	}
	n.Endpoints = k.unclaimed(id, n.Name(), ends)
	k.swarm.place(&n)
	return n
}

// unclaimed leaves out addresses that a container gave itself while somebody who
// lives has them: the engine gives an address to one that starts, and to nobody
// who runs.
func (k *Keeper) unclaimed(id uint64, name string, ends []network.Endpoint) []network.Endpoint {
	if s := k.spaces[id]; s.in == nil {
		return ends
	}
	for i, e := range ends {
		ends[i].Addrs = slices.DeleteFunc(slices.Clone(e.Addrs), func(a netip.Addr) bool {
			owner := k.state.Owner(a)
			if owner == 0 || owner == id || k.spaces[owner] == nil || !k.lives(owner) {
				return false
			}
			k.happened(Event{Kind: Tampered, Container: name, Text: lang.Text{
				En: "it took the address of %s, %s: that is not believed", Es: "tomó la dirección de %s, %s: no se le cree",
			}.F(k.nameOf(owner), a)})
			return true
		})
	}
	return ends
}

// Start puts the rules of a container in place that is about to start. It is a
// gate.Judge. If it cannot, that is an error only where rules are enforced: to
// count what they would drop is no reason not to start. Of one that is only being
// made there is no network yet.
func (k *Keeper) Start(ctx context.Context, s gate.Start) error {
	if s.Verb == "create" {
		return nil
	}
	if !k.ours(s) {
		k.builds(s)
		return nil
	}
	select {
	case <-k.loaded:
	case <-ctx.Done():
		return ctx.Err()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err // nobody waits any more, and its process may be another's by now
	}
	err := k.start(ctx, s)
	if err == nil || !k.enforce {
		k.tried(err)
		return nil
	}
	return lang.Errorf(lang.Text{En: "%w: %w", Es: "%w: %w"}, gate.ErrUnjudged, err)
}

// errInOne is of "restore", which the engine calls for a checkpoint: there is no
// moment between in which the network is there and the program is not.
var errInOne = lang.Errorf(lang.Text{
	En: "the runtime makes and starts it in one: its network cannot be held", Es: "el runtime lo crea y lo arranca a la vez: su red no se puede retener",
})

// start is Start for who holds mu.
func (k *Keeper) start(ctx context.Context, s gate.Start) error {
	if s.PID == 0 {
		return errInOne
	}
	c, sp, err := k.meet(ctx, s)
	if err != nil || sp == nil {
		return err
	}
	n := k.namespace(c.space)
	if slices.ContainsFunc(n.Endpoints, func(e network.Endpoint) bool { return e.Network == "" }) {
		// A network that is newer than what is known of them.
		if err := k.readHost(ctx); err != nil {
			return err
		}
		if err := k.write(k.state.SetHost(k.segments, k.hostAddrs())); err != nil {
			return err
		}
		if c, sp, err = k.meet(ctx, s); err != nil || sp == nil {
			return err
		}
		n = k.namespace(c.space)
	}
	if nets := k.overlaysOf(n); len(nets) > 0 {
		// What cannot be asked now is found soon, and closed until then.
		asking, cancel := context.WithTimeout(ctx, peersTime)
		if err := k.askPeers(asking, nets); err != nil {
			k.cfg.Log.Warn("peers on other hosts are not known yet", "err", err)
		}
		cancel()
		n = k.namespace(c.space)
		k.swarm.soon()
	}
	if err := k.write(k.state.Put(n)); err != nil {
		return err
	}
	// One that joins a namespace changes nothing of rules that were not made.
	if s := k.spaces[c.space]; s != nil && s.stale {
		return k.fresh(c.space, true)
	}
	return nil
}

// ours reports whether a start is of the engine that is kept: others may use
// the same runtime. A container with a shim of its own is known by its ID alone.
func (k *Keeper) ours(s gate.Start) bool {
	return k.inRoots(s.Root) || k.cfg.Files.Has(s.ID)
}

// builds tells of a step of a build: BuildKit, which is part of the engine, makes
// and starts it in one, and of what is in it the engine keeps no files.
func (k *Keeper) builds(s gate.Start) {
	data := filepath.Dir(string(k.cfg.Files))
	if s.Verb != "run" || !strings.HasPrefix(filepath.Clean(s.Bundle), filepath.Join(data, "buildkit")+"/") {
		return
	}
	k.happened(Event{Kind: Ungoverned, Text: lang.Text{
		En: "a step of a build runs without rules of its own: those of the host and of the others hold it", Es: "un paso de una construcción corre sin reglas propias: lo retienen las del anfitrión y las de los demás",
	}})
}

// MayStart says whether a container starts whose rules could not be put in
// place: only if its tier says so, or no rules are enforced. It is the fail mode
// of a gate, and does not wait for mu, which whoever failed may hold.
func (k *Keeper) MayStart(s gate.Start) bool {
	return !k.ours(s) || !k.failing.Load().enforce || k.TierOpens(s)
}

// TierOpens says whether the tier of a container lets it start though nobody
// could judge it, and tells of it.
func (k *Keeper) TierOpens(s gate.Start) bool {
	now := k.failing.Load()
	open := false
	name := s.ID
	if d, err := k.cfg.Files.Read(s.ID); err == nil {
		name = d.Workload.Workload.Name
		if t := now.judge.Policy().Tier(now.judge.Place(d.Workload.Workload).Tier); t != nil {
			open = t.WithoutGuard == "open"
		}
	}
	if open {
		k.happened(Event{Kind: Open, Container: name, Text: lang.Text{
			En: "it starts though it was not judged, as its tier says", Es: "arranca sin haberse juzgado, como dice su nivel",
		}})
	} else {
		k.happened(Event{Kind: Refused, Container: name, Text: lang.Text{
			En: "it was not started: it could not be judged, or its network rules not be put in place", Es: "no se arrancó: no se pudo juzgar, o poner sus reglas de red",
		}})
	}
	return open
}

// reread reads again what a container is, and keeps its published ports. The
// engine takes one that ends out of its networks first, and its files may be
// gone when that is heard of.
func (k *Keeper) reread(c *container) {
	d, err := k.cfg.Files.Read(c.ID)
	if err != nil {
		if procs.Alive(c.pid) {
			k.trouble(c.Workload.Workload.Name, err)
		}
		return
	}
	d.Published = c.Published
	k.label(d)
	c.Described = d
}

// label gives a container the labels of its networks.
func (k *Keeper) label(d *spaces.Described) {
	for _, n := range d.Workload.Workload.Networks {
		i := slices.IndexFunc(k.segments, func(s network.Segment) bool { return s.Name == n })
		if i >= 0 {
			d.Workload.Workload.NetworkLabels = append(d.Workload.Workload.NetworkLabels, k.segments[i].Labels)
		}
	}
}

// leave takes a container out of its namespace, and the namespace with the
// last one.
func (k *Keeper) leave(c *container) {
	id := c.space
	delete(k.containers, c.ID)
	s := k.spaces[id]
	if s == nil {
		return
	}
	delete(s.members, c.ID)
	if len(s.members) > 0 {
		k.tried(k.write(k.state.Put(k.namespace(id))))
		if s.names != nil && s.life == c.pid {
			k.tried(k.fresh(id, false)) // what answers its names ends with c
		}
		return
	}
	k.tried(k.write(k.state.Drop(id)))
	k.dropPeers()
}

// lives reports whether a process of one of its containers is left in a
// namespace.
func (k *Keeper) lives(id uint64) bool {
	for _, c := range k.members(id) {
		if procs.Alive(c.pid) {
			return true
		}
	}
	return false
}

// engineTime is how long an engine may take to say its networks, while the
// start of a container waits.
const engineTime = 2 * time.Second
