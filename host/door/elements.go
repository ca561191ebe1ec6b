package door

import (
	"bytes"
	"encoding/json"
	"errors"
)

// An elements finds the elements of a JSON list (RFC 8259) in bytes as they come.
// Of null there are none.
type elements struct {
	do func(element []byte) error // which may not keep it

	depth   int // of brackets that are open; the list's own is the first
	text    bool
	escaped bool // the next character of a text
	many    bool // an element was found
	ended   bool // the list
	rest    []byte
}

var errNoList = errors.New("no list of JSON")

// begun reports whether a list has begun.
func (l *elements) begun() bool { return l.depth > 0 || l.ended }

// over reports whether all of it was read: a list, or null.
func (l *elements) over() bool {
	return l.ended || l.depth == 0 && string(bytes.TrimSpace(l.rest)) == "null"
}

func (l *elements) read(b []byte) error {
	from := 0 // of what is not in rest
	for i, c := range b {
		switch {
		case l.text:
			l.text, l.escaped = l.escaped || c != '"', !l.escaped && c == '\\'
		case l.ended:
			if !space(c) {
				return errNoList
			}
		case l.depth == 0:
			if c == '[' && len(bytes.TrimSpace(l.rest))+len(bytes.TrimSpace(b[from:i])) == 0 {
				l.rest, l.depth, from = l.rest[:0], 1, i+1
			} else if c == '[' || c == '{' || c == '"' {
				return errNoList
			}
		case c == '"':
			l.text = true
		case c == '[' || c == '{':
			l.depth++
		case c == ']' || c == '}':
			if l.depth--; l.depth > 0 {
				continue
			}
			if err := l.element(b[from:i], true); err != nil || c == '}' {
				return errors.Join(err, errNoList)
			}
			l.ended, from = true, len(b)
		case c == ',' && l.depth == 1:
			if err := l.element(b[from:i], false); err != nil {
				return err
			}
			from = i + 1
		}
	}
	if l.rest = append(l.rest, b[min(from, len(b)):]...); len(l.rest) > maxLine {
		return errNoList
	}
	return nil
}

// element is what is left of one that ends, in b, and maybe the last: a list has
// none, or one behind each comma.
func (l *elements) element(b []byte, last bool) error {
	if len(l.rest) > 0 {
		b = append(l.rest, b...)
	}
	l.rest = spare(l.rest)
	b = bytes.TrimSpace(b)
	switch {
	case len(b) == 0 && last && !l.many:
		return nil
	case len(b) > maxLine || !json.Valid(b):
		return errNoList
	}
	l.many = true
	return l.do(b)
}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
