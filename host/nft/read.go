package nft

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"casco/guard/network"
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

// fingerprint is a digest of all rules and chains of our tables, as the kernel
// gives them back: the same as long as nobody changed them. Counters are
// objects of their own and not part of it.
func fingerprint(c *conn) ([]byte, error) {
	h := sha256.New()
	for _, family := range []uint8{unix.NFPROTO_INET, unix.NFPROTO_NETDEV} {
		for _, get := range []struct {
			kind, table uint16
			what        string
		}{{unix.NFT_MSG_GETCHAIN, unix.NFTA_CHAIN_TABLE, "chains"}, {unix.NFT_MSG_GETRULE, unix.NFTA_RULE_TABLE, "rules"}} {
			a := attrs{}
			a.text(get.table, Table)
			err := c.dump(message{get.kind, 0, family, a, get.what}, func(kind uint16, b []byte) error {
				if zstring(one(b, get.table)) == Table {
					fmt.Fprintf(h, "%d %d %x\n", family, kind, b)
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return h.Sum(nil), nil
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
	is, err := fingerprint(s.c)
	if err != nil {
		return err
	}
	if s.written == nil {
		// Not read when they were written: a container waits for its start then.
		s.written = is
	}
	if !bytes.Equal(is, s.written) {
		return lang.Errorf(lang.Text{En: "somebody changed our rules", Es: "alguien cambió nuestras reglas"})
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

// Check holds the sets of the host against what o says.
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
