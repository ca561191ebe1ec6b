package forward

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// families are those whose chains see an IPv4 packet that is passed on:
// nft(8), ADDRESS FAMILIES. A family counts by its number in linux/netfilter.h.
var families = map[byte]string{unix.NFPROTO_INET: "inet", unix.NFPROTO_IPV4: "ip"}

// nftChains lists the chains at the forward hook, in the kernel's order.
func nftChains() ([]chain, error) {
	var out []chain
	replies, err := dump(unix.NFT_MSG_GETCHAIN)
	if err != nil {
		return nil, err
	}
	for _, b := range replies {
		if c, ok := chainOf(b); ok {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	rules, err := dump(unix.NFT_MSG_GETRULE)
	if err != nil {
		return nil, err
	}
	for _, b := range rules { // of one chain they come in its order: the last one stays
		at, err := attributes(b)
		if err != nil {
			continue
		}
		for i, c := range out {
			if c.name == str(at[unix.NFTA_RULE_CHAIN]) && c.table == families[b[0]]+" "+str(at[unix.NFTA_RULE_TABLE]) {
				out[i].ends = c.policy
				if closes(at[unix.NFTA_RULE_EXPRESSIONS]) {
					out[i].ends = "drop"
				}
			}
		}
	}
	return out, nil
}

// dump asks nftables for all objects of a kind. Each reply begins with a struct
// nfgenmsg, whose first byte is the family.
func dump(kind int) ([][]byte, error) {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|kind, unix.NLM_F_DUMP)
	req.AddRawData(make([]byte, genmsg)) // of all families
	return req.Execute(unix.NETLINK_NETFILTER, 0)
}

const genmsg = 4 // sizeof(struct nfgenmsg)

func attributes(b []byte) (map[uint16][]byte, error) {
	if len(b) < genmsg {
		return nil, fmt.Errorf("a reply of %d bytes", len(b))
	}
	return nested(b[genmsg:])
}

func nested(b []byte) (map[uint16][]byte, error) {
	out := map[uint16][]byte{}
	err := each(b, func(kind uint16, value []byte) { out[kind] = value })
	return out, err
}

// each reads attributes: netlink(7), struct nlattr, each aligned to 4.
func each(b []byte, f func(kind uint16, value []byte)) error {
	const head, typeMask = 4, 0x3fff // NLA_HDRLEN, NLA_TYPE_MASK
	for len(b) >= head {
		size := int(binary.NativeEndian.Uint16(b))
		if size < head || size > len(b) {
			return errors.New("an attribute of an impossible size")
		}
		f(binary.NativeEndian.Uint16(b[2:])&typeMask, b[head:size])
		b = b[min((size+3)&^3, len(b)):]
	}
	return nil
}

func str(b []byte) string { return strings.TrimRight(string(b), "\x00") }

// number is a value in network order; ok is false if it is none.
func number(b []byte) (n uint32, ok bool) {
	if len(b) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(b), true
}

// chainOf reads a chain; ok is false for one elsewhere.
func chainOf(b []byte) (c chain, ok bool) {
	at, err := attributes(b)
	if err != nil || families[b[0]] == "" || at[unix.NFTA_CHAIN_HOOK] == nil {
		return chain{}, false
	}
	hook, err := nested(at[unix.NFTA_CHAIN_HOOK])
	n, is := number(hook[unix.NFTA_HOOK_HOOKNUM])
	if err != nil || !is || n != unix.NF_INET_FORWARD {
		return chain{}, false
	}
	c = chain{backend: "nft", table: families[b[0]] + " " + str(at[unix.NFTA_CHAIN_TABLE]), name: str(at[unix.NFTA_CHAIN_NAME]), policy: "accept"}
	if policy, is := number(at[unix.NFTA_CHAIN_POLICY]); is && policy == nfDrop {
		c.policy = "drop"
	}
	c.ends = c.policy
	return c, true
}

const nfDrop = 0 // NF_DROP, linux/netfilter.h

// closes reports whether a rule drops or rejects whatever reaches it: nothing
// but counting and logging stands before that.
func closes(expressions []byte) bool {
	open, closed := false, false // the first word that decides does
	err := each(expressions, func(_ uint16, e []byte) {
		at, err := nested(e)
		switch name := str(at[unix.NFTA_EXPR_NAME]); {
		case open || closed:
		case err != nil:
			open = true
		case name == "counter" || name == "log":
		case name == "reject" || name == "immediate" && drops(at[unix.NFTA_EXPR_DATA]):
			closed = true
		default:
			open = true
		}
	})
	return closed && err == nil
}

func drops(immediate []byte) bool {
	at, err := nested(immediate)
	if err != nil {
		return false
	}
	data, err := nested(at[unix.NFTA_IMMEDIATE_DATA])
	if err != nil || data[unix.NFTA_DATA_VERDICT] == nil {
		return false
	}
	verdict, err := nested(data[unix.NFTA_DATA_VERDICT])
	code, ok := number(verdict[unix.NFTA_VERDICT_CODE])
	return err == nil && ok && code == nfDrop
}
