package daemon

import (
	"os"
	"path/filepath"
	"strings"

	"casco/loop/inventory"
)

// A RolePath is a path of the host and why it matters: a word of FileRoles or
// of WatchRole in package inventory.
type RolePath struct{ Path, Role string }

// The places that Docker's packages use. An engine that was told of another
// one has that instead.
const (
	etcDocker        = "/etc/docker"
	certsDir         = "/etc/docker/certs.d"
	defaultDocker    = "/etc/default/docker"
	sysconfigDocker  = "/etc/sysconfig/docker"
	containerdConfig = "/etc/containerd/config.toml"
	containerdState  = "/run/containerd"
)

// FilePaths are the files on which the safety of the engine o rests: CIS
// Docker Benchmark 1.8.0, section 3. That a path is named does not mean that it
// exists. Of the settings it needs only those that were read. It lists
// /etc/docker/certs.d and reads nothing else.
func FilePaths(o *inventory.Object) []RolePath {
	out := unitPaths(o)
	out = append(out, RolePath{etcDocker, "config-dir"})
	out = append(out, registryCerts(certsDir)...)
	for _, tls := range []struct {
		field inventory.Field[string]
		role  string
	}{{inventory.DaemonTLSCA, "tls-ca"}, {inventory.DaemonTLSCert, "tls-cert"}, {inventory.DaemonTLSKey, "tls-key"}} {
		if path, _, _ := tls.field.Of(o); path != "" {
			out = append(out, RolePath{path, tls.role})
		}
	}
	for _, path := range sockets(o) {
		out = append(out, RolePath{path, "docker-socket"})
	}
	out = append(out, RolePath{configOf(o), "daemon-json"},
		RolePath{defaultDocker, "default-docker"}, RolePath{sysconfigDocker, "sysconfig-docker"})
	if path, _, _ := inventory.DaemonContainerdSocket.Of(o); path != "" {
		out = append(out, RolePath{path, "containerd-socket"})
	}
	return out
}

// WatchPaths are the paths that the kernel's audit should watch for the engine
// o: CIS Docker Benchmark 1.8.0, items 1.1.3 to 1.1.18. The programs are those
// beside the engine's own, or where Debian and Docker's packages put them.
func WatchPaths(o *inventory.Object) []RolePath {
	exe, _, _ := inventory.DaemonExe.Of(o)
	if exe == "" {
		exe = "/usr/bin/dockerd"
	}
	root, _, _ := inventory.Field[string]{Kind: inventory.Daemon, Path: "DataRoot.Path"}.Of(o)
	if root == "" {
		root = "/var/lib/docker"
	}
	out := []RolePath{{exe, "dockerd"}, {containerdState, "run-containerd"}, {root, "data-root"}, {etcDocker, "etc-docker"}}
	for _, u := range unitPaths(o) {
		if u.Role == "unit" && strings.HasSuffix(u.Path, ".service") {
			out = append(out, RolePath{u.Path, "docker-service"})
		}
	}
	if path, _, _ := inventory.DaemonContainerdSocket.Of(o); path != "" {
		out = append(out, RolePath{path, "containerd-sock"})
	}
	for _, path := range sockets(o) {
		out = append(out, RolePath{path, "docker-sock"})
	}
	out = append(out, RolePath{defaultDocker, "default-docker"}, RolePath{configOf(o), "daemon-json"},
		RolePath{containerdConfig, "containerd-config"}, RolePath{sysconfigDocker, "sysconfig-docker"})
	for _, p := range []struct{ name, role string }{
		{"containerd", "containerd"},
		{"containerd-shim", "shim"},
		{"containerd-shim-runc-v1", "shim-runc-v1"},
		{"containerd-shim-runc-v2", "shim-runc-v2"},
		{"runc", "runc"},
	} {
		out = append(out, RolePath{program(p.name, filepath.Dir(exe)), p.role})
	}
	return out
}

// program finds where a program is. One that is not installed is named where
// packages would put it.
func program(name, beside string) string {
	for _, dir := range []string{beside, "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
			return filepath.Join(dir, name)
		}
	}
	return filepath.Join("/usr/bin", name)
}

func unitPaths(o *inventory.Object) (out []RolePath) {
	u, _, _ := inventory.DaemonUnit.Of(o)
	if path, _ := u["FragmentPath"].(string); path != "" {
		out = append(out, RolePath{path, "unit"})
	}
	drops, _ := u["DropIns"].([]any)
	for _, d := range drops {
		if path, _ := d.(string); path != "" {
			out = append(out, RolePath{path, "unit"})
		}
	}
	if path, _ := u["SocketPath"].(string); path != "" {
		out = append(out, RolePath{path, "socket-unit"})
	}
	return out
}

func configOf(o *inventory.Object) string {
	if path, _, _ := inventory.DaemonConfigFile.Of(o); path != "" {
		return path
	}
	return filepath.Join(etcDocker, "daemon.json")
}

// sockets are the unix sockets on which the engine's API can be had.
func sockets(o *inventory.Object) (out []string) {
	ls, _, _ := inventory.DaemonListeners.Of(o)
	for _, l := range ls {
		m, _ := l.(map[string]any)
		if path, _ := m["Addr"].(string); m["Proto"] == "unix" && m["Role"] == roleAPI && strings.HasPrefix(path, "/") {
			out = append(out, path)
		}
	}
	if path := strings.TrimPrefix(o.Ref.Name, "unix://"); len(out) == 0 && strings.HasPrefix(path, "/") {
		out = append(out, path)
	}
	return out
}

// registryCerts lists certs.d: one directory for each registry, in it
// certificates (*.crt, *.cert) and keys (*.key) of clients:
// https://docs.docker.com/engine/security/certificates/.
func registryCerts(dir string) (out []RolePath) {
	registries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, reg := range registries {
		files, err := os.ReadDir(filepath.Join(dir, reg.Name()))
		if err != nil {
			continue
		}
		for _, f := range files {
			path := filepath.Join(dir, reg.Name(), f.Name())
			switch filepath.Ext(f.Name()) {
			case ".crt", ".cert":
				out = append(out, RolePath{path, "registry-cert"})
			case ".key":
				out = append(out, RolePath{path, "registry-key"})
			}
		}
	}
	return out
}
