package checks

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"casco/loop/audit"
	"casco/loop/audit/frameworks"
	"casco/loop/inventory"
)

// taken is the time at which the test objects were "read"; checks that judge
// an age count from it.
var taken = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

// TestChecks puts each check to the objects in testdata/ID.txt. The name of an
// object begins with the verdict it must get. A file holds either the fields
// of one object, or {"objects": [{"ref": …, "fields": …}, …]} of which the
// first is judged and the others are the rest of the host. For each fail the
// test then fulfils what the check wants: the verdict must turn to pass.
func TestChecks(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range All() {
		t.Run(c.ID, func(t *testing.T) {
			if seen[c.ID] {
				t.Fatal("two checks have this ID")
			}
			seen[c.ID] = true
			valid(t, c)
			ar, err := txtar.ParseFile(filepath.Join("testdata", c.ID+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range ar.Files {
				want, _, _ := strings.Cut(f.Name, ":")
				got = append(got, want)
				judge(t, c, f, want)
			}
			need := []string{"pass", "fail", "unknown"}
			if slices.Contains(got, "manual") {
				need = []string{"manual"}
			}
			for _, v := range need {
				if !slices.Contains(got, v) {
					t.Errorf("testdata has no object that must get %q", v)
				}
			}
		})
	}
	files, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if id := strings.TrimSuffix(f.Name(), ".txt"); !seen[id] {
			t.Errorf("testdata/%s belongs to no check", f.Name())
		}
	}
}

func judge(t *testing.T, c *audit.Check, f txtar.File, want string) {
	t.Helper()
	s, o := host(t, c, f)
	a := c.Eval(s, o)
	if a.Verdict.String() != want {
		t.Errorf("%s: got %v (%s), evidence %v", f.Name, a.Verdict, a.Reason.En, a.Evidence)
	}
	if len(a.Evidence) == 0 {
		t.Errorf("%s: no evidence", f.Name)
	}
	if (a.Verdict == audit.NotApplicable || a.Verdict == audit.Manual) && a.Reason.Empty() {
		t.Errorf("%s: %v without a reason in both languages", f.Name, a.Verdict)
	}
	if a.Verdict != audit.Fail && len(a.Wants) > 0 {
		t.Errorf("%s: %v wants something", f.Name, a.Verdict)
	}
	if c.Eval(&inventory.Snapshot{Taken: taken}, o); t.Failed() {
		return // above: a lone object must not panic
	}
	for _, w := range a.Wants {
		if w.Ask.Empty() != (w.Ask.En == "" && w.Ask.Es == "") || w.Breaks.Empty() != (w.Breaks.En == "" && w.Breaks.Es == "") {
			t.Errorf("%s: want %s: a text in one language only", f.Name, w.Field)
		}
		if w.Value == nil && w.Op == audit.Set && !w.Ask.Empty() {
			return // a person must say the value; there is nothing to prove
		}
	}
	if len(a.Wants) > 0 {
		cured := audit.Fulfil(s, a.Wants)
		if b := c.Eval(cured, cured.Find(o.Ref)); b.Verdict != audit.Pass {
			t.Errorf("%s: what the check wants does not cure it: %v, evidence %v", f.Name, b.Verdict, b.Evidence)
		}
	}
}

func host(t *testing.T, c *audit.Check, f txtar.File) (*inventory.Snapshot, *inventory.Object) {
	t.Helper()
	var in struct{ Objects []*inventory.Object }
	var fields map[string]any
	decode(t, f, &fields)
	if _, many := fields["objects"]; many {
		decode(t, f, &in)
	} else {
		in.Objects = []*inventory.Object{{Ref: inventory.Ref{Kind: c.Kind, Name: "x"}, Fields: fields}}
	}
	s := &inventory.Snapshot{Taken: taken}
	for _, o := range in.Objects {
		o.Source, o.Read = "testdata", taken
		s.Add(o)
	}
	return s, in.Objects[0]
}

func decode(t *testing.T, f txtar.File, v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(f.Data))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		t.Fatalf("%s: %v", f.Name, err)
	}
}

var idForm = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

func valid(t *testing.T, c *audit.Check) {
	t.Helper()
	for what, ok := range map[string]bool{
		"an ID of lower-case words": idForm.MatchString(c.ID),
		"a title in both languages": !c.Title.Empty(), "a why in both languages": !c.Why.Empty(),
		"a remedy in both languages": !c.Remedy.Empty(), "a severity": c.Severity != 0,
		"a domain": len(c.Domains) > 0, "a control": len(c.Controls) > 0, "Eval": c.Eval != nil, "a kind": c.Kind != "",
	} {
		if !ok {
			t.Errorf("lacks %s", what)
		}
	}
	for i, ctl := range c.Controls {
		if slices.Contains(c.Controls[:i], ctl) {
			t.Errorf("names %s %s twice", ctl.Framework, ctl.Number)
		}
		if f := frameworks.All()[ctl.Framework]; f == nil {
			t.Errorf("no catalogue of %s", ctl.Framework)
		} else if _, ok := f.Find(ctl.Number); !ok {
			t.Errorf("%s has no %s", ctl.Framework, ctl.Number)
		}
	}
	if c.CausedBy != "" && Find(c.CausedBy) == nil {
		t.Errorf("is caused by %s, which is no check", c.CausedBy)
	}
}
