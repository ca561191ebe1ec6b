package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRuntimeOf: a tier stands over the default, key by key.
func TestRuntimeOf(t *testing.T) {
	p := full(t)
	d := p.Runtime.Default
	rules, paths := p.RuntimeOf("restricted")
	d.Memory = 1 << 30
	if diff := cmp.Diff(d, rules); diff != "" || paths["memory"] != "runtime.tiers.restricted.memory" || paths["pids"] != "runtime.default.pids" {
		t.Error(diff, paths)
	}
	if rules, _ := p.RuntimeOf("public"); rules.Memory != 512<<20 {
		t.Error(rules)
	}
	if _, paths := Builtin().RuntimeOf("default"); len(paths) > 0 {
		t.Error(paths)
	}
}

func TestMatch(t *testing.T) {
	w := Workload{Name: "shop-web-1", Image: "registry.example/web:2", Networks: []string{"dmz", "lan"}, Labels: map[string]string{
		composeProject: "shop", composeService: "web", "tier": "public", "none": "",
	}}
	for _, tc := range []struct {
		m    Match
		want bool
	}{
		{Match{}, false},
		{Match{Name: "shop-web-1"}, true},
		{Match{Name: "shop-*"}, true},
		{Match{Name: "shop"}, false},
		{Match{Name: "a|shop-*|b"}, true},
		{Match{Name: "*"}, true},
		{Match{Image: "registry.example/*"}, true},
		{Match{Image: "registry.example.evil/*"}, false},
		{Match{Network: "lan"}, true},
		{Match{Network: "data"}, false},
		{Match{ComposeService: "web|proxy", ComposeProject: "shop"}, true},
		{Match{ComposeService: "web", ComposeProject: "blog"}, false},
		{Match{Label: map[string]string{"tier": "public"}}, true},
		{Match{Label: map[string]string{"tier": "public", "app": "*"}}, false},
		{Match{Label: map[string]string{"none": "*"}}, false}, // an empty value is nothing
		{Match{Name: "shop-*", Network: "data"}, false},
	} {
		if got := tc.m.Of(w); got != tc.want {
			t.Errorf("%+v: %v", tc.m, got)
		}
	}
}

func TestTierOf(t *testing.T) {
	p := full(t)
	for _, tc := range []struct {
		w         Workload
		tier, at  string
		byDefault bool
	}{
		{Workload{Name: "x", Labels: map[string]string{composeProject: "shop", composeService: "proxy"}}, "public", "assign.0", false},
		{Workload{Name: "db1", Image: "registry.org.example/db:1", Networks: []string{"data"}, Labels: map[string]string{"tier": "restricted", "app": "db7"}}, "restricted", "assign.1", false},
		{Workload{Name: "db1"}, "internal", "assign.2", true},
		{Workload{Name: "x", Networks: []string{"dmz", "data", "other"}}, "restricted", "tiers.2.networks.0", false},
		{Workload{Name: "x", Networks: []string{"dmz"}, Labels: map[string]string{TierLabel: "restricted"}}, "public", "tiers.0.networks.0", false},
		{Workload{Name: "x", Labels: map[string]string{TierLabel: "restricted"}}, "restricted", "", false},
		{Workload{Name: "x", NetworkLabels: []map[string]string{{TierLabel: "restricted"}}}, "restricted", "", false},
		{Workload{Name: "x", Labels: map[string]string{TierLabel: "public"}}, "internal", "assign.2", true}, // a label does not lower
		{Workload{Name: "x", Labels: map[string]string{TierLabel: "nosuch"}}, "internal", "assign.2", true},
	} {
		tier, path, byDefault := p.TierOf(tc.w)
		if tier == nil || tier.ID != tc.tier || path != tc.at || byDefault != tc.byDefault {
			t.Errorf("%+v: %v %s %v", tc.w, tier, path, byDefault)
		}
	}
	if tier, path := p.TierOfNetwork("data"); tier == nil || tier.ID != "restricted" || path != "tiers.2.networks.0" {
		t.Error(tier, path)
	}
	if tier, _ := p.TierOfNetwork("bridge"); tier != nil {
		t.Error(tier)
	}
	if tier, _, byDefault := Builtin().TierOf(Workload{}); tier == nil || tier.Impact != 1 || !byDefault {
		t.Error(tier)
	}
}
