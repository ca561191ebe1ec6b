// Package sshagent signs with a key that an SSH agent holds: one that is
// unlocked for the session, or lives on a hardware token.
package sshagent

import (
	"net"
	"os"

	"golang.org/x/crypto/ssh/agent"

	"casco/lang"
	"casco/signed"
)

// Signer returns the signer of the agent at SSH_AUTH_SOCK for the public key k.
// The connection stays open for as long as the program lives.
func Signer(k signed.Key) (signed.Signer, error) {
	path := os.Getenv("SSH_AUTH_SOCK")
	if path == "" {
		return signed.Signer{}, lang.Errorf(lang.Text{
			En: "this is a public key, and there is no SSH agent to sign with it: SSH_AUTH_SOCK is not set",
			Es: "esta es una clave pública y no hay agente SSH con que firmar: SSH_AUTH_SOCK no está puesta",
		})
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		return signed.Signer{}, lang.Errorf(lang.Text{En: "SSH agent: %w", Es: "agente SSH: %w"}, err)
	}
	all, err := agent.NewClient(conn).Signers()
	if err != nil {
		return signed.Signer{}, lang.Errorf(lang.Text{En: "SSH agent: %w", Es: "agente SSH: %w"}, err)
	}
	for _, s := range all {
		if out, err := signed.NewSigner(s); err == nil && out.Key().Equal(k) {
			return out, nil
		}
	}
	return signed.Signer{}, lang.Errorf(lang.Text{En: "the SSH agent does not hold %s: ssh-add it", Es: "el agente SSH no tiene %s: añádala con ssh-add"}, k.Fingerprint())
}
