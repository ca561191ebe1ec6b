package daemon

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSwarmState reads a file recorded from an engine 20.10.24.
func TestSwarmState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "docker-state.json")
	const recorded = `{"LocalAddr":"127.0.0.1","RemoteAddr":"","ListenAddr":"0.0.0.0:2377","AdvertiseAddr":"127.0.0.1","DataPathAddr":"10.0.0.7","DefaultAddressPool":null,"SubnetSize":0,"DataPathPort":0,"JoinInProgress":false}`
	if err := os.WriteFile(path, []byte(recorded), 0o600); err != nil {
		t.Fatal(err)
	}
	state, err := readSwarmState(path)
	if err != nil || state.DataPathAddr != "10.0.0.7" {
		t.Fatalf("%+v %v", state, err)
	}
	r := &reader{o: newObject("/d.sock")}
	r.o.Fields["Listeners"] = []any{
		map[string]any{"Proto": "tcp", "Addr": "::", "Port": int64(7946)},
		map[string]any{"Proto": "tcp", "Addr": "::", "Port": int64(2375)},
		map[string]any{"Proto": "unix", "Addr": "/d.sock"},
	}
	want := []any{
		map[string]any{"Proto": "tcp", "Addr": "0.0.0.0", "Port": int64(2377)},
		map[string]any{"Proto": "tcp", "Addr": "::", "Port": int64(7946)},
	}
	if d := cmp.Diff(want, r.swarmListens(state)); d != "" {
		t.Error(d)
	}
	if err := os.WriteFile(path, []byte(recorded[:40]), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readSwarmState(path); err == nil {
		t.Error("half a file is a state")
	}
}
