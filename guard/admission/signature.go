package admission

import (
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/policy"
	"casco/signed/image"
)

// signature wants an image to be signed by the key that the policy has for where
// it comes from. What is signed is its name with its digest, and a line feed, as
// "docker inspect -f '{{index .RepoDigests 0}}'" prints it: a tag may name
// something else tomorrow, and a digest cannot.
func (q *question) signature(ref string) {
	if !slices.Contains(q.policy.Registries.Require, "signature") {
		return
	}
	var names []string
	if img := q.world.Image(ref); img != nil {
		names, _, _ = inventory.ImageDigests.Of(img)
	} else if strings.Contains(ref, "@sha256:") {
		names = []string{withoutTag(ref) + ref[strings.IndexByte(ref, '@'):]}
	}
	if slices.ContainsFunc(names, q.signed) {
		return
	}
	why := lang.Text{En: "%q has no signature that counts", Es: "%q no tiene una firma que valga"}.F(ref)
	if len(names) == 0 {
		why = lang.Text{En: "%q has no digest of a registry that could be signed", Es: "%q no tiene digest de un registro que se pudiera firmar"}.F(ref)
	}
	q.add(Refusal{
		Rule: "image-unsigned", Status: 403, Path: "registries.require", Reason: why,
		Fix: lang.Text{
			En: "docker inspect -f '{{index .RepoDigests 0}}' IMAGE | ssh-keygen -Y sign -n casco-image -f KEY, by who holds a key of registries.keys; the manual says where the signature goes",
			Es: "docker inspect -f '{{index .RepoDigests 0}}' IMAGEN | ssh-keygen -Y sign -n casco-image -f CLAVE, quien tenga una clave de registries.keys; el manual dice adónde va la firma",
		},
	})
}

// signed reports whether there is a signature over NAME@DIGEST by a key of the
// policy's for that name.
func (q *question) signed(name string) bool {
	keys := keysOf(q.policy, name)
	_, digest, _ := strings.Cut(name, "@")
	return len(keys) > 0 && slices.ContainsFunc(q.world.Signatures(digest), func(s []byte) bool {
		return slices.ContainsFunc(keys, func(ks image.Keys) bool { return image.Verify(s, name, ks, q.At) == nil })
	})
}

// keysOf are the keys that the policy has for a name. What is no key in a file is
// for the policy's lint to say.
func keysOf(p *policy.Policy, name string) []image.Keys {
	var out []image.Keys
	for pattern, file := range p.Registries.Keys {
		if fromAny([]string{pattern}, name) {
			ks, _ := image.ParseKeys(p.Files[file])
			out = append(out, ks)
		}
	}
	return out
}

// age wants an image to be no older than the policy says.
func (q *question) age(ref string) {
	img := q.world.Image(ref)
	if q.policy.Images.MaxAge == 0 || img == nil {
		return
	}
	s := q.scene([]*inventory.Object{img})
	q.excepted(s, []audit.Finding{{Check: q.imageAge, Ref: img.Ref, Answer: q.imageAge.Eval(s, img)}})
}
