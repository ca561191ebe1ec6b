package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"casco/api"
	"casco/guard/network"
	"casco/host/authz"
	hostdaemon "casco/host/daemon"
	"casco/host/door"
	"casco/host/gate"
	"casco/host/inits"
	"casco/host/spaces"
	"casco/internal/atomicfile"
	"casco/internal/shelf"
	"casco/internal/unixsock"
	"casco/keeper"
	"casco/lang"
	"casco/loop/audit/checks"
	"casco/loop/inventory"
	"casco/store"
)

func guardCmd(a *app) *cobra.Command {
	var at doors
	cmd := a.manual.verb(&cobra.Command{
		Use:  "guard",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.guard(cmd.Context(), at) },
	}, lang.Text{
		En: "Guard the host between two turns of the loop, as a service: networks, requests to the engine",
		Es: "Guarda el anfitrión entre dos vueltas del ciclo, como servicio: redes, peticiones al motor",
	}, lang.Text{
		En: "Guard the host between two turns of the loop. The start of each container is held until its network rules are in place, and the " +
			"rules follow what runs. Until casco net enforce was approved nothing is dropped: what would be is counted, and flows are seen.\n\n" +
			"Once the engine was put behind its door (casco plan --check guard-door), each request is held against the checks and the policy's " +
			"admission before the engine sees it, written anew as it was read, and the guard is the engine's authorization plugin as well; --door and " +
			"--plugin do so at other sockets. What the policy only observes is written down and let through.\n\n" +
			"It runs until it is told to end; with systemd: casco guard units | sh. Rules stay when it ends. What starts without it is as " +
			"each tier says (without_guard).\n\n" +
			"Exit codes: 0 it was told to end, 1 trouble.",
		Es: "Guarda el anfitrión entre dos vueltas del ciclo. El arranque de cada contenedor se retiene hasta que sus reglas de red están " +
			"puestas, y las reglas siguen a lo que corre. Hasta que se apruebe casco net enforce no se descarta nada: lo que se descartaría se " +
			"cuenta, y los flujos se ven.\n\n" +
			"Una vez puesto el motor tras su puerta (casco plan --check guard-door), cada petición se contrasta con las comprobaciones y con admission " +
			"de la política antes de que el motor la vea, reescrita como se leyó, y la guardia es también el complemento de autorización del motor; --door y " +
			"--plugin lo hacen en otros sockets. Lo que la política solo observa se anota y se deja pasar.\n\n" +
			"Corre hasta que se le diga que termine; con systemd: casco guard units | sh. Las reglas quedan cuando termina. Lo que arranca " +
			"sin ella es como diga cada nivel (without_guard).\n\n" +
			"Códigos de salida: 0 se le dijo que terminara, 1 problema.",
	})
	cmd.Flags().StringVar(&at.public, "door", "", "")
	a.manual.flag(cmd.Flags(), "door", lang.Text{En: "judge requests at this `SOCKET`, before the engine's", Es: "juzga las peticiones en este `SOCKET`, antes del del motor"})
	cmd.Flags().IntVar(&at.group, "door-group", 0, "")
	a.manual.flag(cmd.Flags(), "door-group", lang.Text{En: "`GID` of the group that may use the door", Es: "`GID` del grupo que puede usar la puerta"})
	cmd.Flags().StringVar(&at.plugin, "plugin", "", "")
	a.manual.flag(cmd.Flags(), "plugin", lang.Text{
		En: "judge requests for the engine's authorization plugin at this `SOCKET`: /run/docker/plugins/casco.sock",
		Es: "juzga las peticiones del complemento de autorización del motor en este `SOCKET`: /run/docker/plugins/casco.sock",
	})
	second := &cobra.Command{
		Use: secondVerb, Hidden: true, Args: cobra.OnlyValidArgs, ValidArgs: []string{secondDoor, secondPlugin},
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case slices.Equal(args, []string{secondDoor}):
				return door.Second(a.lang)
			case slices.Equal(args, []string{secondPlugin}):
				return authz.Second(a.lang)
			}
			return gate.Second()
		},
	}
	cmd.AddCommand(guardUnitsCmd(a), guardOffCmd(a), guardOpenCmd(a), guardUpgradeCmd(a), second)
	return cmd
}

// secondVerb is the verb with which a guard calls itself to be answered for if
// it is stopped; its argument says where, and is none for the starts of
// containers.
const (
	secondVerb   = "second"
	secondDoor   = "door"
	secondPlugin = "plugin"
)

// second is the command of a process that answers for this one.
func (g *guard) second(where ...string) ([]string, error) {
	self, err := os.Executable()
	return append([]string{self, "guard", secondVerb, "--lang", string(g.a.lang)}, where...), err
}

// A guard is a casco that stays.
type guard struct {
	a      *app
	keeper *keeper.Keeper
	host   string // its name, for which an exception may be
	engine string
	roots  []string     // of the runtime's states of its containers
	files  spaces.Files // where it keeps them
	// containerd is the socket of the engine's.
	containerd string
	start      string // how starts are held
	since      time.Time
	log        *slog.Logger

	doorman *doorman
	gates   *gatehouse
	looker  atomic.Pointer[looker] // nil until the engine's files are known

	upgrading sync.Mutex   // held while another process takes over
	yield     func()       // lets go of all but the doors
	yielded   atomic.Bool  // that was done
	shelf     *shelf.Shelf // what systemd holds of ours
	broken    chan error   // nobody could take over

	tally tally // of calls that are not written down one by one

	mu      sync.Mutex // guards what follows
	last    []keeper.Event
	waiting []store.Event // for the ledger
	lost    int           // of those, since the ledger was told of any
	rogues  []*rogue
	told    map[string]bool // rogues that the ledger has, by their keys

	met     chan inits.Init    // containers that began, of which it is not looked yet who made them
	policy  string             // digest of the one that was last taken in wholly, and
	enforce bool               // whether it was enforced
	trouble *api.PolicyTrouble // why that is not the one that is wanted; nil if it is
}

// keptEvents is how many events a status shows.
const keptEvents = 200

func (a *app) guard(told context.Context, at doors) (err error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(told))
	defer cancel()
	heir, err := inherit()
	if err != nil {
		return err
	}
	defer heir.close()
	g := &guard{a: a, shelf: shelf.New(), broken: make(chan error, 1), told: map[string]bool{}, met: make(chan inits.Init, keptInits), since: time.Now().UTC(), log: slog.New(slog.NewTextHandler(a.err, nil))}
	defer context.AfterFunc(told, func() { g.leave(ctx); cancel() })()
	defer func() {
		if err != nil {
			g.shelf.Clear()
		}
	}()
	if err := g.openDoors(ctx, at, heir); err != nil {
		return err
	}
	work, inner := errgroup.WithContext(ctx)
	written := make(chan struct{})
	go func() { defer close(written); g.write(inner) }()
	err = g.work(inner, work, heir, cancel)
	if err != nil {
		cancel()
	}
	err = errors.Join(err, ended(work.Wait()))
	cancel()
	<-written
	g.noted(g.tally.due(time.Now(), true, "guard/"+g.engine)...)
	g.writeDown(ctx) // what those had to say who ended last
	return err
}

// openDoors makes ready to judge requests by the policy in force.
func (g *guard) openDoors(ctx context.Context, at doors, heir *heir) error {
	address, err := engineAddress(g.a.host)
	if err != nil {
		return err
	}
	j, err := g.judgeNow()
	if err != nil {
		return err
	}
	if g.host, err = os.Hostname(); err != nil {
		return err
	}
	if g.engine = address; socketOf(address) != "" {
		g.engine = "unix://" + plainSocket(socketOf(address))
	}
	if g.doorman, err = newDoorman(ctx, g, address, j.inForce.Policy); err != nil {
		return err
	}
	g.gates = newGatehouse(g, g.doorman, socketOf(address), at)
	g.gates.heir, g.gates.handed = heir != nil, heir.connections()
	return nil
}

// work begins all of the guard's work, in the order in which it is needed. An
// engine asks its plugin before it answers us, so the doors come first; a process
// that takes over opens them once the one before it has let go.
func (g *guard) work(ctx context.Context, work *errgroup.Group, heir *heir, cancel func()) error {
	if heir == nil {
		if err := g.serveDoors(ctx, work, cancel); err != nil {
			return err
		}
	}
	j, err := g.judgeNow()
	if err != nil {
		return err
	}
	h, err := g.a.hostBy(j)
	if err != nil {
		return err
	}
	cfg, err := g.config(ctx, h)
	if err != nil {
		return err
	}
	if err := g.recall(ctx); err != nil {
		g.log.Error("the ledger was not read: what was told of is told again", "err", err)
	}
	g.roots, g.files = cfg.Roots, cfg.Files
	g.policy, g.enforce, g.start = cfg.Policy.Digest, cfg.Enforce, cfg.Policy.Network.Start
	look, err := newLooker(g, cfg)
	if err != nil {
		return err
	}
	g.looker.Store(look)
	if g.start == "" {
		g.start = fanotifyStart
	}
	if g.keeper, err = keeper.New(cfg); err != nil {
		return err
	}
	inner, stop := context.WithCancel(g.gates.outlive(ctx))
	keeping, inner := errgroup.WithContext(inner)
	over := make(chan struct{})
	g.yield = func() { stop(); <-over }
	work.Go(func() error {
		defer close(over)
		<-inner.Done()
		defer g.keeper.Close()
		return ended(keeping.Wait())
	})
	if err := g.holdStarts(inner, keeping, cfg, heir != nil); err != nil {
		return err
	}
	if heir != nil {
		g.doorman.readFirst(ctx)
		if err := heir.takeTurn(ctx); err != nil {
			return err
		}
		if err := g.serveDoors(ctx, work, cancel); err != nil {
			return err
		}
	}
	if err := g.keeper.Load(ctx); err != nil {
		return err
	}
	keeping.Go(func() error { return g.keeper.Follow(inner) })
	keeping.Go(func() error { return g.seeInits(inner) })
	if g.start == runtimeStart {
		keeping.Go(func() error { return g.followWrapper(inner, h.socket) })
	}
	if err := g.serveAPI(ctx, work, heir != nil); err != nil {
		return err
	}
	work.Go(func() error { return look.follow(ctx, h) })
	work.Go(func() error { return g.beat(ctx) })
	work.Go(func() error { return g.follow(ctx) })
	work.Go(func() error {
		select {
		case err := <-g.broken:
			return err
		case <-ctx.Done():
			return nil
		}
	})
	g.shelf.Rest()
	g.log.Info("the guard is ready", "engine", g.engine, "enforce", g.enforce, "start", g.start, "policy", g.policy)
	return heir.serving()
}

// judge is the gate's: what a container is comes before the network that it has.
func (g *guard) judge(ctx context.Context, s gate.Start) error {
	g.starting(s)
	if err := g.looker.Load().Start(ctx, s); err != nil {
		return err
	}
	return g.keeper.Start(ctx, s)
}

// mayStart is the fail mode of the gate: a call of which nothing could be told, it
// lets pass.
func (g *guard) mayStart(s gate.Start) bool {
	if s.ID != "" && g.looker.Load().enforces() {
		return g.keeper.TierOpens(s)
	}
	return g.keeper.MayStart(s)
}

// serveDoors opens the doors that are wanted and goes on with them. The guard
// ends with them if another process has taken over.
func (g *guard) serveDoors(ctx context.Context, work *errgroup.Group, cancel func()) error {
	opened := make(chan error, 1)
	work.Go(func() error {
		err := g.gates.run(ctx, func(err error) { opened <- err })
		if g.yielded.Load() {
			cancel()
		}
		return err
	})
	work.Go(func() error { return g.doorman.follow(ctx) })
	return <-opened
}

// holdStarts begins to hold what starts until the keeper, which need not have
// loaded yet, has said what becomes of it.
func (g *guard) holdStarts(ctx context.Context, work *errgroup.Group, cfg keeper.Config, heir bool) error {
	l, err := g.listen(filepath.Join(g.a.runPath, "gate.sock"), 0o700, 0, heir)
	if err != nil {
		return err
	}
	work.Go(func() error { return gate.ServeAt(ctx, l, g.judge, g.log) })
	if g.start != fanotifyStart {
		return nil
	}
	second, err := g.second()
	if err != nil {
		return err
	}
	watch := gate.WatchConfig{
		Binaries: gate.Find(), Roots: cfg.Roots, Fail: g.mayStart, Second: second, Lapsed: g.lapsed,
	}
	work.Go(func() error { return gate.Watch(ctx, watch, g.judge, g.log) })
	return nil
}

// leave makes ready to end. Where systemd starts the guard anew at once, the
// sockets stay for the next one, and whoever comes waits.
func (g *guard) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, guardTime)
	defer cancel()
	returns, err := g.shelf.Returns(ctx)
	if err != nil {
		g.log.Warn("systemd does not say whether the guard is started anew", "err", err)
	}
	if returns {
		g.shelf.Stay()
	}
	g.log.Info("the guard leaves", "engine", g.engine, "sockets_stay", returns)
}

// listen takes the socket at path from the process before this one, which left it
// with systemd, or makes it, for root and a group; in the place of whoever listens
// there if it is said so.
func (g *guard) listen(path string, dir fs.FileMode, gid int, replace bool) (*unixsock.Listener, error) {
	l, err := g.shelf.Take(path, gid)
	if l != nil || err != nil {
		return l, err
	}
	if replace {
		l, err = unixsock.Replace(path, dir, gid)
	} else {
		l, err = unixsock.Listen(path, dir, gid)
	}
	if err == nil {
		g.shelf.Put(l)
	}
	return l, err
}

// serveAPI answers at the guard's socket.
func (g *guard) serveAPI(ctx context.Context, work *errgroup.Group, heir bool) error {
	l, err := g.listen(api.Socket(g.a.runPath), 0o700, 0, heir)
	if err != nil {
		return err
	}
	work.Go(func() error { return api.ServeAt(ctx, l, g.present(api.Handler(g, g.log))) })
	return nil
}

// present answers for a guard whose place another has taken: clients that come by
// an old connection are to come again.
func (g *guard) present(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.yielded.Load() {
			h.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": lang.Text{
			En: "another process is taking over; ask again", Es: "otro proceso está tomando el relevo; pregunte de nuevo",
		}})
	})
}

const fanotifyStart = "fanotify"

// ended is the error of work that was told to end: none.
func ended(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// A layout is where an engine and its runtime keep their containers. It is
// written down, for the engine starts containers before it answers: a guard
// that begins first must know by itself.
type layout struct {
	Address   string   `json:"address"`
	Files     string   `json:"files"`
	Roots     []string `json:"roots"`
	Sandboxes string   `json:"sandboxes,omitempty"`
	// Containerd is the socket of the engine's; "" if that is not known.
	Containerd string `json:"containerd,omitempty"`
}

// under says where an engine with that exec-root has its containers' states and
// namespaces.
func (l *layout) under(execRoot string) {
	l.Roots, l.Sandboxes = []string{filepath.Join(execRoot, "runtime-runc", "moby")}, filepath.Join(execRoot, "netns")
}

func (a *app) layoutFile() string { return filepath.Join(a.statePath, "engine.json") }

// config is what the keeper works with. Without an engine it is that of the
// last one here, which was in the same network namespace as this process.
func (g *guard) config(ctx context.Context, h *host) (keeper.Config, error) {
	cfg := keeper.Config{Policy: h.judge.inForce.Policy, Happened: g.happened, Log: g.log}
	mode, err := api.ReadMode(api.ModeFile(g.a.statePath))
	if err != nil {
		return cfg, err
	}
	cfg.Enforce = mode.Enforce
	var at layout
	if h.trouble == nil {
		at, cfg.Host, err = g.layout(ctx, h)
	} else {
		at, cfg.Host, err = g.lastLayout(h)
	}
	if err != nil {
		return cfg, err
	}
	address, err := engineAddress(g.a.host)
	if err != nil {
		return cfg, err
	}
	if g.engine != at.Address {
		return cfg, lang.Errorf(lang.Text{En: "the engine at %s was last known as %s", Es: "el motor en %s se conocía como %s"}, g.engine, at.Address)
	}
	cfg.Files, cfg.Roots, cfg.Engine = spaces.Files(at.Files), at.Roots, keeper.EngineAt(address)
	cfg.Sandboxes, g.containerd = spaces.Sandboxes(at.Sandboxes), at.Containerd
	return cfg, nil
}

// layout asks the engine.
func (g *guard) layout(ctx context.Context, h *host) (layout, *spaces.Space, error) {
	fail := func(err error) (layout, *spaces.Space, error) { return layout{}, nil, err }
	d, err := hostdaemon.Settings(h.engine.Socket())
	if err != nil {
		return fail(err)
	}
	pid, fact, ok := inventory.DaemonPid.Of(d)
	if !ok {
		return fail(lang.Errorf(lang.Text{En: "engine at %s: %s", Es: "motor en %s: %s"}, h.address(), fact))
	}
	execRoot, fact, ok := inventory.DaemonExecRoot.Of(d)
	if !ok {
		return fail(lang.Errorf(lang.Text{En: "engine at %s: %s", Es: "motor en %s: %s"}, h.address(), fact))
	}
	var info struct{ DockerRootDir string }
	if err := h.engine.Call(ctx, "GET", "/info", nil, &info); err != nil {
		return fail(err)
	}
	at := layout{Address: h.address(), Files: filepath.Join(info.DockerRootDir, "containers")}
	at.under(execRoot)
	at.Containerd, _, _ = inventory.DaemonContainerdSocket.Of(d)
	b, err := json.Marshal(at)
	if err == nil {
		err = os.MkdirAll(g.a.statePath, 0o700)
	}
	if err == nil {
		err = atomicfile.Write(g.a.layoutFile(), append(b, '\n'), 0o600)
	}
	if err != nil {
		return fail(err)
	}
	space, err := spaces.Of(int(pid))
	return at, space, err
}

// lastLayout is what the last guard was told.
func (g *guard) lastLayout(h *host) (at layout, _ *spaces.Space, err error) {
	b, err := os.ReadFile(g.a.layoutFile())
	if err != nil {
		return at, nil, h.trouble
	}
	if err := json.Unmarshal(b, &at); err != nil {
		return at, nil, err
	}
	g.log.Warn("engine does not answer: it is waited for", "engine", at.Address, "err", h.trouble)
	space, err := spaces.Of(os.Getpid())
	return at, space, err
}

// sameTrouble is how long a trouble that stays, such as rules that the guard of
// another engine of the host holds, is counted and not told of anew.
const sameTrouble = 10 * time.Minute

// counted reports whether e is a trouble that was told of, and counts it there.
func (g *guard) counted(e keeper.Event) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.last {
		was := &g.last[i]
		if e.Kind == keeper.Trouble && was.Kind == e.Kind && was.Container == e.Container && was.Text == e.Text && e.Time.Sub(was.Time) < sameTrouble {
			was.Count = max(was.Count, 1) + 1
			return true
		}
	}
	return false
}

// happened keeps an event for who asks and for the ledger. It does not wait.
func (g *guard) happened(e keeper.Event) {
	if g.counted(e) {
		return
	}
	g.event(e)
	g.mu.Lock()
	defer g.mu.Unlock()
	ref := "host/network"
	if e.Container != "" {
		ref = inventory.Ref{Kind: inventory.Container, Name: e.Container}.String()
	}
	if e.Kind == keeper.Rules {
		g.waiting = append(g.waiting, store.Decision{Ref: ref, By: "network", What: string(e.Kind), Text: e.Text.En})
		return
	}
	g.waiting = append(g.waiting, store.Alert{Ref: ref, What: string(e.Kind), Text: e.Text.En, Count: e.Count})
	g.log.Warn(string(e.Kind), "ref", ref, "text", e.Text.En, "count", e.Count)
}

// event keeps an event for who asks.
func (g *guard) event(e keeper.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.last = append(g.last, e); len(g.last) > keptEvents {
		g.last = g.last[1:]
	}
}

// noted keeps events for the ledger. It does not wait.
func (g *guard) noted(es ...store.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, es...)
}

// lapsed is told that starts were not judged for a while, because this process
// was stopped.
func (g *guard) lapsed(d time.Duration) {
	g.happened(keeper.Event{Time: time.Now().UTC(), Kind: keeper.Open, Text: lang.Text{
		En: "the guard was stopped for %s: what started meanwhile was not held", Es: "la guardia estuvo detenida %s: lo que arrancó mientras tanto no se retuvo",
	}.F(d.Round(time.Millisecond))})
	g.keeper.Wake()
}

// lose notes that so many events cannot be written down.
func (g *guard) lose(n int) {
	if n == 0 {
		return
	}
	g.log.Error("events lost", "events", n)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lost += n
}

// write takes events into the ledger, those of a second at once, until ctx ends.
func (g *guard) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-time.After(time.Second):
			g.noted(g.tally.due(now, false, "guard/"+g.engine)...)
		}
		g.writeDown(ctx)
	}
}

// writeDown takes what waits into the ledger, and how much was lost before. A
// ledger that cannot be written to holds nothing up: what waits is kept, up to a
// bound.
func (g *guard) writeDown(ctx context.Context) {
	g.mu.Lock()
	es, lost := g.waiting, g.lost
	g.waiting, g.lost = nil, 0
	g.mu.Unlock()
	told := es
	if lost > 0 {
		told = append([]store.Event{store.Alert{
			Ref: "guard/" + g.engine, What: store.Lost, Count: uint64(lost), Text: "events of the guard that were not written down: too many waited",
		}}, es...)
	}
	if len(told) == 0 {
		return
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	err := g.a.note(last, told...)
	if err == nil {
		return
	}
	g.log.Error("not written into the ledger", "events", len(es), "err", err)
	g.mu.Lock()
	g.waiting = append(es, g.waiting...)
	over := max(len(g.waiting)-maxWaiting, 0)
	g.waiting, g.lost = g.waiting[over:], g.lost+lost
	g.mu.Unlock()
	g.lose(over)
}

// lastWords is how long a guard that ends may write.
const lastWords = 5 * time.Second

// maxWaiting is how many events wait for a ledger that cannot be written to.
const maxWaiting = 10000

// follow goes by another policy when it comes into force, which may be at a
// time that it says itself, and by another mode that nobody told it of.
func (g *guard) follow(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(policyEvery):
		}
		j, err := g.judgeNow()
		mode, modeErr := api.ReadMode(api.ModeFile(g.a.statePath))
		err = errors.Join(err, modeErr)
		g.mu.Lock()
		same := err == nil && j.inForce.Policy.Digest == g.policy && mode.Enforce == g.enforce
		g.mu.Unlock()
		if err == nil && !same {
			err = g.Reload(ctx)
		}
		if err != nil {
			g.log.Error("policy not read", "err", err)
		}
	}
}

// policyEvery is how often to look which policy is in force.
const policyEvery = 30 * time.Second

// followWrapper tells when the wrapper of the runtime is gone that the engine at
// a socket is told of: without it no container starts, whatever its tier.
func (g *guard) followWrapper(ctx context.Context, socket string) error {
	path, there := "", true
	for {
		if path == "" {
			path = wrapperOf(socket)
		}
		err := unix.Access(path, unix.X_OK)
		if path != "" && err != nil && there {
			g.happened(keeper.Event{Time: time.Now().UTC(), Kind: keeper.Trouble, Text: lang.Text{
				En: "no container starts until the wrapper of the runtime is put back, casco guard units | sh: %s: %v",
				Es: "no arranca ningún contenedor hasta que se reponga el envoltorio del runtime, casco guard units | sh: %s: %v",
			}.F(path, err)})
		}
		there = path == "" || err == nil
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wrapperEvery):
		}
	}
}

// wrapperOf is the file that an engine runs as our wrapper, "" if it is not told
// of it, or does not answer.
func wrapperOf(socket string) string {
	d, err := hostdaemon.Settings(socket)
	if err != nil {
		return ""
	}
	files, _, _ := inventory.DaemonRuntimeFiles.Of(d)
	file, _ := files[checks.RuntimeName].(map[string]any)
	path, _ := file["Path"].(string)
	return path
}

// wrapperEvery is how often to look whether the wrapper is there.
const wrapperEvery = 10 * time.Second

// beat tells systemd that the guard is ready, and then that it lives.
func (g *guard) beat(ctx context.Context) error {
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		return err
	}
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return err
	}
	if every == 0 {
		every = time.Hour
	}
	for {
		select {
		case <-ctx.Done():
			_, err := daemon.SdNotify(false, daemon.SdNotifyStopping)
			return err
		case <-time.After(every / 3):
		}
		// The keeper must be able to answer: one that is stuck does not live.
		g.keeper.World()
		g.shelf.Again()
		if _, err := daemon.SdNotify(false, daemon.SdNotifyWatchdog); err != nil {
			return err
		}
	}
}

// Status is a method of api.Guard.
func (g *guard) Status(context.Context) (api.Status, error) {
	r := g.keeper.Report()
	p, enforce := g.keeper.InForce()
	g.mu.Lock()
	defer g.mu.Unlock()
	return api.Status{
		Version: version, Since: g.since, Engine: g.engine, Policy: p.Digest, Enforce: enforce, Start: g.start, Keeper: r,
		Events: append([]keeper.Event{}, g.last...), ProcessID: os.Getpid(), Unknown: g.nobodys(), Door: g.doorStatus(), PolicyTrouble: g.trouble,
	}, nil
}

// doorStatus is nil if no requests are judged.
func (g *guard) doorStatus() *api.DoorStatus {
	open := g.gates.open()
	if open == (api.Door{}) {
		return nil
	}
	st := &api.DoorStatus{Door: open, AtDoor: g.doorman.doorAsked.Load(), AtPlugin: g.doorman.pluginAsked.Load(), Full: g.doorman.full.Load()}
	if broken := g.doorman.glass.Load(); broken != nil {
		st.Glass = &broken.Glass
	}
	return st
}

// World is a method of api.Guard.
func (g *guard) World(context.Context) (api.World, error) {
	w, p := g.keeper.World()
	return api.World{World: w, Policy: p, Lines: p.Lines}, nil
}

// Flows is a method of api.Guard.
func (g *guard) Flows(context.Context) ([]network.Flow, error) { return g.keeper.Flows() }

// Probe is a method of api.Guard.
func (g *guard) Probe(ctx context.Context) ([]keeper.Probe, error) { return g.keeper.Probe(ctx) }

// Reload is a method of api.Guard.
func (g *guard) Reload(ctx context.Context) error {
	// Doors do not wait for a policy that is lost: the way out must not.
	doorsErr := g.gates.look(ctx)
	j, err := g.judgeNow()
	err = errors.Join(doorsErr, err)
	if err != nil {
		return err
	}
	mode, err := api.ReadMode(api.ModeFile(g.a.statePath))
	if err != nil {
		return err
	}
	p := j.inForce.Policy
	if g.yielded.Load() { // only what is under way at the doors is judged here
		return g.doorman.setPolicy(p)
	}
	err = g.keeper.SetPolicy(p, mode.Enforce)
	// Some rules may have failed; the policy is gone by all the same.
	if now, _ := g.keeper.InForce(); now == p {
		err = errors.Join(err, g.looker.Load().setPolicy(p), g.doorman.setPolicy(p))
	}
	if err != nil {
		return err // follow tries again
	}
	g.mu.Lock()
	changed := g.enforce != mode.Enforce
	g.policy, g.enforce = p.Digest, mode.Enforce
	g.mu.Unlock()
	if changed {
		text := lang.Text{En: "network rules are enforced", Es: "las reglas de red se aplican"}
		if !mode.Enforce {
			text = lang.Text{En: "network rules are no longer enforced", Es: "las reglas de red ya no se aplican"}
		}
		g.happened(keeper.Event{Time: time.Now().UTC(), Kind: keeper.Mode, Text: text})
	}
	return nil
}
