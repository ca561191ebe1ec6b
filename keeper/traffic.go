package keeper

import (
	"errors"
	"slices"

	"casco/guard/network"
	"casco/host/flows"
	"casco/host/spaces"
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
