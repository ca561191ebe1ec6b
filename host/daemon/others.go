package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"casco/internal/doorway"
	"casco/loop/inventory"
)

// others adds the engines of this host that are not behind a socket in use:
// further dockerds (rootless, inside a container, on another socket), the API
// service of podman, and a containerd that still runs Docker's containers
// though no dockerd is left to manage them.
func others(ctx context.Context, s *inventory.Snapshot, all []process, known map[int]bool) error {
	for _, p := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch {
		case known[p.pid]:
		case p.isDockerd():
			o := another(s, p, true)
			complete(ctx, s, o, p, all)
			s.Add(o)
		case p.named("podman") && slices.Contains(p.args, "system") && slices.Contains(p.args, "service"),
			p.named("containerd") && orphans(p, all):
			s.Add(foreign(ctx, s, p))
		}
	}
	return nil
}

// noAPI says why what comes over the API is not there.
func noAPI(o *inventory.Object, why string) {
	for _, field := range []string{"Info", "Version"} {
		unread(o, field, errors.New(why))
	}
}

// another is the object of an engine that was not asked. Docker says that it
// speaks Docker's API.
func another(s *inventory.Snapshot, p process, docker bool) *inventory.Object {
	name, socket := nameOf(s, p)
	o := newObject(name)
	noAPI(o, "this engine was found by its process; its API was not asked")
	o.Fields["Other"] = ""
	if docker && name == socket && filepath.IsAbs(socket) {
		o.Fields["Other"] = "unix://" + socket
	}
	return o
}

// foreign is an engine that is not dockerd. It has no daemon.json.
func foreign(ctx context.Context, s *inventory.Snapshot, p process) *inventory.Object {
	o := another(s, p, p.named("podman")) // its service speaks it too
	for _, field := range []string{"Config", "Effective", "EffectiveFrom"} {
		unread(o, field, fmt.Errorf("%s reads no daemon.json", p.comm))
	}
	r := &reader{o: o, p: p}
	r.process(p.uid != 0)
	r.unit()
	r.listeners(ctx, s)
	return o
}

// nameOf names an engine by its first unix socket. One that sees other files
// than we do may have a socket of the same path as ours, and is told apart by
// its container, or else by its process: then the name is not the socket.
func nameOf(s *inventory.Snapshot, p process) (name, socket string) {
	socket = firstSocket(p)
	if !p.sameNamespace("mnt") && !reachable(p, socket) {
		if c := containerOf(s, p); c != "" {
			return c + ":" + socket, socket
		}
		return fmt.Sprintf("%s:%s", p.path("root"), socket), socket
	}
	if s.Find(inventory.Ref{Kind: inventory.Daemon, Name: socket}) != nil { // its file was taken over
		return fmt.Sprintf("process %d:%s", p.pid, socket), socket
	}
	return socket, socket
}

// firstSocket prefers a socket that the settings name over those that an
// engine makes for itself (libnetwork, plugins). One behind a door has the name
// of the door.
func firstSocket(p process) string {
	in := invocation{args: p.args, env: p.env()}
	if f, err := readConfig(p, in.configPath()); err == nil && p.isDockerd() {
		in.file = f.values
		values, _ := in.effective()
		hosts, _ := values["hosts"].([]any)
		for _, h := range hosts {
			if path, ok := strings.CutPrefix(fmt.Sprint(h), "unix://"); ok {
				return doorway.Name(path)
			}
		}
	}
	ls, _, err := p.listeners()
	if err == nil {
		for _, l := range ls {
			if l.proto == "unix" && strings.HasSuffix(l.path, ".sock") && !strings.HasSuffix(l.path, ".ttrpc") {
				return doorway.Name(l.path)
			}
		}
	}
	return fmt.Sprintf("process %d", p.pid)
}

// reachable reports whether path is for us the file that it is for p.
func reachable(p process, path string) bool {
	ours, err1 := os.Stat(path)
	theirs, err2 := os.Stat(p.inside(path))
	return err1 == nil && err2 == nil && os.SameFile(ours, theirs)
}

// containerOf is the name of the container that p runs in, by its cgroup.
func containerOf(s *inventory.Snapshot, p process) string {
	b, err := os.ReadFile(p.path("cgroup"))
	if err != nil {
		return ""
	}
	for _, c := range s.Of(inventory.Container) {
		if id, _, _ := inventory.ContainerID.Of(c); id != "" && strings.Contains(string(b), id) {
			return c.Ref.Name
		}
	}
	return ""
}

// mobyTasks is where containerd keeps the running containers of Docker's
// namespace, below its default state directory.
const mobyTasks = "/run/containerd/io.containerd.runtime.v2.task/moby"

// orphans reports whether containerd p runs containers of Docker's and no
// dockerd is there that could be their engine.
func orphans(p process, all []process) bool {
	tasks, err := os.ReadDir(p.inside(mobyTasks))
	if err != nil || len(tasks) == 0 || slices.ContainsFunc(p.args, func(a string) bool { return strings.Contains(a, "--state") }) {
		return false
	}
	if ls, _, err := p.listeners(); err != nil || !slices.ContainsFunc(ls, func(l listener) bool { return l.path == systemContainerd }) {
		return false
	}
	return !slices.ContainsFunc(all, process.isDockerd)
}
