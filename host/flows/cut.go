package flows

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"casco/guard/network"
	"casco/internal/conntrack"
	"casco/internal/nsenter"
	"casco/lang"
)

// A Way is who opened a connection.
type Way uint8

// The ways.
const (
	Both Way = iota
	Out      // the namespace
	In       // the peer
)

// A Match names connections of a namespace.
type Match struct {
	// Peer is where the other end is: whom was asked or who answered, or who
	// opened. The zero Prefix is no match: 0.0.0.0/0 and ::/0 are everybody.
	Peer netip.Prefix
	// Port is that of whoever did not open, as in a Flow; zero is every.
	Port network.Port
	Way  Way
}

// Of is what a rule of a namespace lets pass. ok is false for a rule of the host.
func Of(e network.Element) (m Match, ok bool) {
	m = Match{Port: e.Port}
	switch e.Set {
	case network.Out, network.OutAll:
		m.Way = Out
	case network.In, network.InAll:
		m.Way = In
	default:
		return Match{}, false
	}
	m.Peer = netip.PrefixFrom(e.A, e.A.BitLen())
	return m, m.Peer.IsValid()
}

var errNoPeer = lang.Text{En: "cut connections: a match without a peer", Es: "cortar conexiones: un criterio sin interlocutor"}

// Cut makes the kernel forget those connections of a namespace that one of the
// matches names, and says how many they were. What a rule lets pass because it
// is established is then judged anew, by the rules as they are: so rules are
// changed first. Where no rule drops it, a connection goes on.
//
// Nothing within the namespace is cut, nor its questions to the resolver.
func Cut(ns netns.NsHandle, matches ...Match) (n int, err error) {
	for _, m := range matches {
		if !m.Peer.IsValid() {
			return 0, lang.Errorf(errNoPeer)
		}
	}
	if len(matches) == 0 {
		return 0, nil
	}
	own, err := addresses(ns)
	if err != nil {
		return 0, fmt.Errorf("cut connections: %w", err)
	}
	err = nsenter.Net(ns, func() (err error) {
		n, err = cut(own, matches)
		return err
	})
	if err != nil {
		return n, fmt.Errorf("cut connections: %w", err)
	}
	return n, nil
}

// cut works in the thread's namespace.
func cut(own map[netip.Addr]bool, matches []Match) (n int, err error) {
	if conntrack.NoneHere() {
		return 0, nil
	}
	fd, err := dial()
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	var wishes []request
	err = listAt(fd, func(e entry) {
		for _, m := range matches {
			if m.of(&e, own) {
				wishes = append(wishes, e.wish())
				return
			}
		}
	})
	if err != nil {
		return 0, err
	}
	for _, w := range wishes {
		if err = send(fd, w); err == nil {
			err = acknowledged(fd, 1)
		}
		switch {
		case err == nil:
			n++
		case !errors.Is(err, unix.ENOENT): // it ended by itself
			return n, err
		}
	}
	return n, nil
}

// of reports whether m names e.
func (m Match) of(e *entry, own map[netip.Addr]bool) bool {
	o, r := e.orig, e.reply
	if o.src.IsLoopback() || o.dst.IsLoopback() {
		return false
	}
	out := own[o.src]
	peer := m.Peer.Contains(o.src)
	if out {
		peer = m.Peer.Contains(o.dst) || m.Peer.Contains(r.src)
	}
	if !peer {
		return false
	}
	if m.Port == (network.Port{}) {
		return m.Way == Both || out == (m.Way == Out)
	}
	// A connection that was under way when the kernel first saw it may have
	// been opened by the other end.
	if e.midway && m.Port == (network.Port{Number: o.sport, Proto: o.proto}) {
		return m.Way == Both || out == (m.Way == In)
	}
	return (m.Port == port(o, r) || m.Port == port(o, o.reverse())) && (m.Way == Both || out == (m.Way == Out))
}

// wish is the request to forget e, by its own tuple and number. A request
// without a tuple would empty the whole table (ctnetlink_del_conntrack); parse
// lets no entry through that has none.
func (e *entry) wish() request {
	family := uint8(unix.AF_INET)
	if e.orig.src.Is6() {
		family = unix.AF_INET6
	}
	r := newRequest(msgDelete, unix.NLM_F_ACK, family, 0).with(ctTupleOrig|unix.NLA_F_NESTED, e.wire).with(ctID, word(e.id))
	if e.zone != nil {
		r = r.with(ctZone, e.zone)
	}
	return r
}
