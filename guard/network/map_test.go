package network

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const mapPolicy = `
tiers:
  - {id: restricted, es: restringido, impact: 1, networks: [data]}
  - {id: public, es: público, impact: 0.2, networks: [front]}
assign:
  - {match: {name: "db"}, tier: restricted}
  - {match: {name: "web*"}, tier: public}
  - default: public
flows:
  - {id: in, from: any-internet, to: public/web, port: 80/tcp, why: shop, owner: ana, review: 2026-01-31}
  - {id: f1, from: public/web, to: restricted/db, port: 5432/tcp, why: orders, owner: ana, review: 2027-01-31}
  - {id: old, from: public/cart, to: restricted/db, port: 6379/tcp, why: carts, owner: ana, review: 2027-01-31}
  - {id: same, from: public/web, to: "public/*", port: 8080/tcp}
`

const mapWorld = `
engine 29.7.2
host 192.0.2.10
net front bridge 172.20.0.0/16 172.20.0.1
net data bridge 172.22.0.0/16 172.22.0.1
net lan macvlan 192.0.2.0/24
net unused bridge 172.30.0.0/16 172.30.0.1
ns 1 front=172.20.0.2 data=172.22.0.9
  web publish=0.0.0.0:8080:80/tcp publish=[::]:8080:80/tcp
ns 2 data=172.22.0.2
  db publish=0.0.0.0:15432:5432/tcp publish=127.0.0.1:9999:9/tcp
ns 3 front=172.20.0.5
  stray
ns 4
  agent onhost
ns 5 lan=192.0.2.50
  cam
`

func TestMap(t *testing.T) {
	w, p := worldOf(t, mapWorld), policyOf(t, mapPolicy)
	var flows []Flow
	for _, line := range []string{"1 out 172.22.0.2 5432/tcp 10 8", "1 in 198.51.100.7 80/tcp 90 90", "3 out 192.0.2.10 15432/tcp 1 1", "3 out 224.0.0.251 5353/udp 1 1"} {
		flows = append(flows, seenFlow(t, line))
	}
	m, err := MapOf(w, p, time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), flows)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/map.json", string(b)+"\n")

	for name, mixed := range map[string]bool{"data": true, "front": false, "lan": false, "unused": false} {
		for _, n := range m.Networks {
			if n.Name == name && n.Mixed() != mixed {
				t.Errorf("network %s is mixed: %v %v", name, n.Mixed(), n.Tiers)
			}
		}
	}
	if diff := cmp.Diff([]string{"agent", "cam"}, m.Tiers[0].ByDefault); diff != "" {
		t.Error(diff)
	}
	for i, want := range []struct{ overdue, idle, inner bool }{{true, false, false}, {}, {idle: true}, {inner: true}} {
		c := m.Crossings[i]
		if c.Overdue != want.overdue || c.Idle() != want.idle || c.Inner != want.inner {
			t.Errorf("%s: %+v", c.ID, c)
		}
	}
	for _, e := range m.Exposure {
		switch e.At() {
		case "0.0.0.0:15432":
			if !e.Today.Outside || len(e.Today.Containers) != 3 || !e.Enforced.Nobody() {
				t.Errorf("%+v", e)
			}
		case "127.0.0.1:9999":
			if !e.Today.HostOnly() || !e.Enforced.Nobody() {
				t.Errorf("%+v", e)
			}
		case "[::]:8080":
			if !e.Enforced.Outside {
				t.Errorf("%+v", e)
			}
		}
	}
}
