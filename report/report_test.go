package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/change"
	"casco/loop/inventory"
	"casco/loop/plan"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (go test -update writes it anew, review it):\n%s", name, d)
	}
}

// sample is a small host with a finding of every verdict, a cause, and a
// container whose name would like to colour the terminal.
func sample() Audit {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	engine := inventory.Ref{Kind: inventory.Daemon, Name: "/run/docker.sock"}
	evil := inventory.Ref{Kind: inventory.Container, Name: "evil\x1b[31m\u202e<b>"}
	web := inventory.Ref{Kind: inventory.Container, Name: "web"}
	s := &inventory.Snapshot{Host: "host-1", Taken: at, Gaps: []inventory.Gap{{Ref: web, Source: "/proc/7", Reason: "permission denied"}}}
	s.Add(&inventory.Object{Ref: engine, Fields: map[string]any{"Version": map[string]any{"Version": "20.10.24"}}})
	other := inventory.Ref{Kind: inventory.Daemon, Name: "/run/b.sock"}
	s.Add(&inventory.Object{Ref: other, Fields: map[string]any{"Other": "unix:///run/b.sock"}})
	s.Add(&inventory.Object{Ref: inventory.Ref{Kind: inventory.Daemon, Name: "evil\x1b[31m:/run/docker.sock"}, Fields: map[string]any{"Other": ""}})
	s.Add(&inventory.Object{Ref: web, Fields: map[string]any{}})
	s.Add(&inventory.Object{Ref: evil, Fields: map[string]any{}})
	s.Sort()
	text := func(s string) lang.Text { return lang.Text{En: s + " (en)", Es: s + " (es)"} }
	check := func(id string, sev audit.Severity, cause string) *audit.Check {
		return &audit.Check{
			ID: id, Title: text("Title of " + id), Why: text("Why of " + id), Remedy: text("Remedy of " + id), Severity: sev, CausedBy: cause,
			Domains: []audit.Domain{audit.Security}, Controls: []audit.Control{{Framework: "cis-docker-1.8.0", Number: "5.5"}},
		}
	}
	fact := func(r inventory.Ref, field string, v any, err string) inventory.Fact {
		return inventory.Fact{Ref: r, Field: field, Value: v, Err: err, Source: "GET /x", Read: at}
	}
	nnp, priv, dflt := check("container-nnp", audit.High, "daemon-nnp"), check("container-privileged", audit.Critical, ""), check("daemon-nnp", audit.Medium, "")
	line := inventory.Fact{Ref: inventory.PolicyRef, Field: "checks.set-aside", Source: "policy.yaml:41", Read: at}
	tailored := []audit.Override{
		{Check: "daemon-nnp", Severity: audit.Medium, Because: text("Shops hang on it\x1b[31m"), Fact: line},
		{Check: "set-aside", Aside: true, Because: text("Swarm does it"), Fact: line},
	}
	setAside := check("set-aside", audit.Low, "")
	setAside.Tailored = tailored[1:]
	want := audit.Want{Ref: web, Field: "HostConfig.SecurityOpt", Op: audit.Add, Value: "no-new-privileges:true"}
	return Audit{s, []audit.Finding{
		{Check: nnp, Ref: web, Answer: audit.Bad(fact(web, "HostConfig.SecurityOpt", nil, inventory.Absent)).Wanting(want)},
		{Check: nnp, Ref: evil, Answer: audit.Bad(fact(evil, "HostConfig.SecurityOpt", []any{"\x1b]0;x\a"}, ""))},
		{Check: priv, Ref: web, Answer: audit.Good(fact(web, "HostConfig.Privileged", false, ""))},
		{Check: priv, Ref: evil, Answer: audit.Bad(fact(evil, "HostConfig.Privileged", true, ""))},
		{Check: check("unread", audit.Low, ""), Ref: web, Answer: audit.Untold(fact(web, "Effective.Seccomp", nil, "permission denied"))},
		{Check: check("asked", audit.Low, ""), Ref: web, Answer: audit.Question(text("Is it?"), fact(web, "Config.Image", "app:1", ""))},
		{Check: check("aside", audit.Low, ""), Ref: web, Answer: audit.Beside(text("no swarm"), fact(web, "x", "y", ""))},
		{Check: dflt, Ref: engine, Answer: audit.Bad(fact(engine, "Effective.no-new-privileges", false, ""))},
		{Check: dflt, Ref: other, Other: other, Answer: audit.Bad(fact(other, "Effective.no-new-privileges", false, ""))},
		{Check: setAside, Ref: web, Answer: audit.Beside(text("set aside by the policy: Swarm does it"), line)},
	}, Policy{Name: "example", Version: 7, Digest: "3be1", SignedBy: "ro1", Tailored: tailored}}
}

func TestAuditText(t *testing.T) {
	for _, l := range []lang.Lang{lang.English, lang.Spanish} {
		var b bytes.Buffer
		p := Printer{W: &b, Lang: l}
		a := sample()
		p.Summary(a, audit.Low, 0)
		b.WriteString("\n----\n")
		p.Why(a.Findings[0].Check, a.Findings)
		b.WriteString("\n----\n")
		p.Of(a.Findings[4].Ref, a.Findings)
		golden(t, "audit."+string(l)+".txt", b.Bytes())
		if strings.ContainsAny(b.String(), "\x1b\a\u202e") {
			t.Errorf("%s: a container's name reached the terminal", l)
		}
	}
}

// TestNarrow: no line of an audit, of a doctor's or of a help is wider than a
// terminal that is wide enough for its longest word.
func TestNarrow(t *testing.T) {
	for _, width := range []int{60, 80, 132} {
		var b bytes.Buffer
		p := Printer{W: &b, Width: width}
		p.Summary(sample(), audit.Low, time.Second)
		p.Ability("works", false, "read all of the host", strings.Repeat("a reason ", 30), strings.Repeat("a remedy ", 30))
		p.Item("  --name VALUE", 26, strings.Repeat("some words ", 20))
		p.Item("  --a-very-long-name-of-a-flag VALUE", 26, strings.Repeat("some words ", 20))
		for line := range strings.Lines(b.String()) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > width {
				t.Errorf("%d columns, a line has %d: %s", width, n, line)
			}
		}
	}
}

func TestItem(t *testing.T) {
	for _, c := range []struct {
		name   string
		indent int
		text   string
		want   string
	}{
		{"  a", 30, "one two three", "  a" + strings.Repeat(" ", 27) + "one two\n" + strings.Repeat(" ", 30) + "three\n"},
		{"  a-long-one", 10, "one", "  a-long-one\n          one\n"},
		{"", 4, "one", "    one\n"},
		{"", 4, "", "\n"},
	} {
		var b strings.Builder
		Printer{W: &b, Width: 40}.Item(c.name, c.indent, c.text)
		if b.String() != c.want {
			t.Errorf("%q, %q: got %q, want %q", c.name, c.text, b.String(), c.want)
		}
	}
}

// TestAuditJSON holds the contract: the golden file may only grow.
func TestAuditJSON(t *testing.T) {
	var b bytes.Buffer
	if err := sample().JSON(&b, lang.English); err != nil {
		t.Fatal(err)
	}
	golden(t, "audit.json", b.Bytes())
	var doc map[string]any
	if err := json.Unmarshal(b.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	first := doc["findings"].([]any)[0].(map[string]any)
	for _, key := range []string{"check", "ref", "verdict", "severity", "controls", "evidence", "reason", "fingerprint"} {
		if _, ok := first[key]; !ok {
			t.Errorf("a finding lacks %q", key)
		}
	}
}

func TestPlanText(t *testing.T) {
	a := sample()
	web := a.Findings[0].Ref
	breaks := lang.Text{En: "sudo", Es: "sudo"}
	a.Findings[0].Wants[0].Breaks = breaks
	a.Findings[3].Wants = []audit.Want{{Ref: a.Findings[3].Ref, Field: "HostConfig.Memory", Value: 64, Ask: lang.Text{En: "How much?", Es: "¿Cuánto?"}}}
	means := []plan.Means{{Kind: inventory.Container, Field: "HostConfig.", Hand: "docker-recreate", Cost: plan.Recreate, Undo: lang.Text{En: "put back", Es: "se repone"}}}
	c := change.New(plan.Make(a.Snapshot, a.Findings, means, plan.Options{}), "op", time.Time{})
	if len(c.Plan.Steps) != 1 || c.Plan.Steps[0].Ref != web {
		t.Fatalf("%+v", c.Plan)
	}
	for _, l := range []lang.Lang{lang.English, lang.Spanish} {
		var b bytes.Buffer
		Printer{W: &b, Lang: l}.Plan(c)
		out := strings.ReplaceAll(b.String(), c.PlanID[:12], "PLANID")
		golden(t, "plan."+string(l)+".txt", []byte(out))
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain ñ 日本": "plain ñ 日本",
		"a\x1b[2Jb":  `a\x1b[2Jb`,
		"a\nb\tc":    `a\nb\tc`,
		"a\u202eb":   `a\u202eb`,
		"a\u00a0b":   `a\u00a0b`,
		"a\u0085b":   `a\u0085b`,
		"a\xffb":     `a\ufffdb`,
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
	if got := Clean(strings.Repeat("x", 10000)); len(got) > 500 || !strings.Contains(got, "9600") {
		t.Errorf("a long string is not cut: %d bytes", len(got))
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\x1b[31m")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range Clean(s) {
			if r < ' ' || r >= 0x7f && r <= 0x9f || r == '\u202e' || r == '\u2066' {
				t.Errorf("%q lets %U through", s, r)
			}
		}
	})
}
