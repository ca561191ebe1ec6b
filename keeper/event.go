package keeper

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"casco/host/nft"
	"casco/internal/procs"
	"casco/lang"
)

// A Kind of Event.
type Kind string

// Kinds of events.
const (
	Rules      Kind = "rules"      // rules were changed
	Dropped    Kind = "dropped"    // packets, by the class that Text names
	WouldDrop  Kind = "would-drop" // the same where nothing is enforced: they passed
	Cut        Kind = "cut"        // connections that are older than the rules
	Name       Kind = "name"       // a question for a name was not answered
	Late       Kind = "late"       // a container ran without rules and has them now
	Open       Kind = "open"       // a container starts without rules
	Refused    Kind = "refused"    // a container was not started
	Ungoverned Kind = "ungoverned" // no rules can be made for a container
	Tampered   Kind = "tampered"   // rules were not as they should be
	Trouble    Kind = "trouble"    // something could not be done
	Elsewhere  Kind = "elsewhere"  // a peer on another host is known by little
	Mode       Kind = "mode"       // rules are enforced from now on, or no longer
	Disagree   Kind = "disagree"   // what let a container in saw less than what saw it start
	Door       Kind = "door"       // requests to the engine are judged from now on, or no longer
	Policy     Kind = "policy"     // the guard no longer goes by the policy that it is told to, or again
	Glass      Kind = "glass"      // root has them only observed for a while, or that is over
)

// An Event is something that somebody should know.
type Event struct {
	Time      time.Time `json:"time"`
	Kind      Kind      `json:"kind"`
	Container string    `json:"container,omitempty"` // its name; "" for the host
	Text      lang.Text `json:"text"`
	Count     uint64    `json:"count,omitempty"`
}

func (k *Keeper) happened(e Event) {
	e.Time = time.Now().UTC()
	if k.cfg.Happened != nil {
		k.cfg.Happened(e)
	}
}

func (k *Keeper) trouble(container string, err error) {
	k.happened(Event{Kind: Trouble, Container: container, Text: lang.Text{En: "%v", Es: "%v"}.F(err)})
}

func (k *Keeper) tried(err error) {
	if err != nil {
		k.trouble("", err)
	}
}

// nameOf is what the members of a namespace are called. It is for who holds mu.
func (k *Keeper) nameOf(id uint64) string {
	var names []string
	for _, c := range k.members(id) {
		names = append(names, c.Workload.Workload.Name)
	}
	slices.Sort(names)
	return strings.Join(names, "+")
}

// classes say what a counter counts.
var classes = map[string]lang.Text{
	nft.DropOut:     {En: "sent what no flow allows", Es: "envió lo que ningún flujo permite"},
	nft.DropIn:      {En: "was sent what no flow allows", Es: "recibió lo que ningún flujo permite"},
	nft.DropForward: {En: "passed on what no flow allows", Es: "reenvió lo que ningún flujo permite"},
	nft.DropFrame:   {En: "wrote frames past the IP stack", Es: "escribió tramas sin pasar por la pila IP"},
	nft.DropHost:    {En: "containers wanted services of the host", Es: "los contenedores quisieron servicios del anfitrión"},
	nft.DropAround:  {En: "containers wanted ways through the host", Es: "los contenedores quisieron pasar por el anfitrión"},
	nft.DropOutside: {En: "somebody outside wanted containers", Es: "alguien de fuera quiso llegar a contenedores"},
	nft.DropShut:    {En: "somebody outside wanted published ports", Es: "alguien de fuera quiso puertos publicados"},
	nft.DropForged:  {En: "frames had addresses that are not their container's", Es: "hubo tramas con direcciones que no son de su contenedor"},
	nft.DropReach:   {En: "frames went to containers that theirs may not talk to", Es: "hubo tramas hacia contenedores con los que el suyo no puede hablar"},
}

// Class says in words what a counter of drops counts.
func Class(counter string) lang.Text { return classes[counter] }

// dropText says what a counter counts, and that nothing was dropped if so.
func dropText(kind Kind, counter string) lang.Text {
	if kind == WouldDrop {
		return lang.Text{En: "would have been dropped: %s", Es: "se habría descartado: %s"}.F(Class(counter))
	}
	return Class(counter)
}

// Count reads the counters of all drops and tells of those that grew. Starts go
// on between one namespace and the next.
func (k *Keeper) Count() error {
	k.counting.Lock()
	defer k.counting.Unlock()
	k.mu.Lock()
	last, ids := k.drops, slices.Collect(maps.Keys(k.spaces))
	kind := Dropped
	if !k.enforce {
		kind = WouldDrop
	}
	k.mu.Unlock()
	var errs []error
	seen := map[string]map[string]nft.Counter{}
	note := func(who string, read func() (map[string]nft.Counter, error)) {
		now, err := read()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", who, err))
			return
		}
		seen[who] = now
		for class, c := range now {
			before := last[who][class].Packets
			if before > c.Packets {
				before = 0 // the rules were made anew
			}
			if n := c.Packets - before; n > 0 {
				k.happened(Event{Kind: kind, Container: who, Text: dropText(kind, class), Count: n})
			}
		}
	}
	for _, id := range ids {
		k.mu.Lock()
		if s := k.spaces[id]; s != nil && s.rules != nil {
			note(k.nameOf(id), s.rules.Drops)
		}
		k.mu.Unlock()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.enforce {
		note("", k.host.Drops)
	}
	k.drops = seen
	return errors.Join(errs...)
}

// Follow keeps up with the engine until ctx ends: what it says has ended or
// changed, and at intervals all that runs. An engine that is away is waited
// for; what runs without it keeps its rules.
func (k *Keeper) Follow(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { k.rounds(ctx) })
	work.Go(func() { k.followPeers(ctx) })
	for {
		err := k.cfg.Engine.Events(ctx, func() {
			// What happened while nobody listened.
			k.tried(k.Look(ctx))
		}, func(e EngineEvent) { k.tried(k.event(ctx, e)) })
		if ctx.Err() != nil {
			return nil
		}
		k.cfg.Log.Warn("engine events ended", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// Wake makes Follow look at everything at once.
func (k *Keeper) Wake() {
	select {
	case k.wake <- struct{}{}:
	default: // it is about to
	}
}

// rounds looks at everything at intervals.
func (k *Keeper) rounds(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(lookEvery):
		case <-k.wake:
		}
		k.tried(k.Look(ctx))
		k.tried(k.Count())
	}
}

// event follows one event of the engine.
func (k *Keeper) event(ctx context.Context, e EngineEvent) error {
	switch {
	case e.Type == "container" && (e.Action == "die" || e.Action == "destroy"):
		k.mu.Lock()
		defer k.mu.Unlock()
		// One that was restarted at once is there again with another process.
		if c := k.containers[e.Actor.ID]; c != nil && !procs.Alive(c.pid) {
			k.leave(c)
		}
	case e.Type == "container" && e.Action == "start":
		if !k.knows(e.Actor.ID) {
			err := k.Look(ctx) // it started past us
			if err != nil || k.knows(e.Actor.ID) {
				return err
			}
			if err := k.meetStray(ctx, e.Actor.ID); err != nil {
				return err
			}
		}
		return k.started(ctx, e.Actor.ID)
	case e.Type == "container" && e.Action == "rename":
		k.mu.Lock()
		defer k.mu.Unlock()
		if c := k.containers[e.Actor.ID]; c != nil && k.spaces[c.space] != nil {
			c.Workload.Workload.Name = e.Actor.Attributes["name"]
			return k.write(k.state.Put(k.namespace(c.space)))
		}
	case e.Type == "network":
		k.mu.Lock()
		defer k.mu.Unlock()
		if e.Action == "create" || e.Action == "destroy" {
			if err := k.readHost(ctx); err != nil {
				return err
			}
			return k.write(k.state.SetHost(k.segments, k.hostAddrs()))
		}
		c := k.containers[e.Actor.Attributes["container"]]
		if c == nil || k.spaces[c.space] == nil {
			return nil
		}
		k.reread(c)
		return k.write(k.state.Put(k.namespace(c.space)))
	}
	return nil
}

func (k *Keeper) knows(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.containers[id] != nil
}

// A Report is what a Keeper has in hand.
type Report struct {
	Namespaces int      `json:"namespaces"`
	Containers int      `json:"containers"`
	Ungoverned []string `json:"ungoverned,omitempty"` // containers on the host's network
	Elements   int      `json:"elements"`             // in the host's sets
	// Drops are the counters, by container ("" is the host) and class.
	Drops map[string]map[string]nft.Counter `json:"drops,omitempty"`
	// Owned says that a container with CAP_NET_ADMIN cannot take its rules away.
	Owned bool `json:"owned"`
	// Stale are those whose rules could not be made as they should be, and are
	// tried again: containers, and "" for the host.
	Stale []string `json:"stale,omitempty"`
}

// Report says what k has in hand now.
func (k *Keeper) Report() Report {
	k.tried(k.Count())
	k.mu.Lock()
	defer k.mu.Unlock()
	r := Report{Containers: len(k.containers), Drops: map[string]map[string]nft.Counter{}, Owned: true}
	if k.hostStale {
		r.Stale = append(r.Stale, "")
	}
	for id, s := range k.spaces {
		if s.stale {
			r.Stale = append(r.Stale, k.nameOf(id))
		}
		if s.rules != nil {
			r.Namespaces++
			r.Owned = r.Owned && s.rules.Owned()
		}
	}
	for _, c := range k.containers {
		if c.OnHost {
			r.Ungoverned = append(r.Ungoverned, c.Workload.Workload.Name)
		}
	}
	slices.Sort(r.Ungoverned)
	slices.Sort(r.Stale)
	for who, cs := range k.drops {
		for class, n := range cs {
			if n.Packets > 0 {
				if r.Drops[who] == nil {
					r.Drops[who] = map[string]nft.Counter{}
				}
				r.Drops[who][class] = n
			}
		}
	}
	if k.enforce {
		r.Elements = len(k.state.Host().Elements)
	}
	return r
}
