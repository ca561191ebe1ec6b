package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"casco/lang"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// RecreateHand is the name of the hand Recreate.
const RecreateHand = "docker-recreate"

// Recreate replaces a container by a new one that differs in the wanted fields
// and its ID, and in nothing else. It is an apply.Hand and an apply.Keeper.
//
// The new one is created, and joined to its networks, while the old one still
// serves. Then the old one is parked under another name and stopped, and the
// new one takes its name and starts: from stop to start is the outage. If the new one does
// not come up as well as the old one was, the old one is put back at once.
// Containers that lean on it (plan.Step.With) go through it together.
//
// What is lost is what the container wrote into its own layer, and its log; the
// parked one keeps both until Release.
//
// A parked container is called NAME.casco-ID, with the first 12 digits of its
// ID, and has the restart policy "no", so that an engine that restarts does not
// start both. A container whose name was changed by hand in the meantime is not
// found by its name but by its ID.
type Recreate struct {
	client *Client

	// Settle is how long a container without a health check must stay up.
	Settle time.Duration
	// Patience is how long a container may take until it listens where the
	// old one did, and the most that its health check may take.
	Patience time.Duration
	// Listeners returns where a running container listens, as proto:addr:port.
	// Nil skips that part of the gate.
	Listeners func(ctx context.Context, id string) ([]string, error)
	// OnOutage, if not nil, is told for how long nobody served, at most: from
	// the order to stop to the new one's start.
	OnOutage func(ref inventory.Ref, d time.Duration)
	// Notes, if not nil, is told what somebody should know, one line each, in
	// which paths and names from containers are quoted.
	Notes func(line string)
}

// NewRecreate returns the hand for the engine of c, with a gate of 2 s for
// containers without a health check, and of 2 min for others.
func NewRecreate(c *Client) *Recreate {
	return &Recreate{client: c, Settle: 2 * time.Second, Patience: 2 * time.Minute}
}

// RecreateMeans lists what the hand can set: what a container is created from.
func RecreateMeans() []plan.Means {
	var out []plan.Means
	for _, field := range []string{"HostConfig.", "Config."} {
		out = append(out, plan.Means{
			Kind: inventory.Container, Field: field, Owner: inventory.OwnerNone,
			Hand: RecreateHand, Cost: plan.Recreate, Reads: []string{"Id"}, Refuse: refuseRecreate,
			Undo: lang.Text{
				En: "the old container is kept, stopped, and takes its place again",
				Es: "el contenedor anterior se conserva, detenido, y vuelve a su lugar",
			},
		})
	}
	return out
}

// refuseRecreate knows from which containers there is no way back.
func refuseRecreate(s *inventory.Snapshot, o *inventory.Object, _ string) lang.Text {
	if truth(o.Fields, "HostConfig", "AutoRemove") {
		return lang.Text{
			En: "it is removed when it stops (--rm), so there would be no way back",
			Es: "se borra cuando se detiene (--rm), así que no habría vuelta atrás",
		}
	}
	for _, ref := range inventory.Dependents(s, o) {
		d := s.Find(ref)
		switch {
		case truth(d.Fields, "HostConfig", "AutoRemove"):
			return lang.Text{
				En: "%s leans on it and is removed when it stops (--rm)",
				Es: "%s depende de él y se borra cuando se detiene (--rm)",
			}.F(ref)
		case inventory.OwnerOf(d) != inventory.OwnerNone:
			return lang.Text{
				En: "%s leans on it and belongs to %s",
				Es: "%s depende de él y pertenece a %s",
			}.F(ref, inventory.OwnerOf(d))
		}
	}
	return lang.Text{}
}

// recreateUndo is what Undo needs: the containers as they were, whole, so that
// one that somebody removed can be made again. It holds their environments in
// the clear, secrets and all, as the engine's own files do; whoever stores it
// must keep it from others.
type recreateUndo struct {
	Members []member // the changed one first, then what leans on it, in the order of start
}

// maxLost is how many lost paths are kept by name.
const maxLost = 100

// Prepare reads all containers of the transaction, and fails if one could not
// be created again.
func (r *Recreate) Prepare(ctx context.Context, st plan.Step) (json.RawMessage, error) {
	for _, set := range st.Sets {
		if !strings.HasPrefix(set.Field, "HostConfig.") && !strings.HasPrefix(set.Field, "Config.") {
			return nil, lang.Errorf(lang.Text{
				En: "%s is not what a container is created from",
				Es: "%s no es algo a partir de lo que se crea un contenedor",
			}, set.Field)
		}
	}
	if err := r.complete(ctx, st); err != nil {
		return nil, err
	}
	var undo recreateUndo
	for i, ref := range append([]inventory.Ref{st.Ref}, st.With...) {
		m, err := r.member(ctx, ref)
		if err == nil && i == 0 {
			m.Next, err = r.next(ctx, m, st.Sets)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", ref, err)
		}
		if name := str(m.Inspect, "Config", "Image"); m.Next == nil && m.Image != name {
			r.note("%s: %q names another image by now; it keeps %s", m.Ref, name, m.Image)
		}
		undo.Members = append(undo.Members, m)
	}
	return json.Marshal(undo)
}

// complete fails if st leaves out a container that leans on its own.
func (r *Recreate) complete(ctx context.Context, st plan.Step) error {
	snap := &inventory.Snapshot{}
	all := reading{Source: NewSource(r.client, Options{}), snap: snap}
	if err := all.readContainers(ctx); err != nil {
		return err
	}
	for _, o := range all.containers {
		if !isParked(o.Fields) {
			snap.Add(o)
		}
	}
	snap.Sort()
	o := snap.Find(st.Ref)
	if o == nil {
		return lang.Errorf(lang.Text{En: "no such container", Es: "no existe tal contenedor"})
	}
	for _, ref := range inventory.Dependents(snap, o) {
		if !slices.Contains(st.With, ref) {
			return lang.Errorf(lang.Text{
				En: "%s leans on it and is not in the plan: plan again",
				Es: "%s se apoya en él y no está en el plan: vuelva a planificar",
			}, ref)
		}
	}
	return nil
}

// member reads one container, with all that is needed to create it again.
func (r *Recreate) member(ctx context.Context, ref inventory.Ref) (member, error) {
	c, err := r.named(ctx, ref.Name)
	if err != nil {
		return member{}, err
	}
	if c == nil {
		return member{}, lang.Errorf(lang.Text{En: "no such container", Es: "no existe tal contenedor"})
	}
	m := member{Ref: ref, ID: str(c, "Id"), Inspect: c, MACs: r.client.desiredMACs(c)}
	switch {
	case truth(c, "HostConfig", "AutoRemove"):
		return m, lang.Errorf(lang.Text{En: "it is removed when it stops (--rm): no way back", Es: "se borra al detenerse (--rm): no hay vuelta atrás"})
	case object(c, "Config", "Labels")["com.docker.swarm.task.id"] != nil:
		return m, lang.Errorf(lang.Text{
			En: "it is a task of a swarm service: change the service",
			Es: "es una tarea de un servicio de swarm: cambie el servicio",
		})
	case truth(c, "State", "Dead") || truth(c, "State", "RemovalInProgress"):
		return m, lang.Errorf(lang.Text{En: "it is being removed", Es: "se está borrando"})
	}
	for _, name := range []string{m.temporary(), m.parked()} {
		if other, err := r.named(ctx, name); err != nil || other != nil {
			return m, errors.Join(err, lang.Errorf(lang.Text{
				En: "a container is called %s: remove it, or roll back the change that left it",
				Es: "hay un contenedor llamado %s: bórrelo, o revierta el cambio que lo dejó",
			}, name))
		}
	}
	return m, errors.Join(r.image(ctx, &m), r.inherited(ctx, &m), r.lost(ctx, &m))
}

// named inspects the container that has this name. It is nil if none has: the
// engine would also take a name for the beginning of an ID.
func (r *Recreate) named(ctx context.Context, name string) (map[string]any, error) {
	return r.find(ctx, name, func(c map[string]any) bool { return nameOf(c) == name })
}

// withID inspects the container that has this ID. It is nil if none has.
func (r *Recreate) withID(ctx context.Context, id string) (map[string]any, error) {
	return r.find(ctx, id, func(c map[string]any) bool { return str(c, "Id") == id })
}

func (r *Recreate) find(ctx context.Context, key string, is func(map[string]any) bool) (map[string]any, error) {
	c, err := inspect(ctx, r.client, key)
	if notFound(err) || err == nil && !is(c) {
		return nil, nil
	}
	return c, err
}

// image decides what m is created from: a tag may have moved to a newer image.
func (r *Recreate) image(ctx context.Context, m *member) error {
	id, name := str(m.Inspect, "Image"), str(m.Inspect, "Config", "Image")
	m.Image = name
	image, err := r.readImage(ctx, name)
	if err != nil || str(image, "Id") != id {
		m.Image = id
		if image, err = r.readImage(ctx, id); err != nil {
			return lang.Errorf(lang.Text{En: "its image is gone: %w", Es: "su imagen ya no está: %w"}, err)
		}
	}
	m.NoEntrypoint = len(list(image, "Config", "Entrypoint")) > 0 && len(list(m.Inspect, "Config", "Entrypoint")) == 0
	return nil
}

func (r *Recreate) readImage(ctx context.Context, name string) (map[string]any, error) {
	var image map[string]any
	return image, r.client.Call(ctx, "GET", "/images/"+name+"/json", nil, &image)
}

// inherited notes which mounts come from other containers.
func (r *Recreate) inherited(ctx context.Context, m *member) error {
	for _, from := range texts(m.Inspect, "HostConfig", "VolumesFrom") {
		name, _, _ := strings.Cut(from, ":")
		c, err := inspect(ctx, r.client, name)
		if err != nil {
			return lang.Errorf(lang.Text{En: "it has volumes from %s: %w", Es: "tiene volúmenes de %s: %w"}, name, err)
		}
		for _, mount := range list(c, "Mounts") {
			mount, _ := mount.(map[string]any)
			dst := str(mount, "Destination")
			if str(m.mounted(dst), "Name") == str(mount, "Name") {
				m.Inherited = append(m.Inherited, dst)
			}
		}
	}
	return nil
}

// lost notes which changes of its own layer a new container will not have.
func (r *Recreate) lost(ctx context.Context, m *member) error {
	var all []change
	if err := r.client.Call(ctx, "GET", "/containers/"+m.ID+"/changes", nil, &all); err != nil {
		return err
	}
	own := ownChanges(m.Inspect, all)
	for i, c := range own {
		if i == maxLost {
			m.LostMore = len(own) - maxLost
			break
		}
		m.Lost = append(m.Lost, c.Path)
	}
	if len(own) > 0 {
		r.note("%s: the new container will not have %d changed paths of the old one's own layer: %q …", m.Ref, len(own), m.Lost[:min(5, len(m.Lost))])
	}
	return nil
}

func (r *Recreate) note(format string, args ...any) {
	if r.Notes != nil {
		r.Notes(fmt.Sprintf(format, args...))
	}
}

// Do replaces the containers. If that fails they are put back before it returns.
func (r *Recreate) Do(ctx context.Context, st plan.Step, undo json.RawMessage) error {
	t, err := r.transaction(undo)
	if err != nil {
		return err
	}
	t.live = true
	if err := t.forward(ctx, st); errors.Is(err, errStuck) {
		return err // nobody would listen; Undo comes once the engine does
	} else if err != nil {
		return errors.Join(err, t.back(context.WithoutCancel(ctx)))
	}
	return nil
}

// Undo puts the old containers back, whatever a run left behind.
func (r *Recreate) Undo(ctx context.Context, _ plan.Step, undo json.RawMessage) error {
	t, err := r.transaction(undo)
	if err != nil {
		return err
	}
	return t.back(ctx)
}

// Release removes the parked containers. Volumes stay: the new ones have them.
func (r *Recreate) Release(ctx context.Context, _ plan.Step, undo json.RawMessage) error {
	t, err := r.transaction(undo)
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(t.members) {
		c, err := r.withID(ctx, m.ID)
		if err != nil {
			return err
		}
		if c == nil || nameOf(c) != m.parked() || truth(c, "State", "Running") {
			continue
		}
		if err := r.remove(ctx, m.ID); err != nil {
			return err
		}
	}
	return nil
}
