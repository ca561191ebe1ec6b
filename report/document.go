package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"casco/lang"
)

// A document is a report laid out in one language: what text, Markdown, HTML
// and PDF are all written from, so that they say the same.
type document struct {
	title  string
	lang   lang.Lang
	blocks []any // of the types below, in order
}

type (
	// A heading begins a section: level 1 a numbered one, 2 a part of it.
	heading struct {
		level int
		text  string
	}
	paragraph struct {
		text   string
		strong bool // a warning that nobody may overlook
	}
	// A table has as many cells in each row as columns. Right has the numbers of
	// the columns that are numbers.
	table struct {
		columns []string
		rows    [][]string
		right   []int
		empty   string // what to say when there are no rows
	}
	// A picture is a chart, drawn where that is possible; text says the same.
	picture struct {
		title string
		text  string
		draw  func(c canvas)
		h     float64 // height for a width of 100
	}
)

// mapped is d with each of its texts as change makes it. Charts are drawn later.
func (d document) mapped(change func(string) string) document {
	all := func(ss []string) []string {
		out := make([]string, len(ss))
		for i, s := range ss {
			out[i] = change(s)
		}
		return out
	}
	out := document{title: change(d.title), lang: d.lang}
	for _, b := range d.blocks {
		switch x := b.(type) {
		case heading:
			b = heading{x.level, change(x.text)}
		case paragraph:
			b = paragraph{change(x.text), x.strong}
		case picture:
			x.title, x.text = change(x.title), change(x.text)
			b = x
		case *table:
			t := &table{columns: all(x.columns), right: x.right, empty: change(x.empty)}
			for _, row := range x.rows {
				t.rows = append(t.rows, all(row))
			}
			b = t
		}
		out.blocks = append(out.blocks, b)
	}
	return out
}

// A writer of documents.
type writer func(w io.Writer, d document, x *Dossier) error

// formats in the order in which help lists them.
var formatNames = []string{"text", "md", "html", "pdf", "json", "csv", "sarif", "junit", "oscal-ar", "oscal-poam"}

// Formats are the names of the formats that a whole report can be written in.
func Formats() []string { return slices.Clone(formatNames) }

// Write writes d as one of Formats, its words in language l.
func (d *Dossier) Write(w io.Writer, format string, l lang.Lang) error {
	switch format {
	case "json":
		return d.json(w)
	case "csv":
		return d.csv(w, l)
	case "sarif":
		return d.sarif(w, l)
	case "junit":
		return d.junit(w, l)
	case "oscal-ar":
		return d.oscalResults(w, l)
	case "oscal-poam":
		return d.oscalPlan(w, l)
	}
	write := map[string]writer{"text": writeText, "md": writeMarkdown, "html": writeHTML, "pdf": writePDF}[format]
	if write == nil {
		return lang.Errorf(lang.Text{En: "there is no report format %q", Es: "no hay formato de informe %q"}, format)
	}
	return write(w, d.document(l, format == "text"), d)
}

// A layout builds a document.
type layout struct {
	document
	section int
	brief   bool // for a terminal: no annexes, and of a long list its head
}

// in is t in the document's language; with arguments t is a format.
func (b *layout) in(t lang.Text, args ...any) string {
	if len(args) == 0 {
		return t.In(b.lang)
	}
	return t.F(args...).In(b.lang)
}

func (b *layout) h1(t lang.Text) {
	b.section++
	b.blocks = append(b.blocks, heading{1, fmt.Sprintf("%d  %s", b.section, t.In(b.lang))})
}

func (b *layout) h2(t lang.Text) { b.blocks = append(b.blocks, heading{2, printable(t.In(b.lang))}) }

func (b *layout) say(t lang.Text, args ...any) {
	b.blocks = append(b.blocks, paragraph{text: printable(b.in(t, args...))})
}

func (b *layout) warn(t lang.Text, args ...any) {
	b.blocks = append(b.blocks, paragraph{printable(b.in(t, args...)), true})
}

// cut leaves the head of a long t, and says how much there is. All of it is in
// the JSON.
func (b *layout) cut(t *table) {
	most := 500
	if b.brief {
		most = 12
	}
	if more := len(t.rows) - most; more > 0 {
		t.rows = t.rows[:most]
		b.say(lang.Text{En: "and %d more: the JSON has them all", Es: "y %d más: el JSON los tiene todos"}, more)
	}
}

// table begins a table; each column is a text, one that begins with ">" is of numbers.
func (b *layout) table(empty lang.Text, columns ...lang.Text) *table {
	t := &table{empty: empty.In(b.lang)}
	for i, c := range columns {
		name, number := strings.CutPrefix(c.In(b.lang), ">")
		if number {
			t.right = append(t.right, i)
		}
		t.columns = append(t.columns, name)
	}
	b.blocks = append(b.blocks, t)
	return t
}

func (t *table) row(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = Clean(fmt.Sprint(c))
	}
	t.rows = append(t.rows, row)
}

// percent writes a share the same everywhere: one decimal, in the language's
// own sign.
func percent(l lang.Lang, share float64) string { return number(l, 100*share) + " %" }

// number writes a value with one decimal.
func number(l lang.Lang, v float64) string {
	s := fmt.Sprintf("%.1f", v)
	if l == lang.Spanish {
		s = strings.Replace(s, ".", ",", 1)
	}
	return s
}

// measure writes the value of a metric in its unit; one that cannot be told is a dash.
func measure(l lang.Lang, unit string, v *float64) string {
	switch {
	case v == nil:
		return "–"
	case unit == "share":
		return percent(l, *v)
	case unit == "days":
		return number(l, *v) + lang.Text{En: " days", Es: " días"}.In(l)
	}
	return fmt.Sprintf("%.0f", *v)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// day writes a date in UTC; the zero time is a dash.
func day(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format(time.DateOnly)
}
