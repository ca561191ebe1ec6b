package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"casco/api"
	"casco/host/authz"
	"casco/host/daemonjson"
	"casco/host/door"
	"casco/internal/apicall"
	"casco/internal/doorway"
	"casco/internal/unixsock"
	"casco/keeper"
	"casco/lang"
	"casco/store"
)

// doors are where the guard judges requests: sockets of its own, "" for none.
type doors struct {
	public string // that clients know, before the engine's
	plugin string // of the engine's authorization plugin
	group  int    // that may use the public one
}

// A gatehouse holds the doors of a guard. It opens and closes them as the file
// of the state directory says, or the command line in its place; a path that
// somebody else took is taken again. A door that is closed or handed over takes
// no more connections; what is under way there goes on until it ends.
type gatehouse struct {
	g      *guard
	d      *doorman
	socket string // the engine's public one
	fixed  doors  // of the command line; the file is not looked at if there are any
	heir   bool   // another process of ours listens there still: take its place

	orders chan chan error           // to look at the file again
	leave  chan struct{}             // closed: another process has taken our place
	handOn func(*net.UnixConn) error // to that one; set before leave is closed
	handed <-chan *net.UnixConn      // from the process whose place we took; nil if there is none

	public, plugin *entrance // nil if closed
	out            *lookout
	untend         func()         // nil if nobody follows who makes what
	serving        sync.WaitGroup // the public door: it goes on for a while after the end

	mu sync.Mutex // guards at
	at api.Door   // what is open, as a status tells
}

func newGatehouse(g *guard, d *doorman, socket string, fixed doors) *gatehouse {
	return &gatehouse{g: g, d: d, socket: socket, fixed: fixed, orders: make(chan chan error), leave: make(chan struct{})}
}

// An entrance is one open door.
type entrance struct {
	l     *unixsock.Listener
	at    string
	group int
	leave chan struct{} // closed: take no more
	over  func()        // writes down that it judges no more
	ended chan error
}

// run holds the doors until ctx ends. It calls opened once those that are wanted
// are open, or could not be, and opens them again for whoever asks for it.
func (x *gatehouse) run(ctx context.Context, opened func(error)) error {
	var going sync.WaitGroup
	defer going.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer x.note()
	var err error
	if x.out, err = newLookout(); err == nil {
		defer x.out.close()
		err = x.follow(ctx, &going)
	}
	x.heir = false
	opened(err)
	if err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			if x.public != nil && x.fixed != (doors{}) { // else it is the place of the engine's
				return x.public.l.Remove()
			}
			return nil
		case <-x.leave:
			x.shut(&x.public)
			x.shut(&x.plugin)
			x.tend(ctx, &going)
			time.Sleep(lastAnswer)
			over := make(chan struct{})
			go func() { going.Wait(); close(over) }()
			select {
			case <-over:
			case <-ctx.Done():
			}
			return nil
		case reply := <-x.orders:
			reply <- x.follow(ctx, &going)
		case <-x.out.changed:
			if x.g.yielded.Load() { // another process takes the paths
				continue
			}
			if err := x.again(ctx, &going); err != nil {
				return err
			}
		case err := <-x.public.end():
			return err
		case err := <-x.plugin.end():
			return err
		}
	}
}

// outlive is ctx for what an engine needs to answer what a door still asks it: it
// ends once ctx has and no door serves any more.
func (x *gatehouse) outlive(ctx context.Context) context.Context {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		x.serving.Wait()
		cancel()
	})
	return late
}

// note writes down that what is still open judges no more.
func (x *gatehouse) note() {
	for _, e := range []*entrance{x.public, x.plugin} {
		if e != nil {
			e.over()
		}
	}
}

// lastAnswer is how long a process whose place was taken stays at least: who
// asked it for that is to have the answer.
const lastAnswer = time.Second

func (e *entrance) end() <-chan error {
	if e == nil {
		return nil
	}
	return e.ended
}

// look has run open and close what the file says now.
func (x *gatehouse) look(ctx context.Context) error {
	reply := make(chan error, 1)
	select {
	case x.orders <- reply:
		return <-reply
	case <-x.leave:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// want is what should be open. take reports whether the public one is the
// engine's own.
func (x *gatehouse) want() (at doors, said api.Door, take bool, err error) {
	if x.fixed != (doors{}) {
		said = api.Door{Socket: x.fixed.public, GID: x.fixed.group}
		if x.fixed.plugin != "" {
			said.Plugin = filepath.Base(x.fixed.plugin)
		}
		return x.fixed, said, false, nil
	}
	said, err = api.ReadDoor(api.DoorFile(x.g.a.statePath))
	at = doors{public: said.Socket, group: said.GID}
	if said.Plugin != "" {
		at.plugin = daemonjson.PluginSocket(said.Plugin)
	}
	return at, said, true, err
}

// follow opens and closes what it takes. The plugin comes first and goes last:
// an engine that asks it is refused everything while it is not there.
func (x *gatehouse) follow(ctx context.Context, going *sync.WaitGroup) error {
	at, said, take, err := x.want()
	if err != nil {
		return err
	}
	if x.public != nil && (x.public.at != at.public || x.public.group != at.group) {
		x.shut(&x.public)
		x.g.happened(doorEvent(lang.Text{En: "requests are no longer judged at %s", Es: "las peticiones ya no se juzgan en %s"}, x.at.Socket))
	}
	if x.plugin != nil && x.plugin.at != at.plugin {
		x.shut(&x.plugin)
	}
	if at.plugin != "" && x.plugin == nil {
		if err := errors.Join(x.openPlugin(ctx, going, at.plugin), x.out.add(at.plugin)); err != nil {
			return err
		}
	}
	if at.public != "" && x.public == nil {
		x.d.readFirst(ctx)
		if err := errors.Join(x.openPublic(ctx, going, at, take), x.out.add(at.public)); err != nil {
			return err
		}
		x.g.happened(doorEvent(lang.Text{En: "requests are judged at %s", Es: "las peticiones se juzgan en %s"}, at.public))
	}
	x.tend(ctx, going)
	x.mu.Lock()
	x.at = said
	x.mu.Unlock()
	select {
	case x.d.opened <- struct{}{}:
	default:
	}
	return nil
}

func doorEvent(text lang.Text, args ...any) keeper.Event {
	return keeper.Event{Time: time.Now().UTC(), Kind: keeper.Door, Text: text.F(args...)}
}

// open is what a status tells of it; the zero Door if nothing is.
func (x *gatehouse) open() api.Door {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.at
}

// shut closes an entrance: clients that were let in stay.
func (x *gatehouse) shut(e **entrance) {
	if *e == nil {
		return
	}
	(*e).l.Remove()
	x.g.shelf.Drop((*e).l)
	close((*e).leave)
	if !x.g.yielded.Load() { // else it goes on elsewhere
		(*e).over()
	}
	*e = nil
}

// begin notes that requests are judged from now on, unless they were before by the
// process whose place this one takes.
func (x *gatehouse) begin(name, at string) (over func()) {
	if x.heir {
		return func() { x.d.g.noted(store.Control{Name: name, State: store.Ended, At: at}) }
	}
	return x.d.begin(name, at)
}

// tend has the doorman follow who makes what for as long as a door is open.
func (x *gatehouse) tend(ctx context.Context, going *sync.WaitGroup) {
	open := x.public != nil || x.plugin != nil
	switch {
	case open && x.untend == nil:
		ctx, x.untend = context.WithCancel(ctx)
		going.Go(func() { x.d.followRoll(ctx) })
		going.Go(func() { x.d.tellStrangers(ctx) })
	case !open && x.untend != nil:
		x.untend()
		x.untend = nil
	}
}

// again takes the paths that were taken from us. Whoever closes a door by hand
// first removes the file that wants it.
func (x *gatehouse) again(ctx context.Context, going *sync.WaitGroup) error {
	lost := false
	for _, e := range []**entrance{&x.public, &x.plugin} {
		if *e == nil || (*e).l.There() {
			continue
		}
		if at, _, _, err := x.want(); err != nil || (*e).at != at.public && (*e).at != at.plugin {
			x.shut(e)
			continue
		}
		x.g.happened(keeper.Event{Time: time.Now().UTC(), Kind: keeper.Tampered, Text: lang.Text{
			En: "%s was taken away, by an engine that started or by somebody: it is taken again", Es: "quitaron %s, un motor que arrancó o alguien: se vuelve a tomar",
		}.F((*e).at)})
		x.shut(e)
		lost = true
	}
	if !lost {
		return nil
	}
	return x.follow(ctx, going)
}

func (x *gatehouse) openPlugin(ctx context.Context, going *sync.WaitGroup, path string) error {
	second, err := x.g.second(secondPlugin)
	if err != nil {
		return err
	}
	l, err := x.g.listen(path, 0o755, 0, x.heir)
	if err != nil {
		return err
	}
	e := &entrance{l: l, at: path, leave: make(chan struct{}), ended: make(chan error, 1), over: x.begin("plugin", path)}
	x.plugin = e
	going.Go(func() {
		ctx, cancel := context.WithCancel(x.outlive(ctx))
		defer cancel()
		go func() {
			select {
			case <-e.leave:
				cancel()
			case <-ctx.Done():
			}
		}()
		e.ended <- authz.ServeAt(ctx, l, authz.Config{Judge: x.d, Lang: x.g.a.lang, Log: x.g.log, Done: x.d.atPlugin, Second: second, Work: x.d.work})
	})
	return nil
}

// openPublic opens the door. Where it takes the engine's own socket, that goes
// behind first; there is no moment in which nobody listens.
func (x *gatehouse) openPublic(ctx context.Context, going *sync.WaitGroup, at doors, take bool) error {
	engine, replace := x.socket, x.heir
	if take {
		engine = doorway.Behind(at.public)
		// Where the engine is behind, who listens is what is left of a door.
		if doorway.Listens(at.public) && doorway.IsEngines(at.public) && !x.g.shelf.Has(at.public) {
			if !doorway.Listens(engine) {
				if err := doorway.Move(at.public); err != nil {
					return err
				}
			}
			replace = true
		}
	}
	second, err := x.g.second(secondDoor)
	if err != nil {
		return err
	}
	l, err := x.g.listen(at.public, 0o755, at.group, replace)
	if err != nil {
		return err
	}
	e := &entrance{l: l, at: at.public, group: at.group, leave: make(chan struct{}), ended: make(chan error, 1), over: x.begin("door", at.public)}
	x.public = e
	cfg := door.Config{
		Engine: engine, Judge: x.d, Lang: x.g.a.lang, Log: x.g.log, Via: at.public,
		Leave: e.leave, HandOn: x.passOn, Handed: x.handed, Done: x.d.atDoor, Pass: func(apicall.Request) string { return x.d.pass },
		Second: second, Work: x.d.work,
	}
	x.serving.Add(1)
	going.Go(func() {
		defer x.serving.Done()
		e.ended <- door.Serve(ctx, l.UnixListener, cfg)
	})
	return nil
}

// errNoHeir is why a connection is not passed on: there is nobody to.
var errNoHeir = lang.Errorf(lang.Text{En: "no other door takes it", Es: "ninguna otra puerta la toma"})

// passOn gives a connection to the process that has taken our place.
func (x *gatehouse) passOn(c *net.UnixConn) error {
	select {
	case <-x.leave:
		return x.handOn(c)
	default:
		return errNoHeir
	}
}

// A lookout tells when something happens in directories (inotify(7)).
type lookout struct {
	f       *os.File
	changed chan struct{}
	ended   chan struct{}
}

func newLookout() (*lookout, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	o := &lookout{os.NewFile(uintptr(fd), "inotify"), make(chan struct{}, 1), make(chan struct{})}
	go o.read()
	return o, nil
}

func (o *lookout) read() {
	defer close(o.ended)
	for b := make([]byte, 64<<10); ; {
		if _, err := o.f.Read(b); err != nil {
			return
		}
		select {
		case o.changed <- struct{}{}:
		default: // it will look at all of it
		}
	}
}

// add has the directory of path watched too; one that is already stays so.
func (o *lookout) add(path string) error {
	const names = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE | unix.IN_ONLYDIR
	raw, err := o.f.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) { _, err = unix.InotifyAddWatch(int(fd), filepath.Dir(path), names) })
	return errors.Join(cerr, os.NewSyscallError("inotify_add_watch", err))
}

func (o *lookout) close() { o.f.Close(); <-o.ended }
