package admission

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"casco/internal/battery"
)

// TestReadOnlyIsDecided: of each endpoint that reads it is known where its
// answer has environment variables, and no other is for who may only look.
func TestReadOnlyIsDecided(t *testing.T) {
	j := judge(t, battery.Policies["base"])
	refused := []string{}
	for _, e := range Endpoints() {
		a := ask(e.Method, strings.NewReplacer("{id}", "web", "{name}", "nginx", "{sub}", "c1").Replace(e.Path), "")
		a.Caller = callerOf("uid:1001")
		if e.of != nil {
			a.Body, a.ContentType = []byte(`{}`), "application/json"
		}
		d := j.Decide(a, host(t, true))
		reads := e.Class == Ping || e.Class == Read
		if _, said := environment[e.String()]; !said && reads {
			refused = append(refused, e.String())
			reads = false
		}
		if d.Allow != reads || !reads && d.Edit != nil {
			t.Errorf("%s: %v %+v", &e, d.Allow, d.Refusals)
		}
	}
	if d := cmp.Diff([]string{"GET /images/{name}/attestations"}, refused); d != "" {
		t.Errorf("reads that who may only look may not do: %s", d)
	}
	known := slices.Collect(func(yield func(string) bool) {
		for _, e := range endpoints {
			if !yield(e.String()) {
				return
			}
		}
	})
	for name := range environment {
		if !slices.Contains(known, name) {
			t.Errorf("%s is no endpoint", name)
		}
	}
}

// TestMasked: who may only look sees the names of environment variables, and all
// else as the engine wrote it, white space and all.
func TestMasked(t *testing.T) {
	j := judge(t, battery.Policies["base"])
	for _, c := range []struct{ what, uri, answer, want string }{
		{
			"a container", "/containers/web/json",
			`{"Id" : "1", "Config":{"Env":["A=s3cret","B=s3cret=x","C"],"Labels":{"Env":"dev","x":"<b>é"}}, "n":1.50,"HostConfig":{"Memory":12345678901234567890}}` + "\n",
			`{"Id" : "1", "Config":{"Env":["A=***","B=***","C"],"Labels":{"Env":"dev","x":"<b>é"}}, "n":1.50,"HostConfig":{"Memory":12345678901234567890}}` + "\n",
		},
		{"without any", "/v1.41/containers/web/json", `{"Config":{"Env":null,"Cmd":["a=b"]}}`, `{"Config":{"Env":null,"Cmd":["a=b"]}}`},
		{
			"an image", "/images/nginx/json",
			`{"Config":{"Env":["A=s3cret"],"OnBuild":["ENV B=s3cret","RUN x"]},"ContainerConfig":{"Env":["A=s3cret"],"Cmd":["/bin/sh","-c","#(nop) ","ENV A=s3cret"]}}`,
			`{"Config":{"Env":["A=***"],"OnBuild":["ENV ***","RUN x"]},"ContainerConfig":{"Env":["A=***"],"Cmd":["***"]}}`,
		},
		{"services", "/services", `[{"Spec":{"TaskTemplate":{"ContainerSpec":{"Env":["A=s3cret"]}}},"PreviousSpec":{"TaskTemplate":{"ContainerSpec":{"Env":["A=s3cret"]}}}}]`, `[{"Spec":{"TaskTemplate":{"ContainerSpec":{"Env":["A=***"]}}},"PreviousSpec":{"TaskTemplate":{"ContainerSpec":{"Env":["A=***"]}}}}]`},
		{
			"plugins", "/plugins", `[{"Config":{"Env":[{"Name":"A","Value":"s3cret","Settable":["value"]}]},"Settings":{"Env":["A=s3cret"]}}]`,
			`[{"Config":{"Env":[{"Name":"A","Value":"***","Settable":["value"]}]},"Settings":{"Env":["A=***"]}}]`,
		},
		{
			"the history of an image", "/images/nginx/history",
			`[{"CreatedBy":"/bin/sh -c #(nop)  ENV A=s3cret"},{"CreatedBy":"ENV A=s3cret B=s3cret"},{"CreatedBy":"ARG A=s3cret"},{"CreatedBy":"RUN |1 A=s3cret /bin/sh -c true # buildkit"},{"CreatedBy":"|2 A=s3cret B=1 /bin/sh -c true"},{"CreatedBy":"RUN /bin/sh -c env # buildkit","Size":3}]`,
			`[{"CreatedBy":"/bin/sh -c #(nop)  ENV ***"},{"CreatedBy":"ENV ***"},{"CreatedBy":"ARG ***"},{"CreatedBy":"RUN |1 ***"},{"CreatedBy":"|2 ***"},{"CreatedBy":"RUN /bin/sh -c env # buildkit","Size":3}]`,
		},
		{"no JSON", "/containers/web/json", `{"Config":{"Env":["A=s3cret"]}`, ""},
		{"two values", "/containers/web/json", `{} {"Config":{"Env":["A=s3cret"]}}`, ""},
		{"a bracket more", "/containers/web/json", `{}]`, ""},
		{"a text", "/containers/web/json", `"A=s3cret"`, ""},
		{"a variable of another form", "/containers/web/json", `{"Env":[["A","s3cret"]]}`, ""},
		{"nothing", "/services", `null`, `null`},
	} {
		a := ask("GET", c.uri, "")
		a.Caller = callerOf("tls:monitor")
		d := j.Decide(a, host(t, true))
		if !d.Allow || d.Edit == nil || d.Edit.Lines {
			t.Errorf("%s: %+v", c.what, d)
			continue
		}
		got, err := answered(d.Edit, host(t, true), c.answer)
		if string(got) != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s: %v\n got %s\nwant %s", c.what, err, got, c.want)
		}
	}
	for _, caller := range []string{"", "tls:another"} {
		a := ask("GET", "/containers/web/json", "")
		if a.Caller = callerOf(caller); caller != "" {
			a.Caller.UID = 1001 // no process of this host has the uid of who comes with a certificate
		}
		if d := j.Decide(a, host(t, true)); !d.Allow || d.Edit != nil {
			t.Errorf("%q: %+v", caller, d)
		}
	}
}

// TestRestricted: what cannot be read is refused to who may see a part, whatever
// the mode; who cannot be told is taken for who may see the least.
func TestRestricted(t *testing.T) {
	const observe = "admission:\n  mode: observe\n  read_only: [\"uid:1001\", \"unit:exporter.service\", \"container:dashboard\"]\n"
	const lax = "admission:\n  mode: enforce\n  rules: {request-field: {mode: observe}}\n  read_only: [\"uid:1001\"]\n"
	for _, c := range []struct {
		what, policy, caller string
		asked                Asked
		allow, edit          bool
	}{
		{"a parameter twice", observe, "uid:1001", ask("GET", "/containers/web/json?size=1&size=1", ""), false, false},
		{"a parameter twice, of another", observe, "", ask("GET", "/containers/web/json?size=1&size=1", ""), true, false},
		{"a field that is not known", observe, "uid:1001", ask("POST", "/containers/create", `{"Image":"nginx","Foo":1}`), false, false},
		{"a lax rule", lax, "uid:1001", ask("POST", "/containers/create", `{"Image":"nginx","Foo":1}`), false, false},
		{"what may have variables anywhere, observed", observe, "uid:1001", ask("GET", "/images/nginx/attestations", ""), true, false},
		{"a unit that has ended", observe, "unit:unknown", ask("GET", "/containers/web/json", ""), true, true},
		{"a container that has ended", observe, "container:unknown", ask("GET", "/containers/web/json", ""), true, true},
	} {
		c.asked.Caller = callerOf(c.caller)
		if d := judge(t, c.policy).Decide(c.asked, host(t, true)); d.Allow != c.allow || (d.Edit != nil) != c.edit {
			t.Errorf("%s: %+v", c.what, d)
		}
	}
	a := ask("GET", "/containers/web/archive?path=/", "")
	a.Caller = callerOf("container:some")
	if d := judge(t, "admission: {mode: enforce}\n").Decide(a, host(t, true)); d.Allow || d.Rule != "caller-container" {
		t.Errorf("a container reads another's files: %+v", d)
	}
}

// FuzzMaskEnv: whatever is let through is JSON without the value, and nothing
// else is lost.
func FuzzMaskEnv(f *testing.F) {
	f.Add(`{"Config":{"Env":["A=s3cret"],"x":[1,{"Env":[{"Value":"s3cret"}]}]}}`)
	f.Add(` [ {"env" :["s3cret"]} ,null]`)
	f.Fuzz(func(t *testing.T, in string) {
		out, err := maskEnv([]byte(in))
		if err != nil {
			return
		}
		if !json.Valid(out) || json.Valid([]byte(in)) != json.Valid(out) {
			t.Fatalf("%q became %q", in, out)
		}
		again, err := maskEnv(out)
		if err != nil || string(again) != string(out) {
			t.Fatalf("%q became %q and then %q: %v", in, out, again, err)
		}
		if !strings.Contains(strings.ToLower(in), "env") && !strings.Contains(in, `\`) && !strings.Contains(strings.ToLower(in), "onbuild") && in != string(out) {
			t.Fatalf("%q became %q", in, out)
		}
	})
}

// TestCallers: whom a policy names is known by all of their groups, and in the user
// namespaces that they make; who cannot be told is taken for who may see the least.
func TestCallers(t *testing.T) {
	for _, c := range []struct {
		readOnly, caller string
		restricted       bool
	}{
		{"uid:1001", "uid:1001", true},
		{"uid:1001", "uid:1002", false},
		{"uid:1001", "userns:1001", true}, // as another user that the kernel gave them
		{"uid:1001", "userns:1002", false},
		{"uid:1001", "userns:unknown", true},
		{"uid:100001", "userns:1002", true},
		{"gid:50", "gid:50", true},
		{"gid:50", "gid:51", false},
		{"gid:50", "userns:1002", true}, // where groups can be laid down
		{"gid:50", "userns:0", false},   // root put it there, with these groups
		{"userns:1001", "userns:1001", true},
		{"userns:1001", "uid:1001", false},
		{"userns:any", "userns:1002", true},
		{"userns:any", "userns:0", true},
		{"userns:any", "userns:unknown", true},
		{"userns:any", "uid:1001", false},
		{"uid:1001", "tls:1001", false},
		{"tls:monitor", "userns:1001", false},
	} {
		a := ask("POST", "/containers/web/start", "")
		a.Caller = callerOf(c.caller)
		d := judge(t, "admission:\n  mode: enforce\n  read_only: [\""+c.readOnly+"\"]\n").Decide(a, host(t, true))
		if d.Allow == c.restricted {
			t.Errorf("read_only: [%s]: %s: %+v", c.readOnly, c.caller, d)
		}
	}
	// Root of the host is not root in a namespace.
	rest := judge(t, "admission:\n  mode: enforce\n  owners: [{id: rest, who: [others], may: [list]}]\n")
	a := ask("POST", "/containers/web/start", "")
	for userns, allow := range map[string]bool{"": true, "0": false, "unknown": false} {
		if a.Caller = (Caller{UID: 0, LoginUID: -1, Userns: userns}); rest.Decide(a, host(t, true)).Allow != allow {
			t.Errorf("user 0 in a namespace of %q", userns)
		}
	}
}
