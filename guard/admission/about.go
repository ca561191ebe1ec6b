package admission

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"casco/loop/inventory"
)

// objects are what the request makes or is about: see Decision.
func (q *question) objects() (of, other inventory.Ref) {
	ref := func(k inventory.Kind, name string) inventory.Ref {
		if name = strings.TrimPrefix(name, "/"); name == "" {
			return inventory.Ref{}
		}
		return inventory.Ref{Kind: k, Name: name}
	}
	r := q.route
	get := r.Query.Get
	switch r.Endpoint.Path {
	case "/containers/create":
		return ref(inventory.Container, get("name")), inventory.Ref{}
	case "/networks/create":
		return ref(inventory.Network, asString(q.body["Name"])), inventory.Ref{}
	case "/networks/{id}/connect", "/networks/{id}/disconnect":
		return ref(inventory.Container, asString(q.body["Container"])), ref(inventory.Network, r.ID)
	case "/volumes/create":
		return ref(inventory.Volume, asString(q.body["Name"])), inventory.Ref{}
	case "/services/create":
		return ref(inventory.Service, asString(q.body["Name"])), inventory.Ref{}
	case "/commit":
		return ref(inventory.Image, imageName(get("repo"), get("tag"))), ref(inventory.Container, get("container"))
	case "/build":
		return ref(inventory.Image, imageName(get("t"), "")), inventory.Ref{}
	case "/images/create":
		if from := get("fromImage"); from != "" {
			return ref(inventory.Image, imageName(from, get("tag"))), inventory.Ref{}
		}
		return ref(inventory.Image, imageName(get("repo"), get("tag"))), inventory.Ref{}
	case "/images/{name}/tag":
		return ref(inventory.Image, imageName(get("repo"), get("tag"))), ref(inventory.Image, imageName(r.ID, ""))
	case "/images/{name}/push":
		return ref(inventory.Image, imageName(r.ID, get("tag"))), inventory.Ref{}
	}
	first, _, _ := strings.Cut(r.Endpoint.Path[1:], "/")
	switch first {
	case "containers":
		return ref(inventory.Container, r.ID), inventory.Ref{}
	case "images":
		return ref(inventory.Image, imageName(r.ID, "")), inventory.Ref{}
	case "networks":
		return ref(inventory.Network, r.ID), inventory.Ref{}
	case "volumes":
		return ref(inventory.Volume, r.ID), inventory.Ref{}
	case "services":
		return ref(inventory.Service, r.ID), inventory.Ref{}
	}
	return inventory.Ref{}, inventory.Ref{}
}

// imageName is what docker images calls an image; tag may be a digest.
func imageName(name, tag string) string {
	switch {
	case name == "":
		return ""
	case strings.HasPrefix(tag, "sha256:"):
		return TaggedImage(name + "@" + tag)
	case tag != "":
		return TaggedImage(withoutTag(name) + ":" + tag)
	}
	return TaggedImage(name)
}

// TaggedImage is a reference to an image as docker images shows it: without what
// stands for Docker Hub, and with the tag that the engine takes if it has none.
// IDs and digests stay.
func TaggedImage(ref string) string {
	for _, hub := range []string{"docker.io/library/", "docker.io/", "index.docker.io/library/", "index.docker.io/"} {
		if rest, ok := strings.CutPrefix(ref, hub); ok {
			ref = rest
			break
		}
	}
	if strings.Contains(ref, "@") || strings.HasPrefix(ref, "sha256:") || withoutTag(ref) != ref || ref == "" {
		return ref
	}
	return ref + ":latest"
}

// plain are the parameters of a query whose values name things or choose
// between a few. All others may carry what is nobody's business: build
// arguments, labels, messages, addresses with passwords in them.
var plain = []string{
	"name", "repo", "tag", "t", "fromImage", "container", "platform", "path", "signal", "force", "v", "link", "version", "networkmode", "target",
	"condition", "noOverwriteDirNonDir", "copyUIDGID", "stdin", "stdout", "stderr", "stream", "pause", "noprune", "checkpoint", "all", "nocache", "pull", "rollback",
}

// Text is where the request goes, for records: method, path, and the query
// without the values of parameters that may be secret.
func (r Route) Text() string {
	query := r.Query
	r.Query = nil
	var b strings.Builder
	b.WriteString(r.Method + " " + r.URI())
	sep := "?"
	for _, name := range slices.Sorted(maps.Keys(query)) {
		for _, v := range query[name] {
			b.WriteString(sep + url.QueryEscape(name) + "=")
			sep = "&"
			switch {
			case slices.Contains(plain, name):
				b.WriteString(url.QueryEscape(v))
			case v != "":
				b.WriteString("…")
			}
		}
	}
	return b.String()
}

// Changes reports whether e may change something, or gives contents away. The
// others are asked so often, and say so little, that nobody keeps them.
func (e *Endpoint) Changes() bool {
	switch e.Class {
	case Ping, Read, Login:
		return false
	}
	return e.Method != "HEAD" && !strings.HasSuffix(e.Path, "/wait") && !strings.HasSuffix(e.Path, "/resize")
}
