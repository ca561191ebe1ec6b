package admission

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"casco/lang"
	"casco/loop/inventory"
	"casco/policy"
)

// makes judges what a caller creates: it becomes theirs, and uses nothing that is
// another's.
func (q *question) makes(k kind) bool {
	o := q.has(policy.Create)
	if o == nil {
		q.mayNot(lang.Text{En: "this caller may not create", Es: "quien llama no puede crear"})
		return true
	}
	s := &subject{kind: k, name: asString(q.body["Name"]), labels: labelsOf(q.body["Labels"]), tier: func() string { return "" }}
	switch k {
	case aContainer:
		s.name = strings.TrimPrefix(q.route.Query.Get("name"), "/")
		q.free(s)
		if !q.refers(asMap(q.body["HostConfig"]), asMap(asMap(q.body["NetworkingConfig"])["EndpointsConfig"]), o) {
			return false
		}
		q.labelled(o, "Labels")
	case aService:
		q.free(s)
		if !q.serviceRefers(o) {
			return false
		}
		q.labelled(o, "Labels", "TaskTemplate.ContainerSpec.Labels")
	case aNetwork:
		q.free(s)
		if from := asString(asMap(q.body["ConfigFrom"])["Network"]); from != "" && !q.onNetwork(from) {
			return false
		}
		q.labelled(o, "Labels")
	default:
		if q.free(s); k == aVolume && s.name != "" {
			q.claim(s.name, o)
		}
		q.labelled(o, "Labels")
	}
	return true
}

// labelled puts an owner's label where it belongs in a body. Another's is not
// theirs to give.
func (q *question) labelled(o *policy.Owner, paths ...string) {
	for _, path := range paths {
		labels := maps.Clone(asMap(at(q.body, path)))
		switch was, has := labels[OwnerLabel]; {
		case has && was == o.ID || !q.enforces(nil):
		case has:
			q.mayNot(lang.Text{En: "the label %s=%s is not this caller's to give", Es: "la etiqueta %s=%s no le toca a quien llama"}.F(OwnerLabel, printable(asString(was))))
		case q.Caller.Via == viaPlugin:
			q.refuse(ownerRule, lang.Text{En: "without its label it would not be this caller's, and only the door can add that", Es: "sin su etiqueta no sería de quien llama, y solo la puerta puede añadirla"},
				lang.Text{En: "--label %s=%s", Es: "--label %s=%s"}.F(OwnerLabel, o.ID))
		default:
			if labels == nil {
				labels = map[string]any{}
			}
			labels[OwnerLabel] = o.ID
			q.put(path, labels, OwnerLabel+"="+o.ID)
		}
	}
}

// put changes the body and notes it, with what was added in short.
func (q *question) put(path string, v any, added string) {
	inventory.Put(q.body, path, v)
	q.out.Forward = encode(q.body)
	q.out.Mutations = append(q.out.Mutations, Mutation{path, added, "admission.owners"})
}

// at is what stands at a path of maps.
func at(m map[string]any, path string) any {
	var v any = m
	for key := range strings.SplitSeq(path, ".") {
		v = asMap(v)[key]
	}
	return v
}

// keeps has a new version of something labelled as the old one is.
func (q *question) keeps(s *subject, paths ...string) {
	is, has := s.labels[OwnerLabel]
	for _, path := range paths {
		labels := maps.Clone(asMap(at(q.body, path)))
		now, asked := labels[OwnerLabel]
		switch {
		case !q.enforces(s), asked && has && now == is, !asked && !has:
		case asked, q.Caller.Via == viaPlugin:
			q.mayNot(lang.Text{En: "the label %s must stay as it is", Es: "la etiqueta %s debe quedar como está"}.F(OwnerLabel))
		default:
			if labels == nil {
				labels = map[string]any{}
			}
			labels[OwnerLabel] = is
			q.put(path, labels, OwnerLabel+"="+asString(is))
		}
	}
}

// free wants the name of what is made or renamed to be free, and not to make it
// another's. That a name is taken cannot be hidden: there are no two.
func (q *question) free(s *subject) {
	if other := q.find(s.kind, s.name); s.name != "" && other != nil && other.name == s.name {
		if _, there := q.theirs(other, policy.List); !there {
			q.inTier(other)
			q.add(Refusal{
				Rule: ownerRule, Status: 409, Fix: lang.Text{En: "another name", Es: "otro nombre"},
				Reason: lang.Text{En: "the name %q is taken", Es: "el nombre %q está ocupado"}.F(s.name),
			})
			return
		}
	}
	claims := func(o policy.Owner) bool {
		return slices.ContainsFunc(o.Of, func(t policy.Things) bool { return (t.Name != "" || t.Project != "") && t.Of(s.name, s.labels, s.tier) })
	}
	for _, o := range q.policy.Admission.Owners {
		if claims(o) && !slices.ContainsFunc(q.owners, func(m policy.Owner) bool { return m.ID == o.ID || claims(m) }) {
			q.mayNot(lang.Text{En: "by its name or project it would be %s's", Es: "por su nombre o proyecto sería de %s"}.F(o.ID))
			return
		}
	}
}

// refers judges what a container would use of others': networks, volumes, the
// namespaces, files and environment of containers.
func (q *question) refers(host, endpoints map[string]any, o *policy.Owner) bool {
	if !q.onNetwork(asString(host["NetworkMode"])) {
		return false
	}
	for _, name := range sortedKeys(endpoints) {
		if !q.onNetwork(name) || !q.onNetwork(asString(asMap(endpoints[name])["NetworkID"])) {
			return false
		}
	}
	for _, j := range joins(host) {
		if _, there := q.must(aContainer, j.name, policy.Exec); !there {
			return false
		}
	}
	q.volumesFor(host, o)
	return q.links(endpoints)
}

// onNetwork judges the use of a network, by whatever a request names it.
func (q *question) onNetwork(name string) bool {
	if slices.Contains([]string{"", "default", "bridge", "host", "none"}, name) || strings.HasPrefix(name, "container:") {
		return true // the engine's own; see joins
	}
	_, there := q.must(aNetwork, name, policy.Change)
	return there
}

// links judges the names of other containers that endpoints give.
func (q *question) links(endpoints map[string]any) bool {
	for _, key := range sortedKeys(endpoints) {
		for _, l := range texts(asMap(endpoints[key])["Links"]) {
			name, _, _ := strings.Cut(strings.TrimPrefix(l, "/"), ":")
			if _, there := q.must(aContainer, name, policy.Exec); !there {
				return false
			}
		}
	}
	return true
}

// volumesFor judges the volumes that a container is given. One that is not there
// yet is made with the container: it is labelled, and so a bind becomes a mount.
func (q *question) volumesFor(host map[string]any, o *policy.Owner) {
	binds, mounts := []any{}, []any{}
	fresh := false
	for _, v := range asList(host["Binds"]) {
		source, rest, two := strings.Cut(asString(v), ":")
		if !two || strings.HasPrefix(source, "/") || !q.newVolume(source, o) {
			binds = append(binds, v)
			continue
		}
		m, ok := mountOf(source, rest, asString(host["VolumeDriver"]), o.ID)
		if !ok || q.Caller.Via == viaPlugin {
			q.refuse(ownerRule, lang.Text{En: "the volume %q would be made, and not be this caller's", Es: "se crearía el volumen %q, y no sería de quien llama"}.F(source),
				lang.Text{En: "docker volume create --label %s=%s %s", Es: "docker volume create --label %s=%s %s"}.F(OwnerLabel, o.ID, printable(source)))
			return
		}
		mounts, fresh = append(mounts, m), true
	}
	all := slices.Clone(asList(host["Mounts"]))
	for i, v := range all {
		m := asMap(v)
		if name := asString(m["Source"]); m["Type"] == "volume" && name != "" && q.newVolume(name, o) {
			m = maps.Clone(m)
			options := maps.Clone(asMap(m["VolumeOptions"]))
			if options == nil {
				options = map[string]any{}
			}
			labels := maps.Clone(asMap(options["Labels"]))
			if labels == nil {
				labels = map[string]any{}
			}
			labels[OwnerLabel] = o.ID
			options["Labels"], m["VolumeOptions"] = labels, options
			all[i], fresh = m, true
		}
	}
	if fresh {
		if q.put("HostConfig.Mounts", append(all, mounts...), OwnerLabel+"="+o.ID+" on new volumes"); len(mounts) > 0 {
			q.put("HostConfig.Binds", binds, "those of new volumes are mounts now")
		}
	}
}

// A claim is to the name of a volume that is not there yet.
type claim struct {
	name, owner string
	until       time.Time
}

const (
	// claimFor is how long a volume may take to be made after that was let pass.
	claimFor = 10 * time.Second
	// maxClaims bounds what is remembered, and maxClaimsEach of one owner: who makes
	// names up keeps nobody else from theirs.
	maxClaims     = 10000
	maxClaimsEach = 1000
)

// claims are the names of volumes that are being made.
type claims struct {
	mu     sync.Mutex // guards what follows
	names  map[string]claim
	owners map[string]int // how many each has
	order  []claim        // as they were made, which is as they end; of one made again the first ends nothing
}

// keep keeps a name for an owner, who may then make a volume of that name. To
// the engine a volume that is there is as good as a new one: without this, who
// makes one just before another does would have the other's data in it.
func (c *claims) keep(name, owner string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names == nil {
		c.names, c.owners = map[string]claim{}, map[string]int{}
	}
	for len(c.order) > 0 && now.After(c.order[0].until) {
		if old := c.order[0]; c.names[old.name] == old {
			delete(c.names, old.name)
			if c.owners[old.owner]--; c.owners[old.owner] == 0 {
				delete(c.owners, old.owner)
			}
		}
		c.order = c.order[1:]
	}
	was, has := c.names[name]
	switch {
	case has && was.owner != owner:
		return false
	case has && was.until.Sub(now) > claimFor-claimAgain:
		return true // as good as new
	case len(c.order) >= maxClaims, !has && c.owners[owner] >= maxClaimsEach:
		return false
	case !has:
		c.owners[owner]++
	}
	c.names[name] = claim{name, owner, now.Add(claimFor)}
	c.order = append(c.order, c.names[name])
	return true
}

// claimAgain is after what part of it a claim is made again.
const claimAgain = time.Second

func (q *question) claim(volume string, o *policy.Owner) {
	if q.enforces(nil) && !q.claimed.keep(volume, o.ID, q.At) {
		q.mayNot(lang.Text{En: "the volume %q is being made by another", Es: "otro está creando el volumen %q"}.F(volume))
	}
}

// given judges the volumes of a container that somebody asks for who has all of
// the engine: whoever made one under a name that they would use reads what they
// put into it.
func (q *question) given(o *inventory.Object) {
	// Of a caller whom the plugin does not see, the door knew what is theirs.
	if q.owners != nil || q.Caller.Passed || len(q.policy.Admission.Owners) == 0 {
		return
	}
	owner := labelsOf(asMap(o.Fields["Config"])["Labels"])[OwnerLabel]
	for _, name := range volumesOf(asMap(o.Fields["HostConfig"])) {
		if s := q.find(aVolume, name); s != nil && s.labels[OwnerLabel] != "" && s.labels[OwnerLabel] != owner {
			is := s.labels[OwnerLabel]
			q.refuse(ownerRule, lang.Text{En: "the volume %q is %s's, who would have what the container keeps there", Es: "el volumen %q es de %s, que tendría lo que el contenedor guarde ahí"}.F(name, is),
				lang.Text{En: "another volume; or --label %s=%s, and the container is theirs too", Es: "otro volumen; o --label %s=%s, y el contenedor también es suyo"}.F(OwnerLabel, is))
		}
	}
}

// newVolume judges the use of a volume, and reports whether it would be made.
func (q *question) newVolume(name string, o *policy.Owner) bool {
	s := q.find(aVolume, name)
	if s == nil {
		q.claim(name, o)
		return q.enforces(nil)
	}
	if may, _ := q.theirs(s, policy.Change); !may {
		q.mayNot(lang.Text{En: "the volume %q is not this caller's to use", Es: "el volumen %q no es de quien llama"}.F(name))
	}
	return false
}

// mountOf is a bind NAME:TARGET[:OPTIONS] as a mount with a label, if that can
// say the same.
func mountOf(source, rest, driver, owner string) (map[string]any, bool) {
	target, options, _ := strings.Cut(rest, ":")
	volume := map[string]any{"Labels": map[string]any{OwnerLabel: owner}}
	m := map[string]any{"Type": "volume", "Source": source, "Target": target, "VolumeOptions": volume}
	if driver != "" {
		volume["DriverConfig"] = map[string]any{"Name": driver}
	}
	for option := range strings.SplitSeq(options, ",") {
		switch option {
		case "", "rw":
		case "ro":
			m["ReadOnly"] = true
		case "nocopy":
			volume["NoCopy"] = true
		default:
			return nil, false
		}
	}
	return m, true
}

// serviceRefers judges what the containers of a service would use of others'.
func (q *question) serviceRefers(o *policy.Owner) bool {
	task := asMap(q.body["TaskTemplate"])
	spec := asMap(task["ContainerSpec"])
	for _, list := range []any{task["Networks"], q.body["Networks"]} {
		for _, n := range asList(list) {
			if !q.onNetwork(asString(asMap(n)["Target"])) {
				return false
			}
		}
	}
	for _, m := range asList(spec["Mounts"]) {
		if asMap(m)["Type"] == "volume" {
			if name := asString(asMap(m)["Source"]); name != "" {
				q.newVolume(name, o)
			}
		}
	}
	for _, ref := range []struct {
		of       kind
		list, id string
	}{{aSecret, "Secrets", "SecretID"}, {aConfig, "Configs", "ConfigID"}} {
		for _, v := range asList(spec[ref.list]) {
			if _, there := q.must(ref.of, asString(asMap(v)[ref.id]), policy.Change); !there {
				return false
			}
		}
	}
	if id := asString(at(spec, "Privileges.CredentialSpec.Config")); id != "" {
		_, there := q.must(aConfig, id, policy.Change)
		return there
	}
	return true
}
