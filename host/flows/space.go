package flows

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"casco/guard/network"
	"casco/internal/conntrack"
	"casco/internal/nsenter"
	"casco/internal/sockdiag"
)

// A space is a namespace that is watched.
type space struct {
	ns     netns.NsHandle
	socket *os.File
	raw    syscall.RawConn
	want   want
	before []setting
	since  time.Time

	mu     sync.Mutex // guards what follows, and who reads the socket
	closed bool
	broken error // why nothing is told any more
	tally  *tally
	lost   int
	stale  bool          // messages were lost since the last list
	listed time.Time     // when that was
	ended  map[name]bool // connections that end while they are listed; else nil

	asked   time.Time           // when own addresses were
	ever    map[netip.Addr]bool // all that were
	ends    bool
	waiting map[uint16]bool
	waited  time.Time // when waiting was asked
}

// open begins to watch; nobody listens yet.
func open(ns netns.NsHandle, about network.Flow, o Options, ours func(netip.AddrPort) bool) (*space, error) {
	fd, err := unix.FcntlInt(uintptr(ns), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	s := &space{ns: netns.NsHandle(fd), ever: map[netip.Addr]bool{}, tally: newTally(about, o.Flows)}
	t := s.tally
	t.loopback, t.look, t.waits, t.ours = o.Loopback, s.addresses, s.waits, ours
	if o.First != nil {
		t.first = o.First
	}
	err = nsenter.Net(s.ns, func() error { return s.begin(o) })
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// begin opens the socket in the thread's namespace, joins what it tells, and
// counts what is there.
func (s *space) begin(o Options) error {
	fd, err := dial()
	if err != nil {
		return err
	}
	if !o.Tracked {
		s.want, err = wantTracking(fd) // before there are settings, if its modules are not loaded yet
	}
	if err == nil {
		err = unix.SetNonblock(fd, true) // the runtime waits for it then, and no thread
	}
	s.socket = os.NewFile(uintptr(fd), "ctnetlink")
	if err != nil {
		return fmt.Errorf("listen to connection tracking: %w", err)
	}
	settings, err := conntrack.Open()
	if err != nil {
		return err
	}
	defer settings.Close()
	s.before, err = set(settings)
	if err == nil {
		err = errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, o.Buffer),
			unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, groupNew),
			unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, groupDestroy),
		)
	}
	if err != nil {
		return fmt.Errorf("listen to connection tracking: %w", err)
	}
	if s.raw, err = s.socket.SyscallConn(); err != nil {
		return err
	}
	return s.start(settings)
}

// start counts what is there. Of what begins meanwhile the socket tells too.
func (s *space) start(settings *os.Root) error {
	s.since = time.Now().UTC()
	if own, err := ownAddresses(); err == nil {
		s.own(own, s.since)
	}
	if conntrack.None(settings) {
		return nil
	}
	var all []entry
	err := listHere(func(e entry) { all = append(all, e.alone()) })
	s.tally.found(all, s.since)
	return err
}

// close takes back what was changed.
func (s *space) close() error {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock() // the socket is closed once listen, which may wait for it, let go of it
	if was {
		return nil
	}
	var errs []error
	if s.socket != nil {
		errs = append(errs, nsenter.Net(s.ns, func() error { return errors.Join(reset(s.before), s.want.end()) }), s.socket.Close())
	}
	return errors.Join(append(errs, s.ns.Close())...)
}

// listen reads the socket until it is closed.
func (s *space) listen() {
	// The function is called again whenever there is something to read.
	_ = s.raw.Read(func(fd uintptr) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return !s.drain(int(fd))
	})
}

// drain reads what the kernel has told until now. It returns false if it will
// never tell anything again.
func (s *space) drain(fd int) bool {
	buf := buffers.Get().(*[room]byte)
	defer buffers.Put(buf)
	for !s.closed {
		n, _, err := unix.Recvfrom(fd, buf[:], unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ENOBUFS):
			s.lost++
			s.stale = true
		case errors.Is(err, unix.EAGAIN):
			s.again()
			return true
		case err != nil:
			s.broken = fmt.Errorf("listen to connection tracking: %w", err)
			return false
		default:
			s.told(buf[:n])
		}
	}
	return false
}

// told is what the kernel tells.
func (s *space) told(b []byte) {
	now := time.Now().UTC()
	for typ, b := range messages(b) {
		e, err := parse(b)
		switch {
		case err != nil:
		case typ == msgNew:
			s.tally.begin(&e, now)
		case typ == msgDelete:
			s.tally.end(&e, now)
			if s.ended != nil {
				s.ended[e.name] = true
			}
		}
	}
}

// again looks at all there is, after messages were lost; in a flood not more
// often than once a second.
func (s *space) again() {
	if now := time.Now().UTC(); s.stale && s.ended == nil && now.Sub(s.listed) >= time.Second {
		_, _ = s.all(now) // it stays stale if it fails
	}
}

// read says what was seen until now.
func (s *space) read() (Seen, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Seen{}, os.ErrClosed
	}
	now := time.Now().UTC()
	s.tally.own = s.addresses(now)
	flows, err := s.all(now)
	return s.seen(flows, now), errors.Join(err, s.broken)
}

// last is read for the last time. A container that ends loses its interfaces one
// by one before its namespace: what is still listed there began with the
// addresses that it had.
func (s *space) last() (Seen, error) {
	s.mu.Lock()
	s.ends = true
	s.mu.Unlock()
	return s.read()
}

// glance is read without a list of what is open.
func (s *space) glance() (Seen, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Seen{}, os.ErrClosed
	}
	if err := s.raw.Control(func(fd uintptr) { s.drain(int(fd)) }); err != nil {
		return Seen{}, err
	}
	return s.seen(s.tally.ended(), time.Now().UTC()), s.broken
}

func (s *space) seen(flows []network.Flow, now time.Time) Seen {
	about := s.tally.about
	return Seen{about.Namespace, about.Workload, s.since, now, flows, s.lost}
}

// all adds what is there to what was. A connection may end at any moment, so
// they are listed first, and those whose end was told by then are not counted
// twice.
func (s *space) all(now time.Time) ([]network.Flow, error) {
	s.ended = map[name]bool{}
	defer func() { s.ended = nil }()
	all, err := s.list()
	if err != nil {
		return nil, err
	}
	s.listed = now
	lost := s.stale
	s.stale = false
	if err := s.raw.Control(func(fd uintptr) { s.drain(int(fd)) }); err != nil {
		return nil, err
	}
	there := all[:0]
	for _, e := range all {
		if !s.ended[e.name] {
			there = append(there, e)
		}
	}
	return s.tally.read(there, lost || s.stale, now), nil
}

// list is every connection that is there.
func (s *space) list() (all []entry, err error) {
	err = list(s.ns, func(e entry) { all = append(all, e.alone()) })
	return all, err
}

// An address or a port that is not known is asked for not more often than this.
const (
	askAddresses = 100 * time.Millisecond
	askPorts     = time.Second
)

// addresses are those of the namespace.
func (s *space) addresses(now time.Time) map[netip.Addr]bool {
	if s.ends {
		return s.ever
	}
	if now.Sub(s.asked) < askAddresses {
		return s.tally.own
	}
	own, err := addresses(s.ns)
	if err != nil {
		return s.tally.own
	}
	s.own(own, now)
	return own
}

func addresses(ns netns.NsHandle) (own map[netip.Addr]bool, err error) {
	err = nsenter.Net(ns, func() (err error) {
		own, err = ownAddresses()
		return err
	})
	return own, err
}

// own takes note of the addresses that the namespace has now.
func (s *space) own(own map[netip.Addr]bool, now time.Time) {
	s.asked, s.tally.own = now, own
	maps.Copy(s.ever, own)
}

// ownAddresses are those of the thread's namespace.
func ownAddresses() (map[netip.Addr]bool, error) {
	all, err := net.InterfaceAddrs()
	own := map[netip.Addr]bool{}
	for _, a := range all {
		if ip, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(ip.IP); ok {
				own[addr.Unmap()] = true
			}
		}
	}
	return own, err
}

// waits reports whether a TCP socket of the namespace waits at a port.
func (s *space) waits(port uint16, now time.Time) bool {
	if now.Sub(s.waited) >= askPorts {
		s.waited, s.waiting = now, waiting(s.ns)
	}
	return s.waiting[port]
}

func waiting(ns netns.NsHandle) map[uint16]bool {
	ports := map[uint16]bool{}
	all, err := sockdiag.Waiting(int(ns))
	if err != nil {
		return ports // who opened is then what the kernel thinks
	}
	for _, s := range all {
		if s.Proto == "tcp" {
			ports[s.At.Port()] = true
		}
	}
	return ports
}
