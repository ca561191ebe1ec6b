package change

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"casco/loop/plan"
)

// TestReady approves a plan and then does to it what an attacker would.
func TestReady(t *testing.T) {
	mine := ed25519.NewKeyFromSeed([]byte(strings.Repeat("a", 32)))
	other := ed25519.NewKeyFromSeed([]byte(strings.Repeat("b", 32)))
	trusted := map[string]bool{PublicKey(mine): true}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	approved := func() *Change {
		c := New(&plan.Plan{Schema: plan.Schema, Host: "h", Steps: []plan.Step{{Hand: "x"}}})
		c.Approvals = []Approval{Sign(mine, c.PlanID, "ana", at)}
		return c
	}
	if err := approved().Ready("h", trusted); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Change){
		"no approval":         func(c *Change) { c.Approvals = nil },
		"a step was changed":  func(c *Change) { c.Plan.Steps[0].Hand = "y" },
		"and its ID with it":  func(c *Change) { c.Plan.Steps[0].Hand = "y"; c.PlanID = c.Plan.ID() },
		"and the approval's":  func(c *Change) { c.Plan.Steps[0].Hand = "y"; c.PlanID = c.Plan.ID(); c.Approvals[0].PlanID = c.PlanID },
		"another name":        func(c *Change) { c.Approvals[0].By = "root" },
		"another time":        func(c *Change) { c.Approvals[0].At = at.Add(time.Second) },
		"a key nobody trusts": func(c *Change) { c.Approvals = []Approval{Sign(other, c.PlanID, "ana", at)} },
		"a trusted key's name": func(c *Change) {
			c.Approvals = []Approval{Sign(other, c.PlanID, "ana", at)}
			c.Approvals[0].Key = PublicKey(mine)
		},
		"a bad one beside": func(c *Change) { c.Approvals = append(c.Approvals, Approval{By: "x", PlanID: c.PlanID}) },
		"a host of another name": func(c *Change) {
			c.Plan.Host = "i"
			c.PlanID = c.Plan.ID()
			c.Approvals = []Approval{Sign(mine, c.PlanID, "ana", at)}
		},
	} {
		c := approved()
		spoil(c)
		if err := c.Ready("h", trusted); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := approved()
	c.Plan.Schema = "casco/plan/v2"
	if err := c.Intact(); err == nil {
		t.Error("a plan of another format is intact")
	}
}
