// Package report turns what the loop found into what people and programs
// read. It takes values and an io.Writer; it reads no host, decides nothing
// and every form of one report is made from the same value.
package report

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

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
	Policy   Policy
}

// A Policy is what a host was judged by, and what it changed of the checks.
type Policy struct {
	Name     string           `json:"name"`
	Version  int              `json:"version,omitempty"` // 0: the built-in one
	Digest   string           `json:"digest"`
	SignedBy string           `json:"signed_by,omitempty"`
	Tailored []audit.Override `json:"-"`
}

type findingJSON struct {
	Check       string           `json:"check"`
	Title       string           `json:"title"`
	Ref         inventory.Ref    `json:"ref"`
	Other       inventory.Ref    `json:"other_engine,omitzero"` // it is about this engine, not the one in use: not counted
	Verdict     audit.Verdict    `json:"verdict"`
	Severity    audit.Severity   `json:"severity"`
	Domains     []audit.Domain   `json:"domains"`
	Controls    []audit.Control  `json:"controls"`
	CausedBy    string           `json:"caused_by,omitempty"`
	Evidence    []inventory.Fact `json:"evidence"`
	Reason      string           `json:"reason"`
	Loci        []string         `json:"loci,omitempty"`
	Fingerprint string           `json:"fingerprint"`
}

func findingOf(f audit.Finding, causes map[string]string, l lang.Lang) findingJSON {
	return findingJSON{
		Check: f.Check.ID, Title: f.Check.Title.In(l), Ref: f.Ref, Other: f.Other, Verdict: f.Verdict, Severity: f.Check.Severity,
		Domains: f.Check.Domains, Controls: f.Check.Controls, CausedBy: causes[f.Check.ID],
		Evidence: f.Evidence, Reason: f.Reason.In(l), Loci: f.Loci, Fingerprint: f.Fingerprint(),
	}
}

// An otherJSON is an engine of the host that was not asked. What failed by its
// process and files alone is counted by severity.
type otherJSON struct {
	Ref     inventory.Ref          `json:"ref"`
	Address string                 `json:"address,omitempty"` // what -H takes to ask it; none if it cannot be reached
	Failed  map[audit.Severity]int `json:"failed"`
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
	SetAside      int     `json:"set_aside"` // of the not applicable: by the policy
}

// JSON writes a as one JSON document of AuditSchema, its texts in language l:
// a finding a line, written as it is made, so that the findings of a thousand
// containers do not all stand in memory at once.
func (a Audit) JSON(w io.Writer, l lang.Lang) error {
	causes := Causes(a.Findings)
	return a.document(w, l, len(a.Findings), func(i int) any { return findingOf(a.Findings[i], causes, l) })
}

// document writes what is around n findings, and each of them.
func (a Audit) document(w io.Writer, l lang.Lang, n int, finding func(i int) any) error {
	out := bufio.NewWriterSize(w, 1<<16)
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	put := func(key string, v any) error {
		fmt.Fprintf(out, "%q: ", key)
		return e.Encode(v) // ends the line
	}
	fmt.Fprint(out, "{")
	err := errors.Join(put("schema", AuditSchema), comma(out), put("host", a.Snapshot.Host), comma(out), put("taken", a.Snapshot.Taken),
		comma(out), put("policy", a.Policy), comma(out), put("tailored", OverridesOf(a.Policy.Tailored, l)))
	fmt.Fprint(out, ",\"findings\": [\n")
	for i := range n {
		if i > 0 {
			err = errors.Join(err, comma(out))
		}
		err = errors.Join(err, e.Encode(finding(i)))
	}
	fmt.Fprint(out, "],\n")
	err = errors.Join(err, put("gaps", append([]inventory.Gap{}, a.Snapshot.Gaps...)), comma(out),
		put("other_engines", others(a)), comma(out), put("conformance", conformance(a.Findings)))
	fmt.Fprintln(out, "}")
	return errors.Join(err, out.Flush())
}

func comma(w io.Writer) error {
	_, err := io.WriteString(w, ",")
	return err
}

func conformance(fs []audit.Finding) conformanceJSON {
	c := audit.Conform(fs)
	round := func(f float64) float64 { return math.Round(f*1e4) / 1e4 }
	return conformanceJSON{round(c.Low()), round(c.High()), round(c.Coverage()), c.Pass, c.Fail, c.Unknown, c.Manual, c.NotApplicable, c.Aside}
}

// OverridesOf are what the policy changed of the checks, in words.
func OverridesOf(os []audit.Override, l lang.Lang) []Override {
	out := []Override{}
	for _, o := range os {
		what := "applicable: false"
		if !o.Aside {
			what = "severity: " + o.Severity.String()
		}
		out = append(out, Override{o.Check, what, o.Because.In(l), o.Fact.Source})
	}
	return out
}

// others lists the engines of the host that were not asked, in order.
func others(a Audit) []otherJSON {
	out := []otherJSON{}
	for _, d := range a.Snapshot.Of(inventory.Daemon) {
		address, _, ok := inventory.DaemonOther.Of(d)
		if !ok {
			continue
		}
		o := otherJSON{d.Ref, address, map[audit.Severity]int{}}
		for _, f := range a.Findings {
			if f.Other == d.Ref && f.Verdict == audit.Fail {
				o.Failed[f.Check.Severity]++
			}
		}
		out = append(out, o)
	}
	return out
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
