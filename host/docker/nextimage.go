package docker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"casco/loop/inventory"
	"casco/loop/plan"
)

// A nextImage is the image that a container is to get instead of its own.
type nextImage struct {
	ID     string
	Was    map[string]any // Config of the container's image
	Config map[string]any // Config of the next one
}

// next reads the image that sets name, for m; it is nil if they name none.
func (r *Recreate) next(ctx context.Context, m member, sets []plan.Set) (*nextImage, error) {
	i := slices.IndexFunc(sets, func(s plan.Set) bool { return s.Field == inventory.ImageName.Path })
	if i < 0 {
		return nil, nil
	}
	name, ok := sets[i].To.(string)
	if !ok || name == "" {
		return nil, fmt.Errorf("%s: %v is no name of an image", inventory.ImageName.Path, sets[i].To)
	}
	image, err := r.readImage(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w (casco does not pull it)", name, err)
	}
	was, err := r.readImage(ctx, str(m.Inspect, "Image"))
	if err != nil {
		return nil, fmt.Errorf("what it has from its own image cannot be told: %w", err)
	}
	return &nextImage{str(image, "Id"), object(was, "Config"), object(image, "Config")}, nil
}

// fromImage are the parts of a container's configuration of which it has one or
// the other: its creator's or its image's (moby, daemon/commit.go, merge).
var fromImage = []string{"User", "WorkingDir", "StopSignal", "Healthcheck", "Shell", "OnBuild"}

// rebase gives config what a container of the same wishes would have from the
// next image. What config has in common with its own image is taken for that
// image's, for the engine does not keep who wished what.
func (n *nextImage) rebase(config map[string]any) {
	take := func(key string) {
		delete(config, key)
		if v := n.Config[key]; v != nil {
			config[key] = v
		}
	}
	for _, key := range fromImage {
		if empty(config[key]) || inventory.Equal(config[key], n.Was[key]) {
			take(key)
		}
	}
	// A command belongs to its entrypoint.
	if ownEntry := !inventory.Equal(config["Entrypoint"], n.Was["Entrypoint"]); !ownEntry {
		if inventory.Equal(config["Cmd"], n.Was["Cmd"]) {
			take("Cmd")
		}
		take("Entrypoint")
	}
	for _, key := range []string{"Labels", "ExposedPorts", "Volumes"} {
		merged := map[string]any{}
		maps.Copy(merged, object(n.Config, key))
		was := object(n.Was, key)
		for k, v := range object(config, key) {
			if old, had := was[k]; !had || !inventory.Equal(old, v) {
				merged[k] = v
			}
		}
		config[key] = merged
	}
	config["Env"] = n.env(texts(config, "Env"))
}

// env is what was wished for, and of the next image's variables the others.
func (n *nextImage) env(have []string) []any {
	was := texts(n.Was, "Env")
	var out []any
	named := map[string]bool{}
	for _, kv := range have {
		if !slices.Contains(was, kv) {
			name, _, _ := strings.Cut(kv, "=")
			named[name] = true
			out = append(out, kv)
		}
	}
	for _, kv := range texts(n.Config, "Env") {
		if name, _, _ := strings.Cut(kv, "="); !named[name] {
			out = append(out, kv)
		}
	}
	return out
}

// empty reports whether a part of a configuration says nothing.
func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	}
	return false
}
