package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"casco/lang"
)

// csvColumns are the columns of a report as one table. The first says what a
// line is of, so that a spreadsheet can be filtered by it: cover, posture,
// limit, result, risk, exception, change, undeclared, incident, metric,
// requirement, evidence, verify.
var csvColumns = []string{"record", "id", "object", "title", "state", "severity", "priority", "from", "until", "exception", "value", "n", "text"}

// A csvLine is one line, by the names of its columns.
type csvLine struct {
	record, id, object, title, state, severity, priority string
	from, until                                          time.Time
	exception, value, n, text                            string
}

func (c csvLine) cells() []string {
	cells := []string{c.record, c.id, c.object, c.title, c.state, c.severity, c.priority, stamp(c.from), stamp(c.until), c.exception, c.value, c.n, c.text}
	for i, s := range cells {
		cells[i] = spreadsheet(s)
	}
	return cells
}

// spreadsheet makes s safe to open: what a program of that kind would take for
// a formula is written as text, but for numbers, which are what they look like.
func spreadsheet(s string) string {
	s = Clean(s)
	if s == "" || !strings.ContainsRune("=+-@", rune(s[0])) {
		return s
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return s
	}
	return "'" + s
}

// csv writes d as one table. Shares are between 0 and 1, with all their digits.
func (d *Dossier) csv(w io.Writer, l lang.Lang) error {
	out := csv.NewWriter(w)
	_ = out.Write(csvColumns) // an error stays, and Error says it
	for _, lines := range [][]csvLine{d.csvHead(), d.csvResults(l), d.csvDecisions(l), d.csvSupervision(l), d.csvAnnex(l)} {
		for _, c := range lines {
			_ = out.Write(c.cells())
		}
	}
	_ = out.Write(csvLine{record: "verify", text: verification.In(l)}.cells())
	out.Flush()
	return out.Error()
}

func (d *Dossier) csvHead() []csvLine {
	c, p := d.Cover, d.Posture
	say := func(id, value string) csvLine { return csvLine{record: "cover", id: id, value: value} }
	lines := []csvLine{
		{record: "cover", id: "period", from: c.From, until: c.Until},
		say("host", c.Host), say("read", stamp(c.Read)), say("generated", stamp(c.Generated)),
		say("program", c.Program), say("policy_name", c.PolicyName), say("policy_version", fmt.Sprint(c.PolicyVersion)), say("policy_digest", c.PolicyDigest),
		say("policy_signer", c.PolicySigner), say("single_operator", fmt.Sprint(c.SingleOperator)),
		say("ledger_origin", c.Origin), say("ledger_size", fmt.Sprint(c.Size)), say("ledger_root", c.Root), say("ledger_key", c.Key), say("ledger_witnessed", fmt.Sprint(c.Witnessed)),
	}
	for _, v := range p.counts() {
		lines = append(lines, csvLine{record: "posture", id: v.Key, value: strconv.Itoa(v.N)})
	}
	for _, v := range p.shares() {
		lines = append(lines, csvLine{record: "posture", id: v.key, value: exact(v.share), n: strconv.Itoa(p.N)})
	}
	return lines
}

// exact writes a number with all its digits.
func exact(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func (d *Dossier) csvResults(l lang.Lang) []csvLine {
	var lines []csvLine
	for _, g := range d.Limits.Gaps {
		lines = append(lines, csvLine{record: "limit", id: g.Source, object: refName(g.Ref), text: cause(g.Reason, l)})
	}
	for _, r := range d.Results {
		lines = append(lines, csvLine{
			record: "result", id: r.Check, object: r.Ref.String(), title: r.Title.In(l), state: r.Verdict.String(), severity: r.Severity.String(), priority: r.Priority,
			from: r.FirstFailed, until: r.Due, exception: r.Exception, value: evidenceLine(r, l), n: boolean(r.Counted), text: reason(r.Reason, l),
		})
	}
	return lines
}

func boolean(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

func (d *Dossier) csvDecisions(l lang.Lang) []csvLine {
	var lines []csvLine
	for _, r := range d.Risks {
		lines = append(lines, csvLine{
			record: "risk", id: r.ID, object: r.Ref.String(), title: r.Scenario.In(l), state: string(r.State), priority: r.Priority.String(),
			from: r.FirstFailed, until: r.Due, value: exact(r.Current.R), n: strconv.Itoa(len(r.Findings)), text: string(r.Treatment.Kind),
		})
	}
	for _, e := range d.Exceptions {
		lines = append(lines, csvLine{
			record: "exception", id: e.ID, object: e.Asset, title: e.Check, state: string(e.Force), from: e.Starts.Time, until: e.Expires.End(), n: strconv.Itoa(e.Renewals), text: e.Exception.Reason,
		})
	}
	for _, o := range d.Overrides {
		lines = append(lines, csvLine{record: "tailored", id: o.Check, state: o.What, object: o.Line, text: o.Because})
	}
	for _, c := range d.Changes {
		lines = append(lines, csvLine{
			record: "change", id: c.ID, state: c.State, title: c.Class, object: c.Author, from: c.Begun, until: c.Ended, value: strings.Join(c.Approvers, " "), n: strconv.Itoa(c.Steps), text: c.Reason,
		})
	}
	for _, u := range d.Undeclared {
		lines = append(lines, csvLine{
			record: "undeclared", id: u.Event.Field, object: u.Event.Ref, from: u.At, value: value(u.Event.Now), text: value(u.Event.Was), state: u.Event.Who,
		})
	}
	return lines
}

func (d *Dossier) csvSupervision(l lang.Lang) []csvLine {
	var lines []csvLine
	for _, i := range d.Incidents {
		lines = append(lines, csvLine{record: "incident", object: whyMissed(i.About, l), title: i.What.In(l), state: openWord(i.Open).En, severity: i.Severity, from: i.At})
	}
	for _, m := range d.Metrics {
		lines = append(lines, csvLine{record: "metric", id: m.ID, title: m.Title.In(l), state: m.Unit, value: exactOr(m.Value), n: strconv.Itoa(m.N), text: m.Definition.In(l)})
		for _, p := range m.Parts {
			lines = append(lines, csvLine{record: "metric", id: m.ID + "/" + p.Key, title: p.Title.In(l), state: m.Unit, value: exactOr(p.Value), n: strconv.Itoa(p.N)})
		}
	}
	for _, h := range d.Controls {
		lines = append(lines, csvLine{
			record: "control", id: h.Check, object: h.Ref, value: exact(h.Pass),
			text: fmt.Sprintf("pass %s fail %s unknown %s unmeasured %s", exact(h.Pass), exact(h.Fail), exact(h.Unknown), exact(h.Unmeasured)),
		})
	}
	return lines
}

func exactOr(v *float64) string {
	if v == nil {
		return ""
	}
	return exact(*v)
}

func (d *Dossier) csvAnnex(l lang.Lang) []csvLine {
	var lines []csvLine
	for _, f := range d.Annex {
		lines = append(lines, csvLine{
			record: "requirement", id: f.Number, object: f.Framework, title: f.Title.In(l), state: f.Status,
			value: fmt.Sprintf("pass %d fail %d unknown %d", f.Pass, f.Fail, f.Unknown), n: strconv.Itoa(len(f.Checks)), text: strings.Join(f.Checks, " "),
		})
	}
	for _, e := range d.Evidence {
		lines = append(lines, csvLine{record: "evidence", id: string(e.Event.Digest), object: strconv.FormatInt(e.Index, 10), title: e.Event.What, from: e.Event.Taken, until: e.Event.Until})
	}
	return lines
}
