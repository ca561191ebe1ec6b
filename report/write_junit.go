package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"casco/lang"
	"casco/loop/audit"
)

// The XML that Ant's junitreport began and continuous integration reads. There
// is no standard: attributes, elements and their order are those that both the
// schema of Ant's format and that of Jenkins' xunit plugin take. The two differ
// in what they want, so more is written than either needs.
type (
	junitSuites struct {
		XMLName xml.Name   `xml:"testsuites"`
		Suite   junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Package    string          `xml:"package,attr"`
		ID         int             `xml:"id,attr"`
		Timestamp  string          `xml:"timestamp,attr"` // UTC; the format knows no zones
		Hostname   string          `xml:"hostname,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Time       string          `xml:"time,attr"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
		Out        string          `xml:"system-out"`
		Err        string          `xml:"system-err"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Name    string     `xml:"name,attr"`
		Class   string     `xml:"classname,attr"`
		Time    string     `xml:"time,attr"`
		Failure *junitWhy  `xml:"failure"`
		Error   *junitWhy  `xml:"error"`
		Skipped *junitSkip `xml:"skipped"`
	}
	junitWhy struct {
		Type    string `xml:"type,attr"`
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	junitSkip struct {
		Message string `xml:"message,attr"`
	}
)

// junit writes the results of d. A fail is a failure, accepted or not; what
// could not be told is an error, never a pass; what a person must answer, or
// what does not apply, is skipped. The counts of the report are properties.
func (d *Dossier) junit(w io.Writer, l lang.Lang) error {
	s := junitSuite{
		Name: "casco", Package: "casco", Timestamp: d.Cover.Read.UTC().Format("2006-01-02T15:04:05"), Hostname: token(d.Cover.Host), Time: "0",
		Properties: d.junitProperties(l), Out: verification.In(l),
	}
	for _, r := range d.Results {
		c := junitCase{Name: token(r.Ref.String()), Class: token(r.Check), Time: "0"}
		title := printable(r.Title.In(l))
		switch r.Verdict {
		case audit.Fail:
			s.Failures++
			c.Failure = &junitWhy{r.Severity.String(), title, junitText(r, l)}
		case audit.Unknown:
			s.Errors++
			c.Error = &junitWhy{"unknown", title, junitText(r, l)}
		case audit.Manual, audit.NotApplicable:
			s.Skipped++
			c.Skipped = &junitSkip{verdictWords[r.Verdict].In(l) + ": " + printable(reason(r.Reason, l))}
		}
		s.Cases = append(s.Cases, c)
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

// token is s as XML Schema's token: not empty, no space at its ends or double.
func token(s string) string {
	if s = strings.Join(strings.Fields(Clean(s)), " "); s != "" {
		return s
	}
	return "-"
}

func (d *Dossier) junitProperties(l lang.Lang) []junitProperty {
	c, p := d.Cover, d.Posture
	out := []junitProperty{
		{"period", stamp(c.From) + "/" + stamp(c.Until)},
		{"program", c.Program},
		{"language", string(l)},
		{"policy", fmt.Sprintf("%s version %d %s", Clean(c.PolicyName), c.PolicyVersion, c.PolicyDigest)},
		{"ledger", fmt.Sprintf("%s %d %s", Clean(c.Origin), c.Size, c.Root)},
		{"ledger_key", c.Key},
	}
	for _, v := range p.counts() {
		out = append(out, junitProperty{v.Key, fmt.Sprint(v.N)})
	}
	for _, v := range p.shares() {
		out = append(out, junitProperty{v.key, exact(v.share)})
	}
	return out
}

func junitText(r Result, l lang.Lang) string {
	var b strings.Builder
	say := func(s string) { b.WriteString(printable(s) + "\n") }
	if why := reason(r.Reason, l); why != "" {
		say(why)
	}
	for _, e := range r.Evidence {
		say(fmt.Sprintf("%s = %s  %s", e.Field, factValue(e, l), e.Source))
	}
	if r.Verdict == audit.Fail {
		say(lang.Text{En: "Remedy: ", Es: "Remedio: "}.In(l) + r.Remedy.In(l))
	}
	if r.Exception != "" {
		say(lang.Text{En: "accepted by %s", Es: "aceptado por %s"}.F(r.Exception).In(l))
	}
	return b.String()
}
