package ledger

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.key")
	k, err := KeyFile(path, "docker01/casco")
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	again, err := KeyFile(path, "docker01/casco")
	if err != nil || again.Public() != k.Public() {
		t.Errorf("%v, %v", again, err)
	}
	if _, err := KeyFile(path, "docker02/casco"); err == nil {
		t.Error("the key of another name")
	}
	if _, err := WitnessKeyFile(path, "docker01/casco"); err == nil {
		t.Error("the key of a log as that of a witness")
	}
	if s := fmt.Sprint(k); strings.Contains(s, "PRIVATE") || s != k.Public() {
		t.Errorf("printed as %s", s)
	}
	// golang.org/x/mod reads both halves.
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(strings.TrimSpace(string(b)))
	if err != nil || signer.KeyHash() != k.KeyHash() {
		t.Fatal(err)
	}
	theirs, err := note.NewVerifier(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	sig, err := signer.Sign([]byte("text\n"))
	if err != nil || !k.Verifier().Verify([]byte("text\n"), sig) {
		t.Error("our verifier does not take their signature")
	}
	if sig, err = k.Sign([]byte("text\n")); err != nil || !theirs.Verify([]byte("text\n"), sig) {
		t.Error("their verifier does not take our signature")
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := KeyFile(path, "docker01/casco"); err == nil || !strings.Contains(err.Error(), "others may read it") {
		t.Errorf("%v", err)
	}
}

// The example of c2sp.org/signed-note, "Verifier keys".
func TestParseVerifier(t *testing.T) {
	const key = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
	const signed = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
	v, err := ParseVerifier(key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := note.Open([]byte(signed), note.VerifierList(v)); err != nil {
		t.Error(err)
	}
	w, err := NewWitnessKey("w")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"", "example.com/foo", "example.com/foo+530d903a",
		strings.Replace(key, "530d903a", "530d903b", 1),
		strings.Replace(key, "foo", "fob", 1),
		strings.Replace(key, "AekyeR", "AekyeS", 1),
		"a b+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
		w.secret(),
	} {
		if v, err := ParseVerifier(bad); err == nil {
			t.Errorf("%q: %v", bad, v)
		}
	}
	if _, err := ParseKey(key); err == nil {
		t.Error("a public key as a private one")
	}
	if _, err := ParseKey(strings.Replace(w.secret(), "+w+", "+x+", 1)); err == nil {
		t.Error("a private key with another's ID")
	}
	if k, err := ParseKey(w.secret()); err != nil || k.Public() != w.Public() {
		t.Errorf("%v, %v", k, err)
	}
}

func TestOrigin(t *testing.T) {
	for host, want := range map[string]string{
		"docker01": "docker01/casco", "a b+c": "a-b-c/casco", "caño\x1b[31m": "ca-o-[31m/casco", "": "/casco",
	} {
		if got := Origin(host); got != want || !validName(got) {
			t.Errorf("%q: %q", host, got)
		}
	}
}
