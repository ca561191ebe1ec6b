package network

import "net/netip"

// A NamedFlow is a flow with what its ends are called now.
type NamedFlow struct {
	Flow
	Tier     string `json:"tier,omitempty"`
	PeerName string `json:"peer_name"` // name of a container, "host", or the address
	PeerTier string `json:"peer_tier,omitempty"`
}

// NameFlows gives the ends of flows the names that they have in w. An address
// of the host is the host's, whoever is behind it.
func NameFlows(flows []Flow, w World, j *Judge) []NamedFlow {
	byName, byAddr, tier := map[uint64]string{}, map[netip.Addr]string{}, map[string]string{}
	for _, h := range w.Host {
		byAddr[h] = TheHost
	}
	for _, n := range w.Namespaces {
		name := n.Name()
		byName[n.ID] = name
		if len(n.Members) > 0 {
			tier[name] = j.Place(n.Members[0].Workload).Tier
		}
		for _, a := range n.Addrs() {
			byAddr[a] = name
		}
	}
	out := make([]NamedFlow, len(flows))
	for i, f := range flows {
		nf := NamedFlow{Flow: f}
		if name, ok := byName[f.Namespace]; ok {
			nf.Workload = name
		}
		nf.Tier = tier[nf.Workload]
		name, ok := byAddr[f.Peer]
		switch {
		case ok:
			nf.PeerName = name
		case !f.Peer.IsValid():
			nf.PeerName = "*"
		default:
			nf.PeerName = f.Peer.String()
		}
		nf.PeerTier = tier[nf.PeerName]
		out[i] = nf
	}
	return out
}
