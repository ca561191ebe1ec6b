package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"codeberg.org/go-pdf/fpdf"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/sfnt"

	"casco/lang"
)

// Sizes of a page, in millimetres and points: A4 with margins that a punch
// leaves readable.
const (
	pageWidth  = 210.0
	pageMargin = 18.0
	textWidth  = pageWidth - 2*pageMargin
	lineHeight = 4.6
	cellHeight = 4.0
	bottom     = 297 - pageMargin - 6 // of what is written on a page
)

// writePDF writes d as a PDF with text that can be selected, an outline and page
// numbers. The font is part of the file.
func writePDF(w io.Writer, d document, x *Dossier) error {
	d = d.mapped(drawable)
	f := fpdf.New("P", "mm", "A4", "")
	f.SetTitle(d.title, true)
	f.SetLang(string(d.lang))
	f.SetCreator("casco "+x.Cover.Program, true)
	f.SetCreationDate(x.Cover.Generated) // equal reports are equal files
	f.SetModificationDate(x.Cover.Generated)
	f.SetCatalogSort(true)
	f.AddUTF8FontFromBytes("go", "", goregular.TTF)
	f.AddUTF8FontFromBytes("go", "B", gobold.TTF)
	f.SetMargins(pageMargin, pageMargin, pageMargin)
	f.SetAutoPageBreak(true, pageMargin+4)
	f.AliasNbPages("{pages}")
	f.SetFooterFunc(func() {
		f.SetY(-pageMargin + 2)
		f.SetFont("go", "", 7)
		f.SetTextColor(120, 120, 120)
		f.CellFormat(textWidth/2, 4, d.title, "", 0, "L", false, 0, "")
		page := lang.Text{En: "page %d of {pages}", Es: "página %d de {pages}"}.F(f.PageNo()).In(d.lang)
		f.CellFormat(textWidth/2, 4, page, "", 0, "R", false, 0, "")
		f.SetTextColor(0, 0, 0)
	})
	f.AddPage()
	f.SetFont("go", "B", 18)
	f.MultiCell(textWidth, 8, d.title, "", "L", false)
	f.Ln(3)
	for _, b := range d.blocks {
		switch b := b.(type) {
		case heading:
			pdfHeading(f, b)
		case paragraph:
			pdfParagraph(f, b)
		case *table:
			b.pdf(f)
		case picture:
			b.pdf(f)
		}
	}
	return f.Output(w)
}

// glyphs is the font of the text.
var glyphs = sync.OnceValue(func() *sfnt.Font {
	f, err := sfnt.Parse(goregular.TTF)
	if err != nil {
		panic(err) // it is part of the program
	}
	return f
})

// drawable is s with what the font cannot draw written as escapes: an empty box
// would say nothing, and a character beyond the first plane has no place in the
// file's tables.
func drawable(s string) string {
	var b strings.Builder
	var buf sfnt.Buffer
	for _, r := range s {
		if g, err := glyphs().GlyphIndex(&buf, r); err == nil && g != 0 && r <= 0xffff {
			b.WriteRune(r)
			continue
		}
		q := fmt.Sprintf("%+q", r)
		b.WriteString(q[1 : len(q)-1])
	}
	return b.String()
}

func pdfHeading(f *fpdf.Fpdf, h heading) {
	size, above, room := 13.0, 6.0, 46.0
	if h.level == 2 {
		size, above, room = 10, 3, 38
	}
	if f.GetY() > 297-pageMargin-room {
		f.AddPage()
	}
	f.Ln(above)
	f.SetFont("go", "B", size)
	f.Bookmark(h.text, h.level-1, -1)
	f.MultiCell(textWidth, size*0.5, h.text, "", "L", false)
	f.Ln(1.5)
}

func pdfParagraph(f *fpdf.Fpdf, p paragraph) {
	f.SetFont("go", "", 9.5)
	if p.strong {
		f.SetFont("go", "B", 9.5)
		f.SetDrawColor(183, 28, 28)
		f.SetLineWidth(0.8)
		f.MultiCell(textWidth, lineHeight, p.text, "L", "L", false)
		f.SetLineWidth(0.2)
		f.Ln(1.5)
		return
	}
	f.MultiCell(textWidth, lineHeight, p.text, "", "L", false)
	f.Ln(1)
}

// pdf writes t with columns as wide as their texts want, the head again on each
// page.
func (t *table) pdf(f *fpdf.Fpdf) {
	f.SetFont("go", "", 8)
	if len(t.rows) == 0 {
		f.SetTextColor(110, 110, 110)
		f.MultiCell(textWidth, lineHeight, t.empty, "", "L", false)
		f.SetTextColor(0, 0, 0)
		return
	}
	widths := t.widths(f)
	if f.GetY() > bottom-5*cellHeight { // a head alone at the end of a page says nothing
		f.AddPage()
	}
	t.line(f, widths, t.columns, true)
	for _, row := range t.rows {
		t.line(f, widths, row, false)
	}
	f.Ln(2)
}

// widths shares the page out among columns: each gets what its longest text
// wants, and if that is too much the widest give.
func (t *table) widths(f *fpdf.Fpdf) []float64 {
	const pad, least = 3.0, 12.0
	ws := make([]float64, len(t.columns))
	for i, c := range t.columns {
		ws[i] = f.GetStringWidth(c) + pad + 1
		for _, row := range t.rows[:min(len(t.rows), 400)] {
			ws[i] = max(ws[i], f.GetStringWidth(row[i])+pad)
		}
	}
	for sum(ws) > textWidth {
		widest := 0
		for i := range ws {
			if ws[i] > ws[widest] {
				widest = i
			}
		}
		if ws[widest] <= least {
			break
		}
		ws[widest] = max(least, ws[widest]-max(1, (sum(ws)-textWidth)/4))
	}
	// What is left goes to the last column of words: numbers stay near their names.
	for i := len(ws) - 1; i >= 0; i-- {
		if free := textWidth - sum(ws); free > 0 && i > 0 && !slices.Contains(t.right, i) {
			ws[i] += free
		}
	}
	return ws
}

func sum(fs []float64) (s float64) {
	for _, f := range fs {
		s += f
	}
	return s
}

func (t *table) line(f *fpdf.Fpdf, widths []float64, cells []string, head bool) {
	style := ""
	if head {
		style = "B"
	}
	f.SetFont("go", style, 8)
	lines := make([][]string, len(cells))
	most := 1
	for i, c := range cells {
		lines[i] = pdfFold(f, c, widths[i]-2)
		most = max(most, len(lines[i]))
	}
	for from := 0; from < most; {
		room := int((bottom - f.GetY()) / cellHeight)
		if room < 1 || !head && from == 0 && most <= 12 && room < most {
			f.AddPage()
			if !head {
				t.line(f, widths, t.columns, true)
				f.SetFont("go", style, 8)
			}
			continue
		}
		n := min(room, most-from)
		y := f.GetY()
		x := pageMargin
		for i := range cells {
			align := "L"
			if slices.Contains(t.right, i) {
				align = "R"
			}
			for k := from; k < from+n && k < len(lines[i]); k++ {
				f.SetXY(x, y+cellHeight*float64(k-from))
				f.CellFormat(widths[i]-1, cellHeight, lines[i][k], "", 0, align, false, 0, "")
			}
			x += widths[i]
		}
		from += n
		f.SetXY(pageMargin, y+cellHeight*float64(n)+0.4)
	}
	f.SetDrawColor(210, 210, 210)
	f.Line(pageMargin, f.GetY(), pageMargin+sum(widths), f.GetY())
	f.SetY(f.GetY() + 0.4)
}

// pdfFold breaks s into lines that fit into w, within words where it must.
func pdfFold(f *fpdf.Fpdf, s string, w float64) []string {
	var lines []string
	line, width := []rune{}, 0.0
	lastSpace := -1
	for _, r := range s {
		cw := f.GetStringWidth(string(r))
		if width+cw > w && len(line) > 0 {
			rest := []rune{}
			if lastSpace > 0 && r != ' ' {
				rest = append(rest, line[lastSpace+1:]...)
				line = line[:lastSpace]
			}
			lines = append(lines, string(line))
			line, lastSpace = rest, -1
			width = f.GetStringWidth(string(line))
			if r == ' ' {
				continue
			}
		}
		if r == ' ' {
			lastSpace = len(line)
		}
		line = append(line, r)
		width += cw
	}
	return append(lines, string(line))
}

// pdfCanvas draws on the page, below what is there.
type pdfCanvas struct {
	f    *fpdf.Fpdf
	x, y float64
	unit float64 // millimetres
}

func (c pdfCanvas) line(x1, y1, x2, y2 float64, i ink, dashed bool) {
	c.f.SetDrawColor(inks[i][0], inks[i][1], inks[i][2])
	if dashed {
		c.f.SetDashPattern([]float64{1, 1}, 0)
		defer c.f.SetDashPattern(nil, 0)
	}
	c.f.Line(c.x+x1*c.unit, c.y+y1*c.unit, c.x+x2*c.unit, c.y+y2*c.unit)
}

func (c pdfCanvas) rect(x, y, w, h float64, fill ink) {
	c.f.SetFillColor(inks[fill][0], inks[fill][1], inks[fill][2])
	c.f.Rect(c.x+x*c.unit, c.y+y*c.unit, max(w, 0)*c.unit, max(h, 0)*c.unit, "F")
}

func (c pdfCanvas) text(x, y float64, s string, at anchor) {
	s = drawable(Clean(s))
	w := c.f.GetStringWidth(s)
	c.f.Text(c.x+x*c.unit-w*[...]float64{0, 0.5, 1}[at], c.y+y*c.unit, s)
}

func (p picture) pdf(f *fpdf.Fpdf) {
	const unit = textWidth / 100 * 0.9
	f.SetFont("go", "", 7.5)
	said := 3.6 * float64(len(pdfFold(f, p.text, textWidth-2)))
	if f.GetY()+p.h*unit+lineHeight+2+said > bottom {
		f.AddPage()
	}
	f.SetFont("go", "B", 8)
	f.MultiCell(textWidth, lineHeight, p.title, "", "L", false)
	f.SetFont("go", "", 7)
	y := f.GetY()
	p.draw(pdfCanvas{f, pageMargin, y, unit})
	f.SetXY(pageMargin, y+p.h*unit+2)
	f.SetFont("go", "", 7.5)
	f.MultiCell(textWidth, 3.6, fmt.Sprint(p.text), "", "L", false)
	f.Ln(1)
}
