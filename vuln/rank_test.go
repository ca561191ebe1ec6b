package vuln

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"casco/loop/inventory"
	"casco/loop/risk"
	"casco/policy"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// estate is a host with the image app:1, and a container of it of that tier
// that runs or does not, and is published on that address or is not.
func estate(running bool, tier, address string) *risk.Terrain {
	s := &inventory.Snapshot{Host: "h", Taken: noon}
	s.Add(&inventory.Object{Ref: inventory.Ref{Kind: inventory.Image, Name: "app:1"}, Read: noon, Fields: map[string]any{"Id": "sha256:1", "UsedBy": []any{"app"}}})
	ports := map[string]any{}
	if address != "" {
		ports["80/tcp"] = []any{map[string]any{"HostIp": address, "HostPort": "8080"}}
	}
	s.Add(&inventory.Object{Ref: inventory.Ref{Kind: inventory.Container, Name: "app"}, Read: noon, Fields: map[string]any{
		"Id": "1", "Image": "sha256:1", "State": map[string]any{"Running": running, "Status": "running"},
		"Config":          map[string]any{"Image": "app:1", "Labels": map[string]any{}},
		"HostConfig":      map[string]any{"NetworkMode": "apps", "PortBindings": ports, "PublishAllPorts": false},
		"NetworkSettings": map[string]any{"Networks": map[string]any{"apps": map[string]any{}}},
		"Mounts":          []any{},
	}})
	s.Sort()
	p := &policy.Policy{
		Tiers:  []policy.Tier{{ID: "public", Impact: 0.2}, {ID: "restricted", Impact: 1}},
		Assign: []policy.Assign{{Match: policy.Match{Name: "app"}, Tier: tier}},
	}
	return risk.Survey(s, nil, p, nil)
}

// TestRank: the same vulnerability has another priority where it runs, is
// reached and matters, or not.
func TestRank(t *testing.T) {
	const remote, local = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H"
	fresh := Known{KEV: noon, EPSS: noon}
	match := func(vector string, kev bool, epss float64) Match {
		m := Match{ID: "CVE-2026-1", CVSS: CVSS{9.8, vector}, EPSS: &EPSS{Probability: epss}}
		if kev {
			m.KEV = &KEV{Added: noon}
		}
		return m
	}
	for _, c := range []struct {
		name    string
		m       Match
		terrain *risk.Terrain
		known   Known
		want    string
		missing string
	}{
		{"exploited, open to the world, worst tier", match(remote, true, 0.9), estate(true, "restricted", "0.0.0.0"), fresh, "immediate", ""},
		{"the same, stopped", match(remote, true, 0.9), estate(false, "restricted", "0.0.0.0"), fresh, "out-of-cycle", ""},
		{"the same, of little worth", match(remote, true, 0.9), estate(true, "public", "0.0.0.0"), fresh, "out-of-cycle", ""},
		{"the same, not published", match(remote, true, 0.9), estate(true, "restricted", ""), fresh, "out-of-cycle", ""},
		{"critical by its score, used by nobody, not published", match(remote, false, 0.001), estate(true, "restricted", ""), fresh, "scheduled", ""},
		{"the same, where it is worth little", match(remote, false, 0.001), estate(true, "public", ""), fresh, "defer", ""},
		{"likely to be used, a person must be there already", match(local, false, 0.5), estate(true, "restricted", "0.0.0.0"), fresh, "out-of-cycle", ""},
		{"used by nobody, as far as a year ago", match(remote, false, 0.001), estate(true, "public", ""), Known{KEV: noon.AddDate(-1, 0, 0), EPSS: noon}, "defer", "fresh exploitation data"},
		{"nobody knows", match(remote, false, 0.001), estate(true, "public", ""), Known{}, "scheduled", "fresh exploitation data kev"},
		{"no vector and no EPSS", Match{ID: "CVE-2026-1"}, estate(true, "public", "0.0.0.0"), fresh, "out-of-cycle", "epss"},
	} {
		got := Rank([]Match{c.m}, inventory.Ref{Kind: inventory.Image, Name: "app:1"}, c.terrain, c.known, noon)[0]
		if got.Priority.String() != c.want || strings.Join(got.Inputs.Missing, " ") != c.missing {
			t.Errorf("%s: got %s, %v, %+v", c.name, got.Priority, got.Inputs.Missing, got.Axes)
		}
	}
}

func TestRankOrder(t *testing.T) {
	listed := &KEV{Added: noon}
	ms := []Match{
		{ID: "CVE-2026-7", CVSS: CVSS{9.9, "CVSS:3.1/AV:L"}, EPSS: &EPSS{}, VEX: &VEX{Status: "not_affected"}, KEV: listed},
		{ID: "CVE-2026-6", CVSS: CVSS{5, "CVSS:3.1/AV:L"}, EPSS: &EPSS{Probability: 0.01}},
		{ID: "CVE-2026-5", CVSS: CVSS{7, "CVSS:3.1/AV:L"}, EPSS: &EPSS{Probability: 0.01}},
		{ID: "CVE-2026-4", CVSS: CVSS{7, "CVSS:3.1/AV:L"}, EPSS: &EPSS{Probability: 0.01}, Fixed: "2"},
		{ID: "CVE-2026-3", CVSS: CVSS{5, "CVSS:3.1/AV:L"}, EPSS: &EPSS{Probability: 0.05}},
		{ID: "CVE-2026-2", CVSS: CVSS{5, "CVSS:3.1/AV:L"}, EPSS: &EPSS{}, KEV: listed},
	}
	var got []string
	for _, r := range Rank(ms, inventory.Ref{Kind: inventory.Image, Name: "app:1"}, estate(true, "public", "0.0.0.0"), Known{KEV: noon, EPSS: noon}, noon) {
		got = append(got, r.ID[len("CVE-2026-"):])
	}
	if diff := cmp.Diff([]string{"2", "3", "4", "5", "6", "7"}, got); diff != "" {
		t.Error(diff)
	}
	slices.Reverse(ms)
	if again := Rank(ms, inventory.Ref{Kind: inventory.Image, Name: "app:1"}, estate(true, "public", "0.0.0.0"), Known{KEV: noon, EPSS: noon}, noon); again[0].ID != "CVE-2026-2" {
		t.Error("the order of the input matters")
	}
}
