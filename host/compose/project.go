package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/sirupsen/logrus"

	"casco/lang"
	"casco/loop/inventory"
)

// A Project is what Compose files ask for, read as Compose reads them: joined,
// with what they extend and include, and with variables resolved. Every profile
// is taken to be on.
type Project struct {
	Name     string
	Services []Asked // sorted by their names
	Networks []*inventory.Object
	Volumes  []*inventory.Object
	// Files are those that say something of it, by the names that were given or
	// that they are included by, and what stands in them.
	Files map[string][]byte
	// Self is the project as an object of kind Compose.
	Self *inventory.Object
}

// Asked is one service as the request for its container that Compose would send
// to an engine: POST /containers/create.
type Asked struct {
	Service string
	Name    string         // of the container
	Body    map[string]any // decoded JSON
	Build   *Build         // nil if its image is not built
	// At is where the service stands, and Sources where the fields of its
	// container do, as Object.Source and Object.Sources.
	At      string
	Sources map[string]string
	// Items are the elements of the lists and maps that set a field.
	Items map[string][]Item
	// Unset says, for fields that the file writes with a variable that has no
	// value, which.
	Unset map[string]string
}

// An Item is one element of a list, or one entry of a map as NAME=VALUE; of one
// that is itself a map, its values.
type Item struct{ Text, At string }

// A Build is how the image of a service is built.
type Build struct {
	Dockerfile, Context string // paths
	Inline              string // a Dockerfile that stands in the Compose file, at At
	At, Target          string
	Args                map[string]string
}

// Load reads the project of these files, the later ones over the earlier. env
// are the variables of who calls; those of .env stand below them. Instead has
// what is to be read in place of a file, by its name; it may be nil.
func Load(ctx context.Context, files, env []string, instead map[string][]byte) (*Project, error) {
	logrus.SetLevel(logrus.ErrorLevel) // compose-go warns of what Unset says
	first, err := filepath.Abs(files[0])
	if err != nil {
		return nil, err
	}
	copies := &copies{instead: map[string][]byte{}}
	defer copies.remove()
	for name, text := range instead {
		abs, err := filepath.Abs(name)
		if err != nil {
			return nil, err
		}
		copies.instead[abs] = text
	}
	opts, err := cli.NewProjectOptions(files, cli.WithWorkingDirectory(filepath.Dir(first)), cli.WithEnv(env), cli.WithEnvFiles(), cli.WithDotEnv,
		cli.WithProfiles([]string{"*"}), cli.WithoutEnvironmentResolution, cli.WithResourceLoader(copies))
	if err != nil {
		return nil, err
	}
	p, err := read(ctx, opts)
	if err != nil {
		return nil, err
	}
	w := &where{files: files, env: p.Environment, nodes: map[string]*source{}, instead: copies.instead}
	out := &Project{Name: p.Name, Files: map[string][]byte{}}
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		a, err := asked(p, p.Services[name], w)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out.Services = append(out.Services, a)
	}
	out.Networks, out.Volumes = networksOf(p, w), volumesOf(p, w)
	out.Self = w.project()
	for name, s := range w.nodes {
		if s.root != nil {
			out.Files[name] = s.text
		}
	}
	return out, nil
}

// read has compose-go read the files. It panics at some that say nothing where a
// text should be ("pid:"): to whoever asks that is a file that cannot be read.
func read(ctx context.Context, opts *cli.ProjectOptions) (p *types.Project, err error) {
	defer func() {
		if why := recover(); why != nil {
			p, err = nil, lang.Errorf(lang.Text{En: "compose-go cannot read it: %v", Es: "compose-go no puede leerlo: %v"}, why)
		}
	}()
	if p, err = opts.LoadProject(ctx); err != nil {
		return nil, err
	}
	return p.WithServicesEnvironmentResolved(true)
}

// copies gives compose-go a file with other content: it takes files only, so
// they are laid where nobody looks, and are gone when Load returns.
type copies struct {
	instead map[string][]byte // by their absolute paths
	dir     string
}

func (c *copies) text(path string) ([]byte, bool) {
	abs, err := filepath.Abs(path)
	text, ok := c.instead[abs]
	return text, ok && err == nil
}

// Accept implements loader.ResourceLoader.
func (c *copies) Accept(path string) bool { _, ok := c.text(path); return ok }

// Load implements loader.ResourceLoader.
func (c *copies) Load(_ context.Context, path string) (string, error) {
	if c.dir == "" {
		var err error
		if c.dir, err = os.MkdirTemp("", "casco-lint-"); err != nil {
			return "", err
		}
	}
	text, _ := c.text(path)
	f, err := os.CreateTemp(c.dir, "*.yaml")
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	return f.Name(), errors.Join(err, f.Close())
}

// Dir implements loader.ResourceLoader.
func (c *copies) Dir(path string) string { return filepath.Dir(path) }

func (c *copies) remove() {
	if c.dir != "" {
		os.RemoveAll(c.dir)
	}
}

func asked(p *types.Project, s types.ServiceConfig, w *where) (Asked, error) {
	body, err := plain(request(p, s))
	if err != nil {
		return Asked{}, err
	}
	a := Asked{Service: s.Name, Name: containerName(p, s), Body: body, Sources: map[string]string{}, Items: map[string][]Item{}, Unset: map[string]string{}}
	at := w.service(s.Name)
	a.At = at.String()
	for field, names := range sourceKeys {
		for _, name := range names {
			found, ok := w.find(s.Name, name)
			if !ok {
				continue
			}
			a.Sources[field] = found.position().String()
			a.Items[field] = found.items()
			if unset := w.unset(found.value); len(unset) > 0 {
				a.Unset[field] = strings.Join(unset, ", ")
			}
			break
		}
	}
	if b := s.Build; b != nil {
		args := map[string]string{}
		for k, v := range b.Args {
			if v != nil {
				args[k] = *v
			}
		}
		a.Build = &Build{Context: b.Context, Target: b.Target, Args: args, Inline: b.DockerfileInline, At: a.At}
		if at, ok := w.find(s.Name, "build"); ok {
			a.Build.At = at.position().String()
		}
		if a.Build.Dockerfile = b.Dockerfile; !filepath.IsAbs(b.Dockerfile) {
			a.Build.Dockerfile = filepath.Join(b.Context, b.Dockerfile)
		}
	}
	return a, nil
}

// plain is v as decoded JSON.
func plain(v any) (map[string]any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var m map[string]any
	return m, d.Decode(&m)
}

// containerName is docker/compose, pkg/compose/convergence.go, getContainerName.
func containerName(p *types.Project, s types.ServiceConfig) string {
	if s.ContainerName != "" {
		return s.ContainerName
	}
	return p.Name + "-" + s.Name + "-1"
}

func networksOf(p *types.Project, w *where) []*inventory.Object {
	var out []*inventory.Object
	for _, key := range slices.Sorted(maps.Keys(p.Networks)) {
		n := p.Networks[key]
		if n.External {
			continue
		}
		driver := n.Driver
		if driver == "" {
			driver = "bridge"
		}
		var attached []any
		for _, name := range slices.Sorted(maps.Keys(p.Services)) {
			if _, on := p.Services[name].Networks[key]; on {
				attached = append(attached, containerName(p, p.Services[name]))
			}
		}
		out = append(out, &inventory.Object{
			Ref: inventory.Ref{Kind: inventory.Network, Name: n.Name}, Source: w.top("networks", key).String(),
			Fields: map[string]any{
				"Name": n.Name, "Driver": driver, "Scope": "local", "Internal": n.Internal, "Ingress": false, "EnableIPv6": n.EnableIPv6 != nil && *n.EnableIPv6,
				"Options": texts(n.DriverOpts), "Labels": texts(n.Labels), "Attached": attached, "Containers": map[string]any{},
			},
		})
	}
	return out
}

func volumesOf(p *types.Project, w *where) []*inventory.Object {
	var out []*inventory.Object
	for _, key := range slices.Sorted(maps.Keys(p.Volumes)) {
		v := p.Volumes[key]
		if v.External {
			continue
		}
		driver := v.Driver
		if driver == "" {
			driver = "local"
		}
		out = append(out, &inventory.Object{
			Ref: inventory.Ref{Kind: inventory.Volume, Name: v.Name}, Source: w.top("volumes", key).String(),
			Fields: map[string]any{"Name": v.Name, "Driver": driver, "Scope": "local", "Options": texts(v.DriverOpts), "Labels": texts(v.Labels)},
		})
	}
	return out
}

func texts[M ~map[string]string](m M) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	return out
}
