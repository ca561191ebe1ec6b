package own

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/policy"
)

const policyText = "apiVersion: casco/v1\nkind: Policy\nmetadata: {name: x, version: 1}\n"

// doc is a document of kind Check; its expression stands in line 9.
func doc(more, pass, examples string) string {
	return `apiVersion: casco/v1
kind: Check
id: org-x
object: container
title: {en: Title, es: Título}
why: {en: Why, es: Por qué}
remedy: {en: Remedy, es: Remedio}
severity: high
` + pass + "\nexamples:\n" + examples + more
}

const passFail = "  - {verdict: pass, fields: {A: {b: 1}, L: [], S: x}}\n  - {verdict: fail, fields: {A: {b: 2}, L: [], S: x}}\n"

func parse(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, ps := policy.ParseFolder(map[string][]byte{"policy.yaml": []byte(policyText), "own.yaml": []byte(text)})
	if p == nil {
		t.Fatal(text, ps)
	}
	return p
}

func TestCheck(t *testing.T) {
	checks, ps := All(parse(t, doc("controls: [iso-27001-2022 A.8.9]\ndomains: [operations]\nwhen: State.Running\n",
		`pass: size(HostConfig.CapAdd) == 0 && HostConfig.Memory <= 512 * 1024 && !name.startsWith("tmp") && Config.Labels["org.owner"] != ""`,
		`  - {verdict: pass, fields: {State: {Running: true}, HostConfig: {CapAdd: [], Memory: 5}, Config: {Labels: {"org.owner": me}}}}
  - {verdict: fail, fields: {State: {Running: true}, HostConfig: {CapAdd: [A], Memory: 5}, Config: {Labels: {"org.owner": me}}}}
  - {verdict: unknown, fields: {State: {Running: true}, HostConfig: {Memory: 5}, Config: {Labels: {}}}}
  - {verdict: not-applicable, fields: {State: {Running: false}}}
`)))
	if len(ps) > 0 || len(checks) != 1 {
		t.Fatal(ps)
	}
	c := checks[0]
	if c.ID != "org-x" || c.Severity != audit.High || c.Kind != inventory.Container || c.Title.Es != "Título" || c.From != "own.yaml:1:1" ||
		c.Domains[0] != audit.Operations || c.Controls[0] != (audit.Control{Framework: "iso-27001-2022", Number: "A.8.9"}) {
		t.Errorf("%+v", c)
	}
	o := &inventory.Object{Ref: inventory.Ref{Kind: inventory.Container, Name: "web"}, Source: "GET /x", Fields: map[string]any{
		"State":      map[string]any{"Running": true},
		"HostConfig": map[string]any{"CapAdd": []any{}, "Memory": json.Number("524289")},
		"Config":     map[string]any{"Labels": map[string]any{"org.owner": "me"}},
	}}
	a := c.Eval(nil, o)
	var fields []string
	for _, f := range a.Evidence {
		fields = append(fields, f.Field)
		if f.Source != "GET /x" || f.Err != "" {
			t.Errorf("%+v", f)
		}
	}
	if d := cmp.Diff([]string{"HostConfig.CapAdd", "HostConfig.Memory", "name", "Config.Labels.org.owner"}, fields); a.Verdict != audit.Fail || d != "" {
		t.Errorf("%v %s", a, d)
	}
	delete(o.Fields, "Config")
	o.Unread = map[string]string{"Config": "permission denied"}
	if a := c.Eval(nil, o); a.Verdict != audit.Unknown || !strings.Contains(a.Reason.En, "permission denied") {
		t.Errorf("%+v", a)
	}
}

// TestRefuse says of each bad check what is wrong, at the place in the file.
func TestRefuse(t *testing.T) {
	for name, tc := range map[string]struct{ doc, want string }{
		"syntax":              {doc("", "pass: A.b ==", passFail), "own.yaml:9:13: in the expression: Syntax error"},
		"syntax in quotes":    {doc("", `pass: "A.b == 1 +* 2"`, passFail), "own.yaml:9:18: in the expression: Syntax error"},
		"syntax in a block":   {doc("", "pass: |\n    A.b == 1 &&\n    A.b +* 2 == 3", passFail), "own.yaml:11:10: in the expression: Syntax error"},
		"types":               {doc("", "pass: A.b == 1 && 'x' + 1 == 2", passFail), "own.yaml:9:23: in the expression: found no matching overload for '_+_'"},
		"no function":         {doc("", "pass: nosuch(A.b)", passFail), "own.yaml:9:13: in the expression: undeclared reference to 'nosuch'"},
		"no boolean":          {doc("", "pass: size(L)", passFail), "own.yaml:9:1: the expression gives int; it must be true or false"},
		"no field":            {doc("", `pass: "true"`, passFail), "own.yaml:9:1: the expression looks at no field"},
		"a bound name only":   {doc("", `pass: "[1].exists(x, x == 1)"`, passFail), "looks at no field"},
		"when":                {doc("when: A +\n", "pass: A.b == 1", passFail), "own.yaml:13:10: in the expression"},
		"catalogue":           {doc("controls: [iso-27001-2099 A.8.9]\n", "pass: A.b == 1", passFail), "own.yaml:13:12: there is no catalogue iso-27001-2099"},
		"number":              {doc("controls: [iso-27001-2022 A.99]\n", "pass: A.b == 1", passFail), "own.yaml:13:12: iso-27001-2022 has no A.99"},
		"example":             {doc("", "pass: A.b == 3", passFail), "own.yaml:11:5: the example must be pass and is fail"},
		"misspelt field":      {doc("", "pass: A.bb == 1", passFail), "the example must be pass and is unknown (A.bb: absent)"},
		"misspelt root":       {doc("", "pass: AA.b == 1", passFail), "the example must be pass and is unknown (AA.b: absent)"},
		"no failing example":  {doc("", "pass: A.b == 1", strings.Split(passFail, "\n")[0]+"\n"+strings.Split(passFail, "\n")[0]+"\n"), "own.yaml:10:1: no example is fail"},
		"not true nor false":  {doc("", "pass: S", passFail), "the example must be pass and is unknown (the expression could not be told: it gives string, which is neither true nor false)"},
		"too long":            {doc("", "pass: A.b == 1 && "+strings.Repeat("A.b == 1 && ", 400)+"A.b == 1", passFail), "in the expression: expression code point size exceeds limit"},
		"too deep":            {doc("", "pass: "+strings.Repeat("(", 1000)+"A.b"+strings.Repeat(")", 1000), passFail), "in the expression"},
		"costs too much":      {doc("", "pass: \"R.all(a, R.all(b, R.all(c, R.all(d, R.all(e, a + b + c + d + e >= 0)))))\"", bigExample()), "operation cancelled: actual cost limit exceeded"},
		"has() of nothing":    {doc("", "pass: has(A.x.c)", passFail), "the example must be pass and is unknown (A.x.c: absent)"},
		"reaches for no file": {doc("", "pass: readFile(A.b) == ''", passFail), "undeclared reference to 'readFile'"},
	} {
		checks, ps := All(parse(t, tc.doc))
		var got strings.Builder
		for _, p := range ps {
			fmt.Fprintf(&got, "%s: %s\n", p.Pos, p.Text.En)
			if p.Text.Empty() || p.Severity != policy.Error || p.Pos.Line == 0 {
				t.Errorf("%s: %+v", name, p)
			}
		}
		if len(checks) > 0 || !strings.Contains(got.String(), tc.want) {
			t.Errorf("%s: want %q, got\n%s", name, tc.want, got.String())
		}
	}
}

// bigExample has a list on which five loops in one another never end.
func bigExample() string {
	list := "[" + strings.Repeat("1, ", 99) + "1]"
	return "  - {verdict: pass, fields: {R: " + list + "}}\n  - {verdict: fail, fields: {R: [-1]}}\n"
}

// TestCost: an expression that costs too much ends soon, as unknown.
func TestCost(t *testing.T) {
	begun := time.Now()
	All(parse(t, doc("", "pass: \"R.all(a, R.all(b, R.all(c, R.all(d, R.all(e, a + b + c + d + e >= 0)))))\"", bigExample())))
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestPaths(t *testing.T) {
	m := maker{p: parse(t, doc("", "pass: A.b == 1", passFail))}
	for expr, want := range map[string][]string{
		"A.b == 1":                                     {"A.b"},
		"has(A.b) && A['c-d'].e == 'x'":                {"A.b", "A.c-d.e"},
		"L.exists(x, x.n == A.b)":                      {"L", "A.b"},
		"L.all(x, M.exists(y, x == y && name == 'a'))": {"L", "M", "name"},
		"A[B] == 1":                                    {"A", "B"},
		"type(A) == map":                               {"A"},
		"L.filter(x, x > 1).map(x, x * 2).size() > A":  {"L", "A"},
		"A.b in [1, C.d] ? {'k': D.e}['k'] : F":        {"A.b", "C.d", "D.e", "F"},
	} {
		x := m.compile("pass", expr, policy.Pos{})
		if x == nil {
			t.Errorf("%s: %v", expr, m.problems)
			m.problems = nil
			continue
		}
		if d := cmp.Diff(want, x.paths); d != "" {
			t.Errorf("%s: %s", expr, d)
		}
	}
}

// FuzzCompile compiles anything and evaluates what is good, without falling over.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{"A.b == 1", "has(A.b)", "L.exists(x, x == A)", "A.b.matches('(a+)+$')", "timestamp(A.b) < timestamp('2026-01-01T00:00:00Z')", "name == ''", "{1: A}[1]", "@x"} {
		f.Add(s)
	}
	p := parse(f, doc("", "pass: A.b == 1", passFail))
	o := &inventory.Object{Ref: inventory.Ref{Kind: inventory.Container, Name: "x"}, Fields: map[string]any{
		"A": map[string]any{"b": json.Number("1")}, "L": []any{"x", json.Number("2"), nil}, "S": "s", "B": true, "N": nil,
	}}
	f.Fuzz(func(t *testing.T, expr string) {
		m := maker{p: p, path: "own.0"}
		if x := m.compile("pass", expr, policy.Pos{Line: 1, Col: 1}); x != nil {
			if a := judge(nil, x, o); len(a.Evidence) == 0 || a.Verdict == audit.Unknown && a.Reason.Empty() {
				t.Errorf("%q: %+v", expr, a)
			}
		} else if m.problems == nil {
			t.Errorf("%q is no expression, and nothing is wrong with it", expr)
		}
	})
}

// TestManual: the check that the manual shows is in order.
func TestManual(t *testing.T) {
	for _, l := range []string{"en", "es"} {
		b, err := os.ReadFile("../../../docs/" + l + "/manual.md")
		if err != nil {
			t.Fatal(err)
		}
		example := ""
		for _, rest := range strings.Split(string(b), "```yaml\n")[1:] {
			if block, _, _ := strings.Cut(rest, "```"); strings.Contains(block, "kind: Check") {
				example = block
			}
		}
		if example == "" {
			t.Fatalf("%s: there is no example", l)
		}
		if checks, ps := All(parse(t, example)); len(checks) != 1 {
			t.Errorf("%s: %v", l, ps)
		}
	}
}
