package lab

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"casco/lang"
)

// project is the name of the Compose project, composeFile that of its file.
const (
	project     = "lab-shop"
	composeFile = "compose.yaml"
)

// composeText is the project's file. Its services are what composed creates:
// TestCompose holds the two together.
//
//go:embed compose.yaml
var composeText []byte

// composeMark is the first line of a file that Down may remove.
var composeMark = composeText[:bytes.IndexByte(composeText, '\n')+1]

// projectDir is the directory of the project. Compose takes the project's name
// from it: the older docker-compose refuses a name in the file.
func (l Lab) projectDir() string { return filepath.Join(cmp.Or(l.Dir, DefaultDir), project) }

func writeCompose(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, composeFile), composeText, 0o644)
}

// isComposeOurs reports whether the file begins with the lab's mark.
func isComposeOurs(path string) bool {
	text, err := os.ReadFile(path)
	return err == nil && bytes.HasPrefix(text, composeMark)
}

// removeCompose removes the project's file and the directory, if nothing else
// is in it: a compose.override.yaml that somebody wrote stays.
func removeCompose(dir string) error {
	path := filepath.Join(dir, composeFile)
	if !isComposeOurs(path) {
		return nil
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// composed are the containers of the project's services. They are made over
// the engine's API with the labels of Compose, so that the lab needs no
// Compose; Compose takes them for its own.
func (b builder) composed() []container {
	service := func(name, image, cmd string, weak lang.Text, host object) container {
		return container{
			name: project + "-" + name, image: image, weak: weak, cmd: words(cmd), host: host, labels: composeLabels(b.lab.projectDir(), name),
			network: project + "_default", endpoint: object{"Aliases": []string{project + "-" + name, name}},
		}
	}
	return []container{
		service("cache", "lab-base:latest", "serve :6379 cached", lang.Text{
			En: "Compose owns it: a change beside its file is lost at the next up",
			Es: "pertenece a Compose: un cambio fuera de su archivo se pierde con el próximo up",
		}, object{}),
		service("front", "lab-web:latest", "http :8080 shop", lang.Text{
			En: "Compose owns it; restart always, a published port on all addresses",
			Es: "pertenece a Compose; reinicio permanente, un puerto publicado en todas las direcciones",
		}, object{
			"RestartPolicy": object{"Name": "always"},
			"PortBindings":  object{"8080/tcp": []object{{"HostIp": "", "HostPort": "18080"}}},
		}),
	}
}

// composeVersion is the Compose whose labels are written; they are in
// pkg/api/labels.go of docker/compose.
const composeVersion = "2.26.1"

// composeLabels are what Compose writes on a container of a service. The hash
// of the service's configuration is of the whole file here, which Compose
// takes for an older configuration: its next up re-creates the container.
func composeLabels(dir, service string) object {
	hash := sha256.Sum256(append([]byte(service+"\n"), composeText...))
	labels := object{
		"com.docker.compose.project":              project,
		"com.docker.compose.project.config_files": filepath.Join(dir, composeFile),
		"com.docker.compose.project.working_dir":  dir,
		"com.docker.compose.service":              service,
		"com.docker.compose.container-number":     "1",
		"com.docker.compose.oneoff":               "False",
		"com.docker.compose.config-hash":          hex.EncodeToString(hash[:]),
		"com.docker.compose.version":              composeVersion,
	}
	if service == "front" {
		labels["com.docker.compose.depends_on"] = "cache:service_started:false"
	}
	return labels
}

func composeNetworkLabels() object {
	return object{
		"com.docker.compose.project": project,
		"com.docker.compose.network": "default",
		"com.docker.compose.version": composeVersion,
	}
}
