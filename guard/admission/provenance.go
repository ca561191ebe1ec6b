package admission

import (
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/inventory"
)

// reference judges where the image of a container comes from.
func (q *question) reference(ref string) {
	if ref == "" {
		return
	}
	q.registry(ref)
	q.signature(ref)
	q.age(ref)
	if !slices.Contains(q.policy.Registries.Require, "digest") || strings.Contains(ref, "@sha256:") || isImageID(ref) {
		return
	}
	q.add(Refusal{
		Rule: "image-digest", Status: 403, Path: "registries.require",
		Reason: lang.Text{En: "%q may be another image tomorrow", Es: "%q puede ser otra imagen mañana"}.F(ref),
		Fix:    lang.Text{En: "%s@sha256:…, as docker inspect shows it in RepoDigests", Es: "%s@sha256:…, como lo muestra docker inspect en RepoDigests"}.F(withoutTag(ref)),
	})
}

// registry wants an image to be of what registries.allow names. One that is
// here goes by where it was pulled from; a tag says nothing of that.
func (q *question) registry(ref string) {
	allow := q.policy.Registries.Allow
	if len(allow) == 0 {
		return
	}
	names := []string{ref}
	if img := q.world.Image(ref); img != nil {
		digests, _, _ := inventory.ImageDigests.Of(img)
		if names = digests; isImageID(ref) || len(digests) == 0 {
			names = append(names, "")
		}
	}
	if slices.ContainsFunc(names, func(n string) bool { return n != "" && fromAny(allow, n) }) {
		return
	}
	q.notFrom(ref, origin(names))
}

// notFrom refuses an image because of the registry that it comes from; "" is
// none.
func (q *question) notFrom(ref, registry string) {
	why := lang.Text{En: "%q was pulled from no registry", Es: "%q no se bajó de ningún registro"}.F(ref)
	if registry != "" {
		why = lang.Text{En: "%q comes from %s, which the policy does not allow", Es: "%q viene de %s, que la política no permite"}.F(ref, registry)
	}
	q.add(Refusal{
		Rule: "image-registry", Status: 403, Path: "registries.allow", Reason: why,
		Fix: lang.Text{En: "an image of %s", Es: "una imagen de %s"}.F(strings.Join(q.policy.Registries.Allow, ", ")),
	})
}

func origin(names []string) string {
	for _, n := range names {
		if n != "" {
			return inventory.RegistryOf(n)
		}
	}
	return ""
}

// fromAny reports whether an image is of one of the registries, or with a
// slash of the repositories below it.
func fromAny(allow []string, ref string) bool {
	host := inventory.RegistryOf(ref)
	p := withoutTag(strings.TrimPrefix(ref, host+"/"))
	if host == "docker.io" && !strings.Contains(p, "/") {
		p = "library/" + p // distribution/reference, officialRepoPrefix
	}
	return slices.ContainsFunc(allow, func(entry string) bool {
		if !strings.Contains(entry, "/") {
			return entry == host
		}
		head, star := strings.CutSuffix(entry, "*")
		return host+"/"+p == entry || star && strings.HasPrefix(host+"/"+p, head)
	})
}

func withoutTag(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		return ref[:i]
	}
	return ref
}

func isImageID(ref string) bool {
	hex := strings.TrimPrefix(ref, "sha256:")
	return len(hex) >= 12 && strings.Trim(hex, "0123456789abcdef") == ""
}

// vouched reports whether an image was pulled from a registry that the policy
// allows.
func (q *question) vouched(ref string) bool {
	digests, _, _ := inventory.ImageDigests.Of(q.world.Image(ref))
	return slices.ContainsFunc(digests, func(d string) bool { return fromAny(q.policy.Registries.Allow, d) })
}
