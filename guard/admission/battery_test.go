package admission

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"casco/loop/inventory"
	"casco/policy"
)

// A row of testdata/battery.tsv.
type row struct {
	line                           int
	shows, technique, policy       string
	caller                         Caller
	want, method, uri, contentType string
	body                           []byte
}

func battery(t testing.TB) []row {
	t.Helper()
	b, err := os.ReadFile("testdata/battery.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var out []row
	for i, line := range strings.Split(string(b), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 9 {
			t.Fatalf("line %d has %d columns", i+1, len(f))
		}
		r := row{i + 1, f[0], f[1], f[2], callerOf(f[3]), f[4], f[5], f[6], f[7], []byte(f[8])}
		if strings.HasPrefix(f[8], `"`) {
			s, err := strconv.Unquote(f[8])
			if err != nil {
				t.Fatalf("line %d: %v", i+1, err)
			}
			r.body = []byte(s)
		}
		if n, ok := strings.CutPrefix(f[8], "PAD"); ok {
			pad, _ := strconv.Atoi(n)
			r.body = []byte(strings.Repeat(" ", pad) + `{"Image":"registry.example/app:1","HostConfig":{"Privileged":true}}`)
		}
		out = append(out, r)
	}
	return out
}

func callerOf(s string) Caller {
	c := Caller{UID: 1000, LoginUID: 1000, Via: "/run/docker.sock"}
	kind, name, _ := strings.Cut(s, ":")
	switch kind {
	case "uid":
		n, _ := strconv.Atoi(name)
		c.UID = uint32(n)
	case "unit":
		c.Unit = name
	case "container":
		c.Container = name
	case "tls":
		c.TLSName = name
	}
	return c
}

const policyHead = `apiVersion: casco/v1
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

// policies by the third column.
var policies = map[string]string{
	"base":     governed + "ports: {allow: [\"proxy:443/tcp\"]}\nadmission: {mode: enforce, runtimes: [runsc], read_only: [\"uid:1001\", \"unit:exporter.service\", \"container:dashboard\", \"tls:monitor\"]}\n",
	"observe":  governed + "admission: {mode: observe}\n",
	"silent":   "admission: {mode: enforce}\n",
	"digest":   governed[:len(governed)-2] + ", require: [digest]}\nadmission: {mode: enforce}\n",
	"warn":     governed + "ports: {publish_on_all_interfaces: warn}\nadmission: {mode: enforce}\n",
	"nnp":      governed + "admission: {mode: enforce, rules: {container-no-new-privileges: {mode: enforce}}}\n",
	"tiered":   governed + "admission: {mode: enforce, rules: {object-delete: {mode: enforce, tiers: [restricted]}}}\n",
	"buildkit": governed + "admission: {mode: enforce}\n",
	"agreed": governed + "admission: {mode: enforce, rules: {image-commit: {mode: enforce}, prune: {mode: enforce}, object-delete: {mode: enforce}, " +
		"container-restart: {mode: enforce}, caller-container: {mode: ignore, tiers: [public]}}}\n",
}

func parsed(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, problems := policy.ParseFile("p.yaml", []byte(policyHead+text))
	if p == nil {
		t.Fatalf("%v\n%s", problems, text)
	}
	var rules []string
	for _, r := range Rules() {
		rules = append(rules, r.ID)
	}
	for _, problem := range policy.Lint(p, policy.Catalogue{Rules: rules, Checks: append(rules, p.Exceptions.MayNeverExcept...)}, now) {
		if problem.Severity == policy.Error {
			t.Fatalf("%v\n%s", problem, text)
		}
	}
	return p
}

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// A world is a small host.
type world struct{ s *inventory.Snapshot }

func (w world) named(k inventory.Kind, name string) *inventory.Object {
	for _, o := range w.s.Of(k) {
		tags, _ := o.Fields["RepoTags"].([]any)
		if o.Ref.Name == name || o.Fields["Id"] == name || slices.Contains(tags, any(name)) || slices.Contains(tags, any(name+":latest")) {
			return o
		}
	}
	return nil
}
func (w world) Image(ref string) *inventory.Object      { return w.named(inventory.Image, ref) }
func (w world) Container(name string) *inventory.Object { return w.named(inventory.Container, name) }
func (w world) Network(name string) *inventory.Object   { return w.named(inventory.Network, name) }
func (w world) Volume(name string) *inventory.Object    { return w.named(inventory.Volume, name) }
func (w world) Snapshot() *inventory.Snapshot           { return w.s }

func (w world) Resolve(p string) string {
	for link, to := range map[string]string{"/srv/link": "/etc", "/srv/up": "/", "/srv/sock": "/run/docker.sock", "/srv/current": "/srv/data", "/var/run": "/run"} {
		if p == link || strings.HasPrefix(p, link+"/") {
			return strings.ReplaceAll(to+strings.TrimPrefix(p, link), "//", "/")
		}
	}
	return p
}

func host(t testing.TB, entitled bool) world {
	t.Helper()
	s := &inventory.Snapshot{Host: "h", Taken: now}
	add := func(k inventory.Kind, name, fields string) *inventory.Object {
		tree, err := parseJSON([]byte(fields))
		if err != nil {
			t.Fatal(err)
		}
		o := &inventory.Object{Ref: inventory.Ref{Kind: k, Name: name}, Source: "test", Read: now, Fields: plainJSON(tree).(map[string]any)}
		s.Add(o)
		return o
	}
	add(inventory.Daemon, "/run/docker.sock", fmt.Sprintf(`{"Info":{"DefaultRuntime":"casco","LoggingDriver":"json-file","DockerRootDir":"/var/lib/docker","SecurityOptions":["name=seccomp,profile=builtin"]},
		"Effective":{"builder":{"Entitlements":{"network-host":%v}}}}`, entitled))
	add(inventory.Kernel, "kernel", `{"AppArmor":false,"SELinux":"","Cgroup":2}`)
	for name, id := range map[string]string{"bridge": "bridgebridge", "host": "hosthosthost", "none": "nonenonenone", "dmz": "dmzdmzdmzdmz", "lan": "lanlanlanlan", "data": "datadatadata", "plain": "plainplain00", "plain2": "plainplain02"} {
		add(inventory.Network, name, `{"Id":"`+id+`","Driver":"bridge","Options":{},"Labels":{}}`)
	}
	for name, opts := range map[string]string{"cache": `null`, "rootvol": `{"type":"none","o":"bind","device":"/"}`, "procvol": `{"type":"proc","device":"proc"}`} {
		add(inventory.Volume, name, `{"Driver":"local","Options":`+opts+`}`)
	}
	for _, i := range []struct{ name, id, digests, config string }{
		{"registry.example/app:1", "a11ca11ca11ca11c", `["registry.example/app@sha256:aa"]`, `{"User":"1000","ExposedPorts":{"80/tcp":{}},"Labels":{"v":"1"}}`},
		{"registry.example/data:1", "a11ca11ca11ca11d", `["registry.example/data@sha256:ab"]`, `{}`},
		{"registry.example/looper:1", "a11ca11ca11ca11e", `["registry.example/looper@sha256:ac"]`, `{"Labels":{"containerd.io/restart.loguri":"binary:///bin/sh"}}`},
		{"registry.example/forged:1", "f00df00df00df00e", `["evil.example/x@sha256:ad"]`, `{}`},
		{"nginx:latest", "a11ca11ca11ca11f", `["nginx@sha256:ae"]`, `{}`},
		{"local/built:latest", "f00df00df00df00f", `[]`, `{}`},
		{"evil:1", "f00df00df00df00d", `["evil.example/x@sha256:af"]`, `{}`},
	} {
		add(inventory.Image, i.name, `{"Id":"`+i.id+`","RepoTags":["`+i.name+`"],"RepoDigests":`+i.digests+`,"Config":`+i.config+`}`)
	}
	for _, c := range []struct{ name, id, config, host, network, mounts string }{
		{"web", "webwebwebweb", `{"User":"1000","Labels":{"casco.app":"site"}}`, `{"PidsLimit":100,"Memory":268435456,"MemorySwap":536870912,"Binds":["/srv/data:/srv"]}`, "dmz", `[{"Type":"bind","Source":"/srv/data","Destination":"/srv","RW":true}]`},
		{"api", "apiapiapiapi", `{"User":"1000","Labels":{"casco.app":"shop"}}`, `{}`, "lan", `[]`},
		{"db", "dbdbdbdbdbdb", `{"User":"999"}`, `{"PidsLimit":100}`, "data", `[]`},
		{"vault1", "vaultvault01", `{"User":"999"}`, `{"PidsLimit":100,"SecurityOpt":["no-new-privileges:true"]}`, "safe", `[]`},
		{"job", "jobjobjobjob", `{"User":""}`, `{}`, "plain", `[]`},
		{"dashboard", "dashdashdash", `{"User":"1000"}`, `{}`, "lan", `[]`},
		{"legacy", "legacylegacy", `{"User":""}`, `{"Privileged":true}`, "lan", `[]`},
		{"agent", "agentagentag", `{"User":""}`, `{"Binds":["/var/run/docker.sock:/s"]}`, "lan", `[{"Type":"bind","Source":"/var/run/docker.sock","Destination":"/s","RW":true}]`},
		{"top", "toptoptoptop", `{"User":""}`, `{"PidMode":"host"}`, "lan", `[]`},
		{"hostnet", "hostnethostn", `{"User":""}`, `{"NetworkMode":"host"}`, "host", `[]`},
		{"etcer", "etceretcer00", `{"User":""}`, `{"Binds":["/etc:/host"]}`, "plain", `[{"Type":"bind","Source":"/etc","Destination":"/host","RW":true}]`},
	} {
		o := add(inventory.Container, c.name, `{"Id":"`+c.id+`","Image":"a11ca11ca11ca11c","Config":`+c.config+`,"HostConfig":`+c.host+`,"Mounts":`+c.mounts+`,
			"NetworkSettings":{"Networks":{"`+c.network+`":{}}},"State":{"Running":true}}`)
		o.Fields["HostConfig"] = over(zeroHostConfig(), asMap(o.Fields["HostConfig"]))
		o.Fields["Config"] = over(zeroConfig(), asMap(o.Fields["Config"]))
	}
	s.Sort()
	return world{s}
}

// plainJSON turns what parseJSON gave into maps.
func plainJSON(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = plainJSON(v[i])
		}
	case *object:
		out := map[string]any{}
		for i, k := range v.keys {
			out[k] = plainJSON(v.values[i])
		}
		return out
	}
	return v
}

// TestBattery wants of each request exactly the rules that it breaks.
func TestBattery(t *testing.T) {
	judges := map[string]*Judge{}
	for name, text := range policies {
		j, err := NewJudge(parsed(t, text), nil)
		if err != nil {
			t.Fatal(err)
		}
		judges[name] = j
	}
	bad, good := 0, 0
	said := map[string]bool{}
	for _, r := range battery(t) {
		j := judges[r.policy]
		if j == nil {
			t.Fatalf("line %d: no policy %q", r.line, r.policy)
		}
		d := j.Decide(Asked{Caller: r.caller, At: now, Method: r.method, URI: r.uri, ContentType: r.contentType, Body: r.body}, host(t, r.policy != "buildkit"))
		var got []string
		for _, f := range d.Refusals {
			id := f.Rule
			if f.Observed {
				id += "?"
			}
			got = append(got, id)
			said[f.Rule] = true
			if f.Reason.Empty() || f.Fix.Empty() || f.Path == "" || f.Status == 0 || strings.Contains(f.Reason.En+f.Reason.Es+f.Fix.En+f.Fix.Es, "%!") {
				t.Errorf("line %d: a refusal that does not say why, how else, by which line: %+v", r.line, f)
			}
		}
		slices.Sort(got)
		is := strings.Join(slices.Compact(got), ",")
		if is == "" {
			is = "pass"
			good++
		} else {
			bad++
		}
		if is != r.want {
			t.Errorf("line %d: %s: got %s, want %s: %+v", r.line, r.shows, is, r.want, d.Refusals)
		}
		enforced := slices.ContainsFunc(d.Refusals, func(f Refusal) bool { return !f.Observed })
		if d.Allow == enforced || d.Observed != (!enforced && len(d.Refusals) > 0) || d.Allow != (d.Status == 0) || (d.Rule == "") != (len(d.Refusals) == 0) {
			t.Errorf("line %d: %s: the decision does not follow its refusals: %+v", r.line, r.shows, d)
		}
		if is == "pass" && (d.Route.Endpoint == nil || !d.Stream && d.Forward == nil) {
			t.Errorf("line %d: %s: it passes, and nothing says what to pass on: %+v", r.line, r.shows, d)
		}
	}
	if bad < 150 || good < 100 {
		t.Errorf("%d that are refused, %d that pass", bad, good)
	}
	for _, rule := range Rules() {
		if !rule.Optional && !said[rule.ID] {
			t.Errorf("no row breaks the rule %s", rule.ID)
		}
	}
}
