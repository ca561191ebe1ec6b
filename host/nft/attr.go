package nft

import (
	"encoding/binary"
	"iter"

	"golang.org/x/sys/unix"
)

// attrs are attributes of netlink: length and type of the host's byte order,
// each padded to four bytes (include/uapi/linux/netlink.h, struct nlattr).
// Numbers of nftables are big endian.
type attrs []byte

func (a *attrs) bytes(kind uint16, v []byte) {
	*a = binary.NativeEndian.AppendUint16(*a, uint16(4+len(v)))
	*a = binary.NativeEndian.AppendUint16(*a, kind)
	*a = append(*a, v...)
	for len(*a)%4 != 0 {
		*a = append(*a, 0)
	}
}

func (a *attrs) text(kind uint16, s string)   { a.bytes(kind, append([]byte(s), 0)) }
func (a *attrs) uint32(kind uint16, v uint32) { a.bytes(kind, binary.BigEndian.AppendUint32(nil, v)) }

func (a *attrs) uint64(kind uint16, v uint64) { a.bytes(kind, binary.BigEndian.AppendUint64(nil, v)) }

func (a *attrs) nest(kind uint16, inner attrs) { a.bytes(kind|unix.NLA_F_NESTED, inner) }

// each walks attributes. It ends at the first that is malformed.
func each(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= 4 {
			size := int(binary.NativeEndian.Uint16(b))
			if size < 4 || size > len(b) || !yield(binary.NativeEndian.Uint16(b[2:])&nlaTypeMask, b[4:size]) {
				return
			}
			b = b[min(len(b), (size+3)&^3):]
		}
	}
}

// nlaTypeMask takes the flags off the type of an attribute (NLA_TYPE_MASK).
const nlaTypeMask = ^uint16(unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)

// one is the attribute of that kind, nil if there is none.
func one(b []byte, kind uint16) []byte {
	for k, v := range each(b) {
		if k == kind {
			return v
		}
	}
	return nil
}

// zstring is the text of an attribute that ends in a zero byte.
func zstring(b []byte) string {
	if n := len(b); n > 0 && b[n-1] == 0 {
		b = b[:n-1]
	}
	return string(b)
}
