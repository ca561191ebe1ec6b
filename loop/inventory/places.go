package inventory

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// A Place is where something that Docker's safety rests on is on the host, or
// may be. Role is what it is:
//
//	docker-socket      a unix socket of an engine
//	containerd-socket  that of its containerd
//	unit, drop-in      its service unit, and the files that add to it
//	socket-unit        its socket unit
//	daemon-json        its configuration file
//	config-dir         the directory of key.json and certs.d
//	registry-certs     a directory of certificates and keys for registries
//	tls-ca, tls-cert, tls-key
//	default-docker, sysconfig-docker   options for its unit: Debian, Red Hat
//	data-root          the directory of its images, containers and volumes
//	run-containerd, containerd-config  containerd's state, its configuration
//	dockerd, containerd, containerd-shim, containerd-shim-runc-v1,
//	containerd-shim-runc-v2, runc      programs
type Place struct {
	Role string
	// Paths are absolute. The first one that exists is the place; if none does,
	// the first one is where it would be.
	Paths []string
	// Engine is the name of the Daemon that says so; "" for what every host
	// may have.
	Engine string
}

// unitDirs is where systemd looks for units, the first that has one wins:
// systemd.unit(5), "System Unit Search Path".
var unitDirs = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// binDirs is where the packages of the distributions and of docker.com have
// the programs.
var binDirs = []string{"/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"}

// programs are those of an engine: CIS Docker Benchmark 1.8.0, 1.1.3 and 1.1.14
// to 1.1.18.
var programs = []string{"dockerd", "containerd", "containerd-shim", "containerd-shim-runc-v1", "containerd-shim-runc-v2", "runc"}

// Places lists what the engines of s name, what every host may have, and, for
// what the engine in use does not name, where it usually is: the next boot may
// start an engine that nothing runs now. An engine with a file system view of
// its own (a mount namespace) names places that are not the host's: it is left
// out.
//
// What other engines name is added and takes nothing away, so that what is said
// of the engine in use does not depend on who else runs.
func Places(s *Snapshot) []Place {
	ps := []Place{
		{Role: "default-docker", Paths: []string{"/etc/default/docker"}},
		{Role: "sysconfig-docker", Paths: []string{"/etc/sysconfig/docker"}},
		{Role: "config-dir", Paths: []string{"/etc/docker"}}, // whatever file the engine is told to read
		{Role: "registry-certs", Paths: []string{"/etc/docker/certs.d"}},
		{Role: "run-containerd", Paths: []string{"/run/containerd"}},
		{Role: "containerd-config", Paths: []string{"/etc/containerd/config.toml"}},
	}
	named := map[string]bool{}
	for _, d := range s.Of(Daemon) {
		if own, _, _ := DaemonOwnNamespaces.Of(d); slices.Contains(own, "mnt") {
			continue
		}
		_, _, other := DaemonOther.Of(d)
		for _, p := range placesOf(d) {
			ps = append(ps, p)
			named[p.Role] = named[p.Role] || !other
		}
	}
	for _, p := range usual() {
		if !named[p.Role] {
			ps = append(ps, p)
		}
	}
	return ps
}

// usual is where things are that an engine may name.
func usual() []Place {
	ps := []Place{
		{Role: "docker-socket", Paths: []string{"/run/docker.sock"}},
		{Role: "containerd-socket", Paths: []string{"/run/containerd/containerd.sock"}},
		{Role: "unit", Paths: below(unitDirs, "docker.service")},
		{Role: "socket-unit", Paths: below(unitDirs, "docker.socket")},
		{Role: "daemon-json", Paths: []string{"/etc/docker/daemon.json"}},
		{Role: "data-root", Paths: []string{"/var/lib/docker"}},
	}
	for _, name := range programs {
		ps = append(ps, Place{Role: name, Paths: below(binDirs, name)})
	}
	return ps
}

func placesOf(d *Object) []Place {
	var ps []Place
	add := func(role string, paths ...string) {
		for _, p := range paths {
			if !path.IsAbs(p) { // tcp://, fd://, nothing
				return
			}
		}
		ps = append(ps, Place{role, paths, d.Ref.Name})
	}
	str := func(path string) string {
		v, _, _ := Field[string]{Daemon, path}.Of(d)
		return strings.TrimPrefix(v, "unix://")
	}
	add("docker-socket", d.Ref.Name)
	hosts, _, _ := DaemonHosts.Of(d)
	for _, h := range hosts {
		if sock, ok := strings.CutPrefix(h, "unix://"); ok && sock != d.Ref.Name {
			add("docker-socket", sock)
		}
	}
	add("unit", str("Unit.FragmentPath"))
	dropIns, _, _ := Field[[]string]{Daemon, "Unit.DropIns"}.Of(d)
	for _, f := range dropIns {
		add("drop-in", f)
	}
	add("socket-unit", str("Unit.SocketPath"))
	add("daemon-json", str(DaemonConfigFile.Path))
	add("tls-ca", str(DaemonTLSCA.Path))
	add("tls-cert", str(DaemonTLSCert.Path))
	add("tls-key", str(DaemonTLSKey.Path))
	add("containerd-socket", str(DaemonContainerdSocket.Path))
	add("data-root", cmp.Or(str(DaemonRootDir.Path), str("DataRoot.Path")))
	if exe := str(DaemonExe.Path); path.IsAbs(exe) {
		for _, name := range programs {
			dirs := []string{path.Dir(exe)}
			if name != path.Base(exe) { // it is that one even if its file is gone
				dirs = append(dirs, binDirs...)
			}
			add(name, below(dirs, name)...)
		}
	}
	return ps
}

func below(dirs []string, name string) []string {
	out := make([]string, len(dirs))
	for i, dir := range dirs {
		out[i] = path.Join(dir, name)
	}
	return out
}

// Another returns the engine that o belongs to, if that is one which was not
// asked: an engine of this host beside the one in use, or a file that is
// nobody's but such engines'. Otherwise it returns nil.
func (s *Snapshot) Another(o *Object) *Object {
	var engines []string
	switch o.Ref.Kind {
	case Daemon:
		engines = []string{o.Ref.Name}
	case File:
		engines, _, _ = FileEngines.Of(o)
	case Watch:
		engines, _, _ = WatchEngines.Of(o)
	}
	var first *Object
	for _, name := range engines {
		d := s.Find(Ref{Daemon, name})
		if _, _, other := DaemonOther.Of(d); !other {
			return nil
		}
		first = cmp.Or(first, d)
	}
	return first
}
