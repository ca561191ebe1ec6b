package spaces

import (
	"encoding/json"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"casco/guard/network"
	"casco/policy"
)

// TestOverlay: testdata has what two engines of one swarm said of one network
// (Engine 20.10.24): two containers and two services, one without an address of
// its own.
func TestOverlay(t *testing.T) {
	b, err := os.ReadFile("testdata/overlay.json")
	if err != nil {
		t.Fatal(err)
	}
	var n OverlayJSON
	if err := json.Unmarshal(b, &n); err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddr
	var manager ServiceJSON
	manager.Spec.TaskTemplate.ContainerSpec.Labels = map[string]string{policy.TierLabel: "restricted"}
	o := n.Overlay(map[string]ServiceJSON{"shop_web": manager}, []netip.Addr{addr("192.0.2.1")})
	stack := map[string]string{stackNamespace: "shop"}
	member := func(id, name string, labels map[string]string) network.Workload {
		return network.Workload{ID: id, Workload: policy.Workload{
			Name: name, Networks: []string{"over"}, Labels: labels, NetworkLabels: []map[string]string{stack},
		}}
	}
	web := map[string]string{swarmService: "shop_web", stackNamespace: "shop", policy.TierLabel: "restricted"}
	at := func(a string) []network.Endpoint {
		return []network.Endpoint{{Network: "over", Addrs: []netip.Addr{addr(a)}}}
	}
	want := Overlay{
		Network: "over",
		Remote: []network.Namespace{
			{ID: network.RemoteID("endpoint 205d"), Remote: true, Members: []network.Workload{member("", "cli", map[string]string{})}, Endpoints: at("10.0.1.4")},
			{ID: network.RemoteID("service shop_web i2he"), Remote: true, Service: "shop_web", Members: []network.Workload{
				member("", "shop_web.1.cae7", web), member("efc97362f8e9ce931b9f6ed38712f0e46e49e32c11ab2665f0bdaf53717595f2", "shop_web.2.vbfb", web),
			}, Endpoints: at("10.0.1.6")},
			{ID: network.RemoteID("endpoint 46ff"), Remote: true, Members: []network.Workload{member("", "shop_web.1.cae7", web)}, Endpoints: at("10.0.1.7")},
		},
		VIPs:   map[netip.Addr]netip.Addr{addr("10.0.1.7"): addr("10.0.1.6"), addr("10.0.1.8"): addr("10.0.1.6")},
		Relays: []netip.Addr{addr("10.0.1.3")},
	}
	if diff := cmp.Diff(want, o, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Overlay{}, "Listed"), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for _, a := range []string{"10.0.1.2", "10.0.1.3", "10.0.1.4", "10.0.1.6", "10.0.1.7", "10.0.1.8", "10.0.1.9"} {
		if !o.Listed[addr(a)] {
			t.Errorf("%s has no name", a)
		}
	}
	// From the other host the same network is the other way round.
	if o := n.Overlay(nil, []netip.Addr{addr("192.0.2.2")}); slices.ContainsFunc(o.Remote, func(r network.Namespace) bool { return r.Name() == "cli" }) {
		t.Errorf("%+v", o.Remote)
	}
	// Of two that have one address, one is no more.
	s := n.Services["shop_web"]
	s.Tasks[1].EndpointIP = "10.0.1.4"
	if o := n.Overlay(nil, nil); slices.ContainsFunc(o.Remote, func(r network.Namespace) bool { return r.Endpoints[0].Addrs[0] == addr("10.0.1.4") }) {
		t.Errorf("%+v", o.Remote)
	}
}

// TestIngress: what a swarm passes on from published ports.
func TestIngress(t *testing.T) {
	var n OverlayJSON
	err := json.Unmarshal([]byte(`{"Name":"ingress","Id":"9s4i","Driver":"overlay","Ingress":true,
		"Containers":{"ingress-sbox":{"EndpointID":"49bc","IPv4Address":"10.0.0.2/24"}},
		"Services":{"":{"VIP":"<nil>","Tasks":[
			{"Name":"ingress-endpoint","EndpointID":"f497","EndpointIP":"10.0.0.3","Info":{"Host IP":"192.0.2.2"}},
			{"Name":"ingress-endpoint","EndpointID":"49bc","EndpointIP":"10.0.0.2","Info":{"Host IP":"192.0.2.1"}}]},
		"pub":{"VIP":"10.0.0.4","Ports":["Target: 8000, Publish: 8080","?"],"Tasks":[
			{"Name":"pub.1.w4w4","EndpointID":"2c98","EndpointIP":"10.0.0.5","Info":{"Host IP":"192.0.2.2"}}]}}}`), &n)
	if err != nil {
		t.Fatal(err)
	}
	o := n.Overlay(nil, []netip.Addr{netip.MustParseAddr("192.0.2.1")})
	if len(o.Relays) != 2 || len(o.Remote) != 2 {
		t.Fatalf("%+v", o)
	}
	at := netip.IPv4Unspecified()
	want := []network.Published{{Host: at, HostPort: 8080, Port: network.Port{Number: 8000, Proto: network.TCP}}, {Host: at, HostPort: 8080, Port: network.Port{Number: 8000, Proto: network.UDP}}}
	if got := o.Remote[0].Members[0].Published; o.Remote[0].Service != "pub" || !slices.Equal(got, want) {
		t.Errorf("%+v", o.Remote[0])
	}
	var s ServiceJSON
	if err := json.Unmarshal([]byte(`{"Spec":{"EndpointSpec":{"Ports":[{"Protocol":"tcp","TargetPort":8000,"PublishedPort":8080}]}}}`), &s); err != nil {
		t.Fatal(err)
	}
	if got := n.Overlay(map[string]ServiceJSON{"pub": s}, nil).Remote; !slices.Equal(got[0].Members[0].Published, want[:1]) {
		t.Errorf("%+v", got)
	}
}

// TestSegment: only a bridge's gateway is the host.
func TestSegment(t *testing.T) {
	for driver, n := range map[string]int{"bridge": 1, "overlay": 0, "macvlan": 0, "ipvlan": 0} {
		var j NetworkJSON
		if err := json.Unmarshal([]byte(`{"Name":"n","Id":"0123456789abcdef","Driver":"`+driver+`","Options":{"a":"b"},"IPAM":{"Config":[{"Subnet":"10.0.1.0/24","Gateway":"10.0.1.1"}]}}`), &j); err != nil {
			t.Fatal(err)
		}
		if s := j.Segment(); len(s.Gateways) != n || s.Options["a"] != "b" || len(s.Subnets) != 1 {
			t.Errorf("%+v", s)
		}
	}
}
