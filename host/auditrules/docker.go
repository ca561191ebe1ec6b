package auditrules

import (
	"os"

	"casco/loop/inventory"
)

// roles are the places that are to be watched, by the CIS item that wants it:
// see inventory.WatchRole.
var roles = map[string]string{
	"dockerd": "dockerd", "containerd": "containerd", "runc": "runc",
	"containerd-shim": "shim", "containerd-shim-runc-v1": "shim-runc-v1", "containerd-shim-runc-v2": "shim-runc-v2",
	"docker-socket": "docker-sock", "containerd-socket": "containerd-sock",
	"unit": "docker-service", "daemon-json": "daemon-json", "config-dir": "etc-docker",
	"default-docker": "default-docker", "sysconfig-docker": "sysconfig-docker",
	"data-root": "data-root", "run-containerd": "run-containerd", "containerd-config": "containerd-config",
}

// DockerPaths lists what CIS Docker Benchmark 1.8.0 1.1.3 to 1.1.18 wants
// watched, of the engines of s and of the host: see inventory.Places.
func DockerPaths(s *inventory.Snapshot) []Path {
	var ps []Path
	for _, p := range inventory.Places(s) {
		if role, ok := roles[p.Role]; ok {
			ps = append(ps, Path{first(p.Paths), role, p.Engine})
		}
	}
	return ps
}

// first returns the first path that exists, or else the first.
func first(paths []string) string {
	for _, path := range paths {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return paths[0]
}
