package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"
)

func (c *checker) from() int64 {
	if c.export != nil {
		return c.export.From
	}
	return 0
}

func (c *checker) to() int64 {
	if c.export != nil {
		return c.export.To
	}
	return c.root.tree.N
}

// bundle returns the entries of a bundle, as many as the log has in it.
func (c *checker) bundle(n int64) ([][]byte, string, error) {
	w := int(min(c.root.tree.N-n*width, width))
	name := pathOf(tlog.Tile{H: height, L: -1, N: n, W: w})
	if n*width >= c.base && len(c.batch) > 0 { // the journal has it
		var all [][]byte
		for _, j := range c.batch {
			all = append(all, j.entries...)
		}
		all = all[min(n*width-c.base, int64(len(all))):]
		return all[:min(w, len(all))], "journal", nil
	}
	b, err := readFile(filepath.Join(c.dir, name))
	if err != nil {
		return nil, name, err
	}
	entries, err := entriesOf(b)
	if err == nil && len(entries) != w {
		err = text{En: "%d entries, not %d", Es: "%d entradas, no %d"}.f(len(entries), w)
	}
	return entries, name, err
}

func (c *checker) badBundle(n int64, name string, have int, err error) {
	first := n*width + int64(have)
	last := min(n*width+width, c.root.tree.N) - 1
	c.wrong(text{En: "%s: entries %d to %d: %v", Es: "%s: entradas %d a %d: %v"}.f(name, min(first, last), last, reason(err)))
}

// reason is an error without the path, which was named already.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// whole builds the tree of a log that is all here out of its entries alone, and
// compares it with the signed root and then with every tile.
func (c *checker) whole() {
	size := c.root.tree.N
	complete := true
	for n := int64(0); n*width < size; n++ {
		entries, name, err := c.bundle(n)
		if err != nil {
			c.badBundle(n, name, min(len(entries), int(size-n*width-1)), err)
			complete = false
			c.hint(n, entries)
			continue
		}
		for i, e := range entries {
			at := n*width + int64(i)
			c.look(at, e)
			if !complete {
				continue
			}
			h, err := tlog.StoredHashes(at, e, c.reader)
			if err != nil {
				c.wrong(text{En: "entry %d: %v", Es: "entrada %d: %v"}.f(at, err))
				return
			}
			c.stored = append(c.stored, h...)
			c.count = at + 1
		}
		if int64(len(entries)) < min(width, size-n*width) {
			complete = false
		}
	}
	if !complete || c.count < size {
		c.wrong(text{En: "the signed root cannot be checked: only entries up to %d are here without a gap", Es: "no se puede comprobar la raíz firmada: solo hay entradas sin hueco hasta la %d"}.f(c.count - 1))
		return
	}
	root, err := tlog.TreeHash(size, c.reader)
	if err != nil || root != c.root.tree.Hash {
		c.wrong(text{En: "the %d entries have the root %s, signed was %s", Es: "las %d entradas tienen la raíz %s, se firmó %s"}.f(size, root, c.root.tree.Hash))
	} else {
		c.proved(text{En: "all %d entries are the signed ones, in their order: root %s", Es: "las %d entradas son las firmadas, en su orden: raíz %s"}.f(size, root))
	}
	c.tiles(root == c.root.tree.Hash)
	c.lastBundle()
}

func (c *checker) readStored(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if x >= int64(len(c.stored)) {
			return nil, fmt.Errorf("hash %d is not known", x)
		}
		out[i] = c.stored[x]
	}
	return out, nil
}

// hint names the entries of a broken bundle that its tile does not know.
func (c *checker) hint(n int64, entries [][]byte) {
	tile, err := readFile(filepath.Join(c.dir, pathOf(tlog.Tile{H: height, N: n, W: width})))
	if err != nil || len(tile) != width*tlog.HashSize {
		return
	}
	for i, e := range entries {
		if h := tlog.RecordHash(e); i < width && !bytes.Equal(tile[i*tlog.HashSize:(i+1)*tlog.HashSize], h[:]) {
			at := n*width + int64(i)
			c.wrong(text{En: "entry %d is not what its tile says", Es: "la entrada %d no es lo que dice su losa"}.f(at))
			return
		}
	}
}

// tiles compares every tile that the log has published with the entries. If
// those are proved the tile is wrong; if not, it says which entry was changed.
func (c *checker) tiles(proved bool) {
	good := 0
	for _, t := range tlog.NewTiles(height, 0, c.published) {
		name := pathOf(t)
		want, err := tlog.ReadTileData(t, c.reader)
		if err != nil {
			c.wrong(text{En: "%s: %v", Es: "%s: %v"}.f(name, err))
			return
		}
		have, err := readFile(filepath.Join(c.dir, name))
		if errors.Is(err, fs.ErrNotExist) && t.W < width && c.movedOn() {
			continue
		}
		if err != nil {
			c.wrong(text{En: "%s: %v", Es: "%s: %v"}.f(name, reason(err)))
			continue
		}
		if bytes.Equal(have, want) {
			good++
			continue
		}
		i := 0
		for i < t.W && (i+1)*tlog.HashSize <= len(have) && bytes.Equal(have[i*tlog.HashSize:(i+1)*tlog.HashSize], want[i*tlog.HashSize:(i+1)*tlog.HashSize]) {
			i++
		}
		each := int64(1) << (height * t.L)
		first := (t.N*width + int64(min(i, t.W-1))) * each
		switch {
		case proved:
			c.wrong(text{En: "%s was altered (entries %d to %d, which are proved, do not fit it)", Es: "%s fue alterada (las entradas %d a %d, que están probadas, no concuerdan)"}.f(name, first, first+each-1))
		case t.L == 0:
			c.wrong(text{En: "entry %d is not the one of which %s has the hash", Es: "la entrada %d no es aquella cuyo hash tiene %s"}.f(first, name))
		default:
			c.wrong(text{En: "entries %d to %d are not those of which %s has the hash", Es: "las entradas %d a %d no son aquellas cuyo hash tiene %s"}.f(first, first+each-1, name))
		}
	}
	if good > 0 && proved {
		c.proved(text{En: "%d tiles fit them", Es: "%d losas concuerdan con ellas"}.f(good))
	}
}

// movedOn reports whether a live log has published again since it was opened:
// then partial tiles and bundles have given way to wider ones.
func (c *checker) movedOn() bool {
	b, err := readFile(filepath.Join(c.dir, "checkpoint"))
	return err == nil && !bytes.Equal(b, c.signed)
}

// lastBundle compares the partial bundle that a live log has published with
// the journal, which has the same entries.
func (c *checker) lastBundle() {
	n, w := c.published/width, int(c.published%width)
	if w == 0 || len(c.batch) == 0 || n*width < c.base {
		return
	}
	want, _, err := c.bundle(n)
	if err != nil || len(want) < w {
		return // was said already
	}
	name := pathOf(tlog.Tile{H: height, L: -1, N: n, W: w})
	b, err := readFile(filepath.Join(c.dir, name))
	if err != nil {
		if !c.movedOn() {
			c.wrong(text{En: "%s: %v", Es: "%s: %v"}.f(name, reason(err)))
		}
		return
	}
	have, err := entriesOf(b)
	for i := range w {
		if i >= len(have) || !bytes.Equal(have[i], want[i]) {
			c.wrong(text{En: "%s: entry %d is not the signed one", Es: "%s: la entrada %d no es la firmada"}.f(name, n*width+int64(i)))
			return
		}
	}
	if err != nil || len(have) > w {
		c.wrong(text{En: "%s: something stands behind its last entry", Es: "%s: hay algo tras su última entrada"}.f(name))
	}
}

// part checks an export of some entries: each is proved by tiles, which are
// proved by the signed root.
func (c *checker) part() {
	from, to := c.from(), c.to()
	c.reader = tlog.TileHashReader(c.root.tree, c)
	if _, err := tlog.TreeHash(c.root.tree.N, c.reader); err != nil {
		c.wrong(text{En: "the tiles do not prove the signed root: %v", Es: "las losas no prueban la raíz firmada: %v"}.f(err))
		return
	}
	proved := int64(0)
	for n := from / width; n*width < to; n++ {
		entries, name, err := c.bundle(n)
		if err != nil {
			c.badBundle(n, name, len(entries), err)
			continue
		}
		indexes := make([]int64, len(entries))
		for i := range entries {
			indexes[i] = tlog.StoredHashIndex(0, n*width+int64(i))
		}
		hashes, err := c.reader.ReadHashes(indexes)
		if err != nil {
			c.wrong(text{En: "entries %d to %d: their tiles prove nothing: %v", Es: "entradas %d a %d: sus losas no prueban nada: %v"}.f(n*width, n*width+int64(len(entries))-1, reason(err)))
			continue
		}
		for i, e := range entries {
			at := n*width + int64(i)
			c.look(at, e)
			if tlog.RecordHash(e) != hashes[i] {
				c.wrong(text{En: "entry %d is not the signed one", Es: "la entrada %d no es la firmada"}.f(at))
				continue
			}
			proved++
		}
	}
	if proved == to-from {
		c.proved(text{En: "entries %d to %d are the signed ones, in their place among %d", Es: "las entradas %d a %d son las firmadas, en su lugar entre %d"}.f(from, to-1, c.root.tree.N))
	}
	c.note(text{En: "this is a part of the log: nothing is said of the other entries", Es: "esto es una parte del registro: nada se dice de las demás entradas"})
}

// Height, ReadTiles and SaveTiles make a checker a tlog.TileReader.
func (c *checker) Height() int { return height }

// SaveTiles does nothing: every tile is read where it lies.
func (c *checker) SaveTiles([]tlog.Tile, [][]byte) {}

func (c *checker) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, t := range tiles {
		b, err := readFile(filepath.Join(c.dir, pathOf(t)))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", pathOf(t), reason(err))
		}
		out[i] = b
	}
	return out, nil
}
