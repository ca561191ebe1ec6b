package docker

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"casco/loop/apply"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// differs lists where container c is not what m would be with the sets made.
// Fields below those in but are not compared.
func (m member) differs(minor int, sets []plan.Set, c map[string]any, but ...string) []apply.Conflict {
	but = append(but, engineWords...)
	want := m.spec(minor, sets, swap{}).body
	var out []apply.Conflict
	compare := func(prefix string, want, now map[string]any) {
		for key, w := range want {
			name := prefix + "." + key
			if inventory.Equal(w, now[key]) || sameWord(w, now[key]) || sameOpts(name, w, now) || slices.ContainsFunc(but, func(b string) bool { return b == name || strings.HasPrefix(b, name+".") }) {
				continue
			}
			out = append(out, apply.Conflict{
				What:   m.Ref.String() + " " + name,
				Before: at(m.Inspect, strings.SplitN(name, ".", 2)), Ours: w, Now: now[key],
			})
		}
	}
	compare("HostConfig", object(want, "HostConfig"), object(c, "HostConfig"))
	compare("Config", want, object(c, "Config"))
	slices.SortFunc(out, func(a, b apply.Conflict) int { return strings.Compare(a.What, b.What) })
	return out
}

// engineWords are fields that name other containers in the engine's own way,
// and parts of a request that are not fields.
var engineWords = []string{"Config.HostConfig", "Config.NetworkingConfig", "HostConfig.Links", "HostConfig.VolumesFrom"}

// sameWord reports whether what was asked for and what came of it are the same
// but for the words: another container's ID, or an entrypoint of nothing.
func sameWord(asked, now any) bool {
	if inventory.Equal(asked, []string{""}) {
		return inventory.Equal(now, nil)
	}
	a, _ := asked.(string)
	n, _ := now.(string)
	return strings.HasPrefix(a, "container:") && strings.HasPrefix(n, "container:")
}

// sameOpts reports whether two lists of security options, of containers that
// share another's processes or IPC, differ in their labels alone: the engine
// gives them that of the other one.
func sameOpts(name string, asked any, now map[string]any) bool {
	if name != inventory.SecurityOpt.Path || !strings.HasPrefix(str(now, "IpcMode"), "container:") && !strings.HasPrefix(str(now, "PidMode"), "container:") {
		return false
	}
	rest := func(host map[string]any) []string {
		return slices.DeleteFunc(texts(host, "SecurityOpt"), func(o string) bool { return strings.HasPrefix(o, "label") })
	}
	return slices.Equal(rest(map[string]any{"SecurityOpt": asked}), rest(now))
}

// wanted are the fields that a step changes, or that follow from one; the plan
// knows them. So are limits that Update sets, as a step of its own.
func wanted(sets []plan.Set) []string {
	out := []string{"HostConfig.MaskedPaths", "HostConfig.ReadonlyPaths"}
	for _, s := range sets {
		if out = append(out, s.Field); s.Field == inventory.Privileged.Path {
			out = append(out, inventory.SecurityOpt.Path)
		}
	}
	for _, field := range updatable {
		out = append(out, "HostConfig."+field)
	}
	return out
}

// Foreign tells whether the containers that took over are still ours: going
// back removes them.
func (r *Recreate) Foreign(ctx context.Context, st plan.Step, undo json.RawMessage) ([]apply.Conflict, error) {
	t, err := r.transaction(undo)
	if err != nil {
		return nil, err
	}
	var out []apply.Conflict
	for i, m := range t.members {
		c, err := r.named(ctx, m.Ref.Name)
		if err != nil {
			return nil, err
		}
		if c == nil || str(c, "Id") == m.ID {
			continue
		}
		var sets []plan.Set
		if i == 0 {
			sets = st.Sets
		}
		was := str(m.Inspect, "Image")
		ours := was
		if m.Next != nil {
			ours = m.Next.ID
		}
		if image := str(c, "Image"); image != ours {
			out = append(out, apply.Conflict{What: m.Ref.String() + " Image", Before: was, Ours: ours, Now: image})
		}
		out = append(out, m.differs(r.client.minor, sets, c, wanted(sets)...)...)
	}
	return out, nil
}
