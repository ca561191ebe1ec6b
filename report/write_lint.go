package report

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"casco/lang"
	"casco/lint"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// LintFormats are those that Write takes.
var LintFormats = []string{"json", "sarif", "junit", "github", "gitlab"}

// Write writes d in a form for programs.
func (d Lint) Write(w io.Writer, format string, l lang.Lang) error {
	switch format {
	case "json":
		return d.JSON(w, l)
	case "sarif":
		return d.sarif(w, l)
	case "junit":
		return d.junit(w, l)
	case "github":
		return d.github(w, l)
	case "gitlab":
		return d.gitlab(w, l)
	}
	return lang.Errorf(lang.Text{En: "there is no format %q", Es: "no existe el formato %q"}, format)
}

// message is what is said of a result in one paragraph.
func message(r lint.Result, l lang.Lang) string {
	s := r.Check.Title.In(l)
	if why := r.Reason.In(l); why != "" {
		s += ": " + why
	}
	if r.Ref.Kind == inventory.Container {
		s += " (" + r.Ref.String() + ")"
	}
	if r.Accepted != "" {
		s += ". " + lang.Text{En: "Accepted: ", Es: "Aceptado: "}.In(l) + r.Accepted
	}
	return s
}

// told are the results that a person has something to do with.
func (d Lint) told() []lint.Result {
	return slices.DeleteFunc(slices.Clone(d.Results), func(r lint.Result) bool {
		return r.Verdict == audit.Pass || r.Verdict == audit.NotApplicable
	})
}

// sarif writes what fails or could not be told as SARIF 2.1.0. What a line of
// the file accepts is suppressed in source (3.35.2); the baseline's are
// unchanged (3.27.24).
func (d Lint) sarif(w io.Writer, l lang.Lang) error {
	run := sarifRun{
		Tool:       sarifTool{sarifDriver{Name: "casco", Version: d.Version, Rules: []sarifRule{}}},
		Automation: sarifAutomation{"casco-lint/"}, Language: string(l), Columns: "unicodeCodePoints", Results: []sarifResult{},
		Properties: map[string]any{"policy": d.Policy, "conformance": conformance(d.Findings)},
	}
	done := sarifInvocation{Successful: len(d.Snapshot.Gaps) == 0, Ended: stamp(d.Snapshot.Taken)}
	for _, g := range d.Snapshot.Gaps {
		done.Notifications = append(done.Notifications, sarifNotification{"error", sarifText(g.Source + ": " + g.Reason)})
	}
	run.Invocations = []sarifInvocation{done}
	rules := map[string]int{}
	for _, r := range d.told() {
		if _, is := rules[r.Check.ID]; !is {
			rules[r.Check.ID] = len(run.Tool.Driver.Rules)
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRuleOf(Result{
				Check: r.Check.ID, Title: r.Check.Title, Why: r.Check.Why, Remedy: r.Check.Remedy, Severity: r.Check.Severity, Domains: r.Check.Domains, Controls: r.Check.Controls,
			}, l))
		}
		run.Results = append(run.Results, d.sarifResult(r, rules[r.Check.ID], l))
	}
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	return e.Encode(sarifLog{"https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json", "2.1.0", []sarifRun{run}})
}

func (d Lint) sarifResult(r lint.Result, rule int, l lang.Lang) sarifResult {
	out := sarifResult{
		RuleID: r.Check.ID, RuleIndex: rule, Kind: sarifKinds[r.Verdict], Level: "none", Message: sarifText(message(r, l)),
		Locations: []sarifLocation{d.sarifAt(r.Ref, r.At)}, Fingerprints: map[string]string{"casco/v1": r.Key}, Suppressions: []sarifSuppression{}, Properties: map[string]any{},
	}
	for _, at := range r.Also {
		out.Related = append(out.Related, d.sarifAt(r.Ref, at))
	}
	if r.Verdict != audit.Fail {
		return out
	}
	out.Level = sarifLevel(r.Check.Severity)
	if r.Known {
		out.Baseline = "unchanged"
	}
	if r.Accepted != "" {
		out.Suppressions = append(out.Suppressions, sarifSuppression{"inSource", "accepted", printable(r.Accepted)})
	}
	return out
}

func (d Lint) sarifAt(ref inventory.Ref, at inventory.Position) sarifLocation {
	if at.File == "" {
		return sarifPlace(ref)
	}
	segments := strings.Split(strings.ReplaceAll(at.File, `\`, "/"), "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	lines := strings.Split(string(d.Texts[at.File]), "\n")
	return sarifLocation{
		Physical: sarifPhysical{
			Artifact: sarifArtifact{strings.Join(segments, "/")},
			Region:   &sarifRegion{at.Line, points(lines, at.Line, at.Column), at.EndLine, points(lines, at.EndLine, at.EndColumn)},
		},
		Logical: []sarifLogical{{Name: printable(ref.Name), Full: printable(ref.String()), Kind: string(ref.Kind)}},
	}
}

// points is a column in code points for one in bytes.
func points(lines []string, line, column int) int {
	if line < 1 || line > len(lines) || column-1 > len(lines[line-1]) {
		return column
	}
	return len([]rune(lines[line-1][:column-1])) + 1
}

// junit writes every question as a test: see (*Dossier).junit.
func (d Lint) junit(w io.Writer, l lang.Lang) error {
	s := junitSuite{
		Name: "casco lint", Package: "casco", Timestamp: d.Snapshot.Taken.UTC().Format("2006-01-02T15:04:05"), Hostname: token(d.Snapshot.Host), Time: "0",
		Properties: []junitProperty{{"program", d.Version}, {"policy", Clean(d.Policy.Name)}},
	}
	for _, r := range d.Results {
		at := r.Ref.String()
		if r.At.File != "" {
			at = fmt.Sprintf("%s:%d:%d", r.At.File, r.At.Line, r.At.Column)
		}
		c := junitCase{Name: token(at), Class: token(r.Check.ID), Time: "0"}
		title, text := printable(r.Check.Title.In(l)), printable(at+": "+message(r, l))+"\n"
		switch r.Verdict {
		case audit.Fail:
			s.Failures++
			c.Failure = &junitWhy{r.Check.Severity.String(), title, text + lang.Text{En: "Remedy: ", Es: "Remedio: "}.In(l) + r.Check.Remedy.In(l) + "\n"}
		case audit.Unknown:
			s.Errors++
			c.Error = &junitWhy{"unknown", title, text}
		case audit.Manual, audit.NotApplicable:
			s.Skipped++
			c.Skipped = &junitSkip{verdictWords[r.Verdict].In(l) + ": " + printable(r.Reason.In(l))}
		}
		s.Cases = append(s.Cases, c)
	}
	for _, g := range d.Snapshot.Gaps {
		s.Errors++
		s.Cases = append(s.Cases, junitCase{Name: token(g.Source), Class: "casco", Time: "0", Error: &junitWhy{"gap", printable(g.Reason), printable(g.Source + ": " + g.Reason)}})
	}
	s.Tests = len(s.Cases)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", " ")
	if err := e.Encode(junitSuites{Suite: s}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// github writes what fails as workflow commands, which GitHub shows beside the
// lines (docs.github.com, "Workflow commands for GitHub Actions"). What is
// accepted or known is a notice.
func (d Lint) github(w io.Writer, l lang.Lang) error {
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, r := range d.Results {
		if r.Verdict != audit.Fail {
			continue
		}
		level := sarifLevel(r.Check.Severity)
		if level == "note" || r.Accepted != "" || r.Known {
			level = "notice"
		}
		at := ""
		if r.At.File != "" {
			at = fmt.Sprintf("file=%s,line=%d,endLine=%d,col=%d,endColumn=%d,", property.Replace(r.At.File), r.At.Line, r.At.EndLine, r.At.Column, r.At.EndColumn)
		}
		if _, err := fmt.Fprintf(w, "::%s %stitle=%s::%s\n", level, at, property.Replace(r.Check.ID), data.Replace(printable(message(r, l)))); err != nil {
			return err
		}
	}
	for _, g := range d.Snapshot.Gaps {
		if _, err := fmt.Fprintf(w, "::error title=casco::%s\n", data.Replace(printable(g.Source+": "+g.Reason))); err != nil {
			return err
		}
	}
	return nil
}

// A gitlabIssue is one entry of a code quality report (docs.gitlab.com, "Code
// Quality", report format).
type gitlabIssue struct {
	Description string         `json:"description"`
	Check       string         `json:"check_name"`
	Fingerprint string         `json:"fingerprint"`
	Severity    string         `json:"severity"`
	Location    gitlabLocation `json:"location"`
}

type gitlabLocation struct {
	Path  string `json:"path"`
	Lines struct {
		Begin int `json:"begin"`
		End   int `json:"end"`
	} `json:"lines"`
}

var gitlabSeverity = map[audit.Severity]string{audit.Low: "minor", audit.Medium: "major", audit.High: "critical", audit.Critical: "blocker"}

// gitlab writes what fails as a code quality report. What is accepted or known
// is told as information.
func (d Lint) gitlab(w io.Writer, l lang.Lang) error {
	out := []gitlabIssue{}
	for _, r := range d.Results {
		if r.Verdict != audit.Fail || r.At.File == "" {
			continue
		}
		g := gitlabIssue{Description: printable(message(r, l)), Check: r.Check.ID, Fingerprint: r.Key, Severity: gitlabSeverity[r.Check.Severity], Location: gitlabLocation{Path: r.At.File}}
		g.Location.Lines.Begin, g.Location.Lines.End = r.At.Line, r.At.EndLine
		if r.Accepted != "" || r.Known {
			g.Severity = "info"
		}
		out = append(out, g)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	return e.Encode(out)
}
