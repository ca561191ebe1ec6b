package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"casco/loop/inventory"
)

// bindSources says of each container, running or not, what its mounts from the
// host really are, and which engine sockets can be seen through them. With
// several engines the sources are those that the first one sees.
func (c *Containers) bindSources(ctx context.Context, s *inventory.Snapshot, h *home) error {
	owner := h.self
	if len(h.engines) > 0 { // it resolves the sources, so what it sees counts
		owner = h.engines[0]
	}
	v, err := h.views.of(owner)
	if err != nil {
		for _, o := range s.Of(inventory.Container) {
			unread(o, "BindSources", err)
		}
		return nil
	}
	doors, err := c.root.portals(v, h, s.Of(inventory.Daemon))
	if err != nil {
		s.Gaps = append(s.Gaps, inventory.Gap{Source: c.Name(), Reason: "BindSources may miss engine sockets: " + err.Error()})
	}
	b := &binds{v, doors, map[string]answer{}}
	for _, o := range s.Of(inventory.Container) {
		if err := ctx.Err(); err != nil {
			return err
		}
		b.describe(s, o, owner.at+"/root")
	}
	return nil
}

// binds resolves mount sources, each once.
type binds struct {
	*view
	portals []portal
	known   map[string]answer
}

type answer struct {
	fields map[string]any
	err    error
}

// describe adds BindSources to o.
func (b *binds) describe(s *inventory.Snapshot, o *inventory.Object, from string) {
	mounts, fact, ok := inventory.Mounts.Of(o)
	if !ok {
		unread(o, "BindSources", fmt.Errorf("field Mounts: %s", fact.Err))
		return
	}
	out := map[string]any{}
	var errs error
	for _, m := range mounts {
		m, _ := m.(map[string]any)
		source, _ := m["Source"].(string)
		at := hostPath(s, m)
		if at == "" {
			continue
		}
		fields, err := b.source(at)
		if err != nil {
			errs = errors.Join(errs, err)
			unread(o, "BindSources."+source, err)
			continue
		}
		out[source] = fields
	}
	note(o, "BindSources", from, out)
	if errs != nil {
		unread(o, "BindSources", errs)
	}
}

// hostPath is what a mount of a container is made from: the source of a bind,
// and of a local volume the device that its options name, where that is a
// path ("docker volume create -o type=none -o o=bind -o device=/etc"). "" is
// for mounts that come from no path of the host.
func hostPath(s *inventory.Snapshot, m map[string]any) string {
	kind, _ := m["Type"].(string)
	source, _ := m["Source"].(string)
	driver, _ := m["Driver"].(string)
	if !path.IsAbs(source) || kind != "bind" && (kind != "volume" || driver != "local") {
		return ""
	}
	if name, _ := m["Name"].(string); kind == "volume" && name != "" {
		volume := s.Find(inventory.Ref{Kind: inventory.Volume, Name: name})
		if options, _, ok := inventory.VolumeOptions.Of(volume); ok {
			if device, _ := options["device"].(string); path.IsAbs(device) {
				return device
			}
		}
	}
	return source
}

// source resolves one path.
func (b *binds) source(at string) (map[string]any, error) {
	if a, ok := b.known[at]; ok {
		return a.fields, a.err
	}
	fields, err := b.look(at)
	b.known[at] = answer{fields, err}
	return fields, err
}

func (b *binds) look(at string) (map[string]any, error) {
	p, err := b.resolve(at)
	if errors.Is(err, os.ErrNotExist) {
		return map[string]any{"Resolved": path.Clean(at), "Exists": false, "Type": "", "Sockets": []string{}}, nil
	}
	if err != nil {
		return nil, err
	}
	sockets := []string{}
	for _, door := range b.portals {
		if p.shows(door.place) {
			sockets = append(sockets, door.path)
		}
	}
	slices.Sort(sockets)
	return map[string]any{
		"Resolved": strings.TrimSuffix(p.path, " (deleted)"),
		"Exists":   true,
		"Type":     p.kind,
		"Sockets":  slices.Compact(sockets),
	}, nil
}
