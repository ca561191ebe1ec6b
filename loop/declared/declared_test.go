package declared

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"casco/loop/inventory"
	"casco/policy"
)

func object(ref string, fields map[string]any) *inventory.Object {
	r, err := inventory.ParseRef(ref)
	if err != nil {
		panic(err)
	}
	return &inventory.Object{Ref: r, Source: "test", Fields: fields}
}

func parse(t *testing.T, text string) *policy.Policy {
	t.Helper()
	p, ps := policy.ParseFile("policy.yaml", []byte("apiVersion: casco/v1\nkind: Policy\nmetadata: {name: x, version: 2}\n"+text))
	if p == nil {
		t.Fatal(ps)
	}
	return p
}

func TestWith(t *testing.T) {
	s := &inventory.Snapshot{Host: "h", Taken: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	s.Add(object("container/db", map[string]any{"Config": map[string]any{"Labels": map[string]any{"app": "db"}}}))
	s.Add(object("container/web", map[string]any{}))
	s.Add(object("network/data", map[string]any{}))
	s.Add(object("network/lan", map[string]any{}))
	before := &inventory.Snapshot{Host: s.Host, Taken: s.Taken}
	for _, o := range s.Objects {
		before.Add(o.Clone())
	}
	p := parse(t, `
tiers:
  - {id: low, impact: 0.1}
  - {id: high, impact: 1, networks: [data]}
assign:
  - {match: {label: {app: db}}, tier: high}
  - default: low
host:
  packages:
    forbid:
      - gcc
      - telnetd
`)
	out := By(p).With(s)
	for _, tc := range []struct {
		ref, field string
		value      any
		source     string
	}{
		{"container/db", "Tier", "high", "policy.yaml:9"},
		{"container/db", "TierDefault", false, "policy.yaml:9"},
		{"container/web", "Tier", "low", "policy.yaml:10"},
		{"container/web", "TierDefault", true, "policy.yaml:10"},
		{"network/data", "Tier", "high", "policy.yaml:7"},
		{"network/lan", "Tier", nil, "test"},
		{"policy/policy", "host.packages.forbid", []any{"gcc", "telnetd"}, "policy.yaml:13"},
		{"policy/policy", "sla.immediate", "3d", "policy x, version 2"}, // not in the file: built in
	} {
		ref, err := inventory.ParseRef(tc.ref)
		if err != nil {
			t.Fatal(err)
		}
		v, fact, _ := inventory.Lookup(out.Find(ref), tc.field)
		if !cmp.Equal(v, tc.value) || fact.Source != tc.source {
			t.Errorf("%s %s = %v from %q, want %v from %q", tc.ref, tc.field, v, fact.Source, tc.value, tc.source)
		}
	}
	if src := out.Find(inventory.PolicyRef).SourceOf("host.packages.forbid.1"); src != "policy.yaml:15" {
		t.Errorf("the second entry is said to be at %s", src)
	}
	if diff := cmp.Diff(before.Objects, s.Objects, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("what was read was changed: %s", diff)
	}
	if again := By(p).With(out); !cmp.Equal(out.Objects, again.Objects) {
		t.Error("twice is not once")
	}
}

// TestOneTier: where there is nothing to tell apart, nothing is told.
func TestOneTier(t *testing.T) {
	s := &inventory.Snapshot{}
	s.Add(object("container/web", map[string]any{}))
	out := By(policy.Builtin()).With(s)
	if _, has := out.Find(inventory.Ref{Kind: inventory.Container, Name: "web"}).Fields["Tier"]; has {
		t.Error("a tier without tiers")
	}
	if len(out.Objects) != 2 {
		t.Error(out.Objects)
	}
}
