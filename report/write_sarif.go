package report

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// The part of SARIF 2.1.0 (OASIS, with errata 01) that is written. Section
// numbers are of its text.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Automation  sarifAutomation   `json:"automationDetails"`
		Invocations []sarifInvocation `json:"invocations"`
		Language    string            `json:"language"`
		Columns     string            `json:"columnKind,omitempty"`
		Results     []sarifResult     `json:"results"`
		Properties  map[string]any    `json:"properties"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifAutomation struct {
		ID string `json:"id"`
	}
	sarifInvocation struct {
		Successful    bool                `json:"executionSuccessful"`
		Ended         string              `json:"endTimeUtc"`
		Notifications []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level   string       `json:"level"`
		Message sarifMessage `json:"message"`
	}
	sarifRule struct {
		ID         string         `json:"id"`
		Short      sarifMessage   `json:"shortDescription"`
		Full       sarifMessage   `json:"fullDescription"`
		Help       sarifMessage   `json:"help"`
		Default    sarifDefault   `json:"defaultConfiguration"`
		Properties map[string]any `json:"properties"`
	}
	sarifDefault struct {
		Level string `json:"level"`
	}
	sarifMessage struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID       string             `json:"ruleId"`
		RuleIndex    int                `json:"ruleIndex"`
		Kind         string             `json:"kind"`
		Level        string             `json:"level"`
		Message      sarifMessage       `json:"message"`
		Locations    []sarifLocation    `json:"locations"`
		Related      []sarifLocation    `json:"relatedLocations,omitempty"`
		Fingerprints map[string]string  `json:"partialFingerprints"`
		Baseline     string             `json:"baselineState,omitempty"`
		Suppressions []sarifSuppression `json:"suppressions"`
		Properties   map[string]any     `json:"properties"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"` // of a text file
	}
	// sarifRegion is 3.30; columns count as the run's columnKind says.
	sarifRegion struct {
		Line      int `json:"startLine"`
		Column    int `json:"startColumn"`
		EndLine   int `json:"endLine"`
		EndColumn int `json:"endColumn"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifLogical struct {
		Name string `json:"name"`
		Full string `json:"fullyQualifiedName"`
		Kind string `json:"kind"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Status        string `json:"status"`
		Justification string `json:"justification"`
	}
)

// sarifText makes a plain message of s. In one, brackets would begin a link and
// braces a placeholder (3.11.5, 3.11.6): a container may not name itself into
// either.
func sarifText(s string) sarifMessage { return sarifMessage{sarifEscapes.Replace(printable(s))} }

var sarifEscapes = strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, `{`, `{{`, `}`, `}}`)

// sarif writes the results of d as SARIF. An exception in force is an external
// suppression that was accepted; the result it is about stays a fail. Numbers
// are in the properties of the run.
func (d *Dossier) sarif(w io.Writer, l lang.Lang) error {
	run := sarifRun{
		Tool:       sarifTool{sarifDriver{Name: "casco", Version: d.Cover.Program, Rules: []sarifRule{}}},
		Automation: sarifAutomation{"casco/" + url.PathEscape(d.Cover.Host) + "/" + stamp(d.Cover.Until)},
		Language:   string(l),
		Results:    []sarifResult{},
		Properties: map[string]any{"posture": d.Posture, "cover": d.Cover, "verify": verification.In(l)},
	}
	done := sarifInvocation{Successful: true, Ended: stamp(d.Cover.Read)}
	for _, g := range d.Limits.Gaps {
		done.Notifications = append(done.Notifications, sarifNotification{"warning", sarifText(refName(g.Ref) + " " + g.Source + ": " + cause(g.Reason, l))})
	}
	run.Invocations = []sarifInvocation{done}
	reasons := map[string]string{}
	for _, e := range d.Exceptions {
		reasons[e.ID] = e.Exception.Reason
	}
	rules := map[string]int{}
	for _, r := range d.Results {
		if _, is := rules[r.Check]; !is {
			rules[r.Check] = len(run.Tool.Driver.Rules)
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRuleOf(r, l))
		}
		run.Results = append(run.Results, sarifResultOf(r, rules[r.Check], reasons, l))
	}
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	return e.Encode(sarifLog{"https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json", "2.1.0", []sarifRun{run}})
}

func sarifLevel(s audit.Severity) string {
	switch s {
	case audit.Critical, audit.High:
		return "error"
	case audit.Medium:
		return "warning"
	}
	return "note"
}

func sarifRuleOf(r Result, l lang.Lang) sarifRule {
	tags := []string{}
	for _, d := range r.Domains {
		tags = append(tags, string(d))
	}
	for _, c := range r.Controls {
		tags = append(tags, c.Framework+" "+c.Number)
	}
	slices.Sort(tags)
	return sarifRule{
		ID: r.Check, Short: sarifMessage{r.Title.In(l)}, Full: sarifMessage{r.Why.In(l)}, Help: sarifMessage{r.Remedy.In(l)}, Default: sarifDefault{sarifLevel(r.Severity)},
		Properties: map[string]any{"tags": slices.Compact(tags), "severity": r.Severity},
	}
}

// sarifKinds are 3.27.9. Only a fail has a level (3.27.10).
var sarifKinds = map[audit.Verdict]string{
	audit.Pass: "pass", audit.Fail: "fail", audit.Unknown: "open", audit.Manual: "review", audit.NotApplicable: "notApplicable",
}

func sarifResultOf(r Result, rule int, reasons map[string]string, l lang.Lang) sarifResult {
	out := sarifResult{
		RuleID: r.Check, RuleIndex: rule, Kind: sarifKinds[r.Verdict], Level: "none", Fingerprints: map[string]string{"casco/v1": r.Fingerprint},
		Message:      sarifText(r.Title.In(l) + ": " + r.Ref.String() + "; " + verdictWords[r.Verdict].In(l) + "; " + evidenceLine(r, l)),
		Locations:    []sarifLocation{sarifPlace(r.Ref)},
		Suppressions: []sarifSuppression{},
		Properties:   map[string]any{"counted": r.Counted},
	}
	if why := reason(r.Reason, l); why != "" {
		out.Properties["reason"] = printable(why)
	}
	if r.Verdict != audit.Fail {
		return out
	}
	out.Level = sarifLevel(r.Severity)
	if !r.FirstFailed.IsZero() {
		out.Baseline = map[bool]string{true: "new", false: "unchanged"}[r.New]
		out.Properties["first_failed"] = stamp(r.FirstFailed)
	}
	if r.Priority != "" {
		out.Properties["priority"], out.Properties["due"] = r.Priority, stamp(r.Due)
	}
	if r.Exception != "" {
		out.Suppressions = append(out.Suppressions, sarifSuppression{"external", "accepted", printable(r.Exception + ": " + reasons[r.Exception])})
	}
	return out
}

// sarifPlace is where r is. Programs that show SARIF beside files want a path:
// it is the object's own name, relative to the host.
func sarifPlace(r inventory.Ref) sarifLocation {
	segments := strings.Split(r.Name, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return sarifLocation{
		Physical: sarifPhysical{Artifact: sarifArtifact{string(r.Kind) + "/" + strings.TrimPrefix(strings.Join(segments, "/"), "/")}},
		Logical:  []sarifLogical{{Name: printable(r.Name), Full: printable(r.String()), Kind: string(r.Kind)}},
	}
}

// evidenceLine is what r rests on in one line: field = value (source).
func evidenceLine(r Result, l lang.Lang) string {
	var parts []string
	for _, e := range r.Evidence {
		parts = append(parts, fmt.Sprintf("%s = %s (%s)", e.Field, factValue(e, l), e.Source))
	}
	return strings.Join(parts, "; ")
}
