package keeper

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"casco/guard/network"
	"casco/host/spaces"
	"casco/lang"
)

// How soon what happens on other hosts is known here. An engine has no events
// for it: it is asked at intervals, and at once when the kernel is told of an
// address there, or that one is gone.
const (
	peersEvery = 5 * time.Second
	// peersTime is how long an answer is waited for while a start is held. A
	// network with two hosts takes 5 ms.
	peersTime = 500 * time.Millisecond
	// peersKept is how long peers are kept that the engine does not speak of
	// because it does not answer.
	peersKept = time.Minute
	// An address that is in the kernel and has no name all that time is a load
	// balancer's. One that has just come may be a container of which the engine
	// has not heard yet.
	relaySettles = 4 * time.Second
	// goneFor is how long an endpoint is not believed in again of which the kernel
	// was told that it is gone: the two go different ways.
	goneFor = 5 * time.Second
)

// quick are the waits after something was heard, for what comes behind it.
var quick = []time.Duration{0, 100 * time.Millisecond, 300 * time.Millisecond, time.Second}

// A swarm is what is known of other hosts. Keeper.mu guards it.
type swarm struct {
	ids      map[string]string // of networks that hosts may have in common, and GatewayBridge, by name
	relays   map[string][]netip.Addr
	vips     map[string]map[netip.Addr]netip.Addr
	nameless map[string]map[netip.Addr]time.Time // since when
	heard    map[string]time.Time                // when a network was last told of
	gone     map[uint64]time.Time
	services map[string]spaces.ServiceJSON
	told     map[uint64]bool
	followed map[string]context.CancelFunc
	wake     chan struct{}
}

func newSwarm() swarm {
	return swarm{
		ids: map[string]string{}, relays: map[string][]netip.Addr{}, vips: map[string]map[netip.Addr]netip.Addr{},
		nameless: map[string]map[netip.Addr]time.Time{}, heard: map[string]time.Time{}, gone: map[uint64]time.Time{},
		told: map[uint64]bool{}, followed: map[string]context.CancelFunc{}, wake: make(chan struct{}, 1),
	}
}

// soon has peers asked for before their time.
func (s *swarm) soon() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// place says of which services the endpoints of a namespace are.
func (s *swarm) place(n *network.Namespace) {
	for i, e := range n.Endpoints {
		for _, a := range e.Addrs {
			if vip := s.vips[e.Network][a]; vip.IsValid() {
				n.Endpoints[i].VIP = vip
			}
		}
	}
}

func (k *Keeper) segment(name string) network.Segment {
	for _, s := range k.segments {
		if s.Name == name {
			return s
		}
	}
	return network.Segment{}
}

// overlaysOf are the overlay networks that n is on.
func (k *Keeper) overlaysOf(n network.Namespace) (out []string) {
	for _, e := range n.Endpoints {
		if k.swarm.ids[e.Network] != "" && k.segment(e.Network).Driver == "overlay" {
			out = append(out, e.Network)
		}
	}
	return out
}

// overlays are those on which somebody of this host is, and that of published
// ports, which this host passes on for others.
func (k *Keeper) overlays() []string {
	in := map[string]bool{}
	for _, n := range k.governed() {
		for _, name := range k.overlaysOf(n) {
			in[name] = true
		}
	}
	for _, s := range k.segments {
		if s.Ingress && k.swarm.ids[s.Name] != "" {
			in[s.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(in))
}

// An answer is what an engine and a kernel say of one network.
type answer struct {
	spaces.OverlayJSON
	err        error
	neighbours map[netip.Addr]netip.Addr
}

// ask asks about networks, by name and ID. It needs no lock.
func (k *Keeper) ask(ctx context.Context, ids map[string]string) map[string]answer {
	out := map[string]answer{}
	for name, id := range ids {
		var a answer
		if a.OverlayJSON, a.err = k.cfg.Engine.Overlay(ctx, id); a.err == nil && k.cfg.Sandboxes != "" && a.Driver == "overlay" && !a.Ingress {
			// Without them load balancers of other hosts are not known.
			if s, err := k.cfg.Sandboxes.Overlay(id); err == nil {
				a.neighbours, _ = spaces.Neighbours(s)
				s.Close()
			}
		}
		out[name] = a
	}
	return out
}

// idsOf are the networks to ask about for what is known of some. It is for who
// holds mu.
func (k *Keeper) idsOf(nets []string) map[string]string {
	ids := map[string]string{}
	for _, name := range nets {
		ids[name] = k.swarm.ids[name]
	}
	if id := k.swarm.ids[network.GatewayBridge]; id != "" && len(nets) > 0 {
		ids[network.GatewayBridge] = id
	}
	return ids
}

// askPeers asks who is on networks and writes what that changes. It is for who
// holds mu.
func (k *Keeper) askPeers(ctx context.Context, nets []string) error {
	if len(nets) == 0 {
		return nil
	}
	return k.listen(k.ask(ctx, k.idsOf(nets)))
}

// listen takes answers in. It is for who holds mu.
func (k *Keeper) listen(answers map[string]answer) error {
	var errs []error
	now := time.Now()
	host := k.hostAddrs()
	for id, at := range k.swarm.gone {
		if now.Sub(at) > goneFor {
			delete(k.swarm.gone, id)
		}
	}
	want, about := map[uint64]network.Namespace{}, map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		a := answers[name]
		if a.err != nil {
			errs = append(errs, fmt.Errorf("network/%s: %w", name, a.err))
			continue
		}
		o := a.Overlay(k.swarm.services, host)
		k.swarm.heard[name] = now
		about[name] = true
		k.swarm.relays[name] = o.Relays
		if name == network.GatewayBridge {
			continue
		}
		k.swarm.relays[name] = append(k.swarm.relays[name], k.nameless(name, o, a.neighbours, now)...)
		k.swarm.vips[name] = o.VIPs
		for _, n := range o.Remote {
			if _, gone := k.swarm.gone[n.ID]; !gone {
				want[n.ID] = n
			}
		}
	}
	k.workloads(want)
	for i := range k.segments {
		k.segments[i].Relays = k.swarm.relays[k.segments[i].Name]
	}
	k.replacePeers(want, about)
	errs = append(errs, k.write(k.state.SetHost(k.segments, host)))
	is := map[uint64]network.Namespace{}
	for _, n := range k.state.Namespaces() {
		is[n.ID] = n
	}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		k.tellDefault(want[id])
		if !reflect.DeepEqual(is[id], want[id]) {
			errs = append(errs, k.write(k.state.Put(want[id])))
		}
	}
	for _, n := range k.governed() {
		again := n
		again.Endpoints = slices.Clone(n.Endpoints)
		for i := range again.Endpoints {
			if about[again.Endpoints[i].Network] {
				again.Endpoints[i].VIP = netip.Addr{}
			}
		}
		if k.swarm.place(&again); !reflect.DeepEqual(n.Endpoints, again.Endpoints) {
			errs = append(errs, k.write(k.state.Put(again)))
		}
	}
	return errors.Join(errs...)
}

// nameless are the neighbours that are load balancers: one of each host that
// has had an address for a while and no name.
func (k *Keeper) nameless(name string, o spaces.Overlay, neighbours map[netip.Addr]netip.Addr, now time.Time) (out []netip.Addr) {
	since := map[netip.Addr]time.Time{}
	of := map[netip.Addr][]netip.Addr{}
	for a, host := range neighbours {
		if o.Listed[a] {
			continue
		}
		since[a] = now
		if before, known := k.swarm.nameless[name][a]; known {
			since[a] = before
		}
		of[host] = append(of[host], a)
	}
	k.swarm.nameless[name] = since
	for _, as := range of {
		if len(as) == 1 && now.Sub(since[as[0]]) >= relaySettles {
			out = append(out, as[0])
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// workloads says what is known of containers: of those of this host all, and of
// others on which of this host's networks they are.
func (k *Keeper) workloads(want map[uint64]network.Namespace) {
	on, labels := map[string][]string{}, map[string][]map[string]string{}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		for _, m := range want[id].Members {
			name := m.Workload.Name
			for _, net := range m.Workload.Networks {
				if !slices.Contains(on[name], net) {
					on[name] = append(on[name], net)
					labels[name] = append(labels[name], m.Workload.NetworkLabels...)
				}
			}
		}
	}
	for _, n := range want {
		for i, m := range n.Members {
			if c := k.containers[m.ID]; c != nil {
				n.Members[i] = c.Workload
				n.Members[i].Published = m.Published
				continue
			}
			slices.Sort(on[m.Workload.Name])
			n.Members[i].Workload.Networks, n.Members[i].Workload.NetworkLabels = on[m.Workload.Name], labels[m.Workload.Name]
		}
	}
}

// replacePeers drops peers that are no more: of networks that were told of all
// that are not wanted, of others those of which nothing was heard for long.
func (k *Keeper) replacePeers(want map[uint64]network.Namespace, about map[string]bool) {
	here := map[string]bool{}
	for _, name := range k.overlays() {
		here[name] = true
	}
	for _, n := range k.state.Namespaces() {
		if !n.Remote || len(n.Endpoints) == 0 {
			continue
		}
		net := n.Endpoints[0].Network
		_, wanted := want[n.ID]
		if about[net] && !wanted || !here[net] && !about[net] || time.Since(k.swarm.heard[net]) > peersKept {
			k.tried(k.write(k.state.Drop(n.ID)))
			delete(k.swarm.told, n.ID)
		}
	}
}

// dropPeers forgets those of networks on which nobody of this host is any more.
func (k *Keeper) dropPeers() {
	k.replacePeers(nil, nil)
	for name, stop := range k.swarm.followed {
		if !slices.Contains(k.overlays(), name) {
			stop()
			delete(k.swarm.followed, name)
		}
	}
}

// tellDefault tells once of a peer that has only the tier that is left.
func (k *Keeper) tellDefault(n network.Namespace) {
	if k.swarm.told[n.ID] || n.Service != "" {
		return
	}
	k.swarm.told[n.ID] = true
	if p := k.judge.Place(n.Members[0].Workload); p.Default {
		k.happened(Event{Kind: Elsewhere, Container: n.Name(), Text: lang.Text{
			En: "it is on another host and nothing that is known of it here places it: it has tier %s, which is what is left",
			Es: "está en otro anfitrión y nada de lo que aquí se sabe lo coloca: tiene el nivel %s, que es el que queda",
		}.F(p.Tier)})
	}
}

// services are those of the swarm, none if the engine is no manager of it.
func (k *Keeper) services(ctx context.Context) map[string]spaces.ServiceJSON {
	services, err := k.cfg.Engine.Services(ctx)
	if err != nil {
		return nil
	}
	return services
}

// moved takes a peer away of whose address the kernel was told that it is gone,
// or is somebody's anew: nobody has it until the engine says who.
func (k *Keeper) moved(name string, a netip.Addr, gone bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, n := range k.state.Namespaces() {
		if n.Remote && n.Service == "" && n.Endpoints[0].Network == name && slices.Contains(n.Endpoints[0].Addrs, a) {
			if gone {
				k.swarm.gone[n.ID] = time.Now()
			}
			delete(k.swarm.told, n.ID)
			k.tried(k.write(k.state.Drop(n.ID)))
		}
	}
	delete(k.swarm.nameless[name], a)
}

// followPeers keeps up with other hosts until ctx ends.
func (k *Keeper) followPeers(ctx context.Context) {
	var work sync.WaitGroup // the followers of neighbours
	defer work.Wait()
	failing := false
	for next := 0; ; next++ {
		wait := peersEvery
		if next < len(quick) {
			wait = quick[next]
		}
		select {
		case <-ctx.Done():
			return
		case <-k.swarm.wake:
			next = 0
		case <-time.After(wait):
		}
		err := k.peers(ctx, &work)
		if err != nil && !failing && ctx.Err() == nil {
			k.trouble("", err)
		}
		failing = err != nil
	}
}

// peers asks for all peers once, and follows the kernel's neighbours where
// somebody is.
func (k *Keeper) peers(ctx context.Context, work *sync.WaitGroup) error {
	k.mu.Lock()
	k.dropPeers()
	nets := k.overlays()
	ids := k.idsOf(nets)
	k.mu.Unlock()
	if len(nets) == 0 {
		return nil
	}
	k.followNeighbours(ctx, nets, work)
	asking, cancel := context.WithTimeout(ctx, engineTime)
	defer cancel()
	services := k.services(asking)
	answers := k.ask(asking, ids)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.swarm.services = services
	return k.listen(answers)
}

// followNeighbours begins to follow those of networks that are not followed yet.
func (k *Keeper) followNeighbours(ctx context.Context, nets []string, work *sync.WaitGroup) {
	if k.cfg.Sandboxes == "" {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, name := range nets {
		if k.swarm.followed[name] != nil || k.segment(name).Ingress {
			continue
		}
		s, err := k.cfg.Sandboxes.Overlay(k.swarm.ids[name])
		if err != nil {
			continue // it is only being made
		}
		following, stop := context.WithCancel(ctx)
		k.swarm.followed[name] = stop
		work.Go(func() {
			defer s.Close()
			err := spaces.FollowNeighbours(following, s, func(a netip.Addr, gone bool) {
				k.moved(name, a, gone)
				k.swarm.soon()
			})
			if err == nil {
				return
			}
			k.cfg.Log.Warn("neighbours are not followed", "network", name, "err", err)
			k.mu.Lock()
			defer k.mu.Unlock()
			stop()
			delete(k.swarm.followed, name)
		})
	}
}
