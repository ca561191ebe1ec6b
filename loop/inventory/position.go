package inventory

import (
	"fmt"
	"regexp"
	"strconv"
)

// A Position is a part of a text file, as the source of a fact that somebody
// wrote there. Lines and columns count from 1, columns in bytes; the end is
// behind the last byte.
type Position struct {
	File      string `json:"file"`
	Line      int    `json:"line"`
	Column    int    `json:"column"`
	EndLine   int    `json:"end_line"`
	EndColumn int    `json:"end_column"`
}

// String is "FILE:LINE:COLUMN-LINE:COLUMN".
func (p Position) String() string {
	return fmt.Sprintf("%s:%d:%d-%d:%d", p.File, p.Line, p.Column, p.EndLine, p.EndColumn)
}

var aPosition = regexp.MustCompile(`^(?s:(.+)):(\d{1,9}):(\d{1,9})-(\d{1,9}):(\d{1,9})$`)

// ParsePosition is the inverse of Position.String. ok is false for the source
// of a fact that is no part of a text file.
func ParsePosition(s string) (p Position, ok bool) {
	m := aPosition.FindStringSubmatch(s)
	if m == nil {
		return p, false
	}
	p.File = m[1]
	for i, n := range []*int{&p.Line, &p.Column, &p.EndLine, &p.EndColumn} {
		*n, _ = strconv.Atoi(m[i+2]) // at most nine digits
	}
	return p, true
}
