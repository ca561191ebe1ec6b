package actor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Try is one attempt to get something to somebody. Whether it got there is
// for the counter at the other end to say: a proxy on the way accepts too.
type Try struct {
	// Kind is how: "tcp", "udp" (broadcast and multicast addresses too), "icmp",
	// "frame" (a UDP datagram in a frame of its own making, AF_PACKET), "arp" (a
	// frame that claims From for our interface), "dns" (Tag is asked for at Addr)
	// "flush" (the nftables table Tag is deleted, or all of them: "*") or "own"
	// (the inet table Tag is made, or taken over, so that nobody else may change
	// it while this process lives). Of a
	// counter also "hold" (a TCP connection is made and kept, under the name Tag)
	// and "again" (the tag is sent over the one that was kept).
	Kind string
	Addr string // with a port, but for icmp and arp; of a link only with its interface: "[fe80::1%eth0]:7000"
	Tag  string
	From string // of a frame: its source, if that is to be another's
	MAC  string // of a frame: who it is for on the link; everybody if it is empty
	Wait int    // for an answer, milliseconds; 900 if 0: the kernel repeats a SYN after 1,000
}

// Tried is what came of a Try.
type Tried struct {
	Reached bool   // somebody answered, or a frame or a deletion was taken by the kernel
	Answer  string // of dns: addresses
	Err     string
}

// Do tries.
func (t Try) Do() Tried {
	wait := time.Duration(t.Wait) * time.Millisecond
	if wait == 0 {
		wait = 900 * time.Millisecond
	}
	var answer string
	var err error
	switch t.Kind {
	case "tcp", "udp":
		err = t.exchange(wait)
	case "icmp":
		err = t.echo(wait)
	case "frame":
		err = t.frame()
	case "arp":
		err = t.claim()
	case "dns":
		answer, err = t.ask(wait)
	case "flush":
		err = t.flush()
	case "own":
		err = t.own()
	default:
		err = errUsage
	}
	if err != nil {
		return Tried{Err: err.Error()}
	}
	return Tried{Reached: true, Answer: answer}
}

// exchange sends the tag and waits for an answer.
func (t Try) exchange(wait time.Duration) error {
	end := time.Now().Add(wait)
	conn, err := (&net.Dialer{Deadline: end}).Dial(t.Kind, t.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(end)
	if _, err := io.WriteString(conn, t.Tag); err != nil {
		return err
	}
	n, err := conn.Read(make([]byte, 512))
	if n > 0 {
		return nil
	}
	return err
}

// echo sends an echo request with the tag in it and waits for its reply.
func (t Try) echo(wait time.Duration) error {
	to, err := netip.ParseAddr(t.Addr)
	if err != nil {
		return err
	}
	way, request, reply := "ip4:icmp", byte(8), byte(0) // RFC 792
	if to.Is6() {
		way, request, reply = "ip6:ipv6-icmp", 128, 129 // RFC 4443
	}
	p, err := net.ListenPacket(way, "")
	if err != nil {
		return err
	}
	defer p.Close()
	b := append([]byte{request, 0, 0, 0, 0, 1, 0, 1}, t.Tag...)
	if to.Is4() { // of ICMPv6 the kernel works it out
		binary.BigEndian.PutUint16(b[2:], checksum(0, b))
	}
	p.SetDeadline(time.Now().Add(wait))
	if _, err := p.WriteTo(b, &net.IPAddr{IP: to.AsSlice(), Zone: to.Zone()}); err != nil {
		return err
	}
	for buf := make([]byte, 2048); ; {
		n, _, err := p.ReadFrom(buf)
		if err != nil {
			return err
		}
		if n > 0 && buf[0] == reply && strings.Contains(string(buf[:n]), t.Tag) {
			return nil
		}
	}
}

// ask asks a server for the addresses of a name.
func (t Try) ask(wait time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, t.Addr)
	}}
	as, err := r.LookupHost(ctx, t.Tag+".")
	return strings.Join(as, " "), err
}

// checksum is that of the Internet protocols (RFC 1071), begun with a sum.
func checksum(sum uint32, b []byte) uint16 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// on is the interface on whose network an address is, else the first.
func on(to netip.Addr) (*net.Interface, netip.Addr, error) {
	if to.Zone() != "" {
		i, err := net.InterfaceByName(to.Zone())
		return i, netip.Addr{}, err
	}
	all, err := net.Interfaces()
	if err != nil {
		return nil, netip.Addr{}, err
	}
	var first *net.Interface
	var own netip.Addr
	for _, i := range all {
		if i.Flags&net.FlagLoopback != 0 || len(i.HardwareAddr) != 6 || i.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err != nil || p.Addr().Is4() != to.Is4() {
				continue
			}
			if p.Masked().Contains(to) {
				return &i, p.Addr(), nil
			}
			if first == nil {
				first, own = &i, p.Addr()
			}
		}
	}
	if first == nil {
		return nil, own, errors.New("no interface")
	}
	return first, own, nil
}

// A writer writes frames to an interface, past the rules of the IP stack.
type writer struct {
	fd    int
	iface *net.Interface
	own   netip.Addr
}

func newWriter(to netip.Addr) (*writer, error) {
	iface, own, err := on(to)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("AF_PACKET: %w", err)
	}
	return &writer{fd, iface, own}, nil
}

func (w *writer) close() { unix.Close(w.fd) }

// write sends a frame of that protocol to a MAC address, everybody's if nil.
func (w *writer) write(mac net.HardwareAddr, proto uint16, b []byte) error {
	if mac == nil {
		mac = net.HardwareAddr{255, 255, 255, 255, 255, 255}
	}
	frame := append(append(append([]byte{}, mac...), w.iface.HardwareAddr...), byte(proto>>8), byte(proto))
	return unix.Sendto(w.fd, append(frame, b...), 0, &unix.SockaddrLinklayer{Ifindex: w.iface.Index, Halen: 6, Protocol: proto<<8 | proto>>8})
}

// datagram is a UDP datagram in its IP packet.
func datagram(from, to netip.AddrPort, payload string) []byte {
	size := 8 + len(payload)
	udp := binary.BigEndian.AppendUint16(nil, from.Port())
	udp = binary.BigEndian.AppendUint16(udp, to.Port())
	udp = binary.BigEndian.AppendUint16(udp, uint16(size))
	udp = append(append(udp, 0, 0), payload...)
	var ip []byte
	if to.Addr().Is4() {
		ip = append([]byte{0x45, 0, byte((20 + size) >> 8), byte(20 + size), 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}, from.Addr().AsSlice()...)
		ip = append(ip, to.Addr().AsSlice()...)
		binary.BigEndian.PutUint16(ip[10:], checksum(0, ip))
	} else {
		ip = append([]byte{0x60, 0, 0, 0, byte(size >> 8), byte(size), unix.IPPROTO_UDP, 64}, from.Addr().AsSlice()...)
		ip = append(ip, to.Addr().AsSlice()...)
	}
	pseudo := append(append(from.Addr().AsSlice(), to.Addr().AsSlice()...), 0, unix.IPPROTO_UDP, byte(size>>8), byte(size))
	binary.BigEndian.PutUint16(udp[6:], checksum(uint32(^checksum(0, pseudo)), udp))
	return append(ip, udp...)
}

func (t Try) frame() error {
	to, err := netip.ParseAddrPort(t.Addr)
	if err != nil {
		return err
	}
	w, err := newWriter(to.Addr())
	if err != nil {
		return err
	}
	defer w.close()
	from := w.own
	if t.From != "" {
		if from, err = netip.ParseAddr(t.From); err != nil {
			return err
		}
	}
	var mac net.HardwareAddr
	if t.MAC != "" {
		if mac, err = net.ParseMAC(t.MAC); err != nil {
			return err
		}
	}
	proto := uint16(unix.ETH_P_IP)
	if to.Addr().Is6() {
		proto = unix.ETH_P_IPV6
	}
	return w.write(mac, proto, datagram(netip.AddrPortFrom(from, 7999), to, t.Tag))
}

// claim says to everybody on the network of Addr that From is at our interface
// (RFC 5227, an ARP announcement).
func (t Try) claim() error {
	to, err := netip.ParseAddr(t.Addr)
	if err != nil {
		return err
	}
	from, err := netip.ParseAddr(t.From)
	if err != nil {
		return err
	}
	w, err := newWriter(to)
	if err != nil {
		return err
	}
	defer w.close()
	for _, op := range []byte{1, 2} { // a request and a reply: RFC 826
		b := append([]byte{0, 1, 8, 0, 6, 4, 0, op}, w.iface.HardwareAddr...)
		b = append(append(b, from.AsSlice()...), 0, 0, 0, 0, 0, 0)
		target := from
		if op == 1 {
			target = to
		}
		if err := w.write(nil, unix.ETH_P_ARP, append(b, target.AsSlice()...)); err != nil {
			return err
		}
	}
	return nil
}

// flush deletes tables of nftables, as nft(8) does with "delete table" and
// "flush ruleset": a batch of nfnetlink (include/uapi/linux/netfilter/
// nfnetlink.h) with one message for each family.
func (t Try) flush() error {
	if t.Tag == "*" {
		return deleteTable(unix.NFPROTO_UNSPEC, "")
	}
	return errors.Join(deleteTable(unix.NFPROTO_INET, t.Tag), deleteTable(unix.NFPROTO_NETDEV, t.Tag))
}

func deleteTable(family byte, name string) error {
	fd, err := netfilter()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var attr []byte
	if name != "" {
		attr = attribute(nil, unix.NFTA_TABLE_NAME, append([]byte(name), 0))
	}
	return batch(fd, unix.NFT_MSG_DELTABLE, 0, family, attr)
}

// own makes a table that belongs to a socket, which is not closed.
func (t Try) own() error {
	fd, err := netfilter()
	if err != nil {
		return err
	}
	const owner = 0x2 // NFT_TABLE_F_OWNER, include/uapi/linux/netfilter/nf_tables.h
	attr := attribute(nil, unix.NFTA_TABLE_NAME, append([]byte(t.Tag), 0))
	attr = attribute(attr, unix.NFTA_TABLE_FLAGS, binary.BigEndian.AppendUint32(nil, owner))
	return batch(fd, unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, unix.NFPROTO_INET, attr)
}

func netfilter() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return -1, err
	}
	tv := unix.Timeval{Sec: 1}
	return fd, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
}

func attribute(b []byte, kind uint16, v []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(v)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), v...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// batch is a transaction of one message, with the kernel's answer.
func batch(fd int, kind, flags uint16, family byte, body []byte) error {
	one := func(seq uint32, kind, flags uint16, family byte, res uint16, body []byte) []byte {
		b := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+4+len(body)))
		b = binary.NativeEndian.AppendUint16(b, kind)
		b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|flags)
		b = binary.NativeEndian.AppendUint32(b, seq)
		b = binary.NativeEndian.AppendUint32(b, 0)
		b = append(b, family, unix.NFNETLINK_V0)
		return append(binary.BigEndian.AppendUint16(b, res), body...)
	}
	all := one(1, unix.NFNL_MSG_BATCH_BEGIN, 0, 0, unix.NFNL_SUBSYS_NFTABLES, nil)
	all = append(all, one(2, unix.NFNL_SUBSYS_NFTABLES<<8|kind, unix.NLM_F_ACK|flags, family, 0, body)...)
	all = append(all, one(3, unix.NFNL_MSG_BATCH_END, 0, 0, unix.NFNL_SUBSYS_NFTABLES, nil)...)
	if err := unix.Sendto(fd, all, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 8<<10)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return err
	}
	if n >= 20 && binary.NativeEndian.Uint16(buf[4:]) == unix.NLMSG_ERROR {
		if errno := -int32(binary.NativeEndian.Uint32(buf[16:])); errno != 0 {
			return syscall.Errno(errno)
		}
	}
	return nil
}
