package forward

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Of linux/netfilter_ipv4/ip_tables.h and linux/netfilter/x_tables.h.
const (
	optInfo    = 64 // IPT_SO_GET_INFO
	optEntries = 65 // IPT_SO_GET_ENTRIES

	nameSize    = 32  // XT_TABLE_MAXNAMELEN
	hooks       = 5   // NF_INET_NUMHOOKS
	infoSize    = 84  // struct ipt_getinfo
	headSize    = 40  // of struct ipt_get_entries before its entries, which are aligned to 8
	entrySize   = 112 // struct ipt_entry
	matchesFrom = 84  // what stands before is struct ipt_ip
	targetSize  = 32  // struct xt_entry_target, which a verdict of 4 bytes follows
	verdictDrop = -1  // -NF_DROP - 1
)

// legacyChain reads FORWARD of the table filter of iptables-legacy.
func legacyChain() (chain, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return chain{}, err
	}
	defer unix.Close(fd)
	info := make([]byte, infoSize)
	copy(info, "filter")
	if err := getsockopt(fd, optInfo, info); err != nil {
		return chain{}, err
	}
	word := binary.NativeEndian.Uint32
	from := word(info[nameSize+4+4*unix.NF_INET_FORWARD:])
	policyAt := word(info[nameSize+4+4*hooks+4*unix.NF_INET_FORWARD:])
	size := word(info[infoSize-4:])
	if size > 64<<20 {
		return chain{}, fmt.Errorf("a table of %d bytes", size)
	}
	table := make([]byte, headSize+int(size))
	copy(table, "filter")
	binary.NativeEndian.PutUint32(table[nameSize:], size)
	if err := getsockopt(fd, optEntries, table); err != nil {
		return chain{}, err
	}
	return legacyEnds(table[headSize:], from, policyAt)
}

func getsockopt(fd, name int, b []byte) error {
	size := uint32(len(b))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_IP, uintptr(name),
		uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// legacyEnds walks the entries of a chain that begins at from and whose policy
// stands at policyAt.
func legacyEnds(table []byte, from, policyAt uint32) (chain, error) {
	c := chain{backend: "legacy", table: "ip filter", name: "FORWARD", policy: "accept"}
	verdict, _, _, err := entry(table, policyAt)
	if err != nil {
		return c, err
	}
	if verdict == verdictDrop {
		c.policy = "drop"
	}
	c.ends = c.policy
	for at := from; at < policyAt; {
		verdict, all, next, err := entry(table, at)
		if err != nil {
			return c, err
		}
		c.ends = c.policy
		if all && verdict == verdictDrop {
			c.ends = "drop"
		}
		at += next
	}
	return c, nil
}

// entry reads one rule: its verdict (0 is none: a jump, or a target of another
// kind), whether it is for every packet, and how long it is.
func entry(table []byte, at uint32) (verdict int32, all bool, next uint32, err error) {
	if int(at)+entrySize > len(table) {
		return 0, false, 0, errors.New("a rule outside of the table")
	}
	b := table[at:]
	target, size := binary.NativeEndian.Uint16(b[88:]), binary.NativeEndian.Uint16(b[90:])
	if int(size) < entrySize+targetSize || int(size) > len(b) || int(target)+targetSize > int(size) {
		return 0, false, 0, errors.New("a rule of an impossible size")
	}
	all = target == entrySize // no matches
	for _, x := range b[:matchesFrom] {
		all = all && x == 0
	}
	name := str(b[target+2 : target+2+29]) // XT_EXTENSION_MAXNAMELEN
	switch {
	case name == "" && int(target)+targetSize+4 <= int(size):
		verdict = int32(binary.NativeEndian.Uint32(b[target+targetSize:]))
	case name == "REJECT":
		verdict = verdictDrop
	}
	return verdict, all, uint32(size), nil
}
