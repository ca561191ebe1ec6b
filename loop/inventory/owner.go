package inventory

import "strings"

// An Owner is what created an object and would undo a change made behind its
// back: the next "compose up", or Swarm's reconciliation.
type Owner string

const (
	OwnerNone    Owner = ""        // made by hand: "docker run"
	OwnerCompose Owner = "compose" // label com.docker.compose.project
	OwnerSwarm   Owner = "swarm"   // label com.docker.swarm.task.id, and every Swarm service
)

// OwnerOf says who owns o, by the labels that Compose (com.docker.compose.*)
// and Swarm (com.docker.swarm.*) put on what they make.
func OwnerOf(o *Object) Owner {
	if o.Ref.Kind == Service {
		return OwnerSwarm
	}
	labels, _, _ := Labels.Of(o)
	switch {
	case labels["com.docker.swarm.task.id"] != nil:
		return OwnerSwarm
	case labels["com.docker.compose.project"] != nil:
		return OwnerCompose
	}
	return OwnerNone
}

// Dependents returns the refs of the containers that lean on container o: by
// a shared namespace (container: network, pid or ipc mode), volumes-from, or a
// link. They break when o is created again, unless they are with it. The
// result is transitive, without o, in the order in which they must start.
func Dependents(s *Snapshot, o *Object) []Ref {
	var out []Ref
	seen := map[Ref]bool{o.Ref: true}
	for queue := []*Object{o}; len(queue) > 0; queue = queue[1:] {
		for _, c := range s.Of(Container) {
			if !seen[c.Ref] && leansOn(c, queue[0]) {
				seen[c.Ref] = true
				out = append(out, c.Ref)
				queue = append(queue, c)
			}
		}
	}
	return out
}

func leansOn(c, on *Object) bool {
	id, _, _ := ContainerID.Of(on)
	names := func(s string) bool { return s != "" && (s == id || s == on.Ref.Name) }
	for _, f := range []Field[string]{NetworkMode, PidMode, IpcMode} {
		mode, _, _ := f.Of(c)
		if target, ok := strings.CutPrefix(mode, "container:"); ok && names(target) {
			return true
		}
	}
	from, _, _ := VolumesFrom.Of(c)
	for _, v := range from {
		name, _, _ := strings.Cut(v, ":")
		if names(name) {
			return true
		}
	}
	links, _, _ := Field[[]string]{Container, "HostConfig.Links"}.Of(c)
	for _, l := range links { // "/db:/web/alias"
		name, _, _ := strings.Cut(l, ":")
		if names(strings.TrimPrefix(name, "/")) {
			return true
		}
	}
	return false
}
