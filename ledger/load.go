package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"casco/lang"
)

const (
	formatHead = "casco ledger "
	format     = 1
)

// ErrNewer is returned for a log that a newer casco has written: this one must
// not touch it.
var ErrNewer = lang.Errorf(lang.Text{En: "made by a newer casco", Es: "hecho por un casco más nuevo"})

// ErrNoLog is returned for a directory that holds no log.
var ErrNoLog = lang.Errorf(lang.Text{En: "no ledger here", Es: "aquí no hay ningún registro"})

// A state is a log as far as it must be in memory: the end of it. What comes
// before base is in full bundles and full tiles, which never change.
type state struct {
	base      int64
	tail      [][]byte   // entries from base on, as they are in the log
	tree      *tree      // its rows begin at base
	last      Checkpoint // of all entries
	published Checkpoint // the file "checkpoint"; may be older
	lastTime  time.Time  // of the last entry; zero if there is none

	journal journalFile
	torn    []byte // behind the journal's last frame
}

// journalFile tells whether the journal is still the one that was read.
type journalFile struct {
	inode uint64
	size  int64 // up to the end of the last good frame
}

func (s *state) size() int64 { return s.base + int64(len(s.tail)) }

// checkFormat reads the format marker.
func checkFormat(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, "format"))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", dir, ErrNoLog)
	}
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(string(b), formatHead), "\n"))
	switch {
	case err != nil || !strings.HasPrefix(string(b), formatHead):
		return lang.Errorf(lang.Text{En: "%s: its format marker is unreadable: %.40q", Es: "%s: su marca de formato es ilegible: %.40q"}, dir, b)
	case n > format:
		return lang.Errorf(lang.Text{En: "%s: format %d, this casco knows %d: %w", Es: "%s: formato %d, este casco conoce %d: %w"}, dir, n, format, ErrNewer)
	case n < 1:
		return lang.Errorf(lang.Text{En: "%s: there never was a format %d", Es: "%s: nunca hubo un formato %d"}, dir, n)
	}
	return nil
}

// load reads the end of a log. The caller holds its lock. Everything that is
// read is checked against the signed checkpoints; what does not fit is a
// *Problem.
func load(dir string, keys []note.Verifier) (*state, error) {
	if err := checkFormat(dir); err != nil {
		return nil, err
	}
	trust := Trust{Log: keys}
	b, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, problem(Missing, -1, -1, "checkpoint", lang.Text{En: "the checkpoint is missing", Es: "falta el punto de control (checkpoint)"})
	}
	if err != nil {
		return nil, err
	}
	s := &state{}
	if s.published, err = trust.Open(b); err != nil {
		return nil, badSignature("checkpoint", err)
	}
	j, file, err := readJournal(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(filepath.Join(dir, "lock")); err == nil {
			return nil, noJournal()
		}
		return s, s.loadCopy(dir)
	}
	if err != nil {
		return nil, err
	}
	s.journal, s.torn = file, j.torn
	if err := s.build(dir, j, false, trust); errors.Is(err, ErrDamaged) {
		// Partial tiles of higher levels only repeat what the full ones below
		// say: do without them before giving up.
		again := &state{published: s.published, journal: s.journal, torn: s.torn}
		if again.build(dir, j, true, trust) != nil {
			return nil, err
		}
		return again, nil
	} else if err != nil {
		return nil, err
	}
	return s, nil
}

func badSignature(file string, err error) *Problem {
	return problem(BadSignature, -1, -1, file, say(lang.Text{En: "%s: %s", Es: "%s: %s"}, file, err))
}

func noJournal() *Problem {
	return problem(Missing, -1, -1, "journal", lang.Text{
		En: "the journal is missing, and with it the entries after the last checkpoint",
		Es: "falta el journal, y con él las entradas posteriores al último punto de control",
	})
}

func readJournal(dir string) (journal, journalFile, error) {
	f, err := os.Open(filepath.Join(dir, "journal"))
	if err != nil {
		return journal{}, journalFile{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return journal{}, journalFile{}, err
	}
	b := make([]byte, st.Size())
	if n, err := f.ReadAt(b, 0); err != nil || n < len(b) {
		return journal{}, journalFile{}, lang.Errorf(lang.Text{En: "read %s: %w", Es: "leer %s: %w"}, f.Name(), err)
	}
	j, err := parseJournal(b)
	if err != nil {
		return j, journalFile{}, problem(BadJournal, -1, -1, "journal", say(lang.Text{En: "journal: %s", Es: "journal: %s"}, err))
	}
	return j, journalFile{inodeOf(st), int64(j.end)}, nil
}

// build makes the state out of the tiles before the journal's first entry and
// the journal. With anew, partial tiles are computed and not read.
func (s *state) build(dir string, j journal, anew bool, trust Trust) error {
	s.base, s.last = j.base, s.published
	if s.base > s.published.Size {
		return problem(OldCheckpoint, -1, -1, "checkpoint", say(lang.Text{
			En: "an old checkpoint was put back: it has %d entries, and the journal begins at entry %d",
			Es: "se repuso un punto de control viejo: tiene %d entradas, y el journal empieza en la entrada %d",
		}, s.published.Size, s.base))
	}
	rows, err := edgeAt(dir, s.base, s.published.Size, anew)
	if err != nil {
		return err
	}
	if s.tree, err = grow(s.base, rows); err != nil {
		return err
	}
	for _, f := range j.frames {
		if err := s.addFrame(f, trust); err != nil {
			return err
		}
	}
	if j.damaged != nil {
		return problem(BadJournal, s.size(), s.size(), "journal", say(lang.Text{
			En: "journal: %s, from entry %d on: it was acknowledged and is altered or lost",
			Es: "journal: %s, desde la entrada %d: fue confirmada y está alterada o perdida",
		}, j.damaged, s.size()))
	}
	if s.size() < s.published.Size {
		return missingTail(s.published.Size, s.size(), "checkpoint", lang.Text{En: "the checkpoint", Es: "el punto de control"})
	}
	if s.size() == s.base { // no frame compared it
		if err := s.compare(s.published, "checkpoint", s.base, s.base); err != nil {
			return err
		}
	}
	s.findTime(dir)
	return nil
}

// addFrame adds the entries of one frame and compares the tree with what was
// signed for them, and with the published checkpoint on the way.
func (s *state) addFrame(f frame, trust Trust) error {
	first := s.size()
	for _, e := range f.entries {
		if err := s.tree.add(tlog.RecordHash(e)); err != nil {
			return err
		}
		s.tail = append(s.tail, e)
		if s.size() == s.published.Size {
			if err := s.compare(s.published, "checkpoint", s.base, s.size()-1); err != nil {
				return err
			}
		}
	}
	cp, err := trust.Open(f.signed)
	if err != nil {
		return problem(BadSignature, first, s.size()-1, "journal", say(lang.Text{
			En: "journal: %s: %s", Es: "journal: %s: %s",
		}, span(first, s.size()-1), err))
	}
	if cp.Size != s.size() || cp.Origin != s.published.Origin {
		return problem(BadJournal, first, s.size()-1, "journal", say(lang.Text{
			En: "journal: a checkpoint of %s, size %d, stands behind entry %d",
			Es: "journal: un punto de control de %s, tamaño %d, está tras la entrada %d",
		}, cp.Origin, cp.Size, s.size()-1))
	}
	s.last = cp
	return s.compare(cp, "journal", first, s.size()-1)
}

// compare says whether the tree of all entries so far is the signed one.
func (s *state) compare(cp Checkpoint, file string, first, last int64) error {
	root, err := s.tree.root()
	if err != nil {
		return err
	}
	if root != cp.Root {
		return problem(BadRoot, first, last, file, say(lang.Text{
			En: "%s: the tree of %d entries has root %s, signed was %s",
			Es: "%s: el árbol de %d entradas tiene la raíz %s, se firmó %s",
		}, file, cp.Size, root, cp.Root))
	}
	return nil
}

func missingTail(want, have int64, file string, who lang.Text) *Problem {
	return problem(MissingTail, have, want-1, file, say(lang.Text{
		En: "the tail is missing: %s is of %d entries, the log has %d",
		Es: "falta el final: %s es de %d entradas, el registro tiene %d",
	}, who, want, have))
}

// loadCopy reads a log that has no journal: a copy of what is published.
func (s *state) loadCopy(dir string) error {
	size := s.published.Size
	s.base, s.last = size&^(tileWidth-1), s.published
	rows, err := edgeAt(dir, s.base, size, false)
	if err != nil {
		return err
	}
	if s.tree, err = grow(s.base, rows); err != nil {
		return err
	}
	if w := int(size - s.base); w > 0 {
		entries, err := readBundle(dir, s.base/tileWidth, w)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := s.tree.add(tlog.RecordHash(e)); err != nil {
				return err
			}
			s.tail = append(s.tail, e)
		}
	}
	if err := s.compare(s.published, "checkpoint", s.base, size-1); err != nil {
		return err
	}
	s.findTime(dir)
	return nil
}

// findTime reads the time of the last entry. If that is damaged the time stays
// zero: Verify names it, and recording goes on.
func (s *state) findTime(dir string) {
	var raw []byte
	if len(s.tail) > 0 {
		raw = s.tail[len(s.tail)-1]
	} else if entries, err := readBundle(dir, s.base/tileWidth-1, tileWidth); err == nil {
		raw = entries[tileWidth-1]
	}
	if e, err := ParseEntry(raw); err == nil {
		s.lastTime = e.Time
	}
}

// edgeAt returns the hashes at the right edge of the tree of size base, a
// multiple of 256, by tile level. They are read from the tiles of a log of
// size published, or computed from the full tiles below.
func edgeAt(dir string, base, published int64, anew bool) ([]row, error) {
	var rows []row
	for l := 0; base>>(tileHeight*l) > 0; l++ {
		n := base >> (tileHeight * l) // hashes in this row
		w := int(n % tileWidth)
		r := row{start: n - int64(w)}
		if w > 0 {
			tile := r.start / tileWidth
			var err error
			if anew {
				r.hashes, err = computeTile(dir, l, tile, w)
			} else {
				have := published>>(tileHeight*l) - r.start // how wide it was published
				r.hashes, err = readTile(dir, l, tile, w, int(min(have, tileWidth)))
			}
			if err != nil {
				return nil, err
			}
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// grow makes the tree of a size out of its right edge.
func grow(size int64, rows []row) (*tree, error) {
	t := &tree{size: size, peaks: map[int64]tlog.Hash{}, rows: rows}
	_, err := tlog.TreeHash(size, tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			tile := tlog.TileForIndex(tileHeight, x)
			in, ok := t.tile(tile.L, tile.N, tile.W)
			if !ok {
				return nil, fmt.Errorf("the edge of a tree of %d entries lacks %s", size, tile.Path())
			}
			h, err := tlog.HashFromTile(tile, joinTile(in), x)
			if err != nil {
				return nil, err
			}
			hashes[i], t.peaks[x] = h, h
		}
		return hashes, nil
	}))
	return t, err
}

// readTile returns the first w hashes of a tile that was published with the
// given width, or has become full since.
func readTile(dir string, l int, n int64, w, width int) ([]tlog.Hash, error) {
	name := tilePath(l, n, tileWidth)
	b, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) && width < tileWidth {
		name = tilePath(l, n, width)
		b, err = os.ReadFile(filepath.Join(dir, name))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing(name, l, n)
	}
	if err != nil {
		return nil, err
	}
	hashes, err := splitTile(b)
	if err == nil && len(hashes) < w {
		err = lang.Errorf(lang.Text{En: "has %d hashes, not %d", Es: "tiene %d hashes, no %d"}, len(hashes), w)
	}
	if err != nil {
		return nil, problem(BadTile, -1, -1, name, say(lang.Text{En: "%s: %s", Es: "%s: %s"}, name, err))
	}
	return hashes[:w], nil
}

func missing(name string, l int, n int64) *Problem {
	first, last := int64(-1), int64(-1)
	if l < 0 {
		first, last = n*tileWidth, n*tileWidth+tileWidth-1
	}
	return problem(Missing, first, last, name, say(lang.Text{En: "%s is missing", Es: "falta %s"}, name))
}

// computeTile makes a tile of level 1 or more out of the full tiles below it.
func computeTile(dir string, l int, n int64, w int) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, w)
	for i := range hashes {
		below, err := readTile(dir, l-1, n*tileWidth+int64(i), tileWidth, tileWidth)
		if err != nil {
			return nil, err
		}
		if hashes[i], err = hashTile(below); err != nil {
			return nil, err
		}
	}
	return hashes, nil
}

// hashTile returns the root of the whole subtree that a full tile spans: the
// hash that stands for it in the tile above.
func hashTile(full []tlog.Hash) (tlog.Hash, error) {
	tile, data := tlog.Tile{H: tileHeight, W: tileWidth}, joinTile(full)
	left, err := tlog.HashFromTile(tile, data, tlog.StoredHashIndex(tileHeight-1, 0))
	if err != nil {
		return tlog.Hash{}, err
	}
	right, err := tlog.HashFromTile(tile, data, tlog.StoredHashIndex(tileHeight-1, 1))
	return tlog.NodeHash(left, right), err
}

// readBundle returns the w entries of a bundle: from one of just that width, or
// from the full one. With an error it may return some of them.
func readBundle(dir string, n int64, w int) ([][]byte, error) {
	name, width := tilePath(-1, n, w), w
	b, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) && w < tileWidth {
		name, width = tilePath(-1, n, tileWidth), tileWidth
		b, err = os.ReadFile(filepath.Join(dir, name))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing(tilePath(-1, n, w), -1, n)
	}
	if err != nil {
		return nil, err
	}
	entries, err := splitBundle(b)
	if len(entries) >= width {
		if err != nil || len(entries) > width {
			return entries[:w], problem(BadEntry, -1, -1, name, say(lang.Text{
				En: "%s: something stands behind its last entry", Es: "%s: hay algo tras su última entrada",
			}, name))
		}
		return entries[:w], nil
	}
	if err == nil {
		err = lang.Errorf(lang.Text{En: "has %d entries, not %d", Es: "tiene %d entradas, no %d"}, len(entries), width)
	}
	first := n*tileWidth + int64(len(entries))
	return entries, problem(BadEntry, first, n*tileWidth+int64(width)-1, name, say(lang.Text{
		En: "%s: from entry %d on it cannot be read: %s", Es: "%s: desde la entrada %d no se puede leer: %s",
	}, name, first, err))
}
