// Package battery reads the requests by which admission is tested, with what
// must become of each: package admission judges them without an engine, the
// acceptance tests send them to one.
package battery

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// A Row is one request. Of guard/admission/testdata/battery.tsv, whose head
// says what stands in which column.
type Row struct {
	Line                           int
	Shows, Technique, Policy       string
	Caller                         string // "", "uid:1001", "tls:monitor" …
	Want, Method, URI, ContentType string
	Body                           []byte
}

// Rules are those that Want says are against the request; nil if it passes.
func (r Row) Rules() []string {
	if r.Want == "pass" {
		return nil
	}
	return strings.Split(r.Want, ",")
}

// Read reads a file of rows.
func Read(path string) ([]Row, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []Row
	for i, line := range strings.Split(string(b), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 9 {
			return nil, fmt.Errorf("%s:%d: %d columns", path, i+1, len(f))
		}
		body, err := bodyOf(f[8])
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, i+1, err)
		}
		out = append(out, Row{i + 1, f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7], body})
	}
	return out, nil
}

// bodyOf reads the last column: as it is, a Go string, or PAD and a number.
func bodyOf(s string) ([]byte, error) {
	if strings.HasPrefix(s, `"`) {
		text, err := strconv.Unquote(s)
		return []byte(text), err
	}
	if n, ok := strings.CutPrefix(s, "PAD"); ok {
		pad, err := strconv.Atoi(n)
		return []byte(strings.Repeat(" ", pad) + `{"Image":"registry.example/app:1","HostConfig":{"Privileged":true}}`), err
	}
	return []byte(s), nil
}

// Head begins each policy of the battery.
const Head = `apiVersion: casco/v1
kind: Policy
metadata: {name: battery, version: 1}
tiers:
  - {id: public, impact: 0.2, networks: [dmz]}
  - {id: internal, impact: 0.5, networks: [lan]}
  - {id: restricted, impact: 0.9, networks: [data]}
  - {id: vault, impact: 1}
assign:
  - {match: {name: "db*"}, tier: restricted}
  - {match: {name: "vault*"}, tier: vault}
  - {default: internal}
runtime: {tiers: {vault: {no_new_privileges: true, pids: 200}}}
`

const governed = "registries: {allow: [registry.example, docker.io/library/*]}\n"

// Policies are those that a row names, each without its Head.
var Policies = map[string]string{
	"base":     governed + "ports: {allow: [\"proxy:443/tcp\"]}\nadmission: {mode: enforce, runtimes: [runsc], read_only: [\"uid:1001\", \"unit:exporter.service\", \"container:dashboard\", \"tls:monitor\"]}\n",
	"observe":  governed + "admission: {mode: observe}\n",
	"silent":   "admission: {mode: enforce}\n",
	"digest":   governed[:len(governed)-2] + ", require: [digest]}\nadmission: {mode: enforce}\n",
	"warn":     governed + "ports: {publish_on_all_interfaces: warn}\nadmission: {mode: enforce}\n",
	"nnp":      governed + "admission: {mode: enforce, rules: {container-no-new-privileges: {mode: enforce}}}\n",
	"tiered":   governed + "admission: {mode: enforce, rules: {object-delete: {mode: enforce, tiers: [restricted]}}}\n",
	"aged":     governed + "images: {max_age: 60d}\nadmission: {mode: enforce}\n",
	"signed":   governed[:len(governed)-2] + ", require: [signature], keys: {registry.example/*: image.pub}}\nadmission: {mode: enforce}\n",
	"buildkit": governed + "admission: {mode: enforce}\n",
	"owned":    governed + "admission: {mode: enforce, owners: [{id: team, who: [\"uid:2001\"], of: [{tier: public}]}]}\n",
	"agreed": governed + "admission: {mode: enforce, rules: {image-commit: {mode: enforce}, prune: {mode: enforce}, object-delete: {mode: enforce}, " +
		"container-restart: {mode: enforce}, caller-container: {mode: ignore, tiers: [public]}}}\n",
}
