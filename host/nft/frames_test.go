package nft

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"casco/internal/nsenter"
)

// hears counts the datagrams that arrive at UDP port 9 of the namespace. What
// it returns waits for as many as are wanted, on a busy machine for long, and
// whether more come; it starts to count anew.
func (p pen) hears(t *testing.T) func(want int64) int64 {
	t.Helper()
	var c net.PacketConn
	err := nsenter.Net(p.ns, func() (err error) { c, err = net.ListenPacket("udp4", ":9"); return err })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	var n atomic.Int64
	go func() {
		b := make([]byte, 10)
		for {
			if _, _, err := c.ReadFrom(b); err != nil {
				return
			}
			n.Add(1)
		}
	}()
	return func(want int64) int64 {
		for deadline := time.Now().Add(5 * time.Second); n.Load() < want && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond)
		return n.Swap(0)
	}
}

// awaitUp waits until the pen's interface sends: the kernel drops what is sent
// before it took note that the link is up, which it does some time later.
func (p pen) awaitUp(t testing.TB) {
	t.Helper()
	nl, err := netlink.NewHandleAt(p.ns)
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if link, err := nl.LinkByName(p.iface); err == nil && link.Attrs().OperState == netlink.OperUp {
			return
		}
	}
	t.Fatalf("%s of %s does not come up", p.iface, p.name)
}

// writes sends datagrams to UDP port 9 of another pen as frames of its own
// making, from the address src.
func (p pen) writes(to pen, src netip.Addr, n int) error {
	return nsenter.Net(p.ns, func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		link, err := net.InterfaceByName(p.iface)
		if err != nil {
			return err
		}
		frame := append(append(append([]byte{}, to.end.MAC[:]...), p.end.MAC[:]...), 0x08, 0x00)
		frame = append(frame, datagram(src, to.end.Addrs[0])...)
		for range n {
			if e := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: link.Index, Halen: 6}); e != nil {
				err = e
			}
		}
		return err
	})
}

// datagram is a UDP datagram to port 9 without a checksum (RFC 768, 791).
func datagram(src, dst netip.Addr) []byte {
	b := []byte{0x45, 0, 0, 29, 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
	return append(b, 0x12, 0x34, 0, 9, 0, 9, 0, 0, 'x')
}
