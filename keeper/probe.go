package keeper

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"casco/guard/network"
	"casco/host/spaces"
	"casco/internal/nsenter"
	"casco/internal/sockdiag"
)

// An Attempt is a connection that is tried from inside a namespace.
type Attempt struct {
	From string         `json:"from"` // name of the container
	To   string         `json:"to"`   // "host" for the host
	At   netip.AddrPort `json:"at"`   // TCP
}

// A Probe is what became of an Attempt.
type Probe struct {
	Attempt
	May     bool `json:"may"`     // the policy lets it
	Reached bool `json:"reached"` // somebody answered
}

// Bounds of probing: so many attempts, each so long. A refused connection and
// an accepted one take well under a millisecond on one host; what is dropped
// takes all of the time.
const (
	maxProbes   = 256
	probeTime   = 500 * time.Millisecond
	probesAbout = 32
)

// Probe tries to reach, from each namespace, what listens in the others and on
// the host, up to a bound: first what may not be reached. It opens TCP
// connections and closes them at once.
func (k *Keeper) Probe(ctx context.Context) ([]Probe, error) {
	all, inside, err := k.attempts()
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, s := range inside {
			s.Close()
		}
	}()
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(probesAbout)
	for i := range all {
		work.Go(func() error {
			all[i].Reached = k.reaches(ctx, inside[all[i].From], all[i].At)
			return ctx.Err()
		})
	}
	return all, work.Wait()
}

// reaches connects from inside a namespace, whose traffic that is not. A namespace
// that is gone reaches nothing.
func (k *Keeper) reaches(ctx context.Context, s *spaces.Space, at netip.AddrPort) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	return nsenter.Net(s.NS, func() error {
		// One address, one attempt: the dialer does it on this thread, in this
		// namespace.
		d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
			port, err := bound(c, at.Addr().Is4())
			if err == nil {
				err = k.except(port)
			}
			return err
		}}
		c, err := d.DialContext(ctx, "tcp", at.String())
		if err != nil {
			return err
		}
		return c.Close()
	}) == nil
}

// bound has a socket take a port before it connects, and returns it.
func bound(c syscall.RawConn, v4 bool) (port uint16, err error) {
	cerr := c.Control(func(fd uintptr) {
		var here unix.Sockaddr = &unix.SockaddrInet6{}
		if v4 {
			here = &unix.SockaddrInet4{}
		}
		if err = unix.Bind(int(fd), here); err == nil {
			here, err = unix.Getsockname(int(fd))
		}
		switch a := here.(type) {
		case *unix.SockaddrInet4:
			port = uint16(a.Port)
		case *unix.SockaddrInet6:
			port = uint16(a.Port)
		}
	})
	return port, errors.Join(cerr, err)
}

// except has what a port of the thread's namespace opens not be counted, whichever
// of its addresses it has.
func (k *Keeper) except(port uint16) error {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	var out []netip.AddrPort
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, netip.AddrPortFrom(p.Addr(), port))
		}
	}
	k.flows.Except(out...)
	return nil
}

// listening are the TCP ports on which somebody waits for others than itself.
func listening(ns netns.NsHandle) ([]uint16, error) {
	socks, err := sockdiag.Waiting(int(ns))
	if err != nil {
		return nil, err
	}
	var out []uint16
	for _, s := range socks {
		if p := s.At.Port(); s.Proto == "tcp" && !s.At.Addr().IsLoopback() && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out, nil
}

// governed are the namespaces of this host.
func (k *Keeper) governed() []network.Namespace {
	return slices.DeleteFunc(k.state.Namespaces(), func(n network.Namespace) bool { return n.Remote })
}

// attempts lists what is to be tried, and opens the namespaces to try it from.
func (k *Keeper) attempts() ([]Probe, map[string]*spaces.Space, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	type ear struct {
		name  string
		addrs []netip.Addr
		ports []uint16
	}
	var ears []ear
	for _, n := range k.governed() {
		ports, err := listening(k.spaces[n.ID].NS)
		if err != nil {
			return nil, nil, err
		}
		ears = append(ears, ear{n.Name(), n.Addrs(), ports})
	}
	ports, err := listening(k.cfg.Host.NS)
	if err != nil {
		return nil, nil, err
	}
	ears = append(ears, ear{"host", k.hostAddrs(), ports})

	var out []Probe
	inside := map[string]*spaces.Space{}
	for _, n := range k.governed() {
		in := k.state.Inside(n.ID)
		for _, e := range ears {
			if e.name == n.Name() {
				continue
			}
			for _, a := range e.addrs {
				for _, port := range e.ports {
					out = append(out, Probe{
						Attempt: Attempt{n.Name(), e.name, netip.AddrPortFrom(a, port)},
						May:     in.Sends(a, network.Port{Number: port, Proto: network.TCP}),
					})
				}
			}
		}
	}
	// What may not be reached comes first, for that is what is to be shown.
	slices.SortStableFunc(out, func(a, b Probe) int {
		switch {
		case a.May == b.May:
			return 0
		case a.May:
			return 1
		}
		return -1
	})
	if len(out) > maxProbes {
		may := slices.IndexFunc(out, func(p Probe) bool { return p.May })
		if may < 0 {
			may = len(out)
		}
		// Half of the bound is kept for what must still be reached.
		no := min(may, max(maxProbes/2, maxProbes-(len(out)-may)))
		out = append(out[:no:no], out[may:min(len(out), may+maxProbes-no)]...)
	}
	for _, n := range k.governed() {
		s, err := k.spaces[n.ID].Again()
		if err != nil {
			return nil, inside, err
		}
		inside[n.Name()] = s
	}
	return out, inside, nil
}
