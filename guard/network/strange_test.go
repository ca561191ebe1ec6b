package network

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"casco/policy"
)

func TestLook(t *testing.T) {
	p := &policy.Policy{
		Tiers:  []policy.Tier{{ID: "a", Impact: 1, Networks: []string{"n1", "gone"}}, {ID: "b", Impact: 1}},
		Assign: []policy.Assign{{Default: "a"}},
		Flows: []policy.Flow{
			{ID: "f1", From: "a/web", To: "b/db", Port: "1/tcp"},
			{ID: "f2", From: "any-internet", To: "a/web", Port: "1/tcp"},
		},
	}
	w := World{
		Segments: []Segment{
			{Name: "n1", Subnets: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}},
			{Name: "n2", Subnets: []netip.Prefix{netip.MustParsePrefix("10.1.2.0/24"), netip.MustParsePrefix("fd00::/64")}},
		},
		Namespaces: []Namespace{{ID: 1, Members: []Workload{{Workload: policy.Workload{Name: "web"}}}}},
	}
	got, err := Look(w, p)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, s := range got {
		said = append(said, s.Path+": "+s.Text.En)
	}
	want := []string{
		"tiers.0.networks.1: tier a has network gone, and there is none of that name",
		"flows.0: flow f1: nothing that runs is b/db",
		": networks n1 and n2 share addresses (10.1.0.0/16): rules take a packet for that of either",
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Error(diff)
	}
}
