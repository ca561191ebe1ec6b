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
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"casco/guard/network"
	"casco/host/flows"
	"casco/host/nft"
	"casco/host/resolver"
	"casco/host/spaces"
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

// A space is a network namespace that is kept.
type space struct {
	*spaces.Space
	members map[string]*container // by full ID
	rules   *nft.Space
	names   *resolver.Listener // nil if no name may be asked for
	life    int                // process with which names end by themselves
	may     atomic.Pointer[may]
	in      *network.Inside // what was written last, without its peers
	stale   bool            // something of in could not be written
	old     bool            // its rules were made before the last time
	// watched says that its flows are seen.
	watched bool
}

// A container that runs, or is about to.
type container struct {
	*spaces.Described
	pid     int
	space   uint64
	started bool // the engine has said so
	apart   bool // its runtime keeps its states elsewhere than Config.Roots
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
	k.flows = flows.New(flows.Options{Tracked: true, Ended: k.remember, Every: lookEvery})
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
