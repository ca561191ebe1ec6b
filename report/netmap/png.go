package netmap

import (
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"math"

	"golang.org/x/image/font"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"

	"casco/guard/network"
	"casco/lang"
)

// WritePNG draws m, as WriteSVG does, with two pixels for each of its own.
func WritePNG(w io.Writer, m network.Map, l lang.Lang) error {
	e := png.Encoder{CompressionLevel: png.BestCompression}
	return e.Encode(w, paint(layout(m, l)))
}

// scale makes small text sharp.
const scale = 2

func paint(d drawing) *image.RGBA {
	p := &painter{img: image.NewRGBA(image.Rect(0, 0, int(math.Ceil(d.w*scale)), int(math.Ceil(d.h*scale))))}
	draw.Draw(p.img, p.img.Bounds(), image.NewUniform(paper), image.Point{}, draw.Src)
	for _, m := range d.marks {
		switch m := m.(type) {
		case box:
			p.box(m)
		case path:
			at := shortened(m)
			for i := 1; i < len(at); i++ {
				p.line(at[i-1], at[i], m.width, m.ink, m.dashed)
			}
			a := arrow(m)
			p.polygon(m.ink, a[:]...)
		case words:
			p.words(m)
		case dot:
			p.round(m.x-m.r, m.y-m.r, 2*m.r, 2*m.r, m.r, m.edge)
			p.round(m.x-m.r+1, m.y-m.r+1, 2*m.r-2, 2*m.r-2, m.r-1, m.fill)
		}
	}
	return p.img
}

type painter struct{ img *image.RGBA }

// shape fills what f draws. The raster is only as large as the shape.
func (p *painter) shape(x0, y0, x1, y1 float64, ink color.RGBA, f func(r *vector.Rasterizer, at func(x, y float64) (float32, float32))) {
	b := image.Rect(int(math.Floor(x0*scale)), int(math.Floor(y0*scale)), int(math.Ceil(x1*scale))+1, int(math.Ceil(y1*scale))+1).Intersect(p.img.Bounds())
	if b.Empty() {
		return
	}
	r := vector.NewRasterizer(b.Dx(), b.Dy())
	f(r, func(x, y float64) (float32, float32) {
		return float32(x*scale - float64(b.Min.X)), float32(y*scale - float64(b.Min.Y))
	})
	r.Draw(p.img, b, image.NewUniform(ink), image.Point{})
}

func (p *painter) polygon(ink color.RGBA, at ...point) {
	x0, y0, x1, y1 := at[0].x, at[0].y, at[0].x, at[0].y
	for _, a := range at {
		x0, y0, x1, y1 = min(x0, a.x), min(y0, a.y), max(x1, a.x), max(y1, a.y)
	}
	p.shape(x0, y0, x1, y1, ink, func(r *vector.Rasterizer, to func(x, y float64) (float32, float32)) {
		r.MoveTo(to(at[0].x, at[0].y))
		for _, a := range at[1:] {
			r.LineTo(to(a.x, a.y))
		}
		r.ClosePath()
	})
}

// round fills a rectangle with round corners.
func (p *painter) round(x, y, w, h, c float64, ink color.RGBA) {
	const k = 0.5523 // of a radius: a cubic curve that is nearly a quarter of a circle
	c = min(c, w/2, h/2)
	p.shape(x, y, x+w, y+h, ink, func(r *vector.Rasterizer, to func(x, y float64) (float32, float32)) {
		corner := func(x1, y1, x2, y2, x3, y3 float64) {
			ax, ay := to(x1, y1)
			bx, by := to(x2, y2)
			cx, cy := to(x3, y3)
			r.CubeTo(ax, ay, bx, by, cx, cy)
		}
		q := c * (1 - k)
		r.MoveTo(to(x+c, y))
		r.LineTo(to(x+w-c, y))
		corner(x+w-q, y, x+w, y+q, x+w, y+c)
		r.LineTo(to(x+w, y+h-c))
		corner(x+w, y+h-q, x+w-q, y+h, x+w-c, y+h)
		r.LineTo(to(x+c, y+h))
		corner(x+q, y+h, x, y+h-q, x, y+h-c)
		r.LineTo(to(x, y+c))
		corner(x, y+q, x+q, y, x+c, y)
		r.ClosePath()
	})
}

func (p *painter) box(m box) {
	if m.width == 0 {
		p.round(m.x, m.y, m.w, m.h, m.r, m.fill)
		return
	}
	half := m.width / 2
	if !m.dashed {
		p.round(m.x-half, m.y-half, m.w+m.width, m.h+m.width, m.r+half, m.edge)
		p.round(m.x+half, m.y+half, m.w-m.width, m.h-m.width, max(0, m.r-half), m.fill)
		return
	}
	p.round(m.x, m.y, m.w, m.h, m.r, m.fill)
	a, b, c, d := point{m.x, m.y}, point{m.x + m.w, m.y}, point{m.x + m.w, m.y + m.h}, point{m.x, m.y + m.h}
	for _, side := range [][2]point{{a, b}, {b, c}, {d, c}, {a, d}} {
		p.line(side[0], side[1], m.width, m.edge, true)
	}
}

// line is upright or level.
func (p *painter) line(a, b point, width float64, ink color.RGBA, dashed bool) {
	length := math.Abs(b.x-a.x) + math.Abs(b.y-a.y)
	dx, dy := sign(b.x-a.x), sign(b.y-a.y)
	piece := func(from, to float64) {
		x0, x1 := min(a.x+dx*from, a.x+dx*to)-width/2*math.Abs(dy), max(a.x+dx*from, a.x+dx*to)+width/2*math.Abs(dy)
		y0, y1 := min(a.y+dy*from, a.y+dy*to)-width/2*math.Abs(dx), max(a.y+dy*from, a.y+dy*to)+width/2*math.Abs(dx)
		p.polygon(ink, point{x0, y0}, point{x1, y0}, point{x1, y1}, point{x0, y1})
	}
	if !dashed {
		piece(-width/2, length+width/2)
		return
	}
	for at := 0.0; at < length; at += dashOn + dashOff {
		piece(at, min(at+dashOn, length))
	}
}

func (p *painter) words(m words) {
	withFace(m.size*scale, m.bold, func(f font.Face) {
		d := font.Drawer{Dst: p.img, Src: image.NewUniform(m.ink), Face: f}
		x := m.x * scale
		if m.middle {
			x -= float64(d.MeasureString(m.s)) / 64 / 2
		}
		d.Dot = fixed.Point26_6{X: fixed.Int26_6(math.Round(x * 64)), Y: fixed.Int26_6(math.Round(m.y * scale * 64))}
		d.DrawString(m.s)
	})
}
