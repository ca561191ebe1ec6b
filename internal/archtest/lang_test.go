package archtest

import (
	"go/ast"
	"go/parser"
	"strings"
	"testing"
)

// TestBothLanguages finds every lang.Text literal in the program and wants
// both halves in it, with the same number of format verbs.
func TestBothLanguages(t *testing.T) {
	n := 0
	eachFile(t, parser.SkipObjectResolution, func(_, path string, f *ast.File) {
		ast.Inspect(f, func(node ast.Node) bool {
			lit, ok := node.(*ast.CompositeLit)
			if !ok || len(lit.Elts) == 0 {
				return true
			}
			halves := map[string]ast.Expr{}
			for _, e := range lit.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok {
					if k, ok := kv.Key.(*ast.Ident); ok {
						halves[k.Name] = kv.Value
					}
				}
			}
			en, es := halves["En"], halves["Es"]
			if en == nil && es == nil {
				return true
			}
			n++
			if en == nil || es == nil {
				t.Errorf("%s: a text in one language only: %v%v", path, text(en), text(es))
				return true
			}
			if a, b := text(en), text(es); (a == "") != (b == "") || strings.Count(a, "%") != strings.Count(b, "%") {
				t.Errorf("%s: the two languages do not fit each other:\n\t%s\n\t%s", path, a, b)
			}
			return true
		})
	})
	if n < 100 {
		t.Errorf("found only %d texts: the test does not see them", n)
	}
}

// text is the literal text of an expression, "?" if it is not a literal.
func text(e ast.Expr) string {
	switch e := e.(type) {
	case nil:
		return ""
	case *ast.BasicLit:
		return e.Value
	case *ast.BinaryExpr:
		return text(e.X) + text(e.Y)
	}
	return "?"
}
