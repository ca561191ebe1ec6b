package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
)

//go:embed report.html.tmpl
var page string

// pageTemplate is one file with its style and charts inside: it opens with the
// network off, and nothing in it runs.
var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"heading":   func(b any) bool { _, is := b.(heading); return is },
	"paragraph": func(b any) bool { _, is := b.(paragraph); return is },
	"table":     func(b any) bool { _, is := b.(*table); return is },
	"level":     func(h heading) int { return h.level },
	"text": func(b any) string {
		switch b := b.(type) {
		case heading:
			return b.text
		case paragraph:
			return b.text
		case picture:
			return b.text
		}
		return ""
	},
	"strong":  func(p paragraph) bool { return p.strong },
	"columns": func(t *table) []string { return t.columns },
	"rows":    func(t *table) [][]string { return t.rows },
	"empty":   func(t *table) string { return t.empty },
	"number":  func(t *table, i int) bool { return slices.Contains(t.right, i) },
	"title":   func(p picture) string { return p.title },
	"svg":     func(p picture) template.HTML { return p.svg() },
}).Parse(page))

// writeHTML writes d as one HTML file.
func writeHTML(w io.Writer, d document, x *Dossier) error {
	return pageTemplate.Execute(w, map[string]any{"Title": d.title, "Lang": string(d.lang), "Blocks": d.blocks, "Cover": x.Cover})
}

// svgCanvas draws into SVG. Texts of containers are escaped.
type svgCanvas struct{ b strings.Builder }

func (c *svgCanvas) line(x1, y1, x2, y2 float64, i ink, dashed bool) {
	dash := ""
	if dashed {
		dash = ` stroke-dasharray="1 1"`
	}
	fmt.Fprintf(&c.b, `<line x1="%.2f" y1="%.2f" x2="%.2f" y2="%.2f" stroke="%s" stroke-width="0.3"%s/>`, x1, y1, x2, y2, hex(i), dash)
}

func (c *svgCanvas) rect(x, y, w, h float64, fill ink) {
	fmt.Fprintf(&c.b, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="%s"/>`, x, y, max(w, 0), max(h, 0), hex(fill))
}

func (c *svgCanvas) text(x, y float64, s string, at anchor) {
	fmt.Fprintf(&c.b, `<text x="%.2f" y="%.2f" text-anchor="%s">%s</text>`, x, y, [...]string{"start", "middle", "end"}[at], template.HTMLEscapeString(Clean(s)))
}

func hex(i ink) string { return fmt.Sprintf("#%02x%02x%02x", inks[i][0], inks[i][1], inks[i][2]) }

func (p picture) svg() template.HTML {
	var c svgCanvas
	fmt.Fprintf(&c.b, `<svg viewBox="0 0 100 %.0f" role="img" aria-label="%s">`, p.h, template.HTMLEscapeString(p.title+": "+p.text))
	p.draw(&c)
	c.b.WriteString("</svg>")
	return template.HTML(c.b.String()) //nolint:gosec // every text in it was escaped
}
