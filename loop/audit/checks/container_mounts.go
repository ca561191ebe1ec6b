package checks

import (
	"path"
	"slices"
	"strings"

	"casco/loop/audit"
	"casco/loop/inventory"
)

// A mount is something of the host that a container sees as its own.
type mount struct {
	typ         string // "bind", "volume", "tmpfs", …
	name        string // of a volume
	source      string // as the engine was told
	target      string
	readOnly    bool
	propagation string
	field       string // where it was asked for: HostConfig.Binds or HostConfig.Mounts; "" by the image or another container

	path    string   // of the host, as far as it could be resolved; "" if the mount is no path of it
	kind    string   // what is there: "dir", "socket", "device", …; "" not known
	sockets []string // engine sockets at or under it; nil if nobody looked
	looked  bool
}

func (m mount) String() string {
	from := m.source
	if m.path != "" && m.path != m.source {
		from += " (" + m.path + ")"
	}
	if m.readOnly {
		return from + " ro"
	}
	return from
}

// mountsOf returns what o mounts. What was declared decides which; what the
// engine reports of it (Mounts) and what the host resolved it to (BindSources)
// complete it. ok is false if it could not be read; the last fact says why.
func mountsOf(s *inventory.Snapshot, o *inventory.Object) (ms []mount, facts []inventory.Fact, ok bool) {
	binds, bindFact, okBinds := inventory.Binds.Of(o)
	more, moreFact, _ := inventory.HostMounts.Of(o) // the engine leaves out an empty one
	live, liveFact, okLive := inventory.Mounts.Of(o)
	if !okBinds && !okLive {
		return nil, []inventory.Fact{bindFact}, false
	}
	facts = known(bindFact, moreFact, liveFact)
	ms = make([]mount, 0, len(binds)+len(more)+len(live))
	for _, b := range binds {
		ms = append(ms, bindMount(b))
	}
	for _, m := range more {
		ms = append(ms, hostMount(asMap(m)))
	}
	from, fromFact, _ := inventory.VolumesFrom.Of(o)
	for _, l := range live {
		is := liveMount(asMap(l))
		if i := slices.IndexFunc(ms, func(m mount) bool { return m.target == is.target }); i >= 0 {
			is.field, is.propagation = ms[i].field, or(is.propagation, ms[i].propagation)
			is.path = or(is.path, ms[i].path)
			ms[i] = is
		} else if is.typ != "bind" || !okBinds || len(from) > 0 {
			ms = append(ms, is)
		}
	}
	if !okLive && len(from) > 0 {
		for _, name := range from {
			name, _, _ = strings.Cut(name, ":")
			other := inventory.ContainerNamed(s, name)
			if other == nil || other.Ref == o.Ref {
				fromFact.Err = "takes the volumes of a container that was not read"
				return nil, append(facts, fromFact), false
			}
			theirs, _, ok := mountsOf(s, other)
			if !ok {
				fromFact.Err = "the mounts of the container it takes them from were not read"
				return nil, append(facts, fromFact), false
			}
			for _, m := range theirs {
				m.field = ""
				ms = append(ms, m)
			}
		}
		facts = append(facts, fromFact)
	}
	seen, seenFact, _ := inventory.BindSources.Of(o)
	facts = append(facts, known(seenFact)...)
	for i := range ms {
		ms[i].resolve(s, asMap(seen[ms[i].source]))
	}
	return ms, facts, true
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// bindMount reads "SOURCE:TARGET[:OPTIONS]" (docker run -v).
func bindMount(b string) mount {
	part := strings.SplitN(b, ":", 3)
	m := mount{typ: "volume", source: part[0], name: part[0], field: inventory.Binds.Path}
	if len(part) > 1 {
		m.target = path.Clean(part[1])
	}
	if strings.HasPrefix(m.source, "/") {
		m.typ, m.name = "bind", ""
	}
	if len(part) == 3 {
		for _, opt := range strings.Split(part[2], ",") {
			switch opt {
			case "ro":
				m.readOnly = true
			case "shared", "rshared", "slave", "rslave", "private", "rprivate":
				m.propagation = opt
			}
		}
	}
	return m
}

// hostMount reads an element of HostConfig.Mounts (docker run --mount).
func hostMount(v map[string]any) mount {
	m := mount{
		typ: asString(v["Type"]), source: asString(v["Source"]), target: path.Clean(asString(v["Target"])),
		propagation: asString(asMap(v["BindOptions"])["Propagation"]), field: inventory.HostMounts.Path,
	}
	m.readOnly, _ = v["ReadOnly"].(bool)
	if m.typ == "volume" {
		m.name = m.source
		m.path = devicePath(asMap(asMap(asMap(v["VolumeOptions"])["DriverConfig"])["Options"]))
	}
	return m
}

// liveMount reads an element of Mounts, as inspect has it.
func liveMount(v map[string]any) mount {
	rw, ok := v["RW"].(bool)
	return mount{
		typ: asString(v["Type"]), name: asString(v["Name"]), source: asString(v["Source"]),
		target: path.Clean(asString(v["Destination"])), readOnly: ok && !rw, propagation: asString(v["Propagation"]),
	}
}

// devicePath is the path of the host that the options of a local volume make
// it stand for: o=bind,device=/ or a file system on device=/dev/sda1. It is ""
// for network file systems and tmpfs. What is bound may be named from the root,
// where the engine runs, and with more slashes than one.
func devicePath(opts map[string]any) string {
	device := asString(opts["device"])
	switch {
	case device != "" && binds(opts):
		return path.Clean("/" + device)
	case strings.HasPrefix(device, "/dev/"):
		return device
	}
	return ""
}

func binds(opts map[string]any) bool {
	return slices.ContainsFunc(strings.Split(asString(opts["o"]), ","), func(o string) bool { return o == "bind" || o == "rbind" })
}

// resolve finds the path of the host behind m. A volume that is nothing else
// than a directory of the engine's own has none.
func (m *mount) resolve(s *inventory.Snapshot, seen map[string]any) {
	remote := false
	if m.typ == "volume" && m.path == "" {
		opts, _, _ := inventory.VolumeOptions.Of(s.Find(inventory.Ref{Kind: inventory.Volume, Name: m.name}))
		m.path = devicePath(opts)
		remote = opts["device"] != nil && m.path == ""
	}
	if m.typ == "bind" {
		m.path = m.source
	}
	// The engine's own directory of a volume is nobody else's path, and the
	// device of a network file system is none at all.
	if to := asString(seen["Resolved"]); to != "" && (m.typ != "volume" || !remote && !strings.HasSuffix(to, "/volumes/"+m.name+"/_data")) {
		m.path = to
	}
	if m.path != "" {
		m.path = canonical(m.path)
	}
	m.kind = asString(seen["Type"])
	if list, has := seen["Sockets"]; has {
		m.looked = true
		m.sockets, _ = stringsIn(list)
	}
}

// unmount asks which mounts may stay, once per field that holds a wrong one.
// There is no suggestion: only a person knows what the mount is for.
func unmount(o *inventory.Object, wrong []mount) []audit.Want {
	var ws []audit.Want
	for _, field := range []string{inventory.Binds.Path, inventory.HostMounts.Path} {
		if slices.ContainsFunc(wrong, func(m mount) bool { return m.field == field }) {
			ws = append(ws, ask(o, field, whichMounts))
		}
	}
	return ws
}

// judgeMounts fails o for each mount that bad selects.
func judgeMounts(s *inventory.Snapshot, o *inventory.Object, bad func(mount) bool) audit.Answer {
	ms, facts, ok := mountsOf(s, o)
	if !ok {
		return audit.Untold(facts...)
	}
	var wrong []mount
	var names, loci []string
	for _, m := range ms {
		if bad(m) {
			wrong, names, loci = append(wrong, m), append(names, m.String()), append(loci, m.source)
		}
	}
	if wrong == nil {
		return audit.Good(facts...)
	}
	return audit.Bad(facts...).At(loci...).Because(plain(quoted(names))).Wanting(unmount(o, wrong)...)
}
