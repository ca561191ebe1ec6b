package image

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"casco/loop/inventory"
)

// zeros are so many bytes, packed as a stranger would pack a bomb.
func zeros(t *testing.T, w io.WriteCloser, n int64) {
	t.Helper()
	block := make([]byte, 1<<20)
	for ; n > 0; n -= int64(len(block)) {
		if _, err := w.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// header is the beginning of an archive whose one file has that size.
func header(t *testing.T, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&tar.Header{Name: "usr/bin/x", Mode: 0o755, Size: size, Format: tar.FormatPAX}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// manifestOf is an archive with these parts, and a manifest of one layer.
func manifestOf(t *testing.T, layer []byte, config string) []byte {
	t.Helper()
	return pack(t, member{name: "l.tar", text: string(layer)}, member{name: "c.json", text: config}, member{name: "manifest.json", text: `[{"Config":"c.json","Layers":["l.tar"]}]`})
}

// TestHostile: what nobody should have to read is refused, with a reason, and
// nothing of it is written anywhere.
func TestHostile(t *testing.T) {
	var bomb, zbomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	w.Write(header(t, 1<<33))
	zeros(t, w, unpackedFree+1<<26)
	z, err := zstd.NewWriter(&zbomb)
	must(t, err)
	z.Write(header(t, 1<<33))
	zeros(t, z, unpackedFree+1<<26)
	good := pack(t, member{name: "f", text: "x"})
	other := pack(t, member{name: "f", text: "y"})
	long := strings.Repeat("d/", depthMost+1) + "f"
	deep := `{"manifests":[{"digest":"sha256:x"}]}`
	layout := func(index string, blobs map[string]string) string {
		dir := t.TempDir()
		must(t, os.MkdirAll(dir+"/blobs/sha256", 0o755))
		must(t, os.WriteFile(dir+"/index.json", []byte(index), 0o600))
		for name, text := range blobs {
			must(t, os.WriteFile(dir+"/blobs/sha256/"+name, []byte(text), 0o600))
		}
		return dir
	}
	file := func(b []byte) string {
		path := filepath.Join(t.TempDir(), "i.tar")
		must(t, os.WriteFile(path, b, 0o600))
		return path
	}
	outside := layout(deep, nil)
	must(t, os.Symlink("/etc/passwd", outside+"/blobs/sha256/x"))
	fifo := layout(deep, nil)
	must(t, os.Mkdir(fifo+"/blobs/sha256/x", 0o755))
	var nested string
	for range indexDepth + 2 { // each index names the one before
		text := deep
		if nested != "" {
			text = `{"manifests":[{"digest":"sha256:` + nested + `"}]}`
		}
		nested = digestOf([]byte(text))[7:]
	}
	for want, path := range map[string]string{
		"leads out of the layer": file(manifestOf(t, pack(t, member{name: "../../etc/cron.d/x", text: "x"}), configOf(t, nil))),
		`"a/../../x" leads out`:  file(manifestOf(t, pack(t, member{name: "f", link: "a/../../x", typ: tar.TypeLink}), configOf(t, nil))),
		`"../manifest.json"`:     file(pack(t, member{name: "../manifest.json", text: "[]"})),
		"in one another":         file(manifestOf(t, pack(t, member{name: long, text: "x"}), configOf(t, nil))),
		"name of 5000 bytes":     file(manifestOf(t, pack(t, member{name: strings.Repeat("n", 5000), text: "x"}), configOf(t, nil))),
		"taken for a bomb":       file(manifestOf(t, bomb.Bytes(), configOf(t, nil))),
		"a bomb":                 file(manifestOf(t, zbomb.Bytes(), configOf(t, nil))),
		"altered, or is damaged": file(manifestOf(t, good, configOf(t, nil, other))),
		"has another digest":     file(pack(t, member{name: "blobs/sha256/" + strings.Repeat("0", 64), text: string(good)})),
		"unexpected EOF":         file(manifestOf(t, good[:300], configOf(t, nil, good))),
		"manifest.json: ":        file(pack(t, member{name: "manifest.json", text: "[{"})),
		"configuration of the":   file(manifestOf(t, good, `{"rootfs": 3}`)),
		`"c.json" is named`:      file(pack(t, member{name: "l.tar", text: string(good)}, member{name: "manifest.json", text: `[{"Config":"c.json","Layers":["l.tar"]}]`})),
		`"l.tar" is named`:       file(pack(t, member{name: "c.json", text: "{}"}, member{name: "manifest.json", text: `[{"Config":"c.json","Layers":["l.tar"]}]`})),
		"document of more than":  file(pack(t, member{name: "x.json", text: "{" + strings.Repeat(" ", documentMost)})),
		"not an archive":         file([]byte(strings.Repeat("no tar ", 200))),
		"neither manifest.json":  file(pack(t)),
		"more than 512 layers":   file(pack(t, member{name: "c.json", text: "{}"}, member{name: "manifest.json", text: `[{"Config":"c.json","Layers":[` + strings.Repeat(`"x",`, layersMost+1) + `"x"]}]`})),
		"escapes":                outside,
		"no regular file":        fifo,
		"no name of a blob":      layout(`{"manifests":[{"digest":"sha256:../../../etc/passwd"}]}`, nil),
		"not an OCI layout":      t.TempDir(),
		"no image is in it":      layout(`{"manifests":[]}`, nil),
	} {
		dir := t.TempDir()
		t.Setenv("TMPDIR", dir)
		if _, err := NewReader("").Open(t.Context(), path, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: %v was left", want, left)
		}
	}
}

// TestSparse: a file of a terabyte that is all hole is no work, wherever it is.
func TestSparse(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(dir + "/hole")
	must(t, err)
	must(t, f.Truncate(1<<40))
	must(t, f.Close())
	for _, format := range []string{"posix", "gnu"} {
		out, err := exec.Command("tar", "-C", dir, "--format="+format, "-S", "-cf", "-", "hole").Output()
		must(t, err)
		if len(out) > 1<<20 {
			t.Fatalf("%s: %d bytes", format, len(out))
		}
		if _, err := NewReader("").Stream(t.Context(), bytes.NewReader(out), "stdin", ""); err == nil || !strings.Contains(err.Error(), "a sparse part") {
			t.Errorf("%s: %v", format, err)
		}
		if _, err := NewReader("").Stream(t.Context(), bytes.NewReader(savedImage(t, "s:1", nil, out)), "stdin", ""); err == nil || !strings.Contains(err.Error(), "files of more than") {
			t.Errorf("%s, in a layer: %v", format, err)
		}
	}
}

// TestCircle: layers and links may repeat and go round without end.
func TestCircle(t *testing.T) {
	layer := pack(t, member{name: "etc/os-release", text: bookworm}, member{name: "var/lib/dpkg/status", text: stanza("bash", "1", "")})
	twice := pack(t,
		member{name: "a/layer.tar", link: "../b/layer.tar", typ: tar.TypeSymlink}, member{name: "b/layer.tar", text: string(layer)},
		member{name: "c/layer.tar", link: "../c/layer.tar", typ: tar.TypeSymlink},
		member{name: "c.json", text: configOf(t, nil, layer, layer)}, member{name: "manifest.json", text: `[{"Config":"c.json","Layers":["a/layer.tar","b/layer.tar"]}]`})
	o, err := NewReader("").Stream(t.Context(), bytes.NewReader(twice), "stdin", "")
	must(t, err)
	if got := listed(o); len(got) != 1 || got[0] != "Debian:12 bash 1 1" {
		t.Errorf("a layer that comes twice: %v", got)
	}
	round := bytes.Replace(twice, []byte(`"a/layer.tar"`), []byte(`"c/layer.tar"`), 1)
	if _, err := NewReader("").Stream(t.Context(), bytes.NewReader(round), "stdin", ""); err == nil {
		t.Error("a link to itself was followed to its end")
	}
	// An index that names itself cannot be made, for its name is its digest; one
	// that names another a thousand times can.
	inner := `{"manifests":[]}`
	index := `{"manifests":[` + strings.Repeat(`{"digest":"`+digestOf([]byte(inner))+`"},`, 999) + `{"digest":"` + digestOf([]byte(inner)) + `"}]}`
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/blobs/sha256", 0o755))
	must(t, os.WriteFile(dir+"/index.json", []byte(index), 0o600))
	must(t, os.WriteFile(dir+"/blobs/sha256/"+digestOf([]byte(inner))[7:], []byte(inner), 0o600))
	if _, err := NewReader("").Open(t.Context(), dir, ""); err == nil || !strings.Contains(err.Error(), "no image") {
		t.Error(err)
	}
}

// TestMany: a layer of very many files, of a whiteout for each file below, and
// of a sparse file, costs what it must and no more.
func TestMany(t *testing.T) {
	const n = 100_000
	var files, gone bytes.Buffer
	a, b := tar.NewWriter(&files), tar.NewWriter(&gone)
	for i := range n {
		must(t, a.WriteHeader(&tar.Header{Name: fmt.Sprintf("d%d/f%d", i%100, i), Mode: 0o644, Size: 1}))
		_, err := a.Write([]byte("x"))
		must(t, err)
		must(t, b.WriteHeader(&tar.Header{Name: fmt.Sprintf("d%d/.wh.f%d", i%100, i), Mode: 0o644}))
	}
	must(t, a.Close())
	must(t, b.Close())
	o, err := NewReader("").Stream(t.Context(), bytes.NewReader(savedImage(t, "m:1", nil, files.Bytes(), gone.Bytes())), "stdin", "")
	must(t, err)
	sheets, _, _ := inventory.ImageSheets.Of(o)
	if s := sheets[0].(map[string]any); s["Files"] != int64(n) || s["Wasted"] != int64(n) {
		t.Errorf("%v, want %d files, all of them wasted", s, n)
	}
}

// TestArchives: Java archives that would unpack to too much are not unpacked,
// and what was not read is said.
func TestArchives(t *testing.T) {
	made := func(name string, size int64, inner []byte) []byte {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		f, err := w.Create(name)
		must(t, err)
		if inner != nil {
			_, err = f.Write(inner)
			must(t, err)
		}
		_, err = io.CopyN(f, zeroReader{}, size)
		must(t, err)
		must(t, w.Close())
		return b.Bytes()
	}
	nested := made("META-INF/MANIFEST.MF", 10, nil)
	for range zipDepth + 1 {
		nested = made("x.jar", 0, nested)
	}
	for want, jar := range map[string][]byte{
		"manifest.mf in an archive unpacks": made("META-INF/MANIFEST.MF", zipText+1, nil),
		"an archive unpacks to more than":   made("inner.jar", zipUnpacked+1, nil),
		"deep in one another":               nested,
		"not a valid zip":                   []byte(strings.Repeat("no zip ", 20)),
	} {
		image := savedImage(t, "j:1", nil, pack(t, member{name: "srv/x.jar", text: string(jar)}))
		o, err := NewReader("").Stream(t.Context(), bytes.NewReader(image), "stdin", "")
		must(t, err)
		if unseen, _, _ := inventory.ImageUnseen.Of(o); len(unseen) != 1 || !strings.Contains(unseen[0], want) {
			t.Errorf("want %q, got %v", want, unseen)
		}
	}
}

type zeroReader struct{}

func (zeroReader) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func FuzzArchive(f *testing.F) {
	f.Add(savedImage(f, "a:1", nil, threeLayers(f)...))
	f.Add(savedImage(f, "a:1", nil, gzipped(pack(f, member{name: "x", text: "y"}))))
	f.Add(pack(f, member{name: "index.json", text: `{"manifests":[{"digest":"sha256:a"}]}`}))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := NewReader("").Stream(t.Context(), bytes.NewReader(b), "fuzz", "")
		if err != nil {
			return
		}
		if id, _, ok := inventory.ImageID.Of(o); !ok || !strings.HasPrefix(id, "sha256:") {
			t.Errorf("an image without an ID: %v", o.Fields)
		}
	})
}

// FuzzLayer reads what a layer may hold: each reader of lists of packages gets
// the bytes as its file.
func FuzzLayer(f *testing.F) {
	paths := []string{
		"var/lib/dpkg/status", "lib/apk/db/installed", "var/lib/rpm/rpmdb.sqlite", "usr/lib/sysimage/rpm/Packages.db", "var/lib/rpm/Packages", "app", "a.jar",
		"package.json", "package-lock.json", "x.dist-info/METADATA", "x.egg", "etc/os-release", "etc/passwd", "root/.ssh/id_rsa", "root/.docker/config.json",
	}
	f.Add(0, []byte(stanza("bash", "1", "openssl (1)")))
	f.Add(1, []byte("P:a\nV:1\n\n"))
	f.Add(5, []byte(elfOf("x")))
	f.Add(7, []byte(`{"name":"a","version":"1"}`))
	f.Fuzz(func(t *testing.T, which int, text []byte) {
		p := paths[uint(which)%uint(len(paths))]
		l, _, err := readTar(t.Context(), bytes.NewReader(pack(t, member{name: p, text: string(text), mode: 0o755})))
		if err != nil {
			t.Fatal(err) // the archive is good, whatever the file is
		}
		for _, found := range l.Software {
			for _, p := range found.Packages {
				if p.Name == "" || p.Version == "" || p.Ecosystem == "" {
					t.Errorf("%+v", p)
				}
			}
		}
		compose(stack{"sha256:x"}, []Layer{l})
	})
}
