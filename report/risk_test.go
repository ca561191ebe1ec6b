package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/loop/risk"
	"casco/policy"
)

// sampleRegister is a host with a public container whose name would like to
// colour the terminal, a restricted one beside it, an exception in force and
// one that is not.
func sampleRegister() Register {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	evil := inventory.Ref{Kind: inventory.Container, Name: "=web\x1b[31m\u202e<b>"}
	db := inventory.Ref{Kind: inventory.Container, Name: "db"}
	box := func(r inventory.Ref, net string, ports map[string]any) *inventory.Object {
		return &inventory.Object{Ref: r, Source: "GET /x", Read: at, Fields: map[string]any{
			"Id": r.Name, "State": map[string]any{"Running": true}, "HostConfig": map[string]any{"NetworkMode": net, "PortBindings": ports, "PublishAllPorts": false},
			"NetworkSettings": map[string]any{"Networks": map[string]any{net: map[string]any{}}}, "Mounts": []any{},
		}}
	}
	s := &inventory.Snapshot{Host: "host-1", Taken: at.Add(-40 * 24 * time.Hour)}
	s.Add(box(evil, "front", map[string]any{"443/tcp": []any{map[string]any{"HostIp": "", "HostPort": "443"}}}))
	s.Add(box(db, "back", map[string]any{}))
	s.Sort()
	check := func(id string, sev audit.Severity) *audit.Check {
		return &audit.Check{ID: id, Title: lang.Text{En: "Title of " + id + " (en)", Es: "Title of " + id + " (es)"}, Severity: sev, Kind: inventory.Container}
	}
	bad := func(id string, sev audit.Severity, r inventory.Ref, loci ...string) audit.Finding {
		return audit.Finding{Check: check(id, sev), Ref: r, Answer: audit.Bad(inventory.Fact{Ref: r, Field: "x", Value: "y", Source: "GET /x", Read: at}).At(loci...)}
	}
	good := func(id string, r inventory.Ref) audit.Finding {
		return audit.Finding{Check: check(id, audit.Medium), Ref: r, Answer: audit.Good(inventory.Fact{Ref: r, Field: "x", Value: "y"})}
	}
	fs := []audit.Finding{
		bad("container-engine-socket", audit.Critical, evil, "/var/run/docker.sock"), bad("container-privileged-port", audit.Medium, evil, "0.0.0.0:443/tcp"),
		bad("container-memory", audit.Medium, db), good("container-root-user", evil), good("container-root-user", db),
	}
	pol := &policy.Policy{
		Metadata:   policy.Metadata{Name: "example", Version: 7},
		Tiers:      []policy.Tier{{ID: "public", Impact: 0.2}, {ID: "restricted", Impact: 1}},
		Assign:     []policy.Assign{{Match: policy.Match{Name: "db"}, Tier: "restricted"}, {Default: "public"}},
		People:     []policy.Person{{ID: "ro", Roles: []policy.Role{policy.RiskOwner}}},
		Exceptions: policy.ExceptionRules{MaxDuration: policy.Duration(180 * 24 * time.Hour)},
	}
	day := func(s string) policy.Date {
		t, err := time.Parse(time.DateOnly, s)
		if err != nil {
			panic(err)
		}
		return policy.Date{Time: t, Whole: true}
	}
	e := policy.Exception{
		ID: "EX-1", Requester: "op\x1b[2J", Check: "container-privileged-port", Asset: evil.String(), Locus: "0.0.0.0:443/tcp", Reason: "serves HTTPS", FactsAtDecision: "sha256:" + risk.Digest(fs[1]),
		Compensating: []policy.Compensating{{Check: "container-root-user"}}, Starts: day("2026-02-01"), Expires: day("2026-04-01"), Renews: "EX-0",
		RiskAtDecision: policy.RiskThen{Formula: risk.Formula, Likelihood: 0.05, Impact: 0.2, Priority: "defer"}, Pos: policy.Pos{File: "ex.yaml", Line: 1},
	}
	old := e
	old.ID, old.Expires, old.Compensating, old.Reason = "EX-2", day("2026-12-01"), []policy.Compensating{{Check: "nosuch"}}, ""
	pol.Granted = []policy.Exception{e, old}
	sign := func(policy.Exception) ([]policy.Signature, error) {
		return []policy.Signature{{Person: "ro", Key: "SHA256:x"}}, nil
	}
	x := risk.Judge(pol, s, fs, sign, at)
	lives, _ := risk.Track(nil, s, fs, s.Taken)
	in := risk.Input{Snapshot: s, Findings: fs, Policy: pol, Lives: lives, Exceptions: x, At: at}
	first := risk.Register(in)[0]
	in.Treatments = []risk.Treatment{{
		Risk: first.ID, Kind: risk.Mitigate, By: "ro", On: at, Reason: "a proxy\x1b[2J takes its place", Change: "7-abc", Due: day("2026-02-15"), Inputs: "other",
		Signatures: []policy.Signature{{Person: "ro"}},
	}}
	terrain := risk.Survey(s, fs, pol, nil)
	return Register{
		Snapshot: s, Policy: pol, Findings: fs, Risks: risk.Register(in), Exceptions: x, At: at, Paths: terrain.Paths(3),
		Problems: []risk.Problem{{Check: "container-memory", Ref: db, Reopened: 3, State: risk.OpenProblem}},
	}
}

func TestRegisterText(t *testing.T) {
	r := sampleRegister()
	for _, l := range []lang.Lang{lang.English, lang.Spanish} {
		var b bytes.Buffer
		p := Printer{W: &b, Lang: l}
		p.Register(r, true)
		b.WriteString("\n----\n")
		p.Risk(r.Risks[0])
		b.WriteString("\n----\n")
		p.Exceptions(r.Exceptions)
		b.WriteString("\n----\n")
		p.Exception(r.Exceptions, r.Exceptions.Judged[0])
		golden(t, "risk."+string(l)+".txt", b.Bytes())
		if strings.ContainsAny(b.String(), "\x1b\a\u202e") {
			t.Errorf("%s: a container's name reached the terminal", l)
		}
	}
}

// TestRegisterJSON holds the contract: a register names what each number rests
// on, and equal registers are equal bytes.
func TestRegisterJSON(t *testing.T) {
	var a, b bytes.Buffer
	for _, w := range []*bytes.Buffer{&a, &b} {
		if err := sampleRegister().JSON(w); err != nil {
			t.Fatal(err)
		}
	}
	if a.String() != b.String() {
		t.Error("two registers of the same host differ")
	}
	var doc struct {
		Schema, Formula, Host       string
		Policy                      struct{ Name string }
		Conformance                 struct{ Low, High float64 }
		Accepted                    int
		Risks                       []map[string]any
		Exceptions, Problems, Paths []any
		Unread, Gaps                []any
	}
	if err := json.Unmarshal(a.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Schema != RegisterSchema || doc.Formula != risk.Formula || doc.Policy.Name != "example" || doc.Accepted != 1 || doc.Unread == nil || len(doc.Paths) == 0 || len(doc.Exceptions) != 2 {
		t.Errorf("%+v", doc)
	}
	for _, key := range []string{"id", "ref", "threat", "scenario", "findings", "blast_radius", "inherent", "current", "residual", "confidence", "priority", "due", "overdue", "state", "reassess", "inputs_digest"} {
		if _, ok := doc.Risks[0][key]; !ok {
			t.Errorf("a risk lacks %q", key)
		}
	}
	inputs := doc.Risks[0]["findings"].([]any)[0].(map[string]any)["inputs"].(map[string]any)
	for _, key := range []string{"formula", "class", "base", "exposure", "floor", "impact"} {
		if _, ok := inputs[key]; !ok {
			t.Errorf("inputs lack %q", key)
		}
	}
}

// TestRegisterCSV: a container that is called like a formula is text in a
// spreadsheet, and nothing in it colours a terminal.
func TestRegisterCSV(t *testing.T) {
	r := sampleRegister()
	r.Risks[0].Owner = "=HYPERLINK(1)"
	r.Risks[1].Findings = nil
	var b bytes.Buffer
	if err := r.CSV(&b, lang.English); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(bytes.NewReader(b.Bytes())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != 1+len(r.Risks) {
		t.Errorf("%d lines", len(lines))
	}
	if owner := slices.Index(lines[0], "owner"); lines[1][owner] != "'=HYPERLINK(1)" {
		t.Errorf("owner %q", lines[1][owner])
	}
	if strings.ContainsAny(b.String(), "\x1b\u202e") {
		t.Error("a container's name is as it was")
	}
}

// TestRiskWords: every word that a register may hold has both languages.
func TestRiskWords(t *testing.T) {
	words := map[string]lang.Text{}
	for k, v := range stateOf {
		words[string(k)] = v
	}
	for _, s := range []risk.State{risk.Identified, risk.Assessed, risk.Decided, risk.Treating, risk.Monitored, risk.Closed, risk.Gone} {
		words[string(s)] = stateOf[s]
	}
	for _, k := range risk.Kinds {
		words[string(k)] = kindOf[k]
	}
	for _, s := range []risk.TreatmentState{risk.Proposed, risk.Approved, risk.InProgress, risk.Verified} {
		words[string(s)] = standingOf[s]
	}
	for _, c := range []risk.Class{risk.Takeover, risk.Escalation, risk.Layer, risk.Hygiene} {
		words[string(c)] = classWords[c]
	}
	for _, l := range []risk.Level{risk.Internet, risk.OtherTier, risk.SameTier, risk.HostLocal, risk.NotRunning} {
		words[string(l)] = levelOf[l]
	}
	for p := risk.Priority(0); p <= risk.Immediate; p++ {
		words["priority "+p.String()] = priorityWords[p]
	}
	for e := risk.NoExploitation; e <= risk.Active; e++ {
		words["exploitation "+e.String()] = exploitationOf[e]
	}
	for r := risk.Small; r <= risk.Open; r++ {
		words["exposure "+r.String()] = reachOf[r]
	}
	for h := risk.LowHarm; h <= risk.VeryHighHarm; h++ {
		words["impact "+h.String()] = harmOf[h]
	}
	for w, text := range words {
		if text.Empty() {
			t.Errorf("%s has no words", w)
		}
	}
}
