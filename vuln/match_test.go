package vuln

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A shelf is a database in memory: records as OSV has them.
type shelf struct {
	all  []Advisory
	kev  map[string]*KEV
	epss map[string]*EPSS
}

func shelfOf(t testing.TB, records ...string) *shelf {
	s := &shelf{}
	for _, r := range records {
		as, err := ParseOSV([]byte(r))
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range as {
			a.Source, _, _ = strings.Cut(a.Ecosystem, ":")
			s.all = append(s.all, a)
		}
	}
	return s
}

func (s *shelf) For(ecosystem, name string) (out []Advisory, err error) {
	for _, a := range s.all {
		if a.Ecosystem == ecosystem && a.Name == name {
			out = append(out, a)
		}
	}
	return out, nil
}

func (s *shelf) Covers(ecosystem string) (bool, error) {
	return slices.ContainsFunc(s.all, func(a Advisory) bool { return a.Ecosystem == ecosystem }), nil
}

func (s *shelf) Threat(cve string) (*KEV, *EPSS, error) { return s.kev[cve], s.epss[cve], nil }

// lines is what a test reads: "name version: ID (records) > fixed".
func lines(r Result) (out []string) {
	for _, m := range r.Matches {
		out = append(out, m.Package.Name+" "+m.Package.Version+": "+m.ID+" ("+strings.Join(m.Records, " ")+") > "+m.Fixed)
	}
	for _, u := range r.Unjudged {
		out = append(out, u.Package.Name+" "+u.Package.Version+": "+u.Reason+" ("+strings.Join(u.Records, " ")+")")
	}
	return out
}

// record is one of OSV about one package.
func record(id, more, ecosystem, name, events string) string {
	return `{"schema_version":"1.7.0","id":"` + id + `","modified":"2026-11-01T00:00:00Z",` + more + `
		"affected":[{"package":{"ecosystem":"` + ecosystem + `","name":"` + name + `"},"ranges":[{"type":"ECOSYSTEM","events":[` + events + `]}]}]}`
}

const below2 = `{"introduced":"0"},{"fixed":"2.0-1"}`

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		name    string
		records []string
		p       Package
		want    []string
	}{
		{
			"the source package is what Debian names",
			[]string{
				record("DEBIAN-CVE-2026-1", `"upstream":["CVE-2026-1"],`, "Debian:12", "openssl", below2),
				record("DEBIAN-CVE-2026-2", `"upstream":["CVE-2026-2"],`, "Debian:12", "libssl3", below2),
			},
			Package{Ecosystem: "Debian:12", Name: "libssl3", Version: "1.0-1+b1", Source: "openssl", SourceVersion: "1.0-1"},
			[]string{"libssl3 1.0-1+b1: CVE-2026-1 (DEBIAN-CVE-2026-1) > 2.0-1"},
		},
		{
			"the source's version counts: perl's own parts have others",
			[]string{record("RHSA-2026:1", `"related":["CVE-2026-1"],`, "Red Hat:enterprise_linux:9::baseos", "perl", `{"introduced":"0"},{"fixed":"4:5.32.1-481.el9"}`)},
			Package{Ecosystem: "Red Hat:enterprise_linux:9::baseos", Name: "perl-Errno", Version: "1.30-480.el9", Source: "perl", SourceVersion: "4:5.32.1-480.el9"},
			[]string{"perl-Errno 1.30-480.el9: CVE-2026-1 (RHSA-2026:1) > 4:5.32.1-481.el9"},
		},
		{
			"one release is not another",
			[]string{record("A-1", "", "Debian:11", "openssl", below2), record("A-2", "", "Debian:12", "bash", below2)},
			Package{Ecosystem: "Debian:12", Name: "openssl", Version: "1.0-1"},
			nil,
		},
		{
			"one CVE of three databases",
			[]string{
				record("GO-2026-1", `"aliases":["CVE-2026-1","GHSA-aaaa"],`, "Go", "stdlib", `{"introduced":"0"},{"fixed":"1.21.9"}`),
				record("GHSA-aaaa", `"aliases":["CVE-2026-1"],`, "Go", "stdlib", `{"introduced":"0"},{"fixed":"1.21.10"}`),
				record("BIT-golang-2026-1", `"aliases":["GHSA-aaaa"],`, "Go", "stdlib", `{"introduced":"0"}`),
			},
			Package{Ecosystem: "Go", Name: "stdlib", Version: "go1.20.3"},
			[]string{"stdlib go1.20.3: CVE-2026-1 (BIT-golang-2026-1 GHSA-aaaa GO-2026-1) > 1.21.10"},
		},
		{
			"an erratum with two CVEs is two matches, and each is one with its own record",
			[]string{
				record("DSA-1-1", `"upstream":["CVE-2026-1","CVE-2026-2"],`, "Debian:12", "a", below2),
				record("DEBIAN-CVE-2026-1", `"upstream":["CVE-2026-1"],`, "Debian:12", "a", below2),
				record("DEBIAN-CVE-2026-2", `"upstream":["CVE-2026-2"],`, "Debian:12", "a", `{"introduced":"0"},{"fixed":"2.1-1"}`),
			},
			Package{Ecosystem: "Debian:12", Name: "a", Version: "1.0-1"},
			[]string{"a 1.0-1: CVE-2026-1 (DEBIAN-CVE-2026-1 DSA-1-1) > 2.0-1", "a 1.0-1: CVE-2026-2 (DEBIAN-CVE-2026-2 DSA-1-1) > 2.1-1"},
		},
		{
			"an erratum of before the schema had upstream",
			[]string{record("ALSA-2026:1", `"related":["CVE-2026-1","CVE-2026-2"],`, "AlmaLinux:9", "openssl-libs", `{"introduced":"0"},{"fixed":"1:3.0.7-27.el9"}`)},
			Package{Ecosystem: "AlmaLinux:9", Name: "openssl-libs", Version: "1:3.0.7-24.el9", Source: "openssl"},
			[]string{"openssl-libs 1:3.0.7-24.el9: CVE-2026-1 (ALSA-2026:1) > 1:3.0.7-27.el9", "openssl-libs 1:3.0.7-24.el9: CVE-2026-2 (ALSA-2026:1) > 1:3.0.7-27.el9"},
		},
		{
			"what is fixed, withdrawn or never was is silent",
			[]string{
				record("A-1", "", "Alpine:v3.18", "musl", `{"introduced":"0"},{"fixed":"1.2.4-r2"}`),
				record("A-2", `"withdrawn":"2026-11-02T00:00:00Z",`, "Alpine:v3.18", "musl", `{"introduced":"0"}`),
				record("A-3", "", "Alpine:v3.18", "musl", `{"introduced":"0"},{"fixed":"0"}`),
			},
			Package{Ecosystem: "Alpine:v3.18", Name: "musl-utils", Version: "1.2.4-r2", Source: "musl"},
			nil,
		},
		{
			"an ecosystem of which there is nothing",
			[]string{record("A-1", "", "Debian:12", "a", below2)},
			Package{Ecosystem: "npm", Name: "left-pad", Version: "1.0.0"},
			[]string{"left-pad 1.0.0: no-data ()"},
		},
		{
			"a version that is none, and a record that only names commits",
			[]string{
				record("A-1", "", "Go", "m", below2), record("A-2", "", "Go", "m", `{"introduced":"0"}`),
				`{"id":"A-3","affected":[{"package":{"ecosystem":"Go","name":"m"},"ranges":[{"type":"GIT","repo":"r","events":[{"introduced":"0"}]}]}]}`,
			},
			Package{Ecosystem: "Go", Name: "m", Version: "(devel)"},
			[]string{"m (devel): A-2 (A-2) > ", "m (devel): bad-version (A-1)", "m (devel): only-git (A-3)"},
		},
		{
			"a name is as its ecosystem spells it",
			[]string{record("PYSEC-1", "", "PyPI", "Jinja2", `{"introduced":"0"},{"fixed":"3.1.3"}`)},
			Package{Ecosystem: "PyPI", Name: "jinja2", Version: "3.1.2"},
			[]string{"jinja2 3.1.2: PYSEC-1 (PYSEC-1) > 3.1.3"},
		},
	} {
		got, err := Matches([]Package{c.p}, shelfOf(t, c.records...))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, lines(got)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// TestTold: what the records say is told, the worse word of two, and what is
// known of attackers by any of its names.
func TestTold(t *testing.T) {
	s := shelfOf(
		t,
		record("GO-1", `"aliases":["CVE-2026-1"],"summary":"short","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H"}],`, "Go", "m", below2),
		record("GHSA-1", `"aliases":["CVE-2026-1"],"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"},{"type":"CVSS_V3","score":"nonsense"}],`, "Go", "m", below2),
	)
	added := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	s.kev, s.epss = map[string]*KEV{"CVE-2026-1": {Added: added}}, map[string]*EPSS{"CVE-2026-1": {Probability: 0.5}}
	r, err := Matches([]Package{{Ecosystem: "Go", Name: "m", Version: "1.0.0"}}, s)
	if err != nil {
		t.Fatal(err)
	}
	want := Match{
		Package: Package{Ecosystem: "Go", Name: "m", Version: "1.0.0"},
		ID:      "CVE-2026-1", Aliases: []string{"GHSA-1", "GO-1"}, Records: []string{"GHSA-1", "GO-1"}, Sources: []string{"Go"},
		Summary: "short", CVSS: CVSS{9.8, "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}, Fixed: "2.0-1",
		KEV: &KEV{Added: added}, EPSS: &EPSS{Probability: 0.5}, Modified: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
	}
	if diff := cmp.Diff([]Match{want}, r.Matches); diff != "" {
		t.Error(diff)
	}
}

// TestNewerDatabase: a package that was read once is matched against what is
// known later.
func TestNewerDatabase(t *testing.T) {
	p := []Package{{Ecosystem: "Debian:12", Name: "a", Version: "1.0-1"}}
	old := shelfOf(t, record("A-1", "", "Debian:12", "b", below2))
	now := shelfOf(t, record("A-1", "", "Debian:12", "b", below2), record("A-2", "", "Debian:12", "a", below2))
	before, err1 := Matches(p, old)
	after, err2 := Matches(p, now)
	if err1 != nil || err2 != nil || len(before.Matches) != 0 || len(before.Unjudged) != 0 || len(after.Matches) != 1 {
		t.Errorf("before %v, after %v", lines(before), lines(after))
	}
}

func TestCVSS(t *testing.T) {
	for _, c := range []struct {
		vector   string
		score    float64
		severity string
		remote   bool
	}{
		// CVE-2014-0160 and CVE-2014-6271 (FIRST, CVSS 3.1 examples), and what its calculators give
		{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", 7.5, "high", true},
		{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8, "critical", true},
		{"CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:U/C:H/I:H/A:H", 8.8, "high", false},
		{"CVSS:3.0/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", 7.8, "high", false},
		{"AV:N/AC:L/Au:N/C:P/I:N/A:N", 5.0, "medium", true}, // CVE-2014-0160, NVD
		{"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", 9.3, "critical", true},
		{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0, "none", true},
	} {
		got, err := ParseCVSS(c.vector)
		if err != nil || got.Score != c.score || got.Severity() != c.severity || got.Remote() != c.remote {
			t.Errorf("%s: got %v %s %v, %v", c.vector, got.Score, got.Severity(), got.Remote(), err)
		}
	}
	for _, bad := range []string{"", "9.8", "CVSS:3.1/", "CVSS:3.1/AV:N", "CVSS:9.0/AV:N"} {
		if _, err := ParseCVSS(bad); err == nil {
			t.Errorf("%q is taken for a vector", bad)
		}
	}
	if (CVSS{}).Severity() != "" {
		t.Error("no vector has a severity")
	}
}
