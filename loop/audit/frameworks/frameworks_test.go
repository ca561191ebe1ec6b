package frameworks

import (
	"path"
	"strings"
	"testing"
)

// TestCatalogues holds every catalogue to what the rest of the program builds
// on: it parses, it has a name, no number stands twice, and each title exists
// in both languages.
func TestCatalogues(t *testing.T) {
	entries, err := files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Run(e.Name(), func(t *testing.T) {
			f, err := parse(e.Name())
			if err != nil {
				t.Fatal(err)
			}
			if f.Name == "" || len(f.Requirements) == 0 {
				t.Errorf("has the name %q and %d requirements", f.Name, len(f.Requirements))
			}
			if want := strings.TrimSuffix(path.Base(e.Name()), ".tsv"); f.ID != want || All()[want] == nil {
				t.Errorf("is not found as %q", want)
			}
			seen := map[string]bool{}
			for _, r := range f.Requirements {
				if seen[r.Number] {
					t.Errorf("%s stands twice", r.Number)
				}
				seen[r.Number] = true
				if r.Number == "" || r.Title.Empty() {
					t.Errorf("%q lacks its number or a title: %+v", r.Number, r.Title)
				}
				if r.Level != "" && r.Level != "L1" && r.Level != "L2" {
					t.Errorf("%s has level %q", r.Number, r.Level)
				}
				if strings.TrimSpace(r.Title.En) != r.Title.En || strings.TrimSpace(r.Title.Es) != r.Title.Es {
					t.Errorf("%s has a title with loose blanks", r.Number)
				}
			}
		})
	}
}

// TestCISDocker counts against the published edition: 118 recommendations, of
// which one, 2.7, has no ancestor in v1.7.0; old 2.7 to 2.18 moved up by one.
func TestCISDocker(t *testing.T) {
	f := All()["cis-docker-1.8.0"]
	if f == nil {
		t.Fatal("no catalogue")
	}
	if n := len(f.Requirements); n != 118 {
		t.Errorf("%d recommendations, want 118", n)
	}
	ancestors := map[string]bool{}
	for _, r := range f.Requirements {
		if (r.Ancestor == "") != (r.Number == "2.7") {
			t.Errorf("%s has ancestor %q", r.Number, r.Ancestor)
		}
		if ancestors[r.Ancestor] {
			t.Errorf("%s: ancestor %s has two heirs", r.Number, r.Ancestor)
		}
		ancestors[r.Ancestor] = true
		if r.Level == "" {
			t.Errorf("%s has no level", r.Number)
		}
	}
	if r, ok := f.Find("2.19"); !ok || r.Ancestor != "2.18" {
		t.Errorf("2.19 is %+v, want ancestor 2.18", r)
	}
	if _, ok := f.Find("9.9"); ok {
		t.Error("finds a number that does not exist")
	}
}
