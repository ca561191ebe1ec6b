package network

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"casco/policy"
)

// many is how many namespaces a host has whose updates are measured.
const many = 1000

// benchPolicies are what 1,000 containers are held to.
var benchPolicies = map[string]string{
	// A host with much on it: 20 tiers, an application has ten containers of one
	// tier, and tiers have flows between them.
	"apps": func() string {
		b := strings.Builder{}
		b.WriteString("tiers:\n")
		for i := range 20 {
			fmt.Fprintf(&b, "  - {id: t%d, impact: %g}\n", i, float64(i+1)/20)
		}
		b.WriteString("assign:\n")
		for i := range 20 {
			fmt.Fprintf(&b, "  - {match: {name: \"t%d-*\"}, tier: t%d}\n", i, i)
		}
		b.WriteString("  - default: t0\nflows:\n")
		for i := range 19 {
			fmt.Fprintf(&b, "  - {id: f%d, from: t%d/t%d-0-c0, to: t%d/t%d-0-c1, port: 5432/tcp}\n", i, i, i, i+1, i+1)
			fmt.Fprintf(&b, "  - {id: g%d, from: \"t%d/*\", to: \"egress:203.0.113.%d\", port: 443/tcp}\n", i, i, i)
		}
		return b.String()
	}(),
	// The most that may talk: all with all.
	"open": "tiers:\n  - {id: t0, impact: 1, inside: open}\nassign:\n  - default: t0\n",
}

func benchNamespace(i int) Namespace {
	tier, app := i%20, i/20%5
	name := fmt.Sprintf("t%d-%d-c%d", tier, app, i/100)
	a := netip.AddrFrom4([4]byte{10, 9, byte((i + 2) / 256), byte((i + 2) % 256)})
	return Namespace{
		ID: uint64(i + 1),
		Members: []Workload{{ID: name, Workload: policy.Workload{
			Name: name, Networks: []string{"n"},
			Labels: map[string]string{composeProject: fmt.Sprintf("t%d-%d", tier, app), composeService: fmt.Sprintf("c%d", i/100)},
		}}},
		Endpoints: []Endpoint{{
			Iface: "eth0", Network: "n", Addrs: []netip.Addr{a}, Gateways: []netip.Addr{netip.MustParseAddr("10.9.0.1")}, Peer: fmt.Sprintf("veth%d", i),
		}},
	}
}

func benchState(b *testing.B, kind string) *State {
	b.Helper()
	p, problems := policy.ParseFile("policy.yaml", []byte("apiVersion: casco/v1\nkind: Policy\nmetadata: {name: x, version: 2}\n"+benchPolicies[kind]))
	if p == nil {
		b.Fatal(problems)
	}
	j, err := NewJudge(p)
	if err != nil {
		b.Fatal(err)
	}
	s := NewState(j)
	s.SetHost([]Segment{{Name: "n", Driver: "bridge", Bridge: "br0", Subnets: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}}}, []netip.Addr{netip.MustParseAddr("192.0.2.1")})
	for i := range many {
		s.Put(benchNamespace(i))
	}
	return s
}

// BenchmarkState is what one change costs on a host with 1,000 namespaces, and
// what a State of them weighs.
func BenchmarkState(b *testing.B) {
	for _, kind := range []string{"apps", "open"} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		s := benchState(b, kind)
		runtime.GC()
		runtime.ReadMemStats(&after)
		mib := float64(after.HeapAlloc-before.HeapAlloc) / (1 << 20)
		n := benchNamespace(500)
		b.Run(kind+"/put", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Drop(n.ID)
				if d := s.Put(n); len(d.Fresh) != 1 {
					b.Fatal(d)
				}
			}
			b.ReportMetric(mib, "MiB")
		})
		// What a look at everything does for each namespace.
		b.Run(kind+"/same", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d := s.Put(n); !d.Empty() {
					b.Fatal(d)
				}
			}
		})
		b.Run(kind+"/sethost", func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s.SetHost(s.segments, []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})})
			}
		})
		if kind == "open" {
			continue // four million elements: nobody asks for all at once
		}
		b.Run(kind+"/rules", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Rules()
			}
		})
	}
}
