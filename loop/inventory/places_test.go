package inventory

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// places are those of s by role, each with the engine that names it; of several
// paths the first.
func places(s *Snapshot) map[string][]string {
	out := map[string][]string{}
	for _, p := range Places(s) {
		line := p.Paths[0]
		if p.Engine != "" {
			line += " of " + p.Engine
		}
		out[p.Role] = append(out[p.Role], line)
	}
	return out
}

func daemonNamed(name string, fields map[string]any) *Object {
	return &Object{Ref: Ref{Daemon, name}, Fields: fields}
}

func TestPlacesOfAnEngine(t *testing.T) {
	s := &Snapshot{}
	s.Add(daemonNamed("/run/user/1000/docker.sock", map[string]any{
		"Info":    map[string]any{"DockerRootDir": "/srv/docker"},
		"Process": map[string]any{"Exe": "/opt/bin/dockerd"},
		"Unit":    map[string]any{"FragmentPath": "/u/docker.service", "SocketPath": "/u/docker.socket", "DropIns": []any{"/u/d/a.conf"}},
		"Config":  map[string]any{"File": "/c/daemon.json"},
		"Effective": map[string]any{
			"tlscacert": "/t/ca.pem", "tlscert": "/t/cert.pem", "tlskey": "relative.pem",
			"hosts": []any{"unix:///run/docker.sock", "unix:///run/user/1000/docker.sock", "fd://", "tcp://0.0.0.0:2376"},
		},
		"Containerd": map[string]any{"Socket": "unix:///c/containerd.sock"},
	}))
	s.Add(daemonNamed("/hidden/docker.sock", map[string]any{"OwnNamespaces": []any{"mnt", "net"}})) // other files than ours
	of := " of /run/user/1000/docker.sock"
	want := map[string][]string{
		"docker-socket": {"/run/user/1000/docker.sock" + of, "/run/docker.sock" + of},
		"unit":          {"/u/docker.service" + of}, "drop-in": {"/u/d/a.conf" + of}, "socket-unit": {"/u/docker.socket" + of},
		"daemon-json": {"/c/daemon.json" + of}, "tls-ca": {"/t/ca.pem" + of}, "tls-cert": {"/t/cert.pem" + of},
		"containerd-socket": {"/c/containerd.sock" + of}, "data-root": {"/srv/docker" + of},
		"config-dir": {"/etc/docker"}, "registry-certs": {"/etc/docker/certs.d"},
		"default-docker": {"/etc/default/docker"}, "sysconfig-docker": {"/etc/sysconfig/docker"},
		"run-containerd": {"/run/containerd"}, "containerd-config": {"/etc/containerd/config.toml"},
	}
	for _, name := range programs {
		want[name] = []string{"/opt/bin/" + name + of}
	}
	if d := cmp.Diff(want, places(s)); d != "" {
		t.Error(d)
	}
}

// TestPlacesBesideAnother: a second engine adds its places and takes none of
// the first's, nor of the usual ones.
func TestPlacesBesideAnother(t *testing.T) {
	first := daemonNamed("/run/docker.sock", map[string]any{"Config": map[string]any{"File": "/etc/docker/daemon.json"}})
	alone := &Snapshot{}
	alone.Add(first)
	both := &Snapshot{}
	both.Add(first)
	both.Add(daemonNamed("/run/b.sock", map[string]any{
		"Other": "unix:///run/b.sock", "Unit": map[string]any{"FragmentPath": "/u/b.service"}, "DataRoot": map[string]any{"Path": "/srv/b"},
	}))
	one, two := places(alone), places(both)
	for role, ps := range one {
		if got := slices.DeleteFunc(slices.Clone(two[role]), func(p string) bool { return strings.HasSuffix(p, " of /run/b.sock") }); !slices.Equal(got, ps) {
			t.Errorf("%s: %v alone, %v beside another engine", role, ps, two[role])
		}
	}
	for role, want := range map[string]string{
		"unit": "/etc/systemd/system/docker.service", "data-root": "/var/lib/docker", "runc": "/usr/bin/runc",
		"containerd-socket": "/run/containerd/containerd.sock",
	} {
		if !slices.Contains(two[role], want) {
			t.Errorf("%s: %v has not the usual %s, where the next boot may have it", role, two[role], want)
		}
	}
	if !slices.Contains(two["data-root"], "/srv/b of /run/b.sock") {
		t.Errorf("data of the second engine: %v", two["data-root"])
	}
}

func TestPlacesWithoutAnEngine(t *testing.T) {
	got := places(&Snapshot{})
	for _, role := range append([]string{"docker-socket", "unit", "socket-unit", "daemon-json", "data-root"}, programs...) {
		if len(got[role]) != 1 || strings.Contains(fmt.Sprint(got[role]), " of ") {
			t.Errorf("%s: %v", role, got[role])
		}
	}
}
