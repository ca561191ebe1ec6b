package admission

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"casco/internal/battery"
	"casco/loop/inventory"
	"casco/policy"
)

func callerOf(s string) Caller {
	c := Caller{UID: 1000, LoginUID: 1000, Via: "/run/docker.sock"}
	kind, name, _ := strings.Cut(s, ":")
	switch kind {
	case "uid":
		n, _ := strconv.Atoi(name)
		c.UID = uint32(n)
	case "gid": // one of its further groups
		n, _ := strconv.Atoi(name)
		c.GID, c.Groups = 1000, []uint32{7, uint32(n)}
	case "userns": // as a user of those that were given to who made it
		c.UID, c.Userns = 100001, name
	case "unit":
		c.Unit = name
	case "container":
		c.Container = name
	case "tls":
		c.TLSName = name
	}
	return c
}

func parsed(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, problems := policy.ParseFolder(map[string][]byte{"p.yaml": []byte(battery.Head + text), "image.pub": testFile(t, "image.pub")})
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

func testFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// A world is a small host.
type world struct {
	s          *inventory.Snapshot
	gets       map[string]any // what GET gives
	signatures map[string][][]byte
}

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
func (w world) Seccomp(path string) ([]byte, error)     { return os.ReadFile("testdata" + path) }
func (w world) Snapshot() *inventory.Snapshot           { return w.s }
func (w world) Get(path string) any                     { return w.gets[path] }
func (w world) Signatures(digest string) [][]byte {
	return w.signatures[digest]
}

func (w world) Resolve(p string) string {
	for link, to := range map[string]string{"/srv/link": "/etc", "/srv/up": "/", "/srv/sock": "/run/docker.sock", "/srv/current": "/srv/data", "/var/run": "/run"} {
		if p == link || strings.HasPrefix(p, link+"/") {
			return strings.ReplaceAll(to+strings.TrimPrefix(p, link), "//", "/")
		}
	}
	return p
}

// created is when images were, of which it matters.
var created = map[string]string{"registry.example/app:1": "2026-11-01T00:00:00Z", "registry.example/old:1": "2026-01-01T00:00:00Z"}

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
	for name, opts := range map[string]string{"cache": `null`, "rootvol": `{"type":"none","o":"bind","device":"/"}`, "procvol": `{"type":"proc","device":"proc"}`, "linkvol": `{"type":"none","o":"bind","device":"/srv/link"}`} {
		add(inventory.Volume, name, `{"Driver":"local","Options":`+opts+`}`)
	}
	for _, i := range []struct{ name, id, digests, config string }{
		{"registry.example/app:1", "a11ca11ca11ca11c", `["registry.example/app@sha256:aa"]`, `{"User":"1000","ExposedPorts":{"80/tcp":{}},"Labels":{"v":"1"}}`},
		{"registry.example/data:1", "a11ca11ca11ca11d", `["registry.example/data@sha256:ab"]`, `{}`},
		{"registry.example/looper:1", "a11ca11ca11ca11e", `["registry.example/looper@sha256:ac"]`, `{"Labels":{"containerd.io/restart.loguri":"binary:///bin/sh"}}`},
		{"registry.example/forged:1", "f00df00df00df00e", `["evil.example/x@sha256:ad"]`, `{}`},
		{"registry.example/old:1", "a11ca11ca11ca120", `["registry.example/old@sha256:b0"]`, `{}`},
		{"nginx:latest", "a11ca11ca11ca11f", `["nginx@sha256:ae"]`, `{}`},
		{"local/built:latest", "f00df00df00df00f", `[]`, `{}`},
		{"evil:1", "f00df00df00df00d", `["evil.example/x@sha256:af"]`, `{}`},
	} {
		add(inventory.Image, i.name, `{"Id":"`+i.id+`","RepoTags":["`+i.name+`"],"RepoDigests":`+i.digests+`,"Config":`+i.config+`,"Created":"`+created[i.name]+`"}`)
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
		{"swapped", "swappedswapp", `{"User":""}`, `{"Binds":["/srv/link:/m"]}`, "plain", `[{"Type":"bind","Source":"/srv/link","Destination":"/m","RW":true}]`},
		{"moved", "movedmovedmo", `{"User":""}`, `{"Binds":["/srv/current:/m"]}`, "plain", `[{"Type":"bind","Source":"/srv/current","Destination":"/m","RW":true}]`},
		{"voler", "volervolervo", `{"User":""}`, `{"Binds":["linkvol:/m"]}`, "plain", `[{"Type":"volume","Name":"linkvol","Source":"/var/lib/docker/volumes/linkvol/_data","Destination":"/m","RW":true}]`},
		{"etcer", "etceretcer00", `{"User":""}`, `{"Binds":["/etc:/host"]}`, "plain", `[{"Type":"bind","Source":"/etc","Destination":"/host","RW":true}]`},
	} {
		o := add(inventory.Container, c.name, `{"Id":"`+c.id+`","Image":"a11ca11ca11ca11c","Config":`+c.config+`,"HostConfig":`+c.host+`,"Mounts":`+c.mounts+`,
			"NetworkSettings":{"Networks":{"`+c.network+`":{}}},"State":{"Running":true}}`)
		o.Fields["HostConfig"] = over(zeroHostConfig(), asMap(o.Fields["HostConfig"]))
		o.Fields["Config"] = over(zeroConfig(), asMap(o.Fields["Config"]))
	}
	s.Sort()
	return world{s: s, signatures: map[string][][]byte{
		"sha256:aa": {testFile(t, "other-name.sig"), testFile(t, "app.sig")}, "sha256:ab": {testFile(t, "other-key.sig")}, "sha256:ac": {testFile(t, "other-name.sig"), []byte("rubbish")},
	}}
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
	for name, text := range battery.Policies {
		j, err := NewJudge(parsed(t, text), nil)
		if err != nil {
			t.Fatal(err)
		}
		judges[name] = j
	}
	bad, good := 0, 0
	said := map[string]bool{}
	rows, err := battery.Read("testdata/battery.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		j := judges[r.Policy]
		if j == nil {
			t.Fatalf("line %d: no policy %q", r.Line, r.Policy)
		}
		d := j.Decide(Asked{Caller: callerOf(r.Caller), At: now, Method: r.Method, URI: r.URI, ContentType: r.ContentType, Body: r.Body}, host(t, r.Policy != "buildkit"))
		var got []string
		for _, f := range d.Refusals {
			id := f.Rule
			if f.Observed {
				id += "?"
			}
			got = append(got, id)
			said[f.Rule] = true
			if f.Reason.Empty() || f.Fix.Empty() || f.Path == "" || f.Status == 0 || strings.Contains(f.Reason.En+f.Reason.Es+f.Fix.En+f.Fix.Es, "%!") {
				t.Errorf("line %d: a refusal that does not say why, how else, by which line: %+v", r.Line, f)
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
		if is != r.Want {
			t.Errorf("line %d: %s: got %s, want %s: %+v", r.Line, r.Shows, is, r.Want, d.Refusals)
		}
		enforced := slices.ContainsFunc(d.Refusals, func(f Refusal) bool { return !f.Observed })
		if d.Allow == enforced || d.Observed != (!enforced && len(d.Refusals) > 0) || d.Allow != (d.Status == 0) || (d.Rule == "") != (len(d.Refusals) == 0) {
			t.Errorf("line %d: %s: the decision does not follow its refusals: %+v", r.Line, r.Shows, d)
		}
		if is == "pass" && (d.Route.Endpoint == nil || !d.Stream && d.Forward == nil) {
			t.Errorf("line %d: %s: it passes, and nothing says what to pass on: %+v", r.Line, r.Shows, d)
		}
	}
	if bad < 150 || good < 100 {
		t.Errorf("%d that are refused, %d that pass", bad, good)
	}
	for _, rule := range Rules() {
		if !rule.Optional && !said[rule.ID] && !strings.HasPrefix(rule.ID, "oci-") { // which no request breaks: see TestLook
			t.Errorf("no row breaks the rule %s", rule.ID)
		}
	}
}
