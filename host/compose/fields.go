package compose

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"casco/lang"
	"casco/loop/plan"
)

// A key is how a field of the Engine API is written in a Compose file
// (compose-spec, 05-services.md). To gives the value of the key for a value of
// the field, nil to take the key away.
type key struct {
	name string
	to   func(v any) (any, error)
}

// keys maps the fields whose whole value is one key of the file.
var keys = map[string]key{
	"Config.User":               {"user", orNone},
	"Config.Healthcheck":        {"healthcheck", healthcheck},
	"HostConfig.CapAdd":         {"cap_add", list},
	"HostConfig.CapDrop":        {"cap_drop", list},
	"HostConfig.CgroupParent":   {"cgroup_parent", orNone},
	"HostConfig.CgroupnsMode":   {"cgroup", orNone},
	"HostConfig.CpuShares":      {"cpu_shares", same},
	"HostConfig.CpusetCpus":     {"cpuset", orNone},
	"HostConfig.IpcMode":        {"ipc", orNone},
	"HostConfig.LogConfig":      {"logging", logging},
	"HostConfig.Memory":         {"mem_limit", same},
	"HostConfig.MemorySwap":     {"memswap_limit", same},
	"HostConfig.NanoCpus":       {"cpus", cpus},
	"HostConfig.NetworkMode":    {"network_mode", network},
	"HostConfig.PidMode":        {"pid", orNone},
	"HostConfig.PidsLimit":      {"pids_limit", same},
	"HostConfig.Privileged":     {"privileged", same},
	"HostConfig.ReadonlyRootfs": {"read_only", same},
	"HostConfig.RestartPolicy":  {"restart", restart},
	"HostConfig.SecurityOpt":    {"security_opt", securityOpt},
	"HostConfig.Tmpfs":          {"tmpfs", tmpfs},
	"HostConfig.Ulimits":        {"ulimits", ulimits},
	"HostConfig.UTSMode":        {"uts", orNone},
	"HostConfig.UsernsMode":     {"userns_mode", orNone},
}

const (
	restartField  = "HostConfig.RestartPolicy."
	bindings      = "HostConfig.PortBindings."
	bindsField    = "HostConfig.Binds"
	devicesField  = "HostConfig.Devices"
	restartPolicy = "HostConfig.RestartPolicy"
)

// fields lists what edit can set, for Means.
func fields() []string {
	all := slices.Collect(maps.Keys(keys))
	all = append(all, restartField, bindings, bindsField, devicesField)
	slices.Sort(all)
	return all
}

// ordered joins the sets of a restart policy, which is one key in the file, and
// leaves the rest in their order.
func ordered(sets []plan.Set) []plan.Set {
	var out []plan.Set
	policy := map[string]any{}
	for _, s := range sets {
		if part, ok := strings.CutPrefix(s.Field, restartField); ok {
			policy[part] = s.To
			continue
		}
		out = append(out, s)
	}
	if len(policy) > 0 {
		out = append(out, plan.Set{Field: restartPolicy, To: policy})
	}
	return out
}

// Edit makes one set in the text of a Compose file, to the byte outside of it,
// or says why it cannot.
func Edit(src []byte, service string, s plan.Set) ([]byte, error) { return edit(src, service, s) }

// edit makes one set in the text of a file.
func edit(src []byte, service string, s plan.Set) ([]byte, error) {
	d, err := parse(src)
	if err != nil {
		return nil, err
	}
	if port, ok := strings.CutPrefix(s.Field, bindings); ok {
		return d.publish(service, port, s.To)
	}
	switch s.Field {
	case bindsField:
		return d.drop(service, "volumes", 1, s)
	case devicesField:
		return d.drop(service, "devices", 0, s)
	}
	k, ok := keys[s.Field]
	if !ok {
		return nil, lang.Errorf(lang.Text{En: "%s has no key in a compose file", Es: "%s no tiene clave en un archivo compose"}, s.Field)
	}
	v, err := k.to(s.To)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Field, err)
	}
	return d.set(service, k.name, v)
}

func same(v any) (any, error) { return v, nil }

// orNone takes the key away for the empty string, which is the default.
func orNone(v any) (any, error) {
	if v == "" {
		return nil, nil
	}
	return v, nil
}

func network(v any) (any, error) {
	if v == "" || v == "default" || v == "bridge" {
		return nil, nil // the project's own network
	}
	return v, nil
}

func list(v any) (any, error) {
	var ss []string
	for _, e := range elements(v) {
		s, ok := e.(string)
		if !ok {
			return nil, lang.Errorf(lang.Text{En: "%v is not a string", Es: "%v no es una cadena"}, e)
		}
		ss = append(ss, s)
	}
	if len(ss) == 0 {
		return nil, nil
	}
	return ss, nil
}

// securityOpt leaves out what the engine adds to a privileged container.
func securityOpt(v any) (any, error) {
	all, err := list(v)
	ss, _ := all.([]string)
	ss = slices.DeleteFunc(ss, func(s string) bool { return s == "label=disable" })
	if len(ss) == 0 {
		return nil, err
	}
	return ss, err
}

// cpus turns 1e-9 CPUs into CPUs.
func cpus(v any) (any, error) {
	n, err := strconv.ParseInt(fmt.Sprint(v), 10, 64)
	return json.Number(strconv.FormatFloat(float64(n)/1e9, 'f', -1, 64)), err
}

func restart(v any) (any, error) {
	m, _ := v.(map[string]any)
	name, _ := m["Name"].(string)
	if name == "" {
		return nil, lang.Errorf(lang.Text{En: "a restart policy needs a name", Es: "una política de reinicio necesita un nombre"})
	}
	if n := fmt.Sprint(m["MaximumRetryCount"]); name == "on-failure" && m["MaximumRetryCount"] != nil && n != "0" {
		return name + ":" + n, nil
	}
	return name, nil
}

func tmpfs(v any) (any, error) {
	m, _ := v.(map[string]any)
	var ss []string
	for _, path := range slices.Sorted(maps.Keys(m)) {
		if opts := fmt.Sprint(m[path]); opts != "" {
			path += ":" + opts
		}
		ss = append(ss, path)
	}
	if len(ss) == 0 {
		return nil, nil
	}
	return ss, nil
}

func elements(v any) []any {
	switch l := v.(type) {
	case []any:
		return l
	case []string:
		var out []any
		for _, s := range l {
			out = append(out, s)
		}
		return out
	}
	return nil
}

// drop takes away the items that a set removes from a list of the engine, such
// as a bind "/host:/in:ro". The item of the file is found by the path inside
// the container, the part with that index between colons: what stands before
// it may be relative or have variables. Adding is refused: the file says more
// than the engine knows.
func (d *document) drop(service, name string, part int, s plan.Set) ([]byte, error) {
	var gone []string
	for _, e := range elements(s.From) {
		if !slices.ContainsFunc(elements(s.To), func(kept any) bool { return sameValue(kept, e) }) {
			gone = append(gone, target(e, part))
		}
	}
	if len(gone) == 0 || len(gone) != len(elements(s.From))-len(elements(s.To)) {
		return nil, lang.Errorf(lang.Text{
			En: "%s: entries can be taken away from a compose file, not added",
			Es: "%s: de un archivo compose se pueden quitar entradas, no añadir",
		}, s.Field)
	}
	for _, path := range gone {
		i, err := d.index(service, name, func(n *yaml.Node) bool { return nodeTarget(n, part) == path })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out, err := d.item(service, name, i, "")
		if err != nil {
			return nil, err
		}
		if d, err = parse(out); err != nil {
			return nil, err
		}
	}
	return d.bytes(), nil
}

func target(e any, part int) string {
	switch e := e.(type) {
	case string:
		if p := strings.Split(e, ":"); part < len(p) {
			return p[part]
		}
	case map[string]any: // HostConfig.Devices
		s, _ := e["PathOnHost"].(string)
		return s
	}
	return ""
}

func nodeTarget(n *yaml.Node, part int) string {
	if n.Kind == yaml.MappingNode { // the long form
		name := "target"
		if part == 0 {
			name = "source"
		}
		if _, v := child(n, name); v != nil {
			return v.Value
		}
		return ""
	}
	return target(n.Value, part)
}

func (d *document) index(service, name string, is func(*yaml.Node) bool) (int, error) {
	_, l := child(d.service(service), name)
	if l == nil || l.Kind != yaml.SequenceNode {
		return 0, lang.Errorf(lang.Text{
			En: "service %q has no list %s in this file",
			Es: "el servicio %q no tiene la lista %s en este archivo",
		}, service, name)
	}
	found := -1
	for i, n := range l.Content {
		if is(n) {
			if found >= 0 {
				return 0, lang.Errorf(lang.Text{En: "service %q: %s has it twice", Es: "servicio %q: %s lo tiene dos veces"}, service, name)
			}
			found = i
		}
	}
	if found < 0 {
		return 0, lang.Errorf(lang.Text{
			En: "service %q: %s of this file does not have it",
			Es: "servicio %q: %s de este archivo no lo tiene",
		}, service, name)
	}
	return found, nil
}

// publish writes where a container's port is published. Port is "80/tcp", to a
// list of {HostIp, HostPort}; an empty one publishes it no more.
func (d *document) publish(service, port string, to any) ([]byte, error) {
	want := elements(to)
	if len(want) > 1 {
		return nil, lang.Errorf(lang.Text{
			En: "port %s: more than one binding cannot be written in place of one",
			Es: "puerto %s: no se puede escribir más de una publicación en lugar de una",
		}, port)
	}
	i, err := d.index(service, "ports", func(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && containerPort(n.Value) == port })
	if err != nil {
		return nil, lang.Errorf(lang.Text{En: "port %s: %w", Es: "puerto %s: %w"}, port, err)
	}
	text := ""
	if len(want) == 1 {
		b, _ := want[0].(map[string]any)
		ip, _ := b["HostIp"].(string)
		host, _ := b["HostPort"].(string)
		if strings.Contains(ip, ":") {
			ip = "[" + ip + "]"
		}
		number, proto, _ := strings.Cut(port, "/")
		text = strings.TrimPrefix(ip+":"+host+":"+number, ":")
		if proto != "tcp" {
			text += "/" + proto
		}
	}
	return d.item(service, "ports", i, text)
}

// containerPort is the port inside the container of "[ip:]host:80/proto", as
// the engine writes it.
func containerPort(s string) string {
	s, proto, ok := strings.Cut(s, "/")
	if !ok {
		proto = "tcp"
	}
	return s[strings.LastIndex(s, ":")+1:] + "/" + proto
}
