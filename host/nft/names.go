package nft

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"casco/guard/network"
)

// A Named is an address that a name was found to have.
type Named struct {
	Own  []netip.Addr // who asked: addresses of the namespace, for the rules of the host
	Addr netip.Addr
	Port network.Port
	TTL  time.Duration
}

// namesSet is the set of addresses that names gave. It is marked with the
// names, as the host's is with none.
func namesSet(w way, host bool, names []network.NamePort) set {
	s := set{name: setNames + w.suffix, fields: []field{w.addr, fieldProto, fieldPort}, expiring: true}
	if host {
		s.fields = append([]field{w.addr}, s.fields...)
	}
	digest := sha256.Sum256(fmt.Append(nil, names))
	// One attribute as libnftnl writes them (type, length, value), of a type that
	// nft(8) does not know and leaves alone.
	s.mark = append([]byte{markType, byte(len(digest))}, digest[:]...)
	return s
}

// markType is far from those of libnftnl's include/libnftnl/udata.h.
const markType = 0xc5

// allow are messages that add what a name gave. An element that is there keeps
// its old time to live if it is only added, and cannot be deleted if it is not,
// so it is added, deleted and added: in one transaction.
func allow(t *table, as []Named, host bool) []message {
	var ms []message
	for _, a := range as {
		w := wayOf(a.Addr)
		s := namesSet(w, host, nil)
		keys := []string{addrKey(a.Addr) + portKey(a.Port)}
		if host {
			keys = nil
			for _, own := range a.Own {
				if own.Is4() == a.Addr.Is4() {
					keys = append(keys, addrKey(own)+addrKey(a.Addr)+portKey(a.Port))
				}
			}
		}
		for _, k := range keys {
			e := []elem{{key: k, ttl: uint64(max(a.TTL, time.Second).Milliseconds())}}
			ms = append(ms, t.elements(unix.NFT_MSG_NEWSETELEM, s, e)...)
			ms = append(ms, t.elements(unix.NFT_MSG_DELSETELEM, s, []elem{{key: k}})...)
			ms = append(ms, t.elements(unix.NFT_MSG_NEWSETELEM, s, e)...)
		}
	}
	return ms
}

// namedNow are the elements of a set of names, with the time that they have left.
func namedNow(c *conn, t *table, s set) ([]elem, error) {
	a := attrs{}
	a.text(unix.NFTA_SET_ELEM_LIST_TABLE, t.name)
	a.text(unix.NFTA_SET_ELEM_LIST_SET, s.name)
	var out []elem
	err := c.dump(message{unix.NFT_MSG_GETSETELEM, 0, t.family, a, "set " + s.name}, func(_ uint16, b []byte) error {
		for _, e := range each(one(b, unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
			key, left := one(one(e, unix.NFTA_SET_ELEM_KEY), unix.NFTA_DATA_VALUE), one(e, unix.NFTA_SET_ELEM_EXPIRATION)
			if len(key) == s.keyLen() && len(left) == 8 {
				out = append(out, elem{key: string(key), ttl: max(1, binary.BigEndian.Uint64(left))})
			}
		}
		return nil
	})
	return out, err
}

// carry puts into the sets of names of t what those of the table that it is to
// replace have: whoever keeps an address that it was answered may go on using
// it. What other names gave, by another policy, is not carried.
func carry(c *conn, t *table) error {
	for i, s := range t.sets {
		if !s.expiring {
			continue
		}
		mark, err := markOf(c, t, s.name)
		if err != nil {
			return err
		}
		if !bytes.Equal(mark, s.mark) {
			continue
		}
		if t.sets[i].elements, err = namedNow(c, t, s); err != nil {
			return err
		}
	}
	return nil
}

// markOf is the mark of a set, nil if there is no such set.
func markOf(c *conn, t *table, name string) (mark []byte, err error) {
	a := attrs{}
	a.text(unix.NFTA_SET_TABLE, t.name)
	err = c.dump(message{unix.NFT_MSG_GETSET, 0, t.family, a, "sets"}, func(_ uint16, b []byte) error {
		if zstring(one(b, unix.NFTA_SET_TABLE)) == t.name && zstring(one(b, unix.NFTA_SET_NAME)) == name {
			mark = bytes.Clone(one(b, unix.NFTA_SET_USERDATA))
		}
		return nil
	})
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return mark, err
}

// disallow deletes those elements of the sets of names whose keys are so. One
// may be gone by itself in the meantime, so each is added first.
func disallow(c *conn, t *table, gone func(key string) bool) error {
	var ms []message
	for _, w := range ways {
		s := namesSet(w, t == hostTable, nil)
		es, err := namedNow(c, t, s)
		if err != nil {
			return err
		}
		for _, e := range es {
			if gone(e.key) {
				ms = append(ms, t.elements(unix.NFT_MSG_NEWSETELEM, s, []elem{e})...)
				ms = append(ms, t.elements(unix.NFT_MSG_DELSETELEM, s, []elem{{key: e.key}})...)
			}
		}
	}
	return c.commit(ms)
}
