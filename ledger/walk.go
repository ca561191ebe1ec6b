package ledger

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"casco/lang"
)

// A walk goes over all entries of a log in order, builds the tree anew out of
// them, and compares it with the tiles on the way and with the signed roots
// where it passes their sizes.
type walk struct {
	dir    string
	checks Checks
	files  *logFiles
	report *Report

	published *Checkpoint
	journaled bool     // the journal could be read, and tail is from there
	base      int64    // entries before are in full bundles
	tail      [][]byte // entries from base on
	marks     []mark

	tree     tree
	lost     bool      // a leaf is not known: no root can be computed any more
	agreed   int64     // the largest size whose root, signed and kept by the log, fits
	vouched  int64     // the same for roots that others hold
	badOwn   bool      // one of the log's own roots does not fit
	doubts   []Problem // tiles above level 0 that do not fit the entries
	lastTime time.Time
	evidence map[Digest]*EvidenceState
	storedAt map[Digest]int64 // entry that last stored it
}

// perTurn is how many bundles are read at once; memory for them is a few MB.
const perTurn = 64

// bundles walks over the full bundles. Reading, hashing and decoding them, which
// is most of the work, is done side by side; the rest in order.
func (w *walk) bundles(ctx context.Context) error {
	slices.SortStableFunc(w.marks, func(a, b mark) int { return int(a.size - b.size) })
	w.pass()
	all := w.base / tileWidth
	for n := int64(0); n < all; n += perTurn {
		checked := make([]bundleCheck, min(perTurn, all-n))
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(runtime.GOMAXPROCS(0))
		for i := range checked {
			g.Go(func() error {
				checked[i] = w.checkBundle(n + int64(i))
				return ctx.Err()
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		for i := range checked {
			w.take(checked[i])
			w.checkFullTiles()
			w.tree.trim()
		}
	}
	return nil
}

// bundleCheck is what is known of a full bundle and its tile.
type bundleCheck struct {
	first    int64
	leaves   []tlog.Hash // nil: nobody knows
	entries  []Entry     // those that could be decoded, others are zero
	problems []*Problem
}

// checkBundle compares a full bundle with its tile. If they differ, the hash of
// the tile in the tile above says which of them was altered.
func (w *walk) checkBundle(n int64) bundleCheck {
	c := bundleCheck{first: n * tileWidth}
	name := tilePath(-1, n, tileWidth)
	raw, err := readBundle(w.dir, n, tileWidth)
	if err != nil {
		c.problem(err, BadEntry, name)
	}
	leaves := make([]tlog.Hash, len(raw))
	for i, b := range raw {
		leaves[i] = tlog.RecordHash(b)
	}
	tile, err := readFullTile(w.dir, 0, n)
	if err != nil {
		c.problem(err, BadTile, tilePath(0, n, tileWidth))
	}
	whole := len(raw) == tileWidth
	switch {
	case tile == nil && !whole:
	case tile == nil || whole && slices.Equal(leaves, tile):
		c.leaves = leaves
	case whole && w.above(n, leaves) && !w.above(n, tile):
		c.leaves = leaves
		c.problems = append(c.problems, problem(BadTile, -1, -1, tilePath(0, n, tileWidth), say(lang.Text{
			En: "%s was altered: entries %d to %d fit the tile above", Es: "%s fue alterada: las entradas %d a %d concuerdan con la losa superior",
		}, tilePath(0, n, tileWidth), c.first, c.first+tileWidth-1)))
	default:
		c.leaves = tile
		c.differ(leaves, tile, name)
	}
	c.decode(raw, leaves, name)
	return c
}

// decode reads the entries. One that was altered was named, whatever it is now.
func (c *bundleCheck) decode(raw [][]byte, leaves []tlog.Hash, name string) {
	c.entries = make([]Entry, len(raw))
	for i, b := range raw {
		if c.leaves != nil && c.leaves[i] != leaves[i] {
			continue
		}
		var err error
		if c.entries[i], err = ParseEntry(b); err != nil {
			at := c.first + int64(i)
			c.problems = append(c.problems, problem(BadEntry, at, at, name, say(lang.Text{
				En: "entry %d: %s", Es: "entrada %d: %s",
			}, at, err)))
		}
	}
}

func (c *bundleCheck) problem(err error, code Code, name string) {
	var p *Problem
	if !errors.As(err, &p) {
		p = problem(code, c.first, c.first+tileWidth-1, name, say(lang.Text{En: "%s: %s", Es: "%s: %s"}, name, err))
	}
	c.problems = append(c.problems, p)
}

// differ names the runs of entries that do not hash to what the tile holds.
func (c *bundleCheck) differ(leaves, tile []tlog.Hash, name string) {
	for i := 0; i < len(leaves); i++ {
		if leaves[i] == tile[i] {
			continue
		}
		from := i
		for i+1 < len(leaves) && leaves[i+1] != tile[i+1] {
			i++
		}
		first, last := c.first+int64(from), c.first+int64(i)
		c.problems = append(c.problems, problem(BadEntry, first, last, name, say(lang.Text{
			En: "%s: not what was recorded (%s)", Es: "%s: no es lo que se registró (%s)",
		}, span(first, last), name)))
	}
}

// above reports whether the tile above holds the hash of these leaves.
func (w *walk) above(n int64, leaves []tlog.Hash) bool {
	h, err := hashTile(leaves)
	if err != nil {
		return false
	}
	parent, err := readFullTile(w.dir, 1, n/tileWidth)
	if err != nil && w.published != nil {
		width := int(w.published.Size>>tileHeight - n/tileWidth*tileWidth)
		parent, err = splitTile(w.files.partial[tilePath(1, n/tileWidth, width)])
	}
	i := int(n % tileWidth)
	return err == nil && i < len(parent) && parent[i] == h
}

func readFullTile(dir string, l int, n int64) ([]tlog.Hash, error) {
	hashes, err := readTile(dir, l, n, tileWidth, tileWidth)
	if err != nil {
		return nil, err
	}
	st, err := os.Stat(filepath.Join(dir, tilePath(l, n, tileWidth)))
	if err == nil && st.Size() != tileWidth*tlog.HashSize {
		err = lang.Errorf(lang.Text{En: "has %d bytes, not %d", Es: "tiene %d bytes, no %d"}, st.Size(), tileWidth*tlog.HashSize)
	}
	return hashes, err
}

// take adds a bundle to the tree and looks at its entries in order.
func (w *walk) take(c bundleCheck) {
	for _, p := range c.problems {
		w.report.problem(p)
	}
	if c.leaves == nil && !w.lost {
		w.lost = true
		w.report.problem(problem(BadRoot, c.first, w.base-1, "", say(lang.Text{
			En: "from entry %d on no signed root can be checked: neither its bundle nor its tile is readable",
			Es: "desde la entrada %d no se puede comprobar ninguna raíz firmada: ni su paquete ni su losa son legibles",
		}, c.first)))
	}
	for i := range max(len(c.leaves), len(c.entries)) {
		if i < len(c.leaves) {
			w.addLeaf(c.leaves[i])
		}
		if i < len(c.entries) {
			w.look(c.first+int64(i), c.entries[i])
		}
	}
}

func (w *walk) addLeaf(leaf tlog.Hash) {
	if w.lost {
		return
	}
	if err := w.tree.add(leaf); err != nil {
		w.lost = true // cannot happen: the tree has its own peaks
		return
	}
	w.pass()
}

// pass compares the tree with the signed roots of its size.
func (w *walk) pass() {
	for len(w.marks) > 0 && !w.lost && w.marks[0].size == w.tree.size {
		m := w.marks[0]
		w.marks = w.marks[1:]
		root, err := w.tree.root()
		if err == nil && root == m.root {
			if m.held >= 0 {
				w.vouched = m.size
				w.report.Held[m.held].Agrees = true
			} else {
				w.agreed = m.size
				w.report.Proved, w.report.Root = m.size, root.String()
			}
			continue
		}
		w.disagrees(m, root)
	}
}

func (w *walk) disagrees(m mark, root tlog.Hash) {
	if m.held >= 0 {
		first := w.vouched // what the log signed itself proves nothing against it
		w.report.problem(problem(Forked, first, m.size-1, m.file, say(lang.Text{
			En: "another history: of %d entries, %s holds the root %s, this log has %s; they differ between entries %d and %d",
			Es: "otra historia: de %d entradas, %s tiene la raíz %s, este registro %s; difieren entre las entradas %d y %d",
		}, m.size, m.file, m.root, root, first, m.size-1)))
		return
	}
	if w.badOwn { // the rest follows from the first
		return
	}
	w.badOwn = true
	first := max(w.agreed, w.vouched)
	w.report.problem(problem(BadRoot, first, m.size-1, m.file, say(lang.Text{
		En: "between entries %d and %d something was changed: the tree of %d entries has root %s, signed was %s (%s)",
		Es: "entre las entradas %d y %d se cambió algo: el árbol de %d entradas tiene la raíz %s, se firmó %s (%s)",
	}, first, m.size-1, m.size, root, m.root, m.file)))
}

// look judges one entry by itself and beside the one before.
func (w *walk) look(i int64, e Entry) {
	r := w.report
	r.Size = i + 1
	if e.Kind == "" {
		return // was no entry
	}
	r.Kinds[e.Kind]++
	if !e.Kind.Known() && r.Kinds[e.Kind] == 1 {
		r.note(UnknownKind, i, i, say(lang.Text{
			En: "entry %d is of kind %q, which this version does not know", Es: "la entrada %d es de tipo %q, que esta versión no conoce",
		}, i, string(e.Kind)))
	}
	if r.From.IsZero() {
		r.From = e.Time
	}
	r.To = e.Time
	switch gap := e.Time.Sub(w.lastTime); {
	case w.lastTime.IsZero():
	case gap < 0 && e.Kind == Clock:
		r.note(ClockMoved, i, i, say(lang.Text{
			En: "entry %d: the clock was moved back by %s, to %s", Es: "entrada %d: el reloj se atrasó %s, a %s",
		}, i, (-gap).Round(time.Second), e.Time.Format(time.RFC3339)))
	case gap < 0:
		r.problem(problem(Backwards, i, i, "", say(lang.Text{
			En: "entry %d is of %s, the one before of %s, and no clock entry says why",
			Es: "la entrada %d es de %s, la anterior de %s, y ninguna entrada de reloj dice por qué",
		}, i, e.Time.Format(time.RFC3339Nano), w.lastTime.Format(time.RFC3339Nano))))
	case w.checks.Silence > 0 && gap > w.checks.Silence:
		r.note(Silence, i-1, i, say(lang.Text{
			En: "nothing was recorded from %s to %s, for %s", Es: "no se registró nada de %s a %s, durante %s",
		}, w.lastTime.Format(time.RFC3339), e.Time.Format(time.RFC3339), gap.Round(time.Second)))
	}
	w.lastTime = e.Time
	w.learn(i, e)
}

// checkFullTiles compares the tiles above level 0 that have just become full.
func (w *walk) checkFullTiles() {
	for l := 1; l < len(w.tree.rows) && !w.lost; l++ {
		r := w.tree.rows[l]
		if len(r.hashes) < tileWidth {
			continue
		}
		n := r.start / tileWidth
		tile, err := readFullTile(w.dir, l, n)
		w.compareTile(l, n, tileWidth, tile, r.hashes[:tileWidth], err)
	}
}

// compareTile compares what was read of a tile with what the entries make of
// it. What a difference means is judged at the end.
func (w *walk) compareTile(l int, n int64, width int, have, want []tlog.Hash, err error) {
	name := tilePath(l, n, width)
	var p *Problem
	switch {
	case errors.As(err, &p):
		w.report.problem(p)
		return
	case err != nil:
		w.report.problem(problem(BadTile, -1, -1, name, say(lang.Text{En: "%s: %s", Es: "%s: %s"}, name, err)))
		return
	}
	for i := range want {
		if have[i] == want[i] {
			continue
		}
		each := int64(1) << (tileHeight * l) // entries under one hash
		first := (n*tileWidth + int64(i)) * each
		w.doubts = append(w.doubts, *problem(BadEntry, first, first+each-1, name, say(lang.Text{
			En: "%s does not hold the hash of %s", Es: "%s no tiene el hash de %s",
		}, name, span(first, first+each-1))))
		return
	}
}

// judge reports the tiles that do not fit the entries. If the entries are
// proved the tile was altered; if not, nobody knows, and the entries are named.
func (w *walk) judge() {
	for i := range w.doubts {
		p := w.doubts[i]
		if !w.badOwn && !w.lost && p.Last < w.report.Proved {
			p.Code, p.First, p.Last = BadTile, -1, -1
		}
		w.report.problem(&p)
	}
}

// end adds the entries that are in no full bundle, and judges what is left.
func (w *walk) end() {
	if !w.journaled && w.published != nil {
		w.tail = w.publishedTail()
	}
	for i, b := range w.tail {
		at := w.base + int64(i)
		w.addLeaf(tlog.RecordHash(b))
		e, err := ParseEntry(b)
		if err != nil {
			w.report.problem(problem(BadEntry, at, at, "", say(lang.Text{En: "entry %d: %s", Es: "entrada %d: %s"}, at, err)))
		}
		w.look(at, e)
	}
	size := w.base + int64(len(w.tail))
	w.report.Size = size
	for _, m := range w.marks {
		if m.size > size {
			who := lang.Text{En: "the checkpoint in " + m.file, Es: "el punto de control en " + m.file}
			w.report.problem(missingTail(m.size, size, m.file, who))
		}
	}
	if w.published != nil && w.published.Size < size && !w.badOwn {
		w.report.note(Lag, w.published.Size, size-1, say(lang.Text{
			En: "%d entries are newer than the published checkpoint", Es: "%d entradas son más nuevas que el punto de control publicado",
		}, size-w.published.Size))
	}
}

// publishedTail returns the entries of the partial bundle that belongs to the
// checkpoint, for a copy without a journal.
func (w *walk) publishedTail() [][]byte {
	width := int(w.published.Size - w.base)
	if width == 0 {
		return nil
	}
	name := tilePath(-1, w.base/tileWidth, width)
	b, ok := w.files.partial[name]
	if !ok {
		w.report.problem(missing(name, -1, w.base/tileWidth))
		return nil
	}
	entries, err := splitBundle(b)
	if err == nil && len(entries) != width {
		err = lang.Errorf(lang.Text{En: "has %d entries, not %d", Es: "tiene %d entradas, no %d"}, len(entries), width)
	}
	if err != nil {
		at := w.base + int64(len(entries))
		w.report.problem(problem(BadEntry, at, w.published.Size-1, name, say(lang.Text{En: "%s: %s", Es: "%s: %s"}, name, err)))
	}
	return entries[:min(len(entries), width)]
}

// partials compares partial tiles and bundles, and full ones that the journal
// still covers, with the tree, and finds files that the log cannot have.
func (w *walk) partials() {
	if w.lost {
		return
	}
	there := map[string]bool{}
	for _, name := range w.files.names {
		there[name] = true
		l, n, width, ok := parseTilePath(name)
		size := w.report.Size >> (tileHeight * max(l, 0))
		switch {
		case !ok:
			w.stray(name)
		case n*tileWidth+int64(width) > size:
			w.stray(name)
		case width == tileWidth && (n+1)*tileWidth <= w.base>>(tileHeight*max(l, 0)):
			// was compared on the way
		case l < 0:
			w.comparePartialBundle(name, n, width)
		default:
			w.comparePartialTile(name, l, n, width)
		}
	}
	if w.published == nil || w.published.Size > w.report.Size {
		return
	}
	for l := -1; l < 0 || w.published.Size>>(tileHeight*l) > 0; l++ {
		size := w.published.Size >> (tileHeight * max(l, 0))
		n, width := size/tileWidth, int(size%tileWidth)
		if name := tilePath(l, n, width); width > 0 && !there[name] && !there[tilePath(l, n, tileWidth)] {
			w.report.problem(missing(name, 0, n)) // the entries themselves are in the journal
		}
	}
}

func (w *walk) stray(name string) {
	w.report.problem(problem(Stray, -1, -1, name, say(lang.Text{
		En: "%s: a log of %d entries has no such file: the rest was cut off, or an old state put back",
		Es: "%s: un registro de %d entradas no tiene ese archivo: se cortó el resto o se repuso un estado viejo",
	}, name, w.report.Size)))
}

func (w *walk) comparePartialTile(name string, l int, n int64, width int) {
	want, ok := w.tree.tile(l, n, width)
	if !ok { // it has become full since
		full, err := readFullTile(w.dir, l, n)
		if err != nil {
			return // was said already
		}
		want = full[:width]
	}
	b, err := w.content(name)
	if err == nil && len(b) != width*tlog.HashSize {
		err = lang.Errorf(lang.Text{En: "has %d bytes, not %d", Es: "tiene %d bytes, no %d"}, len(b), width*tlog.HashSize)
	}
	var have []tlog.Hash
	if err == nil {
		have, err = splitTile(b)
	}
	w.compareTile(l, n, width, have, want, err)
}

func (w *walk) comparePartialBundle(name string, n int64, width int) {
	b, err := w.content(name)
	if err != nil {
		w.report.problem(problem(BadEntry, -1, -1, name, say(lang.Text{En: "%s: %s", Es: "%s: %s"}, name, err)))
		return
	}
	have, err := splitBundle(b)
	want := w.tail
	if from := n*tileWidth - w.base; from >= 0 {
		want = want[from:]
	} else if want, err = readBundle(w.dir, n, tileWidth); err != nil {
		return // was said already
	}
	for i := range width {
		at := n*tileWidth + int64(i)
		if i >= len(have) || !bytes.Equal(have[i], want[i]) {
			w.report.problem(problem(BadEntry, at, at, name, say(lang.Text{
				En: "%s: entry %d is not what was recorded", Es: "%s: la entrada %d no es lo que se registró",
			}, name, at)))
			return
		}
	}
	if err != nil || len(have) > width {
		w.report.problem(problem(BadEntry, -1, -1, name, say(lang.Text{
			En: "%s: something stands behind its last entry", Es: "%s: hay algo tras su última entrada",
		}, name)))
	}
}

func (w *walk) content(name string) ([]byte, error) {
	if b, ok := w.files.partial[name]; ok {
		return b, nil
	}
	return os.ReadFile(filepath.Join(w.dir, name))
}

// parseTilePath is the inverse of tilePath.
func parseTilePath(name string) (l int, n int64, w int, ok bool) {
	f := strings.Split(name, "/")
	if len(f) < 3 || len(f) > 10 || f[0] != "tile" {
		return 0, 0, 0, false
	}
	l = -1
	if f[1] != "entries" {
		var err error
		if l, err = strconv.Atoi(f[1]); err != nil || l < 0 || l > 63/tileHeight {
			return 0, 0, 0, false
		}
	}
	w = tileWidth
	digits := f[2:]
	if head, found := strings.CutSuffix(f[len(f)-2], ".p"); found {
		w, _ = strconv.Atoi(f[len(f)-1])
		digits = append(slices.Clone(f[2:len(f)-2]), head)
	}
	for _, d := range digits {
		v, err := strconv.Atoi(strings.TrimPrefix(d, "x"))
		if err != nil || v < 0 || v > 999 || n > maxSize {
			return 0, 0, 0, false
		}
		n = n*1000 + int64(v)
	}
	return l, n, w, w > 0 && n < maxSize && tilePath(l, n, w) == name
}
