package admission

import (
	"reflect"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/checkpoint"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/plugin"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/api/types/volume"
)

// A Class says what kind of thing a request does.
type Class string

const (
	Ping      Class = "ping"
	Read      Class = "read"      // says what is there
	Secret    Class = "secret"    // reads that give out contents: archive, export, save, join tokens
	Lifecycle Class = "lifecycle" // start, stop, rename … of a container that was made
	Delete    Class = "delete"
	Prune     Class = "prune"
	Create    Class = "create" // of a container
	Update    Class = "update" // of a container
	Exec      Class = "exec"
	Attach    Class = "attach"  // the streams of a container's first process; attach/ws is a GET
	Archive   Class = "archive" // writes files into a container
	Build     Class = "build"
	Image     Class = "image"
	Network   Class = "network"
	Volume    Class = "volume"
	Service   Class = "service" // containers that Swarm makes
	Swarm     Class = "swarm"
	Plugin    Class = "plugin"
	Content   Class = "content" // secrets and configs of a swarm
	Login     Class = "login"   // POST /auth
)

// A bodyKind is what an endpoint reads of a request's body.
type bodyKind uint8

const (
	noBody    bodyKind = iota
	jsonBody           // one JSON value of type of
	maybeJSON          // the same, or nothing
	stream             // a tar archive, or a connection that becomes another protocol
	jsonThen           // a JSON value, then a stream (exec start)
)

// An Endpoint is one method and path of the Engine API.
type Endpoint struct {
	Method string
	Path   string // "/containers/{id}/start": {id} is one segment, {name} is one or more
	Class  Class

	body  bodyKind
	query string       // parameters that it reads; with a * those that may stand more than once
	of    reflect.Type // of its JSON body
}

func (e *Endpoint) String() string { return e.Method + " " + e.Path }

// reads reports whether the engine takes e for a reading one: what is asked by
// parameters that are not in the table then changes nothing.
func (e *Endpoint) reads() bool { return e.Class == Ping || e.Class == Read || e.Class == Secret }

// parameter says whether e reads a parameter of that name, and whether it may
// stand more than once.
func (e *Endpoint) parameter(name string) (known, many bool) {
	for word := range strings.FieldsSeq(e.query) {
		if head, star := strings.CutSuffix(word, "*"); head == name {
			return true, star
		}
	}
	return false, false
}

// aside are words that clients give beside what the engine reads: what stands in
// the path, or their own options. docker-py has Container, docker-java authConfig
// and containerId, dockerode hijack and stdin.
var aside = map[string]string{
	"/containers/create":      "authConfig",
	"/containers/{id}/exec":   "Container containerId",
	"/containers/{id}/attach": "hijack",
	"/exec/{id}/start":        "hijack stdin",
}

// repeated reports whether a parameter that e does not read, or a key that its
// body does not have, says nothing to an engine and is left out: dockerode puts
// all that it is given into the query and into the body as well.
func (e *Endpoint) repeated(name string) bool {
	if known, _ := e.parameter(name); known || hasWord(aside[e.Path], name) {
		return true
	}
	return e.of != nil && e.of.Kind() == reflect.Struct && words(e.of)[fold(name)].name == name
}

// TypeOf is the type of the engine's that e's JSON body is read into; nil if it
// has none.
func (e *Endpoint) TypeOf() reflect.Type { return e.of }

var (
	createRequest = reflect.TypeFor[container.CreateRequest]()
	serviceSpec   = reflect.TypeFor[swarm.ServiceSpec]()
	configSpec    = reflect.TypeFor[swarm.ConfigSpec]()
	secretSpec    = reflect.TypeFor[swarm.SecretSpec]()
	privileges    = reflect.TypeFor[plugin.Privileges]()
)

// endpoints of the Engine API 1.24 to 1.56: its documentation (api/docs of
// moby), with the routes that it leaves out (checkpoints, build/cancel, grpc)
// from moby, daemon/server/router. A request that is none of them is refused.
var endpoints = []Endpoint{
	{"GET", "/_ping", Ping, noBody, "", nil},
	{"HEAD", "/_ping", Ping, noBody, "", nil},
	{"GET", "/version", Read, noBody, "", nil},
	{"GET", "/info", Read, noBody, "", nil},
	{"GET", "/events", Read, noBody, "since until filters", nil},
	{"GET", "/system/df", Read, noBody, "type* verbose", nil},
	{"POST", "/auth", Login, maybeJSON, "", reflect.TypeFor[registry.AuthConfig]()},

	{"GET", "/containers/json", Read, noBody, "all limit size filters before since", nil},
	{"POST", "/containers/create", Create, jsonBody, "name platform", createRequest},
	{"POST", "/containers/prune", Prune, noBody, "filters", nil},
	{"GET", "/containers/{id}/json", Read, noBody, "size", nil},
	{"GET", "/containers/{id}/top", Read, noBody, "ps_args", nil},
	{"GET", "/containers/{id}/logs", Read, noBody, "follow stdout stderr since until timestamps tail details", nil},
	{"GET", "/containers/{id}/changes", Read, noBody, "", nil},
	{"GET", "/containers/{id}/stats", Read, noBody, "stream one-shot", nil},
	{"GET", "/containers/{id}/export", Secret, noBody, "", nil},
	{"HEAD", "/containers/{id}/archive", Secret, noBody, "path", nil},
	{"GET", "/containers/{id}/archive", Secret, noBody, "path", nil},
	{"PUT", "/containers/{id}/archive", Archive, stream, "path noOverwriteDirNonDir copyUIDGID", nil},
	{"GET", "/containers/{id}/attach/ws", Attach, stream, "detachKeys logs stream stdin stdout stderr", nil},
	{"POST", "/containers/{id}/attach", Attach, stream, "detachKeys logs stream stdin stdout stderr", nil},
	{"POST", "/containers/{id}/resize", Lifecycle, noBody, "h w", nil},
	{"POST", "/containers/{id}/start", Lifecycle, noBody, "detachKeys checkpoint checkpoint-dir", nil},
	{"POST", "/containers/{id}/stop", Lifecycle, noBody, "signal t", nil},
	{"POST", "/containers/{id}/restart", Lifecycle, noBody, "signal t", nil},
	{"POST", "/containers/{id}/kill", Lifecycle, noBody, "signal", nil},
	{"POST", "/containers/{id}/pause", Lifecycle, noBody, "", nil},
	{"POST", "/containers/{id}/unpause", Lifecycle, noBody, "", nil},
	{"POST", "/containers/{id}/wait", Lifecycle, noBody, "condition", nil},
	{"POST", "/containers/{id}/rename", Lifecycle, noBody, "name", nil},
	{"POST", "/containers/{id}/update", Update, jsonBody, "", reflect.TypeFor[container.UpdateConfig]()},
	{"DELETE", "/containers/{id}", Delete, noBody, "v force link", nil},
	{"GET", "/containers/{id}/checkpoints", Read, noBody, "dir", nil},
	{"POST", "/containers/{id}/checkpoints", Lifecycle, jsonBody, "", reflect.TypeFor[checkpoint.CreateRequest]()},
	{"DELETE", "/containers/{id}/checkpoints/{sub}", Delete, noBody, "dir", nil},

	{"POST", "/containers/{id}/exec", Exec, jsonBody, "", reflect.TypeFor[container.ExecCreateRequest]()},
	{"POST", "/exec/{id}/start", Exec, jsonThen, "", reflect.TypeFor[container.ExecStartRequest]()},
	{"POST", "/exec/{id}/resize", Lifecycle, noBody, "h w", nil},
	{"GET", "/exec/{id}/json", Read, noBody, "", nil},

	{"GET", "/images/json", Read, noBody, "all filters filter shared-size digests manifests identity", nil},
	{"GET", "/images/search", Read, noBody, "term limit filters", nil},
	{"GET", "/images/get", Secret, noBody, "names* platform*", nil},
	{"POST", "/images/create", Image, stream, "fromImage fromSrc repo tag message changes* platform", nil},
	{"POST", "/images/load", Image, stream, "quiet platform*", nil},
	{"POST", "/images/prune", Prune, noBody, "filters", nil},
	{"GET", "/images/{name}/json", Read, noBody, "manifests platform", nil},
	{"GET", "/images/{name}/history", Read, noBody, "platform", nil},
	{"GET", "/images/{name}/attestations", Read, noBody, "platform type statement", nil},
	{"GET", "/images/{name}/get", Secret, noBody, "platform*", nil},
	{"POST", "/images/{name}/push", Image, noBody, "tag platform", nil},
	{"POST", "/images/{name}/tag", Image, noBody, "repo tag force", nil},
	{"DELETE", "/images/{name}", Delete, noBody, "force noprune platforms*", nil},
	{"GET", "/distribution/{name}/json", Read, noBody, "", nil},
	{"POST", "/commit", Image, maybeJSON, "container repo tag comment author pause changes*", reflect.TypeFor[container.Config]()},

	{"POST", "/build", Build, stream, "dockerfile t* extrahosts* remote q nocache cachefrom pull rm forcerm memory memswap cpushares " +
		"cpusetcpus cpusetmems cpuperiod cpuquota buildargs shmsize squash labels networkmode platform target outputs version " +
		"isolation ulimits cgroupparent buildid session", nil},
	{"POST", "/build/prune", Prune, noBody, "keep-storage reserved-space max-used-space min-free-space all filters", nil},
	{"POST", "/build/cancel", Build, noBody, "id", nil},
	{"POST", "/session", Build, stream, "", nil},
	{"POST", "/grpc", Build, stream, "", nil},

	{"GET", "/volumes", Read, noBody, "filters", nil},
	{"POST", "/volumes/create", Volume, jsonBody, "", reflect.TypeFor[volume.CreateRequest]()},
	{"POST", "/volumes/prune", Prune, noBody, "filters", nil},
	{"GET", "/volumes/{id}", Read, noBody, "", nil},
	{"PUT", "/volumes/{id}", Volume, jsonBody, "version", reflect.TypeFor[volumeUpdate]()},
	{"DELETE", "/volumes/{id}", Delete, noBody, "force", nil},

	{"GET", "/networks", Read, noBody, "filters", nil},
	{"POST", "/networks/create", Network, jsonBody, "", reflect.TypeFor[network.CreateRequest]()},
	{"POST", "/networks/prune", Prune, noBody, "filters", nil},
	{"GET", "/networks/{id}", Read, noBody, "verbose scope", nil},
	{"DELETE", "/networks/{id}", Delete, noBody, "", nil},
	{"POST", "/networks/{id}/connect", Network, jsonBody, "", reflect.TypeFor[network.ConnectRequest]()},
	{"POST", "/networks/{id}/disconnect", Network, jsonBody, "", reflect.TypeFor[network.DisconnectRequest]()},

	{"GET", "/plugins", Read, noBody, "filters", nil},
	{"GET", "/plugins/privileges", Read, noBody, "remote", nil},
	{"POST", "/plugins/pull", Plugin, jsonBody, "remote name", privileges},
	{"POST", "/plugins/create", Plugin, stream, "name", nil},
	{"GET", "/plugins/{name}/json", Read, noBody, "", nil},
	{"DELETE", "/plugins/{name}", Plugin, noBody, "force", nil},
	{"POST", "/plugins/{name}/enable", Plugin, noBody, "timeout", nil},
	{"POST", "/plugins/{name}/disable", Plugin, noBody, "force", nil},
	{"POST", "/plugins/{name}/upgrade", Plugin, jsonBody, "remote", privileges},
	{"POST", "/plugins/{name}/push", Plugin, noBody, "", nil},
	{"POST", "/plugins/{name}/set", Plugin, jsonBody, "", reflect.TypeFor[[]string]()},

	{"GET", "/nodes", Read, noBody, "filters", nil},
	{"GET", "/nodes/{id}", Read, noBody, "", nil},
	{"DELETE", "/nodes/{id}", Swarm, noBody, "force", nil},
	{"POST", "/nodes/{id}/update", Swarm, jsonBody, "version", reflect.TypeFor[swarm.NodeSpec]()},
	{"GET", "/swarm", Secret, noBody, "", nil}, // it has the join tokens
	{"GET", "/swarm/unlockkey", Secret, noBody, "", nil},
	{"POST", "/swarm/init", Swarm, jsonBody, "", reflect.TypeFor[swarm.InitRequest]()},
	{"POST", "/swarm/join", Swarm, jsonBody, "", reflect.TypeFor[swarm.JoinRequest]()},
	{"POST", "/swarm/leave", Swarm, noBody, "force", nil},
	{"POST", "/swarm/update", Swarm, jsonBody, "version rotateWorkerToken rotateManagerToken rotateManagerUnlockKey", reflect.TypeFor[swarm.Spec]()},
	{"POST", "/swarm/unlock", Swarm, jsonBody, "", reflect.TypeFor[swarm.UnlockRequest]()},
	{"GET", "/services", Read, noBody, "filters status", nil},
	{"POST", "/services/create", Service, jsonBody, "", serviceSpec},
	{"GET", "/services/{id}", Read, noBody, "insertDefaults", nil},
	{"DELETE", "/services/{id}", Delete, noBody, "", nil},
	{"POST", "/services/{id}/update", Service, jsonBody, "version registryAuthFrom rollback", serviceSpec},
	{"GET", "/services/{id}/logs", Read, noBody, "details follow stdout stderr since timestamps tail", nil},
	{"GET", "/tasks", Read, noBody, "filters", nil},
	{"GET", "/tasks/{id}", Read, noBody, "", nil},
	{"GET", "/tasks/{id}/logs", Read, noBody, "details follow stdout stderr since timestamps tail", nil},
	{"GET", "/secrets", Read, noBody, "filters", nil},
	{"GET", "/secrets/{id}", Read, noBody, "", nil},
	{"POST", "/secrets/create", Content, jsonBody, "", secretSpec},
	{"POST", "/secrets/{id}/update", Content, jsonBody, "version", secretSpec},
	{"DELETE", "/secrets/{id}", Delete, noBody, "", nil},
	{"GET", "/configs", Secret, noBody, "filters", nil}, // with what is in them
	{"GET", "/configs/{id}", Secret, noBody, "", nil},
	{"POST", "/configs/create", Content, jsonBody, "", configSpec},
	{"POST", "/configs/{id}/update", Content, jsonBody, "version", configSpec},
	{"DELETE", "/configs/{id}", Delete, noBody, "", nil},
}

// volumeUpdate is the body of PUT /volumes/{name}: Engine API 1.42.
type volumeUpdate struct {
	Spec *volume.ClusterVolumeSpec
}

// Endpoints returns the table, for who must know all that can be asked.
func Endpoints() []Endpoint { return slices.Clone(endpoints) }

// byStart finds endpoints by their method and first segment.
var byStart = func() map[string][]*Endpoint {
	m := map[string][]*Endpoint{}
	for i := range endpoints {
		e := &endpoints[i]
		first, _, _ := strings.Cut(e.Path[1:], "/")
		m[e.Method+" "+first] = append(m[e.Method+" "+first], e)
	}
	return m
}()

// find returns the endpoint that a clean path names, with what stands for {id}
// or {name} and for {sub}. What is spelt out wins: /images/json is the list.
func find(method string, segs []string) (e *Endpoint, id, sub string) {
	if len(segs) == 0 {
		return nil, "", ""
	}
	for _, c := range byStart[method+" "+segs[0]] {
		i, s, ok := c.match(segs)
		if !ok || e != nil && strings.Contains(c.Path, "{") {
			continue
		}
		e, id, sub = c, i, s
	}
	return e, id, sub
}

func (e *Endpoint) match(segs []string) (id, sub string, ok bool) {
	want := strings.Split(e.Path[1:], "/")
	for i, w := range want {
		if i >= len(segs) {
			return "", "", false
		}
		switch w {
		case "{id}":
			id = segs[i]
		case "{sub}":
			sub = segs[i]
		case "{name}": // as many segments as what follows it leaves over
			n := len(segs) - len(want) + 1
			if n < 1 {
				return "", "", false
			}
			id = strings.Join(segs[i:i+n], "/")
			return id, "", slices.Equal(segs[i+n:], want[i+1:])
		default:
			if segs[i] != w {
				return "", "", false
			}
		}
	}
	return id, sub, len(segs) == len(want)
}
