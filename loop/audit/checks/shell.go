package checks

import (
	"path"
	"slices"
	"strings"
)

// A shellCommand is one simple command of a shell script: "FOO=1 apt-get -q
// update" without its assignments and redirections.
type shellCommand struct {
	Words []string
	Piped bool // it reads what the command before it wrote
}

// name is the program's name without its directory; sudo, env, exec and the
// like are looked through.
func (c shellCommand) name() string {
	if ws := c.real(); len(ws) > 0 {
		return path.Base(ws[0])
	}
	return ""
}

// args are the words after the program.
func (c shellCommand) args() []string {
	if ws := c.real(); len(ws) > 0 {
		return ws[1:]
	}
	return nil
}

func (c shellCommand) real() []string {
	ws := c.Words
	for len(ws) > 1 {
		switch path.Base(ws[0]) {
		case "sudo", "exec", "time", "nohup", "command", "env", "eatmydata", "then", "do", "else", "if", "while", "!":
			ws = ws[1:]
			for len(ws) > 1 && (strings.HasPrefix(ws[0], "-") || isAssignment(ws[0])) {
				ws = ws[1:]
			}
			continue
		}
		break
	}
	return ws
}

// verb is the first argument that is no option: "update" of apt-get -o x=y -q
// update. valued names the options that take the next word.
func (c shellCommand) verb(valued ...string) string {
	as := c.args()
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

func isAssignment(w string) bool {
	name, _, ok := strings.Cut(w, "=")
	return ok && name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// parseShell splits a script into its simple commands, as POSIX 2.3 does:
// quotes, escapes, comments and operators. What stands in $(…), `…`, <(…) and
// after "sh -c" is split too, and comes before the command that uses it. A
// here-document is read as commands; a variable is not expanded.
func parseShell(script string) []shellCommand { return parseNested(script, 8) }

func parseNested(script string, depth int) []shellCommand {
	if depth == 0 {
		return nil
	}
	p := shellParser{in: script, depth: depth}
	for p.pos < len(p.in) {
		p.step()
	}
	p.endCommand(false)
	return p.out
}

type shellParser struct {
	in    string
	pos   int
	depth int
	out   []shellCommand
	cmd   shellCommand
	word  strings.Builder
	open  bool // a word has begun; it may be empty: ''
}

func (p *shellParser) step() {
	c := p.in[p.pos]
	p.pos++
	switch c {
	case '\\':
		if p.pos < len(p.in) {
			if p.in[p.pos] != '\n' {
				p.put(p.in[p.pos])
			}
			p.pos++
		}
	case '\'':
		p.open = true
		p.word.WriteString(p.until("'"))
	case '"':
		p.quoted()
	case '`':
		p.nested(p.until("`"))
	case '$', '<', '>':
		if p.pos < len(p.in) && p.in[p.pos] == '(' {
			p.pos++
			p.nested(p.parenthesis())
			return
		}
		p.put(c)
	case ' ', '\t', '\r':
		p.endWord()
	case '#':
		if p.open {
			p.put(c)
			return
		}
		p.until("\n")
		p.endCommand(false)
	case '\n', ';', '(', ')':
		p.endCommand(false)
	case '{', '}':
		if p.open || p.pos < len(p.in) && !strings.ContainsRune(" \n;", rune(p.in[p.pos])) {
			p.put(c) // a{b,c}, {} of find
			return
		}
		p.endCommand(false)
	case '&', '|':
		p.operator(c)
	default:
		p.put(c)
	}
}

func (p *shellParser) put(c byte) {
	p.open = true
	p.word.WriteByte(c)
}

// operator ends a command at &, &&, |, || and |&; "2>&1" ends none.
func (p *shellParser) operator(c byte) {
	if w := p.word.String(); c == '&' && (strings.HasSuffix(w, ">") || strings.HasSuffix(w, "<")) {
		p.put(c)
		return
	}
	if p.pos < len(p.in) && p.in[p.pos] == c {
		p.pos++
		p.endCommand(false)
		return
	}
	if c == '|' && p.pos < len(p.in) && p.in[p.pos] == '&' {
		p.pos++
	}
	p.endCommand(c == '|')
}

// quoted reads up to the closing double quote; substitutions work in there.
func (p *shellParser) quoted() {
	p.open = true
	for p.pos < len(p.in) {
		c := p.in[p.pos]
		p.pos++
		switch {
		case c == '"':
			return
		case c == '\\' && p.pos < len(p.in):
			p.word.WriteByte(p.in[p.pos])
			p.pos++
		case c == '`':
			p.nested(p.until("`"))
		case c == '$' && p.pos < len(p.in) && p.in[p.pos] == '(':
			p.pos++
			p.nested(p.parenthesis())
		default:
			p.word.WriteByte(c)
		}
	}
}

// until returns what stands before the next end, and passes it.
func (p *shellParser) until(end string) string {
	s, _, found := strings.Cut(p.in[p.pos:], end)
	p.pos += len(s)
	if found {
		p.pos += len(end)
	}
	return s
}

// parenthesis returns what stands before the parenthesis that closes.
func (p *shellParser) parenthesis() string {
	from, depth := p.pos, 1
	for ; p.pos < len(p.in); p.pos++ {
		switch p.in[p.pos] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				p.pos++
				return p.in[from : p.pos-1]
			}
		}
	}
	return p.in[from:]
}

// nested takes the commands of a substitution out, and leaves in the word the
// mark of what they do there: $(curl … is a word that curl writes.
func (p *shellParser) nested(script string) {
	p.open = true
	p.word.WriteString("$(" + script + ")")
	p.out = append(p.out, parseNested(script, p.depth-1)...)
}

func (p *shellParser) endWord() {
	if !p.open {
		return
	}
	w := p.word.String()
	p.word.Reset()
	p.open = false
	if len(p.cmd.Words) == 0 && isAssignment(w) {
		return
	}
	p.cmd.Words = append(p.cmd.Words, w)
}

// endCommand finishes a command; the next one reads from it if piped.
func (p *shellParser) endCommand(piped bool) {
	p.endWord()
	if ws := p.cmd.real(); len(ws) > 0 {
		if isShell(ws[0]) {
			for i, w := range ws[1:] {
				if strings.HasPrefix(w, "-") && strings.HasSuffix(w, "c") && !strings.HasPrefix(w, "--") && i+2 < len(ws) {
					p.out = append(p.out, parseNested(ws[i+2], p.depth-1)...)
					break
				}
			}
		}
		p.out = append(p.out, p.cmd)
	}
	p.cmd = shellCommand{Piped: piped}
}

func isShell(program string) bool {
	return slices.Contains([]string{"sh", "bash", "ash", "dash", "zsh", "ksh", "busybox"}, path.Base(program))
}
