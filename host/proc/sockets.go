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

	"golang.org/x/sys/unix"

	"casco/internal/sockdiag"
)

// A socket waits for others to speak: a TCP socket in LISTEN, or a UDP socket
// that is bound and connected to nobody.
type socket struct {
	proto  string // "tcp", "udp"
	at     netip.AddrPort
	v6only bool // on [::] and not on 0.0.0.0 as well
	inode  uint64
}

// States of sockets in /proc, include/net/tcp_states.h.
const (
	stateClose  = 7 // an unconnected UDP socket
	stateListen = 10
)

// listening returns the sockets that wait in the network namespace of p. It
// asks sock_diag(7), and reads the files of /proc where the namespace cannot be
// entered, or the kernel has no inet_diag. source is what was asked.
func (p *process) listening() (socks []socket, source string, err error) {
	fd, err := p.handle("ns/net", unix.O_RDONLY)
	if err == nil {
		defer unix.Close(fd)
		var waiting []sockdiag.Socket
		if waiting, err = sockdiag.Waiting(fd); err == nil {
			for _, w := range waiting {
				socks = append(socks, socket{w.Proto, w.At, w.V6Only, w.Inode})
			}
			return socks, "sock_diag in " + p.at + "/ns/net", nil
		}
	}
	socks, ferr := p.listeningByFile()
	if ferr != nil {
		return nil, "", errors.Join(err, ferr)
	}
	return socks, p.at + "/net", nil
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
