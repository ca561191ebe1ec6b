package policy

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"casco/lang"
)

// A policy is YAML of which only the part is taken that every reader and every
// parser reads the same: no anchors and aliases, no tags, no merge keys, no
// directives, no words and numbers of YAML 1.1, each key once, and no character
// that shows as something else than it is.

// Bounds of what is read; a policy of an organisation with a thousand flows is
// far below them.
const (
	maxFile     = 1 << 20 // bytes of one file
	maxDepth    = 40      // levels of nesting
	maxProblems = 100     // problems told of one file
)

// A reader collects what is wrong with one file.
type reader struct {
	file     string
	problems []Problem
	lines    map[string]Pos
}

func (r *reader) pos(n *yaml.Node) Pos { return Pos{r.file, n.Line, n.Column} }

func (r *reader) wrong(at Pos, t lang.Text, args ...any) {
	switch len(r.problems) {
	case maxProblems:
		r.problems = append(r.problems, Problem{at, Error, lang.Text{
			En: "there are more problems than these", Es: "hay más problemas que estos",
		}})
		fallthrough
	case maxProblems + 1:
		return
	}
	r.problems = append(r.problems, Problem{at, Error, t.F(args...)})
}

// say is wrong of a text that is whole already.
func (r *reader) say(n *yaml.Node, t lang.Text) {
	r.wrong(r.pos(n), lang.Text{En: "%[1]s", Es: "%[2]s"}, t.En, t.Es)
}

// documents returns the roots of the documents in b that are in order, leaving
// out empty ones.
func (r *reader) documents(b []byte) []*yaml.Node {
	if len(b) > maxFile {
		r.wrong(Pos{File: r.file}, lang.Text{En: "the file is larger than %d bytes", Es: "el archivo pasa de %d bytes"}, maxFile)
		return nil
	}
	if !r.characters(b) {
		return nil
	}
	var roots []*yaml.Node
	for d := yaml.NewDecoder(bytes.NewReader(b)); ; {
		var doc yaml.Node
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return roots
		}
		if err != nil {
			r.syntax(err)
			return roots
		}
		if len(doc.Content) != 1 || doc.Content[0].Tag == "!!null" && doc.Content[0].Value == "" {
			continue
		}
		before := len(r.problems)
		if r.plain(doc.Content[0], 0); len(r.problems) == before {
			roots = append(roots, doc.Content[0])
		}
	}
}

// syntax tells an error of the YAML parser.
func (r *reader) syntax(err error) {
	at, why := Pos{File: r.file}, err.Error()
	if e := (*yaml.LoadError)(nil); errors.As(err, &e) {
		at.Line, at.Col, why = e.Mark.Line, e.Mark.Column, e.Message
	}
	r.wrong(at, lang.Text{En: "not YAML: %s", Es: "no es YAML: %s"}, why)
}

var notUTF8 = lang.Text{En: "not UTF-8: save the file as UTF-8 without a byte order mark", Es: "no es UTF-8: guarde el archivo como UTF-8 sin marca de orden de bytes"}

// characters refuses what a person does not see, or sees elsewhere: control
// characters, line breaks that only YAML 1.1 knows, and the marks that turn the
// direction of writing (Unicode TR #36, CVE-2021-42574).
func (r *reader) characters(b []byte) bool {
	line, col := 1, 1
	for i := 0; i < len(b); {
		c, size := utf8.DecodeRune(b[i:])
		at := Pos{r.file, line, col}
		switch {
		case c == utf8.RuneError && size == 1, i == 0 && c == '\ufeff':
			r.wrong(at, notUTF8)
			return false
		case c == '\r' && i+1 < len(b) && b[i+1] == '\n', c == '\t':
		case c < ' ' && c != '\n', hidden(c):
			r.wrong(at, lang.Text{En: "the character U+%04X may not stand in a policy: it does not show", Es: "el carácter U+%04X no puede estar en una política: no se ve"}, c)
			return false
		case c == '%' && col == 1:
			r.wrong(at, lang.Text{En: "a line may not begin with %%: YAML directives are not taken", Es: "una línea no puede empezar con %%: no se aceptan directivas de YAML"})
			return false
		}
		i, col = i+size, col+1
		if c == '\n' {
			line, col = line+1, 1
		}
	}
	return true
}

// hidden are characters that a person cannot see for what they are.
func hidden(c rune) bool {
	return c >= 0x7f && c <= 0x9f || c == 0x2028 || c == 0x2029 || // C1, NEL, line and paragraph separators
		c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069 || c == 0x200e || c == 0x200f || c == 0x061c || // direction
		c == 0x200b || c == 0x2060 || c == 0xfeff // of no width
}

var (
	// The booleans of YAML 1.1 (https://yaml.org/type/bool.html) that are none
	// in 1.2, and its numbers to base 60 (https://yaml.org/type/int.html).
	oldBool = regexp.MustCompile(`^(y|Y|yes|Yes|YES|n|N|no|No|NO|on|On|ON|off|Off|OFF)$`)
	base60  = regexp.MustCompile(`^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$`)
)

// plain tells what stands in n and below and is not taken of YAML.
func (r *reader) plain(n *yaml.Node, depth int) {
	at := r.pos(n)
	switch {
	case depth > maxDepth:
		r.wrong(at, lang.Text{En: "nested deeper than %d levels", Es: "más de %d niveles de anidamiento"}, maxDepth)
		return
	case n.Kind == yaml.AliasNode:
		r.wrong(at, lang.Text{En: "*%s: aliases are not taken; write the value out", Es: "*%s: no se aceptan alias; escriba el valor"}, n.Value)
		return
	case n.Anchor != "":
		r.wrong(at, lang.Text{En: "&%s: anchors are not taken; leave it out", Es: "&%s: no se aceptan anclas; quítela"}, n.Anchor)
	case n.Style&yaml.TaggedStyle != 0:
		r.wrong(at, lang.Text{En: "%s: tags are not taken; leave it out", Es: "%s: no se aceptan etiquetas de YAML; quítela"}, n.Tag)
	case n.Kind == yaml.ScalarNode:
		r.scalar(n)
	case n.Kind == yaml.MappingNode:
		r.keys(n)
	}
	for _, c := range n.Content {
		r.plain(c, depth+1)
	}
}

func (r *reader) scalar(n *yaml.Node) {
	if i := strings.IndexFunc(n.Value, func(c rune) bool { return c < ' ' && c != '\n' && c != '\t' || hidden(c) }); i >= 0 {
		c, _ := utf8.DecodeRuneInString(n.Value[i:])
		r.wrong(r.pos(n), lang.Text{En: "the character U+%04X may not stand in a value", Es: "el carácter U+%04X no puede estar en un valor"}, c)
		return
	}
	if n.Style != 0 {
		return
	}
	switch {
	case oldBool.MatchString(n.Value):
		r.wrong(r.pos(n), lang.Text{
			En: `%s: some parsers take this for a boolean; write true or false, or put it in quotes: "%[1]s"`,
			Es: `%s: algunos analizadores lo toman por un booleano; escriba true o false, o póngalo entre comillas: "%[1]s"`,
		}, n.Value)
	case base60.MatchString(n.Value):
		r.wrong(r.pos(n), lang.Text{
			En: `%s: some parsers take this for a number to base 60; put it in quotes: "%[1]s"`,
			Es: `%s: algunos analizadores lo toman por un número en base 60; póngalo entre comillas: "%[1]s"`,
		}, n.Value)
	}
}

// keys wants each key of a mapping to be a text and to stand there once.
func (r *reader) keys(n *yaml.Node) {
	seen := map[string]Pos{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		switch first, twice := seen[k.Value]; {
		case k.Kind == yaml.ScalarNode && k.Tag == "!!merge":
			r.wrong(r.pos(k), lang.Text{En: "<<: merge keys are not taken; write the keys out", Es: "<<: no se aceptan claves de mezcla; escriba las claves"})
		case k.Kind != yaml.ScalarNode || k.Tag == "!!null":
			r.wrong(r.pos(k), lang.Text{En: "a key must be a word", Es: "una clave debe ser una palabra"})
		case twice:
			r.wrong(r.pos(k), lang.Text{
				En: "%s stands here a second time, first in line %d; keep one", Es: "%s está aquí por segunda vez, la primera en la línea %d; deje una",
			}, k.Value, first.Line)
		default:
			seen[k.Value] = r.pos(k)
		}
	}
}
