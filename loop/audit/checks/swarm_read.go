package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// The checks about Swarm are put to the daemon, so that a host without a swarm
// gets an answer too: not applicable. What they read is the swarm's own object.

// A nodeRole says which nodes of a swarm a question is for.
type nodeRole uint8

const (
	everyNode nodeRole = iota
	managers           // the answer lies with the managers; a worker cannot be asked
)

// inSwarm puts eval to the swarm that a daemon is a node of, once it is sure
// that there is one and that this node can answer.
func inSwarm(who nodeRole, eval func(s *inventory.Snapshot, o, swarm *inventory.Object) audit.Answer) func(*inventory.Snapshot, *inventory.Object) audit.Answer {
	return func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		state, fact, ok := inventory.DaemonSwarmState.Of(o)
		switch {
		case !ok:
			return audit.Untold(fact)
		case state == "inactive" || state == "": // moby, api/types/swarm, LocalNodeState
			return audit.Beside(lang.Text{En: "swarm mode is off", Es: "el modo swarm está apagado"}, fact)
		case state == "locked":
			return audit.Untold(fact).Because(lang.Text{
				En: "the manager is locked: unlock it with docker swarm unlock",
				Es: "el gestor está bloqueado: desbloquéelo con docker swarm unlock",
			})
		case state != "active":
			return audit.Untold(fact).Because(lang.Text{En: "the node is %s", Es: "el nodo está en estado %s"}.F(state))
		}
		manager, control, _ := daemonControls.Of(o)
		if who == managers && control.Err == "" && !manager {
			return audit.Beside(lang.Text{En: "this node is a worker; its managers are judged", Es: "este nodo es trabajador; se juzga a sus gestores"}, control)
		}
		swarm := swarmOf(s, o)
		if swarm == nil {
			return audit.Untold(fact).Because(lang.Text{En: "the swarm of this node was not read", Es: "no se leyó el swarm de este nodo"})
		}
		return eval(s, o, swarm)
	}
}

// Whether this node is a manager: GET /info, Swarm.ControlAvailable.
var daemonControls = inventory.Field[bool]{Kind: inventory.Daemon, Path: "Info.Swarm.ControlAvailable"}

// swarmOf finds a daemon's swarm: by the cluster's ID, by the node's where
// only a worker was asked, or the only one there is.
func swarmOf(s *inventory.Snapshot, o *inventory.Object) *inventory.Object {
	for _, path := range []string{"Info.Swarm.Cluster.ID", "Info.Swarm.NodeID"} {
		id, _, _ := inventory.Field[string]{Kind: inventory.Daemon, Path: path}.Of(o)
		if swarm := s.Find(inventory.Ref{Kind: inventory.Swarm, Name: id}); swarm != nil {
			return swarm
		}
	}
	return inventory.Only(s, inventory.Swarm)
}
