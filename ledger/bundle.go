package ledger

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"casco/lang"
)

// The layout of c2sp.org/tlog-tiles: a tile has 256 hashes, a bundle 256
// entries. N is cut into groups of three digits, all but the last behind an x.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// tilePath returns the path of the tile with w hashes, n-th of level l; level
// -1 is the entry bundles.
func tilePath(l int, n int64, w int) string {
	level := "entries"
	if l >= 0 {
		level = fmt.Sprint(l)
	}
	path := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		path = fmt.Sprintf("x%03d/%s", n%1000, path)
	}
	path = "tile/" + level + "/" + path
	if w < tileWidth {
		path += fmt.Sprintf(".p/%d", w)
	}
	return path
}

// appendEntry adds an entry to a bundle: its length in 16 bits, big-endian,
// and its bytes.
func appendEntry(bundle, entry []byte) []byte {
	bundle = append(bundle, byte(len(entry)>>8), byte(len(entry)))
	return append(bundle, entry...)
}

func joinBundle(entries [][]byte) []byte {
	n := 0
	for _, e := range entries {
		n += 2 + len(e)
	}
	b := make([]byte, 0, n)
	for _, e := range entries {
		b = appendEntry(b, e)
	}
	return b
}

// splitBundle returns the entries of a bundle, which share its memory. If it
// is broken it returns those before the break, and the error.
func splitBundle(b []byte) ([][]byte, error) {
	entries := make([][]byte, 0, tileWidth)
	for len(b) > 0 {
		if len(b) < 2 {
			return entries, lang.Errorf(lang.Text{En: "ends within the length of an entry", Es: "termina dentro de la longitud de una entrada"})
		}
		n := int(b[0])<<8 | int(b[1])
		if len(b) < 2+n {
			return entries, lang.Errorf(lang.Text{En: "ends within an entry", Es: "termina dentro de una entrada"})
		}
		entries = append(entries, b[2:2+n:2+n])
		b = b[2+n:]
	}
	return entries, nil
}

// joinTile is the content of a tile.
func joinTile(hashes []tlog.Hash) []byte {
	b := make([]byte, 0, len(hashes)*tlog.HashSize)
	for i := range hashes {
		b = append(b, hashes[i][:]...)
	}
	return b
}

func splitTile(b []byte) ([]tlog.Hash, error) {
	if len(b)%tlog.HashSize != 0 {
		return nil, lang.Errorf(lang.Text{En: "%d bytes are not a whole number of hashes", Es: "%d bytes no son un número entero de hashes"}, len(b))
	}
	hashes := make([]tlog.Hash, len(b)/tlog.HashSize)
	for i := range hashes {
		copy(hashes[i][:], b[i*tlog.HashSize:])
	}
	return hashes, nil
}
