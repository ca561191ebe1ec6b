// Package lang holds what the program says, in English and Spanish.
//
// A Text carries both languages side by side, so that nobody can add one and
// forget the other: a test walks every Text of the program and fails on an
// empty half. A check's texts stay with the check; the program's own are in
// strings.go. Any package may import lang; lang imports none of ours.
package lang

import (
	"fmt"
	"slices"
	"strings"
)

// A Lang is a language of the program.
type Lang string

const (
	English Lang = "en"
	Spanish Lang = "es"
)

// Parse returns the language named by s: a code ("es"), or the value of a
// locale variable ("es_AR.UTF-8"). Anything else than Spanish is English.
func Parse(s string) Lang {
	if s == "es" || strings.HasPrefix(s, "es_") || strings.HasPrefix(s, "es-") {
		return Spanish
	}
	return English
}

// A Text is one text for people in both languages.
type Text struct {
	En string `json:"en"`
	Es string `json:"es"`
}

// In returns t in language l.
func (t Text) In(l Lang) string {
	if l == Spanish {
		return t.Es
	}
	return t.En
}

// Empty reports whether either half of t is missing.
func (t Text) Empty() bool { return t.En == "" || t.Es == "" }

// F formats both halves of t with the same arguments, as fmt.Sprintf does. An
// argument that is a Text is said in the language of each half.
func (t Text) F(args ...any) Text {
	return Text{En: fmt.Sprintf(t.En, in(English, args)...), Es: fmt.Sprintf(t.Es, in(Spanish, args)...)}
}

func in(l Lang, args []any) []any {
	args = slices.Clone(args)
	for i, a := range args {
		if t, ok := a.(Text); ok {
			args[i] = t.In(l)
		}
	}
	return args
}
