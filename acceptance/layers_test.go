package acceptance

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"casco/internal/outside"
	"casco/internal/realdocker"
)

// TestLayers plants keys and logins in the layers of an image, one of them
// deleted by a later layer, and a setuid program; and a key in a container.
// Each is found, also once the program no longer looks, and no value of any is
// to be seen anywhere.
func TestLayers(t *testing.T) {
	e := realdocker.Start(t)
	e.Image("bb:l")
	t.Setenv("DOCKER_BUILDKIT", "0") // BuildKit would ask a registry for its frontend
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	const secret = "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5"
	dir := t.TempDir()
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	outside.Write(t, filepath.Join(dir, "id_ed25519"), text)
	outside.Write(t, filepath.Join(dir, "authorized_keys"), "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI me\n")
	outside.Write(t, filepath.Join(dir, "config.json"), `{"auths": {"registry.test": {"auth": "`+secret+`"}}}`)
	build := func(name, dockerfile string) {
		file := filepath.Join(t.TempDir(), "Dockerfile")
		outside.Write(t, file, dockerfile)
		e.Docker("build", "-q", "-t", name, "-f", file, dir)
	}
	build("planted:1", strings.Join([]string{
		"FROM bb:l", "COPY id_ed25519 authorized_keys /root/.ssh/", "COPY config.json /root/.docker/config.json",
		"RUN rm /root/.ssh/id_ed25519", "RUN mkdir /own && cp /bin/busybox /own/su && cp /bin/busybox /own/was && chmod 4755 /own/su /own/was", "RUN chmod 755 /own/was", "",
	}, "\n"))
	build("clean:1", "FROM bb:l\nCOPY config.json /srv/other.json\nRUN echo '# nobody' >/root-authorized_keys\n")
	e.Docker("create", "--name", "writes", "bb:l", "sh")
	e.Docker("cp", filepath.Join(dir, "id_ed25519"), "writes:/srv-key")
	e.Docker("create", "--name", "writes-not", "bb:l", "sh")

	const planted, clean = "image/planted:1", "image/clean:1"
	meets(t, outside.Findings(t, e),
		expectation{"P-21", "image-access-material", planted, "unknown"},
		expectation{"4.8", "image-setuid", planted, "unknown"},
		expectation{"P-21", "container-access-material", "container/writes", "fail"},
		expectation{"P-21", "container-access-material", "container/writes-not", "pass"})
	out, stderr, code := outside.Casco(t, e, "audit", "--deep", "--format", "json")
	if code != 3 {
		t.Fatalf("casco audit --deep: exit code %d\n%s", code, stderr)
	}
	fs := outside.Findings(t, e) // what was found once is known from then on
	meets(t, fs,
		expectation{"P-21", "image-access-material", planted, "fail"},
		expectation{"4.8", "image-setuid", planted, "fail"},
		expectation{"P-21", "image-access-material", clean, "pass"},
		expectation{"4.8", "image-setuid", clean, "pass"})
	var report struct{ Findings []outside.Finding }
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]outside.Finding{fs, report.Findings} {
		shown := evidence(list, "image-access-material", planted)
		for _, want := range []string{
			"/root/.ssh/id_ed25519: private-key, layer 2, deleted above it", "/root/.ssh/authorized_keys: authorized-keys, layer 2",
			"/root/.docker/config.json: registry-login, layer 3",
		} {
			if !strings.Contains(shown, want) {
				t.Errorf("%q is not in %s", want, shown)
			}
		}
		if setuid := evidence(list, "image-setuid", planted); !strings.Contains(setuid, `"/own/su"`) || strings.Contains(setuid, "/own/was") {
			t.Errorf("setuid programs: %s; /own/su is one and /own/was is no more", setuid)
		}
	}
	snapshot := filepath.Join(dir, "snapshot.json")
	outside.Casco(t, e, "snapshot", "--deep", "-o", snapshot)
	secrets := []string{secret, strings.Split(text, "\n")[1]}
	for _, s := range secrets {
		if strings.Contains(out, s) || strings.Contains(string(outside.MustRead(t, snapshot)), s) {
			t.Errorf("a value is printed")
		}
	}
	keepsNone(t, filepath.Join(e.Root, "state"), secrets)
}

// evidence is what a finding rests on, as JSON.
func evidence(fs []outside.Finding, check, ref string) string {
	for _, f := range fs {
		if f.Check == check && f.Ref == ref {
			b, _ := json.Marshal(f.Evidence)
			return string(b)
		}
	}
	return ""
}

func keepsNone(t *testing.T, dir string, secrets []string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		for _, s := range secrets {
			if strings.Contains(string(b), s) {
				t.Errorf("%s holds a value", path)
			}
		}
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d files under %s: %v", files, dir, err)
	}
}
