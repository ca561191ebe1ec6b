package checks

import (
	"testing"

	"casco/loop/inventory"
)

// TestEngineOf: of two engines on a host, containers are those of the one that
// listed them, whatever the name of the other.
func TestEngineOf(t *testing.T) {
	daemon := func(name string, asked bool) *inventory.Object {
		o := &inventory.Object{Ref: inventory.Ref{Kind: inventory.Daemon, Name: name}, Fields: map[string]any{}}
		if asked {
			o.Fields["Info"] = map[string]any{"Driver": "overlay2"}
		}
		return o
	}
	for _, c := range []struct {
		what    string
		engines []*inventory.Object
		want    string
	}{
		{"one, asked", []*inventory.Object{daemon("a", true)}, "a"},
		{"one, not asked", []*inventory.Object{daemon("a", false)}, "a"},
		{"the second was asked", []*inventory.Object{daemon("a", false), daemon("b", true)}, "b"},
		{"the first was asked", []*inventory.Object{daemon("a", true), daemon("b", false)}, "a"},
		{"nobody was asked", []*inventory.Object{daemon("a", false), daemon("b", false)}, ""},
		{"none", nil, ""},
	} {
		s := &inventory.Snapshot{}
		for _, o := range c.engines {
			s.Add(o)
		}
		got := ""
		if o := inventory.EngineOf(s); o != nil {
			got = o.Ref.Name
		}
		if got != c.want {
			t.Errorf("%s: engine %q, want %q", c.what, got, c.want)
		}
	}
}
