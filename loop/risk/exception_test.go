package risk

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"casco/loop/audit"
	"casco/loop/audit/checks"
	"casco/loop/inventory"
	"casco/policy"
)

func date(s string) policy.Date {
	d, err := policy.ParseDate(s)
	if err != nil {
		panic(err)
	}
	return d
}

// signedBy is a Verify that finds the signatures of these persons.
func signedBy(ids ...string) Verify {
	return func(policy.Exception) ([]policy.Signature, error) {
		var out []policy.Signature
		for _, id := range ids {
			out = append(out, policy.Signature{Person: id, Key: "SHA256:" + id})
		}
		return out, nil
	}
}

// proxied is a host whose proxy takes port 443 on all addresses, and one that
// does the same beside it.
func proxied() (*inventory.Snapshot, []audit.Finding) {
	s := hostOf(
		box("proxy", "HostConfig.PortBindings", publish("443/tcp", "", "443")),
		box("twin", "HostConfig.PortBindings", publish("443/tcp", "192.0.2.1", "443")),
		box("two", "HostConfig.PortBindings", map[string]any{
			"443/tcp": []any{map[string]any{"HostIp": "", "HostPort": "443"}}, "80/tcp": []any{map[string]any{"HostIp": "", "HostPort": "80"}},
		}),
	)
	return s, judged(s)
}

// wanted is an exception that is in force for the proxy's port.
func wanted(t testing.TB, fs []audit.Finding) policy.Exception {
	return policy.Exception{
		ID: "EX-1", Requester: "op", Check: "container-privileged-port", Asset: "container/proxy", Locus: "0.0.0.0:443/tcp", Reason: "serves HTTPS",
		Compensating:    []policy.Compensating{{Check: "container-no-new-privileges"}},
		FactsAtDecision: "sha256:" + Digest(finding(t, fs, "container-privileged-port", ctr("proxy"))),
		Starts:          date("2026-05-01"), Expires: date("2026-10-01"),
	}
}

func TestJudge(t *testing.T) {
	s, fs := proxied()
	two := Digest(finding(t, fs, "container-privileged-port", ctr("two")))
	for _, c := range []struct {
		what   string
		change func(*policy.Exception)
		by     []string
		force  Force
		why    []Reason
	}{
		{"as it should be", func(*policy.Exception) {}, []string{"ro"}, InForce, nil},
		{"a second signature does not hurt", func(*policy.Exception) {}, []string{"op", "ro"}, InForce, nil},
		{"the whole finding", func(e *policy.Exception) { e.Locus = "" }, []string{"ro"}, InForce, nil},
		{"the port on any address", func(e *policy.Exception) { e.Locus = "443/tcp" }, []string{"ro"}, InForce, nil},
		{"for this host", func(e *policy.Exception) { e.Host = "h" }, []string{"ro"}, InForce, nil},
		{"digest without its name", func(e *policy.Exception) { e.FactsAtDecision = e.FactsAtDecision[7:] }, []string{"ro"}, InForce, nil},

		{"nobody signed", func(*policy.Exception) {}, nil, Void, []Reason{Unsigned}},
		{"an operator signed", func(e *policy.Exception) { e.Requester = "ro2" }, []string{"op"}, Void, []Reason{NoRole}},
		{"an auditor grants nothing, whatever else they are", func(*policy.Exception) {}, []string{"au"}, Void, []Reason{NoRole}},
		{"a stranger signed", func(*policy.Exception) {}, []string{"nobody"}, Void, []Reason{BadSignature}},
		{"who asked signed", func(e *policy.Exception) { e.Requester = "ro2" }, []string{"ro2"}, Void, []Reason{OwnRequest}},
		{"who asked signed, and another", func(e *policy.Exception) { e.Requester = "ro2" }, []string{"ro2", "ro"}, InForce, nil},
		{"a check that nobody may except", func(e *policy.Exception) { e.Check = "container-engine-socket" }, []string{"ro"}, Void, []Reason{NeverExcept}},
		{"too long", func(e *policy.Exception) { e.Expires = date("2026-10-28") }, []string{"ro"}, Void, []Reason{TooLong}},
		{"as long as it may be", func(e *policy.Exception) { e.Expires = date("2026-10-27") }, []string{"ro"}, InForce, nil},
		{"no end", func(e *policy.Exception) { e.Expires = policy.Date{} }, []string{"ro"}, Void, []Reason{NoEnd}},
		{"ends before it starts", func(e *policy.Exception) { e.Expires = date("2026-04-01") }, []string{"ro"}, Void, []Reason{NoEnd}},
		{"no reason", func(e *policy.Exception) { e.Reason = " " }, []string{"ro"}, Void, []Reason{NoReason}},
		{"no facts", func(e *policy.Exception) { e.FactsAtDecision = "" }, []string{"ro"}, Void, []Reason{NoFacts}},
		{"all that is wrong is said", func(e *policy.Exception) { e.Reason, e.FactsAtDecision = "", "" }, nil, Void, []Reason{NoReason, NoFacts, Unsigned}},
		{"other facts", func(e *policy.Exception) { e.FactsAtDecision = two }, []string{"ro"}, Void, []Reason{FactsChanged}},
		{"a compensating check fails", func(e *policy.Exception) { e.Compensating[0].Check = "container-memory" }, []string{"ro"}, Void, []Reason{CompensatingFailed}},
		{"a compensating check was not put", func(e *policy.Exception) { e.Compensating[0].Check = "nosuch" }, []string{"ro"}, Void, []Reason{CompensatingFailed}},
		{"a compensating check could not be told", func(e *policy.Exception) { e.Compensating[0].Check = "container-ssh" }, []string{"ro"}, Void, []Reason{CompensatingFailed}},
		{"a compensating check of another object", func(e *policy.Exception) { e.Compensating[0].Asset = "container/twin" }, []string{"ro"}, InForce, nil},
		{"a compensating check of an object that is not there", func(e *policy.Exception) { e.Compensating[0].Asset = "container/gone" }, []string{"ro"}, Void, []Reason{CompensatingFailed}},

		{"not yet", func(e *policy.Exception) { e.Starts = date("2026-06-02") }, []string{"ro"}, NotYet, nil},
		{"on its first day", func(e *policy.Exception) { e.Starts = date("2026-06-01") }, []string{"ro"}, InForce, nil},
		{"on its last day", func(e *policy.Exception) { e.Expires = date("2026-06-01") }, []string{"ro"}, InForce, nil},
		{"on the day after", func(e *policy.Exception) { e.Expires = date("2026-05-31") }, []string{"ro"}, Expired, nil},
		{"to the second", func(e *policy.Exception) { e.Expires = date("2026-06-01T12:00:00Z") }, []string{"ro"}, InForce, nil},
		{"a second ago, in another zone", func(e *policy.Exception) { e.Expires = date("2026-06-01T07:59:59-04:00") }, []string{"ro"}, Expired, nil},

		{"another asset", func(e *policy.Exception) { e.Asset = "container/gone" }, []string{"ro"}, Unmatched, nil},
		{"no asset at all", func(e *policy.Exception) { e.Asset = "proxy" }, []string{"ro"}, Unmatched, nil},
		{"another port", func(e *policy.Exception) { e.Locus = "0.0.0.0:444/tcp" }, []string{"ro"}, Unmatched, nil},
		{"the end of another port", func(e *policy.Exception) { e.Locus = "43/tcp" }, []string{"ro"}, Unmatched, nil},
		{"another address", func(e *policy.Exception) { e.Locus = "192.0.2.1:443/tcp" }, []string{"ro"}, Unmatched, nil},
		{"a check that passes", func(e *policy.Exception) { e.Check, e.Locus = "container-privileged", "" }, []string{"ro"}, Unmatched, nil},
		{"a check that could not be told", func(e *policy.Exception) { e.Check, e.Locus = "container-ssh", "" }, []string{"ro"}, NotTold, nil},
	} {
		pol := tiered()
		e := wanted(t, fs)
		c.change(&e)
		pol.Granted = []policy.Exception{e}
		got := Judge(pol, s, fs, signedBy(c.by...), now)
		j := got.Judged[0]
		if j.Force != c.force || !slices.Equal(j.Reasons, c.why) {
			t.Errorf("%s: %s %v (%s), want %s %v", c.what, j.Force, j.Reasons, j.Detail, c.force, c.why)
		}
		if _, covered := got.Of(finding(t, fs, "container-privileged-port", ctr("proxy"))); covered != (c.force == InForce) {
			t.Errorf("%s: covers %v", c.what, covered)
		}
		if _, covered := got.Of(finding(t, fs, "container-privileged-port", ctr("twin"))); covered {
			t.Errorf("%s: its twin is covered too", c.what)
		}
	}
}

// TestBadSignatures: without anybody who can check a signature, and with one
// that does not fit, nothing is in force; another host's exception is not ours.
func TestBadSignatures(t *testing.T) {
	s, fs := proxied()
	pol := tiered()
	pol.Granted = []policy.Exception{wanted(t, fs)}
	if j := Judge(pol, s, fs, nil, now).Judged[0]; j.Force != Void || j.Reasons[0] != Unsigned {
		t.Errorf("no verify: %v %v", j.Force, j.Reasons)
	}
	bad := func(policy.Exception) ([]policy.Signature, error) { return nil, errors.New("altered") }
	if j := Judge(pol, s, fs, bad, now).Judged[0]; j.Force != Void || j.Reasons[0] != BadSignature || j.Detail != "altered" {
		t.Errorf("a signature that does not fit: %v %v %q", j.Force, j.Reasons, j.Detail)
	}
	claimed := wanted(t, fs)
	claimed.Signatures = []policy.Signature{{Person: "ro"}}
	pol.Granted = []policy.Exception{claimed}
	if j := Judge(pol, s, fs, signedBy(), now).Judged[0]; j.Force != Void || len(j.Signatures) > 0 {
		t.Errorf("signatures that the document claims of itself: %v %v", j.Force, j.Signatures)
	}
	claimed.Host = "another"
	pol.Granted = []policy.Exception{claimed}
	if got := Judge(pol, s, fs, signedBy("ro"), now).Judged; got != nil {
		t.Errorf("another host's: %v", got)
	}
	pol.Exceptions.RequesterMayApprove = true
	own := wanted(t, fs)
	own.Requester = "ro"
	pol.Granted = []policy.Exception{own}
	if j := Judge(pol, s, fs, signedBy("ro"), now).Judged[0]; j.Force != InForce {
		t.Errorf("the policy lets who asks sign: %v %v", j.Force, j.Reasons)
	}
}

// TestLoci: a finding about two ports is covered once both are.
func TestLoci(t *testing.T) {
	s, fs := proxied()
	f := finding(t, fs, "container-privileged-port", ctr("two"))
	part := func(id, locus string) policy.Exception {
		e := wanted(t, fs)
		e.ID, e.Asset, e.Locus, e.FactsAtDecision = id, "container/two", locus, Digest(f)
		return e
	}
	pol := tiered()
	pol.Granted = []policy.Exception{part("A", "0.0.0.0:443/tcp")}
	x := Judge(pol, s, fs, signedBy("ro"), now)
	if id, ok := x.Of(f); ok {
		t.Errorf("one of two ports covers it: %s", id)
	}
	if d := cmp.Diff([]string{"0.0.0.0:443/tcp"}, x.Judged[0].Covers); d != "" || x.Judged[0].Force != InForce {
		t.Error(d, x.Judged[0].Force)
	}
	pol.Granted = append(pol.Granted, part("B", "0.0.0.0:80/tcp"))
	if id, ok := Judge(pol, s, fs, signedBy("ro"), now).Of(f); !ok || id != "A" {
		t.Errorf("both: %q %v", id, ok)
	}
}

// TestI12ExpiryIsJudgedAtUse: the same exception, the same facts, a later
// moment; nothing ran in between.
func TestI12ExpiryIsJudgedAtUse(t *testing.T) {
	s, fs := proxied()
	pol := tiered()
	pol.Granted = []policy.Exception{wanted(t, fs)}
	last := time.Date(2026, 10, 1, 23, 59, 59, 0, time.UTC)
	in := func(at time.Time) Risk {
		x := Judge(pol, s, fs, signedBy("ro"), at)
		return riskOf(t, Register(Input{Snapshot: s, Findings: fs, Policy: pol, Exceptions: x, At: at}), ctr("proxy"), Entry)
	}
	for _, m := range in(last).Findings {
		if m.Check == "container-privileged-port" && m.Exception != "EX-1" {
			t.Errorf("at its last second: %q", m.Exception)
		}
	}
	for _, m := range in(last.Add(time.Second)).Findings {
		if m.Exception != "" {
			t.Errorf("a second later: %q", m.Exception)
		}
	}
}

// TestI11AcceptingChangesNoNumber: whatever is granted, signed or not, no
// verdict, no value and no share of conformance is another.
func TestI11AcceptingChangesNoNumber(t *testing.T) {
	s, fs := proxied()
	before := Register(Input{Snapshot: s, Findings: fs, Policy: tiered(), At: now})
	posture := PostureOf(fs, Exceptions{})
	rapid.Check(t, func(t *rapid.T) {
		pol := tiered()
		for i := range rapid.IntRange(0, 6).Draw(t, "n") {
			f := fs[rapid.IntRange(0, len(fs)-1).Draw(t, "finding")]
			pol.Granted = append(pol.Granted, policy.Exception{
				ID: string(rune('a' + i)), Requester: "op", Check: f.Check.ID, Asset: f.Ref.String(), Reason: "r",
				FactsAtDecision: Digest(f), Starts: date("2026-05-01"), Expires: date("2026-06-30"),
			})
		}
		x := Judge(pol, s, fs, signedBy(rapid.SampledFrom([]string{"ro", "op", "au"}).Draw(t, "by")), now)
		all := append(slices.Clone(fs), audit.Run([]*audit.Check{checks.ExceptionUnmatched}, hostOf(x.Objects()...))...)
		if got := PostureOf(all, x); got.Conformance != posture.Conformance || got.Accepted > got.Fail {
			t.Fatalf("conformance %+v, was %+v", got, posture)
		}
		after := Register(Input{Snapshot: s, Findings: all, Policy: pol, Exceptions: x, At: now})
		if len(after) != len(before) {
			t.Fatalf("%d risks, were %d", len(after), len(before))
		}
		for i, r := range after {
			b := before[i]
			if r.ID != b.ID || r.Inherent != b.Inherent || r.Current != b.Current || r.Priority != b.Priority || !r.Due.Equal(b.Due) || r.Digest != b.Digest {
				t.Fatalf("%s %s: %v %v, was %v %v", r.Ref, r.Threat, r.Current, r.Priority, b.Current, b.Priority)
			}
		}
	})
}

// TestI13UnmatchedIsAFinding: it shows among the results of the audit, and in
// none of its numbers.
func TestI13UnmatchedIsAFinding(t *testing.T) {
	s, fs := proxied()
	pol := tiered()
	lost := wanted(t, fs)
	lost.ID, lost.Asset, lost.Pos = "EX-2", "container/gone", policy.Pos{File: "exceptions.yaml", Line: 7}
	pol.Granted = []policy.Exception{wanted(t, fs), lost}
	x := Judge(pol, s, fs, signedBy("ro"), now)
	found := audit.Run(checks.All(), hostOf(x.Objects()...))
	f := finding(t, found, "exception-unmatched", inventory.Ref{Kind: inventory.Exception, Name: "EX-2"})
	if f.Verdict != audit.Fail || f.Evidence[0].Source != "exceptions.yaml:7" {
		t.Errorf("EX-2: %v %v", f.Verdict, f.Evidence)
	}
	if f := finding(t, found, "exception-unmatched", inventory.Ref{Kind: inventory.Exception, Name: "EX-1"}); f.Verdict != audit.Pass {
		t.Errorf("EX-1: %v", f.Verdict)
	}
	if c := audit.Conform(found); c != (audit.Conformance{}) {
		t.Errorf("counted: %+v", c)
	}
}

func TestRenewals(t *testing.T) {
	all := []policy.Exception{{ID: "a"}, {ID: "b", Renews: "a"}, {ID: "c", Renews: "b"}, {ID: "d", Renews: "lost"}, {ID: "e", Renews: "f"}, {ID: "f", Renews: "e"}}
	for i, want := range []int{0, 1, 2, 1, 1, 1} {
		if got := renewals(all, all[i]); got != want {
			t.Errorf("%s: %d, want %d", all[i].ID, got, want)
		}
	}
}

func TestExceptionWords(t *testing.T) {
	for _, f := range []Force{InForce, NotYet, Expired, Void, Unmatched, NotTold} {
		if f.Text().Empty() {
			t.Errorf("%s has no words", f)
		}
	}
	for _, r := range []Reason{Unsigned, BadSignature, OwnRequest, NoRole, NeverExcept, TooLong, NoEnd, NoReason, NoFacts, FactsChanged, CompensatingFailed} {
		if r.Text().Empty() {
			t.Errorf("%s has no words", r)
		}
	}
}
