// Package report turns what the loop found into what people and programs
// read. It takes values and an io.Writer; it reads no host, decides nothing
// and every form of one report is made from the same value.
package report

import (
	"encoding/json"
	"io"
	"math"
	"time"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// AuditSchema names the format of an audit in JSON. It is a contract: fields
// are added, never renamed or removed.
const AuditSchema = "casco/audit/v1"

// An Audit is one judged snapshot.
type Audit struct {
	Snapshot *inventory.Snapshot
	Findings []audit.Finding
}

type auditJSON struct {
	Schema      string          `json:"schema"`
	Host        string          `json:"host"`
	Taken       time.Time       `json:"taken"`
	Findings    []findingJSON   `json:"findings"`
	Gaps        []inventory.Gap `json:"gaps"`
	Conformance conformanceJSON `json:"conformance"`
}

type findingJSON struct {
	Check       string           `json:"check"`
	Title       string           `json:"title"`
	Ref         inventory.Ref    `json:"ref"`
	Verdict     audit.Verdict    `json:"verdict"`
	Severity    audit.Severity   `json:"severity"`
	Domains     []audit.Domain   `json:"domains"`
	Controls    []audit.Control  `json:"controls"`
	CausedBy    string           `json:"caused_by,omitempty"`
	Evidence    []inventory.Fact `json:"evidence"`
	Reason      string           `json:"reason"`
	Fingerprint string           `json:"fingerprint"`
}

type conformanceJSON struct {
	Low           float64 `json:"low"`
	High          float64 `json:"high"`
	Coverage      float64 `json:"coverage"`
	Pass          int     `json:"pass"`
	Fail          int     `json:"fail"`
	Unknown       int     `json:"unknown"`
	Manual        int     `json:"manual"`
	NotApplicable int     `json:"not_applicable"`
}

// JSON writes a as one JSON document of AuditSchema, its texts in language l.
func (a Audit) JSON(w io.Writer, l lang.Lang) error {
	out := auditJSON{
		Schema: AuditSchema, Host: a.Snapshot.Host, Taken: a.Snapshot.Taken,
		Findings: []findingJSON{}, Gaps: append([]inventory.Gap{}, a.Snapshot.Gaps...),
		Conformance: conformance(a.Findings),
	}
	causes := Causes(a.Findings)
	for _, f := range a.Findings {
		out.Findings = append(out.Findings, findingJSON{
			Check: f.Check.ID, Title: f.Check.Title.In(l), Ref: f.Ref, Verdict: f.Verdict, Severity: f.Check.Severity,
			Domains: f.Check.Domains, Controls: f.Check.Controls, CausedBy: causes[f.Check.ID],
			Evidence: f.Evidence, Reason: f.Reason.In(l), Fingerprint: f.Fingerprint(),
		})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	return e.Encode(out)
}

func conformance(fs []audit.Finding) conformanceJSON {
	c := audit.Conform(fs)
	round := func(f float64) float64 { return math.Round(f*1e4) / 1e4 }
	return conformanceJSON{round(c.Low()), round(c.High()), round(c.Coverage()), c.Pass, c.Fail, c.Unknown, c.Manual, c.NotApplicable}
}

// Causes returns, for each check whose failures have a common cause on this
// host, the ID of the check that found the cause.
func Causes(fs []audit.Finding) map[string]string {
	failed := map[string]bool{}
	for _, f := range fs {
		if f.Verdict == audit.Fail {
			failed[f.Check.ID] = true
		}
	}
	causes := map[string]string{}
	for _, f := range fs {
		if f.Verdict == audit.Fail && f.Check.CausedBy != "" && failed[f.Check.CausedBy] {
			causes[f.Check.ID] = f.Check.CausedBy
		}
	}
	return causes
}
