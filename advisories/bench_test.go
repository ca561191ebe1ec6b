package advisories

import (
	"archive/zip"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"casco/vuln"
)

// many is the size of what osv.dev has of Debian: so many records, each about
// one of so many source packages, in four releases, with so many versions
// listed.
const many, sources, listed = 10_000, 1_000, 40

var large = sync.OnceValue(func() string {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := range many {
		w, err := z.Create(fmt.Sprintf("DEBIAN-CVE-2026-%05d.json", i))
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(w, `{"schema_version":"1.7.0","id":"DEBIAN-CVE-2026-%05d","upstream":["CVE-2026-%05d"],"modified":"2026-11-01T00:00:00Z","details":%q,"affected":[`, i, i, "In the Linux kernel, the following vulnerability has been resolved.")
		for n, release := range []int{11, 12, 13, 14} {
			if n > 0 {
				fmt.Fprint(w, ",")
			}
			fmt.Fprintf(w, `{"package":{"ecosystem":"Debian:%d","name":"source-%d"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1.%d-1+deb%du1"}]}],"versions":[`, release, i%sources, listed, release)
			for v := range listed {
				if v > 0 {
					fmt.Fprint(w, ",")
				}
				fmt.Fprintf(w, `"1.%d-1"`, v)
			}
			fmt.Fprint(w, "]}")
		}
		fmt.Fprint(w, "]}")
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "casco-bench-")
	if err != nil {
		panic(err)
	}
	in, path := filepath.Join(dir, "all.zip"), filepath.Join(dir, "large.db")
	if err := os.WriteFile(in, b.Bytes(), 0o600); err != nil {
		panic(err)
	}
	if _, err := Build(ctx, path, []Input{{Path: in}}, noon); err != nil {
		panic(err)
	}
	return path
})

func TestMain(m *testing.M) {
	code := m.Run()
	if benched {
		path := large()
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

var benched bool

func largeDB(b *testing.B) string {
	benched = true
	path := large()
	b.ResetTimer()
	return path
}

// BenchmarkOpen is what a verb waits for before it can ask anything.
func BenchmarkOpen(b *testing.B) {
	path := largeDB(b)
	st, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(st.Size())/(1<<20), "MiB")
	for b.Loop() {
		d, err := Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMatches is an image of 600 packages, each of which has ten records,
// opening included.
func BenchmarkMatches(b *testing.B) {
	path := largeDB(b)
	var ps []vuln.Package
	for i := range 600 {
		ps = append(ps, vuln.Package{Ecosystem: "Debian:12", Name: fmt.Sprintf("lib-%d", i), Version: "1.7-1+b1", Source: fmt.Sprintf("source-%d", i*7%sources), SourceVersion: "1.7-1"})
	}
	for b.Loop() {
		d, err := Open(path)
		if err != nil {
			b.Fatal(err)
		}
		r, err := vuln.Matches(ps, d)
		if err != nil || len(r.Matches) != 600*many/sources {
			b.Fatalf("%d matches, %v", len(r.Matches), err)
		}
		if err := d.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBuild is the whole of one large ecosystem.
func BenchmarkBuild(b *testing.B) {
	path := largeDB(b)
	for b.Loop() {
		if _, err := Build(ctx, path+".again", []Input{{Path: filepath.Join(filepath.Dir(path), "all.zip")}}, noon); err != nil {
			b.Fatal(err)
		}
	}
}
