package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"casco/api"
	"casco/keeper"
	"casco/lang"
	"casco/loop/inventory"
	"casco/policy"
	"casco/policy/folder"
	"casco/store"
)

// A guard goes by the policy that it is told to, as long as that is in order and
// may follow the last one that was (policy.Accept). Of each that it goes by it
// keeps a copy with its signature; where what it is told is gone, broken, forged
// or older, the copy counts, verified anew, and that is said. So a guard that is
// started anew is never laxer than it was.

// lastGood is where the guard keeps the last policy that was in order. That of
// --policy is another than the one that was taken.
func (a *app) lastGood() folder.Keeper { return folder.NewKeeper(a.lastGoodDir()) }

func (a *app) lastGoodDir() string {
	of := "taken"
	if a.policyPath != "" {
		of = "file"
	}
	return filepath.Join(a.statePath, "guard-policy", of)
}

// wantedPolicy is the policy that a guard is told to go by, with its files: that
// of --policy, or the one that this host has taken. They are nil for the built-in
// one.
func (a *app) wantedPolicy() (*policy.InForce, *folder.Source, error) {
	if a.policyPath != "" {
		s, p, err := a.readPolicy(a.policyPath)
		if err != nil {
			return nil, nil, err
		}
		f := &policy.InForce{Policy: p, Signature: signerOf(p, s)}
		if s.Signature != nil && !f.Signed() {
			return nil, nil, lang.Errorf(lang.Text{En: "%s: %w", Es: "%s: %w"}, s.SignedIn, folder.ErrForged)
		}
		return f, s, nil
	}
	f, err := a.takenPolicy()
	if err != nil {
		return nil, nil, err
	}
	f = f.At(time.Now())
	s, err := a.keeper().Source(f)
	return f, s, err
}

var errNoPolicy = lang.Errorf(lang.Text{En: "there is none any more", Es: "ya no hay ninguna"})

// follows reports why f, with the files s, may not take the place of good; nil if
// it may. That which has no signature follows whatever has none; who signs next,
// a signed one says.
func follows(good, f *policy.InForce, s *folder.Source) error {
	switch {
	case good == nil:
		return nil
	case s == nil:
		return errNoPolicy
	case f.Policy.Metadata.Version < good.Policy.Metadata.Version || good.Signed():
		_, err := policy.Accept(good, policy.Candidate{Policy: f.Policy, Signature: s.Signature}, time.Now())
		if err != nil && !errors.Is(err, policy.ErrOlder) {
			err = fmt.Errorf("%w: %w", folder.ErrForged, err)
		}
		return err
	}
	return nil
}

// troubleWith says in one word, for programs, why a policy does not count.
func troubleWith(err error) string {
	switch {
	case errors.Is(err, errNoPolicy), errors.Is(err, fs.ErrNotExist):
		return api.PolicyGone
	case errors.Is(err, policy.ErrOlder):
		return api.PolicyOlder
	case errors.Is(err, folder.ErrForged):
		return api.PolicyForged
	}
	return api.PolicyBroken
}

// An orderedPolicy is what a guard goes by.
type orderedPolicy struct {
	*policy.InForce
	files   *folder.Source     // nil if it is not the one that it is told to go by, or is built in
	trouble *api.PolicyTrouble // why it is not, or what became of the copy
}

// lost reports whether the one that it is told to go by does not count.
func (o orderedPolicy) lost() bool { return o.trouble != nil && o.trouble.What != api.PolicyCopy }

// orderedPolicy is the policy that a guard goes by here. Where neither the one
// that it is told to nor the copy of the last good one counts, that is an error.
func (a *app) orderedPolicy() (o orderedPolicy, err error) {
	good, goodErr := a.lastGood().InForce()
	o.InForce, o.files, err = a.wantedPolicy()
	if err == nil {
		err = follows(good, o.InForce, o.files)
	}
	switch {
	case err != nil && (goodErr != nil || good == nil):
		return o, errors.Join(err, goodErr)
	case err != nil:
		return orderedPolicy{InForce: good, trouble: &api.PolicyTrouble{What: troubleWith(err), Why: said(err)}}, nil
	case goodErr != nil:
		o.trouble = &api.PolicyTrouble{What: api.PolicyCopy, Why: said(goodErr)}
	}
	return o, nil
}

// keepGood keeps a policy that is in order for when it no longer is.
func (a *app) keepGood(o orderedPolicy) error {
	k := a.lastGood()
	if o.files == nil || k.Keeps(o.InForce, o.files) {
		return nil
	}
	if o.trouble != nil { // a copy that is not as it was left
		if err := os.RemoveAll(a.lastGoodDir()); err != nil {
			return err
		}
	}
	return k.Keep(&policy.InForce{Policy: o.Policy, Signature: o.Signature, Since: o.Since}, o.files)
}

// judgeNow reads the policy anew, and tells when it becomes another one than the
// guard is told to go by, or no longer is.
func (g *guard) judgeNow() (*judge, error) {
	o, err := g.a.orderedPolicy()
	if err != nil {
		return nil, err
	}
	if err := g.a.keepGood(o); err != nil {
		g.log.Error("the policy was not kept for when it is lost", "err", err)
	}
	g.tellTrouble(o)
	return newJudge(o.InForce), nil
}

// tellTrouble notes what is wrong with the policy, once.
func (g *guard) tellTrouble(o orderedPolicy) {
	now := o.trouble
	g.mu.Lock()
	was := g.trouble
	switch {
	case now == nil && was == nil, now != nil && was != nil && now.What == was.What && now.Why == was.Why:
		g.mu.Unlock()
		return
	case now != nil && now.What != api.PolicyCopy:
		now.Since = time.Now().UTC()
		g.trouble = now
	default:
		g.trouble = nil
	}
	g.mu.Unlock()
	what, text := api.PolicyGood, lang.Text{En: "the policy is in order again: %s is gone by", Es: "la política vuelve a estar en orden: rige %s"}.F(o.Policy.Metadata)
	switch {
	case now == nil:
	case now.What == api.PolicyCopy:
		what, text = now.What, lang.Text{
			En: "the copy of the last good policy was not as it was left, and is made anew: %s", Es: "la copia de la última política buena no estaba como se dejó, y se hace de nuevo: %s",
		}.F(now.Why)
	default:
		what, text = now.What, now.Text(o.Policy.Metadata)
	}
	g.event(keeper.Event{Time: time.Now().UTC(), Kind: keeper.Policy, Text: text})
	g.noted(store.Alert{Ref: inventory.PolicyRef.String(), What: "policy-" + what, Text: text.En})
	g.log.Warn("policy", "what", what, "text", text.En)
}
