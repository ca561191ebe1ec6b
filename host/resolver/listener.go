package resolver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"casco/internal/nsenter"
	"casco/lang"
)

// A Target is a network namespace to listen in.
type Target struct {
	NS netns.NsHandle // used by Open alone
	ID string         // names it in events, and means nothing here
	// Life is a pidfd, pidfd_open(2), of the container's first process, or nil.
	// When that ends, the listener closes itself. It has to be told: its own
	// sockets keep the namespace from going away. Open does not keep it.
	Life   *os.File
	Commit Commit // nil fails every question for addresses
}

// A Listener answers in one network namespace. All its methods may be called
// from any goroutine.
type Listener struct {
	s      *Server
	id     string
	commit Commit
	socks  *sockets
	cancel context.CancelFunc
	done   chan struct{} // closed when nothing of it is left

	zone     atomic.Pointer[Zone]
	granting sync.RWMutex // held for reading from the look at zone to the end of Commit
	held     held

	slots    chan struct{} // one for each question that is being answered
	conns    chan struct{} // one for each TCP connection
	work     sync.WaitGroup
	upstream bucket // questions that go upstream
	events   bucket
	missed   atomic.Uint64 // events left out since the last one
	stats    struct{ asked, answered, refused, failed atomic.Uint64 }
}

// Stats are numbers of questions since the listener was opened.
type Stats struct {
	Asked    uint64 // all that could be read
	Answered uint64 // as upstream answered, none being an answer
	Refused  uint64 // NotAllowed, Search, Reverse, Type, Rebinding
	Failed   uint64 // Upstream, Uncommit, Flood, Full
}

// Open begins to answer in t. It takes CAP_SYS_ADMIN, to enter the namespace;
// ErrHost is that of the process itself or of Config.From. Four sockets are in
// the namespace from now on, and one goroutine here while nobody asks. The
// caller ends it with Close, of the Listener or of the Server.
func (s *Server) Open(t Target, z Zone) (*Listener, error) {
	if err := s.isHost(t.NS); err != nil {
		return nil, lang.Errorf(lang.Text{En: "%s: answer DNS: %w", Es: "%s: responder DNS: %w"}, t.ID, err)
	}
	life := -1
	if t.Life != nil {
		life = int(t.Life.Fd())
	}
	var socks *sockets
	err := nsenter.Net(t.NS, func() (err error) {
		socks, err = openSockets(life)
		return err
	})
	if err != nil {
		return nil, lang.Errorf(lang.Text{En: "%s: answer DNS: %w", Es: "%s: responder DNS: %w"}, t.ID, err)
	}
	if t.Commit == nil {
		t.Commit = func(context.Context, string, []netip.Addr, time.Duration) error { return errNobody }
	}
	limits := s.cfg.Limits
	l := &Listener{
		s: s, id: t.ID, commit: t.Commit, socks: socks,
		done:     make(chan struct{}),
		held:     held{names: limits.Names, addrs: limits.Addrs, by: map[string]map[netip.Addr]time.Time{}},
		slots:    make(chan struct{}, limits.InFlight),
		conns:    make(chan struct{}, limits.Conns),
		upstream: bucket{burst: 4 * float64(limits.PerSecond), rate: float64(limits.PerSecond)},
		events:   bucket{burst: eventBurst, rate: eventRate},
	}
	l.zone.Store(&z)
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	if !s.add(l) {
		cancel()
		socks.close()
		return nil, lang.Errorf(lang.Text{En: "%s: answer DNS: %w", Es: "%s: responder DNS: %w"}, t.ID, errClosed)
	}
	go l.serve(ctx) // Close waits for it
	return l, nil
}

var errNobody = errors.New("nobody lets addresses through")

// isHost says ErrHost of the namespaces that a listener must not be in.
func (s *Server) isHost(ns netns.NsHandle) error {
	own, err := netns.GetFromPath("/proc/self/ns/net")
	if err != nil {
		return err
	}
	defer own.Close()
	if own.Equal(ns) || s.cfg.From != nil && s.cfg.From.Equal(ns) {
		return ErrHost
	}
	return nil
}

// Port is where it listens, on 127.0.0.1 and ::1, UDP and TCP.
func (l *Listener) Port() int { return l.socks.port }

// Done is closed when the listener has ended, by Close or by itself.
func (l *Listener) Done() <-chan struct{} { return l.done }

// Stats returns how many questions there were.
func (l *Listener) Stats() Stats {
	return Stats{l.stats.asked.Load(), l.stats.answered.Load(), l.stats.refused.Load(), l.stats.failed.Load()}
}

// Set replaces what may be asked for. When it returns no Commit by the old Zone
// is running, and none will. It returns the addresses that were committed and
// that z allows to no name, in no order: the caller takes them out again.
func (l *Listener) Set(z Zone) []netip.Addr {
	l.granting.Lock()
	defer l.granting.Unlock()
	l.zone.Store(&z)
	return l.held.keep(z, time.Now())
}

// Close ends the listener and waits for all that it began. It may be called
// again.
func (l *Listener) Close() {
	l.cancel()
	l.socks.wake()
	<-l.done
}

// serve is the goroutine of the listener: it waits for all its sockets at once.
func (l *Listener) serve(ctx context.Context) {
	defer close(l.done)
	defer l.s.drop(l)
	defer l.socks.close() // last: nobody writes to them any more
	defer l.work.Wait()
	defer l.cancel()
	for ctx.Err() == nil {
		ready, err := l.socks.wait()
		if err != nil {
			if ctx.Err() == nil {
				l.s.cfg.Log.Error("resolver: waiting for questions", "container", l.id, "err", err)
			}
			return
		}
		for _, fd := range ready {
			switch {
			case fd == l.socks.life:
				l.s.cfg.Log.Debug("resolver: the container has ended", "container", l.id)
				return
			case l.socks.isTCP(fd):
				l.accept(ctx, fd)
			default:
				l.receive(ctx, fd)
			}
		}
	}
}

const (
	turn        = 32   // packets or connections of one socket before it is another's turn
	questionTop = 2048 // bytes of a question; a name and its options are far below
)

// buffers are for questions, and in use only while one is read and judged.
var buffers = sync.Pool{New: func() any { return new([questionTop]byte) }}

// receive answers the packets that wait on a UDP socket.
func (l *Listener) receive(ctx context.Context, fd int) {
	buf := buffers.Get().(*[questionTop]byte)
	defer buffers.Put(buf)
	for range turn {
		// MSG_TRUNC: n is the length of the packet, also if it did not fit.
		n, from, err := unix.Recvfrom(fd, buf[:], unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		if err != nil {
			return
		}
		if n > len(buf) || from == nil {
			continue
		}
		q, reply, work := l.judge(buf[:n], false)
		if work {
			reply = l.begin(&q, func() { send(fd, l.resolve(ctx, &q), from) })
		}
		send(fd, reply, from)
	}
}

// begin runs do in a goroutine if there is a slot for one more question. If
// not, what it returns is the reply.
func (l *Listener) begin(q *question, do func()) []byte {
	select {
	case l.slots <- struct{}{}:
	default:
		return l.fail(q, Flood, nil)
	}
	l.work.Go(func() {
		defer func() { <-l.slots }()
		do()
	})
	return nil
}

// send sends a reply if there is one; if it cannot be sent it is lost, as UDP
// allows.
func send(fd int, reply []byte, to unix.Sockaddr) {
	if reply != nil {
		_ = unix.Sendto(fd, reply, unix.MSG_DONTWAIT, to)
	}
}

// accept takes the connections that wait on a TCP socket.
func (l *Listener) accept(ctx context.Context, fd int) {
	for range turn {
		conn, err := acceptConn(fd)
		if err == unix.EMFILE || err == unix.ENFILE {
			time.Sleep(10 * time.Millisecond) // it will be as ready as now
		}
		if err != nil {
			return
		}
		select {
		case l.conns <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		l.work.Go(func() {
			defer func() { <-l.conns }()
			l.talk(ctx, conn)
		})
	}
}

const (
	tcpIdle = 10 * time.Second // RFC 7766 section 6.2.3: in the order of seconds
	tcpMost = 128              // questions on a connection
)

// talk answers the questions on a connection one after the other.
func (l *Listener) talk(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer conn.Close()
	defer stop()
	for range tcpMost {
		_ = conn.SetDeadline(time.Now().Add(tcpIdle))
		msg, err := readTCP(conn, questionTop)
		if err != nil {
			return
		}
		q, reply, work := l.judge(msg, true)
		if work {
			reply = l.resolveSlot(ctx, &q)
		}
		if reply == nil || writeTCP(conn, reply) != nil {
			return
		}
	}
}

// resolveSlot is resolve, if there is a slot for it.
func (l *Listener) resolveSlot(ctx context.Context, q *question) []byte {
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
		return l.resolve(ctx, q)
	default:
		return l.fail(q, Flood, nil)
	}
}
