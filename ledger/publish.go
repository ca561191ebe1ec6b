package ledger

import (
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"casco/lang"
)

// publish makes the directory a whole tiled log of all entries. Order keeps it
// one at any point: first the tiles and bundles, which nobody asks for before
// there is a checkpoint of that size; then, by a rename, the checkpoint; then
// a journal without what is in full bundles. The caller holds the lock.
func (l *Log) publish() error {
	s := l.state
	if s.last.Size == s.published.Size && len(s.tail) < tileWidth {
		return nil
	}
	b := batch{root: l.dir}
	err := s.tree.tiles(func(level int, n int64, hashes []tlog.Hash) error {
		return b.put(tilePath(level, n, len(hashes)), joinTile(hashes), len(hashes) == tileWidth)
	})
	if err != nil {
		return err
	}
	for i := 0; i < len(s.tail); i += tileWidth {
		entries := s.tail[i:min(i+tileWidth, len(s.tail))]
		n := (s.base + int64(i)) / tileWidth
		if err := b.put(tilePath(-1, n, len(entries)), joinBundle(entries), len(entries) == tileWidth); err != nil {
			return err
		}
	}
	if err := b.flush(); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(l.dir, "checkpoint"), s.last.Note); err != nil {
		return err
	}
	before := s.published.Size
	s.published = s.last
	if err := l.rotate(); err != nil {
		return err
	}
	return dropPartials(l.dir, s.published.Size, before)
}

// rotate begins a new journal if the old one holds full bundles.
func (l *Log) rotate() error {
	s := l.state
	full := len(s.tail) &^ (tileWidth - 1)
	if full == 0 {
		return nil
	}
	next := journalHeader(s.base + int64(full))
	if rest := s.tail[full:]; len(rest) > 0 {
		next = append(next, makeFrame(rest, s.last.Note)...)
	}
	path := filepath.Join(l.dir, "journal")
	if err := writeFile(path, next); err != nil {
		return err
	}
	// Another file now: the state that fits it is made here, not read again.
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	l.journal.Close()
	l.journal = f
	s.journal = journalFile{inodeOf(st), int64(len(next))}
	s.base += int64(full)
	s.tail = append([][]byte(nil), s.tail[full:]...)
	s.tree = s.tree.clone()
	s.tree.trim()
	return nil
}

// dropPartials removes partial tiles and bundles that a log of this size and
// the one published before it do not have: a reader may be between the two.
// c2sp.org/tlog-tiles lets a log drop partial tiles only when the full one is
// there; it speaks of servers, and what a server of this directory lacks it can
// cut from a wider one.
func dropPartials(dir string, size, before int64) error {
	for l := -1; l < 0 || size>>(tileHeight*l) > 0; l++ {
		shift := tileHeight * max(l, 0)
		for _, old := range []int64{before, size} {
			n := old >> shift / tileWidth
			full := (n+1)*tileWidth <= size>>shift
			partials := filepath.Join(dir, tilePath(l, n, tileWidth)+".p")
			names, err := os.ReadDir(partials)
			if os.IsNotExist(err) {
				continue
			}
			if err != nil {
				return err
			}
			for _, name := range names {
				w, err := strconv.ParseInt(name.Name(), 10, 64)
				keep := err == nil && !full && (n*tileWidth+w == size>>shift || n*tileWidth+w == before>>shift)
				if keep {
					continue
				}
				if err := os.Remove(filepath.Join(partials, name.Name())); err != nil {
					return lang.Errorf(lang.Text{En: "drop a partial tile: %w", Es: "quitar una losa parcial: %w"}, err)
				}
			}
			if full {
				if err := os.Remove(partials); err != nil {
					return lang.Errorf(lang.Text{En: "drop partial tiles: %w", Es: "quitar losas parciales: %w"}, err)
				}
			}
		}
	}
	return nil
}
