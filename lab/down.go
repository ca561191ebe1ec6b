package lab

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"casco/host/docker"
	"casco/lang"
)

// A part is something of the estate that is there.
type part struct {
	kind, id string
	dir      string // of a container: its Compose project's directory, or ""
}

// find lists what carries the lab's label: containers, then what they use.
// Copies that a re-creation parked carry it too.
func find(ctx context.Context, client *docker.Client) ([]part, error) {
	q := "filters=" + url.QueryEscape(`{"label":["`+label+`=1"]}`)
	var containers []struct {
		ID     string `json:"Id"`
		Labels map[string]string
		Mounts []struct{ Type, Name string }
	}
	if err := client.Call(ctx, http.MethodGet, "/containers/json?all=1&"+q, nil, &containers); err != nil {
		return nil, err
	}
	var networks []struct {
		ID string `json:"Id"`
	}
	if err := client.Call(ctx, http.MethodGet, "/networks?"+q, nil, &networks); err != nil {
		return nil, err
	}
	var volumes struct{ Volumes []struct{ Name string } }
	if err := client.Call(ctx, http.MethodGet, "/volumes?"+q, nil, &volumes); err != nil {
		return nil, err
	}
	parts := []part{}
	for _, c := range containers {
		parts = append(parts, part{"containers", c.ID, c.Labels["com.docker.compose.project.working_dir"]})
	}
	for _, n := range networks {
		parts = append(parts, part{kind: "networks", id: n.ID})
	}
	for _, v := range volumes.Volumes {
		parts = append(parts, part{kind: "volumes", id: v.Name})
	}
	// A re-created container holds its anonymous volumes by name, and "v=1" spares what has one.
	for _, c := range containers {
		for _, m := range c.Mounts {
			if p := (part{kind: "volumes", id: m.Name}); m.Type == "volume" && anonymous(m.Name) && !slices.Contains(parts, p) {
				parts = append(parts, p)
			}
		}
	}
	return parts, nil
}

// anonymous reports whether a volume's name is one that the engine makes: 64
// hexadecimal digits.
func anonymous(name string) bool {
	if len(name) != 64 {
		return false
	}
	for _, c := range name {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Down removes the estate: containers, networks, volumes with their data, the
// images, the Compose file. What somebody else still uses stays, and is named
// in the error; the rest is removed.
func (l Lab) Down(ctx context.Context) error {
	client, err := docker.New(l.Host)
	if err != nil {
		return err
	}
	parts, err := find(ctx, client)
	if err != nil {
		return err
	}
	var troubles []error
	gone := func(path string) {
		err := client.Call(ctx, http.MethodDelete, path, nil, nil)
		if err != nil && status(err) != http.StatusNotFound {
			troubles = append(troubles, err)
		}
	}
	dirs := []string{l.projectDir()}
	for _, p := range parts {
		switch p.kind {
		case "containers":
			gone("/containers/" + p.id + "?force=1&v=1")
			if p.dir != "" && !slices.Contains(dirs, p.dir) {
				dirs = append(dirs, p.dir)
			}
		default:
			gone("/" + p.kind + "/" + p.id)
		}
	}
	b := builder{client, l}
	for _, i := range images {
		if b.isImageOurs(ctx, i.name) {
			gone("/images/" + i.name)
		}
	}
	for _, dir := range dirs {
		if err := removeCompose(dir); err != nil {
			troubles = append(troubles, err)
		}
	}
	if err := errors.Join(troubles...); err != nil {
		return lang.Errorf(lang.Text{En: "the lab is not wholly down: %w", Es: "el laboratorio no está del todo desmontado: %w"}, err)
	}
	return nil
}
