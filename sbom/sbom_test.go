package sbom

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"casco/vuln"
)

var bill = Bill{
	Name: "shop/app:1", Digest: "sha256:" + strings.Repeat("ab", 32), At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Tool: "1",
	Packages: []vuln.Package{
		{
			Ecosystem: "Debian:12", Name: "libssl3", Version: "3.0.11-1", Source: "openssl", SourceVersion: "3.0.11-1", Arch: "amd64",
			PURL: "pkg:deb/debian/libssl3@3.0.11-1?arch=amd64&distro=bookworm", Layer: "sha256:1", Paths: []string{"/var/lib/dpkg/status"},
		},
		{Ecosystem: "npm", Name: "@babel/core", Version: "7.0.0", PURL: "pkg:npm/%40babel/core@7.0.0", Paths: []string{"/a=b/package.json"}},
		{Ecosystem: "Go", Name: "stdlib", Version: "1.20", PURL: "pkg:golang/stdlib@1.20"},
	},
	Unseen: []string{"no package database"},
}

func TestRoundTrip(t *testing.T) {
	for _, format := range Formats {
		var one, two bytes.Buffer
		if err := bill.Write(&one, format); err != nil {
			t.Fatal(err)
		}
		if err := bill.Write(&two, format); err != nil || !bytes.Equal(one.Bytes(), two.Bytes()) {
			t.Errorf("%s: the same bill gives other bytes (%v)", format, err)
		}
		back, err := Read(&one)
		if err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		if d := cmp.Diff(bill.Packages, back.Packages); d != "" {
			t.Errorf("%s: %s", format, d)
		}
		if back.Name != bill.Name || back.Digest != bill.Digest || !back.At.Equal(bill.At) {
			t.Errorf("%s: %+v", format, back)
		}
	}
}

// TestCycloneDXSchema holds what is written against the schema that the module
// of CycloneDX carries.
func TestCycloneDXSchema(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	for _, name := range []string{"bom-1.6.schema.json", "spdx.schema.json", "jsf-0.82.schema.json"} {
		path := filepath.Join(strings.TrimSpace(string(out)), "schema", name)
		text, err := os.ReadFile(path)
		if err != nil { // one of them is there with a slip in its name
			if text, err = os.ReadFile(strings.TrimSuffix(path, ".json") + "x.json"); err != nil {
				t.Fatal(err)
			}
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource("http://cyclonedx.org/schema/"+name, doc); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := c.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := bill.Write(&text, "cyclonedx"); err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(&text)
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Error(err)
	}
	doc.(map[string]any)["bomFormat"] = "x"
	if schema.Validate(doc) == nil {
		t.Error("the schema takes anything")
	}
}

// TestForeign reads what other programs write.
func TestForeign(t *testing.T) {
	component := func(purl string) string {
		b, _ := json.Marshal(map[string]any{"type": "library", "name": "n", "version": "v", "purl": purl})
		return string(b)
	}
	for purl, want := range map[string]string{
		"pkg:deb/debian/libssl3@3.0.11-1?arch=amd64&distro=debian-12&upstream=openssl%403.0.11-1": "Debian:12 n v openssl 3.0.11-1",
		"pkg:deb/debian/bash@5?distro=bookworm":                                                   "Debian:12 n v",
		"pkg:deb/ubuntu/bash@5?distro=ubuntu-22.04":                                               "Ubuntu:22.04 n v",
		"pkg:apk/alpine/busybox@1?distro=alpine-3.18.4":                                           "Alpine:v3.18 n v",
		"pkg:apk/alpine/busybox@1?distro=3.18.4":                                                  "Alpine:v3.18 n v",
		"pkg:rpm/rocky/bash@5?distro=rocky-9.2&epoch=1":                                           "Rocky Linux:9 n 1:v",
		"pkg:golang/github.com/a/b@v1.2.3":                                                        "Go github.com/a/b 1.2.3",
		"pkg:golang/stdlib@1.20":                                                                  "Go stdlib 1.20",
		"pkg:npm/%40babel/core@7.0.0":                                                             "npm @babel/core v",
		"pkg:maven/org.a/b@1":                                                                     "Maven org.a:b v",
		"pkg:pypi/requests@2":                                                                     "PyPI n v",
		"pkg:deb/debian/bash@5":                                                                   "",
		"pkg:generic/x@1":                                                                         "",
		"nonsense":                                                                                "",
		"":                                                                                        "",
	} {
		b, err := Read(strings.NewReader(`{"bomFormat": "CycloneDX", "specVersion": "1.5", "components": [` + component(purl) + `]}`))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if len(b.Packages) == 1 {
			p := b.Packages[0]
			got = strings.TrimSpace(strings.Join([]string{p.Ecosystem, p.Name, p.Version, p.Source, p.SourceVersion}, " "))
		}
		if got != want || (want == "") != slices.ContainsFunc(b.Unseen, func(s string) bool { return strings.Contains(s, "1 packages") }) {
			t.Errorf("%s: %q, %v; want %q", purl, got, b.Unseen, want)
		}
	}
	b, err := Read(strings.NewReader("SPDXVersion: SPDX-2.3\nDataLicense: CC0-1.0\nSPDXID: SPDXRef-DOCUMENT\nDocumentName: d\nDocumentNamespace: http://x/y\nCreator: Tool: x\nCreated: 2026-01-02T03:04:05Z\n\nPackageName: six\nSPDXID: SPDXRef-a\nPackageVersion: 1\nPackageDownloadLocation: NONE\nFilesAnalyzed: false\nExternalRef: PACKAGE-MANAGER purl pkg:pypi/six@1\n"))
	if err != nil || len(b.Packages) != 1 || b.Packages[0].Ecosystem != "PyPI" {
		t.Errorf("tag-value: %+v, %v", b, err)
	}
	for _, text := range []string{"", "{}", "[]", `{"bomFormat": "CycloneDX", "components": 3}`, `{"spdxVersion": "SPDX-2.3", "packages": {}}`} {
		if _, err := Read(strings.NewReader(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, format := range Formats {
		var b bytes.Buffer
		if err := bill.Write(&b, format); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte("SPDXVersion: SPDX-2.3\nPackageName: six\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := Read(bytes.NewReader(text))
		if err != nil {
			return
		}
		for _, p := range b.Packages {
			if p.Ecosystem == "" || p.Name == "" {
				t.Errorf("%+v", p)
			}
		}
	})
}
