// Package daemon reads what runs behind an engine's socket: the dockerd
// process, the settings it runs with and where each came from, the sockets it
// listens on and what it asks of a client there, its unit, its data root. It
// completes the Daemon object that package docker made from the API, and adds
// one for every other engine of the host.
//
// The process is the one at the other end of the socket in use, by the
// kernel's word (SO_PEERCRED), never "the newest process called dockerd": two
// engines on a host are common, and the wrong one's flags make a wrong audit.
// Where a proxy stands before the engine, the object says so in Unread and has
// no Effective.
//
// It reads /proc, connects to the engine's own listeners and asks them one
// GET /_ping. It changes nothing. Secrets of the command line and of
// daemon.json are masked.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"casco/loop/inventory"
)

// A Source completes and adds Daemon objects. It runs after the source that
// reads the engine's API.
type Source struct {
	asked string
	seen  *seen
}

// seen is what Begin saw: the processes that matter here.
type seen struct {
	all []process
	err error
}

// New returns a Source. Asked is the path of the socket of the engine in use,
// "" if it has none: where that engine did not answer, its process is still
// found by it, and is not taken for another engine.
func New(asked string) *Source { return &Source{asked: asked} }

// Name implements inventory.Source.
func (*Source) Name() string { return "daemon" }

// measured are the top-level fields of a Daemon that this package reads.
var measured = []string{"Process", "Config", "Effective", "EffectiveFrom", "Listeners", "DataRoot", "Containerd", "Proxies", "RuntimeFiles"}

// Begin implements inventory.Early: it looks through all processes.
func (src *Source) Begin(context.Context, string) {
	all, err := candidates()
	src.seen = &seen{all, err}
}

// Read implements inventory.Source. What of one engine cannot be read stands
// in its object's Unread; an error means that /proc could not be read at all.
func (src *Source) Read(ctx context.Context, s *inventory.Snapshot) error {
	if src.seen == nil {
		src.Begin(ctx, s.Host)
	}
	all, err := src.seen.all, src.seen.err
	src.seen = nil
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, process.gone) // an engine may have been restarted while it was asked
	known := map[int]bool{}
	for _, o := range s.Of(inventory.Daemon) {
		p, err := processOf(o, all)
		if err != nil {
			for _, field := range measured {
				unread(o, field, err)
			}
			continue
		}
		known[p.pid] = true
		complete(ctx, s, o, p, all)
	}
	src.unanswered(ctx, s, all, known)
	return others(ctx, s, all, known)
}

// unanswered adds the engine in use where its API said nothing: what its
// process shows is there all the same.
func (src *Source) unanswered(ctx context.Context, s *inventory.Snapshot, all []process, known map[int]bool) {
	if src.asked == "" || len(known) > 0 || s.Find(inventory.Ref{Kind: inventory.Daemon, Name: src.asked}) != nil {
		return
	}
	p, err := behind(src.asked, all)
	if err != nil { // no engine is there: the source that asked it says so
		return
	}
	o := newObject(src.asked)
	noAPI(o, "the engine did not answer over its API")
	known[p.pid] = true
	complete(ctx, s, o, p, all)
	s.Add(o)
}

// Look reads the engine at a unix socket alone: what Read would say of it,
// without what its API says. It is for a hand, which must see the engine as it
// is now.
func Look(ctx context.Context, socket string) (*inventory.Object, error) {
	all, err := candidates()
	if err != nil {
		return nil, err
	}
	p, err := behind(socket, all)
	if err != nil {
		return nil, err
	}
	o := newObject(socket)
	complete(ctx, &inventory.Snapshot{}, o, p, all)
	return o, nil
}

// Settings is the part of Look that its process and its settings say: Process,
// Config, Effective, EffectiveFrom, RuntimeFiles and Containerd. It asks the engine
// nothing.
// Look asks each of its listeners, and an engine without docker-proxy has one for
// each published port, which may not answer.
func Settings(socket string) (*inventory.Object, error) {
	all, err := candidates()
	if err != nil {
		return nil, err
	}
	p, err := behind(socket, all)
	if err != nil {
		return nil, err
	}
	o := newObject(socket)
	r := &reader{o: o, p: p}
	r.settings()
	r.containerd()
	return o, nil
}

func newObject(name string) *inventory.Object {
	return &inventory.Object{
		Ref:    inventory.Ref{Kind: inventory.Daemon, Name: name},
		Source: procDir,
		Read:   time.Now().UTC(),
		Fields: map[string]any{},
	}
}

func processOf(o *inventory.Object, all []process) (process, error) {
	path := strings.TrimPrefix(o.Ref.Name, "unix://")
	if !strings.HasPrefix(path, "/") {
		return process{}, fmt.Errorf("the engine was reached at %s: over a network nobody can tell which process answers", o.Ref.Name)
	}
	return behind(path, all)
}

// complete reads into o what can be read of its process.
func complete(ctx context.Context, s *inventory.Snapshot, o *inventory.Object, p process, all []process) {
	r := &reader{o: o, p: p}
	r.settings()
	r.unit()
	r.listeners(ctx, s)
	r.dataRoot()
	r.containerd()
	r.put("Proxies", procDir, int64(proxiesOf(p.pid, all)))
	r.swarm(s)
}

// settings reads the process, and what it was told.
func (r *reader) settings() {
	version, _, _ := inventory.DaemonVersion.Of(r.o)
	in := invocation{args: r.p.args, env: r.p.env(), major: majorOf(version)}
	r.process(in.rootless())
	r.config(&in)
	r.runtimeFiles()
}

// A reader reads one process into one object.
type reader struct {
	o *inventory.Object
	p process
	// effective is what config found; nil if the file could not be read.
	effective map[string]any
}

func (r *reader) put(field, source string, v any) {
	r.o.Fields[field] = v
	if r.o.Sources == nil {
		r.o.Sources = map[string]string{}
	}
	r.o.Sources[field] = source
}

func (r *reader) unread(field string, why error) { unread(r.o, field, why) }

func unread(o *inventory.Object, field string, why error) {
	if o.Unread == nil {
		o.Unread = map[string]string{}
	}
	o.Unread[field] = why.Error()
}

func (r *reader) process(rootless bool) {
	options, _, _ := inventory.DaemonSecurityOptions.Of(r.o)
	for _, opt := range options {
		rootless = rootless || strings.HasPrefix(opt, "name=rootless")
	}
	args := make([]any, 0, len(r.p.args))
	for _, a := range r.p.args {
		args = append(args, inventory.MaskText(a))
	}
	fields := map[string]any{"Pid": int64(r.p.pid), "Uid": r.p.uid, "Exe": r.p.exe, "Args": args, "Rootless": rootless}
	var files unix.Rlimit
	if err := unix.Prlimit(r.p.pid, unix.RLIMIT_NOFILE, nil, &files); err == nil {
		fields["NoFile"] = int64(min(files.Max, math.MaxInt64)) // RLIM_INFINITY is the largest uint64
	}
	r.put("Process", r.p.path(""), fields)
}

// config reads the configuration file and merges it with the command line. A
// file that cannot be read leaves Effective unknown, not at its defaults.
func (r *reader) config(in *invocation) {
	f, err := readConfig(r.p, in.configPath())
	_, named := parseFlags(in.args)
	fields := map[string]any{"File": f.path, "Named": named != ""}
	r.put("Config", f.path, fields)
	if err == nil {
		fields["Digest"], fields["Exists"], fields["Newer"] = f.digest, f.exists, f.newer
		err = f.broken
	}
	if err != nil {
		for _, field := range []string{"Effective", "EffectiveFrom"} {
			r.unread(field, err)
		}
		return
	}
	in.file = f.values
	values, from := in.effective()
	r.asReported(values)
	r.effective = values
	source := r.p.path("cmdline")
	if f.exists {
		source += ", " + f.path
	}
	r.put("Effective", source, masked("", values))
	r.put("EffectiveFrom", source, from)
}

// runtimeFiles looks whether the runtimes that the settings name are there. One
// without a path of its own is looked for by containerd's shim.
func (r *reader) runtimeFiles() {
	if r.effective == nil {
		r.unread("RuntimeFiles", errNoSettings)
		return
	}
	runtimes, _ := r.effective["runtimes"].(map[string]any)
	files := map[string]any{}
	for name, v := range runtimes {
		of, _ := v.(map[string]any)
		path, _ := of["path"].(string)
		if !filepath.IsAbs(path) {
			continue
		}
		info, err := os.Stat(r.p.inside(path))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.unread("RuntimeFiles", err)
			return
		}
		files[name] = map[string]any{
			"Path": path, "Exists": err == nil, "Executable": err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0,
		}
	}
	r.put("RuntimeFiles", r.p.path("root"), files)
}

var errNoSettings = errors.New("the settings that name them were not read")

// asReported prefers what the engine itself says it runs with: the file may
// have been edited after it started.
func (r *reader) asReported(values map[string]any) {
	for key, field := range map[string]string{
		"debug": "Info.Debug", "live-restore": "Info.LiveRestoreEnabled",
		"log-driver": "Info.LoggingDriver", "experimental": "Info.ExperimentalBuild",
	} {
		if v, _, ok := inventory.Lookup(r.o, field); ok && v != nil && v != "" {
			values[key] = v
		}
	}
}

// masked is v with its secrets masked: a token of a log driver, the password
// in a proxy's URL.
func masked(name string, v any) any {
	switch v := v.(type) {
	case string:
		return inventory.MaskValue(name, v)
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = masked(k, e)
		}
		return out
	case []any:
		out := make([]any, 0, len(v))
		for _, e := range v {
			out = append(out, masked(name, e))
		}
		return out
	}
	return v
}

func (r *reader) containerd() {
	c := map[string]any{}
	if addr, _, ok := inventory.Lookup(r.o, "Info.Containerd.Address"); ok && addr != "" { // since 27
		c["Socket"] = addr
	} else if addr, ok := r.effective["containerd"].(string); ok && addr != "" {
		c["Socket"] = strings.TrimPrefix(addr, "unix://")
	} else if r.effective != nil {
		c["Socket"] = r.defaultContainerd()
	}
	components, _, _ := inventory.DaemonComponents.Of(r.o)
	for _, e := range components {
		if m, ok := e.(map[string]any); ok && m["Name"] == "containerd" {
			c["Version"] = m["Version"]
		}
	}
	if len(c) == 0 {
		r.unread("Containerd", errors.New("neither the engine nor its settings name it"))
		return
	}
	r.put("Containerd", r.o.Source, c)
}

// systemContainerd is where dockerd looks for one that runs already, before it
// starts its own below its exec-root: initContainerd of moby's cmd/dockerd.
const systemContainerd = "/run/containerd/containerd.sock"

func (r *reader) defaultContainerd() string {
	if _, err := device(r.p.inside(systemContainerd)); err == nil {
		return systemContainerd
	}
	root, _ := r.effective["exec-root"].(string)
	return root + "/containerd/containerd.sock"
}

func proxiesOf(pid int, all []process) (n int) {
	for _, p := range all {
		if p.ppid == pid && p.named("docker-proxy") {
			n++
		}
	}
	return n
}
