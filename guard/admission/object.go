package admission

import (
	"encoding/json"
	"maps"
	"net/url"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"

	"casco/guard/network"
	"casco/loop/declared"
	"casco/loop/inventory"
)

// unnamed stands for a container that the engine will name: no container can
// have that name.
const unnamed = "-"

// zero is what the engine makes of a T that a request says nothing of, as
// inspect would show it: texts are empty, flags false, lists and maps empty.
// What may be absent is.
func zero(t reflect.Type) any {
	switch t.Kind() {
	case reflect.Struct:
		out := map[string]any{}
		for _, m := range words(t) {
			out[m.name] = zero(m.typ)
		}
		return out
	case reflect.Slice:
		return []any{}
	case reflect.Map:
		return map[string]any{}
	case reflect.String:
		return ""
	case reflect.Bool:
		return false
	case reflect.Int, reflect.Int64, reflect.Uint16, reflect.Uint64, reflect.Uint32:
		return json.Number("0")
	}
	return nil
}

// The fields that a container has of which a request said nothing.
func zeroConfig() map[string]any {
	return zero(reflect.TypeFor[container.Config]()).(map[string]any)
}

func zeroHostConfig() map[string]any {
	h := zero(reflect.TypeFor[container.HostConfig]()).(map[string]any)
	// An empty list unmasks; none stands for the engine's own.
	delete(h, "MaskedPaths")
	delete(h, "ReadonlyPaths")
	return h
}

// over lays what was asked over what holds otherwise; a null asks for nothing.
func over(under, asked map[string]any) map[string]any {
	for k, v := range asked {
		was, both := under[k].(map[string]any)
		is, ok := v.(map[string]any)
		switch {
		case v == nil:
		case both && ok && fixedKeys[k]:
			under[k] = over(was, is)
		default:
			under[k] = v
		}
	}
	return under
}

// fixedKeys are the structs within HostConfig, which keep their other keys.
var fixedKeys = map[string]bool{"RestartPolicy": true, "LogConfig": true}

// created is the container that a request to create one asks for, in the words
// of inspect, with what its image gives it and what its paths resolve to.
func (q *question) created(name string, body map[string]any) *inventory.Object {
	asked := maps.Clone(body)
	host, _ := asked["HostConfig"].(map[string]any)
	networking := asMap(asMap(asked["NetworkingConfig"])["EndpointsConfig"])
	delete(asked, "HostConfig")
	delete(asked, "NetworkingConfig")
	config := over(zeroConfig(), asked)
	hostConfig := over(zeroHostConfig(), host)
	if img := q.world.Image(asString(config["Image"])); img != nil {
		inherit(config, asked, asMap(img.Fields["Config"]))
	}
	if name == "" {
		name = unnamed
	}
	networks := q.networks(hostConfig, networking)
	if networks["host"] != nil { // by whatever name
		hostConfig["NetworkMode"] = "host"
	}
	o := &inventory.Object{
		Ref: inventory.Ref{Kind: inventory.Container, Name: name}, Source: q.route.Endpoint.String(), Read: q.At,
		Fields: map[string]any{
			"Config": config, "HostConfig": hostConfig,
			"NetworkSettings": map[string]any{"Networks": networks},
			"State":           map[string]any{"Running": false},
		},
	}
	q.settle(o)
	return o
}

// Container is the container that a request with this body would make, in the
// words of inspect: what a Judge puts to the checks. What only its image could
// tell is unread if w does not have the image, or has not read that of it. An
// error is a *Refusal: the body is none of such a request.
func Container(name string, body []byte, at time.Time, w World) (*inventory.Object, error) {
	route, err := ParseURI("POST", "/containers/create?name="+url.QueryEscape(name))
	if err != nil {
		return nil, err
	}
	b, err := Decode(route, "application/json", body)
	if err != nil {
		return nil, err
	}
	q := &question{view: view{world: w}, Asked: Asked{At: at}, route: route}
	asked := asMap(b.Value)
	o := q.created(name, asked)
	host := asMap(o.Fields["HostConfig"])
	if version, _, ok := inventory.KernelCgroup.Of(inventory.Only(w.Snapshot(), inventory.Kernel)); host["CgroupnsMode"] == "" && ok && version == 1 {
		host["CgroupnsMode"] = "host" // what the engine writes there (Engine API 1.41)
	}
	image := asString(asked["Image"])
	img := w.Image(image)
	config := asMap(o.Fields["Config"])
	for _, key := range []string{"User", "Healthcheck", "Entrypoint", "Cmd"} {
		why := "the image " + image + " is not known here"
		if img != nil {
			why = img.Unread["Config."+key]
		}
		if why == "" || settledBy(key, asked[key]) {
			continue
		}
		if o.Unread == nil {
			o.Unread = map[string]string{}
		}
		delete(config, key)
		o.Unread["Config."+key] = why
	}
	return o, nil
}

// settledBy reports whether what was asked for leaves the image no say.
func settledBy(key string, asked any) bool {
	if key == "Healthcheck" {
		return len(asList(asMap(asked)["Test"])) > 0
	}
	return asString(asked) != "" || len(asList(asked)) > 0
}

// inherit gives config what the image says and the request does not (moby,
// daemon/commit.go, merge).
func inherit(config, asked, image map[string]any) {
	for _, k := range []string{"User", "WorkingDir", "StopSignal"} {
		if asString(config[k]) == "" && asString(image[k]) != "" {
			config[k] = image[k]
		}
	}
	for _, k := range []string{"ExposedPorts", "Volumes", "Labels"} {
		both := maps.Clone(asMap(image[k]))
		if both == nil {
			both = map[string]any{}
		}
		maps.Copy(both, asMap(config[k]))
		config[k] = both
	}
	if len(asList(config["Entrypoint"])) == 0 {
		if len(asList(config["Cmd"])) == 0 && image["Cmd"] != nil {
			config["Cmd"] = image["Cmd"]
		}
		if asked["Entrypoint"] == nil && image["Entrypoint"] != nil {
			config["Entrypoint"] = image["Entrypoint"]
		}
	}
	env := slices.Clone(asList(config["Env"]))
	has := func(e any) bool {
		key, _, _ := strings.Cut(asString(e), "=")
		return slices.ContainsFunc(env, func(o any) bool { k, _, _ := strings.Cut(asString(o), "="); return k == key })
	}
	for _, e := range asList(image["Env"]) {
		if !has(e) {
			env = append(env, e)
		}
	}
	config["Env"] = env
	health := asMap(config["Healthcheck"])
	switch {
	case image["Healthcheck"] == nil:
	case health == nil:
		config["Healthcheck"] = image["Healthcheck"]
	case len(asList(health["Test"])) == 0:
		health = maps.Clone(health)
		health["Test"] = asMap(image["Healthcheck"])["Test"]
		config["Healthcheck"] = health
	}
}

// networks are those that the container would be on, by their names. What an
// endpoint calls NetworkID stands over its key (moby, daemon,
// findAndAttachNetwork): the two must agree.
func (q *question) networks(host, endpoints map[string]any) map[string]any {
	out := map[string]any{}
	mode := asString(host["NetworkMode"])
	switch {
	case mode == "none" || strings.HasPrefix(mode, "container:"):
	case len(endpoints) == 0 || mode != "" && mode != "default":
		if mode == "" || mode == "default" {
			mode = "bridge"
		}
		out[q.networkName(mode)] = map[string]any{}
	}
	for _, name := range slices.Sorted(maps.Keys(endpoints)) {
		if name == "default" {
			name = "bridge"
		}
		called := q.networkName(name)
		out[called] = map[string]any{}
		if id := asString(asMap(endpoints[name])["NetworkID"]); id != "" {
			if other := q.networkName(id); other != called {
				out[other] = map[string]any{}
				q.networkTwice(name, id)
			}
		}
	}
	return out
}

// networkName is the name of a network that may be named by its ID.
func (q *question) networkName(idOrName string) string {
	if n := q.world.Network(idOrName); n != nil {
		return n.Ref.Name
	}
	return idOrName
}

// settle resolves what o refers to: the symlinks of its binds, and the names of
// the containers that it joins, which a request may give by their IDs.
func (q *question) settle(o *inventory.Object) {
	host := asMap(o.Fields["HostConfig"])
	// Engines before 29 take a port without a binding for one on any port (moby,
	// container_routes.go, handlePortBindingsBC).
	bindings := map[string]any{}
	for port, v := range asMap(host["PortBindings"]) {
		if bindings[port] = v; len(asList(v)) == 0 {
			bindings[port] = []any{map[string]any{"HostIp": "", "HostPort": ""}}
		}
	}
	host["PortBindings"] = bindings
	sources := map[string]any{}
	look := func(source string) {
		if strings.HasPrefix(source, "/") {
			sources[source] = map[string]any{"Resolved": q.resolved(source)}
		}
	}
	for _, b := range asList(host["Binds"]) {
		source, _, _ := strings.Cut(asString(b), ":")
		look(source)
	}
	for _, m := range asList(host["Mounts"]) {
		look(asString(asMap(m)["Source"]))
	}
	o.Fields["BindSources"] = sources
	for _, k := range []string{"NetworkMode", "PidMode", "IpcMode", "Cgroup"} {
		if name, ok := strings.CutPrefix(asString(host[k]), "container:"); ok {
			if other := q.world.Container(name); other != nil {
				host[k] = "container:" + other.Ref.Name
			}
		}
	}
	var from []any
	for _, v := range asList(host["VolumesFrom"]) {
		name, mode, colon := strings.Cut(asString(v), ":")
		if other := q.world.Container(name); other != nil {
			name = other.Ref.Name
		}
		if colon {
			name += ":" + mode
		}
		from = append(from, name)
	}
	if from != nil {
		host["VolumesFrom"] = from
	}
}

func (q *question) resolved(hostPath string) string {
	if to := q.world.Resolve(hostPath); to != "" {
		return path.Clean(to)
	}
	return path.Clean(hostPath)
}

// refersTo lists what of the host o speaks of.
func (q *question) refersTo(o *inventory.Object) []*inventory.Object {
	var out []*inventory.Object
	add := func(other *inventory.Object) {
		if other != nil {
			out = append(out, other)
		}
	}
	host := asMap(o.Fields["HostConfig"])
	for name := range asMap(asMap(o.Fields["NetworkSettings"])["Networks"]) {
		add(q.world.Network(name))
	}
	for _, name := range volumesOf(host) {
		add(q.world.Volume(name))
	}
	for _, j := range joins(host) {
		add(q.world.Container(j.name))
	}
	add(q.world.Image(asString(asMap(o.Fields["Config"])["Image"])))
	return out
}

// volumesOf are the names of the volumes that a container is given.
func volumesOf(host map[string]any) []string {
	var out []string
	for _, b := range asList(host["Binds"]) {
		if source, _, two := strings.Cut(asString(b), ":"); two && !strings.HasPrefix(source, "/") {
			out = append(out, source)
		}
	}
	for _, m := range asList(host["Mounts"]) {
		if name := asString(asMap(m)["Source"]); asMap(m)["Type"] == "volume" && name != "" {
			out = append(out, name)
		}
	}
	return out
}

// A join is one way in which a container shares what is another's.
type join struct {
	flag, name string
	within     bool // its application must be the same, not only its tier
}

func joins(host map[string]any) []join {
	var out []join
	for _, m := range []struct {
		key, flag string
		within    bool
	}{{"NetworkMode", "--network", false}, {"PidMode", "--pid", true}, {"IpcMode", "--ipc", true}, {"Cgroup", "--cgroup", true}} {
		if name, ok := strings.CutPrefix(asString(host[m.key]), "container:"); ok {
			out = append(out, join{m.flag + " container:" + name, name, m.within})
		}
	}
	for _, v := range asList(host["VolumesFrom"]) {
		name, _, _ := strings.Cut(asString(v), ":")
		out = append(out, join{"--volumes-from " + name, name, true})
	}
	for _, l := range asList(host["Links"]) { // on the default network it gets the other's environment
		name, _, _ := strings.Cut(strings.TrimPrefix(asString(l), "/"), ":")
		out = append(out, join{"--link " + name, name, false})
	}
	return out
}

// scene is the host with what the policy says, as checks want it: as last read,
// and with what has changed of it since.
func (q *question) scene(refers []*inventory.Object) *inventory.Snapshot {
	raw := q.world.Snapshot()
	if raw == nil {
		raw = &inventory.Snapshot{}
	}
	var newer []*inventory.Object
	for _, o := range refers {
		if raw.Find(o.Ref) != o {
			newer = append(newer, o)
		}
	}
	if len(newer) == 0 {
		return q.whole(raw)
	}
	s := &inventory.Snapshot{Host: raw.Host, Taken: raw.Taken, Gaps: raw.Gaps, Objects: slices.Clone(raw.Objects)}
	for _, o := range newer {
		if i := slices.IndexFunc(s.Objects, func(was *inventory.Object) bool { return was.Ref == o.Ref }); i >= 0 {
			s.Objects[i] = o
		} else {
			s.Objects = append(s.Objects, o)
		}
	}
	return q.Judge.declared.With(s).Share()
}

// whole puts the policy beside a snapshot once.
func (j *Judge) whole(raw *inventory.Snapshot) *inventory.Snapshot {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.seen != raw || j.with == nil {
		j.seen, j.with = raw, j.declared.With(raw).Share()
	}
	return j.with
}

// placed is o with the tier that the policy gives it, and how a container of
// that tier is wanted to run. The second result is what it was placed by.
func (q *question) placed(o *inventory.Object) (*inventory.Object, network.Place) {
	s := &inventory.Snapshot{Taken: q.At}
	s.Add(o)
	for name := range asMap(asMap(o.Fields["NetworkSettings"])["Networks"]) {
		if n := q.world.Network(name); n != nil {
			s.Add(n)
		}
	}
	w := declared.Workload(s, o)
	if w.Name == unnamed {
		w.Name = ""
	}
	return q.Judge.declared.With(s).Find(o.Ref), q.places.Place(w)
}

func (q *question) tierOf(o *inventory.Object) string {
	_, p := q.placed(o)
	return p.Tier
}

func number(n int64) json.Number { return json.Number(strconv.FormatInt(n, 10)) }

// Helpers to read decoded JSON that has no type of its own.

func asMap(v any) map[string]any { m, _ := v.(map[string]any); return m }

func asString(v any) string { s, _ := v.(string); return s }

func asBool(v any) bool { b, _ := v.(bool); return b }

func asInt(v any) int64 {
	n, _ := v.(json.Number)
	i, _ := n.Int64()
	return i
}

func asList(v any) []any {
	switch l := v.(type) {
	case []any:
		return l
	case []string:
		out := make([]any, len(l))
		for i, s := range l {
			out[i] = s
		}
		return out
	}
	return nil
}

func texts(v any) []string {
	var out []string
	for _, e := range asList(v) {
		out = append(out, asString(e))
	}
	return out
}

// within reports whether path p is dir or lies below it. Both are clean.
func within(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}
