package network

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"casco/loop/inventory"
)

// snapshotOf makes a snapshot of objects that are written as JSON behind their
// names.
func snapshotOf(t testing.TB, objects map[string]string) *inventory.Snapshot {
	t.Helper()
	s := &inventory.Snapshot{Host: "h"}
	for name, text := range objects {
		ref, err := inventory.ParseRef(name)
		if err != nil {
			t.Fatal(err)
		}
		o := &inventory.Object{Ref: ref, Source: "test"}
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&o.Fields); err != nil {
			t.Fatal(name, err)
		}
		s.Add(o)
	}
	s.Sort()
	return s
}

// written is w as a test can want it.
func written(w World) string {
	var b strings.Builder
	fmt.Fprintln(&b, "engine", w.Engine)
	fmt.Fprintln(&b, "host", w.Host)
	for _, s := range w.Segments {
		fmt.Fprintln(&b, "net", s.Name, s.Driver, s.Bridge, s.Subnets, s.Gateways, s.Internal, s.Options)
	}
	for _, n := range w.Namespaces {
		fmt.Fprintln(&b, "ns")
		for _, e := range n.Endpoints {
			fmt.Fprintf(&b, "  on %s %x %v %v\n", e.Network, e.MAC, e.Addrs, e.Gateways)
		}
		for _, m := range n.Members {
			fmt.Fprintln(&b, " ", m.Workload.Name, m.ID, m.Workload.Networks, m.OnHost, m.Published)
		}
	}
	return b.String()
}

func TestFromSnapshot(t *testing.T) {
	s := snapshotOf(t, map[string]string{
		"daemon//run/docker.sock":  `{"Info": {}, "Version": {"Version": "29.7.2"}}`,
		"daemon//run/podman.sock":  `{"Other": ""}`,
		"network/bridge":           `{"Driver": "bridge", "Internal": false, "Id": "0123456789abcdef", "IPAM": {"Config": [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]}}`,
		"network/front":            `{"Driver": "bridge", "Internal": false, "Id": "0123456789abcdef", "IPAM": {"Config": [{"Subnet": "172.20.0.0/16", "Gateway": "172.20.0.1"}, {"Subnet": "fd00:20::/64", "Gateway": "fd00:20::1/64"}]}, "Options": {"com.docker.network.bridge.enable_icc": "false"}}`,
		"network/back":             `{"Driver": "bridge", "Internal": true, "Id": "fedcba9876543210", "IPAM": {"Config": [{"Subnet": "172.21.0.0/16"}]}, "Options": {"com.docker.network.bridge.name": "back0"}}`,
		"network/lan":              `{"Driver": "macvlan", "Internal": false, "Id": "aaaaaaaaaaaaaaaa", "IPAM": {"Config": [{"Subnet": "192.0.2.0/24", "Gateway": "192.0.2.1"}]}, "Options": {"parent": "eth0"}}`,
		"network/host":             `{"Driver": "host"}`,
		"network/none":             `{"Driver": "null"}`,
		"network/odd":              `{"Driver": "bridge", "Internal": false, "IPAM": {"Config": [{"Subnet": "x", "Gateway": "y"}]}}`,
		"listener/tcp:192.0.2.9:1": `{"Proto": "tcp", "Addr": "192.0.2.9", "Port": 1}`,
		"listener/tcp:0.0.0.0:2":   `{"Proto": "tcp", "Addr": "0.0.0.0", "Port": 2}`,
		"container/web": `{"Id": "aaaaaaaaaaaa", "State": {"Running": true}, "Config": {"Image": "web:1", "Labels": {}}, "HostConfig": {"NetworkMode": "front"}, "NetworkSettings": {
			"Networks": {"front": {"IPAddress": "172.20.0.2", "GlobalIPv6Address": "fd00:20::2", "MacAddress": "02:42:ac:14:00:02", "Gateway": "172.20.0.1"},
			             "back": {"IPAddress": "172.21.0.2", "MacAddress": "02:42:ac:15:00:02", "Gateway": ""}},
			"Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}], "53/udp": [{"HostIp": "", "HostPort": "53"}], "81/tcp": null}}}`,
		"container/side":   `{"Id": "bb", "State": {"Running": true, "Paused": true}, "HostConfig": {"NetworkMode": "container:aaaaaaaaaaaa"}, "NetworkSettings": {"Networks": {}, "Ports": {}}}`,
		"container/kernel": `{"Id": "b2", "State": {"Running": true}, "HostConfig": {"NetworkMode": "none"}, "Effective": {"SharesNet": ["web"]}, "NetworkSettings": {"Networks": {"none": {}}, "Ports": {}}}`,
		"container/agent":  `{"Id": "cc", "State": {"Running": true}, "HostConfig": {"NetworkMode": "host"}, "NetworkSettings": {"Networks": {"host": {}}, "Ports": {}}}`,
		"container/sneak":  `{"Id": "cd", "State": {"Running": true}, "HostConfig": {"NetworkMode": "none"}, "Effective": {"HostNamespaces": ["net"]}, "NetworkSettings": {"Networks": {}, "Ports": {}}}`,
		"container/cam":    `{"Id": "dd", "State": {"Status": "paused"}, "HostConfig": {"NetworkMode": "lan"}, "NetworkSettings": {"Networks": {"lan": {"IPAddress": "192.0.2.77", "Gateway": "192.0.2.1"}}, "Ports": {}}}`,
		"container/task": `{"Id": "ee", "State": {"Running": true}, "Config": {"Labels": {"com.docker.swarm.service.name": "api"}}, "HostConfig": {"NetworkMode": "gone"}, "NetworkSettings": {
			"Networks": {"gone": {"IPAddress": "bad"}}, "Ports": {"7/icmp": [{"HostIp": "x", "HostPort": "7"}], "8/tcp": [{"HostIp": "nowhere", "HostPort": "8"}]}}}`,
		"service/api":       `{"Endpoint": {"Ports": [{"PublishMode": "ingress", "Protocol": "tcp", "TargetPort": 80, "PublishedPort": 9000}, {"PublishMode": "host", "TargetPort": 1, "PublishedPort": 1}]}}`,
		"container/lost":    `{"Id": "ff", "State": {"Running": true}, "HostConfig": {"NetworkMode": "container:0000000000000000"}, "NetworkSettings": {"Networks": {}, "Ports": {}}}`,
		"container/stopped": `{"Id": "f1", "State": {"Running": false}, "HostConfig": {"NetworkMode": "front"}}`,
		"container/dark":    `{}`,
	})
	w, gaps := FromSnapshot(s)
	want := `engine 29.7.2
host [172.17.0.1 172.20.0.1 192.0.2.9 fd00:20::1]
net back bridge back0 [172.21.0.0/16] [] true map[com.docker.network.bridge.name:back0]
net bridge bridge docker0 [172.17.0.0/16] [172.17.0.1] false map[]
net front bridge br-0123456789ab [172.20.0.0/16 fd00:20::/64] [172.20.0.1 fd00:20::1] false map[com.docker.network.bridge.enable_icc:false]
net lan macvlan  [192.0.2.0/24] [192.0.2.1] false map[parent:eth0]
net odd bridge  [] [] false map[]
ns
  agent cc [host] true []
  sneak cd [] true []
ns
  on lan 000000000000 [192.0.2.77] []
  cam dd [lan] false []
ns
  on back 0242ac150002 [172.21.0.2] []
  on front 0242ac140002 [172.20.0.2 fd00:20::2] [172.20.0.1 fd00:20::1]
  kernel b2 [] false []
  side bb [back front] false []
  web aaaaaaaaaaaa [back front] false [{0.0.0.0 53 53/udp} {:: 53 53/udp} {0.0.0.0 8080 80/tcp} {:: 8080 80/tcp}]
ns
  lost ff [] false []
ns
  on gone 000000000000 [] []
  task ee [gone] false [{0.0.0.0 9000 80/tcp} {:: 9000 80/tcp}]
`
	if diff := cmp.Diff(want, written(w)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	var said []string
	for _, g := range gaps {
		said = append(said, g.Ref.String()+": "+g.Reason)
	}
	slices.Sort(said)
	if diff := cmp.Diff([]string{
		"container/dark: container/dark State.Running: absent: whether it runs is not known",
		"container/lost: shares the network of 0000000000000000, which does not run or was not read",
		`container/task: NetworkSettings.Networks.gone.IPAddress: "bad" is no address`,
		`container/task: NetworkSettings.Ports: "nowhere" is no address`,
		"container/task: NetworkSettings.Ports: cannot place x:7->7/icmp",
		"container/task: has no address on network gone",
		"container/task: is on network gone, which was not read",
		"daemon//run/podman.sock: another engine of this host: its containers and networks are not here",
		`network/odd: IPAM.Config.Gateway: "y" is no address`,
		`network/odd: IPAM.Config: "x" is no network`,
		"network/odd: has no ID from which its bridge has its name",
	}, said); diff != "" {
		t.Errorf("gaps: -want +got\n%s", diff)
	}
	again, _ := FromSnapshot(s)
	ids := map[uint64]bool{}
	for i, n := range w.Namespaces {
		if n.ID == 0 || n.ID != again.Namespaces[i].ID || ids[n.ID] {
			t.Errorf("%s has the ID %d, then %d", n.Name(), n.ID, again.Namespaces[i].ID)
		}
		ids[n.ID] = true
	}
}

// TestFromSnapshotReal reads a reply that an engine gave.
func TestFromSnapshotReal(t *testing.T) {
	b, err := os.ReadFile("../../host/docker/testdata/inspect-20.10.json")
	if err != nil {
		t.Fatal(err)
	}
	w, gaps := FromSnapshot(snapshotOf(t, map[string]string{"container/one": string(b)}))
	if len(w.Namespaces) != 1 || len(w.Namespaces[0].Endpoints) != 1 || w.Namespaces[0].Endpoints[0].Addrs[0] != netip.MustParseAddr("172.17.0.5") {
		t.Errorf("%+v", w)
	}
	if len(gaps) != 1 { // its network was not read
		t.Error(gaps)
	}
}

// FuzzFromSnapshot: whatever an engine answers, it is read or said to be
// missing, and rules can be made of it.
func FuzzFromSnapshot(f *testing.F) {
	f.Add(`{"State": {"Running": true}, "HostConfig": {"NetworkMode": "container:c"}, "NetworkSettings": {"Networks": {"n": {"IPAddress": "172.20.0.2"}}, "Ports": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}}}`, `{"Driver": "bridge", "Internal": false, "IPAM": {"Config": [{"Subnet": "172.20.0.0/16"}]}}`)
	f.Add(`{"State": {"Running": true}, "HostConfig": {"NetworkMode": "container:d"}, "NetworkSettings": {"Networks": {"n": 1}, "Ports": {"80/tcp": {}}}}`, `{"IPAM": []}`)
	f.Fuzz(func(t *testing.T, container, network string) {
		var c, n map[string]any
		if json.Unmarshal([]byte(container), &c) != nil || json.Unmarshal([]byte(network), &n) != nil {
			return
		}
		s := &inventory.Snapshot{}
		s.Add(&inventory.Object{Ref: inventory.Ref{Kind: inventory.Container, Name: "c"}, Fields: c})
		s.Add(&inventory.Object{Ref: inventory.Ref{Kind: inventory.Container, Name: "d"}, Fields: c})
		s.Add(&inventory.Object{Ref: inventory.Ref{Kind: inventory.Network, Name: "n"}, Fields: n})
		w, _ := FromSnapshot(s)
		if _, err := Rules(w, policyOf(t, "tiers: [{id: t, impact: 1}]\nassign: [{default: t}]\n")); err != nil {
			t.Error(err)
		}
	})
}
