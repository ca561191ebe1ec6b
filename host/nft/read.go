package nft

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"maps"
	"net"
	"slices"

	"golang.org/x/sys/unix"

	"casco/guard/network"
	"casco/internal/nsenter"
	"casco/lang"
)

// A Counter is how much was dropped for one reason since the rules were made.
type Counter struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Drops reads the counters of the namespace, by their names.
func (s *Space) Drops() (map[string]Counter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return drops(s.c)
}

// Drops reads the counters of the host.
func (h *Host) Drops() (map[string]Counter, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return drops(h.c)
}

func drops(c *conn) (map[string]Counter, error) {
	out := map[string]Counter{}
	for _, family := range []uint8{unix.NFPROTO_INET, unix.NFPROTO_NETDEV} {
		a := attrs{}
		a.text(unix.NFTA_OBJ_TABLE, Table)
		err := c.dump(message{unix.NFT_MSG_GETOBJ, 0, family, a, "counters"}, func(_ uint16, b []byte) error {
			data := one(b, unix.NFTA_OBJ_DATA)
			n, m := one(data, unix.NFTA_COUNTER_PACKETS), one(data, unix.NFTA_COUNTER_BYTES)
			if zstring(one(b, unix.NFTA_OBJ_TABLE)) != Table || len(n) != 8 || len(m) != 8 {
				return nil
			}
			out[zstring(one(b, unix.NFTA_OBJ_NAME))] = Counter{binary.BigEndian.Uint64(n), binary.BigEndian.Uint64(m)}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// A place is where a chain of ours is.
type place struct {
	family uint8
	chain  string
}

// A script is a chain with its rules, as the kernel gives them back: the same as
// long as nobody changed them. Counters are objects of their own and not part of
// it, and neither is by how many others a chain is used.
type script struct {
	rules int
	sum   [sha256.Size]byte
}

// scripts reads all chains of our tables.
func scripts(c *conn) (map[place]script, error) {
	sums := map[place]hash.Hash{}
	rules := map[place]int{}
	for _, family := range []uint8{unix.NFPROTO_INET, unix.NFPROTO_NETDEV} {
		for _, get := range []struct {
			kind, table, chain uint16
			what               string
			say                []uint16 // what is part of it; all if it is nil
		}{
			{unix.NFT_MSG_GETCHAIN, unix.NFTA_CHAIN_TABLE, unix.NFTA_CHAIN_NAME, "chains", []uint16{
				unix.NFTA_CHAIN_HANDLE, unix.NFTA_CHAIN_HOOK, unix.NFTA_CHAIN_POLICY, unix.NFTA_CHAIN_TYPE,
			}},
			{unix.NFT_MSG_GETRULE, unix.NFTA_RULE_TABLE, unix.NFTA_RULE_CHAIN, "rules", nil},
		} {
			a := attrs{}
			a.text(get.table, Table)
			err := c.dump(message{get.kind, 0, family, a, get.what}, func(_ uint16, b []byte) error {
				if zstring(one(b, get.table)) != Table {
					return nil
				}
				at := place{family, zstring(one(b, get.chain))}
				if sums[at] == nil {
					sums[at] = sha256.New()
				}
				if get.say == nil {
					rules[at]++
					fmt.Fprintf(sums[at], "rule %x\n", b)
				}
				for _, attr := range get.say {
					fmt.Fprintf(sums[at], "%d %x\n", attr, one(b, attr))
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
	}
	out := map[place]script{}
	for at, h := range sums {
		out[at] = script{rules[at], [sha256.Size]byte(h.Sum(nil))}
	}
	return out, nil
}

// chains are those that were made, by where they are: how many rules went into
// each, and how the kernel then gave it back. That is read when it is first held
// against the kernel and not when it is written: a container waits for its start
// then.
type chains map[place]*made

type made struct {
	rules int
	sum   []byte // nil until it was read
}

// chainsOf are the chains of tables.
func chainsOf(ts []*table) chains {
	all := chains{}
	for _, t := range ts {
		for _, c := range t.chains {
			all[place{t.family, c.name}] = &made{rules: len(c.todo)}
		}
	}
	return all
}

// check holds the chains that the kernel has against those that were made. One
// that gone says the kernel may have taken away itself is not missed.
func (all chains) check(c *conn, gone func(place) bool) error {
	is, err := scripts(c)
	if err != nil {
		return err
	}
	for at := range is {
		if all[at] == nil {
			return lang.Errorf(lang.Text{En: "somebody put a chain into our table: %s", Es: "alguien puso una cadena en nuestra tabla: %s"}, at.chain)
		}
	}
	for at, m := range all {
		has, there := is[at]
		switch {
		case there && has.rules == m.rules && (m.sum == nil || bytes.Equal(m.sum, has.sum[:])):
			m.sum = has.sum[:]
		case gone(at):
		case there:
			return lang.Errorf(lang.Text{En: "somebody changed our rules: chain %s", Es: "alguien cambió nuestras reglas: cadena %s"}, at.chain)
		default:
			return lang.Errorf(lang.Text{En: "somebody changed our rules: chain %s is gone", Es: "alguien cambió nuestras reglas: la cadena %s ya no está"}, at.chain)
		}
	}
	return nil
}

// Check holds the kernel against what was written: nil if it has our rules and
// in the sets what in says, no more and no less.
func (s *Space) Check(in *network.Inside) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.c.checked(func() error { return s.check(in) })
}

// Agrees reports whether Check found the rules well and nobody has changed any
// in the namespace since, or tried to through s. It costs one question.
func (s *Space) Agrees() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.c.agrees()
}

func (s *Space) check(in *network.Inside) error {
	if err := s.chains.check(s.c, func(place) bool { return false }); err != nil {
		return err
	}
	want := map[string][]string{}
	for e := range in.Peers {
		name := peerSet(e).name
		want[name] = append(want[name], peerKey(e))
	}
	for _, w := range ways {
		for _, name := range []network.Set{network.OutAll, network.Out, network.InAll, network.In} {
			if err := holds(s.c, insideTable, string(name)+w.suffix, want[string(name)+w.suffix]); err != nil {
				return err
			}
		}
	}
	return nil
}

// Check holds the kernel against what was written: nil if it has our rules and
// in the sets what o says, no more and no less.
func (h *Host) Check(o network.Outside) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.c.checked(func() error { return h.check(o) })
}

// Agrees is as of a Space.
func (h *Host) Agrees() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.c.agrees()
}

func (h *Host) check(o network.Outside) error {
	if err := h.chains.check(h.c, h.wentWith); err != nil {
		return err
	}
	want := map[string][]string{}
	for e := range o.Elements {
		name := hostSet(e).name
		want[name] = append(want[name], hostKey(e))
	}
	names := map[*table][]string{hostTable: {"shutany"}}
	for _, w := range ways {
		for _, name := range []network.Set{network.Between, network.BetweenAll, network.ToHost, network.Open, network.Shut} {
			names[hostTable] = append(names[hostTable], string(name)+w.suffix)
		}
		names[pinTable] = append(names[pinTable], string(network.Reach)+w.suffix)
	}
	// Sets of networks outside: those that are there, and those that should be.
	egress := maps.Clone(h.egress)
	for e := range o.Elements {
		if e.Set == network.Egress {
			egress[hostSet(e).name] = true
		}
	}
	names[hostTable] = slices.AppendSeq(names[hostTable], maps.Keys(egress))
	for t, ns := range names {
		for _, n := range ns {
			if err := holds(h.c, t, n, want[n]); err != nil {
				return err
			}
		}
	}
	return nil
}

// wentWith reports whether a chain is that of an interface which is no more:
// before Linux 6.16 it goes with it, and later it stays behind without.
func (h *Host) wentWith(at place) bool {
	if at.family != unix.NFPROTO_NETDEV {
		return false
	}
	for peer := range h.pinned {
		if pinName(peer) != at.chain {
			continue
		}
		var err error
		if in := nsenter.Net(h.ns, func() error { _, err = net.InterfaceByName(peer); return nil }); in != nil {
			return false
		}
		return err != nil
	}
	return false
}

// holds compares what a set has with what it should.
func holds(c *conn, t *table, name string, want []string) error {
	has := map[string]bool{}
	a := attrs{}
	a.text(unix.NFTA_SET_ELEM_LIST_TABLE, t.name)
	a.text(unix.NFTA_SET_ELEM_LIST_SET, name)
	err := c.dump(message{unix.NFT_MSG_GETSETELEM, 0, t.family, a, "set " + name}, func(_ uint16, b []byte) error {
		for _, e := range each(one(b, unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
			has[string(one(one(e, unix.NFTA_SET_ELEM_KEY), unix.NFTA_DATA_VALUE))] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, k := range want {
		wanted[k] = true
	}
	if maps.Equal(has, wanted) {
		return nil
	}
	return lang.Errorf(lang.Text{
		En: "set %s has %d elements and should have %d", Es: "el conjunto %s tiene %d elementos y debería tener %d",
	}, name, len(has), len(slices.Compact(slices.Sorted(maps.Keys(wanted)))))
}
