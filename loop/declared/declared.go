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
	// several tiers: with one there is nothing to tell apart; rules of how
	// containers run. Without either nothing is said of a container.
	several, rules bool
}

// By makes facts of p, once for all snapshots.
func By(p *policy.Policy) *Declared {
	fields, sources := p.Facts()
	_, rules := fields["runtime"]
	return &Declared{
		p,
		inventory.Object{Ref: inventory.PolicyRef, Source: "policy " + p.Metadata.String(), Fields: fields, Sources: sources},
		len(p.Tiers) > 1, rules,
	}
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
		switch o.Ref.Kind {
		case inventory.Container:
			o = d.container(s, o)
		case inventory.Network:
			if t, path := d.policy.TierOfNetwork(o.Ref.Name); t != nil && d.several {
				o = beside(o, map[string]any{"Tier": t.ID}, map[string]string{"Tier": d.object.SourceOf(path)})
			}
		}
		out.Add(o)
	}
	out.Add(&policyObject)
	out.Sort()
	return out
}

// container adds its tier, and how a container of that tier is wanted to run.
func (d *Declared) container(s *inventory.Snapshot, o *inventory.Object) *inventory.Object {
	if !d.several && !d.rules {
		return o
	}
	tier, path, byDefault := d.policy.TierOf(Workload(s, o))
	if tier == nil {
		return o
	}
	more, from := map[string]any{}, map[string]string{}
	if d.several {
		from["Tier"] = o.SourceOf(inventory.Labels.Path)
		if path != "" {
			from["Tier"] = d.object.SourceOf(path)
		}
		more["Tier"], more["TierDefault"], from["TierDefault"] = tier.ID, byDefault, from["Tier"]
	}
	if rules, paths := d.policy.RuntimeOf(tier.ID); len(paths) > 0 {
		more["Wanted"] = wanted(rules, paths)
		for key, path := range paths {
			from["Wanted."+key] = d.object.SourceOf(path)
		}
	}
	if len(more) == 0 {
		return o
	}
	return beside(o, more, from)
}

// wanted is what rules say under the keys in paths, as an object's fields are.
func wanted(r policy.RuntimeRules, paths map[string]string) map[string]any {
	all := map[string]any{
		"cap_drop": anyList(r.CapDrop), "cap_add": anyList(r.CapAdd), "pids": r.Pids, "memory": int64(r.Memory), "cpus": int64(r.CPUs * 1000),
		"user": r.User, "seccomp": r.Seccomp, "mac": r.MAC,
	}
	for key, v := range map[string]*bool{"no_new_privileges": r.NoNewPrivileges, "read_only": r.ReadOnly} {
		if v != nil {
			all[key] = *v
		}
	}
	out := map[string]any{}
	for key := range paths {
		out[key] = all[key]
	}
	return out
}

func anyList(ss []string) []any {
	out := []any{}
	for _, s := range ss {
		out = append(out, s)
	}
	return out
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

// beside is a copy of o with more top-level fields, and where they are from.
func beside(o *inventory.Object, more map[string]any, from map[string]string) *inventory.Object {
	c := *o
	c.Fields = maps.Clone(o.Fields)
	c.Sources = maps.Clone(o.Sources)
	if c.Sources == nil {
		c.Sources = map[string]string{}
	}
	maps.Copy(c.Fields, more)
	maps.Copy(c.Sources, from)
	return &c
}
