package docker

import (
	"context"
	"errors"
	"slices"
	"strings"

	"casco/loop/inventory"
)

// A change is one entry of GET /containers/{id}/changes.
type change struct {
	Path       string
	Kind       int
	Executable bool `json:"-"` // a program; known only where the layer was looked at
}

// What a change did: moby, pkg/archive.ChangeType.
const (
	modified = iota
	added
	deleted
)

// changes adds what the container changed in its own layer. The engine is asked
// only where the layer cannot be looked at, and only of running containers:
// each question costs it a walk, and one whose images are in containerd a mount.
func (r *reading) changes(ctx context.Context, o *inventory.Object, id string) {
	var dirs layerDirs
	all, err := []change(nil), errNoLayer
	if r.client.Socket() != "" {
		if dirs, err = layerOf(o.Fields, r.mounted); err == nil {
			all, err = layerChanges(dirs)
		}
	}
	from := dirs.upper
	if errors.Is(err, errNoLayer) && truth(o.Fields, "State", "Running") {
		path := "/containers/" + id + "/changes"
		from, err = r.source(path), r.get(ctx, path, &all)
	}
	if err != nil {
		o.Unread = map[string]string{"Changes": err.Error()}
		return
	}
	own := []any{}
	for _, c := range ownChanges(o.Fields, all) {
		entry := map[string]any{"Path": c.Path, "Kind": int64(c.Kind)}
		if c.Executable {
			entry["Executable"] = true
		}
		own = append(own, entry)
	}
	o.Fields["Changes"] = own
	o.Sources = map[string]string{"Changes": from}
}

// ownChanges leaves out what the engine itself changed to start the container:
// it makes the mount points and the directories above them, and mounts its
// init at /sbin/docker-init.
func ownChanges(container map[string]any, all []change) []change {
	mounts := []string{"/sbin/docker-init"}
	for _, m := range list(container, "Mounts") {
		m, _ := m.(map[string]any)
		mounts = append(mounts, strings.TrimSuffix(str(m, "Destination"), "/"))
	}
	for dst := range object(container, "HostConfig", "Tmpfs") {
		mounts = append(mounts, strings.TrimSuffix(dst, "/"))
	}
	var own []change
	for _, c := range all {
		if !slices.ContainsFunc(mounts, func(m string) bool {
			return c.Path == m || strings.HasPrefix(c.Path, m+"/") || strings.HasPrefix(m, c.Path+"/")
		}) {
			own = append(own, c)
		}
	}
	return own
}

// choose leaves of the list of images the one that was asked for.
func (r *reading) choose(ctx context.Context) error {
	var image struct{ Id string }
	if err := r.get(ctx, "/images/"+r.opt.Image+"/json", &image); err != nil {
		return err
	}
	r.images = []any{map[string]any{"Id": image.Id}}
	return nil
}

// readImages inspects all images, with their histories.
func (r *reading) readImages(ctx context.Context) {
	objects := make([]*inventory.Object, len(r.images))
	parallel(len(r.images), func(i int) {
		listed, _ := r.images[i].(map[string]any)
		id := str(listed, "Id")
		o, err := r.image(ctx, id)
		if err != nil && !notFound(err) {
			r.gap(inventory.Ref{Kind: inventory.Image, Name: id}, "/images/"+id+"/json", err)
		}
		objects[i] = o
	})
	r.inspected = slices.DeleteFunc(objects, func(o *inventory.Object) bool { return o == nil })
}

func (r *reading) image(ctx context.Context, id string) (*inventory.Object, error) {
	var fields map[string]any
	if err := r.get(ctx, "/images/"+id+"/json", &fields); err != nil {
		return nil, err
	}
	name := id
	if tags := texts(fields, "RepoTags"); len(tags) > 0 {
		name = slices.Min(tags)
	}
	o := r.object(inventory.Image, name, "/images/"+name+"/json", fields)
	maskImage(fields)
	path := "/images/" + id + "/history"
	var history []any
	switch err := r.get(ctx, path, &history); {
	case notFound(err):
		return nil, err
	case err != nil:
		o.Unread = map[string]string{"History": err.Error()}
	default:
		maskHistory(history)
		fields["History"] = history
		o.Sources = map[string]string{"History": r.source(path)}
	}
	return o, nil
}

// addImages says of each image who uses it, now that the containers are known.
func (r *reading) addImages() {
	users := map[string][]string{}
	for _, c := range r.containers {
		id, _, _ := inventory.ContainerImage.Of(c)
		users[id] = append(users[id], c.Ref.Name)
	}
	for _, o := range r.inspected {
		if r.incomplete {
			o.Unread = with(o.Unread, "UsedBy", "not every container could be read")
		} else {
			id, _, _ := inventory.ImageID.Of(o)
			o.Fields["UsedBy"] = sorted(users[id])
			o.Sources = with(o.Sources, "UsedBy", "Image of all containers")
		}
		r.snap.Add(o)
	}
}

// with returns m with one more entry; m may be nil.
func with(m map[string]string, key, value string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	m[key] = value
	return m
}

func sorted(names []string) []any {
	slices.Sort(names)
	out := make([]any, len(names))
	for i, n := range names {
		out[i] = n
	}
	return out
}

// addNetworks adds the networks; the list has all of them but who is attached,
// which the containers say, stopped ones too.
func (r *reading) addNetworks() {
	attached := map[string][]string{}
	for _, c := range r.containers {
		if !r.parked(c) {
			for name := range object(c.Fields, "NetworkSettings", "Networks") {
				attached[name] = append(attached[name], c.Ref.Name)
			}
		}
	}
	for _, n := range r.networks {
		fields, _ := n.(map[string]any)
		inventory.MaskLabels(object(fields, "Labels"))
		name := str(fields, "Name")
		o := r.object(inventory.Network, name, "/networks", fields)
		if r.incomplete {
			o.Unread = with(nil, "Attached", "not every container could be read")
		} else {
			fields["Attached"] = sorted(attached[name])
			o.Sources = with(nil, "Attached", "NetworkSettings.Networks of all containers")
		}
		r.snap.Add(o)
	}
}

func (r *reading) addVolumes() {
	for _, v := range list(r.volumes, "Volumes") {
		fields, _ := v.(map[string]any)
		inventory.MaskLabels(object(fields, "Labels"))
		inventory.MaskLabels(object(fields, "Options"))
		r.snap.Add(r.object(inventory.Volume, str(fields, "Name"), "/volumes", fields))
	}
}

// addDaemon adds the engine itself, named by how it was reached.
func (r *reading) addDaemon() {
	name := r.client.Socket()
	if name == "" {
		name = r.client.Host()
	}
	maskInfo(r.info)
	o := r.object(inventory.Daemon, name, "/info", map[string]any{"Info": r.info, "Version": r.version})
	o.Sources = with(nil, "Version", r.source("/version"))
	if r.incomplete {
		o.Unread = with(nil, "Unused", "not every container could be read")
	} else {
		o.Fields["Unused"] = r.unused()
		o.Sources["Unused"] = "State of all containers, UsedBy of all images"
	}
	r.snap.Add(o)
}

// neverStopped is how the engine writes FinishedAt of a container that has not
// run yet.
const neverStopped = "0001-01-01T00:00:00Z"

// unused lists what could be removed: containers that do not run, since when,
// and images that no container needs.
func (r *reading) unused() map[string]any {
	containers, images := []any{}, []any{}
	for _, c := range r.containers {
		if truth(c.Fields, "State", "Running") || r.parked(c) {
			continue
		}
		since := str(c.Fields, "State", "FinishedAt")
		if since == "" || since == neverStopped {
			since = str(c.Fields, "Created")
		}
		containers = append(containers, map[string]any{"Name": c.Ref.Name, "Since": since})
	}
	for _, i := range r.inspected {
		if len(list(i.Fields, "UsedBy")) == 0 {
			images = append(images, map[string]any{
				"Name": i.Ref.Name, "Created": i.Fields["Created"], "Size": i.Fields["Size"],
			})
		}
	}
	byName(containers)
	byName(images)
	return map[string]any{"Containers": containers, "Images": images}
}

func byName(objects []any) {
	slices.SortFunc(objects, func(a, b any) int {
		return strings.Compare(str(a.(map[string]any), "Name"), str(b.(map[string]any), "Name"))
	})
}
