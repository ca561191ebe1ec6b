package main

import (
	"path/filepath"
	"strings"
)

// Docker CLI plugins: a file named docker-casco in a plugin folder that
// answers docker-cli-plugin-metadata with this document is run for "docker
// casco …" (docker/cli, cli-plugins/metadata, schema 0.1.0).
const (
	pluginMetadata = "docker-cli-plugin-metadata"
	metadata       = `{"SchemaVersion":"0.1.0","Vendor":"casco","Version":"` + version + `","ShortDescription":"Harden this Docker host: audit, plan, apply, verify, roll back"}`
)

// version is the program's version.
const version = "0.1.0"

// pluginArgs returns the arguments of the verb, and whether the program was
// called by the Docker CLI. It calls "docker-casco [its global flags] casco
// …", with the flags before the name; of them the ones that choose an engine
// are kept.
func pluginArgs(argv []string) (args []string, plugin bool) {
	if len(argv) == 0 || !strings.HasPrefix(filepath.Base(argv[0]), "docker-casco") {
		return argv[min(1, len(argv)):], false
	}
	args = argv[1:]
	if len(args) > 0 && args[0] == pluginMetadata {
		return args, true
	}
	var engine []string
	for i, a := range args {
		if a == "casco" {
			return append(args[i+1:len(args):len(args)], engine...), true
		}
		flag, value, joined := strings.Cut(a, "=")
		if flag == "-H" || flag == "--host" {
			if joined {
				engine = []string{"--host", value}
			} else if i+1 < len(args) {
				engine = []string{"--host", args[i+1]}
			}
		}
	}
	return args, true
}
