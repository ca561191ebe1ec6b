package network

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// TestRules: testdata/rules has worlds with policies, and everything that passes.
func TestRules(t *testing.T) {
	files, err := filepath.Glob("testdata/rules/*.txt")
	if err != nil || len(files) < 8 {
		t.Fatal(err, files)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			part := func(name string) string {
				i := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == name })
				if i < 0 {
					t.Fatalf("has no part %s", name)
				}
				return string(a.Files[i].Data)
			}
			var probe []Port
			for s := range strings.FieldsSeq(part("probe")) {
				p, err := ParsePort(s)
				if err != nil {
					t.Fatal(err)
				}
				probe = append(probe, p)
			}
			w := worldOf(t, part("world"))
			r, err := Rules(w, policyOf(t, part("policy")))
			if err != nil {
				t.Fatal(err)
			}
			want := strings.Split(strings.TrimSpace(part("passes")), "\n")
			slices.Sort(want)
			got := open(w, r, probe)
			if diff := cmp.Diff(strings.Join(want, "\n"), strings.Join(got, "\n")); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}
