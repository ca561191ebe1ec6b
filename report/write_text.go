package report

import (
	"bufio"
	"io"
	"strings"
	"unicode/utf8"

	"casco/internal/columns"
)

// writeText writes d for a terminal or a mail: 100 columns, nothing but text.
func writeText(w io.Writer, d document, _ *Dossier) error {
	out := bufio.NewWriter(w)
	p := Printer{W: out, Lang: d.lang}
	p.printf("%s\n%s\n", d.title, strings.Repeat("=", utf8.RuneCountInString(d.title)))
	for _, b := range d.blocks {
		switch b := b.(type) {
		case heading:
			line := map[int]string{1: "-", 2: ""}[b.level]
			p.printf("\n%s\n", b.text)
			if line != "" {
				p.printf("%s\n", strings.Repeat(line, utf8.RuneCountInString(b.text)))
			}
		case paragraph:
			if b.strong {
				p.printf("\n")
				p.wrap(0, "! "+b.text)
				continue
			}
			p.wrap(0, b.text)
		case *table:
			b.print(p)
		case picture:
			if b.text != "" {
				p.wrap(2, b.title+": "+b.text)
			}
		}
	}
	return out.Flush()
}

// print lays t out in columns. The widest of them is wrapped, so that a line
// stays within the width.
func (t *table) print(p Printer) {
	if len(t.rows) == 0 {
		p.printf("  %s\n", t.empty)
		return
	}
	columns.Table{Heads: t.columns, Rows: t.rows, Right: t.right, Width: p.width(), Least: 12}.Print(p.W)
}
