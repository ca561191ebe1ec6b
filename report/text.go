package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"casco/lang"
	"casco/loop/audit"
)

// A Printer writes reports for people: in one language, to a given width, with
// colour only if it is told that w is a terminal. Colour never carries a
// meaning that no word carries too.
type Printer struct {
	W      io.Writer
	Lang   lang.Lang
	Width  int  // columns; 0 means 100
	Colour bool // w is a terminal that wants colour
}

func (p Printer) width() int {
	if p.Width <= 0 {
		return 100
	}
	return max(p.Width, 40)
}

func (p Printer) printf(format string, args ...any) { fmt.Fprintf(p.W, format, args...) }

// say prints a text of ours, formatted, in lines that fit, as far in as it
// begins.
func (p Printer) say(t lang.Text, args ...any) {
	s := t.F(args...).In(p.Lang)
	p.wrap(len(s)-len(strings.TrimLeft(s, " ")), s)
}

func (p Printer) paint(code, s string) string {
	if !p.Colour {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p Printer) bold(s string) string { return p.paint("1", s) }
func (p Printer) dim(s string) string  { return p.paint("2", s) }

func (p Printer) severity(s audit.Severity) string {
	code := map[audit.Severity]string{audit.Critical: "1;31", audit.High: "31", audit.Medium: "33", audit.Low: "36"}[s]
	word := fmt.Sprintf("%-8s", strings.ToUpper(severityWords[s].In(p.Lang)))
	return p.paint(code, word)
}

func (p Printer) verdict(v audit.Verdict) string {
	code := map[audit.Verdict]string{audit.Pass: "32", audit.Fail: "31", audit.Unknown: "35", audit.Manual: "34", audit.NotApplicable: "2"}[v]
	return p.paint(code, verdictWords[v].In(p.Lang))
}

// wrap prints text in lines that fit, each behind indent spaces.
func (p Printer) wrap(indent int, text string) {
	pad, line := strings.Repeat(" ", indent), ""
	for word := range strings.FieldsSeq(text) {
		word = Clean(word) // a text may come from a plan file, which anybody can write
		if line != "" && indent+utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > p.width() {
			p.printf("%s%s\n", pad, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		p.printf("%s%s\n", pad, line)
	}
}

// Clean makes a string from a container, a label or an engine safe to show in
// a terminal: control characters, invisible ones and those that turn the
// writing direction are written as escapes, and what is too long is cut.
func Clean(s string) string { return escape(s, 400) }

// printable is Clean for a text that may be long: nothing is cut.
func printable(s string) string { return escape(s, len(s)) }

func escape(s string, most int) string {
	var b strings.Builder
	n := 0
	for i, r := range s {
		if n++; n > most {
			fmt.Fprintf(&b, "… (+%d bytes)", len(s)-i)
			break
		}
		switch {
		case r == utf8.RuneError:
			b.WriteString(`\ufffd`)
		case r == ' ' || unicode.IsGraphic(r) && !unicode.Is(unicode.Cf, r) && !unicode.Is(unicode.Zs, r):
			b.WriteRune(r)
		default:
			q := fmt.Sprintf("%+q", r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}

// value is value for what may be a text for people.
func (p Printer) value(v any) string {
	if t, ok := v.(lang.Text); ok {
		return t.In(p.Lang)
	}
	return value(v)
}

// value shows the value of a fact in one line.
func value(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case string:
		if v == "" {
			return `""`
		}
		return Clean(v)
	case json.Number:
		return v.String()
	}
	b, err := json.Marshal(v)
	if err != nil {
		return Clean(fmt.Sprint(v))
	}
	return Clean(string(b))
}

// Heading prints a line that stands out.
func (p Printer) Heading(s string) { p.printf("%s\n", p.bold(s)) }

// Ability prints how it is with one ability of a host: a word for it, what it
// is, what was found, and how to mend it, which may be empty.
func (p Printer) Ability(is string, bad bool, what, detail, remedy string) {
	const indent = 11
	word := fmt.Sprintf("%-9s", is)
	if bad {
		word = p.paint("31", word)
	}
	p.printf("  %s%s\n", word, p.bold(Clean(what)))
	p.wrap(indent, detail)
	if remedy != "" {
		p.wrap(indent, "→ "+remedy)
	}
}

// Item prints a name and, in a column that begins at indent, what is said of
// it, wrapped. A name that is too long has a line of its own.
func (p Printer) Item(name string, indent int, text string) {
	switch {
	case name == "" && text == "":
		p.printf("\n")
		return
	case name == "":
		p.wrap(indent, text)
		return
	case utf8.RuneCountInString(name)+2 > indent:
		p.printf("%s\n", name)
		p.wrap(indent, text)
		return
	}
	var b strings.Builder
	column := p
	column.W = &b
	column.wrap(indent, text)
	pad := strings.Repeat(" ", indent)
	p.printf("%s%s%s", name, pad[utf8.RuneCountInString(name):], strings.TrimPrefix(b.String(), pad))
}
