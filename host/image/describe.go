package image

import (
	"maps"
	"slices"
	"strings"

	"casco/loop/inventory"
	"casco/vuln"
)

// described are the fields of an image that Describe makes.
var described = []string{
	inventory.ImageSetuid.Path, inventory.ImageAccess.Path, inventory.ImagePackages.Path, inventory.ImageUnseen.Path, inventory.ImageRelease.Path,
	inventory.ImageUserID.Path, inventory.ImageSSH.Path, inventory.ImageCaches.Path, inventory.ImageSheets.Path,
}

// Describe makes what was found fields of image o.
func Describe(o *inventory.Object, found Content) {
	if o.Sources == nil {
		o.Sources = map[string]string{}
	}
	source := "its layers, read " + found.Read.UTC().Format("2006-01-02 15:04Z")
	for field, value := range map[string]any{
		inventory.ImageSetuid.Path:   list(found.Setuid),
		inventory.ImageAccess.Path:   found.access(),
		inventory.ImagePackages.Path: found.packages(),
		inventory.ImageUnseen.Path:   list(found.Unseen),
		inventory.ImageRelease.Path:  map[string]any{"ID": found.Release.ID, "Version": found.Release.Version, "Name": found.Release.Name},
		inventory.ImageSSH.Path:      list(found.SSH),
		inventory.ImageCaches.Path:   found.caches(),
		inventory.ImageSheets.Path:   found.sheets(),
	} {
		o.Fields[field], o.Sources[field] = value, source
		delete(o.Unread, field)
	}
	delete(o.Unread, inventory.ImageUserID.Path)
	user, _, _ := inventory.ImageUser.Of(o)
	name, _, _ := strings.Cut(user, ":")
	if id, ok := found.Users[name]; ok {
		o.Fields[inventory.ImageUserID.Path], o.Sources[inventory.ImageUserID.Path] = id, source
	}
}

func list(ss []string) []any {
	out := make([]any, 0, len(ss))
	for _, s := range ss {
		out = append(out, s)
	}
	return out
}

func (c Content) access() []any {
	out := make([]any, 0, len(c.Access))
	for _, a := range c.Access {
		entry := map[string]any{"Path": a.Path, "What": a.What, "Layer": int64(a.Layer)}
		if a.Deleted {
			entry["Deleted"] = true
		}
		if a.Sample {
			entry["Sample"] = true
		}
		out = append(out, entry)
	}
	return out
}

func (c Content) packages() []any {
	number := map[string]int{}
	for i, l := range c.Layers {
		if _, twice := number[l.Digest]; !twice {
			number[l.Digest] = i + 1
		}
	}
	return vuln.Fields(c.Packages, func(diff string) int { return number[diff] })
}

func (c Content) caches() []any {
	out := make([]any, 0, len(c.Caches))
	for _, dir := range slices.Sorted(maps.Keys(c.Caches)) {
		out = append(out, map[string]any{"Path": dir, "Bytes": c.Caches[dir]})
	}
	return out
}

func (c Content) sheets() []any {
	out := make([]any, 0, len(c.Layers))
	for _, l := range c.Layers {
		out = append(out, map[string]any{
			"Digest": l.Digest, "Files": int64(l.Files), "Bytes": l.Bytes, "Wasted": l.Wasted, "Packages": int64(l.Packages),
		})
	}
	return out
}
