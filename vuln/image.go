package vuln

import (
	"encoding/json"
	"fmt"

	"casco/loop/inventory"
)

// Of returns the packages of an image, by its field Packages. Where nobody
// could tell them the fact says why, and ok is false.
func Of(o *inventory.Object) (all []Package, fact inventory.Fact, ok bool) {
	list, fact, ok := inventory.ImagePackages.Of(o)
	if !ok {
		return nil, fact, false
	}
	layers := layersOf(o)
	for _, e := range list {
		m, _ := e.(map[string]any)
		text := func(key string) string { s, _ := m[key].(string); return s }
		p := Package{
			Ecosystem: text("Ecosystem"), Name: text("Name"), Version: text("Version"), Arch: text("Arch"),
			Source: text("Source"), SourceVersion: text("SourceVersion"), PURL: text("PURL"),
		}
		if n := number(m["Layer"]); n > 0 && n <= len(layers) {
			p.Layer = layers[n-1]
		}
		if path := text("Path"); path != "" {
			p.Paths = []string{path}
		}
		all = append(all, p)
	}
	return all, fact, true
}

// layersOf are the diff IDs of an image's layers, the lowest first.
func layersOf(o *inventory.Object) []string {
	layers, _, _ := inventory.Field[[]string]{Kind: inventory.Image, Path: "RootFS.Layers"}.Of(o)
	return layers
}

// LayerOf is the number of the layer of an image, from 1, that has that diff
// ID; 0 if none has.
func LayerOf(o *inventory.Object, diff string) int {
	for i, l := range layersOf(o) {
		if l == diff {
			return i + 1
		}
	}
	return 0
}

// number reads what a snapshot's file has as a json.Number.
func number(v any) int {
	switch v := v.(type) {
	case int64:
		return int(v)
	case json.Number:
		var n int
		if _, err := fmt.Sscan(v.String(), &n); err == nil {
			return n
		}
	}
	return 0
}
