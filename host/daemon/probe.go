package daemon

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"casco/internal/nsenter"
)

// What a probe found on a TCP listener.
const (
	tlsNone   = "none"   // the engine answers in plain HTTP: whoever gets through owns the host
	tlsServer = "server" // TLS, but no certificate is asked of the client: the same
	tlsMutual = "mutual" // a client without a certificate is turned away
	tlsUnread = ""       // nothing that could be understood
)

// probeTime bounds each of the two questions. A listener takes 2 to 17 ms.
const probeTime = 2 * time.Second

// probe asks the listener at addr in the network namespace of p what it wants
// of a client: first GET /_ping in the clear, then over TLS without a
// certificate. api reports that an engine's API answered: what else listens
// there (swarm, metrics, a held published port) does not send its headers.
func (p process) probe(ctx context.Context, addr netip.AddrPort) (found string, api bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	conn, err := p.dial(ctx, addr)
	if err != nil {
		return tlsUnread, false, err
	}
	defer conn.Close()
	if ping(conn) == nil {
		return tlsNone, true, nil
	}
	if ctx.Err() != nil { // it accepts and says nothing: so it would to a handshake
		return tlsUnread, false, nil
	}
	return p.probeTLS(ctx, addr)
}

func (p process) probeTLS(ctx context.Context, addr netip.AddrPort) (found string, api bool, err error) {
	raw, err := p.dial(ctx, addr)
	if err != nil {
		return tlsUnread, false, err
	}
	defer raw.Close()
	asked := false
	conn := tls.Client(raw, &tls.Config{
		InsecureSkipVerify: true, // who the server is does not matter here, only what it asks of us
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			return &tls.Certificate{}, nil
		},
	})
	err = conn.HandshakeContext(ctx)
	if err == nil {
		// In TLS 1.3 the client is done before the server has judged its
		// (empty) certificate: the refusal is what is read next.
		err = ping(conn)
	}
	switch {
	case err == nil:
		return tlsServer, true, nil
	case asked && ctx.Err() == nil:
		return tlsMutual, false, nil
	}
	return tlsUnread, false, nil
}

// ping sends GET /_ping and wants the headers of an engine.
func ping(conn net.Conn) error {
	req, err := http.NewRequest(http.MethodGet, "http://engine/_ping", nil)
	if err != nil {
		return err
	}
	if err := req.Write(conn); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.Header.Get("Api-Version") == "" {
		return fmt.Errorf("%s is no engine's answer", res.Status)
	}
	return nil
}

// dial connects to addr from inside the network namespace of p.
func (p process) dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	if addr.Addr().IsUnspecified() {
		loopback := netip.IPv6Loopback()
		if addr.Addr().Is4() {
			loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		addr = netip.AddrPortFrom(loopback, addr.Port())
	}
	fd, err := p.socketInside(addr.Addr())
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	// A blocking connect(2) obeys the send timeout: socket(7).
	wait := unix.NsecToTimeval(max(time.Until(deadline), time.Millisecond).Nanoseconds())
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &wait)
	if err == nil {
		err = unix.Connect(fd, sockaddr(addr))
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	f := os.NewFile(uintptr(fd), addr.String())
	defer f.Close()
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return conn, conn.SetDeadline(deadline)
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// socketInside makes a TCP socket in the network namespace of p. It stays
// there, whichever thread uses it.
func (p process) socketInside(addr netip.Addr) (fd int, err error) {
	family := unix.AF_INET6
	if addr.Is4() {
		family = unix.AF_INET
	}
	open := func() (int, error) {
		return unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	}
	if p.sameNamespace("net") {
		return open()
	}
	theirs, err := netns.GetFromPid(p.pid)
	if err != nil {
		return 0, err
	}
	defer theirs.Close()
	err = nsenter.Net(theirs, func() error {
		fd, err = open()
		return err
	})
	return fd, err
}
