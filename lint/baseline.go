package lint

import (
	"bytes"
	"encoding/json"
	"fmt"

	"casco/lang"
	"casco/loop/audit"
)

// BaselineSchema names the format of a baseline.
const BaselineSchema = "casco/lint-baseline/v1"

// A Baseline is what was found when somebody began to look: it is shown, and
// fails nothing.
type Baseline struct {
	Schema   string  `json:"schema"`
	Findings []Known `json:"findings"`
}

// A Known is one finding of a baseline. Key is what counts; the rest is for who
// reads it.
type Known struct {
	Key   string `json:"key"`
	Check string `json:"check"`
	File  string `json:"file"`
	Line  int    `json:"line"`
}

// NewBaseline is made of what fails now and is not accepted.
func NewBaseline(rs []Result) Baseline {
	b := Baseline{BaselineSchema, []Known{}}
	for _, r := range rs {
		if r.Verdict == audit.Fail && r.Accepted == "" {
			b.Findings = append(b.Findings, Known{r.Key, r.Check.ID, r.At.File, r.At.Line})
		}
	}
	return b
}

// ReadBaseline reads what Bytes wrote. An error does not name the file.
func ReadBaseline(src []byte) (Baseline, error) {
	var b Baseline
	d := json.NewDecoder(bytes.NewReader(src))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		return b, err
	}
	if b.Schema != BaselineSchema {
		return b, lang.Errorf(lang.Text{En: "is no baseline: its schema is %q", Es: "no es una línea base: su esquema es %q"}, b.Schema)
	}
	return b, nil
}

// Bytes is b as it goes into a file.
func (b Baseline) Bytes() ([]byte, error) {
	out, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	return append(out, '\n'), nil
}

// Mark notes which results b knows.
func (b Baseline) Mark(rs []Result) {
	known := map[string]bool{}
	for _, k := range b.Findings {
		known[k.Key] = true
	}
	for i := range rs {
		rs[i].Known = rs[i].Verdict == audit.Fail && known[rs[i].Key]
	}
}
