package sockdiag

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"casco/internal/handtest"
)

// TestWaiting finds a socket of its own, and not a connection to it.
func TestWaiting(t *testing.T) {
	handtest.NeedRoot(t) // entering a network namespace takes CAP_SYS_ADMIN
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ns, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	all, err := Waiting(int(ns.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, s := range all {
		switch s.At.String() {
		case l.Addr().String():
			found++
		case c.LocalAddr().String():
			t.Errorf("%v is connected and waits for nobody", s)
		}
	}
	if found != 1 {
		t.Errorf("%s is there %d times among %v", l.Addr(), found, all)
	}
}

// message is a struct inet_diag_msg as the kernel sends it.
func message(family uint8, addr netip.Addr, port uint16, inode uint32, v6only byte) []byte {
	b := make([]byte, messageLen, messageLen+8)
	b[0], b[1] = family, stateListen
	binary.BigEndian.PutUint16(b[4:], port)
	copy(b[8:24], addr.AsSlice())
	binary.NativeEndian.PutUint32(b[68:], inode)
	attr := make([]byte, 8)
	binary.NativeEndian.PutUint16(attr, 5)
	binary.NativeEndian.PutUint16(attr[2:], v6Only)
	attr[4] = v6only
	return append(b, attr...)
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		msg  []byte
		want Socket
	}{
		{message(unix.AF_INET, netip.IPv4Unspecified(), 22, 1, 0), Socket{"tcp", netip.MustParseAddrPort("0.0.0.0:22"), false, 1}},
		{message(unix.AF_INET6, netip.IPv6Unspecified(), 22, 2, 0), Socket{"tcp", netip.MustParseAddrPort("[::]:22"), false, 2}},
		{message(unix.AF_INET6, netip.IPv6Unspecified(), 22, 3, 1), Socket{"tcp", netip.MustParseAddrPort("[::]:22"), true, 3}},
		{message(unix.AF_INET, netip.MustParseAddr("172.17.0.2"), 80, 4, 0), Socket{"tcp", netip.MustParseAddrPort("172.17.0.2:80"), false, 4}},
	} {
		got, waits, err := parse(c.msg, unix.IPPROTO_TCP)
		if got != c.want || !waits || err != nil {
			t.Errorf("%v, %v, %v; want %v", got, waits, err, c.want)
		}
	}
	connected := message(unix.AF_INET, netip.MustParseAddr("172.17.0.2"), 53, 4, 0)
	connected[7] = 53
	if _, waits, _ := parse(connected, unix.IPPROTO_UDP); waits {
		t.Error("a UDP socket with a peer waits for others")
	}
	if _, _, err := parse(connected[:messageLen-1], unix.IPPROTO_UDP); err == nil {
		t.Error("half a message was read")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(message(unix.AF_INET6, netip.IPv6Unspecified(), 22, 3, 1))
	f.Fuzz(func(t *testing.T, msg []byte) {
		if s, _, err := parse(bytes.Clone(msg), unix.IPPROTO_TCP); err == nil && !s.At.IsValid() {
			t.Errorf("%v is no address", s.At)
		}
	})
}
