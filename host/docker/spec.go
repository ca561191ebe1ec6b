package docker

import (
	"fmt"
	"slices"
	"strings"

	"casco/loop/inventory"
	"casco/loop/plan"
)

// A spec is what a container is created from.
type spec struct {
	body  map[string]any            // of POST /containers/create
	join  map[string]map[string]any // networks to connect it to before its start
	leave string                    // a network that creating it joins and that it is not to be in, or ""
}

// A member is one container of a transaction, as it was before.
type member struct {
	Ref     inventory.Ref
	ID      string
	Inspect map[string]any // GET /containers/{id}/json, whole
	// Image is what to create it from: the name it was created from while that
	// names the same image, else the image's ID.
	Image string
	// NoEntrypoint says that the image has an entrypoint and the container,
	// by its creator's wish, has none.
	NoEntrypoint bool
	// Inherited are the mount points that it has from other containers
	// (volumes-from).
	Inherited []string
	// Next is the image that the step gives it; nil for its own.
	Next *nextImage `json:",omitempty"`
	// MACs are the MAC addresses that somebody chose, by network; nil if it
	// cannot be told which are.
	MACs map[string]string `json:",omitempty"`
	// Lost are paths that it changed in its own layer; a new container does
	// not have the changes. LostMore is how many there are beyond the list.
	Lost     []string
	LostMore int
}

func (m member) ran() bool    { return truth(m.Inspect, "State", "Running") }
func (m member) paused() bool { return truth(m.Inspect, "State", "Paused") }

// resolved reports whether others may find m by its name: networks that users
// made have a name server (docs.docker.com, "DNS services"), the engine's own
// have none.
func (m member) resolved() bool {
	for name := range object(m.Inspect, "NetworkSettings", "Networks") {
		if name != "bridge" && name != "host" && name != "none" {
			return true
		}
	}
	return false
}

// NewSuffix is what the name of a new container ends with until it takes over.
const NewSuffix = ".casco-new"

// temporary is that name.
func (m member) temporary() string { return m.Ref.Name + NewSuffix }

func (m member) parked() string { return ParkedName(m.Ref.Name, m.ID) }

// ParkedName is what a container is called while it is kept for going back.
func ParkedName(name, id string) string { return name + ".casco-" + id[:12] }

// isParked reports whether an inspected container is one that Recreate keeps.
func isParked(c map[string]any) bool {
	id := str(c, "Id")
	return len(id) >= 12 && strings.HasSuffix(str(c, "Name"), ".casco-"+id[:12]) && !truth(c, "State", "Running")
}

// A swap says which containers take the place of others: old ID to new.
type swap struct {
	ids    map[string]string
	names  map[string]string // old name to new ID
	labels map[string]string // old ID to the SELinux label of the old one's processes
	mounts bool              // what is mounted changes, so who inherits it must look at the new one
}

// spec makes the specification of a container that is m in all but what sets
// say, and that leans on the new ones where m leaned on the old.
//
// What m has from its image is given explicitly, as inspecting m shows it: the
// engine merges an image into a container once, when it creates it, and the
// image here is the very same, unless sets name another.
func (m member) spec(minor int, sets []plan.Set, sw swap) spec {
	was := m.Inspect
	now := clone(was)
	another := m.Next != nil && slices.ContainsFunc(sets, func(s plan.Set) bool { return s.Field == inventory.ImageName.Path })
	if another {
		m.Next.rebase(object(now, "Config"))
	}
	m.set(now, sets)
	host, config := object(now, "HostConfig"), object(now, "Config")
	if truth(was, "HostConfig", "Privileged") && !truth(host, "Privileged") {
		// The engine had unmasked the paths of /proc and /sys along with it.
		delete(host, "MaskedPaths")
		delete(host, "ReadonlyPaths")
	}
	relabel(object(was, "HostConfig"), host, sw)
	if memory, swap := number(host["Memory"]), number(host["MemorySwap"]); swap > 0 && swap < memory {
		host["MemorySwap"] = swapFor(memory, swap)
	}
	if !another {
		config["Image"] = m.Image
	}
	if m.NoEntrypoint && len(list(config, "Entrypoint")) == 0 {
		config["Entrypoint"] = []any{""} // null would mean the image's
	}
	m.hostname(was, config)
	m.hostname(now, config)
	m.volumes(host)
	sw.lean(host)
	s := spec{body: config, join: m.endpoints(minor, host, config)}
	config["HostConfig"] = host
	s.enter(minor, networkOf(str(host, "NetworkMode")), networkOf(str(was, "HostConfig", "NetworkMode")))
	return s
}

// set gives the fields their new values. What a plan kept of the old values
// may be masked; the secrets behind come from the container itself.
func (m member) set(now map[string]any, sets []plan.Set) {
	masked := clone(m.Inspect)
	maskContainer(masked)
	for _, set := range sets {
		hidden, _, _ := inventory.Lookup(&inventory.Object{Fields: masked}, set.Field)
		actual, _, _ := inventory.Lookup(&inventory.Object{Fields: m.Inspect}, set.Field)
		inventory.Put(now, set.Field, unmask(set.To, hidden, actual))
	}
}

// relabel takes away what the engine wrote into SecurityOpt because of what the
// container shared, as if somebody had asked for it (moby daemon/create.go,
// generateSecurityOpt): that it has no SELinux label, or that of another
// container. The engine decides anew for the new one.
func relabel(was, host map[string]any, sw swap) {
	gone := []any{}
	if unlabelled(was) && !unlabelled(host) {
		gone = append(gone, "label=disable", "label:disable")
	}
	for _, key := range []string{"IpcMode", "PidMode"} {
		if id, ok := strings.CutPrefix(str(was, key), "container:"); ok {
			parts := strings.SplitN(sw.labels[id], ":", 4)
			for i := 0; len(parts) == 4 && i < 4; i++ {
				gone = append(gone, "label="+[]string{"user:", "role:", "type:", "level:"}[i]+parts[i])
			}
		}
	}
	if len(gone) > 0 {
		host["SecurityOpt"] = slices.DeleteFunc(append([]any{}, list(host, "SecurityOpt")...), func(o any) bool { return slices.Contains(gone, o) })
	}
}

// unlabelled reports whether the engine gives a container no SELinux label
// because of its other settings.
func unlabelled(host map[string]any) bool {
	return truth(host, "Privileged") || str(host, "PidMode") == "host" || str(host, "IpcMode") == "host"
}

// hostname drops what the engine filled in, and what it does not accept beside
// a network or UTS namespace that is not the container's own.
func (m member) hostname(c, config map[string]any) {
	mode := str(c, "HostConfig", "NetworkMode")
	shared := strings.HasPrefix(mode, "container:")
	if shared || mode == "host" || str(c, "HostConfig", "UTSMode") == "host" || str(config, "Hostname") == m.ID[:12] {
		delete(config, "Hostname")
	}
	if shared || mode == "host" {
		delete(config, "Domainname")
	}
	if shared {
		delete(config, "ExposedPorts")
	}
}

// volumes binds anonymous volumes by name: the new container would get empty
// ones of its own.
func (m member) volumes(host map[string]any) {
	bound := slices.Clone(m.Inherited)
	binds := list(host, "Binds")
	for _, b := range binds {
		if parts := strings.Split(fmt.Sprint(b), ":"); len(parts) > 1 {
			bound = append(bound, parts[1])
		}
	}
	for _, mount := range list(host, "Mounts") {
		mount, _ := mount.(map[string]any)
		target := str(mount, "Target")
		bound = append(bound, target)
		if str(mount, "Type") == "volume" && str(mount, "Source") == "" {
			mount["Source"] = str(m.mounted(target), "Name")
		}
	}
	for dst := range object(host, "Tmpfs") {
		bound = append(bound, dst)
	}
	for _, mount := range list(m.Inspect, "Mounts") {
		mount, _ := mount.(map[string]any)
		dst := str(mount, "Destination")
		if str(mount, "Type") != "volume" || slices.Contains(bound, dst) || m.wasBound(dst) {
			continue
		}
		bind := str(mount, "Name") + ":" + dst
		if rw, ok := mount["RW"].(bool); ok && !rw {
			bind += ":ro"
		}
		binds = append(binds, bind)
	}
	host["Binds"] = binds
}

// mounted is the entry of Mounts at dst.
func (m member) mounted(dst string) map[string]any {
	for _, mount := range list(m.Inspect, "Mounts") {
		if mount, _ := mount.(map[string]any); str(mount, "Destination") == dst {
			return mount
		}
	}
	return nil
}

// wasBound reports whether something was mounted at dst by the creator's word,
// so that it is gone now because it shall be.
func (m member) wasBound(dst string) bool {
	for _, b := range texts(m.Inspect, "HostConfig", "Binds") {
		if parts := strings.Split(b, ":"); len(parts) > 1 && parts[1] == dst {
			return true
		}
	}
	return slices.ContainsFunc(list(m.Inspect, "HostConfig", "Mounts"), func(mount any) bool {
		mm, _ := mount.(map[string]any)
		return str(mm, "Target") == dst
	})
}

// lean points a container at the new ones it leans on. The engine keeps IDs
// for namespaces, and names or IDs as they were given elsewhere. A name stays:
// by the time of the start, the new one has it.
func (sw swap) lean(host map[string]any) {
	for _, key := range []string{"NetworkMode", "PidMode", "IpcMode"} {
		if id, ok := strings.CutPrefix(str(host, key), "container:"); ok && sw.ids[id] != "" {
			host[key] = "container:" + sw.ids[id]
		}
	}
	from := list(host, "VolumesFrom")
	for i, v := range from {
		// What is inherited is settled at creation, when the old one still has
		// the name.
		target, mode, more := strings.Cut(fmt.Sprint(v), ":")
		id := sw.ids[target]
		if sw.mounts && id == "" {
			id = sw.names[target]
		}
		if id != "" {
			target = id
		}
		if from[i] = target; more {
			from[i] = target + ":" + mode
		}
	}
	links := []any{}
	for _, l := range texts(host, "Links") { // "/db:/web/alias"
		target, alias, _ := strings.Cut(strings.TrimPrefix(l, "/"), ":")
		if id := sw.names[target]; id != "" {
			target = id // the engine links to what has the name now, and follows it
		}
		links = append(links, target+":"+alias[strings.LastIndex(alias, "/")+1:])
	}
	host["Links"] = links
}

// endpoints are the networks of m, as far as they were asked for: aliases,
// static addresses, MAC, options of drivers; not what the engine assigned.
func (m member) endpoints(minor int, host, config map[string]any) map[string]map[string]any {
	mode := str(host, "NetworkMode")
	if mode == "host" || mode == "none" || strings.HasPrefix(mode, "container:") {
		delete(config, "MacAddress")
		return nil
	}
	out := map[string]map[string]any{}
	mac := str(config, "MacAddress")
	for name, e := range object(m.Inspect, "NetworkSettings", "Networks") {
		if name == "host" || name == "none" {
			continue // it has left them
		}
		e, _ := e.(map[string]any)
		end := map[string]any{}
		for _, key := range []string{"IPAMConfig", "Links", "DriverOpts", "GwPriority"} {
			if e[key] != nil {
				end[key] = e[key]
			}
		}
		if aliases := m.aliases(e); len(aliases) > 0 {
			end["Aliases"] = aliases
		}
		if mac := m.mac(name, e); minor >= 44 && mac != "" {
			end["MacAddress"] = mac
		}
		out[name] = end
	}
	if primary := out[networkOf(mode)]; minor >= 44 && mac != "" {
		// Since 1.44 a MAC belongs to an endpoint.
		if primary != nil {
			primary["MacAddress"] = mac
		}
		delete(config, "MacAddress")
	}
	return out
}

// aliases are those that were asked for; the engine (before API 1.45) adds the
// short ID.
func (m member) aliases(endpoint map[string]any) []any {
	return slices.DeleteFunc(slices.Clone(list(endpoint, "Aliases")), func(a any) bool { return a == m.ID[:12] })
}

// networkOf is the network that a mode names.
func networkOf(mode string) string {
	if mode == "default" || mode == "" {
		return "bridge"
	}
	return mode
}

// enter gives the networks along with the creation. Before API 1.44 that may be
// only the one of the mode, and the others are connected afterwards; since, it
// must be all, because a MAC address that comes with "connect" is not kept
// (28.5, measured). If the mode was another, that one's network goes with it.
func (s *spec) enter(minor int, primary, before string) {
	if s.join == nil {
		return
	}
	if primary != before {
		delete(s.join, before)
	}
	with := map[string]any{}
	for name, end := range s.join {
		if name == primary || minor >= 44 {
			with[name] = end
			delete(s.join, name)
		}
	}
	switch {
	case len(with) > 0:
		s.body["NetworkingConfig"] = map[string]any{"EndpointsConfig": with}
	case primary == before:
		s.leave = primary // the old one has been disconnected from it
	}
}
