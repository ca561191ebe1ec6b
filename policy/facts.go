package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Facts returns the values of p under its keys, as JSON is decoded (numbers
// are json.Number), and for each path where it stands: "policy.yaml:14". A path
// that is not there is built in.
func (p *Policy) Facts() (fields map[string]any, sources map[string]string) {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // texts, numbers and their lists
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&fields); err != nil {
		panic(err)
	}
	sources = make(map[string]string, len(p.Lines))
	for path, at := range p.Lines {
		if path != "" {
			sources[path] = fmt.Sprintf("%s:%d", at.File, at.Line)
		}
	}
	return fields, sources
}

// String names p for people: its name and version.
func (m Metadata) String() string {
	if m.Version == 0 {
		return m.Name
	}
	return fmt.Sprintf("%s, version %d", m.Name, m.Version)
}
