package auditrules

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"casco/loop/inventory"
)

// binaries are the programs of an engine and the roles of their watches.
var binaries = []struct{ name, role string }{
	{"dockerd", "dockerd"},
	{"containerd", "containerd"},
	{"containerd-shim", "shim"},
	{"containerd-shim-runc-v1", "shim-runc-v1"},
	{"containerd-shim-runc-v2", "shim-runc-v2"},
	{"runc", "runc"},
}

// binDirs is where they are looked for: beside dockerd first, and then as the
// packages of the distributions and of docker.com have them.
var binDirs = []string{"/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"}

// unitDirs: systemd.unit(5), "System Unit Search Path".
var unitDirs = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// DockerPaths lists what CIS Docker Benchmark 1.8.0 1.1.3 to 1.1.18 wants
// watched, at the places that the daemons of s name, else at the usual ones. A
// daemon with a file system view of its own names places that are not the
// host's and is left out.
func DockerPaths(s *inventory.Snapshot) []Path {
	var ps []Path
	daemons := slices.DeleteFunc(slices.Clone(s.Of(inventory.Daemon)), func(d *inventory.Object) bool {
		own, _, _ := inventory.DaemonOwnNamespaces.Of(d)
		return slices.Contains(own, "mnt")
	})
	if len(daemons) == 0 {
		daemons = []*inventory.Object{{Ref: inventory.Ref{Kind: inventory.Daemon, Name: "/run/docker.sock"}}}
	}
	for _, d := range daemons {
		ps = append(ps, ofDaemon(d)...)
	}
	return append(ps,
		Path{"/run/containerd", "run-containerd"},
		Path{"/etc/docker", "etc-docker"},
		Path{"/etc/default/docker", "default-docker"},
		Path{"/etc/containerd/config.toml", "containerd-config"},
		Path{"/etc/sysconfig/docker", "sysconfig-docker"})
}

func ofDaemon(d *inventory.Object) []Path {
	str := func(f inventory.Field[string], otherwise string) string {
		v, _, _ := f.Of(d)
		return cmp.Or(v, otherwise)
	}
	var ps []Path
	if filepath.IsAbs(d.Ref.Name) { // not tcp://
		ps = append(ps, Path{d.Ref.Name, "docker-sock"})
	}
	exe := str(inventory.DaemonExe, "")
	for _, b := range binaries {
		ps = append(ps, Path{find(b.name, exe), b.role})
	}
	unit := inventory.Field[string]{Kind: inventory.Daemon, Path: "Unit.FragmentPath"}
	return append(ps,
		Path{str(inventory.DaemonRootDir, "/var/lib/docker"), "data-root"},
		Path{str(inventory.DaemonConfigFile, "/etc/docker/daemon.json"), "daemon-json"},
		Path{str(unit, first(unitDirs, "docker.service")), "docker-service"},
		Path{strings.TrimPrefix(str(inventory.DaemonContainerdSocket, "/run/containerd/containerd.sock"), "unix://"), "containerd-sock"})
}

// find returns the path of a program of the engine whose dockerd is exe.
func find(name, exe string) string {
	if exe == "" {
		return first(binDirs, name)
	}
	if filepath.Base(exe) == name {
		return exe
	}
	return first(append([]string{filepath.Dir(exe)}, binDirs...), name)
}

// first returns dir/name of the first dir that has it, else of the first.
func first(dirs []string, name string) string {
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return filepath.Join(dirs[0], name)
}
