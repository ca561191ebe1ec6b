package vuln

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestParseOSV reads a record with all that counts: two packages, one of them
// twice and by another repository, one without a name.
func TestParseOSV(t *testing.T) {
	got, err := ParseOSV([]byte(`{
		"schema_version": "1.7.0", "id": "UBUNTU-CVE-2026-1", "modified": "2026-11-02T10:00:00+01:00", "published": "2026-11-01T00:00:00Z",
		"upstream": ["CVE-2026-1"], "details": "first line\nsecond",
		"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N"}, {"type": "Ubuntu", "score": "low"}],
		"affected": [
			{"package": {"ecosystem": "Maven", "name": "g:a"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}], "database_specific": {"urgency": 7}},
			{"package": {"ecosystem": "Maven:https://maven.google.com", "name": "g:a"}, "versions": ["1"], "ecosystem_specific": {"urgency": "high"}},
			{"package": {"ecosystem": "PyPI", "name": "A_b"}, "ranges": [{"type": "GIT", "repo": "r", "events": [{"introduced": "abc"}]}], "ecosystem_specific": ["x"]},
			{"ranges": [{"type": "GIT", "events": []}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	common := Advisory{ID: "UBUNTU-CVE-2026-1", Upstream: []string{"CVE-2026-1"}, Summary: "first line", CVSS: []string{"CVSS:3.1/AV:N"}, Urgency: "low", Modified: time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)}
	a, b := common, common
	a.Ecosystem, a.Name, a.Urgency = "Maven", "g:a", "high"
	a.Affected = []Affected{{Ranges: []Range{events("introduced 0")}}, {Versions: []string{"1"}}}
	b.Ecosystem, b.Name = "PyPI", "a-b"
	b.Affected = []Affected{{Ranges: []Range{{Type: "GIT"}}}}
	if diff := cmp.Diff([]Advisory{a, b}, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseOSVRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"unexpected end of JSON":    `{"id":`,
		"has no id":                 `{"modified":"2026-01-01T00:00:00Z"}`,
		"cannot unmarshal":          `{"id":"A","aliases":"B"}`,
		"parsing time":              `{"id":"A","modified":"yesterday"}`,
		"is not one of introduced":  `{"id":"A","affected":[{"package":{"ecosystem":"npm","name":"a"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0","fixed":"1"}]}]}]}`,
		"more than 1000 other":      `{"id":"A","aliases":["` + strings.Repeat(`x","`, 1000) + `x"]}`,
		"more than 10000 events":    `{"id":"A","affected":[{"package":{"ecosystem":"npm","name":"a"},"ranges":[{"type":"SEMVER","events":[` + strings.Repeat(`{"fixed":"1"},`, 10000) + `{"fixed":"1"}]}]}]}`,
		"a package's name of more":  `{"id":"A","affected":[{"package":{"ecosystem":"npm","name":"` + strings.Repeat("a", 2000) + `"}}]}`,
		"larger than 16777216 byte": `{"id":"` + strings.Repeat("a", MaxRecord) + `"}`,
	} {
		if _, err := ParseOSV([]byte(text)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want %q, got %v", name, err)
		}
	}
}

// FuzzParseOSV: whatever a record is, it is read or refused, and what was read
// can be matched and kept.
func FuzzParseOSV(f *testing.F) {
	f.Add([]byte(record("DSA-1", `"aliases":["CVE-2026-1"],"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"}],`, "Debian:12", "a", below2)), "1.0-1")
	f.Add([]byte(`{"id":"A","affected":[{"package":{"ecosystem":"Go","name":"m"},"versions":["v1"],"ranges":[{"type":"SEMVER","events":[{"introduced":"1"},{"last_affected":"2"},{"limit":"*"}]}]}]}`), "v1.5.0")
	f.Fuzz(func(t *testing.T, b []byte, version string) {
		as, err := ParseOSV(b)
		if err != nil {
			return
		}
		for _, a := range as {
			affected, fixed, _ := Affects(a.Affected, a.Ecosystem, version)
			if fixed != "" && !affected {
				t.Errorf("a fix, %q, of what is not affected", fixed)
			}
			var compact []Affected
			for _, af := range a.Affected {
				compact = append(compact, af.Compact(a.Ecosystem))
			}
			if c, _, _ := Affects(compact, a.Ecosystem, version); c != affected {
				t.Errorf("%s %q: %v, compact %v", a.Ecosystem, version, affected, c)
			}
			if _, err := json.Marshal(a); err != nil {
				t.Error(err)
			}
		}
		if _, err := Matches([]Package{{Ecosystem: "Debian:12", Name: "a", Version: version}}, &shelf{all: as}); err != nil {
			t.Error(err)
		}
	})
}
