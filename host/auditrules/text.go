package auditrules

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ReadDir returns the rules that augenrules(8) would load from the *.rules
// files of a directory, in its order. A directory that is not there holds none.
func ReadDir(dir string) ([]Rule, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.rules"))
	if err != nil {
		return nil, err
	}
	if _, err := os.ReadDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err // Glob says nothing of a directory that it may not read
	}
	slices.SortFunc(names, versionOrder)
	var rules []Rule
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		rules, err = parse(f, filepath.Base(name), rules)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return rules, nil
}

// versionOrder compares names as "ls -v" does, on which augenrules(8) relies:
// numbers in them by their value, so that 9-a.rules is before 10-b.rules.
func versionOrder(a, b string) int {
	for a != "" && b != "" {
		na, nb := digits(a), digits(b)
		if na > 0 && nb > 0 {
			x, y := strings.TrimLeft(a[:na], "0"), strings.TrimLeft(b[:nb], "0")
			if len(x) != len(y) {
				return len(x) - len(y)
			}
			if c := strings.Compare(x, y); c != 0 {
				return c
			}
			a, b = a[na:], b[nb:]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

func digits(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }

// parse adds to rules what the lines of r say. A line that begins with # is a
// comment; -D without a key is moved by augenrules(8) to the very top, where it
// does nothing, and is passed over.
func parse(r io.Reader, name string, rules []Rule) ([]Rule, error) {
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		l, ok := parseLine(line)
		if !ok {
			continue
		}
		l.rule.From = fmt.Sprintf("%s:%d", name, n)
		rules = l.change(rules)
	}
	return rules, lines.Err()
}

// A line is one line of a rules file.
type line struct {
	op   byte // the option that makes it a rule: a, A, d, w, W or D
	rule Rule
}

// change carries the line out on the rules before it.
func (l line) change(rules []Rule) []Rule {
	same := func(r Rule) bool {
		r.From = l.rule.From
		return r == l.rule
	}
	switch l.op {
	case 'a', 'w':
		return append(rules, l.rule)
	case 'A':
		return slices.Insert(rules, 0, l.rule)
	case 'd', 'W':
		return slices.DeleteFunc(rules, same)
	case 'D':
		if l.rule.Key == "" {
			return rules
		}
		return slices.DeleteFunc(rules, func(r Rule) bool { return r.Key == l.rule.Key })
	}
	return rules
}

// parseLine reads the options of one line: auditctl(8). ok is false if it is no
// rule about a path, or one that auditctl would not take.
func parseLine(text string) (l line, ok bool) {
	l.rule = Rule{Perm: all, Arch: Both, Exact: true}
	words := split(text)
	for len(words) > 0 {
		w := words[0]
		words = words[1:]
		if len(w) < 2 || w[0] != '-' || w[1] == '-' {
			return l, false // a stray word; or --option, which makes no rule
		}
		if w[1] == 'D' && len(w) == 2 {
			l.op = 'D'
			continue
		}
		arg := w[2:]
		if arg == "" {
			if len(words) == 0 {
				return l, false
			}
			arg, words = words[0], words[1:]
		}
		if !l.option(w[1], arg) {
			return l, false
		}
	}
	return l, l.op == 'D' || l.op != 0 && (l.rule.Path != "" || l.rule.Task)
}

// option takes in one option with its argument.
func (l *line) option(opt byte, arg string) bool {
	switch opt {
	case 'a', 'A', 'd':
		l.op = opt
		return l.list(arg)
	case 'w', 'W':
		l.op = opt
		_, l.rule.Dir = resolve(arg) // auditctl looks, too
		return l.path(arg)
	case 'p':
		return l.perm(arg)
	case 'k':
		l.key(arg)
		return true
	case 'S':
		l.rule.Exact = l.rule.Exact && arg == "all"
		return true
	case 'F':
		return l.field(arg)
	case 'C':
		l.rule.Exact = false
		return true
	}
	return false // -b, -e, -f, -r: settings, not rules
}

// list reads "always,exit" in either order. Lists other than exit and task say
// nothing of a path.
func (l *line) list(arg string) bool {
	a, b, ok := strings.Cut(arg, ",")
	if a == "always" || a == "never" {
		a, b = b, a
	}
	l.rule.Never, l.rule.Task = b == "never", a == "task"
	return ok && (b == "always" || b == "never") && (a == "exit" || a == "task")
}

// field reads one -F. What is not an equality of a field that we know makes
// the rule a conditional one.
func (l *line) field(arg string) bool {
	i := strings.IndexAny(arg, "=!<>&")
	if i <= 0 {
		return false
	}
	name, op, value := arg[:i], arg[i:i+1], arg[i+1:]
	if op != "=" {
		l.rule.Exact = false
		return true
	}
	switch name {
	case "path":
		return l.path(value)
	case "dir":
		l.rule.Dir = true
		return l.path(value)
	case "perm":
		return l.perm(value)
	case "key":
		l.key(value)
	case "arch":
		l.rule.Arch = archOf(value)
	default:
		l.rule.Exact = false
	}
	return true
}

func (l *line) path(p string) bool {
	once := l.rule.Path == ""
	l.rule.Path = strings.TrimRight(p, "/") // auditctl drops them
	return once && strings.HasPrefix(p, "/")
}

func (l *line) perm(s string) (ok bool) {
	l.rule.Perm, ok = ParsePerm(s)
	return ok && s != ""
}

// key joins several keys as the kernel keeps them: linux/audit.h,
// AUDIT_KEY_SEPARATOR.
func (l *line) key(k string) {
	if l.rule.Key != "" {
		k = l.rule.Key + "\x01" + k
	}
	l.rule.Key = k
}

// archOf knows the names of auditctl(8); those of 64 bit machines have a 64 in
// them, but for s390x.
func archOf(name string) Arch {
	if strings.Contains(name, "64") || name == "s390x" {
		return Native
	}
	return Compat
}

// split cuts a line into words. Quotes keep blanks together and are no part of
// the word, as in auditctl(8).
func split(text string) []string {
	var words []string
	var word strings.Builder
	quote, inWord := rune(0), false
	for _, c := range text {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, inWord = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words
}
