package inventory

import "strings"

// RegistryOf returns the registry of a reference: what is before the first
// slash if it has a dot or a colon or is localhost, else Docker Hub
// (distribution/reference, splitDockerDomain).
func RegistryOf(ref string) string {
	host, _, ok := strings.Cut(ref, "/")
	if ok && (strings.ContainsAny(host, ".:") || host == "localhost") {
		return host
	}
	return "docker.io"
}
