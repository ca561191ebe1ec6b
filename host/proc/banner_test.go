package proc

import (
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// serve answers one connection with say, and gives what the client sent until
// it went away.
func serve(t *testing.T, say func(net.Conn)) (netip.AddrPort, <-chan []byte) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	sent := make(chan []byte, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			close(sent)
			return
		}
		defer conn.Close()
		say(conn)
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		b, _ := io.ReadAll(conn)
		sent <- b
	}()
	return l.Addr().(*net.TCPAddr).AddrPort(), sent
}

func TestListenHearsAndSendsNothing(t *testing.T) {
	cases := []struct {
		name  string
		say   func(net.Conn)
		heard string
	}{
		{"ssh", func(c net.Conn) { io.WriteString(c, "SSH-2.0-x\r\nmore") }, "SSH-2.0-x"},
		{"ssh in two pieces", func(c net.Conn) {
			io.WriteString(c, "SSH-")
			time.Sleep(30 * time.Millisecond)
			io.WriteString(c, "2.0-y\r\n")
		}, "SSH-2.0-y"},
		{"a greeting without an end of line", func(c net.Conn) { io.WriteString(c, "J\x00\x00\x00\n5.7") }, "J\x00\x00\x00"},
		{"silent", func(net.Conn) {}, ""},
		{"closes at once", func(c net.Conn) { c.(*net.TCPConn).CloseWrite() }, ""},
	}
	var calls []*call
	var sent []<-chan []byte
	for _, c := range cases {
		to, ch := serve(t, c.say)
		one := &call{to: to}
		one.dial()
		calls, sent = append(calls, one), append(sent, ch)
	}
	start := time.Now()
	listen(context.Background(), calls, bannerWait)
	if took := time.Since(start); took > bannerWait+200*time.Millisecond {
		t.Errorf("took %v for all, want about %v", took, bannerWait)
	}
	for i, c := range cases {
		if got := calls[i].banner(); got != c.heard || !calls[i].asked || calls[i].fd != -1 {
			t.Errorf("%s: heard %q, asked %v, descriptor %d; want %q", c.name, got, calls[i].asked, calls[i].fd, c.heard)
		}
		if b := <-sent[i]; len(b) != 0 {
			t.Errorf("%s: was sent %q", c.name, b)
		}
	}
}

func TestListenToNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := &call{to: l.Addr().(*net.TCPAddr).AddrPort()}
	l.Close()
	gone.dial()
	listen(context.Background(), []*call{gone}, bannerWait)
	if gone.asked {
		t.Error("a port on which nobody listens was taken for a silent server")
	}
}

func TestListenEndsWithItsContext(t *testing.T) {
	to, _ := serve(t, func(net.Conn) {})
	one := &call{to: to}
	one.dial()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	listen(ctx, []*call{one}, time.Hour)
	if one.fd != -1 || one.asked {
		t.Errorf("descriptor %d, asked %v: one that was not waited for is not silent", one.fd, one.asked)
	}
}
