package netmap

import (
	"image/color"
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
)

// A drawing is what the layout puts on paper, in the order in which it is
// painted. Lengths are pixels of a screen; y grows downwards.
type drawing struct {
	w, h  float64
	title string
	said  string // the same in words, for who does not see it
	marks []any  // box, path, words, dot
}

type point struct{ x, y float64 }

// A box is a rectangle with round corners.
type box struct {
	x, y, w, h, r float64
	fill, edge    color.RGBA
	width         float64 // of its edge; 0: none
	dashed        bool
}

// A path is a line of upright and level pieces. It ends in an arrow.
type path struct {
	at     []point
	ink    color.RGBA
	width  float64
	dashed bool
}

// Words are a text on one line; y is its base line.
type words struct {
	x, y   float64
	s      string
	size   float64
	bold   bool
	ink    color.RGBA
	middle bool // x is its middle
}

// A dot is a small circle.
type dot struct {
	x, y, r float64
	fill    color.RGBA
	edge    color.RGBA
}

func (d *drawing) put(m any) { d.marks = append(d.marks, m) }

func rgb(hex uint32) color.RGBA {
	return color.RGBA{uint8(hex >> 16), uint8(hex >> 8), uint8(hex), 255}
}

// The inks by what they mean.
var (
	paper    = rgb(0xffffff)
	black    = rgb(0x1f2933)
	grey     = rgb(0x66727f)
	pale     = rgb(0xc3cbd4)
	bandFill = rgb(0xf5f7f9)
	netFill  = rgb(0xe9eef4)
	netEdge  = rgb(0xb3c0ce)
	workEdge = rgb(0x7b8794)
	red      = rgb(0xb71c1c)
	redFill  = rgb(0xfdecea)
	amber    = rgb(0xb26a00)
	green    = rgb(0x2e7d32)
	// Crossings, so that neighbours are told apart; all are dark.
	crossInks = []color.RGBA{rgb(0x1456a0), rgb(0x00695c), rgb(0x6a1b9a), rgb(0x4e5d12), rgb(0x37474f)}
)

// faces are fonts by size and weight. A font that the program carries cannot
// fail to be read.
var faces = struct {
	sync.Mutex
	m map[faceKey]font.Face
}{m: map[faceKey]font.Face{}}

type faceKey struct {
	size float64
	bold bool
}

// withFace calls f with a font, which is for one goroutine at a time.
func withFace(size float64, bold bool, f func(font.Face)) {
	faces.Lock()
	defer faces.Unlock()
	k := faceKey{size, bold}
	if faces.m[k] == nil {
		ttf := goregular.TTF
		if bold {
			ttf = gobold.TTF
		}
		parsed, err := opentype.Parse(ttf)
		if err != nil {
			panic(err)
		}
		face, err := opentype.NewFace(parsed, &opentype.FaceOptions{Size: size, DPI: 72, Hinting: font.HintingNone})
		if err != nil {
			panic(err)
		}
		faces.m[k] = face
	}
	f(faces.m[k])
}

// widthOf is how wide s is. Fonts of a page may be a little narrower or wider.
func widthOf(s string, size float64, bold bool) (w float64) {
	withFace(size, bold, func(f font.Face) { w = float64(font.MeasureString(f, s)) / 64 })
	return w
}

// cut shortens s so that it is at most w wide.
func cut(s string, w, size float64, bold bool) string {
	if widthOf(s, size, bold) <= w {
		return s
	}
	r := []rune(s)
	for len(r) > 1 && widthOf(string(r)+"…", size, bold) > w {
		r = r[:len(r)-1]
	}
	return string(r) + "…"
}

// shorten takes the middle out of a name that is wider than w: what tells two
// names apart is often at the end. It is for bold text.
func shorten(s string, w, size float64) string {
	if widthOf(s, size, true) <= w {
		return s
	}
	r := []rune(s)
	for n := len(r) - 1; n > 2; n-- {
		if t := string(r[:n-n/2]) + "…" + string(r[len(r)-n/2:]); widthOf(t, size, true) <= w {
			return t
		}
	}
	return "…"
}
