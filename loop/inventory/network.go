package inventory

import "slices"

// NetworksOf returns the names of the networks that o is or would be attached
// to, sorted: "host" for the host's own, "container:…" never. A container
// that shares another's network is where that one is.
func NetworksOf(s *Snapshot, o *Object) (names []string, fact Fact, ok bool) {
	return networksVia(s, o, nil)
}

func networksVia(s *Snapshot, o *Object, seen []Ref) ([]string, Fact, bool) {
	mode, fact, hasMode := NetworkMode.Of(o)
	if name, other := Joined(s, mode); name != "" {
		if other == nil || slices.Contains(seen, other.Ref) {
			fact.Err = "shares the network of a container that was not read"
			return nil, fact, false
		}
		return networksVia(s, other, append(seen, o.Ref))
	}
	attached, nets, ok := Networks.Of(o)
	switch {
	case ok && len(attached) > 0:
		return slices.DeleteFunc(sortedKeys(attached), func(n string) bool { return n == "none" }), nets, true
	case !hasMode:
		return nil, fact, false
	case mode == "none":
		return nil, fact, true
	case mode == "" || mode == "default":
		mode = "bridge"
	}
	return []string{mode}, fact, true
}
