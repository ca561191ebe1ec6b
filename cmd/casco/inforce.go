package main

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // windows name zones; a host may lack the database

	"casco/guard/admission"
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/audit/checks"
	"casco/loop/audit/frameworks"
	"casco/loop/audit/own"
	"casco/loop/declared"
	"casco/loop/inventory"
	"casco/policy"
	"casco/policy/folder"
	"casco/report"
	"casco/signed"
)

// A judge is what a reading is judged by: a policy, and the checks as it wants
// them, its own among them.
type judge struct {
	inForce   *policy.InForce
	declared  *declared.Declared
	checks    []*audit.Check
	overrides []audit.Override
	gaps      []inventory.Gap // checks of the organisation's that could not be made
}

func newJudge(f *policy.InForce) *judge {
	j := &judge{inForce: f, declared: declared.By(f.Policy)}
	mine, problems := own.All(f.Policy)
	for _, p := range problems {
		j.gaps = append(j.gaps, inventory.Gap{Ref: inventory.PolicyRef, Source: p.Pos.String(), Reason: p.Text.En})
	}
	all := append(checks.All(), mine...)
	slices.SortStableFunc(all, func(a, b *audit.Check) int { return strings.Compare(a.ID, b.ID) })
	j.checks, j.overrides = j.declared.Tailor(all)
	return j
}

// look judges what was read. The snapshot that it returns has what the policy
// says beside it.
func (j *judge) look(s *inventory.Snapshot) (*inventory.Snapshot, []audit.Finding) {
	judged := j.declared.With(s)
	judged.Gaps = slices.Concat(s.Gaps, j.gaps)
	judged.Sort()
	return judged, audit.Run(j.checks, judged)
}

// find returns the check with that ID, or nil.
func (j *judge) find(id string) *audit.Check {
	i := slices.IndexFunc(j.checks, func(c *audit.Check) bool { return c.ID == id })
	if i < 0 {
		return nil
	}
	return j.checks[i]
}

// report is the policy as a report names it.
func (j *judge) report() report.Policy {
	p := j.inForce.Policy
	return report.Policy{
		Name: p.Metadata.Name, Version: p.Metadata.Version, Digest: p.Digest, SignedBy: j.inForce.Signature.Person, Tailored: j.overrides,
	}
}

func (a *app) keeper() folder.Keeper { return folder.NewKeeper(filepath.Join(a.statePath, "policy")) }

// takenPolicy is what this host has taken, nil if nothing ever was.
func (a *app) takenPolicy() (*policy.InForce, error) {
	f, err := a.keeper().InForce()
	if errors.Is(err, fs.ErrPermission) {
		return nil, coded{exitTrouble, lang.Errorf(lang.Text{
			En: "the policy in force cannot be read, and judging by another would mislead: %w", Es: "la política en vigor no se puede leer, y juzgar por otra engañaría: %w",
		}, err), "sudo casco …"}
	}
	return f, err
}

// judgeNow reads the policy anew: the one in force, or the one of --policy.
func (a *app) judgeNow() (*judge, error) {
	if a.policyPath != "" {
		s, p, err := a.readPolicy(a.policyPath)
		if err != nil {
			return nil, err
		}
		return newJudge(&policy.InForce{Policy: p, Signature: signerOf(p, s)}), nil
	}
	f, err := a.takenPolicy()
	if err != nil {
		return nil, err
	}
	return newJudge(f.At(time.Now())), nil
}

// policy is what this host goes by, whatever --policy says: who may sign, how
// a change is agreed to, how long evidence is kept.
func (a *app) policy() (*policy.Policy, error) {
	f, err := a.takenPolicy()
	if err != nil {
		return nil, err
	}
	return f.At(time.Now()).Policy, nil
}

func (a *app) policySigned() bool {
	f, err := a.takenPolicy()
	return err == nil && f.At(time.Now()).Signed()
}

// signerOf is the person of p who signed it, as far as p itself can say.
func signerOf(p *policy.Policy, s *folder.Source) policy.Signature {
	if s.Signature == nil {
		return policy.Signature{}
	}
	who, k, err := p.SignedBy(s.Signature, signed.Policy, p.Message)
	if err != nil {
		return policy.Signature{}
	}
	return policy.Signature{Person: who.ID, Key: k.Fingerprint()}
}

// readPolicy reads and lints a policy; one with an error is refused, with all
// that is wrong.
func (a *app) readPolicy(path string) (*folder.Source, *policy.Policy, error) {
	s, err := folder.Read(path)
	if ours := (*lang.Error)(nil); errors.As(err, &ours) { // not the system's: it could be read, and may not
		return nil, nil, refused(err, "")
	}
	if err != nil {
		return nil, nil, err
	}
	p, problems := lintPolicy(s)
	if policy.Refused(problems) {
		a.printProblems(a.err, problems)
		return nil, nil, refused(lang.Errorf(lang.Text{En: "%s: the policy is not in order", Es: "%s: la política no está en orden"}, path), command("policy", "lint", path))
	}
	return s, p, nil
}

// lintPolicy returns all that is wrong with a policy, and the policy if it
// could be read.
func lintPolicy(s *folder.Source) (*policy.Policy, []policy.Problem) {
	p, problems := s.Parse()
	if p == nil {
		return nil, problems
	}
	_, wrong := own.All(p)
	return p, slices.Concat(problems, policy.Lint(p, catalogue(), time.Now()), wrong)
}

// catalogue is what a policy may name of this program.
func catalogue() policy.Catalogue {
	var c policy.Catalogue
	for _, check := range checks.All() {
		c.Checks = append(c.Checks, check.ID)
	}
	for _, r := range admission.Rules() {
		c.Rules = append(c.Rules, r.ID)
	}
	for id := range frameworks.All() {
		c.Frameworks = append(c.Frameworks, id)
	}
	slices.Sort(c.Frameworks)
	for _, k := range inventory.Kinds() {
		c.Kinds = append(c.Kinds, string(k))
	}
	for _, m := range means() {
		if !slices.Contains(c.Hands, m.Hand) {
			c.Hands = append(c.Hands, m.Hand)
		}
	}
	return c
}
