package admission

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"casco/lang"
	"casco/loop/declared"
	"casco/loop/inventory"
	"casco/policy"
)

// OwnerLabel says whose it is what somebody of admission.owners created.
const OwnerLabel = "casco.owner"

// A kind is what sort of thing of the engine's a request is about.
type kind string

const (
	theEngine  kind = ""
	aContainer kind = "container"
	anExec     kind = "exec"
	anImage    kind = "image"
	aVolume    kind = "volume"
	aNetwork   kind = "network"
	aService   kind = "service"
	aTask      kind = "task"
	aSecret    kind = "secret"
	aConfig    kind = "config"
)

// What a need has beside the verbs of a policy.
const (
	open  = "open"  // nothing: it is of the engine as such, or of images, which are everybody's
	never = "never" // to be none of admission.owners: it is of all that the engine has
)

// A need is what a caller of admission.owners must be allowed, with what.
type need struct {
	of   kind
	verb string
}

// needs of each endpoint. One that is not here is for nobody of admission.owners.
var needs = map[string]need{
	"GET /_ping": {theEngine, open}, "HEAD /_ping": {theEngine, open}, "GET /version": {theEngine, open}, "GET /info": {theEngine, open}, "POST /auth": {theEngine, open},
	"GET /events": {theEngine, policy.List}, "GET /system/df": {theEngine, policy.List},

	"GET /containers/json": {aContainer, policy.List}, "POST /containers/create": {aContainer, policy.Create}, "POST /containers/prune": {aContainer, policy.Delete},
	"GET /containers/{id}/json": {aContainer, policy.Inspect}, "GET /containers/{id}/top": {aContainer, policy.Inspect}, "GET /containers/{id}/logs": {aContainer, policy.Logs},
	"GET /containers/{id}/changes": {aContainer, policy.Inspect}, "GET /containers/{id}/stats": {aContainer, policy.Inspect}, "POST /containers/{id}/wait": {aContainer, policy.Inspect},
	"GET /containers/{id}/export": {aContainer, policy.Copy}, "HEAD /containers/{id}/archive": {aContainer, policy.Copy}, "GET /containers/{id}/archive": {aContainer, policy.Copy}, "PUT /containers/{id}/archive": {aContainer, policy.Copy},
	"GET /containers/{id}/attach/ws": {aContainer, policy.Attach}, "POST /containers/{id}/attach": {aContainer, policy.Attach}, "POST /containers/{id}/resize": {aContainer, policy.Attach},
	"POST /containers/{id}/start": {aContainer, policy.Change}, "POST /containers/{id}/stop": {aContainer, policy.Change}, "POST /containers/{id}/restart": {aContainer, policy.Change}, "POST /containers/{id}/kill": {aContainer, policy.Change},
	"POST /containers/{id}/pause": {aContainer, policy.Change}, "POST /containers/{id}/unpause": {aContainer, policy.Change}, "POST /containers/{id}/rename": {aContainer, policy.Change}, "POST /containers/{id}/update": {aContainer, policy.Change},
	"DELETE /containers/{id}": {aContainer, policy.Delete}, "GET /containers/{id}/checkpoints": {aContainer, policy.Inspect}, "POST /containers/{id}/checkpoints": {aContainer, policy.Change}, "DELETE /containers/{id}/checkpoints/{sub}": {aContainer, policy.Change},
	"POST /containers/{id}/exec": {aContainer, policy.Exec}, "POST /exec/{id}/start": {anExec, policy.Exec}, "POST /exec/{id}/resize": {anExec, policy.Exec}, "GET /exec/{id}/json": {anExec, policy.Exec},

	"GET /images/json": {anImage, open}, "GET /images/search": {anImage, open}, "GET /images/{name}/json": {anImage, open}, "GET /images/{name}/history": {anImage, open}, "GET /images/{name}/attestations": {anImage, open}, "GET /distribution/{name}/json": {anImage, open},
	"GET /images/get": {anImage, policy.Copy}, "GET /images/{name}/get": {anImage, policy.Copy},
	"POST /images/create": {anImage, policy.Bring}, "POST /images/load": {anImage, policy.Bring}, "POST /images/{name}/push": {anImage, policy.Bring}, "POST /images/{name}/tag": {anImage, policy.Bring}, "DELETE /images/{name}": {anImage, policy.Bring},
	"POST /commit": {anImage, policy.Bring}, "POST /build": {anImage, policy.Bring}, "POST /build/cancel": {anImage, policy.Bring}, "POST /session": {anImage, policy.Bring}, "POST /grpc": {anImage, policy.Bring},
	"POST /images/prune": {anImage, never}, "POST /build/prune": {anImage, never},

	"GET /volumes": {aVolume, policy.List}, "POST /volumes/create": {aVolume, policy.Create}, "POST /volumes/prune": {aVolume, policy.Delete},
	"GET /volumes/{id}": {aVolume, policy.Inspect}, "PUT /volumes/{id}": {aVolume, policy.Change}, "DELETE /volumes/{id}": {aVolume, policy.Delete},
	"GET /networks": {aNetwork, policy.List}, "POST /networks/create": {aNetwork, policy.Create}, "POST /networks/prune": {aNetwork, policy.Delete},
	"GET /networks/{id}": {aNetwork, policy.Inspect}, "DELETE /networks/{id}": {aNetwork, policy.Delete}, "POST /networks/{id}/connect": {aNetwork, policy.Change}, "POST /networks/{id}/disconnect": {aNetwork, policy.Change},

	"GET /plugins": {theEngine, open}, "GET /plugins/privileges": {theEngine, open}, "GET /plugins/{name}/json": {theEngine, open},
	"POST /plugins/pull": {theEngine, never}, "POST /plugins/create": {theEngine, never}, "DELETE /plugins/{name}": {theEngine, never}, "POST /plugins/{name}/enable": {theEngine, never}, "POST /plugins/{name}/disable": {theEngine, never},
	"POST /plugins/{name}/upgrade": {theEngine, never}, "POST /plugins/{name}/push": {theEngine, never}, "POST /plugins/{name}/set": {theEngine, never},
	"GET /nodes": {theEngine, open}, "GET /nodes/{id}": {theEngine, open}, "DELETE /nodes/{id}": {theEngine, never}, "POST /nodes/{id}/update": {theEngine, never},
	"GET /swarm": {theEngine, never}, "GET /swarm/unlockkey": {theEngine, never}, "POST /swarm/init": {theEngine, never}, "POST /swarm/join": {theEngine, never}, "POST /swarm/leave": {theEngine, never}, "POST /swarm/update": {theEngine, never}, "POST /swarm/unlock": {theEngine, never},

	"GET /services": {aService, policy.List}, "POST /services/create": {aService, policy.Create}, "GET /services/{id}": {aService, policy.Inspect}, "DELETE /services/{id}": {aService, policy.Delete},
	"POST /services/{id}/update": {aService, policy.Change}, "GET /services/{id}/logs": {aService, policy.Logs},
	"GET /tasks": {aTask, policy.List}, "GET /tasks/{id}": {aTask, policy.Inspect}, "GET /tasks/{id}/logs": {aTask, policy.Logs},
	"GET /secrets": {aSecret, policy.List}, "GET /secrets/{id}": {aSecret, policy.Inspect}, "POST /secrets/create": {aSecret, policy.Create}, "POST /secrets/{id}/update": {aSecret, policy.Change}, "DELETE /secrets/{id}": {aSecret, policy.Delete},
	"GET /configs": {aConfig, policy.List}, "GET /configs/{id}": {aConfig, policy.Inspect}, "POST /configs/create": {aConfig, policy.Create}, "POST /configs/{id}/update": {aConfig, policy.Change}, "DELETE /configs/{id}": {aConfig, policy.Delete},
}

// A subject is one thing of the engine's, as far as it matters whose it is.
type subject struct {
	kind     kind
	id, name string // id is "" where a name is all there is
	labels   map[string]string
	tier     func() string // "" of what is in none
	used     bool          // a volume that nobody labelled: whose containers use it, theirs it is
}

// shared reports whether s is a network of the engine's own, which is everybody's
// to see and to use. No other can have its name.
func (s *subject) shared() bool {
	return s.kind == aNetwork && slices.Contains([]string{"bridge", "host", "none"}, s.name)
}

// A view is what an engine has as one caller may see it.
type view struct {
	*Judge
	owners []policy.Owner // entries that name the caller; nil: all is there to them
	world  World

	known   map[string]*subject // by kind and name, as they were asked for
	running []*subject          // containers, with volumes; see containers
	uses    map[string][]*subject
	mine    map[string]bool // IDs of those that are not kept from the caller; see visible
}

// from is v with an empty memory, and another world to ask.
func (v *view) from(w World) *view { return &view{Judge: v.Judge, owners: v.owners, world: w} }

// entries are those of admission.owners that name the caller.
func (q *question) entries() []policy.Owner {
	var named, others []policy.Owner
	for _, o := range q.policy.Admission.Owners {
		switch {
		case q.among(o.Who):
			named = append(named, o)
		case slices.Contains(o.Who, policy.Others):
			others = append(others, o)
		}
	}
	c := q.Caller
	root, unseen := c.UID == 0 && c.Container == "" && c.TLSName == "" && c.Userns == "", c.Via == viaPlugin && c.TLSName == ""
	if named == nil && !root && !unseen {
		return others
	}
	return named
}

// viaPlugin is Caller.Via of what the engine's plugin is asked: it cannot change
// a request, and knows nobody but by a certificate.
const viaPlugin = "authz"

// among reports whether a caller is one of those that a policy names.
func (q *question) among(those []string) bool {
	c := q.Caller
	for _, is := range those {
		kind, name, _ := strings.Cut(is, ":")
		switch kind {
		case "uid": // also in the user namespaces that they made, where they may be many
			if c.TLSName == "" && (name == strconv.FormatUint(uint64(c.UID), 10) || name == c.Userns) {
				return true
			}
		case "gid":
			if c.TLSName == "" && slices.ContainsFunc(append(c.Groups[:len(c.Groups):len(c.Groups)], c.GID), func(g uint32) bool { return name == strconv.FormatUint(uint64(g), 10) }) {
				return true
			}
		case "userns":
			if c.Userns != "" && (name == c.Userns || name == policy.AnyUserns) {
				return true
			}
		case "unit":
			if c.Unit != "" && name == c.Unit {
				return true
			}
		case "tls":
			if c.TLSName != "" && name == c.TLSName {
				return true
			}
		case "container":
			if c.Container != "" && name == c.Container {
				return true
			}
		}
	}
	return false
}

// obscured reports whether a caller may be one of those that a policy names, and
// it cannot be told: who asked has ended already, or is in a user namespace, where
// one may have laid down groups and become another user. Root's own user (0) is
// nobody's there to be had.
func (q *question) obscured(those []string) bool {
	c := q.Caller
	return slices.ContainsFunc(those, func(is string) bool {
		switch kind, _, _ := strings.Cut(is, ":"); kind {
		case "unit":
			return c.Unit == untold
		case "container":
			return c.Container == untold
		case "uid":
			return c.Userns == untold && c.UID != 0
		case "gid":
			return c.Userns != "" && c.Userns != "0" && c.UID != 0
		case "userns":
			return c.Userns == untold
		}
		return false
	})
}

// untold is Caller.Unit, Caller.Container and Caller.Userns where they could not be
// told.
const untold = "unknown"

// theirs says whether the caller may do with s what a verb names, and whether s
// is there to them at all.
func (v *view) theirs(s *subject, verb string) (may, there bool) {
	for _, o := range v.owners {
		if s.labels[OwnerLabel] == o.ID || slices.ContainsFunc(o.Of, func(t policy.Things) bool { return t.Of(s.name, s.labels, s.tier) }) {
			there = true
			may = may || o.Has(verb)
		}
	}
	switch {
	case s.shared():
		there, may = true, may || verb == policy.List || verb == policy.Inspect || verb == policy.Change
	case s.used && !there:
		users := v.usersOf(s.name)
		may, there = len(users) > 0, len(users) > 0
		for _, u := range users {
			m, t := v.theirs(u, verb)
			may, there = may && m, there && t
		}
	}
	return may, there
}

// hides reports whether s is kept from the caller in lists.
func (v *view) hides(s *subject) bool {
	may, _ := v.theirs(s, policy.List)
	return !may && v.enforces(s)
}

// enforces reports whether what is not the caller's is kept from them. s may be
// nil.
func (v *view) enforces(s *subject) bool {
	tier := ""
	if len(v.policy.Admission.Rules[ownerRule].Tiers) > 0 && s != nil {
		tier = s.tier()
	}
	mode, _ := v.mode(ownerRule, tier)
	return mode == policy.Enforce
}

const ownerRule = "caller-owner"

// find asks for a thing by a name or an ID, as a request gives it. nil: there is
// none, or it could not be read.
func (v *view) find(k kind, name string) *subject {
	key := string(k) + " " + name
	if s, has := v.known[key]; has {
		return s
	}
	s := v.look(k, name)
	if v.known == nil {
		v.known = map[string]*subject{}
	}
	v.known[key] = s
	return s
}

func (v *view) look(k kind, name string) *subject {
	var o *inventory.Object
	switch k {
	case aContainer:
		o = v.world.Container(name)
	case aNetwork:
		o = v.world.Network(name)
	case aVolume:
		o = v.world.Volume(name)
	case anExec:
		if id := asString(asMap(v.get("/exec/", name, "/json"))["ContainerID"]); id != "" {
			return v.find(aContainer, id)
		}
		return nil
	default: // of a swarm
		if fields := asMap(v.get("/"+string(k)+"s/", name, "")); fields != nil {
			return v.subject(k, fields)
		}
		return nil
	}
	if o == nil {
		return nil
	}
	s := v.subject(k, o.Fields)
	s.name = o.Ref.Name
	if k == aContainer { // what inspect shows of it
		s.labels = labelsOf(asMap(o.Fields["Config"])["Labels"])
		s.tier = func() string { return v.places.Place(declared.Workload(v.around(o), o)).Tier }
	}
	return s
}

func (v *view) get(before, name, after string) any {
	if name == "" {
		return nil
	}
	return v.world.Get(before + url.PathEscape(name) + after)
}

// around is a snapshot with the networks that a container is on.
func (v *view) around(o *inventory.Object) *inventory.Snapshot {
	s := &inventory.Snapshot{}
	for name := range asMap(asMap(o.Fields["NetworkSettings"])["Networks"]) {
		if n := v.world.Network(name); n != nil {
			s.Add(n)
		}
	}
	return s
}

// subject reads an element of a list of the engine's.
func (v *view) subject(k kind, f map[string]any) *subject {
	s := &subject{kind: k, id: cmp.Or(asString(f["Id"]), asString(f["ID"])), name: asString(f["Name"]), labels: labelsOf(f["Labels"]), tier: func() string { return "" }}
	spec := asMap(f["Spec"])
	switch k {
	case aContainer:
		for _, n := range texts(f["Names"]) {
			if n = strings.TrimPrefix(n, "/"); !strings.Contains(n, "/") { // others are of links
				s.name = n
			}
		}
		s.tier = func() string { return v.tierOfListed(s, f) }
	case aNetwork:
		s.tier = func() string {
			if t, _ := v.policy.TierOfNetwork(s.name); t != nil {
				return t.ID
			}
			return ""
		}
	case aVolume:
		s.id, s.used = "", s.labels[OwnerLabel] == ""
	case aTask:
		if of := v.find(aService, asString(f["ServiceID"])); of != nil {
			return of
		}
		s.labels = labelsOf(asMap(spec["ContainerSpec"])["Labels"])
	case aService:
		s.name, s.labels = asString(spec["Name"]), labelsOf(spec["Labels"])
		task := asMap(spec["TaskTemplate"])
		s.tier = func() string {
			body := serviceAsCreate(spec, task, asMap(task["ContainerSpec"]))
			w := policy.Workload{Name: s.name, Image: asString(body["Image"]), Labels: labelsOf(body["Labels"])}
			for target := range asMap(asMap(body["NetworkingConfig"])["EndpointsConfig"]) {
				if n := v.world.Network(target); n != nil {
					w.Networks = append(w.Networks, n.Ref.Name)
				}
			}
			return v.places.Place(w).Tier
		}
	case aSecret, aConfig:
		s.name, s.labels = asString(spec["Name"]), labelsOf(spec["Labels"])
	}
	return s
}

func (v *view) tierOfListed(s *subject, f map[string]any) string {
	w := policy.Workload{Name: s.name, Image: asString(f["Image"]), Labels: s.labels}
	for name := range asMap(asMap(f["NetworkSettings"])["Networks"]) {
		w.Networks = append(w.Networks, name)
		if n := v.find(aNetwork, name); n != nil {
			w.NetworkLabels = append(w.NetworkLabels, n.labels)
		}
	}
	slices.Sort(w.Networks)
	return v.places.Place(w).Tier
}

// containers are all that the engine has.
func (v *view) containers() []*subject {
	if v.uses != nil {
		return v.running
	}
	v.uses = map[string][]*subject{}
	for _, c := range asList(v.world.Get("/containers/json?all=1")) {
		s := v.subject(aContainer, asMap(c))
		v.running = append(v.running, s)
		for _, m := range asList(asMap(c)["Mounts"]) {
			if name := asString(asMap(m)["Name"]); name != "" {
				v.uses[name] = append(v.uses[name], s)
			}
		}
	}
	return v.running
}

func (v *view) usersOf(volume string) []*subject {
	v.containers()
	return v.uses[volume]
}

func labelsOf(v any) map[string]string {
	out := map[string]string{}
	for k, is := range asMap(v) {
		out[k] = asString(is)
	}
	return out
}

// owned judges whose things a request is about, if only some are the caller's.
// It reports whether there is something left to judge: of what is not there to
// the caller nothing else is said.
func (q *question) owned() bool {
	q.owners = q.entries()
	e := q.route.Endpoint
	if q.owners == nil {
		if slices.ContainsFunc(q.policy.Admission.Owners, func(o policy.Owner) bool { return q.obscured(o.Who) }) && e.Class != Ping {
			q.mayNot(lang.Text{En: "who asks has ended, and whose things these are to see cannot be told", Es: "quien pide ya terminó, y no se sabe de quién es lo que puede ver"})
		}
		return true
	}
	switch n := needs[e.String()]; {
	case n.verb == open:
		if n.of == theEngine && environment[e.String()] == fields && q.enforces(nil) {
			q.out.Edit = maskedAnswer(e) // settings of plugins, with passwords
		}
		return true
	case n.verb == never, n.verb == "":
		q.mayNot(lang.Text{En: "%s is about all that the engine has, and this caller has some of it", Es: "%s trata de todo lo que tiene el motor, y quien llama tiene parte"}.F(e))
		return true
	case n.of == anImage:
		return q.brings(n.verb)
	case e.Class == Prune:
		q.prunes()
		return true
	case n.verb == policy.List:
		return q.lists(n.of)
	case n.verb == policy.Create:
		return q.makes(n.of)
	default:
		return q.names(n)
	}
}

// ownedBefore is owned without the body: it refuses what no body would allow.
func (q *question) ownedBefore() {
	q.owners = q.entries()
	if q.owners == nil {
		return
	}
	switch n := needs[q.route.Endpoint.String()]; {
	case n.verb == never, n.verb == "":
		q.owned()
	case (n.of == anImage && n.verb != open || n.verb == policy.Create) && q.has(n.verb) == nil:
		q.owned()
	}
}

// must wants the caller to be allowed something with what a request names. It
// reports whether that is there to them, and refuses if it is not, or if they may
// not.
func (q *question) must(k kind, name, verb string) (s *subject, there bool) {
	s = q.find(k, name)
	may := false
	if s != nil {
		may, there = q.theirs(s, verb)
	}
	switch {
	case may:
	case there:
		q.inTier(s)
		q.mayNot(lang.Text{En: "%q is this caller's to see, not to do %s with", Es: "quien llama puede ver %q, no hacer %s con él"}.F(name, verb))
	default:
		there = q.absent(k, name, s)
	}
	return s, there
}

// inTier has the rule taken as the tier of a container wants it.
func (q *question) inTier(s *subject) {
	if s != nil && s.kind == aContainer && len(q.policy.Admission.Rules[ownerRule].Tiers) > 0 {
		q.tier = s.tier()
	}
}

var askOwner = lang.Text{En: "admission.owners in the policy says whose it is", Es: "admission.owners en la política dice de quién es"}

func (q *question) mayNot(why lang.Text) { q.refuse(ownerRule, why, askOwner) }

// absent refuses alike what is not theirs and what is not there, so that nobody
// learns which it is: what a path names in the engine's own words; what a request
// refers to beside it in ours, for the docker client takes such a word of the
// engine's for one of the image, and pulls. It reports whether the request goes on
// all the same, because the rule only observes.
func (q *question) absent(k kind, name string, s *subject) bool {
	q.inTier(s)
	r := Refusal{
		Rule: ownerRule, Status: 403, Fix: askOwner,
		Reason: lang.Text{En: "%s %q is not this caller's, or there is none", Es: "%s %q no es de quien llama, o no existe"}.F(string(k), name),
	}
	says := ""
	if name == q.route.ID {
		r.Status, says = 404, notThere(k, name)
	}
	if !q.enforces(s) {
		q.add(r)
		return true
	}
	q.out.Refusals = nil // nothing else is said
	q.add(r)
	q.out.Says = says
	return false
}

// notThere is what an engine says of what it has not (moby, daemon: errors.go,
// container.go, network.go; volume/service/errors.go; cluster/helpers.go).
func notThere(k kind, name string) string {
	switch k {
	case aContainer:
		return "No such container: " + name
	case anExec:
		return "No such exec instance: " + name
	case aVolume:
		return "get " + name + ": no such volume"
	}
	return string(k) + " " + name + " not found"
}

// names judges a request about one thing, and has the engine asked for that very
// one, whatever its name means by then.
func (q *question) names(n need) bool {
	s, there := q.must(n.of, q.route.ID, n.verb)
	if !there || s == nil {
		return there
	}
	switch q.route.Endpoint.Path {
	case "/containers/{id}/rename":
		after := *s
		after.name = strings.TrimPrefix(q.route.Query.Get("name"), "/")
		q.free(&after)
	case "/networks/{id}":
		if q.route.Endpoint.Method == "GET" && q.enforces(s) {
			q.out.Edit = q.members(s).then(q.out.Edit)
		}
	case "/networks/{id}/connect", "/networks/{id}/disconnect":
		if _, there := q.must(aContainer, asString(q.body["Container"]), policy.Change); !there || !q.links(map[string]any{"": q.body["EndpointConfig"]}) {
			return false
		}
	case "/services/{id}/update":
		q.keeps(s, "Labels", "TaskTemplate.ContainerSpec.Labels")
		if !q.serviceRefers(&q.owners[0]) {
			return false
		}
	case "/secrets/{id}/update", "/configs/{id}/update":
		q.keeps(s, "Labels")
	}
	if s.id != "" && n.of != anExec && n.of != aTask && q.enforces(s) {
		q.route.ID = s.id
		q.out.Route = q.route
	}
	return true
}

// has returns the caller's first entry that has a verb; nil if none has.
func (v *view) has(verb string) *policy.Owner {
	i := slices.IndexFunc(v.owners, func(o policy.Owner) bool { return o.Has(verb) })
	if i < 0 {
		return nil
	}
	return &v.owners[i]
}

// brings judges what is done with images, which are everybody's.
func (q *question) brings(verb string) bool {
	if q.has(verb) == nil {
		q.mayNot(lang.Text{En: "images are everybody's, and %s is not among what this caller may", Es: "las imágenes son de todos, y %s no está entre lo que puede quien llama"}.F(verb))
		return true
	}
	get := q.route.Query.Get
	there := true
	switch q.route.Endpoint.Path {
	case "/commit":
		_, there = q.must(aContainer, get("container"), policy.Copy)
	case "/build":
		there = q.onNetwork(get("networkmode"))
	}
	return there
}

// prunes has only the caller's own deleted: what has their label.
func (q *question) prunes() {
	o := q.has(policy.Delete)
	switch {
	case o == nil:
		q.mayNot(lang.Text{En: "this caller may not delete", Es: "quien llama no puede borrar"})
	case !q.enforces(nil):
	case q.Caller.Via == viaPlugin:
		q.mayNot(lang.Text{En: "only the door can keep %s to what is the caller's", Es: "solo la puerta puede limitar %s a lo de quien llama"}.F(q.route.Endpoint))
	default:
		f, ok := filtersOf(q.route)
		if !ok {
			q.mayNot(lang.Text{En: "its filters are not understood", Es: "no se entienden sus filtros"})
			return
		}
		f["label"] = append(f["label"], OwnerLabel+"="+o.ID)
		q.query("filters", string(encode(f)))
	}
}

// query changes one parameter of what the engine is asked; "" takes it away.
func (q *question) query(name, value string) {
	q.route.Query = maps.Clone(q.route.Query)
	if q.route.Query.Set(name, value); value == "" {
		q.route.Query.Del(name)
	}
	q.out.Route = q.route
}
