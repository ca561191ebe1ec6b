package ledger

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// A tree is the right edge of the Merkle tree: all that is needed to let it
// grow and to know its root. It copies cheaply: what is in a copy stays as it
// is while the original grows.
//
// Hashes are counted as in package tlog: level 0 are the leaves, and the
// stored hash (level, n) is that of the n-th whole subtree of 2^level leaves.
type tree struct {
	size  int64
	peaks map[int64]tlog.Hash // by stored hash index: roots of the largest whole subtrees
	rows  []row               // by tile level
}

// A row is the end of the row of hashes that tiles of one level hold.
type row struct {
	start  int64 // index of the first, a multiple of 256
	hashes []tlog.Hash
}

// ReadHashes makes the peaks a tlog.HashReader.
func (t *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		h, ok := t.peaks[x]
		if !ok {
			return nil, fmt.Errorf("the tree of %d entries has no peak %d", t.size, x)
		}
		hashes[i] = h
	}
	return hashes, nil
}

func (t *tree) root() (tlog.Hash, error) { return tlog.TreeHash(t.size, t) }

// add appends a leaf, by its hash.
func (t *tree) add(leaf tlog.Hash) error {
	hashes, err := tlog.StoredHashesForRecordHash(t.size, leaf, t)
	if err != nil {
		return err
	}
	if t.peaks == nil {
		t.peaks = map[int64]tlog.Hash{}
	}
	// Of the new hashes only the last is a peak; those it was made of are none
	// any more.
	top := len(hashes) - 1
	for i := range top {
		delete(t.peaks, tlog.StoredHashIndex(i, t.size>>i-1))
	}
	t.peaks[tlog.StoredHashIndex(top, t.size>>top)] = hashes[top]
	for i := 0; i <= top; i += tileHeight {
		l := i / tileHeight
		if l == len(t.rows) {
			t.rows = append(t.rows, row{})
		}
		t.rows[l].hashes = append(t.rows[l].hashes, hashes[i])
	}
	t.size++
	return nil
}

// clone returns a copy that does not see what is added to t from now on.
func (t *tree) clone() *tree {
	c := &tree{size: t.size, peaks: make(map[int64]tlog.Hash, len(t.peaks)), rows: make([]row, len(t.rows))}
	for k, v := range t.peaks {
		c.peaks[k] = v
	}
	for i, r := range t.rows {
		c.rows[i] = row{r.start, r.hashes[:len(r.hashes):len(r.hashes)]}
	}
	return c
}

// trim forgets the hashes of tiles that are full.
func (t *tree) trim() {
	for i, r := range t.rows {
		full := len(r.hashes) &^ (tileWidth - 1)
		t.rows[i] = row{r.start + int64(full), append([]tlog.Hash(nil), r.hashes[full:]...)}
	}
}

// tile returns the hashes of the tile with w hashes, n-th of level l, if t has
// them.
func (t *tree) tile(l int, n int64, w int) ([]tlog.Hash, bool) {
	if l >= len(t.rows) {
		return nil, false
	}
	from := n*tileWidth - t.rows[l].start
	if from < 0 || from+int64(w) > int64(len(t.rows[l].hashes)) {
		return nil, false
	}
	return t.rows[l].hashes[from : from+int64(w)], true
}

// tiles calls do for each tile that a log of t's size has and t holds: full
// ones, and one with fewer hashes at the end of a row.
func (t *tree) tiles(do func(l int, n int64, hashes []tlog.Hash) error) error {
	for l, r := range t.rows {
		for i := 0; i < len(r.hashes); i += tileWidth {
			end := min(i+tileWidth, len(r.hashes))
			if err := do(l, (r.start+int64(i))/tileWidth, r.hashes[i:end]); err != nil {
				return err
			}
		}
	}
	return nil
}
