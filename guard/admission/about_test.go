package admission

import "testing"

// TestObjects: what a request is about, and what a record says of it.
func TestObjects(t *testing.T) {
	j := judge(t, "admission: {mode: observe}\n")
	for _, c := range []struct{ method, uri, body, of, other, text string }{
		{"POST", "/v1.41/containers/create?name=/web1", `{"Image":"a"}`, "container/web1", "/", "POST /v1.41/containers/create?name=%2Fweb1"},
		{"POST", "/containers/create", `{"Image":"a"}`, "/", "/", "POST /containers/create"},
		{"POST", "/containers/web/exec", `{"Cmd":["id"]}`, "container/web", "/", "POST /containers/web/exec"},
		{"DELETE", "/containers/web?force=1", "", "container/web", "/", "DELETE /containers/web?force=1"},
		{"POST", "/networks/create", `{"Name":"n"}`, "network/n", "/", "POST /networks/create"},
		{"POST", "/networks/n/connect", `{"Container":"web"}`, "container/web", "network/n", "POST /networks/n/connect"},
		{"POST", "/volumes/create", `{"Name":"v"}`, "volume/v", "/", "POST /volumes/create"},
		{"POST", "/services/create", `{"Name":"s","TaskTemplate":{"ContainerSpec":{"Image":"a"}}}`, "service/s", "/", "POST /services/create"},
		{"POST", "/images/create?fromImage=r.example:5000/a", "", "image/r.example:5000/a:latest", "/", "POST /images/create?fromImage=r.example%3A5000%2Fa"},
		{"POST", "/images/create?fromImage=a&tag=sha256:12", "", "image/a@sha256:12", "/", "POST /images/create?fromImage=a&tag=sha256%3A12"},
		{"POST", "/images/create?fromSrc=https://me:key@example/x.tar&repo=a&tag=1", "", "image/a:1", "/", "POST /images/create?fromSrc=…&repo=a&tag=1"},
		{"POST", "/images/a/tag?repo=docker.io/library/b&tag=2", "", "image/b:2", "image/a:latest", "POST /images/a/tag?repo=docker.io%2Flibrary%2Fb&tag=2"},
		{"POST", "/commit?container=web&repo=a&changes=ENV+KEY=x", `{}`, "image/a:latest", "container/web", "POST /commit?changes=…&container=web&repo=a"},
		{"POST", "/build?t=a:1&buildargs=%7B%22KEY%22:%22x%22%7D&remote=https://k@example", "", "image/a:1", "/", "POST /build?buildargs=…&remote=…&t=a%3A1"},
		{"POST", "/swarm/leave", "", "/", "/", "POST /swarm/leave"},
	} {
		d := j.Decide(ask(c.method, c.uri, c.body), host(t, true))
		if d.Route.Endpoint == nil {
			t.Errorf("%s %s: %+v", c.method, c.uri, d.Refusals)
			continue
		}
		if of, other, text := d.Object.String(), d.Other.String(), d.Route.Text(); of != c.of || other != c.other || text != c.text {
			t.Errorf("%s %s: %s, %s, %s", c.method, c.uri, of, other, text)
		}
	}
}
