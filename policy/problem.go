package policy

import (
	"cmp"
	"fmt"
	"slices"

	"casco/lang"
)

// A Severity says whether a Problem stops a policy from coming into force.
type Severity string

const (
	Error   Severity = "error"   // the policy is refused
	Warning Severity = "warning" // it is taken, and somebody should look
)

// A Problem is something wrong in a policy, with where it stands and what to
// write instead.
type Problem struct {
	Pos      Pos       `json:"pos"`
	Severity Severity  `json:"severity"`
	Text     lang.Text `json:"text"`
}

// In is p in language l, as compilers print it: FILE:LINE:COLUMN: TEXT.
func (p Problem) In(l lang.Lang) string {
	s := p.Text.In(l)
	if p.Severity == Warning {
		s = lang.Text{En: "warning: ", Es: "aviso: "}.In(l) + s
	}
	if p.Pos == (Pos{}) {
		return s
	}
	return p.Pos.String() + ": " + s
}

// String is FILE:LINE:COLUMN, or less where less is known. The zero Pos is
// "built in".
func (p Pos) String() string {
	switch {
	case p.File == "":
		return "built in"
	case p.Line == 0:
		return p.File
	case p.Col == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// Refused reports whether one of the problems is an Error.
func Refused(ps []Problem) bool {
	return slices.ContainsFunc(ps, func(p Problem) bool { return p.Severity == Error })
}

// sortProblems puts problems in the order of the files.
func sortProblems(ps []Problem) {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Pos.File, b.Pos.File), cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Col, b.Pos.Col))
	})
}

func says(t lang.Text, args ...any) error { return lang.Errorf(t, args...) }

// told is an error in both languages.
func told(err error) lang.Text {
	return lang.Text{En: lang.Say(err, lang.English), Es: lang.Say(err, lang.Spanish)}
}
