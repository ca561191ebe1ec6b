package proc

import (
	"context"
	"errors"
	"net/netip"

	"casco/internal/nsenter"
	"casco/loop/inventory"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A listener is a waiting socket of a container, and whose it is.
type listener struct {
	socket
	holder
	banner *string // what it said first; nil if it was not asked
}

// fields gives l the form that inventory.Listeners documents.
func (l listener) fields() map[string]any {
	m := map[string]any{
		"Proto": l.proto,
		"Addr":  l.at.Addr().String(),
		"Port":  int64(l.at.Port()),
	}
	if l.pid != 0 {
		m["Pid"], m["Comm"] = int64(l.pid), l.comm
	}
	if l.banner != nil {
		m["Banner"] = *l.banner
	}
	return m
}

// listeners finds the listening sockets of all subjects and what they say.
func (c *Containers) listeners(ctx context.Context, subjects []*subject, h *home) error {
	nets, err := dumps(ctx, subjects)
	if err != nil {
		return err
	}
	dns := c.engineSockets(nets, h)
	err = each(ctx, subjects, func(sub *subject) {
		net := nets[sub.net]
		err := net.err
		if sub.net == "" {
			err = errNetUnknown
		}
		if err == nil {
			err = c.ears(sub, net.socks, dns)
			sub.heardBy = net.source
		}
		sub.deaf = err
	})
	if err != nil {
		return err
	}
	if c.opts.Banners {
		c.banners(ctx, subjects)
	}
	for _, sub := range subjects {
		if sub.deaf != nil {
			unread(sub.Object, "Listeners", sub.deaf)
			continue
		}
		list := make([]any, 0, len(sub.ears))
		for _, l := range sub.ears {
			list = append(list, l.fields())
		}
		note(sub.Object, "Listeners", sub.heardBy, list)
	}
	return nil
}

// A netDump is what waits in one network namespace.
type netDump struct {
	socks  []socket
	source string
	err    error
}

// dumps asks each network namespace of the subjects once.
func dumps(ctx context.Context, subjects []*subject) (map[string]*netDump, error) {
	nets := map[string]*netDump{}
	var first []*subject
	for _, sub := range subjects {
		if sub.net != "" && nets[sub.net] == nil {
			nets[sub.net] = &netDump{}
			first = append(first, sub)
		}
	}
	err := each(ctx, first, func(sub *subject) {
		n := nets[sub.net]
		n.socks, n.source, n.err = sub.listening()
		sortSockets(n.socks)
	})
	nets[""] = &netDump{}
	return nets, err
}

// dockerDNS is where the engine itself listens in a container's namespace, on
// networks that users made: moby, libnetwork/sandbox_dns_unix.go.
var dockerDNS = netip.AddrFrom4([4]byte{127, 0, 0, 11})

// engineSockets finds which sockets on Docker's DNS address are the engines'
// own. An engine has many files open, so it is asked only if there are any.
func (c *Containers) engineSockets(nets map[string]*netDump, h *home) map[uint64]holder {
	want := map[uint64]bool{}
	for _, n := range nets {
		for _, s := range n.socks {
			if s.at.Addr() == dockerDNS {
				want[s.inode] = true
			}
		}
	}
	if len(want) == 0 {
		return nil
	}
	var pids []int
	for _, e := range h.engines {
		pids = append(pids, e.pid)
	}
	found, _ := c.root.holders(pids, want, filesMost) // one not found is nobody's, as before
	return found
}

// ears finds which of socks are sub's.
func (c *Containers) ears(sub *subject, socks []socket, dns map[uint64]holder) error {
	if len(socks) == 0 {
		return nil
	}
	pids, more, err := sub.cgroup.pids(pidsMost)
	if err == nil && more {
		err = errors.New("it has too many processes to ask them all whose a socket is")
	}
	found := map[uint64]holder{}
	if err == nil {
		found, err = c.root.holders(pids, wanted(socks, dns), filesMost)
	}
	if err != nil && sub.crowded {
		return err // a socket that was not found could be the container's, or not
	}
	if err != nil {
		unread(sub.Object, "Listeners.Pid", err)
	}
	for _, s := range socks {
		own, mine := found[s.inode]
		switch {
		case mine:
			sub.ears = append(sub.ears, listener{socket: s, holder: own})
		case sub.crowded:
		default: // the engine's DNS, or held by the kernel or by we know not whom
			sub.ears = append(sub.ears, listener{socket: s, holder: dns[s.inode]})
		}
	}
	return nil
}

func wanted(socks []socket, not map[uint64]holder) map[uint64]bool {
	want := inodesOf(socks)
	for inode := range not {
		delete(want, inode)
	}
	return want
}

// banners hears what each TCP listener says first: all of them in the same
// quarter of a second. What was heard is not asked for again while the same
// socket is there.
func (c *Containers) banners(ctx context.Context, subjects []*subject) {
	c.mu.Lock()
	defer c.mu.Unlock()
	heard := map[bannerKey]string{}
	var calls []*call
	for _, sub := range subjects {
		first := len(calls)
		for i := range sub.ears {
			l := &sub.ears[i]
			key := bannerKey{sub.id, l.at.Port(), l.inode}
			switch said, known := c.heard[key]; {
			case l.proto != "tcp":
			case known:
				heard[key], l.banner = said, &said
			case len(calls) < bannerMost:
				calls = append(calls, &call{to: callee(l.socket), of: l, key: key, fd: -1})
			}
		}
		sub.dial(calls[first:])
	}
	listen(ctx, calls, bannerWait)
	for _, one := range calls {
		if one.asked {
			said := inventory.MaskText(one.banner())
			heard[one.key], one.of.banner = said, &said
		}
	}
	c.heard = heard
}

// dial starts calls from inside the container's network namespace. Where that
// cannot be entered they stay unasked.
func (sub *subject) dial(calls []*call) {
	if len(calls) == 0 {
		return
	}
	fd, err := sub.handle("ns/net", unix.O_RDONLY)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	_ = nsenter.Net(netns.NsHandle(fd), func() error {
		for _, c := range calls {
			c.dial()
		}
		return nil
	})
}

var _ inventory.Source = (*Containers)(nil)
