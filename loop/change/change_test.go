package change

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"casco/loop/inventory"
	"casco/loop/plan"
	"casco/policy"
	"casco/signed"
)

var noon = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC) // a Tuesday

// signer makes the key that the letter stands for, the same each time.
func signer(t testing.TB, letter string) signed.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed([]byte(strings.Repeat(letter, ed25519.SeedSize))))
	if err != nil {
		t.Fatal(err)
	}
	key, err := signed.NewSigner(s)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// rules is a host of an organisation with four persons: op, who asks; ana and
// ben, who approve; ben has two keys, b and B; aud, who audits and whom somebody
// also made an approver.
func rules(t testing.TB) Rules {
	key := func(letter string) string { return signer(t, letter).Key().String() }
	day := func(d int) policy.Date {
		return policy.Date{Time: time.Date(2026, 12, d, 0, 0, 0, 0, time.UTC), Whole: true}
	}
	return Rules{
		Host: "h", Now: noon, Signed: true,
		Policy: &policy.Policy{
			People: []policy.Person{
				{ID: "op", Roles: []policy.Role{policy.Operator, policy.Approver}, Keys: []string{key("o")}},
				{ID: "ana", Roles: []policy.Role{policy.Approver, policy.RiskOwner}, Keys: []string{key("a")}},
				{ID: "ben", Roles: []policy.Role{policy.Approver}, Keys: []string{key("b"), key("B")}},
				{ID: "aud", Roles: []policy.Role{policy.Auditor, policy.Approver}, Keys: []string{key("u")}},
			},
			Changes: policy.Changes{
				Standard: policy.Standard{
					Kinds: []string{"file", "sysctl:sysctl-value"}, PreapprovedBy: []string{"ana"}, Expires: day(31),
				},
				Normal:    policy.Normal{Approvals: 2, Roles: []policy.Role{policy.Approver}, PlanValidFor: policy.Duration(72 * time.Hour)},
				Emergency: policy.Emergency{Approvals: 1, Roles: []policy.Role{policy.Approver}, RatifyWithin: policy.Duration(24 * time.Hour)},
				Freeze:    []policy.Freeze{{From: day(20), To: day(25), Except: []string{"emergency"}}},
			},
		},
	}
}

type hold struct {
	t *testing.T
	c *Change
}

// asked is a change that op asks for.
func asked(t *testing.T, edit ...func(*Change)) hold {
	p := &plan.Plan{Schema: plan.Schema, Host: "h", Taken: noon.Add(-time.Hour), Steps: []plan.Step{{
		Ref: inventory.Ref{Kind: "file", Name: "/etc/docker"}, Hand: "file", For: []plan.Cure{{Check: "file-mode"}},
	}}}
	c := New(p, "op", noon.Add(-time.Hour))
	for _, e := range edit {
		e(c)
	}
	c.PlanID = c.Plan.ID()
	h := hold{t, c}
	h.request("o")
	return h
}

func (h hold) request(letter string) {
	sig, err := signer(h.t, letter).Sign(signed.Request, h.c.Message())
	if err != nil {
		h.t.Fatal(err)
	}
	h.c.Request.Signature = string(sig)
}

// says adds the decision of by, made with the key that the letter stands for.
func (h hold) says(by, letter string, d Decision, edit ...func(*Approval)) hold {
	a := Approval{By: by, At: noon.Add(-time.Minute), Decision: d, Change: h.c.Digest()}
	for _, e := range edit {
		e(&a)
	}
	sig, err := signer(h.t, letter).Sign(signed.Approval, a.Message())
	if err != nil {
		h.t.Fatal(err)
	}
	a.Signature = string(sig)
	h.c.Approvals = append(h.c.Approvals, a)
	return h
}

func (h hold) approved() hold { return h.says("ana", "a", Approve).says("ben", "b", Approve) }

// TestReady holds I1 (nothing without approval, verified by the host itself),
// I2 (the approver is not the author; k distinct persons) and I3 (what was
// approved is what is applied), with all that an attacker or a hurried
// colleague might try.
func TestReady(t *testing.T) {
	for _, c := range []struct {
		name string
		make func() *Change
		want string // in the refusal; empty: it may be applied
	}{
		{"two persons agreed", func() *Change { return asked(t).approved().c }, ""},
		{"nobody agreed", func() *Change { return asked(t).c }, "0 of 2"},
		{"one agreed", func() *Change { return asked(t).says("ana", "a", Approve).c }, "1 of 2"},
		{"I2: the author is one of the two", func() *Change { return asked(t).says("ana", "a", Approve).says("op", "o", Approve).c }, `"op" asked for it`},
		{"I2: one person with two keys", func() *Change { return asked(t).says("ben", "b", Approve).says("ben", "B", Approve).c }, "1 of 2"},
		{"the auditor is one of the two", func() *Change { return asked(t).says("ana", "a", Approve).says("aud", "u", Approve).c }, `"aud" has no role`},
		{"somebody signs in another's name", func() *Change { return asked(t).says("ana", "a", Approve).says("ben", "o", Approve).c }, `names "ben" and "op" signed`},
		{"a key that nobody has", func() *Change { return asked(t).approved().says("ana", "x", Approve).c }, "names nobody"},
		{"one of three rejected", func() *Change { return asked(t).approved().says("ana", "a", Reject).c }, `"ana" rejected`},
		{"the rejection was withdrawn", func() *Change {
			return asked(t).approved().says("ana", "a", Reject).says("ana", "a", Withdraw).says("ana", "a", Approve).c
		}, ""},
		{"the approval was withdrawn", func() *Change { return asked(t).approved().says("ben", "b", Withdraw).c }, "1 of 2"},
		{"a ratification is no approval", func() *Change { return asked(t).says("ana", "a", Approve).says("ben", "b", Ratify).c }, "1 of 2"},
		{"the approval has ended", func() *Change {
			return asked(t).says("ana", "a", Approve).says("ben", "b", Approve, func(a *Approval) { a.Until = noon }).c
		}, "1 of 2"},
		{"the approval is from the future", func() *Change {
			return asked(t).approved().says("ben", "b", Approve, func(a *Approval) { a.At = noon.Add(time.Hour) }).c
		}, "from the future"},
		{"I3: one byte of the plan", func() *Change {
			h := asked(t).approved()
			h.c.Plan.Steps[0].Hand = "filf"
			return h.c
		}, "not the one that was made"},
		{"I3: and its ID with it", func() *Change {
			h := asked(t).approved()
			h.c.Plan.Steps[0].Hand = "filf"
			h.c.PlanID = h.c.Plan.ID()
			return h.c
		}, "request"},
		{"the class was changed", func() *Change { h := asked(t).approved(); h.c.Request.Class = Emergency; return h.c }, "request"},
		{"the author was changed, and signed", func() *Change {
			h := asked(t).says("ana", "a", Approve).says("op", "o", Approve)
			h.c.Request.By = "ben"
			h.request("b")
			return h.c
		}, "may not ask"},
		{"the window was moved, and signed", func() *Change {
			h := asked(t).approved()
			h.c.Request.Window.From = noon.Add(-time.Hour)
			h.request("o")
			return h.c
		}, "another change"},
		{"nobody signed the request", func() *Change { h := asked(t).approved(); h.c.Request.Signature = ""; return h.c }, "nobody signed"},
		{"who may not ask asks", func() *Change {
			h := asked(t, func(c *Change) { c.Request.By = "ana" })
			h.request("a")
			return h.c
		}, "no role of operator"},
		{"a signature for another purpose", func() *Change {
			h := asked(t).says("ana", "a", Approve)
			a := Approval{By: "ben", At: noon, Decision: Approve, Change: h.c.Digest()}
			sig, _ := signer(t, "b").Sign(signed.Policy, a.Message())
			a.Signature = string(sig)
			h.c.Approvals = append(h.c.Approvals, a)
			return h.c
		}, "casco-policy"},
		{"a host of another name", func() *Change { return asked(t, func(c *Change) { c.Plan.Host = "i" }).approved().c }, `host "i"`},
		{"before its window", func() *Change {
			return asked(t, func(c *Change) { c.Request.Window.From = noon.Add(time.Hour) }).approved().c
		}, "outside its window"},
		{"after its window", func() *Change { return asked(t, func(c *Change) { c.Request.Window.Until = noon }).approved().c }, "outside its window"},
		{"the plan is old", func() *Change {
			return asked(t, func(c *Change) { c.Plan.Taken = noon.AddDate(0, 0, -4) }).approved().c
		}, "good until"},
		{"an emergency", func() *Change { return emergency(t, "the engine is open").says("ana", "a", Approve).c }, ""},
		{"an emergency without a reason", func() *Change { return emergency(t, " ").says("ana", "a", Approve).c }, "must say why"},
		{"an emergency that its author approves", func() *Change { return emergency(t, "x").says("op", "o", Approve).c }, "asked for it"},
		{"a standard change", func() *Change { return standard(t).c }, ""},
		{"a standard change of another kind", func() *Change {
			return standard(t, func(c *Change) { c.Plan.Steps[0].Hand = "docker-recreate" }).c
		}, "not of a standard kind"},
		{"a standard change for another check", func() *Change {
			return standard(t, func(c *Change) { c.Plan.Steps[0].Hand = "sysctl" }).c
		}, "not of a standard kind"},
		{"a standard change for that check", func() *Change {
			return standard(t, func(c *Change) { c.Plan.Steps[0].Hand, c.Plan.Steps[0].For[0].Check = "sysctl", "sysctl-value" }).c
		}, ""},
		{"a standard change that restarts something", func() *Change {
			return standard(t, func(c *Change) { c.Plan.Steps[0].Cost = plan.Restart }).c
		}, "costs a restart"},
		{"a class that there is not", func() *Change { return asked(t, func(c *Change) { c.Request.Class = "routine" }).c }, "no class"},
	} {
		t.Run(c.name, func(t *testing.T) { refusal(t, c.make().Ready(rules(t)), c.want) })
	}
}

func emergency(t *testing.T, why string) hold {
	return asked(t, func(c *Change) { c.Request.Class, c.Request.Reason = Emergency, why })
}

func standard(t *testing.T, edit ...func(*Change)) hold {
	return asked(t, append([]func(*Change){func(c *Change) { c.Request.Class = Standard }}, edit...)...)
}

func refusal(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("refused: %v", err)
	case want != "" && (!errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want)):
		t.Errorf("got %v, want a refusal with %q", err, want)
	}
}

// TestRules holds what the policy and the clock say of a change that all agreed
// to: windows, freezes, expiry at the moment of use (I12).
func TestRules(t *testing.T) {
	for _, c := range []struct {
		name string
		make func() *Change
		edit func(*Rules)
		want string
	}{
		{"frozen", func() *Change { return asked(t).approved().c }, func(r *Rules) { r.Now = noon.AddDate(0, 0, 19); fresh(r) }, "frozen"},
		{"the last second of a freeze", func() *Change { return asked(t).approved().c }, func(r *Rules) {
			r.Now = time.Date(2026, 12, 25, 23, 59, 59, 0, time.UTC)
			fresh(r)
		}, "frozen"},
		{"after a freeze", func() *Change { return asked(t).approved().c }, func(r *Rules) { r.Now = time.Date(2026, 12, 26, 0, 0, 0, 0, time.UTC); fresh(r) }, ""},
		{"an emergency in a freeze", func() *Change { return emergency(t, "x").says("ana", "a", Approve).c }, func(r *Rules) { r.Now = noon.AddDate(0, 0, 19); fresh(r) }, ""},
		{"standard changes expired", func() *Change { return standard(t).c }, func(r *Rules) { r.Now = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC); fresh(r) }, "agreed to until"},
		{"standard, outside its window", func() *Change { return standard(t).c }, func(r *Rules) { r.Policy.Changes.Standard.Window = night }, "outside the window"},
		{"normal, outside its window", func() *Change { return asked(t).approved().c }, func(r *Rules) { r.Policy.Changes.Normal.Window = night }, "outside the window"},
		{"standard, by a policy that nobody signed", func() *Change { return standard(t).c }, func(r *Rules) { r.Signed = false }, "no signed policy"},
		{"standard, agreed to by who may not", func() *Change { return standard(t).c }, func(r *Rules) { r.Policy.Changes.Standard.PreapprovedBy = []string{"aud"} }, "who may not"},
		{"an approver left", func() *Change { return asked(t).approved().c }, func(r *Rules) { r.Policy.People = r.Policy.People[:2] }, "names nobody"},
		{"a key that two persons have", func() *Change { return asked(t).approved().c }, func(r *Rules) {
			r.Policy.People[3].Keys = append(r.Policy.People[3].Keys, r.Policy.People[1].Keys[0])
		}, "or two persons"},
		{"the author may approve", func() *Change { return asked(t).says("ana", "a", Approve).says("op", "o", Approve).c }, func(r *Rules) { r.Policy.Changes.Normal.AuthorMayApprove = true }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rules(t)
			c.edit(&r)
			refusal(t, c.make().Ready(r), c.want)
		})
	}
}

// night is from ten in the evening until four, so that noon is not in it.
var night = policy.Window{From: 22 * 60, To: 4 * 60}

func fresh(r *Rules) { r.Policy.Changes.Normal.PlanValidFor = 0 }

// TestApprovers names those whose yes counts, and nobody else.
func TestApprovers(t *testing.T) {
	h := asked(t).says("ana", "a", Approve).says("op", "o", Approve).says("ben", "b", Approve).says("aud", "u", Approve)
	if got, want := h.c.Approvers(rules(t)), []string{"ana", "ben"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	over := asked(t).says("ana", "a", Approve).says("ben", "b", Approve, func(a *Approval) { a.Until = noon })
	if got := over.c.Approvers(rules(t)); !slices.Equal(got, []string{"ana"}) {
		t.Errorf("with one whose approval is over: %v", got)
	}
}

// TestSingleOperator: where the policy names no persons, one key approves what
// its owner planned, and no other key does.
func TestSingleOperator(t *testing.T) {
	r := Rules{Host: "h", Now: noon, Policy: &policy.Policy{}, Local: []signed.Key{signer(t, "o").Key()}}
	unsigned := func() hold { h := asked(t); h.c.Request.Signature = ""; return h }
	refusal(t, unsigned().says("op", "o", Approve).c.Ready(r), "")
	refusal(t, unsigned().c.Ready(r), "not approved")
	refusal(t, unsigned().says("op", "a", Approve).c.Ready(r), "not among")
	refusal(t, unsigned().says("op", "o", Approve).says("op", "o", Reject).c.Ready(r), "rejected")
}

// TestRatified: an emergency is agreed to afterwards by as many as a normal
// change, and in time.
func TestRatified(t *testing.T) {
	h := emergency(t, "x").says("ana", "a", Approve)
	refusal(t, h.c.Ratified(rules(t)), "0 of 2")
	refusal(t, h.says("ana", "a", Ratify).c.Ratified(rules(t)), "1 of 2")
	refusal(t, h.says("op", "o", Ratify).c.Ratified(rules(t)), "asked for it")
	refusal(t, h.says("ben", "b", Ratify).c.Ratified(rules(t)), "")
	refusal(t, h.c.Ready(rules(t)), "") // what was ratified stays approved
	if got, want := h.c.RatifyBy(rules(t).Policy, noon), noon.Add(24*time.Hour); !got.Equal(want) {
		t.Errorf("ratify by %s, want %s", got, want)
	}
	if got := asked(t).c.RatifyBy(rules(t).Policy, noon); !got.IsZero() {
		t.Errorf("a normal change is to be ratified by %s", got)
	}
	// Who approved the emergency left since, and so did one who ratified it.
	left := rules(t)
	left.Policy.People = left.Policy.People[2:]
	left.Policy.Changes.Normal.Approvals = 1
	e := asked(t, func(c *Change) { c.Request.Class, c.Request.Reason = Emergency, "r" }).says("ana", "a", Approve).says("ana", "a", Ratify)
	refusal(t, e.c.Ratified(left), "0 of 1")
	refusal(t, e.says("ben", "b", Ratify).c.Ratified(left), "")
}

func TestIntact(t *testing.T) {
	c := asked(t).c
	c.Plan.Schema = "casco/plan/v2"
	if err := c.Intact(); err == nil {
		t.Error("a plan of another format is intact")
	}
}
