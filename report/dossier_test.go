package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"html"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	oscalcheck "github.com/defenseunicorns/go-oscal/src/pkg/validation"
	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"casco/internal/handtest"
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/loop/risk"
	"casco/policy"
	"casco/store"
	"casco/supervision"
)

var (
	at0   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	langs = []lang.Lang{lang.English, lang.Spanish}
)

// A hundred is the fixed host: a hundred questions, of which 60 pass, 30 fail
// and 10 could not be told. Accepted of the 30 have an exception in force.
type hundred struct {
	accepted int
	unread   int // of the 60, these could not be read
	names    func(i int) string
}

func (h hundred) dossier(t *testing.T) *Dossier {
	t.Helper()
	if h.names == nil {
		h.names = func(i int) string { return fmt.Sprintf("c%02d", i) }
	}
	s := &inventory.Snapshot{Host: "host-1", Taken: at0, Gaps: []inventory.Gap{{Source: "/proc/7", Reason: "permission denied"}}}
	check := &audit.Check{
		ID: "container-privileged-port", Title: lang.Text{En: "The title", Es: "El título"}, Why: lang.Text{En: "The why", Es: "El porqué"}, Remedy: lang.Text{En: "The remedy", Es: "El remedio"},
		Severity: audit.Medium, Kind: inventory.Container, Domains: []audit.Domain{audit.Security, audit.Risk},
		Controls: []audit.Control{{Framework: "cis-docker-1.8.0", Number: "5.8"}, {Framework: "nist-800-53-r5", Number: "CM-7(1)"}},
	}
	var fs []audit.Finding
	for i := range 100 {
		ref := inventory.Ref{Kind: inventory.Container, Name: h.names(i)}
		s.Add(&inventory.Object{Ref: ref, Source: "GET /x", Read: at0, Fields: map[string]any{"State": map[string]any{"Running": true}}})
		fact := inventory.Fact{Ref: ref, Field: "HostConfig.PortBindings", Value: h.names(i), Source: "GET /x", Read: at0}
		blind := fact
		blind.Value, blind.Err = nil, "permission denied"
		a := audit.Good(fact)
		switch {
		case i >= 90, i < h.unread:
			a = audit.Untold(blind)
		case i >= 60:
			a = audit.Bad(fact)
		}
		fs = append(fs, audit.Finding{Check: check, Ref: ref, Answer: a})
	}
	s.Sort()
	pol := &policy.Policy{
		Metadata: policy.Metadata{Name: "example", Version: 7}, Digest: "sha256:" + strings.Repeat("ab", 32), Tiers: []policy.Tier{{ID: "public", Impact: 0.2}, {ID: "restricted", Impact: 1}},
		Assign: []policy.Assign{{Default: "public"}}, People: []policy.Person{{ID: "ro", Roles: []policy.Role{policy.RiskOwner}}},
		Flows: []policy.Flow{{ID: "f1", From: "public", To: "restricted"}},
	}
	for i := range h.accepted {
		f := fs[60+i]
		pol.Granted = append(pol.Granted, policy.Exception{
			ID: fmt.Sprintf("EX-%02d", i), Requester: "op", Check: f.Check.ID, Asset: f.Ref.String(), Reason: "the proxy must listen", FactsAtDecision: "sha256:" + risk.Digest(f),
			Starts: policy.Date{Time: at0.AddDate(0, -1, 0), Whole: true}, Expires: policy.Date{Time: at0.AddDate(0, 1, 0), Whole: true},
		})
	}
	x := risk.Judge(pol, s, fs, func(policy.Exception) ([]policy.Signature, error) {
		return []policy.Signature{{Person: "ro", Key: "SHA256:x"}}, nil
	}, at0)
	lives, _ := risk.Track(nil, s, fs, at0)
	risks := risk.Register(risk.Input{Snapshot: s, Findings: fs, Policy: pol, Lives: lives, Exceptions: x, At: at0})
	p := store.Period{From: at0.AddDate(0, -1, 0), Until: at0}
	d := &Dossier{
		Schema: DossierSchema, Posture: PostureOf(fs, x, risks), Limits: LimitsOf(s, fs), Inventory: AssetsOf(s), Results: ResultsOf(fs, lives, x, risks, p.From),
		Risks: risks, Exceptions: x.Judged, Segmentation: SegmentationOf(s, pol), Annex: AnnexOf([]*audit.Check{check}, fs),
		Overrides: []Override{{"container-memory", "severity: low", "because so", "policy.yaml:4"}},
		Changes: []ChangeLine{
			{ID: "1-ab", Class: "normal", State: "verified", Author: "op", Approvers: []string{"ro"}, Begun: at0.Add(-time.Hour), Steps: 2, Reason: "ticket 7"},
		},
		Cover: Cover{
			Host: "host-1", From: p.From, Until: p.Until, Read: at0, Generated: at0, Program: "1.2.3", PolicyName: "example", PolicyVersion: 7, PolicyDigest: pol.Digest, PolicySigner: "ro",
			Origin: "host-1/casco", Size: 42, Root: "cm9vdA==", Key: "host-1/casco+b7745ddd+AbMQ", SingleOperator: true, Silent: 3 * time.Hour,
		},
		Sample: Sample{Seed: "s", N: 2, Size: 42, Drawn: []int64{3, 9}, Command: "casco audit-sample --seed s --n 2"},
	}
	h.history(d, fs, p)
	return d
}

// history gives d what the ledger would: runs under two policies, one missed,
// a control that held for a while, what changed without a record.
func (h hundred) history(d *Dossier, fs []audit.Finding, p store.Period) {
	var in supervision.Input
	in.Period, in.Longest = p, 36*time.Hour
	for i := range 28 {
		r := store.Recorded[store.Run]{Index: int64(i), At: p.From.AddDate(0, 0, i), Event: store.Run{
			ID: fmt.Sprint("run", i), Of: "audit", Outcome: "ok", Begun: p.From.AddDate(0, 0, i), Ended: p.From.AddDate(0, 0, i), Policy: map[bool]string{true: "a", false: "b"}[i < 12],
			Counts: store.Counts{Pass: 40 + i, Fail: 50 - i, Unknown: 10},
		}}
		if i == 20 {
			r.Event.Outcome, r.Event.Due, r.Event.Why, r.Event.Counts, r.Event.Policy = "missed", r.At, NotStarted.En, store.Counts{}, ""
		}
		in.Runs = append(in.Runs, r)
	}
	for i, v := range []string{"fail", "pass", "unknown", "pass"} {
		f := fs[0]
		in.Verdicts = append(in.Verdicts, store.Recorded[store.Verdict]{At: p.From.AddDate(0, 0, 7*i), Event: store.Verdict{
			Fingerprint: f.Fingerprint(), Check: f.Check.ID, Ref: f.Ref.String(), Severity: "medium", Verdict: v, Run: fmt.Sprint("run", 7*i),
		}})
	}
	in.Drifts = []store.Recorded[store.Drift]{{At: at0.Add(-time.Hour), Event: store.Drift{Ref: fs[0].Ref.String(), Field: "HostConfig.Memory", Was: inventory.Absent, Now: 64, Run: "run27"}}}
	d.Runs, d.History, d.Undeclared = in.Runs, HistoryOf(in.Runs), in.Drifts
	d.Metrics, d.Controls = supervision.Measure(in), supervision.Effectiveness(in.Verdicts, in.Runs, p, in.Longest)
	d.Incidents = IncidentsOf(in.Drifts, in.Runs, nil, p)
	d.Evidence = []store.Recorded[store.Evidence]{{Index: 3, Event: store.Evidence{Digest: "sha256:ab", What: "snapshot", Taken: at0, Until: at0.AddDate(1, 0, 0)}}}
}

func written(t *testing.T, d *Dossier, format string, l lang.Lang) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := d.Write(&b, format, l); err != nil {
		t.Fatalf("%s %s: %v", format, l, err)
	}
	return b.Bytes()
}

// numbers are what a report of a posture must say: three shares and accepted,
// in per cent.
type numbers struct{ low, high, coverage, accepted float64 }

func near(a, b numbers) bool {
	for _, d := range []float64{a.low - b.low, a.high - b.high, a.coverage - b.coverage, a.accepted - b.accepted} {
		if math.Abs(d) > 0.05+1e-9 { // what is printed has one decimal
			return false
		}
	}
	return true
}

// readers find the numbers in a report that was written, by its format.
var readers = map[string]func(t *testing.T, b []byte, l lang.Lang) numbers{
	"text": func(t *testing.T, b []byte, l lang.Lang) numbers { return sentence(t, string(b), l) },
	"md":   func(t *testing.T, b []byte, l lang.Lang) numbers { return sentence(t, string(b), l) },
	"html": func(t *testing.T, b []byte, l lang.Lang) numbers {
		return sentence(t, html.UnescapeString(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(string(b), "")), l)
	},
	"pdf":  func(t *testing.T, b []byte, l lang.Lang) numbers { return sentence(t, pdfWords(t, b), l) },
	"json": jsonNumbers, "csv": csvNumbers, "sarif": sarifNumbers, "junit": junitNumbers, "oscal-ar": oscalNumbers, "oscal-poam": oscalNumbers,
}

var sentences = map[lang.Lang]*regexp.Regexp{
	lang.English: regexp.MustCompile(`Conformance lies between ([\d.]+) % and ([\d.]+) % of \d+ questions; ([\d.]+) % could be told\. \d+ failures \(([\d.]+) %\) are accepted`),
	lang.Spanish: regexp.MustCompile(`conformidad está entre ([\d,]+) % y ([\d,]+) % de \d+ preguntas; se pudo saber el ([\d,]+) %\. \d+ fallos \(([\d,]+) %\) están aceptados`),
}

func sentence(t *testing.T, s string, l lang.Lang) numbers {
	t.Helper()
	m := sentences[l].FindStringSubmatch(strings.Join(strings.Fields(s), " "))
	if m == nil {
		t.Fatalf("the summary's sentence is not there:\n%.600s", s)
	}
	var n [4]float64
	for i := range n {
		n[i], _ = strconv.ParseFloat(strings.Replace(m[i+1], ",", ".", 1), 64)
	}
	return numbers{n[0], n[1], n[2], n[3]}
}

func pdfWords(t *testing.T, b []byte) string {
	t.Helper()
	tool, err := exec.LookPath("pdftotext")
	if err != nil {
		handtest.Need(t, false, "pdftotext (poppler-utils)")
	}
	cmd := exec.Command(tool, "-", "-")
	cmd.Stdin = bytes.NewReader(b)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func jsonNumbers(t *testing.T, b []byte, _ lang.Lang) numbers {
	var d struct {
		Posture Posture
		Results []struct {
			Verdict, Exception string
			Counted            bool
		}
	}
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for _, r := range d.Results {
		if r.Counted {
			n[r.Verdict]++
			if r.Exception != "" {
				n["accepted"]++
			}
		}
	}
	p := d.Posture
	if n["pass"] != p.Pass || n["fail"] != p.Fail || n["unknown"] != p.Unknown || n["accepted"] != p.Accepted {
		t.Errorf("json: results say %v, the posture %+v", n, p)
	}
	return numbers{100 * p.Low, 100 * p.High, 100 * p.Coverage, 100 * p.AcceptedShare}
}

// reckon makes the numbers of counted things.
func reckon(pass, fail, unknown, accepted int) numbers {
	n := float64(pass + fail + unknown)
	return numbers{100 * float64(pass) / n, 100 * float64(pass+unknown) / n, 100 * float64(pass+fail) / n, 100 * float64(accepted) / n}
}

func csvNumbers(t *testing.T, b []byte, _ lang.Lang) numbers {
	rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	col := func(row []string, name string) string { return row[slices.Index(rows[0], name)] }
	n, said := map[string]int{}, map[string]float64{}
	for _, row := range rows[1:] {
		switch col(row, "record") {
		case "result":
			n[col(row, "state")]++
			if col(row, "exception") != "" {
				n["accepted"]++
			}
		case "posture":
			said[col(row, "id")], _ = strconv.ParseFloat(col(row, "value"), 64)
		}
	}
	got := reckon(n["pass"], n["fail"], n["unknown"], n["accepted"])
	if posture := (numbers{100 * said["low"], 100 * said["high"], 100 * said["coverage"], 100 * said["accepted_share"]}); !near(got, posture) {
		t.Errorf("csv: the results say %v, the posture %v", got, posture)
	}
	return got
}

func sarifNumbers(t *testing.T, b []byte, _ lang.Lang) numbers {
	var log sarifLog
	if err := json.Unmarshal(b, &log); err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for _, r := range log.Runs[0].Results {
		n[r.Kind]++
		n["suppressed"] += len(r.Suppressions)
	}
	return reckon(n["pass"], n["fail"], n["open"]+n["review"], n["suppressed"])
}

func junitNumbers(t *testing.T, b []byte, _ lang.Lang) numbers {
	var s junitSuites
	if err := xml.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	said := map[string]int{}
	for _, p := range s.Suite.Properties {
		said[p.Name], _ = strconv.Atoi(p.Value)
	}
	if s.Suite.Failures != said["fail"] || s.Suite.Errors != said["unknown"] || s.Suite.Tests != len(s.Suite.Cases) {
		t.Errorf("junit: %d failures, %d errors; properties say %v", s.Suite.Failures, s.Suite.Errors, said)
	}
	return reckon(s.Suite.Tests-s.Suite.Failures-s.Suite.Errors-s.Suite.Skipped, s.Suite.Failures, s.Suite.Errors, said["accepted"])
}

func oscalNumbers(t *testing.T, b []byte, _ lang.Lang) numbers {
	var docs map[string]struct {
		Metadata oscalMetadata
		Results  []oscalResult
	}
	if err := json.Unmarshal(b, &docs); err != nil {
		t.Fatal(err)
	}
	value := func(ps []oscalProp, name string) string {
		i := slices.IndexFunc(ps, func(p oscalProp) bool { return p.Name == name })
		if i < 0 {
			return ""
		}
		return ps[i].Value
	}
	for _, doc := range docs {
		count := func(name string) int {
			n, err := strconv.Atoi(value(doc.Metadata.Props, name))
			if err != nil {
				t.Errorf("oscal: no property %s", name)
			}
			return n
		}
		got := reckon(count("pass"), count("fail"), count("unknown")+count("manual"), count("accepted"))
		for _, r := range doc.Results {
			n := map[string]int{}
			for _, o := range r.Observations {
				n[value(o.Props, "verdict")]++
				if value(o.Props, "exception") != "" {
					n["accepted"]++
				}
			}
			if o := reckon(n["pass"], n["fail"], n["unknown"], n["accepted"]); !near(o, got) {
				t.Errorf("oscal: the observations say %v, the properties %v", o, got)
			}
		}
		return got
	}
	t.Fatal("oscal: no document")
	return numbers{}
}

// TestNumbersEverywhere reads the fixed set back from every format in both
// languages.
func TestNumbersEverywhere(t *testing.T) {
	d := hundred{accepted: 10}.dossier(t)
	for _, format := range Formats() {
		for _, l := range langs {
			t.Run(format+"/"+string(l), func(t *testing.T) {
				read := readers[format]
				if read == nil {
					t.Fatal("no reader for this format")
				}
				if got, want := read(t, written(t, d, format, l), l), (numbers{60, 70, 90, 10}); !near(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
			})
		}
	}
}

// TestI11AcceptingMovesNothing: to accept ten failures changes what is accepted
// and no other number, in any format.
func TestI11AcceptingMovesNothing(t *testing.T) {
	without, with := hundred{}.dossier(t), hundred{accepted: 10}.dossier(t)
	a, b := without.Posture, with.Posture
	if b.Accepted != 10 || b.AcceptedShare != 0.1 {
		t.Errorf("accepted: %+v", b)
	}
	b.Accepted, b.AcceptedShare = a.Accepted, a.AcceptedShare
	if x, y := fmt.Sprint(a), fmt.Sprint(b); x != y {
		t.Errorf("other numbers moved:\n%s\n%s", x, y)
	}
	for i := range with.Risks {
		if with.Risks[i].Current != without.Risks[i].Current || with.Risks[i].Priority != without.Risks[i].Priority {
			t.Errorf("risk %s moved", with.Risks[i].ID)
		}
	}
	for _, format := range Formats() {
		got := readers[format](t, written(t, with, format, lang.English), lang.English)
		was := readers[format](t, written(t, without, format, lang.English), lang.English)
		was.accepted = got.accepted
		if !near(got, was) {
			t.Errorf("%s: %v, it was %v", format, got, was)
		}
	}
}

// TestI10UnreadWidens: a check that cannot be read any more never raises the low end.
func TestI10UnreadWidens(t *testing.T) {
	last := hundred{}.dossier(t).Posture
	for n := 1; n <= 60; n += 7 {
		p := hundred{unread: n}.dossier(t).Posture
		if p.Low >= last.Low || p.High < last.High || p.High-p.Low <= last.High-last.Low || p.Coverage >= last.Coverage {
			t.Errorf("%d unread: %v–%v, coverage %v; before %v–%v, %v", n, p.Low, p.High, p.Coverage, last.Low, last.High, last.Coverage)
		}
		last = p
	}
}

// TestI19EqualBytes: equal values are equal files.
func TestI19EqualBytes(t *testing.T) {
	for _, format := range Formats() {
		for _, l := range langs {
			one := written(t, hundred{accepted: 3}.dossier(t), format, l)
			for range 2 {
				if two := written(t, hundred{accepted: 3}.dossier(t), format, l); !bytes.Equal(one, two) {
					t.Errorf("%s %s: two writings differ", format, l)
					break
				}
			}
		}
	}
}

// hostile is what a container may call itself.
func hostile(i int) string {
	names := []string{
		"=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\x1b[31mred\x1b]0;t\a", "\u202egnp.exe", "<script>alert(1)</script>", "</style><img src=x onerror=alert(1)>",
		"[x](http://evil.example)", "{0} {{1}}", "a|b\\|c", "`code` **bold** # head", "\x00\x01\x0b\ufffe", "]]>", "日本 ñ 🙂", "\xff\xfe", " ", "a\nb\r\nc", strings.Repeat("W", 5000), "\"quoted\",\"cells\"", "' or 1=1",
	}
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("%s %d", names[i%len(names)], i)
}

func evil(t *testing.T) *Dossier {
	d := hundred{accepted: 10, names: hostile}.dossier(t)
	bad := strings.Join([]string{hostile(0), hostile(5), hostile(7), hostile(13)}, " ")
	labels := map[string]any{}
	for i := range 10000 {
		labels[fmt.Sprintf("label-%d%s", i, hostile(i%20))] = hostile(i % 20)
	}
	d.Results[0].Evidence[0].Value = labels
	d.Cover.Host, d.Cover.PolicyName, d.Cover.PolicySigner = bad, bad, bad
	d.Exceptions[0].Exception.Reason = bad
	d.Changes[0].Reason, d.Changes[0].Author = bad, bad
	d.Limits.Gaps[0].Reason = bad
	d.Undeclared[0].Event.Ref, d.Undeclared[0].Event.Now = bad, bad
	d.Segmentation.Pairs[0].Published = []string{bad}
	return d
}

// machine are the formats whose strings no person sees as they are.
var machine = map[string]bool{"json": true, "sarif": true}

// TestHostileNames: what a container calls itself stays text in every format.
func TestHostileNames(t *testing.T) {
	d := evil(t)
	for _, format := range Formats() {
		for _, l := range langs {
			b := written(t, d, format, l)
			s := string(b)
			if format != "pdf" {
				if i := strings.IndexFunc(s, func(r rune) bool {
					return r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r == '\u202e' && !machine[format]
				}); i >= 0 {
					t.Errorf("%s: a control character at %q", format, s[max(0, i-40):min(len(s), i+10)])
				}
			}
			switch format {
			case "html":
				hostileHTML(t, s)
			case "csv":
				hostileCSV(t, b)
			case "md":
				for _, bad := range []string{"<script", "<img", "[x](", "**bold**"} {
					if strings.Contains(s, bad) {
						t.Errorf("md: %q is markup", bad)
					}
				}
			case "sarif":
				for _, m := range regexp.MustCompile(`"text": (".*")`).FindAllStringSubmatch(s, -1) {
					if regexp.MustCompile(`(^|[^\\])\[x|(^|[^{]){\d}`).MatchString(m[1]) {
						t.Errorf("sarif: a link or a placeholder: %.80s", m[1])
					}
				}
			case "pdf":
				pdfWords(t, b)
			}
			if read := readers[format]; format != "pdf" {
				if got, want := read(t, b, l), (numbers{60, 70, 90, 10}); !near(got, want) {
					t.Errorf("%s: got %v", format, got)
				}
			}
		}
	}
	validate(t, d)
}

func hostileHTML(t *testing.T, s string) {
	for _, bad := range []string{"<script", "<img", "onerror=alert(1)>", "</style><"} {
		if strings.Contains(s, bad) {
			t.Errorf("html: %q is markup", bad)
		}
	}
}

func hostileCSV(t *testing.T, b []byte) {
	rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		for _, cell := range row {
			if _, err := strconv.ParseFloat(cell, 64); err != nil && cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
				t.Errorf("csv: a formula: %.40q", cell)
			}
		}
	}
}

// TestHTMLIsClosed: one file, no network, nothing that runs.
func TestHTMLIsClosed(t *testing.T) {
	s := string(written(t, hundred{accepted: 10}.dossier(t), "html", lang.English))
	if !strings.Contains(s, `http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"`) {
		t.Error("no policy for its content")
	}
	if m := regexp.MustCompile(`(?i)\b(src|href|srcset|action|poster|data)\s*=|url\(|@import|<script|<link|<iframe|https?://`).FindString(s); m != "" {
		t.Errorf("it reaches outside: %q", m)
	}
	if strings.Count(s, "<svg") < 4 {
		t.Errorf("%d charts", strings.Count(s, "<svg"))
	}
}

// TestSchemas validates SARIF against the OASIS schema (2.1.0 with errata 01)
// and OSCAL against NIST's, both as the modules ship them.
func TestSchemas(t *testing.T) {
	validate(t, hundred{accepted: 10}.dossier(t))
	empty := &Dossier{Schema: DossierSchema, Cover: Cover{Host: "h", From: at0.AddDate(0, -1, 0), Until: at0, Read: at0, Generated: at0, Program: "1", PolicyName: "built in", PolicyDigest: "builtin"}}
	validate(t, empty)
}

func validate(t *testing.T, d *Dossier) {
	t.Helper()
	for _, l := range langs {
		log, err := jsonschema.UnmarshalJSON(bytes.NewReader(written(t, d, "sarif", l)))
		if err != nil {
			t.Fatal(err)
		}
		if err := sarifSchema(t).Validate(log); err != nil {
			t.Errorf("sarif %s: %v", l, err)
		}
		for _, format := range []string{"oscal-ar", "oscal-poam"} {
			v, err := oscalcheck.NewValidatorDesiredVersion(written(t, d, format, l), oscalVersion)
			if err != nil {
				t.Fatal(err)
			}
			if err := v.Validate(); err != nil {
				t.Errorf("%s %s: %v", format, l, err)
			}
		}
		junitShape(t, written(t, d, "junit", l))
	}
}

var sarifCompiled *jsonschema.Schema

// sarifSchema is the schema that the module go-sarif has within its sources.
func sarifSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	if sarifCompiled != nil {
		return sarifCompiled
	}
	source, _ := runtime.FuncForPC(reflect.ValueOf(sarif.NewReport).Pointer()).FileLine(0)
	f, err := parser.ParseFile(gotoken.NewFileSet(), filepath.Join(filepath.Dir(source), "schema.go"), nil, 0)
	if err != nil {
		t.Fatal(err) // -trimpath hides where the sources are: tests are not built with it
	}
	text, err := strconv.Unquote(f.Scope.Lookup("schema").Decl.(*ast.ValueSpec).Values[0].(*ast.BasicLit).Value)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	const name = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
	if err := c.AddResource(name, doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	sarifCompiled = schema
	return schema
}

// junitShape holds what the schemas of Ant's junitreport and of Jenkins' xunit
// plugin ask of an XML like ours. Neither is published where this program's
// tests could take it from, so their rules are here in words of our own.
func junitShape(t *testing.T, b []byte) {
	t.Helper()
	type element struct {
		XMLName  xml.Name
		Attrs    []xml.Attr `xml:",any,attr"`
		Children []element  `xml:",any"`
	}
	var root element
	if err := xml.Unmarshal(b, &root); err != nil {
		t.Fatalf("junit: %v", err)
	}
	names := func(e element) (out []string) {
		for _, a := range e.Attrs {
			out = append(out, a.Name.Local)
			if a.Value != strings.Join(strings.Fields(a.Value), " ") && a.Name.Local != "message" && a.Name.Local != "value" {
				t.Errorf("junit: %s is no token: %q", a.Name.Local, a.Value)
			}
		}
		return out
	}
	if root.XMLName.Local != "testsuites" || len(root.Attrs) != 0 || len(root.Children) != 1 {
		t.Fatalf("junit: root %v", root.XMLName)
	}
	suite := root.Children[0]
	if got, want := names(suite), []string{"name", "package", "id", "timestamp", "hostname", "tests", "failures", "errors", "skipped", "time"}; !slices.Equal(got, want) {
		t.Errorf("junit: a suite has %v", got)
	}
	if stamp := suite.Attrs[3].Value; !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$`).MatchString(stamp) {
		t.Errorf("junit: timestamp %q", stamp)
	}
	order := map[string]int{"properties": 0, "testcase": 1, "system-out": 2, "system-err": 3}
	last, seen := 0, map[string]int{}
	for _, c := range suite.Children {
		n, is := order[c.XMLName.Local]
		if !is || n < last {
			t.Fatalf("junit: %s is out of place", c.XMLName.Local)
		}
		last = n
		seen[c.XMLName.Local]++
		if c.XMLName.Local != "testcase" {
			continue
		}
		if got := names(c); !slices.Equal(got, []string{"name", "classname", "time"}) || c.Attrs[0].Value == "" {
			t.Errorf("junit: a case has %v", c.Attrs)
		}
		if len(c.Children) > 1 {
			t.Errorf("junit: a case with %d outcomes", len(c.Children))
		}
		for _, o := range c.Children {
			want := map[string][]string{"failure": {"type", "message"}, "error": {"type", "message"}, "skipped": {"message"}}[o.XMLName.Local]
			if want == nil || !slices.Equal(names(o), want) {
				t.Errorf("junit: %s has %v", o.XMLName.Local, names(o))
			}
		}
	}
	if seen["properties"] != 1 || seen["system-out"] != 1 || seen["system-err"] != 1 {
		t.Errorf("junit: %v", seen)
	}
}

// texts are all lang.Texts that stand in the program's sources, by their
// English half.
func texts(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(gotoken.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			lit, is := n.(*ast.CompositeLit)
			if !is {
				return true
			}
			half := map[string]string{}
			for _, el := range lit.Elts {
				kv, is := el.(*ast.KeyValueExpr)
				if !is {
					continue
				}
				key, is := kv.Key.(*ast.Ident)
				s, ok := kv.Value.(*ast.BasicLit)
				if is && ok && s.Kind == gotoken.STRING {
					half[key.Name], _ = strconv.Unquote(s.Value)
				}
			}
			if half["En"] != "" && half["Es"] != "" && half["En"] != half["Es"] {
				out[half["En"]] = half["Es"]
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 800 {
		t.Fatalf("found only %d texts", len(out))
	}
	return out
}

// TestOneLanguage: no English text of ours is in a Spanish report, nor a Spanish
// one in an English report. What is looked for are the halves of every Text in
// the sources: whole cells of them, and their pieces between verbs where these
// are long enough to be nothing else.
func TestOneLanguage(t *testing.T) {
	d := hundred{accepted: 10}.dossier(t)
	d.Paths = []risk.Path{}
	pieces := func(s string) (out []string) {
		for _, p := range regexp.MustCompile(`%(\[\d\])?[-+.\d]*[a-z%]`).Split(s, -1) {
			if p = strings.TrimSpace(p); len(p) >= 14 {
				out = append(out, p)
			}
		}
		return out
	}
	other := map[lang.Lang]struct{ cells, parts []string }{}
	whole := map[lang.Lang]map[string]bool{lang.English: {}, lang.Spanish: {}}
	for en, es := range texts(t) {
		whole[lang.English][strings.TrimPrefix(en, ">")], whole[lang.Spanish][strings.TrimPrefix(es, ">")] = true, true
		x, y := other[lang.Spanish], other[lang.English]
		x.cells, x.parts = append(x.cells, strings.TrimPrefix(en, ">")), append(x.parts, pieces(en)...)
		y.cells, y.parts = append(y.cells, strings.TrimPrefix(es, ">")), append(y.parts, pieces(es)...)
		other[lang.Spanish], other[lang.English] = x, y
	}
	for _, l := range langs {
		foreign := map[string]bool{}
		for _, c := range other[l].cells {
			foreign[c] = !whole[l][c]
		}
		var cells []string
		for _, doc := range []document{d.document(l, false), d.document(l, true)} {
			cells = append(cells, doc.title)
			for _, b := range doc.blocks {
				switch b := b.(type) {
				case heading:
					cells = append(cells, strings.TrimLeft(b.text, "0123456789 "))
				case paragraph:
					cells = append(cells, b.text)
				case picture:
					cells = append(cells, b.title, b.text)
				case *table:
					cells = append(append(cells, b.columns...), b.empty)
					for _, row := range b.rows {
						cells = append(cells, row...)
					}
				}
			}
		}
		for _, c := range cells {
			if foreign[strings.TrimPrefix(c, "– ")] {
				t.Errorf("%s: a cell in the other language: %q", l, c)
			}
		}
		for _, format := range Formats() {
			if format == "json" || format == "pdf" { // the one has both, the other is checked by its words
				continue
			}
			s := strings.Join(strings.Fields(string(written(t, d, format, l))), " ")
			for _, p := range other[l].parts {
				if strings.Contains(s, p) {
					t.Errorf("%s %s: %q is in the other language", format, l, p)
				}
			}
		}
	}
}

// TestPDFWords: the text of a PDF can be selected and searched, and is that of
// the document.
func TestPDFWords(t *testing.T) {
	d := hundred{accepted: 10}.dossier(t)
	for _, l := range langs {
		squeeze := func(s string) string { return strings.Join(strings.Fields(s), "") }
		got := squeeze(pdfWords(t, written(t, d, "pdf", l)))
		missed := 0
		for _, b := range d.document(l, false).blocks {
			var all []string
			switch b := b.(type) {
			case heading:
				all = append(all, b.text)
			case paragraph:
				all = append(all, strings.Fields(b.text)...)
			case *table:
				for _, row := range b.rows {
					for _, c := range row {
						all = append(all, strings.Fields(c)...)
					}
				}
			}
			for _, w := range all {
				if !strings.Contains(got, squeeze(w)) && len(w) < 25 { // longer ones are broken over lines
					missed++
					t.Logf("%s: %q", l, w)
				}
			}
		}
		if missed > 0 {
			t.Errorf("%s: %d words of the report are not in the text of its PDF", l, missed)
		}
	}
}

// TestBriefText: what a terminal shows begins with the numbers and has no annex.
func TestBriefText(t *testing.T) {
	s := string(written(t, hundred{accepted: 10}.dossier(t), "text", lang.English))
	lines := strings.Split(s, "\n")
	if len(lines) > 220 {
		t.Errorf("%d lines", len(lines))
	}
	for i, line := range lines {
		if len([]rune(line)) > 100 {
			t.Errorf("line %d has %d columns: %s", i, len([]rune(line)), line)
		}
	}
	if i := strings.Index(s, "Conformance lies"); i < 0 || i > 1200 {
		t.Errorf("the summary is at %d", i)
	}
	if strings.Contains(s, "Glossary") {
		t.Error("a glossary in a terminal")
	}
	golden(t, "report.en.txt", []byte(s))
}

// TestAnnex: a requirement is none where nothing speaks of it, and manual where
// only a person does.
func TestAnnex(t *testing.T) {
	check := func(id string) *audit.Check {
		return &audit.Check{ID: id, Controls: []audit.Control{{Framework: "cis-docker-1.8.0", Number: "5.8"}}}
	}
	machine, person := check("m"), check("p")
	ref := inventory.Ref{Kind: inventory.Container, Name: "c"}
	fs := []audit.Finding{{Check: machine, Ref: ref, Answer: audit.Bad(inventory.Fact{})}, {Check: person, Ref: ref, Answer: audit.Question(lang.Text{En: "q", Es: "q"})}}
	for want, checks := range map[string][]*audit.Check{"none": nil, "automated": {machine}, "manual": {person}, "partial": {machine, person}} {
		for _, l := range AnnexOf(checks, fs) {
			if l.Framework == "cis-docker-1.8.0" && l.Number == "5.8" && l.Status != want {
				t.Errorf("got %s, want %s", l.Status, want)
			}
		}
	}
}

// TestRecipe runs what the manual says on the JSON of a report, in both languages.
func TestRecipe(t *testing.T) {
	jq, err := exec.LookPath("jq")
	if err != nil {
		handtest.Need(t, false, "jq")
	}
	file := filepath.Join(t.TempDir(), "report.json")
	if err := os.WriteFile(file, written(t, hundred{accepted: 10}.dossier(t), "json", lang.English), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, manual := range []string{"../docs/en/manual.md", "../docs/es/manual.md"} {
		b, err := os.ReadFile(manual)
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile("(?s)```sh\njq '(.*?)' report.json\n```").FindSubmatch(b)
		if m == nil {
			t.Fatalf("%s has no recipe", manual)
		}
		out, err := exec.Command(jq, "-c", string(m[1]), file).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v %s", manual, err, out)
		}
		if got, want := strings.TrimSpace(string(out)), `{"low":0.6,"high":0.7,"coverage":0.9,"accepted_share":0.1,"agrees":true}`; got != want {
			t.Errorf("%s: got %s, want %s", manual, got, want)
		}
	}
}
