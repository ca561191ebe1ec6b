package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"casco/api"
	"casco/lang"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// guardRef is the object that stands for what keeps the networks apart.
var guardRef = inventory.Ref{Kind: inventory.Guard, Name: "network"}

// A guardSource reads what the guard of this host says of itself.
type guardSource struct {
	client *api.Client
	mode   string // file of the mode
	door   string // file of the door
	engine string // address of the engine that is read
}

func (guardSource) Name() string { return "guard" }

// Read adds the objects of the guard: what keeps the networks apart, and its
// door. One of another engine is not that of this host.
func (g guardSource) Read(ctx context.Context, s *inventory.Snapshot) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	o := &inventory.Object{Ref: guardRef, Source: "GET /v1/status", Read: time.Now().UTC()}
	st, err := g.client.Status(ctx)
	switch {
	case err == nil && st.Engine == g.engine:
		var ungoverned []any
		for _, name := range st.Keeper.Ungoverned {
			ungoverned = append(ungoverned, name)
		}
		o.Fields = map[string]any{
			inventory.GuardRunning.Path: true, inventory.GuardEnforced.Path: st.Enforce, inventory.GuardUngoverned.Path: ungoverned,
		}
	case err == nil || errors.Is(err, api.ErrNoGuard):
		mode, err := api.ReadMode(g.mode)
		if err != nil {
			return err
		}
		o.Source = g.mode
		o.Fields = map[string]any{inventory.GuardRunning.Path: false, inventory.GuardEnforced.Path: mode.Enforce}
	default: // one that is stopped; what it was to do stands in the files
		door, doorErr := g.doorObject(ctx, s, st, false)
		if doorErr == nil {
			delete(door.Fields, inventory.GuardRunning.Path)
			door.Unread = map[string]string{inventory.GuardRunning.Path: err.Error()}
			s.Add(door)
		}
		return errors.Join(err, doorErr)
	}
	s.Add(o)
	running := err == nil && st.Engine == g.engine
	if !running {
		st = api.Status{}
	}
	door, err := g.doorObject(ctx, s, st, running)
	if err != nil {
		return err
	}
	s.Add(door)
	return nil
}

// networkHand is the name of the hand that has the tiers kept apart.
const networkHand = "network"

func networkMeans() []plan.Means {
	return []plan.Means{{
		Kind: inventory.Guard, Field: inventory.GuardEnforced.Path, Hand: networkHand, Cost: plan.Live,
		Undo:  lang.Text{En: "The guard counts again what it would drop, and drops nothing.", Es: "La guardia vuelve a contar lo que descartaría, y no descarta nada."},
		Reads: []string{inventory.GuardRunning.Path},
		Refuse: func(_ *inventory.Snapshot, o *inventory.Object, _ string) lang.Text {
			if running, _, _ := inventory.GuardRunning.Of(o); !running {
				return lang.Text{
					En: "No guard is at work: start it first, casco guard units | sh.", Es: "No hay ninguna guardia en marcha: arránquela antes, casco guard units | sh.",
				}
			}
			return lang.Text{}
		},
	}}
}

// An enforcer is the hand that makes the guard enforce the policy's networks.
type enforcer struct {
	client *api.Client
	mode   string // file of the mode
}

// Prepare keeps the mode as it is.
func (e enforcer) Prepare(ctx context.Context, _ plan.Step) (json.RawMessage, error) {
	if _, err := e.client.Status(ctx); err != nil {
		return nil, err
	}
	was, err := api.ReadMode(e.mode)
	if err != nil {
		return nil, err
	}
	return json.Marshal(was)
}

// Do sets the mode and has the guard prove it: what may not be reached is not,
// and what may and was, still is.
func (e enforcer) Do(ctx context.Context, st plan.Step, _ json.RawMessage) error {
	to, _ := st.To(inventory.GuardEnforced.Path)
	enforce, ok := to.(bool)
	if !ok {
		return lang.Errorf(lang.Text{En: "%s: %v is neither true nor false", Es: "%s: %v no es true ni false"}, st.Ref, to)
	}
	before, err := e.client.Probe(ctx)
	if err != nil {
		return err
	}
	if err := e.set(ctx, api.Mode{Enforce: enforce}); err != nil || !enforce {
		return err
	}
	after, err := e.client.Probe(ctx)
	if err != nil {
		return err
	}
	return api.Proof(before, after)
}

// Undo brings the mode back. A guard that is gone goes by it when it starts.
func (e enforcer) Undo(ctx context.Context, _ plan.Step, undo json.RawMessage) error {
	var was api.Mode
	if err := json.Unmarshal(undo, &was); err != nil {
		return err
	}
	err := e.set(ctx, was)
	if errors.Is(err, api.ErrNoGuard) {
		return nil
	}
	return err
}

func (e enforcer) set(ctx context.Context, m api.Mode) error {
	if err := api.WriteMode(e.mode, m); err != nil {
		return err
	}
	return e.client.Reload(ctx)
}
