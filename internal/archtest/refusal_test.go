package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// speaking are the places whose errors reach the person who runs casco as its
// own words: what they refuse, they refuse in both languages. Under host/ those
// are the hands; what the readers say of the machine is evidence.
var speaking = []string{
	"cmd/casco/", "guard/admission/", "loop/", "policy/", "signed/", "state/", "report/", "lab/", "internal/atomicfile/",
	"host/auditrules/", "host/compose/", "host/daemonjson/", "host/file/hand.go", "host/gate/gate.go", "host/gate/serve.go", "host/gate/watch.go", "host/swarm/", "host/sysctl/hand.go",
	"host/docker/client.go", "host/docker/dial.go", "host/docker/gate.go", "host/docker/parked.go", "host/docker/recreate.go",
	"host/docker/transaction.go", "host/docker/update.go",
}

// aside are places under them that talk to programs, not to people.
var aside = []string{"lab/actor/", "lab/probe/", "loop/audit/frameworks/"}

// notWords are parts of a format that are the same in every language: verbs,
// refs, numbers and what stands for a path.
var notWords = regexp.MustCompile(`%[-+# 0-9.\[\]]*[a-zA-Z]|\b[a-z]+/|https?://`)

var words = regexp.MustCompile(`\pL{2,}`)

// TestRefusals finds an error that is made with words of one language.
func TestRefusals(t *testing.T) {
	seen := 0
	eachFile(t, parser.SkipObjectResolution, func(_, path string, f *ast.File) {
		in := func(place string) bool { return strings.HasPrefix(path, root+"/"+place) }
		if strings.HasSuffix(path, "_test.go") || slices.ContainsFunc(aside, in) || !slices.ContainsFunc(speaking, in) {
			return
		}
		ast.Inspect(f, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			switch name := called(call); name {
			case "lang.Errorf":
				seen++
			case "errors.New", "fmt.Errorf":
				if said := literal(call.Args[0]); words.MatchString(notWords.ReplaceAllString(said, "")) {
					t.Errorf("%s: %s(%q) speaks one language: lang.Errorf speaks both", path, name, said)
				}
			}
			return true
		})
	})
	if seen < 50 {
		t.Errorf("found only %d errors in both languages: the test does not see them", seen)
	}
}

// called is "errors.New" for a call of that function, "" for other shapes.
func called(call *ast.CallExpr) string {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	pkg, ok := sel.X.(*ast.Ident)
	if !ok {
		return ""
	}
	return pkg.Name + "." + sel.Sel.Name
}

// literal is the text of a string literal, or of several that are added.
func literal(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return s
		}
	case *ast.BinaryExpr:
		return literal(e.X) + literal(e.Y)
	}
	return ""
}
