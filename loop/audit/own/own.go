// Package own makes checks of what an organisation wrote in its policy folder:
// texts, one expression over an object's fields, and examples.
//
// The expression is CEL (https://cel.dev): it has no loops without end, no
// input and no output, and its cost is bounded. The names in it are the
// object's own fields, as its source gave them: State.Running,
// HostConfig.CapAdd. A field that the object lacks makes the answer Unknown,
// never a pass; whoever means "absent or false" writes so with has().
//
// The examples of a check are its test: they are run whenever it is made, and
// a check that does not answer them as it says is not made.
package own

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/ext"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/audit/frameworks"
	"casco/loop/inventory"
	"casco/policy"
)

// Bounds of an expression.
const (
	maxExpression = 4096    // code points
	maxCost       = 500_000 // of one evaluation: a scan of a list of 1,000 costs a few thousand
	maxEvidence   = 12      // facts shown of one object
)

// All makes the checks of p. Of each that is in order it returns the check, of
// the others what is wrong with them.
func All(p *policy.Policy) ([]*audit.Check, []policy.Problem) {
	var checks []*audit.Check
	var problems []policy.Problem
	for i := range p.Own {
		m := maker{p: p, path: fmt.Sprintf("own.%d", i), from: p.Own[i]}
		if c := m.make(); m.problems == nil {
			checks = append(checks, c)
		}
		problems = append(problems, m.problems...)
	}
	return checks, problems
}

// A maker makes one check.
type maker struct {
	p        *policy.Policy
	path     string
	from     policy.OwnCheck
	problems []policy.Problem
}

func (m *maker) wrong(key string, t lang.Text, args ...any) {
	m.problems = append(m.problems, policy.Problem{Pos: m.p.Where(m.path + "." + key), Severity: policy.Error, Text: t.F(args...)})
}

func (m *maker) make() *audit.Check {
	o := m.from
	c := &audit.Check{
		ID: o.ID, Kind: inventory.Kind(o.Kind),
		Title: lang.Text(o.Title), Why: lang.Text(o.Why), Remedy: lang.Text(o.Remedy),
		Controls: m.controls(), Domains: domains(o.Domains), From: m.p.Where(m.path).String(),
	}
	c.Severity, _ = audit.ParseSeverity(o.Severity) // the parser took no other word
	pass := m.compile("pass", o.Pass, o.PassAt)
	var when *expression
	if o.When != "" {
		when = m.compile("when", o.When, o.WhenAt)
	}
	if m.problems != nil {
		return nil
	}
	c.Eval = func(_ *inventory.Snapshot, obj *inventory.Object) audit.Answer { return judge(when, pass, obj) }
	m.examples(c)
	return c
}

func domains(words []string) []audit.Domain {
	if len(words) == 0 {
		return []audit.Domain{audit.Security}
	}
	var ds []audit.Domain
	for _, w := range words {
		ds = append(ds, audit.Domain(w))
	}
	return ds
}

func (m *maker) controls() []audit.Control {
	cs := []audit.Control{}
	for i, s := range m.from.Controls {
		name, number, _ := strings.Cut(s, " ")
		f := frameworks.All()[name]
		if f == nil {
			m.wrong(fmt.Sprintf("controls.%d", i), lang.Text{En: "there is no catalogue %s", Es: "no hay catálogo %s"}, name)
		} else if _, ok := f.Find(number); !ok {
			m.wrong(fmt.Sprintf("controls.%d", i), lang.Text{En: "%s has no %s", Es: "%s no tiene %s"}, name, number)
		}
		cs = append(cs, audit.Control{Framework: name, Number: number})
	}
	return cs
}

// An expression is CEL that has been found good.
type expression struct {
	program cel.Program
	roots   []string // top-level fields that it looks at
	paths   []string // the fields, as deep as it names them
}

// nameWord stands for the object's name in an expression.
const nameWord = "name"

// typeWords are names of types in CEL (langdef.md, "Values"), which no field
// has.
var typeWords = []string{"bool", "bytes", "double", "dyn", "int", "list", "map", "null_type", "string", "timestamp", "duration", "type", "uint", nameWord}

func (m *maker) compile(key, text string, at policy.Pos) *expression {
	env, err := cel.NewEnv(ext.Strings(ext.StringsVersion(4)), cel.ParserExpressionSizeLimit(maxExpression), cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true), cel.Variable(nameWord, cel.StringType))
	if err != nil {
		panic(err) // options that do not depend on input
	}
	parsed, issues := env.Parse(text)
	if issues.Err() != nil {
		m.issues(at, issues)
		return nil
	}
	x := &expression{}
	x.look(parsed.NativeRep().Expr(), nil)
	var fields []cel.EnvOption
	for _, r := range x.roots {
		fields = append(fields, cel.Variable(r, cel.DynType))
	}
	if env, err = env.Extend(fields...); err != nil {
		m.wrong(key, lang.Text{En: "%v", Es: "%v"}, err)
		return nil
	}
	checked, issues := env.Check(parsed)
	if issues.Err() != nil {
		m.issues(at, issues)
		return nil
	}
	if t := checked.OutputType(); t != cel.BoolType && t != cel.DynType {
		m.wrong(key, lang.Text{En: "the expression gives %s; it must be true or false", Es: "la expresión da %s; debe ser true o false"}, t)
		return nil
	}
	if len(x.paths) == 0 {
		m.wrong(key, lang.Text{En: "the expression looks at no field of the object", Es: "la expresión no mira ningún campo del objeto"})
		return nil
	}
	if x.program, err = env.Program(checked, cel.CostLimit(maxCost), cel.EvalOptions(cel.OptOptimize)); err != nil {
		m.wrong(key, lang.Text{En: "%v", Es: "%v"}, err)
		return nil
	}
	return x
}

// issues tells what CEL says, at its place in the file.
func (m *maker) issues(at policy.Pos, issues *cel.Issues) {
	for _, e := range issues.Errors() {
		pos := at
		if l := e.Location.Line(); l > 0 {
			pos.Line += l - 1
			pos.Col += e.Location.Column()
		}
		m.problems = append(m.problems, policy.Problem{Pos: pos, Severity: policy.Error, Text: lang.Text{
			En: "in the expression: %s", Es: "en la expresión: %s",
		}.F(e.Message)})
	}
}

// look gathers the fields that e names. Bound are the names that a macro such
// as exists() gives to the elements of a list.
func (x *expression) look(e ast.Expr, bound []string) {
	if path, ok := pathOf(e); ok {
		root, _, _ := strings.Cut(path, ".")
		if !slices.Contains(bound, root) && !strings.HasPrefix(root, "@") {
			x.add(root, path)
		}
		return
	}
	switch e.Kind() {
	case ast.SelectKind:
		x.look(e.AsSelect().Operand(), bound)
	case ast.CallKind:
		c := e.AsCall()
		if c.IsMemberFunction() {
			x.look(c.Target(), bound)
		}
		for _, a := range c.Args() {
			x.look(a, bound)
		}
	case ast.ListKind:
		for _, el := range e.AsList().Elements() {
			x.look(el, bound)
		}
	case ast.MapKind:
		for _, en := range e.AsMap().Entries() {
			x.look(en.AsMapEntry().Key(), bound)
			x.look(en.AsMapEntry().Value(), bound)
		}
	case ast.StructKind:
		for _, f := range e.AsStruct().Fields() {
			x.look(f.AsStructField().Value(), bound)
		}
	case ast.ComprehensionKind:
		c := e.AsComprehension()
		x.look(c.IterRange(), bound)
		inner := append(slices.Clone(bound), c.IterVar(), c.AccuVar())
		if c.HasIterVar2() {
			inner = append(inner, c.IterVar2())
		}
		x.look(c.AccuInit(), bound)
		for _, part := range []ast.Expr{c.LoopCondition(), c.LoopStep(), c.Result()} {
			x.look(part, inner)
		}
	}
}

func (x *expression) add(root, path string) {
	if slices.Contains(typeWords, root) && root != nameWord {
		return
	}
	if root != nameWord && !slices.Contains(x.roots, root) {
		x.roots = append(x.roots, root)
	}
	if !slices.Contains(x.paths, path) {
		x.paths = append(x.paths, path)
	}
}

// pathOf is "A.b.c" of A.b.c, and of A["b"].c.
func pathOf(e ast.Expr) (string, bool) {
	switch e.Kind() {
	case ast.IdentKind:
		return strings.TrimPrefix(e.AsIdent(), "."), true // ".A" is A of the outermost names
	case ast.SelectKind:
		s := e.AsSelect()
		if head, ok := pathOf(s.Operand()); ok {
			return head + "." + s.FieldName(), true
		}
	case ast.CallKind:
		c := e.AsCall()
		if c.FunctionName() != "_[_]" || len(c.Args()) != 2 || c.Args()[1].Kind() != ast.LiteralKind {
			return "", false
		}
		key, isText := c.Args()[1].AsLiteral().Value().(string)
		if head, ok := pathOf(c.Args()[0]); ok && isText {
			return head + "." + key, true
		}
	}
	return "", false
}

// eval says whether x is true of o. An error is why that could not be told.
func (x *expression) eval(o *inventory.Object) (bool, error) {
	vars := map[string]any{nameWord: o.Ref.Name}
	for _, r := range x.roots {
		v, has := o.Fields[r]
		if !has {
			if why := o.Unread[r]; why != "" {
				return false, fmt.Errorf("%s: %s", r, why)
			}
			return false, fmt.Errorf("%s: %s", r, inventory.Absent)
		}
		vars[r] = v
	}
	out, _, err := x.program.Eval(vars)
	if err != nil {
		return false, err
	}
	b, ok := out.Value().(bool)
	if !ok {
		return false, lang.Errorf(lang.Text{En: "it gives %v, which is neither true nor false", Es: "da %v, que no es ni true ni false"}, out.Type())
	}
	return b, nil
}

// facts are what x looks at in o: the evidence.
func (x *expression) facts(o *inventory.Object) []inventory.Fact {
	var fs []inventory.Fact
	for _, p := range x.paths[:min(len(x.paths), maxEvidence)] {
		if p == nameWord {
			fs = append(fs, inventory.Fact{Ref: o.Ref, Field: nameWord, Value: o.Ref.Name, Source: o.Source, Read: o.Read})
			continue
		}
		_, f, _ := inventory.Lookup(o, p)
		fs = append(fs, f)
	}
	return fs
}

func judge(when, pass *expression, o *inventory.Object) audit.Answer {
	untold := func(x *expression, err error) audit.Answer {
		a := audit.Untold(x.facts(o)...)
		if a.Reason.Empty() {
			a = a.Because(lang.Text{
				En: "the expression could not be told: " + lang.Say(err, lang.English), Es: "no se pudo evaluar la expresión: " + lang.Say(err, lang.Spanish),
			})
		}
		return a
	}
	if when != nil {
		applies, err := when.eval(o)
		switch {
		case err != nil:
			return untold(when, err)
		case !applies:
			return audit.Beside(lang.Text{
				En: "the check is for other objects: its expression when is false", Es: "la comprobación es para otros objetos: su expresión when es falsa",
			}, when.facts(o)...)
		}
	}
	good, err := pass.eval(o)
	switch {
	case err != nil:
		return untold(pass, err)
	case good:
		return audit.Good(pass.facts(o)...)
	}
	return audit.Bad(pass.facts(o)...)
}

// examples holds c to what its author says of it.
func (m *maker) examples(c *audit.Check) {
	var got []string
	for i, e := range m.from.Examples {
		key := fmt.Sprintf("examples.%d", i)
		got = append(got, e.Verdict)
		fields, err := plain(e.Fields)
		if err != nil {
			m.wrong(key, lang.Text{En: "%v", Es: "%v"}, err)
			continue
		}
		o := &inventory.Object{Ref: inventory.Ref{Kind: c.Kind, Name: "example"}, Source: "example", Fields: fields}
		if a := c.Eval(nil, o); a.Verdict.String() != e.Verdict {
			m.wrong(key, lang.Text{
				En: "the example must be %[1]s and is %[2]s %[3]s", Es: "el ejemplo debe ser %[1]s y es %[2]s %[4]s",
			}, e.Verdict, a.Verdict, bracket(a.Reason.En), bracket(a.Reason.Es))
		}
	}
	for _, v := range []audit.Verdict{audit.Pass, audit.Fail} {
		if !slices.Contains(got, v.String()) {
			m.wrong("examples", lang.Text{En: "no example is %s: a check must be seen to do both", Es: "ningún ejemplo es %s: hay que ver que la comprobación hace ambas cosas"}, v)
		}
	}
}

func bracket(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}

// plain is what fields are once they were JSON, as an object's are.
func plain(fields map[string]any) (map[string]any, error) {
	b, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	var out map[string]any
	if err := d.Decode(&out); err != nil || out == nil {
		return nil, lang.Errorf(lang.Text{En: "the example has no fields", Es: "el ejemplo no tiene campos"})
	}
	return out, nil
}
