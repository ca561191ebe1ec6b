package risk

import (
	"slices"

	"casco/lang"
)

// A graph holds the steps an attacker can take. Its order is that in which they
// were drawn, so equal hosts give equal paths.
type graph struct {
	nodes   []Node
	index   map[Node]int
	out     [][]edge
	entries []Node // from outside
	defects []Node // from within an image: ways from outside come first
	target  Node

	// Of every node: the step before it on the shortest way from an entry that
	// does not lead through the host, for who has the host needs no other way;
	// and the one after it on the shortest way to the target. -1 for none.
	before, after []int
	near, far     []int          // how many steps these are; -1 without a way
	opens         map[string]pos // fingerprint -> the best step that it opens
}

type edge struct {
	to  int
	why lang.Text
	by  []Cause
}

// A pos is one edge: the n-th out of a node.
type pos struct{ node, n int }

func newGraph() *graph { return &graph{index: map[Node]int{}} }

func (g *graph) at(n Node) int {
	i, ok := g.index[n]
	if !ok {
		i = len(g.nodes)
		g.index[n] = i
		g.nodes = append(g.nodes, n)
		g.out = append(g.out, nil)
	}
	return i
}

// step draws an edge. One that is there already gains causes.
func (g *graph) step(from, to Node, why lang.Text, by ...Cause) {
	a, b := g.at(from), g.at(to)
	for i := range g.out[a] {
		if e := &g.out[a][i]; e.to == b {
			for _, c := range by {
				if !slices.Contains(e.by, c) {
					e.by = append(e.by, c)
				}
			}
			return
		}
	}
	g.out[a] = append(g.out[a], edge{b, why, by})
}

// ready measures the graph once it is drawn.
func (g *graph) ready() {
	in := make([][]edge, len(g.nodes))
	for a, es := range g.out {
		for _, e := range es {
			in[e.to] = append(in[e.to], edge{to: a})
		}
	}
	short := slices.Clone(g.out)
	if host, ok := g.index[Node{Kind: HostNode}]; ok {
		short[host] = nil
	}
	g.before, g.near = breadth(short, g.indexes(g.entries), nil, nil)
	if len(g.defects) > 0 {
		before, near := breadth(short, g.indexes(g.defects), nil, nil)
		for i := range g.nodes {
			if g.near[i] < 0 {
				g.before[i], g.near[i] = before[i], near[i]
			}
		}
	}
	g.after, g.far = breadth(in, []int{g.at(g.target)}, nil, nil)
	g.opens = map[string]pos{}
	for a, es := range g.out {
		for n, e := range es {
			for _, c := range e.by {
				if best, ok := g.opens[c.Fingerprint]; g.near[a] >= 0 && (!ok || g.via(a, n) < g.via(best.node, best.n)) {
					g.opens[c.Fingerprint] = pos{a, n}
				}
			}
		}
	}
}

func (g *graph) indexes(nodes []Node) []int {
	var out []int
	for _, n := range nodes {
		if i, ok := g.index[n]; ok {
			out = append(out, i)
		}
	}
	return out
}

// via is how long the way through an edge is. One that does not go on counts
// after all that do.
func (g *graph) via(node, n int) int {
	to := g.out[node][n].to
	if g.far[to] < 0 {
		return g.near[node] + 1 + len(g.nodes)
	}
	return g.near[node] + 1 + g.far[to]
}

// breadth walks from all starts at once, not over nodes or edges that are
// barred, and returns for each node the one before it and its distance.
func breadth(out [][]edge, starts []int, barred map[int]bool, cut map[[2]int]bool) (from, dist []int) {
	from, dist = make([]int, len(out)), make([]int, len(out))
	for i := range out {
		from[i], dist[i] = -1, -1
	}
	queue := make([]int, 0, len(out))
	for _, s := range starts {
		if s < len(out) && dist[s] < 0 {
			dist[s] = 0
			queue = append(queue, s)
		}
	}
	for len(queue) > 0 {
		a := queue[0]
		queue = queue[1:]
		for _, e := range out[a] {
			if dist[e.to] < 0 && !barred[e.to] && !cut[[2]int{a, e.to}] {
				from[e.to], dist[e.to] = a, dist[a]+1
				queue = append(queue, e.to)
			}
		}
	}
	return from, dist
}

// back follows from to a start and returns the way in its right order.
func back(from []int, end int) []int {
	var way []int
	for i := end; i >= 0; i = from[i] {
		way = append(way, i)
	}
	slices.Reverse(way)
	return way
}

// path turns nodes into hops.
func (g *graph) path(way []int) Path {
	var p Path
	for i := 0; i+1 < len(way); i++ {
		j := slices.IndexFunc(g.out[way[i]], func(e edge) bool { return e.to == way[i+1] })
		e := g.out[way[i]][j]
		p = append(p, Hop{g.nodes[way[i]], g.nodes[e.to], e.by, e.why})
	}
	return p
}

// through joins the shortest way to a step that the finding opens, the step,
// and the shortest way on.
func (g *graph) through(fingerprint string) (Path, bool) {
	at, ok := g.opens[fingerprint]
	if !ok {
		return nil, false
	}
	way := append(back(g.before, at.node), g.out[at.node][at.n].to)
	been := map[int]bool{}
	for i, n := range way {
		if been[n] {
			return g.path(way[:i]), false // the step leads back to where he came from
		}
		been[n] = true
	}
	on := slices.Clone(way)
	for i := g.after[way[len(way)-1]]; i >= 0; i = g.after[i] {
		if been[i] {
			return g.path(way), true
		}
		on = append(on, i)
	}
	return g.path(on), true
}

// shortest returns up to k ways to the target that visit no node twice: those
// from outside, then those from defects of images.
func (g *graph) shortest(k int) []Path {
	var out []Path
	for _, entries := range [][]int{g.indexes(g.entries), g.indexes(g.defects)} {
		for _, way := range g.yen(k-len(out), entries) {
			out = append(out, g.path(way))
		}
	}
	return out
}

// yen is Yen's algorithm (Management Science 17(11), 1971) over breadth-first
// search: each way after the first leaves one of those before it at some node.
func (g *graph) yen(k int, entries []int) (found [][]int) {
	goal, ok := g.index[g.target]
	if !ok || k <= 0 {
		return nil
	}
	from, dist := breadth(g.out, entries, nil, nil)
	if dist[goal] < 0 {
		return nil
	}
	found = append(found, back(from, goal))
	var waiting [][]int
	for len(found) < k {
		waiting = g.deviate(found, waiting, entries, goal)
		if len(waiting) == 0 {
			break
		}
		slices.SortStableFunc(waiting, func(a, b []int) int { return len(a) - len(b) })
		found, waiting = append(found, waiting[0]), waiting[1:]
	}
	return found
}

// deviate adds to waiting the ways that leave the last one found at each of its
// nodes, for another step than those found so far take there.
func (g *graph) deviate(found, waiting [][]int, entries []int, goal int) [][]int {
	last := found[len(found)-1]
	for i := -1; i < len(last)-1; i++ {
		var starts []int
		cut, barred := map[[2]int]bool{}, map[int]bool{}
		if i < 0 { // another entry
			starts = slices.DeleteFunc(slices.Clone(entries), func(s int) bool {
				return slices.ContainsFunc(found, func(w []int) bool { return w[0] == s })
			})
		} else {
			starts = []int{last[i]}
			for _, w := range found {
				if len(w) > i+1 && slices.Equal(w[:i+1], last[:i+1]) {
					cut[[2]int{w[i], w[i+1]}] = true
				}
			}
			for _, n := range last[:i] {
				barred[n] = true
			}
		}
		from, dist := breadth(g.out, starts, barred, cut)
		if dist[goal] < 0 {
			continue
		}
		way := back(from, goal)
		if i > 0 {
			way = slices.Concat(last[:i], way)
		}
		same := func(w []int) bool { return slices.Equal(w, way) }
		if !slices.ContainsFunc(found, same) && !slices.ContainsFunc(waiting, same) {
			waiting = append(waiting, way)
		}
	}
	return waiting
}
