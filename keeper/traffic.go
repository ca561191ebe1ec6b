package keeper

import (
	"errors"
	"slices"

	"casco/guard/network"
	"casco/host/flows"
	"casco/host/spaces"
	"casco/lang"
)

// keptFlows is how many flows of containers that have ended are remembered.
const keptFlows = 20000

// watch begins to see the flows of a namespace.
func (k *Keeper) watch(s *space) error {
	if s.watched {
		return nil
	}
	s.watched = true
	return k.flows.Add(s.NS, k.nameOf(s.ID))
}

// unwatch ends it, and remembers what was seen.
func (k *Keeper) unwatch(s *space) {
	if !s.watched {
		return
	}
	s.watched = false
	if seen, err := k.flows.Drop(s.ID); err == nil {
		k.remember(seen)
	}
}

func (k *Keeper) remember(seen flows.Seen) {
	k.endedMu.Lock()
	defer k.endedMu.Unlock()
	for _, f := range seen.Flows {
		f.Open = 0
		k.ended = append(k.ended, f)
	}
	if n := len(k.ended) - keptFlows; n > 0 {
		k.ended = slices.Delete(k.ended, 0, n)
	}
}

// Flows is who talked to whom since the guard began, as each namespace saw it:
// what passes between two that are kept is seen twice.
func (k *Keeper) Flows() ([]network.Flow, error) {
	k.endedMu.Lock()
	out := slices.Clone(k.ended)
	k.endedMu.Unlock()
	var errs []error
	for _, id := range k.flows.Namespaces() {
		seen, err := k.flows.Read(id)
		errs = append(errs, err)
		out = append(out, seen.Flows...)
	}
	slices.SortFunc(out, network.Flow.Compare)
	return out, errors.Join(errs...)
}

// cut ends connections that were let pass by what was taken away: what is
// established is not judged again. The kernel walks through all that it tracks
// for that, some 10 ms, so it is done beside; until then the other end's own
// rules judge what comes.
func (k *Keeper) cut(d network.Delta) {
	if !k.enforce {
		return
	}
	for _, id := range d.Fresh {
		// One that is new has no connections yet.
		if s, in := k.spaces[id], k.state.Inside(id); s != nil && in != nil && s.old {
			k.cutBeside(s, func(ns *spaces.Space) error { _, err := ns.Forget(in.Allows); return err })
		}
	}
	for id, c := range d.Inside {
		s := k.spaces[id]
		var ms []flows.Match
		for _, e := range c.Del {
			if m, ok := flows.Of(e); ok {
				ms = append(ms, m)
			}
		}
		if s == nil || len(ms) == 0 {
			continue
		}
		k.cutBeside(s, func(ns *spaces.Space) error { _, err := flows.Cut(ns.NS, ms...); return err })
	}
}

// cutBeside cuts while starts go on, a few at a time.
func (k *Keeper) cutBeside(s *space, cut func(*spaces.Space) error) {
	again, err := s.Again()
	if err != nil {
		k.trouble(k.nameOf(s.ID), err)
		return
	}
	k.ending.Go(func() {
		defer again.Close()
		k.cutting <- struct{}{}
		defer func() { <-k.cutting }()
		if err := cut(again); err != nil {
			k.trouble("", err)
		}
	})
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
