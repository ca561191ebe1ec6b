package vuln

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

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

// Fields are packages as the field Packages of an image has them; layer gives the
// number of the layer with that diff ID, from 1, or 0.
func Fields(ps []Package, layer func(diff string) int) []any {
	out := make([]any, 0, len(ps))
	for _, p := range ps {
		entry := map[string]any{"Ecosystem": p.Ecosystem, "Name": p.Name, "Version": p.Version, "Layer": int64(layer(p.Layer))}
		for key, value := range map[string]string{"Arch": p.Arch, "Source": p.Source, "SourceVersion": p.SourceVersion, "PURL": p.PURL} {
			if value != "" {
				entry[key] = value
			}
		}
		if len(p.Paths) > 0 {
			entry["Path"] = p.Paths[0]
		}
		out = append(out, entry)
	}
	return out
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

// Weigh holds the packages of image o against db and makes what was found
// fields of o. Apply, which may be nil, puts on the matches what is stated of
// them. They are returned for who shows them one by one.
func Weigh(o *inventory.Object, db Advisories, k Known, apply func([]Match)) (Result, error) {
	packages, fact, ok := Of(o)
	if !ok {
		Unweighed(o, fact.Err)
		return Result{}, nil
	}
	r, err := Matches(packages, db)
	if err != nil {
		Unweighed(o, err.Error())
		return Result{}, err
	}
	if apply != nil {
		apply(r.Matches)
	}
	flaws := make([]any, 0, len(r.Matches))
	for _, m := range r.Matches {
		flaws = append(flaws, m.fields(o, k))
	}
	o.Fields[inventory.ImageFlaws.Path], o.Fields[inventory.ImageUnjudged.Path] = flaws, unjudged(r.Unjudged)
	for _, field := range []string{inventory.ImageFlaws.Path, inventory.ImageUnjudged.Path} {
		if o.Sources == nil {
			o.Sources = map[string]string{}
		}
		o.Sources[field] = "the database of advisories"
		delete(o.Unread, field)
	}
	if at := (Match{}).CVE(k).DataAt; !at.IsZero() {
		o.Fields[inventory.ImageThreats.Path] = at.UTC().Format(time.RFC3339)
	}
	if !k.Advisories.IsZero() {
		o.Fields[inventory.ImageAdvisories.Path] = k.Advisories.UTC().Format(time.RFC3339)
	}
	return r, nil
}

// Unweighed says of image o why its packages were not held against anything.
func Unweighed(o *inventory.Object, why string) {
	if o.Unread == nil {
		o.Unread = map[string]string{}
	}
	o.Unread[inventory.ImageFlaws.Path], o.Unread[inventory.ImageUnjudged.Path] = why, why
}

// fields are m as an entry of the field Vulnerabilities.
func (m Match) fields(o *inventory.Object, k Known) map[string]any {
	out := map[string]any{
		"ID": m.ID, "Package": m.Package.Name, "Ecosystem": m.Package.Ecosystem, "Version": m.Package.Version, "Layer": int64(LayerOf(o, m.Package.Layer)),
		"Severity": m.CVSS.Severity(), "Remote": m.CVE(k).Remote,
	}
	if !k.KEV.IsZero() {
		out["Exploited"] = m.KEV != nil
	}
	for key, value := range map[string]string{"Fixed": m.Fixed, "Summary": m.Summary, "Urgency": m.Urgency, "Source": m.Package.Source} {
		if value != "" {
			out[key] = value
		}
	}
	if len(m.Package.Paths) > 0 {
		out["Path"] = m.Package.Paths[0]
	}
	if m.CVSS.Vector != "" {
		out["Score"] = m.CVSS.Score
	}
	if m.EPSS != nil {
		out["EPSS"] = m.EPSS.Probability
	}
	if m.VEX.Silent() {
		out["Silent"] = strings.TrimSpace(m.VEX.Status + " " + m.VEX.Justification)
	}
	return out
}

// unjudged names each ecosystem, or package, with the reason once.
func unjudged(all []Unjudged) []any {
	n := map[string]int{}
	for _, u := range all {
		what := u.Package.Ecosystem
		if u.Reason != NoData {
			what += " " + u.Package.Name + " " + u.Package.Version
		}
		n[what+": "+u.Reason]++
	}
	out := make([]any, 0, len(n))
	for _, what := range slices.Sorted(maps.Keys(n)) {
		out = append(out, fmt.Sprintf("%s (%d)", what, n[what]))
	}
	return out
}
