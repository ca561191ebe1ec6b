package ledger

import (
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"casco/lang"
)

// A View is a log as it was at one moment, for reading. What it returns is
// proved first: an entry or a proof that does not fit the signed checkpoint is
// an error, never a result. A View does not change, and any number of
// goroutines may use it.
type View struct {
	dir  string
	base int64
	tail [][]byte
	tree *tree
	cp   Checkpoint
	torn int
}

// Read opens the log in dir for reading, or a copy of one that has no journal.
// Keys are the log's, see [ParseVerifier].
func Read(dir string, keys ...note.Verifier) (*View, error) {
	unlock, err := lockShared(dir)
	if err != nil {
		return nil, lang.Errorf(lang.Text{En: "read ledger: %w", Es: "leer el registro: %w"}, err)
	}
	defer unlock()
	s, err := load(dir, keys)
	if err != nil {
		return nil, lang.Errorf(lang.Text{En: "read ledger: %w", Es: "leer el registro: %w"}, err)
	}
	return s.view(dir), nil
}

func (s *state) view(dir string) *View {
	return &View{dir, s.base, s.tail[:len(s.tail):len(s.tail)], s.tree.clone(), s.last, len(s.torn)}
}

// Size returns the number of entries.
func (v *View) Size() int64 { return v.cp.Size }

// Checkpoint returns the signed root of all entries.
func (v *View) Checkpoint() Checkpoint { return v.cp }

// A Record is an entry with its place in the log.
type Record struct {
	Index int64 `json:"index"`
	Entry
	Raw []byte `json:"-"` // as it is in the log, which is what is hashed
}

// ErrNoEntry is returned for an index that the log does not have.
var ErrNoEntry = lang.Errorf(lang.Text{En: "no such entry", Es: "no hay tal entrada"})

// Entry returns entry i.
func (v *View) Entry(i int64) (Record, error) {
	if i < 0 || i >= v.Size() {
		return Record{}, lang.Errorf(lang.Text{En: "entry %d of %d: %w", Es: "entrada %d de %d: %w"}, i, v.Size(), ErrNoEntry)
	}
	for r, err := range v.Entries(i, i+1) {
		return r, err
	}
	return Record{}, lang.Errorf(lang.Text{En: "entry %d: %w", Es: "entrada %d: %w"}, i, ErrNoEntry)
}

// Entries returns the entries from index from up to, but without, to. It ends
// with the first error.
func (v *View) Entries(from, to int64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for raw, err := range v.raw(from, to) {
			if err != nil {
				yield(Record{}, err)
				return
			}
			e, err := ParseEntry(raw)
			if err != nil {
				yield(Record{}, lang.Errorf(lang.Text{En: "entry %d: %w", Es: "entrada %d: %w"}, from, err))
				return
			}
			if !yield(Record{from, e, raw}, nil) {
				return
			}
			from++
		}
	}
}

// raw returns the entries of a range as they are in the log, each proved.
func (v *View) raw(from, to int64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if from < 0 || to > v.Size() || from > to {
			yield(nil, lang.Errorf(lang.Text{En: "entries %d to %d of %d: %w", Es: "entradas %d a %d de %d: %w"}, from, to, v.Size(), ErrNoEntry))
			return
		}
		for from < to {
			n := from / tileWidth
			first := n * tileWidth
			entries, err := v.bundle(n)
			if err == nil {
				err = v.prove(first, entries)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for ; from < to && from < first+int64(len(entries)); from++ {
				if !yield(entries[from-first], nil) {
					return
				}
			}
		}
	}
}

// width is how many hashes the n-th tile of a level has.
func (v *View) width(l int, n int64) int {
	return int(min(v.Size()>>(tileHeight*max(l, 0))-n*tileWidth, tileWidth))
}

func (v *View) bundle(n int64) ([][]byte, error) {
	w := v.width(-1, n)
	if from := n*tileWidth - v.base; from >= 0 {
		return v.tail[from : from+int64(w)], nil
	}
	return readBundle(v.dir, n, w)
}

// prove compares entries, the first of which has index first, with the tree.
func (v *View) prove(first int64, entries [][]byte) error {
	indexes := make([]int64, len(entries))
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(0, first+int64(i))
	}
	hashes, err := v.ReadHashes(indexes)
	if err != nil {
		return err
	}
	for i, e := range entries {
		if tlog.RecordHash(e) != hashes[i] {
			at := first + int64(i)
			return problem(BadEntry, at, at, tilePath(-1, first/tileWidth, len(entries)), say(lang.Text{
				En: "entry %d is not the one that was signed", Es: "la entrada %d no es la que se firmó",
			}, at))
		}
	}
	return nil
}

// ReadHashes returns hashes of the tree by their stored hash index, proved
// against the checkpoint: it makes a View a tlog.HashReader.
func (v *View) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	if len(indexes) == 0 {
		return nil, nil
	}
	if v.Size() == 0 {
		return nil, lang.Errorf(lang.Text{En: "the log is empty: %w", Es: "el registro está vacío: %w"}, ErrNoEntry)
	}
	hashes, err := tlog.TileHashReader(v.cp.tree(), tileReader{v}).ReadHashes(indexes)
	var p *Problem
	if err != nil && !errors.As(err, &p) {
		return nil, problem(BadTile, -1, -1, "", say(lang.Text{
			En: "tiles do not fit the signed checkpoint (%s)", Es: "las losas (tiles) no concuerdan con el punto de control firmado (%s)",
		}, err))
	}
	return hashes, err
}

// tileReader gives tlog the tiles of a view.
type tileReader struct{ v *View }

func (tileReader) Height() int                     { return tileHeight }
func (tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

func (r tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, t := range tiles {
		hashes, ok := r.v.tree.tile(t.L, t.N, t.W)
		if !ok {
			var err error
			if hashes, err = readTile(r.v.dir, t.L, t.N, t.W, r.v.width(t.L, t.N)); err != nil {
				return nil, err
			}
		}
		data[i] = joinTile(hashes)
	}
	return data, nil
}

// RootAt returns the root that the log had when it was of the given size.
func (v *View) RootAt(size int64) (tlog.Hash, error) {
	if size < 0 || size > v.Size() {
		return tlog.Hash{}, lang.Errorf(lang.Text{En: "a root of %d entries, the log has %d: %w", Es: "una raíz de %d entradas, el registro tiene %d: %w"}, size, v.Size(), ErrNoEntry)
	}
	return tlog.TreeHash(size, v)
}

// Inclusion proves that entry i is in the tree of the checkpoint: RFC 6962,
// 2.1.1; check it with tlog.CheckRecord.
func (v *View) Inclusion(i int64) (tlog.RecordProof, error) {
	return tlog.ProveRecord(v.Size(), i, v)
}

// Consistency proves that the tree of size size holds all that the tree of
// size old held: RFC 6962, 2.1.2; check it with tlog.CheckTree. It is empty if
// old is zero.
func (v *View) Consistency(old, size int64) (tlog.TreeProof, error) {
	if old < 0 || old > size || size > v.Size() {
		return nil, lang.Errorf(lang.Text{En: "from %d to %d entries, the log has %d: %w", Es: "de %d a %d entradas, el registro tiene %d: %w"}, old, size, v.Size(), ErrNoEntry)
	}
	if old == 0 {
		return nil, nil
	}
	return tlog.ProveTree(size, old, v)
}

// heldByWitness compares the log with the checkpoints under witness/, as far
// as that is cheap: one of more entries than the log has means that the log
// lost its end.
func (s *state) heldByWitness(dir string, keys []note.Verifier) error {
	held, err := readHeld(dir)
	if err != nil {
		return err
	}
	for _, h := range held {
		cp, err := Trust{Log: keys}.Open(h.Note)
		if err != nil {
			continue // of another key: Verify judges it
		}
		if cp.Size > s.size() {
			return missingTail(cp.Size, s.size(), h.From, lang.Text{
				En: "the checkpoint in " + h.From, Es: "el punto de control en " + h.From,
			})
		}
	}
	return nil
}

// Held is a checkpoint that somebody keeps: a witness, an auditor with a copy,
// another host.
type Held struct {
	From string // who or which file
	Note []byte
}

// readHeld returns the checkpoints under witness/.
func readHeld(dir string) ([]Held, error) {
	names, err := os.ReadDir(filepath.Join(dir, "witness"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var held []Held
	for _, n := range names {
		if strings.HasPrefix(n.Name(), ".") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, "witness", n.Name()))
		if err != nil {
			return nil, err
		}
		held = append(held, Held{"witness/" + n.Name(), b})
	}
	return held, nil
}
