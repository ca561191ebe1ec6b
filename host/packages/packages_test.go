package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"casco/loop/inventory"
)

const dpkgStatus = `Package: telnet
Status: install ok installed
Architecture: all
Source: inetutils (2:2.4-2+deb12u1)
Version: 0.17+2.4-2
Description: transitional
 Package: not-a-package
 .
 Version: 9

Package: gone
Status: deinstall ok config-files
Version: 1

Package: half
Status: install ok half-configured
Architecture: amd64
Version: 3

Package: never
Status: purge ok not-installed
Version: 4
`

const apkInstalled = "C:Q1abc=\nP:busybox\nV:1.36.1-r29\nA:x86_64\no:busybox\nF:bin\nR:busybox\n\nP:runc\nV:1.1.12-r5\nA:x86_64\no:runc\n"

func read(t *testing.T, files map[string]string, names ...string) (map[string]string, *inventory.Snapshot) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := inventory.Take(t.Context(), "h", time.Now(), New(dir, names...))
	got := map[string]string{}
	for _, o := range s.Objects {
		got[o.Ref.Name], _, _ = inventory.PackageVersion.Of(o)
	}
	return got, s
}

func TestRead(t *testing.T) {
	dpkgs, apks := map[string]string{"var/lib/dpkg/status": dpkgStatus}, map[string]string{"lib/apk/db/installed": apkInstalled}
	for name, tc := range map[string]struct {
		files map[string]string
		only  []string
		want  map[string]string
		gap   string
	}{
		"dpkg":       {dpkgs, nil, map[string]string{"telnet": "0.17+2.4-2", "half": "3"}, ""},
		"some":       {dpkgs, []string{"telnet", "gone", "none"}, map[string]string{"telnet": "0.17+2.4-2"}, ""},
		"head":       {dpkgs, []string{"tel*"}, map[string]string{"telnet": "0.17+2.4-2"}, ""},
		"apk":        {apks, nil, map[string]string{"busybox": "1.36.1-r29", "runc": "1.1.12-r5"}, ""},
		"rpm":        {map[string]string{"var/lib/rpm/rpmdb.sqlite": "x"}, nil, map[string]string{}, "/var/lib/rpm/rpmdb.sqlite: the packages of rpm are not read yet"},
		"none":       {nil, nil, map[string]string{}, "no database"},
		"unreadable": {map[string]string{"var/lib/dpkg/status/x": ""}, nil, map[string]string{}, "is a directory"},
		"too long":   {map[string]string{"var/lib/dpkg/status": "Package: " + strings.Repeat("x", 2*maxLine)}, nil, map[string]string{}, "token too long"},
	} {
		got, s := read(t, tc.files, tc.only...)
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if (tc.gap == "") != (len(s.Gaps) == 0) || len(s.Gaps) > 0 && !strings.Contains(s.Gaps[0].Reason, tc.gap) {
			t.Errorf("%s: gaps %v, want %q", name, s.Gaps, tc.gap)
		}
	}
}

func TestSourcePackage(t *testing.T) {
	_, s := read(t, map[string]string{"var/lib/dpkg/status": dpkgStatus})
	for name, want := range map[string]string{"telnet": "inetutils", "half": "half"} {
		if got := s.Find(inventory.Ref{Kind: inventory.Package, Name: name}).Fields["SourcePackage"]; got != want {
			t.Errorf("%s is of %v, want %s", name, got, want)
		}
	}
}

// TestThisHost compares with dpkg-query(1).
func TestThisHost(t *testing.T) {
	out, err := exec.Command("dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version}\n").Output()
	if err != nil {
		t.Skipf("needs dpkg: %v", err)
	}
	s := inventory.Take(t.Context(), "h", time.Now(), New(""))
	n := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[0] == "config-files" || f[0] == "not-installed" {
			continue
		}
		n[f[1]] = true
		o := s.Find(inventory.Ref{Kind: inventory.Package, Name: f[1]})
		if v, _, _ := inventory.PackageVersion.Of(o); v != f[2] {
			t.Errorf("%s: version %q, dpkg-query says %s", f[1], v, f[2])
		}
	}
	if got := len(s.Objects); got != len(n) {
		t.Errorf("%d packages, dpkg-query lists %d", got, len(n))
	}
}

func FuzzDpkg(f *testing.F) {
	f.Add(dpkgStatus)
	f.Fuzz(func(t *testing.T, text string) {
		err := dpkg(strings.NewReader(text), func(p pkg) {
			if p.name == "" || strings.Contains(p.name, "\n") {
				t.Errorf("%+v", p)
			}
		})
		if err != nil && len(text) < maxLine {
			t.Error(err)
		}
	})
}
