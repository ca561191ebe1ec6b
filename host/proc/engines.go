package proc

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"casco/loop/inventory"
)

// engineSockets are where engines listen by default. Who can write to one is
// root on the host. From the engines' own manuals; /run/user/UID is for those
// that run rootless and own only what their user owns.
var engineSockets = []string{
	"/run/docker.sock",
	"/var/run/docker.sock",
	"/run/containerd/containerd.sock",
	"/run/docker/containerd/containerd.sock",
	"/run/docker/swarm/control.sock",
	"/run/buildkit/buildkitd.sock",
	"/run/podman/podman.sock",
	"/run/crio/crio.sock",
	"/run/cri-dockerd.sock",
	"/run/dockershim.sock",
	"/run/k3s/containerd/containerd.sock",
	"/run/snap.docker/docker.sock",
	"/run/balena-engine.sock",
	"/run/user/*/docker.sock",
	"/run/user/*/podman/podman.sock",
	"/run/user/*/buildkit/buildkitd.sock",
}

// engineNames are the commands whose listening sockets are engine sockets too,
// wherever they are. The kernel keeps 15 bytes of a name.
var engineNames = map[string]bool{
	"dockerd": true, "containerd": true, "podman": true, "crio": true,
	"buildkitd": true, "cri-dockerd": true, "balena-engine-d": true,
}

// A portal is an engine's socket that exists.
type portal struct {
	name string // as its engine or its manual calls it
	place
}

// portals finds the engine sockets of the host: by their known paths, by the
// names of the daemons in the snapshot, and by what the engines' processes
// listen on. No directory is walked. With an error what was found is right, but
// may not be all.
func (fs procfs) portals(v *view, h *home, daemons []*inventory.Object) ([]portal, error) {
	var found []portal
	add := func(v *view, name string) {
		if p, err := v.resolve(name); err == nil && p.kind == "socket" {
			found = append(found, portal{name, p})
		}
	}
	users, _ := os.ReadDir("/run/user")
	for _, name := range engineSockets {
		if !strings.Contains(name, "*") {
			add(v, name)
			continue
		}
		for _, u := range users {
			add(v, strings.Replace(name, "*", u.Name(), 1))
		}
	}
	for _, d := range daemons {
		add(v, strings.TrimPrefix(d.Ref.Name, "unix://"))
		if s, _, ok := inventory.DaemonContainerdSocket.Of(d); ok {
			add(v, s)
		}
	}
	var errs error
	for _, pid := range fs.engineProcesses(h) {
		if err := fs.addListening(pid, h.views, add); err != nil && !gone(err) {
			errs = errors.Join(errs, fmt.Errorf("sockets of %s: %w", fs.comm(pid), err))
		}
	}
	slices.SortStableFunc(found, func(a, b portal) int { return cmp.Compare(a.path, b.path) })
	return slices.CompactFunc(found, func(a, b portal) bool { return a.node == b.node }), errs
}

// engineProcesses returns the daemons of the snapshot, and what is called like
// an engine.
func (fs procfs) engineProcesses(h *home) []int {
	var engines []int
	for _, p := range h.engines {
		engines = append(engines, p.pid)
	}
	pids, _ := fs.pids()
	for _, pid := range pids {
		if engineNames[fs.comm(pid)] {
			engines = append(engines, pid)
		}
	}
	slices.Sort(engines)
	return slices.Compact(engines)
}

// addListening adds the unix sockets on which process pid listens, in its own
// view.
func (fs procfs) addListening(pid int, vs views, add func(*view, string)) error {
	p, err := fs.open(pid)
	if err != nil {
		return err
	}
	defer p.close()
	text, err := p.read("net/unix")
	if err != nil {
		return err
	}
	names := parseUnix(text)
	want := make(map[uint64]bool, len(names))
	for inode := range names {
		want[inode] = true
	}
	held, err := fs.holders([]int{pid}, want, filesMost)
	if err != nil || len(held) == 0 {
		return err
	}
	v, err := vs.of(p)
	if err != nil {
		return err
	}
	for inode := range held {
		add(v, names[inode])
	}
	return nil
}

// parseUnix reads a /proc/PID/net/unix, unix(7) and proc_pid_net(5): the paths
// of the sockets that listen, by inode. The flags' bit 16 is __SO_ACCEPTCON. A
// name in the abstract space ("@…") cannot be mounted and is left out.
func parseUnix(text []byte) map[uint64]string {
	const acceptCon = 1 << 16
	listening := map[uint64]string{}
	for line := range bytes.Lines(text) {
		// Num RefCount Protocol Flags Type St Inode Path
		words := strings.Fields(string(line))
		if len(words) < 8 || !strings.HasPrefix(words[7], "/") {
			continue
		}
		flags, err1 := strconv.ParseUint(words[3], 16, 32)
		inode, err2 := strconv.ParseUint(words[6], 10, 64)
		if err1 != nil || err2 != nil || flags&acceptCon == 0 {
			continue
		}
		name := string(bytes.TrimRight(line, "\n"))
		listening[inode] = path.Clean(name[strings.Index(name, " /")+1:])
	}
	return listening
}
