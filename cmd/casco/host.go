package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"casco/advisories"
	"casco/api"
	"casco/host/accounts"
	"casco/host/auditrules"
	"casco/host/compose"
	"casco/host/daemon"
	"casco/host/daemonjson"
	"casco/host/docker"
	"casco/host/file"
	"casco/host/forward"
	"casco/host/image"
	"casco/host/kernel"
	"casco/host/packages"
	"casco/host/proc"
	"casco/host/registry"
	"casco/host/swarm"
	"casco/host/sysctl"
	"casco/host/units"
	"casco/lang"
	"casco/loop/apply"
	"casco/loop/audit/checks"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// A host is this machine with the engine that was asked for: the sources that
// read it and the hands that change it.
type host struct {
	name    string
	socket  string         // path of the socket of the engine in use, "" if it has none
	engine  *docker.Client // nil if it could not be reached
	trouble error          // why
	sources []inventory.Source
	hands   map[string]apply.Hand
	judge   *judge
}

// address is where the engine listens, in one spelling: /var/run is a link.
func (h *host) address() string {
	if h.engine == nil {
		return ""
	}
	if path, err := filepath.EvalSymlinks(h.engine.Socket()); err == nil && h.engine.Socket() != "" {
		return "unix://" + path
	}
	return h.engine.Host()
}

// look reads all of the host and judges it.
func (h *host) look(ctx context.Context) *look {
	begun := time.Now()
	s := inventory.Take(ctx, h.name, begun, h.sources...)
	l := &look{read: s, judge: h.judge, trouble: h.trouble, engine: h.address()}
	l.snapshot, l.findings = h.judge.look(s)
	if l.trouble == nil {
		l.trouble = cmp.Or(ctx.Err(), mute(s))
	}
	l.took = time.Since(begun)
	return l
}

// mute is the trouble of an engine that answered at first and then did not say
// what it is: what was found is not the whole host.
func mute(s *inventory.Snapshot) error {
	if err := unread(s); err != nil || spoke(s) {
		return err
	}
	return lang.Errorf(lang.Text{En: "the engine did not say what it is", Es: "el motor no dijo qué es"})
}

// unread is the trouble of a snapshot, taken now or read from a file, whose
// engine could not be read: that is a Gap in it.
func unread(s *inventory.Snapshot) error {
	for _, g := range s.Gaps {
		if isEngine(g) && !spoke(s) {
			return errors.New(g.Reason)
		}
	}
	return nil
}

// isEngine reports whether what is missing is the engine as a whole.
func isEngine(g inventory.Gap) bool {
	return g.Ref == (inventory.Ref{}) && (g.Source == noEngine || strings.HasPrefix(g.Source, noEngine+" "))
}

// spoke reports whether an engine said what it is.
func spoke(s *inventory.Snapshot) bool {
	return slices.ContainsFunc(s.Of(inventory.Daemon), func(d *inventory.Object) bool {
		_, _, ok := inventory.DaemonVersion.Of(d)
		return ok
	})
}

// openHost connects to the engine. One that cannot be reached is no error here
// but the trouble of the host: a look at it then holds that Gap, and what of
// the host can be read without it.
func (a *app) openHost() (*host, error) {
	j, err := a.judgeNow()
	if err != nil {
		return nil, err
	}
	return a.hostBy(j)
}

// hostBy is openHost for who has read the policy already.
func (a *app) hostBy(j *judge) (*host, error) {
	name, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	address, err := engineAddress(a.host)
	if err != nil {
		return nil, err
	}
	if err := docker.Check(address); err != nil {
		return nil, err
	}
	h := &host{name: name, socket: socketOf(address), judge: j}
	var opts []docker.Option
	if wrapTransport != nil {
		opts = append(opts, docker.WithTransport(wrapTransport))
	}
	if h.engine, err = docker.New(address, opts...); err != nil {
		h.trouble = err
	}
	h.sources = a.sources(h)
	h.hands = a.handsOf(h)
	return h, nil
}

// noEngine is the source of the Gap of an engine that could not be reached.
const noEngine = "docker"

// unreachable is a source that could not be opened: it leaves the Gap.
type unreachable struct{ err error }

func (unreachable) Name() string { return noEngine }

func (u unreachable) Read(context.Context, *inventory.Snapshot) error { return u.err }

// sources lists what is read, in order: the engine first, for the others look
// at what it said, except those that are Alone.
func (a *app) sources(h *host) []inventory.Source {
	var ss []inventory.Source
	if h.engine == nil {
		ss = append(ss, unreachable{h.trouble})
	} else {
		ss = append(ss, docker.NewSource(h.engine, docker.Options{Changes: true, Parked: a.parked}))
	}
	return append(ss,
		daemon.New(h.socket),
		forward.New(),
		proc.NewContainers(proc.Options{Banners: true}),
		proc.NewListeners(),
		file.New(file.DockerPaths),
		auditrules.New("/", auditrules.DockerPaths),
		inventory.Alone(sysctl.New("", checks.Sysctls()...)),
		inventory.Alone(kernel.New("")),
		accounts.New(""),
		inventory.Alone(packages.New("", append(checks.Packages(), h.judge.inForce.Policy.Host.Packages.Forbid...)...)),
		inventory.Alone(units.New("")),
		registry.New(a.registries),
		guardSource{api.NewClient(a.runPath), api.ModeFile(a.statePath), api.DoorFile(a.statePath), h.address()},
		image.New(a.layersPath(), a.deep, h.saver()),
		flaws{advisories.Path(a.statePath)},
	)
}

// saver is how the engine is asked for an image, nil without an engine.
func (h *host) saver() image.Save {
	if h.engine == nil {
		return nil
	}
	return h.save
}

// handsOf lists what can be changed, by the name that plans give each hand.
func (a *app) handsOf(h *host) map[string]apply.Hand {
	if h.engine == nil {
		return map[string]apply.Hand{doorHand: a.doorSetter(h.socket)} // the way out needs no engine
	}
	recreate := docker.NewRecreate(h.engine)
	recreate.Listeners = h.listeners
	recreate.OnOutage = func(ref inventory.Ref, d time.Duration) {
		a.tell(lang.Text{En: "  %s did not serve for %.2f s", Es: "  %s no sirvió durante %.2f s"}, ref, d.Seconds())
	}
	recreate.Notes = func(line string) { a.tell(lang.Text{En: "  %s", Es: "  %s"}, line) }
	return map[string]apply.Hand{
		docker.RecreateHand: recreate,
		docker.UpdateHand:   docker.NewUpdate(h.engine),
		daemonjson.Name:     daemonjson.New(daemon.Look),
		compose.Hand:        compose.New(h.engine),
		swarm.Hand:          swarm.NewUpdate(h.engine),
		file.HandName:       file.Hand{},
		auditrules.HandName: auditrules.NewHand("/"),
		sysctl.HandName:     sysctl.NewHand(""),
		networkHand:         enforcer{api.NewClient(a.runPath), api.ModeFile(a.statePath)},
		doorHand:            a.doorSetter(h.socket),
	}
}

// reach waits for the engine if the hand of st asks it. That of daemon.json
// starts an engine that is down; the others need none.
func (h *host) reach(ctx context.Context, st plan.Step) error {
	switch st.Hand {
	case docker.RecreateHand, docker.UpdateHand, compose.Hand, swarm.Hand:
		return h.engine.Await(ctx)
	}
	return nil
}

// listeners returns where a running container listens, as proto:addr:port: the
// health gate of a re-creation wants the new one to listen where the old one did.
func (h *host) listeners(ctx context.Context, id string) ([]string, error) {
	o := &inventory.Object{Ref: inventory.Ref{Kind: inventory.Container, Name: id}, Fields: map[string]any{}}
	if err := h.engine.Call(ctx, http.MethodGet, "/containers/"+id+"/json", nil, &o.Fields); err != nil {
		return nil, err
	}
	s := &inventory.Snapshot{}
	s.Add(o)
	if d, err := daemon.Look(ctx, h.engine.Socket()); err == nil {
		s.Add(d)
	}
	if err := proc.NewContainers(proc.Options{}).Read(ctx, s); err != nil {
		return nil, err
	}
	list, fact, ok := inventory.Listeners.Of(o)
	if !ok {
		return nil, lang.Errorf(lang.Text{En: "listeners of %s: %s", Es: "puertos en escucha de %s: %s"}, id, fact.Err)
	}
	var out []string
	for _, l := range list {
		if m, ok := l.(map[string]any); ok {
			out = append(out, fmt.Sprintf("%v:%v:%v", m["Proto"], m["Addr"], m["Port"]))
		}
	}
	return out, nil
}

// means lists what the hands can set. Where two can set a field the first one
// is taken: live before re-creation.
func means() []plan.Means {
	return slices.Concat(docker.UpdateMeans(), docker.RecreateMeans(), daemonjson.Means(), compose.Means(), swarm.Means(),
		file.Means(), auditrules.Means(), sysctl.Means(), networkMeans(), doorMeans())
}

// wrapTransport is put around every request to the engine. Tests set it, to
// die in the middle of a change; the program does not.
var wrapTransport func(http.RoundTripper) http.RoundTripper

// parked returns the IDs of the containers that changes keep for going back.
func (a *app) parked() ([]string, error) {
	recs, err := a.state().Records()
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, rec := range recs {
		for _, d := range rec.Done {
			if rec.Plan.Steps[d.Step].Hand != docker.RecreateHand || d.Undone || rec.State == apply.Released {
				continue
			}
			more, err := docker.Parked(d.Undo)
			if err != nil {
				return nil, lang.Errorf(lang.Text{En: "change %s: %w", Es: "cambio %s: %w"}, rec.ID, err)
			}
			ids = append(ids, more...)
		}
	}
	return ids, nil
}
