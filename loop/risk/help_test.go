package risk

import (
	"encoding/json"
	"testing"
	"time"

	"casco/loop/audit"
	"casco/loop/audit/checks"
	"casco/loop/inventory"
	"casco/policy"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const hour = time.Hour

// box is a running container as an engine describes it, on network "apps",
// without root and with default capabilities; set are pairs of path and value.
func box(name string, set ...any) *inventory.Object {
	o := &inventory.Object{Ref: ctr(name), Source: "GET /containers/" + name + "/json", Read: now, Fields: map[string]any{}}
	base := []any{
		"Id", "id-" + name + "-000000000000", "State.Running", true, "Config.User", "1000", "Config.Image", name + ":1", "Config.Labels",
		map[string]any{},
		"HostConfig.NetworkMode", "apps", "HostConfig.PortBindings",
		map[string]any{},
		"HostConfig.PublishAllPorts", false,
		"HostConfig.Privileged", false, "HostConfig.CapAdd", nil, "HostConfig.CapDrop", nil, "HostConfig.PidMode", "", "HostConfig.IpcMode", "private",
		"HostConfig.UTSMode", "", "HostConfig.UsernsMode", "", "HostConfig.Binds",
		[]any{},
		"HostConfig.SecurityOpt",
		[]any{"no-new-privileges"},
		"HostConfig.Devices",
		[]any{},
		"HostConfig.MaskedPaths",
		[]any{"/proc/kcore"},
		"HostConfig.ReadonlyPaths",
		[]any{"/proc/sys"},
		"NetworkSettings.Networks",
		map[string]any{"apps": map[string]any{}},
		"Mounts",
		[]any{},
	}
	put(o, base...)
	put(o, set...)
	return o
}

func put(o *inventory.Object, set ...any) {
	for i := 0; i < len(set); i += 2 {
		path := set[i].(string)
		if set[i+1] == nil { // Put would remove the key, and null is a list that is empty
			inventory.Put(o.Fields, path, []any{})
			continue
		}
		inventory.Put(o.Fields, path, set[i+1])
	}
}

func ctr(name string) inventory.Ref { return inventory.Ref{Kind: inventory.Container, Name: name} }

func on(names ...string) map[string]any {
	m := map[string]any{}
	for _, n := range names {
		m[n] = map[string]any{}
	}
	return m
}

func publish(inner, addr, port string) map[string]any {
	return map[string]any{inner: []any{map[string]any{"HostIp": addr, "HostPort": port}}}
}

func thing(k inventory.Kind, name string, set ...any) *inventory.Object {
	o := &inventory.Object{Ref: inventory.Ref{Kind: k, Name: name}, Source: "test", Read: now, Fields: map[string]any{}}
	put(o, set...)
	return o
}

func hostOf(objects ...*inventory.Object) *inventory.Snapshot {
	s := &inventory.Snapshot{Host: "h", Taken: now}
	for _, o := range objects {
		s.Add(o)
	}
	s.Sort()
	return s
}

func judged(s *inventory.Snapshot) []audit.Finding { return audit.Run(checks.All(), s) }

func surveyed(s *inventory.Snapshot, p *policy.Policy) *Terrain { return Survey(s, judged(s), p, nil) }

// tiered is a policy with three tiers, told by the names of containers.
func tiered() *policy.Policy {
	return &policy.Policy{
		Tiers: []policy.Tier{{ID: "public", Impact: 0.2}, {ID: "internal", Impact: 0.5}, {ID: "restricted", Impact: 1.0, Networks: []string{"vault"}}},
		Assign: []policy.Assign{
			{Match: policy.Match{Name: "web*|proxy"}, Tier: "public"},
			{Match: policy.Match{Name: "db*"}, Tier: "restricted"},
			{Default: "internal"},
		},
		People: []policy.Person{
			{ID: "op", Roles: []policy.Role{policy.Operator}},
			{ID: "ro", Roles: []policy.Role{policy.RiskOwner}},
			{ID: "ro2", Roles: []policy.Role{policy.RiskOwner, policy.Operator}},
			{ID: "au", Roles: []policy.Role{policy.Auditor, policy.RiskOwner}},
		},
		SLA: policy.SLA{Immediate: policy.Duration(3 * day), OutOfCycle: policy.Duration(14 * day), Scheduled: policy.Duration(30 * day), Defer: policy.Duration(180 * day)},
		Exceptions: policy.ExceptionRules{
			MaxDuration: policy.Duration(180 * day), MayNeverExcept: []string{"container-engine-socket"},
		},
	}
}

func finding(t testing.TB, fs []audit.Finding, check string, ref inventory.Ref) audit.Finding {
	t.Helper()
	for _, f := range fs {
		if f.Check.ID == check && f.Ref == ref {
			return f
		}
	}
	t.Fatalf("no finding of %s about %s", check, ref)
	return audit.Finding{}
}

func riskOf(t testing.TB, rs []Risk, ref inventory.Ref, threat Threat) Risk {
	t.Helper()
	for _, r := range rs {
		if r.Ref == ref && r.Threat == threat {
			return r
		}
	}
	t.Fatalf("no risk of %s to %s", threat, ref)
	return Risk{}
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
