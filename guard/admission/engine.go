package admission

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/inventory"
)

// build judges a request to build an image. What BuildKit is asked within its
// own session nobody sees; the engine's configuration must hold it back.
func (q *question) build() {
	get := q.route.Query.Get
	switch q.route.Endpoint.Path {
	case "/session", "/grpc":
		q.session()
		return
	case "/build/cancel":
		return
	}
	if mode := get("networkmode"); mode == "host" || strings.HasPrefix(mode, "container:") {
		q.refuse("build-network", lang.Text{En: "the build would run in the network %q", Es: "la construcción correría en la red %q"}.F(mode), lang.Text{En: "docker build without --network", Es: "docker build sin --network"})
	}
	if parent := get("cgroupparent"); parent != "" {
		q.refuse("build-cgroup", lang.Text{En: "the build would run below %q, past the limits of the others", Es: "la construcción correría bajo %q, fuera de los límites de las demás"}.F(parent), lang.Text{En: "docker build without --cgroup-parent", Es: "docker build sin --cgroup-parent"})
	}
	if hosts := q.route.Query["extrahosts"]; slices.ContainsFunc(hosts, func(h string) bool { return h != "" && h != "[]" && h != "null" }) {
		q.refuse("build-hosts", lang.Text{En: "names of hosts decide from where the build downloads: %q", Es: "los nombres de anfitriones deciden de dónde descarga la construcción: %q"}.F(strings.Join(hosts, ", ")),
			lang.Text{En: "docker build without --add-host", Es: "docker build sin --add-host"})
	}
	if remote := get("remote"); remote != "" && remote != "client-session" {
		q.refuse("build-remote", lang.Text{En: "the engine would fetch %q, as root and from its own network", Es: "el motor descargaría %q, como root y desde su propia red"}.F(address(remote)), lang.Text{En: "clone it and docker build the folder", Es: "clónelo y haga docker build de la carpeta"})
	}
	if get("version") == "2" {
		q.session()
	}
}

// address is where something would be fetched, without what may be a password
// in it: user, query, fragment.
func address(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		raw, _, _ = strings.Cut(raw[strings.LastIndexByte(raw, '@')+1:], "?") // git@host:path
		return raw
	}
	return u.Scheme + "://" + u.Host + u.Path
}

// session wants the engine to refuse the entitlements network.host and
// security.insecure, which a BuildKit client asks for out of sight.
func (q *question) session() {
	e := inventory.EngineOf(q.world.Snapshot())
	// The engine grants network.host unless told otherwise, and
	// security.insecure only if told so (moby, builder-next/controller.go).
	network, _, said := inventory.Field[bool]{Kind: inventory.Daemon, Path: "Effective.builder.Entitlements.network-host"}.Of(e)
	insecure, _, _ := inventory.Field[bool]{Kind: inventory.Daemon, Path: "Effective.builder.Entitlements.security-insecure"}.Of(e)
	if said && !network && !insecure {
		return
	}
	q.refuse("build-session", lang.Text{
		En: "BuildKit may be asked for the host's network out of sight, and the engine is not known to refuse it", Es: "a BuildKit se le puede pedir la red del anfitrión sin que se vea, y no consta que el motor la niegue",
	}, lang.Text{
		En: `daemon.json: {"builder": {"Entitlements": {"network-host": false, "security-insecure": false}}}`, Es: `daemon.json: {"builder": {"Entitlements": {"network-host": false, "security-insecure": false}}}`,
	})
}

// image judges where images come from and what they are called.
func (q *question) image() {
	get, governed := q.route.Query.Get, len(q.policy.Registries.Allow)+len(q.policy.Registries.Require) > 0
	past := func() {
		if governed {
			q.add(Refusal{
				Rule: "image-import", Status: 403, Path: "registries",
				Reason: lang.Text{En: "%s brings an image that no registry vouches for", Es: "%s trae una imagen que ningún registro avala"}.F(q.route.Endpoint),
				Fix:    lang.Text{En: "push it to a registry that the policy allows, and docker pull it", Es: "publíquela en un registro que la política permita y haga docker pull"},
			})
		}
	}
	switch q.route.Endpoint.Path {
	case "/images/create":
		if src := get("fromSrc"); src != "" {
			past()
			if src != "-" {
				q.refuse("build-remote", lang.Text{En: "the engine would fetch %q, as root and from its own network", Es: "el motor descargaría %q, como root y desde su propia red"}.F(address(src)), lang.Text{En: "curl … | docker import -", Es: "curl … | docker import -"})
			}
			return
		}
		ref := get("fromImage")
		if tag := get("tag"); strings.HasPrefix(tag, "sha256:") {
			ref += "@" + tag
		} else if tag != "" {
			ref = withoutTag(ref) + ":" + tag
		}
		if len(q.policy.Registries.Allow) > 0 && !fromAny(q.policy.Registries.Allow, ref) {
			q.notFrom(ref, inventory.RegistryOf(ref))
		}
	case "/images/load":
		past()
	case "/images/{name}/tag":
		allow := q.policy.Registries.Allow
		if repo := get("repo"); len(allow) > 0 && fromAny(allow, repo) && !q.vouched(q.route.ID) {
			q.add(Refusal{
				Rule: "image-tag", Status: 403, Path: "registries.allow",
				Reason: lang.Text{En: "%q would be called %q, as if it came from there", Es: "%q se llamaría %q, como si viniera de ahí"}.F(q.route.ID, repo),
				Fix:    lang.Text{En: "push it there from where it was built, and docker pull it", Es: "publíquela ahí desde donde se construyó y haga docker pull"},
			})
		}
	case "/commit":
		q.about(get("container"))
		q.refuse("image-commit", lang.Text{En: "the image would hold whatever somebody did in the container", Es: "la imagen tendría lo que alguien haya hecho en el contenedor"}, lang.Text{En: "docker build with a Dockerfile", Es: "docker build con un Dockerfile"})
	}
}

// bridgeOptions of a network that open what the engine closes, or take a
// bridge of the host's (libnetwork, drivers/bridge; netlabel).
var bridgeOptions = []string{
	"com.docker.network.bridge.name", "com.docker.network.bridge.gateway_mode_ipv4", "com.docker.network.bridge.gateway_mode_ipv6",
	"com.docker.network.bridge.trusted_host_interfaces", "com.docker.network.bridge.inhibit_ipv4", "com.docker.network.bridge.default_bridge",
	"com.docker.network.host_ipv4", "com.docker.network.host_ipv6", "parent",
}

// closing are values of them that open nothing.
var closing = []string{"", "nat", "isolated", "false"}

func (q *question) network() {
	switch q.route.Endpoint.Path {
	case "/networks/create":
		if driver := asString(q.body["Driver"]); !slices.Contains([]string{"", "default", "bridge", "overlay"}, driver) {
			q.refuse("network-driver", lang.Text{En: "a network of the driver %q is the host's own, or the one outside", Es: "una red del driver %q es la del anfitrión, o la de fuera"}.F(driver), lang.Text{En: "docker network create --driver bridge", Es: "docker network create --driver bridge"})
		}
		for _, k := range sortedKeys(asMap(q.body["Options"])) {
			if v := asString(asMap(q.body["Options"])[k]); slices.Contains(bridgeOptions, k) && !slices.Contains(closing, v) {
				q.refuse("network-options", lang.Text{En: "the option %s=%s opens what the engine closes", Es: "la opción %s=%s abre lo que el motor cierra"}.F(k, printable(v)), lang.Text{En: "leave out -o %s", Es: "quite -o %s"}.F(k))
			}
		}
	case "/networks/{id}/connect":
		q.connect()
	case "/networks/{id}/disconnect":
		q.about(asString(q.body["Container"]))
	}
}

// connect judges a container as it would be on one more network.
func (q *question) connect() {
	o := q.about(asString(q.body["Container"]))
	if o == nil {
		q.add(*unknown(asString(q.body["Container"])))
		return
	}
	e := asMap(q.body["EndpointConfig"])
	q.endpoint(e)
	name := q.networkName(q.route.ID)
	after := o.Clone()
	inventory.Put(after.Fields, "NetworkSettings.Networks."+name, map[string]any{})
	if networks := asMap(asMap(after.Fields["NetworkSettings"])["Networks"]); networks[name] == nil {
		networks[name] = map[string]any{} // a name with dots in it
	}
	if name == "host" {
		inventory.Put(after.Fields, inventory.NetworkMode.Path, "host")
	}
	if id := asString(e["NetworkID"]); id != "" {
		if other := q.networkName(id); other != name {
			q.networkTwice(name, id)
		}
	}
	q.newly(o, after)
}

// service judges the containers that a service would have, on this host or
// another.
func (q *question) service() {
	task := asMap(q.body["TaskTemplate"])
	if task["PluginSpec"] != nil || task["Runtime"] == "plugin" {
		q.refuse("plugin", lang.Text{En: "the service is a plugin, which runs inside the engine, as root", Es: "el servicio es un plugin, que corre dentro del motor, como root"}, byHand)
	}
	spec := asMap(task["ContainerSpec"])
	if spec == nil {
		return
	}
	body := serviceAsCreate(q.body, task, spec)
	o := q.created(asString(q.body["Name"]), body)
	_, at := q.placed(o)
	q.tier = at.Tier
	q.container(o, at, asMap(body["NetworkingConfig"]))
	q.given(o)
	q.reference(asString(spec["Image"]))
}

// serviceAsCreate says in the words of a create request what Swarm makes of a
// service (moby, daemon/cluster/executor/container/container.go).
func serviceAsCreate(service, task, spec map[string]any) map[string]any {
	host := map[string]any{
		"Mounts": spec["Mounts"], "ReadonlyRootfs": spec["ReadOnly"], "CapAdd": spec["CapabilityAdd"], "CapDrop": spec["CapabilityDrop"],
		"Sysctls": spec["Sysctls"], "Ulimits": spec["Ulimits"], "OomScoreAdj": spec["OomScoreAdj"], "SecurityOpt": privilegesAsOpts(asMap(spec["Privileges"])),
	}
	limits := asMap(asMap(task["Resources"])["Limits"])
	for from, to := range map[string]string{"NanoCPUs": "NanoCpus", "MemoryBytes": "Memory", "Pids": "PidsLimit"} {
		if limits[from] != nil {
			host[to] = limits[from]
		}
	}
	if log := asMap(task["LogDriver"]); log != nil {
		host["LogConfig"] = map[string]any{"Type": asString(log["Name"]), "Config": asMap(log["Options"])}
	}
	bindings := map[string]any{}
	for _, v := range asList(asMap(service["EndpointSpec"])["Ports"]) {
		p := asMap(v)
		proto := asString(p["Protocol"])
		if proto == "" {
			proto = "tcp"
		}
		port := string(jsonNumber(p["TargetPort"])) + "/" + proto
		published := string(jsonNumber(p["PublishedPort"]))
		if published == "0" { // Swarm picks one for the whole cluster, and keeps it
			published = "30000"
		}
		bindings[port] = append(asList(bindings[port]), map[string]any{"HostIp": "", "HostPort": published})
	}
	host["PortBindings"] = bindings
	endpoints := map[string]any{}
	for _, list := range []any{task["Networks"], service["Networks"]} {
		for _, v := range asList(list) {
			target := asString(asMap(v)["Target"])
			endpoints[target] = map[string]any{"DriverOpts": asMap(v)["DriverOpts"]}
			host["NetworkMode"] = target // one of them: host stands alone
		}
	}
	labels := map[string]any{}
	for _, from := range []any{service["Labels"], spec["Labels"]} {
		for k, v := range asMap(from) {
			labels[k] = v
		}
	}
	return map[string]any{
		"Image": spec["Image"], "User": spec["User"], "Env": spec["Env"], "WorkingDir": spec["Dir"], "Labels": labels, "Healthcheck": spec["Healthcheck"],
		"Entrypoint": spec["Command"], "Cmd": spec["Args"], "HostConfig": host, "NetworkingConfig": map[string]any{"EndpointsConfig": endpoints},
	}
}

func jsonNumber(v any) json.Number {
	if n, ok := v.(json.Number); ok {
		return n
	}
	return "0"
}

// decoded is a profile that JSON carries in base64; canonical has read it.
func decoded(v any) string {
	b, err := base64.StdEncoding.DecodeString(asString(v))
	if err != nil {
		return ""
	}
	return string(b)
}

// privilegesAsOpts says ContainerSpec.Privileges as security options.
func privilegesAsOpts(p map[string]any) []any {
	var out []any
	label := asMap(p["SELinuxContext"])
	if asBool(label["Disable"]) {
		out = append(out, "label=disable")
	}
	if t := asString(label["Type"]); t != "" {
		out = append(out, "label=type:"+t)
	}
	switch s := asMap(p["Seccomp"]); s["Mode"] {
	case "unconfined":
		out = append(out, "seccomp=unconfined")
	case "custom":
		out = append(out, "seccomp="+decoded(s["Profile"]))
	}
	if asMap(p["AppArmor"])["Mode"] == "disabled" {
		out = append(out, "apparmor=unconfined")
	}
	if asBool(p["NoNewPrivileges"]) {
		out = append(out, "no-new-privileges=true")
	}
	return out
}
