// Package shell splits a shell script into its simple commands, for whoever
// judges what a script does: which programs are called, with what words, and
// which of them read what the one before them wrote.
//
// Nothing is run or expanded. What is no shell, or is cut off, gives the
// commands that could be read and then its rest as one command of its words:
// scripts come from histories of images and from people.
package shell

import (
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// A Word is one word of a command without its quotes. Begin and End are its
// place in the script, in bytes from 0.
type Word struct {
	Text       string
	Begin, End int
}

// A Command is one simple command: "FOO=1 apt-get -q update >x" without its
// assignments and redirections. It has at least one word.
type Command struct {
	Words []Word
	Piped bool // it reads what the command before it wrote
	// Nested: it stands inside a word (sh -c '…') or a here-document, whose place
	// in the script its words have.
	Nested bool
}

// deepest is how many scripts within scripts are looked into.
const deepest = 8

// Parse returns the commands of a script in the order in which they stand. What
// stands in $(…), `…`, <(…) and after "sh -c" comes before the command that uses
// it; in the word that held it the substitution is written $(…).
func Parse(script string) []Command {
	r := reader{src: script, depth: deepest}
	r.read()
	return r.out
}

type reader struct {
	src   string
	depth int
	out   []Command
}

func (r *reader) read() {
	p := syntax.NewParser(syntax.Variant(syntax.LangBash))
	done, broken := 0, false
	for st, err := range p.StmtsSeq(strings.NewReader(r.src)) { // it may go on after a break, which panics: there is none
		if broken = broken || err != nil || st == nil; !broken {
			r.stmt(st, false)
			done = int(st.End().Offset())
		}
	}
	if broken {
		r.rest(done)
	}
}

// rest takes what could not be read as the words that it has.
func (r *reader) rest(from int) {
	var c Command
	for pos := from; pos < len(r.src); {
		if strings.IndexByte(" \t\r\n;", r.src[pos]) >= 0 {
			pos++
			continue
		}
		end := pos + 1
		for end < len(r.src) && strings.IndexByte(" \t\r\n;", r.src[end]) < 0 {
			end++
		}
		if text := strings.Trim(r.src[pos:end], `'"`); text != "" {
			c.Words = append(c.Words, Word{text, pos, end})
		}
		pos = end
	}
	if len(c.Words) > 0 {
		r.out = append(r.out, c)
	}
}

func (r *reader) stmts(list []*syntax.Stmt) {
	for _, st := range list {
		r.stmt(st, false)
	}
}

// stmt puts the commands of st to the others; the first of them is piped.
func (r *reader) stmt(st *syntax.Stmt, piped bool) {
	first := len(r.out)
	for _, rd := range st.Redirs {
		r.substitutions(rd.Word)
		r.substitutions(rd.Hdoc)
	}
	switch c := st.Cmd.(type) {
	case nil:
	case *syntax.CallExpr:
		for _, a := range c.Assigns {
			r.substitutions(a)
		}
		r.call(c.Args, piped)
	case *syntax.BinaryCmd:
		r.stmt(c.X, piped)
		r.stmt(c.Y, c.Op == syntax.Pipe || c.Op == syntax.PipeAll)
		return
	default:
		r.compound(c)
		if piped && first < len(r.out) {
			r.out[first].Piped = true
		}
	}
	r.documents(st, first)
}

// compound goes into what holds other commands.
func (r *reader) compound(c syntax.Command) {
	switch c := c.(type) {
	case *syntax.Subshell:
		r.stmts(c.Stmts)
	case *syntax.Block:
		r.stmts(c.Stmts)
	case *syntax.IfClause:
		for ; c != nil; c = c.Else {
			r.stmts(c.Cond)
			r.stmts(c.Then)
		}
	case *syntax.WhileClause:
		r.stmts(c.Cond)
		r.stmts(c.Do)
	case *syntax.ForClause:
		if w, ok := c.Loop.(*syntax.WordIter); ok {
			for _, item := range w.Items {
				r.substitutions(item)
			}
		}
		r.stmts(c.Do)
	case *syntax.CaseClause:
		for _, item := range c.Items {
			r.stmts(item.Stmts)
		}
	case *syntax.FuncDecl:
		r.stmt(c.Body, false)
	case *syntax.TimeClause:
		if c.Stmt != nil {
			r.stmt(c.Stmt, false)
		}
	case *syntax.CoprocClause:
		r.stmt(c.Stmt, false)
	default: // export A=$(…), [[ … ]], (( … ))
		r.substitutions(c)
	}
}

// call puts one simple command, after what its words hold.
func (r *reader) call(args []*syntax.Word, piped bool) {
	c := Command{Piped: piped}
	for _, w := range args {
		r.substitutions(w)
		c.Words = append(c.Words, Word{r.text(w.Parts, false), int(w.Pos().Offset()), int(w.End().Offset())})
	}
	if len(c.Words) == 0 {
		return
	}
	real := c.real()
	if IsShell(real[0].Text) {
		for i, w := range real[1:] {
			if strings.HasPrefix(w.Text, "-") && strings.HasSuffix(w.Text, "c") && !strings.HasPrefix(w.Text, "--") && i+2 < len(real) {
				r.within(real[i+2].Text, real[i+2])
				break
			}
		}
	}
	r.out = append(r.out, c)
}

// documents reads the here-documents that a shell is given as scripts.
func (r *reader) documents(st *syntax.Stmt, first int) {
	if len(r.out) == first {
		return
	}
	last := r.out[len(r.out)-1]
	for _, rd := range st.Redirs {
		if rd.Hdoc != nil && IsShell(last.Name()) {
			begin, text := int(rd.Hdoc.Pos().Offset()), r.text(rd.Hdoc.Parts, true)
			r.within(text, Word{Begin: begin, End: min(begin+len(strings.TrimRight(text, "\n")), len(r.src))})
		}
	}
}

// within reads a script that stands at a word.
func (r *reader) within(script string, at Word) {
	if r.depth == 0 {
		return
	}
	inner := reader{src: script, depth: r.depth - 1}
	inner.read()
	for _, c := range inner.out {
		c.Nested = true
		for i := range c.Words {
			c.Words[i].Begin, c.Words[i].End = at.Begin, at.End
		}
		r.out = append(r.out, c)
	}
}

// substitutions reads the commands whose output n is made of.
func (r *reader) substitutions(n syntax.Node) {
	if w, ok := n.(*syntax.Word); n == nil || ok && w == nil {
		return
	}
	syntax.Walk(n, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.CmdSubst:
			r.stmts(n.Stmts)
			return false
		case *syntax.ProcSubst:
			r.stmts(n.Stmts)
			return false
		}
		return true
	})
}

// text is what parts say without their quotes.
func (r *reader) text(parts []syntax.WordPart, quoted bool) string {
	var b strings.Builder
	for _, part := range parts {
		switch p := part.(type) {
		case *syntax.Lit:
			b.WriteString(unescaped(p.Value, quoted))
		case *syntax.SglQuoted:
			b.WriteString(p.Value)
		case *syntax.DblQuoted:
			b.WriteString(r.text(p.Parts, true))
		case *syntax.CmdSubst:
			b.WriteString("$(" + r.inner(p.Stmts) + ")")
		case *syntax.ProcSubst:
			b.WriteString("$(" + r.inner(p.Stmts) + ")")
		default:
			b.WriteString(r.src[p.Pos().Offset():min(int(p.End().Offset()), len(r.src))])
		}
	}
	return b.String()
}

func (r *reader) inner(list []*syntax.Stmt) string {
	if len(list) == 0 {
		return ""
	}
	return r.src[list[0].Pos().Offset():min(int(list[len(list)-1].End().Offset()), len(r.src))]
}

// unescaped takes the backslashes away: between double quotes only before what
// means something there (POSIX 2.2.3).
func unescaped(s string, quoted bool) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) || quoted && strings.IndexByte("$`\"\\\n", s[i+1]) < 0 {
			b.WriteByte(s[i])
			continue
		}
		if i++; s[i] != '\n' {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// Texts are the words of c.
func (c Command) Texts() []string { return texts(c.Words) }

func texts(ws []Word) []string {
	var out []string
	for _, w := range ws {
		out = append(out, w.Text)
	}
	return out
}

// Program is the word that names what runs: sudo, env, exec and the like are
// looked through.
func (c Command) Program() Word { return c.real()[0] }

// Name is the program's name without its directory.
func (c Command) Name() string { return path.Base(c.Program().Text) }

// Args are the words after the program.
func (c Command) Args() []string { return texts(c.real()[1:]) }

// ArgWords are Args with their places.
func (c Command) ArgWords() []Word { return c.real()[1:] }

func (c Command) real() []Word {
	ws := c.Words
	for len(ws) > 1 {
		switch path.Base(ws[0].Text) {
		case "sudo", "exec", "time", "nohup", "command", "env", "eatmydata":
			ws = ws[1:]
			for len(ws) > 1 && (strings.HasPrefix(ws[0].Text, "-") || IsAssignment(ws[0].Text)) {
				ws = ws[1:]
			}
			continue
		}
		break
	}
	return ws
}

// Verb is the first argument that is no option: "update" of apt-get -o x=y -q
// update. valued names the options that take the next word.
func (c Command) Verb(valued ...string) string {
	as := c.Args()
	for i := 0; i < len(as); i++ {
		switch {
		case slices.Contains(valued, as[i]):
			i++
		case !strings.HasPrefix(as[i], "-"):
			return as[i]
		}
	}
	return ""
}

// IsAssignment reports whether w is NAME=value.
func IsAssignment(w string) bool {
	name, _, ok := strings.Cut(w, "=")
	return ok && syntax.ValidName(name)
}

// IsShell reports whether program runs the script that it is given.
func IsShell(program string) bool {
	return slices.Contains([]string{"sh", "bash", "ash", "dash", "zsh", "ksh", "busybox"}, path.Base(program))
}

// A Span is a part of a script, in bytes from 0.
type Span struct{ Begin, End int }

// Chain parts a script that does one thing after another: the outer lists are
// what follows each other (a newline or a semicolon between), the inner ones
// what && joins. ok is false for a script that is more than that, or cannot be
// read: in it no command can be taken out and leave the others as they are.
func Chain(script string) (lists [][]Span, ok bool) {
	f, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(script), "")
	if err != nil {
		return nil, false
	}
	for _, st := range f.Stmts {
		if st.Background || st.Negated {
			return nil, false
		}
		list, ok := flat(st)
		if !ok {
			return nil, false
		}
		lists = append(lists, list)
	}
	return lists, len(lists) > 0
}

func flat(st *syntax.Stmt) ([]Span, bool) {
	if b, is := st.Cmd.(*syntax.BinaryCmd); is && b.Op == syntax.AndStmt && len(st.Redirs) == 0 {
		left, ok1 := flat(b.X)
		right, ok2 := flat(b.Y)
		return append(left, right...), ok1 && ok2
	}
	if b, is := st.Cmd.(*syntax.BinaryCmd); is && b.Op == syntax.OrStmt {
		return nil, false
	}
	end := st.Pos().Offset()
	if st.Cmd != nil {
		end = st.Cmd.End().Offset()
	}
	for _, r := range st.Redirs {
		if r.Hdoc != nil {
			return nil, false
		}
		end = max(end, r.End().Offset())
	}
	return []Span{{int(st.Pos().Offset()), int(end)}}, true
}
