package vuln

import (
	"strings"
	"testing"
)

const image = "pkg:oci/app@sha256:1111"

// vexed is a document with these statements.
func vexed(statements ...string) string {
	return `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://vex.example/1","author":"the vendor","timestamp":"2026-11-01T00:00:00Z","version":1,"statements":[` + strings.Join(statements, ",") + `]}`
}

func says(vulnerability, products, status string) string {
	return `{"vulnerability":{"name":"` + vulnerability + `"},"products":[` + products + `],` + status + `}`
}

const (
	unaffected = `"status":"not_affected","justification":"vulnerable_code_not_present"`
	product    = `{"@id":"` + image + `"}`
	part       = `{"@id":"` + image + `","subcomponents":[{"@id":"pkg:deb/debian/libssl3@3.0"}]}`
)

func TestApply(t *testing.T) {
	const purl = "pkg:deb/debian/libssl3@3.0?arch=amd64"
	for _, c := range []struct {
		name, purl string
		statements []string
		want       string // status, "" for none
	}{
		{"of the image", purl, []string{says("CVE-2026-1", product, unaffected)}, "not_affected"},
		{"by another name of it", purl, []string{says("GHSA-1", product, unaffected)}, "not_affected"},
		{"of the package in the image", purl, []string{says("CVE-2026-1", part, unaffected)}, "not_affected"},
		{"of another package in it", "pkg:deb/debian/bash@5.2", []string{says("CVE-2026-1", part, unaffected)}, ""},
		{"of one package, where this one has no name", "", []string{says("CVE-2026-1", part, unaffected)}, ""},
		{"of the image, where the package has no name", "", []string{says("CVE-2026-1", product, unaffected)}, "not_affected"},
		{"of the package itself", purl, []string{says("CVE-2026-1", `{"@id":"pkg:deb/debian/libssl3@3.0"}`, unaffected)}, "not_affected"},
		{"of another version of it", purl, []string{says("CVE-2026-1", `{"@id":"pkg:deb/debian/libssl3@3.1"}`, unaffected)}, ""},
		{"of another image", purl, []string{says("CVE-2026-1", `{"@id":"pkg:oci/other"}`, unaffected)}, ""},
		{"of another vulnerability", purl, []string{says("CVE-2026-2", product, unaffected)}, ""},
		{"the later word", purl, []string{
			says("CVE-2026-1", product, `"status":"affected","action_statement":"upgrade","timestamp":"2026-11-03T00:00:00Z"`), says("CVE-2026-1", product, unaffected),
		}, "affected"},
	} {
		doc, err := ParseVEX([]byte(vexed(c.statements...)))
		if err != nil {
			t.Fatal(err)
		}
		ms := []Match{{ID: "CVE-2026-1", Aliases: []string{"GHSA-1"}, Package: Package{Name: "libssl3", PURL: c.purl}}}
		Apply(ms, doc, image, "")
		got := ""
		if ms[0].VEX != nil {
			got = ms[0].VEX.Status
		}
		if got != c.want || ms[0].VEX.Silent() != (c.want == "not_affected") {
			t.Errorf("%s: got %q, silent %v", c.name, got, ms[0].VEX.Silent())
		}
	}
}

// TestApplyTwo: of two documents the later counts, in whatever order they come.
func TestApplyTwo(t *testing.T) {
	old := vexed(says("CVE-2026-1", product, unaffected))
	now := strings.Replace(vexed(says("CVE-2026-1", product, `"status":"under_investigation"`)), "2026-11-01", "2026-11-05", 1)
	for _, order := range [][]string{{old, now}, {now, old}} {
		ms := []Match{{ID: "CVE-2026-1"}}
		for _, text := range order {
			doc, err := ParseVEX([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			Apply(ms, doc, image)
		}
		if v := ms[0].VEX; v == nil || v.Status != "under_investigation" || v.Author != "the vendor" || v.Silent() {
			t.Errorf("got %+v", v)
		}
	}
}

func TestParseVEXRefuses(t *testing.T) {
	for why, text := range map[string]string{
		"not an OpenVEX":                            "{",
		"justification or impact":                   vexed(says("CVE-2026-1", product, `"status":"not_affected"`)),
		"invalid justification":                     vexed(says("CVE-2026-1", product, `"status":"not_affected","justification":"trust me"`)),
		"invalid status value":                      vexed(says("CVE-2026-1", product, `"status":"fine"`)),
		"a VEX document of 16777217 bytes: at most": strings.Repeat(" ", maxVEX+1),
	} {
		if _, err := ParseVEX([]byte(text)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("want %q, got %v", why, err)
		}
	}
}

func FuzzParseVEX(f *testing.F) {
	f.Add([]byte(vexed(says("CVE-2026-1", part, unaffected))))
	f.Fuzz(func(t *testing.T, b []byte) {
		doc, err := ParseVEX(b)
		if err != nil {
			return
		}
		ms := []Match{{ID: "CVE-2026-1", Package: Package{PURL: "pkg:deb/debian/libssl3@3.0"}}}
		Apply(ms, doc, image)
		if v := ms[0].VEX; v.Silent() && v.Status == "not_affected" && v.Justification == "" && v.Statement == "" {
			t.Errorf("silenced without a reason by %q", b)
		}
	})
}
