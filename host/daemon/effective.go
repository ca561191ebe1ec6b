package daemon

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"casco/loop/inventory"
)

// An invocation is what decides how a dockerd runs.
type invocation struct {
	args []string
	env  map[string]string
	file map[string]any // its configuration file, nil if there is none
	// major is the engine's version (20, 29), 0 if it is not known. Some
	// defaults changed on the way.
	major int
}

// effective merges command line, configuration file and defaults under the
// names of daemon.json, and says of each key where it came from: "flag",
// "file" or "default". dockerd refuses to start with a key in both, so the
// order of those two matters only for a file that was edited since; a reload
// with it is refused too, and the flag stands.
func (in invocation) effective() (values map[string]any, from map[string]any) {
	values, from = map[string]any{}, map[string]any{}
	for key, v := range in.defaults() {
		if v != nil {
			inventory.Put(values, key, v)
			from[topOf(key)] = "default"
		}
	}
	for key, v := range in.file {
		if key == "graph" {
			key = "data-root"
		}
		values[key], from[key] = v, "file"
	}
	given, _ := parseFlags(in.args)
	for key, v := range given {
		inventory.Put(values, key, v)
		from[topOf(key)] = "flag"
	}
	if values["tlsverify"] == true { // TLS is implied: dockerd(8)
		values["tls"] = true
		if from["tls"] == "default" {
			from["tls"] = from["tlsverify"]
		}
	}
	in.certificates(values, from)
	return values, from
}

func topOf(key string) string {
	top, _, _ := strings.Cut(key, ".")
	return top
}

// defaults are what holds where nobody says otherwise, by key. A variable of
// the environment is a default too: the file overrides it.
func (in invocation) defaults() map[string]any {
	out := map[string]any{}
	for _, s := range slices.Backward(settings) {
		out[s.key] = s.value
		if m, ok := s.value.(map[string]any); ok {
			out[s.key] = maps.Clone(m) // the table's own must not be changed
		}
	}
	if in.major >= 23 { // the word appeared with 23.0; before it was ""
		out["seccomp-profile"] = "builtin"
	} else if in.major > 0 {
		out["seccomp-profile"] = ""
	}
	if in.major > 0 { // release notes of 27.0
		out["ip6tables"] = in.major >= 27
	}
	if in.env["DOCKER_TLS_VERIFY"] != "" {
		out["tlsverify"] = true
	}
	if driver := in.env["DOCKER_DRIVER"]; driver != "" {
		out["storage-driver"] = driver
	}
	if in.rootless() {
		maps.Copy(out, in.rootlessDefaults())
	}
	return out
}

// rootless: RootlessKit leaves this variable to its child, and --rootless
// follows it unless given.
func (in invocation) rootless() bool {
	if given, _ := parseFlags(in.args); given["rootless"] != nil {
		return given["rootless"] == true
	}
	return in.env["ROOTLESSKIT_STATE_DIR"] != ""
}

// rootlessDefaults are the paths below XDG_RUNTIME_DIR and the user's home:
// https://docs.docker.com/engine/security/rootless/.
func (in invocation) rootlessDefaults() map[string]any {
	run := in.env["XDG_RUNTIME_DIR"]
	data := in.env["XDG_DATA_HOME"]
	if data == "" {
		data = path.Join(in.env["HOME"], ".local/share")
	}
	return map[string]any{
		"rootless":  true,
		"hosts":     []any{"unix://" + path.Join(run, "docker.sock")},
		"exec-root": path.Join(run, "docker"),
		"pidfile":   path.Join(run, "docker.pid"),
		"data-root": path.Join(data, "docker"),
	}
}

// configPath is where dockerd looks for its file.
func (in invocation) configPath() string {
	if _, file := parseFlags(in.args); file != "" {
		return file
	}
	if in.rootless() {
		conf := in.env["XDG_CONFIG_HOME"]
		if conf == "" {
			conf = path.Join(in.env["HOME"], ".config")
		}
		return path.Join(conf, "docker/daemon.json")
	}
	return "/etc/docker/daemon.json"
}

// certificates fills in the paths that dockerd takes when TLS is on and none
// is given: those of DOCKER_CERT_PATH or ~/.docker.
func (in invocation) certificates(values, from map[string]any) {
	dir := in.env["DOCKER_CERT_PATH"]
	if dir == "" {
		dir = path.Join(in.env["HOME"], ".docker")
	}
	for key, name := range map[string]string{"tlscacert": "ca.pem", "tlscert": "cert.pem", "tlskey": "key.pem"} {
		if values[key] != nil {
			continue
		}
		values[key], from[key] = "", "default"
		if values["tls"] == true {
			values[key] = path.Join(dir, name)
		}
	}
}

// majorOf is 20 of "20.10.24+dfsg1", 0 if it is no version.
func majorOf(version string) int {
	n, _, _ := strings.Cut(version, ".")
	major, err := strconv.Atoi(n)
	if err != nil {
		return 0
	}
	return major
}
