package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tarOf packs files, given as name and text in turns.
func tarOf(t *testing.T, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// anImage writes an archive of an image with a layer of these files.
func anImage(t *testing.T, files ...string) string {
	t.Helper()
	layer := tarOf(t, files...)
	sum := sha256.Sum256(layer)
	config, err := json.Marshal(map[string]any{
		"created": "2026-01-02T03:04:05Z", "config": map[string]any{"User": "0:0", "Env": []string{"DATABASE_URL=postgres://u:geheim12@h/d"}},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
		"history": []any{map[string]any{"created_by": "COPY all /"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "app.tar")
	archive := tarOf(t, "l/layer.tar", string(layer), "c.json", string(config), "manifest.json", `[{"Config":"c.json","RepoTags":["app:1"],"Layers":["l/layer.tar"]}]`)
	if err := os.WriteFile(path, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// verb runs the program and returns what it printed and its exit code.
func verb(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{"casco", "--lang", "en", "--state", t.TempDir()}, args...), strings.NewReader(""), &out, &errs)
	return out.String(), errs.String(), code
}

var debianFiles = []string{
	"etc/os-release", "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian 12\"\n",
	"var/lib/dpkg/status", "Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\nSource: openssl\nVersion: 3.0.11-1\n\n",
	"root/.docker/config.json", `{"auths": {"r.test": {"auth": "Y29ycmVjdC1ob3JzZQ=="}}}`,
}

func TestImageVerb(t *testing.T) {
	path := anImage(t, debianFiles...)
	out, stderr, code := verb(t, "image", path)
	if code != exitFindings {
		t.Fatalf("exit code %d\n%s%s", code, out, stderr)
	}
	for _, want := range []string{"Debian 12", "1 packages", "image-root-user", "image-secrets", "/root/.docker/config.json: registry-login, layer 1", "COPY all /"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	document, _, _ := verb(t, "image", path+":app:1", "--format", "json", "--threshold", "critical")
	var got struct {
		Schema   string
		Image    struct{ Name string }
		Packages []struct{ Ecosystem, Name, Version, Source string }
	}
	if err := json.Unmarshal([]byte(document), &got); err != nil {
		t.Fatal(err)
	}
	if got.Schema != "casco/image/v1" || got.Image.Name != "app:1" || len(got.Packages) != 1 || got.Packages[0].Ecosystem != "Debian:12" || got.Packages[0].Source != "openssl" {
		t.Errorf("%+v", got)
	}
	for _, secret := range []string{"geheim12", "Y29ycmVjdC1ob3JzZQ"} {
		if strings.Contains(out+document, secret) {
			t.Errorf("%s is printed", secret)
		}
	}
	if _, _, code := verb(t, "image", path, "--threshold", "critical"); code != exitClean {
		t.Errorf("nothing is critical, and the exit code is %d", code)
	}
	for want, args := range map[string][]string{
		"no image \"other:1\" is in it":      {"image", path + ":other:1"},
		"--format is one of text":            {"image", path, "--format", "pdf"},
		"--from is engine, registry or file": {"image", path, "--from", "moon"},
		"no such file":                       {"image", "--from", "file", "/nowhere"},
		"neither manifest.json":              {"image", write(t, tarOf(t, "x", "y"))},
		"is no file, and the engine":         {"--host", "/nowhere.sock", "image", "nothing:1"},
	} {
		if _, stderr, code := verb(t, args...); code == exitClean || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, %q; want %q", args, code, stderr, want)
		}
	}
}

func write(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
