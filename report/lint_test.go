package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"casco/lang"
	"casco/lint"
	"casco/loop/audit"
	"casco/loop/audit/checks"
	"casco/loop/inventory"
)

// linted is a file with something found, something accepted, something that
// the baseline knows, something that could not be told, and names that mean
// something to the formats.
func linted() Lint {
	const name = "a dir/D%:,ñ"
	text := "FROM x\nÑ USER \x1b[31m[0](http://x)\nRUN y --password hunter2hunter\n"
	finding := func(id string, v audit.Verdict, line, column, end int) audit.Finding {
		at := inventory.Position{File: name, Line: line, Column: column, EndLine: line, EndColumn: end}
		ref := inventory.Ref{Kind: inventory.Dockerfile, Name: name}
		return audit.Finding{Check: checks.Find(id), Ref: ref, Answer: audit.Answer{
			Verdict: v, Evidence: []inventory.Fact{{Ref: ref, Field: "USER", Value: line, Source: at.String()}}, Reason: lang.Text{En: "why\n::error::x {0}", Es: "por qué\n::error::x {0}"},
		}}
	}
	rs := lint.Results([]audit.Finding{
		finding("dockerfile-root-user", audit.Fail, 2, 4, 8), finding("dockerfile-secrets", audit.Fail, 3, 1, 31), finding("dockerfile-ssh", audit.Fail, 1, 1, 7),
		finding("dockerfile-setuid", audit.Unknown, 1, 1, 7), finding("dockerfile-sudo", audit.Pass, 1, 1, 7), finding("dockerfile-base-digest", audit.NotApplicable, 1, 1, 7),
	}, nil)
	for i := range rs {
		switch rs[i].Check.ID {
		case "dockerfile-ssh":
			rs[i].Accepted, rs[i].By = "a lab", inventory.Position{File: name, Line: 1}
		case "dockerfile-secrets":
			rs[i].Known = true
		}
	}
	d := NewLint(Audit{Snapshot: &inventory.Snapshot{Host: "h", Taken: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Gaps: []inventory.Gap{{Source: "E", Reason: "no FROM"}}}}, rs)
	d.Files, d.Texts, d.Version = []string{name}, map[string][]byte{name: []byte(text)}, "1"
	return d
}

func lintedAs(t *testing.T, format string, l lang.Lang) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := linted().Write(&b, format, l); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "hunter2") || strings.Contains(b.String(), "\x1b") {
		t.Errorf("%s has what nobody may see:\n%s", format, b.String())
	}
	return b.Bytes()
}

// TestLintFormats holds each form to its schema, or to what its reader says of
// it, in both languages.
func TestLintFormats(t *testing.T) {
	for _, l := range []lang.Lang{lang.English, lang.Spanish} {
		log, err := jsonschema.UnmarshalJSON(bytes.NewReader(lintedAs(t, "sarif", l)))
		if err != nil {
			t.Fatal(err)
		}
		if err := sarifSchema(t).Validate(log); err != nil {
			t.Errorf("sarif %s: %v", l, err)
		}
		junitShape(t, lintedAs(t, "junit", l))
	}
	var sarif sarifLog
	if err := json.Unmarshal(lintedAs(t, "sarif", "en"), &sarif); err != nil {
		t.Fatal(err)
	}
	for _, r := range sarif.Runs[0].Results {
		if at := r.Locations[0].Physical; r.RuleID == "dockerfile-root-user" && (at.Artifact.URI != "a%20dir/D%25:%2C%C3%B1" || *at.Region != sarifRegion{2, 3, 2, 7}) {
			t.Errorf("columns count characters: %v %v", at.Artifact, *at.Region)
		}
		if r.RuleID == "dockerfile-ssh" && (len(r.Suppressions) != 1 || r.Suppressions[0].Kind != "inSource" || r.Level != "error") {
			t.Errorf("accepted: %+v", r)
		}
		if r.RuleID == "dockerfile-secrets" && r.Baseline != "unchanged" {
			t.Errorf("known: %+v", r)
		}
	}
	if n := len(sarif.Runs[0].Results); n != 4 || sarif.Runs[0].Invocations[0].Successful {
		t.Errorf("%d results, successful %v", n, sarif.Runs[0].Invocations[0].Successful)
	}
	var doc struct {
		Schema   string
		Findings []struct {
			Check    string
			Verdict  string
			Position *inventory.Position
			Accepted *struct{ Reason string }
			Known    bool
		}
	}
	if err := json.Unmarshal(lintedAs(t, "json", "en"), &doc); err != nil || doc.Schema != AuditSchema || len(doc.Findings) != 6 {
		t.Fatalf("%v %+v", err, doc)
	}
	for _, f := range doc.Findings {
		if f.Position == nil || (f.Accepted != nil) != (f.Check == "dockerfile-ssh") || f.Known != (f.Check == "dockerfile-secrets") {
			t.Errorf("%+v", f)
		}
	}
	lines := strings.Split(strings.TrimSpace(string(lintedAs(t, "github", "en"))), "\n")
	want := []string{
		"::notice file=a dir/D%25%3A%2Cñ,line=1,endLine=1,col=1,endColumn=7,title=dockerfile-ssh::Image would bring an SSH server: why\\n::error::x {0}. Accepted: a lab",
		"::warning file=a dir/D%25%3A%2Cñ,line=2,endLine=2,col=4,endColumn=8,title=dockerfile-root-user::Image would run as root: why\\n::error::x {0}",
		"::notice file=a dir/D%25%3A%2Cñ,line=3,endLine=3,col=1,endColumn=31,title=dockerfile-secrets::Dockerfile holds a secret, or is given one as an argument: why\\n::error::x {0}",
		"::error title=casco::E: no FROM",
	}
	if len(lines) != len(want) {
		t.Fatalf("github:\n%s", strings.Join(lines, "\n"))
	}
	for i := range want {
		if lines[i] != want[i] {
			t.Errorf("github:\n%s\nwant\n%s", lines[i], want[i])
		}
	}
	var issues []gitlabIssue
	if err := json.Unmarshal(lintedAs(t, "gitlab", "en"), &issues); err != nil || len(issues) != 3 || issues[1].Severity != "major" || issues[1].Location.Lines.Begin != 2 || issues[0].Severity != "info" || len(issues[0].Fingerprint) != 32 {
		t.Errorf("gitlab: %v %+v", err, issues)
	}
}

// TestLintText shows lines of files as they may be shown.
func TestLintText(t *testing.T) {
	var b bytes.Buffer
	Printer{W: &b, Lang: "en"}.Lint(linted(), audit.Low, true)
	for _, want := range []string{"    3 │ RUN y --password ***", "accepted in line 1: a lab", "known to the baseline", "unknown", "files: 1 · 1 medium", `\x1b[31m`, "could not be read (1)"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing:\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "hunter2") || strings.Contains(b.String(), "\x1b") {
		t.Error(b.String())
	}
}

func TestMaskLine(t *testing.T) {
	for line, want := range map[string]string{
		"      DB_PASSWORD: hunter2hunter # x": "      DB_PASSWORD: *** # x", `  "API_TOKEN": "abcdefg"`: `  "API_TOKEN": "***"`, "    image: a:1": "    image: a:1",
		"      - DB_PWD=hunter2": "      - DB_PWD=***", "ENV A=1 TOKEN=hunter2x": "ENV A=1 TOKEN=***", "      URL: postgres://u:hunter2@h": "      URL: postgres://u:***@h",
		"      DB_PASSWORD: ${PW}": "      DB_PASSWORD: ${PW}", "    environment: {DB_PASSWORD: hunter2}": "    environment: {DB_PASSWORD: ***}", "    environment: {A: b, DB_PASSWORD: hunter2, C: d}": "    environment: {A: b, DB_PASSWORD: ***, C: d}", "    environment:": "    environment:",
	} {
		got := MaskLine(line)
		for inventory.Masked(got) { // what a mask ends with depends on the value
			i := strings.Index(got, "***")
			got = got[:i] + "\x00" + got[i+7:]
		}
		if got = strings.ReplaceAll(got, "\x00", "***"); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}
