package guard

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"casco/internal/outside"
	"casco/lab/actor"
)

const matrixPolicy = `
tiers:
  - {id: public, impact: 0.3, networks: [np]}
  - {id: internal, impact: 0.6, networks: [ni]}
  - {id: restricted, impact: 1, networks: [nr]}
  - {id: other, impact: 0.5}
assign:
  - {match: {name: "web"}, tier: public}
  - {match: {name: "adm"}, tier: public}
  - {match: {name: "api"}, tier: internal}
  - {match: {name: "db"}, tier: restricted}
  - {default: other}
flows:
  - {id: f1, from: public/web, to: internal/api, port: 7000/tcp, why: app, owner: ro1, review: 2027-01-01}
  - {id: f2, from: internal/api, to: restricted/db, port: 7000/udp, why: app, owner: ro1, review: 2027-01-01}
  - {id: f3, from: any-internet, to: public/web, port: 7000/tcp, why: app, owner: ro1, review: 2027-01-01}
  - {id: f4, from: public/web, to: host, port: 7100/tcp, why: app, owner: ro1, review: 2027-01-01}
  - {id: f5, from: internal/api, to: "egress:198.51.100.2", port: 7000/tcp, why: app, owner: ro1, review: 2027-01-01}
  - {id: f6, from: host, to: restricted/db, port: 7001/tcp, why: backup, owner: ro1, review: 2027-01-01}
`

// flowsAllow is what matrixPolicy lets pass, read by a person: all else is to be
// stopped, by whatever way it is tried.
var flowsAllow = map[string]bool{
	"web api direct4 tcp": true, "web api direct6 tcp": true, // f1
	"api db direct4 udp": true, "api db direct6 udp": true, // f2
	"outside web published tcp": true, "outside web direct6 tcp": true, // f3
	"web host gateway4 tcp": true, "web host gateway6 tcp": true, "web host address tcp": true, // f4
	"api outside address tcp": true,                              // f5
	"host db backup4 tcp":     true, "host db backup6 tcp": true, // f6
	// What comes from the host's address may have come from outside, by
	// docker-proxy: f3.
	"host web direct4 tcp": true, "host web direct6 tcp": true,
}

// closedByDocker are ways that Docker itself closes. From 28.0 on that is
// routing from outside to a container's own address too: its table raw drops
// what comes to one by another interface than its bridge.
func (m *matrix) closedByDocker(way string) bool {
	for _, w := range []string{"othernet", "loopback", "gateloop"} {
		if strings.Contains(way, " "+w+" ") {
			return true
		}
	}
	return m.major >= 28 && strings.HasPrefix(way, "outside ") && strings.Contains(way, " direct")
}

// either are ways of which Docker decides, not the policy: before 28.0, routing
// from outside to a container's own address (FORWARD lets published ports pass).
func (m *matrix) either(way string) bool { return m.major < 28 && way == "outside web direct4 tcp" }

// A shot is one way that is tried.
type shot struct {
	from, to string // counters; what is for everybody may get to any
	way      string // "direct4 tcp"
	try      actor.Try
}

func (s shot) name() string { return s.from + " " + s.to + " " + s.way }

// A matrix is a world with a container of each tier, each on a network of its
// tier and all on one, and one more that may change its network.
type matrix struct {
	*netWorld
	proxy bool // docker-proxy is at work
	icc   bool
	major int // of the engine's version
}

// boxes are the containers, with the port at which the host passes on to them.
var boxes = []struct {
	name, network string
	port          int
}{{"web", "np", 8001}, {"api", "ni", 8002}, {"db", "nr", 8003}, {"adm", "np", 8004}}

func newMatrix(t testing.TB, proxy, icc bool, bridgeCall string) *matrix {
	config := filepath.Join(t.TempDir(), "daemon.json")
	outside.Write(t, config, fmt.Sprintf(`{"live-restore": true, "userland-proxy": %v}`, proxy))
	m := &matrix{netWorld: newWorld(t, "--config", config), proxy: proxy, icc: icc}
	m.major = m.e.Major()
	if bridgeCall != "" {
		for _, name := range []string{"iptables", "ip6tables"} {
			m.sysctl("net.bridge.bridge-nf-call-"+name, bridgeCall)
		}
	}
	for i, n := range []string{"mesh", "np", "ni", "nr"} {
		args := []string{"network", "create", "--subnet", fmt.Sprintf("10.7%d.0.0/24", i), "-o", fmt.Sprintf("com.docker.network.bridge.enable_icc=%v", icc)}
		if n == "mesh" {
			args = append(args, "--ipv6", "--subnet", "fd00:70::/64")
		}
		m.e.Docker(append(args, n)...)
	}
	m.counterIn(m.e.NetNS, "host", ":7100")
	m.counterIn(m.outside, "outside", outsideAddr+":7000", outsideAddr+":53", metadata+":80", "[2001:db8:9::2]:7000")
	for _, b := range boxes {
		args := []string{
			"create", "--name", b.name, "--restart", "always", "-v", m.dir + ":/at", "--network", b.network, "--dns", outsideAddr,
			"-p", fmt.Sprintf("%d:7000/tcp", b.port), "-p", fmt.Sprintf("%d:7000/udp", b.port), "-p", fmt.Sprintf("127.0.0.1:%d:7001/tcp", b.port+100),
		}
		if b.name == "adm" {
			args = append(args, "--cap-add", "NET_ADMIN")
		}
		m.e.Docker(append(args, m.image, "count", "-at", "/at/"+b.name, ":7000", ":7001")...)
		m.e.Docker("network", "connect", "mesh", b.name)
		m.e.Docker("start", b.name)
	}
	m.allReady()
	return m
}

func (m *matrix) allReady() {
	m.t.Helper()
	for _, b := range boxes {
		m.ready(b.name)
	}
}

// A boxNet is what a container has on the network that all share.
type boxNet struct{ iface, v4, v6, link, mac, own string }

func (m *matrix) nets() map[string]boxNet {
	m.t.Helper()
	out := map[string]boxNet{}
	for _, b := range boxes {
		var n boxNet
		var c []struct {
			NetworkSettings struct {
				Networks map[string]struct{ IPAddress, GlobalIPv6Address, MacAddress string }
			}
		}
		if err := json.Unmarshal([]byte(m.e.Docker("inspect", b.name)), &c); err != nil {
			m.t.Fatal(err)
		}
		mesh := c[0].NetworkSettings.Networks["mesh"]
		n.v4, n.v6, n.mac, n.own = mesh.IPAddress, mesh.GlobalIPv6Address, mesh.MacAddress, c[0].NetworkSettings.Networks[b.network].IPAddress
		for line := range strings.Lines(m.inBox(b.name, "ip", "-o", "addr")) {
			if f := strings.Fields(line); strings.HasPrefix(f[3], n.v4+"/") {
				n.iface = f[1]
			}
		}
		for line := range strings.Lines(m.inBox(b.name, "ip", "-o", "-6", "addr", "show", "dev", n.iface, "scope", "link")) {
			n.link, _, _ = strings.Cut(strings.Fields(line)[3], "/")
			if strings.Contains(line, "dadfailed") {
				m.t.Logf("the kernel found %s of %s on somebody else too: %s", n.link, b.name, line)
			}
		}
		out[b.name] = n
	}
	return out
}

// shots are all that is tried, by what the containers have now.
func (m *matrix) shots() []shot {
	m.t.Helper()
	nets := m.nets()
	var out []shot
	bridge := m.e.Docker("network", "inspect", "-f", `br-{{slice .Id 0 12}}`, "mesh")
	link := strings.Fields(m.inNet("ip", "-o", "-6", "addr", "show", "dev", bridge, "scope", "link"))[3]
	link, _, _ = strings.Cut(link, "/")
	for _, from := range boxes {
		out = append(out, m.toHost(from.name, nets[from.name], link)...)
		for i, to := range boxes {
			if from.name != to.name && to.name != "adm" {
				out = append(out, m.between(from.name, to.name, nets, fmt.Sprintf("10.7%d.0.1", i+1), to.port)...)
			}
		}
	}
	for _, to := range boxes[:3] {
		n := nets[to.name]
		for _, proto := range []string{"tcp", "udp"} {
			out = append(out,
				shot{from: "outside", to: to.name, way: "published " + proto, try: actor.Try{Kind: proto, Addr: fmt.Sprintf("%s:%d", hostAddr, to.port)}},
				shot{from: "outside", to: to.name, way: "direct4 " + proto, try: actor.Try{Kind: proto, Addr: n.v4 + ":7000"}},
				shot{from: "outside", to: to.name, way: "direct6 " + proto, try: actor.Try{Kind: proto, Addr: "[" + n.v6 + "]:7000"}},
				shot{from: "host", to: to.name, way: "direct4 " + proto, try: actor.Try{Kind: proto, Addr: n.v4 + ":7000"}},
				shot{from: "host", to: to.name, way: "direct6 " + proto, try: actor.Try{Kind: proto, Addr: "[" + n.v6 + "]:7000"}})
		}
		out = append(out,
			shot{from: "host", to: to.name, way: "backup4 tcp", try: actor.Try{Kind: "tcp", Addr: n.v4 + ":7001"}},
			shot{from: "host", to: to.name, way: "backup6 tcp", try: actor.Try{Kind: "tcp", Addr: "[" + n.v6 + "]:7001"}},
			shot{from: "host", to: to.name, way: "ping4 icmp", try: actor.Try{Kind: "icmp", Addr: n.v4}})
	}
	return out
}

// between are the ways from one container to another.
func (m *matrix) between(from, to string, nets map[string]boxNet, otherGateway string, port int) []shot {
	a, b := nets[from], nets[to]
	var out []shot
	add := func(way string, t actor.Try) { out = append(out, shot{from, to, way, t}) }
	for _, proto := range []string{"tcp", "udp"} {
		add("direct4 "+proto, actor.Try{Kind: proto, Addr: b.v4 + ":7000"})
		add("direct6 "+proto, actor.Try{Kind: proto, Addr: "[" + b.v6 + "]:7000"})
		add("link "+proto, actor.Try{Kind: proto, Addr: "[" + b.link + "%" + a.iface + "]:7000"})
		add("otherport "+proto, actor.Try{Kind: proto, Addr: b.v4 + ":7001"})
		if !(from == "adm" && to == "web") { // on one network of their own too
			add("othernet "+proto, actor.Try{Kind: proto, Addr: b.own + ":7000"})
		}
		add("owngateway "+proto, actor.Try{Kind: proto, Addr: fmt.Sprintf("10.70.0.1:%d", port)})
		if !(from == "adm" && to == "web") {
			add("othergateway "+proto, actor.Try{Kind: proto, Addr: fmt.Sprintf("%s:%d", otherGateway, port)})
		}
		add("hostaddress "+proto, actor.Try{Kind: proto, Addr: fmt.Sprintf("%s:%d", hostAddr, port)})
		if m.proxy {
			add("gateway6 "+proto, actor.Try{Kind: proto, Addr: fmt.Sprintf("[fd00:70::1]:%d", port)})
		}
	}
	add("loopback tcp", actor.Try{Kind: "tcp", Addr: fmt.Sprintf("127.0.0.1:%d", port+100)})
	add("gateloop tcp", actor.Try{Kind: "tcp", Addr: fmt.Sprintf("10.70.0.1:%d", port+100)})
	add("ping4 icmp", actor.Try{Kind: "icmp", Addr: b.v4})
	add("ping6 icmp", actor.Try{Kind: "icmp", Addr: b.v6})
	add("frame4", actor.Try{Kind: "frame", Addr: b.v4 + ":7000", MAC: b.mac})
	add("frame6", actor.Try{Kind: "frame", Addr: "[" + b.v6 + "]:7000", MAC: b.mac})
	add("everybody4", actor.Try{Kind: "frame", Addr: b.v4 + ":7000"}) // for everybody's MAC
	add("broadcast udp", actor.Try{Kind: "udp", Addr: "10.70.0.255:7000"})
	add("multicast udp", actor.Try{Kind: "udp", Addr: "[ff02::1%" + a.iface + "]:7000"})
	third := "api" // who may speak to db; and web to api
	if to == "api" {
		third = "web"
	}
	if from != third && to != third {
		add("spoofed4", actor.Try{Kind: "frame", Addr: b.v4 + ":7000", MAC: b.mac, From: nets[third].v4})
		add("spoofed6", actor.Try{Kind: "frame", Addr: "[" + b.v6 + "]:7000", MAC: b.mac, From: nets[third].v6})
	}
	add("spoofedgw4", actor.Try{Kind: "frame", Addr: b.v4 + ":7000", MAC: b.mac, From: "10.70.0.1"})
	if from != "adm" { // which may have deleted the rules by which it finds the resolver: the engine's, in its own namespace
		add("name dns", actor.Try{Kind: "dns", Addr: "127.0.0.11:53", Tag: to})
	}
	return out
}

// toHost are the ways from a container to the host and beyond.
func (m *matrix) toHost(from string, n boxNet, link string) []shot {
	var out []shot
	add := func(to, way string, t actor.Try) { out = append(out, shot{from, to, way, t}) }
	for _, proto := range []string{"tcp", "udp"} {
		add("host", "gateway4 "+proto, actor.Try{Kind: proto, Addr: "10.70.0.1:7100"})
		add("host", "gateway6 "+proto, actor.Try{Kind: proto, Addr: "[fd00:70::1]:7100"})
		add("host", "link "+proto, actor.Try{Kind: proto, Addr: "[" + link + "%" + n.iface + "]:7100"})
		add("host", "address "+proto, actor.Try{Kind: proto, Addr: hostAddr + ":7100"})
		add("outside", "address "+proto, actor.Try{Kind: proto, Addr: outsideAddr + ":7000"})
		add("outside", "address6 "+proto, actor.Try{Kind: proto, Addr: "[2001:db8:9::2]:7000"})
		add("outside", "metadata "+proto, actor.Try{Kind: proto, Addr: metadata + ":80"})
	}
	add("host", "frame4", actor.Try{Kind: "frame", Addr: "10.70.0.1:7100"})
	add("host", "ping4 icmp", actor.Try{Kind: "icmp", Addr: "10.70.0.1"})
	add("outside", "ping4 icmp", actor.Try{Kind: "icmp", Addr: outsideAddr})
	add("outside", "query udp", actor.Try{Kind: "udp", Addr: outsideAddr + ":53"})
	if from != "adm" {
		add("outside", "upstream dns", actor.Try{Kind: "dns", Addr: "127.0.0.11:53", Tag: "?.example"})
	}
	return out
}

// fire tries shots, all of one sender at once, and says which arrived: by the
// counters of receivers. A name arrived if it was answered with an address.
func (m *matrix) fire(shots []shot) map[string]bool {
	m.t.Helper()
	arrived := map[string]bool{}
	tags := map[string]shot{}
	by := map[string][]actor.Try{}
	names := map[string][]string{}
	for _, s := range shots {
		tag := m.newTag()
		tags[tag] = s
		switch {
		case s.try.Tag == "":
			s.try.Tag = tag
		case strings.HasPrefix(s.try.Tag, "?"):
			s.try.Tag = strings.Replace(s.try.Tag, "?", tag, 1)
		}
		by[s.from] = append(by[s.from], s.try)
		names[s.from] = append(names[s.from], s.name())
	}
	var mu sync.Mutex // guards arrived
	var all sync.WaitGroup
	for from, tries := range by {
		all.Go(func() {
			r, err := actor.Order(m.at(from), actor.Orders{Tries: tries})
			if err != nil {
				m.t.Errorf("counter %s: %v", from, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for i, got := range r.Tried {
				if strings.HasSuffix(names[from][i], "name dns") && got.Reached && netip.MustParseAddr(strings.Fields(got.Answer)[0]).IsValid() {
					arrived[names[from][i]] = true
				}
			}
		})
	}
	all.Wait()
	time.Sleep(100 * time.Millisecond)
	for _, name := range []string{"web", "api", "db", "adm", "host", "outside"} {
		for key := range m.counts(name).Tags {
			_, tag, _ := strings.Cut(key, " ")
			if s, ok := tags[tag]; ok && s.from != name {
				arrived[s.name()] = true
			}
		}
	}
	return arrived
}

// phase tries everything, and holds it against what is to be. What should
// arrive is tried again for some time: a host that is busy loses packets.
func (m *matrix) phase(name string, should func(way string) bool) {
	m.t.Helper()
	began := time.Now()
	m.allReady()
	shots := m.shots()
	got := m.fire(shots)
	open, wrong := 0, 0
	var again []shot
	for _, s := range shots {
		way := s.name()
		switch {
		case m.either(way):
		case got[way] && !should(way):
			wrong++
			m.t.Errorf("%s: %s arrived (%s %s)", name, way, s.try.Kind, s.try.Addr)
		case got[way]:
			open++
		case should(way):
			again = append(again, s)
		}
	}
	for range 6 {
		if len(again) == 0 {
			break
		}
		got := m.fire(again)
		again = slices.DeleteFunc(again, func(s shot) bool {
			if got[s.name()] {
				open++
			}
			return got[s.name()]
		})
	}
	for _, s := range again {
		m.t.Errorf("%s: %s did not arrive (%s %s)", name, s.name(), s.try.Kind, s.try.Addr)
	}
	m.t.Logf("%s: %d ways, %d open, %d wrongly, %d closed wrongly (%s)", name, len(shots), open, wrong, len(again), time.Since(began).Round(100*time.Millisecond))
}

// byPolicy is what is open with casco. Names of containers are answered by the
// engine's own resolver, which no packet leaves the namespace for. What Docker
// closes stays closed.
func (m *matrix) byPolicy(way string) bool {
	if !m.icc && strings.Contains(way, " direct4 ") && !strings.Contains(way, "host") && !strings.Contains(way, "outside") {
		return false
	}
	return flowsAllow[way] && !m.closedByDocker(way) || strings.HasSuffix(way, " name dns")
}

// openPhase is a phase in which Docker alone decides. Without communication
// between containers that depends on the kernel's filter of bridges, and only
// IPv4 is closed: it is not what is tested here.
func (m *matrix) openPhase(name string) {
	m.t.Helper()
	if m.icc {
		m.phase(name, func(way string) bool { return !m.closedByDocker(way) })
	}
}

// TestNetMatrix: every way from every tier to every other, to the host and to
// the world is as the policy says, whatever is restarted or killed.
func TestNetMatrix(t *testing.T) {
	type variant struct {
		name       string
		proxy, icc bool
		bridge     string
	}
	variants := []variant{{"proxy", true, true, ""}}
	if os.Getenv("CASCO_MATRIX") == "full" {
		variants = append(variants, variant{"no proxy", false, true, ""}, variant{"bridge filter on", true, true, "1"},
			variant{"bridge filter off", true, true, "0"}, variant{"no icc", true, false, "1"})
	}
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			m := newMatrix(t, v.proxy, v.icc, v.bridge)
			m.through()
		})
	}
}

func (m *matrix) through() {
	m.openPhase("before")
	g := m.newGuard(matrixPolicy)
	g.mode(false)
	g.start()
	m.openPhase("counted only")
	m.hold("web", "api", "tagapix")
	m.hold("web", "db", "tagdbx")
	m.hold("api", "outside", "tagoutx")
	m.hold("db", "outside", "tagleakx")
	m.hold("adm", "host", "taghostx")
	g.mode(true)
	g.reload()
	m.phase("enforced", m.byPolicy)
	m.held("enforced")
	m.attack("owned")
	m.phase("attacked from inside", m.byPolicy)
	m.e.Docker("restart", "-t", "1", "web", "api", "db", "adm")
	m.phase("containers restarted", m.byPolicy)
	m.e.Restart()
	m.phase("dockerd restarted, live-restore", m.byPolicy)
	outside.Write(m.t, m.e.Config, fmt.Sprintf(`{"live-restore": false, "userland-proxy": %v}`, m.proxy))
	outside.Tool(m.t, "kill", "-HUP", fmt.Sprint(m.e.Pid()))
	time.Sleep(500 * time.Millisecond)
	m.e.Restart()
	m.phase("dockerd restarted", m.byPolicy)
	m.hold("web", "api", "tagapix")
	m.hold("api", "outside", "tagoutx")
	g.kill()
	m.phase("guard killed", m.byPolicy)
	m.held("guard killed")
	m.attack("orphaned")
	m.phase("guard killed, attacked from inside", m.byPolicy)
	other := filepath.Join(m.e.Root, "casco-next")
	if out, err := exec.Command("cp", g.program, other).CombinedOutput(); err != nil {
		m.t.Fatalf("%v %s", err, out)
	}
	g.program = other
	g.start()
	m.phase("another guard", m.byPolicy)
	m.held("another guard")
	m.attack("owned")
	g.mode(false)
	g.reload()
	m.openPhase("no longer enforced")
	g.quiet()
	g.stop()
}

// hold opens a connection that is kept, whether or not the policy lets it be.
func (m *matrix) hold(from, to, tag string) {
	m.t.Helper()
	addr := map[string]string{"outside": outsideAddr + ":7000", "host": hostAddr + ":7100"}[to]
	if addr == "" {
		if !m.icc {
			return // Docker closes it
		}
		addr = m.addr(to, "mesh") + ":7000"
	}
	if r := m.try(from, actor.Try{Kind: "hold", Addr: addr, Tag: tag}); !r.Reached {
		m.t.Errorf("%s to %s: %s", from, to, r.Err)
	}
}

// held sends on over the connections that were kept: those that the policy lets
// be live, and no other.
func (m *matrix) held(phase string) {
	m.t.Helper()
	for _, c := range []struct {
		from, to, tag string
		lives         bool
	}{
		{"web", "api", "tagapix", true},
		{"api", "outside", "tagoutx", true},
		{"web", "db", "tagdbx", false},
		{"db", "outside", "tagleakx", false},
		{"adm", "host", "taghostx", false},
	} {
		if !m.icc && c.to == "api" {
			continue
		}
		key := "tcp " + c.tag
		before := m.counts(c.to).Tags[key]
		m.try(c.from, actor.Try{Kind: "again", Tag: c.tag})
		if arrived := m.counts(c.to).Tags[key] > before; arrived != c.lives {
			m.t.Errorf("%s: the connection of %s with %s, from before: data arrive %v, want %v", phase, c.from, c.to, arrived, c.lives)
		}
	}
}

// attack has the container with CAP_NET_ADMIN delete the rules of its
// namespace. While a guard owns them it cannot.
func (m *matrix) attack(how string) {
	m.t.Helper()
	for _, table := range []string{"casco", "*"} {
		r := m.try("adm", actor.Try{Kind: "flush", Tag: table})
		m.t.Logf("%s: adm flushes %q: %+v", how, table, r)
	}
	has := strings.Contains(m.inBox("adm", "nft", "list", "tables"), "inet casco")
	if how == "owned" && !has {
		m.t.Error("a container took away rules that the guard owns")
	}
}
