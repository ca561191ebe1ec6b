package advisories

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"casco/vuln"
)

var (
	noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	ctx  = context.Background()
)

// file puts content into a new file and returns its path.
func file(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// zipOf makes a zip of entries: name, content, name, content …
func zipOf(t testing.TB, entries ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(entries); i += 2 {
		w, err := z.CreateHeader(&zip.FileHeader{Name: entries[i], Method: zip.Deflate, Modified: noon.Add(-48 * time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(entries[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// osv is a record about packages, "ecosystem/name", that is fixed in a version.
func osv(id, modified, fixed string, packages ...string) string {
	var affected []string
	for _, p := range packages {
		e, n, _ := strings.Cut(p, "/")
		affected = append(affected, fmt.Sprintf(`{"package":{"ecosystem":%q,"name":%q},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":%q}]}]}`, e, n, fixed))
	}
	return fmt.Sprintf(`{"schema_version":"1.7.0","id":%q,"modified":%q,"affected":[%s]}`, id, modified, strings.Join(affected, ","))
}

const (
	kevText = `{"title":"t","catalogVersion":"2026.11.20","dateReleased":"2026-11-20T17:00:00.9796Z","count":2,"vulnerabilities":[
		{"cveID":"CVE-2026-1000","dateAdded":"2026-11-01","dueDate":"2026-11-22","knownRansomwareCampaignUse":"Known"},
		{"cveID":"CVE-2026-1001","dateAdded":"2026-11-02","dueDate":"","knownRansomwareCampaignUse":"Unknown"}]}`
	epssText   = "#model_version:v2025.03.14,score_date:2026-11-21T12:55:00Z\ncve,epss,percentile\nCVE-2026-1000,0.97,0.999\nCVE-2026-1002,0.00043,0.1\n"
	endsText   = `{"docker-engine":{"title":"Docker Engine","releases":[{"releaseCycle":"29","releaseDate":"2025-11-10","eol":false,"latest":"29.9.3","latestReleaseDate":"2026-11-19"},{"releaseCycle":"20.10","releaseDate":"2020-12-09","eol":"2023-12-10","latest":"20.10.27"}]},"old":{"releases":[{"releaseCycle":"1","eol":true}]}}`
	endsAPI    = `{"schema_version":"1.2.0","total":1,"result":[{"name":"nginx","releases":[{"name":"1.28","releaseDate":"2025-04-23","isEol":false,"eolFrom":"2026-12-31","latest":{"name":"1.28.1","date":"2026-11-18"}}]}]}`
	distroText = "version,codename,series,created,release,eol,eol-lts,eol-elts\n12,Bookworm,bookworm,2021-08-14,2023-06-10,2026-06-10,2028-06-30,2033-06-30\n,Sid,sid,1993-08-16\n"
)

// built is a database of these files.
func built(t testing.TB, files ...string) *DB {
	t.Helper()
	var inputs []Input
	for _, f := range files {
		inputs = append(inputs, Input{Path: f})
	}
	path := filepath.Join(t.TempDir(), "a # 100%?.db")
	if _, err := Build(ctx, path, inputs, noon); err != nil {
		t.Fatal(err)
	}
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func ids(t testing.TB, d *DB, ecosystem, name string) string {
	t.Helper()
	as, err := d.For(ecosystem, name)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, a := range as {
		out = append(out, a.ID+" "+a.Source)
	}
	return strings.Join(out, ", ")
}

func TestBuild(t *testing.T) {
	d := built(
		t,
		file(t, "all.zip", zipOf(
			t,
			"A-1.json", osv("A-1", "2026-11-01T00:00:00Z", "2", "Debian:12/a", "Debian:11/a"),
			"A-2.json", osv("A-2", "2026-11-25T00:00:00Z", "2", "Debian:12/a", "Debian/b"),
			"A-3.json", `{"id":"A-3","modified":"2026-11-26T00:00:00Z","affected":[]}`,
		)),
		file(t, "npm.zip", zipOf(
			t,
			"GHSA-1.json", osv("GHSA-1", "2026-11-01T00:00:00Z", "2", "npm/x", "Maven/g:x"),
			"GHSA-2.json", osv("GHSA-2", "2026-11-02T00:00:00Z", "2", "npm/y"),
		)),
		file(t, "own.zip", zipOf(t, "O-1.json", osv("O-1", "2026-11-01T00:00:00Z", "2", "Go/m"), "O-2.json", osv("O-2", "2199-01-01T00:00:00Z", "2", "PyPI/p"))),
		file(t, "kev.json.gz", gzipped(t, []byte(kevText))), file(t, "epss.csv.gz", gzipped(t, []byte(epssText))),
		file(t, "eol.json", []byte(endsText)), file(t, "full.json", []byte(endsAPI)), file(t, "debian.csv", []byte(distroText)),
	)
	for _, c := range []struct{ ecosystem, name, want string }{
		{"Debian:12", "a", "A-1 Debian, A-2 Debian"},
		{"Debian:11", "a", "A-1 Debian"},
		{"Debian:12", "b", "A-2 Debian"}, // of every release
		{"Debian:13", "b", "A-2 Debian"},
		{"Debian:12", "c", ""},
		{"npm", "x", "GHSA-1 npm"},
		{"Maven", "g:x", "GHSA-1 npm"},
		{"Go", "m", "O-1 own"},
		{"nothing", "m", ""},
	} {
		if got := ids(t, d, c.ecosystem, c.name); got != c.want {
			t.Errorf("%s %s: got %q, want %q", c.ecosystem, c.name, got, c.want)
		}
	}
	// Maven stands in npm's file by the way: of Maven itself nothing is known.
	for e, want := range map[string]bool{"Debian:12": true, "Debian:13": false, "npm": true, "Maven": false, "Go": true, "PyPI": true, "RubyGems": false} {
		if got, err := d.Covers(e); got != want || err != nil {
			t.Errorf("%s: covered %v, %v", e, got, err)
		}
	}
	kev, epss, err := d.Threat("CVE-2026-1000")
	if err != nil || kev == nil || !kev.Ransomware || kev.Due.Format(day) != "2026-11-22" || epss == nil || epss.Probability != 0.97 || epss.Percentile != 0.999 {
		t.Errorf("got %+v %+v, %v", kev, epss, err)
	}
	if kev, epss, err = d.Threat("CVE-2026-9999"); kev != nil || epss != nil || err != nil {
		t.Errorf("of what nobody knows: %+v %+v, %v", kev, epss, err)
	}
	if len(d.Info().Sources) != 8 || !d.Info().Made.Equal(noon) {
		t.Errorf("got %+v", d.Info())
	}
	newest := map[string]string{}
	for _, s := range d.Info().Sources {
		newest[s.Name] = s.Newest.Format(day)
		if !s.At.Equal(s.Newest) || len(s.SHA256) != 64 || s.Records == 0 {
			t.Errorf("got %+v", s)
		}
	}
	want := map[string]string{
		"Debian": "2026-11-25", "npm": "2026-11-02", "own": "2026-11-01", // not 2199
		"kev.json.gz": "2026-11-20", "epss.csv.gz": "2026-11-21", "eol.json": "2026-11-19", "full.json": "2026-11-18", "debian.csv": "2023-06-10",
	}
	if diff := cmp.Diff(want, newest); diff != "" {
		t.Error(diff)
	}
	if got := d.Info().Threats().Format(day); got != "2026-11-20" {
		t.Errorf("the older of the two catalogues is of %s", got)
	}
	var old []string
	for _, s := range d.Info().Old(7*24*time.Hour, noon) {
		old = append(old, s.Name)
	}
	if got := strings.Join(old, " "); got != "npm own" {
		t.Errorf("older than a week: %s", got)
	}
}

func TestEnd(t *testing.T) {
	d := built(t, file(t, "eol.json", []byte(endsText)), file(t, "full.json", []byte(endsAPI)), file(t, "debian.csv", []byte(distroText)))
	at := func(text string) time.Time {
		when, err := time.Parse(day, text)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	for _, c := range []struct {
		product, cycle, at string
		extended, over     bool
	}{
		{"docker-engine", "20.10", "2023-12-09", false, false},
		{"docker-engine", "20.10", "2023-12-10", false, true},
		{"docker-engine", "29", "2099-01-01", false, false},
		{"old", "1", "1990-01-01", false, true},
		{"nginx", "1.28", "2027-01-01", false, true},
		{"debian", "12", "2026-06-10", false, true},
		{"debian", "12", "2026-06-10", true, false},
		{"debian", "12", "2028-06-30", true, true},
	} {
		e, err := d.End(c.product, c.cycle)
		if err != nil || e == nil || e.Over(at(c.at), c.extended) != c.over {
			t.Errorf("%s %s at %s: %+v, %v", c.product, c.cycle, c.at, e, err)
		}
	}
	if e, err := d.End("debian", "sid"); err != nil || e == nil || e.Over(noon, false) {
		t.Errorf("a release that never ends: %+v, %v", e, err)
	}
	if e, err := d.End("nothing", "1"); e != nil || err != nil {
		t.Errorf("a product that nobody knows: %+v, %v", e, err)
	}
}

// TestTwice: a record is in the file of each of its ecosystems; the later one
// counts, whatever is read first.
func TestTwice(t *testing.T) {
	old := file(t, "npm.zip", zipOf(t, "G-1.json", osv("G-1", "2026-11-01T00:00:00Z", "2", "npm/x", "PyPI/x", "PyPI/gone")))
	now := file(t, "pypi.zip", zipOf(t, "G-1.json", osv("G-1", "2026-11-05T00:00:00Z", "3", "npm/x", "PyPI/x"), "G-2.json", osv("G-2", "2026-11-05T00:00:00Z", "3", "PyPI/x")))
	for _, order := range [][]string{{old, now}, {now, old}} {
		d := built(t, order...)
		r, err := vuln.Matches([]vuln.Package{{Ecosystem: "npm", Name: "x", Version: "1.0.0"}, {Ecosystem: "PyPI", Name: "x", Version: "1.0"}, {Ecosystem: "PyPI", Name: "gone", Version: "1.0"}}, d)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range r.Matches {
			got = append(got, m.Package.Ecosystem+" "+m.ID+" "+m.Fixed)
		}
		if diff := cmp.Diff([]string{"PyPI G-1 3", "PyPI G-2 3", "npm G-1 3"}, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none.db")); err == nil || !strings.Contains(err.Error(), "there is no advisory database") {
		t.Errorf("got %v", err)
	}
	good := file(t, "a.zip", zipOf(t, "A-1.json", osv("A-1", "2026-11-01T00:00:00Z", "2", "Debian:12/a")))
	path := filepath.Join(t.TempDir(), "a.db")
	if _, err := Build(ctx, path, []Input{{Path: good}}, noon); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := bytes.Clone(b)
	copy(other[68:], "none") // application_id (https://sqlite.org/fileformat2.html)
	newer := bytes.Clone(b)
	newer[63]++ // user_version
	for why, content := range map[string][]byte{
		"is damaged, or not one that casco made": []byte("SQLite format 3\x00 and no more"),
		"it is not one that casco made":          other,
		"it has format 2, this casco reads 1":    newer,
		"it is damaged":                          b[:len(b)/2],
	} {
		if d, err := Open(file(t, "x.db", content)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("want %q, got %v, %v", why, d, err)
		}
	}
}
