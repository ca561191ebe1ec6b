package acceptance

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"casco/internal/outside"
	"casco/internal/realdocker"
)

// An imageState is an image and what must be said of it. %L stands for a
// command of 3,000 characters that does nothing.
type imageState struct{ id, name, dockerfile, check, want string }

var imageStates = []imageState{
	{"user-zero", "u1", "FROM scratch\nUSER 0:0\nENV A=1", "image-root-user", "fail"},
	{"user-zero", "u2", "FROM scratch\nUSER 00\nENV A=1", "image-root-user", "fail"},
	{"user-zero", "u3", "FROM scratch\nUSER root:root\nENV A=1", "image-root-user", "fail"},
	{"user-zero", "u4", "FROM scratch\nUSER 1000:1000\nENV A=1", "image-root-user", "pass"},
	{"user-stage", "u5", "FROM bb:i AS b\nUSER nobody\nFROM bb:i\nENV B=1\nCOPY --from=b /etc/passwd /p", "image-root-user", "fail"},
	{"user-stage", "u6", "FROM bb:i AS b\nFROM bb:i\nCOPY --from=b /etc/passwd /p\nUSER 1000", "image-root-user", "pass"},
	{"user-arg", "u7", "FROM bb:i\nARG U=root\nUSER ${U}", "image-root-user", "fail"},
	{"user-arg", "u8", "FROM bb:i\nARG U=1000\nUSER ${U}", "image-root-user", "pass"},
	{"health-none", "h1", "FROM bb:i\nHEALTHCHECK NONE", "image-healthcheck", "fail"},
	{"health-stage", "h2", "FROM bb:i AS b\nHEALTHCHECK CMD true\nFROM bb:i\nCOPY --from=b /etc/passwd /p", "image-healthcheck", "fail"},
	{"health-none", "h3", "FROM bb:i\nHEALTHCHECK CMD wget -q -O /dev/null http://127.0.0.1:8080/", "image-healthcheck", "pass"},
	{"update-far", "p1", "FROM bb:i\nRUN %L; apt-get update || true", "image-update-alone", "fail"},
	{"update-far", "p2", "FROM bb:i\nRUN %L; apt-get update && apt-get install -y curl || true", "image-update-alone", "pass|unknown"},
	{"padding", "a1", "FROM scratch\nENV PADDING=1\nCOPY f /f", "image-add", "pass"},
	{"add-url", "a2", "FROM scratch\nADD http://127.0.0.1:8099/install.sh /install.sh", "image-add", "fail"},
	{"url-secret", "s1", "FROM scratch\nENV DATABASE_URL=postgres://shop:geheim12@db/shop", "image-secrets", "fail"},
	{"url-secret", "s2", "FROM scratch\nENV DB_PWD=geheim12", "image-secrets", "fail"},
	{"url-secret", "s3", "FROM scratch\nENV DATABASE_URL=postgres://db/shop", "image-secrets", "pass"},
	{"not-secret", "s4", "FROM scratch\nENV MONKEY=george KEYBOARD_LAYOUT=es COMPASS_MODE=north", "image-secrets", "pass"},
}

// TestMisjudgedImages builds all of them, without a pull, and audits once.
func TestMisjudgedImages(t *testing.T) {
	e := realdocker.Start(t)
	e.Image("bb:i")
	t.Setenv("DOCKER_BUILDKIT", "0") // BuildKit would ask a registry for its frontend
	dir := t.TempDir()
	outside.Write(t, filepath.Join(dir, "f"), "f\n")
	outside.Write(t, filepath.Join(dir, "install.sh"), "#!/bin/sh\n")
	web := e.Enter("busybox", "httpd", "-f", "-p", "127.0.0.1:8099", "-h", dir)
	if err := web.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { web.Process.Kill(); web.Wait() })
	for range 50 {
		if e.Enter("busybox", "nc", "-z", "127.0.0.1", "8099").Run() == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	long := ": " + strings.Repeat("x", 3000)
	for _, c := range imageStates {
		file := filepath.Join(dir, c.name+".Dockerfile")
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(c.dockerfile, "%L", long)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		e.Docker("build", "-q", "-t", "p/"+c.name+":1", "-f", file, dir)
	}
	fs := outside.Findings(t, e)
	archive := filepath.Join(dir, "all.tar")
	save := []string{"save", "-o", archive}
	layered := func(c imageState) bool { // docker save refuses an image without a layer
		return !strings.HasPrefix(c.dockerfile, "FROM scratch") || strings.Contains(c.dockerfile, "COPY") || strings.Contains(c.dockerfile, "ADD")
	}
	for _, c := range imageStates {
		if layered(c) {
			save = append(save, "p/"+c.name+":1")
		}
	}
	e.Docker(save...)
	for _, c := range imageStates {
		name := "p/" + c.name + ":1"
		want := expectation{c.id, c.check, "image/" + name, c.want}
		meets(t, fs, want)
		// The same checks say the same of an image that is in no engine.
		meets(t, imageFindings(t, e, name), want)
		if layered(c) {
			meets(t, imageFindings(t, e, archive+":"+name), want)
		}
	}
}

// imageFindings are those of "casco image" on one image.
func imageFindings(t *testing.T, e *realdocker.Engine, image string) []outside.Finding {
	t.Helper()
	stdout, stderr, code := outside.Casco(t, e, "image", image, "--format", "json")
	if code != 0 && code != 3 {
		t.Fatalf("casco image %s: exit code %d\n%s", image, code, stderr)
	}
	var report struct{ Findings []outside.Finding }
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatal(err)
	}
	return report.Findings
}
