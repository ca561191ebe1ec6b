package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"casco/lang"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// A transaction replaces containers that must go together, or puts them back.
type transaction struct {
	*Recreate
	members []member

	// live says that this is the run that makes the changes, not one that
	// cleans up after it; stopping, that an order to stop may be under way.
	live, stopping bool

	stopped time.Time // when the last container was told to stop
}

func (r *Recreate) transaction(undo json.RawMessage) (*transaction, error) {
	var u recreateUndo
	d := json.NewDecoder(strings.NewReader(string(undo)))
	d.UseNumber()
	if err := d.Decode(&u); err != nil {
		return nil, lang.Errorf(lang.Text{En: "undo of a re-creation: %w", Es: "deshacer una recreación: %w"}, err)
	}
	if len(u.Members) == 0 {
		return nil, lang.Errorf(lang.Text{En: "undo of a re-creation: it names no container", Es: "deshacer una recreación: no nombra ningún contenedor"})
	}
	return &transaction{Recreate: r, members: u.Members}, nil
}

// act is a request that changes something. Between any two of them a run can
// be called off.
func (r *Recreate) act(ctx context.Context, method, path string, in, out any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.client.Call(ctx, method, path, in, out)
}

func (r *Recreate) remove(ctx context.Context, id string) error {
	err := r.act(ctx, "DELETE", "/containers/"+id+"?force=1", nil, nil)
	if notFound(err) {
		return nil
	}
	return err
}

func (r *Recreate) rename(ctx context.Context, id, name string) error {
	return r.act(ctx, "POST", "/containers/"+id+"/rename?name="+url.QueryEscape(name), nil, nil)
}

func (r *Recreate) do(ctx context.Context, id, verb string) error {
	return r.act(ctx, "POST", "/containers/"+id+"/"+verb, nil, nil)
}

// setPolicy gives a container a restart policy.
func (r *Recreate) setPolicy(ctx context.Context, id string, policy any) error {
	return r.act(ctx, "POST", "/containers/"+id+"/update", map[string]any{"RestartPolicy": policy}, nil)
}

// forward replaces the containers.
func (t *transaction) forward(ctx context.Context, st plan.Step) error {
	ids, err := t.create(ctx, st)
	if err != nil {
		return err
	}
	gates, err := t.gates(ctx)
	if err != nil {
		return err
	}
	for i, m := range slices.Backward(t.members) {
		if err := t.makeWay(ctx, m, ids[i]); err != nil {
			return fmt.Errorf("%s: %w", m.Ref, err)
		}
	}
	for i, m := range t.members {
		if m.ran() {
			if err := t.do(ctx, ids[i], "start"); err != nil {
				return lang.Errorf(lang.Text{En: "%s: the new one does not start: %w", Es: "%s: el nuevo no arranca: %w"}, m.Ref, err)
			}
		}
		if i == 0 && m.ran() && t.OnOutage != nil {
			t.OnOutage(m.Ref, time.Since(t.stopped))
		}
	}
	for i, m := range t.members {
		if err := t.pass(ctx, gates[i], ids[i]); err != nil {
			return lang.Errorf(lang.Text{
				En: "%s: the new one is not as well as the old one was: %w",
				Es: "%s: el nuevo no está tan bien como estaba el viejo: %w",
			}, m.Ref, err)
		}
	}
	for i, m := range t.members {
		if m.paused() {
			if err := t.do(ctx, ids[i], "pause"); err != nil {
				return err
			}
		}
	}
	return nil
}

// create makes the new containers, under temporary names and not started.
func (t *transaction) create(ctx context.Context, st plan.Step) (ids []string, err error) {
	sw := swap{ids: map[string]string{}, names: map[string]string{}, labels: map[string]string{}}
	for _, set := range st.Sets {
		switch set.Field {
		case "HostConfig.Binds", "HostConfig.Mounts", "Config.Volumes":
			sw.mounts = true
		}
	}
	for i, m := range t.members {
		var sets []plan.Set
		if i == 0 {
			sets = st.Sets
		}
		s := m.spec(t.client.minor, sets, sw)
		id, err := t.make(ctx, m.temporary(), s)
		if err == nil && i == 0 {
			err = t.took(ctx, id, s, m, sets)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.Ref, err)
		}
		ids = append(ids, id)
		sw.ids[m.ID], sw.names[m.Ref.Name], sw.labels[m.ID] = id, id, str(m.Inspect, "ProcessLabel")
	}
	return ids, nil
}

// make creates a container and joins it to its networks.
func (r *Recreate) make(ctx context.Context, name string, s spec) (id string, err error) {
	var created struct{ Id string }
	if err := r.act(ctx, "POST", "/containers/create?name="+url.QueryEscape(name), s.body, &created); err != nil {
		return "", err
	}
	for _, network := range slices.Sorted(maps.Keys(s.join)) {
		in := map[string]any{"Container": created.Id, "EndpointConfig": s.join[network]}
		if err := r.act(ctx, "POST", "/networks/"+url.PathEscape(network)+"/connect", in, nil); err != nil {
			return "", err
		}
	}
	if s.leave != "" {
		in := map[string]any{"Container": created.Id, "Force": true}
		if err := r.act(ctx, "POST", "/networks/"+url.PathEscape(s.leave)+"/disconnect", in, nil); err != nil {
			return "", err
		}
	}
	return created.Id, nil
}

// took fails if the engine left a wanted field of the new container as it was
// in the old one. That it writes a value in another way is no failure: it makes
// CAP_CHOWN of CHOWN.
func (r *Recreate) took(ctx context.Context, id string, s spec, old member, sets []plan.Set) error {
	c, err := inspect(ctx, r.client, id)
	if err != nil {
		return err
	}
	asked := map[string]any{"Config": s.body, "HostConfig": s.body["HostConfig"]}
	for _, set := range sets {
		want := field(asked, set.Field)
		was, now := field(old.Inspect, set.Field), field(c, set.Field)
		if inventory.Equal(now, was) && !inventory.Equal(now, want) {
			return lang.Errorf(lang.Text{
				En: "%s stays as it was, although the engine was asked to change it",
				Es: "%s sigue como estaba, aunque se pidió al motor que lo cambiara",
			}, set.Field)
		}
	}
	return nil
}

// field is the value at a path, nil if there is none.
func field(fields map[string]any, path string) any {
	v, _, _ := inventory.Lookup(&inventory.Object{Fields: fields}, path)
	return v
}

// makeWay stops an old container and gives its name to the new one. Between
// the order to stop and the new one's start nobody serves, and each rename
// makes the engine write to its disk: so the names are changed before, unless
// others find the container by its name for as long as it takes to stop.
func (t *transaction) makeWay(ctx context.Context, m member, id string) error {
	if !off(str(m.Inspect, "HostConfig", "RestartPolicy", "Name")) {
		if err := t.setPolicy(ctx, m.ID, map[string]any{"Name": "no"}); err != nil {
			return err
		}
	}
	if !m.resolved() {
		if err := t.handName(ctx, m, id); err != nil {
			return err
		}
	}
	if m.paused() {
		if err := t.do(ctx, m.ID, "unpause"); err != nil {
			return err
		}
	}
	t.stopped = time.Now()
	if m.ran() {
		if err := ctx.Err(); err != nil {
			return err
		}
		t.stopping = true
		if err := t.do(ctx, m.ID, "stop"); err != nil {
			return err
		}
		t.stopping = false
	}
	if !m.resolved() {
		return nil
	}
	return t.handName(ctx, m, id)
}

// handName takes the name from the old container and gives it to the new one.
// Since 25.0 an engine that renames a running container notes the name in its
// DNSNames even on the networks of its own (bridge, host), where nobody resolves
// it, and leaves it there when it renames the container back: nothing but
// inspect shows it.
func (t *transaction) handName(ctx context.Context, m member, id string) error {
	if err := t.rename(ctx, m.ID, m.parked()); err != nil {
		return err
	}
	return t.rename(ctx, id, m.Ref.Name)
}

// back puts the old containers back, from wherever a run was cut off. Done
// twice, it does nothing the second time.
func (t *transaction) back(ctx context.Context) error {
	if err := t.awaitStop(ctx); err != nil {
		return err
	}
	already, err := t.returned(ctx)
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(t.members) {
		if err := t.discard(ctx, m, already); err != nil {
			return lang.Errorf(lang.Text{En: "%s: remove the new one: %w", Es: "%s: borrar el nuevo: %w"}, m.Ref, err)
		}
	}
	sw := swap{ids: map[string]string{}, names: map[string]string{}, labels: map[string]string{}}
	for _, m := range t.members {
		id, err := t.restore(ctx, m, sw)
		if err != nil {
			return lang.Errorf(lang.Text{En: "%s: put the old one back: %w", Es: "%s: reponer el viejo: %w"}, m.Ref, err)
		}
		sw.ids[m.ID], sw.names[m.Ref.Name], sw.labels[m.ID] = id, id, str(m.Inspect, "ProcessLabel")
	}
	for _, m := range t.members {
		if err := t.resume(ctx, m, sw.ids[m.ID]); err != nil {
			return lang.Errorf(lang.Text{En: "%s: start the old one again: %w", Es: "%s: iniciar de nuevo el viejo: %w"}, m.Ref, err)
		}
	}
	return nil
}

// stopGrace is how long the engine waits before it kills what it stops (Engine
// API, POST /containers/{id}/stop), unless the container has its own StopTimeout.
const stopGrace = 10

// awaitStop waits for the end of a stop that a killed run may have ordered: the
// container still runs now, but not for long. How far that run had come shows
// in what it did before.
func (t *transaction) awaitStop(ctx context.Context) error {
	if t.live && !t.stopping {
		return nil
	}
	begun := time.Now()
	for _, m := range t.members {
		grace := stopGrace * time.Second
		if own := object(m.Inspect, "Config")["StopTimeout"]; own != nil {
			grace = time.Duration(number(own)) * time.Second
		}
		for time.Since(begun) < grace+2*time.Second {
			stopping, err := t.mayBeStopping(ctx, m)
			if err != nil {
				return err
			}
			if !stopping {
				break
			}
			if err := sleep(ctx, pollEvery); err != nil {
				return err
			}
		}
	}
	return nil
}

// mayBeStopping reports whether the old container of m runs, and a run was
// where it orders its stop: the restart policy is off, and the new one is made
// and has not taken over, or the old one has given its name away already. (One
// that somebody started after it was parked looks so too, and is waited for.)
func (t *transaction) mayBeStopping(ctx context.Context, m member) (bool, error) {
	if !m.ran() {
		return false, nil
	}
	old, err := t.withID(ctx, m.ID)
	if err != nil || !truth(old, "State", "Running") || truth(old, "State", "Paused") || !off(str(old, "HostConfig", "RestartPolicy", "Name")) {
		return false, err
	}
	if nameOf(old) == m.parked() {
		return true, nil
	}
	fresh, err := t.named(ctx, m.temporary())
	return fresh != nil, err
}

// off reports whether a restart policy of this name never restarts.
func off(policy string) bool { return policy == "" || policy == "no" }

// returned reports whether the first container is back by an Undo before this
// one, or was never away. If the old one is gone, what was made in its stead
// cannot be told by its ID, but by what it is like.
func (t *transaction) returned(ctx context.Context) (bool, error) {
	m := t.members[0]
	holder, err := t.named(ctx, m.Ref.Name)
	if err != nil || holder == nil || str(holder, "Id") == m.ID {
		return holder != nil, err
	}
	old, err := t.withID(ctx, m.ID)
	return old == nil && len(m.differs(t.client.minor, nil, holder)) == 0, err
}

// discard removes the new container of m, whatever name it has by now. If the
// first container has returned already, only what a killed run left behind.
func (t *transaction) discard(ctx context.Context, m member, returned bool) error {
	fresh, err := t.named(ctx, m.temporary())
	if err != nil {
		return err
	}
	if fresh != nil {
		if err := t.remove(ctx, str(fresh, "Id")); err != nil {
			return err
		}
	}
	holder, err := t.named(ctx, m.Ref.Name)
	if err != nil || holder == nil || str(holder, "Id") == m.ID {
		return err
	}
	old, err := t.withID(ctx, m.ID)
	switch {
	case err != nil:
		return err
	case old == nil && returned && len(m.differs(t.client.minor, nil, holder)) == 0:
		return nil // it was made again along with the first
	case old != nil && nameOf(old) != m.parked():
		return lang.Errorf(lang.Text{
			En: "another container has its name, and the old one is called %s",
			Es: "otro contenedor tiene su nombre, y el viejo se llama %s",
		}, nameOf(old))
	}
	// It may be a database: let it end well.
	if err := t.do(ctx, str(holder, "Id"), "stop"); err != nil && !notFound(err) {
		return err
	}
	return t.remove(ctx, str(holder, "Id"))
}

// restore gives the old container its name and policy back and returns its
// ID. One that somebody has removed is made again, with another ID.
func (t *transaction) restore(ctx context.Context, m member, sw swap) (id string, err error) {
	old, err := t.withID(ctx, m.ID)
	if err != nil {
		return "", err
	}
	if old == nil {
		return t.remake(ctx, m, sw)
	}
	if nameOf(old) != m.Ref.Name {
		if err := t.rename(ctx, m.ID, m.Ref.Name); err != nil {
			return "", err
		}
	}
	policy := object(m.Inspect, "HostConfig", "RestartPolicy")
	if !inventory.Equal(policy, object(old, "HostConfig", "RestartPolicy")) {
		return m.ID, t.setPolicy(ctx, m.ID, policy)
	}
	return m.ID, nil
}

// remake creates a container again that is gone, unless that was done.
func (t *transaction) remake(ctx context.Context, m member, sw swap) (id string, err error) {
	holder, err := t.named(ctx, m.Ref.Name)
	if err != nil || holder != nil {
		return str(holder, "Id"), err
	}
	t.note("%s: the old container is gone; it is created again as it was", m.Ref)
	// Under the temporary name, so that one without its networks is not taken
	// for the whole.
	id, err = t.make(ctx, m.temporary(), m.spec(t.client.minor, nil, sw))
	if err != nil {
		return "", err
	}
	return id, t.rename(ctx, id, m.Ref.Name)
}

// resume lets a container run, or pause, if it did.
func (t *transaction) resume(ctx context.Context, m member, id string) error {
	c, err := inspect(ctx, t.client, id)
	if err != nil {
		return err
	}
	if m.ran() && !truth(c, "State", "Running") {
		if err := t.do(ctx, id, "start"); err != nil {
			return err
		}
	}
	if m.paused() && !truth(c, "State", "Paused") {
		return t.do(ctx, id, "pause")
	}
	return nil
}
