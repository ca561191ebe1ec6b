package advisories

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestHostile: a source that is broken or too large is refused with its name
// and the reason, leaves nothing behind, and what is there stays.
func TestHostile(t *testing.T) {
	record := osv("A-1", "2026-11-01T00:00:00Z", "2", "Debian:12/a")
	good := zipOf(t, "A-1.json", record)
	twoEntries := zipOf(t, "A-1.json", record, "A-2.json", osv("A-2", "2026-11-01T00:00:00Z", "2", "Debian:12/a"))
	flipped := bytes.Clone(good)
	flipped[50] ^= 0xff // within the compressed record
	unchecked := gzipped(t, []byte(kevText))
	clear(unchecked[len(unchecked)-8:])
	dir := t.TempDir()
	path := filepath.Join(dir, "a.db")
	if _, err := Build(ctx, path, []Input{{Path: file(t, "a.zip", good)}}, noon); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		why     string
		content []byte
		within  limits
	}{
		{`entry "../../etc/cron.d/x.json": its name is not NAME.json`, zipOf(t, "../../etc/cron.d/x.json", record), usual},
		{`entry "dir/A-1.json": its name is not NAME.json`, zipOf(t, "dir/A-1.json", record), usual},
		{`entry "/A-1.json"`, zipOf(t, "/A-1.json", record), usual},
		{`entry "..\\A-1.json"`, zipOf(t, `..\A-1.json`, record), usual},
		{`entry "A-1.exe"`, zipOf(t, "A-1.exe", record), usual},
		{`entry "A-1.json": not an OSV record`, zipOf(t, "A-1.json", `{"id":"A-1","affected":[{`), usual},
		{`entry "A-1.json": it is too large once it is unpacked`, zipOf(t, "A-1.json", record+strings.Repeat(" ", 20<<20)), usual},
		{"there is no record in it that names a package", zipOf(t), usual},
		{"not a zip that can be read", good[:len(good)/2], usual},
		{`entry "A-1.json"`, flipped, usual},
		{"it has 2 entries, more than 1", twoEntries, limits{1 << 20, 1 << 20, 1 << 20, 1, 1 << 20, 1}},
		{"the zip's directory is too large", twoEntries, limits{1 << 20, 1 << 20, 1 << 20, 10, 64, 1}},
		{`entry "A-2.json": it is too large`, twoEntries, limits{1 << 20, int64(len(record)) + 10, 1 << 20, 10, 1 << 20, 1}},
		{"more than 1 ecosystems", zipOf(t, "A-1.json", osv("A-1", "2026-11-01T00:00:00Z", "2", "Debian:12/a", "Debian:11/a")), limits{1 << 20, 1 << 20, 1 << 20, 10, 1 << 20, 1}},
		{"it has " /* bytes, more than 10 */, good, limits{10, 1 << 20, 1 << 20, 10, 1 << 20, 1}},
		{"it is none of a zip of OSV records", []byte("hello"), usual},
		{"it is none of a zip of OSV records", nil, usual},
		{"it is too large once it is unpacked", gzipped(t, []byte(strings.Repeat("{", 1<<20))), limits{1 << 20, 1, 1 << 10, 1, 1, 1}},
		{"not JSON", []byte(`{"vulnerabilities":[`), usual},
		{"it is cut off", []byte(strings.Replace(kevText, `"count":2`, `"count":3`, 1)), usual},
		{"does not say of when it is", []byte(strings.Replace(kevText, `2026-11-20T17:00:00.9796Z`, `0001-01-01T00:00:00Z`, 1)), usual},
		{`KEV entry "CVE-x"`, []byte(strings.Replace(kevText, "CVE-2026-1001", "CVE-x", 1)), usual},
		{`EPSS of "CVE-2026-1000"`, []byte(strings.Replace(epssText, "0.97", "1.5", 1)), usual},
		{`EPSS of "CVE-2026-1000"`, []byte(strings.Replace(epssText, "0.97", "NaN", 1)), usual},
		{"does not say of which day it is", []byte("cve,epss,percentile\nCVE-2026-1000,0.9,0.9\n"), usual},
		{"the columns of the EPSS table", []byte("#model_version:v1,score_date:2026-11-21\na,b,c\n"), usual},
		{"wrong number of fields", []byte(epssText + "CVE-2026-1000,0.9\n"), usual},
		{`"x" is not a product with releases`, []byte(`{"x":1}`), usual},
		{`a release of "x" without a name`, []byte(`{"x":{"releases":[{"eol":true}]}}`), usual},
		{`"x" is not a product with releases`, []byte(`{"x":{"releases":[{"releaseCycle":"1","eol":"soon"}]}}`), usual},
		{"there is no release in it", []byte(`{"schema_version":"1","result":[]}`), usual},
		{"parsing time", []byte("version,codename,series,created,release,eol\n12,B,b,2021-08-14,tomorrow\n"), usual},
		{"gzip: invalid checksum", unchecked, usual},
	} {
		in := file(t, "source", c.content)
		_, err := build(ctx, path, []Input{{Path: in}}, noon, c.within)
		if err == nil || !strings.Contains(err.Error(), c.why) || !strings.Contains(err.Error(), in) {
			t.Errorf("want %q, got %v", c.why, err)
		}
	}
	if _, err := Build(ctx, path, []Input{{Path: dir}}, noon); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory: %v", err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(ctx, path, []Input{{Path: pipe}}, noon); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a pipe that nobody writes into: %v", err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := Build(gone, path, []Input{{Path: file(t, "a.zip", good)}}, noon); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file that was there is not as it was: %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestNotSilent: of a zip that is taken all records are in.
func TestNotSilent(t *testing.T) {
	var entries, want []string
	for _, id := range []string{"A-1", "A-2", "A-3"} {
		entries = append(entries, id+".json", osv(id, "2026-11-01T00:00:00Z", "2", "Debian:12/a"))
		want = append(want, id+" Debian")
	}
	d := built(t, file(t, "a.zip", zipOf(t, entries...)))
	if diff := cmp.Diff(strings.Join(want, ", "), ids(t, d, "Debian:12", "a")); diff != "" {
		t.Error(diff)
	}
}

// FuzzSource: whatever a source is, it is read into rows that say something, or
// refused. The tables are left out: SQLite takes a hundred times as long.
func FuzzSource(f *testing.F) {
	f.Add(zipOf(f, "A-1.json", osv("A-1", "2026-11-01T00:00:00Z", "2", "Debian:12/a")))
	f.Add(gzipped(f, []byte(kevText)))
	for _, s := range []string{kevText, epssText, endsText, endsAPI, distroText} {
		f.Add([]byte(s))
	}
	within := usual
	within.plain, within.feed = 1<<20, 1<<20
	f.Fuzz(func(t *testing.T, content []byte) {
		b := newBuilder(ctx, noon, within)
		rows := 0
		b.exec = func(_ string, args ...any) error {
			rows++
			for _, a := range args {
				if _, ok := a.(string); ok && a == "" {
					t.Error("a name or a body is empty")
				}
			}
			return nil
		}
		s := Source{Name: "source"}
		if err := b.read(bytes.NewReader(content), int64(len(content)), &s); err != nil {
			return
		}
		if s.Kind == "" || s.Records > rows {
			t.Errorf("%d rows for %+v", rows, s)
		}
	})
}
