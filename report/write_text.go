package report

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
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
	width := make([]int, len(t.columns))
	for _, row := range append([][]string{t.columns}, t.rows...) {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	for total(width)+2*len(width) > p.width() {
		widest := 0
		for i := range width {
			if width[i] > width[widest] {
				widest = i
			}
		}
		if width[widest] <= 12 {
			break
		}
		width[widest]--
	}
	for n, row := range append([][]string{t.columns}, t.rows...) {
		cells := make([][]string, len(row))
		lines := 1
		for i, c := range row {
			cells[i] = fold(c, width[i])
			lines = max(lines, len(cells[i]))
		}
		for k := range lines {
			var b strings.Builder
			for i := range cells {
				s := ""
				if k < len(cells[i]) {
					s = cells[i][k]
				}
				pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(s))
				if slices.Contains(t.right, i) {
					s, pad = pad, s
				}
				b.WriteString("  " + s + pad)
			}
			fmt.Fprintln(p.W, strings.TrimRight(b.String(), " "))
		}
		if n == 0 {
			p.printf("  %s\n", strings.Repeat("·", min(total(width)+2*len(width)-2, p.width()-2)))
		}
	}
}

func total(ns []int) int {
	sum := 0
	for _, n := range ns {
		sum += n
	}
	return sum
}

// fold breaks s into lines of at most w runes, between words where it can.
func fold(s string, w int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(s) {
		for utf8.RuneCountInString(word) > w {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			r := []rune(word)
			lines = append(lines, string(r[:w]))
			word = string(r[w:])
		}
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > w:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
