package checks

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// TestAbout: a check that is not about the objects that it fails would never
// find one.
func TestAbout(t *testing.T) {
	for _, c := range All() {
		if c.About == nil {
			continue
		}
		ar, err := txtar.ParseFile(filepath.Join("testdata", c.ID+".txt"))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, f := range ar.Files {
			verdict, _, _ := strings.Cut(f.Name, ":")
			if s, o := host(t, c, f); (verdict == "fail" || verdict == "manual") && !c.About(s, o) {
				t.Errorf("%s is not about its own %q", c.ID, f.Name)
			}
		}
	}
}
