package report

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// writeMarkdown writes d as GitHub-flavoured Markdown.
func writeMarkdown(w io.Writer, d document, _ *Dossier) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "# %s\n", plainMarkdown(d.title))
	for _, b := range d.blocks {
		switch b := b.(type) {
		case heading:
			fmt.Fprintf(out, "\n%s %s\n", strings.Repeat("#", b.level+1), plainMarkdown(b.text))
		case paragraph:
			text := plainMarkdown(b.text)
			if b.strong {
				text = "> **" + text + "**"
			}
			fmt.Fprintf(out, "\n%s\n", text)
		case *table:
			b.markdown(out)
		case picture:
			if b.text != "" {
				fmt.Fprintf(out, "\n*%s*: %s\n", plainMarkdown(b.title), plainMarkdown(b.text))
			}
		}
	}
	return out.Flush()
}

func (t *table) markdown(w io.Writer) {
	if len(t.rows) == 0 {
		fmt.Fprintf(w, "\n%s\n", plainMarkdown(t.empty))
		return
	}
	line := func(cells []string) {
		fmt.Fprint(w, "|")
		for _, c := range cells {
			fmt.Fprintf(w, " %s |", plainMarkdown(c))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
	line(t.columns)
	fmt.Fprint(w, "|")
	for i := range t.columns {
		rule := "---"
		if slices.Contains(t.right, i) {
			rule = "---:"
		}
		fmt.Fprintf(w, "%s|", rule)
	}
	fmt.Fprintln(w)
	for _, r := range t.rows {
		line(r)
	}
}

// markup are the characters that mean something in Markdown, HTML in it, or the
// cells of its tables. A name of a container may hold any of them.
var markup = strings.NewReplacer("\\", "\\\\", "|", "\\|", "*", "\\*", "_", "\\_", "`", "\\`", "[", "\\[", "]", "\\]", "<", "&lt;", ">", "&gt;", "#", "\\#", "~", "\\~", "&", "&amp;", "!", "\\!")

func plainMarkdown(s string) string { return markup.Replace(s) }
