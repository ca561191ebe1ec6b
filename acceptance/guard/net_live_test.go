package guard

import (
	"strings"
	"testing"
	"time"

	"casco/lab/actor"
)

const livePolicy = `
tiers:
  - {id: public, impact: 0.3, inside: app}
  - {id: restricted, impact: 1}
  - {id: other, impact: 0.5}
assign:
  - {match: {name: "web*"}, tier: public}
  - {match: {name: "db*"}, tier: restricted}
  - {default: other}
flows:
  - {id: f1, from: public/web, to: restricted/db, port: 7000/udp, why: app, owner: ro1, review: 2027-01-01}
`

// TestNetLive: what changes while containers run: a network is connected and
// disconnected, a container is renamed, another joins its namespace. And within
// a tier an application talks to itself only, and claims nobody else's address.
func TestNetLive(t *testing.T) {
	w := newWorld(t)
	for i, n := range []string{"n", "m"} {
		w.e.Docker("network", "create", "--subnet", []string{"10.78.0.0/24", "10.79.0.0/24"}[i], n)
	}
	w.counterBox("web", "--network", "n", "--label", "casco.app=shop")
	w.counterBox("web-a", "--network", "n", "--label", "casco.app=shop")
	w.counterBox("web-b", "--network", "n")
	w.counterBox("db", "--network", "n")
	w.counterBox("dbfar", "--network", "m")
	udp := func(from, to, network string) bool {
		t.Helper()
		before := len(w.counts(to).Tags)
		w.try(from, actor.Try{Kind: "udp", Addr: w.addr(to, network) + ":7000", Wait: 500})
		w.try(from, actor.Try{Kind: "frame", Addr: w.addr(to, network) + ":7000"})
		return len(w.counts(to).Tags) > before
	}
	wants := func(when, from, to, network string, want bool) {
		t.Helper()
		for range 3 {
			if got := udp(from, to, network); got == want {
				return
			} else if !want {
				t.Errorf("%s: %s gets to %s", when, from, to)
				return
			}
		}
		t.Errorf("%s: %s does not get to %s", when, from, to)
	}
	claimed := func() bool {
		w.inBox("db", "ip", "neigh", "flush", "all")
		w.try("web", actor.Try{Kind: "udp", Addr: w.addr("db", "n") + ":7000"}) // db answers, and knows web's MAC
		time.Sleep(1200 * time.Millisecond)                                     // locktime: an entry so new is not changed
		w.try("web-b", actor.Try{Kind: "arp", Addr: w.addr("db", "n"), From: w.addr("web", "n")})
		mac := w.e.Docker("inspect", "-f", `{{.NetworkSettings.Networks.n.MacAddress}}`, "web-b")
		return strings.Contains(w.inBox("db", "ip", "neigh", "show", w.addr("web", "n")), mac)
	}
	wants("without casco", "web-a", "web-b", "n", true)
	if !claimed() {
		t.Error("without casco nobody can claim another's address: the test proves nothing")
	}
	g := w.newGuard(livePolicy)
	g.start()
	wants("enforced", "web", "db", "n", true)
	wants("enforced", "web", "web-a", "n", true) // one application
	wants("enforced", "web-a", "web", "n", true)
	wants("enforced", "web-a", "web-b", "n", false)
	wants("enforced", "web-b", "db", "n", false)
	wants("enforced", "db", "web", "n", false)
	if claimed() {
		t.Error("web-b claims the address of web")
	}

	w.e.Docker("network", "connect", "m", "web-b")
	w.e.Docker("network", "connect", "m", "web")
	time.Sleep(300 * time.Millisecond)
	wants("connected", "web-b", "dbfar", "m", false)
	wants("connected", "web", "dbfar", "m", false)
	wants("connected", "web", "db", "n", true)
	pins, _ := w.kernel()
	w.e.Docker("network", "disconnect", "m", "web-b")
	w.e.Docker("network", "disconnect", "m", "web")
	time.Sleep(300 * time.Millisecond)
	if after, _ := w.kernel(); len(after) != len(pins)-2 {
		t.Errorf("%d interfaces are pinned after two were taken away, %d before", len(after), len(pins))
	}
	wants("disconnected", "web", "db", "n", true)

	// By another name it is another workload: web-b is web now, and web is not.
	w.e.Docker("rename", "web", "was")
	w.e.Docker("rename", "web-b", "webb")
	time.Sleep(300 * time.Millisecond)
	before := len(w.counts("db").Tags)
	w.try("web", actor.Try{Kind: "udp", Addr: w.addr("db", "n") + ":7000", Wait: 300})
	if len(w.counts("db").Tags) > before {
		t.Error("by a name that no flow has it gets to db")
	}
	w.e.Docker("rename", "was", "web")
	w.e.Docker("rename", "webb", "web-b")
	time.Sleep(300 * time.Millisecond)
	wants("renamed back", "web", "db", "n", true)

	// Who shares a namespace may do what all in it may.
	w.e.Docker("run", "-d", "--name", "guest", "--network", "container:web", w.image, "wait")
	time.Sleep(300 * time.Millisecond)
	wants("shared with another tier", "web", "db", "n", false)
	w.e.Docker("rm", "-f", "guest")
	time.Sleep(300 * time.Millisecond)
	wants("shared no more", "web", "db", "n", true)

	// One on the host's network is the host, and nobody takes the host's rules for
	// a container's.
	w.e.Docker("run", "-d", "--name", "onhost", "--network", "host", w.image, "wait")
	if !g.event("ungoverned", "onhost") {
		t.Error("nobody is told of a container on the host's network")
	}
	if tables := w.inNet("nft", "list", "chains", "inet"); strings.Contains(tables, "may_out") {
		t.Error("the host has the rules of a container")
	}
	g.quiet()
	g.stop()
}
