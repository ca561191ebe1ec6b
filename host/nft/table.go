package nft

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A table is one of nftables as it is to be. Names of chains, sets and counters
// have a prefix or are words that nft(8) does not know: it could not read a
// chain called "fwd", though the kernel takes the name.
type table struct {
	family   uint8 // unix.NFPROTO_…
	name     string
	flags    uint32
	counters []string
	sets     []set
	chains   []chain
}

// Flags of a table, include/uapi/linux/netfilter/nf_tables.h. An owned table
// can be changed only by the socket that made it (Linux 5.12), and goes with
// that socket unless it persists (6.9); who comes next may then own it.
const (
	flagOwner   = 0x2
	flagPersist = 0x4
)

// A set of addresses or of tuples with addresses. Data of a field is padded to
// four bytes, as registers are.
type set struct {
	name     string
	fields   []field
	ranges   bool   // elements are ranges of keys
	expiring bool   // elements have a time to live
	mark     []byte // what the set is of, for who makes it anew; kept by the kernel
	elements []elem // its first ones
}

// A field of a key: its size in bytes, and the number that nft(8) knows its
// type by (include/datatype.h of nftables).
type field struct {
	size int
	kind uint32
}

var (
	fieldV4    = field{4, 7}
	fieldV6    = field{16, 8}
	fieldProto = field{1, 12}
	fieldPort  = field{2, 13}
	fieldIface = field{16, 41}
)

func (s set) keyLen() (n int) {
	for _, f := range s.fields {
		n += (f.size + 3) &^ 3
	}
	return n
}

// An elem is an element of a set. end is the first key behind a range, "" for
// none.
type elem struct {
	key, end string
	ttl      uint64 // milliseconds; 0: for ever
}

// A chain of rules. One with a hook is where packets come in.
type chain struct {
	name string
	hook *hook
	drop bool // what becomes of a packet that no rule decides about
	todo []rule
}

type hook struct {
	kind     string // "filter", "nat"
	num      uint32
	priority int32
	device   string // of a netdev chain
}

type rule []expr.Any

// replace makes the table anew: what a table of that name held is gone in the
// same moment. The first message is there because a table that does not exist
// cannot be deleted.
func (t *table) replace() ([]message, error) {
	ms := t.anew()
	for _, name := range t.counters {
		ms = append(ms, t.counter(name))
	}
	for i, s := range t.sets {
		ms = append(ms, t.newSet(s, uint32(i+1)))
	}
	for _, c := range t.chains {
		ms = append(ms, t.newChain(c))
	}
	for _, s := range t.sets {
		ms = append(ms, t.elements(unix.NFT_MSG_NEWSETELEM, s, s.elements)...)
	}
	for _, c := range t.chains {
		more, err := t.rules(c)
		if err != nil {
			return nil, err
		}
		ms = append(ms, more...)
	}
	return ms, nil
}

// anew makes the table, whatever was there before, without anything in it. The
// first message has no flags: one that is there keeps its own then, and who made
// it cannot by that keep it from being owned.
func (t *table) anew() []message {
	named := attrs{}
	named.text(unix.NFTA_TABLE_NAME, t.name)
	made := append(attrs{}, named...)
	if t.flags != 0 {
		made.uint32(unix.NFTA_TABLE_FLAGS, t.flags)
	}
	what := "table " + t.name
	return []message{
		{unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, t.family, named, what},
		{unix.NFT_MSG_DELTABLE, 0, t.family, named, what},
		{unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, t.family, made, what},
	}
}

// refill puts es into s, in place of all that it has.
func (t *table) refill(s set, es []elem) []message {
	all := attrs{}
	all.text(unix.NFTA_SET_ELEM_LIST_TABLE, t.name)
	all.text(unix.NFTA_SET_ELEM_LIST_SET, s.name)
	// Without elements it is all of them.
	ms := []message{{unix.NFT_MSG_DELSETELEM, 0, t.family, all, "set " + s.name}}
	return append(ms, t.elements(unix.NFT_MSG_NEWSETELEM, s, es)...)
}

func (t *table) counter(name string) message {
	a := attrs{}
	a.text(unix.NFTA_OBJ_TABLE, t.name)
	a.text(unix.NFTA_OBJ_NAME, name)
	a.uint32(unix.NFTA_OBJ_TYPE, unix.NFT_OBJECT_COUNTER)
	a.nest(unix.NFTA_OBJ_DATA, nil)
	return message{unix.NFT_MSG_NEWOBJ, unix.NLM_F_CREATE, t.family, a, "counter " + name}
}

func (t *table) newSet(s set, id uint32) message {
	a := attrs{}
	a.text(unix.NFTA_SET_TABLE, t.name)
	a.text(unix.NFTA_SET_NAME, s.name)
	a.uint32(unix.NFTA_SET_ID, id)
	flags, kind := uint32(0), uint32(0)
	if s.ranges {
		flags |= unix.NFT_SET_INTERVAL
	}
	if s.expiring {
		flags |= unix.NFT_SET_TIMEOUT
	}
	desc, concat := attrs{}, attrs{}
	for _, f := range s.fields {
		kind = kind<<6 | f.kind // TYPE_BITS of nftables
		size := attrs{}
		size.uint32(setFieldLen, uint32(f.size))
		concat.nest(unix.NFTA_LIST_ELEM, size)
	}
	if len(s.fields) > 1 {
		flags |= setConcat
		desc.nest(setDescConcat, concat)
	}
	a.uint32(unix.NFTA_SET_FLAGS, flags)
	a.uint32(unix.NFTA_SET_KEY_TYPE, kind)
	a.uint32(unix.NFTA_SET_KEY_LEN, uint32(s.keyLen()))
	if len(desc) > 0 {
		a.nest(unix.NFTA_SET_DESC, desc)
	}
	if len(s.mark) > 0 {
		a.bytes(unix.NFTA_SET_USERDATA, s.mark)
	}
	return message{unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, t.family, a, "set " + s.name}
}

// Constants that golang.org/x/sys/unix lacks, of
// include/uapi/linux/netfilter/nf_tables.h.
const (
	setConcat     = 0x80 // NFT_SET_CONCAT
	setDescConcat = 2    // NFTA_SET_DESC_CONCAT
	setFieldLen   = 1    // NFTA_SET_FIELD_LEN
	verdictDrop   = 0    // NF_DROP, include/uapi/linux/netfilter.h
	verdictAccept = 1    // NF_ACCEPT
)

// perMessage is how many elements go into one message: the length of an
// attribute has 16 bits, and 10,000 elements in one message were 637 in the set
// without an error.
const perMessage = 500

// elements are messages that put es into s or take them out.
func (t *table) elements(kind uint16, s set, es []elem) []message {
	var ms []message
	for len(es) > 0 {
		n := min(len(es), perMessage)
		a := attrs{}
		a.text(unix.NFTA_SET_ELEM_LIST_TABLE, t.name)
		a.text(unix.NFTA_SET_ELEM_LIST_SET, s.name)
		list := attrs{}
		for _, e := range es[:n] {
			list = e.append(list, s)
		}
		a.nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, list)
		flags := uint16(0)
		if kind == unix.NFT_MSG_NEWSETELEM {
			flags = unix.NLM_F_CREATE
		}
		ms = append(ms, message{kind, flags, t.family, a, "set " + s.name})
		es = es[n:]
	}
	return ms
}

func (e elem) append(list attrs, s set) attrs {
	value := func(k string) (v attrs) {
		v.bytes(unix.NFTA_DATA_VALUE, []byte(k))
		return v
	}
	a := attrs{}
	a.nest(unix.NFTA_SET_ELEM_KEY, value(e.key))
	if e.ttl > 0 {
		a.uint64(unix.NFTA_SET_ELEM_TIMEOUT, e.ttl)
	}
	list.nest(unix.NFTA_LIST_ELEM, a)
	if e.end != "" {
		a = attrs{}
		a.nest(unix.NFTA_SET_ELEM_KEY, value(e.end))
		a.uint32(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END)
		list.nest(unix.NFTA_LIST_ELEM, a)
	}
	return list
}

func (t *table) newChain(c chain) message {
	a := attrs{}
	a.text(unix.NFTA_CHAIN_TABLE, t.name)
	a.text(unix.NFTA_CHAIN_NAME, c.name)
	if h := c.hook; h != nil {
		where := attrs{}
		where.uint32(unix.NFTA_HOOK_HOOKNUM, h.num)
		where.uint32(unix.NFTA_HOOK_PRIORITY, uint32(h.priority))
		if h.device != "" {
			where.text(unix.NFTA_HOOK_DEV, h.device)
		}
		a.nest(unix.NFTA_CHAIN_HOOK, where)
		verdict := uint32(verdictAccept)
		if c.drop {
			verdict = verdictDrop
		}
		a.uint32(unix.NFTA_CHAIN_POLICY, verdict)
		a.text(unix.NFTA_CHAIN_TYPE, h.kind)
	}
	return message{unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, t.family, a, "chain " + c.name}
}

func (t *table) rules(c chain) ([]message, error) {
	var ms []message
	for i, r := range c.todo {
		list := attrs{}
		for _, e := range r {
			b, err := expr.Marshal(t.family, e)
			if err != nil {
				return nil, fmt.Errorf("nftables: chain %s: rule %d: %w", c.name, i, err)
			}
			list.nest(unix.NFTA_LIST_ELEM, b)
		}
		a := attrs{}
		a.text(unix.NFTA_RULE_TABLE, t.name)
		a.text(unix.NFTA_RULE_CHAIN, c.name)
		a.nest(unix.NFTA_RULE_EXPRESSIONS, list)
		ms = append(ms, message{
			unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE | unix.NLM_F_APPEND, t.family, a,
			fmt.Sprintf("chain %s: rule %d", c.name, i),
		})
	}
	return ms, nil
}

// pad pads a key's field to four bytes.
func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func portBytes(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }
