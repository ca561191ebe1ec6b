package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/term"

	"casco/host/sshagent"
	"casco/lang"
	"casco/loop/change"
	"casco/signed"
)

// keyFrom reads a private key as ssh-keygen writes it. For one with a
// passphrase it asks on the terminal. Of a public key (.pub) the SSH agent has
// the private half.
func (a *app) keyFrom(path string) (signed.Signer, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return signed.Signer{}, err
	}
	if k, _, err := signed.ParseKey(string(b)); err == nil {
		return sshagent.Signer(k)
	}
	s, err := signed.ParseSigner(b, func() ([]byte, error) {
		f, ok := a.in.(*os.File)
		if !ok || !term.IsTerminal(int(f.Fd())) {
			return nil, lang.Errorf(lang.Text{En: "there is no terminal to ask for its passphrase on", Es: "no hay terminal donde pedir su frase"})
		}
		fmt.Fprint(a.err, lang.Text{En: "passphrase of %s: ", Es: "frase de %s: "}.F(path).In(a.lang))
		defer fmt.Fprintln(a.err)
		return term.ReadPassword(int(f.Fd()))
	})
	if err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// person is who owns the key in the file at path: the person whom the policy
// gives it to, or the system's user where it names none.
func (a *app) person(path string) (signed.Signer, string, error) {
	key, err := a.keyFrom(path)
	if err != nil {
		return key, "", err
	}
	p, err := a.policy()
	if err != nil {
		return key, "", err
	}
	if len(p.People) == 0 {
		return key, operator(), nil
	}
	if who := p.Owner(key.Key()); who != nil {
		return key, who.ID, nil
	}
	return key, "", refused(lang.Errorf(lang.Text{
		En: "%s: %s is nobody's key in the policy", Es: "%s: %s no es la clave de nadie en la política",
	}, path, key.Key().Fingerprint()), command("policy", "show"))
}

// signerFor is the key that a decision is signed with. Without a path it is
// this host's operator key, which counts only where the policy names no persons;
// the first time that it signs, the host comes to trust it.
func (a *app) signerFor(path string) (signed.Signer, string, error) {
	if path != "" {
		return a.person(path)
	}
	p, err := a.policy()
	if err != nil {
		return signed.Signer{}, "", err
	}
	if len(p.People) > 0 {
		return signed.Signer{}, "", refused(lang.Errorf(lang.Text{
			En: "the policy names persons: sign with your own key", Es: "la política nombra personas: firme con su propia clave",
		}), "--key ~/.ssh/id_ed25519")
	}
	key, err := a.state().Key()
	if err != nil {
		return key, "", err
	}
	return key, operator(), a.state().Enrol(key.Key(), operator(), time.Now())
}

// rules is what this host holds a change against, now.
func (a *app) rules(host string) (change.Rules, error) {
	p, err := a.policy()
	if err != nil {
		return change.Rules{}, err
	}
	local, err := a.state().Approvers()
	return change.Rules{Host: host, Now: time.Now().UTC(), Policy: p, Signed: a.policySigned(), Local: local}, err
}
