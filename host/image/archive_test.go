package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"casco/loop/inventory"
)

// A member is one entry of an archive.
type member struct {
	name, text string
	mode       int64
	typ        byte
	link       string
}

func pack(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Mode: m.mode, Size: int64(len(m.text)), Typeflag: m.typ, Linkname: m.link}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func digestOf(b []byte) string {
	h := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(h[:])
}

// configOf is the configuration of an image of these layers.
func configOf(t testing.TB, extra map[string]any, layers ...[]byte) string {
	t.Helper()
	var diffs []string
	for _, l := range layers {
		diffs = append(diffs, digestOf(l))
	}
	c := map[string]any{"created": "2026-01-02T03:04:05Z", "architecture": platformArch, "os": platformOS, "rootfs": map[string]any{"type": "layers", "diff_ids": diffs}}
	for k, v := range extra {
		c[k] = v
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// savedImage is what "docker save" writes, in the order of engines before 25:
// the manifest last.
func savedImage(t testing.TB, tag string, extra map[string]any, layers ...[]byte) []byte {
	t.Helper()
	config := configOf(t, extra, layers...)
	id := digestOf([]byte(config))[7:]
	var members []member
	var names []string
	for i, l := range layers {
		name := fmt.Sprintf("%d/layer.tar", i)
		names = append(names, name)
		members = append(members, member{name: name, text: string(l)}, member{name: fmt.Sprintf("%d/VERSION", i), text: "1.0"})
	}
	list, err := json.Marshal([]saved{{Config: id + ".json", RepoTags: []string{tag}, Layers: names}})
	if err != nil {
		t.Fatal(err)
	}
	return pack(t, append(members, member{name: id + ".json", text: config}, member{name: "manifest.json", text: string(list)})...)
}

// layoutOf writes an OCI layout of an image whose layers are packed so.
func layoutOf(t testing.TB, packed func([]byte) []byte, layers ...[]byte) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(dir+"/blobs/sha256", 0o755); err != nil {
		t.Fatal(err)
	}
	blob := func(b []byte) map[string]any {
		d := digestOf(b)
		if err := os.WriteFile(dir+"/blobs/sha256/"+d[7:], b, 0o600); err != nil {
			t.Fatal(err)
		}
		return map[string]any{"digest": d, "size": len(b)}
	}
	doc := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	m := map[string]any{"schemaVersion": 2, "config": blob([]byte(configOf(t, nil, layers...)))}
	var list []any
	for _, l := range layers {
		list = append(list, blob(packed(l)))
	}
	m["layers"] = list
	d := blob(doc(m))
	d["annotations"] = map[string]string{"org.opencontainers.image.ref.name": "app:1"}
	if err := os.WriteFile(dir+"/index.json", doc(map[string]any{"manifests": []any{d}}), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func zstded(b []byte) []byte {
	w, _ := zstd.NewWriter(nil)
	return w.EncodeAll(b, nil)
}

// stanza is a package in dpkg's database.
func stanza(name, version, source string) string {
	s := fmt.Sprintf("Package: %s\nStatus: install ok installed\nArchitecture: amd64\nVersion: %s\n", name, version)
	if source != "" {
		s += "Source: " + source + "\n"
	}
	return s + "\n"
}

const bookworm = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n"

// listed are an image's packages as lines "ecosystem name version layer".
func listed(o *inventory.Object) []string {
	list, _, _ := inventory.ImagePackages.Of(o)
	var out []string
	for _, e := range list {
		m := e.(map[string]any)
		out = append(out, fmt.Sprint(m["Ecosystem"], " ", m["Name"], " ", m["Version"], " ", m["Layer"]))
	}
	return out
}

func elfOf(text string) string { return "\x7fELF" + text + strings.Repeat("\x00", 100) }

var someKey = "-----BEGIN PRIVATE KEY-----\n" + strings.Repeat("A", 64) + "\n-----END PRIVATE KEY-----\n"

// threeLayers: a base, one that installs, upgrades and removes, and one that
// deletes a package of a language.
func threeLayers(t testing.TB) [][]byte {
	base := pack(t,
		member{name: "etc/os-release", link: "../usr/lib/os-release", typ: tar.TypeSymlink},
		member{name: "usr/lib/os-release", text: bookworm},
		member{name: "./var/lib/dpkg/status", text: stanza("bash", "5.2-1", "") + stanza("libssl3", "3.0.11-1", "openssl (3.0.11-1)") + stanza("telnet", "1", "")},
		member{name: "etc/passwd", text: "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\n"},
		member{name: "usr/bin/su", text: elfOf("su"), mode: 0o4755},
		member{name: "usr/lib/python3/dist-packages/six-1.16.0.dist-info/METADATA", text: "Name: six\nVersion: 1.16.0\n"},
	)
	second := pack(t,
		member{name: "var/lib/dpkg/status", text: stanza("bash", "5.2-1", "") + stanza("libssl3", "3.0.14-1", "openssl (3.0.14-1)") + stanza("nginx", "1.22-1", "")},
		member{name: "srv/node_modules/lodash/package.json", text: `{"name":"lodash","version":"4.17.20"}`},
		member{name: "usr/local/lib/python3.11/site-packages/requests-2.19.0.dist-info/METADATA", text: "Name: requests\nVersion: 2.19.0\n"},
		member{name: "root/.ssh/id_ed25519", text: someKey},
		member{name: "usr/sbin/sshd", text: elfOf("sshd"), mode: 0o755},
		member{name: "var/cache/apt/archives/x.deb", text: "123456"},
	)
	third := pack(t,
		member{name: "srv/node_modules/.wh.lodash"},
		member{name: "root/.wh..wh..opq"},
		member{name: "usr/bin/su", text: elfOf("su"), mode: 0o755},
	)
	return [][]byte{base, second, third}
}

func TestArchive(t *testing.T) {
	layers := threeLayers(t)
	extra := map[string]any{
		"config":  map[string]any{"User": "toor", "Env": []string{"DB_PASSWORD=hunter2hunter2"}},
		"history": []any{map[string]any{"created_by": "first"}, map[string]any{"created_by": "RUN curl -u a:hunter2hunter2 x"}},
	}
	archive := filepath.Join(t.TempDir(), "app.tar")
	must(t, os.WriteFile(archive, savedImage(t, "app:1", extra, layers...), 0o600))
	for from, path := range map[string]string{
		"docker": archive,
		"oci":    layoutOf(t, func(b []byte) []byte { return b }, layers...),
		"gzip":   layoutOf(t, gzipped, layers...),
		"zstd":   layoutOf(t, zstded, layers...),
	} {
		cache := t.TempDir()
		for _, when := range []string{"cold", "warm"} {
			o, err := NewReader(cache).Open(t.Context(), path, "")
			if err != nil {
				t.Fatalf("%s, %s: %v", from, when, err)
			}
			want := []string{
				"Debian:12 bash 5.2-1 1", "Debian:12 libssl3 3.0.14-1 2", "Debian:12 nginx 1.22-1 2", "PyPI requests 2.19.0 2",
			}
			if d := cmp.Diff(want, listed(o)); d != "" {
				t.Errorf("%s, %s: %s", from, when, d)
			}
			if unseen, fact, ok := inventory.ImageUnseen.Of(o); !ok || len(unseen) > 0 {
				t.Errorf("%s: %v %v", from, unseen, fact)
			}
			access, _, _ := inventory.ImageAccess.Of(o)
			if d := cmp.Diff([]any{map[string]any{"Path": "/root/.ssh/id_ed25519", "What": privateKey, "Layer": int64(2), "Deleted": true}}, access); d != "" {
				t.Errorf("%s: %s", from, d)
			}
			if setuid, _, _ := inventory.ImageSetuid.Of(o); len(setuid) > 0 {
				t.Errorf("%s: setuid %v", from, setuid)
			}
			if ssh, _, _ := inventory.ImageSSH.Of(o); !slices.Equal(ssh, []string{"/usr/sbin/sshd"}) {
				t.Errorf("%s: ssh %v", from, ssh)
			}
			sheets, _, _ := inventory.ImageSheets.Of(o)
			if got := sheets[0].(map[string]any)["Wasted"]; got != int64(len(elfOf("su"))+len(stanza("bash", "5.2-1", "")+stanza("libssl3", "3.0.11-1", "openssl (3.0.11-1)")+stanza("telnet", "1", ""))) {
				t.Errorf("%s: wasted in the first layer: %v", from, got)
			}
			if got := sheets[1].(map[string]any)["Wasted"]; got != int64(len(`{"name":"lodash","version":"4.17.20"}`)+len(someKey)) {
				t.Errorf("%s: wasted in the second layer: %v", from, got)
			}
			if from != "docker" {
				continue
			}
			if id, _, _ := inventory.ImageUserID.Of(o); id != "0" {
				t.Errorf("the user is %q", id)
			}
			if b, _ := json.Marshal(o.Fields); bytes.Contains(b, []byte("hunter2")) {
				t.Errorf("a secret goes out: %s", b)
			}
		}
		if text := all(t, cache); strings.Contains(text, "hunter2hunter2\"") && from != "docker" {
			t.Errorf("%s: a secret is kept", from)
		}
	}
}

// TestWarm reads nothing of an archive twice, unless it is another one.
func TestWarm(t *testing.T) {
	layers := threeLayers(t)
	archive, cache := filepath.Join(t.TempDir(), "app.tar"), t.TempDir()
	must(t, os.WriteFile(archive, savedImage(t, "app:1", nil, layers...), 0o600))
	if _, err := NewReader(cache).Open(t.Context(), archive, ""); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(archive)
	must(t, err)
	// The same size and the same time, and other bytes: the claim of being read
	// before is not believed.
	b := savedImage(t, "app:1", nil, layers...)
	at := bytes.Index(b, []byte("nginx"))
	copy(b[at:], "evilx")
	must(t, os.WriteFile(archive, b, 0o600))
	must(t, os.Chtimes(archive, info.ModTime(), info.ModTime()))
	if _, err := NewReader(cache).Open(t.Context(), archive, ""); err == nil || !strings.Contains(err.Error(), "altered") {
		t.Errorf("an altered archive: %v", err)
	}
}

// TestCannotSee: no list of packages is not an empty one.
func TestCannotSee(t *testing.T) {
	busybox := member{name: "bin/busybox", text: elfOf("busybox"), mode: 0o755}
	status := member{name: "var/lib/dpkg/status", text: stanza("bash", "1", "")}
	for name, tc := range map[string]struct {
		layers [][]byte
		unseen string
	}{
		"static":  {[][]byte{pack(t, busybox)}, "no package database; programs such as /bin/busybox"},
		"deleted": {[][]byte{pack(t, busybox, status), pack(t, member{name: "var/lib/.wh.dpkg"})}, "the database of packages of layer 1, is deleted"},
		"script":  {[][]byte{pack(t, member{name: "run", text: "#!/bin/sh\n" + strings.Repeat("echo\n", 20), mode: 0o755})}, "no package database"},
		"broken":  {[][]byte{pack(t, busybox, member{name: "var/lib/dpkg/status", text: stanza("bash", "1", "") + "Package: x\nStatus: broken\nVersion: 1\n\n"})}, "/var/lib/dpkg/status: statusInstalled"},
		"empty":   {[][]byte{pack(t)}, ""},
		"gone":    {[][]byte{pack(t, busybox), pack(t, member{name: "bin/.wh.busybox"})}, ""},
	} {
		archive := filepath.Join(t.TempDir(), "a.tar")
		must(t, os.WriteFile(archive, savedImage(t, "a:1", nil, tc.layers...), 0o600))
		o, err := NewReader("").Open(t.Context(), archive, "")
		must(t, err)
		unseen, _, _ := inventory.ImageUnseen.Of(o)
		if got := strings.Join(unseen, "|"); (tc.unseen == "") != (got == "") || !strings.Contains(got, tc.unseen) {
			t.Errorf("%s: %q, want %q", name, got, tc.unseen)
		}
	}
}

// scalibr is where the module with its test data lies.
func scalibr(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/google/osv-scalibr").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out)) + "/extractor/filesystem/"
}

// TestKinds reads each kind of list of packages, rpm's in its three formats.
func TestKinds(t *testing.T) {
	read := func(path string) string {
		b, err := os.ReadFile(filepath.Join(scalibr(t), path))
		must(t, err)
		return string(b)
	}
	us, err := os.Executable()
	must(t, err)
	program, err := os.ReadFile(us)
	must(t, err)
	fedora := member{name: "etc/os-release", text: "ID=rocky\nVERSION_ID=\"9.2\"\n"}
	for name, tc := range map[string]struct {
		members []member
		has     string
	}{
		"apk":          {[]member{{name: "etc/os-release", text: "ID=alpine\nVERSION_ID=3.18.4\n"}, {name: "lib/apk/db/installed", text: "P:libcrypto3\nV:3.1.2-r0\nA:x86_64\no:openssl\n\n"}}, "Alpine:v3.18 libcrypto3 3.1.2-r0 1"},
		"distroless":   {[]member{{name: "etc/os-release", text: bookworm}, {name: "var/lib/dpkg/status.d/base", text: "Package: base-files\nVersion: 12.4\nArchitecture: amd64\n"}}, "Debian:12 base-files 12.4 1"},
		"ubuntu":       {[]member{{name: "etc/os-release", text: "ID=ubuntu\nVERSION_ID=\"22.04\"\n"}, {name: "var/lib/dpkg/status", text: stanza("bash", "5.1", "")}}, "Ubuntu:22.04 bash 5.1 1"},
		"rpm sqlite":   {[]member{fedora, {name: "var/lib/rpm/rpmdb.sqlite", text: read("os/rpm/testdata/rpmdb.sqlite")}}, "Rocky Linux:9 bash 5.1.8-6.el9_1 1"},
		"rpm ndb":      {[]member{{name: "etc/os-release", text: "ID=\"opensuse-leap\"\nVERSION_ID=\"15.5\"\n"}, {name: "usr/lib/sysimage/rpm/Packages.db", text: read("os/rpm/testdata/Packages.db")}}, "openSUSE:Leap 15.5 bash 4.4-150400.25.22 1"},
		"rpm bdb":      {[]member{fedora, {name: "var/lib/rpm/Packages", text: read("os/rpm/testdata/Packages_epoch")}}, "Rocky Linux:9 "},
		"go":           {[]member{{name: "app", text: string(program), mode: 0o755}}, "Go stdlib 1."},
		"jar":          {[]member{{name: "srv/guava.jar", text: read("language/java/archive/testdata/guava-31.1-jre.jar")}}, "Maven com.google.guava:guava 31.1-jre 1"},
		"npm":          {[]member{{name: "a/package.json", text: `{"name":"minimist","version":"0.0.8"}`}}, "npm minimist 0.0.8 1"},
		"package-lock": {[]member{{name: "a/package-lock.json", text: `{"lockfileVersion":2,"packages":{"node_modules/qs":{"version":"6.5.2"}}}`}}, "npm qs 6.5.2 1"},
		"wheel":        {[]member{{name: "usr/lib/site-packages/flask-0.12.dist-info/METADATA", text: "Name: Flask\nVersion: 0.12\n"}}, "PyPI Flask 0.12 1"},
		"egg":          {[]member{{name: "opt/x.egg-info/PKG-INFO", text: "Name: x\nVersion: 1\n"}}, "PyPI x 1 1"},
	} {
		archive := filepath.Join(t.TempDir(), "a.tar")
		must(t, os.WriteFile(archive, savedImage(t, "a:1", nil, pack(t, tc.members...)), 0o600))
		o, err := NewReader("").Open(t.Context(), archive, "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := listed(o); !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, tc.has) }) {
			t.Errorf("%s: %v, want %s", name, got[:min(len(got), 12)], tc.has)
		}
	}
}
