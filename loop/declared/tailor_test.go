package declared

import (
	"strings"
	"testing"
	"time"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/policy"
)

// check answers always the same.
func check(id string, a audit.Answer, controls ...audit.Control) *audit.Check {
	return &audit.Check{
		ID: id, Severity: audit.Medium, Kind: inventory.Container, Controls: controls,
		Eval: func(*inventory.Snapshot, *inventory.Object) audit.Answer { return a },
	}
}

func one(t *testing.T, checks []*audit.Check, s *inventory.Snapshot, id string) audit.Finding {
	t.Helper()
	for _, f := range audit.Run(checks, s) {
		if f.Check.ID == id {
			return f
		}
	}
	t.Fatalf("no finding of %s", id)
	return audit.Finding{}
}

func hostAt(at string) *inventory.Snapshot {
	taken, err := time.Parse(time.RFC3339, at)
	if err != nil {
		panic(err)
	}
	s := &inventory.Snapshot{Taken: taken}
	s.Add(object("container/x", map[string]any{"A": "b"}))
	s.Add(object("container/y", map[string]any{"A": "b"}))
	return s
}

func TestTailor(t *testing.T) {
	fact := inventory.Fact{Ref: inventory.Ref{Kind: inventory.Container, Name: "x"}, Field: "A", Source: "test"}
	cis := func(number string) audit.Control {
		return audit.Control{Framework: "cis-docker-1.8.0", Number: number}
	}
	checks := []*audit.Check{
		check("raised", audit.Bad(fact)), check("aside", audit.Bad(fact)), check("passes", audit.Good(fact)), check("left", audit.Bad(fact)),
		check("level-1", audit.Bad(fact), cis("1.1.1")), check("level-2", audit.Bad(fact), cis("1.1.7")), check("both", audit.Bad(fact), cis("1.1.7"), cis("1.1.1")),
	}
	p := parse(t, `
baseline: {framework: cis-docker-1.8.0, level: 1}
checks:
  raised: {severity: critical, because: the shop hangs on it}
  aside:
    applicable: false
    because: Swarm does it
  passes: {severity: low, because: x}
  nosuch: {severity: low, because: x}
`)
	tailored, os := By(p).Tailor(checks)
	if len(os) != 4 || os[0].Check != "aside" || os[3].Check != "raised" {
		t.Errorf("%+v", os)
	}
	s := hostAt("2026-01-02T00:00:00Z")
	for _, tc := range []struct {
		id       string
		verdict  audit.Verdict
		severity audit.Severity
		reason   lang.Text
		line     string // of the last evidence
	}{
		{"raised", audit.Fail, audit.Critical, lang.Text{}, "policy.yaml:7"},
		{"aside", audit.NotApplicable, audit.Medium, lang.Text{En: "set aside by the policy: Swarm does it", Es: "apartada por la política: Swarm does it"}, "policy.yaml:8"},
		{"passes", audit.Pass, audit.Low, lang.Text{}, "policy.yaml:11"},
		{"left", audit.Fail, audit.Medium, lang.Text{}, "test"},
		{"level-1", audit.Fail, audit.Medium, lang.Text{}, "test"},
		{"both", audit.Fail, audit.Medium, lang.Text{}, "test"},
		{"level-2", audit.NotApplicable, audit.Medium, lang.Text{
			En: "set aside by the policy: the baseline is cis-docker-1.8.0 level 1, and this is of level 2",
			Es: "apartada por la política: la línea base es cis-docker-1.8.0 nivel 1, y esto es del nivel 2",
		}, "policy.yaml:5"},
	} {
		f := one(t, tailored, s, tc.id)
		last := f.Evidence[len(f.Evidence)-1]
		if f.Verdict != tc.verdict || f.Check.Severity != tc.severity || f.Reason != tc.reason || last.Source != tc.line {
			t.Errorf("%s: %v %v %v %v", tc.id, f.Verdict, f.Check.Severity, f.Reason, last)
		}
	}
	if checks[0].Severity != audit.Medium || checks[0].Tailored != nil {
		t.Error("the catalogue itself was changed")
	}
	c := audit.Conform(audit.Run(tailored, s))
	if c.NotApplicable != 4 || c.Aside != 4 || c.Fail != 8 || c.Pass != 2 {
		t.Errorf("%+v", c)
	}
}

// TestReplies answers what is left to a person, for as long as the answer
// counts, and nothing else.
func TestReplies(t *testing.T) {
	fact := inventory.Fact{Ref: inventory.Ref{Kind: inventory.Container, Name: "x"}, Field: "A", Source: "test"}
	question := audit.Question(lang.Text{En: "Is it?", Es: "¿Lo es?"}, fact)
	checks := []*audit.Check{check("asked", question), check("asked-twice", question), check("failed", audit.Bad(fact)), check("unread", audit.Untold(fact))}
	answer := func(check, verdict, date string) string {
		return "apiVersion: casco/v1\nkind: Answer\ncheck: " + check + "\nasset: container/x\nverdict: " + verdict + "\nby: op\ndate: " + date + "\nvalid_for: 30d\nevidence: ticket 7\n"
	}
	p, ps := policy.ParseFolder(map[string][]byte{
		"p.yaml": []byte("apiVersion: casco/v1\nkind: Policy\nmetadata: {name: x, version: 1}\n"),
		"a.yaml": []byte(strings.Join([]string{
			answer("asked", "pass", "2026-01-01"), answer("failed", "pass", "2026-01-01"), answer("unread", "pass", "2026-01-01"),
			answer("asked-twice", "pass", "2026-01-01"), answer("asked-twice", "fail", "2026-01-10"),
		}, "---\n")),
	})
	if p == nil {
		t.Fatal(ps)
	}
	tailored, _ := By(p).Tailor(checks)
	for _, tc := range []struct {
		id, at  string
		verdict audit.Verdict
		reason  string
		source  string
	}{
		{"asked", "2026-01-11T12:00:00Z", audit.Pass, "op said so on 2026-01-01, 10 d ago", "a.yaml:5"},
		{"asked", "2026-01-30T23:59:59Z", audit.Pass, "op said so on 2026-01-01, 29 d ago", "a.yaml:5"},
		{"asked", "2026-01-31T00:00:00Z", audit.Manual, "Is it? The answer of op counted until 2026-01-31.", "a.yaml:5"},
		{"asked", "2025-12-31T23:59:59Z", audit.Manual, "Is it?", "a.yaml:5"},
		{"asked-twice", "2026-01-11T12:00:00Z", audit.Fail, "op said so on 2026-01-10, 1 d ago", "a.yaml:45"},
		{"failed", "2026-01-11T12:00:00Z", audit.Fail, "", "test"},
		{"unread", "2026-01-11T12:00:00Z", audit.Unknown, "", "test"},
	} {
		s := hostAt(tc.at)
		f := one(t, tailored, s, tc.id)
		if last := f.Evidence[len(f.Evidence)-1]; f.Verdict != tc.verdict || f.Reason.En != tc.reason || last.Source != tc.source {
			t.Errorf("%s at %s: %v %q %v", tc.id, tc.at, f.Verdict, f.Reason.En, last)
		}
		fs := audit.Run(tailored, s)
		if y := fs[1]; y.Ref.Name != "y" || y.Verdict != audit.Manual {
			t.Errorf("an answer about x was taken for y: %v", y)
		}
	}
}
