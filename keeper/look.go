package keeper

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"casco/guard/network"
	"casco/host/gate"
	"casco/internal/procs"
	"casco/lang"
)

// Load makes the rules of all that runs now. It is called once; starts wait for
// it, or the rules of the host would be made for the one that starts alone.
func (k *Keeper) Load(ctx context.Context) error {
	known, _ := k.running() // what cannot be read is told of by load
	strays, err := k.strays()
	if err != nil {
		k.tried(err)
	}
	known = append(known, strays...)
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
	if err := k.load(ctx, strays, ports); err != nil {
		return err
	}
	k.cutAll()
	return nil
}

// load is Load with what strays found, and the ports that the engine said.
func (k *Keeper) load(ctx context.Context, strays []gate.Start, ports map[string][]network.Published) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.readHost(ctx); err != nil {
		return err
	}
	defer close(k.loaded)
	k.state.SetHost(k.segments, k.hostAddrs())
	running, err := k.running()
	k.tried(err)
	for _, s := range append(running, strays...) {
		c, sp, err := k.meet(ctx, s)
		if err != nil {
			k.unmet(s, err)
			continue
		}
		if sp == nil {
			continue
		}
		c.started = s.Verb == ""
		if c.started && !sp.hadRules() {
			k.late(c)
		}
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
		if now.ID == "" && (unread == nil || !procs.Alive(c.pid)) || now.ID != "" && now.PID != c.pid {
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
				k.late(c)
			}
		}
	}
	return late, slices.Sorted(maps.Keys(k.spaces)), errors.Join(errs...)
}

// late tells of a container that was met only when it ran.
func (k *Keeper) late(c *container) {
	k.happened(Event{Kind: Late, Container: c.Workload.Workload.Name, Text: lang.Text{
		En: "it ran without its network rules until now", Es: "corría sin sus reglas de red hasta ahora",
	}})
}

// meetStray takes a container in that has started past all that is watched, by a
// shim of its own. What cannot be found is told of.
func (k *Keeper) meetStray(ctx context.Context, id string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.stray(id)
	if !ok {
		if d, err := k.cfg.Files.Read(id); err == nil && procs.Alive(d.PID) {
			k.happened(Event{Kind: Ungoverned, Container: d.Workload.Workload.Name, Text: lang.Text{
				En: "its runtime shows no process in it: it has no network rules", Es: "su runtime no muestra ningún proceso suyo: no tiene reglas de red",
			}})
		}
		return nil
	}
	c, sp, err := k.meet(ctx, s)
	if err != nil || sp == nil {
		return err
	}
	k.late(c)
	return k.write(k.state.Put(k.namespace(c.space)))
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

// interval between two looks at everything.
const lookEvery = 30 * time.Second
