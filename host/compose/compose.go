// Package compose changes containers that Docker Compose owns, where Compose
// will find the change again: in the project's own file.
//
// A container of a project that is created again behind Compose's back loses
// the change at the next "compose up". So the hand of this package edits the
// file that the container's labels name, byte-exact outside the change, and has
// Compose bring the one service up. It refuses rather than guesses: where the
// file or its variables are no longer what the container was made from, Compose
// itself would change more than was planned.
//
// The hand runs "docker compose", or docker-compose where that is what the
// machine has; it passes every argument on its own, never through a shell.
package compose

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"casco/internal/atomicfile"
	"casco/lang"
	"casco/loop/apply"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// Hand is the name of the hand in plans.
const Hand = "compose"

// An Engine answers calls of the Docker Engine API; package docker's Client is
// one. Host is its address, for the compose program.
type Engine interface {
	Call(ctx context.Context, method, path string, in, out any) error
	Host() string
}

// A Service is the hand that changes one service of a project.
type Service struct{ engine Engine }

// New returns the hand for the projects on e.
func New(e Engine) *Service { return &Service{e} }

// Means are the fields of a container that a Compose file can set.
func Means() []plan.Means {
	undo := lang.Text{
		En: "the file is put back to the byte and the service is brought up from it again",
		Es: "el archivo se repone byte a byte y el servicio se levanta de nuevo desde él",
	}
	var ms []plan.Means
	for _, field := range fields() {
		ms = append(ms, plan.Means{
			Kind: inventory.Container, Field: field, Owner: inventory.OwnerCompose, Hand: Hand, Cost: plan.Recreate, Undo: undo, Refuse: refuse,
			Reads: []string{"Config.Labels.com.docker.compose.config-hash"},
		})
	}
	return ms
}

// A project is what a container's labels say of where it came from
// (docker/compose, pkg/api/labels.go).
type project struct {
	Name    string   `json:"name"`
	Service string   `json:"service"`
	Dir     string   `json:"dir"`
	Files   []string `json:"files"`
	Env     string   `json:"env,omitempty"` // file of variables
	Hash    string   `json:"hash"`          // of the service's configuration, as Compose computes it
}

// undo is what Prepare leaves: the file as it was, and as it will be.
type undo struct {
	Project project `json:"project"`
	File    string  `json:"file"`
	Was     []byte  `json:"was"`  // base64 in JSON
	Ours    string  `json:"ours"` // SHA-256 of what Do writes, hex
	Running bool    `json:"running"`
}

// Prepare implements apply.Hand. It makes the new file in memory and has
// Compose read it, so that Do has little left that can fail.
func (h *Service) Prepare(ctx context.Context, st plan.Step) (json.RawMessage, error) {
	c, err := h.inspect(ctx, st.Ref.Name)
	if err != nil {
		return nil, err
	}
	p, err := c.project()
	if err != nil {
		return nil, err
	}
	var image struct {
		Config struct{ Labels map[string]string }
	}
	if err := h.engine.Call(ctx, "GET", "/images/"+c.Image+"/json", nil, &image); err != nil {
		return nil, err
	}
	if err := byCompose(image.Config.Labels); err != nil {
		return nil, err
	}
	file, was, now, err := p.edited(st.Sets)
	if err != nil {
		return nil, err
	}
	cmd, err := findCompose(ctx, h.engine.Host())
	if err != nil {
		return nil, err
	}
	if hashes, err := cmd.hashes(ctx, p); err != nil {
		return nil, err
	} else if hashes[p.Service] != p.Hash {
		return nil, p.moved()
	}
	if err := cmd.reads(ctx, p, file, now); err != nil {
		return nil, err
	}
	return json.Marshal(undo{p, file, was, digest(now), c.State.Running})
}

// Do implements apply.Hand.
func (h *Service) Do(ctx context.Context, st plan.Step, raw json.RawMessage) error {
	var u undo
	if err := json.Unmarshal(raw, &u); err != nil {
		return err
	}
	_, _, now, err := u.Project.edited(st.Sets)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if digest(now) != u.Ours {
		return lang.Errorf(lang.Text{En: "%s was changed meanwhile", Es: "%s cambió entretanto"}, u.File)
	}
	if err := atomicfile.Write(u.File, now, 0o644); err != nil {
		return err
	}
	return h.up(ctx, st, u)
}

// Undo implements apply.Hand.
func (h *Service) Undo(ctx context.Context, st plan.Step, raw json.RawMessage) error {
	var u undo
	if err := json.Unmarshal(raw, &u); err != nil {
		return err
	}
	is, err := os.ReadFile(u.File)
	if err != nil {
		return err
	}
	back, err := u.back(is, st.Sets)
	if err != nil {
		return err
	}
	if !bytes.Equal(is, back) {
		if err := atomicfile.Write(u.File, back, 0o644); err != nil {
			return err
		}
	}
	c, err := h.inspect(ctx, st.Ref.Name)
	if err == nil && c.Config.Labels[labelHash] == u.Project.Hash && c.State.Running == u.Running {
		return nil
	}
	return h.up(ctx, st, u)
}

// Foreign implements apply.Watchful.
func (h *Service) Foreign(_ context.Context, st plan.Step, raw json.RawMessage) ([]apply.Conflict, error) {
	var u undo
	if err := json.Unmarshal(raw, &u); err != nil {
		return nil, err
	}
	is, err := os.ReadFile(u.File)
	if err != nil {
		return nil, err
	}
	if _, err := u.back(is, st.Sets); err != nil {
		what := fmt.Sprintf("file/%s, service %s", u.File, u.Project.Service)
		return []apply.Conflict{{What: what, Before: "sha256 " + digest(u.Was), Ours: "sha256 " + u.Ours, Now: "sha256 " + digest(is)}}, nil
	}
	return nil, nil
}

// back returns the file as it is, with the service as it was before. What
// somebody changed since in other places of the file stays; the service itself
// must be as it was or as we wrote it.
func (u undo) back(is []byte, sets []plan.Set) ([]byte, error) {
	if digest(is) == u.Ours || bytes.Equal(is, u.Was) {
		return u.Was, nil
	}
	if same, err := sameBlock(is, u.Was, u.Project.Service); err != nil || same {
		return is, err
	}
	ours := u.Was
	for _, s := range ordered(sets) {
		var err error
		if ours, err = edit(ours, u.Project.Service, s); err != nil {
			return nil, err
		}
	}
	if same, err := sameBlock(is, ours, u.Project.Service); err != nil || !same {
		return nil, errors.Join(lang.Errorf(lang.Text{
			En: "%s: service %s was changed by somebody since; put it right by hand",
			Es: "%s: alguien cambió después el servicio %s; corríjalo a mano",
		}, u.File, u.Project.Service), err)
	}
	return swapBlock(is, u.Was, u.Project.Service)
}

// up has Compose bring the service to what the file says, and waits until it
// stands.
func (h *Service) up(ctx context.Context, st plan.Step, u undo) error {
	cmd, err := findCompose(ctx, h.engine.Host())
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := cmd.up(ctx, u.Project, u.Running); err != nil {
		return err
	}
	if err := h.rename(ctx, st.Ref.Name, u.Project); err != nil {
		return err
	}
	if !u.Running {
		return nil
	}
	return h.stands(ctx, st.Ref.Name)
}

// rename gives the container of the service its name back. docker-compose 1.29
// renames the old one to <12 hex>_name before it makes the new one, and after a
// start that failed goes on with the old one under that name (measured).
func (h *Service) rename(ctx context.Context, name string, p project) error {
	if _, err := h.inspect(ctx, name); err == nil {
		return nil
	}
	filters, err := json.Marshal(map[string][]string{"label": {label + "project=" + p.Name, label + "service=" + p.Service}})
	if err != nil {
		return err
	}
	var list []struct {
		ID    string `json:"Id"`
		Names []string
	}
	if err := h.engine.Call(ctx, "GET", "/containers/json?all=1&filters="+url.QueryEscape(string(filters)), nil, &list); err != nil {
		return err
	}
	for _, c := range list {
		if len(c.Names) == 1 && strings.HasSuffix(c.Names[0], "_"+name) {
			return h.engine.Call(ctx, "POST", "/containers/"+c.ID+"/rename?name="+url.QueryEscape(name), nil, nil)
		}
	}
	return lang.Errorf(lang.Text{En: "compose made no container %s", Es: "compose no creó el contenedor %s"}, name)
}

// Waiting for a service: its healthcheck may take its time, one without must
// stay up for settle.
const (
	patience = 60 * time.Second
	settle   = 2 * time.Second
	pause    = 100 * time.Millisecond
)

// stands waits until the container is healthy, or, without a healthcheck, has
// been up for a while without a restart.
func (h *Service) stands(ctx context.Context, name string) error {
	deadline := time.Now().Add(patience)
	begun := time.Now()
	for {
		c, err := h.inspect(ctx, name)
		if err != nil {
			return err
		}
		switch {
		case !c.State.Running || c.State.Restarting || c.RestartCount > 0:
			return lang.Errorf(lang.Text{
				En: "%s does not stay up: %s, exit code %d",
				Es: "%s no se mantiene en marcha: %s, código de salida %d",
			}, name, c.State.Status, c.State.ExitCode)
		case c.State.Health == nil && time.Since(begun) >= settle:
			return nil
		case c.State.Health != nil && c.State.Health.Status == "healthy":
			return nil
		case c.State.Health != nil && c.State.Health.Status == "unhealthy":
			return lang.Errorf(lang.Text{En: "%s is unhealthy", Es: "%s no está sano"}, name)
		case time.Now().After(deadline):
			return lang.Errorf(lang.Text{En: "%s was not healthy within %s", Es: "%s no estuvo sano en %s"}, name, patience)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// A container is the part of its inspection that this hand needs.
type container struct {
	Image  string // ID
	Config struct{ Labels map[string]string }
	State  struct {
		Running, Restarting bool
		Status              string
		ExitCode            int
		Health              *struct{ Status string }
	}
	RestartCount int
}

func (h *Service) inspect(ctx context.Context, name string) (*container, error) {
	c := new(container)
	return c, h.engine.Call(ctx, "GET", "/containers/"+name+"/json", nil, c)
}

const (
	label     = "com.docker.compose."
	labelHash = label + "config-hash"
)

// composeName is the form of a project's and a service's name (compose-spec,
// 04-version-and-name.md and schema): none can pass for an option.
var composeName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]*$`)

// byCompose refuses labels that came with the image. Compose writes them on the
// container that it makes; an image that carries them names a file of its
// maker's choice, and root would have it read and brought up. (On an image that
// it builds, Compose writes the names of project and service.)
func byCompose(image map[string]string) error {
	for l := range image {
		if strings.HasPrefix(l, label+"project.") || l == labelHash {
			return lang.Errorf(lang.Text{
				En: "its image carries the label %s, which only Compose writes: the project it names is not to be trusted",
				Es: "su imagen lleva la etiqueta %s, que solo escribe Compose: no hay que fiarse del proyecto que nombra",
			}, l)
		}
	}
	return nil
}

func (c *container) project() (project, error) {
	l := c.Config.Labels
	p := project{
		Name: l[label+"project"], Service: l[label+"service"], Dir: l[label+"project.working_dir"],
		Env: l[label+"project.environment_file"], Hash: l[labelHash],
	}
	for f := range strings.SplitSeq(l[label+"project.config_files"], ",") {
		if f != "" && !filepath.IsAbs(f) {
			f = filepath.Join(p.Dir, f)
		}
		if f != "" {
			p.Files = append(p.Files, f)
		}
	}
	if p.Service == "" || p.Dir == "" || len(p.Files) == 0 || p.Hash == "" {
		return p, lang.Errorf(lang.Text{
			En: "its labels do not say which compose file it was made from",
			Es: "sus etiquetas no dicen de qué archivo compose se creó",
		})
	}
	if !composeName.MatchString(p.Service) || !composeName.MatchString(p.Name) {
		return p, lang.Errorf(lang.Text{
			En: "its labels name project %q and service %q, which Compose would not take",
			Es: "sus etiquetas nombran el proyecto %q y el servicio %q, que Compose no aceptaría",
		}, p.Name, p.Service)
	}
	if l[label+"oneoff"] == "True" {
		return p, lang.Errorf(lang.Text{En: "it was made by compose run, not by the project", Es: "lo creó compose run, no el proyecto"})
	}
	return p, nil
}

// edited returns the file of the project that has the last word on the service,
// as it is and with the sets made in it.
func (p project) edited(sets []plan.Set) (file string, was, now []byte, err error) {
	for _, f := range p.Files {
		src, err := os.ReadFile(f)
		if err != nil {
			return "", nil, nil, lang.Errorf(lang.Text{En: "the project's file: %w", Es: "el archivo del proyecto: %w"}, err)
		}
		d, err := parse(src)
		if err != nil {
			return "", nil, nil, fmt.Errorf("%s: %w", f, err)
		}
		if d.service(p.Service) != nil {
			file, was = f, src
		}
	}
	if file == "" {
		return "", nil, nil, lang.Errorf(lang.Text{
			En: "no file of the project has service %q",
			Es: "ningún archivo del proyecto tiene el servicio %q",
		}, p.Service)
	}
	now = was
	for _, s := range ordered(sets) {
		if now, err = edit(now, p.Service, s); err != nil {
			return "", nil, nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return file, was, now, nil
}

func digest(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}
