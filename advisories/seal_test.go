package advisories

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"casco/internal/handtest"
	"casco/signed"
)

func newSigner(t testing.TB) signed.Signer {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(k)
	if err != nil {
		t.Fatal(err)
	}
	out, err := signed.NewSigner(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// made is a database of one record, with its signature.
func made(t testing.TB, s signed.Signer, at time.Time, modified string, ecosystems ...string) (path string, sig []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "made.db")
	var inputs []Input
	for _, e := range ecosystems {
		inputs = append(inputs, Input{Path: file(t, e+".zip", zipOf(t, "A-1.json", osv("A-"+e, modified, "2", e+"/a")))})
	}
	if _, err := Build(ctx, path, inputs, at); err != nil {
		t.Fatal(err)
	}
	sig, err := Sign(path, s)
	if err != nil {
		t.Fatal(err)
	}
	return path, sig
}

func TestImport(t *testing.T) {
	ours, theirs := newSigner(t), newSigner(t)
	allowed := []signed.Key{ours.Key()}
	state := t.TempDir()
	to := Path(state)
	from, sig := made(t, ours, noon, "2026-11-20T00:00:00Z", "Debian", "npm")
	if info, by, err := Import(from, sig, allowed, to, noon, false); err != nil || !by.Equal(ours.Key()) || len(info.Sources) != 2 {
		t.Fatalf("got %+v, %v, %v", info, by, err)
	}
	if by, err := SignedBy(to, allowed); err != nil || !by.Equal(ours.Key()) {
		t.Errorf("got %v, %v", by, err)
	}
	before, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}

	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-20] ^= 1
	forged := file(t, "forged.db", b)
	for _, c := range []struct {
		name string
		try  func() (string, []byte)
		why  string
		is   error
	}{
		{"another byte", func() (string, []byte) { return forged, sig }, "does not fit these bytes", nil},
		{"another key", func() (string, []byte) { return made(t, theirs, noon, "2026-11-21T00:00:00Z", "Debian", "npm") }, "", signed.ErrUnknownKey},
		{"no signature", func() (string, []byte) { return from, nil }, "not an SSH signature", nil},
		{"for another purpose", func() (string, []byte) {
			whole, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			s, err := ours.Sign(signed.Policy, whole)
			if err != nil {
				t.Fatal(err)
			}
			return from, s
		}, `the signature is for "casco-policy"`, nil},
		{"made before", func() (string, []byte) {
			return made(t, ours, noon.Add(-time.Minute), "2026-11-20T00:00:00Z", "Debian", "npm")
		}, "", ErrOlder},
		{"made later, of older records", func() (string, []byte) {
			return made(t, ours, noon.Add(time.Minute), "2026-11-19T00:00:00Z", "Debian", "npm")
		}, "Debian is of 2026-11-19", ErrOlder},
		{"made later, of less", func() (string, []byte) { return made(t, ours, noon.Add(time.Minute), "2026-11-20T00:00:00Z", "Debian") }, "it lacks npm", ErrOlder},
		{"from the future", func() (string, []byte) {
			return made(t, ours, noon.Add(2*ahead), "2026-11-20T00:00:00Z", "Debian", "npm")
		}, "", ErrAhead},
		{"signed, and no database", func() (string, []byte) {
			text := []byte("hello")
			s, err := ours.Sign(signed.Advisories, text)
			if err != nil {
				t.Fatal(err)
			}
			return file(t, "x.db", text), s
		}, "is damaged", nil},
		{"no file", func() (string, []byte) { return t.TempDir(), sig }, "not a regular file", nil},
	} {
		path, sig := c.try()
		_, _, err := Import(path, sig, allowed, to, noon, false)
		if err == nil || !strings.Contains(err.Error(), c.why) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	after, err := os.ReadFile(to)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("what was there is not as it was: %v", err)
	}
	left, err := os.ReadDir(filepath.Dir(to))
	if err != nil || len(left) != 2 { // the file and its signature
		t.Errorf("left behind: %v, %v", left, err)
	}

	// An older one that is wanted, and a newer one, are taken.
	from, sig = made(t, ours, noon.Add(-time.Minute), "2026-11-19T00:00:00Z", "Debian")
	if _, _, err := Import(from, sig, allowed, to, noon, true); err != nil {
		t.Error(err)
	}
	from, sig = made(t, ours, noon.Add(time.Minute), "2026-11-21T00:00:00Z", "Debian", "Go")
	if _, _, err := Import(from, sig, allowed, to, noon, false); err != nil {
		t.Error(err)
	}
	// What lies there damaged stands in nobody's way.
	if err := os.WriteFile(to, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := SignedBy(to, allowed); err == nil {
		t.Error("a signature fits other bytes")
	}
	if _, _, err := Import(from, sig, allowed, to, noon, false); err != nil {
		t.Error(err)
	}
	if err := Unsign(to); err != nil {
		t.Error(err)
	}
	if _, err := SignedBy(to, allowed); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// TestSSHKeygen: the signature is what OpenSSH checks.
func TestSSHKeygen(t *testing.T) {
	_, err := exec.LookPath("ssh-keygen")
	handtest.Need(t, err == nil, "ssh-keygen")
	s := newSigner(t)
	path, sig := made(t, s, noon, "2026-11-20T00:00:00Z", "Debian")
	allowed := file(t, "allowed", []byte(`builder namespaces="casco-advisories" `+s.Key().String()+"\n"))
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	cmd := exec.Command("ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "builder", "-n", "casco-advisories", "-s", file(t, "sig", sig))
	cmd.Stdin = in
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
