package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"casco/guard/admission"
	"casco/lang"
)

// TestManualPolicy: the policy that the manual shows is in order, says what it is
// shown for, and is taken into force as it stands.
func TestManualPolicy(t *testing.T) {
	for _, l := range []lang.Lang{lang.English, lang.Spanish} {
		manual, err := os.ReadFile("../../docs/" + string(l) + "/manual.md")
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, rest := range strings.Split(string(manual), "```yaml\n")[1:] {
			text, _, _ := strings.Cut(rest, "```")
			if !strings.Contains(text, "kind: Policy") {
				continue
			}
			found = true
			path := filepath.Join(t.TempDir(), "policy.yaml")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			a := &app{out: io.Discard, err: os.Stderr, lang: l, statePath: t.TempDir(), runPath: t.TempDir()}
			s, p, err := a.readPolicy(path)
			if err != nil {
				t.Fatalf("%s: %v", l, err)
			}
			if _, problems := lintPolicy(s); len(problems) > 0 {
				t.Errorf("%s: %v", l, problems)
			}
			if len(p.Tiers) < 2 || len(p.Assign) == 0 || len(p.Flows) == 0 || len(p.Admission.Rules) == 0 {
				t.Errorf("%s: it lacks tiers, assignments, flows or admission", l)
			}
			if _, err := admission.NewJudge(p, loaded); err != nil {
				t.Errorf("%s: %v", l, err)
			}
			if err := a.loadPolicy(t.Context(), path, ""); err != nil {
				t.Errorf("%s: %v", l, err)
			}
			if f, err := a.takenPolicy(); err != nil || f.Policy.Digest != p.Digest {
				t.Errorf("%s: in force is %v, %v", l, f, err)
			}
			a.close()
		}
		if !found {
			t.Errorf("%s: the manual shows no policy", l)
		}
	}
}
