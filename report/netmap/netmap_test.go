package netmap

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"image/color"
	"image/png"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"casco/guard/network"
	"casco/lang"
	"casco/policy"
)

var update = flag.Bool("update", false, "write what the tests give as what they want")

const shopPolicy = `apiVersion: casco/v1
kind: Policy
metadata: {name: shop, version: 7}
tiers:
  - {id: public, es: público, impact: 0.2, networks: [front]}
  - {id: internal, es: interno, impact: 0.5, networks: [apps]}
  - {id: restricted, es: restringido, impact: 1, networks: [data]}
assign:
  - {match: {name: "proxy|web*"}, tier: public}
  - {match: {name: "api|cart|worker|mail"}, tier: internal}
  - {match: {name: "db|cache|vault"}, tier: restricted}
  - default: internal
flows:
  - {id: in-https, from: any-internet, to: public/proxy, port: 443/tcp, why: the shop, owner: ana, review: 2027-01-31}
  - {id: in-http, from: any-internet, to: public/proxy, port: 80/tcp, why: redirect to https, owner: ana, review: 2027-01-31}
  - {id: proxy-web, from: public/proxy, to: "public/web*", port: 8080/tcp}
  - {id: web-api, from: "public/web*", to: internal/api, port: 8080/tcp, why: the shop asks its API, owner: ana, review: 2027-01-31}
  - {id: api-db, from: internal/api, to: restricted/db, port: 5432/tcp, why: orders and customers, owner: luis, review: 2026-02-28}
  - {id: api-cache, from: internal/api, to: restricted/cache, port: 6379/tcp, why: sessions, owner: luis, review: 2027-01-31}
  - {id: worker-db, from: internal/worker, to: restricted/db, port: 5432/tcp, why: nightly reports, owner: luis, review: 2027-01-31}
  - {id: mail-out, from: internal/mail, to: "egress:smtp.provider.example", port: 587/tcp, why: receipts, owner: ana, review: 2027-01-31}
  - {id: upd, from: "internal/*", to: "egress:203.0.113.0/24", port: 443/tcp, why: updates, owner: ana, review: 2027-01-31}
  - {id: dns, from: "internal/*", to: host, port: 53/udp, why: names, owner: ana, review: 2027-01-31}
  - {id: mon, from: host, to: restricted/db, port: 9187/tcp, why: figures of the database, owner: luis, review: 2027-01-31}
  - {id: web-vault, from: public/web1, to: restricted/vault, port: 8200/tcp, why: certificate, owner: ana, review: 2027-01-31}
`

// A built world: containers on networks.
type builder struct {
	w    network.World
	next int
}

func (b *builder) net(name, subnet string) {
	p := netip.MustParsePrefix(subnet)
	b.w.Segments = append(b.w.Segments, network.Segment{Name: name, Driver: "bridge", Bridge: "br-" + name, Subnets: []netip.Prefix{p}, Gateways: []netip.Addr{p.Addr().Next()}})
}

func (b *builder) run(name, nets string, publish ...string) uint64 {
	b.next++
	n := network.Namespace{ID: uint64(b.next)}
	m := network.Workload{Workload: policy.Workload{Name: name, Networks: strings.Fields(nets), Labels: map[string]string{}}, OnHost: nets == "host"}
	for _, net := range strings.Fields(nets) {
		for _, s := range b.w.Segments {
			if s.Name == net {
				a := s.Gateways[0]
				for range b.next + 1 {
					a = a.Next()
				}
				n.Endpoints = append(n.Endpoints, network.Endpoint{Network: net, Addrs: []netip.Addr{a}, Gateways: s.Gateways})
			}
		}
	}
	for _, p := range publish {
		at, inner, _ := strings.Cut(p, ">")
		port, err := network.ParsePort(inner)
		if err != nil {
			panic(err)
		}
		host := netip.MustParseAddrPort(at)
		m.Published = append(m.Published, network.Published{Host: host.Addr(), HostPort: host.Port(), Port: port})
	}
	n.Members = []network.Workload{m}
	b.w.Namespaces = append(b.w.Namespaces, n)
	return n.ID
}

func shop(t testing.TB) network.Map {
	t.Helper()
	b := &builder{w: network.World{Engine: "29.7.2", Host: []netip.Addr{netip.MustParseAddr("192.0.2.10")}}}
	b.net("front", "172.20.0.0/16")
	b.net("apps", "172.21.0.0/16")
	b.net("data", "172.22.0.0/16")
	b.run("proxy", "front", "0.0.0.0:443>443/tcp", "0.0.0.0:80>80/tcp", "[::]:443>443/tcp")
	b.run("web1", "apps front")
	b.run("web2", "apps front")
	api := b.run("api", "apps data")
	b.run("cart", "apps")
	b.run("worker", "apps data")
	b.run("mail", "apps")
	b.run("db", "data", "0.0.0.0:15432>5432/tcp")
	b.run("cache", "data", "127.0.0.1:6379>6379/tcp")
	b.run("vault", "data")
	debug := b.run("debug-shell", "data")
	b.run("node-exporter", "host")
	p := parse(t, shopPolicy)
	addr := func(id uint64, k int) netip.Addr { return b.w.Namespaces[id-1].Endpoints[k].Addrs[0] }
	at := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	flow := func(ns uint64, peer netip.Addr, port uint16, n uint64) network.Flow {
		return network.Flow{Namespace: ns, Out: true, Peer: peer, Port: network.Port{Number: port, Proto: network.TCP}, Connections: n, Replied: n, Sent: network.Count{Packets: n, Bytes: 900 * n}, First: at, Last: at}
	}
	flows := []network.Flow{
		flow(2, addr(api, 0), 8080, 4211), flow(3, addr(api, 0), 8080, 3977), flow(api, addr(8, 0), 5432, 9120),
		flow(api, addr(9, 0), 6379, 15822), flow(6, addr(8, 0), 5432, 12), flow(debug, addr(8, 0), 5432, 3),
		{Namespace: 1, Peer: netip.MustParseAddr("198.51.100.7"), Port: network.Port{Number: 443, Proto: network.TCP}, Connections: 5000, Replied: 5000, Last: at, First: at},
		flow(1, addr(2, 1), 8080, 5), flow(7, netip.MustParseAddr("203.0.113.9"), 443, 2),
	}
	m, err := network.MapOf(b.w, p, at, flows)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func parse(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, problems := policy.ParseFile("policy.yaml", []byte(text))
	if p == nil {
		t.Fatal(problems)
	}
	return p
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s: -want +got\n%s", file, diff)
	}
}

func TestText(t *testing.T) {
	for _, l := range []lang.Lang{lang.English, lang.Spanish} {
		var b bytes.Buffer
		if err := WriteText(&b, shop(t), l); err != nil {
			t.Fatal(err)
		}
		golden(t, fmt.Sprintf("testdata/shop.%s.txt", l), b.Bytes())
	}
}

func TestSVG(t *testing.T) {
	for _, l := range []lang.Lang{lang.English, lang.Spanish} {
		var b bytes.Buffer
		if err := WriteSVG(&b, shop(t), l); err != nil {
			t.Fatal(err)
		}
		golden(t, fmt.Sprintf("testdata/shop.%s.svg", l), b.Bytes())
	}
}

// crowd is a map of so many workloads.
func crowd(t testing.TB, n int) network.Map {
	t.Helper()
	b := &builder{w: network.World{Engine: "20.10.24"}}
	b.net("front", "172.20.0.0/16")
	b.net("apps", "172.21.0.0/16")
	b.net("data", "172.22.0.0/16")
	b.net("batch", "172.23.0.0/16")
	for i := range n {
		switch i % 7 {
		case 0, 1:
			b.run(fmt.Sprintf("web%d", i), "front", fmt.Sprintf("0.0.0.0:%d>8080/tcp", 8000+i))
		case 2, 3:
			b.run(fmt.Sprintf("service-with-a-long-name-%d", i), "apps front")
		case 4:
			b.run(fmt.Sprintf("batch%d", i), "batch")
		default:
			b.run(fmt.Sprintf("db%d", i), "data")
		}
	}
	m, err := network.MapOf(b.w, parse(t, `apiVersion: casco/v1
kind: Policy
metadata: {name: crowd, version: 1}
tiers:
  - {id: public, impact: 0.2, networks: [front]}
  - {id: internal, impact: 0.5, networks: [apps, batch]}
  - {id: restricted, impact: 1, networks: [data]}
assign:
  - {match: {name: "web*"}, tier: public}
  - default: internal
flows:
  - {id: a, from: any-internet, to: "public/*", port: 8080/tcp}
  - {id: b, from: "public/*", to: "internal/service*", port: 80/tcp}
  - {id: c, from: "internal/*", to: "restricted/*", port: 5432/tcp}
  - {id: d, from: internal/batch4, to: restricted/db5, port: 5433/tcp}
  - {id: e, from: internal/batch4, to: "egress:192.0.2.7", port: 443/tcp}
`), time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestLayout: boxes lie beside each other or within their own, an arrow begins
// and ends at an edge of its box, and no label lies on a box or on another.
func TestLayout(t *testing.T) {
	maps := map[string]network.Map{"shop": shop(t), "3": crowd(t, 3), "0": crowd(t, 0), "48": crowd(t, 48), "120": crowd(t, 120)}
	for name, m := range maps {
		p := &plan{m: m, l: lang.English, work: map[string]*node{}, tiers: map[string]*node{}, dest: map[string]*node{}}
		p.sides()
		p.columns()
		p.arrows()
		p.heights()
		p.route()
		p.widths()
		d := p.draw()
		var boxes []*node
		for _, col := range append(p.cols, p.heads) {
			var last *node
			for _, n := range col {
				if n == nil {
					continue
				}
				if last != nil && overlap(last, n) {
					t.Errorf("%s: %s lies on %s", name, n.name, last.name)
				}
				last = n
				boxes = append(boxes, n)
				for i, k := range n.kids {
					if k.x < n.x || k.x+k.w > n.x+n.w || k.y < n.y || k.y+k.h > n.y+n.h || i > 0 && overlap(n.kids[i-1], k) {
						t.Errorf("%s: %s does not lie in %s", name, k.name, n.name)
					}
				}
			}
		}
		level := map[string]*edge{}
		for _, e := range p.edges {
			at := p.points(e)
			for n, end := range map[*node]point{e.from: at[0], e.to: at[len(at)-1]} {
				if end.x != n.x && end.x != n.x+n.w || end.y < n.y || end.y > n.y+n.h {
					t.Errorf("%s: %s to %s is not at the edge of %s", name, e.from.name, e.to.name, n.name)
				}
			}
			for i := 1; i < len(at); i++ {
				if at[i].x != at[i-1].x && at[i].y != at[i-1].y {
					t.Errorf("%s: an arrow is neither upright nor level", name)
				}
			}
			key := fmt.Sprintf("%d %.1f", e.end.gutter, e.end.y)
			if level[key] != nil {
				t.Errorf("%s: two arrows come in at one height: %s and %s", name, e.label, level[key].label)
			}
			level[key] = e
		}
		var labels []box
		for i, m := range d.marks {
			b, is := m.(box)
			if !is || i == 0 || b.fill != paper || b.h != 12 || b.width != 0 {
				continue
			}
			for _, n := range boxes {
				if b.x < n.x+n.w && n.x < b.x+b.w && b.y < n.y+n.h && n.y < b.y+b.h {
					t.Errorf("%s: a label lies on %s", name, n.name)
				}
			}
			for _, o := range labels {
				if b.x < o.x+o.w && o.x < b.x+b.w && b.y < o.y+o.h && o.y < b.y+b.h {
					t.Errorf("%s: two labels lie on each other at %v, %v", name, b.x, b.y)
				}
			}
			labels = append(labels, b)
		}
		if len(labels) != len(p.edges) {
			t.Errorf("%s: %d labels of %d arrows", name, len(labels), len(p.edges))
		}
	}
}

func overlap(a, b *node) bool {
	return a.x < b.x+b.w && b.x < a.x+a.w && a.y < b.y+b.h && b.y < a.y+a.h
}

// TestPNG: a picture of the right size with something on it, and the same each
// time.
func TestPNG(t *testing.T) {
	var a, b bytes.Buffer
	for _, w := range []*bytes.Buffer{&a, &b} {
		if err := WritePNG(w, shop(t), lang.English); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two pictures of one map differ")
	}
	img, err := png.Decode(&a)
	if err != nil {
		t.Fatal(err)
	}
	d := layout(shop(t), lang.English)
	if size := img.Bounds().Size(); float64(size.X) < d.w*scale || float64(size.Y) < d.h*scale {
		t.Errorf("%v for a drawing of %v × %v", size, d.w, d.h)
	}
	for _, m := range d.marks {
		if h, is := m.(box); is && h.fill == rgb(0x3b4a5a) { // the head of a tier
			if c := color.RGBAModel.Convert(img.At(int((h.x+h.w-8)*scale), int((h.y+4)*scale))); c != h.fill {
				t.Errorf("the head of a tier is %v", c)
			}
		}
	}
}

// FuzzHostile: no name breaks out of a picture, a table or a line.
func FuzzHostile(f *testing.F) {
	f.Add("</text><script>alert(1)</script>", "\x1b[2J", "]]>&#0;")
	f.Add("\u202eevil\u202c", "a\nb", "\xff\xfe")
	f.Fuzz(func(t *testing.T, workload, net, why string) {
		m := network.Map{
			Policy: why, Tiers: []network.MapTier{{ID: "t", Impact: 1, Inside: "app", Workloads: []string{workload}, ByDefault: []string{workload}}},
			Networks:  []network.MapNetwork{{Name: net, Driver: why, Tiers: []string{"t", why}, Workloads: []string{workload}}},
			Workloads: []network.MapWorkload{{Name: workload, Tier: "t", Networks: []string{net}, ByDefault: true, Shares: []string{why}}},
			Crossings: []network.Crossing{{ID: "x", From: "t/" + workload, To: "egress:" + why, FromTier: "t", Sources: []string{workload}, Why: why, Owner: net}},
			Exposure:  []network.Exposure{{Workload: workload, Tier: "t", Way: network.PublishedPort, Today: network.Reached{Outside: true, Containers: []string{net}}}},
		}
		var svg, text bytes.Buffer
		if err := WriteSVG(&svg, m, lang.English); err != nil {
			t.Fatal(err)
		}
		d := xml.NewDecoder(&svg)
		for {
			tok, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if s, is := tok.(xml.StartElement); is && !slices.Contains([]string{"svg", "title", "desc", "rect", "text", "circle", "polyline", "path"}, s.Name.Local) {
				t.Fatalf("an element %s", s.Name.Local)
			}
		}
		if err := WriteText(&text, m, lang.Spanish); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text.String()) {
			line = strings.TrimSuffix(line, "\n")
			if strings.ContainsFunc(line, unicode.IsControl) {
				t.Errorf("%q has what a terminal obeys", line)
			}
			if utf8.RuneCountInString(line) > width {
				t.Errorf("%q is wider than %d", line, width)
			}
		}
	})
}

// TestJSON: what is written is the map, and can be read back as one.
func TestJSON(t *testing.T) {
	var b bytes.Buffer
	m := shop(t)
	if err := WriteJSON(&b, m); err != nil {
		t.Fatal(err)
	}
	var back network.Map
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := WriteJSON(&again, back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), again.String()); diff != "" {
		t.Error(diff)
	}
}
