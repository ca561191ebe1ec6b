package netmap

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"image/color"
	"io"
	"math"
	"strconv"
	"strings"

	"casco/guard/network"
	"casco/lang"
)

// WriteSVG draws m. The file needs nothing beside itself: no script, no font,
// no address.
func WriteSVG(w io.Writer, m network.Map, l lang.Lang) error {
	d := layout(m, l)
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s" width="%s" height="%s" font-family="Go, Helvetica, Arial, sans-serif" role="img" lang="%s">`+"\n",
		num(d.w), num(d.h), num(d.w), num(d.h), l)
	fmt.Fprintf(out, "<title>%s</title>\n<desc>%s</desc>\n", escape(d.title), escape(d.said))
	fmt.Fprintf(out, `<rect width="100%%" height="100%%" fill="%s"/>`+"\n", hex(paper))
	for _, m := range d.marks {
		switch m := m.(type) {
		case box:
			edge := ""
			if m.width > 0 {
				edge = fmt.Sprintf(` stroke="%s" stroke-width="%s"`, hex(m.edge), num(m.width))
			}
			fmt.Fprintf(out, `<rect x="%s" y="%s" width="%s" height="%s" rx="%s" fill="%s"%s%s/>`+"\n",
				num(m.x), num(m.y), num(m.w), num(m.h), num(m.r), hex(m.fill), edge, dashes(m.dashed))
		case path:
			var at []string
			for _, p := range shortened(m) {
				at = append(at, num(p.x)+","+num(p.y))
			}
			fmt.Fprintf(out, `<polyline points="%s" fill="none" stroke="%s" stroke-width="%s"%s/>`+"\n", strings.Join(at, " "), hex(m.ink), num(m.width), dashes(m.dashed))
			a := arrow(m)
			fmt.Fprintf(out, `<path d="M%s %sL%s %sL%s %sZ" fill="%s"/>`+"\n", num(a[0].x), num(a[0].y), num(a[1].x), num(a[1].y), num(a[2].x), num(a[2].y), hex(m.ink))
		case words:
			style := ""
			if m.bold {
				style = ` font-weight="bold"`
			}
			if m.middle {
				style += ` text-anchor="middle"`
			}
			fmt.Fprintf(out, `<text x="%s" y="%s" font-size="%s" fill="%s"%s>%s</text>`+"\n", num(m.x), num(m.y), num(m.size), hex(m.ink), style, escape(m.s))
		case dot:
			fmt.Fprintf(out, `<circle cx="%s" cy="%s" r="%s" fill="%s" stroke="%s"/>`+"\n", num(m.x), num(m.y), num(m.r), hex(m.fill), hex(m.edge))
		}
	}
	fmt.Fprintln(out, "</svg>")
	return out.Flush()
}

func dashes(on bool) string {
	if on {
		return fmt.Sprintf(` stroke-dasharray="%d %d"`, dashOn, dashOff)
	}
	return ""
}

const (
	dashOn  = 5
	dashOff = 4
)

// head is how long the head of an arrow is.
const head = 7

// arrow is the head of p, its point first.
func arrow(p path) [3]point {
	n := len(p.at)
	end, before := p.at[n-1], p.at[n-2]
	dx, dy := sign(end.x-before.x), sign(end.y-before.y)
	back := point{end.x - head*dx, end.y - head*dy}
	return [3]point{end, {back.x - dy*head*0.45, back.y - dx*head*0.45}, {back.x + dy*head*0.45, back.y + dx*head*0.45}}
}

// shortened is p without what its head covers.
func shortened(p path) []point {
	at := append([]point(nil), p.at...)
	n := len(at)
	end, before := at[n-1], at[n-2]
	at[n-1] = point{end.x - (head-1)*sign(end.x-before.x), end.y - (head-1)*sign(end.y-before.y)}
	return at
}

func sign(f float64) float64 {
	switch {
	case f > 0:
		return 1
	case f < 0:
		return -1
	}
	return 0
}

func num(f float64) string { return strconv.FormatFloat(math.Round(f*100)/100, 'f', -1, 64) }

func hex(c color.RGBA) string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }

func escape(s string) string {
	var b strings.Builder
	// A Builder does not fail.
	_ = xml.EscapeText(&b, []byte(network.Printable(s)))
	return b.String()
}
