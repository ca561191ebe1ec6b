package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
	"golang.org/x/tools/txtar"

	"casco/lang"
	"casco/signed"
)

var update = flag.Bool("update", false, "write the files that hold what is wanted")

func examples(t testing.TB, name string) []txtar.File {
	t.Helper()
	ar, err := txtar.ParseFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return ar.Files
}

// taken parses one document, which may be of any kind.
func taken(name string, b []byte) []Problem {
	files := map[string][]byte{"doc.yaml": b, "cosign.pub": nil}
	if !bytes.Contains(b, []byte("kind: Policy")) && !bytes.Contains(b, []byte("kind: [")) {
		files["zz.yaml"] = []byte("apiVersion: casco/v1\nkind: Policy\nmetadata: {name: x, version: 1}\n")
	}
	_, ps := ParseFolder(files)
	return ps
}

func TestAccept(t *testing.T) {
	for _, f := range examples(t, "accept.txt") {
		if ps := taken(f.Name, f.Data); len(ps) > 0 {
			t.Errorf("%s: %s", f.Name, printed(ps))
		}
		crlf := bytes.ReplaceAll(f.Data, []byte("\n"), []byte("\r\n"))
		if ps := taken(f.Name, crlf); len(ps) > 0 {
			t.Errorf("%s with CRLF: %s", f.Name, printed(ps))
		}
	}
}

func printed(ps []Problem) string {
	var b strings.Builder
	for _, p := range ps {
		fmt.Fprintf(&b, "\n\t%s\n\t%s", p.In(lang.English), p.In(lang.Spanish))
	}
	return b.String()
}

var wanted = regexp.MustCompile(`(?m)^# ([0-9]+:[0-9]+) (.*?)( \(beyond\))?$`)

// TestRefuse wants of each bad document all its problems, each at its place.
func TestRefuse(t *testing.T) {
	for _, f := range examples(t, "refuse.txt") {
		want := wanted.FindAllStringSubmatch(string(f.Data), -1)
		ps := taken(f.Name, f.Data)
		ok := len(ps) == len(want) && len(want) > 0
		for i, p := range ps {
			ok = ok && strings.HasPrefix(p.In(lang.English), "doc.yaml:"+want[i][1]+": ") && strings.Contains(p.Text.En, want[i][2]) &&
				p.Severity == Error && !p.Text.Empty()
		}
		if !ok {
			t.Errorf("%s: got %s\nwant %q", f.Name, printed(ps), want)
		}
	}
}

// TestRefuseBytes is for what an archive of texts cannot hold.
func TestRefuseBytes(t *testing.T) {
	const head = "apiVersion: casco/v1\nkind: Policy\nmetadata: {name: x, version: 1}\n"
	utf16 := []byte{0xff, 0xfe}
	for _, c := range head {
		utf16 = append(utf16, byte(c), 0)
	}
	var keys strings.Builder
	keys.WriteString(head + "checks:\n")
	for i := range 1_000_000 {
		fmt.Fprintf(&keys, "  c%d: {}\n", i)
	}
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 x\n")
	for i := range 30 {
		fmt.Fprintf(&bomb, "a%d: &a%[1]d [%s]\n", i+1, strings.Repeat(fmt.Sprintf("*a%d,", i), 9))
	}
	for name, tc := range map[string]struct{ in, want string }{
		"nothing":               {"", "there is no document of kind Policy"},
		"comments":              {"# nothing\n---\n", "there is no document of kind Policy"},
		"two":                   {head + "---\n" + head, "doc.yaml:5:1: a second document of kind Policy; the first is in doc.yaml:1:1"},
		"exception inside":      {head + "---\napiVersion: casco/v1\nkind: Exception\n", "doc.yaml:5:1: an exception stands in a file of its own"},
		"byte order mark":       {"\ufeff" + head, "doc.yaml:1:1: not UTF-8"},
		"UTF-16":                {string(utf16), "doc.yaml:1:1: not UTF-8"},
		"Latin-1":               {head + "#\xf1\n", "doc.yaml:4:2: not UTF-8"},
		"NUL":                   {head + "#\x00\n", "doc.yaml:4:2: the character U+0000"},
		"lone CR":               {head + "#\rlimits: {}\n", "doc.yaml:4:2: the character U+000D"},
		"line separator":        {head + "# x\u2028limits: {}\n", "doc.yaml:4:4: the character U+2028"},
		"direction":             {head + "# \u202e\n", "doc.yaml:4:3: the character U+202E"},
		"no width":              {"apiVersion: casco/v1\nkind: Pol\u200bicy\n", "doc.yaml:2:10: the character U+200B"},
		"directive":             {"%YAML 1.1\n---\n" + head, "doc.yaml:1:1: a line may not begin with %"},
		"deep":                  {head + "x: " + strings.Repeat("[", 2000) + strings.Repeat("]", 2000), "nested deeper than 40"},
		"very deep":             {head + "x: " + strings.Repeat("[", 300_000), "not YAML"},
		"very deep maps":        {head + "x: " + strings.Repeat("{a: ", 200_000), "not YAML"},
		"a million keys":        {keys.String(), "larger than 1048576 bytes"},
		"all that fit":          {keys.String()[:strings.LastIndex(keys.String()[:maxFile], "\n")], "there are more problems than these"},
		"aliases upon aliases":  {bomb.String(), "anchors are not taken"},
		"one after a bad other": {"a: [\n", "not YAML"},
	} {
		begun := time.Now()
		p, ps := ParseFile("doc.yaml", []byte(tc.in))
		if p != nil || !Refused(ps) || !strings.Contains(printed(ps), tc.want) || len(ps) > maxProblems+1 {
			t.Errorf("%s: %d problems, want %q: %.2000s", name, len(ps), tc.want, printed(ps))
		}
		if took := time.Since(begun); took > 20*time.Second { // a shared machine under load
			t.Errorf("%s: took %v", name, took)
		}
	}
	many := map[string][]byte{"policy.yaml": []byte(head)}
	for i := range maxFiles {
		many[fmt.Sprintf("f%d", i)] = nil
	}
	if _, ps := ParseFolder(many); !strings.Contains(printed(ps), "more than 1000 files") {
		t.Error(printed(ps))
	}
	if _, ps := ParseFile("full.yaml", fullBytes(t)); len(ps) != 1 || !strings.Contains(printed(ps), "full.yaml:54:10: there is no file cosign.pub") {
		t.Error(printed(ps))
	}
	if _, ps := ParseFolder(map[string][]byte{"policy.yaml": []byte(head), "../x": nil}); !strings.Contains(printed(ps), "../x: a file of a policy") {
		t.Error(printed(ps))
	}
}

// TestFull reads values as they are written, and knows where each stands.
func TestFull(t *testing.T) {
	p := full(t)
	yes, no := true, false
	for _, c := range []struct{ got, want any }{
		{p.Metadata.Effective.String(), "2026-12-01"},
		{p.People[3], Person{ID: "ro1", Roles: []Role{RiskOwner, Approver, Steward}, Keys: []string{key(t, 4).Key().String() + " token"}}},
		{p.Tiers[2], Tier{ID: "restricted", Impact: 1, Es: "restringido", Networks: []string{"data"}}},
		{p.Assign[0].Match, Match{ComposeService: "web|proxy", ComposeProject: "shop"}},
		{p.Assign[2], Assign{Default: "internal"}},
		{p.Runtime.Default.Memory, Bytes(512 << 20)},
		{p.Runtime.Tiers["restricted"].Memory, Bytes(1 << 30)},
		{p.Runtime.Default.NoNewPrivileges, &yes},
		{p.Checks["container-restart"], Tailoring{Applicable: &no, Because: "Swarm restarts services"}},
		{p.SLA.Defer, 180 * day},
		{p.Changes.Normal.Window, Window{To: minutesOfDay}},
		{p.Changes.Standard.Window, Window{Days: []time.Weekday{time.Tuesday, time.Thursday}, From: 120, To: 240, Zone: "America/La_Paz"}},
		{p.Images.FailOn, FailOn{KEV: true, EPSS: 0.1, FixedAvailable: true}},
		{p.Lines["sla.immediate"], Pos{"full.yaml", 79, 7}},
		{p.Lines["checks.container-restart"], Pos{"full.yaml", 78, 3}},
		{p.Lines["people.1"], Pos{"full.yaml", 10, 5}},
		{p.Lines["host.packages.forbid.1"], Pos{"full.yaml", 40, 52}},
		{p.Lines["assign.0.match.compose.service"], Pos{"full.yaml", 29, 14}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Error(diff)
		}
	}
	least := examples(t, "accept.txt")[1].Data
	sum := sha256.Sum256(least)
	if q, _ := ParseFile("least.yaml", least); q.Digest != hex.EncodeToString(sum[:]) || !bytes.Equal(q.Message, least) {
		t.Error("what is signed is not the file")
	}
}

func fullBytes(t testing.TB) []byte { t.Helper(); return examples(t, "accept.txt")[0].Data }

func full(t testing.TB) *Policy {
	t.Helper()
	p, ps := ParseFolder(map[string][]byte{"full.yaml": fullBytes(t), "cosign.pub": []byte("key\n")})
	if p == nil {
		t.Fatal(printed(ps))
	}
	return p
}

// TestComplete: what a policy leaves out is as it is without one; what it says
// stands, also where it says no.
func TestComplete(t *testing.T) {
	least, _ := ParseFile("p.yaml", examples(t, "accept.txt")[1].Data)
	b := Builtin()
	b.Metadata, b.Lines, b.Files, b.Digest, b.Message = least.Metadata, least.Lines, least.Files, least.Digest, least.Message
	if diff := cmp.Diff(b, least); diff != "" {
		t.Error(diff)
	}
	p := full(t)
	if p.Changes.Normal.AuthorMayApprove || p.Exceptions.RequesterMayApprove || p.Changes.Normal.Approvals != 2 || len(p.Tiers) != 3 {
		t.Errorf("%+v", p.Changes.Normal)
	}
	q, _ := ParseFile("p.yaml", []byte(header+"exceptions: {may_never_except: [], requester_may_approve: false}\nsla: {defer: 10d}\n"+persons(t)))
	if len(q.Exceptions.MayNeverExcept) != 0 || q.SLA != (SLA{3 * day, 14 * day, 30 * day, 10 * day}) || q.Changes.Normal.AuthorMayApprove {
		t.Errorf("%+v", q)
	}
}

// TestFolder reads a policy of many files. Its manifest is what sha256sum
// prints of them; exceptions are not in it, for they are signed by themselves.
func TestFolder(t *testing.T) {
	files := map[string][]byte{"cosign.pub": []byte("key\n"), "README.md": nil, "policy.sig": []byte("x"), "EX-1.yaml.sig": []byte("rubbish")}
	for name, from := range map[string]string{"policy.yaml": "full.yaml", "exceptions/EX-1.yaml": "exception.yaml", "own.yml": "check.yaml", "answers.yaml": "answer.yaml"} {
		for _, f := range examples(t, "accept.txt") {
			if f.Name == from {
				files[name] = f.Data
			}
		}
	}
	sign := func(n byte) []byte {
		t.Helper()
		sig, err := key(t, n).Sign(signed.Exception, files["exceptions/EX-1.yaml"])
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	files["exceptions/EX-1.yaml.sig"], files["exceptions/EX-1.yaml.x.sig"] = sign(4), sign(9)
	p, ps := ParseFolder(files)
	if p == nil || len(ps) > 0 {
		t.Fatal(printed(ps))
	}
	var want strings.Builder
	for _, name := range []string{"README.md", "answers.yaml", "cosign.pub", "own.yml", "policy.yaml"} {
		fmt.Fprintf(&want, "%x  %s\n", sha256.Sum256(files[name]), name)
	}
	if string(p.Message) != want.String() {
		t.Errorf("manifest:\n%s", cmp.Diff(want.String(), string(p.Message)))
	}
	e := p.Granted[0]
	if diff := cmp.Diff([]Signature{{"ro1", key(t, 4).Key().Fingerprint()}, {"", key(t, 9).Key().Fingerprint()}}, e.Signatures); diff != "" {
		t.Error(diff)
	}
	if e.Reason != "El proxy debe\nescuchar en 443\n" || e.Pos != (Pos{"exceptions/EX-1.yaml", 1, 1}) || !e.Expires.End().Equal(at(t, "2027-05-01T18:00:00Z")) {
		t.Errorf("%+v", e)
	}
	if p.Lines["granted.0.expires"].Line != 16 || p.Own[0].Pos.File != "own.yml" || p.Answers[0].By != "op1" {
		t.Errorf("%v %v %v", p.Lines["granted.0.expires"], p.Own, p.Answers)
	}
	if n := p.Own[0].Examples[0].Fields["Config"].(map[string]any)["Labels"].(map[string]any)["num"]; n != json.Number("5") {
		t.Errorf("numbers of examples are those of objects: %T", n)
	}

	again := map[string][]byte{"exceptions/EX-2.yaml": files["exceptions/EX-1.yaml"]}
	for name, b := range files {
		again[name] = b
	}
	if q, _ := ParseFolder(again); q.Digest != p.Digest {
		t.Error("an exception more is another policy")
	}
	again["cosign.pub"] = []byte("other\n")
	if q, _ := ParseFolder(again); q.Digest == p.Digest {
		t.Error("another key of a registry is the same policy")
	}
	files["exceptions/EX-1.yaml.sig"] = bytes.Replace(sign(4), []byte("U1NI"), []byte("U1NJ"), 1)
	if _, ps := ParseFolder(files); len(ps) != 1 || ps[0].Severity != Warning || ps[0].Pos.File != "exceptions/EX-1.yaml.sig" {
		t.Error(printed(ps))
	}
}

func TestParseException(t *testing.T) {
	ex := examples(t, "accept.txt")[2]
	e, ps := ParseException("a.yaml", ex.Data)
	if e == nil || e.ID != "EX-2026-014" || !bytes.Equal(e.Bytes, ex.Data) {
		t.Fatal(printed(ps))
	}
	for name, b := range map[string][]byte{"a policy": fullBytes(t), "nothing": nil, "broken": []byte("a: [")} {
		if e, ps := ParseException("a.yaml", b); e != nil || !Refused(ps) {
			t.Errorf("%s was taken for an exception", name)
		}
	}
}

// TestRules wants each rule to be of a key that there is, and to say in both
// languages what is wanted.
func TestRules(t *testing.T) {
	have := map[string]bool{}
	var walk func(reflect.Type)
	walk = func(rt reflect.Type) {
		switch rt.Kind() {
		case reflect.Struct:
			for _, f := range fields(rt) {
				if name := rt.Name() + "." + f.key; !have[name] {
					have[name] = true
					walk(rt.Field(f.index).Type)
				}
			}
		case reflect.Slice, reflect.Map, reflect.Pointer:
			walk(rt.Elem())
		}
	}
	for _, v := range []any{Policy{}, Exception{}, OwnCheck{}, Answer{}} {
		walk(reflect.TypeOf(v))
	}
	for name, r := range rules {
		if !have[name] {
			t.Errorf("there is no key %s", name)
		}
		if r.pattern != "" && r.say.Empty() {
			t.Errorf("%s does not say what is wanted", name)
		}
	}
}

// TestSchema holds the JSON Schema against the parser: both take and refuse the
// same documents, but for what the schema cannot say. The published file is the
// one that the program prints.
func TestSchema(t *testing.T) {
	const file = "../docs/policy.schema.json"
	if *update {
		if err := os.WriteFile(file, Schema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	published, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(published, Schema()) {
		t.Errorf("docs/policy.schema.json is not what casco policy schema prints (%v)", err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(SchemaID, doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(SchemaID)
	if err != nil {
		t.Fatal(err)
	}
	valid := func(b []byte) error {
		var n yaml.Node
		if err := yaml.NewDecoder(bytes.NewReader(b)).Decode(&n); err != nil {
			return nil // the schema has nothing to say
		}
		js, err := json.Marshal(asJSON(t, n.Content[0]))
		if err != nil {
			return err
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(js))
		if err != nil {
			return err
		}
		return schema.Validate(v)
	}
	for _, f := range examples(t, "accept.txt") {
		if err := valid(f.Data); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
	agreed := 0
	for _, f := range examples(t, "refuse.txt") {
		beyond := slices.ContainsFunc(wanted.FindAllStringSubmatch(string(f.Data), -1), func(m []string) bool { return m[3] != "" })
		if (valid(f.Data) == nil) != beyond {
			t.Errorf("%s: the schema says %v, marked as beyond it: %v", f.Name, valid(f.Data), beyond)
		}
		if !beyond {
			agreed++
		}
	}
	if agreed < 25 {
		t.Errorf("only %d documents were held against both", agreed)
	}
}

// asJSON gives the JSON that a program makes of a document before it holds it
// against the schema: a date is its text.
func asJSON(t *testing.T, n *yaml.Node) any {
	t.Helper()
	switch n.Kind {
	case yaml.AliasNode:
		return asJSON(t, n.Alias)
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = asJSON(t, n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		l := []any{}
		for _, c := range n.Content {
			l = append(l, asJSON(t, c))
		}
		return l
	}
	if n.Tag == "!!timestamp" {
		return n.Value
	}
	var v any
	if err := n.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// FuzzParse reads anything without falling over, says each problem in both
// languages at a place, and takes the same bytes for the same policy.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"accept.txt", "refuse.txt"} {
		for _, e := range examples(f, name) {
			f.Add(e.Data)
		}
	}
	f.Add([]byte("a: &a [*a,*a]\n"))
	f.Add([]byte("{{{{{{{{"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ps := ParseFile("p.yaml", b)
		if (p == nil) != Refused(ps) {
			t.Fatalf("policy %v with %s", p, printed(ps))
		}
		for _, x := range ps {
			if x.Text.Empty() || x.Pos.Line < 0 || x.Pos.Line > bytes.Count(b, []byte("\n"))+2 {
				t.Errorf("%+v", x)
			}
		}
		if p == nil {
			return
		}
		q, _ := ParseFile("p.yaml", b)
		if diff := cmp.Diff(p, q); diff != "" {
			t.Error(diff)
		}
	})
}
