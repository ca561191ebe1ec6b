package sshagent

import (
	"crypto/ed25519"
	"crypto/rand"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"casco/signed"
)

// TestSigner signs with a key of an agent (golang.org/x/crypto's own, on a
// socket), and says what is missing when there is none.
func TestSigner(t *testing.T) {
	_, held, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := ssh.NewSignerFromKey(held)
	if err != nil {
		t.Fatal(err)
	}
	mine, err := signed.NewSigner(pub)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSH_AUTH_SOCK", "")
	if _, err := Signer(mine.Key()); err == nil || !strings.Contains(err.Error(), "SSH_AUTH_SOCK") {
		t.Error(err)
	}
	socket := filepath.Join(t.TempDir(), "s")
	t.Setenv("SSH_AUTH_SOCK", socket)
	if _, err := Signer(mine.Key()); err == nil {
		t.Error("an agent that is not there")
	}
	ring := agent.NewKeyring()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go agent.ServeAgent(ring, c) //nolint:errcheck // ends with the connection
		}
	}()
	if _, err := Signer(mine.Key()); err == nil || !strings.Contains(err.Error(), mine.Key().Fingerprint()) {
		t.Errorf("a key that it does not hold: %v", err)
	}
	if err := ring.Add(agent.AddedKey{PrivateKey: held}); err != nil {
		t.Fatal(err)
	}
	s, err := Signer(mine.Key())
	if err != nil {
		t.Fatal(err)
	}
	sig, err := s.Sign(signed.Policy, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signed.Verify(sig, signed.Policy, []byte("x"), []signed.Key{mine.Key()}); err != nil {
		t.Error(err)
	}
}
