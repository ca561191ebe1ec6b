package inventory

import (
	"maps"
	"slices"
	"strings"
)

// EngineOf returns the daemon that runs the containers of s: the one that was
// asked over its API, for others of the host are known by their process alone.
// Without a reply it is the only one there is. It is nil if that cannot be
// told: then it is unknown whose defaults apply.
func EngineOf(s *Snapshot) *Object {
	var asked *Object
	for _, o := range s.Of(Daemon) {
		if _, _, ok := DaemonInfo.Of(o); ok {
			if asked != nil {
				return nil
			}
			asked = o
		}
	}
	if asked != nil {
		return asked
	}
	return Only(s, Daemon)
}

// Only returns the object of kind k if there is exactly one, else nil.
func Only(s *Snapshot, k Kind) *Object {
	if s == nil {
		return nil
	}
	var found *Object
	for _, o := range s.Objects {
		if o.Ref.Kind == k {
			if found != nil {
				return nil
			}
			found = o
		}
	}
	return found
}

// Joined returns the container whose namespace o shares by a mode of
// "container:NAME". The name is "" if the mode is another; the object is nil
// if no such container was read.
func Joined(s *Snapshot, mode string) (name string, other *Object) {
	name, ok := strings.CutPrefix(mode, "container:")
	if !ok {
		return "", nil
	}
	return name, ContainerNamed(s, name)
}

// ContainerNamed finds a container by name, ID or the beginning of its ID.
func ContainerNamed(s *Snapshot, name string) *Object {
	if c := s.Find(Ref{Kind: Container, Name: strings.TrimPrefix(name, "/")}); c != nil {
		return c
	}
	for _, c := range s.Of(Container) {
		if id, _, _ := ContainerID.Of(c); len(name) >= 12 && strings.HasPrefix(id, name) {
			return c
		}
	}
	return nil
}

// Values of decoded JSON that have no type of their own: another type is the
// zero value.

func asMap(v any) map[string]any { m, _ := v.(map[string]any); return m }

func asString(v any) string { s, _ := v.(string); return s }

func asList(v any) []any { l, _ := v.([]any); return l }

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
