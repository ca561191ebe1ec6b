// Package lab makes a deliberately weak estate on a Docker engine, to practise
// hardening on and to test it.
//
// No image is pulled: the images hold one file, the program that plays all the
// servers (package actor), which is casco itself. Each container is weak in a
// few ways that Estate names, and otherwise as ordinary as possible: addresses,
// aliases, volumes with data, a sidecar, a Compose project. A hardening that
// loses one of these has broken something.
//
// All that Up makes is named lab-… and carries the label casco.lab=1; Down
// removes what carries the label, with the data of its volumes, and nothing
// else. Up takes no name that is in use, and publishes ports on all addresses:
// not on a host that somebody else depends on.
package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"casco/host/docker"
	"casco/lang"
)

// DefaultDir is where the directory of the lab's Compose project is made: a
// real one, because a change of its containers has to go through its file.
const DefaultDir = "/var/lib/casco"

// A Lab is an estate on one engine.
type Lab struct {
	Host    string  // the engine, as docker.New takes it; its socket is mounted in one container
	Dir     string  // where the Compose project's directory lab-shop is made; "" is DefaultDir
	Program Program // what the containers run; zero is Self
}

// An Outcome is what became of one container of Up.
type Outcome struct {
	Container string    `json:"container"`
	Weak      lang.Text `json:"weak"`
	Running   bool      `json:"running"`
	// Trouble is the engine's reason for not starting it; the container exists
	// and can be audited. Privileged ones cannot start on every machine.
	Trouble string `json:"trouble,omitempty"`
}

// Up makes the estate on the engine at host, with casco itself as its program.
func Up(ctx context.Context, host string) ([]Outcome, error) {
	return Lab{Host: host}.Up(ctx)
}

// Down removes the estate from the engine at host. It may be called at any
// time, and twice.
func Down(ctx context.Context, host string) error {
	return Lab{Host: host}.Down(ctx)
}

// object is a JSON object of the engine's API.
type object = map[string]any

// The label that marks what is the lab's. The images have one of their own,
// since a container inherits the labels of its image: one that somebody runs
// from them to try something is not Down's to remove.
const (
	label      = "casco.lab"
	imageLabel = "casco.lab.image"
)

func ours() object { return object{label: "1"} }

// errUp is not repaired by making what is missing: half of an estate that
// somebody practised on is not the one that Estate describes.
var errUp = lang.Errorf(lang.Text{
	En: "the lab is up already, at least in part: take it down first",
	Es: "el laboratorio ya está montado, al menos en parte: desmóntelo primero",
})

// Up makes the estate. If that fails, what it made is removed again.
func (l Lab) Up(ctx context.Context) ([]Outcome, error) {
	if l.Program.Path == "" {
		self, err := Self()
		if err != nil {
			return nil, err
		}
		l.Program = self
	}
	client, err := docker.New(l.Host)
	if err != nil {
		return nil, err
	}
	b := builder{client, l}
	if err := b.vacant(ctx); err != nil {
		return nil, err
	}
	made, err := b.build(ctx)
	if err != nil {
		return nil, errors.Join(err, l.Down(context.WithoutCancel(ctx)))
	}
	return made, nil
}

// A builder makes one estate.
type builder struct {
	client *docker.Client
	lab    Lab
}

// vacant refuses an engine where a name of the estate is taken.
func (b builder) vacant(ctx context.Context) error {
	ours, err := find(ctx, b.client)
	if err != nil {
		return err
	}
	if len(ours) > 0 {
		return errUp
	}
	taken := func(path string) error {
		err := b.client.Call(ctx, http.MethodGet, path, nil, nil)
		if status(err) == http.StatusNotFound {
			return nil
		}
		if err == nil {
			err = lang.Errorf(lang.Text{En: "is there already and not the lab's", Es: "ya existe y no es del laboratorio"})
		}
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, i := range images {
		// An image that an earlier lab left, because a container of somebody's uses it, is made anew.
		if err := taken("/images/" + i.name + "/json"); err != nil && !b.isImageOurs(ctx, i.name) {
			return err
		}
	}
	for _, name := range volumes {
		if err := taken("/volumes/" + name); err != nil {
			return err
		}
	}
	path := filepath.Join(b.lab.projectDir(), composeFile)
	if _, err := os.Lstat(path); err == nil && !isComposeOurs(path) {
		return lang.Errorf(lang.Text{En: "%s: is there already and not the lab's", Es: "%s: ya existe y no es del laboratorio"}, path)
	}
	return nil
}

func (b builder) isImageOurs(ctx context.Context, name string) bool {
	var image struct {
		Config struct{ Labels map[string]string }
	}
	err := b.client.Call(ctx, http.MethodGet, "/images/"+name+"/json", nil, &image)
	return err == nil && image.Config.Labels[imageLabel] == "1"
}

func (b builder) build(ctx context.Context) ([]Outcome, error) {
	if err := b.makeImages(ctx); err != nil {
		return nil, err
	}
	for _, name := range volumes {
		if err := b.client.Call(ctx, http.MethodPost, "/volumes/create", object{"Name": name, "Labels": ours()}, nil); err != nil {
			return nil, err
		}
	}
	for _, n := range networks {
		if err := b.makeNetwork(ctx, n); err != nil {
			return nil, err
		}
	}
	if err := writeCompose(b.lab.projectDir()); err != nil {
		return nil, err
	}
	made := []Outcome{}
	for _, c := range b.containers() {
		o, err := b.makeContainer(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("container/%s: %w", c.name, err)
		}
		made = append(made, o)
	}
	return made, nil
}

func (b builder) makeNetwork(ctx context.Context, n network) error {
	labels := ours()
	maps.Copy(labels, n.labels)
	in := object{"Name": n.name, "Driver": "bridge", "CheckDuplicate": true, "Labels": labels}
	if n.subnet != "" {
		in["IPAM"] = object{"Config": []object{{"Subnet": n.subnet}}}
	}
	return b.client.Call(ctx, http.MethodPost, "/networks/create", in, nil)
}

// makeContainer creates a container and starts it, if it is to run. That it
// does not start is an outcome, not an error.
func (b builder) makeContainer(ctx context.Context, c container) (Outcome, error) {
	out := Outcome{Container: c.name, Weak: c.weak}
	labels := ours()
	maps.Copy(labels, c.labels)
	host := object{}
	maps.Copy(host, c.host)
	in := object{"Image": c.image, "Cmd": c.cmd, "Labels": labels, "HostConfig": host}
	maps.Copy(in, c.config)
	// Before API 1.44 a create takes one endpoint; the others are connected.
	if c.network != "" {
		host["NetworkMode"] = c.network
		in["NetworkingConfig"] = object{"EndpointsConfig": object{c.network: c.endpoint}}
	}
	if err := b.client.Call(ctx, http.MethodPost, "/containers/create?name="+url.QueryEscape(c.name), in, nil); err != nil {
		return out, err
	}
	for _, also := range c.also {
		in := object{"Container": c.name, "EndpointConfig": also.endpoint}
		if err := b.client.Call(ctx, http.MethodPost, "/networks/"+also.network+"/connect", in, nil); err != nil {
			return out, err
		}
	}
	if c.start == never {
		return out, nil
	}
	if err := b.client.Call(ctx, http.MethodPost, "/containers/"+c.name+"/start", nil, nil); err != nil {
		var refused *docker.Error
		if !errors.As(err, &refused) {
			return out, err
		}
		out.Trouble = refused.Message
		return out, nil
	}
	if c.start == ends {
		return out, b.client.Call(ctx, http.MethodPost, "/containers/"+c.name+"/wait", nil, nil)
	}
	out.Running = true
	return out, nil
}

// status is the engine's HTTP status in err, or 0.
func status(err error) int {
	var refused *docker.Error
	if errors.As(err, &refused) {
		return refused.Status
	}
	return 0
}
