package daemon

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"casco/internal/doorway"
	"casco/internal/sockdiag"
)

// A listener is one socket on which a process waits for connections.
type listener struct {
	proto string // "tcp", "unix"
	addr  netip.AddrPort
	path  string // of a unix socket; abstract ones begin with @
	inode uint64
}

// listeners are the sockets that p listens on, and what was asked for them, in
// its own network namespace.
func (p process) listeners() (out []listener, source string, err error) {
	held, err := p.sockets()
	if err != nil {
		return nil, "", err
	}
	all, source, err := p.waiting()
	if err != nil {
		return nil, "", err
	}
	unixes, err := os.ReadFile(p.path("net/unix"))
	if err != nil {
		return nil, "", err
	}
	named, err := parseUnix(unixes)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", p.path("net/unix"), err)
	}
	for _, l := range append(all, named...) {
		if held[l.inode] {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, compareListeners)
	return out, source, nil
}

// waiting are the TCP sockets that listen where p is, of whatever process. Where
// its namespace cannot be entered they are read from /proc/PID/net, proc(5).
func (p process) waiting() (out []listener, source string, err error) {
	if ns, err := os.Open(p.path("ns/net")); err == nil {
		defer ns.Close()
		if socks, err := sockdiag.Waiting(int(ns.Fd())); err == nil {
			for _, s := range socks {
				if s.Proto == "tcp" {
					out = append(out, listener{proto: "tcp", addr: netip.AddrPortFrom(s.At.Addr().Unmap(), s.At.Port()), inode: s.Inode})
				}
			}
			return out, "sock_diag in " + p.path("ns/net") + ", " + p.path("net/unix"), nil
		}
	}
	for _, name := range []string{"tcp", "tcp6"} {
		b, err := os.ReadFile(p.path("net/" + name))
		if os.IsNotExist(err) && name == "tcp6" {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, "", err
		}
		ls, err := parseTCP(b)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", p.path("net/"+name), err)
		}
		out = append(out, ls...)
	}
	return out, p.path("net"), nil
}

func compareListeners(a, b listener) int {
	if c := strings.Compare(a.proto, b.proto); c != 0 {
		return c
	}
	if c := a.addr.Compare(b.addr); c != 0 {
		return c
	}
	return strings.Compare(a.path, b.path)
}

// listeningAt are the inodes of the sockets that listen at path in the network
// namespace of process pid. There can be several: a path can be bound again
// once its file was removed.
func listeningAt(pid int, path string) ([]uint64, error) {
	b, err := os.ReadFile(process{pid: pid}.path("net/unix"))
	if err != nil {
		return nil, err
	}
	ls, err := parseUnix(b)
	var out []uint64
	for _, l := range ls {
		if samePath(l.path, path) {
			out = append(out, l.inode)
		}
	}
	return out, err
}

// samePath: /var/run is a link to /run on most hosts, and a socket is listed
// by the path that it was bound by, also once it lies behind a door.
func samePath(a, b string) bool {
	if a == b || a == doorway.Behind(b) {
		return true
	}
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// tcpListen is TCP_LISTEN of include/net/tcp_states.h.
const tcpListen = "0A"

// parseTCP reads the listening sockets of /proc/net/tcp and tcp6:
//
//	sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
//	 0: 0100007F:0947 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5012 1 …
func parseTCP(table []byte) ([]listener, error) {
	var out []listener
	for line := range bytes.Lines(table) {
		f := strings.Fields(string(line))
		if len(f) < 10 || f[3] != tcpListen {
			continue
		}
		addr, err := parseAddr(f[1])
		if err != nil {
			return nil, err
		}
		inode, err := strconv.ParseUint(f[9], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("inode %q: %w", f[9], err)
		}
		out = append(out, listener{proto: "tcp", addr: addr, inode: inode})
	}
	return out, nil
}

// parseAddr reads 0100007F:0947: words of four bytes in the byte order of the
// machine, and the port.
func parseAddr(s string) (netip.AddrPort, error) {
	hexAddr, hexPort, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(hexAddr)
	if err != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, fmt.Errorf("address %q is not of this form", s)
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	addr, ok := netip.AddrFromSlice(b)
	port, err := strconv.ParseUint(hexPort, 16, 16)
	if !ok || err != nil {
		return netip.AddrPort{}, fmt.Errorf("address %q is not of this form", s)
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), nil
}

// acceptsConnections is __SO_ACCEPTCON of include/uapi/linux/net.h: it listens.
const acceptsConnections = 1 << 16

// parseUnix reads the listening sockets of /proc/net/unix:
//
//	Num               RefCount Protocol Flags    Type St Inode Path
//	0000000000000000: 00000002 00000000 00010000 0001 01 21345 /run/docker.sock
//
// Those without a name are left out: nobody can call them.
func parseUnix(table []byte) ([]listener, error) {
	var out []listener
	for line := range bytes.Lines(table) {
		f := strings.Fields(string(line))
		if len(f) < 8 || f[0] == "Num" {
			continue
		}
		flags, err := strconv.ParseUint(f[3], 16, 64)
		if err != nil {
			return nil, fmt.Errorf("flags %q: %w", f[3], err)
		}
		if inode, path, ok := inodeAndPath(string(line)); ok && flags&acceptsConnections != 0 {
			out = append(out, listener{proto: "unix", path: path, inode: inode})
		}
	}
	return out, nil
}

// inodeAndPath takes the last two columns. The inode is padded to five
// columns, and a path may hold blanks.
func inodeAndPath(line string) (inode uint64, path string, ok bool) {
	rest := strings.TrimRight(line, "\n")
	for range 6 { // Num RefCount Protocol Flags Type St
		_, rest, ok = strings.Cut(strings.TrimLeft(rest, " "), " ")
		if !ok {
			return 0, "", false
		}
	}
	number, path, ok := strings.Cut(strings.TrimLeft(rest, " "), " ")
	if !ok || path == "" {
		return 0, "", false
	}
	inode, err := strconv.ParseUint(number, 10, 64)
	return inode, path, err == nil
}
