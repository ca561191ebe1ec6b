package docker

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"casco/loop/inventory"
)

// Options say what a Source reads besides the objects themselves.
type Options struct {
	// Changes reads what each container has changed in its file system. It
	// costs the engine a walk of the container's layer, for each of them.
	Changes bool
	// Parked returns the IDs of containers that Recreate keeps for going back.
	// They are ours and not part of the host: while they do not run, they are
	// left out. (They still keep their image from counting as unused.) It is
	// called at each reading, for a change made since keeps others; nil is none.
	Parked func() ([]string, error)
	// Image, a name or an ID, lets it read this one of the images only. That there
	// is none is an *Error.
	Image string
}

// A Source reads one engine: its containers in every state, images, networks,
// volumes, services, the swarm and the daemon itself. Values that look like
// secrets are masked before they enter the snapshot.
type Source struct {
	client *Client
	opt    Options
}

// NewSource returns a source that reads the engine of c.
func NewSource(c *Client, opt Options) *Source { return &Source{c, opt} }

// Name says which engine is read.
func (s *Source) Name() string { return "docker " + s.client.Host() }

// Read adds the engine's objects to snap. An object that goes away while the
// engine is read is left out; any other that cannot be read is a Gap. Read
// fails only if the engine does not say what it is or what it has.
func (s *Source) Read(ctx context.Context, snap *inventory.Snapshot) error {
	ctx, cancel := context.WithTimeout(ctx, readingTime)
	defer cancel()
	r := reading{Source: s, snap: snap, mounted: sync.OnceValue(func() map[string]layerDirs {
		table, _ := os.ReadFile("/proc/self/mountinfo") // without it the engine is asked
		return mountedLayers(string(table))
	})}
	if s.opt.Parked != nil {
		ids, err := s.opt.Parked()
		if err != nil {
			snap.Gaps = append(snap.Gaps, inventory.Gap{Source: "parked containers", Reason: err.Error()})
		}
		r.kept = ids
	}
	if err := r.overview(ctx); err != nil {
		return err
	}
	if s.opt.Image != "" {
		if err := r.choose(ctx); err != nil {
			return err
		}
	}
	if err := r.readContainers(ctx); err != nil {
		return err
	}
	r.readImages(ctx)
	r.addContainers()
	r.addImages()
	r.addNetworks()
	r.addVolumes()
	r.addDaemon()
	r.readSwarm(ctx)
	return nil
}

// A reading is one run of a Source.
type reading struct {
	*Source
	snap *inventory.Snapshot

	info, version map[string]any
	networks      []any
	volumes       map[string]any
	images        []any // the list
	mounted       func() map[string]layerDirs

	containers []*inventory.Object // parked ones too
	kept       []string            // IDs of those that are parked
	incomplete bool                // a container could not be read
	inspected  []*inventory.Object // images

	mu   sync.Mutex // guards gaps while workers run
	gaps []inventory.Gap
}

// How long one answer, and the whole engine, may keep a reading waiting. One
// container that is stuck in the kernel holds its own inspect for ever, while
// the engine answers everything else.
// readingTime bounds an engine that answers ever less.
const (
	answerTime  = 30 * time.Second
	readingTime = 5 * time.Minute
)

// get reads path into out, and gives up on an engine that does not answer.
func (r *reading) get(ctx context.Context, path string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	return r.client.Call(ctx, "GET", path, nil, out)
}

// source is how a path is written in evidence: "GET /v1.41/info".
func (r *reading) source(path string) string {
	return "GET /v" + r.client.Version() + path
}

func (r *reading) object(kind inventory.Kind, name, path string, fields map[string]any) *inventory.Object {
	return &inventory.Object{
		Ref:    inventory.Ref{Kind: kind, Name: name},
		Source: r.source(path),
		Read:   time.Now().UTC(),
		Fields: fields,
	}
}

// overview reads the daemon and its lists, except that of containers, which
// may be had for less.
func (r *reading) overview(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for path, out := range map[string]any{
		"/info":    &r.info,
		"/version": &r.version,
		// Since API 1.44 an image is listed per manifest only on request.
		"/images/json": &r.images,
		"/networks":    &r.networks,
		"/volumes":     &r.volumes,
	} {
		g.Go(func() error { return r.get(ctx, path, out) })
	}
	return g.Wait()
}

// readContainers inspects all containers.
func (r *reading) readContainers(ctx context.Context) error {
	ids, ok := r.enumerate()
	if ok {
		gone := r.inspectAll(ctx, ids)
		if gone == 0 {
			return ctx.Err()
		}
		// Either a container was removed this moment, or the directory is not
		// this engine's after all. The engine knows.
		r.containers, r.gaps = nil, nil
	}
	var list []struct{ Id string }
	if err := r.get(ctx, "/containers/json?all=1", &list); err != nil {
		return err
	}
	ids = make([]string, len(list))
	for i, c := range list {
		ids[i] = c.Id
	}
	r.inspectAll(ctx, ids)
	return ctx.Err()
}

// enumerate finds the IDs of all containers without asking for the list: an
// engine that keeps images in containerd needs 1 ms per container to write it
// (measured on 29.7 with 1,000 containers), four times of what it takes to
// inspect them all. The engine has a directory for each container
// (DockerRootDir/containers/ID). It is trusted only if it holds as many as the
// engine counts; that they are the same ones, inspecting them shows.
func (r *reading) enumerate() (ids []string, ok bool) {
	root, _ := r.info["DockerRootDir"].(string)
	if r.client.Socket() == "" || root == "" || os.Geteuid() != 0 {
		return nil, false
	}
	entries, err := os.ReadDir(root + "/containers")
	if err != nil {
		return nil, false
	}
	for _, e := range entries {
		if e.IsDir() && isID(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	return ids, fmt.Sprint(r.info["Containers"]) == fmt.Sprint(len(ids))
}

// isID reports whether s is the full ID of a container: 64 hex digits.
func isID(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// inspectAll inspects containers and returns how many of them are not there.
func (r *reading) inspectAll(ctx context.Context, ids []string) (gone int) {
	objects := make([]*inventory.Object, len(ids))
	errs := make([]error, len(ids))
	parallel(len(ids), func(i int) {
		objects[i], errs[i] = r.container(ctx, ids[i])
	})
	for i, err := range errs {
		switch {
		case err == nil:
			r.containers = append(r.containers, objects[i])
		case notFound(err):
			gone++
		default:
			r.incomplete = true
			r.gap(inventory.Ref{Kind: inventory.Container, Name: ids[i]}, "/containers/"+ids[i]+"/json", err)
		}
	}
	return gone
}

// parallel calls f for 0 … n-1, from a few goroutines, and waits for them.
func parallel(n int, f func(i int)) {
	var g errgroup.Group
	g.SetLimit(workers)
	for i := range n {
		g.Go(func() error { f(i); return nil })
	}
	g.Wait()
}

func (r *reading) gap(ref inventory.Ref, path string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gaps = append(r.gaps, inventory.Gap{Ref: ref, Source: r.source(path), Reason: err.Error()})
}

func (r *reading) container(ctx context.Context, id string) (*inventory.Object, error) {
	var fields map[string]any
	if err := r.get(ctx, "/containers/"+id+"/json", &fields); err != nil {
		return nil, err
	}
	name := nameOf(fields)
	o := r.object(inventory.Container, name, "/containers/"+name+"/json", fields)
	maskContainer(fields)
	if r.opt.Changes {
		r.changes(ctx, o, id)
	}
	return o, nil
}

// nameOf is the name of an inspected container; the engine writes a slash
// before it.
func nameOf(container map[string]any) string {
	return strings.TrimPrefix(str(container, "Name"), "/")
}

func (r *reading) addContainers() {
	for _, o := range r.containers {
		if !r.parked(o) {
			r.snap.Add(o)
		}
	}
	r.snap.Gaps = append(r.snap.Gaps, r.gaps...)
	r.gaps = nil
}

func (r *reading) parked(o *inventory.Object) bool {
	if running, _, _ := inventory.Running.Of(o); running {
		return false
	}
	id, _, _ := inventory.ContainerID.Of(o)
	return slices.Contains(r.kept, id)
}
