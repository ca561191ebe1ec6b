package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var quoted = regexp.MustCompile("`([^`]+)`")

// TestWalk opens every file that docs/walk.md names, and finds in it every name
// that stands in the brackets right behind it.
func TestWalk(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "docs/walk.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z_/]+[.a-z_/-]*\\.(?:go|txt))`(?:\\s*\\(([^)]*)\\))?").FindAllStringSubmatch(string(b), -1)
	names := 0
	for _, m := range named {
		src, err := os.ReadFile(filepath.Join(root, m[1]))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, q := range quoted.FindAllStringSubmatch(m[2], -1) {
			names++
			if !regexp.MustCompile(`\b` + regexp.QuoteMeta(q[1]) + `\b`).Match(src) {
				t.Errorf("%s has no %s", m[1], q[1])
			}
		}
	}
	if len(named) < 15 || names < 20 {
		t.Errorf("found only %d files and %d names: the test does not see them", len(named), names)
	}
	if i := strings.Index(string(b), "…"); i >= 0 {
		t.Error("the walk leaves something out")
	}
}
