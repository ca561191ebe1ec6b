// Package nft writes a network.Ruleset into the kernel with nftables, reads
// back what is there, and takes it out again.
//
// Rules stand in three places. In a container's own network namespace: a table
// "inet casco" that lets pass what the policy names, both ways, and a table
// "netdev casco" that stops frames which the container wrote itself
// (AF_PACKET), because those go past the first. On the host's end of its veth:
// a chain of "netdev casco" of the host that pins addresses to the interface,
// and lets it reach only those with whom it may talk, whatever happened inside.
// And a table "inet casco" of the host for what is in no container: services
// of the host, ports that are published, ways through the host.
//
// We touch our own tables only. Drop is final in any table of nftables and
// accept ends only the own one (nft(8)), so they compose with those of Docker,
// both its iptables and its nftables backend, of ufw and of firewalld, in
// either order: we never open what another closed.
//
// Each change is one transaction, made in process: the kernel does all of it
// or nothing. The expressions are encoded by github.com/google/nftables/expr;
// its transactions are not used, because they report ENOBUFS for rules that
// were applied, cut long sets off without an error and cannot own a table.
package nft

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"casco/guard/network"
	"casco/lang"
)

// Table is the name of all our tables.
const Table = "casco"

// Options of the rules in a namespace.
type Options struct {
	// Enforce drops what is not let pass. Without it that is only counted.
	Enforce bool
	// Resolver is the port on loopback where the names of egress flows are
	// answered; 0 if there is none.
	Resolver int
}

// A Space is a network namespace with our rules in it. Its methods may be
// called from any goroutine.
type Space struct {
	mu sync.Mutex // guards all of it

	c      *conn
	flags  uint32
	chains chains
}

// Enter takes a namespace. Its rules stay as they are until Replace.
func Enter(ns netns.NsHandle) (*Space, error) {
	c, err := dial(ns)
	if err != nil {
		return nil, err
	}
	return &Space{c: c, flags: flagOwner | flagPersist}, nil
}

// Close lets go of the namespace. The rules stay: the kernel lets an owned table
// persist (6.9), or ours has no owner.
func (s *Space) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.c.close()
}

// Owned reports whether nobody but this Space can change the rules, not even
// who has CAP_NET_ADMIN in the namespace.
func (s *Space) Owned() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flags&flagOwner != 0
}

// Made reports whether the namespace has rules of ours, whoever made them.
func (s *Space) Made() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return has(s.c, insideTable)
}

// has reports whether a table of that family and name is there.
func has(c *conn, t *table) (bool, error) {
	a := attrs{}
	a.text(unix.NFTA_TABLE_NAME, t.name)
	err := c.ask(message{unix.NFT_MSG_GETTABLE, 0, t.family, a, "table " + t.name}, unix.NLM_F_ACK, func(uint16, []byte) error { return nil })
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, err
}

// Replace makes the rules of the namespace anew, as in says. Old and new never
// both hold, and there is no moment without.
func (s *Space) Replace(in *network.Inside, opts Options) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ts := inside(in, opts)
	if len(in.Names) > 0 {
		if err := carry(s.c, ts[0]); err != nil {
			return err
		}
	}
	flags, err := replace(s.c, s.flags, ts)
	if err != nil {
		return err
	}
	s.flags, s.chains = flags, chainsOf(ts)
	return nil
}

// replace makes tables anew in one transaction. A kernel that cannot let owned
// tables persist gets tables without an owner: rules that go when the guard
// dies would be worse than rules that a container with CAP_NET_ADMIN can take
// out of its own namespace, behind which the host's stand.
func replace(c *conn, flags uint32, ts []*table) (uint32, error) {
	for {
		var ms []message
		for _, t := range ts {
			t.flags = flags
			more, err := t.replace()
			if err != nil {
				return flags, err
			}
			ms = append(ms, more...)
		}
		err := c.commit(ms)
		if flags != 0 && unowned(err) {
			flags = 0
			continue
		}
		if errors.Is(err, unix.EPERM) {
			err = lang.Errorf(lang.Text{
				En: "%w: a table of our name is somebody else's: another casco guard's, or made by a container with CAP_NET_ADMIN",
				Es: "%w: una tabla de nuestro nombre es de otro: de otro casco guard, o hecha por un contenedor con CAP_NET_ADMIN",
			}, err)
		}
		return flags, err
	}
}

// unowned reports whether err is that of a kernel that cannot own a table, or
// not for good: it refuses the table itself, and not what is in it.
func unowned(err error) bool {
	var r *refusedError
	return errors.As(err, &r) && r.what == "table "+Table && (r.errno == unix.EOPNOTSUPP || r.errno == unix.EINVAL)
}

// Change puts elements into the sets of the namespace and takes others out.
func (s *Space) Change(c network.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := insideTable
	var ms []message
	for _, e := range c.Del {
		ms = append(ms, t.elements(unix.NFT_MSG_DELSETELEM, peerSet(e), []elem{{key: peerKey(e)}})...)
	}
	ms = append(ms, together(t, c.Add, peerSet, peerKey)...)
	return s.c.commit(ms)
}

// Managed says anew which addresses are the engine's.
func (s *Space) Managed(subnets []netip.Prefix) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := insideTable
	var ms []message
	for _, w := range ways {
		set := set{name: setManaged + w.suffix, fields: []field{w.addr}, ranges: true}
		ms = append(ms, t.refill(set, ranges(subnets, w))...)
	}
	return s.c.commit(ms)
}

// together are messages that add elements, those of one set in one message.
func together(t *table, add []network.Element, setOf func(network.Element) set, keyOf func(network.Element) string) []message {
	var order []set
	by := map[string][]elem{}
	for _, e := range add {
		s := setOf(e)
		if by[s.name] == nil {
			order = append(order, s)
		}
		by[s.name] = append(by[s.name], elem{key: keyOf(e)})
	}
	var ms []message
	for _, s := range order {
		ms = append(ms, t.elements(unix.NFT_MSG_NEWSETELEM, s, by[s.name])...)
	}
	return ms
}

// Allow lets packets pass to addresses that a name was just found to have,
// until ttl is over. What is there already stays for the longer of both times.
func (s *Space) Allow(as []Named) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.c.commit(allow(insideTable, as, false))
}

// Disallow takes addresses that names gave out again, before their time.
func (s *Space) Disallow(addrs []netip.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return disallow(s.c, insideTable, func(key string) bool {
		return slices.ContainsFunc(addrs, func(a netip.Addr) bool { return strings.HasPrefix(key, addrKey(a)) })
	})
}

// Remove takes our tables out of the namespace.
func (s *Space) Remove() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return remove(s.c, s.flags, unix.NFPROTO_INET, unix.NFPROTO_NETDEV)
}

// remove deletes our tables of those families. One that is not there is no
// error: it is made and deleted, for a transaction that the kernel aborts waits
// for all CPUs (synchronize_rcu), which took 5 to 10 ms.
func remove(c *conn, flags uint32, families ...uint8) error {
	for {
		var ms []message
		for _, f := range families {
			t := &table{family: f, name: Table, flags: flags}
			ms = append(ms, t.anew()[:2]...)
		}
		err := c.commit(ms)
		if flags != 0 && unowned(err) {
			flags = 0
			continue
		}
		return err
	}
}
