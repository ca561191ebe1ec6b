package daemon

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"casco/loop/inventory"
)

// swarmState is what an engine keeps of how it joined its swarm: the file
// swarm/docker-state.json below its data root (moby, daemon/cluster/utils.go).
type swarmState struct{ ListenAddr, DataPathAddr string }

// swarm completes the swarm object of an engine with what its API does not
// say: where the engine listens for the cluster, and for its overlay networks.
func (r *reader) swarm(s *inventory.Snapshot) {
	id, _, _ := inventory.Field[string]{Kind: inventory.Daemon, Path: "Info.Swarm.Cluster.ID"}.Of(r.o)
	if id == "" { // a worker knows its node only
		id, _, _ = inventory.Field[string]{Kind: inventory.Daemon, Path: "Info.Swarm.NodeID"}.Of(r.o)
	}
	o := s.Find(inventory.Ref{Kind: inventory.Swarm, Name: id})
	root, _, _ := inventory.DaemonRootDir.Of(r.o)
	if o == nil || root == "" {
		return
	}
	path := filepath.Join(r.p.path("root"), root, "swarm", "docker-state.json")
	state, err := readSwarmState(path)
	if err != nil {
		unread(o, "Listen", err)
		unread(o, "DataPathAddr", err)
		return
	}
	if o.Sources == nil {
		o.Sources = map[string]string{}
	}
	o.Fields["DataPathAddr"], o.Sources["DataPathAddr"] = state.DataPathAddr, path
	o.Fields["Listen"], o.Sources["Listen"] = r.swarmListens(state), path
}

// swarmListens is where the engine was told to listen and, of the sockets that
// it has, those on the ports of Swarm: 2377 for the managers, 7946 for gossip
// (docs.docker.com, "Open protocols and ports between the hosts").
func (r *reader) swarmListens(state swarmState) []any {
	out := []any{}
	if host, port, err := net.SplitHostPort(state.ListenAddr); err == nil {
		var n int64
		if _, err := fmt.Sscan(port, &n); err == nil {
			out = append(out, map[string]any{"Proto": "tcp", "Addr": host, "Port": n})
		}
	}
	listeners, _, _ := inventory.DaemonListeners.Of(r.o)
	for _, l := range listeners {
		m, _ := l.(map[string]any)
		if port, _ := m["Port"].(int64); m["Proto"] == "tcp" && (port == 2377 || port == 7946) {
			out = append(out, map[string]any{"Proto": "tcp", "Addr": m["Addr"], "Port": port})
		}
	}
	return out
}

func readSwarmState(path string) (state swarmState, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return state, err
	}
	if err := json.Unmarshal(b, &state); err != nil {
		return state, fmt.Errorf("%s: %w", path, err)
	}
	return state, nil
}
