package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"casco/api"
	"casco/host/compose"
	hostdaemon "casco/host/daemon"
	"casco/host/docker"
	"casco/host/gate"
	"casco/host/inits"
	"casco/keeper"
	"casco/lang"
	"casco/loop/apply"
	"casco/loop/inventory"
	"casco/loop/plan"
	"casco/store"
)

// Why nobody knows who made a container.
const (
	pastEngine = "past-engine" // it was made without the engine that is guarded
	pastDoor   = "past-door"   // the engine made it, and nobody was asked whether it may
	guardAway  = "guard-away"  // the same, while no guard was at work
)

var whyUnknown = map[string]lang.Text{
	pastEngine: {En: "it was made past the engine", Es: "se hizo sin pasar por el motor"},
	pastDoor:   {En: "the engine was asked for it past the door", Es: "se pidió al motor sin pasar por la puerta"},
	guardAway:  {En: "it was made while no guard judged requests", Es: "se hizo mientras ninguna guardia juzgaba peticiones"},
}

// A rogue is a container of which nobody knows who made it.
type rogue struct {
	ref string
	store.Rogue
	root  string // of its runtime's states
	there func() bool
}

// A place is where a container's ID means something: two that have the same one
// there are the same.
func (r *rogue) place() string {
	if r.Namespace != "" {
		return r.Namespace
	}
	return filepath.Base(r.root)
}

// same reports whether both are one container, met twice: at the call of its
// runtime, and when its first process began.
func (r *rogue) same(o *rogue) bool {
	switch {
	case r.PID != 0 && o.PID != 0:
		return r.PID == o.PID
	case r.ID != "" && o.ID != "":
		return r.ID == o.ID && r.place() == o.place()
	}
	with, without := r, o
	if r.PID == 0 {
		with, without = o, r
	}
	return without.ID != "" && with.PID != 0 && gate.InitOf(without.root, without.ID) == with.PID
}

// metTime is how long a call of a runtime stands for the container that it is
// about to make.
const metTime = 5 * time.Second

// unknown is told of a container of which nobody knows who made it. One that is
// known to be so is completed.
func (g *guard) unknown(r rogue) {
	g.mu.Lock()
	g.rogues = slices.DeleteFunc(g.rogues, func(have *rogue) bool { return !have.there() })
	for _, have := range g.rogues {
		if have.same(&r) {
			have.complete(&r)
			g.mu.Unlock()
			return
		}
	}
	g.rogues = append(g.rogues, &r)
	told := g.told[r.key()] && r.Seen.Sub(g.since) < beginning
	g.mu.Unlock()
	if told {
		return
	}
	text := lang.Text{En: "origin unknown: %s (%s)", Es: "origen desconocido: %s (%s)"}.F(whyUnknown[r.Why], short(r.where()))
	ref, _ := strings.CutPrefix(r.ref, "container/")
	g.event(keeper.Event{Time: r.Seen, Kind: store.Unknown, Container: ref, Text: text})
	g.noted(store.Alert{Ref: r.ref, What: store.Unknown, Text: text.En, Rogue: &r.Rogue})
	g.log.Warn(store.Unknown, "ref", r.ref, "why", r.Why, "id", r.ID, "engine", r.Engine, "namespace", r.Namespace, "runtime", r.Runtime, "pid", r.PID)
}

// beginning is how long a guard meets what was there before it. Later a container
// with the ID of one that was told of is another.
const beginning = 30 * time.Second

// key is what is the same when another guard meets it again.
func (r *rogue) key() string {
	if r.ID == "" {
		return fmt.Sprint(r.Engine, " ", r.PID)
	}
	return fmt.Sprint(r.Engine, " ", r.Namespace, " ", r.ID)
}

func (r *rogue) where() string {
	var parts []string
	for _, p := range []struct{ name, is string }{{"at", r.Engine}, {"namespace", r.Namespace}, {"by", r.Runtime}, {"called by", strings.Join(r.Parents, " < ")}} {
		if p.is != "" {
			parts = append(parts, p.name+" "+p.is)
		}
	}
	return strings.Join(parts, ", ")
}

// complete takes from the second meeting what the first did not show.
func (r *rogue) complete(o *rogue) {
	if r.PID == 0 {
		r.PID, r.there = o.PID, o.there
	}
	if r.ID == "" {
		r.ID = o.ID
	}
	if r.Program == "" {
		r.Program, r.Cgroup = o.Program, o.Cgroup
	}
}

// recall takes from the ledger which rogues were told of.
func (g *guard) recall(ctx context.Context) error {
	b, err := g.a.book(ctx)
	if err != nil {
		return err
	}
	all, err := b.store.Rogues(ctx)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range all {
		g.told[(&rogue{Rogue: *a.Event.Rogue}).key()] = true
	}
	return nil
}

// starting is told of each call of a known runtime, while it is held.
func (g *guard) starting(s gate.Start) {
	if g.ours(s.Root, "", s.ID, s.PID) {
		return
	}
	m := inits.MakerOf(s.Caller)
	if m.ID != s.ID { // the shim says more of the same container
		m.ID, m.Bundle = s.ID, s.Bundle
	}
	if m.Runtime = s.Runtime; s.Root != "" {
		m.Root = s.Root
	}
	g.meetSoon(inits.Init{PID: s.PID, Maker: m})
}

// meet is told of a container that began.
func (g *guard) meet(i inits.Init) {
	root := i.Root
	if root == "" && i.Namespace == "" && i.Runtime != "" {
		root = gate.RootOf(i.Runtime)
	}
	id := i.ID
	if id == "" {
		id = i.Inside
	}
	if g.ours(root, i.Namespace, id, i.PID) || g.builds(i) {
		return
	}
	r := rogue{root: root, Rogue: store.Rogue{
		ID: i.ID, Seen: time.Now().UTC(), Why: pastEngine, Engine: firstSet(i.Containerd, root), Namespace: i.Namespace, Runtime: i.Runtime, Bundle: i.Bundle, PID: i.PID,
		Program: short(i.Program), Cgroup: short(i.Cgroup), UID: i.UID, LoginUID: i.LoginUID,
	}}
	for _, p := range i.Parents {
		r.Parents = append(r.Parents, short(p.Name))
	}
	name := fmt.Sprint("process/", i.PID)
	if i.ID != "" {
		name = short(firstSet(r.place(), "runc") + "/" + i.ID)
	}
	r.ref = inventory.Ref{Kind: inventory.Container, Name: name}.String()
	seen := time.Now()
	r.there = func() bool {
		if i.PID == 0 {
			return time.Since(seen) < metTime || gate.InitOf(root, i.ID) != 0
		}
		return i.Alive()
	}
	g.unknown(r)
}

// ours reports whether a container is one of the engine's that is guarded, or
// one of its plugins: by the state that its runtime keeps for the engine, or,
// for a runtime whose states are not known, by the engine's own files.
func (g *guard) ours(root, namespace, id string, pid int) bool {
	for _, own := range g.roots {
		for _, of := range []string{own, filepath.Join(filepath.Dir(own), "plugins.moby")} {
			if root != "" && filepath.Clean(root) == of {
				return true
			}
			if init := gate.InitOf(of, id); init != 0 && (pid == 0 || init == pid) {
				return true
			}
		}
	}
	if namespace != "moby" || id == "" || strings.Contains(id, "/") {
		return false
	}
	_, err := os.Stat(filepath.Join(string(g.files), id))
	return err == nil
}

// builds reports whether the engine itself runs it: a step of a build, which was
// judged as such.
func (g *guard) builds(i inits.Init) bool {
	if !slices.ContainsFunc(i.Parents, func(p inits.Process) bool { return p.Name == "dockerd" }) {
		return false
	}
	socket, _ := strings.CutPrefix(g.engine, "unix://")
	d, err := hostdaemon.Settings(socket)
	if err != nil {
		return false
	}
	pid, _, _ := inventory.DaemonPid.Of(d)
	return slices.ContainsFunc(i.Parents, func(p inits.Process) bool { return int64(p.PID) == int64(pid) })
}

// seeInits meets each container that begins on this host, until ctx ends.
func (g *guard) seeInits(ctx context.Context) error {
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return inits.Watch(ctx, g.meetSoon, g.log) })
	work.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case i := <-g.met:
				g.meet(i)
			}
		}
	})
	return work.Wait()
}

// meetSoon is meet for who must not wait.
func (g *guard) meetSoon(i inits.Init) {
	select {
	case g.met <- i:
	default:
		g.lose(1)
	}
}

// keptInits is how many containers may wait to be met.
const keptInits = 1024

// strangersEvery is how often the roll is asked for those that nobody was seen
// to make.
const strangersEvery = 200 * time.Millisecond

// tellStrangers tells of containers of the engine that nobody was seen to make,
// until ctx ends.
func (d *doorman) tellStrangers(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(strangersEvery):
		}
		for _, s := range d.roll.strangers(time.Now()) {
			if d.changed(s) {
				continue
			}
			why := pastDoor
			if s.away {
				why = guardAway
			}
			d.g.unknown(rogue{
				ref:   inventory.Ref{Kind: inventory.Container, Name: short(s.name)}.String(),
				Rogue: store.Rogue{ID: s.id, Seen: time.Now().UTC(), Why: why, Engine: d.g.engine, UID: -1, LoginUID: -1},
				there: func() bool { return d.roll.name(s.id) != "" },
			})
		}
	}
}

// changeTime is how long after its beginning a change may still make containers.
const changeTime = time.Hour

// changed reports whether a change of casco's own makes the container: its hands
// ask the engine, past the door, and the ledger has their steps.
func (d *doorman) changed(s stranger) bool {
	recs, err := d.g.a.state().Records()
	if err != nil {
		d.g.log.Error("changes not read", "err", err)
		return false
	}
	name, _ := strings.CutSuffix(s.name, docker.NewSuffix)
	return slices.ContainsFunc(recs, func(rec *apply.Record) bool {
		if !rec.State.Open() && (rec.Begun.After(s.met) || s.met.Sub(rec.Begun) > changeTime) {
			return false
		}
		return slices.ContainsFunc(rec.Plan.Steps, func(st plan.Step) bool {
			return st.Ref == inventory.Ref{Kind: inventory.Container, Name: name} || st.Hand == compose.Hand && s.labels["com.docker.compose.project"] != ""
		})
	})
}

// nobodys are the rogues that are there now, oldest first.
func (g *guard) nobodys() (out []api.Unknown) {
	for _, r := range g.rogues {
		if r.there() {
			out = append(out, api.Unknown{Ref: r.ref, ID: r.ID, Seen: r.Seen, Why: r.Why, Engine: r.Engine, Namespace: r.Namespace, PID: r.PID})
		}
	}
	return out
}
