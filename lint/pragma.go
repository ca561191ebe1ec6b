package lint

import (
	"regexp"
	"strings"
	"time"

	"casco/loop/audit"
	"casco/loop/inventory"
)

// A Pragma is a line of a file that accepts what one check finds in what comes
// next:
//
//	# casco:ignore CHECK reason: why it may stand
//
// In a Dockerfile that is the next instruction, all its lines; in YAML the next
// key with all that is below it. Without a reason it accepts nothing.
type Pragma struct {
	At            inventory.Position
	Check, Reason string
	from, to      int // lines that it covers
	matches       int
}

var pragmaLine = regexp.MustCompile(`^[ \t]*#[ \t]*casco:ignore\b[ \t]*([^ \t\r]*)[ \t]*(?:reason:[ \t]*(.*?))?[ \t\r]*$`)

// Pragmas finds those of a file. ends says for a line on which an instruction
// begins where it ends; nil is for YAML, where the indentation says it.
func Pragmas(name string, src []byte, ends func(line int) int) []*Pragma {
	lines := strings.Split(string(src), "\n")
	if ends == nil {
		ends = func(line int) int { return blockEnd(lines, line) }
	}
	var out []*Pragma
	for i, line := range lines {
		m := pragmaLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		p := &Pragma{Check: m[1], Reason: m[2], At: inventory.Position{
			File: name, Line: i + 1, Column: strings.IndexByte(line, '#') + 1, EndLine: i + 1, EndColumn: len(strings.TrimRight(line, " \t\r")) + 1,
		}}
		for next := i + 1; next < len(lines); next++ {
			if text := strings.TrimSpace(lines[next]); text != "" && text[0] != '#' {
				p.from, p.to = next+1, max(next+1, ends(next+1))
				break
			}
		}
		out = append(out, p)
	}
	return out
}

// blockEnd is the last line of the block of YAML that begins on a line: those
// that are indented deeper, or are items of a list under a key.
func blockEnd(lines []string, line int) int {
	depth := func(s string) int { return len(s) - len(strings.TrimLeft(s, " ")) }
	first := lines[line-1]
	item := strings.HasPrefix(strings.TrimSpace(first), "-")
	end := line
	for i := line; i < len(lines); i++ {
		text := strings.TrimSpace(lines[i])
		if text == "" || text[0] == '#' {
			continue
		}
		if d := depth(lines[i]); d < depth(first) || d == depth(first) && (item || !strings.HasPrefix(text, "-")) {
			break
		}
		end = i + 1
	}
	return end
}

// Accept marks what pragmas cover, and returns the objects of the pragmas for
// their own checks.
func Accept(rs []Result, ps []*Pragma, now time.Time) []*inventory.Object {
	for i := range rs {
		r := &rs[i]
		if r.Verdict != audit.Fail {
			continue
		}
		for _, p := range ps {
			if p.Check != r.Check.ID || p.At.File != r.At.File || r.At.Line < p.from || r.At.Line > p.to {
				continue
			}
			if p.matches++; p.Reason != "" && r.Accepted == "" {
				r.Accepted, r.By = p.Reason, p.At
			}
		}
	}
	var out []*inventory.Object
	for _, p := range ps {
		out = append(out, &inventory.Object{
			Ref: inventory.Ref{Kind: inventory.Pragma, Name: p.At.String()}, Source: p.At.String(), Read: now,
			Fields: map[string]any{"Check": p.Check, "Reason": p.Reason, "Matches": int64(p.matches)},
		})
	}
	return out
}
