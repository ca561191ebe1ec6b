package admission

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"casco/internal/battery"
	"casco/loop/audit"
	"casco/loop/audit/checks"
	"casco/loop/inventory"
	"casco/loop/risk"
	"casco/policy"
)

func judge(t testing.TB, text string) *Judge {
	t.Helper()
	j, err := NewJudge(parsed(t, text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func ask(method, uri, body string) Asked {
	a := Asked{At: now, Caller: callerOf(""), Method: method, URI: uri, Body: []byte(body)}
	if body != "" {
		a.ContentType = "application/json"
	}
	return a
}

// TestAdd: what the policy adds is in what is passed on, in what was judged, in
// the decision and on the container's label, and only where the request says
// nothing.
func TestAdd(t *testing.T) {
	const add = "  add: {no_new_privileges: true, cap_drop: [NET_RAW, MKNOD], pids: 200, log_max_size: 10m, log_max_file: 3}\n"
	enforce := judge(t, "admission:\n  mode: enforce\n"+add)
	for _, c := range []struct{ what, uri, body, want, fields string }{
		{
			"a request that says nothing", "/containers/create", `{"Image":"a"}`,
			`{"HostConfig":{"CapDrop":["NET_RAW","MKNOD"],"LogConfig":{"Config":{"max-file":"3","max-size":"10m"}},"PidsLimit":200,"SecurityOpt":["no-new-privileges:true"]},` +
				`"Image":"a","Labels":{"casco.added":"no_new_privileges,cap_drop,pids,log_max_size,log_max_file"}}`,
			"HostConfig.SecurityOpt HostConfig.CapDrop HostConfig.PidsLimit HostConfig.LogConfig.Config HostConfig.LogConfig.Config",
		},
		{
			"one that says something of each", "/containers/create",
			`{"Image":"a","HostConfig":{"SecurityOpt":["no-new-privileges"],"CapDrop":["ALL"],"PidsLimit":50,"LogConfig":{"Type":"json-file","Config":{"max-size":"1m","max-file":"1"}}}}`,
			`{"HostConfig":{"CapDrop":["ALL"],"LogConfig":{"Config":{"max-file":"1","max-size":"1m"},"Type":"json-file"},"PidsLimit":50,"SecurityOpt":["no-new-privileges"]},"Image":"a"}`, "",
		},
		{
			"a capability that is asked for stays, another driver keeps its options", "/containers/create",
			`{"Image":"a","Labels":{"x":"y"},"HostConfig":{"CapAdd":["CAP_NET_RAW"],"PidsLimit":-1,"LogConfig":{"Type":"journald"},"SecurityOpt":["seccomp=builtin","no-new-privileges"]}}`,
			`{"HostConfig":{"CapAdd":["CAP_NET_RAW"],"CapDrop":["MKNOD"],"LogConfig":{"Type":"journald"},"PidsLimit":-1,"SecurityOpt":["seccomp=builtin","no-new-privileges"]},"Image":"a",` +
				`"Labels":{"casco.added":"cap_drop","x":"y"}}`, "HostConfig.CapDrop",
		},
		{"an exec gets nothing", "/containers/web/exec", `{"Cmd":["id"]}`, `{"Cmd":["id"]}`, ""},
	} {
		d := enforce.Decide(ask("POST", c.uri, c.body), host(t, true))
		var fields []string
		for _, m := range d.Mutations {
			fields = append(fields, m.Field)
		}
		if !d.Allow || string(d.Forward) != c.want || strings.Join(fields, " ") != c.fields {
			t.Errorf("%s: allow %v, %v\n got %s\nwant %s", c.what, d.Allow, fields, d.Forward, c.want)
		}
	}
	d := enforce.Decide(ask("POST", "/containers/create", `{"Image":"a","HostConfig":{"CapDrop":["ALL"]}}`), host(t, true))
	again := enforce.Decide(ask("POST", "/containers/create", string(d.Forward)), host(t, true))
	if !again.Allow || again.Mutations != nil || string(again.Forward) != string(d.Forward) {
		t.Errorf("a second judge behind the first: %s became %s: %+v", d.Forward, again.Forward, again.Refusals)
	}
	forged := strings.Replace(string(d.Forward), `,"SecurityOpt":["no-new-privileges:true"]`, "", 1)
	if again = enforce.Decide(ask("POST", "/containers/create", forged), host(t, true)); again.Allow || again.Rule != "label" {
		t.Errorf("a label that lists what is not there: %s: %+v", forged, again.Refusals)
	}
	testAddFromHost(t)
	observe := judge(t, "admission:\n"+add)
	if d = observe.Decide(ask("POST", "/containers/create", `{"Image":"a"}`), host(t, true)); string(d.Forward) != `{"Image":"a"}` || d.Mutations != nil {
		t.Errorf("observing changes nothing: %s %v", d.Forward, d.Mutations)
	}
}

// testAddFromHost: a runtime and a profile of the host are added as docker's
// client would ask for them; a profile that is not there, or that opens what it
// should close, refuses.
func testAddFromHost(t *testing.T) {
	t.Helper()
	const create, plainRequest = "/containers/create", `{"Image":"a"}`
	j := judge(t, "admission:\n  mode: enforce\n  add: {runtime: runsc, seccomp: /seccomp/closed.json}\n  runtimes: [runc]\n")
	want := `{"HostConfig":{"Runtime":"runsc","SecurityOpt":["seccomp={\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"read\",\"write\"],\"action\":\"SCMP_ACT_ALLOW\"}]}"]},` +
		`"Image":"a","Labels":{"casco.added":"runtime,seccomp"}}`
	d := j.Decide(ask("POST", create, plainRequest), host(t, true))
	if !d.Allow || string(d.Forward) != want || len(d.Mutations) != 2 || !strings.HasPrefix(d.Mutations[1].Value, "seccomp=/seccomp/closed.json sha256:") {
		t.Errorf("%+v %+v\n got %s\nwant %s", d.Refusals, d.Mutations, d.Forward, want)
	}
	if again := j.Decide(ask("POST", create, want), host(t, true)); !again.Allow || again.Mutations != nil {
		t.Errorf("a second judge: %+v %+v", again.Refusals, again.Mutations)
	}
	named := `{"HostConfig":{"Runtime":"runc","SecurityOpt":["seccomp=builtin"]},"Image":"a"}`
	if d = j.Decide(ask("POST", create, named), host(t, true)); !d.Allow || string(d.Forward) != named {
		t.Errorf("one that names its own: %+v %s", d.Refusals, d.Forward)
	}
	for _, profile := range []string{"missing", "open"} {
		j = judge(t, "admission:\n  mode: enforce\n  add: {seccomp: /seccomp/"+profile+".json}\n")
		if d = j.Decide(ask("POST", create, plainRequest), host(t, true)); d.Allow || d.Rule != "seccomp-profile" {
			t.Errorf("%s: %+v", profile, d.Refusals)
		}
	}
}

// TestAddIsJudged: a request that only passes because of what was added passes.
func TestAddIsJudged(t *testing.T) {
	j := judge(t, "admission:\n  mode: enforce\n  rules: {container-no-new-privileges: {mode: enforce}, container-pids: {mode: enforce}}\n  add: {no_new_privileges: true, pids: 100}\n")
	if d := j.Decide(ask("POST", "/containers/create?name=vault9", `{"Image":"a"}`), host(t, true)); !d.Allow {
		t.Errorf("%+v", d.Refusals)
	}
}

// TestObserve: nothing is held back, and nothing changed, by a policy that only
// observes; what could not be read is passed on as it came.
func TestObserve(t *testing.T) {
	j := judge(t, "")
	d := j.Decide(ask("POST", "/containers/create", `{"Image":"a","HostConfig":{"Privileged":true}}`), host(t, true))
	if !d.Allow || !d.Observed || d.Rule != "container-privileged" || string(d.Forward) != `{"HostConfig":{"Privileged":true},"Image":"a"}` || d.Refusals[0].Path != "admission.mode" {
		t.Errorf("%+v", d)
	}
	d = j.Decide(ask("POST", "/containers/create", `{"Imagee":"a"}`), host(t, true))
	if !d.Allow || !d.Observed || d.Forward != nil || d.Route.Endpoint == nil {
		t.Errorf("a body that could not be read: %+v", d)
	}
	d = j.Decide(ask("POST", "//containers/create", `{"Image":"a"}`), host(t, true))
	if !d.Allow || !d.Observed || d.Route.Endpoint != nil {
		t.Errorf("a path that could not be read: %+v", d)
	}
}

// TestRefusalNames: the text says what to write instead, and by which line.
func TestRefusalNames(t *testing.T) {
	j := judge(t, battery.Policies["nnp"])
	d := j.Decide(ask("POST", "/containers/create?name=x", `{"Image":"registry.example/app:1","HostConfig":{"Binds":["/etc:/m"]}}`), host(t, true))
	var got []string
	for _, r := range d.Refusals {
		got = append(got, r.Rule+" | "+r.Reason.En+" | "+r.Fix.En+" | "+r.Path)
	}
	want := []string{
		`container-no-new-privileges | Container can gain new privileges: as it was asked for | --security-opt no-new-privileges | admission.rules.container-no-new-privileges`,
		`container-sensitive-mount | Container mounts a path that gives the host away: "/etc" | -v NAME:/path for a volume of its own, or a narrower path with :ro | admission.mode`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestException: an exception lets the very container pass that it names, for
// what it names, while it lasts.
func TestException(t *testing.T) {
	p := parsed(t, battery.Policies["base"])
	p.People = []policy.Person{{ID: "ro", Roles: []policy.Role{policy.RiskOwner}}}
	verify := func(policy.Exception) ([]policy.Signature, error) {
		return []policy.Signature{{Person: "ro", Key: "k"}}, nil
	}
	world := host(t, true)
	const create = `{"Image":"registry.example/app:1","HostConfig":{"Privileged":true}}`
	privileged := checks.Find("container-privileged")
	digest := func(name string) string {
		o := &inventory.Object{Ref: inventory.Ref{Kind: inventory.Container, Name: name}, Fields: map[string]any{"HostConfig": map[string]any{"Privileged": true}}}
		return risk.Digest(audit.Finding{Check: privileged, Ref: o.Ref, Answer: privileged.Eval(nil, o)})
	}
	date := func(s string) policy.Date {
		d, err := policy.ParseDate(s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	x := policy.Exception{
		ID: "E1", Requester: "op", Check: "container-privileged", Asset: "container/old", Reason: "x", FactsAtDecision: digest("old"),
		Starts: date("2026-11-01"), Expires: date("2026-12-31"),
	}
	caps := policy.Exception{
		ID: "E2", Requester: "op", Check: "container-dangerous-capabilities", Asset: "container/vpn", Locus: "NET_ADMIN", Reason: "x", FactsAtDecision: "of the one that runs",
		Starts: date("2026-11-01"), Expires: date("2026-12-31"),
	}
	mount := policy.Exception{
		ID: "E3", Requester: "op", Check: "container-sensitive-mount", Asset: "container/cfg", Reason: "x", FactsAtDecision: "of the one that runs",
		Starts: date("2026-11-01"), Expires: date("2026-12-31"),
	}
	expired := x
	expired.Asset, expired.ID, expired.FactsAtDecision, expired.Expires = "container/late", "E4", digest("late"), date("2026-11-20")
	p.Granted = []policy.Exception{x, caps, mount, expired}
	j, err := NewJudge(p, verify)
	if err != nil {
		t.Fatal(err)
	}
	unsigned, err := NewJudge(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	vpn := func(caps string) string {
		return `{"Image":"registry.example/app:1","HostConfig":{"CapAdd":[` + caps + `]}}`
	}
	for _, c := range []struct {
		what, name, body string
		j                *Judge
		allow            bool
		by               []string
	}{
		{"the container that it names", "old", create, j, true, []string{"E1"}},
		{"another", "new", create, j, false, nil},
		{"none is named", "", create, j, false, nil},
		{"it has ended", "late", create, j, false, nil},
		{"nobody signed it", "old", create, unsigned, false, nil},
		{"a part that it names, whatever runs now", "vpn", vpn(`"NET_ADMIN"`), j, true, []string{"E2"}},
		{"a part that it does not name", "vpn", vpn(`"NET_ADMIN","SYS_ADMIN"`), j, false, nil},
		{"granted on other facts, and no part named", "cfg", `{"Image":"registry.example/app:1","HostConfig":{"Binds":["/etc:/m"]}}`, j, false, nil},
	} {
		uri := "/containers/create"
		if c.name != "" {
			uri += "?name=" + c.name
		}
		d := c.j.Decide(ask("POST", uri, c.body), world)
		if d.Allow != c.allow || !slices.Equal(d.Excepted, c.by) {
			t.Errorf("%s: allow %v by %v: %+v", c.what, d.Allow, d.Excepted, d.Refusals)
		}
	}
}

// TestSetAside: a check that is set aside in the policy refuses nothing.
func TestSetAside(t *testing.T) {
	j := judge(t, "admission: {mode: enforce}\nchecks: {container-host-uts: {applicable: false, because: x}}\n")
	if d := j.Decide(ask("POST", "/containers/create", `{"Image":"a","HostConfig":{"UTSMode":"host"}}`), host(t, true)); !d.Allow {
		t.Errorf("%+v", d.Refusals)
	}
}

// TestFresh: what the World knows and its last reading does not is judged.
func TestFresh(t *testing.T) {
	w := host(t, true)
	late := &inventory.Object{Ref: inventory.Ref{Kind: inventory.Volume, Name: "late"}, Read: now, Fields: map[string]any{"Driver": "local", "Options": map[string]any{"type": "none", "o": "bind", "device": "/etc"}}}
	d := judge(t, battery.Policies["silent"]).Decide(ask("POST", "/containers/create", `{"Image":"a","HostConfig":{"Binds":["late:/m"]}}`), fresh{w, late})
	if d.Allow || d.Rule != "container-sensitive-mount" {
		t.Errorf("%+v", d)
	}
}

type fresh struct {
	world
	volume *inventory.Object
}

func (f fresh) Volume(name string) *inventory.Object {
	if name == f.volume.Ref.Name {
		return f.volume
	}
	return f.world.Volume(name)
}

// TestOwn: the organisation's own checks refuse where the policy names them.
func TestOwn(t *testing.T) {
	mine := &audit.Check{
		ID: "our-names", Kind: inventory.Container, Title: checks.Find("container-privileged").Title, Remedy: checks.Find("container-privileged").Remedy,
		Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
			if strings.HasPrefix(o.Ref.Name, "team-") {
				return audit.Good(inventory.Fact{Ref: o.Ref})
			}
			return audit.Bad(inventory.Fact{Ref: o.Ref})
		},
	}
	p := parsed(t, "admission: {mode: enforce}\n")
	for _, on := range []bool{false, true} {
		if on {
			p.Admission.Rules = map[string]policy.AdmissionRule{"our-names": {Mode: policy.Enforce}}
		}
		j, err := NewJudge(p, nil, mine)
		if err != nil {
			t.Fatal(err)
		}
		if d := j.Decide(ask("POST", "/containers/create?name=x", `{"Image":"a"}`), host(t, true)); d.Allow == on {
			t.Errorf("on %v: %+v", on, d)
		}
		if d := j.Decide(ask("POST", "/containers/create?name=team-x", `{"Image":"a"}`), host(t, true)); !d.Allow {
			t.Errorf("on %v: %+v", on, d)
		}
	}
}

// TestRulesOnce: each rule has one ID, two languages, and is known to the
// policy.
func TestRulesOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rules() {
		if seen[r.ID] || r.Title.Empty() {
			t.Errorf("%+v", r)
		}
		seen[r.ID] = true
	}
	for id, fix := range fixes {
		if !seen[id] || fix.Empty() {
			t.Errorf("the fix of %s is nobody's", id)
		}
	}
}

// FuzzJudge: no request makes the judge fail, and none passes with a body that
// says privileged.
func FuzzJudge(f *testing.F) {
	rows, err := battery.Read("testdata/battery.tsv")
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range rows {
		if len(r.Body) < 1<<12 {
			f.Add(r.Method, r.URI, r.ContentType, r.Body)
		}
	}
	j := judge(f, battery.Policies["base"])
	w := host(f, true)
	f.Fuzz(func(t *testing.T, method, uri, contentType string, body []byte) {
		d := j.Decide(Asked{At: now, Caller: callerOf(""), Method: method, URI: uri, ContentType: contentType, Body: body}, w)
		if !d.Allow {
			return
		}
		if d.Route.Endpoint == nil || !d.Stream && d.Forward == nil {
			t.Fatalf("it passes, and nothing says what to pass on: %+v", d)
		}
		if d.Route.Endpoint.Class != Create {
			return
		}
		var sent struct{ HostConfig struct{ Privileged bool } }
		if err := json.Unmarshal(d.Forward, &sent); err != nil || sent.HostConfig.Privileged {
			t.Fatalf("%s passes: %v", d.Forward, err)
		}
	})
}

// BenchmarkDecide is one create among a thousand containers.
func BenchmarkDecide(b *testing.B) {
	w := host(b, true)
	web := w.Container("web")
	for i := range 1000 {
		c := web.Clone()
		c.Ref.Name = "web" + string(rune('a'+i%26)) + strings.Repeat("x", i/26)
		c.Fields["Id"] = c.Ref.Name
		w.s.Add(c)
	}
	w.s.Sort()
	j := judge(b, battery.Policies["base"])
	a := ask("POST", "/v1.44/containers/create?name=x", `{"Image":"registry.example/app:1","HostConfig":{"Binds":["/srv/data:/d"],"NetworkMode":"dmz","CapDrop":["ALL"],"SecurityOpt":["no-new-privileges"]}}`)
	for b.Loop() {
		if d := j.Decide(a, w); !d.Allow {
			b.Fatal(d.Refusals)
		}
	}
}

// TestBefore: what no body would allow is refused before there is one, as it is
// with any; all else waits for it.
func TestBefore(t *testing.T) {
	text := strings.Replace(owners, "  owners:", "  read_only: [\"uid:1001\"]\n  owners:", 1)
	j, w := judge(t, text), estate(t)
	for _, c := range []struct {
		what string
		from Caller
		uri  string
		rule string // "" waits
	}{
		{"who may only look", callerOf("uid:1001"), "/containers/create", "caller-read-only"},
		{"who may only look, at a start", callerOf("uid:1001"), "/containers/web/start", "caller-read-only"},
		{"a container", callerOf("container:web"), "/containers/create", "caller-container"},
		{"root, of a swarm", from("root", ask("POST", "", "")).Caller, "/swarm/init", "swarm"},
		{"root, of a plugin", from("root", ask("POST", "", "")).Caller, "/plugins/pull", "plugin"},
		{"who may not create", from("watch", ask("POST", "", "")).Caller, "/containers/create", "caller-owner"},
		{"who may not touch images", from("alice", ask("POST", "", "")).Caller, "/commit?container=a1", "caller-owner"},
		{"what is not told of", from("alice", ask("POST", "", "")).Caller, "/swarm/leave", "caller-owner"},
		{"who may", from("alice", ask("POST", "", "")).Caller, "/containers/create", ""},
		{"what depends on the container", from("alice", ask("POST", "", "")).Caller, "/containers/b1/exec", ""},
		{"who is given nothing", callerOf(""), "/containers/create", "caller-owner"},
		{"root", from("root", ask("POST", "", "")).Caller, "/containers/create", ""},
	} {
		a := ask("POST", c.uri, "")
		a.Caller = c.from
		d := j.Before(a, w)
		if d.Rule != c.rule || d.Allow != (c.rule == "") || (d.Status == 0) != d.Allow {
			t.Errorf("%s: %+v", c.what, d)
		}
		a.Body = []byte(`{"Image":"a"}`)
		if after := j.Decide(a, w); c.rule != "" && after.Allow {
			t.Errorf("%s: with a body it is let through", c.what)
		}
	}
	a := ask("POST", "/containers/create", "")
	a.ContentType = "multipart/form-data; boundary=x"
	if d := j.Before(a, w); d.Rule != "request-type" {
		t.Errorf("a form: %+v", d)
	}
}

// TestLimit: who asks for little may send little, unless the policy only observes
// how much it is.
func TestLimit(t *testing.T) {
	for uri, want := range map[string]int64{
		"/containers/create": MaxBody, "/containers/a/start": maxNoBody, "/containers/a/update": maxSmallBody, "/secrets/create": maxSwarmBody, "/containers/a/exec": MaxBody, "/exec/a/start": maxSmallBody, "/auth": maxSmallBody,
	} {
		r := route(t, "POST", uri)
		if got := judge(t, "admission: {mode: enforce}\n").Limit(r); got != want {
			t.Errorf("%s: %d, want %d", uri, got, want)
		}
		if got := judge(t, "admission: {mode: observe}\n").Limit(r); got != maxSwarmBody {
			t.Errorf("%s observed: %d", uri, got)
		}
	}
}
