package proc

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A socket waits for others to speak: a TCP socket in LISTEN, or a UDP socket
// that is bound and connected to nobody.
type socket struct {
	proto  string // "tcp", "udp"
	at     netip.AddrPort
	v6only bool // on [::] and not on 0.0.0.0 as well
	inode  uint64
}

// States of sockets, include/net/tcp_states.h: numbers in /proc, bits in sock_diag.
const (
	stateClose  = 7 // an unconnected UDP socket
	stateListen = 10
)

// listening returns the sockets that wait in the network namespace of p. It
// asks sock_diag(7) for those alone: 0.08 ms, where reading /proc/PID/net/tcp
// and tcp6 takes 8 ms (kernel 6.18). It reads those files where the namespace
// cannot be entered, or the kernel has no inet_diag. source is what was asked.
func (p *process) listening() (socks []socket, source string, err error) {
	fd, err := p.handle("ns/net", unix.O_RDONLY)
	if err == nil {
		defer unix.Close(fd)
		err = inNetNS(fd, func() (err error) {
			socks, err = dump()
			return err
		})
		if err == nil {
			return socks, "sock_diag in " + p.at + "/ns/net", nil
		}
	}
	socks, ferr := p.listeningByFile()
	if ferr != nil {
		return nil, "", errors.Join(err, ferr)
	}
	return socks, p.at + "/net", nil
}

// dump asks for the waiting sockets of the thread's network namespace.
func dump() ([]socket, error) {
	var all []socket
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		for _, q := range []diagRequest{
			{family, unix.IPPROTO_TCP, 1 << stateListen},
			{family, unix.IPPROTO_UDP, 1 << stateClose},
		} {
			req := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
			req.AddData(q)
			msgs, err := req.Execute(unix.NETLINK_INET_DIAG, 0)
			if err != nil {
				return nil, fmt.Errorf("sock_diag: family %d, protocol %d: %w", q.family, q.protocol, err)
			}
			for _, m := range msgs {
				s, waits, err := parseDiag(m, q.protocol)
				if err != nil {
					return nil, err
				}
				if waits {
					all = append(all, s)
				}
			}
		}
	}
	return all, nil
}

// A diagRequest is struct inet_diag_req_v2 of linux/inet_diag.h, without a
// socket's address: all in these states.
type diagRequest struct {
	family, protocol uint8
	states           uint32
}

const (
	diagRequestLen = 56
	diagMessageLen = 72 // struct inet_diag_msg
	diagSKV6Only   = 11 // INET_DIAG_SKV6ONLY
)

// Len and Serialize make it a part of a netlink message.
func (q diagRequest) Len() int { return diagRequestLen }

func (q diagRequest) Serialize() []byte {
	b := make([]byte, diagRequestLen)
	b[0], b[1] = q.family, q.protocol
	binary.NativeEndian.PutUint32(b[4:], q.states)
	return b
}

// parseDiag reads a struct inet_diag_msg and its attributes. waits is false
// for a socket that is tied to a peer.
func parseDiag(b []byte, protocol uint8) (s socket, waits bool, err error) {
	if len(b) < diagMessageLen {
		return s, false, fmt.Errorf("sock_diag: message of %d bytes", len(b))
	}
	addr := netip.AddrFrom4([4]byte(b[8:12]))
	if b[0] == unix.AF_INET6 {
		addr = netip.AddrFrom16([16]byte(b[8:24]))
	}
	s = socket{
		proto: "tcp",
		at:    netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[4:])),
		inode: uint64(binary.NativeEndian.Uint32(b[68:])),
	}
	if protocol == unix.IPPROTO_UDP {
		s.proto = "udp"
	}
	s.v6only = hasFlag(b[diagMessageLen:], diagSKV6Only)
	peer := binary.BigEndian.Uint16(b[6:])
	return s, peer == 0 && s.at.Port() != 0, nil
}

// hasFlag finds the one-byte attribute want among attrs, netlink(7): length,
// type, value, each aligned to 4 bytes.
func hasFlag(attrs []byte, want uint16) bool {
	const head = unix.SizeofRtAttr
	for len(attrs) >= head {
		size := int(binary.NativeEndian.Uint16(attrs))
		if size < head || size > len(attrs) {
			return false
		}
		if binary.NativeEndian.Uint16(attrs[2:]) == want && size > head {
			return attrs[head] != 0
		}
		attrs = attrs[min((size+3)&^3, len(attrs)):]
	}
	return false
}

// listeningByFile reads /proc/PID/net/{tcp,udp}{,6}, which every user may.
func (p *process) listeningByFile() ([]socket, error) {
	var all []socket
	for _, name := range []string{"tcp", "tcp6", "udp", "udp6"} {
		text, err := p.read("net/" + name)
		if errors.Is(err, os.ErrNotExist) && strings.HasSuffix(name, "6") {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		socks, err := parseNetFile(text, name[:3])
		if err != nil {
			return nil, fmt.Errorf("%s/net/%s: %w", p.at, name, err)
		}
		all = append(all, socks...)
	}
	return all, nil
}

// parseNetFile reads a table of proc_pid_net(5): local address in the second
// column, peer in the third, state in the fourth, inode in the tenth.
func parseNetFile(text []byte, proto string) ([]socket, error) {
	var socks []socket
	for line := range bytes.Lines(text) {
		words := strings.Fields(string(line))
		if len(words) == 0 || words[0] == "sl" {
			continue
		}
		if len(words) < 10 {
			return nil, fmt.Errorf("%q has %d columns", line, len(words))
		}
		state, err := strconv.ParseUint(words[3], 16, 8)
		if err != nil {
			return nil, fmt.Errorf("state %q is not a hexadecimal number", words[3])
		}
		if proto == "tcp" && state != stateListen || proto == "udp" && state != stateClose {
			continue
		}
		at, err := parseHexAddr(words[1])
		if err != nil {
			return nil, err
		}
		inode, err := strconv.ParseUint(words[9], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("inode %q is not a number", words[9])
		}
		socks = append(socks, socket{proto: proto, at: at, inode: inode})
	}
	return socks, nil
}

// parseHexAddr reads "0100007F:1F90": 32-bit words in the machine's order.
func parseHexAddr(s string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	n, perr := strconv.ParseUint(port, 16, 16)
	if err != nil || perr != nil || len(b) != 4 && len(b) != 16 {
		return netip.AddrPort{}, fmt.Errorf("%q is not a hexadecimal address and port", s)
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	addr, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr, uint16(n)), nil
}
