package keeper

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"casco/guard/network"
	"casco/host/nft"
	"casco/host/resolver"
	"casco/lang"
)

// answerNames opens, changes or ends what answers the names of a namespace.
func (k *Keeper) answerNames(s *space, in *network.Inside) error {
	if len(in.Names) == 0 || !k.enforce {
		if s.names != nil {
			s.names.Close()
			s.names = nil
		}
		return nil
	}
	var rules []resolver.Rule
	for _, n := range in.Names {
		rules = append(rules, resolver.Rule{Name: n.Name, Private: n.Private})
	}
	zone, err := resolver.NewZone(rules, in.Managed)
	if err != nil {
		return err
	}
	if s.names != nil && (ended(s.names) || !k.in(s.ID, s.life)) {
		s.names.Close()
		s.names, s.stale = nil, true // the rules have its port
	}
	// What is committed from here on is by the names that are asked for next.
	s.may.Store(&may{in.Names, own(in)})
	if s.names != nil {
		return k.disallow(s, in, s.names.Set(zone))
	}
	// The resolver's sockets keep the namespace: it is told of the end by that of
	// a process.
	life, pid, err := k.pidfd(s.ID)
	if err != nil {
		return err
	}
	defer life.Close()
	s.life = pid
	s.names, err = k.resolver.Open(resolver.Target{
		NS: s.NS, ID: k.nameOf(s.ID), Life: life,
		Commit: func(ctx context.Context, name string, addrs []netip.Addr, ttl time.Duration) error {
			return k.commit(ctx, s, name, addrs, ttl)
		},
	}, zone)
	return err
}

// may is what names a namespace may use, and from which addresses.
type may struct {
	names []network.NamePort
	own   []netip.Addr
}

// commit lets packets pass to what a name was found to have, before anybody
// hears of it. It does not wait for mu: who holds that may be waiting for all
// commits to end (resolver.Listener.Set, Close).
func (k *Keeper) commit(ctx context.Context, s *space, name string, addrs []netip.Addr, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m := s.may.Load()
	var as []nft.Named
	for _, n := range m.names {
		if !covers(n.Name, name) {
			continue
		}
		for _, a := range addrs {
			as = append(as, nft.Named{Own: m.own, Addr: a, Port: n.Port, TTL: ttl})
		}
	}
	if err := k.host.Allow(as); err != nil {
		return err
	}
	return s.rules.Allow(as)
}

// disallow takes addresses out again that no name stands for any more.
func (k *Keeper) disallow(s *space, in *network.Inside, addrs []netip.Addr) error {
	if len(addrs) == 0 {
		return nil
	}
	if err := k.host.Disallow(own(in), addrs); err != nil {
		return err
	}
	if s.rules != nil {
		return s.rules.Disallow(addrs)
	}
	return nil
}

// own are all addresses of a namespace.
func own(in *network.Inside) (out []netip.Addr) {
	for _, e := range in.Endpoints {
		out = append(out, e.Addrs...)
	}
	return out
}

// ended reports whether a listener has ended by itself.
func ended(l *resolver.Listener) bool {
	select {
	case <-l.Done():
		return true
	default:
		return false
	}
}

// in reports whether a process is the first of a container in a namespace.
func (k *Keeper) in(id uint64, pid int) bool {
	for _, c := range k.members(id) {
		if c.pid == pid {
			return true
		}
	}
	return false
}

// pidfd is of a process in a namespace: the first of one of its containers.
func (k *Keeper) pidfd(id uint64) (_ *os.File, pid int, _ error) {
	for _, c := range k.members(id) {
		fd, err := unix.PidfdOpen(c.pid, 0)
		if err == nil {
			return os.NewFile(uintptr(fd), "pidfd"), c.pid, nil
		}
	}
	return nil, 0, lang.Errorf(lang.Text{En: "the container is gone", Es: "el contenedor ya no está"})
}

// covers reports whether a name of a policy stands for name: "*.example" for
// one label under example.
func covers(pattern, name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if rest, ok := strings.CutPrefix(pattern, "*."); ok {
		_, parent, _ := strings.Cut(name, ".")
		return parent == rest
	}
	return pattern == name
}

// asked is told what the resolver did not answer.
func (k *Keeper) asked(e resolver.Event) {
	k.happened(Event{Kind: Name, Container: e.ID, Text: lang.Text{
		En: "asked for %s (%s): %s", Es: "preguntó por %s (%s): %s",
	}.F(e.Name, e.Type, e.Why.Text()), Count: e.Missed + 1})
}
