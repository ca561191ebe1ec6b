package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"casco/api"
	"casco/guard/admission"
	hostdaemon "casco/host/daemon"
	"casco/host/docker"
	"casco/host/door"
	"casco/internal/apicall"
	"casco/internal/room"
	"casco/lang"
	"casco/loop/inventory"
	"casco/policy"
	"casco/store"
)

// A doorman judges what is asked of the engine, at the door and for its plugin.
type doorman struct {
	g      *guard
	client *lateClient
	judge  atomic.Pointer[admission.Judge]
	glass  atomic.Pointer[glassed] // nil if what is refused is refused
	host   atomic.Pointer[inventory.Snapshot]
	roll   *roll
	memory *memory
	pass   string // by which the plugin knows what the door let through

	work *room.Room // for judging, at the door and for the plugin

	opened chan struct{} // something was opened: read the engine now
	stale  chan struct{} // something changed in the engine: read it soon
	read   chan struct{} // closed once the engine was read for the first time
	reader sync.Once     // that closes it

	doorAsked, pluginAsked atomic.Uint64 // requests that were judged
	full                   atomic.Uint64 // requests that took more room than there is
}

// A lateClient asks an engine that may not be there yet.
type lateClient struct {
	address string
	client  atomic.Pointer[docker.Client] // nil until the engine answered
}

// reach connects the first time that the engine answers.
func (l *lateClient) reach() (*docker.Client, error) {
	if c := l.client.Load(); c != nil {
		return c, nil
	}
	c, err := docker.New(l.address)
	if err == nil {
		l.client.Store(c)
	}
	return c, err
}

var errNotYet = lang.Errorf(lang.Text{En: "the engine has not answered yet", Es: "el motor aún no ha respondido"})

// Call is that of docker.Client; it does not wait for the engine.
func (l *lateClient) Call(ctx context.Context, method, path string, in, out any) error {
	if c := l.client.Load(); c != nil {
		return c.Call(ctx, method, path, in, out)
	}
	return errNotYet
}

// Do is that of docker.Client; it does not wait for the engine.
func (l *lateClient) Do(ctx context.Context, method, path string, body io.Reader, contentType string) (*http.Response, error) {
	if c := l.client.Load(); c != nil {
		return c.Do(ctx, method, path, body, contentType)
	}
	return nil, errNotYet
}

// The doorman reads which containers and networks there are, for what a request
// has to do with others, when something has changed, but not more often than
// every rereadEvery; and every rereadAnyway, for what the engine does not tell of.
// What a request names itself is asked for at once.
const (
	rereadEvery  = 15 * time.Second
	rereadAnyway = 5 * time.Minute
)

// newDoorman is one of the engine at address, which need not be there yet: what
// it starts with must be judged, and it asks its plugin before it answers.
func newDoorman(ctx context.Context, g *guard, address string, p *policy.Policy) (*doorman, error) {
	d := &doorman{
		g: g, client: &lateClient{address: address}, roll: newRoll(), memory: newMemory(), pass: rand.Text(),
		work: room.New(door.WorkBytes, door.WorkEach), opened: make(chan struct{}, 1), stale: make(chan struct{}, 1), read: make(chan struct{}),
	}
	d.host.Store((&inventory.Snapshot{}).Share())
	if err := d.remember(ctx); err != nil {
		g.log.Error("the ledger was not read: who made what is there is not known", "err", err)
	}
	return d, d.setPolicy(p)
}

func (d *doorman) setPolicy(p *policy.Policy) error {
	j, err := admission.NewJudge(p, loaded)
	if err == nil {
		d.judge.Store(j)
		err = d.setGlass(p)
	}
	return err
}

// reread takes a new look at the engine, and at how its process is configured:
// what BuildKit may be asked for stands there alone.
func (d *doorman) reread(ctx context.Context) error {
	client, err := d.client.reach()
	if err != nil {
		return err
	}
	s := inventory.Take(ctx, d.g.host, time.Now(), docker.NewSource(client, docker.Options{}), hostdaemon.New(client.Socket()))
	d.host.Store(s.Share())
	d.reader.Do(func() { close(d.read) })
	return ctx.Err()
}

// follow rereads while a door is open, until ctx ends. An engine that has not
// answered yet is asked sooner.
func (d *doorman) follow(ctx context.Context) error {
	for {
		every, anyway := rereadEvery, rereadAnyway
		if d.g.gates.open() != (api.Door{}) {
			if err := d.reread(ctx); err != nil && ctx.Err() == nil {
				d.g.log.Error("engine not read for admission", "err", err)
				every, anyway = time.Second, time.Second
			}
		}
		if !d.waits(ctx, every, anyway) {
			return nil
		}
	}
}

// waits waits until the engine is to be read again, and returns false if ctx
// ended.
func (d *doorman) waits(ctx context.Context, every, anyway time.Duration) bool {
	latest := time.After(anyway)
	var stale <-chan struct{} // nil while it is too soon
	soonest := time.After(every)
	for {
		select {
		case <-ctx.Done():
			return false
		case <-soonest:
			stale = d.stale
		case <-d.opened:
			return true
		case <-stale:
			return true
		case <-latest:
			return true
		}
	}
}

// turned says that what was read of the engine is not what it is now.
func (d *doorman) turned() {
	select {
	case d.stale <- struct{}{}:
	default:
	}
}

// readFirst reads the engine if that was never done and it answers, so that who
// comes through a door that is opened need not wait for it.
func (d *doorman) readFirst(ctx context.Context) {
	select {
	case <-d.read:
	default:
		if err := d.reread(ctx); err != nil {
			d.g.log.Warn("engine not read for admission yet", "err", err)
		}
	}
}

// reads reports whether the engine is read for a door that is open.
func (d *doorman) reads() bool {
	select {
	case <-d.read:
		return d.g.gates.open() != (api.Door{})
	default:
		return false
	}
}

// asked is a request as the judge reads it.
func (d *doorman) asked(ctx context.Context, r apicall.Request, body []byte) admission.Asked {
	c := r.Caller
	c.Container = d.named(ctx, c.Container)
	return admission.Asked{
		Caller: admission.Caller{
			UID: c.UID, GID: c.GID, Groups: c.Groups, PID: c.PID, LoginUID: c.LoginUID, Unit: c.Unit, Container: c.Container, TLSName: c.TLSName, Via: c.Via, Userns: c.Userns,
			Passed: c.Via == apicall.ViaPlugin && r.Pass == d.pass,
		},
		At: time.Now().UTC(), Method: r.Method, URI: r.URI, ContentType: r.ContentType, Body: body,
	}
}

// named is the name of a container, by which a policy knows it; the kernel tells
// its ID. One that is none of this engine's keeps that.
func (d *doorman) named(ctx context.Context, id string) string {
	if id == "" || id == apicall.Unknown {
		return id
	}
	for _, o := range d.host.Load().Of(inventory.Container) {
		if is, _, _ := inventory.ContainerID.Of(o); is == id {
			return o.Ref.Name
		}
	}
	if o := d.world(ctx).Container(id); o != nil {
		return o.Ref.Name
	}
	select {
	case <-d.read:
		return id
	default: // the engine says nothing yet
		return apicall.Unknown
	}
}

// Head is a method of apicall.Judge: what has no body to see is decided at once.
func (d *doorman) Head(ctx context.Context, r apicall.Request) apicall.Verdict {
	if r.Via == apicall.ViaPlugin {
		d.pluginAsked.Add(1)
	} else {
		d.doorAsked.Add(1)
	}
	route, err := admission.ParseURI(r.Method, r.URI)
	if err == nil && !route.Streams() && !slices.Contains([]string{http.MethodGet, http.MethodHead}, r.Method) {
		return d.before(ctx, r, route)
	}
	v := d.decide(ctx, r, nil)
	v.Stream, v.Body = true, nil
	return v
}

// before decides about a request that has a body: who may not ask for such a thing
// need not send it.
func (d *doorman) before(ctx context.Context, r apicall.Request, route admission.Route) apicall.Verdict {
	j := d.judgeNow()
	select {
	case <-d.read:
		w := d.world(ctx)
		if out := j.Before(d.asked(ctx, r, nil), w); !out.Allow {
			return d.refuses(out, w)
		}
	default: // who asks may not be known yet
	}
	return apicall.Verdict{Allow: true, Limit: j.Limit(route), NeedsBody: route.NeedsBody(r.ContentType)}
}

// refuses is the verdict of a decision that does not allow.
func (d *doorman) refuses(out admission.Decision, w world) apicall.Verdict {
	return apicall.Verdict{Status: out.Status, Note: weigh(out, w), Message: cmp.Or(out.Says, refusalText(out, d.g.a.lang))}
}

// Body is a method of apicall.Judge.
func (d *doorman) Body(ctx context.Context, r apicall.Request, body []byte) apicall.Verdict {
	return d.decide(ctx, r, body)
}

func (d *doorman) decide(ctx context.Context, r apicall.Request, body []byte) apicall.Verdict {
	if !d.informed(ctx, r) {
		return apicall.Verdict{Status: http.StatusServiceUnavailable, Message: uninformed.In(d.g.a.lang)}
	}
	w := d.world(ctx)
	out := d.judgeNow().Decide(d.asked(ctx, r, body), w)
	if !out.Allow {
		return d.refuses(out, w)
	}
	kept := weigh(out, w)
	v := apicall.Verdict{Allow: true, Body: out.Forward}
	if kept.Rule != "" || kept.changes() {
		v.Note, v.Keep = kept, keepAnswer
		if ctx.Err() == nil { // else it was refused meanwhile, and nobody tells its end
			d.roll.begins(kept)
			d.memory.begins(kept)
		}
	}
	if out.Route.Endpoint != nil {
		v.URI = out.Route.URI()
	}
	if e := out.Edit; e != nil {
		ctx := context.WithoutCancel(ctx) // it is needed when the engine answers
		v.Edit = &apicall.Edit{Lines: e.Lines, Elements: e.Elements, Do: func(b []byte) ([]byte, error) {
			ctx, cancel := context.WithTimeout(ctx, editTime)
			defer cancel()
			return e.Do(d.world(ctx), b)
		}}
	}
	return v
}

// informed waits until the engine was read once, for what is more than a look at
// it: the engine itself asks about such before it answers anybody.
func (d *doorman) informed(ctx context.Context, r apicall.Request) bool {
	select {
	case <-d.read:
		return true
	default:
	}
	if route, err := admission.ParseURI(r.Method, r.URI); err == nil && slices.Contains(reading, route.Endpoint.Class) {
		return true
	}
	select {
	case <-d.read:
		return true
	case <-ctx.Done():
		return false
	}
}

var uninformed = lang.Text{
	En: "casco has not been able to read the engine yet, so it cannot judge this request; try again",
	Es: "casco aún no ha podido leer el motor, así que no puede juzgar esta petición; inténtelo de nuevo",
}

// editTime is how long it may take to change an answer, which may need questions
// to the engine.
const editTime = 10 * time.Second

// refusalText says to who asked why, and what would pass.
func refusalText(d admission.Decision, l lang.Lang) string {
	lines := reasons(d, l)
	for i, line := range lines {
		lines[i] = "casco: " + line
	}
	return strings.Join(lines, "; ")
}

// reasons are why something is refused: what it is, the rule, what would pass.
func reasons(d admission.Decision, l lang.Lang) []string {
	var lines []string
	for _, r := range d.Refusals {
		if r.Observed {
			continue
		}
		line := r.Reason.In(l) + " (" + r.Rule + ")"
		if fix := r.Fix.In(l); fix != "" {
			line += ": " + fix
		}
		lines = append(lines, line)
	}
	return lines
}

// reading are the classes of requests that change nothing.
var reading = []admission.Class{admission.Ping, admission.Read, admission.Login}

func callerText(c apicall.Caller) string {
	var parts []string
	if c.UID != apicall.NoID {
		parts = append(parts, fmt.Sprintf("uid %d, pid %d", c.UID, c.PID))
	}
	for _, p := range []struct{ name, is string }{{"userns of", c.Userns}, {"container", c.Container}, {"unit", c.Unit}, {"certificate", c.TLSName}} {
		if p.is != "" {
			parts = append(parts, p.name+" "+p.is)
		}
	}
	return strings.Join(append(parts, "via "+c.Via), ", ")
}

// A world answers a judge what a request refers to.
type world struct {
	ctx context.Context
	*doorman
	met   map[string]*inventory.Object // containers that were asked for
	known map[string]*inventory.Object // by path: asked for once in a decision; nil is not there
}

func (d *doorman) world(ctx context.Context) world {
	return world{ctx, d, map[string]*inventory.Object{}, map[string]*inventory.Object{}}
}

func (w world) object(kind inventory.Kind, name, path string) *inventory.Object {
	if name == "" {
		return nil
	}
	o, known := w.known[path]
	if !known {
		o, _ = w.read(kind, name, path)
		w.known[path] = o
	}
	return o
}

// read asks the engine. A container or a network may be asked for by its ID; the
// object has its name.
func (w world) read(kind inventory.Kind, name, path string) (*inventory.Object, error) {
	o := &inventory.Object{Ref: inventory.Ref{Kind: kind, Name: name}, Source: "GET " + path, Read: time.Now().UTC(), Fields: map[string]any{}}
	if err := w.client.Call(w.ctx, http.MethodGet, path, nil, &o.Fields); err != nil {
		return nil, err
	}
	if real, ok := o.Fields["Name"].(string); ok {
		o.Ref.Name = strings.TrimPrefix(real, "/")
	}
	return o, nil
}

func (w world) Image(ref string) *inventory.Object {
	return w.lasting(inventory.Image, ref, "/images/"+(&url.URL{Path: ref}).EscapedPath()+"/json")
}

func (w world) Container(name string) *inventory.Object {
	o := w.object(inventory.Container, name, "/containers/"+url.PathEscape(name)+"/json")
	if o != nil {
		w.met[name] = o
	}
	return o
}

func (w world) Network(name string) *inventory.Object {
	return w.lasting(inventory.Network, name, "/networks/"+url.PathEscape(name))
}

func (w world) Volume(name string) *inventory.Object {
	return w.object(inventory.Volume, name, "/volumes/"+url.PathEscape(name))
}

func (w world) Get(path string) (v any) {
	if err := w.client.Call(w.ctx, http.MethodGet, path, nil, &v); err != nil {
		return nil
	}
	return v
}

func (w world) Seccomp(path string) ([]byte, error) { return readSeccomp(path) }

func readSeccomp(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, admission.MaxBody))
}

// maxLinks is how many links the kernel follows in one path (path_resolution(7)).
const maxLinks = 40

// Resolve is a method of admission.World.
func (w world) Resolve(path string) string { return resolve(path) }

// resolve follows the links of a path as the kernel does, also those that lead
// to nothing: it may be there when the container starts. A path that goes in
// circles, or is longer than the kernel takes, is taken for all of the host.
func resolve(path string) string {
	at, left := "/", strings.Split(filepath.Clean(path), "/")
	for links := 0; len(left) > 0; {
		if len(path) > unix.PathMax || len(at) > unix.PathMax {
			return "/"
		}
		name := left[0]
		left = left[1:]
		if name == ".." {
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		to, err := os.Readlink(next)
		if errors.Is(err, unix.EINVAL) { // no link
			at = next
			continue
		}
		if err != nil { // not there, and nothing below it
			return filepath.Join(next, filepath.Join(left...))
		}
		if links++; links > maxLinks {
			return "/"
		}
		if filepath.IsAbs(to) {
			at = "/"
		}
		left = append(strings.Split(to, "/"), left...)
	}
	return at
}

// maxSignatures bounds how many signatures of one image are looked at.
const maxSignatures = 16

// Signatures is a method of admission.World.
func (w world) Signatures(digest string) [][]byte { return w.g.signatures(digest) }

// signatures of images are in the files images/sha256-HEX*.sig of the state
// directory.
func (g *guard) signatures(digest string) [][]byte {
	hex, ok := strings.CutPrefix(digest, "sha256:")
	if !ok || len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return nil
	}
	paths, err := filepath.Glob(filepath.Join(g.a.statePath, "images", "sha256-"+hex+"*.sig"))
	if err != nil || len(paths) > maxSignatures {
		return nil
	}
	var out [][]byte
	for _, path := range paths {
		if b, err := os.ReadFile(path); err == nil {
			out = append(out, b)
		}
	}
	return out
}

func (w world) Snapshot() *inventory.Snapshot { return w.host.Load() }

// begin notes that requests are judged from now on, and end that they no longer
// are.
func (d *doorman) begin(name, at string) (end func()) {
	d.roll.begin(time.Now())
	d.g.noted(store.Control{Name: name, State: store.Begun, At: at})
	return func() { d.g.noted(store.Control{Name: name, State: store.Ended, At: at}) }
}
