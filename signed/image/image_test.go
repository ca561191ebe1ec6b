package image

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"casco/signed"
)

// digest is what the vectors in testdata were made for; see testdata/README.md.
var digest = "sha256:" + strings.Repeat("a", 63) + "1"

const repository = "registry.example/app"

var day = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func parse(t testing.TB, text []byte) Keys {
	t.Helper()
	ks, err := ParseKeys(text)
	if err != nil {
		t.Fatal(err)
	}
	return ks
}

// cosigned is what cosign downloads of a signature over that reference.
func cosigned(t testing.TB, key *ecdsa.PrivateKey, reference, digest string) []byte {
	t.Helper()
	payload := fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, reference, digest)
	sum := sha256.Sum256(payload)
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(map[string]any{"Base64Signature": sig, "Payload": payload, "Cert": nil, "Chain": nil, "Bundle": nil})
	if err != nil {
		t.Fatal(err)
	}
	return append(line, '\n')
}

func newKey(t testing.TB) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func TestVerify(t *testing.T) {
	key, public := newKey(t)
	other, _ := newKey(t)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	person, err := signed.NewSigner(signer)
	if err != nil {
		t.Fatal(err)
	}
	name := repository + "@" + digest
	byPerson, err := person.Sign(signed.Image, []byte(name+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	anchor := read(t, "notation.pem")
	all := bytes.Join([][]byte{[]byte("# of the release team\n\n"), []byte(person.Key().String() + " ana\r\n"), public, anchor}, nil)
	ks := parse(t, all)
	own := cosigned(t, key, repository, digest)
	for _, tt := range []struct {
		what string
		sig  []byte
		name string
		at   time.Time
		want string // in the error; "" none
	}{
		{"a person", byPerson, name, day, ""},
		{"a person, of another digest", byPerson, repository + "@sha256:" + strings.Repeat("b", 64), day, "signature"},
		{"cosign", own, name, day, ""},
		{"cosign, a reference with a tag", cosigned(t, key, repository+":1.0", digest), name, day, ""},
		{"cosign, without a reference", cosigned(t, key, "", digest), name, day, ""},
		{"cosign, the second line counts", append(cosigned(t, other, repository, digest), own...), name, day, ""},
		{"cosign, another key", cosigned(t, other, repository, digest), name, day, "no key"},
		{"cosign, replayed for another image", own, repository + "@sha256:" + strings.Repeat("b", 64), day, "something else: " + digest},
		{"cosign, another repository", cosigned(t, key, "registry.example/other", digest), name, day, "something else: registry.example/other"},
		{"notation, JWS", read(t, "notation.jws"), name, day, ""},
		{"notation, COSE", read(t, "notation.cose"), name, day, ""},
		{"notation, replayed for another image", read(t, "notation.jws"), repository + "@sha256:" + strings.Repeat("b", 64), day, "something else"},
		{"notation, past its time", read(t, "notation-overdue.jws"), name, day, "past its time"},
		{"notation, certificates that have ended", read(t, "notation.cose"), name, day.AddDate(30, 0, 0), "past its time"},
		{"nothing", nil, name, day, "none of the signatures"},
		{"something", []byte("hello"), name, day, "none of the signatures"},
		{"JSON", []byte("{}"), name, day, "none of the signatures"},
		{"too large", make([]byte, most+1), name, day, "larger"},
	} {
		err := Verify(tt.sig, tt.name, ks, tt.at)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.what, err, tt.want)
		}
	}
	for _, file := range []string{"notation.jws", "notation.cose"} {
		if err := Verify(read(t, file), name, parse(t, public), day); err == nil {
			t.Errorf("%s counts without an anchor", file)
		}
	}
	if err := Verify(own, name, parse(t, anchor), day); err == nil {
		t.Error("cosign's counts without a key")
	}
}

// TestAltered: no byte of what is signed, nor of a signature, may be another. In
// an envelope of notation the name of the program that made it is not signed.
func TestAltered(t *testing.T) {
	key, public := newKey(t)
	name := repository + "@" + digest
	ks := parse(t, append(public, read(t, "notation.pem")...))
	own, jws, cose := cosigned(t, key, repository, digest), read(t, "notation.jws"), read(t, "notation.cose")
	// Texts in base64, without the last digit, of which some bits say nothing.
	var envelope, line map[string]any
	if err := errors.Join(json.Unmarshal(jws, &envelope), json.Unmarshal(own, &line)); err != nil {
		t.Fatal(err)
	}
	digits := func(text any) []byte {
		s := strings.TrimRight(text.(string), "=")
		return []byte(s[:len(s)-1])
	}
	agent := bytes.Index(cose, []byte("io.cncf.notary.signingAgent"))
	for _, part := range []struct{ sig, of []byte }{
		{own, digits(line["Base64Signature"])},
		{own, digits(line["Payload"])},
		{jws, digits(envelope["payload"])},
		{jws, digits(envelope["protected"])},
		{jws, digits(envelope["signature"])},
		{cose, cose[:agent]},
		{cose, cose[agent+len("io.cncf.notary.signingAgent")+len("fvector"):]},
	} {
		if err := Verify(part.sig, name, ks, day); err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(part.sig, part.of)
		for i := range part.of {
			b := bytes.Clone(part.sig)
			b[at+i] ^= 4
			if err := Verify(b, name, ks, day); err == nil {
				t.Errorf("byte %d, %q, of %.20q may be another", at+i, part.sig[at+i], part.sig)
			}
		}
	}
}

func TestParseKeys(t *testing.T) {
	_, public := newKey(t)
	for _, tt := range []struct{ text, want string }{
		{"", ""},
		{"# nothing\n", ""},
		{string(public), ""},
		{"hello\n", "not a public key"},
		{"-----BEGIN PUBLIC KEY-----\nMFk\n", "has no end"},
		{"-----BEGIN PRIVATE KEY-----\nTUZr\n-----END PRIVATE KEY-----\n", "neither a public key"},
	} {
		if _, err := ParseKeys([]byte(tt.text)); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.text, err, tt.want)
		}
	}
	if ks, err := ParseKeys(append([]byte("hello\n"), public...)); err == nil || len(ks.cosign) != 1 {
		t.Errorf("a key beside what is none: %+v, %v", ks, err)
	}
}

func FuzzVerify(f *testing.F) {
	key, public := newKey(f)
	ks := parse(f, append(public, read(f, "notation.pem")...))
	name := repository + "@" + digest
	f.Add(cosigned(f, key, repository, digest))
	f.Add(read(f, "notation.jws"))
	f.Add(read(f, "notation.cose"))
	f.Fuzz(func(t *testing.T, sig []byte) {
		if Verify(sig, repository+"@sha256:"+strings.Repeat("b", 64), ks, day) == nil {
			t.Errorf("%q is a signature over what nobody signed", sig)
		}
		_ = Verify(sig, name, ks, day) // does not panic
	})
}
