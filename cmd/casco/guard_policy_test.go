package main

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"casco/api"
	"casco/lang"
	"casco/policy"
	"casco/policy/folder"
	"casco/signed"
	"casco/store"
)

// A taking puts policies into force in a state directory.
type taking struct {
	*testing.T
	a *app
}

// signer is the key of a steward; another seed is another person's.
func (k taking) signer(seed byte) signed.Signer {
	k.Helper()
	b := make([]byte, ed25519.SeedSize)
	b[0] = seed
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(b))
	if err != nil {
		k.Fatal(err)
	}
	key, err := signed.NewSigner(s)
	if err != nil {
		k.Fatal(err)
	}
	return key
}

// file writes a policy of that version, signed by the steward that it names; a
// seed of 0 signs nothing.
func (k taking) file(version int, seed byte) (path string, s *folder.Source, p *policy.Policy) {
	k.Helper()
	path = filepath.Join(k.TempDir(), "policy.yaml")
	text := fmt.Sprintf("apiVersion: casco/v1\nkind: Policy\nmetadata: {name: org, version: %d}\n", version)
	if seed != 0 {
		text += fmt.Sprintf("people:\n- {id: st%d, roles: [steward, approver, risk-owner], keys: [%s]}\n- {id: op, roles: [operator], keys: [%s]}\n",
			seed, k.signer(seed).Key(), k.signer(seed+100).Key())
	}
	k.must(os.WriteFile(path, []byte(text), 0o600))
	s, p, err := k.a.readPolicy(path)
	k.must(err)
	if seed != 0 {
		s.Signature, err = k.signer(seed).Sign(signed.Policy, p.Message)
		k.must(err)
		k.must(os.WriteFile(path+".sig", s.Signature, 0o600))
	}
	return path, s, p
}

// force puts it into force whatever was, as who writes to the directory can.
func (k taking) force(version int, seed byte) {
	k.Helper()
	_, s, p := k.file(version, seed)
	f := &policy.InForce{Policy: p, Signature: signerOf(p, s), Since: time.Now().UTC()}
	k.must(k.a.keeper().Keep(f, s))
}

func (k taking) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

// TestLastGood: a guard that is started on a policy that is gone, broken, forged
// or older goes by the last good one, says so once, and takes the file again when
// that is good.
func TestLastGood(t *testing.T) {
	for name, tc := range map[string]struct {
		seed  byte // whose signature the good one has
		spoil func(taking, string)
		what  string
		says  string
	}{
		"gone":           {1, func(k taking, dir string) { k.must(os.RemoveAll(dir)) }, api.PolicyGone, "none any more"},
		"its files gone": {1, func(k taking, dir string) { k.must(os.RemoveAll(dir + "/1")) }, api.PolicyGone, "no such file"},
		"not YAML":       {1, func(k taking, dir string) { k.must(os.WriteFile(dir+"/1/policy.yaml", []byte("["), 0o600)) }, api.PolicyBroken, "not YAML"},
		"no record":      {1, func(k taking, dir string) { k.must(os.WriteFile(dir+"/current.json", []byte("{"), 0o600)) }, api.PolicyBroken, "current.json"},
		"other bytes": {1, func(k taking, dir string) {
			k.must(os.WriteFile(dir+"/1/policy.yaml", []byte("apiVersion: casco/v1\nkind: Policy\nmetadata: {name: org, version: 2}\n"), 0o600))
		}, api.PolicyForged, "digest"},
		"no signature":         {1, func(k taking, dir string) { k.must(os.Remove(dir + "/1/policy.sig")) }, api.PolicyForged, "signature"},
		"unsigned, and newer":  {1, func(k taking, _ string) { k.force(9, 0) }, api.PolicyForged, "not signed"},
		"signed by somebody":   {1, func(k taking, _ string) { k.force(9, 2) }, api.PolicyForged, "signature does not count"},
		"another of the same":  {1, func(k taking, _ string) { k.force(2, 2) }, api.PolicyForged, "another policy of version 2"},
		"older":                {1, func(k taking, _ string) { k.force(1, 1) }, api.PolicyOlder, "version 1 is older"},
		"unsigned, gone":       {0, func(k taking, dir string) { k.must(os.RemoveAll(dir)) }, api.PolicyGone, "none any more"},
		"unsigned, older":      {0, func(k taking, _ string) { k.force(1, 0) }, api.PolicyOlder, "version 1 is older"},
		"unsigned, all may do": {0, func(k taking, dir string) { k.must(os.Chmod(dir+"/1/policy.yaml", 0o666)) }, api.PolicyBroken, "everybody may write"},
	} {
		t.Run(name, func(t *testing.T) {
			k := taking{t, &app{out: io.Discard, err: io.Discard, lang: lang.English, statePath: t.TempDir(), runPath: t.TempDir()}}
			t.Cleanup(func() { k.a.close() })
			start := func() *guard {
				return &guard{a: k.a, engine: "unix:///e", log: slog.New(slog.DiscardHandler)}
			}
			by := func(g *guard) *policy.InForce {
				t.Helper()
				j, err := g.judgeNow()
				k.must(err)
				return j.inForce
			}
			k.force(2, tc.seed)
			if f := by(start()); f.Policy.Metadata.Version != 2 {
				t.Fatalf("it goes by %v", f.Policy.Metadata)
			}
			tc.spoil(k, filepath.Join(k.a.statePath, "policy"))
			g := start()
			for range 2 {
				if f := by(g); f.Policy.Metadata.Version != 2 || f.Signed() != (tc.seed != 0) {
					t.Fatalf("it goes by %v, signed: %v", f.Policy.Metadata, f.Signed())
				}
			}
			if g.trouble == nil || g.trouble.What != tc.what || !strings.Contains(g.trouble.Why.En, tc.says) {
				t.Fatalf("its trouble is %+v, want %s: %s", g.trouble, tc.what, tc.says)
			}
			o, err := k.a.orderedPolicy()
			if b := k.a.policyAbility(o, err); b.is != fails || !strings.Contains(b.detail.Es, g.trouble.Why.Es) || b.remedy.Empty() {
				t.Errorf("doctor: %+v", b)
			}
			// The file is put in order: the next version, by whoever signs.
			path, _, _ := k.file(3, tc.seed)
			k.must(k.a.loadPolicy(t.Context(), path, ""))
			if f := by(g); f.Policy.Metadata.Version != 3 || g.trouble != nil {
				t.Errorf("mended, it goes by %v: %+v", f.Policy.Metadata, g.trouble)
			}
			g.writeDown(t.Context())
			b, err := k.a.book(t.Context())
			k.must(err)
			alerts, err := store.All[store.Alert](t.Context(), b.store, store.Period{}, "")
			if err != nil || len(alerts) != 2 || alerts[0].Event.What != "policy-"+tc.what || alerts[1].Event.What != "policy-"+api.PolicyGood {
				t.Errorf("the ledger has %+v %v", alerts, err)
			}
		})
	}
}

// TestLastGoodTampered: a copy that was changed is no policy either.
func TestLastGoodTampered(t *testing.T) {
	k := taking{t, &app{out: io.Discard, err: io.Discard, lang: lang.English, statePath: t.TempDir(), runPath: t.TempDir()}}
	k.force(2, 1)
	g := &guard{a: k.a, log: slog.New(slog.DiscardHandler)}
	_, err := g.judgeNow()
	k.must(err)
	k.must(os.WriteFile(filepath.Join(k.a.lastGoodDir(), "1", "policy.yaml"), []byte("x: 1"), 0o600))
	if j, err := g.judgeNow(); err != nil || j.inForce.Policy.Metadata.Version != 2 || len(g.waiting) != 1 || g.waiting[0].(store.Alert).What != "policy-"+api.PolicyCopy {
		t.Errorf("with a copy that was changed: %v, %+v", err, g.waiting)
	}
	k.must(os.WriteFile(filepath.Join(k.a.lastGoodDir(), "current.json"), []byte("x"), 0o600))
	k.must(os.RemoveAll(filepath.Join(k.a.statePath, "policy", "1")))
	if _, err := g.judgeNow(); err == nil {
		t.Error("neither the policy nor its copy is in order, and a guard goes by something")
	}
}
