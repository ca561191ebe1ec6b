// Package flows sees who talks to whom in the network namespaces of
// containers: from inside, where traffic within one bridge passes and that of
// an encrypted overlay is in clear, which no rule of the host ever meets.
//
// It reads the kernel's connection tracking over netlink, linux/netfilter/
// nfnetlink_conntrack.h. A Watcher is told of each connection that begins and
// ends and adds them up, in memory that is bounded for each namespace however
// many connections there are. What the kernel had no room to tell is not
// hidden: Seen.Lost says that counts are "at least" from there on.
//
// To watch changes a namespace, and Drop takes it back: its connections are
// tracked, where nothing asked for that before, and their packets and bytes
// are counted. A socket is kept in each. It keeps the namespace too, so a
// Watcher looks now and then whether anybody else is left there.
//
// Messages are made and read here, for one socket and one goroutine per
// namespace that need no buffer while nothing happens; github.com/ti-mo/conntrack
// has two goroutines and four more modules, github.com/vishvananda/netlink
// blocks a thread for each.
package flows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"casco/guard/network"
	"casco/lang"
)

// Options say how to watch. The zero value is good.
type Options struct {
	// Flows is how many a namespace may have, 4096 if 0; each takes some 250
	// bytes. The rest are counted together, one Flow for each direction.
	Flows int
	// Tracked says that the caller's own rules in each namespace ask for the state
	// of connections for as long as it is watched: the kernel then tracks them, and
	// is not asked to. It saves a transaction of nftables, half of what Add takes.
	Tracked bool
	// Loopback is for what a namespace says to itself as well.
	Loopback bool
	// Buffer is how many bytes of messages the kernel keeps for each namespace
	// until they are read, 2 MiB if 0: some 2,000 connections in one moment.
	Buffer int
	// Every is how often to look for namespaces that nobody is in any more,
	// ten seconds if 0.
	Every time.Duration
	// First is called for each flow when it is first seen. It must not wait,
	// and not call the Watcher.
	First func(network.Flow)
	// Ended is called with all that was seen of a namespace that nobody is in
	// any more; it is not watched then. It must not close the Watcher.
	Ended func(Seen)
}

// Seen is what was seen of one namespace.
type Seen struct {
	Namespace uint64         `json:"namespace"`
	Workload  string         `json:"workload,omitempty"`
	Since     time.Time      `json:"since"`
	Until     time.Time      `json:"until"`
	Flows     []network.Flow `json:"flows"` // in order
	// Lost is how often the kernel had no room for a message. If it is not 0,
	// counts are "at least".
	Lost int `json:"lost,omitempty"`
}

var (
	errTwice  = lang.Text{En: "network namespace %d is watched already", Es: "el espacio de red %d ya se observa"}
	errNobody = lang.Text{En: "network namespace %d is not watched", Es: "el espacio de red %d no se observa"}
	errClosed = lang.Text{En: "the watcher is closed", Es: "el observador está cerrado"}
)

// A Watcher watches any number of namespaces. Its methods may be called at the
// same time.
type Watcher struct {
	options Options
	stop    context.CancelFunc
	done    sync.WaitGroup
	except  exceptions

	mu     sync.Mutex        // guards what follows
	spaces map[uint64]*space // nil once it is closed
}

// New starts one. It must be closed.
func New(o Options) *Watcher {
	if o.Flows == 0 {
		o.Flows = 4096
	}
	if o.Buffer == 0 {
		o.Buffer = 2 << 20
	}
	if o.Every == 0 {
		o.Every = 10 * time.Second
	}
	ctx, stop := context.WithCancel(context.Background())
	w := &Watcher{options: o, stop: stop, spaces: map[uint64]*space{}}
	w.done.Go(func() { w.mind(ctx) })
	return w
}

// Add begins to watch a namespace. The caller may close ns after it. Of
// connections that were open before, all is counted that the kernel did count.
func (w *Watcher) Add(ns netns.NsHandle, workload string) error {
	id, err := inode(ns)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.spaces == nil {
		return lang.Errorf(errClosed)
	}
	if w.spaces[id] != nil {
		return lang.Errorf(errTwice, id)
	}
	s, err := open(ns, network.Flow{Namespace: id, Workload: workload}, w.options, w.except.has)
	if err != nil {
		return fmt.Errorf("watch network namespace %d: %w", id, err)
	}
	w.spaces[id] = s
	w.done.Go(s.listen)
	return nil
}

// inode is what a namespace is known by.
func inode(ns netns.NsHandle) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(ns), &st); err != nil {
		return 0, fmt.Errorf("network namespace: %w", err)
	}
	return st.Ino, nil
}

// Namespaces are those that are watched, in order.
func (w *Watcher) Namespaces() []uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ids []uint64
	for id := range w.spaces {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Read says what was seen of a namespace until now. While connections are open
// in it the kernel takes some milliseconds to list them.
func (w *Watcher) Read(id uint64) (Seen, error) { return w.seen(id, (*space).read) }

// Glance is Read without a question to the kernel: which connections there
// were is as exact, but packets, bytes and answers are only of those that have
// ended, which for TCP is some two minutes after the last packet.
func (w *Watcher) Glance(id uint64) (Seen, error) { return w.seen(id, (*space).glance) }

func (w *Watcher) seen(id uint64, how func(*space) (Seen, error)) (Seen, error) {
	w.mu.Lock()
	s := w.spaces[id]
	w.mu.Unlock()
	if s == nil {
		return Seen{}, lang.Errorf(errNobody, id)
	}
	return how(s)
}

// Drop ends the watch of a namespace and takes back what it changed there. It
// returns all that was seen.
func (w *Watcher) Drop(id uint64) (Seen, error) {
	w.mu.Lock()
	s := w.spaces[id]
	delete(w.spaces, id)
	w.mu.Unlock()
	if s == nil {
		return Seen{}, lang.Errorf(errNobody, id)
	}
	seen, err := s.last()
	return seen, errors.Join(err, s.close())
}

// Close ends the watch of all.
func (w *Watcher) Close() error {
	w.stop()
	w.mu.Lock()
	spaces := w.spaces
	w.spaces = nil
	w.mu.Unlock()
	var errs []error
	for _, s := range spaces {
		errs = append(errs, s.close())
	}
	w.done.Wait()
	return errors.Join(errs...)
}

// mind lets go of namespaces that nobody is in any more.
func (w *Watcher) mind(ctx context.Context) {
	tick := time.NewTicker(w.options.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, id := range lonely(w.Namespaces()) {
			// What cannot be taken back is gone with the namespace.
			if seen, _ := w.Drop(id); seen.Namespace == id && w.options.Ended != nil {
				w.options.Ended(seen)
			}
		}
	}
}
