// Package declared puts what the policy says beside what was read, so that a
// check finds both in one snapshot, and its evidence shows the line.
//
// It adds one object, the policy itself, and to each container and network its
// tier. Nothing that was read is changed: a snapshot that goes into a file is
// what the host is, and a policy can be put beside it anywhere.
package declared

import (
	"maps"

	"casco/loop/inventory"
	"casco/policy"
)

// A Declared is a policy as facts. It may be used by several goroutines.
type Declared struct {
	policy *policy.Policy
	object inventory.Object
}

// By makes facts of p, once for all snapshots.
func By(p *policy.Policy) *Declared {
	fields, sources := p.Facts()
	return &Declared{p, inventory.Object{Ref: inventory.PolicyRef, Source: "policy " + p.Metadata.String(), Fields: fields, Sources: sources}}
}

// With returns s with what the policy says. s stays as it is; the two share
// objects.
func (d *Declared) With(s *inventory.Snapshot) *inventory.Snapshot {
	out := &inventory.Snapshot{Host: s.Host, Taken: s.Taken, Gaps: s.Gaps}
	policyObject := d.object
	policyObject.Read = s.Taken
	for _, o := range s.Objects {
		if o.Ref == inventory.PolicyRef {
			continue
		}
		if len(d.policy.Tiers) > 1 { // with one there is nothing to tell apart
			switch o.Ref.Kind {
			case inventory.Container:
				o = d.container(s, o)
			case inventory.Network:
				if t, path := d.policy.TierOfNetwork(o.Ref.Name); t != nil {
					o = beside(o, d.object.SourceOf(path), map[string]any{"Tier": t.ID})
				}
			}
		}
		out.Add(o)
	}
	out.Add(&policyObject)
	out.Sort()
	return out
}

func (d *Declared) container(s *inventory.Snapshot, o *inventory.Object) *inventory.Object {
	tier, path, byDefault := d.policy.TierOf(Workload(s, o))
	if tier == nil {
		return o
	}
	from := o.SourceOf(inventory.Labels.Path)
	if path != "" {
		from = d.object.SourceOf(path)
	}
	return beside(o, from, map[string]any{"Tier": tier.ID, "TierDefault": byDefault})
}

// Workload is what a policy assigns container o by.
func Workload(s *inventory.Snapshot, o *inventory.Object) policy.Workload {
	image, _, _ := inventory.ImageName.Of(o)
	networks, _, _ := inventory.NetworksOf(s, o)
	labels, _, _ := inventory.Labels.Of(o)
	w := policy.Workload{Name: o.Ref.Name, Image: image, Networks: networks, Labels: texts(labels)}
	for _, n := range networks {
		labels, _, _ := inventory.NetworkLabels.Of(s.Find(inventory.Ref{Kind: inventory.Network, Name: n}))
		w.NetworkLabels = append(w.NetworkLabels, texts(labels))
	}
	return w
}

func texts(labels map[string]any) map[string]string {
	out := make(map[string]string, len(labels))
	for k, v := range labels {
		if text, ok := v.(string); ok {
			out[k] = text
		}
	}
	return out
}

// beside is a copy of o with more top-level fields, all from one source.
func beside(o *inventory.Object, source string, more map[string]any) *inventory.Object {
	c := *o
	c.Fields = maps.Clone(o.Fields)
	c.Sources = maps.Clone(o.Sources)
	if c.Sources == nil {
		c.Sources = map[string]string{}
	}
	for k, v := range more {
		c.Fields[k], c.Sources[k] = v, source
	}
	return &c
}
