package advisories

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"casco/internal/handtest"
	"casco/vuln"
)

// TestDebianReleases makes two root file systems of each release from Debian's
// own mirror: as it was released, and with its security updates. Advisories are
// made of the changelogs of the second. What casco finds in the first is what a
// script finds that asks dpkg, and in the second it finds nothing. It takes
// minutes and the mirror: CASCO_DEBIAN_RELEASES="bookworm=12 bullseye=11".
func TestDebianReleases(t *testing.T) {
	releases := os.Getenv("CASCO_DEBIAN_RELEASES")
	if releases == "" {
		t.Skip("takes minutes and Debian's mirror: CASCO_DEBIAN_RELEASES='bookworm=12 bullseye=11 trixie=13'")
	}
	handtest.NeedRoot(t)
	for r := range strings.FieldsSeq(releases) {
		suite, number, _ := strings.Cut(r, "=")
		t.Run(suite, func(t *testing.T) { debianRelease(t, suite, "Debian:"+number) })
	}
}

// mirror of Debian.
var debian = "http://deb.debian.org/debian"

func debianRelease(t *testing.T, suite, ecosystem string) {
	released, updated := root(t, suite), root(t, suite, suite+"-security")
	zip := filepath.Join(t.TempDir(), "all.zip")
	if err := os.WriteFile(zip, fromChangelogs(t, updated, ecosystem), 0o600); err != nil {
		t.Fatal(err)
	}
	d := built(t, zip)
	other := built(t, file(t, "x.zip", zipOf(t, "A-1.json", osv("A-1", "2026-11-01T00:00:00Z", "2", "Debian:7/a"))))
	for root, vulnerable := range map[string]bool{released: true, updated: false} {
		ps := installed(t, root, ecosystem)
		r, err := vuln.Matches(ps, d)
		if err != nil {
			t.Fatal(err)
		}
		want := expected(t, zip, root, ecosystem)
		if diff := gocmp.Diff(want, found(r)); diff != "" {
			t.Errorf("%s: %s", root, diff)
		}
		if len(r.Unjudged) > 0 || len(ps) < 70 || vulnerable != (len(want) > 0) {
			t.Errorf("%s: %d packages, %d matches, not judged: %v; %q", root, len(ps), len(want), r.Unjudged, want[:min(len(want), 5)])
		}
		t.Logf("%s: %d packages, %d records, %d matches, as expected", suite, len(ps), d.Info().Sources[0].Records, len(want))
		if r, err = vuln.Matches(ps, other); err != nil || len(r.Matches) > 0 || len(r.Unjudged) != len(ps) {
			t.Errorf("of another release: %d matches, %d not judged, %v", len(r.Matches), len(r.Unjudged), err)
		}
	}
}

// root makes a root file system of suites, the first of which is the release.
func root(t *testing.T, suites ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.Join(suites, "+"))
	args := []string{
		"--quiet", "--variant=essential", "--include=openssl,libexpat1,perl-base,libxml2,libcurl4,libsqlite3-0,python3-minimal,libc-bin,util-linux",
		`--aptopt=Acquire::Check-Valid-Until "false"`, // of releases that get no more updates
		suites[0], dir, "deb " + debian + " " + suites[0] + " main",
	}
	for _, s := range suites[1:] {
		args = append(args, "deb "+debian+"-security "+s+" main")
	}
	cmd := exec.Command("mmdebstrap", args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mmdebstrap %v: %v\n%s", args, err, out)
	}
	return dir
}

// installed are the packages of a root file system, as dpkg-query lists them.
func installed(t *testing.T, root, ecosystem string) []vuln.Package {
	t.Helper()
	form := "${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\n"
	out, err := exec.Command("dpkg-query", "--admindir", root+"/var/lib/dpkg", "-W", "-f", form).Output()
	if err != nil {
		t.Fatal(err)
	}
	var ps []vuln.Package
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if f[0] == "installed" {
			ps = append(ps, vuln.Package{Ecosystem: ecosystem, Name: f[1], Version: f[2], Arch: f[3], Source: f[4], SourceVersion: f[5]})
		}
	}
	return ps
}

func found(r vuln.Result) (out []string) {
	for _, m := range r.Matches {
		out = append(out, strings.Join([]string{m.Package.Name, m.Package.Version, m.Package.Arch, m.ID, m.Fixed}, " "))
	}
	slices.Sort(out)
	return out
}

// expected is what a script says that shares nothing with casco.
func expected(t *testing.T, zip, root, ecosystem string) (out []string) {
	t.Helper()
	b, err := exec.Command("python3", "testdata/expected.py", zip, root+"/var/lib/dpkg", ecosystem).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		out = append(out, strings.TrimSuffix(line, "\n"))
	}
	slices.Sort(out)
	return out
}

var (
	stanza = regexp.MustCompile(`^([a-z0-9][a-z0-9.+-]+) \(([^)]+)\) `)
	named  = regexp.MustCompile(`CVE-[0-9]{4}-[0-9]{4,7}`)
)

// fromChangelogs makes records of OSV: what the changelog of a source package
// names first in the stanza of a version was fixed in it. (Some only mention
// a CVE: for what is compared here that is all the same.)
func fromChangelogs(t *testing.T, root, ecosystem string) []byte {
	t.Helper()
	fixed := map[string]map[string]string{} // CVE: source: version
	logs, err := filepath.Glob(root + "/usr/share/doc/*/changelog*.gz")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range logs {
		if st, err := os.Lstat(path); err != nil || st.Mode()&fs.ModeSymlink != 0 {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		source, version, top := "", "", ""
		lines := bufio.NewScanner(z)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if m := stanza.FindStringSubmatch(lines.Text()); m != nil {
				source, version = m[1], m[2]
				// A backport, 1.0-1~deb12u1, comes before what it carries on from,
				// 1.0-1, and has all of it.
				if top = cmp.Or(top, version); strings.Contains(top, "~") && exec.Command("dpkg", "--compare-versions", top, "lt", version).Run() == nil {
					version = top
				}
			}
			for _, id := range named.FindAllString(lines.Text(), -1) {
				if source == "" {
					continue
				}
				if fixed[id] == nil {
					fixed[id] = map[string]string{}
				}
				fixed[id][source] = version // older stanzas come later: the first mention counts
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var entries []string
	for id, sources := range fixed {
		record := map[string]any{"schema_version": "1.7.0", "id": "DEBIAN-" + id, "upstream": []string{id}, "modified": noon.Format(time.RFC3339)}
		var affected []any
		for source, version := range sources {
			affected = append(affected, map[string]any{
				"package": map[string]string{"ecosystem": ecosystem, "name": source},
				"ranges":  []any{map[string]any{"type": "ECOSYSTEM", "events": []any{map[string]string{"introduced": "0"}, map[string]string{"fixed": version}}}},
			})
		}
		record["affected"] = affected
		b, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, fmt.Sprintf("DEBIAN-%s.json", id), string(b))
	}
	return zipOf(t, entries...)
}

// TestShared matches this machine's own packages against the records that lie
// beside the clone, if they do.
func TestShared(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("there is no python3 to ask")
	}
	zip := "../../shared/data/vuln/osv-debian12-from-changelogs-17src.zip"
	if _, err := os.Stat(zip); err != nil {
		t.Skip("there are no records beside the clone")
	}
	if _, err := os.Stat("/var/lib/dpkg/status"); err != nil {
		t.Skip("not a Debian")
	}
	r, err := vuln.Matches(installed(t, "", "Debian:12"), built(t, zip))
	if err != nil {
		t.Fatal(err)
	}
	want := expected(t, zip, "", "Debian:12")
	if diff := gocmp.Diff(want, found(r)); diff != "" {
		t.Error(diff)
	}
	t.Logf("%d matches, as expected", len(want))
}
