package dockerfile

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"casco/internal/shell"
	"casco/loop/inventory"
)

// commandsOf are the commands of a line that a shell, or nobody, runs; nil if
// the shell is one whose language is not read here. A node is where it stands
// in the file; without one the commands have the place of their instruction.
func (n *note) commandsOf(line instructions.ShellDependantCmdLine, node *parser.Node) []any {
	if !line.PrependShell {
		return n.words(line.CmdLine)
	}
	if len(n.stage.shell) == 0 || !shell.IsShell(n.stage.shell[0]) {
		return nil
	}
	script, begin := strings.Join(line.CmdLine, " "), -1
	for _, f := range line.Files {
		script = f.Data // where there is no place in the file: the last document
	}
	if node != nil {
		script, begin = n.file.script(node)
	}
	out := []any{}
	if program, ok := interpreter(script); ok {
		return append(out, n.command([]string{program}, false, n.in["At"]))
	}
	for _, c := range shell.Parse(script) {
		at := n.in["At"]
		if begin >= 0 {
			at = n.file.position(begin+c.Words[0].Begin, begin+c.Words[len(c.Words)-1].End).String()
		}
		out = append(out, n.command(c.Texts(), c.Piped, at))
	}
	return out
}

// interpreter is the program that a here-document names for itself: #!/usr/bin/env
// python3. A shell is none: its script is read.
func interpreter(script string) (string, bool) {
	line, ok := strings.CutPrefix(strings.TrimLeft(script, " \t\r\n"), "#!")
	if !ok {
		return "", false
	}
	line, _, _ = strings.Cut(line, "\n")
	words := strings.Fields(line)
	if len(words) > 1 && path.Base(words[0]) == "env" {
		words = words[1:]
	}
	if len(words) == 0 || shell.IsShell(words[0]) {
		return "", false
	}
	return words[0], true
}

// words are the commands of an exec form: the program, and what a shell that it
// names is given.
func (n *note) words(argv []string) []any {
	if len(argv) == 0 {
		return []any{}
	}
	out := []any{}
	if shell.IsShell(argv[0]) {
		for i, w := range argv[1:] {
			if strings.HasPrefix(w, "-") && strings.HasSuffix(w, "c") && i+2 < len(argv) {
				for _, c := range shell.Parse(argv[i+2]) {
					out = append(out, n.command(c.Texts(), c.Piped, n.in["At"]))
				}
				break
			}
		}
	}
	return append(out, n.command(argv, false, n.in["At"]))
}

// command is one command as a field: its words are masked as the line that they
// make is.
func (n *note) command(words []string, piped bool, at any) map[string]any {
	line := strings.Join(words, " ")
	if masked := inventory.MaskText(line); masked != line {
		words = strings.Fields(masked)
	}
	return map[string]any{"Words": listed(words), "Piped": piped, "At": at}
}

// script is what a RUN gives to the shell, and where in the file it begins. It
// has the length of what stands there: what the shell does not get to see (the
// keyword, flags, comments between lines, the marks of a here-document) is
// blank, so that places in it are places in the file.
func (f *file) script(node *parser.Node) (string, int) {
	begin, end := f.span(node.StartLine, node.EndLine)
	view := slices.Clone(f.src[begin:end])
	f.blankHead(view, len(node.Value), len(node.Flags) > 0)
	head := f.joinLines(view)
	if len(node.Heredocs) > 0 {
		blankDocuments(view, head, node.Heredocs)
	}
	return string(view), begin
}

func blank(b []byte) {
	for i := range b {
		if b[i] != '\n' {
			b[i] = ' '
		}
	}
}

// blankHead takes the keyword and its --flags away.
func (f *file) blankHead(view []byte, keyword int, flags bool) {
	pos := keyword
	space := func() {
		for pos < len(view) && (strings.IndexByte(" \t\r\n", view[pos]) >= 0 || rune(view[pos]) == f.escape && endsLine(view[pos+1:])) {
			pos++
		}
	}
	for space(); flags && bytes.HasPrefix(view[pos:], []byte("--")); space() {
		var quote byte
		for pos < len(view) && (quote != 0 || strings.IndexByte(" \t\r\n", view[pos]) < 0) {
			switch c := view[pos]; {
			case c == quote:
				quote = 0
			case quote == 0 && (c == '"' || c == '\''):
				quote = c
			}
			pos++
		}
	}
	for i := range pos {
		view[i] = ' '
	}
}

func endsLine(b []byte) bool {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return len(bytes.TrimSpace(line)) == 0
}

// joinLines makes of the lines that Dockerfile joins lines that a shell joins,
// and of comments between them nothing. It returns where the first line that is
// not continued ends: what follows are here-documents.
func (f *file) joinLines(view []byte) int {
	pos, joined := 0, false
	for pos < len(view) {
		end := pos + bytes.IndexByte(view[pos:], '\n')
		if end < pos {
			end = len(view)
		}
		line := view[pos:end]
		text := bytes.TrimRight(line, " \t\r")
		switch {
		case joined && (len(bytes.TrimSpace(line)) == 0 || bytes.TrimLeft(line, " \t")[0] == '#'):
			blank(line)
			if end < len(view) {
				view[end] = ' '
			}
		case len(text) > 0 && rune(text[len(text)-1]) == f.escape:
			blank(line[len(text)-1:])
			if joined = true; end < len(view) {
				view[end-1] = '\\'
			}
		default:
			return min(end+1, len(view))
		}
		pos = end + 1
	}
	return len(view)
}

// blankDocuments takes away what marks here-documents that are themselves the
// script: the words <<EOF, if nothing else stands before them, and the lines
// that end them. A command that reads one keeps it.
func blankDocuments(view []byte, head int, docs []parser.Heredoc) {
	first := strings.TrimSpace(string(view[:head]))
	if !strings.HasPrefix(strings.TrimLeft(first, "0123456789"), "<<") {
		return
	}
	blank(view[:head])
	pos := head
	for _, doc := range docs {
		for pos < len(view) {
			end := pos + bytes.IndexByte(view[pos:], '\n')
			if end < pos {
				end = len(view)
			}
			is := strings.TrimRight(string(view[pos:end]), "\r\n")
			if doc.Chomp {
				is = strings.TrimLeft(is, "\t")
			}
			from := pos
			if pos = end + 1; is == doc.Name {
				blank(view[from:end])
				break
			}
		}
	}
}
