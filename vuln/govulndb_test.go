package vuln

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGovulndb holds real records to what their advisories say in words:
// CVE-2023-45288 is fixed in Go 1.21.9 and 1.22.2 and in x/net 0.23.0,
// CVE-2024-21626 is in runc from 1.0.0-rc93 to before 1.1.12, and
// CVE-2024-41110 in Docker Engine from 20.10 (19.03 has the fix) to before
// 25.0.6, 26.1.5 and 27.1.1, all as of these records.
func TestGovulndb(t *testing.T) {
	files, err := filepath.Glob("testdata/govulndb/*.json")
	if err != nil {
		t.Fatal(err)
	}
	var records []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, string(b))
	}
	s := shelfOf(t, records...)
	const http2, runc, authz = "CVE-2023-45288", "CVE-2024-21626", "CVE-2024-41110"
	for _, c := range []struct{ name, version, want string }{
		{"stdlib", "go1.19.8", http2 + " > 1.21.9"},
		{"stdlib", "go1.21.8", http2 + " > 1.21.9"},
		{"stdlib", "go1.21.9", ""},
		{"stdlib", "go1.22rc1", http2 + " > 1.22.2"},
		{"stdlib", "go1.22.1", http2 + " > 1.22.2"},
		{"stdlib", "go1.22.2", ""},
		{"stdlib", "go1.23.0", ""},
		{"golang.org/x/net", "v0.22.0", http2 + " > 0.23.0"},
		{"golang.org/x/net", "v0.23.0", ""},
		{"golang.org/x/net", "v0.0.0-20220722155237-a158d28d115b", http2 + " > 0.23.0"},
		{"github.com/opencontainers/runc", "v1.0.0-rc92", ""},
		{"github.com/opencontainers/runc", "v1.0.0-rc93", runc + " > 1.1.12"},
		{"github.com/opencontainers/runc", "v1.1.11", runc + " > 1.1.12"},
		{"github.com/opencontainers/runc", "v1.1.12", ""},
		{"github.com/docker/docker", "v19.03.15+incompatible", ""},
		{"github.com/docker/docker", "v20.10.24+incompatible", authz + " > 25.0.6+incompatible"},
		{"github.com/docker/docker", "v25.0.6+incompatible", ""},
		{"github.com/docker/docker", "v26.1.4+incompatible", authz + " > 26.1.5+incompatible"},
		{"github.com/docker/docker", "v27.1.1+incompatible", ""},
		{"github.com/docker/docker", "v28.5.2+incompatible", ""},
		{"golang.org/x/text", "v0.3.0", ""},
	} {
		r, err := Matches([]Package{{Ecosystem: "Go", Name: c.name, Version: c.version}}, s)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range r.Matches {
			got = append(got, m.ID+" > "+m.Fixed)
		}
		if diff := cmp.Diff(c.want, strings.Join(got, ", ")); diff != "" || len(r.Unjudged) > 0 {
			t.Errorf("%s %s: %s %v", c.name, c.version, diff, r.Unjudged)
		}
	}
}
