// Package columns lays text out for terminals: lines that fit, and tables.
package columns

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Table is printed in columns under their heads.
type Table struct {
	Heads []string
	Rows  [][]string // a cell for each head
	Right []int      // columns that end where they end, such as numbers
	Width int        // how many runes a line has at most
	Least int        // how narrow a column may get for that; then lines are longer
}

// Print writes t. The widest column gives way, and is wrapped, until a line
// fits.
func (t Table) Print(w io.Writer) {
	all := append([][]string{t.Heads}, t.Rows...)
	width := make([]int, len(t.Heads))
	for _, row := range all {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	sum := 0
	for _, n := range width {
		sum += n + 2
	}
	for ; sum > t.Width; sum-- {
		widest := slices.Index(width, slices.Max(width))
		if width[widest] <= t.Least {
			break
		}
		width[widest]--
	}
	for n, row := range all {
		t.row(w, row, width)
		if n == 0 {
			fmt.Fprintf(w, "  %s\n", strings.Repeat("·", max(0, min(sum, t.Width)-2)))
		}
	}
}

func (t Table) row(w io.Writer, row []string, width []int) {
	cells, lines := make([][]string, len(row)), 1
	for i, c := range row {
		cells[i] = Fold(c, width[i])
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
			if slices.Contains(t.Right, i) {
				s, pad = pad, s
			}
			b.WriteString("  " + s + pad)
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// Fold breaks s into lines of at most w runes, and of one if w is less, between
// words where it can. There is always one line.
func Fold(s string, w int) []string {
	w = max(w, 1)
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(s) {
		for utf8.RuneCountInString(word) > w {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			r := []rune(word)
			lines, word = append(lines, string(r[:w])), string(r[w:])
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
