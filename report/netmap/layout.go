package netmap

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"

	"casco/guard/network"
	"casco/lang"
)

// Sizes, in pixels.
const (
	margin   = 26
	titleH   = 50
	columnW  = 216
	sideW    = 150 // of the first column and of the last
	headH    = 40
	netHeadH = 26
	pad      = 11
	gap      = 9  // between two workloads
	netGap   = 18 // between two networks
	laneGap  = 9  // between two lines that run beside each other
	stubGap  = 15 // between two arrows that come in at one side
	small    = 10
	normal   = 12
)

// A node is a box that arrows can begin and end at: a workload, a network, a
// tier, or what is beside the tiers.
type node struct {
	col        int
	x, y, w, h float64
	in         *node // what it is in
	kids       []*node
	lines      []mark
	name       string
	note       string // small, behind or under the name
	bad        bool
	kind       kind
	// Arrows at its left side and at its right, of both kinds.
	left, right []*stub
}

type kind uint8

const (
	isWork kind = iota
	isNet
	isTier
	isSide // outside, the host, a destination
)

// A mark is a small line in a workload, with a dot in front.
type mark struct {
	s    string
	dot  color.RGBA
	fill bool
	has  bool // a dot
}

// A stub is where an arrow leaves a box or comes in.
type stub struct {
	y      float64
	comes  bool
	other  *node
	gutter int
}

// An edge is an arrow.
type edge struct {
	from, to   *node
	label      string
	ink        color.RGBA
	dashed     bool
	start, end *stub
	lanes      [2]*lane // where it runs upright: first and last gutter; one may be nil
	channel    int      // where it runs level above the networks, -1: it does not
}

// A lane is an upright line in a gutter.
type lane struct {
	gutter int
	sort   float64
	x      float64
}

// A plan is a map on its way to paper.
type plan struct {
	m       network.Map
	l       lang.Lang
	cols    [][]*node // from left to right; boxes from top to bottom
	heads   []*node   // of each column, nil of those that have none
	work    map[string]*node
	tiers   map[string]*node
	outside *node
	host    *node
	dest    map[string]*node
	edges   []*edge
	undrawn int
	bodyY   float64
	bottom  float64
	gutters []gutter
}

type gutter struct {
	x, w        float64
	left, right float64 // room for labels
	lanes       []*lane
}

// layout draws m.
func layout(m network.Map, l lang.Lang) drawing {
	p := &plan{m: m, l: l, work: map[string]*node{}, tiers: map[string]*node{}, dest: map[string]*node{}}
	p.sides()
	p.columns()
	p.arrows()
	p.heights()
	p.route()
	p.widths()
	return p.draw()
}

func (p *plan) say(t lang.Text) string { return t.In(p.l) }

// sides makes the first column: who is outside, and the host.
func (p *plan) sides() {
	p.outside = &node{kind: isSide, name: p.say(lang.Text{En: "Outside", Es: "Fuera"}), note: p.say(lang.Text{En: "any address", Es: "cualquier dirección"})}
	p.host = &node{kind: isSide, name: p.say(lang.Text{En: "Host", Es: "Anfitrión"}), note: p.say(lang.Text{En: "no rule is about it", Es: "ninguna regla trata de él"})}
	for _, x := range p.m.Workloads {
		if x.OnHost {
			p.host.lines = append(p.host.lines, mark{s: x.Name, dot: red, fill: true, has: true})
		}
	}
	if n := len(p.host.lines); n > 8 {
		p.host.lines = append(p.host.lines[:7], mark{s: p.say(lang.Text{En: "and %d more", Es: "y %d más"}.F(n - 7))})
	}
	p.cols, p.heads = [][]*node{{p.outside, p.host}}, []*node{nil}
}

// columns makes one for each tier.
func (p *plan) columns() {
	for _, t := range p.m.Tiers {
		head := &node{
			kind: isTier, name: t.Name().In(p.l),
			note: p.say(lang.Text{En: "impact %.2g · inside: %s", Es: "impacto %.2g · dentro: %s"}.F(t.Impact, t.Inside)),
		}
		p.tier(t.ID, head)
	}
	if slices.ContainsFunc(p.m.Workloads, func(x network.MapWorkload) bool { return x.Tier == "" && !x.OnHost }) {
		p.tier("", &node{kind: isTier, name: p.say(noTierWord), bad: true})
	}
}

// tier makes a column: its networks, with the workloads that have their place
// in each.
func (p *plan) tier(id string, head *node) {
	col := len(p.cols)
	head.col, p.tiers[id] = col, head
	var nets []*node
	by := map[string]*node{}
	shown := 0
	for _, x := range p.m.Workloads {
		if !x.OnHost {
			shown++
		}
	}
	for _, x := range p.m.Workloads {
		if x.Tier != id || x.OnHost {
			continue
		}
		home := p.home(x)
		if by[home] == nil {
			by[home] = p.network(home)
			by[home].col = col
			nets = append(nets, by[home])
		}
		if shown > most {
			p.work[x.Name] = by[home]
			by[home].note = p.count(by[home], x)
			continue
		}
		w := p.workload(x, home)
		w.col, w.in = col, by[home]
		by[home].kids = append(by[home].kids, w)
		p.work[x.Name] = w
	}
	slices.SortStableFunc(nets, func(a, b *node) int { return cmp.Compare(a.name, b.name) })
	p.cols, p.heads = append(p.cols, nets), append(p.heads, head)
}

// count says how many workloads a network has that are not drawn one by one.
func (p *plan) count(n *node, x network.MapWorkload) string {
	n.lines = nil
	all, byDefault := 0, 0
	home := p.home(x)
	for _, o := range p.m.Workloads {
		if o.Tier == x.Tier && !o.OnHost && p.home(o) == home {
			all++
			if o.ByDefault {
				byDefault++
			}
		}
	}
	n.lines = append(n.lines, mark{s: p.say(lang.Text{En: "%d workloads", Es: "%d cargas"}.F(all))})
	if byDefault > 0 {
		n.lines = append(n.lines, mark{s: p.say(lang.Text{En: "%d by default", Es: "%d por omisión"}.F(byDefault)), dot: amber, fill: true, has: true})
	}
	open, more := 0, 0
	for _, e := range p.m.Exposure {
		for _, o := range p.m.Workloads {
			if o.Name == e.Workload && o.Tier == x.Tier && p.home(o) == home {
				open++
				if unwanted(e) {
					more++
				}
			}
		}
	}
	if open > 0 {
		ink := green
		if more > 0 {
			ink = red
		}
		n.lines = append(n.lines, mark{s: p.say(lang.Text{En: "%d published, %d too wide", Es: "%d publicados, %d de más"}.F(open, more)), dot: ink, fill: true, has: true})
	}
	return n.note
}

// home is the network at which a workload is drawn: one that carries its tier,
// else one that no other tier is on, else the first.
func (p *plan) home(x network.MapWorkload) string {
	best, rank := "", 3
	for _, name := range x.Networks {
		for _, n := range p.m.Networks {
			r := 2
			switch {
			case n.Name != name:
				continue
			case n.Tier == x.Tier && x.Tier != "":
				r = 0
			case !n.Mixed():
				r = 1
			}
			if r < rank {
				best, rank = name, r
			}
		}
	}
	return best
}

// network is the box of one.
func (p *plan) network(name string) *node {
	n := &node{kind: isNet, name: name}
	if name == "" {
		n.name = p.say(lang.Text{En: "no network", Es: "sin red"})
		return n
	}
	for _, is := range p.m.Networks {
		if is.Name != name {
			continue
		}
		if is.Internal {
			n.note = p.say(lang.Text{En: "internal", Es: "interna"})
		}
		if is.Driver != "" && is.Driver != "bridge" {
			n.note = strings.TrimPrefix(n.note+", "+is.Driver, ", ")
		}
		if is.Mixed() {
			n.bad = true
			n.note = p.say(lang.Text{En: "mixed: %s", Es: "mezclada: %s"}.F(strings.Join(is.Tiers, ", ")))
		}
	}
	return n
}

// workload is the box of one, with what is odd about it and what it publishes.
func (p *plan) workload(x network.MapWorkload, home string) *node {
	n := &node{kind: isWork, name: x.Name}
	if x.ByDefault {
		n.lines = append(n.lines, mark{s: p.say(lang.Text{En: "tier by default", Es: "nivel por omisión"}), dot: amber, fill: true, has: true})
	}
	if len(x.Shares) > 0 {
		n.lines = append(n.lines, mark{s: p.say(lang.Text{En: "one with %s", Es: "uno con %s"}.F(list(x.Shares, 2)))})
	}
	var also []string
	for _, net := range x.Networks {
		if net != home {
			also = append(also, net)
		}
	}
	if len(also) > 0 {
		n.lines = append(n.lines, mark{s: p.say(lang.Text{En: "also on %s", Es: "también en %s"}.F(list(also, 3)))})
	}
	var doors []mark
	for _, e := range p.m.Exposure {
		if e.Workload == x.Name {
			d := mark{s: doorOf(e), dot: green, fill: true, has: true}
			switch {
			case unwanted(e):
				d.dot = red
			case e.Today.HostOnly():
				d.dot, d.fill = grey, false
			}
			doors = append(doors, d)
		}
	}
	slices.SortStableFunc(doors, func(a, b mark) int { return cmp.Compare(rankOf(a), rankOf(b)) })
	if k := len(doors); k > 3 {
		doors = append(doors[:2], mark{s: p.say(lang.Text{En: "and %d more", Es: "y %d más"}.F(k - 2))})
	}
	n.lines = append(n.lines, doors...)
	return n
}

func rankOf(m mark) int { return slices.Index([]color.RGBA{red, green, grey}, m.dot) }

// ends are the boxes that an end of a flow is at: a few workloads, or the
// network they are in, or their tier.
func (p *plan) ends(end, tier string, names []string) []*node {
	switch {
	case end == network.Internet:
		return []*node{p.outside}
	case end == network.TheHost:
		return []*node{p.host}
	case tier == "":
		return []*node{p.destination(strings.TrimPrefix(end, "egress:"))}
	}
	var out []*node
	for _, name := range names {
		if n := p.work[name]; n != nil && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	if len(out) > 3 {
		same := !slices.ContainsFunc(out, func(n *node) bool { return n.in != out[0].in })
		if same && out[0].in != nil && len(out) == len(out[0].in.kids) {
			return []*node{out[0].in}
		}
		out = nil
	}
	if head := p.tiers[tier]; len(out) == 0 && head != nil {
		return []*node{head}
	}
	return out
}

// destination is a box in the last column.
func (p *plan) destination(name string) *node {
	if p.dest[name] == nil {
		p.dest[name] = &node{kind: isSide, name: name, col: -1}
	}
	return p.dest[name]
}

// arrows makes the edges: those of the policy, then what nobody declared. Flows
// between the same two boxes are one arrow.
func (p *plan) arrows() {
	add := func(froms, tos []*node, label string, ink color.RGBA, dashed, declared bool) {
		for _, a := range froms {
			for _, b := range tos {
				if a == b || a.in == b || b.in == a {
					p.undrawn++
					continue
				}
				i := slices.IndexFunc(p.edges, func(e *edge) bool {
					return e.from == a && e.to == b && e.dashed == dashed && (e.ink == red) == !declared
				})
				if i >= 0 {
					if !strings.Contains(", "+p.edges[i].label+",", ", "+label+",") {
						p.edges[i].label += ", " + label
					}
					continue
				}
				p.edges = append(p.edges, &edge{from: a, to: b, label: label, ink: ink, dashed: dashed, channel: -1})
			}
		}
	}
	n := 0
	for _, c := range p.m.Crossings {
		ink, label := crossInks[n%len(crossInks)], c.Port.String()
		n++
		dashed := c.Idle() || p.m.Flowed && c.Connections == 0
		if c.Overdue {
			ink, label = amber, label+" !"
		}
		add(p.ends(c.From, c.FromTier, c.Sources), p.ends(c.To, c.ToTier, c.Targets), label, ink, dashed, true)
	}
	for _, o := range p.m.Undeclared {
		add(p.ends(o.From, o.FromTier, o.Workloads), p.ends(o.To, o.ToTier, o.Peers), o.Port.String(), red, true, false)
	}
	for _, e := range p.edges {
		if parts := strings.Split(e.label, ", "); len(parts) > 2 {
			e.label = fmt.Sprintf("%s, %s +%d", parts[0], parts[1], len(parts)-2)
		}
	}
	if len(p.dest) > 0 {
		var last []*node
		for _, d := range p.dest {
			d.col = len(p.cols)
			last = append(last, d)
		}
		slices.SortFunc(last, func(a, b *node) int { return cmp.Compare(a.name, b.name) })
		p.cols, p.heads = append(p.cols, last), append(p.heads, nil)
	}
	for _, e := range p.edges {
		p.attach(e)
	}
	p.gutters = make([]gutter, len(p.cols))
}

// attach says at which sides of its boxes an arrow leaves and comes in. From
// left to right it goes by the gutter between; back and within a column, too.
func (p *plan) attach(e *edge) {
	e.start, e.end = &stub{other: e.to}, &stub{other: e.from, comes: true}
	a, b := e.from.col, e.to.col
	switch {
	case a < b:
		e.start.gutter, e.end.gutter = a, b-1
		e.from.right, e.to.left = append(e.from.right, e.start), append(e.to.left, e.end)
	case a > b:
		e.start.gutter, e.end.gutter = a-1, b
		e.from.left, e.to.right = append(e.from.left, e.start), append(e.to.right, e.end)
	default:
		e.start.gutter, e.end.gutter = a, a
		e.from.right, e.to.right = append(e.from.right, e.start), append(e.to.right, e.end)
	}
	if e.start.gutter != e.end.gutter {
		e.channel = 0
	}
}

// need is how high a side must be for its arrows.
func need(stubs []*stub) float64 {
	h := 8.0
	for _, s := range stubs {
		if s.comes {
			h += stubGap
		} else {
			h += 8
		}
	}
	return h
}

// heights places the boxes from top to bottom.
func (p *plan) heights() {
	channels := 0
	for _, e := range p.edges {
		if e.channel >= 0 {
			e.channel = channels
			channels++
		}
	}
	top := float64(headH)
	for _, h := range p.heads {
		if h != nil {
			top = max(top, need(h.left), need(h.right))
		}
	}
	for _, h := range p.heads {
		if h != nil {
			h.y, h.h = titleH+margin, top
		}
	}
	p.bodyY = titleH + margin + top + 14 + laneGap*float64(channels)
	for _, col := range p.cols {
		y := p.bodyY
		for _, n := range col {
			n.y = y
			n.measure()
			y += n.h + netGap
		}
		p.bottom = max(p.bottom, y-netGap)
	}
	p.bottom = max(p.bottom, p.bodyY+60)
}

// measure gives n its height, and what is in it its place.
func (n *node) measure() {
	own := 0.0
	switch n.kind {
	case isNet:
		own = max(netHeadH, need(n.left), need(n.right))
		if n.note != "" {
			own = max(own, netHeadH+13)
		}
		own += 14 * float64(len(n.lines))
		if len(n.lines) > 0 {
			own += 6
		}
	default:
		own = 24 + 14*float64(len(n.lines))
		if n.note != "" {
			own += 14
		}
		if len(n.lines) > 0 {
			own += 5
		}
		own = max(own, need(n.left), need(n.right))
	}
	y := n.y + own
	for i, k := range n.kids {
		if i > 0 {
			y += gap
		}
		k.y = y
		k.measure()
		y += k.h
	}
	n.h = y - n.y
	if len(n.kids) > 0 {
		n.h += pad
	}
}

// route gives each arrow its height at both boxes, and its lanes.
func (p *plan) route() {
	var all []*node
	all = append(all, p.heads...)
	for _, col := range p.cols {
		for _, n := range col {
			all = append(append(all, n), n.kids...)
		}
	}
	for _, n := range all {
		if n == nil {
			continue
		}
		h := n.h
		if n.kind == isNet && len(n.kids) > 0 {
			h = n.kids[0].y - n.y
		}
		place(n.left, n.y, h)
		place(n.right, n.y, h)
	}
	p.apart()
	for _, e := range p.edges {
		if e.channel < 0 {
			l := &lane{gutter: e.start.gutter, sort: e.end.y}
			e.lanes = [2]*lane{l, l}
		} else {
			e.lanes = [2]*lane{{gutter: e.start.gutter, sort: e.start.y}, {gutter: e.end.gutter, sort: e.end.y}}
		}
		w := widthOf(e.label, small, false) + 20
		g := &p.gutters[e.end.gutter]
		if e.from.col < e.to.col {
			g.right = max(g.right, w)
		} else {
			g.left = max(g.left, w)
		}
		for i, l := range e.lanes {
			if i == 0 || l != e.lanes[0] {
				p.gutters[l.gutter].lanes = append(p.gutters[l.gutter].lanes, l)
			}
		}
	}
	for i := range p.gutters {
		slices.SortStableFunc(p.gutters[i].lanes, func(a, b *lane) int { return cmp.Compare(a.sort, b.sort) })
	}
}

// place spreads arrows over one side of a box, by where their other ends are.
func place(stubs []*stub, y, h float64) {
	slices.SortStableFunc(stubs, func(a, b *stub) int { return cmp.Compare(a.other.y, b.other.y) })
	at := y + max(0, (h-need(stubs))/2) + 4
	for _, s := range stubs {
		step := 8.0
		if s.comes {
			step = stubGap
		}
		s.y = at + step/2
		at += step
	}
}

// apart moves what leaves at the very height at which something else comes into
// the same gutter, so that no two lines lie on each other.
func (p *plan) apart() {
	taken := map[int][]float64{}
	free := func(g int, y float64) bool {
		return !slices.ContainsFunc(taken[g], func(t float64) bool { return math.Abs(t-y) < 2.5 })
	}
	for _, comes := range []bool{true, false} {
		for _, e := range p.edges {
			for _, s := range []*stub{e.start, e.end} {
				if s.comes != comes {
					continue
				}
				for _, by := range []float64{0, 3, -3, 5.5, -5.5, 8, -8} {
					if free(s.gutter, s.y+by) {
						s.y += by
						break
					}
				}
				taken[s.gutter] = append(taken[s.gutter], s.y)
			}
		}
	}
}

// widths places the columns from left to right.
func (p *plan) widths() {
	x := float64(margin)
	for i, col := range p.cols {
		w := float64(columnW)
		if p.heads[i] == nil {
			w = sideW
		}
		place := func(n *node, x, w float64) { n.x, n.w = x, w }
		if h := p.heads[i]; h != nil {
			place(h, x, w)
		}
		for _, n := range col {
			if p.heads[i] != nil {
				place(n, x+pad, w-2*pad)
			} else {
				place(n, x, w)
			}
			for _, k := range n.kids {
				place(k, n.x+pad, n.w-2*pad)
			}
		}
		x += w
		g := &p.gutters[i]
		g.x = x
		g.w = g.left + g.right + laneGap*float64(len(g.lanes)+1) + 10
		if i == len(p.cols)-1 && len(g.lanes) == 0 {
			g.w = 0
		} else {
			g.w = max(g.w, 34)
		}
		for k, l := range g.lanes {
			l.x = g.x + 5 + g.left + laneGap*float64(k+1)
		}
		x += g.w
	}
}

// draw puts everything on paper: bands, arrows, boxes, labels, and what they
// mean.
func (p *plan) draw() drawing {
	last := p.gutters[len(p.gutters)-1]
	d := drawing{w: max(last.x+last.w+margin, 720), title: p.say(lang.Text{En: "Networks and tiers", Es: "Redes y niveles"})}
	d.put(words{margin, margin + 12, d.title, 18, true, black, false})
	d.put(words{margin, margin + 30, cut(network.Printable(p.say(lang.Text{En: "policy %s, version %d · %s", Es: "política %s, versión %d · %s"}.
		F(p.m.Policy, p.m.Version, p.m.At.Format("2006-01-02 15:04Z")))), d.w-2*margin, 11, false), 11, false, grey, false})
	for _, h := range p.heads {
		if h != nil {
			d.put(box{x: h.x, y: h.y, w: h.w, h: p.bottom + pad - h.y, r: 6, fill: bandFill})
		}
	}
	for i, col := range p.cols {
		if h := p.heads[i]; h != nil {
			p.head(&d, h)
		}
		for _, n := range col {
			p.box(&d, n)
		}
	}
	for _, e := range p.edges {
		d.put(path{p.points(e), e.ink, 1.4, e.dashed})
	}
	for _, e := range p.edges {
		p.label(&d, e)
	}
	y := p.legend(&d, p.bottom+pad+26)
	d.h = p.list(&d, y) + margin
	return d
}

// points is the way of an arrow.
func (p *plan) points(e *edge) []point {
	start, end := point{e.from.x + e.from.w, e.start.y}, point{e.to.x, e.end.y}
	if e.from.col > e.to.col {
		start.x = e.from.x
	}
	if e.from.col >= e.to.col {
		end.x = e.to.x + e.to.w
	}
	a, b := e.lanes[0].x, e.lanes[1].x
	if e.channel < 0 {
		return []point{start, {a, start.y}, {a, end.y}, end}
	}
	y := p.bodyY - 8 - laneGap*float64(e.channel)
	return []point{start, {a, start.y}, {a, y}, {b, y}, {b, end.y}, end}
}

// label stands on the last piece of an arrow, beside the column.
func (p *plan) label(d *drawing, e *edge) {
	w := widthOf(e.label, small, false)
	g := p.gutters[e.end.gutter]
	x := g.x + g.w - 10 - w
	if e.from.col >= e.to.col {
		x = g.x + 10
	}
	d.put(box{x: x - 2, y: e.end.y - 6, w: w + 4, h: 12, fill: paper})
	d.put(words{x, e.end.y + 3.5, e.label, small, false, e.ink, false})
}

func (p *plan) head(d *drawing, n *node) {
	fill, ink := rgb(0x3b4a5a), paper
	if n.bad {
		fill = red
	}
	d.put(box{x: n.x, y: n.y, w: n.w, h: n.h, r: 6, fill: fill})
	mid := n.y + n.h/2
	d.put(words{n.x + pad, mid - 2, cut(network.Printable(n.name), n.w-2*pad, 13, true), 13, true, ink, false})
	d.put(words{n.x + pad, mid + 13, cut(network.Printable(n.note), n.w-2*pad, small, false), small, false, pale, false})
}

// box draws n and what is in it.
func (p *plan) box(d *drawing, n *node) {
	b := box{x: n.x, y: n.y, w: n.w, h: n.h, r: 5, fill: paper, edge: workEdge, width: 1}
	switch n.kind {
	case isNet:
		b.fill, b.edge = netFill, netEdge
		if n.bad {
			b.fill, b.edge, b.width, b.dashed = redFill, red, 1.4, true
		}
	case isSide:
		b.fill = rgb(0xfbfbf5)
	}
	d.put(b)
	name, size, w := network.Printable(n.name), float64(normal), n.w-2*pad
	y := n.y + 16
	d.put(words{n.x + pad, y, shorten(name, w, size), size, true, black, false})
	if n.note != "" {
		y += 13
		ink := grey
		if n.bad {
			ink = red
		}
		d.put(words{n.x + pad, y, cut(network.Printable(n.note), w, small, false), small, false, ink, false})
	}
	for _, m := range n.lines {
		y += 14
		x := n.x + pad
		if m.has {
			fill := m.dot
			if !m.fill {
				fill = paper
			}
			d.put(dot{x + 3.5, y - 3.5, 3.5, fill, m.dot})
			x += 11
		}
		d.put(words{x, y, cut(network.Printable(m.s), n.x+n.w-pad-x, small, false), small, false, black, false})
	}
	for _, k := range n.kids {
		p.box(d, k)
	}
}

// legend says what the inks mean. It returns where it ends.
func (p *plan) legend(d *drawing, y float64) float64 {
	x := float64(margin)
	room := func(w float64) {
		if x > margin && x+w > d.w-margin {
			x, y = margin, y+17
		}
	}
	line := func(ink color.RGBA, dashed bool, t lang.Text) {
		s := p.say(t)
		w := widthOf(s, small, false)
		room(34 + w)
		d.put(path{[]point{{x, y - 3.5}, {x + 26, y - 3.5}}, ink, 1.4, dashed})
		d.put(words{x + 31, y, s, small, false, black, false})
		x += 31 + w + 18
	}
	spot := func(ink color.RGBA, fill bool, t lang.Text) {
		s := p.say(t)
		w := widthOf(s, small, false)
		room(14 + w)
		in := ink
		if !fill {
			in = paper
		}
		d.put(dot{x + 3.5, y - 3.5, 3.5, in, ink})
		d.put(words{x + 12, y, s, small, false, black, false})
		x += 12 + w + 18
	}
	line(crossInks[0], false, lang.Text{En: "declared", Es: "declarado"})
	line(amber, false, lang.Text{En: "review overdue", Es: "revisión vencida"})
	if p.m.Flowed {
		line(crossInks[0], true, lang.Text{En: "declared, never seen", Es: "declarado, nunca visto"})
		line(red, true, lang.Text{En: "seen, not declared", Es: "visto, no declarado"})
	} else {
		line(crossInks[0], true, lang.Text{En: "declared, nobody runs", Es: "declarado, nadie corre"})
	}
	spot(green, true, lang.Text{En: "published as the policy says", Es: "publicado como dice la política"})
	spot(red, true, lang.Text{En: "published to more than it says", Es: "publicado a más de lo que dice"})
	spot(grey, false, lang.Text{En: "this host only", Es: "sólo este anfitrión"})
	spot(amber, true, lang.Text{En: "nothing places it", Es: "nada lo coloca"})
	if p.undrawn > 0 {
		s := p.say(lang.Text{En: "%d flows within one box are not drawn", Es: "%d flujos dentro de una caja no se dibujan"}.F(p.undrawn))
		w := widthOf(s, small, false)
		room(w)
		d.put(words{x, y, s, small, false, grey, false})
	}
	return y + 14
}

// list writes the problems under the drawing, the worst ones.
func (p *plan) list(d *drawing, y float64) float64 {
	ps := problems(p.m)
	var said []string
	for i, t := range ps {
		said = append(said, t.In(p.l))
		s := "! " + t.In(p.l)
		if i == 11 && len(ps) > 12 {
			s = p.say(lang.Text{En: "and %d more, which the text lists", Es: "y %d más, que el texto enumera"}.F(len(ps) - 11))
		}
		if i > 11 {
			continue
		}
		y += 16
		d.put(words{margin, y, cut(s, d.w-2*margin, 11, false), 11, false, red, false})
	}
	if len(ps) == 0 {
		said = []string{p.say(lang.Text{En: "nothing to look at", Es: "nada que mirar"})}
	}
	d.said = strings.Join(said, "; ")
	return y
}
