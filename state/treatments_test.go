package state

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTreatments: a decision is kept as it was given, never written over, with
// the signatures that lie beside it and no others.
func TestTreatments(t *testing.T) {
	d := Open(filepath.Join(t.TempDir(), "state"))
	if docs, err := d.Treatments(); docs != nil || err != nil {
		t.Errorf("before the first: %v, %v", docs, err)
	}
	for _, id := range []string{"", "R-", "../R-1", "R-1/x", "r-1"} {
		if _, err := d.AddTreatment(id, nil); err == nil {
			t.Errorf("%q is taken for a risk", id)
		}
	}
	var paths []string
	for _, what := range []string{"one", "two"} {
		path, err := d.AddTreatment("R-ab", []byte(what))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	if paths[0] == paths[1] {
		t.Fatal("the second has the place of the first")
	}
	for name, text := range map[string]string{".sig": "s1", ".ro.sig": "s2", ".bak": "x", "x": "y"} {
		if err := os.WriteFile(paths[1]+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	docs, err := d.Treatments()
	if err != nil || len(docs) != 2 || string(docs[0].Bytes) != "one" || string(docs[1].Bytes) != "two" {
		t.Fatalf("%v, %v", docs, err)
	}
	var sigs []string
	for _, s := range docs[1].Signatures {
		sigs = append(sigs, string(s))
	}
	if len(docs[0].Signatures) != 0 || strings.Join(sigs, " ") != "s2 s1" {
		t.Errorf("signatures of the first %v, of the second %v", docs[0].Signatures, sigs)
	}
	st, err := os.Stat(paths[0])
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(paths[0]), ".new-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
