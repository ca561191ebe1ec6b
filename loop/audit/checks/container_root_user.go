package checks

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var containerRootUser = &audit.Check{
	ID:    "container-root-user",
	Title: lang.Text{En: "Container runs as root", Es: "El contenedor se ejecuta como root"},
	Why: lang.Text{
		En: "Whatever breaks in is root inside at once, and root of the host after an escape.",
		Es: "Quien irrumpe es root dentro al instante, y root del anfitrión tras una fuga.",
	},
	Remedy: lang.Text{
		En: "Give the image a USER, or create the container again with --user UID:GID; its volumes must belong to that user.",
		Es: "Dé a la imagen un USER o vuelva a crear el contenedor con --user UID:GID; sus volúmenes deben ser de ese usuario.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowConfinement.cis("4.1"),
	Kind:     inventory.Container,
	Eval:     evalRootUser,
}

func evalRootUser(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
	want := audit.Want{
		Ref: o.Ref, Field: inventory.User.Path,
		Ask:    lang.Text{En: "As which user (UID:GID) can it run, and are its volumes that user's?", Es: "¿Con qué usuario (UID:GID) puede correr, y son suyos sus volúmenes?"},
		Breaks: lang.Text{En: "Files and ports below 1024 that only root may use are refused.", Es: "Se niegan archivos y puertos menores de 1024 que solo root puede usar."},
	}
	user, asked, ok := userOf(s, o)
	if uid, fact, read := inventory.EffectiveUID.Of(o); read {
		evidence := append([]inventory.Fact{fact}, known(asked)...)
		switch {
		case uid != 0 && ok && isRoot(user):
			return audit.Good(evidence...).Because(contradicted(user, uid))
		case uid != 0:
			return audit.Good(evidence...)
		case ok && !isRoot(user):
			return audit.Bad(evidence...).Because(contradicted(user, uid)).Wanting(want)
		}
		return audit.Bad(evidence...).Wanting(want)
	}
	switch {
	case !ok:
		return audit.Untold(asked)
	case !isRoot(user):
		return declared(o, audit.Good(asked))
	}
	if yes, fact, told := remapped(s, o); told && yes {
		return audit.Good(asked, fact).Because(lang.Text{
			En: "root inside is an ordinary user of the host",
			Es: "el root interior es un usuario corriente del anfitrión",
		})
	}
	return declared(o, audit.Bad(asked).Wanting(want))
}

// userOf returns the user that o asks for. A request that names none takes
// the image's.
func userOf(s *inventory.Snapshot, o *inventory.Object) (string, inventory.Fact, bool) {
	user, fact, ok := inventory.User.Of(o)
	if user != "" || settled(o) {
		return user, fact, ok
	}
	user, image, okImage := inventory.ImageUser.Of(imageNamed(s, o))
	switch {
	case okImage:
		return user, image, true
	case !ok:
		return "", fact, false
	}
	return "", image, false
}

// isRoot reads USER[:GROUP] as the engine does: no user is root, and a number
// is the uid whatever its leading zeros. A number beyond int32 is root too:
// it overflows (CVE-2024-40635).
func isRoot(user string) bool {
	name, _, _ := strings.Cut(user, ":")
	if n, err := strconv.ParseUint(name, 10, 64); err == nil {
		return n == 0 || n > math.MaxInt32
	} else if isRange(err) {
		return true
	}
	return name == "" || name == "root"
}

func isRange(err error) bool { return strings.HasSuffix(err.Error(), strconv.ErrRange.Error()) }

// imageNamed returns the image of which o was or would be made, or nil.
func imageNamed(s *inventory.Snapshot, o *inventory.Object) *inventory.Object {
	id, _, _ := inventory.ContainerImage.Of(o)
	name, _, _ := inventory.ImageName.Of(o)
	if id == "" {
		return imageTagged(s, tagged(name))
	}
	for _, ref := range []string{tagged(name), id} { // an image is named by its first tag, else its ID
		if img := s.Find(inventory.Ref{Kind: inventory.Image, Name: ref}); img != nil && img.Fields["Id"] == id {
			return img
		}
	}
	return first(s.Of(inventory.Image), func(img *inventory.Object) bool { return img.Fields["Id"] == id })
}

// imageTagged returns the image that has the tag now, or nil.
func imageTagged(s *inventory.Snapshot, tag string) *inventory.Object {
	has := func(img *inventory.Object) bool {
		tags, _, _ := inventory.ImageTags.Of(img)
		return slices.Contains(tags, tag)
	}
	if img := s.Find(inventory.Ref{Kind: inventory.Image, Name: tag}); img != nil && has(img) {
		return img
	}
	return first(s.Of(inventory.Image), has)
}

func first(objects []*inventory.Object, ok func(*inventory.Object) bool) *inventory.Object {
	if i := slices.IndexFunc(objects, ok); i >= 0 {
		return objects[i]
	}
	return nil
}

// tagged gives a reference the tag that the engine gives it and the short form
// of Docker Hub's names under which it lists them.
func tagged(name string) string {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "docker.io/"), "library/")
	if strings.Contains(name, "@") || strings.LastIndex(name, ":") > strings.LastIndex(name, "/") {
		return name
	}
	return name + ":latest"
}
