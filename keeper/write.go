package keeper

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"casco/guard/network"
	"casco/host/nft"
	"casco/lang"
)

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
		k.happened(Event{Kind: Rules, Container: k.nameOf(id), Text: lang.Text{En: "rules made", Es: "reglas hechas"}})
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
	// The pins, which only close, are another namespace's: the kernel makes them at
	// the same time.
	pinned := make(chan error, 1)
	if pin && k.enforce {
		go func() { pinned <- errors.Join(k.host.Pin(in), k.host.Unpin(lost(was, in))) }()
	} else {
		pinned <- nil
	}
	err := k.writeSpace(s, in)
	pinErr := <-pinned
	if err != nil && was == nil {
		pinErr = errors.Join(pinErr, k.host.Unpin(in)) // nobody remembers them
	}
	err = errors.Join(err, pinErr)
	s.stale = err != nil
	if err != nil && !k.lives(id) {
		return nil // its interfaces go while it ends
	}
	return k.named(id, err)
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

// enter takes the namespace to make rules in it.
func (s *space) enter() error {
	if s.rules != nil {
		return nil
	}
	rules, err := nft.Enter(s.NS)
	if err != nil {
		return err
	}
	s.rules = rules
	return nil
}

// hadRules reports whether a guard before this one made rules in the namespace.
// What cannot be told shows when rules are made.
func (s *space) hadRules() bool {
	if err := s.enter(); err != nil {
		return true
	}
	made, err := s.rules.Made()
	return made || err != nil
}

func (k *Keeper) writeSpace(s *space, in *network.Inside) error {
	if err := s.enter(); err != nil {
		return err
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
		if err := k.fresh(n.ID, false); err != nil {
			k.trouble(k.nameOf(n.ID), err)
		}
	}
	return k.writeHost()
}
