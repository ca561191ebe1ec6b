package network

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"casco/policy"
)

var sameRules = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmpopts.EquateEmpty(),
	// What is open in several ways is in no order.
	cmpopts.SortSlices(func(a, b NetPort) bool { return fmt.Sprint(a) < fmt.Sprint(b) }),
}

// A copied is what a kernel would have that was told nothing but Deltas.
type copied struct {
	inside map[uint64]*Inside
	host   Elements
}

func copyOf(in *Inside) *Inside {
	c := *in
	c.Peers = maps.Clone(in.Peers)
	return &c
}

// do does what d says. What it adds must not be there, what it takes away must.
func (c *copied) do(t *rapid.T, s *State, d Delta) {
	for _, id := range d.Gone {
		if c.inside[id] == nil {
			t.Fatalf("%d is gone and was not there", id)
		}
		delete(c.inside, id)
	}
	for _, id := range d.Fresh {
		c.inside[id] = copyOf(s.Inside(id))
	}
	for id, ch := range d.Inside {
		if c.inside[id] == nil || slices.Contains(d.Fresh, id) {
			t.Fatalf("a change in %d, which is not there or is made anew", id)
		}
		c.inside[id].Peers.apply(t, ch)
	}
	c.host.apply(t, d.Host)
	if d.Outside {
		for _, in := range c.inside {
			in.Managed = s.Outside().Managed
		}
	}
}

func (es Elements) apply(t *rapid.T, ch Change) {
	for _, e := range ch.Del {
		if !es.has(e) {
			t.Fatalf("%+v is taken away and was not there", e)
		}
		delete(es, e)
	}
	for _, e := range ch.Add {
		if es.has(e) {
			t.Fatalf("%+v is added and was there", e)
		}
		es.add(e)
	}
	if !slices.IsSortedFunc(ch.Add, Element.compare) || !slices.IsSortedFunc(ch.Del, Element.compare) {
		t.Fatal("a change is not in order")
	}
}

const statePolicy = `
tiers:
  - {id: public, impact: 0.2}
  - {id: internal, impact: 0.5, inside: open}
  - {id: restricted, impact: 1, inside: closed}
assign:
  - {match: {name: "pub*"}, tier: public}
  - {match: {name: "res*"}, tier: restricted}
  - default: internal
ports: {hairpin_between_tiers: %s}
flows:
  - {id: f1, from: public/pub1, to: internal/int1, port: 8080/tcp}
  - {id: f2, from: "internal/*", to: "restricted/*", port: 5432/tcp}
  - {id: f3, from: "internal/int1", to: "restricted/res1", port: 80/tcp}
  - {id: f4, from: any-internet, to: "public/*", port: 80/tcp}
  - {id: f5, from: host, to: "restricted/*", port: 80/tcp}
  - {id: f6, from: "public/*", to: host, port: 53/udp}
  - {id: f7, from: "public/pub1", to: "egress:203.0.113.0/24", port: 443/tcp}
  - {id: f8, from: "public/*", to: "egress:2001:db8::/32", port: 443/tcp}
  - {id: f9, from: "public/*", to: "egress:a.example", port: 443/tcp}
`

var (
	someAddrs = func() (out []netip.Addr) {
		for i := range 6 {
			out = append(out, netip.AddrFrom4([4]byte{172, 20, 0, byte(i + 2)}), netip.MustParseAddr(fmt.Sprintf("fd00::%d", i+2)))
		}
		return out
	}()
	someNames  = []string{"pub1", "pub2", "int1", "int2", "res1", "res2"}
	someHosts  = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.2")}
	someRelays = []netip.Addr{netip.MustParseAddr("172.20.1.1"), netip.MustParseAddr("172.20.1.2"), netip.MustParseAddr("fd00::1:1")}
	somePorts  = []Port{{80, TCP}, {8080, TCP}, {5432, TCP}}
	someBinds  = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified(), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1")}
)

func drawNamespace(t *rapid.T) Namespace {
	n := Namespace{ID: rapid.Uint64Range(1, 5).Draw(t, "id")}
	for range rapid.IntRange(1, 2).Draw(t, "members") {
		w := Workload{Workload: policy.Workload{Name: rapid.SampledFrom(someNames).Draw(t, "name"), Labels: map[string]string{}}}
		if rapid.Bool().Draw(t, "app") {
			w.Workload.Labels[AppLabel] = "x"
		}
		if rapid.Bool().Draw(t, "published") {
			w.Published = append(w.Published, Published{
				rapid.SampledFrom(someBinds).Draw(t, "at"), uint16(rapid.IntRange(8000, 8002).Draw(t, "port")), rapid.SampledFrom(somePorts).Draw(t, "inner"),
			})
		}
		w.OnHost = rapid.IntRange(0, 20).Draw(t, "onhost") == 0
		n.Members = append(n.Members, w)
	}
	endpoints := rapid.IntRange(0, 2).Draw(t, "endpoints")
	if n.Remote = rapid.IntRange(0, 3).Draw(t, "remote") == 0; n.Remote {
		endpoints, n.Service = 1, rapid.SampledFrom([]string{"", "svc"}).Draw(t, "service")
	}
	for i := range endpoints {
		n.Endpoints = append(n.Endpoints, Endpoint{
			Iface: fmt.Sprintf("eth%d", i), Network: rapid.SampledFrom([]string{"n", "m", GatewayBridge}).Draw(t, "network"),
			VIP:      rapid.SampledFrom([]netip.Addr{{}, someAddrs[0]}).Draw(t, "vip"),
			Addrs:    rapid.SliceOfNDistinct(rapid.SampledFrom(someAddrs), 0, 3, rapid.ID).Draw(t, "addrs"),
			Gateways: []netip.Addr{netip.AddrFrom4([4]byte{172, 20, byte(i), 1})},
		})
	}
	return n
}

// TestStateIsRules: whatever happened before, a State is what Rules makes of
// the same World, and whoever did what the Deltas said has the same.
func TestStateIsRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policyOf(t, fmt.Sprintf(statePolicy, rapid.SampledFrom([]string{"allow", "deny"}).Draw(t, "hairpin")))
		j, err := NewJudge(p)
		if err != nil {
			t.Fatal(err)
		}
		s, c := NewState(j), &copied{map[uint64]*Inside{}, Elements{}}
		var w World
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				c.do(t, s, s.Drop(rapid.Uint64Range(1, 5).Draw(t, "id")))
			case 1:
				w.Host = rapid.SliceOfNDistinct(rapid.SampledFrom(someHosts), 0, 3, rapid.ID).Draw(t, "host")
				w.Segments = []Segment{{Name: "n", Bridge: rapid.SampledFrom([]string{"", "br"}).Draw(t, "bridge")}}
				w.Segments[0].Ingress = rapid.Bool().Draw(t, "ingress")
				w.Segments = append(w.Segments, Segment{Name: GatewayBridge})
				for i := range w.Segments {
					w.Segments[i].Relays = rapid.SliceOfNDistinct(rapid.SampledFrom(someRelays), 0, 2, rapid.ID).Draw(t, "relays")
				}
				if rapid.Bool().Draw(t, "subnet") {
					w.Segments[0].Subnets = []netip.Prefix{netip.MustParsePrefix("172.20.0.0/16")}
				}
				c.do(t, s, s.SetHost(w.Segments, w.Host))
			default:
				c.do(t, s, s.Put(drawNamespace(t)))
			}
			w.Namespaces = s.Namespaces()
			want, err := Rules(w, p)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, s.Rules(), sameRules); diff != "" {
				t.Fatalf("State is not Rules: -rules +state\n%s", diff)
			}
			got := &Ruleset{Inside: c.inside, Outside: s.Outside()}
			got.Outside.Elements = c.host
			if diff := cmp.Diff(want, got, sameRules); diff != "" {
				t.Fatalf("who did what the deltas said has others: -rules +copy\n%s", diff)
			}
		}
	})
}

// TestNothingInherited: two containers that are stopped and started in the other
// order have each other's addresses, and each its own rules.
func TestNothingInherited(t *testing.T) {
	p := policyOf(t, fmt.Sprintf(statePolicy, "deny"))
	j, err := NewJudge(p)
	if err != nil {
		t.Fatal(err)
	}
	at := func(id uint64, name, addr string) Namespace {
		return Namespace{
			ID: id, Members: []Workload{{Workload: policy.Workload{Name: name}}},
			Endpoints: []Endpoint{{Addrs: []netip.Addr{netip.MustParseAddr(addr)}}},
		}
	}
	s := NewState(j)
	s.Put(at(1, "res1", "172.20.0.9"))
	s.Put(at(2, "int1", "172.20.0.2"))
	s.Put(at(3, "pub2", "172.20.0.3"))
	// int1 is gone and nobody said so; pub2 starts again with its address.
	d := s.Put(at(4, "pub2", "172.20.0.2"))
	db := netip.MustParseAddr("172.20.0.9")
	for id, want := range map[uint64]bool{2: true, 3: false, 4: false} {
		if got := s.Inside(id).Sends(db, Port{5432, TCP}); got != want {
			t.Errorf("namespace %d may send to the database: %v, want %v", id, got, want)
		}
	}
	if s.Inside(1).Takes(netip.MustParseAddr("172.20.0.2"), Port{5432, TCP}) {
		t.Error("the database takes what comes from an address that has somebody else now")
	}
	if len(d.Inside[1].Del) != 2 || !slices.Contains(d.Fresh, 2) || !slices.Contains(d.Fresh, 4) {
		t.Errorf("%+v", d)
	}
}

// TestPlace: the tier that is left is said aloud.
func TestPlace(t *testing.T) {
	j, err := NewJudge(policyOf(t, fmt.Sprintf(statePolicy, "deny")))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		w    policy.Workload
		want Place
	}{
		{policy.Workload{Name: "pub1"}, Place{Tier: "public", App: "name=pub1", By: "assign.0"}},
		{policy.Workload{Name: "x"}, Place{Tier: "internal", App: "name=x", By: "assign.2", Default: true}},
		{
			policy.Workload{Name: "x", Labels: map[string]string{policy.TierLabel: "restricted", composeProject: "shop"}},
			Place{Tier: "restricted", App: composeProject + "=shop"},
		},
		{
			policy.Workload{Name: "x", Labels: map[string]string{policy.TierLabel: "public"}}, // never lower
			Place{Tier: "internal", App: "name=x", By: "assign.2", Default: true},
		},
		{
			policy.Workload{Name: "pub1", Labels: map[string]string{AppLabel: "a", composeProject: "b", stackNamespace: "c"}},
			Place{Tier: "public", App: AppLabel + "=a", By: "assign.0"},
		},
	} {
		if got := j.Place(c.w); got != c.want {
			t.Errorf("%+v: got %+v, want %+v", c.w, got, c.want)
		}
	}
}

// TestBetween: what the policy alone says, and where.
func TestBetween(t *testing.T) {
	j, err := NewJudge(policyOf(t, fmt.Sprintf(statePolicy, "deny")))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from, to string
		want     []Reason
	}{
		{"pub1", "int1", []Reason{{Port{8080, TCP}, "flows.0"}}},
		{"int1", "pub1", nil},
		{"int1", "res1", []Reason{{Port{5432, TCP}, "flows.1"}, {Port{80, TCP}, "flows.2"}}},
		{"int1", "int2", []Reason{{Port{}, "tiers.1.inside"}}},
		{"res1", "res2", nil},
		{"pub1", "pub2", nil},
	} {
		got := j.Between(policy.Workload{Name: c.from}, policy.Workload{Name: c.to})
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s to %s: -want +got\n%s", c.from, c.to, diff)
		}
	}
}

func FuzzParsePort(f *testing.F) {
	for _, s := range []string{"443/tcp", "1/udp", "65535/sctp", "0/tcp", "65536/tcp", "/", "*", "+1/tcp", "01/tcp", "1/tcp/udp"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePort(s)
		if err != nil {
			return
		}
		if back, err := ParsePort(p.String()); err != nil || back != p || p.Number == 0 {
			t.Errorf("%q is %v, which is %v, %v", s, p, back, err)
		}
	})
}

// TestRemote: what is on another host of the swarm is a peer and nothing else.
func TestRemote(t *testing.T) {
	j, err := NewJudge(policyOf(t, fmt.Sprintf(statePolicy, "deny")))
	if err != nil {
		t.Fatal(err)
	}
	at := func(id uint64, name string, remote bool, ends ...Endpoint) Namespace {
		return Namespace{ID: id, Remote: remote, Members: []Workload{{Workload: policy.Workload{Name: name}}}, Endpoints: ends}
	}
	addr := netip.MustParseAddr
	over := func(a string) Endpoint { return Endpoint{Network: "over", Addrs: []netip.Addr{addr(a)}} }
	out := func(a string) Endpoint { return Endpoint{Network: GatewayBridge, Addrs: []netip.Addr{addr(a)}} }
	s := NewState(j)
	lb, vip, sandbox := addr("10.0.1.3"), addr("10.0.1.6"), addr("172.19.0.2")
	s.SetHost([]Segment{
		{Name: "over", Driver: "overlay", Relays: []netip.Addr{lb}},
		{Name: "in", Driver: "overlay", Ingress: true, Relays: []netip.Addr{addr("10.0.0.2")}},
		{Name: GatewayBridge, Driver: "bridge", Relays: []netip.Addr{sandbox}},
	}, nil)
	task := over("10.0.1.2")
	task.VIP = vip
	s.Put(at(1, "res1", false, task, out("172.19.0.3")))
	s.Put(at(2, "int1", false, over("10.0.1.4"), out("172.19.0.4")))
	s.Put(at(madeUp|3, "int2", true, over("10.0.1.5")))
	s.Put(at(madeUp|4, "pub1", true, over("10.0.1.7")))
	s.Put(at(madeUp|5, "int3", true, Endpoint{Network: "other", Addrs: []netip.Addr{addr("10.0.2.2")}}))
	service := at(madeUp|6, "res1", true, Endpoint{Network: "over", Addrs: []netip.Addr{vip}})
	service.Service = "db"
	s.Put(service)
	sql := Port{5432, TCP}
	takes := func(id uint64, from netip.Addr) bool { return s.Inside(id).Takes(from, sql) }
	for what, ok := range map[string]bool{
		"the database takes the local peer":       takes(1, addr("10.0.1.4")),
		"and the remote one":                      takes(1, addr("10.0.1.5")),
		"but not one of another tier":             !takes(1, addr("10.0.1.7")),
		"nor one on a network that it is not on":  !takes(1, addr("10.0.2.2")),
		"nor anybody by the way out":              !takes(1, addr("172.19.0.4")),
		"it takes what a load balancer passes on": takes(1, lb),
		"on its own network":                      !takes(1, addr("10.0.0.2")),
		"the service is sent to":                  s.Inside(2).Sends(vip, sql),
		"for what it is open only":                !s.Inside(2).Sends(vip, Port{22, TCP}),
		"nothing comes from a service":            !takes(1, vip) && !s.Inside(2).Takes(vip, sql),
		"nobody is sent to by the way out":        !s.Inside(2).Sends(addr("172.19.0.3"), sql),
		"the host forwards for local ones":        s.Rules().Outside.Forwards(addr("10.0.1.4"), addr("10.0.1.2"), sql),
		"and not for remote ones":                 !s.Rules().Outside.Forwards(addr("10.0.1.5"), addr("10.0.1.2"), sql),
		"a remote one has no rules here":          s.Inside(madeUp|3) == nil,
	} {
		if !ok {
			t.Errorf("not so: %s", what)
		}
	}
	// What a kernel says holds against what was told.
	s.Put(at(madeUp|4, "int9", true, over("10.0.1.4")))
	if got := s.spaces[madeUp|4].addrs; len(got) != 0 {
		t.Errorf("a remote one has a local address: %v", got)
	}
	// The last one that a load balancer passes on for is gone.
	s.Drop(2)
	s.Drop(madeUp | 3)
	s.Drop(madeUp | 4)
	if takes(1, lb) || takes(1, addr("10.0.1.5")) {
		t.Error("something is left")
	}
	// A port of a service that is published, wherever its tasks are.
	web := at(madeUp|7, "pub2", true, Endpoint{Network: "in", Addrs: []netip.Addr{addr("10.0.0.4")}})
	web.Service = "web"
	web.Members[0].Published = []Published{{netip.IPv4Unspecified(), 8080, Port{80, TCP}}, {netip.IPv4Unspecified(), 8022, Port{22, TCP}}}
	s.Put(web)
	s.Put(at(8, "pub2", false, Endpoint{Network: "in", Addrs: []netip.Addr{addr("10.0.0.5")}}, out("172.19.0.5")))
	if r := s.Rules(); !r.Outside.Lets(sandbox, Port{8080, TCP}) || r.Outside.Lets(sandbox, Port{8022, TCP}) {
		t.Errorf("%v", r.Outside.Elements.Sorted())
	}
	if !s.Inside(8).Takes(addr("10.0.0.2"), Port{80, TCP}) || s.Inside(8).Takes(addr("10.0.0.2"), Port{22, TCP}) {
		t.Error(s.Inside(8).Peers.Sorted())
	}
}

// TestRemoteExplained: what is said of a peer on another host is what this one
// knows of it.
func TestRemoteExplained(t *testing.T) {
	p := policyOf(t, fmt.Sprintf(statePolicy, "deny"))
	j, err := NewJudge(p)
	if err != nil {
		t.Fatal(err)
	}
	w := World{Segments: []Segment{{Name: "over", Driver: "overlay"}}}
	for id, name := range map[uint64]string{1: "int1", madeUp | 2: "res1", madeUp | 3: "int2"} {
		w.Namespaces = append(w.Namespaces, Namespace{
			ID: id, Remote: id > 1, Members: []Workload{{Workload: policy.Workload{Name: name}}},
			Endpoints: []Endpoint{{Network: "over", Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 1, byte(id)})}}},
		})
	}
	for _, c := range []struct {
		from, to string
		port     uint16
		passes   bool
		routes   int
	}{
		{"int1", "res1", 5432, true, 1},
		{"int1", "res1", 22, false, 1},
		{"res1", "int1", 22, false, 1},
		{"int2", "int1", 22, true, 1},
		{"int2", "res1", 5432, false, 0},
		{"int2", TheHost, 22, false, 0},
		{Internet, "int2", 22, false, 0},
	} {
		x, err := Explain(w, j, c.from, c.to, Port{c.port, TCP})
		if err != nil || x.Passes != c.passes || len(x.Routes) != c.routes || c.routes == 0 && !slices.Contains(x.Notes, whyElsewhere) {
			t.Errorf("%+v: %v %+v", c, err, x)
		}
		if _, err := Paths(w, p, c.from, c.to); err != nil {
			t.Error(err)
		}
	}
	paths, err := Paths(w, p, "int1", "res1")
	if err != nil || len(paths) != 2 || paths[0].Hops[0].Way != Direct {
		t.Errorf("%v %+v", err, paths)
	}
}
