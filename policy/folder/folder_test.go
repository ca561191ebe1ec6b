package folder

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"casco/policy"
	"casco/signed"
)

func key(t *testing.T) signed.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	k, err := signed.NewSigner(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func text(t *testing.T, version string) string {
	t.Helper()
	return "apiVersion: casco/v1\nkind: Policy\nmetadata: {name: x, version: " + version + "}\npeople: [{id: st, roles: [steward], keys: [" + key(t).Key().String() + "]}]\n"
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"policy.yaml": text(t, "1"), "policy.sig": "sig", "exceptions/EX-1.yaml": "e", "cosign.pub": "k", ".git/config": "x", ".hidden": "x",
	} {
		write(t, filepath.Join(dir, name), content)
	}
	s, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{"policy.yaml": []byte(text(t, "1")), "policy.sig": []byte("sig"), "exceptions/EX-1.yaml": []byte("e"), "cosign.pub": []byte("k")}
	if d := cmp.Diff(want, s.Files); d != "" || string(s.Signature) != "sig" || !s.Folder || s.SignedIn != filepath.Join(dir, "policy.sig") {
		t.Error(d, s.SignedIn)
	}
	file := filepath.Join(dir, "policy.yaml")
	if s, err = Read(file); err != nil || s.Signature != nil || s.Folder || len(s.Files) != 1 {
		t.Errorf("%+v %v", s, err)
	}
	write(t, file+".sig", "of the file")
	if s, err = Read(file); err != nil || string(s.Signature) != "of the file" {
		t.Errorf("%+v %v", s, err)
	}
}

// TestRefuse does not read what others may write or what is no file.
func TestRefuse(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(t *testing.T, dir string)
		want  string
	}{
		"a file that all may write":   {func(t *testing.T, dir string) { chmod(t, dir+"/policy.yaml", 0o666) }, "everybody may write it"},
		"a folder that all may write": {func(t *testing.T, dir string) { chmod(t, dir, 0o777) }, "everybody may write it"},
		"one below":                   {func(t *testing.T, dir string) { write(t, dir+"/a/b", ""); chmod(t, dir+"/a", 0o757) }, "everybody may write it"},
		"a signature all may write":   {func(t *testing.T, dir string) { write(t, dir+"/policy.sig", ""); chmod(t, dir+"/policy.sig", 0o646) }, "everybody may write it"},
		"a link": {func(t *testing.T, dir string) {
			if err := os.Symlink("/etc/passwd", dir+"/x.yaml"); err != nil {
				t.Fatal(err)
			}
		}, "a symbolic link"},
		"a pipe": {func(t *testing.T, dir string) {
			if err := unix.Mkfifo(dir+"/x.yaml", 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not a plain file"},
		"too large": {func(t *testing.T, dir string) {
			write(t, dir+"/x.yaml", "")
			if err := os.Truncate(dir+"/x.yaml", maxFile+1); err != nil {
				t.Fatal(err)
			}
		}, "larger than"},
		"nothing there": {func(t *testing.T, dir string) { os.RemoveAll(dir) }, "no such file"},
	} {
		dir := filepath.Join(t.TempDir(), "p")
		write(t, dir+"/policy.yaml", text(t, "1"))
		tc.spoil(t, dir)
		if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	hidden := filepath.Join(t.TempDir(), ".policy.yaml")
	write(t, hidden, text(t, "1"))
	if _, err := Read(hidden); err == nil {
		t.Error("a hidden file was read")
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// take is what casco policy load does.
func take(t *testing.T, k Keeper, files map[string]string, sign bool, at time.Time) (*policy.InForce, error) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		write(t, filepath.Join(dir, name), content)
	}
	s, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	p, problems := s.Parse()
	if p == nil {
		t.Fatal(problems)
	}
	c := policy.Candidate{Policy: p, Trust: key(t).Key()}
	if sign {
		if s.Signature, err = key(t).Sign(signed.Policy, p.Message); err != nil {
			t.Fatal(err)
		}
		c.Signature = s.Signature
	}
	now, err := k.InForce()
	if err != nil {
		return nil, err
	}
	f, err := policy.Accept(now, c, at)
	if err != nil {
		return nil, err
	}
	return f, k.Keep(f, s)
}

func TestKeep(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	k := NewKeeper(filepath.Join(t.TempDir(), "policy"))
	if f, err := k.InForce(); f != nil || err != nil {
		t.Fatal(f, err)
	}
	const exception = "apiVersion: casco/v1\nkind: Exception\nid: E1\nrequester: st\ncheck: a\nasset: container/x\nreason: x\nstarts: 2026-11-01\nexpires: 2026-12-31\n"
	one := map[string]string{"policy.yaml": text(t, "1"), "cosign.pub": "key"}
	for _, step := range []struct {
		files     map[string]string
		sign      bool
		version   int
		next      int
		exception int
	}{
		{one, true, 1, 0, 0},
		{map[string]string{"policy.yaml": text(t, "2, effective: 2026-12-01")}, true, 1, 2, 0},
		{map[string]string{"policy.yaml": text(t, "3")}, true, 3, 0, 0},
		// The same policy with an exception more is the same policy.
		{map[string]string{"policy.yaml": text(t, "3"), "e.yaml": exception}, true, 3, 0, 1},
	} {
		if _, err := take(t, k, step.files, step.sign, at); err != nil {
			t.Fatal(err)
		}
		f, err := k.InForce()
		if err != nil {
			t.Fatal(err)
		}
		next := 0
		if f.Next != nil {
			next = f.Next.Policy.Metadata.Version
		}
		if f.Policy.Metadata.Version != step.version || next != step.next || len(f.Policy.Granted) != step.exception || !f.Signed() || !f.Since.Equal(at) {
			t.Errorf("%+v, then %+v", f.Policy.Metadata, f.Next)
		}
	}
	if _, err := take(t, k, one, true, at); err == nil || !strings.Contains(err.Error(), "older") {
		t.Errorf("a lower version was taken: %v", err)
	}
	if f, err := k.InForce(); err != nil || f.Policy.Metadata.Version != 3 {
		t.Errorf("what was refused changed what is in force: %v %v", f, err)
	}
}

// TestTamper: what was changed behind the keeper's back is no policy, and
// nothing takes its place.
func TestTamper(t *testing.T) {
	at := time.Now()
	for name, tc := range map[string]struct {
		spoil func(t *testing.T, dir string)
		want  string
	}{
		"a byte":               {func(t *testing.T, dir string) { write(t, dir+"/1/policy.yaml", text(t, "1")+" ") }, "its digest is"},
		"another version":      {func(t *testing.T, dir string) { write(t, dir+"/1/policy.yaml", text(t, "9")) }, "its digest is"},
		"a file more":          {func(t *testing.T, dir string) { write(t, dir+"/1/more", "") }, "its digest is"},
		"a file less":          {func(t *testing.T, dir string) { os.Remove(dir + "/1/cosign.pub") }, "its digest is"},
		"no policy":            {func(t *testing.T, dir string) { os.RemoveAll(dir + "/1") }, "no such file"},
		"not YAML":             {func(t *testing.T, dir string) { write(t, dir+"/1/policy.yaml", "[") }, "not YAML"},
		"signature of nothing": {func(t *testing.T, dir string) { write(t, dir+"/1/policy.sig", "x") }, "its signature does not fit"},
		"no signature":         {func(t *testing.T, dir string) { os.Remove(dir + "/1/policy.sig") }, "its signature does not fit"},
		"the record":           {func(t *testing.T, dir string) { write(t, dir+"/current.json", "{") }, "current.json"},
		"others may write":     {func(t *testing.T, dir string) { chmod(t, dir+"/1/policy.yaml", 0o666) }, "everybody may write it"},
	} {
		dir := filepath.Join(t.TempDir(), "policy")
		k := NewKeeper(dir)
		if _, err := take(t, k, map[string]string{"policy.yaml": text(t, "1"), "cosign.pub": "key"}, true, at); err != nil {
			t.Fatal(err)
		}
		tc.spoil(t, dir)
		if f, err := k.InForce(); err == nil || f != nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, %v; want %q", name, f, err, tc.want)
		}
	}
}

// TestFile keeps a policy that is one file as it was signed.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "org.yaml")
	write(t, path, text(t, "1"))
	s, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := s.Parse()
	f, err := policy.Accept(nil, policy.Candidate{Policy: p}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	k := NewKeeper(filepath.Join(t.TempDir(), "policy"))
	if err := k.Keep(f, s); err != nil {
		t.Fatal(err)
	}
	got, err := k.InForce()
	if err != nil || got.Policy.Digest != p.Digest || got.Policy.Lines["metadata"].File != "org.yaml" || got.Signed() {
		t.Errorf("%v %v", got, err)
	}
}
