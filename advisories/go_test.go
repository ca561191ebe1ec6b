package advisories

import (
	"archive/zip"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/semver"

	"casco/vuln"
)

// TestGoDatabase matches modules of the whole Go vulnerability database, if it
// lies beside the clone, at each version that it names, and just before; the Go
// project's own comparison is the judge.
func TestGoDatabase(t *testing.T) {
	const path = "../../shared/data/vuln/osv-go-2026-08-21.zip"
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Skip("the Go vulnerability database is not beside the clone")
	}
	defer z.Close()
	type event struct{ Introduced, Fixed string }
	type about struct {
		id     string
		events []event
	}
	modules := map[string][]about{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		var record struct {
			ID        string
			Withdrawn string
			Affected  []struct {
				Package struct{ Name string }
				Ranges  []struct{ Events []event }
			}
		}
		if err := json.NewDecoder(r).Decode(&record); err != nil {
			t.Fatal(err)
		}
		for _, a := range record.Affected {
			for _, r := range a.Ranges {
				if record.Withdrawn == "" {
					modules[a.Package.Name] = append(modules[a.Package.Name], about{record.ID, r.Events})
				}
			}
		}
	}
	d := built(t, path)
	asked, of := 0, 30 // all of them take a minute: CASCO_VULN_ALL=1
	if os.Getenv("CASCO_VULN_ALL") == "1" {
		of = 1
	}
	names := slices.Sorted(maps.Keys(modules))
	for i := 0; i < len(names); i += of {
		name := names[i]
		abouts := modules[name]
		var versions []string
		for _, a := range abouts {
			for _, e := range a.events {
				if v := e.Introduced + e.Fixed; v != "0" {
					v, _, _ = strings.Cut(v, "+")
					versions = append(versions, v, v+"-0") // before it, for it is a release, or right behind it
				}
			}
		}
		slices.Sort(versions)
		for _, v := range append(slices.Compact(versions), "0.0.1", "9999.0.0") {
			if !semver.IsValid("v" + v) {
				continue
			}
			asked++
			want := map[string]bool{}
			for _, a := range abouts {
				in := false
				for _, e := range a.events { // they stand in order there
					if e.Introduced == "0" || e.Introduced != "" && semver.Compare("v"+v, "v"+e.Introduced) >= 0 {
						in = true
					} else if e.Fixed != "" && semver.Compare("v"+v, "v"+e.Fixed) >= 0 {
						in = false
					}
				}
				if in {
					want[a.id] = true
				}
			}
			r, err := vuln.Matches([]vuln.Package{{Ecosystem: "Go", Name: name, Version: "v" + v}}, d)
			if err != nil || len(r.Unjudged) > 0 {
				t.Fatalf("%s %s: %v %v", name, v, r.Unjudged, err)
			}
			got := map[string]bool{}
			for _, m := range r.Matches {
				for _, id := range m.Records {
					got[id] = true
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s %s: %s", name, v, diff)
			}
		}
	}
	if asked < 200 {
		t.Errorf("%d versions of %d modules", asked, len(names))
	}
	t.Logf("%d versions of each %d. of %d modules, as expected", asked, of, len(names))
}
