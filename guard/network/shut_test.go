package network

import (
	"net/netip"
	"testing"

	"casco/policy"
)

// TestShutOnce: a port that is published on all addresses, which the engine
// says for each version of IP, is one element: what goes with the container is
// then deleted once, and nobody deletes what is not there.
func TestShutOnce(t *testing.T) {
	j, err := NewJudge(&policy.Policy{Tiers: []policy.Tier{{ID: "t"}}})
	if err != nil {
		t.Fatal(err)
	}
	s := NewState(j)
	port := Port{80, TCP}
	n := Namespace{ID: 1, Members: []Workload{{
		Workload:  policy.Workload{Name: "web"},
		Published: []Published{{netip.IPv4Unspecified(), 8080, port}, {netip.IPv6Unspecified(), 8080, port}},
	}}}
	shut := func(es []Element) (n int) {
		for _, e := range es {
			if e.Set == Shut {
				n++
			}
		}
		return n
	}
	if add := s.Put(n).Host.Add; shut(add) != 1 {
		t.Errorf("shut: %v", add)
	}
	if del := s.Drop(1).Host.Del; shut(del) != 1 {
		t.Errorf("open again: %v", del)
	}
}
