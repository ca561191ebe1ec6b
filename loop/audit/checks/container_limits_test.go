package checks

import (
	"testing"

	"casco/loop/inventory"
)

// TestSwapLimit: a limit of swap is wanted where the kernel has one, and where
// that is not known.
func TestSwapLimit(t *testing.T) {
	for name, c := range map[string]struct {
		info  map[string]any
		wants int
	}{
		"kernel with it":    {map[string]any{"SwapLimit": true}, 2},
		"kernel without it": {map[string]any{"SwapLimit": false}, 1},
		"not said":          {map[string]any{}, 2},
	} {
		o := &inventory.Object{Ref: inventory.Ref{Kind: inventory.Container, Name: "x"}, Fields: map[string]any{"HostConfig": map[string]any{"Memory": int64(0)}}}
		s := &inventory.Snapshot{}
		s.Add(o)
		s.Add(&inventory.Object{Ref: inventory.Ref{Kind: inventory.Daemon, Name: "/run/docker.sock"}, Fields: map[string]any{"Info": c.info}})
		a := containerMemory.Eval(s, o)
		if len(a.Wants) != c.wants || a.Wants[0].Field != inventory.Memory.Path {
			t.Errorf("%s: wants %v, want %d of them", name, a.Wants, c.wants)
		}
	}
}
