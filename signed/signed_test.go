package signed

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"casco/internal/handtest"
)

var message = []byte("apiVersion: casco/v1\n")

func signer(t testing.TB, private crypto.Signer) Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	out, err := NewSigner(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func newEd25519(t testing.TB) Signer {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer(t, k)
}

func sign(t testing.TB, s Signer, ns Namespace, b []byte) []byte {
	t.Helper()
	sig, err := s.Sign(ns, b)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// TestVerify has a good half for each kind of key, and for each a bad one:
// another byte, another purpose, another list.
func TestVerify(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r2048, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other := newEd25519(t).Key()
	for name, s := range map[string]Signer{"ed25519": newEd25519(t), "ecdsa": signer(t, p256), "rsa": signer(t, r2048)} {
		sig := sign(t, s, Policy, message)
		if k, err := Verify(sig, Policy, message, []Key{other, s.Key()}); err != nil || !k.Equal(s.Key()) {
			t.Errorf("%s: %v, %v", name, k, err)
		}
		if _, err := Verify(sig, Policy, append(message[:len(message):len(message)], ' '), []Key{s.Key()}); err == nil || errors.Is(err, ErrUnknownKey) {
			t.Errorf("%s: another byte: %v", name, err)
		}
		if _, err := Verify(sig, Approval, message, []Key{s.Key()}); err == nil || !strings.Contains(err.Error(), `"casco-policy"`) {
			t.Errorf("%s: another purpose: %v", name, err)
		}
		if _, err := Verify(sig, Policy, message, []Key{other}); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("%s: another list: %v", name, err)
		}
		if _, err := Verify(sig, Policy, message, nil); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("%s: no list: %v", name, err)
		}
	}
}

// TestWhose does not take the key that stands in a signature for the one that
// made it.
func TestWhose(t *testing.T) {
	mine, theirs := newEd25519(t), newEd25519(t)
	c, err := Parse(sign(t, mine, Policy, message))
	if err != nil {
		t.Fatal(err)
	}
	c.sig.PublicKey = theirs.signer.PublicKey()
	if _, err := Verify(sshsig.Armor(c.sig), Policy, message, []Key{theirs.Key()}); err == nil {
		t.Error("a signature under another's name was taken")
	}
	c, err = Parse(sign(t, mine, Approval, message))
	if err != nil {
		t.Fatal(err)
	}
	c.sig.Namespace = string(Policy)
	if _, err := Verify(sshsig.Armor(c.sig), Policy, message, []Key{mine.Key()}); err == nil {
		t.Error("a signature was taken for another purpose than it was made for")
	}
}

func TestRefuse(t *testing.T) {
	s := newEd25519(t)
	good := string(sign(t, s, Policy, message))
	c, err := Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	armor := func(change func(*sshsig.Signature)) string {
		sig, inner := *c.sig, *c.sig.Signature
		sig.Signature = &inner
		change(&sig)
		return string(sshsig.Armor(&sig))
	}
	blob := func(b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: sshsig.PEMType, Bytes: b}))
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	smallSigner, err := ssh.NewSignerFromKey(small)
	if err != nil {
		t.Fatal(err)
	}
	smallSig, err := sshsig.Sign(bytes.NewReader(message), smallSigner, sshsig.HashSHA512, string(Policy))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ sig, want string }{
		"nothing":         {"", "does not begin with"},
		"pgp":             {"-----BEGIN PGP SIGNATURE-----\n", "OpenPGP"},
		"a public key":    {s.Key().String(), "a public key"},
		"minisign":        {"untrusted comment: x\n", "minisign"},
		"two":             {good + good, "two signatures"},
		"garbage behind":  {good + "x", "behind"},
		"garbage before":  {"x\n" + good, "before"},
		"cut off":         {good[:len(good)/2], "cut off"},
		"headers":         {strings.Replace(good, begin+"\n", begin+"\nA: b\n\n", 1), "damaged"},
		"no base64":       {begin + "\n!!!!\n" + end + "\n", "damaged"},
		"empty":           {begin + "\n" + end + "\n", "damaged"},
		"too long":        {begin + "\n" + strings.Repeat("A", maxText) + "\n" + end, "too long"},
		"bytes behind":    {blob(append(c.sig.Marshal(), 0)), "damaged"},
		"rest":            {armor(func(s *sshsig.Signature) { s.Signature.Rest = []byte{1, 0, 0, 0, 0} }), "behind it"},
		"version":         {armor(func(s *sshsig.Signature) { s.Version = 2 }), "version"},
		"hash":            {armor(func(s *sshsig.Signature) { s.HashAlgorithm = "md5" }), "md5"},
		"one bit":         {armor(func(s *sshsig.Signature) { s.Signature.Blob = flip(s.Signature.Blob) }), "does not fit"},
		"short":           {armor(func(s *sshsig.Signature) { s.Signature.Blob = s.Signature.Blob[:63] }), "does not fit"},
		"other algorithm": {armor(func(s *sshsig.Signature) { s.Signature.Format = "ssh-rsa" }), "does not fit"},
		"small RSA":       {string(sshsig.Armor(smallSig)), "1024 bits"},
	} {
		_, err := Verify([]byte(tc.sig), Policy, message, []Key{s.Key()})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

func flip(b []byte) []byte {
	b = bytes.Clone(b)
	b[0] ^= 1
	return b
}

func TestParseKey(t *testing.T) {
	s := newEd25519(t)
	k, comment, err := ParseKey(s.Key().String() + " op 1\n")
	if err != nil || comment != "op 1" || !k.Equal(s.Key()) || k.Fingerprint() != s.Key().Fingerprint() {
		t.Errorf("%v %q %v", k, comment, err)
	}
	if (Key{}).Equal(Key{}) {
		t.Error("no key equals no key")
	}
	for name, tc := range map[string]struct{ line, want string }{
		"nothing": {"", "not a public key"},
		"words":   {"ssh-ed25519 AAAA", "not a public key"},
		"options": {`restrict,command="x" ` + s.Key().String(), "options"},
		"two":     {s.Key().String() + "\n" + s.Key().String(), "more than one line"},
		"comment": {"# " + s.Key().String(), "not a public key"},
		"DSA":     {"ssh-dss AAAAB3NzaC1kc3MAAAAJAOyK", "not a public key"},
		"cert":    {certificate(t, s), "not accepted"},
	} {
		if _, _, err := ParseKey(tc.line); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

func certificate(t *testing.T, s Signer) string {
	t.Helper()
	c := &ssh.Certificate{Key: s.signer.PublicKey(), CertType: ssh.UserCert, ValidBefore: ssh.CertTimeInfinity}
	if err := c.SignCert(rand.Reader, s.signer); err != nil {
		t.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(c))
}

func TestParseSigner(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	file := pem.EncodeToMemory(locked)
	s, err := ParseSigner(file, func() ([]byte, error) { return []byte("secret"), nil })
	if err != nil {
		t.Fatal(err)
	}
	if want := signer(t, private).Key(); !s.Key().Equal(want) {
		t.Errorf("%v, want %v", s.Key(), want)
	}
	for name, ask := range map[string]func() ([]byte, error){
		"nobody":    nil,
		"wrong":     func() ([]byte, error) { return []byte("guess"), nil },
		"no answer": func() ([]byte, error) { return nil, errors.New("no terminal") },
	} {
		if _, err := ParseSigner(file, ask); err == nil {
			t.Errorf("%s: the key was opened", name)
		}
	}
	if _, err := ParseSigner([]byte("x"), nil); err == nil {
		t.Error("not a key")
	}
}

// A token is an sk-ssh-ed25519 key (OpenSSH, PROTOCOL.u2f) in software.
type token struct {
	key   ed25519.PrivateKey
	touch byte
}

func (k token) PublicKey() ssh.PublicKey {
	wire := ssh.Marshal(struct {
		Name        string
		Key         []byte
		Application string
	}{ssh.KeyAlgoSKED25519, k.key.Public().(ed25519.PublicKey), "ssh:"})
	pub, err := ssh.ParsePublicKey(wire)
	if err != nil {
		panic(err)
	}
	return pub
}

func (k token) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) {
	h := crypto.SHA256.New()
	h.Write([]byte("ssh:"))
	said := h.Sum(nil)
	rest := binary.BigEndian.AppendUint32([]byte{k.touch}, 7)
	h.Reset()
	h.Write(data)
	said = h.Sum(append(said, rest...))
	return &ssh.Signature{Format: ssh.KeyAlgoSKED25519, Blob: ed25519.Sign(k.key, said), Rest: rest}, nil
}

// TestToken takes a signature by a token only if the token was touched.
func TestToken(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for touch, good := range map[byte]bool{1: true, 5: true, 0: false, 4: false} {
		s, err := NewSigner(token{private, touch})
		if err != nil {
			t.Fatal(err)
		}
		sig := sign(t, s, Approval, message)
		if _, err := Verify(sig, Approval, message, []Key{s.Key()}); (err == nil) != good {
			t.Errorf("flags %d: %v", touch, err)
		}
	}
}

// TestKeygen signs here and checks with ssh-keygen, and the other way round.
func TestKeygen(t *testing.T) {
	keygen, err := exec.LookPath("ssh-keygen")
	handtest.Need(t, err == nil, "ssh-keygen")
	dir := t.TempDir()
	run := func(stdin []byte, args ...string) string {
		t.Helper()
		cmd := exec.Command(keygen, args...)
		cmd.Dir, cmd.Stdin = dir, bytes.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("ssh-keygen %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	for kind, args := range map[string][]string{"ed25519": nil, "ecdsa": {"-b", "384"}, "rsa": {"-b", "3072"}} {
		run(nil, append([]string{"-q", "-t", kind, "-N", "", "-C", "op", "-f", kind}, args...)...)
		file, err := os.ReadFile(filepath.Join(dir, kind))
		if err != nil {
			t.Fatal(err)
		}
		s, err := ParseSigner(file, nil)
		if err != nil {
			t.Fatal(err)
		}
		if out := run(nil, "-l", "-f", kind); !strings.Contains(out, " "+s.Key().Fingerprint()+" ") {
			t.Errorf("%s: ssh-keygen -l says %s, we say %s", kind, out, s.Key().Fingerprint())
		}
		ours := sign(t, s, Exception, message)
		for name, b := range map[string][]byte{"ours.sig": ours, "allowed": []byte("op " + s.Key().String() + "\n"), "message": message} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		run(message, "-Y", "verify", "-f", "allowed", "-I", "op", "-n", string(Exception), "-s", "ours.sig")
		for _, hash := range []string{"sha256", "sha512"} {
			os.Remove(filepath.Join(dir, "message.sig"))
			run(nil, "-Y", "sign", "-f", kind, "-n", string(Exception), "-O", "hashalg="+hash, "message")
			theirs, err := os.ReadFile(filepath.Join(dir, "message.sig"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Verify(theirs, Exception, message, []Key{s.Key()}); err != nil {
				t.Errorf("%s %s: %v", kind, hash, err)
			}
		}
	}
}

// FuzzVerify takes nothing but what the key really signed.
func FuzzVerify(f *testing.F) {
	s := signer(f, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	good := sign(f, s, Policy, message)
	f.Add(good)
	f.Add(bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")))
	f.Add([]byte(begin + "\n" + end))
	want, err := Parse(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := Verify(b, Policy, message, []Key{s.Key()}); err != nil {
			return
		}
		got, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		// The hash may be the other one; there is no other signature (RFC 8032
		// is deterministic, and Go refuses a malleable s).
		if got.sig.HashAlgorithm == want.sig.HashAlgorithm && !bytes.Equal(got.sig.Signature.Blob, want.sig.Signature.Blob) {
			t.Errorf("another signature was taken:\n%s", b)
		}
	})
}

// FuzzParseKey prints a key as it was read.
func FuzzParseKey(f *testing.F) {
	f.Add(signer(f, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))).Key().String() + " op")
	f.Fuzz(func(t *testing.T, line string) {
		k, _, err := ParseKey(line)
		if err != nil {
			return
		}
		again, _, err := ParseKey(k.String())
		if err != nil || !again.Equal(k) {
			t.Errorf("%q: %v", line, err)
		}
	})
}
