// Package keeper keeps the network rules of a host equal to what runs on it.
//
// A Keeper is told of every start before the container's first instruction
// (host/gate calls Start and waits), and of every end after it (the engine's
// events). For each it works out what changes (guard/network), and writes that
// into the kernel (host/nft): first what is taken away, then the new
// namespace's own rules, then what others may now do. So an address that is
// taken over carries nothing with it, and what is late is closed, not open.
//
// What the kernel has is looked at again at intervals, whoever changed it.
// Nothing is kept in a file: a Keeper that starts makes the rules of all that
// runs anew, and each namespace's old rules hold until the new ones do.
package keeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"casco/guard/network"
	"casco/host/flows"
	"casco/host/gate"
	"casco/host/nft"
	"casco/host/resolver"
	"casco/host/spaces"
	"casco/lang"
	"casco/policy"
)

// An Engine says what networks there are and what happens. Its answers must
// not wait for a container that is starting.
type Engine interface {
	// Networks are all networks.
	Networks(ctx context.Context) ([]spaces.NetworkJSON, error)
	// Ports are the published ports of a running container.
	Ports(ctx context.Context, id string) ([]network.Published, error)
	// Overlay is a network of a swarm with who is on it, on every host.
	Overlay(ctx context.Context, id string) (spaces.OverlayJSON, error)
	// Services are those of the swarm, by name. An engine that is no manager of it
	// does not know them, which is an error.
	Services(ctx context.Context) (map[string]spaces.ServiceJSON, error)
	// Events calls f for each event of a container or a network until ctx ends
	// or the engine does.
	Events(ctx context.Context, begun func(), f func(EngineEvent)) error
}

// An EngineEvent is one of the engine's (Engine API 1.41, GET /events).
type EngineEvent struct {
	Type, Action string
	Actor        struct {
		ID         string
		Attributes map[string]string
	}
}

// Config is what a Keeper works with.
type Config struct {
	Engine Engine
	// Host is the network namespace of the engine.
	Host *spaces.Space
	// Files is where the engine keeps its containers.
	Files spaces.Files
	// Roots are the runtime's directories of the engine's containers.
	Roots []string
	// Sandboxes is where the engine keeps the namespaces of its overlay networks;
	// "" if that is not known, and then load balancers of other hosts are not.
	Sandboxes spaces.Sandboxes
	// Policy is what is let pass.
	Policy *policy.Policy
	// Enforce drops what is not; without it that is only counted.
	Enforce bool
	// Happened is told what somebody should know. It must not wait.
	Happened func(Event)
	Log      *slog.Logger
}

// A Keeper is at work between New and Close. Its methods may be called from
// any goroutine.
type Keeper struct {
	cfg      Config
	resolver *resolver.Server
	flows    *flows.Watcher
	wake     chan struct{} // see Wake
	loaded   chan struct{} // closed once the rules of all that runs were made

	ending  sync.WaitGroup // who lets go of namespaces, and cuts connections
	cutting chan struct{}  // places for those that cut

	failing atomic.Pointer[failing] // by what MayStart answers

	counting sync.Mutex // one Count at a time: what grew is told of once

	endedMu sync.Mutex     // guards what follows
	ended   []network.Flow // of namespaces that are no more

	mu         sync.Mutex // guards all below, and the kernel's state
	policy     *policy.Policy
	enforce    bool
	written    bool // the rules of all that ran were made
	judge      *network.Judge
	state      *network.State
	links      *spaces.Host
	host       *nft.Host
	segments   []network.Segment
	spaces     map[uint64]*space
	containers map[string]*container    // by full ID
	endings    map[uint64]chan struct{} // namespaces that are being let go of; closed when that is done
	drops      map[string]map[string]nft.Counter
	swarm      swarm
	// turning says that SetPolicy is about to make the host's rules anew, and
	// hostStale that this was tried and failed.
	turning, hostStale bool
}

// failing is what decides about a start that nobody could judge.
type failing struct {
	judge   *network.Judge
	enforce bool
}

// A space is a network namespace that is kept.
type space struct {
	*spaces.Space
	rules *nft.Space
	names *resolver.Listener // nil if no name may be asked for
	life  int                // process with which names end by themselves
	may   atomic.Pointer[may]
	in    *network.Inside // what was written last, without its peers
	stale bool            // something of in could not be written
	old   bool            // its rules were made before the last time
	// watched says that its flows are seen.
	watched bool
}

// A container that runs, or is about to.
type container struct {
	*spaces.Described
	pid     int
	space   uint64
	started bool // the engine has said so
}

// New takes a host. Its rules are as they were until Load.
func New(cfg Config) (*Keeper, error) {
	k := &Keeper{
		cfg: cfg, wake: make(chan struct{}, 1), cutting: make(chan struct{}, 4), loaded: make(chan struct{}), policy: cfg.Policy, enforce: cfg.Enforce,
		spaces: map[uint64]*space{}, containers: map[string]*container{}, endings: map[uint64]chan struct{}{}, drops: map[string]map[string]nft.Counter{},
		swarm: newSwarm(),
	}
	var err error
	if k.judge, err = network.NewJudge(cfg.Policy); err != nil {
		return nil, err
	}
	k.failing.Store(&failing{k.judge, k.enforce})
	k.state = network.NewState(k.judge)
	if k.links, err = spaces.OpenHost(cfg.Host.NS); err != nil {
		return nil, err
	}
	if k.host, err = nft.OpenHost(cfg.Host.NS); err != nil {
		return nil, err
	}
	if k.resolver, err = k.newResolver(cfg.Policy); err != nil {
		return nil, err
	}
	k.flows = flows.New(flows.Options{Ended: k.remember, Every: lookEvery})
	return k, nil
}

func (k *Keeper) newResolver(p *policy.Policy) (*resolver.Server, error) {
	ups, err := Upstreams(p)
	if err != nil {
		return nil, err
	}
	from := k.cfg.Host.NS
	return resolver.New(resolver.Config{Upstreams: ups, From: &from, Event: k.asked, Log: k.cfg.Log}), nil
}

// Upstreams are the resolvers that a policy names, with their ports.
func Upstreams(p *policy.Policy) ([]netip.AddrPort, error) {
	var out []netip.AddrPort
	for _, r := range p.Network.Resolvers {
		if a, err := netip.ParseAddr(r); err == nil {
			out = append(out, netip.AddrPortFrom(a, 53))
			continue
		}
		at, err := netip.ParseAddrPort(r)
		if err != nil {
			return nil, fmt.Errorf("network.resolvers: %w", err)
		}
		out = append(out, at)
	}
	return out, nil
}

// Close lets go of everything. The rules stay.
func (k *Keeper) Close() {
	k.resolver.Close()
	k.ending.Wait()
	k.flows.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.spaces {
		s.close()
	}
	k.host.Close()
	k.links.Close()
}

// close ends what answers names first: it writes into the rules.
func (s *space) close() {
	if s.names != nil {
		s.names.Close()
	}
	if s.rules != nil {
		s.rules.Close()
	}
	s.Space.Close()
}

// Load makes the rules of all that runs now. It is called once; starts wait for
// it, or the rules of the host would be made for the one that starts alone.
func (k *Keeper) Load(ctx context.Context) error {
	known, _ := k.running() // what cannot be read is told of by load
	ports := map[string][]network.Published{}
	for _, s := range known {
		if s.Verb == "" {
			ps, err := k.ports(ctx, s.ID)
			if err != nil {
				k.unmet(s, err)
				continue
			}
			ports[s.ID] = ps
		}
	}
	if err := k.load(ctx, ports); err != nil {
		return err
	}
	k.cutAll()
	return nil
}

// load is Load with the ports that the engine said.
func (k *Keeper) load(ctx context.Context, ports map[string][]network.Published) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.readHost(ctx); err != nil {
		return err
	}
	defer close(k.loaded)
	k.state.SetHost(k.segments, k.hostAddrs())
	running, err := k.running()
	k.tried(err)
	for _, s := range running {
		c, sp, err := k.meet(ctx, s)
		if err != nil {
			k.unmet(s, err)
			continue
		}
		if sp == nil {
			continue
		}
		c.started = s.Verb == ""
		if ps, ok := ports[s.ID]; ok {
			c.Published = ps
		}
		k.state.Put(k.namespace(c.space))
	}
	if nets := k.overlays(); len(nets) > 0 {
		asking, cancel := context.WithTimeout(ctx, engineTime)
		defer cancel()
		k.swarm.services = k.services(asking)
		k.tried(k.askPeers(asking, nets))
	}
	return k.writeAll()
}

// cutAll ends the connections that the rules do not let be: they are older than
// the rules, and what belongs to one passes. The others live on.
func (k *Keeper) cutAll() {
	k.mu.Lock()
	enforce, r, held := k.enforce, k.state.Rules(), map[uint64]*spaces.Space{}
	names := map[uint64]string{}
	for id, s := range k.spaces {
		if again, err := s.Again(); err == nil {
			held[id], names[id] = again, k.nameOf(id)
			defer again.Close()
		}
	}
	k.mu.Unlock()
	if !enforce {
		return
	}
	forget := func(who string, s *spaces.Space, allows func(network.Connection) bool) {
		n, err := s.Forget(allows)
		if err != nil {
			k.trouble(who, err)
		}
		if n > 0 {
			k.happened(Event{Kind: Cut, Container: who, Count: uint64(n), Text: lang.Text{
				En: "connections that no flow allows were cut", Es: "se cortaron conexiones que ningún flujo permite",
			}})
		}
	}
	for id, s := range held {
		if in := r.Inside[id]; in != nil {
			forget(names[id], s, in.Allows)
		}
	}
	forget("", k.cfg.Host, r.Allows)
}

// running are the containers that the runtime knows: those that have started,
// and with a Verb those that are about to. What waits is listed first, so that
// what starts meanwhile is listed twice and not left out. What could not be read
// is in the error, beside all the others.
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
	return out, errors.Join(errs...)
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
		sp = &space{Space: opened}
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
	c = &container{Described: d, pid: s.PID, space: sp.ID, started: c != nil && c.started}
	k.containers[s.ID] = c
	return c, sp, nil
}

// unmet tells of a container that could not be taken note of, unless it ended
// meanwhile.
func (k *Keeper) unmet(s gate.Start, err error) {
	if alive(s.PID) {
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
	if c == nil || k.spaces[c.space] == nil || !alive(c.pid) {
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
	for _, c := range k.containers {
		if c.space == id {
			n.Members = append(n.Members, c.Workload)
		}
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
// count what they would drop is no reason not to start.
func (k *Keeper) Start(ctx context.Context, s gate.Start) error {
	if !k.ours(s) {
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
	return k.write(k.state.Put(n))
}

// ours reports whether a start is of the engine that is kept: others may use
// the same runtime.
func (k *Keeper) ours(s gate.Start) bool {
	return slices.ContainsFunc(k.cfg.Roots, func(root string) bool { return filepath.Clean(s.Root) == root })
}

// MayStart says whether a container starts whose rules could not be put in
// place: only if its tier says so, or no rules are enforced. It is the fail mode
// of a gate, and does not wait for mu, which whoever failed may hold.
func (k *Keeper) MayStart(s gate.Start) bool {
	if !k.ours(s) {
		return true
	}
	now := k.failing.Load()
	if !now.enforce {
		return true
	}
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
			En: "it starts without its network rules, as its tier says", Es: "arranca sin sus reglas de red, como dice su nivel",
		}})
	} else {
		k.happened(Event{Kind: Refused, Container: name, Text: lang.Text{
			En: "it was not started: its network rules could not be put in place", Es: "no se arrancó: no se pudieron poner sus reglas de red",
		}})
	}
	return open
}

// reread reads again what a container is, and keeps its published ports.
func (k *Keeper) reread(c *container) {
	d, err := k.cfg.Files.Read(c.ID)
	if err != nil {
		k.trouble(c.Workload.Workload.Name, err)
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

// alive reports whether a process is there and not a zombie.
func alive(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	// proc(5): the state comes behind the name, which may have anything in it.
	i := bytes.LastIndexByte(b, ')')
	return i >= 0 && i+2 < len(b) && b[i+2] != 'Z' && b[i+2] != 'X'
}

// leave takes a container out of its namespace, and the namespace with the
// last one.
func (k *Keeper) leave(c *container) {
	id := c.space
	delete(k.containers, c.ID)
	if k.spaces[id] == nil {
		return
	}
	for _, other := range k.containers {
		if other.space == id {
			k.tried(k.write(k.state.Put(k.namespace(id))))
			if s := k.spaces[id]; s.names != nil && s.life == c.pid {
				k.tried(k.fresh(id, false)) // what answers its names ends with c
			}
			return
		}
	}
	k.tried(k.write(k.state.Drop(id)))
	k.dropPeers()
}

// write does what a delta says. What was taken away is written first, what the
// new may do next, what others may do with it last: if one fails, what follows
// is closed. The error is that of the host's rules or of those that are made
// anew. What could not be changed in others is closed too, or is looked at again
// at once: no start waits for it.
func (k *Keeper) write(d network.Delta) error {
	if d.Empty() || !k.written {
		return nil
	}
	var errs []error
	beside := func(id uint64, c network.Change) {
		if err := k.change(id, c); err != nil {
			k.trouble(k.nameOf(id), err)
			k.Wake()
		}
	}
	for id, c := range d.Inside {
		if len(c.Del) > 0 {
			beside(id, network.Change{Del: c.Del})
		}
	}
	for _, id := range d.Gone {
		k.tried(k.forget(id))
	}
	if d.Outside {
		errs = append(errs, k.around())
	}
	errs = append(errs, k.onHost(func() error { return k.host.Change(network.Change{Del: d.Host.Del}) }))
	for _, id := range d.Fresh {
		errs = append(errs, k.fresh(id, true))
	}
	errs = append(errs, k.onHost(func() error { return k.host.Change(network.Change{Add: d.Host.Add}) }))
	for id, c := range d.Inside {
		if len(c.Add) > 0 {
			beside(id, network.Change{Add: c.Add})
		}
	}
	k.say(d)
	k.cut(d)
	return errors.Join(errs...)
}

// onHost changes the rules of the host, if there are any. While they are about
// to be made anew they are those of another policy, or none, of which a change
// does not know; what is new then is closed until they are made. If they are not
// what the change was worked out from, they are made anew at once.
func (k *Keeper) onHost(change func() error) error {
	if !k.enforce || k.turning {
		return nil
	}
	if !k.hostStale {
		err := change()
		if err == nil {
			return nil
		}
		k.trouble("", err)
	}
	return k.writeHost()
}

// around writes which networks and addresses the engine and the host have now.
func (k *Keeper) around() error {
	errs := []error{k.onHost(func() error { return k.host.Around(k.state.Outside()) })}
	for id, s := range k.spaces {
		if in := k.state.Still(id); in != nil && s.rules != nil && s.in != nil {
			err := errors.Join(s.rules.Managed(in.Managed), k.answerNames(s, in))
			s.stale = s.stale || err != nil
			errs = append(errs, k.named(id, err))
		}
	}
	return errors.Join(errs...)
}

// say tells of each namespace whose rules were made or changed.
func (k *Keeper) say(d network.Delta) {
	for _, id := range d.Fresh {
		k.happened(Event{Kind: Rules, Container: k.nameOf(id), Text: lang.Text{
			En: "rules made, %d peers", Es: "reglas hechas, %d pares",
		}.F(len(k.state.Inside(id).Peers))})
	}
	for _, id := range slices.Sorted(maps.Keys(d.Inside)) {
		c := d.Inside[id]
		k.happened(Event{Kind: Rules, Container: k.nameOf(id), Text: lang.Text{
			En: "peers changed: %d more, %d fewer", Es: "cambiaron los pares: %d más, %d menos",
		}.F(len(c.Add), len(c.Del))})
	}
}

func (k *Keeper) change(id uint64, c network.Change) error {
	s := k.spaces[id]
	if s == nil || s.rules == nil {
		return nil
	}
	return k.named(id, s.rules.Change(c))
}

// named says in whose rules an error was.
func (k *Keeper) named(id uint64, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", k.nameOf(id), err)
}

// fresh makes the rules of a namespace, and its pins on the host unless those
// are made with the host's.
func (k *Keeper) fresh(id uint64, pin bool) error {
	s, in := k.spaces[id], k.state.Inside(id)
	if s == nil || in == nil {
		return nil
	}
	was := s.in
	s.old = was != nil
	err := k.writeSpace(s, in)
	if err == nil && pin && k.enforce {
		err = errors.Join(k.host.Pin(in), k.host.Unpin(lost(was, in)))
	}
	s.stale = err != nil
	if err != nil && !k.lives(id) {
		return nil // its interfaces go while it ends
	}
	return k.named(id, err)
}

// lives reports whether a process of one of its containers is left in a
// namespace.
func (k *Keeper) lives(id uint64) bool {
	for _, c := range k.containers {
		if c.space == id && alive(c.pid) {
			return true
		}
	}
	return false
}

// lost is what a namespace had and has no more: interfaces go before the
// namespace does, and with a network that is disconnected.
func lost(was, is *network.Inside) *network.Inside {
	gone := &network.Inside{}
	if was == nil {
		return gone
	}
	for _, e := range was.Endpoints {
		if !slices.ContainsFunc(is.Endpoints, func(now network.Endpoint) bool { return now.Peer == e.Peer }) {
			gone.Endpoints = append(gone.Endpoints, e)
		}
	}
	return gone
}

func (k *Keeper) writeSpace(s *space, in *network.Inside) error {
	if s.rules == nil {
		rules, err := nft.Enter(s.NS)
		if err != nil {
			return err
		}
		s.rules = rules
	}
	if err := k.answerNames(s, in); err != nil {
		return err
	}
	opts := nft.Options{Enforce: k.enforce}
	if s.names != nil {
		opts.Resolver = s.names.Port()
	}
	if err := s.rules.Replace(in, opts); err != nil {
		return err
	}
	still := *in
	still.Peers = nil
	s.in = &still
	return k.watch(s)
}

// forget lets a namespace go that has no container in it any more.
func (k *Keeper) forget(id uint64) error {
	s := k.spaces[id]
	if s == nil {
		return nil
	}
	delete(k.spaces, id)
	var err error
	if s.in != nil && k.enforce {
		err = k.host.Unpin(s.in)
		if s.names != nil {
			err = errors.Join(err, k.host.Gone(own(s.in)))
		}
	}
	// The kernel waits for all CPUs when a socket is closed that owns a table: 10
	// to 50 ms, in which no other container could start.
	over := make(chan struct{})
	maps.DeleteFunc(k.endings, func(_ uint64, c chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	})
	k.endings[id] = over
	k.ending.Go(func() {
		defer close(over)
		k.unwatch(s)
		s.close()
	})
	return err
}

// writeHost makes the rules of the host, if they are enforced: to count what
// would be dropped, those of the containers are enough.
func (k *Keeper) writeHost() (err error) {
	defer func() { k.hostStale = err != nil }()
	if !k.enforce {
		return k.host.Remove()
	}
	r := k.state.Rules()
	var ins []*network.Inside
	for _, id := range slices.Sorted(maps.Keys(r.Inside)) {
		ins = append(ins, r.Inside[id])
	}
	return k.host.Replace(r.Outside, ins)
}

// writeAll makes all rules anew. Until then nothing is written. A namespace that
// cannot be written to is told of, and tried again: it is no reason to leave all
// the others without.
func (k *Keeper) writeAll() error {
	k.written = true
	for _, n := range k.state.Namespaces() {
		k.tried(k.fresh(n.ID, false))
	}
	return k.writeHost()
}

// SetPolicy makes all rules anew by another policy. Starts go on meanwhile, by
// the new one.
func (k *Keeper) SetPolicy(p *policy.Policy, enforce bool) error {
	j, err := network.NewJudge(p)
	if err != nil {
		return err
	}
	ids, old, err := k.turn(p, j, enforce)
	if err != nil {
		return err
	}
	if old != nil {
		old.Close()
	}
	var errs []error
	step := func(f func() error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		errs = append(errs, f())
	}
	for _, id := range ids {
		step(func() error { return k.fresh(id, false) })
	}
	step(func() error {
		k.turning = false
		return k.writeHost()
	})
	k.cutAll()
	return errors.Join(errs...)
}

// turn puts a policy in the place of the one before. It returns the namespaces
// whose rules must be made anew, and the resolver to end, if another is asked.
func (k *Keeper) turn(p *policy.Policy, j *network.Judge, enforce bool) (ids []uint64, old *resolver.Server, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Equal(p.Network.Resolvers, k.policy.Network.Resolvers) {
		r, err := k.newResolver(p)
		if err != nil {
			return nil, nil, err
		}
		old, k.resolver = k.resolver, r
		for _, s := range k.spaces {
			s.names = nil // closed with its server
		}
	}
	state := network.NewState(j)
	state.SetHost(k.segments, k.hostAddrs())
	for _, n := range k.state.Namespaces() {
		state.Put(n)
		ids = append(ids, n.ID)
	}
	k.policy, k.enforce, k.judge, k.state, k.turning = p, enforce, j, state, true
	k.failing.Store(&failing{j, enforce})
	clear(k.swarm.told)
	return ids, old, nil
}

// Look holds the kernel against what should be there, and what is there against
// what runs, and makes good what is not so. Starts go on between one namespace
// and the next.
func (k *Keeper) Look(ctx context.Context) error {
	late, ids, err := k.look(ctx)
	errs := []error{err}
	for _, id := range ids {
		errs = append(errs, k.lookAt(id))
	}
	errs = append(errs, k.lookAtHost())
	for _, id := range late {
		errs = append(errs, k.started(ctx, id))
	}
	return errors.Join(errs...)
}

// look is the part of Look that asks what runs. It returns the containers that
// were not known, whose ports the engine chose, and all namespaces.
func (k *Keeper) look(ctx context.Context) (late []string, ids []uint64, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.readHost(ctx); err != nil {
		return nil, nil, err
	}
	errs := []error{k.write(k.state.SetHost(k.segments, k.hostAddrs()))}
	running, unread := k.running()
	errs = append(errs, unread)
	there := map[string]gate.Start{}
	for _, s := range running {
		there[s.ID] = s
	}
	for _, id := range slices.Sorted(maps.Keys(k.containers)) {
		c, now := k.containers[id], there[id]
		// One that could not be read has not ended.
		if now.ID == "" && (unread == nil || !alive(c.pid)) || now.ID != "" && now.PID != c.pid {
			k.leave(c)
		}
	}
	for _, s := range running {
		if k.containers[s.ID] == nil {
			c, sp, err := k.meet(ctx, s)
			if err != nil {
				k.unmet(s, err)
				continue
			}
			if sp != nil && s.Verb == "" {
				late = append(late, s.ID)
				k.happened(Event{Kind: Late, Container: c.Workload.Workload.Name, Text: lang.Text{
					En: "it ran without its network rules until now", Es: "corría sin sus reglas de red hasta ahora",
				}})
			}
		}
	}
	return late, slices.Sorted(maps.Keys(k.spaces)), errors.Join(errs...)
}

// lookAt holds the rules of one namespace against what they should be.
func (k *Keeper) lookAt(id uint64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.spaces[id] == nil {
		return nil
	}
	err := k.write(k.state.Put(k.namespace(id)))
	s := k.spaces[id]
	if s == nil || err != nil {
		return err
	}
	if s.rules == nil || s.stale || s.names != nil && ended(s.names) {
		return k.fresh(id, true)
	}
	if s.rules.Agrees() {
		return nil
	}
	in := k.state.Inside(id)
	if in == nil {
		return nil
	}
	if wrong := s.rules.Check(in); wrong != nil {
		k.happened(Event{Kind: Tampered, Container: k.nameOf(id), Text: lang.Text{En: "its rules are made anew: %v", Es: "sus reglas se hacen de nuevo: %v"}.F(wrong)})
		return k.fresh(id, true)
	}
	return nil
}

// lookAtHost holds the rules of the host against what they should be.
func (k *Keeper) lookAtHost() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.hostStale && !k.turning {
		return k.writeHost()
	}
	if !k.enforce || k.turning || k.host.Agrees() {
		return nil
	}
	if wrong := k.host.Check(k.state.Host()); wrong != nil {
		k.happened(Event{Kind: Tampered, Text: lang.Text{En: "the host's rules are made anew: %v", Es: "las reglas del anfitrión se hacen de nuevo: %v"}.F(wrong)})
		return k.writeHost()
	}
	return nil
}

// Remove takes all rules out of the kernel, of every namespace that is known.
func (k *Keeper) Remove() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	errs := []error{k.host.Remove()}
	for _, s := range k.spaces {
		if s.rules != nil {
			errs = append(errs, s.rules.Remove())
		}
	}
	return errors.Join(errs...)
}

// World is what runs, as the rules see it.
func (k *Keeper) World() (network.World, *policy.Policy) {
	k.mu.Lock()
	defer k.mu.Unlock()
	w := network.World{Namespaces: k.state.Namespaces(), Segments: slices.Clone(k.segments), Host: k.hostAddrs()}
	for _, id := range slices.Sorted(maps.Keys(k.containers)) {
		if c := k.containers[id]; c.OnHost {
			w.Namespaces = append(w.Namespaces, network.Namespace{ID: k.cfg.Host.ID, Members: []network.Workload{c.Workload}})
		}
	}
	return w, k.policy
}

// engineTime is how long an engine may take to say its networks, while the
// start of a container waits.
const engineTime = 2 * time.Second

// interval between two looks at everything.
const lookEvery = 30 * time.Second
