package file

import (
	"io/fs"
	"os"
	"path/filepath"

	"casco/loop/inventory"
)

// roles are the places that this package looks at, by what a file there is
// called in inventory.FileRoles.
var roles = map[string]string{
	"docker-socket": "docker-socket", "containerd-socket": "containerd-socket",
	"unit": "unit", "drop-in": "unit", "socket-unit": "socket-unit",
	"daemon-json": "daemon-json", "config-dir": "config-dir",
	"tls-ca": "tls-ca", "tls-cert": "tls-cert", "tls-key": "tls-key",
	"default-docker": "default-docker", "sysconfig-docker": "sysconfig-docker",
}

// DockerPaths lists the files that Docker's safety rests on, of the engines of
// s and of the host: see inventory.Places.
func DockerPaths(s *inventory.Snapshot) []Path {
	var ps []Path
	for _, p := range inventory.Places(s) {
		if p.Role == "registry-certs" {
			for _, dir := range p.Paths {
				ps = append(ps, certificates(dir)...)
			}
		} else if role, ok := roles[p.Role]; ok {
			ps = append(ps, Path{first(p.Paths), []string{role}, p.Engine})
		}
	}
	return ps
}

// first returns the first path that exists, or else the first.
func first(paths []string) string {
	for _, path := range paths {
		if _, err := os.Lstat(path); err == nil {
			return path
		}
	}
	return paths[0]
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
		ps = append(ps, Path{path, []string{role}, ""})
		return nil
	})
	return ps
}
