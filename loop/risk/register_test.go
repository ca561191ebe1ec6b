package risk

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/policy"
)

// shop is a small estate: a public front with root and the engine's socket, an
// application between two networks, a restricted database that does not run,
// and an image that nothing uses.
func shop() *inventory.Snapshot {
	return hostOf(
		box("web", "Config.User", "", "HostConfig.Binds", []any{"/var/run/docker.sock:/s"}, "HostConfig.PortBindings", publish("80/tcp", "", "8080")),
		box("app", "NetworkSettings.Networks", on("apps", "back"), "HostConfig.CapAdd", []any{"SYS_ADMIN"}),
		box("db", "NetworkSettings.Networks", on("back"), "State.Running", false),
		thing(inventory.Image, "old:1", "Id", "sha256:9", "UsedBy", []any{}, "Config.User", "", "Created", "2020-01-01T00:00:00Z", "RepoTags", []any{"old:1"}),
		thing(inventory.Daemon, "/run/docker.sock", "Info.SecurityOptions", []any{}, "Listeners", []any{}, "Effective.icc", true),
	)
}

func registerOf(s *inventory.Snapshot, change func(*Input)) []Risk {
	in := Input{Snapshot: s, Findings: judged(s), Policy: tiered(), At: now}
	if change != nil {
		change(&in)
	}
	return Register(in)
}

func TestRegister(t *testing.T) {
	rs := registerOf(shop(), nil)
	if rs[0].Ref != ctr("web") || rs[0].Threat != Escape || rs[0].Priority != Immediate {
		t.Errorf("first is %s %s, %v", rs[0].Ref, rs[0].Threat, rs[0].Priority)
	}
	seen := map[string]bool{}
	fails := map[string]bool{}
	for i, r := range rs {
		if i > 0 && (rs[i-1].Priority < r.Priority || rs[i-1].Priority == r.Priority && rs[i-1].Current.R < r.Current.R) {
			t.Errorf("%s %s stands after %s %s", r.Ref, r.Threat, rs[i-1].Ref, rs[i-1].Threat)
		}
		if seen[r.ID] {
			t.Errorf("%s twice", r.ID)
		}
		seen[r.ID] = true
		lead := r.Findings[0]
		if r.Current != lead.Current || r.Priority != lead.Priority || r.Residual != r.Current {
			t.Errorf("%s %s: not the values of its first finding", r.Ref, r.Threat)
		}
		for _, m := range r.Findings {
			fails[m.Fingerprint] = true
			if m.Priority > lead.Priority || m.Ref != r.Ref || m.Due != m.FirstFailed.Add(m.Priority.within(tiered().SLA)) || r.Due.After(m.Due) {
				t.Errorf("%s: %s %v due %v of a risk %v due %v", r.Ref, m.Check, m.Priority, m.Due, r.Priority, r.Due)
			}
		}
	}
	for _, f := range judged(shop()) {
		if (f.Verdict == audit.Fail) != fails[f.Fingerprint()] {
			t.Errorf("%s %s %v: in the register %v", f.Check.ID, f.Ref, f.Verdict, fails[f.Fingerprint()])
		}
	}
	if r := riskOf(t, rs, inventory.Ref{Kind: inventory.Image, Name: "old:1"}, Supply); r.Findings[0].Inputs.Exposure.Level != NotRunning || r.Priority != Defer {
		t.Errorf("an image that nothing uses: %+v %v", r.Findings[0].Inputs.Exposure, r.Priority)
	}
	if p := rs[0].Paths; len(p) == 0 || p[0].Text().En != "internet → 0.0.0.0:8080/tcp → web → host → db → tier restricted" {
		t.Errorf("paths of the first: %v", texts(p))
	}
}

// TestI19SameInSameOut, byte for byte, with the lives and exceptions in it.
func TestI19SameInSameOut(t *testing.T) {
	reckon := func() string {
		s := shop()
		fs := judged(s)
		lives, changes := Track(nil, s, fs, now)
		x := Judge(tiered(), s, fs, nil, now)
		return asJSON(t, []any{registerOf(s, func(in *Input) { in.Lives, in.Exceptions = lives, x }), changes, surveyed(s, tiered()).Paths(5), x.Judged})
	}
	want := reckon()
	for range 20 {
		if got := reckon(); got != want {
			t.Fatal("two registers of the same host differ")
		}
	}
	if strings.Contains(want, "Pid") {
		t.Error("an attacker's way through process numbers")
	}
}

// TestRecompute reckons R of every risk again from the JSON of its inputs.
func TestRecompute(t *testing.T) {
	for _, r := range registerOf(shop(), nil) {
		in := r.Findings[0].Inputs
		left := 1.0
		for _, c := range in.Controls {
			if c.Counts != (c.Verdict == audit.Pass) {
				t.Errorf("%s: %s counts %v with verdict %v", r.Ref, c.Check, c.Counts, c.Verdict)
			}
			if c.Counts {
				left *= 1 - c.E
			}
		}
		if want := 100 * in.Base.Value * in.Exposure.Value * max(in.Floor, left) * in.Impact.Value; r.Current.R != want && !near(r.Current.R, want) {
			t.Errorf("%s %s: %v, by hand %v", r.Ref, r.Threat, r.Current.R, want)
		}
		if r.Inherent.R < r.Current.R {
			t.Errorf("%s %s: inherent %v below current %v", r.Ref, r.Threat, r.Inherent.R, r.Current.R)
		}
	}
}

// TestMissingIsTheWorst: a host of whose tiers nothing is known is reckoned as
// if they were the worst, and says so.
func TestMissingIsTheWorst(t *testing.T) {
	known := registerOf(shop(), nil)
	blank := registerOf(shop(), func(in *Input) { in.Policy = &policy.Policy{} })
	for _, b := range blank {
		k := riskOf(t, known, b.Ref, b.Threat)
		if b.Confidence != Low || b.State != Identified || b.Current.R < k.Current.R || b.Priority < k.Priority {
			t.Errorf("%s %s: %v %v %v %v", b.Ref, b.Threat, b.Confidence, b.State, b.Current.R, b.Priority)
		}
	}
}

// TestIDs: a risk keeps its ID while its findings come and go, another host has
// another, and a control that is added lowers it.
func TestIDs(t *testing.T) {
	before := riskOf(t, registerOf(shop(), nil), ctr("web"), Escape)
	s := shop()
	put(s.Find(ctr("web")), "HostConfig.Binds", []any{}, "Config.User", "1000")
	after := riskOf(t, registerOf(s, nil), ctr("web"), Escape)
	if after.ID != before.ID || after.Current.R >= before.Current.R || after.Digest == before.Digest {
		t.Errorf("%s R %v, was %s R %v", after.ID, after.Current.R, before.ID, before.Current.R)
	}
	s.Host = "other"
	if other := riskOf(t, registerOf(s, nil), ctr("web"), Escape); other.ID == after.ID {
		t.Error("two hosts, one ID")
	}
	if !strings.HasPrefix(before.ID, "R-") || len(before.ID) != 12 {
		t.Errorf("ID %q", before.ID)
	}
}

// TestCompensatingMeasured: what defends counts while its check passes, and the
// moment it fails the value is back.
func TestCompensatingMeasured(t *testing.T) {
	member := func(user string) Member {
		s := shop()
		put(s.Find(ctr("app")), "Config.User", user)
		for _, m := range riskOf(t, registerOf(s, nil), ctr("app"), Escape).Findings {
			if m.Check == "container-dangerous-capabilities" {
				return m
			}
		}
		t.Fatal("no such member")
		return Member{}
	}
	with, without := member("1000"), member("0")
	if with.Inherent != without.Inherent || with.Current.R >= without.Current.R || without.Current != without.Inherent {
		t.Errorf("with %v, without %v", with.Current, without.Current)
	}
}

// TestStates follows one risk through what may be decided about it.
func TestStates(t *testing.T) {
	web := riskOf(t, registerOf(shop(), nil), ctr("web"), Escape)
	ro := []policy.Signature{{Person: "ro"}}
	for _, c := range []struct {
		what     string
		t        Treatment
		state    State
		standing TreatmentState
		residual float64 // -1: as the current
		reassess bool
	}{
		{"mitigate, unsigned", Treatment{Kind: Mitigate, Inputs: web.Digest}, Assessed, Proposed, 0, false},
		{"mitigate, signed by one who may not", Treatment{Kind: Mitigate, Inputs: web.Digest, Signatures: []policy.Signature{{Person: "op"}}}, Assessed, Proposed, 0, false},
		{"mitigate, signed by an auditor", Treatment{Kind: Mitigate, Inputs: web.Digest, Signatures: []policy.Signature{{Person: "au"}}}, Assessed, Proposed, 0, false},
		{"mitigate, signed", Treatment{Kind: Mitigate, Inputs: web.Digest, Signatures: ro}, Decided, Approved, 0, false},
		{"mitigate, under way", Treatment{Kind: Mitigate, Inputs: web.Digest, Signatures: ro, Change: "7-abc"}, Treating, InProgress, 0, false},
		{"mitigate, under way, and the host changed", Treatment{Kind: Mitigate, Inputs: "old", Signatures: ro, Change: "7-abc"}, Treating, InProgress, 0, true},
		{"mitigate one of several", Treatment{Kind: Mitigate, Inputs: web.Digest, Signatures: ro, Cures: []string{"container-engine-socket", "container-combination"}}, Decided, Approved, -2, false},
		{"mitigate by a control", Treatment{Kind: Mitigate, Inputs: web.Digest, Signatures: ro, Controls: []string{"container-root-user"}}, Decided, Approved, -2, false},
		{"transfer", Treatment{Kind: Transfer, Inputs: web.Digest, Signatures: ro}, Monitored, InProgress, -1, false},
		{"transfer, and the host changed", Treatment{Kind: Transfer, Inputs: "old", Signatures: ro}, Assessed, Approved, -1, true},
		{"accept without an exception", Treatment{Kind: Accept, Inputs: web.Digest, Signatures: ro}, Assessed, Approved, -1, false},
	} {
		c.t.Risk, c.t.By, c.t.On = web.ID, "ro", now
		got := riskOf(t, registerOf(shop(), func(in *Input) { in.Treatments = []Treatment{c.t} }), ctr("web"), Escape)
		if got.State != c.state || got.Treatment.State != c.standing || got.Reassess != c.reassess || got.Owner != "ro" {
			t.Errorf("%s: %s, %s, reassess %v, owner %q", c.what, got.State, got.Treatment.State, got.Reassess, got.Owner)
		}
		if got.Current != web.Current || got.Priority != web.Priority {
			t.Errorf("%s: a decision changed %v %v to %v %v", c.what, web.Current, web.Priority, got.Current, got.Priority)
		}
		switch r := got.Residual.R; {
		case c.residual == -1 && r != web.Current.R, c.residual == 0 && r != 0, c.residual == -2 && (r <= 0 || r >= web.Current.R):
			t.Errorf("%s: residual %v of %v", c.what, r, web.Current.R)
		}
	}
}

// TestAccepted: a risk is accepted when each of its findings is excepted, and
// for as long; its numbers stay.
func TestAccepted(t *testing.T) {
	s := shop()
	fs := judged(s)
	db := ctr("db")
	pol := tiered()
	before := riskOf(t, registerOf(s, nil), db, Escape)
	for i, m := range before.Findings {
		f := finding(t, fs, m.Check, db)
		pol.Granted = append(pol.Granted, policy.Exception{
			ID: fmt.Sprintf("EX-%d", i), Requester: "op", Check: m.Check, Asset: db.String(), Reason: "moves next month",
			FactsAtDecision: Digest(f), Starts: date("2026-05-01"), Expires: date(fmt.Sprintf("2026-06-%02d", 10+i)),
		})
	}
	at := func(at time.Time, granted ...policy.Exception) Risk {
		pol.Granted = granted
		return riskOf(t, Register(Input{Snapshot: s, Findings: fs, Policy: pol, Exceptions: Judge(pol, s, fs, signedBy("ro"), at), At: at}), db, Escape)
	}
	all := pol.Granted
	got := at(now, all...)
	if got.State != Monitored || got.Treatment.Kind != Accept || got.Treatment.State != InProgress || got.Treatment.Due.String() != "2026-06-10" || got.Treatment.Signatures[0].Person != "ro" {
		t.Errorf("all excepted: %s, %+v", got.State, got.Treatment)
	}
	if got.Current != before.Current || got.Residual != before.Current || got.Priority != before.Priority || got.Digest != before.Digest {
		t.Error("accepting changed a number")
	}
	if got := at(now, all[1:]...); got.State != Assessed {
		t.Errorf("all but one excepted: %s", got.State)
	}
	if got := at(time.Date(2026, 6, 11, 0, 0, 0, 0, time.UTC), all...); got.State != Assessed {
		t.Errorf("the first has expired: %s", got.State)
	}
	put(s.Find(db), "HostConfig.CapAdd", []any{"SYS_PTRACE"})
	fs = judged(s)
	if got := at(now, all...); got.State != Assessed {
		t.Errorf("the facts are others: %s", got.State)
	}
}

// TestLifeOfARisk: due dates count from the first failure, unknown keeps a risk
// open, a measured pass closes it, and an object that is gone cures nothing.
func TestLifeOfARisk(t *testing.T) {
	s := shop()
	fs := judged(s)
	lives, _ := Track(nil, s, fs, now.Add(-100*day))
	r := riskOf(t, registerOf(s, func(in *Input) { in.Lives = lives }), ctr("web"), Escape)
	if !r.FirstFailed.Equal(now.Add(-100*day)) || !r.Overdue || !r.Due.Equal(now.Add(-97*day)) {
		t.Errorf("first failed %v, due %v, overdue %v", r.FirstFailed, r.Due, r.Overdue)
	}
	unread := slices.Clone(fs)
	for i := range unread {
		if unread[i].Ref == ctr("web") {
			unread[i].Verdict = audit.Unknown
		}
	}
	lives2, _ := Track(lives, s, unread, now)
	u := riskOf(t, registerOf(s, func(in *Input) { in.Findings, in.Lives = unread, lives2 }), ctr("web"), Escape)
	if len(u.Findings) != len(r.Findings) || u.State == Closed || u.Findings[0].Verdict != audit.Unknown {
		t.Errorf("unread: %s with %d findings", u.State, len(u.Findings))
	}
	cured := slices.Clone(fs)
	for i := range cured {
		if cured[i].Ref == ctr("web") && cured[i].Verdict == audit.Fail {
			cured[i].Verdict = audit.Pass
		}
	}
	lives3, _ := Track(lives, s, cured, now)
	c := riskOf(t, registerOf(s, func(in *Input) {
		in.Findings, in.Lives = cured, lives3
		in.Treatments = []Treatment{{Risk: r.ID, Kind: Mitigate, By: "ro", On: now, Signatures: []policy.Signature{{Person: "ro"}}}}
	}), ctr("web"), Escape)
	if c.State != Closed || c.ID != r.ID || c.Priority != 0 || c.Treatment.State != Verified {
		t.Errorf("cured: %s %v %s", c.State, c.Priority, c.Treatment.State)
	}
	without := hostOf(slices.DeleteFunc(slices.Clone(s.Objects), func(o *inventory.Object) bool { return o.Ref == ctr("web") })...)
	gone := judged(without)
	lives4, _ := Track(lives, without, gone, now)
	g := riskOf(t, registerOf(without, func(in *Input) { in.Findings, in.Lives = gone, lives4 }), ctr("web"), Escape)
	if g.State != Gone {
		t.Errorf("gone: %s", g.State)
	}
}

// BenchmarkRegister is for a thousand containers on twenty networks.
func BenchmarkRegister(b *testing.B) {
	var objects []*inventory.Object
	for i := range 1000 {
		objects = append(objects, box(fmt.Sprintf("c%d", i), "NetworkSettings.Networks", on(fmt.Sprintf("n%d", i%20)), "Config.User", "",
			"HostConfig.PortBindings", publish("80/tcp", "", fmt.Sprint(10000+i))))
	}
	s := hostOf(objects...)
	fs := judged(s)
	for b.Loop() {
		Register(Input{Snapshot: s, Findings: fs, Policy: tiered(), At: now})
	}
}
