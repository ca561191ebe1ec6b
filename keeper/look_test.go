package keeper

import (
	"os"
	"path/filepath"
	"testing"
)

// TestUnreadState: a container whose state cannot be read has not ended.
func TestUnreadState(t *testing.T) {
	c := newCrowd(t, 2)
	k := c.keeper(t, true)
	k.cfg.Happened = nil
	defer k.Close()
	if err := k.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(c.dir, "moby", c.starts[0].ID, "state.json")
	was, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(state, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := k.Look(t.Context()); err == nil {
		t.Error("a state that cannot be read was nothing to tell of")
	}
	if n := len(k.state.Namespaces()); n != 2 {
		t.Errorf("%d namespaces are kept, want 2", n)
	}
	if err := os.WriteFile(state, was, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(c.dir, "moby", c.starts[1].ID)); err != nil {
		t.Fatal(err)
	}
	if err := k.Look(t.Context()); err != nil {
		t.Error(err)
	}
	if n := len(k.state.Namespaces()); n != 1 {
		t.Errorf("%d namespaces are kept after one ended, want 1", n)
	}
}
