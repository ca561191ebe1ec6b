package actor

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Storm is what storm says at its end.
type Storm struct {
	Sent int // what the kernel took, of all kinds
	// First says of each address when the first connection to it was there,
	// milliseconds from when it was begun, if that was before its end. One whose
	// first SYN was lost takes 1,000 and more.
	First map[string]float64
}

// storm sends to each address, every millisecond from its first instruction on:
// of each kind one. It ends after some time, says what it did, and with -stay
// waits until ctx ends.
func storm(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("storm", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	ms := flags.Int("ms", 100, "")
	tag := flags.String("tag", "tag0x", "")
	kinds := flags.String("kinds", "udp,tcp", "")
	spoof := flags.String("spoof", "", "")
	stay := flags.Bool("stay", false, "")
	if flags.Parse(args) != nil || flags.NArg() == 0 {
		return errUsage
	}
	s := &gale{tag: *tag, first: map[string]float64{}, end: time.Now().Add(time.Duration(*ms) * time.Millisecond)}
	if *spoof != "" {
		a, err := netip.ParseAddr(*spoof)
		if err != nil {
			return errUsage
		}
		s.spoof = a
	}
	var all sync.WaitGroup
	for _, a := range flags.Args() {
		to, err := netip.ParseAddrPort(a)
		if err != nil {
			return errUsage
		}
		for _, kind := range strings.Split(*kinds, ",") {
			blow := map[string]func(netip.AddrPort){"udp": s.udp, "tcp": s.tcp, "icmp": s.icmp, "frame": s.frame}[kind]
			if blow == nil {
				return errUsage
			}
			all.Go(func() { blow(to) })
		}
	}
	all.Wait()
	if err := json.NewEncoder(stdout).Encode(Storm{s.sent, s.first}); err != nil {
		return err
	}
	if *stay {
		wait(ctx)
	}
	return nil
}

// A gale is a storm while it blows.
type gale struct {
	tag   string
	spoof netip.Addr // source of frames; zero: our own
	end   time.Time

	mu    sync.Mutex // guards what follows
	sent  int
	first map[string]float64
}

// each calls f every millisecond until the end, at least once.
func (s *gale) each(f func() error) {
	for {
		if f() == nil {
			s.mu.Lock()
			s.sent++
			s.mu.Unlock()
		}
		if time.Now().After(s.end) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func (s *gale) udp(to netip.AddrPort) {
	p, err := net.ListenUDP("udp", nil)
	if err != nil {
		return
	}
	defer p.Close()
	s.each(func() error {
		_, err := p.WriteToUDPAddrPort([]byte(s.tag), to)
		return err
	})
}

func (s *gale) icmp(to netip.AddrPort) {
	s.each(func() error {
		if r := (Try{Kind: "icmp", Addr: to.Addr().String(), Tag: s.tag, Wait: 1}).Do(); !r.Reached && !strings.Contains(r.Err, "timeout") {
			return errUsage
		}
		return nil
	})
}

func (s *gale) frame(to netip.AddrPort) {
	w, err := newWriter(to.Addr())
	if err != nil {
		return
	}
	defer w.close()
	from := w.own
	if s.spoof.IsValid() {
		from = s.spoof
	}
	b := datagram(netip.AddrPortFrom(from, 7999), to, s.tag)
	s.each(func() error { return w.write(nil, unix.ETH_P_IP, b) })
}

// maxOpening bounds the connections of one address that are on their way.
const maxOpening = 100

// tcp begins connections and does not wait for them.
func (s *gale) tcp(to netip.AddrPort) {
	var open []int
	var began time.Time
	first := -1
	defer func() {
		for _, fd := range open {
			unix.Close(fd)
		}
	}()
	s.each(func() error {
		if len(open) < maxOpening {
			fd, err := connect(to)
			if err != nil {
				return err
			}
			if began.IsZero() {
				began, first = time.Now(), fd
			}
			open = append(open, fd)
		}
		left := open[:0]
		for _, fd := range open {
			switch established(fd) {
			case stillOpening:
				left = append(left, fd)
				continue
			case opened:
				if fd == first {
					s.mu.Lock()
					s.first[to.String()] = float64(time.Since(began).Microseconds()) / 1000
					s.mu.Unlock()
				}
				unix.Write(fd, []byte(s.tag))
			}
			if fd == first {
				first = -1
			}
			unix.Close(fd)
		}
		open = left
		return nil
	})
}

func connect(to netip.AddrPort) (int, error) {
	family := unix.AF_INET
	var sa unix.Sockaddr = &unix.SockaddrInet4{Port: int(to.Port())}
	if to.Addr().Is4() {
		sa.(*unix.SockaddrInet4).Addr = to.Addr().As4()
	} else {
		family, sa = unix.AF_INET6, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, sa); err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// States of a connection that was begun.
const (
	stillOpening = iota
	opened
	refused
)

func established(fd int) int {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	if n, err := unix.Poll(fds, 0); err != nil || n == 0 {
		return stillOpening
	}
	if errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || errno != 0 {
		return refused
	}
	return opened
}

// try is one Try by itself: KIND ADDR [TAG [FROM [MAC]]].
func try(args []string, stdout io.Writer) error {
	if len(args) < 2 || len(args) > 5 {
		return errUsage
	}
	args = append(args, make([]string, 5-len(args))...)
	t := Try{Kind: args[0], Addr: args[1], Tag: args[2], From: args[3], MAC: args[4]}
	if t.Tag == "" {
		t.Tag = "tag0x"
	}
	r := t.Do()
	if !r.Reached {
		return &notReachedError{r.Err}
	}
	_, err := io.WriteString(stdout, r.Answer)
	return err
}

// notReachedError is why a try did not get there.
type notReachedError struct{ why string }

func (e *notReachedError) Error() string { return "not reached: " + e.why }
