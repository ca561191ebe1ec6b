package lint

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"casco/loop/audit"
	"casco/loop/inventory"
)

func at(file string, line, column, endLine, endColumn int) inventory.Position {
	return inventory.Position{File: file, Line: line, Column: column, EndLine: endLine, EndColumn: endColumn}
}

func failure(id string, ref inventory.Ref, at ...inventory.Position) audit.Finding {
	f := audit.Finding{Check: &audit.Check{ID: id, Severity: audit.Medium, Kind: ref.Kind}, Ref: ref, Answer: audit.Answer{Verdict: audit.Fail}}
	for _, p := range at {
		f.Evidence = append(f.Evidence, inventory.Fact{Ref: ref, Field: "RUN", Value: "x", Source: p.String()})
	}
	return f
}

var (
	file    = inventory.Ref{Kind: inventory.Dockerfile, Name: "D"}
	service = inventory.Ref{Kind: inventory.Container, Name: "web"}
)

// TestResults: a Dockerfile's failure is a result for each place, a container's
// is one; names for the baseline differ and hold when lines move.
func TestResults(t *testing.T) {
	fs := []audit.Finding{
		failure("b", service, at("c.yaml", 9, 1, 9, 2), at("c.yaml", 3, 1, 3, 2)),
		failure("a", file, at("D", 7, 1, 7, 2), at("D", 2, 1, 2, 2)),
		failure("c", service),
	}
	var got []string
	keys := map[string]bool{}
	for _, r := range Results(fs, nil) {
		got = append(got, r.Check.ID+" "+r.At.String())
		keys[r.Key] = true
	}
	want := []string{"c :0:0-0:0", "a D:2:1-2:2", "a D:7:1-7:2", "b c.yaml:9:1-9:2"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if len(keys) != len(want) {
		t.Errorf("%d names for %d results", len(keys), len(want))
	}
	moved := Results([]audit.Finding{failure("a", file, at("D", 17, 1, 17, 2), at("D", 12, 1, 12, 2))}, nil)
	for _, r := range moved {
		if !keys[r.Key] {
			t.Errorf("%v has another name than before its lines moved", r.At)
		}
	}
}

func TestAccept(t *testing.T) {
	src := "FROM a\n# casco:ignore x reason:  it is a lab \n\n# why\nRUN a \\\n  b\nRUN c\n# casco:ignore x\nRUN d\n# casco:ignore y reason: z\n"
	ends := func(line int) int { return map[int]int{5: 6}[line] }
	rs := Results([]audit.Finding{failure("x", file, at("D", 6, 3, 6, 4), at("D", 7, 1, 7, 6), at("D", 9, 1, 9, 6))}, nil)
	objects := Accept(rs, Pragmas("D", []byte(src), ends), time.Time{})
	var got []string
	for _, r := range rs {
		got = append(got, r.Accepted)
		if r.Verdict != audit.Fail || r.Fails(audit.Low) != (r.Accepted == "") {
			t.Errorf("%v: %v, fails %v", r.At, r.Verdict, r.Fails(audit.Low))
		}
	}
	if d := cmp.Diff([]string{"it is a lab", "", ""}, got); d != "" { // without a reason nothing is accepted
		t.Error(d)
	}
	var fields []map[string]any
	for _, o := range objects {
		fields = append(fields, o.Fields)
	}
	if d := cmp.Diff([]map[string]any{
		{"Check": "x", "Reason": "it is a lab", "Matches": int64(1)}, {"Check": "x", "Reason": "", "Matches": int64(1)}, {"Check": "y", "Reason": "z", "Matches": int64(0)},
	}, fields); d != "" {
		t.Error(d)
	}
}

// TestBlocks: in YAML a pragma covers the key that follows and what is below it.
func TestBlocks(t *testing.T) {
	src := "services:\n  # casco:ignore x reason: r\n  web:\n    image: a\n\n    ports:\n    - 1\n  db:\n    # casco:ignore x reason: r\n    cap_add:\n    - A\n    - B\n    image: a\n    volumes:\n      # casco:ignore x reason: r\n      - a:/b\n      - c:/d\n"
	var got [][2]int
	for _, p := range Pragmas("c.yaml", []byte(src), nil) {
		got = append(got, [2]int{p.from, p.to})
	}
	if d := cmp.Diff([][2]int{{3, 7}, {10, 12}, {16, 16}}, got); d != "" {
		t.Error(d)
	}
}

func TestBaseline(t *testing.T) {
	rs := Results([]audit.Finding{failure("x", file, at("D", 2, 1, 2, 2), at("D", 3, 1, 3, 2))}, nil)
	b, err := NewBaseline(rs[:1]).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	known, err := ReadBaseline(b)
	if err != nil {
		t.Fatal(err)
	}
	if known.Mark(rs); !rs[0].Known || rs[1].Known || rs[0].Fails(audit.Low) || !rs[1].Fails(audit.Low) {
		t.Errorf("known: %v, %v", rs[0].Known, rs[1].Known)
	}
	for _, src := range []string{"{}", `{"schema":"casco/lint-baseline/v2"}`, `{"schema":"casco/lint-baseline/v1","x":1}`, "x"} {
		if _, err := ReadBaseline([]byte(src)); err == nil {
			t.Errorf("%s is read", src)
		}
	}
}
