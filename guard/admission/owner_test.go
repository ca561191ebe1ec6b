package admission

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"casco/loop/inventory"
	"casco/policy"
)

const owners = `admission:
  mode: enforce
  owners:
    - {id: alice, who: ["uid:2001", "tls:alice"]}
    - {id: bob, who: ["gid:2002", "container:dashboard"], of: [{project: bobshop}, {name: "bob-*"}]}
    - {id: watch, who: ["uid:2003"], of: [{tier: public}, {label: {v: "1"}}], may: [list, inspect]}
    - {id: bobsimages, who: ["gid:2002"], may: [images]}
    - {id: rest, who: [others], may: [list]}
`

func fromJSON(t testing.TB, text string) any {
	t.Helper()
	tree, err := parseJSON([]byte(text))
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return plainJSON(tree)
}

// estate is a host with things of alice's and of bob's.
func estate(t testing.TB) world {
	t.Helper()
	w := host(t, true)
	w.gets = map[string]any{}
	var all []string
	for _, who := range []string{"alice", "bob"} {
		x := who[:1]
		label := `{"casco.owner":"` + who + `"}`
		add := func(k inventory.Kind, name, fields string) {
			w.s.Add(&inventory.Object{Ref: inventory.Ref{Kind: k, Name: name}, Source: "test", Read: now, Fields: fromJSON(t, fields).(map[string]any)})
		}
		add(inventory.Container, x+"1", `{"Id":"`+x+`1id","Name":"/`+x+`1","Image":"a11ca11ca11ca11c","Config":{"User":"1","Labels":`+label+`},"HostConfig":{},"Mounts":[],"NetworkSettings":{"Networks":{"`+x+`net":{}}},"State":{"Running":true}}`)
		add(inventory.Network, x+"net", `{"Id":"`+x+`netid","Name":"`+x+`net","Labels":`+label+`}`)
		add(inventory.Volume, x+"vol", `{"Name":"`+x+`vol","Labels":`+label+`}`)
		add(inventory.Volume, x+"anon", `{"Name":"`+x+`anon","Labels":null}`)
		w.gets["/exec/"+x+"exec/json"] = fromJSON(t, `{"ContainerID":"`+x+`1id"}`)
		w.gets["/services/"+x+"svc"] = fromJSON(t, `{"ID":"`+x+`svcid","Spec":{"Name":"`+x+`svc","Labels":`+label+`}}`)
		w.gets["/services/"+x+"svcid"] = w.gets["/services/"+x+"svc"]
		w.gets["/tasks/"+x+"task"] = fromJSON(t, `{"ID":"`+x+`task","ServiceID":"`+x+`svcid","Spec":{}}`)
		w.gets["/secrets/"+x+"sec"] = fromJSON(t, `{"ID":"`+x+`secid","Spec":{"Name":"`+x+`sec","Labels":`+label+`}}`)
		w.gets["/configs/"+x+"cfg"] = fromJSON(t, `{"ID":"`+x+`cfgid","Spec":{"Name":"`+x+`cfg","Labels":`+label+`}}`)
		all = append(all, `{"Id":"`+x+`1id","Names":["/`+x+`1"],"Image":"app","Labels":`+label+`,"NetworkSettings":{"Networks":{"`+x+`net":{}}},"Mounts":[{"Type":"volume","Name":"`+x+`anon"}]}`)
	}
	w.gets["/containers/json?all=1"] = fromJSON(t, "["+strings.Join(all, ",")+"]")
	w.gets["/networks"] = fromJSON(t, `[{"Id":"anetid","Name":"anet","Labels":{"casco.owner":"alice"}},{"Id":"gonenet","Name":"gone","Labels":{"casco.owner":"alice"}},{"Id":"bnetid","Name":"bnet","Labels":{"casco.owner":"bob"}}]`)
	w.gets["/volumes"] = fromJSON(t, `{"Volumes":[{"Name":"gonevol","Labels":{"casco.owner":"alice"}}]}`)
	w.s.Sort()
	return w
}

func from(who string, a Asked) Asked {
	a.Caller = Caller{UID: 2001, GID: 1, LoginUID: -1, Via: "/run/docker.sock"}
	switch who {
	case "bob":
		a.Caller.UID, a.Caller.GID = 5, 2002
	case "watch":
		a.Caller.UID = 2003
	case "rest":
		a.Caller.UID = 7
	case "root":
		a.Caller.UID = 0
	}
	return a
}

// named are names of what is alice's and bob's, of each kind, behind their letter.
var named = map[kind]string{aContainer: "1", anExec: "exec", aNetwork: "net", aVolume: "vol", aService: "svc", aTask: "task", aSecret: "sec", aConfig: "cfg"}

// TestOwnersEverywhere: each endpoint has an answer for what is not the caller's,
// which is the one for what is not there; and none stands in the way of what is.
func TestOwnersEverywhere(t *testing.T) {
	j, w := judge(t, owners), estate(t)
	known := map[string]bool{}
	for _, e := range Endpoints() {
		n, has := needs[e.String()]
		known[e.String()] = true
		if !has || !slices.Contains(append([]string{open, never}, policy.Verbs...), n.verb) {
			t.Errorf("%s: nobody says what it needs: %+v", &e, n)
			continue
		}
		request := func(x string) Asked {
			id := x + named[n.of]
			if n.of == anImage || n.of == theEngine {
				id = "nginx"
			}
			body := ""
			if e.of != nil {
				if body = `{"Image":"nginx"}`; e.of.Kind().String() == "slice" {
					body = `[]`
				} else if e.of != createRequest {
					body = `{}`
				}
			}
			a := ask(e.Method, strings.NewReplacer("{id}", id, "{name}", id, "{sub}", "c1").Replace(e.Path), body)
			if strings.HasSuffix(e.Path, "connect") {
				a = ask(e.Method, a.URI, `{"Container":"a1"}`)
			}
			return from("alice", a)
		}
		owner := func(d Decision) bool {
			return slices.ContainsFunc(d.Refusals, func(r Refusal) bool { return r.Rule == ownerRule })
		}
		theirs, others, none := j.Decide(request("a"), w), j.Decide(request("b"), w), j.Decide(request("z"), w)
		switch {
		case n.verb == open:
			plugins := n.of == theEngine && environment[e.String()] == fields
			if owner(theirs) || (theirs.Edit != nil) != plugins {
				t.Errorf("%s is everybody's: %+v", &e, theirs)
			}
		case n.verb == never, n.verb == policy.Bring:
			if theirs.Allow || theirs.Status != 403 || !owner(theirs) {
				t.Errorf("%s is for nobody who has only some: %+v", &e, theirs)
			}
		case strings.Contains(e.Path, "{id}"):
			if others.Allow || others.Status != 404 || len(others.Refusals) != 1 || !strings.Contains(others.Says, "b"+named[n.of]) {
				t.Errorf("%s of another's: %+v", &e, others)
			}
			if none.Allow || none.Status != 404 || strings.ReplaceAll(none.Says, "z"+named[n.of], "b"+named[n.of]) != others.Says {
				t.Errorf("%s of what is not there: %+v, of another's %+v", &e, none, others)
			}
			if owner(theirs) || theirs.Says != "" {
				t.Errorf("%s of their own: %+v", &e, theirs)
			}
			if uri := theirs.Route.URI(); theirs.Allow && n.of != anExec && n.of != aTask && n.of != aVolume && !strings.Contains(uri, "a"+named[n.of]+"id") {
				t.Errorf("%s: the engine is asked for a name: %s", &e, uri)
			}
		case n.verb == policy.List:
			if !theirs.Allow || theirs.Edit == nil {
				t.Errorf("%s: its answer is not changed: %+v", &e, theirs)
			}
		case e.Class == Prune:
			if q := theirs.Route.Query.Get("filters"); !theirs.Allow || q != `{"label":["casco.owner=alice"]}` {
				t.Errorf("%s: %s %+v", &e, q, theirs)
			}
		case n.verb == policy.Create:
			if !strings.Contains(string(theirs.Forward), `"casco.owner":"alice"`) || owner(theirs) {
				t.Errorf("%s: what is created is not theirs: %s %+v", &e, theirs.Forward, theirs.Refusals)
			}
		case n.verb == policy.Copy && n.of == anImage:
			if owner(theirs) {
				t.Errorf("%s: %+v", &e, theirs.Refusals)
			}
		default:
			t.Errorf("%s: %+v is not tested", &e, n)
		}
		// Who may only list sees no more by any other way.
		if d := j.Decide(from("rest", request("a")), w); n.verb != open && n.verb != policy.List && d.Allow {
			t.Errorf("%s: who may list may do it", &e)
		}
		if d := j.Decide(from("root", request("b")), w); owner(d) || d.Edit != nil || d.Says != "" {
			t.Errorf("%s: root is kept from it: %+v", &e, d)
		}
	}
	for name := range needs {
		if !known[name] {
			t.Errorf("%s is no endpoint", name)
		}
	}
}

// TestOwners: who may do what with what.
func TestOwners(t *testing.T) {
	j, w := judge(t, owners), estate(t)
	observe := judge(t, strings.Replace(owners, "enforce", "observe", 1))
	for _, c := range []struct {
		what, who, method, uri, body string
		want                         string // status and words of the refusal, or what is passed on
	}{
		{"by the start of its ID, as the engine finds it", "alice", "POST", "/containers/a1id/stop", "", "POST /containers/a1id/stop"},
		{"by its name", "alice", "POST", "/containers/a1/kill?signal=9", "", "POST /containers/a1id/kill?signal=9"},
		{"another's, to watch", "watch", "GET", "/containers/web/json", "", "GET /containers/webwebwebweb/json"},
		{"what one may see one may not change", "watch", "POST", "/containers/web/kill", "", `403 not to do change with`},
		{"what is of another tier is not there", "watch", "GET", "/containers/db/json", "", "404 No such container: db"},
		{"by its project", "bob", "GET", "/containers/a1/json", "", "404 No such container: a1"},
		{"in a container by its ID", "bob", "GET", "/containers/b1/json", "", "GET /containers/b1id/json"},
		{"to join its network", "alice", "POST", "/containers/create", `{"Image":"nginx","HostConfig":{"NetworkMode":"container:b1"}}`, `403 container "b1" is not`},
		{"to join its processes", "alice", "POST", "/containers/create", `{"Image":"nginx","HostConfig":{"PidMode":"container:b1id"}}`, `403 container "b1id" is not`},
		{"its volumes", "alice", "POST", "/containers/create", `{"Image":"nginx","HostConfig":{"VolumesFrom":["b1:ro"]}}`, `403 container "b1" is not`},
		{"a link", "alice", "POST", "/containers/create", `{"Image":"nginx","HostConfig":{"Links":["/b1:db"]}}`, `403 container "b1" is not`},
		{"a link on a network", "alice", "POST", "/containers/create", `{"Image":"nginx","NetworkingConfig":{"EndpointsConfig":{"anet":{"Links":["b1:db"]}}}}`, `403 container "b1" is not`},
		{"its network", "alice", "POST", "/containers/create", `{"Image":"nginx","HostConfig":{"NetworkMode":"bnet"}}`, `403 network "bnet" is not`},
		{"its network by another key", "alice", "POST", "/containers/create", `{"Image":"nginx","NetworkingConfig":{"EndpointsConfig":{"anet":{"NetworkID":"bnetid"}}}}`, `403 network "bnetid" is not`},
		{"its volume", "alice", "POST", "/containers/create", `{"Image":"nginx","HostConfig":{"Binds":["bvol:/v"]}}`, `403 the volume "bvol"`},
		{"its volume as a mount", "alice", "POST", "/containers/create", `{"Image":"nginx","HostConfig":{"Mounts":[{"Type":"volume","Source":"banon","Target":"/v"}]}}`, `403 the volume "banon"`},
		{"a volume that nobody uses", "alice", "POST", "/containers/create", `{"Image":"nginx","HostConfig":{"Binds":["cache:/v"]}}`, `403 the volume "cache"`},
		{"its name", "alice", "POST", "/containers/create?name=b1", `{"Image":"nginx"}`, `409 the name "b1" is taken`},
		{"a name that would be another's", "alice", "POST", "/containers/create?name=bob-2", `{"Image":"nginx"}`, "403 it would be bob's"},
		{"a project that would be another's", "alice", "POST", "/containers/create", `{"Image":"nginx","Labels":{"com.docker.compose.project":"bobshop"}}`, "403 it would be bob's"},
		{"one's own project", "bob", "POST", "/containers/create", `{"Image":"nginx","Labels":{"com.docker.compose.project":"bobshop"}}`, `{"Image":"nginx","Labels":{"casco.owner":"bob","com.docker.compose.project":"bobshop"}}`},
		{"another's label", "alice", "POST", "/containers/create", `{"Image":"nginx","Labels":{"casco.owner":"bob"}}`, "403 not this caller's to give"},
		{"one's own label", "alice", "POST", "/containers/create", `{"Image":"nginx","Labels":{"casco.owner":"alice"}}`, `{"Image":"nginx","Labels":{"casco.owner":"alice"}}`},
		{
			"volumes that are made with it", "alice", "POST", "/containers/create", `{"Image":"nginx","HostConfig":{"Binds":["new:/v:ro,nocopy","avol:/w","/srv/data:/d"],"Mounts":[{"Type":"volume","Source":"new2","Target":"/x"},{"Type":"volume","Target":"/y"}]}}`,
			`{"HostConfig":{"Binds":["avol:/w","/srv/data:/d"],"Mounts":[{"Source":"new2","Target":"/x","Type":"volume","VolumeOptions":{"Labels":{"casco.owner":"alice"}}},{"Target":"/y","Type":"volume"},` +
				`{"ReadOnly":true,"Source":"new","Target":"/v","Type":"volume","VolumeOptions":{"Labels":{"casco.owner":"alice"},"NoCopy":true}}]},"Image":"nginx","Labels":{"casco.owner":"alice"}}`,
		},
		{"a volume that a mount cannot say", "alice", "POST", "/containers/create", `{"Image":"nginx","HostConfig":{"Binds":["new:/v:Z"]}}`, "403 docker volume create --label casco.owner=alice new"},
		{"to rename to another's", "alice", "POST", "/containers/a1/rename?name=b1", "", `409 the name "b1" is taken`},
		{"to rename into another's", "alice", "POST", "/containers/a1/rename?name=bob-9", "", "403 it would be bob's"},
		{"a command that another's runs", "alice", "POST", "/exec/bexec/start", `{}`, "404 No such exec instance: bexec"},
		{"one's own command", "alice", "POST", "/exec/aexec/start", `{}`, `{}`},
		{"to connect another's", "alice", "POST", "/networks/anet/connect", `{"Container":"b1"}`, `403 container "b1" is not`},
		{"to connect to another's", "alice", "POST", "/networks/bnet/connect", `{"Container":"a1"}`, "404 network bnet not found"},
		{"to disconnect another's", "alice", "POST", "/networks/bridge/disconnect", `{"Container":"b1","Force":true}`, `403 container "b1" is not`},
		{"the engine's own network", "alice", "DELETE", "/networks/bridge", "", "403 not to do delete with"},
		{"a network like another's", "alice", "POST", "/networks/create", `{"Name":"net9","ConfigOnly":false,"ConfigFrom":{"Network":"bnet"}}`, `403 network "bnet" is not`},
		{"a network with its name", "alice", "POST", "/networks/create", `{"Name":"bnet"}`, `409 the name "bnet" is taken`},
		{"a volume that is there", "alice", "POST", "/volumes/create", `{"Name":"bvol"}`, `409 the name "bvol" is taken`},
		{"a volume that only they use", "alice", "DELETE", "/volumes/aanon", "", "DELETE /volumes/aanon"},
		{"a volume that only another uses", "alice", "GET", "/volumes/banon", "", "404 get banon: no such volume"},
		{"containers since another's", "alice", "GET", `/containers/json?filters={"since":["b1"]}`, "", `403 container "b1" is not`},
		{"and of an old client", "alice", "GET", `/containers/json?filters={"before":{"b1":true}}`, "", `403 container "b1" is not`},
		{"the last two", "alice", "GET", "/containers/json?limit=2", "", "GET /containers/json?all=1"},
		{"tasks of another's", "alice", "GET", `/tasks?filters={"service":["bsvc"]}`, "", `403 service "bsvc" is not`},
		{"filters that are none", "alice", "GET", `/containers/json?filters=x`, "", "403 filters are not understood"},
		{"a service with another's secret", "alice", "POST", "/services/create", `{"Name":"s9","TaskTemplate":{"ContainerSpec":{"Image":"nginx","Secrets":[{"SecretID":"bsec"}]}}}`, `403 secret "bsec" is not`},
		{"with its configuration", "alice", "POST", "/services/create", `{"Name":"s9","TaskTemplate":{"ContainerSpec":{"Image":"nginx","Configs":[{"ConfigID":"bcfg"}]}}}`, `403 config "bcfg" is not`},
		{"with its network", "alice", "POST", "/services/create", `{"Name":"s9","TaskTemplate":{"ContainerSpec":{"Image":"nginx"},"Networks":[{"Target":"bnetid"}]}}`, `403 network "bnetid" is not`},
		{"with its volume", "alice", "POST", "/services/create", `{"Name":"s9","TaskTemplate":{"ContainerSpec":{"Image":"nginx","Mounts":[{"Type":"volume","Source":"bvol","Target":"/x"}]}}}`, `403 the volume "bvol"`},
		{"a service's label stays", "alice", "POST", "/services/asvc/update?version=1", `{"Name":"asvc","TaskTemplate":{"ContainerSpec":{"Image":"nginx"}}}`, `{"Labels":{"casco.owner":"alice"},"Name":"asvc","TaskTemplate":{"ContainerSpec":{"Image":"nginx","Labels":{"casco.owner":"alice"}}}}`},
		{"and is not changed", "alice", "POST", "/services/asvc/update?version=1", `{"Name":"asvc","Labels":{"casco.owner":"bob"},"TaskTemplate":{"ContainerSpec":{"Image":"nginx"}}}`, "403 must stay as it is"},
		{"an image of another's container", "bob", "POST", "/commit?container=a1", "", `403 container "a1" is not`},
		{"a build on another's network", "bob", "POST", "/build?networkmode=anet", "", `403 network "anet" is not`},
		{"images, with leave", "bob", "POST", "/images/create?fromImage=nginx&tag=1", "", "POST /images/create?fromImage=nginx&tag=1"},
		{"images, without", "alice", "POST", "/images/create?fromImage=nginx&tag=1", "", "403 images are everybody's"},
		{"all of it", "alice", "POST", "/swarm/leave", "", "403 all that the engine has"},
	} {
		a := ask(c.method, strings.NewReplacer("{", "%7B", "}", "%7D", `"`, "%22", "[", "%5B", "]", "%5D").Replace(c.uri), c.body)
		d := j.Decide(from(c.who, a), w)
		got := d.Route.Method + " " + d.Route.URI()
		switch {
		case !d.Allow:
			r := d.Refusals[0]
			got = fmt.Sprint(d.Status, " ", d.Says, r.Reason.En, " ", r.Fix.En)
		case c.body != "":
			got = string(d.Forward)
		}
		if status, words, _ := strings.Cut(c.want, " "); got != c.want && (d.Allow || !strings.HasPrefix(got, status) || !strings.Contains(got, words)) {
			t.Errorf("%s: got %s\nwant %s\n%+v", c.what, got, c.want, d.Refusals)
		}
		// What only observes keeps nobody from anything, and changes nothing.
		o := observe.Decide(from(c.who, a), w)
		if !o.Allow || o.Edit != nil || o.Says != "" || strings.Contains(string(o.Forward), "casco.owner") && !strings.Contains(c.body, "casco.owner") {
			t.Errorf("%s: observing: %+v %s", c.what, o, o.Forward)
		}
	}
	image := inventory.Object{Ref: inventory.Ref{Kind: inventory.Image, Name: "hers:1"}, Fields: fromJSON(t, `{"Id":"hers","RepoTags":["hers:1"],"Config":{"Labels":{"casco.owner":"alice"}}}`).(map[string]any)}
	w.s.Add(&image)
	w.s.Sort()
	for body, rule := range map[string]string{`{"Image":"hers:1"}`: "label", `{"Image":"hers:1","Labels":{"casco.owner":"bob"}}`: ""} {
		if d := j.Decide(from("root", ask("POST", "/containers/create", body)), w); d.Rule != rule {
			t.Errorf("root creates %s: %q %+v", body, d.Rule, d.Refusals)
		}
	}
	if d := j.Decide(from("bob", ask("POST", "/containers/create", `{"Image":"hers:1"}`)), w); !strings.Contains(string(d.Forward), `"casco.owner":"bob"`) {
		t.Errorf("%s %+v", d.Forward, d.Refusals)
	}
}

// TestOwnersClaim: of two who would make a volume of one name at a time only the
// first may; and nobody's data ends in a volume that another made for it.
func TestOwnersClaim(t *testing.T) {
	j, w := judge(t, owners), estate(t)
	asks := func(who string, after time.Duration, uri, body string) Decision {
		a := from(who, ask("POST", uri, body))
		a.At = now.Add(after)
		return j.Decide(a, w)
	}
	const run = `{"Image":"nginx","HostConfig":{"Binds":["data:/d"]}}`
	for _, c := range []struct {
		who       string
		after     time.Duration
		uri, body string
		allow     bool
	}{
		{"bob", 0, "/containers/create", run, true},
		{"alice", time.Second, "/volumes/create", `{"Name":"data"}`, false},
		{"alice", time.Second, "/containers/create", run, false},
		{"alice", time.Second, "/containers/create", `{"Image":"nginx","HostConfig":{"Mounts":[{"Type":"volume","Source":"data","Target":"/d"}]}}`, false},
		{"alice", time.Second, "/services/create", `{"Name":"s9","TaskTemplate":{"ContainerSpec":{"Image":"nginx","Mounts":[{"Type":"volume","Source":"data","Target":"/x"}]}}}`, false},
		{"bob", 2 * time.Second, "/volumes/create", `{"Name":"data"}`, true},
		{"alice", claimFor + 3*time.Second, "/volumes/create", `{"Name":"data"}`, true},
		{"bob", claimFor + 3*time.Second, "/containers/create", run, false},
		{"root", 0, "/containers/create", `{"Image":"nginx","HostConfig":{"Binds":["avol:/d"]}}`, false},
		{"root", 0, "/services/create", `{"Name":"s9","TaskTemplate":{"ContainerSpec":{"Image":"nginx","Mounts":[{"Type":"volume","Source":"avol","Target":"/x"}]}}}`, false},
		{"root", 0, "/containers/create", `{"Image":"nginx","Labels":{"casco.owner":"alice"},"HostConfig":{"Binds":["avol:/d"]}}`, true},
		{"root", 0, "/containers/create", `{"Image":"nginx","HostConfig":{"Binds":["cache:/d"]}}`, true},
	} {
		if d := asks(c.who, c.after, c.uri, c.body); d.Allow != c.allow || !c.allow && d.Rule != ownerRule {
			t.Errorf("%s after %v: %s %s: %+v", c.who, c.after, c.uri, c.body, d)
		}
	}
}

// TestOwnersAtThePlugin: it can neither label what is made nor limit what is
// deleted, and knows nobody but by a certificate.
func TestOwnersAtThePlugin(t *testing.T) {
	j, w := judge(t, owners), estate(t)
	plugin := func(tls string, a Asked) Decision {
		a.Caller = Caller{UID: ^uint32(0), GID: ^uint32(0), LoginUID: -1, TLSName: tls, Via: viaPlugin}
		return j.Decide(a, w)
	}
	for _, body := range []string{`{"Image":"nginx"}`, `{"Image":"nginx","Labels":{"casco.owner":"alice"},"HostConfig":{"Binds":["new:/v"]}}`} {
		if d := plugin("alice", ask("POST", "/containers/create", body)); d.Allow || !strings.Contains(d.Refusals[0].Fix.En, "casco.owner=alice") {
			t.Errorf("%s: %+v", body, d)
		}
	}
	if d := plugin("alice", ask("POST", "/containers/create", `{"Image":"nginx","Labels":{"casco.owner":"alice"}}`)); !d.Allow {
		t.Errorf("%+v", d)
	}
	if d := plugin("alice", ask("POST", "/volumes/prune", "")); d.Allow {
		t.Errorf("%+v", d)
	}
	if d := plugin("", ask("GET", "/containers/b1/json", "")); !d.Allow || d.Edit != nil {
		t.Errorf("who came by the engine's own socket, perhaps through the door: %+v", d)
	}
	// Who has two entries uses what is theirs by the other: the door knew, the plugin
	// believes it, and asks who comes by another way.
	a := ask("POST", "/containers/create", `{"Image":"nginx","Labels":{"casco.owner":"alice"},"HostConfig":{"Binds":["bvol:/v"]}}`)
	if d := plugin("", a); d.Allow || d.Rule != "caller-owner" {
		t.Errorf("another's volume: %+v", d)
	}
	a.Caller = Caller{UID: ^uint32(0), GID: ^uint32(0), LoginUID: -1, Via: viaPlugin, Passed: true}
	if d := j.Decide(a, w); !d.Allow {
		t.Errorf("another's volume, which the door let pass: %+v", d)
	}
	if d := plugin("carol", ask("GET", "/containers/json", "")); !d.Allow || d.Edit == nil {
		t.Errorf("a certificate that no entry names: %+v", d)
	}
}

// answered is an answer as its Edit leaves it, by the element if that is how it
// wants it, as a door gives it.
func answered(e *Edit, w World, answer string) ([]byte, error) {
	if !e.Elements {
		return e.Do(w, []byte(answer))
	}
	var items []json.RawMessage
	switch err := json.Unmarshal([]byte(answer), &items); {
	case err != nil:
		return nil, err
	case items == nil:
		return []byte("null"), nil
	}
	parts := [][]byte{}
	for _, item := range items {
		b, err := e.Do(w, item)
		if err != nil {
			return nil, err
		}
		if len(b) > 0 {
			parts = append(parts, b)
		}
	}
	return slices.Concat([]byte("["), bytes.Join(parts, []byte(",")), []byte("]")), nil
}

// TestOwnersSee: lists, sums, networks and events have what is the caller's, as
// the engine wrote it.
func TestOwnersSee(t *testing.T) {
	j, w := judge(t, owners), estate(t)
	const (
		a1 = `{"Id": "a1id","Names":["/b1/link","/a1"],"Labels":{"casco.owner":"alice"},"n":1.50}`
		b1 = `{"Id":"b1id","Names":["/b1"],"Labels":{"casco.owner":"bob"}}`
		b2 = `{"Id":"b2id","Names":["/bob-2"],"Labels":null}`
		dm = `{"Id":"webid","Names":["/web9"],"Labels":{},"NetworkSettings":{"Networks":{"dmz":{}}}}`
	)
	for _, c := range []struct{ what, who, uri, answer, want string }{
		{"containers", "alice", "/containers/json", "[" + a1 + ", " + b1 + "," + b2 + "," + dm + "]\n", "[" + a1 + "]"},
		{"of bob", "bob", "/containers/json", "[" + a1 + "," + b1 + "," + b2 + "]", "[" + b1 + "," + b2 + "]"},
		{"of who watches", "watch", "/containers/json", "[" + a1 + "," + b1 + "," + dm + "]", "[" + dm + "]"},
		{"the last one", "bob", "/containers/json?limit=1", "[" + a1 + "," + b1 + "," + b2 + "]", "[" + b1 + "]"},
		{"none", "alice", "/containers/json", "[" + b1 + "]", "[]"},
		{"nothing", "alice", "/services", "null", "null"},
		{"networks", "alice", "/networks", `[{"Name":"bridge","Id":"x"},{"Name":"anet","Labels":{"casco.owner":"alice"}},{"Name":"bnet","Labels":{"casco.owner":"bob"}}]`, `[{"Name":"bridge","Id":"x"},{"Name":"anet","Labels":{"casco.owner":"alice"}}]`},
		{"volumes", "alice", "/volumes", `{"Volumes":[{"Name":"avol","Labels":{"casco.owner":"alice"}},{"Name":"bvol","Labels":{"casco.owner":"bob"}},{"Name":"aanon","Labels":null},{"Name":"banon"},{"Name":"idle"}],"Warnings":null}`, `{"Volumes":[{"Name":"avol","Labels":{"casco.owner":"alice"}},{"Name":"aanon","Labels":null}],"Warnings":null}`},
		{"services", "alice", "/services", `[{"ID":"x","Spec":{"Name":"s","Labels":{"casco.owner":"alice"}}},{"ID":"y","Spec":{"Name":"s2"}}]`, `[{"ID":"x","Spec":{"Name":"s","Labels":{"casco.owner":"alice"}}}]`},
		{"tasks", "alice", "/tasks", `[{"ID":"x","ServiceID":"asvcid"},{"ID":"y","ServiceID":"bsvcid"},{"ID":"z"}]`, `[{"ID":"x","ServiceID":"asvcid"}]`},
		{"secrets", "bob", "/secrets", `[{"ID":"x","Spec":{"Name":"bob-1"}},{"ID":"y","Spec":{"Name":"a"}}]`, `[{"ID":"x","Spec":{"Name":"bob-1"}}]`},
		{"the disk", "alice", "/system/df", `{"LayersSize":5,"Images":[{"Id":"i"}],"Containers":[` + a1 + `,` + b1 + `],"Volumes":[{"Name":"bvol","Labels":{"casco.owner":"bob"}}],"BuildCache":[{"ID":"c"}],"BuilderSize":7,"New":[1]}`, `{"LayersSize":5,"Images":[{"Id":"i"}],"Containers":[` + a1 + `],"Volumes":[],"BuilderSize":0}`},
		{"a network", "alice", "/networks/bridge", `{"Name":"bridge","Containers":{"a1id":{"Name":"a1"},"b1id":{"Name":"b1"}},"Services":{"x":{}},"Labels":{}}`, `{"Name":"bridge","Containers":{"a1id":{"Name":"a1"}},"Labels":{}}`},
		{
			"networks before API 1.28", "alice", "/networks",
			`[{"Name":"bridge","Containers":{"a1id":{"Name":"a1"},"b1id":{"Name":"b1"}},"Services":{"x":{}}}]`, `[{"Name":"bridge","Containers":{"a1id":{"Name":"a1"}}}]`,
		},
		{"another form", "alice", "/containers/json", `{"Containers":[]}`, ""},
		{"elements of another form", "alice", "/containers/json", `["b1"]`, ""},
		{"half", "alice", "/containers/json", "[" + a1 + ",", ""},
	} {
		d := j.Decide(from(c.who, ask("GET", c.uri, "")), w)
		if !d.Allow || d.Edit == nil || d.Edit.Lines {
			t.Errorf("%s: %+v", c.what, d)
			continue
		}
		got, err := answered(d.Edit, w, c.answer)
		if string(got) != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s: %v\n got %s\nwant %s", c.what, err, got, c.want)
		}
	}
	both := judge(t, strings.Replace(owners, "  owners:", "  read_only: [\"uid:2001\"]\n  owners:", 1))
	d := both.Decide(from("alice", ask("GET", "/services", "")), w)
	got, err := answered(d.Edit, w, `[{"Spec":{"Name":"s","Labels":{"casco.owner":"alice"},"TaskTemplate":{"ContainerSpec":{"Env":["A=s3cret"]}}}},{"Spec":{"Name":"b"}}]`)
	if err != nil || string(got) != `[{"Spec":{"Name":"s","Labels":{"casco.owner":"alice"},"TaskTemplate":{"ContainerSpec":{"Env":["A=***"]}}}}]` {
		t.Errorf("who may only look, at their own: %s %v", got, err)
	}
	if d := both.Decide(from("alice", ask("GET", "/containers/b1/export", "")), w); d.Status != 404 || d.Says != "No such container: b1" {
		t.Errorf("who may only look, at another's: %+v", d)
	}
}

// TestOwnersEvents: an event is for whom the thing is that it tells of, also when
// that is gone.
func TestOwnersEvents(t *testing.T) {
	j, w := judge(t, owners), estate(t)
	line := func(kind, action, id, attributes string) string {
		return fmt.Sprintf(`{"status":%q,"Type":%q,"Action":%q,"Actor":{"ID":%q,"Attributes":{%s}},"time":1}`, action, kind, action, id, attributes)
	}
	var got, want []string
	for who, lines := range map[string]map[string]bool{"alice": {
		line("container", "exec_create: sh -c x", "a1id", `"name":"a1","casco.owner":"alice"`):        true,
		line("container", "destroy", "gone1", `"name":"old","casco.owner":"alice"`):                   true,
		line("container", "destroy", "gone2", `"name":"old","casco.owner":"bob"`):                     false,
		line("network", "connect", "bridgebridge", `"name":"bridge","container":"b1id"`):              false,
		line("network", "connect", "bridgebridge", `"name":"bridge","container":"a1id"`):              true,
		line("network", "connect", "anetid", `"name":"anet","container":"nobody"`):                    false,
		line("network", "destroy", "gonenet", `"name":"gone","type":"bridge"`):                        true,
		line("network", "destroy", "gonenet2", `"name":"gone","type":"bridge"`):                       false,
		line("volume", "destroy", "gonevol", `"driver":"local"`):                                      true,
		line("volume", "mount", "bvol", `"container":"b1id","driver":"local"`):                        false,
		line("volume", "create", "bvol", `"driver":"local"`):                                          false,
		line("image", "pull", "nginx:latest", `"name":"nginx"`):                                       true,
		line("service", "update", "asvcid", `"name":"asvc"`):                                          true,
		line("service", "update", "bsvcid", `"name":"bsvc"`):                                          false,
		line("daemon", "reload", "x", ``):                                                             false,
		line("builder", "prune", "x", ``):                                                             false,
		line("new", "new", "a1id", `"casco.owner":"alice"`):                                           false,
		"\x1e" + line("container", "die", "a1id", `"name":"a1","exitCode":"0","casco.owner":"alice"`): true,
		"": false,
	}, "watch": {
		line("container", "die", "webwebwebweb", `"name":"web"`):   true, // of its tier, by its network
		line("container", "die", "dbdbdbdbdbdb", `"name":"db"`):    false,
		line("container", "die", "gone5", `"name":"web9","v":"1"`): true,
	}, "bob": {
		line("container", "destroy", "gone3", `"name":"bob-7"`):                                    true,
		line("container", "destroy", "gone4", `"name":"x","com.docker.compose.project":"bobshop"`): true,
		line("container", "die", "a1id", `"name":"a1","casco.owner":"alice"`):                      false,
		line("secret", "create", "nosuch", `"name":"bob-1"`):                                       false,
	}} {
		d := j.Decide(from(who, ask("GET", "/events", "")), w)
		if !d.Allow || d.Edit == nil || !d.Edit.Lines {
			t.Fatalf("%+v", d)
		}
		for l, shown := range lines {
			out, err := d.Edit.Do(w, []byte(l))
			if err != nil {
				t.Errorf("%s: %v", l, err)
			}
			if got = append(got, string(out)); !shown {
				l = ""
			}
			want = append(want, l)
		}
		if _, err := d.Edit.Do(w, []byte(`{"Type":`)); err == nil {
			t.Error("half an event is passed on")
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestEventsRemember: a stream keeps little of what it has told of, and nothing of
// what is gone or is others'.
func TestEventsRemember(t *testing.T) {
	j, w := judge(t, owners), estate(t)
	d := j.Decide(from("alice", ask("GET", "/events", "")), w)
	for i := range 3 * maxRecalled {
		for _, owner := range []string{"alice", "bob"} {
			line := fmt.Sprintf(`{"Type":"container","Action":"start","Actor":{"ID":"%s%d","Attributes":{"name":"c%d","image":"a","casco.owner":"%s"}}}`, owner, i, i, owner)
			out, err := d.Edit.Do(w, []byte(line))
			if err != nil || (len(out) > 0) != (owner == "alice") {
				t.Fatalf("%s: %q %v", line, out, err)
			}
		}
	}
	known := recalled{}
	v := &view{Judge: j, owners: j.policy.Admission.Owners[:1], world: w} // alice's
	for i := range 3 * maxRecalled {
		for _, owner := range []string{"alice", "bob"} {
			e := event{Type: "container", Action: "start"}
			e.Actor.ID, e.Actor.Attributes = fmt.Sprint(owner, i), map[string]string{"name": "c", "casco.owner": owner}
			v.shows(e, known)
		}
	}
	if len(known) > maxRecalled {
		t.Errorf("%d are remembered", len(known))
	}
}

// TestClaims: a name that is being made is its owner's for a while; who makes many
// up keeps others from none, and is reckoned with in no time.
func TestClaims(t *testing.T) {
	var c claims
	if !c.keep("v", "alice", now) || c.keep("v", "bob", now) || !c.keep("v", "alice", now.Add(9*time.Second)) || c.keep("v", "bob", now.Add(12*time.Second)) || !c.keep("v", "bob", now.Add(20*time.Second)) {
		t.Errorf("%+v", c.names)
	}
	later := now.Add(time.Hour)
	kept := 0
	for i := range 5 * maxClaims {
		if c.keep(fmt.Sprint("m", i), "mallory", later) {
			kept++
		}
	}
	if kept != maxClaimsEach || !c.keep("w", "alice", later) {
		t.Errorf("%d of one owner are kept", kept)
	}
	for range 5 * maxClaims { // the same again and again takes no more
		c.keep("w", "alice", later)
	}
	if len(c.order) > maxClaimsEach+1 || !c.keep("x", "mallory", later.Add(time.Minute)) || len(c.names) != 1 || len(c.order) != 1 || len(c.owners) != 1 {
		t.Errorf("what is over is remembered: %d names, %d in order, %v", len(c.names), len(c.order), c.owners)
	}
}

// FuzzOwnersList: what is passed on of a list is JSON, of which each element was
// in it and is the caller's.
func FuzzOwnersList(f *testing.F) {
	f.Add(`[{"Id":"a1id","Names":["/a1"],"Labels":{"casco.owner":"alice"}},{"Labels":{"casco.owner":"bob"}}]`)
	f.Add(`[{"labels":{"casco.owner":"alice"}},null,{"Labels":{"casco.owner":"bob"},"Labels":{"casco.owner":"alice"}}]`)
	j, w := judge(f, owners), estate(f)
	d := j.Decide(from("alice", ask("GET", "/containers/json", "")), w)
	f.Fuzz(func(t *testing.T, in string) {
		out, err := answered(d.Edit, w, in)
		if err != nil {
			return
		}
		var before, after []json.RawMessage
		if json.Unmarshal([]byte(in), &before) != nil || json.Unmarshal(out, &after) != nil || len(after) > len(before) {
			t.Fatalf("%q became %q", in, out)
		}
		for _, e := range after {
			var item struct{ Labels map[string]any }
			if json.Unmarshal(e, &item) != nil || item.Labels[OwnerLabel] != "alice" || !strings.Contains(in, string(e)) {
				t.Fatalf("%q became %q", in, out)
			}
		}
	})
}
