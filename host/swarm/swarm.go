// Package swarm changes the settings of a Swarm cluster: whether its managers
// lock their keys at rest, how long a node's certificate lives, and when its
// certificate authority is made anew.
//
// The settings belong to the cluster, not to this host: one update through any
// manager reaches all. Reading them is the work of package docker.
package swarm

import (
	"context"
	"encoding/json"
	"net/url"

	"casco/lang"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// Hand is the name of the hand in plans.
const Hand = "swarm-update"

// An Engine answers calls of the Docker Engine API; package docker's Client is
// one. Out is decoded with numbers as json.Number.
type Engine interface {
	Call(ctx context.Context, method, path string, in, out any) error
}

// An Update is the hand that changes a swarm's specification by
// POST /swarm/update (Docker Engine API 1.41). It implements apply.Hand.
type Update struct{ engine Engine }

// NewUpdate returns the hand for the swarm of which e is a manager.
func NewUpdate(e Engine) *Update { return &Update{e} }

// Means are the fields of a swarm that Update sets. A rotation of the
// certificate authority is not among them: the old one is gone for ever, so no
// undo would be true, and a person does it (docker swarm ca --rotate).
func Means() []plan.Means {
	undo := lang.Text{
		En: "the cluster's setting is put back by another update; node certificates issued meanwhile stay valid",
		Es: "el ajuste del clúster se repone con otra actualización; los certificados emitidos entretanto siguen siendo válidos",
	}
	var ms []plan.Means
	for _, field := range []string{inventory.SwarmAutoLock.Path, inventory.SwarmCertExpiry.Path} {
		ms = append(ms, plan.Means{Kind: inventory.Swarm, Field: field, Hand: Hand, Cost: plan.Live, Undo: undo})
	}
	return ms
}

// A cluster is the part of GET /swarm that an update needs.
type cluster struct {
	ID      string
	Version struct{ Index json.Number }
	Spec    map[string]any
}

// undo is what Prepare leaves: the cluster and, of the fields of the step, the
// values that they had.
type undo struct {
	ID  string         `json:"id"`
	Was map[string]any `json:"was"` // nil for a field that was absent
}

// Prepare implements apply.Hand.
func (u *Update) Prepare(ctx context.Context, st plan.Step) (json.RawMessage, error) {
	c, err := u.read(ctx, st)
	if err != nil {
		return nil, err
	}
	back := undo{ID: c.ID, Was: map[string]any{}}
	for _, s := range st.Sets {
		back.Was[s.Field] = c.value(s.Field)
	}
	return json.Marshal(back)
}

// Do implements apply.Hand.
func (u *Update) Do(ctx context.Context, st plan.Step, _ json.RawMessage) error {
	to := map[string]any{}
	for _, s := range st.Sets {
		to[s.Field] = s.To
	}
	return u.update(ctx, st, to)
}

// Undo implements apply.Hand.
func (u *Update) Undo(ctx context.Context, st plan.Step, raw json.RawMessage) error {
	var back undo
	if err := json.Unmarshal(raw, &back); err != nil {
		return lang.Errorf(lang.Text{En: "undo of %s: %w", Es: "deshacer %s: %w"}, st.Ref, err)
	}
	return u.update(ctx, st, back.Was)
}

// update gives the fields their values and holds the engine to it. Nothing is
// sent if they have them already.
func (u *Update) update(ctx context.Context, st plan.Step, to map[string]any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c, err := u.read(ctx, st)
	if err != nil {
		return err
	}
	if c.has(to) {
		return nil
	}
	whole := map[string]any{"Spec": c.Spec}
	for field, v := range to {
		inventory.Put(whole, field, v)
	}
	path := "/swarm/update?version=" + url.QueryEscape(c.Version.Index.String())
	if err := u.engine.Call(ctx, "POST", path, c.Spec, nil); err != nil {
		return err
	}
	if c, err = u.read(ctx, st); err != nil {
		return err
	}
	if !c.has(to) {
		return lang.Errorf(lang.Text{En: "the engine took the update and did not keep it", Es: "el motor tomó la actualización y no la conservó"})
	}
	return nil
}

func (u *Update) read(ctx context.Context, st plan.Step) (*cluster, error) {
	c := new(cluster)
	if err := u.engine.Call(ctx, "GET", "/swarm", nil, c); err != nil {
		return nil, err
	}
	if c.ID != st.Ref.Name {
		return nil, lang.Errorf(lang.Text{En: "this engine is in swarm %s", Es: "este motor está en el swarm %s"}, c.ID)
	}
	return c, nil
}

func (c *cluster) value(field string) any {
	v, _, _ := inventory.Lookup(&inventory.Object{Fields: map[string]any{"Spec": c.Spec}}, field)
	return v
}

func (c *cluster) has(to map[string]any) bool {
	for field, v := range to {
		if !inventory.Equal(c.value(field), v) {
			return false
		}
	}
	return true
}
