package admission

import (
	"bufio"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseURI(t *testing.T) {
	for _, c := range []struct {
		what, method, raw string
		want              string // what is passed on, or the rule that refuses
	}{
		{"as a client writes it", "POST", "/v1.44/containers/create?name=web", "/v1.44/containers/create?name=web"},
		{"no version", "GET", "/containers/json", "/containers/json"},
		{"an encoded letter is that letter", "POST", "/v1.44/containers/%63reate", "/v1.44/containers/create"},
		{"an encoded slash is a slash to the engine's router", "GET", "/images/team%2Fapp/json", "/images/team/app/json"},
		{"so it can make a longer path", "POST", "/containers/web%2Fexec", "/containers/web/exec"},
		{"the request line may name a server", "POST", "http://docker/v1.44/containers/create", "/v1.44/containers/create"},
		{"an image has slashes, a tag and a digest", "GET", "/images/r.example:5000/a/b:1@sha256:0f/json", "/images/r.example:5000/a/b:1@sha256:0f/json"},
		{"the list is no image of that name", "GET", "/images/json", "/images/json"},
		{"an image may be called json", "GET", "/images/json/json", "/images/json/json"},
		{"parameters are sorted", "POST", "/build?t=b&t=a&q=1", "/build?q=1&t=b&t=a"},
		{"a read may have parameters that nobody knows", "GET", "/info?new=1", "/info?new=1"},
		{"a newer version reads", "GET", "/v1.99/containers/json", "/v1.99/containers/json"},
		{"a plus in a name", "GET", "/volumes/a+b", "/volumes/a+b"},

		{"a newer version does not make", "POST", "/v1.57/containers/create", "request-version"},
		{"below 1.24 a start has a HostConfig", "POST", "/v1.23/containers/web/start", "request-version"},
		{"a version that is none", "POST", "/v1.044/containers/create", "request-version"},
		{"a version of three parts", "POST", "/v1.44.1/containers/create", "request-version"},
		{"two versions", "POST", "/v1.44/v1.44/containers/create", "request-endpoint"},
		{"another case", "POST", "/Containers/create", "request-endpoint"},
		{"another case of the version", "POST", "/V1.44/containers/create", "request-endpoint"},
		{"another case of the method", "post", "/containers/create", "request-endpoint"},
		{"another method", "PATCH", "/containers/create", "request-endpoint"},
		{"an endpoint that nobody knows", "POST", "/containers/web/inject", "request-endpoint"},
		{"a debugger", "GET", "/debug/pprof/heap", "request-endpoint"},
		{"the old copy", "POST", "/containers/web/copy", "request-endpoint"},
		{"nothing", "GET", "/", "request-endpoint"},
		{"two slashes", "POST", "//containers/create", "request-uri"},
		{"a server that is a path", "POST", "//v1.44//containers/create", "request-uri"},
		{"a dot", "POST", "/./containers/create", "request-uri"},
		{"dots", "POST", "/images/../containers/create", "request-uri"},
		{"dots after the version", "POST", "/v1.44/../containers/create", "request-uri"},
		{"encoded dots", "POST", "/images/%2e%2e/containers/create", "request-uri"},
		{"an encoded slash and dots", "POST", "/images%2f..%2fcontainers/create", "request-uri"},
		{"encoded twice", "POST", "/containers/%2563reate", "request-uri"},
		{"a slash at the end", "POST", "/containers/create/", "request-uri"},
		{"an encoded slash at the end", "POST", "/containers/create%2f", "request-uri"},
		{"half an encoding", "POST", "/containers/create%2", "request-uri"},
		{"an encoded NUL", "POST", "/containers/create%00", "request-uri"},
		{"an encoded line break", "POST", "/containers/web%0d%0a/start", "request-uri"},
		{"an encoded blank", "POST", "/containers/web%20x/start", "request-uri"},
		{"a backslash", "POST", "/containers%5ccreate", "request-uri"},
		{"a path parameter", "POST", "/containers;x=1/create", "request-uri"},
		{"a fragment", "POST", "/containers/create#/json", "request-uri"},
		{"a body that dockerode repeats", "POST", "/containers/create?Image=a&Cmd=sh&Cmd=x&name=n&HostConfig=%7B%7D", "/containers/create?name=n"},
		{"dockerode's own options", "POST", "/containers/a/attach?stream=true&hijack=true", "/containers/a/attach?stream=true"},
		{"a key of a body in another case", "POST", "/containers/create?image=a", "request-query"},
		{"no path", "POST", "http://docker", "request-uri"},
		{"a user in the server", "POST", "http://a@b/containers/create", "request-uri"},
		{"another scheme", "POST", "ftp://docker/containers/create", "request-uri"},
		{"an asterisk", "OPTIONS", "*", "request-uri"},
		{"bytes that are no ASCII", "POST", "/containers/cre\u00e1te", "request-uri"},
		{"too long", "GET", "/info?x=" + strings.Repeat("a", maxURI), "request-uri"},
		{"a parameter twice", "POST", "/containers/create?name=a&name=b", "request-query"},
		{"a semicolon", "POST", "/containers/create?name=a;platform=b", "request-query"},
		{"a parameter that nobody knows", "POST", "/build?entitlements=network.host", "request-query"},
		{"a parameter in another case", "POST", "/build?NetworkMode=host", "request-query"},
		{"half an encoding in the query", "POST", "/containers/create?name=%z", "request-query"},
		{"a NUL in the query", "POST", "/containers/create?name=a%00", "request-query"},
		{"two paths for a read", "GET", "/containers/web/archive?path=/a&path=/b", "request-query"},
	} {
		r, err := ParseURI(c.method, c.raw)
		got := ""
		refusal := &Refusal{}
		switch {
		case err == nil:
			got = r.URI()
		case errors.As(err, &refusal):
			got = refusal.Rule
			if refusal.Reason.Empty() || refusal.Fix.Empty() || refusal.Status == 0 {
				t.Errorf("%s: the refusal does not say why and how else: %+v", c.what, refusal)
			}
		}
		if got != c.want {
			t.Errorf("%s: %s %s: got %q, want %q (%v)", c.what, c.method, c.raw, got, c.want, err)
		}
	}
}

// read is a request line as an engine reads it: the path by net/http, and of the
// parameters those that the endpoint has, by http.Request.ParseForm.
func read(method, uri string, e *Endpoint) (path string, form url.Values, err error) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + uri + " HTTP/1.1\r\nHost: d\r\n\r\n")))
	if err != nil {
		return "", nil, err
	}
	if err := r.ParseForm(); err != nil {
		return "", nil, err
	}
	maps.DeleteFunc(r.Form, func(name string, _ []string) bool { known, _ := e.parameter(name); return !known })
	return r.URL.Path, r.Form, nil
}

// FuzzParseURI: what is passed on is read by the engine as it was read here, and
// as what came would have been.
func FuzzParseURI(f *testing.F) {
	for _, e := range endpoints {
		query := url.Values{}
		for _, name := range strings.Fields(strings.ReplaceAll(e.query, "*", "")) {
			query.Set(name, `{"a":["b c"]}`)
		}
		f.Add(e.Method, "/v1.44"+e.Path+"?name=a&t=b")
		f.Add(e.Method, "/v1.44"+e.Path+"?"+query.Encode())
	}
	f.Add("POST", "http://docker/images%2f..%2f/a%2Fb/push?tag=1;x")
	f.Add("POST", "/build?t=a&t=b%2Bc&buildargs=%7B%22A%22%3Anull%7D&ulimits=[]&extrahosts=%5B%22a:1.2.3.4%22%5D&q")
	f.Add("POST", "/images/create?fromImage=a/b&tag=sha256:c&changes=CMD%20x&changes=ENV+a%3Db&platform=linux%2Famd64")
	f.Fuzz(func(t *testing.T, method, raw string) {
		r, err := ParseURI(method, raw)
		if err != nil {
			return
		}
		again, err := ParseURI(method, r.URI())
		if err != nil {
			t.Fatalf("%q became %q: %v", raw, r.URI(), err)
		}
		if d := cmp.Diff(r, again, cmp.Comparer(func(a, b *Endpoint) bool { return a == b })); d != "" {
			t.Fatalf("%q became %q, which is another: %s", raw, r.URI(), d)
		}
		if strings.Contains(r.URI(), "..") && strings.Contains(r.URI(), "/../") || strings.Contains(r.URI(), "//") {
			t.Fatalf("%q became %q", raw, r.URI())
		}
		path, form, err := read(method, r.URI(), r.Endpoint)
		if err != nil {
			t.Fatalf("the engine does not read %q, which %q became: %v", r.URI(), raw, err)
		}
		if came, says, err := read(method, raw, r.Endpoint); err == nil && (came != path || !maps.EqualFunc(says, form, slices.Equal)) {
			t.Fatalf("the engine reads %q as %q %v, and %q, which it became, as %q %v", raw, came, says, r.URI(), path, form)
		}
		for name := range form {
			if !slices.Equal(form[name], r.Query[name]) {
				t.Fatalf("%q: the engine reads %s as %q, here %q", r.URI(), name, form[name], r.Query[name])
			}
		}
	})
}

// TestEndpointsReadOnce: each path of the table is found, and as itself.
func TestEndpointsReadOnce(t *testing.T) {
	for i := range endpoints {
		e := &endpoints[i]
		p := strings.NewReplacer("{id}", "x1", "{name}", "team/app", "{sub}", "c1").Replace(e.Path)
		r, err := ParseURI(e.Method, "/v1.44"+p)
		if err != nil || r.Endpoint != e {
			t.Errorf("%s: found %v, %v", e, r.Endpoint, err)
		}
		if takes := e.body == jsonBody || e.body == maybeJSON || e.body == jsonThen; takes != (e.of != nil) {
			t.Errorf("%s: a JSON body has a type, and nothing else has one", e)
		}
	}
}

// TestNeedsBody: who cannot see a body refuses what needs one, and no more.
func TestNeedsBody(t *testing.T) {
	for _, c := range []struct {
		method, uri, contentType string
		want                     bool
	}{
		{"POST", "/containers/create", "", true},
		{"POST", "/containers/create", "application/json", true},
		{"POST", "/exec/abc/start", "application/json", true},
		{"POST", "/volumes/create", "text/plain", true},
		{"POST", "/commit?container=web", "application/json", true},
		{"POST", "/commit?container=web", "application/json; x", true},
		{"POST", "/commit?container=web", "", false},
		{"POST", "/containers/web/start", "application/json", false},
		{"DELETE", "/containers/web", "", false},
		{"POST", "/images/load", "application/json", false},
		{"POST", "/auth", "application/json", false},
	} {
		r, err := ParseURI(c.method, c.uri)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.NeedsBody(c.contentType); got != c.want {
			t.Errorf("%s %s, %q: %v", c.method, c.uri, c.contentType, got)
		}
	}
}
