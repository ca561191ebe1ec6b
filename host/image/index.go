package image

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sort"
	"strings"
)

// A kind says how an entry of a layer bears on the layers below.
type kind uint8

const (
	file            kind = iota // anything that is no directory, a whiteout too: it replaces what is below
	directory                   // is merged with the one below
	opaqueDirectory             // replaces the one below
)

// An index is the paths of a layer, with kinds and sizes, in a form that is
// small enough to keep: a million files take 24 MB. Each entry is a mark; they
// are sorted.
type index []byte

// A mark is an entry: the first 8 bytes of the SHA-256 of its path, so that
// nobody can make a path that passes for a given other one, those of the
// directory that it is in, and size and kind.
type mark struct{ path, parent, entry uint64 }

const (
	markSize = 24
	sizeMost = 1 << 60 // as much of a size as an entry holds
)

func pathMark(p string) uint64 {
	h := sha256.Sum256([]byte(p))
	return binary.BigEndian.Uint64(h[:])
}

func markOf(p string, k kind, size int64) mark {
	return mark{pathMark(p), pathMark(dirOf(p)), uint64(min(max(size, 0), sizeMost))<<2 | uint64(k)}
}

// dirOf is the directory that p is in, "" for the layer itself.
func dirOf(p string) string { return p[:max(strings.LastIndexByte(p, '/'), 0)] }

func (m mark) kind() kind  { return kind(m.entry & 3) }
func (m mark) size() int64 { return int64(m.entry >> 2) }

// indexOf sorts marks. Of several of one path the last one counts, as it does
// when an archive is unpacked, but a directory stays opaque.
func indexOf(marks []mark) index {
	slices.SortStableFunc(marks, func(a, b mark) int { return cmp.Compare(a.path, b.path) })
	n := 0
	for _, m := range marks {
		if n > 0 && marks[n-1].path == m.path {
			if marks[n-1].kind() == directory || m.kind() == file {
				marks[n-1] = m
			}
			continue
		}
		marks[n] = m
		n++
	}
	out := make(index, 0, n*markSize)
	for _, m := range marks[:n] {
		for _, v := range []uint64{m.path, m.parent, m.entry} {
			out = binary.BigEndian.AppendUint64(out, v)
		}
	}
	return out
}

func (x index) len() int { return len(x) / markSize }

func (x index) at(i int) mark {
	b := x[i*markSize:]
	return mark{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])}
}

// find returns the entry of a path.
func (x index) find(p string) (mark, bool) { return x.search(pathMark(p)) }

func (x index) search(want uint64) (mark, bool) {
	i := sort.Search(x.len(), func(i int) bool { return x.at(i).path >= want })
	if i == x.len() {
		return mark{}, false
	}
	m := x.at(i)
	return m, m.path == want
}

// hides reports whether a layer with these paths hides p of a layer below: it
// has an entry of its own there, or has replaced a directory on the way. Kernel,
// Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".
func (x index) hides(p string) bool {
	p = strings.TrimPrefix(p, "/")
	for i := 0; i <= len(p); i++ {
		if i < len(p) && p[i] != '/' {
			continue
		}
		m, ok := x.find(p[:i])
		switch {
		case !ok:
			// An archive may leave out the directories above its files, so a parent
			// that is not there says nothing.
		case i == len(p), m.kind() != directory:
			return true
		}
	}
	return false
}

// wasted returns, for each of the layers from the lowest on, the bytes of files
// that no container sees, because a layer above replaces or deletes them.
func wasted(layers []index) []int64 {
	out := make([]int64, len(layers))
	replaced := map[uint64]bool{} // of every path above: whether it is more than a directory that is merged
	for i := len(layers) - 1; i >= 0; i-- {
		x := layers[i]
		within := map[uint64]bool{}
		var hidden func(dir uint64) bool
		hidden = func(dir uint64) bool {
			if h, known := within[dir]; known {
				return h
			}
			within[dir] = false // what a broken index has in a circle ends here
			h := replaced[dir]
			if m, ok := x.search(dir); ok && !h && m.parent != dir {
				h = hidden(m.parent)
			}
			within[dir] = h
			return h
		}
		for n := range x.len() {
			m := x.at(n)
			if _, above := replaced[m.path]; m.kind() == file && (above || hidden(m.parent)) {
				out[i] += m.size()
			}
		}
		for n := range x.len() {
			m := x.at(n)
			replaced[m.path] = replaced[m.path] || m.kind() != directory
		}
	}
	return out
}
