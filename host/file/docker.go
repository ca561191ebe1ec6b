package file

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"casco/loop/inventory"
)

// unitDirs is where systemd looks for units, the first that has one wins:
// systemd.unit(5), "System Unit Search Path".
var unitDirs = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// DockerPaths lists the files that Docker's safety rests on: those that every
// host may have, at their usual places, and those that the daemons of s name.
// A daemon that has a file system view of its own (a mount namespace) names
// places that are not the host's: its files are left out.
func DockerPaths(s *inventory.Snapshot) []Path {
	ps := []Path{
		{"/etc/default/docker", []string{"default-docker"}},     // Debian's docker.service, init script
		{"/etc/sysconfig/docker", []string{"sysconfig-docker"}}, // RHEL
	}
	daemons := s.Of(inventory.Daemon)
	if len(daemons) == 0 {
		ps = append(ps, Path{"/run/docker.sock", []string{"docker-socket"}})
	}
	seen := false
	for _, d := range daemons {
		if own, _, _ := inventory.DaemonOwnNamespaces.Of(d); !slices.Contains(own, "mnt") {
			ps = append(ps, ofDaemon(d)...)
			unit, _, _ := inventory.DaemonUnit.Of(d)
			seen = seen || unit["FragmentPath"] != nil
		}
	}
	if !seen { // no unit runs it now, but the next boot may
		ps = append(ps, firstUnit("docker.service", "unit")...)
		ps = append(ps, firstUnit("docker.socket", "socket-unit")...)
	}
	if !slices.ContainsFunc(ps, func(p Path) bool { return slices.Contains(p.Roles, "daemon-json") }) {
		ps = append(ps, configuration("/etc/docker/daemon.json")...)
	}
	if !slices.ContainsFunc(ps, func(p Path) bool { return slices.Contains(p.Roles, "containerd-socket") }) {
		ps = append(ps, Path{"/run/containerd/containerd.sock", []string{"containerd-socket"}})
	}
	return append(ps, certificates("/etc/docker/certs.d")...)
}

func ofDaemon(d *inventory.Object) []Path {
	var ps []Path
	add := func(path any, role string) {
		if p, ok := path.(string); ok && filepath.IsAbs(p) {
			ps = append(ps, Path{p, []string{role}})
		}
	}
	add(d.Ref.Name, "docker-socket") // a tcp:// address is no path
	hosts, _, _ := inventory.DaemonHosts.Of(d)
	for _, h := range hosts {
		if sock, ok := strings.CutPrefix(h, "unix://"); ok {
			add(sock, "docker-socket")
		}
	}
	unit, _, _ := inventory.DaemonUnit.Of(d)
	add(unit["FragmentPath"], "unit")
	add(unit["SocketPath"], "socket-unit")
	dropIns, _, _ := inventory.Field[[]string]{Kind: inventory.Daemon, Path: "Unit.DropIns"}.Of(d)
	for _, f := range dropIns {
		add(f, "unit")
	}
	if f, _, ok := inventory.DaemonConfigFile.Of(d); ok && filepath.IsAbs(f) {
		ps = append(ps, configuration(f)...)
	}
	for _, f := range []struct {
		field inventory.Field[string]
		role  string
	}{
		{inventory.DaemonTLSCA, "tls-ca"},
		{inventory.DaemonTLSCert, "tls-cert"},
		{inventory.DaemonTLSKey, "tls-key"},
		{inventory.DaemonContainerdSocket, "containerd-socket"},
	} {
		if path, _, ok := f.field.Of(d); ok {
			add(strings.TrimPrefix(path, "unix://"), f.role)
		}
	}
	return ps
}

// configuration is the daemon's configuration file and its directory. A file
// kept elsewhere leaves /etc/docker what it is, the directory of key.json and
// of the registries' certificates.
func configuration(file string) []Path {
	return []Path{{file, []string{"daemon-json"}}, {"/etc/docker", []string{"config-dir"}}}
}

func firstUnit(name, role string) []Path {
	for _, dir := range unitDirs {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); err == nil {
			return []Path{{path, []string{role}}}
		}
	}
	return nil
}

// certificates lists what is under dir by its role: *.key is a key, *.crt and
// *.cert are certificates ("Use your own certificates", dockerd's manual). The
// directories count too: who can write one can put a CA there. What cannot be
// listed becomes a path that cannot be read.
func certificates(dir string) []Path {
	var ps []Path
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		role := ""
		switch ext := filepath.Ext(path); {
		case err != nil && absent(err):
			return nil
		case err != nil || ext == ".crt" || ext == ".cert":
			role = "registry-cert"
		case ext == ".key":
			role = "registry-key"
		default:
			return nil
		}
		ps = append(ps, Path{path, []string{role}})
		return nil
	})
	return ps
}
