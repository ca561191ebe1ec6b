package compose

import (
	"context"
	"strings"

	"casco/lang"
	"casco/loop/inventory"
)

// A Source says of each container that Compose owns whether this hand can
// change it: it sets the field Compose of the container to {Files: [], Trouble:
// why not, or ""}. It runs the compose program once for each project, which
// takes up to a second, so it is for who makes a plan, not for every audit.
type Source struct{ engine Engine }

// NewSource returns a source for the projects on e. It must run after the one
// that reads the containers.
func NewSource(e Engine) *Source { return &Source{e} }

// Name implements inventory.Source.
func (*Source) Name() string { return "compose" }

// Read implements inventory.Source.
func (s *Source) Read(ctx context.Context, snap *inventory.Snapshot) error {
	var cmd command
	var missing error
	hashes := map[string]map[string]string{} // by project, then service
	for _, o := range snap.Of(inventory.Container) {
		if inventory.OwnerOf(o) != inventory.OwnerCompose {
			continue
		}
		if cmd.argv == nil && missing == nil {
			cmd, missing = findCompose(ctx, s.engine.Host())
		}
		p, err := projectOf(o)
		if err == nil {
			err = byCompose(labelsOfImage(snap, o))
		}
		if err == nil {
			err = missing
		}
		if err == nil && hashes[p.Name] == nil {
			hashes[p.Name], err = cmd.hashes(ctx, p)
		}
		if err == nil && hashes[p.Name][p.Service] != p.Hash {
			err = p.moved()
		}
		trouble := ""
		if err != nil {
			trouble = err.Error()
		}
		put(o, p, trouble)
	}
	return nil
}

func put(o *inventory.Object, p project, trouble string) {
	files := []any{}
	for _, f := range p.Files {
		files = append(files, f)
	}
	o.Fields["Compose"] = map[string]any{"Files": files, "Trouble": trouble}
	if o.Sources == nil {
		o.Sources = map[string]string{}
	}
	o.Sources["Compose"] = "compose config --hash"
}

func projectOf(o *inventory.Object) (project, error) {
	labels, _, _ := inventory.Labels.Of(o)
	var c container
	c.Config.Labels = map[string]string{}
	for k, v := range labels {
		if s, ok := v.(string); ok {
			c.Config.Labels[k] = s
		}
	}
	return c.project()
}

// labelsOfImage returns the labels that o's image was built with.
func labelsOfImage(snap *inventory.Snapshot, o *inventory.Object) map[string]string {
	id, _, _ := inventory.ContainerImage.Of(o)
	out := map[string]string{}
	for _, img := range snap.Of(inventory.Image) {
		if is, _, _ := inventory.ImageID.Of(img); is != id {
			continue
		}
		labels, _, _ := inventory.ImageLabels.Of(img)
		for k := range labels {
			out[k] = ""
		}
	}
	return out
}

// moved is the error of a project whose files no longer give what runs.
func (p project) moved() error {
	return lang.Errorf(lang.Text{
		En: "%s no longer gives what runs (it was edited, needs variables that are not set here, or another version of compose made it): bring it up with compose, then plan again",
		Es: "%s ya no da lo que está en marcha (fue editado, necesita variables que aquí no están puestas, o lo creó otra versión de compose): levántelo con compose y vuelva a planificar",
	},
		strings.Join(p.Files, ", "))
}

// refuse is the plan.Means.Refuse of this hand. A snapshot without the field
// Compose says nothing, and Prepare will.
func refuse(_ *inventory.Snapshot, o *inventory.Object, _ string) lang.Text {
	trouble, _, _ := inventory.Field[string]{Kind: inventory.Container, Path: "Compose.Trouble"}.Of(o)
	if trouble == "" {
		return lang.Text{}
	}
	return lang.Text{En: "Compose owns it, and: %s", Es: "es de Compose, y: %s"}.F(trouble)
}
