package proc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"casco/loop/inventory"

	"golang.org/x/sync/errgroup"
)

const (
	// atOnce bounds the containers that are read at the same time.
	atOnce = 8
	// pidsMost and filesMost bound what is asked, for one container, to find
	// whose a listening socket is.
	pidsMost, filesMost = 4096, 65536
)

// Options are the choices of NewContainers.
type Options struct {
	// Banners: connect to each listening TCP socket of a container, from inside
	// its network namespace, and note what the server says first. Nothing is
	// sent. The server sees (and may log) a client that went away; one that
	// serves a single connection and ends ("nc -l") has had it.
	Banners bool
}

// Containers is the inventory.Source of what the kernel says of the containers
// in a snapshot: their fields Effective, Listeners (see SharesNet there) and
// BindSources. It must run after the source that reads the containers. One
// value may be read again and again; it remembers the banners it heard.
type Containers struct {
	opts Options
	root procfs

	mu    sync.Mutex
	heard map[bannerKey]string // guarded by mu
}

// A bannerKey is one listening socket of one container.
type bannerKey struct {
	id    string
	port  uint16
	inode uint64
}

// NewContainers returns a source that reads /proc.
func NewContainers(opts Options) *Containers {
	return &Containers{opts: opts, root: "/proc"}
}

// Name implements inventory.Source.
func (*Containers) Name() string { return "proc containers" }

// A subject is a running container while it is read.
type subject struct {
	*inventory.Object
	*process
	id     string
	cgroup *cgroup
	*reading
	net     string     // identity of its network namespace, "" unknown
	crowded bool       // others are in net: only its own sockets are its listeners
	ears    []listener // its listeners
	heardBy string     // what was asked for them
	deaf    error      // why ears is not all
}

// Read implements inventory.Source. It changes the container and daemon
// objects of s. It fails if /proc itself cannot be read, or ctx is over; what
// is missing of one container is in its Unread.
func (c *Containers) Read(ctx context.Context, s *inventory.Snapshot) error {
	h, err := c.root.home(s.Of(inventory.Daemon))
	if err != nil {
		return err
	}
	defer h.close()
	own, err := h.views.of(h.self)
	if err != nil {
		return err
	}
	subjects := c.subjects(s, hierarchiesOf(own.mounts))
	defer func() {
		for _, sub := range subjects {
			sub.process.close()
		}
	}()
	err = each(ctx, subjects, func(sub *subject) {
		sub.reading, sub.net = sub.process.effective(sub.cgroup, h)
	})
	if err != nil {
		return err
	}
	shareNets(subjects, h)
	for _, sub := range subjects {
		sub.into(sub.Object, sub.at)
	}
	if err := c.listeners(ctx, subjects, h); err != nil {
		return err
	}
	return c.bindSources(ctx, s, h)
}

// each runs f for all subjects, atOnce at a time.
func each(ctx context.Context, subjects []*subject, f func(*subject)) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, sub := range subjects {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			f(sub)
			return nil
		})
	}
	return g.Wait()
}

// subjects opens the first processes of the running containers of s. One that
// is not what the engine says it is gets no Effective, and why.
func (c *Containers) subjects(s *inventory.Snapshot, hs hierarchies) []*subject {
	var subjects []*subject
	for _, o := range s.Of(inventory.Container) {
		pid, _, ok := inventory.Pid.Of(o)
		if !ok || pid <= 0 {
			continue
		}
		id, _, _ := inventory.ContainerID.Of(o)
		sub, err := c.subject(o, id, int(pid), hs)
		if err != nil {
			unread(o, "Effective", err)
			unread(o, "Listeners", err)
			continue
		}
		subjects = append(subjects, sub)
	}
	return subjects
}

func (c *Containers) subject(o *inventory.Object, id string, pid int, hs hierarchies) (*subject, error) {
	p, err := c.root.open(pid)
	if err != nil {
		return nil, err
	}
	text, err := p.read("cgroup")
	if err != nil {
		p.close()
		return nil, err
	}
	g, err := cgroupOf(text, id, hs)
	if err != nil {
		p.close()
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	return &subject{Object: o, process: p, id: id, cgroup: g}, nil
}

// shareNets says of each container which others are in its network namespace.
func shareNets(subjects []*subject, h *home) {
	in := map[string][]*subject{}
	for _, sub := range subjects {
		if sub.net != "" {
			in[sub.net] = append(in[sub.net], sub)
		}
	}
	for net, together := range in {
		for _, sub := range together {
			names := []string{}
			for _, other := range together {
				if other != sub {
					names = append(names, other.Ref.Name)
				}
			}
			slices.Sort(names)
			sub.put("SharesNet", names, nil)
			sub.crowded = len(names) > 0 || h.nets[net] || h.ns["net"] == net || joins(sub.Object)
		}
	}
}

// joins reports whether o was told to use a network namespace that is not its
// own. It may be that of a host or a container that cannot be seen from here.
func joins(o *inventory.Object) bool {
	mode, _, _ := inventory.NetworkMode.Of(o)
	return mode == "host" || strings.HasPrefix(mode, "container:")
}

// errNetUnknown: without knowing the namespace, a host's sockets could be
// taken for the container's.
var errNetUnknown = errors.New("its network namespace could not be told")
